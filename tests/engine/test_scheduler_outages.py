"""The scheduler when nearly everything fails."""

from __future__ import annotations

from dataclasses import replace

from support.scheduler_harness import SchedulerHarness, orders
from support.simulated_worker import flush

from tui_runner.engine.protocol import (
    ChunkExhausted,
    ChunkFinished,
    Counts,
    HostRefused,
    Pause,
    Probe,
    Resume,
    Trials,
    WorkerLost,
)
from tui_runner.engine.scheduling.circuit_breaker import CircuitBreaker, OnOutage
from tui_runner.engine.scheduling.events import (
    Abandoned,
    CancelChunks,
    ChunkRead,
    EndRun,
    Hold,
    InputEnded,
    PauseRun,
    Release,
    ResumeRun,
    RetryChunks,
    SendOrder,
    StopRun,
    Tick,
    TryNow,
)
from tui_runner.engine.states import ChunkState, RunState

REFUSED = {("ConnectError", "refused"): 4}


def struck(on_outage=OnOutage.PAUSE, *, attended=True, permanent=False, **settings):
    """Return a run in which the first four items have failed, and what it did about that."""
    watch = CircuitBreaker(on_outage, attended=attended, ground=4)
    desk = SchedulerHarness(breaker=watch, **{"chunks": 3, "items": 6, **settings})
    return desk, fail(desk, permanent=permanent)


def fail(desk, items=4, *, permanent=False, ok=0):
    trials = Trials(ok, 0, items) if permanent else Trials(ok, items, 0)
    return desk(replace(flush(0, {}, {}, {}, trials), error_groups=REFUSED))


def test_the_run_pauses_itself_and_says_why():
    desk, actions = struck()
    assert actions == [SendOrder(0, Pause())]
    text = "4 of the last 4 attempts failed (ConnectError: refused): one is tried"
    assert desk.end == (RunState.PAUSED, f"{text} from time to time")
    assert desk.told[-1] == ("WARNING", f"paused: {text} in 10 s")


def test_one_item_is_tried_now_and_then_and_the_run_continues_when_it_succeeds():
    desk, _ = struck()
    desk.now += 9.9
    assert desk(Tick()) == []
    desk.now += 0.2
    assert orders(desk(Tick()), Probe) == [(0, Probe())]
    assert desk(Tick()) == []
    assert fail(desk, 1) == []
    desk.now += 20
    assert orders(desk(Tick()), Probe) == [(0, Probe())]
    assert orders(fail(desk, 0, ok=1)) == [(0, Resume())]
    assert desk.end == (RunState.RUNNING, "")


def test_items_that_were_in_flight_when_it_began_do_not_end_it():
    desk, _ = struck()
    assert fail(desk, 0, ok=3) == []
    assert desk.scheduler.status.state is RunState.PAUSED


def test_failures_of_what_was_in_flight_when_it_was_resumed_do_not_pause_it_again():
    desk, _ = struck()
    desk(ResumeRun())
    late = replace(flush(0, {}, {}, {}, Trials(0, 100)), failing_since=desk.now - 1)
    desk(late)
    assert desk.scheduler.status.state is RunState.RUNNING
    desk(replace(late, failing_since=desk.now))
    assert desk.scheduler.status.state is RunState.PAUSED


def test_each_trial_is_another_workers():
    desk, _ = struck(workers=2, ready=2)
    desk.now += 10
    first = orders(desk(Tick()), Probe)
    desk.now += 20
    assert {worker for worker, _ in first + orders(desk(Tick()), Probe)} == {0, 1}


def test_a_trial_needs_a_worker_and_a_lost_one_is_replaced_meanwhile():
    desk, _ = struck()
    desk(WorkerLost(0, "killed"))
    desk.now += 10
    assert desk(Tick()) == []
    assert desk.scheduler.status.state is RunState.PAUSED


def test_the_user_may_resume_or_stop_the_trials():
    desk, _ = struck()
    assert orders(desk(ResumeRun())) == [(0, Resume())]
    assert desk.end == (RunState.RUNNING, "")
    desk, _ = struck()
    assert desk(PauseRun()) == [SendOrder(0, Pause())], "a trial that has not begun is taken back"
    assert desk.end == (RunState.PAUSED, "")
    desk.now += 1_000
    assert desk(Tick()) == []


def test_permanent_failures_are_not_probed():
    desk, _ = struck(permanent=True)
    desk.now += 10_000
    assert desk(Tick()) == []
    offers = "the run waits for you to try one item; if it fails too, you can continue anyway"
    assert desk.scheduler.status.reason.endswith(f": {offers}")


def test_a_run_without_a_user_to_resume_it_stops():
    desk, actions = struck(permanent=True, attended=False)
    assert [type(order).__name__ for _, order in orders(actions)] == ["Drain"]
    assert desk.scheduler.status.state is RunState.DRAINING
    desk(WorkerLost(0, ""))
    assert desk.scheduler.status.state is RunState.FAILED
    assert "--on-outage continue" in desk.scheduler.status.reason
    desk, _ = struck(attended=False)
    assert desk.scheduler.status.state is RunState.PAUSED, "what may pass is waited for"


def test_an_outage_stops_the_run_or_is_ignored_on_request():
    desk, _ = struck(OnOutage.STOP)
    assert desk.scheduler.status.state is RunState.DRAINING
    desk, actions = struck(OnOutage.CONTINUE)
    assert actions == []
    assert desk.scheduler.status.state is RunState.RUNNING


def test_the_last_items_are_no_outage():
    desk = SchedulerHarness(chunks=1, items=4, breaker=CircuitBreaker(ground=4))
    desk(InputEnded())
    desk.finish(0, failed=(0, 1, 2, 3))
    fail(desk)
    assert desk.scheduler.status.state is RunState.RUNNING


def test_a_run_whose_last_items_end_while_it_is_paused_does_not_say_that_it_waits():
    desk = SchedulerHarness(chunks=1, items=6, ended=True, breaker=CircuitBreaker(ground=4))
    fail(desk)
    assert desk.scheduler.status.state is RunState.PAUSED
    desk.finish(0, failed=range(6))
    assert desk(WorkerLost(0, "")) == [EndRun(RunState.FINISHED, "")]


def test_a_run_that_paused_itself_does_not_come_back_paused_one_that_was_paused_does():
    desk, _ = struck()
    assert desk.scheduler.status.persisted is RunState.RUNNING
    desk(PauseRun())
    assert desk.scheduler.status.persisted is RunState.PAUSED


# --- a full disk meanwhile --------------------------------------------------------------------------------------


def test_nothing_is_tried_during_a_hold_and_the_trials_continue_afterwards():
    desk, _ = struck()
    why = desk.scheduler.status.reason
    assert desk(Hold("disk", "the disk is full")) == [SendOrder(0, Pause())], "a trial that has not begun is taken back"
    assert desk.end == (RunState.PAUSED, "the disk is full")
    assert desk.told[-1] == ("WARNING", "paused: the disk is full")
    desk(Hold("disk", "the disk is still full"))
    assert len([text for _, text in desk.told if "disk" in text]) == 1
    desk.now += 1_000
    assert desk(Tick()) == []
    assert desk(Release("disk")) == []
    assert desk.end == (RunState.PAUSED, why)
    assert orders(desk(Tick()), Probe) == [(0, Probe())]


def test_an_outage_that_ends_while_the_run_is_held_leaves_it_held():
    desk, _ = struck()
    desk.now += 10
    desk(Tick())
    desk(Hold("disk", "the disk is full"))
    assert orders(fail(desk, 0, ok=1)) == []
    assert desk.end == (RunState.PAUSED, "the disk is full")
    assert orders(desk(Release("disk"))) == [(0, Resume())]


# --- no user is left ---------------------------------------------------------------------------------------------


def test_a_run_that_is_no_longer_watched_continues():
    desk = SchedulerHarness(chunks=2)
    assert desk(Abandoned("the terminal is gone")) == []
    assert desk.told[-1] == ("WARNING", "the terminal is gone")
    assert desk.scheduler.status.state is RunState.RUNNING


def test_run_that_only_a_person_could_resume_stops_in_order():
    paused = SchedulerHarness(chunks=2)
    paused(PauseRun())
    broken, _ = struck(permanent=True)
    for desk in (paused, broken):
        desk(Abandoned("the terminal is gone"))
        desk(WorkerLost(0, ""))
        assert desk.end == (RunState.STOPPED, "it was paused, and no screen is left to resume it from")


def test_run_that_resumes_by_itself_is_waited_for():
    desk, _ = struck()
    desk(Abandoned("the terminal is gone"))
    assert desk.scheduler.status.state is RunState.PAUSED
    desk.now += 10
    desk(Tick())
    fail(desk, 0, ok=1)
    assert desk.scheduler.status.state is RunState.RUNNING
    fail(desk, permanent=True)
    assert desk.scheduler.status.state is RunState.DRAINING


def resumed(known):
    """Resume a run with a chunk of twelve items; those at `known` had failed before."""
    desk = SchedulerHarness(breaker=CircuitBreaker(ground=4))
    desk(ChunkRead(0, range(0, 12), range(12), known=known))
    return desk


def failed(desk, items, *, retried=()):
    """Let these items fail finally, and those at `retried` for the first time."""
    trials = Trials(0, len(retried), len(items))
    report = flush(0, {0: list(items)}, {0: dict.fromkeys(items, 1)}, {0: Counts(failed=len(items))}, trials)
    desk(replace(report, retried={0: dict.fromkeys(retried, 1)}, error_groups=REFUSED))
    return desk.scheduler.status.state


def test_items_that_had_failed_before_the_resume_cause_no_outage():
    desk = resumed(range(4, 10))
    assert failed(desk, [4, 5, 0], retried=[6, 7, 8]) is RunState.RUNNING
    assert failed(desk, [9, 1, 2]) is RunState.RUNNING
    assert failed(desk, [3]) is RunState.PAUSED, "four that had not failed before"


def test_of_what_had_failed_before_and_ends_well_there_is_no_failure_to_excuse():
    desk = resumed(range(8))
    desk(flush(0, {0: list(range(8))}, {}, {0: Counts(done=8)}))
    assert failed(desk, [8, 9, 10, 11]) is RunState.PAUSED


def test_one_item_is_tried_at_once_when_the_user_asks():
    desk, _ = struck()
    assert orders(desk(TryNow()), Probe) == [(0, Probe())]
    assert desk.scheduler.is_probing
    assert desk.told[-1] == ("INFO", "one item is tried")
    fail(desk, 1)
    assert desk.scheduler.status.state is RunState.PAUSED
    assert orders(fail(desk, 0, ok=1)) == [(0, Resume())]


def test_how_the_tried_item_failed_is_told_once():
    desk, _ = struck()
    failed = replace(
        flush(0, {}, {}, {}, Trials(0, 1), {0: {0: 1}}),
        error_groups={("ConnectError", "refused by N"): 1},
        examples={("ConnectError", "refused by N"): "refused by 10.0.0.7"},
    )
    desk(failed)
    assert not any("that was tried" in text for _, text in desk.told), "it was in flight before"
    desk(TryNow())
    desk.now += 2
    desk(failed)
    assert desk.told[-1] == (
        "INFO",
        "the item that was tried failed: ConnectError: refused by 10.0.0.7; the next one in 8 s",
    )
    number = len(desk.told)
    desk(failed)
    assert len(desk.told) == number


def test_a_refusal_of_the_tried_item_is_told_with_its_status():
    desk, _ = struck()
    desk(HostRefused(0, "h.org", 3.0, 3.0, 503))
    assert not any("that was tried" in text for _, text in desk.told), "it was in flight before"
    desk(TryNow())
    desk.now += 2
    desk(HostRefused(0, "h.org", 3.0, 3.0, 429))
    assert desk.told[-1] == ("INFO", "the item that was tried was refused by h.org (429); the next one in 8 s")
    desk(TryNow())
    desk.now += 2
    fail(desk, 0, ok=1)
    assert desk.told[-1] == ("INFO", "an item succeeded: the run continues")
    desk(HostRefused(0, "h.org", 3.0, 3.0, 429))
    assert "that was tried" not in desk.told[-1][1], "it is a later item"


def test_permanent_failures_are_tried_only_as_often_as_the_user_asks():
    desk, _ = struck(permanent=True)
    assert orders(desk(TryNow()), Probe) == [(0, Probe())]
    assert desk.told[-1] == ("INFO", "one item is tried; further ones only on command")
    desk.now += 10_000
    assert desk(Tick()) == []
    assert desk.scheduler.seconds_until_trial(desk.now) is None
    assert orders(desk(TryNow()), Probe) == [(0, Probe())]
    assert orders(fail(desk, 0, ok=1)) == [(0, Resume())]


def test_nothing_is_tried_without_an_outage_or_while_the_user_pauses():
    desk = SchedulerHarness(chunks=1, items=2)
    assert desk(TryNow()) == []
    desk, _ = struck()
    desk(PauseRun())
    assert desk(TryNow()) == []


# --- what failed for good meanwhile -----------------------------------------------------------------------------


def lose(desk, number, items, *, permanent=()):
    """Items of a chunk fail for good: for lack of attempts, but those at `permanent`, which no attempt helps."""
    lost = [item for item in items if item not in permanent]
    counts = desk.scheduler.chunks[number].counts + Counts(failed=len(items))
    report = flush(0, {number: items}, {number: dict.fromkeys(items, 2)}, {number: counts}, Trials(0, len(items)))
    return desk(replace(report, error_groups=REFUSED, out_of_attempts={number: lost}))


def ending_chunk(desk, number):
    ended = desk(ChunkExhausted(0, number)) + desk(ChunkFinished(0, number))
    return ended + desk(Tick())


def test_items_that_an_outage_made_fail_for_good_run_again_when_it_ends():
    desk = SchedulerHarness(chunks=2, items=4, breaker=CircuitBreaker(ground=4))
    lose(desk, 0, [0, 1, 2, 3], permanent=[1])
    assert desk.scheduler.status.state is RunState.PAUSED
    assert desk.end[1].endswith("from time to time; 3 failed items run again when it ends")
    assert desk.scheduler.items_lost == 3
    assert desk.told[-1][1].endswith("one is tried in 10 s; 3 failed items run again when it ends")
    assert orders(ending_chunk(desk, 0)) == []
    # They wait with the others; the one that failed for another reason stays failed.
    assert list(desk.scheduler.chunks[0].left) == [0, 2, 3]
    assert desk.scheduler.counts.failed == 1
    lose(desk, 1, [4])  # it was in flight
    assert desk.end[1].endswith("; 4 failed items run again when it ends")
    desk.now += 10
    assert desk.sent_items(desk(Tick())) == [(0, 0, [0, 2, 3])]
    desk(InputEnded())
    desk(flush(0, {0: [0]}, {}, {0: Counts(done=1)}, Trials(1)))
    assert desk.end == (RunState.RUNNING, "")
    desk(flush(0, {0: [2, 3]}, {}, {0: Counts(done=3)}))
    ending_chunk(desk, 0)
    assert desk.state(0) is ChunkState.FAILED and desk.scheduler.counts.failed == 2
    desk(flush(0, {1: [5, 6, 7]}, {}, {1: Counts(done=3, failed=1)}))
    ending_chunk(desk, 1)
    assert list(desk.scheduler.chunks[1].left) == [4], "its other items ended, now it runs again"
    desk.finish(1)
    assert (desk.scheduler.counts.done, desk.scheduler.counts.failed) == (7, 1)
    # What had failed for its own reason can still be retried by hand.
    desk(WorkerLost(0, ""))
    assert desk.end == (RunState.FINISHED, "")


def test_what_failed_before_the_outage_runs_again_with_the_rest_of_its_chunk_on_request():
    desk = SchedulerHarness(chunks=2, items=4, breaker=CircuitBreaker(ground=4))
    lose(desk, 0, [0, 1, 2, 3], permanent=[1])
    ending_chunk(desk, 0)
    desk(ResumeRun())
    desk.finish(0, failed=[2])
    (again,) = desk.sent_items(desk(RetryChunks((0,))))
    assert sorted(again[2]) == [1, 2]
    desk.finish(0)
    assert desk.state(0) is ChunkState.DONE


def test_items_of_a_cancelled_chunk_do_not_run_again_after_an_outage():
    desk = SchedulerHarness(chunks=2, items=6, breaker=CircuitBreaker(ground=4))
    lose(desk, 0, [0, 1, 2, 3])
    desk(CancelChunks((0,)))
    desk(flush(0, {0: [4, 5]}, {0: {4: 0, 5: 0}}, {0: Counts(failed=4, cancelled=2)}))
    ending_chunk(desk, 0)
    desk(ResumeRun())
    assert desk.state(0) is ChunkState.CANCELLED and desk.scheduler.counts.failed == 4


def test_a_run_that_is_stopped_in_an_outage_leaves_what_failed():
    desk = SchedulerHarness(chunks=1, items=6, breaker=CircuitBreaker(ground=4))
    lose(desk, 0, [0, 1, 2, 3])
    desk(StopRun(RunState.STOPPED, "stopped on request"))
    ending_chunk(desk, 0)
    assert desk.scheduler.counts.failed == 4
