"""Messages to the parts of a run, and their answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from support import snapshot_harness
from support.real_jobs import SQUARES
from support.scheduler_harness import SchedulerHarness, orders

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.guards import disk as disk_guard
from tui_runner.engine.guards import memory as memory_guard
from tui_runner.engine.guards.disk import PROBE_SECONDS, DiskGuard
from tui_runner.engine.input_reader import ItemsRead
from tui_runner.engine.protocol import Drain, Report, SetMaxMemory, SetRate
from tui_runner.engine.runner import Runner
from tui_runner.engine.scheduling import events
from tui_runner.engine.scheduling.events import (
    ChangeRate,
    ChangeThreads,
    Committed,
    DatabaseLost,
    Hold,
    PauseRun,
    RecordState,
    Release,
    ResumeRun,
    RetryFlush,
    RowsLeft,
    RunnerFault,
    ShareMemory,
    StartWorker,
    StopRun,
    Tell,
    Tick,
    TryRelease,
    WriteFailed,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import PauseCause, RunState
from tui_runner.errors import DatabaseError, DiskFull

LOST = DatabaseError("writing to the database failed: gone", "x.duckdb", "fix that, then resume the run")


# --- the runner -------------------------------------------------------------------------------------------------


@pytest.fixture
def runner(job_file: Callable[[str], str], new_run: Callable[..., Any]) -> Runner:
    built: Runner = new_run(job_file(SQUARES), backend="inline").runner
    return built


def test_every_message_reaches_a_part_or_a_worker(runner: Runner) -> None:
    performed = {events.SendOrder, events.StartWorker, events.KillWorker}
    mine = {kind for kind in vars(events).values() if isinstance(kind, type) and kind.__module__ == events.__name__}
    answered = {*get_args(disk_guard.Answer), *get_args(memory_guard.Answer)}
    for kind in {*mine, *get_args(Report), *answered, MemoryMeasured, ItemsRead} - performed:
        assert runner._routes.get(kind) or kind is RunnerFault, kind


def test_scheduler_comes_before_recorder_and_the_snapshot_last(runner: Runner) -> None:
    parts = runner._parts
    assert [type(part).__name__ for part in parts.in_order()] == [
        "PendingItems", "Scheduler", "MemoryGuard", "DiskGuard", "HungWorkerGuard", "InputReader", "Recorder", "RunLog",
        "SnapshotBuilder",
    ]  # fmt: skip
    for route in runner._routes.values():
        assert route == [part for part in parts.in_order() if part in route]


class Echo:
    """A part that answers each message with others, and remembers in which order it has heard of them."""

    takes = frozenset({int})

    def __init__(self) -> None:
        self.heard: list[int] = []

    def handle(self, message: int, now: float) -> list[int]:
        self.heard.append(message)
        return [10 * message + 1, 10 * message + 2] if message < 10 else []


def test_events_are_handled_in_the_order_they_came(runner: Runner) -> None:
    echo = Echo()
    runner._routes[int] = [echo, echo]
    runner._step(1)
    assert echo.heard == [1, 1, *[11] * 2, *[12] * 2, *[11] * 2, *[12] * 2]


def test_a_snapshot_shows_the_state_that_the_scheduler_has() -> None:
    desk = snapshot_harness.SnapshotHarness(chunks=1)
    for event in (Hold(PauseCause.DISK, "full"), PauseRun(), ResumeRun(), Release(PauseCause.DISK), RunnerFault("x")):
        desk.handle(event)
        picture, status = desk.picture(after=1.0), desk.scheduler.status
        assert (picture.state, picture.reason, picture.held) == (status.state, status.reason, status.held)


# --- the scheduler ----------------------------------------------------------------------------------------------


def test_a_rate_is_divided_among_the_workers_that_there_are_threads_for() -> None:
    scheduler = Scheduler(threads=4, workers=8, open_chunks=2, grace=1.0, rate=200, max_memory=70)
    starts = [each for each in scheduler.handle(events.Begin(), 0.0) if isinstance(each, StartWorker)]
    assert [(start.rate, start.max_memory) for start in starts] == [(50, 70)] * 4
    actions = scheduler.handle(ChangeThreads(1), 1.0)
    assert [order for _, order in orders(actions, SetRate)] == [SetRate(200)] * 4
    assert orders(scheduler.handle(ChangeThreads(1), 2.0), SetRate) == []


def test_a_new_rate_and_a_new_share_of_memory_reach_every_worker_and_those_that_start_later() -> None:
    desk = SchedulerHarness(workers=2, ready=2)
    assert orders(desk(ChangeRate(10))) == [(0, SetRate(5)), (1, SetRate(5))]
    assert desk.told[-1] == ("INFO", "rate: 10 items/s at most")
    assert orders(desk(ShareMemory(7_000))) == [(0, SetMaxMemory(7_000)), (1, SetMaxMemory(7_000))]
    (start,) = desk(events.WorkerLost(0, "killed"))
    assert (start.rate, start.max_memory) == (5, 7_000)
    assert desk(ChangeRate(0)) == [], "no item could ever start"
    assert orders(desk(ChangeRate(None)), SetRate)[-1] == (2, SetRate(None))


def test_the_state_to_resume_in_is_recorded_when_it_changes() -> None:
    desk = SchedulerHarness(chunks=1)
    for event, recorded in (
        (Hold(PauseCause.DISK, "full"), []),
        (PauseRun(), [RecordState(RunState.PAUSED)]),
        (Release(PauseCause.DISK), []),
        (ResumeRun(), [RecordState(RunState.RUNNING)]),
        (StopRun(RunState.STOPPED, "on request"), [RecordState(RunState.DRAINING)]),
    ):
        actions = desk.scheduler.handle(event, desk.now)
        assert [action for action in actions if isinstance(action, RecordState)] == recorded


def test_a_lost_database_ends_a_run_at_once_and_one_that_was_over_has_failed() -> None:
    desk = SchedulerHarness(chunks=1)
    desk(DatabaseLost(LOST))
    assert desk.end == (RunState.DRAINING, LOST.what)
    desk(events.WorkerLost(0, ""))
    assert desk.end == (RunState.FAILED, LOST.what)
    over = SchedulerHarness(chunks=1, ended=True)
    over.finish(0)
    over(events.WorkerLost(0, ""))
    assert over.end == (RunState.FINISHED, "")
    assert over(DatabaseLost(LOST)) == []
    assert over.end == (RunState.FAILED, LOST.what)


def test_a_fault_of_the_runner_fails_the_run_whatever_it_does() -> None:
    desk = SchedulerHarness(chunks=1)
    assert desk(RunnerFault("a fault")) == []
    assert desk.end == (RunState.FAILED, "a fault")
    assert desk(RunnerFault("another")) == []
    assert desk.end == (RunState.FAILED, "another")


# --- the guard of the disk --------------------------------------------------------------------------------------


def guarded() -> tuple[SchedulerHarness, DiskGuard]:
    desk = SchedulerHarness(chunks=1, ended=True)
    return desk, DiskGuard(desk.scheduler, Path("x.duckdb"))


FULL = WriteFailed(DiskFull("the disk is full", "x.duckdb", "make room on it"))


def test_a_full_disk_holds_the_run_and_is_tried_again_until_it_takes_the_rows() -> None:
    _, guard = guarded()
    (hold,) = guard.handle(FULL, 10.0)
    assert hold == Hold(PauseCause.DISK, "the disk is full; no rows were lost, the run resumes when there is room")
    assert [*guard.handle(Tick(), 10.0 + PROBE_SECONDS - 0.1)] == []
    assert [*guard.handle(Tick(), 10.0 + PROBE_SECONDS)] == [RetryFlush()]
    assert [*guard.handle(Tick(), 10.1 + PROBE_SECONDS)] == []
    assert [*guard.handle(TryRelease(), 14.0)] == []
    assert [*guard.handle(Tick(), 14.0)] == [RetryFlush()]
    assert [type(answer) for answer in guard.handle(Committed([]), 15.0)] == [Tell, Release]
    assert [*guard.handle(Committed([]), 16.0)] == [*guard.handle(Tick(), 99.0)] == []


def test_a_run_that_drains_does_not_wait_for_room_one_whose_last_rows_are_written_does() -> None:
    desk, guard = guarded()
    desk.finish(0)
    desk(events.WorkerLost(0, ""))
    assert [type(answer) for answer in guard.handle(FULL, 10.0)] == [Hold]
    desk, guard = guarded()
    assert orders(desk(StopRun(RunState.STOPPED, "on request")), Drain)
    (lost,) = guard.handle(FULL, 10.0)
    assert isinstance(lost, DatabaseLost)
    assert lost.error.what == "writing to the database failed: the disk is full"
    assert lost.error.do == "make room on it"


def test_batches_left_at_the_end_of_the_writing_thread_are_lost_for_the_last_reason() -> None:
    _, guard = guarded()
    (lost,) = guard.handle(RowsLeft(), 1.0)
    assert lost.error.what == "writing to the database failed: it takes no more rows"
    [*guard.handle(FULL, 2.0)]
    (lost,) = guard.handle(RowsLeft(), 3.0)
    assert lost.error.what == "writing to the database failed: the disk is full"


def test_a_disk_that_runs_low_is_warned_of() -> None:
    _, guard = guarded()
    (told,) = guard.handle(MemoryMeasured(1, 1, 0, {}, 900_000_000), 1.0)
    assert told == Tell("WARNING", "disk: 900 MB left")
    assert guard.warnings == ("disk: 900 MB left",)
    assert [*guard.handle(MemoryMeasured(1, 1, 0, {}, None), 2.0)] == []
