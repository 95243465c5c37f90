"""The number of retries while everything fails."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.worker.retry import RetryBudget


def taken(budget, threads, now, wanted=10_000):
    """Return the number of retries that the budget allows at one moment."""
    count = 0
    while count < wanted and budget.take(threads, now):
        count += 1
    return count


def test_each_thread_has_a_retry_a_second_whatever_else_happens():
    budget = RetryBudget(0.2)
    assert taken(budget, 4, 100.0) == 40
    assert taken(budget, 4, 105.0) == 0
    assert taken(budget, 4, 110.0) == 40


def test_a_fifth_of_the_items_that_failed_lately_comes_on_top():
    budget = RetryBudget(0.2)
    budget.count(0, 1_000, 100.0)
    assert taken(budget, 1, 100.5) == 210
    budget.count(0, 100, 103.0)
    assert taken(budget, 1, 103.0) == 20


def test_where_items_end_well_there_is_a_retry_for_each():
    budget = RetryBudget(0.2)
    budget.count(500, 0, 100.0)
    assert taken(budget, 1, 100.5) == 510


def test_old_failures_no_longer_count():
    budget = RetryBudget(0.2)
    budget.count(500, 1_000, 100.0)
    assert taken(budget, 1, 110.0) == 10


def test_retries_that_wait_after_an_outage_run_at_full_speed():
    budget, now, waiting, turns = RetryBudget(0.2), 100.0, 1_000, 0
    while waiting:
        now += 0.2
        turns += 1
        made = taken(budget, 4, now, min(waiting, 8))  # four threads, ten items a second each
        waiting -= made
        budget.count(made, 0, now)
    assert turns == 1_000 / 8


@given(st.lists(st.tuples(st.floats(0, 3), *[st.integers(0, 500)] * 3), max_size=60))
def test_no_retry_is_given_out_beyond_the_budget_of_the_ten_seconds_before_it(steps):
    budget, now, log = RetryBudget(0.2), 1_000.0, []
    for pause, ok, failed, wanted in steps:
        now += pause
        budget.count(ok, failed, now)
        log.append((int(now), ok + 0.2 * failed, taken(budget, 2, now, wanted)))
    for second in {second for second, _, given_out in log if given_out}:
        recent = [entry for entry in log if second - 10 < entry[0] <= second]
        assert sum(entry[2] for entry in recent) <= sum(entry[1] for entry in recent) + 20 + 1e-6
