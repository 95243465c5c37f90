"""Lost workers: items in flight run alone, those that kill their worker fail, all others continue."""

from __future__ import annotations

import pytest
from support.scheduler_harness import SchedulerHarness, orders, sends
from support.simulated_worker import flush
from support.simulated_world import cut

from tui_runner.engine.protocol import (
    Cancel,
    ChunkFinished,
    Counts,
    Drain,
    Progress,
    Ready,
    ResultBatch,
    Trials,
    WorkerLost,
)
from tui_runner.engine.scheduling.events import (
    CancelChunks,
    EndRun,
    KillWorker,
    PauseChunks,
    Recycle,
    ResumeChunks,
    RetryChunks,
    SendChunk,
    SendOrder,
    StartWorker,
    Tick,
    WorkerDied,
)
from tui_runner.engine.states import ChunkState, RunState


def after_a_death(*, chunks=1, items=4, in_flight=(1, 2), **settings):
    """Return a desk whose first worker has died; 1 has taken its place and 2 is there for suspects."""
    desk = SchedulerHarness(chunks=chunks, items=items, ended=True, **settings)
    started = desk(WorkerLost(0, "killed by SIGSEGV", dict.fromkeys(in_flight, 1)))
    assert StartWorker(1, 4, False) in started
    return desk


def test_items_in_flight_run_alone_when_the_rest_of_their_chunk_has_ended():
    desk = after_a_death()
    assert desk.sent_items(desk(Ready(1, 1))) == [(1, 0, [0, 3])]
    desk(flush(1, {0: [0, 3]}))
    assert desk(ChunkFinished(1, 0)) == [StartWorker(2, 1, False)]
    assert desk.state(0) is ChunkState.WAITING
    assert desk.sent_items(desk(Ready(2, 1))) == [(2, 0, [1, 2])]


def test_a_chunk_that_was_in_flight_altogether_goes_to_the_worker_for_suspects_at_once():
    desk = SchedulerHarness(chunks=2, items=2)
    died = WorkerDied(0, {0: 1, 1: 1}, "gone")
    assert desk(WorkerLost(0, "gone", {0: 1, 1: 1})) == [died, StartWorker(1, 4, False), StartWorker(2, 1, False)]
    assert desk.sent_items(desk(Ready(1, 1))) == [(1, 1, [2, 3])]
    assert desk.sent_items(desk(Ready(2, 1))) == [(2, 0, [0, 1])]


def test_an_item_whose_worker_was_killed_for_its_memory_is_a_suspect():
    desk = SchedulerHarness(chunks=1, items=2, ended=True)
    assert desk(Recycle(0, "memory is at 120 %", at_once=True, blamed=True)) == [KillWorker(0)]
    desk(WorkerLost(0, "killed", {1: 1}))
    assert desk.sent_items(desk(Ready(1, 1))) == [(1, 0, [0])], "the other one runs beside no suspect"


def test_items_whose_worker_was_killed_for_what_they_have_together_are_none():
    desk = SchedulerHarness(chunks=1, items=2, ended=True)
    assert KillWorker(0) in desk(Recycle(0, "memory is at 120 %", at_once=True))
    desk(WorkerLost(0, "killed", {0: 1, 1: 1}))
    assert desk.sent_items(desk(Ready(1, 1))) == [(1, 0, [0, 1])]


def test_the_third_death_gives_an_item_up_and_lets_the_others_off():
    desk = after_a_death(in_flight=(0, 1, 2, 3))
    assert sends(desk(Ready(2, 1))) == [(2, 0)]
    died = WorkerDied(0, {1: 2}, "killed by SIGSEGV")
    assert desk(WorkerLost(2, "killed by SIGSEGV", {1: 2})) == [died, StartWorker(3, 1, False)]
    assert desk.sent_items(desk(Ready(3, 1))) == [(3, 0, [0, 2, 3])], (
        "the one that has killed twice is to have it to itself"
    )
    desk(flush(3, {0: [0, 2, 3]}, counts={0: Counts(done=3)}))
    assert desk.sent_items(desk(ChunkFinished(3, 0))) == [(3, 0, [1])]
    desk(WorkerLost(3, "killed by SIGBUS", {1: 3}))
    verdict = {1: "killed its worker 3 times (the last time: killed by SIGBUS)"}
    assert desk(Ready(4, 1)) == [SendChunk(4, 0, [1], False, verdict, {1: 3})]
    assert desk.scheduler.chunks[0].attempts[1] == 3
    assert desk.scheduler.status.state is RunState.RUNNING
    assert [text for level, text in desk.told if "alone" in text] == [
        "item 1, alone in its worker: killed by SIGSEGV (death 2 of 3)",
        "item 1, alone in its worker: killed by SIGBUS (death 3 of 3)",
    ]


def test_the_worker_for_suspects_goes_home_when_there_are_none_left():
    desk = after_a_death(in_flight=(0, 1, 2, 3), chunks=2)
    desk(Ready(1, 1))
    desk(Ready(2, 1))
    done = desk(flush(2, {0: [0, 1, 2, 3]}))
    assert orders(done, Drain) == [(2, Drain(10.0))]


def test_an_item_that_was_given_up_runs_alone_from_the_start_when_it_is_retried():
    desk = after_a_death(items=1, chunks=2, in_flight=(0,))
    for worker in (2, 3):
        desk(Ready(worker, 1))
        desk(WorkerLost(worker, "gone", {0: worker}))
    desk(Ready(4, 1))
    desk(flush(4, {0: [0]}, {0: {0: 3}}))
    desk(ChunkFinished(4, 0))
    assert desk.state(0) is ChunkState.FAILED
    again = desk(RetryChunks([0]))
    assert StartWorker(5, 1, False) in again
    assert desk.sent_items(desk(Ready(5, 1))) == [(5, 0, [0])]
    assert desk.scheduler.chunks[0].attempts == {0: 3}


def test_items_in_flight_of_a_worker_that_was_told_to_end_are_no_suspects():
    desk = SchedulerHarness(chunks=1, items=2, ended=True)
    desk(flush(0, {0: [0, 1]}))
    desk(ChunkFinished(0, 0))
    assert desk(WorkerLost(0, "killed by SIGKILL", {0: 1})) == [EndRun(RunState.FINISHED, "")]


def test_a_paused_chunk_keeps_its_suspects_until_it_is_resumed():
    desk = after_a_death(in_flight=(0, 1, 2, 3))
    desk(PauseChunks([0]))
    assert desk.sent_items(desk(Ready(2, 1))) == []
    assert desk.sent_items(desk(ResumeChunks([0]))) == [(2, 0, [0, 1, 2, 3])]


def test_suspects_of_a_cancelled_chunk_are_recorded_without_running():
    desk = after_a_death(in_flight=(0, 1, 2, 3))
    desk(Ready(1, 1))
    assert desk(CancelChunks([0])) == [
        SendChunk(1, 0, None, True, attempts=dict.fromkeys(range(4), 1)),
        SendOrder(1, Cancel(0)),
    ]


def test_attempts_of_retries_are_remembered_when_the_worker_is_lost():
    desk = SchedulerHarness(chunks=1, items=3, ended=True)
    desk(ResultBatch(0, (), b"", b"", {}, {}, {0: {2: 4}}, {0: Counts(retries=4)}, {}, 0, 0, Trials()))
    desk(WorkerLost(0, "gone", {0: 2}))
    assert desk.scheduler.chunks[0].attempts == {0: 2, 2: 4}
    assert desk.scheduler.chunks[0].tries == {2: 1}, "a death is nothing that an item has tried"


def test_an_attempt_that_hangs_in_a_lost_worker_takes_back_none_that_was_made_since():
    desk = SchedulerHarness(chunks=1, items=3, ended=True)
    desk(ResultBatch(0, (), b"", b"", {}, {}, {0: {2: 3}}, {0: Counts(retries=3)}, {}, 0, 0, Trials()))
    desk(WorkerLost(0, "gone", {2: 1}))
    assert desk.scheduler.chunks[0].attempts == {2: 3}


def progress(worker, stuck=0):
    return Progress(worker, {}, (), 4, 0, False, stuck)


def test_a_worker_with_too_many_stuck_threads_is_replaced_before_it_is_gone():
    desk = SchedulerHarness(chunks=1, items=3, ended=True)
    assert desk(progress(0)) == []
    assert desk(progress(0, stuck=8)) == [SendOrder(0, Drain(10.0)), StartWorker(1, 4, False)]
    assert desk(progress(0, stuck=9)) == []
    desk(Ready(1, 1))
    assert desk.sent_items(desk(WorkerLost(0, "", {1: 1}))) == [(1, 0, [0, 1, 2])]
    assert desk.scheduler.chunks[0].attempts == {1: 1}


def test_a_worker_that_reports_no_more_is_killed_and_what_it_had_in_flight_is_suspected():
    desk = SchedulerHarness(chunks=1, items=3, ended=True, timeout=5.0, workers=2)
    desk(Ready(1, 2))
    for _ in range(36):
        desk(progress(1))
        assert desk(Tick()) == []
        desk.now += 1.0
    assert desk(Tick()) == [KillWorker(0)]
    assert desk(Tick()) == []
    desk(WorkerLost(0, "killed by tui-runner", {1: 1}))
    assert desk.told[-1] == (
        "ERROR",
        "worker 0 is lost (killed because it did not report for 35 s): 3 items run again, "
        "1 of them alone because it was in flight",
    )


@pytest.mark.parametrize(
    ("items", "in_flight", "said"),
    [
        (1, [], "1 item runs again"),
        (1, [0], "1 item runs again, alone because it was in flight"),
        (2, [], "2 items run again"),
        (2, [0, 1], "2 items run again, one by one because they were in flight"),
        (3, [1, 2], "3 items run again, 2 of them one by one because they were in flight"),
    ],
)
def test_log_says_what_becomes_of_the_items_of_a_lost_worker(items, in_flight, said):
    desk = SchedulerHarness(chunks=1, items=items)
    desk(WorkerLost(0, "gone", dict.fromkeys(in_flight, 1)))
    assert desk.told[-1] == ("ERROR", f"worker 0 is lost (gone): {said}")


def test_poison_item_that_was_not_in_flight_is_found_by_halves():
    desk = SchedulerHarness(chunks=1, items=4, ended=True)
    desk(WorkerLost(0, "gone"))
    assert desk.sent_items(desk(Ready(1, 1))) == [(1, 0, [0, 1, 2, 3])], "it may have been killed from outside"
    desk(WorkerLost(1, "gone"))
    assert desk.sent_items(desk(Ready(3, 1))) == [(3, 0, [0, 1])]
    desk(WorkerLost(3, "ended with exit code 1"))
    assert desk.told[-1] == (
        "WARNING",
        "a worker died (ended with exit code 1), and one of 2 items caused it: they run again in halves to find which",
    )
    assert desk.sent_items(desk(Ready(4, 1))) == [(4, 0, [2, 3])]
    desk(flush(4, {0: [2, 3]}))
    assert desk.sent_items(desk(ChunkFinished(4, 0))) == [(4, 0, [0])]
    for worker in (4, 5):
        desk(WorkerLost(worker, "ended with exit code 1"))
        assert desk.sent_items(desk(Ready(worker + 1, 1))) == [(worker + 1, 0, [0])]
    desk(WorkerLost(6, "ended with exit code 1"))
    verdict = {0: "killed its worker 3 times (the last time: ended with exit code 1)"}
    assert desk(Ready(7, 1)) == [SendChunk(7, 0, [0], False, verdict, {0: 3})]
    assert desk.scheduler.chunks[0].attempts == {0: 3}
    desk(flush(7, {0: [0]}, {0: {0: 3}}))
    assert desk.sent_items(desk(ChunkFinished(7, 0))) == [(7, 0, [1])]


def test_suspects_that_ran_before_the_one_in_flight_are_not_cleared_by_it():
    desk = after_a_death(in_flight=(0, 1, 2, 3))
    desk(Ready(2, 1))
    desk(WorkerLost(2, "gone", {1: 2}))
    desk(Ready(3, 1))
    desk(WorkerLost(3, "gone", {3: 2}))
    assert desk.sent_items(desk(Ready(4, 1))) == [(4, 0, [0, 2])]
    desk(flush(4, {0: [0, 2]}))
    assert desk.sent_items(desk(ChunkFinished(4, 0))) == [(4, 0, [1])]


def test_suspects_of_an_earlier_process_run_alone_from_the_start():
    desk = SchedulerHarness(chunks=0, open_chunks=5)
    desk.scheduler.remember_deaths({1: 1, 4: 2, 5: 9})
    actions = [action for event in cut([[False] * 2] * 3) for action in desk(event)]
    assert desk.sent_items(actions) == [(0, 0, [0]), (0, 1, [2, 3])]
    assert any(action == StartWorker(1, 1, False) for action in [*actions, *desk(Tick())])
    assert desk.sent_items(desk(Ready(1, 1))) == [(1, 2, [4])], "one that is given up at its next death runs by itself"
