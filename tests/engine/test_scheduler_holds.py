"""A run that is held: by a full disk, or by memory at its limit."""

from __future__ import annotations

from scheduler_desk import Desk

from tui_runner.engine.chunk import RunState
from tui_runner.engine.events import EndRun, Hold, PauseRun, Release, ResumeRun, SendOrder, StartWorker, TryRelease
from tui_runner.engine.protocol import Drain, Drained, Pause, Resume, WorkerLost
from tui_runner.engine.scheduler import Scheduler

FULL = Hold("disk", "the disk is full")


def orders(actions):
    return [action.order for action in actions if isinstance(action, SendOrder)]


def test_a_held_run_is_paused_until_it_is_released():
    desk = Desk(chunks=1)
    assert orders(desk(FULL)) == [Pause()]
    assert desk.end == (RunState.PAUSED, "the disk is full")
    assert orders(desk(Release("disk"))) == [Resume()]
    assert desk.end == (RunState.RUNNING, "")
    assert desk.told[-2:] == [("WARNING", "paused: the disk is full"), ("INFO", "the run goes on")]


def test_of_two_holds_the_last_one_counts():
    desk = Desk(chunks=1)
    desk(FULL)
    desk(Hold("memory", "no memory"))
    desk(Release("disk"))
    assert desk.scheduler.state is RunState.PAUSED
    desk(Release("memory"))
    assert desk.scheduler.state is RunState.RUNNING
    assert orders(desk(Release("memory"))) == []


def test_whoever_resumes_a_held_run_has_it_looked_at_again():
    desk = Desk(chunks=1)
    desk(FULL)
    assert desk(ResumeRun()) == [TryRelease()]
    assert desk.end == (RunState.PAUSED, "the disk is full")


def test_a_run_that_a_person_has_paused_stays_paused_when_it_is_released():
    for events in ([PauseRun(), FULL], [FULL, PauseRun()]):
        desk = Desk(chunks=1)
        for event in events:
            desk(event)
        assert orders(desk(Release("disk"))) == []
        assert desk.end == (RunState.PAUSED, "")
        desk(ResumeRun())
        assert desk.scheduler.state is RunState.RUNNING


def test_a_person_who_resumes_while_it_is_held_means_it():
    desk = Desk(chunks=1)
    for event in (PauseRun(), FULL, ResumeRun()):
        desk(event)
    assert desk.scheduler.state is RunState.PAUSED
    desk(Release("disk"))
    assert desk.scheduler.state is RunState.RUNNING


def test_a_held_run_does_not_end_before_it_is_released():
    desk = Desk(chunks=1, ended=True)
    desk(FULL)
    assert not any(isinstance(order, Drain) for order in orders(desk.finish(0)))
    assert any(isinstance(order, Drain) for order in orders(desk(Release("disk"))))
    desk(Drained(0))
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_worker_that_starts_while_the_run_is_held_starts_paused():
    desk = Desk(chunks=1)
    desk(FULL)
    (start,) = (action for action in desk(WorkerLost(0, "killed")) if isinstance(action, StartWorker))
    assert start.paused


def test_a_run_that_begins_paused_is_not_set_going_by_a_release():
    scheduler = Scheduler(threads=1, workers=1, open_chunks=1, grace=1.0, paused=True)
    scheduler.handle(FULL, 0.0)
    scheduler.handle(Release("disk"), 1.0)
    assert scheduler.state is RunState.PAUSED
