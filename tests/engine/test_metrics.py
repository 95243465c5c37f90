"""Histograms, rates over a window, and counting errors that are alike."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.engine.metrics import Durations, ErrorCounts, Histogram, RateWindow, RecentHistogram, bucket
from tui_runner.text.numbers import latency

SECONDS = st.floats(1e-6, 1e5)


# --- latencies ----------------------------------------------------------------------------------------------


def histogram(seconds):
    it = Histogram()
    it.add(Durations.of(seconds))
    return it


@given(st.lists(SECONDS, min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_percentiles_are_right_to_two_percent(seconds, share):
    exact = sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]
    assert histogram(seconds).percentile(share) == pytest.approx(exact, rel=0.018)


@given(st.lists(SECONDS, min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_no_percentile_is_outside_the_range_of_the_durations(seconds, share):
    assert min(seconds) <= histogram(seconds).percentile(share) <= max(seconds)


@given(st.lists(st.tuples(st.floats(0.0, 30.0), SECONDS), min_size=1, max_size=30))
def test_recent_percentiles_are_within_the_range_of_the_durations_in_the_window(steps):
    recent, at, ended = RecentHistogram(60.0), 0.0, []
    for passed, seconds in steps:
        at += passed
        ended.append((at, seconds))
        recent.add(at, Durations.of([seconds]))
    # Durations of one second stay and leave together.
    within = [seconds for end, seconds in ended if end >= at - 59.0]
    around = [seconds for end, seconds in ended if end >= at - 61.0]
    found = recent.at(at)
    assert len(within) <= found.total <= len(around)
    assert min(around) <= found.percentile(0.0) <= found.percentile(1.0) <= max(around)


@pytest.mark.parametrize(("least", "shown"), [(0.10006, "0.10 s"), (0.2001, "0.20 s"), (0.0150, "15 ms")])
def test_a_steady_job_is_shown_with_its_own_duration(least, shown):
    seconds = [least + 1e-5 * (number % 7) for number in range(500)]
    found = histogram(seconds)
    assert found.percentile(0.5) >= min(seconds)
    assert {latency(found.percentile(share)) for share in (0.5, 0.95)} == {shown}


@given(st.lists(SECONDS, min_size=1), st.lists(SECONDS, min_size=1))
def test_counting_in_two_goes_is_counting_in_one(first, second):
    together, one_by_one = histogram(first + second), histogram(first)
    one_by_one.add(Durations.of(second))
    assert one_by_one.total == together.total == len(first) + len(second)
    assert one_by_one.percentile(0.95) == together.percentile(0.95)


@given(SECONDS, SECONDS)
def test_longer_is_never_in_a_lower_bucket(one, other):
    assert (bucket(one) <= bucket(other)) == (one <= other) or bucket(one) == bucket(other)


def test_there_is_no_percentile_of_nothing():
    assert Histogram().percentile(0.5) is None


@pytest.mark.parametrize("seconds", [0.0, -1e-9, 1e-7, 1e-6])
def test_no_time_at_all_counts_as_a_microsecond(seconds):
    assert bucket(seconds) == 0
    assert 0.0 <= histogram([seconds]).percentile(0.5) <= 1e-6


# --- rates --------------------------------------------------------------------------------------------------


def value_at(points, at):
    """Return the value of a counter that grows evenly between its readings."""
    before = max((point for point in points if point[0] <= at), default=points[0])
    after = min((point for point in points if point[0] >= at), default=points[-1])
    if after[0] == before[0]:
        return max(before[1], after[1])
    return before[1] + (after[1] - before[1]) * (at - before[0]) / (after[0] - before[0])


@given(
    st.lists(st.tuples(st.floats(0.25, 8.0), st.integers(0, 1_000)), min_size=1, max_size=40),
    st.floats(0.0, 20.0),
)
@settings(max_examples=66)
def test_a_rate_is_what_the_counter_grew_in_the_last_ten_seconds(steps, silence):
    window = RateWindow(10.0)
    points = [(0.0, 0)]
    window.add(0.0, 0)
    for passed, grown in steps:
        points.append((points[-1][0] + passed, points[-1][1] + grown))
        window.add(*points[-1])
    now = points[-1][0] + silence
    start = max(0.0, now - 10.0)
    grown = points[-1][1] - value_at(points, start) if start < points[-1][0] else 0
    assert window.rate(now) == pytest.approx(grown / (now - start), rel=1e-6, abs=1e-6)


def test_readings_in_quick_succession_do_not_pile_up():
    window = RateWindow(10.0)
    for reading in range(100_001):
        window.add(reading / 1_000, reading)
    assert len(window._points) < 60
    assert window.rate(100.0) == pytest.approx(1_000, rel=0.05)


def test_there_is_no_rate_before_there_is_time():
    window = RateWindow()
    assert window.rate(5.0) == 0.0
    window.add(5.0, 100)
    assert window.rate(5.0) == window.rate(6.0) == window.rate(100.0) == 0.0


def test_a_rate_fades_when_nothing_comes_any_more():
    window = RateWindow(10.0)
    window.add(0.0, 0)
    window.add(10.0, 100)
    assert [window.rate(at) for at in (10.0, 15.0, 20.0, 99.0)] == [10.0, 5.0, 0.0, 0.0]


def test_a_counter_that_falls_has_no_negative_rate():
    window = RateWindow()
    window.add(0.0, 50)
    window.add(5.0, 20)
    assert window.rate(5.0) == 0.0


# --- errors that are alike ----------------------------------------------------------------------------------


def test_errors_that_ended_items_come_first_then_the_most_frequent():
    counts = ErrorCounts()
    counts.add({("ValueError", "a"): 2, ("KeyError", "b"): 5, ("OSError", "c"): 300}, {("ValueError", "a"): 2}, {})
    counts.add({("ValueError", "a"): 4, ("KeyError", "b"): 1}, {("KeyError", "b"): 1}, {})
    assert counts.largest(2) == [(("ValueError", "a"), 6, 2), (("KeyError", "b"), 6, 1)]
    assert counts.largest(9)[2:] == [(("OSError", "c"), 300, 0)]


def test_errors_with_one_message_are_told_from_those_with_several():
    counts = ErrorCounts()
    for page in (7, 7, 8):
        assert not counts.differ(("E", "page N"))
        counts.add(
            {("E", "page N"): 1, ("E", "after N s"): 1}, {}, {("E", "page N"): f"page {page}", ("E", "after N s"): "30"}
        )
    assert counts.differ(("E", "page N")) and not counts.differ(("E", "after N s"))


def test_the_example_of_a_group_is_an_error_with_which_an_item_failed():
    counts, group = ErrorCounts(), ("E", "page N")
    for page, final in ((1, False), (2, False), (3, True), (4, False)):
        counts.add({group: 1}, {group: 1} if final else {}, {group: f"page {page}"})
        assert counts.example(group) == f"page {min(page, 3)}"
    counts.add({group: 1}, {group: 1}, {group: "page 5"})
    assert counts.example(group) == "page 5" and counts.differ(group)


def test_errors_that_are_all_different_take_bounded_memory():
    counts = ErrorCounts(limit=10)
    counts.add({("E", "frequent"): 1_000, ("E", "final"): 1}, {("E", "final"): 1}, {("E", "final"): "final 1"})
    for number in range(500):
        rare = "E", f"rare {number}"
        counts.add({rare: 1}, {}, {rare: "rare"})
        assert len(counts.largest(1_000)) <= 20
    assert counts.example(("E", "final")) == "final 1"
    assert len(counts._examples) <= 20
    assert counts.largest(2) == [(("E", "final"), 1, 1), (("E", "frequent"), 1_000, 0)]
