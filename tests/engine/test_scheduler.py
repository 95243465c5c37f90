"""The rules of the scheduler, one by one."""

from __future__ import annotations

import pytest
from simulated_world import cut, flush

from tui_runner.engine.chunk import ChunkState, Counts, RunState
from tui_runner.engine.events import (
    Begin,
    CancelChunks,
    ChangeOpenChunks,
    ChangeThreads,
    ChunkEnded,
    ChunkRead,
    EndRun,
    InputEnded,
    InputFailed,
    KillRun,
    KillWorker,
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
    StopRun,
    Tell,
    Tick,
)
from tui_runner.engine.limits import FailureLimit
from tui_runner.engine.protocol import (
    Cancel,
    ChunkExhausted,
    ChunkFinished,
    Drain,
    Drained,
    Pause,
    Ready,
    Resume,
    SetThreads,
    WorkerFailed,
    WorkerLost,
)
from tui_runner.engine.scheduler import Scheduler


class Desk:
    """A scheduler at work: events go in, and the actions that matter to a test come out, without what was told."""

    def __init__(self, *, chunks: int = 0, ready: int = 1, items: int = 2, ended: bool = False, **settings) -> None:
        defaults = {"threads": 4, "workers": 1, "open_chunks": 2, "grace": 10.0}
        self.scheduler = Scheduler(**{**defaults, **settings})
        self.now = 500.0
        self.told: list[tuple[str, str]] = []
        self.begun = self(Begin())
        for worker in range(ready):
            self(Ready(worker, 1))
        self.sent = [action for event in cut([[False] * items] * chunks) for action in self(event)]
        if ended:
            self(InputEnded())

    def __call__(self, event):
        actions = self.scheduler.handle(event, self.now)
        self.told += [(action.level, action.text) for action in actions if isinstance(action, Tell)]
        return [action for action in actions if not isinstance(action, Tell | ReadChunks)]

    def state(self, number):
        return self.scheduler.chunks[number].state

    def finish(self, number, *, worker=0, failed=(), cancelled=()):
        """The worker has started every item of a chunk, flushes them and says that it is finished."""
        self(ChunkExhausted(worker, number))
        pending = sorted(self.scheduler.chunks[number].pending)
        attempts = {number: {**dict.fromkeys(failed, 1), **dict.fromkeys(cancelled, 0)}}
        good = len(pending) - len(failed) - len(cancelled)
        counts = {number: Counts(good, len(failed), len(cancelled))}
        return self(flush(worker, {number: pending}, attempts, counts)) + self(ChunkFinished(worker, number))

    @property
    def end(self):
        return (self.scheduler.state, self.scheduler.reason)


def sends(actions):
    return [(action.worker, action.chunk) for action in actions if isinstance(action, SendChunk)]


def orders(actions, kind=object):
    found = [action for action in actions if isinstance(action, SendOrder)]
    return [(action.worker, action.order) for action in found if isinstance(action.order, kind)]


# --- reading and sending -----------------------------------------------------------------------------------


def test_a_run_starts_its_workers_and_reads_a_few_chunks_ahead():
    scheduler = Scheduler(threads=5, workers=2, open_chunks=3, grace=1.0)
    actions = scheduler.handle(Begin(), 0.0)
    assert actions == [StartWorker(0, 3, False), StartWorker(1, 2, False), ReadChunks(4)]


def test_there_are_no_more_workers_than_threads():
    assert Desk(threads=1, workers=2).begun == [StartWorker(0, 1, False)]


def test_chunks_wait_for_a_ready_worker_and_then_go_in_order():
    desk = Desk(chunks=3, ready=0)
    assert sends(desk.sent) == []
    assert sends(desk(Ready(0, 1))) == [(0, 0), (0, 1)]
    assert desk.state(2) is ChunkState.WAITING


def test_the_next_chunk_goes_out_when_one_has_no_items_left_to_start():
    desk = Desk(chunks=3)
    assert sends(desk(ChunkExhausted(0, 1))) == [(0, 2)]
    assert desk.state(1) is ChunkState.RUNNING


def test_as_many_chunks_are_read_as_have_left_the_queue():
    desk = Desk(chunks=4)
    actions = desk.scheduler.handle(ChunkExhausted(0, 0), desk.now)
    assert ReadChunks(1) in actions


def test_nothing_is_asked_of_an_input_that_has_ended():
    desk = Desk(chunks=4, ended=True)
    actions = desk.scheduler.handle(ChunkExhausted(0, 0), desk.now)
    assert not any(isinstance(action, ReadChunks) for action in actions)


def test_only_items_that_are_not_recorded_are_sent():
    desk = Desk()
    (send,) = desk(ChunkRead(0, 0, 5, [1, 4]))
    assert send == SendChunk(0, 0, [1, 4], False)
    assert (desk.scheduler.skipped, desk.scheduler.counts.done) == (3, 3)


def test_a_chunk_that_is_recorded_already_is_done_without_a_worker():
    desk = Desk()
    assert desk(ChunkRead(0, 0, 5, [])) == [ChunkEnded(0, ())]
    assert desk.state(0) is ChunkState.DONE


def test_the_first_worker_to_be_ready_does_not_take_the_share_of_the_others():
    desk = Desk(chunks=4, workers=2, open_chunks=4, ready=1)
    assert sends(desk.sent) == [(0, 0), (0, 1)]
    assert sends(desk(Ready(1, 2))) == [(1, 2), (1, 3)]


def test_each_worker_has_a_chunk_in_reserve_however_few_are_to_be_open():
    desk = Desk(chunks=9, workers=3, open_chunks=1, ready=3)
    assert len(sends(desk.sent)) == 6


def test_chunks_that_only_wait_for_stragglers_are_bounded():
    desk = Desk(chunks=12, open_chunks=1)
    for number in range(12):
        desk(ChunkExhausted(0, number))
    assert [chunk.number for chunk in desk.scheduler.chunks if chunk.worker is not None] == [0, 1, 2, 3]
    assert sends(desk.finish(1)) == [(0, 4)]


def test_paused_chunks_make_room_for_others_however_many_they_are():
    desk = Desk(chunks=12, open_chunks=1)
    sent = [number for number in range(11) for _, number in sends(desk(PauseChunks([number])))]
    assert sent == list(range(1, 12))


def test_more_open_chunks_are_sent_at_once():
    desk = Desk(chunks=4)
    assert sends(desk(ChangeOpenChunks(3))) == [(0, 2)]
    assert desk(ChangeOpenChunks(0)) == []
    assert desk.scheduler.open_chunks == 1


def test_a_change_of_threads_is_shared_out():
    desk = Desk(workers=2, ready=2)
    assert orders(desk(ChangeThreads(7))) == [(0, SetThreads(4)), (1, SetThreads(3))]


# --- what has been received is done -------------------------------------------------------------------------


def test_a_chunk_ends_by_what_became_of_its_items():
    desk = Desk(chunks=3)
    assert desk.finish(0)[0] == ChunkEnded(0, ())
    assert desk.finish(1, failed=[2])[0] == ChunkEnded(1, (2,))
    assert desk.finish(2, failed=[4], cancelled=[5])[0] == ChunkEnded(2, (4, 5))
    assert [desk.state(n) for n in range(3)] == [ChunkState.DONE, ChunkState.FAILED, ChunkState.CANCELLED]
    assert desk.scheduler.counts == Counts(done=3, failed=2, cancelled=1)


def test_what_a_lost_worker_had_not_flushed_runs_again_before_everything_else():
    desk = Desk(chunks=4)
    desk(flush(0, {0: [0]}))
    assert desk(WorkerLost(0, "killed by SIGSEGV")) == [StartWorker(1, 4, False)]
    assert desk.told[-1] == ("ERROR", "worker 0 is lost (killed by SIGSEGV): 3 items run again")
    assert desk(Ready(1, 1)) == [SendChunk(1, 0, [1], False), SendChunk(1, 1, [2, 3], False)]


def test_what_the_next_worker_counts_comes_on_top():
    desk = Desk(chunks=1)
    desk(flush(0, {0: [0]}, counts={0: Counts(done=1, retries=2, rows=10)}))
    desk(WorkerLost(0, "gone"))
    desk(Ready(1, 1))
    desk(flush(1, {0: [1]}, counts={0: Counts(done=1, retries=1, rows=5)}))
    assert desk.scheduler.counts == Counts(done=2, retries=3, rows=15)


def test_a_chunk_whose_last_flush_came_before_its_worker_was_lost_has_ended():
    desk = Desk(chunks=1)
    desk(flush(0, {0: [0, 1]}))
    assert ChunkEnded(0, ()) in desk(WorkerLost(0, "gone"))
    assert desk.state(0) is ChunkState.DONE


def test_reports_of_a_lost_worker_are_not_believed():
    desk = Desk(chunks=1)
    desk(WorkerLost(0, "gone"))
    assert desk.scheduler.crew.get(0) is None
    desk(flush(0, {0: [0]}))
    assert desk.scheduler.counts == Counts()
    assert desk.scheduler.chunks[0].pending == {0, 1}


def test_a_new_worker_takes_over_the_threads_of_the_one_it_replaces():
    desk = Desk(threads=3, workers=2, ready=2)
    assert desk(WorkerLost(0, "gone")) == [StartWorker(2, 2, False)]
    assert desk(WorkerLost(1, "gone")) == [StartWorker(3, 1, False)]


def test_five_losses_without_an_item_ending_between_them_end_the_run():
    desk = Desk(chunks=1)
    for worker in range(4):
        desk(WorkerLost(worker, "killed by SIGSEGV"))
    assert desk(WorkerLost(4, "killed by SIGSEGV")) == [EndRun(*desk.end)]
    assert desk.end == (RunState.FAILED, "5 workers were lost in a row, the last one killed by SIGSEGV")


def test_losses_with_progress_between_them_do_not_end_the_run():
    desk = Desk(chunks=1, items=12)
    for worker in range(10):
        desk(Ready(worker, 1))
        desk(flush(worker, {0: [worker]}))
        desk(WorkerLost(worker, "gone"))
    assert desk.scheduler.state is RunState.RUNNING


def test_a_job_that_does_not_load_ends_the_run_at_once():
    desk = Desk(chunks=1, workers=2, ready=0)
    actions = desk(WorkerFailed(0, "ModuleNotFoundError: No module named 'pandsa'"))
    assert [action.worker for action in actions if isinstance(action, KillWorker)] == [0, 1]
    desk(WorkerLost(0, ""))
    assert desk(WorkerLost(1, "")) == [EndRun(RunState.FAILED, "ModuleNotFoundError: No module named 'pandsa'")]


# --- pause and resume ---------------------------------------------------------------------------------------


def test_a_paused_run_sends_nothing_until_it_is_resumed():
    desk = Desk(chunks=3)
    assert orders(desk(PauseRun())) == [(0, Pause())]
    assert sends(desk(ChunkExhausted(0, 0))) == []
    resumed = desk(ResumeRun())
    assert orders(resumed) == [(0, Resume())]
    assert sends(resumed) == [(0, 2)]


def test_a_run_may_begin_paused_and_still_shows_what_was_recorded_before():
    desk = Desk(paused=True)
    assert desk.begun == [StartWorker(0, 4, True)]
    assert desk(ChunkRead(0, 0, 2, [])) == [ChunkEnded(0, ())]
    actions = desk.scheduler.handle(ChunkRead(1, 2, 2, []), desk.now)
    assert ReadChunks(1) in actions


def test_pausing_twice_is_pausing_once():
    desk = Desk(chunks=1)
    desk(PauseRun())
    assert desk(PauseRun()) == []
    desk(ResumeRun())
    assert desk(ResumeRun()) == []


def test_time_paused_is_not_active():
    desk = Desk()
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
    desk = Desk(chunks=3)
    actions = desk(PauseChunks([0]))
    assert orders(actions) == [(0, Pause(0))]
    assert sends(actions) == [(0, 2)]
    assert desk.state(0) is ChunkState.PAUSED


def test_a_paused_chunk_goes_back_to_where_it_came_from():
    desk = Desk(chunks=4)
    desk(PauseChunks([0, 3]))
    assert orders(desk(ResumeChunks([0, 3]))) == [(0, Resume(0))]
    assert [desk.state(0), desk.state(3)] == [ChunkState.RUNNING, ChunkState.WAITING]


def test_a_paused_chunk_may_end_by_its_items_in_flight():
    desk = Desk(chunks=1)
    desk(PauseChunks([0]))
    desk.finish(0)
    assert desk.state(0) is ChunkState.DONE


def test_a_paused_chunk_of_a_lost_worker_stays_paused():
    desk = Desk(chunks=1)
    desk(PauseChunks([0]))
    desk(WorkerLost(0, "gone"))
    assert sends(desk(Ready(1, 1))) == []
    assert sends(desk(ResumeChunks([0]))) == [(1, 0)]


def test_a_run_does_not_end_while_a_chunk_is_paused():
    desk = Desk(chunks=1, ended=True)
    assert orders(desk(PauseChunks([0])), Drain) == []
    assert desk.scheduler.state is RunState.RUNNING


# --- cancel and retry ---------------------------------------------------------------------------------------


def test_the_worker_that_has_a_chunk_cancels_it():
    desk = Desk(chunks=3)
    actions = desk(CancelChunks([0]))
    assert orders(actions) == [(0, Cancel(0))]
    assert sends(actions) == [(0, 2)]
    assert ChunkEnded(0, (0, 1)) in desk.finish(0, cancelled=[0, 1])


def test_a_waiting_chunk_is_sent_to_a_worker_to_be_cancelled():
    desk = Desk(chunks=3)
    assert desk(CancelChunks([2])) == [SendChunk(0, 2, [4, 5], True), SendOrder(0, Cancel(2))]


def test_a_chunk_is_cancelled_as_soon_as_there_is_a_worker_to_do_it():
    desk = Desk(chunks=1, ready=0)
    assert desk(CancelChunks([0])) == []
    assert desk(Ready(0, 1)) == [SendChunk(0, 0, [0, 1], True), SendOrder(0, Cancel(0))]


def test_a_chunk_is_cancelled_by_the_next_worker_when_the_first_is_lost():
    desk = Desk(chunks=1)
    desk(CancelChunks([0]))
    desk(flush(0, {0: [0]}))
    desk(WorkerLost(0, "gone"))
    assert desk(Ready(1, 1)) == [SendChunk(1, 0, [1], True), SendOrder(1, Cancel(0))]


def test_a_chunk_that_is_being_cancelled_is_neither_paused_nor_resumed():
    desk = Desk(chunks=2)
    desk(CancelChunks([0]))
    assert desk(PauseChunks([0])) == []
    assert desk(ResumeChunks([0])) == []
    assert desk(CancelChunks([0])) == []


def test_cancelling_works_while_the_run_is_paused():
    desk = Desk(chunks=3)
    desk(PauseRun())
    assert desk(CancelChunks([2])) == [SendChunk(0, 2, [4, 5], True), SendOrder(0, Cancel(2))]


def test_only_what_did_not_end_well_runs_again():
    desk = Desk(chunks=1, items=4)
    desk.finish(0, failed=[1], cancelled=[3])
    assert desk(RetryChunks([0])) == [RunAgain(0, (1, 3)), SendChunk(0, 0, [1, 3], False)]
    assert desk.scheduler.counts == Counts(done=2)
    desk(flush(0, {0: [1, 3]}))
    desk(ChunkFinished(0, 0))
    assert desk.state(0) is ChunkState.DONE
    assert desk.scheduler.counts == Counts(done=4)


@pytest.mark.parametrize("numbers", [[0], [1], [7], [-1]], ids=["done", "running", "unknown", "negative"])
def test_retry_leaves_other_chunks_alone(numbers):
    desk = Desk(chunks=2)
    desk.finish(0)
    assert desk(RetryChunks(numbers)) == []


def test_chunks_can_run_again_while_the_workers_are_being_sent_home():
    desk = Desk(chunks=1, ended=True)
    assert orders(desk.finish(0, failed=[0])) == [(0, Drain(10.0))]
    assert desk(RetryChunks([0])) == [RunAgain(0, (0,)), StartWorker(1, 4, False)]
    assert desk(WorkerLost(0, "")) == []
    assert sends(desk(Ready(1, 1))) == [(1, 0)]
    desk.finish(0, worker=1)
    assert desk(WorkerLost(1, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_worker_that_gets_ready_after_it_was_sent_home_gets_no_chunk():
    desk = Desk(chunks=1, workers=2, ready=1, ended=True)
    desk.finish(0, failed=[0])
    desk(RetryChunks([0]))
    assert sends(desk(Ready(1, 2))) == []
    assert sends(desk(Ready(2, 3))) == [(2, 0)]


# --- the end ------------------------------------------------------------------------------------------------


def test_a_run_is_finished_when_input_and_chunks_have_ended_and_the_workers_are_gone():
    desk = Desk(chunks=1, ended=True)
    assert desk.finish(0) == [ChunkEnded(0, ()), SendOrder(0, Drain(10.0))]
    desk(Drained(0))
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]
    assert desk(Tick()) == []


def test_an_empty_input_is_a_finished_run():
    desk = Desk(ended=True)
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_run_of_nothing_but_recorded_items_is_finished_even_if_a_worker_does_not_start():
    desk = Desk(ready=0)
    desk(ChunkRead(0, 0, 2, []))
    desk(InputEnded())
    desk(WorkerFailed(0, "setup raised"))
    assert desk(WorkerLost(0, "ended with exit code 1")) == [EndRun(RunState.FINISHED, "")]


def test_a_stopped_run_drains_and_counts_what_still_comes():
    desk = Desk(chunks=3)
    assert desk(StopRun(RunState.STOPPED, "on request")) == [SendOrder(0, Drain(10.0))]
    desk(flush(0, {0: [0]}))
    assert desk.scheduler.counts == Counts(done=1)
    assert sends(desk(ChunkExhausted(0, 0))) == []
    desk(Drained(0, stuck=2))
    assert desk.told[-1][1].startswith("2 items were still running")
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.STOPPED, "on request")]
    assert desk.state(0) is ChunkState.WAITING


def test_a_run_that_is_stopped_when_nothing_is_left_to_do_is_finished():
    desk = Desk(chunks=1, ended=True)
    desk(StopRun(RunState.STOPPED, "on request"))
    desk.finish(0)
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_stopped_run_does_not_replace_lost_workers():
    desk = Desk(chunks=1)
    desk(StopRun(RunState.STOPPED, "on request"))
    assert desk(WorkerLost(0, "killed by SIGKILL")) == [EndRun(RunState.STOPPED, "on request")]


@pytest.mark.parametrize("command", [PauseChunks, ResumeChunks, CancelChunks, RetryChunks])
def test_commands_on_chunks_come_too_late_while_a_run_drains(command):
    desk = Desk(chunks=2)
    desk(StopRun(RunState.STOPPED, "on request"))
    assert desk(command([0, 1])) == []
    assert desk(PauseRun()) == desk(ResumeRun()) == []


def test_a_worker_that_does_not_drain_is_killed_after_the_grace_time():
    desk = Desk(chunks=1, grace=3.0)
    desk(StopRun(RunState.STOPPED, "on request"))
    desk.now += 7.9
    assert desk(Tick()) == []
    desk.now += 0.2
    assert desk(Tick()) == [KillWorker(0)]
    assert desk(Tick()) == []
    assert desk(WorkerLost(0, "killed by tui-runner")) == [EndRun(RunState.STOPPED, "on request")]


def test_killing_a_run_kills_its_workers_even_when_it_drains_already():
    desk = Desk(chunks=1)
    desk(StopRun(RunState.STOPPED, "on request"))
    assert desk(KillRun(RunState.STOPPED, "killed")) == [KillWorker(0)]
    assert desk(WorkerLost(0, "killed by tui-runner")) == [EndRun(RunState.STOPPED, "killed")]


def test_a_run_that_fails_stays_failed_when_it_is_killed():
    desk = Desk(chunks=1)
    desk(InputFailed("row 7 is no JSON"))
    desk(KillRun(RunState.STOPPED, "killed"))
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FAILED, "row 7 is no JSON")]


def test_an_input_that_breaks_off_ends_the_run_as_failed_with_what_it_gave():
    desk = Desk(chunks=1)
    assert orders(desk(InputFailed("row 7 is no JSON"))) == [(0, Drain(10.0))]
    desk.finish(0)
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FAILED, "row 7 is no JSON")]
    assert not desk.scheduler.input_ended


def test_too_many_failures_stop_the_run_in_order():
    desk = Desk(chunks=2, max_failures=FailureLimit(count=1))
    desk(flush(0, {0: [0]}, {0: {0: 3}}))
    assert desk.scheduler.state is RunState.RUNNING
    actions = desk(flush(0, {1: [2]}, {1: {2: 3}}))
    assert actions == [SendOrder(0, Drain(10.0))]
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FAILED, "2 items failed, more than --max-failures allows")]


def test_a_share_of_failures_is_one_of_the_items_of_this_process():
    desk = Desk(max_failures=FailureLimit(share=0.5))
    desk(ChunkRead(0, 0, 1_000, range(900, 1_000)))
    desk(flush(0, {0: range(900, 950)}, {0: dict.fromkeys(range(900, 950), 1)}))
    assert desk.scheduler.state is RunState.RUNNING
    desk(flush(0, {0: range(950, 1_000)}, {0: {999: 1}}, {0: Counts(done=49, failed=51)}))
    assert desk.scheduler.state is RunState.DRAINING
