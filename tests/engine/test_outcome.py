"""Exceptions as text, whatever they are; outcomes on their way to the reporter."""

from __future__ import annotations

import threading
import traceback
from collections import deque

import pytest

from tui_runner.engine.worker.attempt import LARGE, MAX_ROWS, Ending, Outcome, Outcomes
from tui_runner.engine.worker.opened_chunk import Block, OpenedChunk
from tui_runner.store.rows.collect import Rows
from tui_runner.text.describe import describe, storable


def raised(error):
    """`error` as it is caught, with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("I say nothing")


class Fatal(Exception):
    def __str__(self):
        raise SystemExit(3)


class Wordy(Exception):
    def __str__(self):
        return "x" * 10_000_000


class Nonsense(Exception):
    def __str__(self):
        return 7


class BadRepr(Exception):
    def __repr__(self):
        raise RuntimeError("no repr either")


# --- exceptions as text -------------------------------------------------------------------------------------


def test_an_exception_becomes_its_type_message_and_traceback():
    failure = describe(raised(ValueError("no such page")))
    assert (failure.type, failure.message) == ("ValueError", "no such page")
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert 'test_outcome.py", line' in failure.traceback
    assert failure.traceback.endswith("ValueError: no such page\n")


def test_frames_of_the_package_itself_are_left_out_unless_they_are_asked_for():
    source = "def caught():\n  try:\n    raise ValueError('no')\n  except ValueError as error:\n    return error\n"
    places = {}
    exec(compile(source, describe.__code__.co_filename, "exec"), places)
    error = places["caught"]()
    assert describe(error).traceback == "ValueError: no\n"
    assert "in caught" in describe(error, whole=True).traceback


def test_an_exception_that_was_never_raised_has_no_frames():
    assert describe(KeyError("a")).traceback == "KeyError: 'a'\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Silent(), "(its __str__ raised RuntimeError)"),
        (Fatal(), "(its __str__ raised SystemExit)"),
        (Nonsense(), "(its __str__ raised TypeError)"),
        (BadRepr("plain"), "plain"),
        (KeyError(BadRepr()), "(its __str__ raised RuntimeError)"),
        (ValueError("a\ud800b"), "a\\ud800b"),
        (ValueError(), ""),
        (SystemExit(2), "2"),
        (KeyboardInterrupt(), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_whose_methods_raise_is_recorded(error, message):
    failure = describe(raised(error))
    assert failure.type == type(error).__name__
    assert failure.message == message
    failure.traceback.encode()


def test_a_message_of_ten_megabytes_is_cut():
    failure = describe(raised(Wordy()))
    assert len(failure.message) < 15_000, "a little more than is stored, so that no secret is cut before it is found"
    assert len(failure.traceback) < 21_000


def test_of_an_endless_recursion_the_last_frames_are_kept():
    def down(depth):
        return down(depth + 1)

    try:
        down(0)
    except RecursionError as error:
        failure = describe(error)
    assert failure.message.startswith("maximum recursion depth exceeded")
    assert "in down" in failure.traceback
    assert failure.traceback.count("\n") < 120


def test_of_a_deep_stack_the_line_that_raised_is_kept():
    def last():
        raise ValueError("down here")

    calls = [last]
    for _ in range(80):
        exec("def step(inner=calls[-1]): inner()\ncalls.append(step)", {"calls": calls})
    try:
        calls[-1]()
    except ValueError as error:
        assert "in last" in describe(error).traceback


def fails(kind):
    """Raise an error of a kind, each from a line of its own."""
    if kind == "note":
        error = ValueError("first")
        error.add_note("a note")
        raise error
    if kind == "name":
        return kindness  # noqa: F821  # the name that is missing
    if kind == "attribute":
        return kind.uper()
    if kind == "syntax":
        compile("a b", "source", "exec")
    if kind == "handled":
        try:
            raise KeyError("inside")
        except KeyError:
            raise ValueError("outside") from None
    if kind == "context":
        try:
            raise KeyError("inside")
        except KeyError:
            int("x")
    return int(kind) / 0


@pytest.mark.parametrize("kind", ["note", "name", "attribute", "syntax", "handled", "context", "1", "2", "x", "y"])
def test_traceback_is_that_of_the_standard_library_each_time(kind):
    for _ in range(2):
        try:
            fails(kind)
        except Exception as error:
            assert describe(error).traceback == "".join(traceback.format_exception(error))


def test_traceback_of_code_compiled_for_each_item_is_its_own():
    for number in range(600):
        places = {}
        exec(compile("\n" * number + "def made(): raise ValueError", f"made {number}", "exec"), places)
        try:
            places["made"]()
        except ValueError as error:
            assert f'"made {number}", line {number + 1}, in made' in describe(error).traceback


def test_the_cause_of_an_error_is_recorded():
    try:
        try:
            raise ConnectionError("refused")
        except ConnectionError as error:
            raise ValueError("no answer") from error
    except ValueError as error:
        text = describe(error).traceback
    assert "ConnectionError: refused" in text
    assert "direct cause" in text
    assert text.endswith("ValueError: no answer\n")


def test_a_group_tells_its_members():
    group = ExceptionGroup("two things", [ValueError("one"), KeyError("two")])
    failure = describe(raised(group))
    assert failure.type == "ExceptionGroup"
    assert failure.message == "two things (2 sub-exceptions)"
    assert "ValueError: one" in failure.traceback
    assert "KeyError: 'two'" in failure.traceback


def test_an_exception_does_not_stay_alive_through_its_text():
    class Held:
        gone = threading.Event()

        def __del__(self):
            self.gone.set()

    def job():
        held = Held()
        raise ValueError(id(held))

    try:
        job()
    except ValueError as error:
        failure = describe(error)
    assert failure.type == "ValueError"
    assert Held.gone.is_set()


def test_text_with_lone_surrogates_is_made_storable_and_other_text_left_alone():
    assert storable("Grüße \U0001f600") == "Grüße \U0001f600"
    assert storable("\udcff") == "\\udcff"


# --- the way to the reporter -------------------------------------------------------------------------------

CHUNK = OpenedChunk(0, range(1_000_000), [], deque(), 1_000_000)
THREADS = 4


class Gate:
    """Records how many items may be executed at once."""

    room = None

    def __call__(self, room):
        self.room = room


def outcomes(max_bytes, gate=None, *, threads=THREADS, clock=lambda: 0.0):
    return Outcomes(max_bytes, gate or Gate(), threads=lambda: threads, clock=clock)


def ended(number, nbytes=0, count=1):
    """Return an item that ended well."""
    return number, 0.0, 0.1, Rows(count, nbytes, ())


def block(*items):
    return Block(CHUNK, deque(items))


def other():
    return Outcome(CHUNK, 0, 1, True, Ending.FAILED, 0.0, 0.1)


def items_of(taken):
    return [item for _, items in taken[0] for item in items]


def test_outcomes_come_out_in_the_order_they_went_in():
    way = outcomes(1_000_000)
    items = [ended(number, number) for number in range(5)]
    failed = other()
    way.put(block(*items[:3]))
    way.put_other(failed)
    way.put(block(*items[3:]))
    taken = way.take()
    assert items_of(taken) == items
    assert taken[1] == [failed]
    assert way.take() == ([], [])


def test_outcomes_of_an_unfinished_slice_do_not_wait_for_the_rest():
    way = outcomes(1_000_000)
    unfinished = block(ended(0, 10), ended(1, 10))
    assert items_of(way.take([unfinished])) == [ended(0, 10), ended(1, 10)]
    unfinished.items.append(ended(2, 10))
    way.put(unfinished)
    assert items_of(way.take([])) == [ended(2, 10)]
    assert way.unwritten == 30


def test_no_more_rows_are_taken_than_one_batch_should_have():
    way = outcomes(1 << 40)
    third, large = MAX_ROWS // 3, 3 * MAX_ROWS
    items = [ended(number, count=count) for number, count in enumerate([third, third, third, third, large, 0])]
    way.put(block(*items[:2]))
    way.put(block(*items[2:]))
    way.wake.clear()
    assert items_of(way.take()) == items[:3]
    assert way.wake.is_set(), "the rest should not wait for the next turn"
    assert way.has_more
    assert items_of(way.take()) == items[3:4]
    assert items_of(way.take()) == items[4:5], "a result that is larger by itself is taken whole"
    way.wake.clear()
    assert items_of(way.take()) == items[5:]
    assert not way.wake.is_set()
    assert not way.has_more


def test_bytes_count_until_they_are_written_however_small_the_results():
    gate = Gate()
    way = outcomes(10_000, gate)
    way.put(block(*[ended(number, 1_000) for number in range(10)]))
    way.take()
    assert way.unwritten == 10_000
    assert gate.room == 0
    way.written(1)
    assert gate.room is None
    assert way.unwritten == 9_999


def test_a_large_result_counts_at_once_and_wakes_the_collector():
    gate = Gate()
    way = outcomes(100_000, gate)
    way.count(30_000)
    assert way.unwritten == 30_000
    assert way.wake.is_set()
    assert gate.room is None


def test_items_at_once_become_fewer_one_by_one_with_the_bytes_too_many():
    gate = Gate()
    way = outcomes(100_000, gate)
    rooms = []
    for number in range(8):
        way.count(30_000)
        way.put(block(ended(number, 30_000)))
        rooms.append(gate.room)
    assert rooms == [None, None, None, 3, 2, 1, 0, 0]
    way.take()
    assert gate.room == 0, "collected is not yet written"
    for _ in range(5):
        way.written(30_000)
    assert gate.room is None
    assert way.unwritten == 90_000


class Plant:
    """A pool of many threads and a database that is slower, in turns of a tenth of a second."""

    def __init__(self, threads, seconds, written_each_turn):
        self.now = 0.0
        self.gate = Gate()
        self.outcomes = outcomes(64_000_000, self.gate, threads=threads, clock=lambda: self.now)
        self.threads = threads
        self.turns = round(10 * seconds)
        self.written_each_turn = written_each_turn
        self.ending = deque([0] * self.turns)
        self.most_unwritten = []
        self.idle_turns = 0

    def run(self, turns):
        for _ in range(turns):
            self.now += 0.1
            for number in range(self.ending.popleft()):
                self.outcomes.count(850_000)
                self.outcomes.put(block((number, 0.0, self.turns / 10, Rows(1, 850_000, ()))))
            self.outcomes.take()
            written = min(self.outcomes.unwritten, self.written_each_turn)
            self.idle_turns += written < self.written_each_turn
            self.outcomes.written(written)
            room = self.threads if self.gate.room is None else self.gate.room
            self.ending.append(max(0, room - sum(self.ending)))
            self.most_unwritten.append(self.outcomes.unwritten)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.0])
def test_a_slow_database_finds_half_a_bound_unwritten_and_not_the_results_of_all_threads(seconds):
    plant = Plant(500, seconds, written_each_turn=5_000_000)
    plant.run(300)
    plant.idle_turns = 0
    plant.most_unwritten.clear()
    plant.run(600)
    assert max(plant.most_unwritten) < 64_000_000 + 64_000_000 + 50_000_000 * seconds
    assert plant.idle_turns <= 18, "the database waited for rows"


def test_all_threads_work_again_when_the_database_is_fast_enough():
    plant = Plant(500, 1.0, written_each_turn=5_000_000)
    plant.run(300)
    plant.written_each_turn = 100_000_000
    plant.run(300)
    assert plant.gate.room is None


def test_very_many_results_without_rows_are_held_up_too():
    gate = Gate()
    way = outcomes(1_000_000, gate)
    put = 0
    while gate.room is None:
        way.put(block(ended(put)))
        put += 1
        assert put < 1_000_000
    assert way.wake.is_set()
    taken = 0
    while items := items_of(way.take()):
        taken += len(items)
    assert taken == put
    assert gate.room is None


def test_nothing_is_lost_between_threads():
    way = outcomes(1 << 40)
    sizes = (0, 100, 9_000)

    def produce(first):
        mine = block()
        for number in range(first, first + 2_000):
            nbytes = sizes[number % 3]
            if nbytes >= LARGE:
                way.count(nbytes)
            mine.items.append(ended(number, nbytes))
            open_blocks[first] = mine
            if number % 7 == 0:
                way.put(mine)
                mine = open_blocks[first] = block()
        way.put(mine)
        open_blocks[first] = block()

    open_blocks = {}
    threads = [threading.Thread(target=produce, args=(2_000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    taken = []
    while any(thread.is_alive() for thread in threads):
        taken += items_of(way.take(list(open_blocks.values())))
    while items := items_of(way.take()):
        taken += items
    assert sorted(item[0] for item in taken) == list(range(8_000))
    assert way.unwritten == sum(item[3].nbytes for item in taken)
