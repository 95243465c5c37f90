"""The work ahead of the workers, and the size of chunks if the user has set none."""

from __future__ import annotations

import pytest
from support.scheduler_harness import SchedulerHarness
from support.simulated_worker import by_index, flush
from support.simulated_world import cut

from tui_runner.engine.protocol import ChunkExhausted
from tui_runner.engine.scheduling.events import Begin, ChangeOpenChunks, ChunkRead, ReadChunks
from tui_runner.engine.scheduling.pace import AHEAD_BYTES, LARGEST_SIZE, Pace
from tui_runner.engine.scheduling.scheduler import Scheduler

MB = 1 << 20


class Running:
    """A scheduler whose worker executes chunks of 100 items, `rate` items per second."""

    def __init__(self, rate: int, *, chunks: int = 400, item_bytes: int = 0, seconds: float = 2.0, **settings) -> None:
        self.desk = SchedulerHarness(**{"threads": 4, "open_chunks": None, "chunk_size": None, **settings})
        self.unread = cut([[False] * 100] * chunks, item_bytes=item_bytes)
        self.asked: list[ReadChunks] = []
        self.rate = rate
        self.work(seconds)

    def work(self, seconds: float) -> None:
        """Time passes; chunks are exhausted one after the other, and reported five times a second."""
        steps = round(seconds * 5)
        for _ in range(steps):
            self.deliver()
            self.desk.now += 0.2
            ended = self.rate // 5
            for number in sorted(self.desk.scheduler.workers[0].chunks):
                left = list(self.desk.scheduler.chunks[number].left)[:ended]
                ended -= len(left)
                if len(left) == len(self.desk.scheduler.chunks[number].left):
                    self.handle(ChunkExhausted(0, number))
                    self.desk.finish(number)
                elif left:
                    self.handle(by_index(flush(0, {number: left}), self.desk.scheduler))
        self.deliver()

    def deliver(self) -> None:
        """The input gives what was asked for."""
        while self.owed and self.unread:
            self.handle(self.unread.pop(0))

    @property
    def owed(self) -> bool:
        return self.desk.scheduler._requested > 0

    def handle(self, event) -> None:
        self.asked += [a for a in self.desk.scheduler.handle(event, self.desk.now) if isinstance(a, ReadChunks)]

    @property
    def open(self) -> list[int]:
        return sorted(self.desk.scheduler.workers[0].open)

    @property
    def ahead(self) -> int:
        """Items to start that the worker has."""
        return sum(len(self.desk.scheduler.chunks[number].left) for number in self.open)


# --- ahead of the workers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [500, 1_000, 1_400])
def test_a_second_of_work_is_ahead_of_the_workers(rate):
    running = Running(rate, chunks=1_000, seconds=12.0)
    assert 0.9 * rate <= running.ahead <= rate + 2 * 4 + 2 * 100


def test_of_tiny_chunks_no_more_are_ahead_than_can_be_overseen():
    running = Running(5_000, chunks=1_000, seconds=12.0)
    waiting = [chunk for chunk in running.desk.scheduler.chunks.open.values() if chunk.worker is None]
    assert len(running.open) == 16
    assert len(waiting) <= 16


def test_before_anything_is_known_four_chunks_are():
    assert Running(1_000, seconds=0.0).open == [0, 1, 2, 3]


def test_of_slow_items_no_more_is_sent_than_the_threads_need():
    assert len(Running(5, seconds=10.0).open) == 4, "those that were sent before it was known"
    assert len(Running(5, seconds=80.0).open) == 1


def test_where_the_user_has_set_the_open_chunks_no_more_are_sent():
    assert len(Running(5_000, open_chunks=3).open) == 3
    running = Running(5_000)
    running.handle(ChangeOpenChunks(2))
    running.work(2.0)
    assert len(running.open) == 2


def test_no_more_than_64_mb_of_packed_items_are_ahead():
    running = Running(5_000, item_bytes=AHEAD_BYTES // 1_000, seconds=3.0)
    scheduler = running.desk.scheduler
    packed = sum(scheduler.chunks[number].nbytes for number in running.open)
    waiting = sum(chunk.nbytes for chunk in scheduler.chunks.open.values() if chunk.worker is None)
    assert AHEAD_BYTES * 0.8 <= packed <= packed + waiting <= AHEAD_BYTES


def test_a_worker_without_anything_to_start_is_sent_a_chunk_however_large():
    running = Running(500, item_bytes=2 * MB)
    assert len(running.open) == 1
    running.work(1.0)
    assert len(running.open) == 1


def test_chunks_that_wait_for_stragglers_are_bounded_where_many_items_are_sent_ahead():
    running = Running(2_000, chunks=2_000)
    held = running.desk.scheduler.workers[0].chunks
    for _ in range(500):
        for number in running.open:
            running.handle(ChunkExhausted(0, number))
        running.deliver()
    assert 5_000 <= 100 * len(held) <= 5_000 + 2_000 + 500, "an item of each never ends"


# --- sizes that are chosen ----------------------------------------------------------------------------------


def sized(
    rate: float, *, threads: int = 4, workers: int = 1, nbytes: float = 1.0, unread: int | None = None
) -> int | None:
    """The size of the next chunk when `rate` items have ended in each of the last five seconds."""
    return measured(rate, nbytes).size(5.0, threads, workers, unread)


def measured(rate: float, nbytes: float = 1.0) -> Pace:
    """Return a pace that has seen `rate` items end in each of five seconds."""
    pace = Pace(None)
    pace.read(500, int(500 * nbytes))
    for tick in range(51):
        pace.executed(int(rate * (tick + 1) / 10) - int(rate * tick / 10), tick / 10)
    return pace


@pytest.mark.parametrize("rate", [8, 10, 33, 49, 51, 100, 250, 400, 777, 1_000, 5_000, 9_999])
def test_a_chunk_takes_two_to_ten_seconds(rate):
    assert 2.0 <= sized(rate) / rate <= 10.0


def test_a_chunk_has_no_more_than_20_000_items():
    assert sized(100_000) == LARGEST_SIZE == 20_000


def test_each_worker_has_a_chunk_of_its_own():
    assert 2.0 <= sized(1_000, workers=4) / 250 <= 10.0


def test_a_chunk_has_an_item_for_each_thread():
    assert sized(5, threads=24, workers=2) == 12


@pytest.mark.parametrize(("unread", "size"), [(100_000, 2_000), (4_000, 1_000), (1_000, 250), (300, 125), (0, 125)])
def test_chunks_become_smaller_near_the_end_of_an_input_that_workers_share(unread, size):
    assert sized(1_000, workers=2, unread=unread) == size


def test_one_worker_has_large_chunks_until_the_end():
    assert sized(1_000, unread=10) == sized(1_000)


def test_less_is_ahead_of_workers_near_the_end():
    pace = measured(1_000)
    assert pace.ahead(5.0, 4) == pace.ahead(5.0, 4, unsent=1_000_000) == 1_008
    assert pace.ahead(5.0, 4, unsent=600) == 300
    assert pace.ahead(5.0, 4, unsent=0) == 250, "a worker that must wait for its next report stands still"


def test_workers_share_an_input_that_is_shorter_than_a_chunk():
    scheduler = Scheduler(threads=4, workers=2, open_chunks=None, chunk_size=None, grace=10.0, items_total=40)
    asked = [action for action in scheduler.handle(Begin(), 0.0) if isinstance(action, ReadChunks)]
    assert [action.size for action in asked] == [10]


def test_a_chunk_of_large_items_is_small():
    assert sized(1_000, nbytes=1 * MB) == 8


def test_the_first_chunks_have_500_items_and_sizes_stay_while_they_fit():
    running = Running(100)
    assert {asked.size for asked in running.asked} == {500}
    running = Running(9_000, chunks=1_000)
    assert running.asked[0].size == 500
    assert running.asked[-1].size == 20_000


def test_a_size_that_is_set_is_kept():
    running = Running(5_000, chunk_size=100)
    assert {asked.size for asked in running.asked} == {None}


def test_chunks_recorded_already_say_nothing_of_the_pace():
    running = Running(500)
    before = running.ahead
    number = len(running.desk.scheduler.chunks)
    for place in range(50):
        first = 100 * (number + place)
        running.handle(ChunkRead(number + place, range(first, first + 100), ()))
    assert running.ahead == before
