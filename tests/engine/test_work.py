"""The queue that a worker's threads take their items from."""

from __future__ import annotations

import random
import threading
import time

import pytest

from tui_runner.engine.protocol import OpenChunk, pack
from tui_runner.engine.worker.retry import RetryBudget
from tui_runner.engine.worker.task_queue import Task, WorkQueue
from tui_runner.inputs.keys import plain_key


class Desk:
    """A queue with a clock that stands still, and what it has said."""

    def __init__(self, rate=None, budget=None, lanes=1_000):
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
        self.queue.set_lanes(lanes)

    def _changed(self):
        self.changes += 1

    def open(self, chunk, items=3, *, first=None, paused=False, attempts=()):
        first = 10 * chunk if first is None else first
        positions = range(first, first + items)
        made = dict(zip(positions, attempts, strict=False))
        self.queue.open(OpenChunk(chunk, positions, pack(list(positions)), attempts=made, paused=paused))

    def take(self, limit=1_000):
        """Positions of everything that can be taken now."""
        return [task.position for task in self.tasks(limit)]

    def tasks(self, limit=1_000):
        taken = []
        while len(taken) < limit and isinstance(task := self.queue.poll(), Task):
            taken.append(task)
        return taken


@pytest.fixture
def desk():
    return Desk()


# --- order --------------------------------------------------------------------------------------------------


def test_items_come_in_order_chunk_after_chunk(desk):
    desk.open(0)
    desk.open(1, 2)
    assert desk.take() == [0, 1, 2, 10, 11]
    assert desk.queue.poll() is None


def test_a_task_knows_its_item(desk):
    desk.open(4, 2, attempts=[0, 3])
    first, second = desk.tasks()
    assert (first.chunk.number, first.key, first.value) == (4, plain_key(40), 40)
    assert (first.attempt, first.first_attempt) == (1, 1)
    assert (second.attempt, second.first_attempt) == (4, 4)
    assert first.chunk is second.chunk
    assert first.chunk.unended == 2


def test_taking_the_last_item_exhausts_the_chunk(desk):
    desk.open(0, 2)
    desk.open(1, 1)
    assert (desk.take(1), desk.exhausted) == ([0], [])
    assert (desk.take(1), desk.exhausted) == ([1], [0])
    assert (desk.take(1), desk.exhausted) == ([10], [0, 1])


def test_take_does_what_poll_does(desk):
    desk.open(0, 2)
    assert [desk.queue.take().position, desk.queue.take().position] == [0, 1]
    assert desk.exhausted == [0]


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


def test_pausing_and_resuming_twice_or_what_is_not_there_is_harmless(desk):
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


def test_cancelling_hands_out_what_has_not_started(desk):
    desk.open(0)
    desk.open(1)
    running = desk.tasks(1)[0]
    assert not running.cancelled
    assert [task.position for task in desk.queue.cancel(0)] == [1, 2]
    assert running.cancelled
    assert desk.exhausted == [0]
    assert desk.take() == [10, 11, 12]


def test_cancelling_takes_paused_items_and_retries_too(desk):
    desk.open(0)
    failed = desk.tasks(1)[0]
    desk.queue.retry(failed, 5.0)
    desk.queue.pause(0)
    assert sorted(task.position for task in desk.queue.cancel(0)) == [0, 1, 2]
    desk.now += 10
    desk.queue.release_due()
    desk.queue.resume(0)
    assert desk.take() == []


def test_a_chunk_with_nothing_left_to_start_is_not_exhausted_again_by_cancelling(desk):
    desk.open(0)
    desk.take()
    assert desk.queue.cancel(0) == []
    assert desk.queue.cancel(99) == []
    assert desk.exhausted == [0]


def test_no_retry_is_granted_in_a_chunk_that_was_cancelled(desk):
    desk.open(0)
    running = desk.tasks(1)[0]
    desk.queue.pause(0)
    desk.queue.cancel(0)
    assert not desk.queue.retry(running, 1.0)
    desk.now += 1
    desk.queue.release_due()
    assert desk.take() == []


# --- retries ------------------------------------------------------------------------------------------------


def test_a_retry_waits_for_its_time_and_then_goes_first(desk):
    desk.open(0)
    failed = desk.tasks(1)[0]
    desk.queue.retry(failed, 2.0)
    desk.now += 1.9
    desk.queue.release_due()
    assert desk.take(1) == [1]
    desk.now += 0.2
    desk.queue.release_due()
    again = desk.tasks(1)[0]
    assert (again.position, again.attempt, again.first_attempt) == (0, 2, 1)
    assert again is not failed
    assert desk.take() == [2]
    assert desk.exhausted == [0], "a retry of the last item does not exhaust its chunk again"


def test_one_item_can_be_let_through_a_pause(desk):
    desk.queue.pause(None)
    desk.queue.let_one_through()
    desk.open(0, 3)
    assert desk.take() == [0]
    desk.queue.let_one_through()
    desk.queue.let_one_through()
    assert desk.take() == [1]
    desk.queue.let_one_through()
    desk.queue.resume(None)
    desk.queue.pause(None)
    assert desk.take() == [], "what was let through is not carried over to another pause"
    desk.queue.resume(None)
    desk.queue.let_one_through()
    desk.queue.pause(None)
    assert desk.take() == []
    desk.queue.let_one_through()
    desk.queue.pause(None)
    assert desk.take() == [], "an item that is to be let through is taken back"


def test_retries_beyond_the_budget_wait_until_there_is_room():
    desk = Desk(budget=RetryBudget(0.5), lanes=1)
    desk.open(0, 30)
    for task in desk.tasks():
        assert task.is_first
        desk.queue.retry(task, 0.0)
    desk.queue.release_due()
    retries = desk.tasks()
    assert len(retries) == 10
    assert not any(task.is_first for task in retries)
    desk.queue.count_ended(5, 10)
    desk.queue.release_due()
    assert len(desk.tasks()) == 10
    desk.now += 10
    desk.queue.release_due()
    assert len(desk.tasks()) == 10


def test_retries_of_a_paused_chunk_wait_for_it(desk):
    desk.open(0)
    failed = desk.tasks(1)[0]
    desk.queue.retry(failed, 1.0)
    desk.queue.pause(0)
    desk.now += 1
    desk.queue.release_due()
    assert desk.take() == []
    desk.queue.resume(0)
    assert desk.take() == [0, 1, 2]


def test_retries_come_when_they_are_due_whatever_their_order(desk):
    desk.open(0)
    for delay, failed in zip((3.0, 1.0, 2.0), desk.tasks(), strict=True):
        desk.queue.retry(failed, delay)
    released = []
    for _ in range(3):
        desk.now += 1
        desk.queue.release_due()
        released += desk.take()
    assert released == [1, 2, 0]


# --- lanes, throttle, rate ----------------------------------------------------------------------------------


def test_surplus_takers_end_and_missing_ones_are_counted(desk):
    desk.open(0, 10)
    assert desk.queue.set_lanes(2) == 0
    for _ in range(998):
        with pytest.raises(EOFError):
            desk.queue.poll()
    assert desk.queue.lanes == 2
    assert desk.take(1) == [0]
    assert desk.queue.set_lanes(5) == 3
    assert desk.queue.lanes == 5


def test_after_the_end_every_taker_ends(desk):
    desk.open(0)
    desk.queue.end()
    assert desk.queue.take() is None
    with pytest.raises(EOFError):
        desk.queue.poll()
    assert desk.queue.lanes == 998


def test_nothing_is_taken_while_too_much_is_unwritten(desk):
    desk.open(0)
    desk.queue.set_throttled(True)
    assert desk.queue.throttled
    assert desk.take() == []
    desk.queue.set_throttled(False)
    assert desk.take() == [0, 1, 2]


def test_a_rate_spaces_starts():
    desk = Desk(rate=2.0)
    desk.open(0)
    assert desk.take() == [0]
    assert desk.queue.poll() == pytest.approx(0.4)
    desk.now += 0.4
    assert desk.take() == [1]
    desk.queue.set_rate(None)
    assert desk.take() == [2]


def test_a_rate_is_not_used_up_while_there_is_nothing_to_take():
    desk = Desk(rate=1.0)
    assert desk.queue.poll() is None
    desk.open(0)
    assert desk.take() == [0]


def test_whoever_waits_without_a_thread_hears_of_every_change(desk):
    for change in (
        lambda: desk.open(0),
        lambda: desk.queue.pause(None),
        lambda: desk.queue.resume(None),
        lambda: desk.queue.set_throttled(True),
        lambda: desk.queue.set_rate(5.0),
        lambda: desk.queue.set_lanes(3),
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
        lambda desk: desk.queue.set_lanes(0),
    ],
    ids=["open", "end", "fewer lanes"],
)
def test_a_waiting_thread_wakes_up(desk, wake):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(desk.queue.take()))
    thread.start()
    wake(desk)
    thread.join(10)
    assert len(taken) == 1


def test_every_item_is_taken_exactly_once_whatever_happens_meanwhile():
    exhausted = []
    queue = WorkQueue(write_log=lambda *_: None, on_exhausted=exhausted.append)
    chunks, items = 150, 50
    everything = set(range(chunks * items))
    taken: list[list[tuple[int, int]]] = [[] for _ in range(8)]
    cancelled: list[int] = []

    def run(mine):
        dice = random.Random(len(mine))
        while (task := queue.take()) is not None:
            if task.attempt > 1 or dice.random() >= 0.05 or not queue.retry(task, 0.0):
                mine.append((task.position, task.attempt))

    queue.set_lanes(8)
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
                cancelled += [task.position for task in queue.cancel(some)]
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
    seen = [position for mine in taken for position, _ in mine] + cancelled
    assert len(seen) == len(everything)
    assert set(seen) == everything
    assert queue.lanes == 0
    assert sorted(exhausted) == list(range(chunks)), "each chunk is exhausted once"


def _toggle_throttle(queue):
    queue.set_throttled(True)
    queue.set_throttled(False)


def _toggle_pause(queue):
    queue.pause(None)
    queue.resume(None)
