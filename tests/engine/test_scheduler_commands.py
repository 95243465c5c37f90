"""Commands of a user to the scheduler: pause, resume, cancel, run again."""

from __future__ import annotations

import pytest
from support.scheduler_harness import SchedulerHarness, orders, sends
from support.simulated_worker import flush

from tui_runner.engine.protocol import (
    Cancel,
    ChunkExhausted,
    ChunkFinished,
    Counts,
    Drain,
    Pause,
    Progress,
    Ready,
    Resume,
    WorkerLost,
)
from tui_runner.engine.scheduling import chunks
from tui_runner.engine.scheduling.events import (
    Abandoned,
    CancelChunks,
    ChunkEnded,
    ChunkRead,
    EndRun,
    InputEnded,
    PauseChunks,
    PauseRun,
    ReadChunks,
    ResumeChunks,
    ResumeRun,
    RetryChunks,
    RunAgain,
    SendChunk,
    SendOrder,
    StartWorker,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import ChunkState, RunState

# --- pause and resume ---------------------------------------------------------------------------------------


def test_a_paused_run_sends_nothing_until_it_is_resumed():
    desk = SchedulerHarness(chunks=3)
    assert orders(desk(PauseRun())) == [(0, Pause())]
    assert sends(desk(ChunkExhausted(0, 0))) == []
    resumed = desk(ResumeRun())
    assert orders(resumed) == [(0, Resume())]
    assert sends(resumed) == [(0, 2)]


def test_a_run_may_begin_paused_and_still_shows_what_was_recorded_before():
    desk = SchedulerHarness(paused=True)
    assert desk.begun == [StartWorker(0, 4, True)]
    assert desk(ChunkRead(0, range(0, 2), [])) == [ChunkEnded(0, ())]
    actions = desk.scheduler.handle(ChunkRead(1, range(2, 4), []), desk.now)
    assert ReadChunks(1) in actions


def test_pausing_twice_is_pausing_once():
    desk = SchedulerHarness(chunks=1)
    desk(PauseRun())
    assert desk(PauseRun()) == []
    desk(ResumeRun())
    assert desk(ResumeRun()) == []


def test_time_paused_is_not_active():
    desk = SchedulerHarness()
    desk.now += 10
    desk(PauseRun())
    desk.now += 100
    assert desk.scheduler.active(desk.now) == 10
    desk(ResumeRun())
    desk.now += 5
    assert desk.scheduler.active(desk.now) == 15


def test_no_time_is_active_before_the_beginning():
    scheduler = Scheduler(threads=1, workers=1, open_chunks=1, grace=1.0)
    assert scheduler.active(1e6) == 0.0


def test_pausing_a_chunk_lets_another_take_its_place():
    desk = SchedulerHarness(chunks=3)
    actions = desk(PauseChunks([0]))
    assert orders(actions) == [(0, Pause(0))]
    assert sends(actions) == [(0, 2)]
    assert desk.state(0) is ChunkState.PAUSED


def test_a_paused_chunk_goes_back_to_where_it_came_from():
    desk = SchedulerHarness(chunks=4)
    desk(PauseChunks([0, 3]))
    assert orders(desk(ResumeChunks([0, 3]))) == [(0, Resume(0))]
    assert [desk.state(0), desk.state(3)] == [ChunkState.RUNNING, ChunkState.WAITING]


def test_a_paused_chunk_may_end_by_its_items_in_flight():
    desk = SchedulerHarness(chunks=1)
    desk(PauseChunks([0]))
    desk.finish(0)
    assert desk.state(0) is ChunkState.DONE


def test_a_paused_chunk_of_a_lost_worker_stays_paused():
    desk = SchedulerHarness(chunks=1)
    desk(PauseChunks([0]))
    desk(WorkerLost(0, "gone"))
    assert sends(desk(Ready(1, 1))) == []
    assert sends(desk(ResumeChunks([0]))) == [(1, 0)]


def test_a_run_rests_when_only_paused_chunks_are_left_and_is_resumed_with_them():
    desk = SchedulerHarness(chunks=3)
    desk.finish(0)
    desk(PauseChunks(frozenset({1, 2})))
    assert not desk.scheduler.status.idle  # more may come
    desk(InputEnded())
    assert desk.scheduler.status.idle
    rested = desk.scheduler.active(desk.now)
    desk.now += 100.0
    assert desk.scheduler.active(desk.now) == rested
    desk(ResumeRun())
    assert not desk.scheduler.status.idle and ChunkState.PAUSED not in (desk.state(1), desk.state(2))
    desk.now += 1.0
    assert desk.scheduler.active(desk.now) == rested + 1.0


def test_a_run_does_not_rest_while_a_paused_chunk_is_cancelled():
    desk = SchedulerHarness(chunks=1, ended=True)
    desk(PauseChunks(frozenset({0})))
    desk(CancelChunks(frozenset({0})))
    assert not desk.scheduler.status.idle
    desk.finish(0, cancelled=(0, 1))
    desk(RetryChunks(frozenset({0})))
    desk(PauseChunks(frozenset({0})))
    assert desk.scheduler.status.idle


def test_a_paused_run_stops_when_no_user_is_left_to_resume_it():
    desk = SchedulerHarness(chunks=1, ended=True)
    desk(PauseChunks(frozenset({0})))
    desk(Abandoned("the terminal is gone"))
    assert desk.scheduler.status.state is RunState.DRAINING
    desk = SchedulerHarness(chunks=2, ended=True)
    desk(PauseChunks(frozenset({0})))
    desk(Abandoned("the terminal is gone"))
    assert desk.scheduler.status.state is RunState.RUNNING
    desk.finish(1)
    assert desk.scheduler.status.state is RunState.DRAINING


def test_a_run_does_not_end_while_a_chunk_is_paused():
    desk = SchedulerHarness(chunks=1, ended=True)
    assert orders(desk(PauseChunks([0])), Drain) == []
    assert desk.scheduler.status.idle and desk.scheduler.status.phase is RunState.RUNNING


# --- cancel and retry ---------------------------------------------------------------------------------------


def test_the_worker_that_has_a_chunk_cancels_it():
    desk = SchedulerHarness(chunks=3)
    actions = desk(CancelChunks([0]))
    assert orders(actions) == [(0, Cancel(0))]
    assert sends(actions) == [(0, 2)]
    assert ChunkEnded(0, (0, 1)) in desk.finish(0, cancelled=[0, 1])


def test_a_cancelled_chunk_says_that_items_finish_only_if_some_are_in_flight():
    desk = SchedulerHarness(chunks=4)
    desk(Progress(0, {1: 2}, (), 4, 0, False))
    desk(CancelChunks([0, 1, 3]))
    assert [text for _, text in desk.told[-3:]] == [
        "chunk 0 cancelled", "chunk 1 cancelled: items in flight finish", "chunk 3 cancelled",
    ]  # fmt: skip


def test_a_chunk_that_has_ended_before_it_is_cancelled_is_told():
    desk = SchedulerHarness(chunks=3)
    desk.finish(0)
    desk(CancelChunks([0]))
    assert desk.told[-1] == ("INFO", "chunk 0 had ended already: nothing was cancelled")


def test_a_waiting_chunk_is_sent_to_a_worker_to_be_cancelled():
    desk = SchedulerHarness(chunks=3)
    assert desk(CancelChunks([2])) == [SendChunk(0, 2, None, True), SendOrder(0, Cancel(2))]


def test_a_chunk_is_cancelled_as_soon_as_there_is_a_worker_to_do_it():
    desk = SchedulerHarness(chunks=1, ready=0)
    assert desk(CancelChunks([0])) == []
    assert desk(Ready(0, 1)) == [SendChunk(0, 0, None, True), SendOrder(0, Cancel(0))]


def test_a_chunk_is_cancelled_by_the_next_worker_when_the_first_is_lost():
    desk = SchedulerHarness(chunks=1)
    desk(CancelChunks([0]))
    desk(flush(0, {0: [0]}))
    desk(WorkerLost(0, "gone"))
    assert desk(Ready(1, 1)) == [SendChunk(1, 0, [1], True), SendOrder(1, Cancel(0))]


def test_a_chunk_that_is_being_cancelled_is_neither_paused_nor_resumed():
    desk = SchedulerHarness(chunks=2)
    desk(CancelChunks([0]))
    assert desk(PauseChunks([0])) == []
    assert desk(ResumeChunks([0])) == []
    assert desk(CancelChunks([0])) == []


def test_cancelling_works_while_the_run_is_paused():
    desk = SchedulerHarness(chunks=3)
    desk(PauseRun())
    assert desk(CancelChunks([2])) == [SendChunk(0, 2, None, True), SendOrder(0, Cancel(2))]


def test_only_what_did_not_end_well_runs_again():
    desk = SchedulerHarness(chunks=1, items=4)
    desk.finish(0, failed=[1], cancelled=[3])
    assert desk(RetryChunks([0])) == [RunAgain(0, (1, 3)), SendChunk(0, 0, None, False, attempts={1: 1, 3: 0})]
    assert desk.told[-1] == ("INFO", "chunk 0: 2 items run again")
    assert desk.scheduler.counts == Counts(done=2)
    desk(flush(0, {0: [1, 3]}))
    desk(ChunkFinished(0, 0))
    assert desk.state(0) is ChunkState.DONE
    assert desk.scheduler.counts == Counts(done=4)


def test_failures_too_many_to_be_kept_are_not_passed_over_in_silence(monkeypatch):
    monkeypatch.setattr(chunks, "MAX_KEPT_FAILURES", 2)
    desk = SchedulerHarness(chunks=2, items=3)
    desk.finish(0, failed=[1])
    desk.finish(1, failed=[3, 4])
    assert desk(RetryChunks([0, 1, 7])) == [RunAgain(0, (1,)), SendChunk(0, 0, None, False, attempts={1: 1})]
    assert [level for level, _ in desk.told] == ["INFO", "WARNING"]
    assert desk.told[0][1] == "chunk 0: 1 item runs again"
    assert "2 items of 1 chunk cannot run again now" in desk.told[-1][1]
    assert "tui-runner retry" in desk.told[-1][1]


@pytest.mark.parametrize("numbers", [[0], [1], [7], [-1]], ids=["done", "running", "unknown", "negative"])
def test_retry_leaves_other_chunks_alone(numbers):
    desk = SchedulerHarness(chunks=2)
    desk.finish(0)
    assert desk(RetryChunks(numbers)) == []


def test_chunks_can_run_again_while_the_workers_are_being_sent_home():
    desk = SchedulerHarness(chunks=1, ended=True)
    assert orders(desk.finish(0, failed=[0])) == [(0, Drain(10.0))]
    assert desk(RetryChunks([0])) == [RunAgain(0, (0,)), StartWorker(1, 4, False)]
    assert desk(WorkerLost(0, "")) == []
    assert sends(desk(Ready(1, 1))) == [(1, 0)]
    desk.finish(0, worker=1)
    assert desk(WorkerLost(1, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_worker_that_gets_ready_after_it_was_sent_home_gets_no_chunk():
    desk = SchedulerHarness(chunks=1, workers=2, ready=1, ended=True)
    desk.finish(0, failed=[0])
    desk(RetryChunks([0]))
    assert sends(desk(Ready(1, 2))) == []
    assert sends(desk(Ready(2, 3))) == [(2, 0)]
