"""The ends of a run: finished, stopped, killed, failed."""

from __future__ import annotations

import pytest
from support.scheduler_harness import SchedulerHarness, orders, sends
from support.simulated_worker import flush

from tui_runner.engine.limits import FailureLimit
from tui_runner.engine.protocol import (
    ChunkExhausted,
    Counts,
    Drain,
    Drained,
    WorkerFailed,
    WorkerLost,
)
from tui_runner.engine.scheduling.events import (
    CancelChunks,
    ChunkEnded,
    ChunkRead,
    EndRun,
    InputEnded,
    InputFailed,
    KillRun,
    KillWorker,
    PauseChunks,
    PauseRun,
    ResumeChunks,
    ResumeRun,
    RetryChunks,
    SendOrder,
    StopRun,
    Tick,
)
from tui_runner.engine.states import ChunkState, RunState

# --- the end ------------------------------------------------------------------------------------------------


def test_a_run_is_finished_when_input_and_chunks_have_ended_and_the_workers_are_gone():
    desk = SchedulerHarness(chunks=1, ended=True)
    assert desk.finish(0) == [ChunkEnded(0, ()), SendOrder(0, Drain(10.0))]
    desk(Drained(0))
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]
    assert desk(Tick()) == []


def test_an_empty_input_is_a_finished_run():
    desk = SchedulerHarness(ended=True)
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_run_of_nothing_but_recorded_items_is_finished_even_if_a_worker_does_not_start():
    desk = SchedulerHarness(ready=0)
    desk(ChunkRead(0, range(0, 2), []))
    desk(InputEnded())
    desk(WorkerFailed(0, "setup raised"))
    assert desk(WorkerLost(0, "ended with exit code 1")) == [EndRun(RunState.FINISHED, "")]


def test_a_stopped_run_drains_and_counts_what_still_comes():
    desk = SchedulerHarness(chunks=3)
    assert desk(StopRun(RunState.STOPPED, "on request")) == [SendOrder(0, Drain(10.0))]
    desk(flush(0, {0: [0]}))
    assert desk.scheduler.counts == Counts(done=1)
    assert sends(desk(ChunkExhausted(0, 0))) == []
    desk(Drained(0, stuck=2))
    assert desk.told[-1][1].startswith("2 items were still running")
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.STOPPED, "on request")]
    assert desk.state(0) is ChunkState.WAITING


def test_a_run_that_is_stopped_when_nothing_is_left_to_do_is_finished():
    desk = SchedulerHarness(chunks=1, ended=True)
    desk(StopRun(RunState.STOPPED, "on request"))
    desk.finish(0)
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_stopped_run_does_not_replace_lost_workers():
    desk = SchedulerHarness(chunks=1)
    desk(StopRun(RunState.STOPPED, "on request"))
    assert desk(WorkerLost(0, "killed by SIGKILL")) == [EndRun(RunState.STOPPED, "on request")]


@pytest.mark.parametrize("command", [PauseChunks, ResumeChunks, CancelChunks, RetryChunks])
def test_commands_on_chunks_come_too_late_while_a_run_drains(command):
    desk = SchedulerHarness(chunks=2)
    desk(StopRun(RunState.STOPPED, "on request"))
    assert desk(command([0, 1])) == []
    assert desk(PauseRun()) == desk(ResumeRun()) == []


def test_a_worker_that_does_not_drain_is_killed_after_the_grace_time():
    desk = SchedulerHarness(chunks=1, grace=3.0)
    desk(StopRun(RunState.STOPPED, "on request"))
    desk.now += 7.9
    assert desk(Tick()) == []
    desk.now += 0.2
    assert desk(Tick()) == [KillWorker(0)]
    assert desk(Tick()) == []
    assert desk(WorkerLost(0, "killed by tui-runner")) == [EndRun(RunState.STOPPED, "on request")]


def test_killing_a_run_kills_its_workers_even_when_it_drains_already():
    desk = SchedulerHarness(chunks=1)
    desk(StopRun(RunState.STOPPED, "on request"))
    assert desk(KillRun(RunState.STOPPED, "killed")) == [KillWorker(0)]
    assert desk(WorkerLost(0, "killed by tui-runner")) == [EndRun(RunState.STOPPED, "killed")]


def test_a_run_that_fails_stays_failed_when_it_is_killed():
    desk = SchedulerHarness(chunks=1)
    desk(InputFailed("row 7 is no JSON"))
    desk(KillRun(RunState.STOPPED, "killed"))
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FAILED, "row 7 is no JSON")]


def test_an_input_that_breaks_off_ends_the_run_as_failed_when_what_it_gave_has_run():
    desk = SchedulerHarness(chunks=1)
    assert orders(desk(InputFailed("row 7 is no JSON"))) == []
    assert orders(desk.finish(0), Drain) != []
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FAILED, "row 7 is no JSON")]
    assert not desk.scheduler.input_ended


def test_a_run_that_fails_after_its_input_did_says_the_later_reason():
    desk = SchedulerHarness(chunks=1)
    desk(InputFailed("row 7 is no JSON"))
    desk(WorkerFailed(0, "setup failed"))
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FAILED, "setup failed")]


def test_an_input_that_breaks_off_before_its_first_item_ends_the_run_at_once():
    desk = SchedulerHarness()
    assert orders(desk(InputFailed("row 1 is no JSON"))) == [(0, Drain(10.0))]
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FAILED, "row 1 is no JSON")]


def test_too_many_failures_stop_the_run_in_order():
    desk = SchedulerHarness(chunks=2, max_failures=FailureLimit(count=1))
    desk(flush(0, {0: [0]}, {0: {0: 3}}))
    assert desk.scheduler.status.state is RunState.RUNNING
    actions = desk(flush(0, {1: [2]}, {1: {2: 3}}))
    assert actions == [SendOrder(0, Drain(10.0))]
    assert desk(WorkerLost(0, "")) == [
        EndRun(
            RunState.FAILED,
            "2 items failed, more than --max-failures allows; fix the cause, or resume with a higher limit",
        )
    ]


def test_a_share_of_failures_is_one_of_the_items_of_this_process():
    desk = SchedulerHarness(max_failures=FailureLimit(share=0.5))
    desk(ChunkRead(0, range(0, 1000), range(900, 1_000)))
    desk(flush(0, {0: range(900, 950)}, {0: dict.fromkeys(range(900, 950), 1)}))
    assert desk.scheduler.status.state is RunState.RUNNING
    desk(flush(0, {0: range(950, 1_000)}, {0: {999: 1}}, {0: Counts(done=49, failed=51)}))
    assert desk.scheduler.status.state is RunState.DRAINING
