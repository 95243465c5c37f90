from __future__ import annotations

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.guards.memory import Answer, MemoryGuard, Message, too_little, worker_share
from tui_runner.engine.protocol import Progress, Ready, WorkerLost
from tui_runner.engine.scheduling.events import (
    ChangeMaxMemory,
    DivideThreads,
    Hold,
    Recycle,
    Release,
    ShareMemory,
    StopRun,
    Tell,
    TryRelease,
)
from tui_runner.engine.scheduling.workers import Workers
from tui_runner.engine.states import RunState
from tui_runner.store.database import OpenStatements

MB = 1_000_000


class Kept:
    """A guard, and what it has answered."""

    def __init__(self, limit: int | None = 1_000 * MB, workers: int = 1) -> None:
        self.shares: list[int | None] = []
        self.told: list[str] = []
        self.statements = OpenStatements()
        started = Workers(max(1, workers), threads=4)
        self.guard = MemoryGuard(limit, started, self.statements, 0, in_process=not workers)
        self.now = 0.0

    def __call__(self, message: Message) -> list[Answer]:
        """Return the answers other than shares and events."""
        answers = [*self.guard.handle(message, self.now)]
        self.shares += [answer.nbytes for answer in answers if isinstance(answer, ShareMemory)]
        self.told += [f"{answer.level} {answer.text}" for answer in answers if isinstance(answer, Tell)]
        return [answer for answer in answers if not isinstance(answer, ShareMemory | Tell)]

    def measure(self, app: int, *workers: int, in_flight: int = 4, seconds: float = 1.0) -> list[Answer]:
        """Return a measurement in megabytes; worker N has process 100 + N."""
        self.now += seconds
        by_pid = {100 + number: rss * MB for number, rss in enumerate(workers)}
        for number in range(len(workers)):
            self(Ready(number, 100 + number))
        self(Progress(0, {0: in_flight}, (), 4, 0, False))
        return self(MemoryMeasured(app * MB, sum(by_pid.values()), 0, by_pid))


def test_workers_share_what_is_left_with_the_one_that_takes_anothers_place() -> None:
    kept = Kept(workers=3)
    kept.measure(100, 50, 50, 50)
    assert kept.shares == [(700 - 100) * MB // 4]
    kept.measure(110, 50, 50, 50)
    assert len(kept.shares) == 1, "a small change is not worth a message"
    kept.measure(300, 50, 50, 50)
    assert kept.shares[1:] == [(700 - 300) * MB // 4]


def test_a_new_limit_is_a_new_share_and_none_is_none() -> None:
    kept = Kept()
    kept.measure(100, 50)
    kept(ChangeMaxMemory(2_000 * MB))
    kept.measure(100, 50)
    kept(ChangeMaxMemory(None))
    kept.measure(100, 5_000)
    kept.measure(100, 5_000)
    assert kept.shares == [300 * MB, 650 * MB, None]
    assert kept.told == ["INFO memory: 2.0 GB at most", "INFO memory: no limit"]
    kept(ChangeMaxMemory(100 * MB))
    assert kept.guard.limit is None and "the limit stays as it is" in kept.told[-1]


def test_workers_that_are_threads_of_this_process_have_no_share() -> None:
    kept = Kept(workers=0)
    assert [type(event) for event in kept.measure(850, in_flight=1)] == [Hold]
    assert kept.shares == []


def test_steps_of_the_ladder_are_taken() -> None:
    kept = Kept()
    assert kept.measure(100, 100) == []
    (divide,) = kept.measure(100, 650)
    assert isinstance(divide, DivideThreads)
    assert kept.guard.warnings == ("memory is at 75 % of 1.0 GB",)
    hold, recycle = kept.measure(100, 750, seconds=9)
    assert isinstance(hold, Hold)
    assert recycle == Recycle(0, "memory is at 85 % of 1.0 GB, 750 MB of it in this worker")
    killed, fewer = kept.measure(100, 900, seconds=9)
    assert isinstance(fewer, DivideThreads)
    assert isinstance(killed, Recycle) and killed.at_once
    assert kept.measure(100, 100) == [Release("memory")]
    assert kept.guard.warnings == ()


def test_a_worker_that_is_killed_while_it_has_one_item_was_killed_by_that_item() -> None:
    for in_flight, blamed in ((1, True), (2, False), (0, False)):
        kept = Kept()
        kept.measure(100, 100)
        recycled = [answer for answer in kept.measure(100, 900, in_flight=in_flight) if isinstance(answer, Recycle)]
        assert [(answer.at_once, answer.blamed) for answer in recycled] == [(True, blamed)]


class Statement:
    """An open query that ends at the second measurement after it was told to."""

    reason = ""

    def end(self, reason: str) -> bool:
        was_open, self.reason = not self.reason, self.reason or reason
        return was_open


def test_queries_end_before_the_run_is_limited_and_this_is_reported_once() -> None:
    kept, statement = Kept(), Statement()
    kept.statements.add(statement)
    assert [type(event) for event in kept.measure(850, 100)] == [Hold]
    assert kept.measure(850, 200) == []
    assert statement.reason == "the run needs the memory, memory is at 95 % of 1.0 GB"
    assert kept.told == ["WARNING memory is at 95 % of 1.0 GB: open queries were ended"]
    kept.statements.remove(statement)
    assert [type(event) for event in kept.measure(850, 200)] == [Recycle, DivideThreads]


def test_memory_of_a_worker_that_is_not_yet_known_counts() -> None:
    kept = Kept()
    kept.now += 1
    assert [type(event) for event in kept(MemoryMeasured(100 * MB, 800 * MB, 0, {7: 800 * MB}))] == [Hold]


def test_items_of_a_lost_worker_are_no_longer_in_flight() -> None:
    kept = Kept()
    kept.measure(900, 60)
    kept(WorkerLost(0, "killed"))
    answers: list[Answer] = []
    for _ in range(15):
        kept.now += 1
        answers += kept(MemoryMeasured(900 * MB, 0, 0))
    assert isinstance(answers[-1], StopRun), "nothing is in flight, so memory will not fall by itself"


def test_a_limit_that_nothing_can_keep_ends_the_run() -> None:
    kept = Kept()
    events = [event for _ in range(15) for event in kept.measure(900, 60, in_flight=0)]
    assert isinstance(events[-1], StopRun)
    assert events[-1].state is RunState.FAILED
    assert "raise --max-memory" in events[-1].reason
    assert kept.guard.needed == 2 * 960 * MB


def test_resuming_a_held_run_reports_what_it_waits_for() -> None:
    kept = Kept()
    kept(TryRelease())
    assert kept.told == []
    kept.measure(100, 400)
    kept.measure(100, 750)
    kept.measure(100, 650)
    kept(TryRelease())
    assert kept.told == ["WARNING memory is at 75 % of 1.0 GB: it resumes below 70 %, or with a higher memory limit"]


def test_limit_that_is_too_low_says_why() -> None:
    assert too_little(500 * MB, 2, 100 * MB) == ""
    assert too_little(None, 50, 100 * MB) == ""
    assert too_little(200 * MB, 2, 100 * MB) == (
        "200 MB is too little memory: tui-runner itself uses 100 MB now, 100 MB for each worker"
    )
    assert too_little(50 * MB, 0, 100 * MB) == "50 MB is too little memory: tui-runner itself uses 100 MB now"


def test_a_share_is_there_before_the_first_worker() -> None:
    assert worker_share(1_000 * MB, 3, 100 * MB) == 150 * MB
    assert worker_share(None, 3, 100 * MB) is None
    assert worker_share(1_000 * MB, 0, 100 * MB) is None
    assert worker_share(100 * MB, 1, 100 * MB) == 0
