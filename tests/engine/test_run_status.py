"""The state of a run: what is shown, what is recorded, and what may follow."""

from __future__ import annotations

import itertools

import pytest

from tui_runner.engine.scheduling.circuit_breaker import BREAKER_TRANSITIONS, BreakerState
from tui_runner.engine.scheduling.workers import WORKER_TRANSITIONS, Worker, WorkerState
from tui_runner.engine.states import (
    CHUNK_TRANSITIONS,
    RUN_TRANSITIONS,
    USER_PAUSE,
    Ending,
    Pause,
    PauseCause,
    RunState,
    RunStatus,
    recorded_state,
)

RUNNING = RunStatus()
DISK = Pause(PauseCause.DISK, "the disk is full")
MEMORY = Pause(PauseCause.MEMORY, "memory is at 85 %")
OUTAGE = Pause(PauseCause.OUTAGE, "everything fails: one is tried from time to time")
LASTING = Pause(PauseCause.OUTAGE, "everything fails: resume it", resumes_by_itself=False)
REQUESTED = Ending(RunState.STOPPED, "stopped on request")


def with_pauses(*pauses):
    status = RUNNING
    for pause in pauses:
        status = status.paused(pause)
    return status


@pytest.mark.parametrize("pauses", itertools.permutations([USER_PAUSE, DISK, MEMORY, OUTAGE]))
def test_a_pause_of_the_user_is_shown_before_any_other_and_recorded(pauses):
    status = with_pauses(*pauses)
    assert (status.state, status.reason) == (RunState.PAUSED, "")
    assert status.persisted is RunState.PAUSED
    assert not status.held and not status.resumes_by_itself


@pytest.mark.parametrize("pauses", itertools.permutations([DISK, MEMORY, OUTAGE]))
def test_a_run_that_paused_itself_says_what_holds_it_now_and_is_recorded_as_running(pauses):
    status = with_pauses(*pauses)
    newest = [pause for pause in pauses if pause is not OUTAGE][-1]
    assert (status.state, status.reason) == (RunState.PAUSED, newest.reason)
    assert status.persisted is RunState.RUNNING
    assert status.resumes_by_itself and not status.held, "the user may end an outage"
    left = status.resumed(PauseCause.DISK, PauseCause.MEMORY)
    assert left.reason == OUTAGE.reason
    assert status.resumed(PauseCause.OUTAGE).held
    assert left.resumed(PauseCause.OUTAGE) == RUNNING


def test_the_same_cause_pauses_it_once_with_what_it_said_last():
    status = with_pauses(DISK, MEMORY, Pause(PauseCause.DISK, "still full"))
    assert status.reason == "still full"
    assert status.resumed(PauseCause.DISK) == with_pauses(MEMORY)


def test_status_tells_pauses_that_wait_for_the_user():
    idle = RunStatus(chunks_paused=True)
    assert idle.idle and not idle.resumes_by_itself
    assert idle.state is RunState.PAUSED and idle.persisted is RunState.RUNNING and "paused chunks" in idle.reason
    assert not with_pauses(LASTING, DISK).resumes_by_itself
    assert with_pauses(OUTAGE, DISK).resumes_by_itself and RUNNING.resumes_by_itself


def test_an_automatic_pause_is_named_and_shown_in_place_of_the_recorded_state():
    assert [with_pauses(*each).automatic_pause for each in ((), (OUTAGE,), (OUTAGE, DISK), (OUTAGE, USER_PAUSE))] == [
        "",
        "outage",
        "disk",
        "",
    ]
    assert recorded_state("running", goes_on=True, pause="outage") == "paused: outage"
    assert recorded_state("running", goes_on=False, pause="outage") == "interrupted"
    assert recorded_state("paused", goes_on=True, pause="outage") == "paused"


def test_a_run_that_stops_says_why_whatever_had_paused_it():
    status = with_pauses(USER_PAUSE, MEMORY, OUTAGE).draining(REQUESTED)
    assert (status.state, status.reason) == (RunState.DRAINING, "stopped on request")
    status = status.ended_as_decided()
    assert (status.state, status.reason, status.ended) == (RunState.STOPPED, "stopped on request", True)


def test_the_last_rows_of_a_finished_run_may_wait_for_the_disk():
    status = with_pauses(USER_PAUSE, DISK).finished()
    assert status.ended and status.held
    assert (status.state, status.reason) == (RunState.PAUSED, "the disk is full")
    status = status.resumed(PauseCause.DISK)
    assert (status.state, status.reason) == (RunState.FINISHED, "")


def test_a_run_whose_last_rows_are_lost_has_failed():
    for status in (RUNNING.finished(), RUNNING.draining(REQUESTED).ended_as_decided(), RUNNING.failed("other")):
        status = status.failed("the database is gone")
        assert (status.state, status.reason) == (RunState.FAILED, "the database is gone")


def test_a_wrong_turn_of_a_run_is_an_error():
    with pytest.raises(ValueError, match="RunState cannot go from finished to draining"):
        RUNNING.finished().draining(REQUESTED)
    with pytest.raises(ValueError, match="nothing has decided"):
        RUNNING.ended_as_decided()


def test_a_wrong_turn_of_a_worker_is_an_error():
    worker = Worker(0, 0)
    worker.become(WorkerState.KILLED)
    with pytest.raises(ValueError, match="WorkerState cannot go from killed to ready"):
        worker.become(WorkerState.READY)


@pytest.mark.parametrize(
    ("table", "without"),
    [
        (CHUNK_TRANSITIONS, set()),
        (RUN_TRANSITIONS, {RunState.PAUSED}),
        (WORKER_TRANSITIONS, set()),
        (BREAKER_TRANSITIONS, set()),
    ],
)
def test_each_table_has_every_state_and_leads_nowhere_else(table, without):
    states = {*type(next(iter(table)))} - without
    assert {*table} == states
    assert all(after <= states and state not in after for state, after in table.items())


def test_each_run_can_come_to_each_of_its_ends_and_the_breaker_can_close():
    assert {state for state in RUN_TRANSITIONS[RunState.DRAINING] if state.ended} == RUN_TRANSITIONS[RunState.DRAINING]
    assert RUN_TRANSITIONS[RunState.FAILED] == frozenset()
    assert all(BreakerState.CLOSED in after for state, after in BREAKER_TRANSITIONS.items() if state != "closed")
