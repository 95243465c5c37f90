"""Workers that are replaced because they have too much memory."""

from __future__ import annotations

from support.scheduler_harness import SchedulerHarness, sends
from support.simulated_worker import flush

from tui_runner.engine.protocol import Drain, Drained, MemoryFull, Progress, Ready, SetThreads, WorkerLost
from tui_runner.engine.scheduling.events import (
    ChangeThreads,
    DivideThreads,
    KillWorker,
    Recycle,
    SendChunk,
    SendOrder,
    StartWorker,
    StopRun,
    Tick,
)
from tui_runner.engine.states import ChunkState, RunState


def kinds(actions):
    return [type(action.order) if isinstance(action, SendOrder) else type(action) for action in actions]


def test_a_full_worker_finishes_what_it_has_in_flight_while_another_one_takes_over():
    desk = SchedulerHarness(chunks=2, items=3)
    actions = desk(MemoryFull(0, 700_000_000))
    assert kinds(actions) == [Drain, StartWorker]
    assert actions[0].order.grace >= 60, "its items may take their time"
    assert desk.told[-1] == ("INFO", "worker 0 is replaced: it uses 700 MB, more than its share")
    desk(Ready(1, 2))
    desk(Drained(0))
    sent = desk(WorkerLost(0, ""))
    assert [(action.worker, action.chunk) for action in sent if isinstance(action, SendChunk)] == [(1, 0), (1, 1)]
    assert not [text for level, text in desk.told if level == "ERROR"]


def test_worker_is_replaced_once_however_often_it_asks():
    desk = SchedulerHarness(chunks=1)
    desk(MemoryFull(0, 1))
    assert desk(MemoryFull(0, 1)) == []
    assert desk(Recycle(0, "again")) == []
    assert desk(Recycle(7, "gone")) == []


def test_a_worker_that_is_killed_for_its_memory_is_no_loss_and_its_items_are_no_suspects():
    desk = SchedulerHarness(chunks=1, items=4)
    for worker in range(8):
        assert KillWorker in kinds(desk(Recycle(worker, "memory is full", at_once=True)))
        desk(WorkerLost(worker, "killed by tui-runner", {0: 1}))
        desk(Ready(worker + 1, 1))
    assert desk.scheduler.status.state is RunState.RUNNING
    assert desk.state(0) is ChunkState.RUNNING
    assert not desk.scheduler._chunks.suspects
    assert desk.told[-1][0] == "WARNING"


def test_a_worker_that_comes_to_a_stand_while_it_is_replaced_is_not_waited_for():
    desk = SchedulerHarness(chunks=1, items=3, timeout=5.0)
    desk(Progress(0, {0: 1}, (), 4, 0, False))
    desk(Recycle(0, "memory is full"))
    desk(Ready(1, 2))
    for _ in range(36):
        desk(Progress(1, {}, (), 4, 0, False))
        assert desk(Tick()) == []
        desk.now += 1.0
    assert desk(Tick()) == [KillWorker(0)]
    told = "worker 0, which was to be replaced, is killed because it did not report for 35 s"
    assert desk.told[-1] == ("WARNING", told)
    assert desk.sent_items(desk(WorkerLost(0, "", {1: 1}))) == [(1, 0, [0, 1, 2])]


def test_a_stopping_run_replaces_no_worker():
    desk = SchedulerHarness(chunks=1)
    desk(StopRun(RunState.STOPPED, "enough"))
    assert desk(MemoryFull(0, 1)) == []


def test_fewer_threads_are_used_than_are_asked_for():
    desk = SchedulerHarness(threads=8, workers=2, ready=2)
    assert [action.order for action in desk(DivideThreads(4, "memory"))] == [SetThreads(1), SetThreads(1)]
    assert desk.scheduler.workers.threads == 8
    assert [action.order for action in desk(DivideThreads(1, "memory"))] == [SetThreads(4), SetThreads(4)]


def test_a_worker_for_which_no_thread_is_left_goes_and_others_run_what_it_had():
    desk = SchedulerHarness(threads=8, workers=2, ready=2, chunks=4, items=3)
    assert sends(desk.sent) == [(0, 0), (1, 1), (0, 2), (1, 3)]
    actions = desk(ChangeThreads(1))
    assert [(each.worker, type(each.order)) for each in actions] == [(1, Drain), (0, SetThreads)]
    assert actions[0].order.grace >= 60, "its items may take their time"
    assert actions[1].order.threads == 1
    assert desk.told[-2:] == [
        ("INFO", "worker 1 ends, because there are fewer threads than workers"),
        ("INFO", "threads: 1"),
    ]
    desk(flush(1, {1: [3]}))
    assert kinds(desk(Drained(1))) == []
    assert desk(WorkerLost(1, "")) == [], "nobody takes its place"
    assert list(desk.scheduler.chunks[1].left) == [4, 5]
    for chunk in (0, 2, 1, 3):
        assert desk.scheduler.chunks[chunk].worker == 0
        desk.finish(chunk)


def test_with_more_threads_than_workers_again_the_others_come_back():
    desk = SchedulerHarness(threads=8, workers=3, ready=3, chunks=6, items=3)
    assert kinds(desk(ChangeThreads(2))) == [Drain, SetThreads, SetThreads]
    actions = desk(ChangeThreads(7))
    assert kinds(actions) == [SetThreads, SetThreads, StartWorker]
    assert [each.order.threads for each in actions[:2]] + [actions[2].threads] == [3, 2, 2]
    assert kinds(desk(DivideThreads(8, "memory"))) == [Drain, Drain, SetThreads]


def test_a_worker_that_comes_back_has_something_to_do_though_enough_chunks_are_open():
    desk = SchedulerHarness(threads=8, workers=2, chunks=6, open_chunks=4)
    desk(ChangeThreads(1))
    desk(WorkerLost(1, ""))
    assert [chunk.worker for chunk in desk.scheduler.chunks[:5]] == [0, 0, 0, 0, None]
    desk(ChangeThreads(8))
    assert sends(desk(Ready(2, 1))) == [(2, 4)]


def test_the_worker_that_runs_suspects_alone_is_replaced_too():
    desk = SchedulerHarness(chunks=1, items=2)
    desk(WorkerLost(0, "killed by SIGSEGV", {0: 1, 1: 1}))
    (alone,) = (worker for worker in desk.scheduler.workers if worker.slot is None)
    desk(Ready(alone.number, 1))
    assert kinds(desk(MemoryFull(alone.number, 9)))[:1] == [Drain]
