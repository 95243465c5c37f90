"""The queue that a worker's threads take their items from."""

from __future__ import annotations

import random
import threading
import time

import pytest

from tui_runner.engine.packed_items import pack
from tui_runner.engine.protocol import ChunkWait, OpenChunk
from tui_runner.engine.worker.retry import RetryBudget
from tui_runner.engine.worker.task_queue import MAX_SLICE, SLOW_SECONDS, WorkQueue
from tui_runner.inputs.keys import plain_key


class Desk:
    """A queue with a fake clock, and its output; each consumer takes one item at a time."""

    def __init__(self, rate=None, budget=None, consumers=1_000):
        self.now = 100.0
        self.exhausted = []
        self.changes = 0
        self.queue = WorkQueue(
            write_log=lambda *_: None,
            on_exhausted=self.exhausted.append,
            on_change=self._changed,
            rate=rate,
            budget=budget,
            clock=lambda: self.now,
        )
        self.queue.set_consumers(consumers)

    def _changed(self):
        self.changes += 1

    def open(self, chunk, items=3, *, first=None, paused=False, run=None, attempts=(), tries=(), refusals=()):
        first = 10 * chunk if first is None else first
        positions = range(first, first + items)
        values = pack([f"item {position}" for position in positions])
        sparse = [dict(each) for each in (attempts, tries, refusals)]
        self.queue.open(OpenChunk(chunk, positions, values, run, *sparse, paused))

    def take(self, limit=1_000):
        """Return positions of everything that can be taken now."""
        return [position(slot) for slot in self.slots(limit)]

    def slots(self, limit=1_000):
        taken = []
        while len(taken) < limit:
            slot = self.queue.slot(0)
            if self.queue.poll(slot) != 0.0:
                break
            start(slot)
            taken.append(slot)
        return taken

    def slice(self):
        """Return a slot with a slice; the queue decides on the number of items."""
        slot = self.queue.slot(0)
        assert self.queue.take(slot)
        return slot

    def learn(self, seconds):
        """Let the queue learn the duration of an item."""
        self.open(99, 1)
        slot = self.slice()
        start(slot)
        self.now += seconds
        self.queue.give_back(slot)
        self.exhausted.remove(99)


def start(slot):
    """Begin the next item of a slice, as its thread does."""
    slot.index = slot.todo.popleft()
    return position(slot)


def position(slot):
    return slot.chunk.positions[slot.index]


def rest(slot):
    return [slot.chunk.positions[index] for index in slot.todo]


@pytest.fixture
def desk():
    return Desk()


# --- order --------------------------------------------------------------------------------------------------


def test_items_come_in_order_chunk_after_chunk(desk):
    desk.open(0)
    desk.open(1, 2)
    assert desk.take() == [0, 1, 2, 10, 11]
    assert desk.queue.poll(desk.queue.slot(0)) is None


def test_a_chunk_knows_its_items_and_what_was_tried_of_them(desk):
    desk.open(4, 3, attempts={41: 3, 42: 1}, tries={41: 2})
    slots = desk.slots()
    chunk = slots[0].chunk
    assert {slot.chunk for slot in slots} == {chunk}
    assert (chunk.number, chunk.unended) == (4, 3)
    assert chunk.values == ["item 40", "item 41", "item 42"]
    assert (chunk.made, chunk.tries) == ({1: 3, 2: 1}, {1: 2})


def test_only_the_items_that_are_to_run_are_taken(desk):
    desk.open(1, 4, run=[0, 3])
    slots = desk.slots()
    assert [position(slot) for slot in slots] == [10, 13]
    assert slots[0].chunk.unended == 2


def test_an_item_that_killed_its_workers_is_handed_out_as_one_to_refuse(desk):
    desk.open(0, 2, attempts={1: 3}, refusals={1: "killed its worker 3 times"})
    chunk = desk.slots()[0].chunk
    assert chunk.values[0] == "item 0"
    refused = chunk.values[1]
    assert (refused.type, refused.message, refused.text) == ("WorkerKilled", "killed its worker 3 times", "item 1")
    assert chunk.keys[1] == plain_key("item 1", 1)
    assert chunk.made == {1: 2}, "saying so is no attempt"


def test_taking_the_last_item_exhausts_the_chunk(desk):
    desk.open(0, 2)
    desk.open(1, 1)
    assert (desk.take(1), desk.exhausted) == ([0], [])
    assert (desk.take(1), desk.exhausted) == ([1], [0])
    assert (desk.take(1), desk.exhausted) == ([10], [0, 1])


# --- slices -------------------------------------------------------------------------------------------------


def test_items_that_take_long_are_taken_one_by_one(desk):
    desk.learn(0.02)
    desk.open(0)
    assert rest(desk.slice()) == [0]


def test_quick_items_are_taken_as_many_as_fit_into_a_millisecond(desk):
    desk.learn(0.000095)
    desk.open(0, 30)
    assert rest(desk.slice()) == list(range(10))


def test_a_slice_is_not_endless(desk):
    desk.learn(0.0)
    desk.open(0, 1_000)
    assert len(rest(desk.slice())) == MAX_SLICE


def test_a_slice_has_items_of_one_chunk(desk):
    desk.learn(0.0)
    desk.open(0)
    desk.open(1)
    assert [rest(desk.slice()), rest(desk.slice())] == [[0, 1, 2], [10, 11, 12]]
    assert desk.exhausted == [0, 1]


def test_under_a_rate_a_slice_is_one_item():
    desk = Desk(rate=1_000.0)
    desk.learn(0.0)
    desk.open(0)
    assert rest(desk.slice()) == [0]


def test_of_an_outage_one_item_is_let_through_not_a_slice(desk):
    desk.learn(0.0)
    desk.open(0)
    desk.queue.pause(None)
    desk.queue.start_probe()
    assert rest(desk.slice()) == [0]
    assert desk.take() == []


@pytest.mark.parametrize(
    "stop",
    [
        lambda queue: queue.pause(None),
        lambda queue: queue.pause(0),
        lambda queue: queue.set_room(0),
        lambda queue: queue.set_braked(True),
        lambda queue: queue.set_consumers(1),
        lambda queue: queue.set_rate(1.0),
        lambda queue: queue.end(),
    ],
    ids=["pause", "pause of the chunk", "unwritten", "memory", "fewer threads", "rate", "end"],
)
def test_items_of_a_slice_that_have_not_started_are_put_back(desk, stop):
    desk.learn(0.0)
    desk.open(0, 5)
    slot = desk.slice()
    assert start(slot) == 0
    stop(desk.queue)
    assert rest(slot) == []
    assert list(slot.chunk.todo) == [1, 2, 3, 4]


def test_items_that_are_put_back_go_before_the_rest_of_their_chunk(desk):
    desk.learn(0.00045)
    desk.open(0, 5)
    first, second = desk.slice(), desk.slice()
    assert (rest(first), rest(second)) == ([0, 1], [2, 3])
    start(first)
    desk.queue.pause(None)
    desk.queue.resume(None)
    assert desk.take() == [1, 2, 3, 4]


def test_an_item_that_takes_long_does_not_keep_the_rest_of_its_slice(desk):
    desk.learn(0.0)
    desk.open(0, 5)
    slow = desk.slice()
    assert start(slow) == 0
    assert desk.take() == []
    desk.now += SLOW_SECONDS
    assert desk.take() == [1, 2, 3, 4]
    assert rest(slow) == []


def test_a_slice_that_was_recalled_says_nothing_of_how_long_its_items_take(desk):
    desk.learn(0.000095)
    desk.open(0, 40)
    slot = desk.slice()
    desk.queue.pause(None)
    desk.queue.resume(None)
    desk.now += 60
    desk.queue.give_back(slot)
    assert len(rest(desk.slice())) == 10


def test_the_rest_of_a_slice_whose_attempt_was_ended_from_outside_runs_elsewhere(desk):
    desk.learn(0.0)
    desk.open(0)
    slot = desk.slice()
    start(slot)
    desk.queue.abandon(slot)
    assert desk.take() == [1, 2]
    assert desk.queue.busy == 2


def test_the_queue_says_when_nothing_is_in_flight_and_nothing_can_be_taken():
    idle = []
    queue = WorkQueue(write_log=lambda *_: None, on_exhausted=lambda _: None, on_idle=lambda: idle.append(1))
    queue.set_consumers(1)
    slot = queue.slot(0)
    queue.open(OpenChunk(0, range(1), pack(["a"])))
    assert queue.poll(slot) == 0.0
    assert idle == []
    assert queue.poll(slot) is None
    assert queue.poll(slot) is None
    assert idle == [1], "once"


def test_no_more_items_are_executed_than_are_of_use(desk):
    desk.open(0, 5)
    desk.queue.set_useful(2)
    slots = desk.slots()
    assert [position(slot) for slot in slots] == [0, 1]
    desk.queue.give_back(slots[0])
    assert desk.take() == [2]
    desk.queue.set_useful(None)
    assert desk.take() == [3, 4]


# --- pause and resume ---------------------------------------------------------------------------------------


def test_nothing_is_taken_while_everything_is_paused(desk):
    desk.open(0)
    assert desk.take(1) == [0]
    desk.queue.pause(None)
    assert desk.take() == []
    desk.queue.resume(None)
    assert desk.take() == [1, 2]


def test_a_paused_chunk_lets_the_others_pass(desk):
    desk.open(0)
    desk.open(1)
    desk.take(1)
    desk.queue.pause(0)
    assert desk.take(2) == [10, 11]
    desk.queue.resume(0)
    assert desk.take() == [1, 2, 12]
    assert desk.exhausted == [0, 1]


def test_a_chunk_may_come_paused(desk):
    desk.open(0, paused=True)
    assert desk.take() == []
    desk.queue.resume(0)
    assert desk.take() == [0, 1, 2]


def test_pausing_or_resuming_twice_or_an_unknown_chunk_changes_nothing(desk):
    desk.open(0)
    for _ in range(2):
        desk.queue.pause(0)
        desk.queue.pause(99)
    assert desk.take() == []
    for _ in range(2):
        desk.queue.resume(0)
        desk.queue.resume(99)
    assert desk.take() == [0, 1, 2]


# --- cancel -------------------------------------------------------------------------------------------------


def cancelled(desk, number):
    """Cancel a chunk. Return the positions of the items that left the queue."""
    chunk, indexes = desk.queue.cancel(number)
    return [chunk.positions[index] for index in indexes]


def test_cancelling_removes_the_items_of_a_slice_that_have_not_started(desk):
    desk.learn(0.0)
    desk.open(0)
    slot = desk.slice()
    start(slot)
    assert cancelled(desk, 0) == [1, 2]
    assert rest(slot) == []


def test_cancelling_returns_the_items_that_have_not_started(desk):
    desk.open(0)
    desk.open(1)
    running = desk.slots(1)[0]
    assert not running.cancelled
    assert cancelled(desk, 0) == [1, 2]
    assert running.cancelled
    assert desk.exhausted == [0]
    assert desk.take() == [10, 11, 12]


def test_cancelling_takes_paused_items_and_retries_too(desk):
    desk.open(0)
    failed = desk.slots(1)[0]
    assert desk.queue.next_attempt() is None
    desk.queue.retry(failed.chunk, failed.index, 5.0)
    assert desk.queue.next_attempt() == 5.0
    desk.queue.pause(0)
    assert sorted(cancelled(desk, 0)) == [0, 1, 2]
    desk.now += 10
    desk.queue.release_due()
    desk.queue.resume(0)
    assert desk.take() == []


def test_a_chunk_with_nothing_left_to_start_is_not_exhausted_again_by_cancelling(desk):
    desk.open(0)
    desk.take()
    assert cancelled(desk, 0) == []
    assert desk.queue.cancel(98) is None
    assert desk.exhausted == [0]


def test_no_retry_is_granted_in_a_chunk_that_was_cancelled(desk):
    desk.open(0)
    running = desk.slots(1)[0]
    desk.queue.pause(0)
    desk.queue.cancel(0)
    assert not desk.queue.retry(running.chunk, running.index, 1.0)
    desk.now += 1
    desk.queue.release_due()
    assert desk.take() == []


# --- retries ------------------------------------------------------------------------------------------------


def test_a_retry_waits_for_its_time_and_then_goes_first(desk):
    desk.open(0)
    failed = desk.slots(1)[0]
    desk.queue.retry(failed.chunk, failed.index, 2.0)
    desk.now += 1.9
    desk.queue.release_due()
    assert desk.take(1) == [1]
    desk.now += 0.2
    desk.queue.release_due()
    again = desk.slots(1)[0]
    assert position(again) == 0
    assert (again.chunk.made, again.chunk.tries) == ({0: 1}, {0: 1})
    assert desk.take() == [2]
    assert desk.exhausted == [0], "a retry of the last item does not exhaust its chunk again"


def test_one_item_can_be_let_through_a_pause(desk):
    desk.queue.pause(None)
    desk.queue.start_probe()
    desk.open(0, 3)
    assert desk.take() == [0]
    desk.queue.start_probe()
    desk.queue.start_probe()
    assert desk.take() == [1]
    desk.queue.start_probe()
    desk.queue.resume(None)
    desk.queue.pause(None)
    assert desk.take() == [], "what was let through is not carried over to another pause"
    desk.queue.resume(None)
    desk.queue.start_probe()
    desk.queue.pause(None)
    assert desk.take() == []
    desk.queue.start_probe()
    desk.queue.pause(None)
    assert desk.take() == [], "an item that is to be let through is taken back"


def test_retries_beyond_the_budget_wait_until_there_is_room():
    desk = Desk(budget=RetryBudget(0.5), consumers=1)
    desk.open(0, 30)
    for slot in desk.slots():
        desk.queue.retry(slot.chunk, slot.index, 0.0)
    desk.queue.release_due()
    assert len(desk.take()) == 10
    desk.queue.count_ended(5, 10)
    desk.queue.release_due()
    assert len(desk.take()) == 10
    desk.now += 10
    desk.queue.release_due()
    assert len(desk.take()) == 10


def test_queue_counts_the_due_retries_that_the_budget_holds_back_and_names_their_chunk():
    desk = Desk(budget=RetryBudget(0.5), consumers=1)
    desk.open(0, 30)
    for slot in desk.slots():
        desk.queue.retry(slot.chunk, slot.index, 0.0)
        desk.queue.give_back(slot)
    for _ in range(2):
        desk.queue.release_due()
        assert desk.queue.over_budget() == 0, "they are not due for long"
        assert desk.queue.next_attempt() == 0.0
        desk.now += 1.0
    assert desk.queue.over_budget() == 20
    desk.take()
    assert desk.queue.waits() == {}, "10 of its items are executed"
    late = Desk(budget=RetryBudget(0.0), consumers=0)
    late.open(7, 1)
    (slot,) = late.slots()
    late.queue.retry(slot.chunk, slot.index, 0.0)
    late.queue.give_back(slot)
    late.now += 2.0
    late.queue.release_due()
    assert late.queue.waits() == {7: ChunkWait("", 0.0, over_budget=True)}


def test_retries_of_a_paused_chunk_wait_for_it(desk):
    desk.open(0)
    failed = desk.slots(1)[0]
    desk.queue.retry(failed.chunk, failed.index, 1.0)
    desk.queue.pause(0)
    desk.now += 1
    desk.queue.release_due()
    assert desk.take() == []
    desk.queue.resume(0)
    assert desk.take() == [0, 1, 2]


def test_retries_come_when_they_are_due_whatever_their_order(desk):
    desk.open(0)
    for delay, failed in zip((3.0, 1.0, 2.0), desk.slots(), strict=True):
        desk.queue.retry(failed.chunk, failed.index, delay)
    released = []
    for _ in range(3):
        desk.now += 1
        desk.queue.release_due()
        released += desk.take()
    assert released == [1, 2, 0]


# --- consumers, throttle, rate ----------------------------------------------------------------------------------


def test_surplus_consumers_end_and_missing_ones_are_counted(desk):
    desk.open(0, 10)
    assert desk.queue.set_consumers(2) == 0
    for _ in range(998):
        with pytest.raises(EOFError):
            desk.queue.poll(desk.queue.slot(0))
    assert desk.queue.consumers == 2
    assert desk.take(1) == [0]
    assert desk.queue.set_consumers(5) == 3
    assert desk.queue.consumers == 5


def test_after_the_end_every_consumer_ends(desk):
    desk.open(0)
    desk.queue.end()
    assert not desk.queue.take(desk.queue.slot(0))
    with pytest.raises(EOFError):
        desk.queue.poll(desk.queue.slot(0))
    assert desk.queue.consumers == 998


def test_no_more_is_taken_than_there_is_room_for_what_it_returns(desk):
    desk.open(0)
    desk.queue.set_room(1)
    assert desk.take() == [0]
    assert desk.queue.throttled
    desk.queue.set_room(None)
    assert not desk.queue.throttled
    assert desk.take() == [1, 2]


def test_a_rate_spaces_starts():
    desk = Desk(rate=2.0)
    desk.open(0)
    assert desk.take() == [0]
    assert desk.queue.poll(desk.queue.slot(0)) == pytest.approx(0.4)
    desk.now += 0.4
    assert desk.take() == [1]
    desk.queue.set_rate(None)
    assert desk.take() == [2]


def test_a_rate_is_not_used_up_while_there_is_nothing_to_take():
    desk = Desk(rate=1.0)
    assert desk.queue.poll(desk.queue.slot(0)) is None
    desk.open(0)
    assert desk.take() == [0]


def test_a_consumer_without_a_thread_is_notified_of_every_change(desk):
    for change in (
        lambda: desk.open(0),
        lambda: desk.queue.pause(None),
        lambda: desk.queue.resume(None),
        lambda: desk.queue.set_room(0),
        lambda: desk.queue.set_rate(5.0),
        lambda: desk.queue.set_consumers(3),
        lambda: desk.queue.end(),
    ):
        before = desk.changes
        change()
        assert desk.changes > before


# --- threads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wake",
    [
        lambda desk: desk.open(0),
        lambda desk: desk.queue.end(),
        lambda desk: desk.queue.set_consumers(0),
    ],
    ids=["open", "end", "fewer consumers"],
)
def test_a_waiting_thread_wakes_up(desk, wake):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(desk.queue.take(desk.queue.slot(0))))
    thread.start()
    wake(desk)
    thread.join(10)
    assert len(taken) == 1


def test_every_item_is_taken_exactly_once_whatever_happens_meanwhile():
    exhausted = []
    queue = WorkQueue(write_log=lambda *_: None, on_exhausted=exhausted.append)
    chunks, items = 150, 50
    everything = set(range(chunks * items))
    taken: list[list[int]] = [[] for _ in range(8)]
    cancelled: list[int] = []

    def run(mine):
        dice = random.Random(len(mine))
        slot = queue.slot(0)
        while queue.take(slot):
            chunk = slot.chunk
            while slot.todo:
                try:
                    index = slot.todo.popleft()
                except IndexError:
                    break
                if index in chunk.made or dice.random() >= 0.05 or not queue.retry(chunk, index, 0.0):
                    mine.append(chunk.positions[index])

    queue.set_consumers(8)
    threads = [threading.Thread(target=run, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    dice = random.Random(7)
    for number in range(chunks):
        positions = range(number * items, (number + 1) * items)
        queue.open(OpenChunk(number, positions, pack(list(positions)), paused=dice.random() < 0.2))
        some = dice.randrange(number + 1)
        for steer in dice.sample([queue.pause, queue.resume, queue.cancel, _toggle_throttle, _toggle_pause], 3):
            if steer == queue.cancel:
                chunk, indexes = queue.cancel(some)
                cancelled += [chunk.positions[index] for index in indexes]
            elif steer in (_toggle_throttle, _toggle_pause):
                steer(queue)
            else:
                steer(some)
        queue.release_due()
    for number in range(chunks):
        queue.resume(number)
    deadline = time.monotonic() + 30
    while sum(map(len, taken)) + len(cancelled) < len(everything) and time.monotonic() < deadline:
        queue.release_due()
        time.sleep(0.001)  # real threads: there is no event for "all of them have nothing left to take"
    queue.end()
    for thread in threads:
        thread.join(10)
    seen = [position for mine in taken for position in mine] + cancelled
    assert len(seen) == len(everything)
    assert set(seen) == everything
    assert queue.consumers == 0
    assert sorted(exhausted) == list(range(chunks)), "each chunk is exhausted once"


def _toggle_throttle(queue):
    queue.set_room(0)
    queue.set_room(None)


def _toggle_pause(queue):
    queue.pause(None)
    queue.resume(None)


# --- what chunks wait for -----------------------------------------------------------------------------------


def test_queue_says_when_the_next_attempt_of_a_chunk_is_due(desk):
    desk.open(0, 2)
    first, second = desk.slots()
    desk.queue.give_back(first)
    desk.queue.retry(first.chunk, 0, 7.0)
    assert desk.queue.waits() == {}, "its other item is executed"
    desk.queue.give_back(second)
    desk.queue.retry(second.chunk, 1, 5.0)
    desk.now += 1.0
    assert desk.queue.waits() == {0: ChunkWait("", 4.0)}


def test_chunk_whose_items_may_start_waits_for_nothing(desk):
    desk.open(0, 2)
    (first,) = desk.slots(1)
    desk.queue.give_back(first)
    desk.queue.retry(first.chunk, 0, 7.0)
    assert desk.queue.waits() == {}
