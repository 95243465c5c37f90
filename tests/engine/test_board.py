"""Snapshots of a run, with a fake clock."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

import pytest
from support.snapshot_harness import SnapshotHarness, builder

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.progress.chunk_views import Wait, WaitCause
from tui_runner.engine.progress.snapshot import ErrorGroup
from tui_runner.engine.protocol import (
    ChunkWait,
    HostRefused,
    HostReport,
    HostsReport,
    InFlight,
    LogLine,
    LogLines,
    PauseHost,
    Progress,
    Ready,
    WorkerLost,
)
from tui_runner.engine.scheduling.circuit_breaker import BreakerState
from tui_runner.engine.scheduling.events import (
    Begin,
    EndRun,
    Hold,
    InputEnded,
    PauseChunks,
    PauseHosts,
    PauseRun,
    ResumeChunks,
    ResumeRun,
    RetryChunks,
    SendOrder,
    StopRun,
    Tell,
    Tick,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import ChunkState, Pause, PauseCause, RunState
from tui_runner.store.records import SampleRecord


@pytest.fixture
def desk():
    return SnapshotHarness()


# --- the run ------------------------------------------------------------------------------------------------


def test_the_first_picture_is_there_before_the_run_begins():
    scheduler = Scheduler(threads=8, workers=1, open_chunks=4, grace=1.0)
    picture = builder(scheduler, 5_000.0).last
    assert (picture.run_id, picture.job, picture.database) == (3, "books", "x.duckdb")
    assert (picture.at, picture.elapsed, picture.items_finished, len(picture.chunks)) == (0.0, 0.0, 0, 0)


def test_counters_are_those_of_the_scheduler(desk):
    desk.end(0, good=6, failed=2, rows=600)
    picture = desk.picture(after=1.0)
    assert (picture.items_done, picture.items_failed, picture.rows) == (6, 2, 600)
    assert (picture.threads, picture.workers, picture.state) == (8, 1, RunState.RUNNING)
    assert desk.board.last is picture


def test_items_of_earlier_processes_are_done_but_in_no_rate():
    desk = SnapshotHarness(skipped=9)
    desk.end(0, good=1, rows=4)
    picture = desk.picture(after=1.0)
    assert (picture.items_done, picture.items_skipped) == (91, 90)
    assert (picture.rows, picture.rows_skipped, picture.chunks[0].rows) == (634, 630, 67)
    assert picture.items_per_second == pytest.approx(1.0)
    assert picture.rows_per_second == pytest.approx(4.0)
    desk.measure()
    assert desk.picture().history[-1].rows_per_second == pytest.approx(4.0)


def test_items_of_earlier_processes_count_before_their_chunks_are_read():
    scheduler = Scheduler(threads=8, workers=1, open_chunks=4, grace=1.0)
    picture = builder(scheduler, 5_000.0, done_before=90, rows_before=630, active_before=61.0).last
    assert (picture.items_done, picture.items_skipped, picture.items_finished) == (90, 90, 90)
    assert (picture.rows, picture.rows_skipped) == (630, 630)
    assert (picture.active_seconds, picture.items_executed) == (61.0, 0)


def test_pauses_are_those_of_the_run_and_not_the_time_before_it_begins():
    scheduler = Scheduler(threads=8, workers=1, open_chunks=4, grace=1.0)
    board = builder(scheduler, 5_000.0, active_before=45.0, wall_before=50.0)
    scheduler.handle(Begin(), 5_003.0)  # the start of a screen, or of workers
    picture = board.snapshot(5_005.0)
    assert (picture.at, picture.elapsed, picture.paused) == (5.0, 2.0, 0.0)
    assert (picture.active_seconds, picture.wall_seconds, picture.paused_seconds) == (47.0, 52.0, 5.0)
    scheduler.handle(PauseRun(), 5_006.0)
    picture = board.snapshot(5_010.0)
    assert (picture.elapsed, picture.paused, picture.wall_seconds) == (3.0, 4.0, 57.0)
    scheduler.handle(ResumeRun(), 5_011.0)
    board.snapshot(5_011.0)
    scheduler.handle(Hold(PauseCause.DISK, "no room"), 5_013.0)
    picture = board.snapshot(5_020.0)
    assert picture.pauses == (("disk", 7.0), ("by you", 5.0)) and picture.paused == 12.0


def test_means_of_a_resumed_run_are_of_the_whole_run_unless_its_earlier_time_is_unknown():
    scheduler = Scheduler(threads=8, workers=1, open_chunks=4, grace=1.0)
    picture = builder(scheduler, 5_000.0, done_before=90, rows_before=630, active_before=45.0).last
    assert (picture.mean_items_per_second, picture.mean_rows_per_second) == (2.0, 14.0)
    picture = builder(scheduler, 5_000.0, done_before=90, rows_before=630).last
    assert (picture.mean_items_per_second, picture.mean_rows_per_second) == (0.0, 0.0)


def test_a_chunk_that_is_read_is_not_counted_twice():
    desk = SnapshotHarness(skipped=9)
    desk.board = builder(desk.scheduler, desk.now, items_total=100, done_before=95, rows_before=700)
    picture = desk.picture()
    assert (picture.items_done, picture.rows) == (95, 700)
    desk.handle(InputEnded())
    assert (desk.picture().items_done, desk.picture().rows) == (90, 630)


def test_the_estimate_of_a_retry_counts_only_its_items():
    def high(again):
        desk = SnapshotHarness(total=10_000, threads=1)
        desk.board = builder(desk.scheduler, desk.now, items_total=10_000, items_again=again)
        for number in range(10):
            desk.now += 1.0
            desk.end(number, good=10)
        _, high = desk.picture().eta_seconds
        return high

    assert high(200) < 30.0 < 500.0 < high(None)


def test_rates_are_over_ten_seconds_from_the_very_first_flush(desk):
    desk.now += 2.0
    desk.end(0, good=10, rows=500)
    assert desk.picture().items_per_second == pytest.approx(5.0)
    assert desk.picture().rows_per_second == pytest.approx(250.0)
    assert desk.picture(after=30.0).items_per_second == 0.0


def test_time_paused_is_in_no_rate(desk):
    desk.now += 5.0
    desk.end(0, good=10)
    desk.handle(PauseRun())
    picture = desk.picture(after=3_600.0)
    assert (picture.items_per_second, picture.rows_per_second) == (0.0, 0.0)
    assert (picture.at, picture.elapsed) == (3_605.0, 5.0)
    desk.handle(ResumeRun())
    assert desk.picture(after=5.0).items_per_second == pytest.approx(1.0)


def test_a_run_with_nothing_left_but_paused_chunks_is_paused_and_promises_no_end():
    desk = SnapshotHarness(chunks=2, total=None)
    desk.handle(InputEnded())
    desk.now += 2.0
    desk.end(0, good=5)
    desk.now += 3.0
    desk.end(0, good=5)
    assert desk.picture().eta_seconds is not None
    desk.handle(PauseChunks(frozenset({1})))
    desk.measure()
    picture = desk.picture(after=3_600.0)
    assert (picture.state, picture.reason) == (
        RunState.PAUSED,
        "only paused chunks are left: resume or cancel them",
    )
    assert (picture.elapsed, picture.items_per_second, picture.eta_seconds, picture.stalled_seconds) == (
        5.0, 0.0, None, None,
    )  # fmt: skip
    desk.measure()
    assert desk.picture().history[-1].items_per_second is None
    desk.handle(ResumeRun())
    picture = desk.picture(after=1.0)
    assert (picture.state, picture.reason, picture.elapsed) == (RunState.RUNNING, "", 6.0)
    assert picture.chunks[1].state is not ChunkState.PAUSED


def test_a_chunk_with_nothing_in_flight_waits(desk):
    assert {view.state for view in desk.picture().chunks} == {ChunkState.WAITING}
    desk.fly({0: 3})
    assert [view.state for view in desk.picture().chunks[:2]] == [ChunkState.RUNNING, ChunkState.WAITING]
    # Items of microseconds are seldom seen in flight: one that has just ended will do.
    desk.end(0, good=5)
    desk.fly({})
    assert desk.picture(after=0.9).chunks[0].state is ChunkState.RUNNING
    assert desk.picture(after=0.2).chunks[0].state is ChunkState.WAITING


def test_chunks_of_a_paused_run_wait_as_soon_as_nothing_is_in_flight(desk):
    desk.fly({0: 3})
    desk.handle(PauseRun())
    assert desk.picture(after=0.1).chunks[0].state is ChunkState.RUNNING
    desk.end(0, good=3)
    desk.fly({})
    assert desk.picture().chunks[0].state is ChunkState.WAITING


def test_items_that_run_again_count_as_work(desk):
    desk.now += 5.0
    desk.end(0, good=5, failed=5)
    desk.handle(RetryChunks([0]))
    assert desk.picture().items_failed == 0
    desk.end(0, good=5)
    assert desk.picture().items_per_second == pytest.approx(3.0)


def test_items_that_were_cancelled_are_not_left_and_were_no_work(desk):
    desk.end(1, good=1)
    desk.now += 10.0
    desk.end(0, good=4, failed=1)
    low, high = desk.picture().eta_seconds
    for number in (2, 3):
        desk.end(number, cancelled=10)
    desk.end(0, cancelled=5)
    desk.measure()
    picture = desk.picture()
    assert (picture.items_finished, picture.items_executed) == (31, 6)
    assert (picture.items_per_second, picture.history[-1].items_per_second) == (0.5, 0.5)
    assert picture.eta_seconds == pytest.approx((low * 69 / 94, high * 69 / 94))
    assert [chunk.items_per_second for chunk in picture.chunks[::2][:2]] == [pytest.approx(0.5), 0.0]


def test_cancelling_is_no_sign_of_life(desk):
    desk.now += 30.0
    desk.fly(seconds=[30.0])
    desk.end(1, cancelled=10)
    assert desk.picture().stalled_seconds == 30.0


def test_the_total_is_the_number_of_read_items_once_the_input_has_ended():
    desk = SnapshotHarness(chunks=3, total=None)
    assert desk.picture().items_total is None
    desk.handle(InputEnded())
    assert desk.picture().items_total == 30


def test_an_empty_input_has_no_items():
    desk = SnapshotHarness(chunks=0, total=None)
    desk.handle(InputEnded())
    assert desk.picture().items_total == 0


# --- estimates ----------------------------------------------------------------------------------------------


def test_an_estimate_is_a_range_until_much_has_ended(desk):
    desk.now += 9.0
    desk.end(0, good=1)
    assert desk.picture().eta_seconds is None
    desk.now += 3.0
    desk.end(0, good=4)
    assert desk.picture().eta_seconds == pytest.approx((95 / (4 / 3) / 1.5, 95 / (4 / 3) * 1.5))
    desk.fly({0: 5})
    assert desk.picture().eta_seconds is None, "what has ended may be the fastest of those that began together"


def test_there_is_no_estimate_while_most_of_what_is_left_waits_for_its_next_attempt(desk):
    desk.now += 9.0
    desk.end(0, good=1)
    desk.now += 3.0
    desk.end(0, good=4)
    for delayed, known in ((47, True), (48, False), (0, True)):
        desk.board.progress(Progress(0, {}, (), 8, 0, False, delayed=delayed), desk.now)
        assert (desk.picture().eta_seconds is not None) is known
        assert desk.picture().awaits_attempts is not known


def test_the_next_attempt_is_counted_down_between_reports(desk):
    assert desk.picture().next_attempt is None
    desk.board.progress(Progress(0, {}, (), 8, 0, False, delayed=2, next_attempt=4.0), desk.now)
    assert desk.picture().next_attempt == 4.0
    desk.now += 3.0
    assert desk.picture().next_attempt == 1.0
    desk.now += 3.0
    assert desk.picture().next_attempt == 0.0


def test_there_is_no_estimate_of_an_input_of_unknown_length():
    desk = SnapshotHarness(total=None)
    desk.now += 5.0
    desk.end(0, good=10)
    assert desk.picture().eta_seconds is None


def test_recorded_items_are_neither_left_nor_speed():
    desk = SnapshotHarness(skipped=5)
    desk.end(0, good=1)
    desk.now += 10.0
    desk.end(0, good=4)
    low, high = desk.picture().eta_seconds
    assert (low * high) ** 0.5 == pytest.approx(45 / 0.4)


# --- stalls -------------------------------------------------------------------------------------------------


def test_a_run_stalls_when_nothing_ends_for_longer_than_usual(desk):
    desk.now += 1.0
    desk.end(0, good=1)
    desk.now += 9.0
    desk.fly(seconds=[9.0])
    assert desk.picture().stalled_seconds is None
    desk.now += 3.0
    desk.fly(seconds=[12.0])
    assert desk.picture().stalled_seconds == pytest.approx(12.0)
    desk.end(0, good=1)
    assert desk.picture().stalled_seconds is None


def test_slow_items_are_usual_where_all_of_them_are_slow(desk):
    desk.fly(seconds=[1.0])
    desk.time(*[10.0] * 20)
    desk.now += 40.0
    desk.fly(seconds=[40.0])
    assert desk.picture().stalled_seconds is None
    desk.now += 20.0
    desk.fly(seconds=[60.0])
    assert desk.picture().stalled_seconds == pytest.approx(60.0)


def test_a_run_that_waits_for_its_input_or_has_just_gone_on_is_not_stalled(desk):
    desk.now += 60.0
    desk.fly()
    assert desk.picture().stalled_seconds is None
    desk.fly(seconds=[0.2])
    assert desk.picture().stalled_seconds is None


def test_a_slow_item_makes_the_estimate_a_least_time_and_no_end_is_promised_while_only_such_items_are_left():
    desk = SnapshotHarness(chunks=2, total=None)
    desk.handle(InputEnded())
    desk.end(0, good=1)
    desk.now += 5.0
    desk.end(0, good=9)
    desk.end(1, good=5)
    desk.fly(seconds=[0.2] * 4)
    desk.time(*[0.3] * 15)
    assert desk.picture().eta.startswith("ETA 00:00:0")
    desk.fly(seconds=[4.0] * 4)
    assert desk.picture(after=3.8).eta == "ETA ≥ 00:00:02", "the fifth waits for the others"
    desk.end(1, good=3)
    desk.fly(seconds=[1.0, 0.1])
    picture = desk.picture()
    assert (picture.eta_seconds, picture.eta) == (None, "ETA after slow items")


def test_a_run_that_only_paused_hosts_hold_is_not_stalled_and_its_chunks_say_so(desk):
    desk.now += 60.0
    desk.handle(PauseHosts(("h.org",), True))
    desk.handle(HostsReport(0, (HostReport("h.org", waiting=8, paused=True),)))
    held = (InFlight(0, 0, "a", 1, 60.0, "h.org"),)
    waits = {number: ChunkWait("h.org", math.inf) for number in desk.scheduler.workers[0].chunks}
    report = Progress(0, {0: 1}, held, 8, 0, False, held={0: 1}, waits=waits)
    desk.handle(report)
    desk.board.progress(report, desk.now)
    picture = desk.picture(after=30.0)
    assert (picture.stalled_seconds, picture.eta_seconds, picture.waits_for_user) == (None, None, True)
    assert picture.chunks[0].wait == Wait(WaitCause.HOST_PAUSED, "h.org")
    # The time in which only the user can help is a pause, as is any other.
    assert (picture.state, picture.elapsed, picture.paused) == (RunState.PAUSED, 60.0, 30.0)
    desk.handle(PauseHosts(("h.org",), False))
    desk.handle(HostsReport(0, (HostReport("h.org", waiting=8),)))
    desk.fly(seconds=[60.0])
    picture = desk.picture(after=1.0)
    assert picture.stalled_seconds is not None
    assert (picture.state, picture.elapsed, picture.paused) == (RunState.RUNNING, 61.0, 30.0)


def test_a_run_whose_items_wait_for_a_host_that_limits_them_is_not_stalled(desk):
    desk.now += 60.0
    held = InFlight(0, 0, "a", 1, 60.0, "h.org")
    waits = {number: ChunkWait("h.org", 90.0) for number in desk.scheduler.workers[0].chunks}

    def stalled(*others: InFlight) -> float | None:
        count = 1 + len(others)
        report = Progress(0, {0: count}, (held, *others), 8, 0, False, held={0: 1}, waits=waits)
        desk.handle(report)
        desk.board.progress(report, desk.now)
        return desk.picture().stalled_seconds

    assert stalled() is None
    assert stalled(InFlight(0, 1, "b", 1, 3.0)) is None, "it has just begun"
    assert stalled(InFlight(0, 1, "b", 1, 30.0)) == pytest.approx(30.0)


def test_a_wait_for_a_host_that_has_refused_requests_is_added_to_the_estimate():
    desk = SnapshotHarness(chunks=10, items=200, total=2_000)
    for second in range(15):  # 20 items a second
        desk.now += 1.0
        desk.end(second // 10, good=20)
    desk.fly({2: 4})
    before = desk.picture().eta_seconds
    assert before is not None
    desk.handle(HostRefused(0, "h.org", 15.0, 15.0, 429))
    ends = desk.now + 15.0
    while desk.now < ends:
        waits = {number: ChunkWait("h.org", ends - desk.now) for number in desk.scheduler.workers[0].chunks}
        desk.board.progress(Progress(0, {}, (), 8, 0, False, waits=waits), desk.now)
        picture = desk.picture(after=0.25)
        assert picture.eta_seconds is not None
        least, most = picture.eta_seconds
        if picture.held_seconds:
            # As before, after the wait that is left; at most so long that there is as much of waiting again.
            assert least == pytest.approx(before[0] + ends - desk.now, rel=0.1)
            assert before[1] < most < 2.2 * before[1] + ends - desk.now
    desk.fly({2: 4})
    least, most = desk.picture().eta_seconds
    assert least == pytest.approx(before[0], rel=0.05) and most < 2.2 * before[1]


def test_the_time_in_which_all_items_wait_for_hosts_is_measured(desk):
    desk.now += 10.0
    desk.end(0, good=5)
    assert desk.picture().held_seconds == 0.0
    waits = {number: ChunkWait("h.org", 30.0) for number in desk.scheduler.workers[0].chunks}
    desk.board.progress(Progress(0, {}, (), 8, 0, False, waits=waits), desk.now)
    for _ in range(20):
        desk.picture(after=0.25)
    assert desk.picture().held_seconds == pytest.approx(5.0, abs=0.25), "with the second before it was visible"
    desk.end(0, good=5)
    desk.fly({0: 2})
    desk.picture(after=4.0)
    assert desk.picture().held_seconds == pytest.approx(5.0, abs=0.25)


def test_a_paused_host_is_no_pause_of_the_run_while_another_chunk_can_go_on(desk):
    desk.handle(PauseHosts(("h.org",), True))
    desk.handle(HostsReport(0, (HostReport("h.org", waiting=8, paused=True), HostReport("i.org", waiting=1))))
    chunks = sorted(desk.scheduler.workers[0].chunks)
    waits = {number: ChunkWait("h.org", math.inf) for number in chunks}
    for others in ({}, {chunks[0]: ChunkWait("i.org", 5.0)}, {chunks[0]: ChunkWait("", 5.0)}):
        report = Progress(0, {}, (), 8, 0, False, waits={**waits, **others})
        desk.handle(report)
        desk.board.progress(report, desk.now)
        assert desk.picture().waits_for_user is not bool(others), others
    desk.fly(seconds=[0.1])
    assert not desk.picture().waits_for_user


def test_a_worker_that_starts_later_does_not_ask_a_paused_host_either():
    desk = SnapshotHarness(workers=2)
    desk.handle(PauseHosts(("h.org", "i.org"), True))
    desk.handle(PauseHosts(("i.org",), False))
    orders = [action for action in desk.scheduler.handle(Ready(1, 2), desk.now) if isinstance(action, SendOrder)]
    assert SendOrder(1, PauseHost("h.org", True)) in orders
    assert not any(isinstance(each.order, PauseHost) and each.order.host == "i.org" for each in orders)


def test_the_host_that_a_run_waits_for_is_named_with_the_refusal_that_caused_the_wait(desk):
    desk.handle(HostsReport(0, (HostReport("h.org", waiting=8, refused=9, statuses={503: 97}),)))
    desk.handle(HostRefused(0, "h.org", 8.0, 8.0, 429))
    (host,) = desk.picture(1.0).hosts
    assert host.refusal == 429
    desk.handle(HostRefused(0, "h.org", 30.0, 30.0, 503))
    (host,) = desk.picture(1.0).hosts
    assert host.refusal == 503
    desk.handle(HostsReport(0, (HostReport("h.org", open=8),)))
    (host,) = desk.picture(60.0).hosts
    assert (host.refusal, host.cooldown_until) == (None, None)


def test_resuming_a_run_that_paused_hosts_hold_resumes_the_hosts(desk):
    desk.handle(PauseHosts(("h.org",), True))
    desk.handle(HostsReport(0, (HostReport("h.org", waiting=8, paused=True),)))
    waits = {number: ChunkWait("h.org", math.inf) for number in desk.scheduler.workers[0].chunks}
    desk.handle(Progress(0, {}, (), 8, 0, False, waits=waits))
    orders = [action.order for action in desk.scheduler.handle(ResumeRun(), desk.now) if isinstance(action, SendOrder)]
    assert PauseHost("h.org", False) in orders


def test_a_paused_run_is_not_stalled(desk):
    desk.now += 20.0
    desk.fly(seconds=[20.0])
    desk.handle(PauseRun())
    assert desk.picture().stalled_seconds is None


# --- what workers do ----------------------------------------------------------------------------------------


def test_in_flight_and_buffers_are_what_the_workers_said_last(desk):
    desk.fly({0: 5, 1: 3}, buffered=4_096, throttled=True)
    picture = desk.picture()
    assert (picture.in_flight, picture.buffered_bytes, picture.throttled) == (8, 4_096, True)
    assert [chunk.in_flight for chunk in picture.chunks[:3]] == [5, 3, 0]
    desk.board.worker_gone(0)
    picture = desk.picture()
    assert (picture.in_flight, picture.buffered_bytes, picture.throttled) == (0, 0, False)
    assert [chunk.in_flight for chunk in picture.chunks[:3]] == [0, 0, 0]


def test_a_chunk_that_ended_between_two_reports_does_not_stay_in_flight(desk):
    desk.fly({0: 2})
    desk.end(0, good=10)
    assert desk.picture().chunks[0].state is ChunkState.DONE
    desk.fly({1: 2})
    assert desk.picture().chunks[0].in_flight == 0


def test_the_oldest_items_come_first_and_are_few(desk):
    desk.fly(seconds=[float(length) for length in range(50)])
    oldest = desk.picture().oldest
    assert [item.seconds for item in oldest[:2]] == [49.0, 48.0]
    assert len(oldest) == 20


def test_percentiles_are_those_of_all_attempts(desk):
    assert desk.picture().p50 is None
    desk.time(*[0.1] * 90)
    desk.time(*[5.0] * 10)
    picture = desk.picture()
    assert picture.p50 == pytest.approx(0.1, rel=0.018)
    assert picture.p95 == pytest.approx(5.0, rel=0.018)


# --- chunks -------------------------------------------------------------------------------------------------


def test_only_chunks_that_changed_are_new_objects(desk):
    before = desk.picture().chunks
    desk.end(4, good=3)
    after = desk.picture().chunks
    assert [number for number in range(10) if before[number] is not after[number]] == [4]
    assert desk.picture().chunks[4] is after[4], "no time has passed"


def test_the_clock_of_a_running_chunk_continues_without_events(desk):
    desk.fly({0: 1})
    assert [desk.picture(after=2.0).chunks[0].elapsed for _ in range(2)] == [2.0, 4.0]


def test_a_paused_chunk_is_not_drawn_again_while_nothing_happens(desk):
    desk.fly({0: 1})
    desk.now += 3.0
    desk.handle(PauseChunks([0]))
    paused = desk.picture(after=1.0).chunks[0]
    assert (paused.state, paused.elapsed) == (ChunkState.PAUSED, 3.0)
    assert desk.picture(after=60.0).chunks[0] is paused
    desk.handle(ResumeChunks([0]))
    assert desk.picture(after=1.0).chunks[0].elapsed == 4.0


def test_a_running_chunk_goes_at_its_rate_and_an_ended_one_at_its_average(desk):
    desk.fly({0: 1})
    desk.now += 4.0
    desk.end(0, good=8)
    assert desk.picture().chunks[0].items_per_second == pytest.approx(2.0)
    desk.now += 1.0
    desk.end(0, good=2)
    for _ in range(2):
        assert desk.picture(after=10.0).chunks[0].items_per_second == pytest.approx(2.0)


def test_recent_rates_are_spans_of_six_seconds_the_last_one_begun(desk):
    desk.fly({0: 1})
    desk.end(0, good=6)
    desk.now += 13.0
    desk.end(0, good=2)
    assert desk.picture().chunks[0].recent == pytest.approx((1.0, 0.0, 2.0))
    assert desk.picture(after=120.0).chunks[0].recent == (0.0,) * 10


@pytest.mark.parametrize("skipped", [0, 5])
def test_recent_rates_leave_out_what_was_done_before(skipped):
    desk = SnapshotHarness(skipped=skipped)
    desk.now += 30.0
    desk.end(0, good=10 - skipped - 2, failed=2)
    desk.now += 30.0
    desk.handle(RetryChunks([0]))
    desk.fly({0: 1})
    desk.end(0, good=1)
    desk.now += 0.5
    view = desk.picture().chunks[0]
    assert sum(view.recent) == pytest.approx(1.0)
    assert 0.5 < view.items_per_second <= 2.0


def test_a_chunk_that_has_not_started_shows_no_rates(desk):
    view = desk.picture(after=5.0).chunks[0]
    assert (view.started_at, view.elapsed, view.recent, view.items_per_second) == (None, 0.0, (), 0.0)


# --- graphs, events, errors, log ----------------------------------------------------------------------------


def test_each_measurement_is_a_point_of_the_graphs(desk):
    desk.now += 1.0
    desk.end(0, good=4, rows=40)
    desk.measure()
    desk.now += 2.0
    desk.measure()
    first, second = desk.picture().history
    assert (first.at, first.items_per_second, first.rows_per_second) == (1.0, 4.0, 40.0)
    assert (first.app_rss, first.workers_rss, desk.board.last.db_bytes) == (1_000, 2_000, 3_000)
    assert (second.at, second.items_per_second) == (3.0, pytest.approx(4 / 3))


def test_samples_have_the_highest_rate_of_the_graph_and_the_end_of_the_run(desk):
    def sampled(message) -> SampleRecord:
        (answer,) = desk.board.handle(message, desk.now)
        return answer.sample

    measured = MemoryMeasured(1_000, 2_000, 3_000)
    assert sampled(measured).items_done == 0
    desk.now += 1.0
    assert sampled(measured).items_done == 0  # the first samples are close, for short processes
    desk.now += 0.5
    desk.end(0, good=6)
    assert not list(desk.board.handle(measured, desk.now))  # too early for the next sample, but a point of the graph
    desk.now += 4.0
    second = sampled(measured)
    assert (second.items_per_second, second.items_done) == (4.0, 6)
    assert max(point.items_per_second for point in desk.picture().history if point.items_per_second) == 4.0
    desk.now += 1.0
    desk.end(1, good=4)
    assert sampled(EndRun(RunState.FINISHED, "")).items_done == 10


def test_no_rate_or_memory_that_was_shown_is_above_the_maximum_of_the_samples(desk):
    samples, shown, memory = [], [], []
    for step in range(240):  # a minute
        desk.now += 0.25
        if step % 30 < 20:
            desk.end(step // 30, good=step % 2)
        if step % 4 == 0:
            used = MemoryMeasured(1_000, 90_000 if step == 148 else 2_000, 3_000)
            samples += [answer.sample for answer in desk.board.handle(used, desk.now)]
            memory.append(used.app_rss + used.workers_rss)
        shown += [desk.picture().items_per_second] if step >= 4 else []
    samples += [answer.sample for answer in desk.board.handle(EndRun(RunState.FINISHED, ""), desk.now) for _ in "12"]
    assert max(sample.items_per_second for sample in samples) == max(shown)
    assert max(sample.app_rss + sample.workers_rss for sample in samples) == max(memory)
    assert samples[-1].workers_rss == 2_000, "the highest since the sample before"
    assert max(point.fastest for point in desk.picture().history) == desk.picture().highest_rate == max(shown)


def test_a_burst_in_the_first_milliseconds_is_not_the_highest_rate(desk):
    desk.now += 0.01
    desk.end(0, good=9)
    assert desk.picture().items_per_second == pytest.approx(900.0)
    desk.now += 0.99
    desk.measure()
    assert desk.picture().highest_rate == pytest.approx(9.0)


def test_the_highest_rate_is_not_below_the_mean_although_reports_are_late(desk):
    for _ in range(5):
        desk.now += 20.0
        desk.end(0, good=2)
        desk.now += 5.0  # nothing ends, and the rate falls
        desk.measure()
    picture = desk.picture()
    assert max(point.items_per_second for point in picture.history) < picture.highest_rate
    assert picture.highest_rate == pytest.approx(0.08)


def test_a_pause_begins_when_the_items_in_flight_have_ended(desk):
    desk.now += 10.0
    desk.end(0, good=6, rows=60)
    desk.fly({1: 4})
    desk.measure()
    desk.handle(PauseRun())
    desk.now += 5.0
    desk.measure()
    desk.now += 5.0
    desk.end(1, good=4, rows=40)
    desk.fly({})
    picture = desk.picture()
    assert (picture.elapsed, picture.items_per_second) == (pytest.approx(20.0), 0.0)
    desk.measure()
    desk.handle(ResumeRun())
    picture = desk.picture(after=0.1)
    assert picture.items_per_second == pytest.approx(0.4, rel=0.02)  # before the pause 0.6, not 1.0
    assert picture.chunks[1].items_per_second <= 0.4
    assert picture.highest_rate == pytest.approx(0.6)
    assert [point.items_per_second for point in picture.history] == pytest.approx([0.6, 0.3, None])


def test_an_item_that_ends_long_after_the_key_makes_no_longer_estimate():
    desk = SnapshotHarness(chunks=10, items=100, total=1_000)

    def estimates(second: int) -> tuple[float, float]:
        """Let 20 items end in a second."""
        desk.now += 1.0
        desk.end(second // 5, good=20)
        desk.fly({9: 4})
        estimate = desk.picture().eta_seconds
        assert estimate is not None
        return estimate

    for second in range(3):
        desk.now += 1.0
        desk.end(second // 5, good=20)
    before = [estimates(second) for second in range(3, 20)][-1]
    desk.handle(PauseRun())
    desk.now += 25.0
    desk.end(9, good=1)
    desk.fly({})
    assert desk.picture(100.0).eta_seconds is None
    desk.handle(ResumeRun())
    desk.fly({9: 4})
    assert desk.picture().eta_seconds == pytest.approx(before, rel=0.1)
    after = [estimates(second) for second in range(20, 40)]
    for second, (least, most) in enumerate(after, start=1):
        left = (before[0] + before[1]) / 2 - second
        assert 0.5 * left < least < most < 1.5 * left


@pytest.mark.parametrize("held_by", ["", "a.example"])
def test_items_that_hang_or_wait_for_a_paused_host_do_not_delay_a_pause(desk, held_by):
    desk.now += 10.0
    if held_by:
        desk.handle(PauseHosts((held_by,), True))
        desk.handle(Progress(0, {0: 1}, (), 8, 0, False, held={0: 1}, waits={0: ChunkWait(held_by, 1.0)}))
    else:
        desk.fly({0: 1})
    desk.handle(PauseRun())
    desk.now += 60.0
    desk.handle(Tick())
    assert desk.picture(after=3_600.0).elapsed == pytest.approx(10.0 if held_by else 70.0)


def test_items_that_end_late_in_a_pause_are_in_no_rate(desk):
    desk.now += 10.0
    desk.end(0, good=5, failed=1, rows=50)
    desk.end(1, good=4, rows=40)
    before = desk.picture()
    desk.measure()
    desk.handle(PauseRun())
    for _ in range(3):  # items in flight that were never reported, for example requests held for their host
        desk.now += 20.0
        desk.end(0, good=1, rows=10)
        desk.measure()
    paused = desk.picture()
    desk.handle(ResumeRun())
    desk.measure()
    after = desk.picture()
    assert (after.items_done, after.rows) == (12, 120)
    assert paused.chunks[0].items_per_second == 0.0
    for figure in ("items_per_second", "rows_per_second", "highest_rate"):
        assert getattr(after, figure) == pytest.approx(getattr(before, figure)), figure
    assert after.chunks[0].items_per_second == pytest.approx(before.chunks[0].items_per_second)
    assert after.history[-1].failed_per_second == pytest.approx(0.1)


def test_samples_show_the_begin_of_a_process_and_both_ends_of_a_pause(desk):
    measured = MemoryMeasured(1_000, 2_000, 3_000)

    def in_flight_after(seconds: float) -> list[int | None]:
        desk.now += seconds
        return [answer.sample.in_flight for answer in desk.board.handle(measured, desk.now)]

    assert in_flight_after(0.0) == [None]
    assert in_flight_after(20.0) == [0]
    desk.handle(PauseRun())
    assert in_flight_after(1.0) == [0]
    assert in_flight_after(1.0) == []
    desk.handle(ResumeRun())
    # At once, so that no item ends between the end of the pause and the sample.
    (resumed,) = desk.board.handle(Tell("INFO", "resumed"), desk.now)
    assert (resumed.sample.items_per_second, resumed.sample.in_flight) == (0.0, 0)
    assert in_flight_after(1.0) == []
    assert in_flight_after(5.0) == [0]


def test_the_sample_at_the_begin_of_a_pause_has_the_time_of_the_last_end(desk):
    measured = MemoryMeasured(1_000, 2_000, 3_000)
    desk.now += 10.0
    list(desk.board.handle(measured, desk.now))
    desk.handle(PauseRun())
    desk.now += 0.9
    before = datetime.now(UTC)
    (answer,) = desk.board.handle(measured, desk.now)
    assert abs((answer.sample.sampled_at - before).total_seconds() + 0.9) < 0.3


def test_held_items_of_a_pause_wait_for_hosts(desk):
    desk.now += 10.0
    desk.end(0, good=5)
    desk.picture()
    waits = {number: ChunkWait("h.org", 30.0) for number in desk.scheduler.workers[0].chunks}
    held = Progress(0, {0: 3}, (), 8, 0, False, held={0: 3}, waits=waits)
    desk.handle(held)
    desk.board.progress(held, desk.now)
    desk.handle(PauseRun())
    for _ in range(80):
        desk.picture(after=0.25)
    desk.fly({})
    picture = desk.picture(after=100.0)
    assert picture.elapsed == pytest.approx(30.0) and picture.held_seconds == pytest.approx(20.0, abs=0.5)


def test_a_pause_is_a_gap_in_the_graphs_and_no_peak_behind_it(desk):
    desk.now += 1.0
    desk.end(0, good=4)
    desk.measure()
    desk.handle(PauseRun())
    for _ in range(3):
        desk.now += 1.0
        desk.measure()
    desk.handle(ResumeRun())
    desk.now += 1.0
    desk.end(0, good=2)
    desk.measure()
    assert [point.items_per_second for point in desk.picture().history] == [4.0, None, None, None, 3.0]


def test_graphs_go_back_five_minutes(desk):
    for _ in range(400):
        desk.now += 1.0
        desk.measure()
    history = desk.picture().history
    assert (history[0].at, history[-1].at) == (100.0, 400.0)


def test_running_items_again_is_no_negative_rate(desk):
    desk.now += 1.0
    desk.end(0, failed=10)
    desk.measure()
    desk.handle(RetryChunks([0]))
    desk.now += 1.0
    desk.measure()
    assert [point.items_per_second for point in desk.picture().history] == [10.0, 5.0]


def test_the_newest_events_are_kept_with_their_time(desk):
    for number in range(250):
        desk.board.tell(desk.now + number, "INFO", f"event {number}")
    events = desk.picture().events
    assert len(events) == 200
    assert (events[-1].at, events[-1].level, events[-1].text) == (249.0, "INFO", "event 249")


def test_errors_that_are_alike_are_one_group(desk):
    desk.end(0, failed=3, groups={("ValueError", "page N"): 2, ("KeyError", "'a'"): 1})
    desk.end(1, failed=1, groups={("ValueError", "page N"): 1})
    assert desk.picture().errors == (ErrorGroup(3, "ValueError", "page N"), ErrorGroup(1, "KeyError", "'a'"))
    desk.end(2, failed=1, groups={("E", f"message {number}"): 1 for number in range(100)})
    assert len(desk.picture().errors) == 20


def test_the_newest_lines_of_the_log_are_kept(desk):
    for number in range(1_100):
        desk.board.logged(LogLines(0, (LogLine(0.0, "INFO", f"line {number}"),)))
    log = desk.picture().log
    assert (len(log), log[0].text, log[-1].text) == (1_000, "line 100", "line 1099")


def test_lines_that_are_missing_from_the_log_are_not_passed_over_in_silence(desk):
    desk.board.logged(LogLines(0, (LogLine(0.0, "INFO", "next"),), dropped=25))
    assert [(line.level, line.text) for line in desk.picture().log] == [
        ("WARNING", "(25 lines were dropped)"),
        ("INFO", "next"),
    ]


def test_an_outage_and_the_grace_time_count_down():
    desk = SnapshotHarness(grace=10.0)
    desk.board = builder(desk.scheduler, desk.now, grace=10.0)
    desk.scheduler._status = desk.scheduler._status.paused(Pause(PauseCause.OUTAGE, "20 of 20 failed"))
    desk.scheduler._breaker.state, desk.scheduler._breaker._next_trial = BreakerState.OPEN, desk.now + 40.0
    assert (desk.picture(after=10.0).in_outage, desk.picture().trial_seconds) == (True, 30.0)
    desk.handle(PauseRun())
    assert (desk.picture().in_outage, desk.picture().trial_seconds) == (False, None)
    desk.handle(ResumeRun())
    desk.fly({0: 3})
    desk.handle(StopRun(RunState.STOPPED, "asked"))
    assert desk.picture().drain_seconds == 10.0
    assert desk.picture(after=4.0).drain_seconds == 6.0


def test_a_steady_rate_has_a_steady_graph_though_flushes_come_in_bursts():
    desk = SnapshotHarness(chunks=40, items=20, total=800)
    for second in range(20):
        desk.now += 1.5 if second % 2 else 0.5  # 20 items a second, in bursts
        desk.end(second, good=20)
        desk.measure()
    rates = [sample.items_per_second for sample in desk.picture().history[6:]]
    assert max(rates) < 25.0 and min(rates) > 15.0


def test_percentiles_are_those_of_the_last_minute():
    desk = SnapshotHarness()
    desk.fly({0: 1})
    desk.time(*[0.1] * 1_000)
    assert desk.picture().p50 == pytest.approx(0.1, rel=0.018) and desk.picture().latency_window == 60.0
    desk.now += 61.0
    desk.fly({0: 1})
    desk.time(*[2.0] * 10)
    assert desk.picture().p50 == 2.0, "all of them took as long"
    desk.now += 100.0
    assert desk.picture().latency_window is None and desk.picture().p50 == pytest.approx(0.1, rel=0.018)


def test_failed_items_have_a_rate_of_their_own_in_the_graphs():
    desk = SnapshotHarness()
    desk.now += 2.0
    desk.end(0, good=6, failed=4)
    desk.measure()
    sample = desk.picture().history[-1]
    assert (sample.items_per_second, sample.failed_per_second) == (5.0, 2.0)


# --- why a chunk waits --------------------------------------------------------------------------------------


def told_waits(desk, **waits):
    """Return the cause for which chunk 0 waits, after this report. One of its items has ended."""
    desk.handle(Progress(0, {}, (), 8, 0, False))
    desk.now += 2.0
    report = Progress(0, {}, (), 8, 0, False, **waits)
    desk.board.progress(report, desk.now)
    return desk.picture().chunks[0]


def test_a_chunk_without_started_items_says_so(desk):
    desk.fly(seconds=[1.0])
    pictures = desk.picture().chunks
    assert (pictures[0].state, pictures[0].wait) == (ChunkState.RUNNING, None)
    assert (pictures[5].state, pictures[5].wait) == (ChunkState.WAITING, Wait(WaitCause.NOT_STARTED))


def test_chunk_says_which_host_it_waits_for_and_until_when(desk):
    desk.end(0, good=1)
    told = told_waits(desk, waits={0: ChunkWait("books.example", 40.2)})
    assert (told.state, told.wait.cause, told.wait.host, told.wait.seconds) == (
        ChunkState.WAITING, WaitCause.HOST, "books.example", 41,
    )  # fmt: skip
    assert abs(told.wait.until - time.time() - 41) < 5.0
    told = told_waits(desk, waits={0: ChunkWait("books.example", math.inf)})
    assert told.wait == Wait(WaitCause.HOST, "books.example")


def test_chunk_that_waits_for_a_retry_counts_down(desk):
    desk.end(0, good=1)
    told = told_waits(desk, waits={0: ChunkWait("", 4.1)})
    assert (told.wait.cause, told.wait.seconds) == (WaitCause.RETRY, 5)
    assert told_waits(desk, waits={0: ChunkWait("", 0.9)}).wait.seconds == 1


def test_the_end_of_a_wait_does_not_change_with_the_time_that_messages_take(desk):
    desk.end(0, good=1)
    until = told_waits(desk, waits={0: ChunkWait("books.example", 40.2)}).wait.until
    told_at = desk.now
    for passed, late in ((0.5, 0.3), (0.5, -0.4), (0.9, 0.2)):
        desk.now += passed
        left = 40.2 - (desk.now - told_at) + late
        desk.board.progress(Progress(0, {}, (), 8, 0, False, waits={0: ChunkWait("books.example", left)}), desk.now)
        assert desk.picture().chunks[0].wait.until == until
    desk.board.progress(Progress(0, {}, (), 8, 0, False, waits={0: ChunkWait("books.example", 60.0)}), desk.now)
    assert desk.picture().chunks[0].wait.until > until + 10


@pytest.mark.parametrize(("host", "cause"), [("", WaitCause.RETRY), ("books.example", WaitCause.HOST)])
def test_no_countdown_stays_at_0_while_what_is_due_has_not_started(desk, host, cause):
    desk.end(0, good=1)
    assert told_waits(desk, waits={0: ChunkWait(host, 0.0)}).wait == Wait(cause, host)
    assert told_waits(desk, waits={0: ChunkWait(host, 1.5)}).wait.seconds == 2
    desk.now += 2.0
    assert desk.picture().chunks[0].wait == Wait(cause, host)


def test_chunk_whose_retries_the_budget_holds_back_says_so(desk):
    desk.end(0, good=1)
    told = told_waits(desk, waits={0: ChunkWait("", 0.0, over_budget=True)}, over_budget=12)
    assert told.wait == Wait(WaitCause.RETRY_BUDGET)
    assert desk.picture().retries_over_budget == 12


def test_chunk_that_was_begun_and_waits_for_its_turn_is_queued(desk):
    desk.end(0, good=1)
    assert told_waits(desk).wait == Wait(WaitCause.QUEUED)


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (PauseRun(), WaitCause.RUN_PAUSED),
        (Hold(PauseCause.MEMORY, "memory"), WaitCause.MEMORY),
        (Hold(PauseCause.DISK, "disk"), WaitCause.DISK),
    ],
)
def test_chunk_of_a_paused_run_says_why_that_is_paused(desk, event, cause):
    desk.end(0, good=1)
    desk.handle(event)
    told = told_waits(desk)
    assert (told.state, told.wait.cause) == (ChunkState.WAITING, cause)
    assert desk.picture().chunks[5].wait.cause is WaitCause.NOT_STARTED


def test_items_that_wait_for_their_host_are_not_in_flight(desk):
    desk.board.worker_ready(0, 1, desk.now)
    report = Progress(0, {0: 40, 1: 8}, (), 16, 0, False, held={0: 32})
    desk.handle(report)
    desk.board.progress(report, desk.now)
    picture = desk.picture()
    assert (picture.in_flight, picture.items_held, picture.chunks[0].in_flight) == (16, 32, 8)
    assert picture.worker_views[0].in_flight == 16


def test_chunk_whose_items_all_wait_for_their_host_is_not_running(desk):
    desk.end(0, good=1)
    report = Progress(0, {0: 5}, (), 8, 0, False, held={0: 5}, waits={0: ChunkWait("books.example", 9.0)})
    for _ in range(3):
        desk.now += 1.0
        desk.handle(report)
        desk.board.progress(report, desk.now)
    told = desk.picture().chunks[0]
    assert (told.state, told.in_flight, told.wait.cause) == (ChunkState.WAITING, 0, WaitCause.HOST)


# --- one rate -----------------------------------------------------------------------------------------------


def test_graph_figure_and_chunks_name_the_same_rate(desk):
    for step in range(1, 13):
        desk.now += 1.0
        desk.fly({0: 1, 1: 1})
        if step % 2 == 0:
            desk.end(0, good=1)
            desk.end(1, good=0, failed=1)
    desk.measure()
    picture = desk.picture()
    assert picture.items_per_second == pytest.approx(1.0)
    assert picture.history[-1].items_per_second == picture.items_per_second
    assert sum(chunk.items_per_second for chunk in picture.chunks) == pytest.approx(picture.items_per_second, rel=0.1)


def test_clock_of_a_chunk_starts_with_its_first_item_not_when_it_was_sent(desk):
    desk.now += 30.0
    desk.end(0, good=10, begun=2.0)
    picture = desk.picture()
    assert picture.chunks[0].elapsed == pytest.approx(2.0)
    assert picture.chunks[0].items_per_second == pytest.approx(5.0)


def test_clock_of_a_chunk_starts_before_the_report_that_shows_its_first_item(desk):
    desk.now += 30.0
    desk.fly({0: 2})  # an item began 0.1 s ago
    desk.now += 0.4
    desk.end(0, good=8, begun=0.5)
    assert desk.picture().chunks[0].items_per_second == pytest.approx(16.0)
    desk.now += 0.1
    desk.end(0, good=2)
    chunk = desk.picture().chunks[0]
    assert chunk.state is ChunkState.DONE
    assert (chunk.elapsed, chunk.items_per_second) == (pytest.approx(0.6), pytest.approx(10 / 0.6))


@pytest.mark.parametrize("seen", [True, False])
def test_clock_of_a_chunk_does_not_count_a_pause_before_its_first_report(desk, seen):
    desk.now += 30.0
    if seen:
        desk.fly({0: 1})
    desk.now += 1.0
    desk.handle(PauseRun())
    desk.fly({})
    desk.now += 60.0
    desk.handle(ResumeRun())
    desk.now += 2.0
    desk.end(0, good=10, begun=63.1)
    # Without a report, the last resume is the earliest time that is known to be after the start.
    assert desk.picture().chunks[0].elapsed == pytest.approx(3.0 if seen else 2.0)


def test_clock_of_a_chunk_that_runs_again_keeps_its_start(desk):
    desk.end(0, failed=10, begun=0.0)
    desk.now += 100.0
    desk.handle(RetryChunks([0]))
    desk.fly({0: 1})
    desk.now += 1.0
    desk.end(0, good=4, begun=1.1)
    chunk = desk.picture().chunks[0]
    assert (chunk.elapsed, chunk.items_per_second) == (pytest.approx(1.0), pytest.approx(2.0))


def test_the_last_snapshot_has_the_last_numbers_of_hosts():
    desk = SnapshotHarness(chunks=1, total=10)
    desk.handle(HostsReport(0, (HostReport("a.example", open=8, done=3_980),)))
    assert [(host.done, host.open) for host in desk.picture(1.0).hosts] == [(3_980, 8)]
    desk.handle(InputEnded())
    desk.end(0, good=10)
    desk.handle(HostsReport(0, (HostReport("a.example", done=20),)))
    assert [(host.done, host.open) for host in desk.picture(0.01).hosts] == [(3_980, 8)], "not drawn at each report"
    desk.handle(WorkerLost(0, ""))
    assert desk.scheduler.status.ended
    assert [(host.done, host.open) for host in desk.picture(0.01).hosts] == [(4_000, 0)]
