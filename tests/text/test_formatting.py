from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.text.numbers import NONE, clock_down, count, countdown, duration, latency, percent, rate, size


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1,000"),
        (1234, "1,234"),
        (9_999.4, "9,999"),
        (9_999.6, "10 k"),
        (376_000, "376 k"),
        (999_600, "1.0 M"),
        (1_234_567, "1.2 M"),
    ],
)
def test_counts(number: float, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(("nbytes", "text"), [(12, "12 B"), (4_000_000_000, "4.0 GB"), (412_300_000, "412 MB")])
def test_sizes(nbytes: float, text: str) -> None:
    assert size(nbytes) == text


@pytest.mark.parametrize(
    ("per_second", "text"), [(0, "0"), (0.84, "0.84"), (50.2, "50.2"), (376.4, "376"), (1.2e6, "1.2 M")]
)
def test_rates(per_second: float, text: str) -> None:
    assert rate(per_second) == text


@pytest.mark.parametrize(
    ("seconds", "short", "text"),
    [
        (761.9, False, "00:12:41"),
        (16, True, "00:16"),
        (3600, True, "01:00:00"),
        (183_845, False, "2 d 03:04:05"),
        (-1, False, "00:00:00"),
    ],
)
def test_durations(seconds: float, short: bool, text: str) -> None:
    assert duration(seconds, short=short) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0.4 ms"), (0.084, "84 ms"), (0.84, "0.84 s"), (2.1, "2.1 s"), (48, "48 s"), (761, "12:41")],
)
def test_latencies(seconds: float, text: str) -> None:
    assert latency(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0 %"),
        (0, 0, "0 %"),
        (12, 38_214, "0.03 %"),
        (9, 10_000, "0.09 %"),
        (86, 10_000, "0.9 %"),
        (11, 1_000, "1.1 %"),
        (996, 10_000, "10 %"),
        (1, 10**9, "<0.01 %"),
        (99_999, 100_000, "99 %"),
        (5, 5, "100 %"),
    ],
)
def test_percentages(part: float, whole: float, text: str) -> None:
    assert percent(part, whole) == text


@given(st.floats(0, 1e17))
def test_figures_are_narrow_enough_for_their_columns(number: float) -> None:
    assert len(count(number)) <= 6
    assert len(size(number)) <= 6
    assert len(rate(number)) <= 6


@pytest.mark.parametrize("show", [count, size, rate, duration, latency])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_number_are_a_dash(show, number: float) -> None:
    assert show(number) == NONE


@pytest.mark.parametrize(
    ("seconds", "short", "clock"),
    [
        (0.0, "0 s", "00:00"),
        (0.2, "1 s", "00:01"),
        (7.0, "7 s", "00:07"),
        (59.4, "01:00", "01:00"),
        (124.1, "02:05", "02:05"),
    ],
)
def test_a_countdown_reaches_0_only_when_the_event_is_due(seconds: float, short: str, clock: str) -> None:
    assert (countdown(seconds), clock_down(seconds)) == (short, clock)
