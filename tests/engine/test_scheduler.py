"""The rules of the scheduler, one by one: what is read and sent, and what is received."""

from __future__ import annotations

from support.scheduler_harness import SchedulerHarness, orders, sends
from support.simulated_worker import flush

from tui_runner.engine.protocol import (
    ChunkExhausted,
    Counts,
    Ready,
    SetThreads,
    WorkerFailed,
    WorkerLost,
)
from tui_runner.engine.scheduling.events import (
    Begin,
    ChangeOpenChunks,
    ChangeThreads,
    ChangeWorkers,
    ChunkEnded,
    ChunkRead,
    EndRun,
    KillWorker,
    PauseChunks,
    ReadChunks,
    SendChunk,
    StartWorker,
    Tell,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import ChunkState, RunState

# --- reading and sending -----------------------------------------------------------------------------------


def test_a_run_starts_its_workers_and_reads_a_few_chunks_ahead():
    scheduler = Scheduler(threads=5, workers=2, open_chunks=3, grace=1.0)
    actions = scheduler.handle(Begin(), 0.0)
    assert actions == [StartWorker(0, 3, False), StartWorker(1, 2, False), ReadChunks(4)]


def test_there_are_no_more_workers_than_threads():
    assert SchedulerHarness(threads=1, workers=2).begun == [StartWorker(0, 1, False)]


def test_a_cluster_that_grows_gives_the_run_another_worker_and_threads_are_shared_anew():
    desk = SchedulerHarness(threads=5, workers=2)
    actions = desk(ChangeWorkers(3))
    assert [action for action in actions if isinstance(action, StartWorker)] == [StartWorker(2, 1, False)]
    assert orders(actions, SetThreads) == [(0, SetThreads(2)), (1, SetThreads(2))]
    desk = SchedulerHarness(threads=2, workers=2)
    actions = desk.scheduler.handle(ChangeWorkers(3), desk.now)
    assert not [action for action in actions if isinstance(action, StartWorker)], "no thread is left"
    assert Tell("INFO", "workers: 2 of 3, because there are no more threads") in actions


def test_chunks_wait_for_a_ready_worker_and_then_go_in_order():
    desk = SchedulerHarness(chunks=3, ready=0)
    assert sends(desk.sent) == []
    assert sends(desk(Ready(0, 1))) == [(0, 0), (0, 1)]
    assert desk.state(2) is ChunkState.WAITING


def test_the_next_chunk_goes_out_when_one_has_no_items_left_to_start():
    desk = SchedulerHarness(chunks=3)
    assert sends(desk(ChunkExhausted(0, 1))) == [(0, 2)]
    assert desk.state(1) is ChunkState.RUNNING


def test_a_chunk_may_be_reported_as_started_after_it_has_finished():
    desk = SchedulerHarness(chunks=3)
    desk.finish(0)
    desk(ChunkExhausted(0, 0))
    assert desk.state(0) is ChunkState.DONE
    desk.finish(1)
    assert desk.state(1) is ChunkState.DONE


def test_as_many_chunks_are_read_as_have_left_the_queue():
    desk = SchedulerHarness(chunks=4)
    actions = desk.scheduler.handle(ChunkExhausted(0, 0), desk.now)
    assert ReadChunks(1) in actions


def test_nothing_is_asked_of_an_input_that_has_ended():
    desk = SchedulerHarness(chunks=4, ended=True)
    actions = desk.scheduler.handle(ChunkExhausted(0, 0), desk.now)
    assert not any(isinstance(action, ReadChunks) for action in actions)


def test_only_items_that_are_not_recorded_are_sent():
    desk = SchedulerHarness()
    (send,) = desk(ChunkRead(0, range(0, 5), [1, 4]))
    assert send == SendChunk(0, 0, [1, 4], False)
    assert (desk.scheduler.before.done, desk.scheduler.counts.done) == (3, 3)


def test_a_chunk_that_is_recorded_already_is_done_without_a_worker():
    desk = SchedulerHarness()
    assert desk(ChunkRead(0, range(0, 5), [])) == [ChunkEnded(0, ())]
    assert desk.state(0) is ChunkState.DONE


def test_the_first_worker_to_be_ready_does_not_take_the_share_of_the_others():
    desk = SchedulerHarness(chunks=4, workers=2, open_chunks=4, ready=1)
    assert sends(desk.sent) == [(0, 0), (0, 1)]
    assert sends(desk(Ready(1, 2))) == [(1, 2), (1, 3)]


def test_each_worker_has_a_chunk_in_reserve_however_few_are_to_be_open():
    desk = SchedulerHarness(chunks=9, workers=3, open_chunks=1, ready=3)
    assert len(sends(desk.sent)) == 6


def test_chunks_that_only_wait_for_stragglers_are_bounded():
    desk = SchedulerHarness(chunks=12, items=1_250, open_chunks=1)
    for number in range(12):
        desk(ChunkExhausted(0, number))
    assert [chunk.number for chunk in desk.scheduler.chunks if chunk.worker is not None] == [0, 1, 2, 3]
    assert sends(desk.finish(1)) == [(0, 4)]


def test_tiny_chunks_may_wait_for_their_report_until_they_are_many_items():
    desk = SchedulerHarness(chunks=60, items=2, open_chunks=2)
    for number in range(60):
        desk(ChunkExhausted(0, number))
    assert all(chunk.worker == 0 for chunk in desk.scheduler.chunks)


def test_chunks_too_small_for_the_threads_are_sent_ahead():
    desk = SchedulerHarness(chunks=40, items=1, open_chunks=2)
    assert len(sends(desk.sent)) == 4, "an item a thread"


def test_worker_that_is_ready_first_leaves_chunks_to_one_that_still_starts():
    desk = SchedulerHarness(chunks=4, items=1, threads=2, open_chunks=9, workers=2, ready=1)
    assert sends(desk.sent) == [(0, 0), (0, 1)]
    assert sends(desk(Ready(1, 1))) == [(1, 2), (1, 3)]


def test_paused_chunks_make_room_for_others_however_many_they_are():
    desk = SchedulerHarness(chunks=12, items=4, open_chunks=1)
    sent = [number for number in range(11) for _, number in sends(desk(PauseChunks([number])))]
    assert sent == list(range(1, 12))


def test_more_open_chunks_are_sent_at_once():
    desk = SchedulerHarness(chunks=4, items=4)
    assert sends(desk(ChangeOpenChunks(3))) == [(0, 2)]
    assert desk(ChangeOpenChunks(0)) == []
    assert desk.scheduler.open_chunks == 1


def test_a_change_of_threads_is_shared_out():
    desk = SchedulerHarness(workers=2, ready=2)
    assert orders(desk(ChangeThreads(7))) == [(0, SetThreads(4)), (1, SetThreads(3))]


# --- what has been received is done -------------------------------------------------------------------------


def test_a_chunk_ends_by_what_became_of_its_items():
    desk = SchedulerHarness(chunks=3)
    assert desk.finish(0)[0] == ChunkEnded(0, ())
    assert desk.finish(1, failed=[2])[0] == ChunkEnded(1, (2,))
    assert desk.finish(2, failed=[4], cancelled=[5])[0] == ChunkEnded(2, (4, 5))
    assert [desk.state(n) for n in range(3)] == [ChunkState.DONE, ChunkState.FAILED, ChunkState.CANCELLED]
    assert desk.scheduler.counts == Counts(done=3, failed=2, cancelled=1)


def test_unflushed_items_of_a_lost_worker_run_again_before_all_others():
    desk = SchedulerHarness(chunks=4)
    desk(flush(0, {0: [0]}))
    assert desk(WorkerLost(0, "killed by SIGSEGV")) == [StartWorker(1, 4, False)]
    assert desk.told[-1] == ("ERROR", "worker 0 is lost (killed by SIGSEGV): 3 items run again")
    assert desk(Ready(1, 1)) == [SendChunk(1, 0, [1], False), SendChunk(1, 1, None, False)]


def test_counts_of_the_next_worker_are_added():
    desk = SchedulerHarness(chunks=1)
    desk(flush(0, {0: [0]}, counts={0: Counts(done=1, retries=2, rows=10)}))
    desk(WorkerLost(0, "gone"))
    desk(Ready(1, 1))
    desk(flush(1, {0: [1]}, counts={0: Counts(done=1, retries=1, rows=5)}))
    assert desk.scheduler.counts == Counts(done=2, retries=3, rows=15)


def test_a_chunk_whose_last_flush_came_before_its_worker_was_lost_has_ended():
    desk = SchedulerHarness(chunks=1)
    desk(flush(0, {0: [0, 1]}))
    assert ChunkEnded(0, ()) in desk(WorkerLost(0, "gone"))
    assert desk.state(0) is ChunkState.DONE


def test_reports_of_a_lost_worker_are_not_believed():
    desk = SchedulerHarness(chunks=1)
    desk(WorkerLost(0, "gone"))
    assert desk.scheduler.workers.get(0) is None
    desk(flush(0, {0: [0]}))
    assert desk.scheduler.counts == Counts()
    assert list(desk.scheduler.chunks[0].left) == [0, 1]


def test_a_new_worker_takes_over_the_threads_of_the_one_it_replaces():
    desk = SchedulerHarness(threads=3, workers=2, ready=2)
    assert desk(WorkerLost(0, "gone")) == [StartWorker(2, 2, False)]
    assert desk(WorkerLost(1, "gone")) == [StartWorker(3, 1, False)]


def test_five_losses_without_an_item_ending_between_them_end_the_run():
    desk = SchedulerHarness(chunks=1)
    for worker in range(4):
        desk(WorkerLost(worker, "killed by SIGSEGV"))
    assert desk(WorkerLost(4, "killed by SIGSEGV")) == [EndRun(*desk.end)]
    assert desk.end == (
        RunState.FAILED,
        "5 workers in a row were lost with no item known to be the cause, the last one killed by SIGSEGV",
    )


def test_losses_with_progress_between_them_do_not_end_the_run():
    desk = SchedulerHarness(chunks=1, items=12)
    for worker in range(10):
        desk(Ready(worker, 1))
        desk(flush(worker, {0: [worker]}))
        desk(WorkerLost(worker, "gone"))
    assert desk.scheduler.status.state is RunState.RUNNING


def test_a_job_that_does_not_load_ends_the_run_at_once():
    desk = SchedulerHarness(chunks=1, workers=2, ready=0)
    actions = desk(WorkerFailed(0, "ModuleNotFoundError: No module named 'pandsa'"))
    assert [action.worker for action in actions if isinstance(action, KillWorker)] == [0, 1]
    told = len(desk.told)
    desk(WorkerFailed(1, "ModuleNotFoundError: No module named 'pandsa'"))
    assert len(desk.told) == told, "the reason has been told"
    desk(WorkerLost(0, ""))
    assert desk(WorkerLost(1, "")) == [EndRun(RunState.FAILED, "ModuleNotFoundError: No module named 'pandsa'")]
