"""Outages: how they and their ends are detected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_runner.engine.protocol import Trials
from tui_runner.engine.scheduling.circuit_breaker import CircuitBreaker

NOW = 1_000.0


def count(watch, *, ok=0, transient=0, permanent=0, errors=None, now=NOW):
    return watch.count(Trials(ok, transient, permanent), errors or {}, now)


def begun(watch, now=NOW):
    """Return the circuit breaker at the beginning of an outage."""
    assert count(watch, transient=1_000, now=now)
    return watch


def test_fifty_failures_are_an_outage_and_fewer_are_not():
    watch = CircuitBreaker()
    assert count(watch, transient=49) is None
    assert count(watch, transient=1).text == "50 of the last 50 attempts failed"


@pytest.mark.parametrize(("ok", "is_outage"), [(5, True), (6, False)])
def test_a_tenth_of_successes_is_luck_more_is_not(ok, is_outage):
    watch = CircuitBreaker()
    count(watch, ok=ok)
    assert bool(count(watch, transient=50 - ok)) is is_outage


def test_only_the_last_items_count():
    watch = CircuitBreaker()
    for _ in range(100):
        assert count(watch, ok=100) is None
    outages = [count(watch, transient=5) for _ in range(10)]
    assert outages[:9] == [None] * 9
    assert outages[9].text == "50 of the last 50 attempts failed"


def test_outage_names_the_most_frequent_error():
    errors = {("ConnectError", "refused"): 40, ("ValueError", "no"): 10}
    outage = count(CircuitBreaker(), transient=50, errors=errors)
    assert outage.text == "50 of the last 50 attempts failed (ConnectError: refused)"
    assert outage.error == "ConnectError: refused"
    assert count(CircuitBreaker(), permanent=50, errors={("KeyError", ""): 1}).text.endswith("(KeyError)")


def test_outage_shows_the_newest_message_of_its_error_and_not_the_folded_one():
    watch, kind = CircuitBreaker(), ("HTTPStatusError", "503 for url '…'")
    for page in range(2):
        examples = {kind: f"503 for url 'https://shop.example/{page}'"}
        outage = watch.count(Trials(0, 25, 0), {kind: 25}, NOW, examples=examples)
    assert outage.text == "50 of the last 50 attempts failed (HTTPStatusError: 503 for url 'https://shop.example/1')"


def test_outage_tells_passing_failures_from_lasting_ones():
    assert count(CircuitBreaker(), transient=30, permanent=20).is_transient
    assert not count(CircuitBreaker(), transient=20, permanent=30).is_transient


def test_one_item_is_tried_at_growing_intervals():
    watch = begun(CircuitBreaker())
    tried = [now for now in range(2_000) if watch.trial_due(NOW + now) is not None]
    assert tried == [10, 30, 70, 150, 310, 610, 910, 1210, 1510, 1810]


def test_outage_is_over_when_an_item_ends_well_after_a_trial_and_not_before():
    watch = begun(CircuitBreaker())
    assert not watch.is_over(Trials(ok=1))
    watch.trial_due(NOW + 10)
    assert not watch.is_over(Trials(transient=5, permanent=1))
    assert watch.is_over(Trials(ok=1, transient=5))


def test_when_it_was_not_really_over_the_next_trial_comes_later():
    watch = begun(CircuitBreaker())
    watch.trial_due(NOW + 10)
    watch.close(NOW)
    assert watch.trial_due(NOW + 1_000) is None
    begun(watch, now=NOW + 20)
    assert watch.trial_due(NOW + 39) is None
    assert watch.trial_due(NOW + 40) == 40.0


def test_good_times_make_it_forget_the_bad_ones():
    watch = begun(CircuitBreaker())
    watch.trial_due(NOW + 10)
    watch.close(NOW)
    count(watch, ok=50)
    begun(watch, now=NOW + 20)
    assert watch.trial_due(NOW + 30) is not None


def test_each_resume_by_the_user_postpones_the_next_outage_further():
    watch = CircuitBreaker()
    for ground in (50, 50, 100, 200):
        assert count(watch, transient=ground - 1) is None
        assert count(watch, transient=1)
        watch.close(NOW, by_user=True)
    count(watch, ok=3_200)
    watch.close(NOW, by_user=True)  # after a pause that had nothing to do with an outage
    assert count(watch, transient=50)


def test_outage_names_the_items_that_have_just_failed_for_good():
    watch = CircuitBreaker(ground=4)
    watch.count(Trials(ok=3, transient=1), {}, NOW, lost={0: [0]})  # long before
    for _ in range(10):
        watch.count(Trials(ok=4), {}, NOW)
    watch.count(Trials(ok=1, transient=1), {}, NOW, lost={1: [10]})
    watch.count(Trials(), {}, NOW, lost={1: [11], 2: [20]})
    outage = watch.count(Trials(transient=4), {}, NOW, lost={2: [21]})
    assert outage.lost == {1: {10, 11}, 2: {20, 21}}
    watch.close(NOW)
    assert watch.count(Trials(transient=4), {}, NOW).lost == {}, "those of the last outage are not told again"


@pytest.mark.parametrize("by_user", [True, False])
def test_attempts_that_began_before_the_run_went_on_tell_nothing(by_user):
    watch = begun(CircuitBreaker())
    watch.close(NOW + 30, by_user=by_user)
    late = {("ReadTimeout", ""): 1_000}
    assert watch.count(Trials(0, 1_000), late, NOW + 60, since=NOW + 29) is None
    refused = {("ConnectError", "refused"): 1}
    outage = watch.count(Trials(0, 50), refused, NOW + 60, since=NOW + 30)
    assert outage.text == "50 of the last 50 attempts failed (ConnectError: refused)"


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)), max_size=60))
def test_an_outage_is_never_seen_in_less_than_fifty_items_or_nine_tenths(reports):
    watch, seen = CircuitBreaker(), []
    for report in reports:
        seen.append(Trials(*report))
        if watch.count(seen[-1], {}, NOW):
            break
    else:
        return
    spans = [sum(seen[start:], Trials()) for start in range(len(seen))]
    assert any(span.total >= 50 and span.failed >= 0.9 * span.total for span in spans)


def test_failures_can_be_taken_out_of_trials():
    assert Trials(4, 3, 2).without(1) == Trials(4, 3, 1)
    assert Trials(4, 3, 2).without(4) == Trials(4, 1, 0)
    assert Trials(4, 3, 2).without(9) == Trials(4, 0, 0)
