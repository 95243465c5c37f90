"""Rates of starts, and how many failures a run bears."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.engine.limits import FailureLimit, RateLimit


def starts(limit, times):
    return [now for now in times if limit.take(now) == 0]


def test_starts_are_evenly_spaced():
    limit = RateLimit(2.0)
    assert limit.take(0.0) == 0
    assert limit.take(0.0) == pytest.approx(0.4)
    assert limit.take(0.4) == 0
    assert limit.take(0.4) == pytest.approx(0.5)


def test_caller_that_waits_as_long_as_told_gets_a_start():
    limit, now = RateLimit(7.0), 100.0
    for _ in range(50):
        while delay := limit.take(now):
            now += delay
    assert now == pytest.approx(100.0 + 49 / 7 - 0.1, abs=0.01)


def test_a_long_silence_is_not_caught_up_with_a_burst():
    limit = RateLimit(100.0)
    limit.take(0.0)
    assert len(starts(limit, [1_000.0] * 500)) <= 11


@given(st.floats(0.1, 1_000.0), st.lists(st.floats(0.0, 0.5), min_size=2, max_size=200))
@settings(max_examples=33)
def test_no_span_sees_more_starts_than_the_rate_and_a_tenth_of_a_second_of_burst(rate, steps):
    limit, now, times = RateLimit(rate), 0.0, []
    for step in steps:
        now += step
        times += [now] * 3
    started = starts(limit, times)
    for first in range(len(started)):
        for last in range(first, len(started)):
            span = started[last] - started[first]
            assert last - first + 1 <= rate * (span + 0.1) + 1.000001


@pytest.mark.parametrize("rate", [0, -1.0])
def test_a_rate_is_positive(rate):
    with pytest.raises(ValueError, match="greater than 0"):
        RateLimit(rate)


def test_a_number_of_failures_is_borne_and_no_more():
    limit = FailureLimit.parse(3)
    assert not limit.exceeded(3, 3)
    assert limit.exceeded(4, 1_000_000)
    assert FailureLimit.parse("0").exceeded(1, 1)


def test_a_share_of_failures_means_something_from_100_items_on():
    limit = FailureLimit.parse(" 5% ")
    assert not limit.exceeded(99, 99)
    assert not limit.exceeded(5, 100)
    assert limit.exceeded(6, 100)


@pytest.mark.parametrize("value", ["", "many", "-1", "101%", "-5%", "nan%", "%", "5 percent"])
def test_nonsense_is_no_limit(value):
    with pytest.raises(ValueError):
        FailureLimit.parse(value)
