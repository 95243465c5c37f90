"""Exceptions as text, whatever they are; outcomes on their way to the collector."""

from __future__ import annotations

import threading

import pytest

from tui_runner.engine.worker.attempt import MAX_ROWS, Ending, Outcome, Outcomes
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
def test_an_exception_may_do_what_it_likes(error, message):
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


def test_the_cause_is_told():
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


# --- the way to the collector -------------------------------------------------------------------------------


class Gate:
    """Records whether the way for new items is open."""

    throttled = False

    def __call__(self, throttled):
        self.throttled = throttled


def outcome(nbytes=None, count=1):
    rows = None if nbytes is None else Rows(count, nbytes, ())
    return Outcome(None, Ending.OK, 0.1, 0.0, rows)


def test_outcomes_come_out_in_the_order_they_went_in():
    outcomes = Outcomes(1_000_000, Gate())
    put = [outcome(), outcome(10), outcome(5_000)]
    for each in put:
        outcomes.put(each)
    assert outcomes.take() == put
    assert outcomes.take() == []


def test_no_more_rows_are_taken_than_one_flush_should_have():
    outcomes = Outcomes(1 << 40, Gate())
    put = [outcome(9_000, MAX_ROWS // 3) for _ in range(4)] + [outcome(9_000, 3 * MAX_ROWS), outcome()]
    for each in put:
        outcomes.put(each)
    outcomes.hurry.clear()
    assert outcomes.take() == put[:3]
    assert outcomes.hurry.is_set(), "the rest should not wait for the next turn"
    assert outcomes.take() == put[3:4]
    outcomes.hurry.clear()
    assert outcomes.take() == put[4:], "a result that is larger by itself is taken whole"
    assert not outcomes.hurry.is_set()


def test_bytes_count_until_they_are_written_however_small_the_results():
    gate = Gate()
    outcomes = Outcomes(10_000, gate)
    for _ in range(10):
        outcomes.put(outcome(1_000))
    outcomes.take()
    assert outcomes.unwritten == 10_000
    assert gate.throttled
    outcomes.written(1)
    assert not gate.throttled
    assert outcomes.unwritten == 9_999


def test_a_large_result_counts_at_once_and_hurries_the_collector():
    gate = Gate()
    outcomes = Outcomes(100_000, gate)
    outcomes.put(outcome(30_000))
    assert outcomes.unwritten == 30_000
    assert outcomes.hurry.is_set()
    assert not gate.throttled
    outcomes.put(outcome(80_000))
    assert gate.throttled
    outcomes.take()
    assert gate.throttled, "collected is not yet written"
    outcomes.written(110_000)
    assert not gate.throttled


def test_very_many_results_without_rows_are_held_up_too():
    gate = Gate()
    outcomes = Outcomes(1_000_000, gate)
    put = 0
    while not gate.throttled:
        outcomes.put(outcome())
        put += 1
        assert put < 1_000_000
    assert outcomes.hurry.is_set()
    taken = 0
    while batch := outcomes.take():
        taken += len(batch)
    assert taken == put
    assert not gate.throttled


def test_nothing_is_lost_between_threads():
    outcomes = Outcomes(1 << 40, Gate())
    sizes = (None, 100, 9_000)

    def produce():
        for number in range(2_000):
            outcomes.put(outcome(sizes[number % 3]))

    threads = [threading.Thread(target=produce) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = []
    while any(thread.is_alive() for thread in threads):
        taken += outcomes.take()
    taken += outcomes.take()
    assert len(taken) == len(set(map(id, taken))) == 8_000
    assert outcomes.unwritten == sum(o.rows.nbytes for o in taken if o.rows)
