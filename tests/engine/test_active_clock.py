"""Active and working time of a run, with pauses in which items in flight end."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.engine.scheduling.active_clock import ActiveClock


def test_a_pause_stops_active_time_when_the_items_in_flight_have_ended_and_working_time_at_once() -> None:
    clock = ActiveClock()
    clock.start(100.0, paused=False)
    clock.pause(110.0, in_flight=True)
    clock.pause(113.0, in_flight=True)
    assert (clock.active(113.0), clock.working(113.0), clock.is_stopped) == (13.0, 10.0, False)
    clock.pause(115.0)
    assert (clock.active(500.0), clock.working(500.0), clock.is_stopped) == (15.0, 10.0, True)
    assert clock.counts(115.4) and not clock.counts(115.6)
    clock.resume(200.0)
    assert (clock.active(203.0), clock.working(203.0), clock.elapsed(203.0)) == (18.0, 13.0, 103.0)
    assert clock.since_resume(203.0) == 3.0 and clock.counts(203.0)


def test_an_item_that_hangs_stops_active_time_a_minute_late() -> None:
    clock = ActiveClock()
    clock.start(0.0, paused=False)
    for now in range(10, 200):
        clock.pause(float(now), in_flight=True)
    assert (clock.active(200.0), clock.working(200.0)) == (70.0, 10.0)


def test_a_run_that_begins_paused_has_no_active_time_until_it_is_resumed() -> None:
    clock = ActiveClock()
    assert (clock.active(7.0), clock.elapsed(7.0), clock.since_resume(7.0)) == (0.0, 0.0, math.inf)
    clock.start(10.0, paused=True)
    clock.pause(20.0)
    clock.resume(50.0)
    assert (clock.active(55.0), clock.working(55.0), clock.elapsed(55.0)) == (5.0, 5.0, 45.0)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.sampled_from(["pause", "finish", "resume"])), max_size=30))
def test_no_time_goes_back_and_active_time_lies_between_the_others(steps: list[tuple[float, str]]) -> None:
    clock, now = ActiveClock(), 0.0
    clock.start(now, paused=False)
    before = (0.0, 0.0, 0.0)
    for seconds, step in steps:
        now += seconds
        for _ in range(2):
            times = clock.working(now), clock.active(now), clock.elapsed(now)
            assert all(later >= earlier - 1e-6 for earlier, later in zip(before, times, strict=True))
            assert -1e-6 <= times[0] <= times[1] + 1e-6 <= times[2] + 2e-6
            before = times
            if step == "resume":
                clock.resume(now)
            else:
                clock.pause(now, in_flight=step == "finish")
