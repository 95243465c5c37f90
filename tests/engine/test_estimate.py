from __future__ import annotations

import random
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.metrics import Estimate


def fed(*counts: tuple[float, int]) -> Estimate:
    """Return the estimate of a run after these numbers of executed items, at these times."""
    estimate = Estimate()
    for active, executed in counts:
        estimate.add(active, executed)
    return estimate


def test_the_time_until_the_first_item_ended_is_in_no_rate() -> None:
    low, high = fed((20.0, 1), *((20.0 + second, 1 + 10 * second) for second in range(1, 101))).seconds(120.0, 100, 1)
    assert low == pytest.approx(10.0, rel=0.04)
    assert high == pytest.approx(10.0, rel=0.04)


def test_estimate_needs_some_seconds_and_an_item_of_each_thread() -> None:
    estimate = fed((2.0, 4), (4.0, 30))
    assert estimate.seconds(4.0, 100, 4) is None
    assert estimate.seconds(5.0, 100, 4) is not None
    assert estimate.seconds(5.0, 100, 27) is None
    assert fed((2.0, 1), (60.0, 2)).seconds(60.0, 100, 1) is None
    assert Estimate().seconds(60.0, 100, 1) is None


def test_estimate_narrows_as_more_items_end() -> None:
    estimate, widths = Estimate(), []
    for second in range(1, 200):
        estimate.add(float(second), 8 * second)
        if (range_ := estimate.seconds(float(second), 800, 4)) is not None:
            assert range_[0] < 100 < range_[1]
            widths.append(range_[1] / range_[0])
    assert widths[0] > 1.9
    assert widths[-1] < 1.2
    assert all(later < sooner + 1e-9 for sooner, later in pairwise(widths))


def test_estimate_ranges_from_the_present_rate_to_that_of_the_whole_run() -> None:
    estimate = fed(*((float(second), second) for second in range(1, 1_001)))
    for second in range(1, 11):
        estimate.add(1_000.0 + second, 1_000 + 10 * second)
    low, high = estimate.seconds(1_010.0, 1_000, 1)
    assert low == pytest.approx(100.0, rel=0.05)
    assert high == pytest.approx(1_000 * 1_009 / 1_099, rel=0.05)


def test_there_is_none_while_nothing_ends() -> None:
    estimate = fed((1.0, 1), (2.0, 10))
    assert estimate.seconds(5.0, 9, 1) is not None
    assert estimate.seconds(13.0, 9, 1) is None


@given(st.integers(0, 1 << 32), st.integers(1, 64), st.sampled_from([0.3, 2.0, 8.0]))
def test_the_end_is_within_the_range_of_a_run_whose_items_are_alike(seed: int, threads: int, seconds: float) -> None:
    dice = random.Random(seed)
    lanes = (accumulate([5.0, *(dice.uniform(0.5, 1.5) * seconds for _ in range(60))]) for _ in range(threads))
    ends = sorted(end for lane in lanes for end in lane if end > 5.0)
    estimate = Estimate()
    for moment in range(1, int(5 * ends[-1] / 2)):
        now = moment / 5
        reported = sum(end <= now for end in ends)
        estimate.add(now, reported)
        if (found := estimate.seconds(now, len(ends) - reported, threads)) is not None:
            assert found[0] * 0.7 <= ends[-1] - now <= found[1] * 1.4 + 2 * seconds
