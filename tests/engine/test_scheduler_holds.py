"""A run that is held: by a full disk, or by memory at its limit."""

from __future__ import annotations

from support.scheduler_harness import SchedulerHarness

from tui_runner.engine.protocol import Drain, Drained, Pause, Ready, Resume, WorkerLost
from tui_runner.engine.scheduling.events import (
    EndRun,
    Hold,
    PauseRun,
    Release,
    ResumeRun,
    RetryChunks,
    SendOrder,
    StartWorker,
    StopRun,
    TryRelease,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import RunState

FULL = Hold("disk", "the disk is full")


def orders(actions):
    return [action.order for action in actions if isinstance(action, SendOrder)]


def test_a_held_run_is_paused_until_it_is_released():
    desk = SchedulerHarness(chunks=1)
    assert orders(desk(FULL)) == [Pause()]
    assert desk.end == (RunState.PAUSED, "the disk is full")
    assert orders(desk(Release("disk"))) == [Resume()]
    assert desk.end == (RunState.RUNNING, "")
    assert desk.told[-2:] == [("WARNING", "paused: the disk is full"), ("INFO", "the run continues")]


def test_of_two_holds_the_last_one_counts():
    desk = SchedulerHarness(chunks=1)
    desk(FULL)
    desk(Hold("memory", "no memory"))
    desk(Release("disk"))
    assert desk.scheduler.status.state is RunState.PAUSED
    desk(Release("memory"))
    assert desk.scheduler.status.state is RunState.RUNNING
    assert orders(desk(Release("memory"))) == []


def test_resuming_a_held_run_checks_its_cause_again():
    desk = SchedulerHarness(chunks=1)
    desk(FULL)
    assert desk(ResumeRun()) == [TryRelease()]
    assert desk.end == (RunState.PAUSED, "the disk is full")
    desk(PauseRun())
    assert not desk.scheduler.status.held
    assert desk(ResumeRun()) == [TryRelease()]
    assert desk.scheduler.status.held, "this is what shows that it was taken"


def test_a_run_that_a_person_has_paused_stays_paused_when_it_is_released():
    for events in ([PauseRun(), FULL], [FULL, PauseRun()]):
        desk = SchedulerHarness(chunks=1)
        for event in events:
            desk(event)
        assert orders(desk(Release("disk"))) == []
        assert desk.end == (RunState.PAUSED, "")
        desk(ResumeRun())
        assert desk.scheduler.status.state is RunState.RUNNING


def test_a_person_who_resumes_while_it_is_held_means_it():
    desk = SchedulerHarness(chunks=1)
    for event in (PauseRun(), FULL, ResumeRun()):
        desk(event)
    assert desk.scheduler.status.state is RunState.PAUSED
    desk(Release("disk"))
    assert desk.scheduler.status.state is RunState.RUNNING


def test_a_held_run_does_not_end_before_it_is_released():
    desk = SchedulerHarness(chunks=1, ended=True)
    desk(FULL)
    assert not any(isinstance(order, Drain) for order in orders(desk.finish(0)))
    assert any(isinstance(order, Drain) for order in orders(desk(Release("disk"))))
    desk(Drained(0))
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_worker_that_starts_while_the_run_is_held_starts_paused():
    desk = SchedulerHarness(chunks=1)
    desk(FULL)
    (start,) = (action for action in desk(WorkerLost(0, "killed")) if isinstance(action, StartWorker))
    assert start.paused


def test_a_run_that_begins_paused_is_not_set_going_by_a_release():
    scheduler = Scheduler(threads=1, workers=1, open_chunks=1, grace=1.0, paused=True)
    scheduler.handle(FULL, 0.0)
    scheduler.handle(Release("disk"), 1.0)
    assert scheduler.status.state is RunState.PAUSED


def test_a_release_leaves_the_reason_that_is_left():
    desk = SchedulerHarness(chunks=1)
    desk(FULL)
    desk(Hold("memory", "no memory"))
    desk(Release("memory"))
    assert desk.end == (RunState.PAUSED, "the disk is full")


def test_a_held_run_that_is_stopped_says_why_it_stops_whatever_is_pressed_then():
    desk = SchedulerHarness(chunks=1)
    for event in (FULL, StopRun(RunState.STOPPED, "on request"), PauseRun(), Hold("disk", "still full")):
        desk(event)
    assert desk.end == (RunState.DRAINING, "on request")
    desk(WorkerLost(0, ""))
    assert desk.end == (RunState.STOPPED, "on request")


def test_a_run_that_is_held_when_its_workers_go_home_starts_no_others_for_nothing():
    desk = SchedulerHarness(chunks=1, ended=True)
    desk.finish(0, failed=[0])
    assert orders(desk(FULL)) == [Pause()]
    assert desk(Drained(0)) == desk(WorkerLost(0, "")) == [], "it is not over before it is released"
    again = desk(RetryChunks([0]))
    assert any(isinstance(action, StartWorker) and action.paused for action in again)
    desk(Ready(1, 2))
    desk(Release("disk"))
    desk.finish(0, worker=1)
    assert desk(WorkerLost(1, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_run_that_is_held_when_its_workers_have_gone_home_ends_when_it_is_released():
    desk = SchedulerHarness(chunks=1, ended=True)
    desk.finish(0)
    desk(FULL)
    desk(WorkerLost(0, ""))
    assert desk(Release("disk")) == [EndRun(RunState.FINISHED, "")]
