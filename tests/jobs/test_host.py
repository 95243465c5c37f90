"""Limits, refusals and outages of a host, by a fake clock."""

from __future__ import annotations

import math

import pytest

from tui_runner.jobs.hosts import HostLimits
from tui_runner.jobs.http.host import (
    CAP_SECONDS,
    FAILURES,
    PROBE_SECONDS,
    PROBES,
    PROBES_AT_FIRST,
    ROUND_SECONDS,
    ROUNDS,
    Host,
)
from tui_runner.jobs.http.retry_after import MOST_RETRY_AFTER, retry_after_seconds


def host(limits: HostLimits | None = None, slots: int | None = None) -> Host:
    return Host(limits or HostLimits(), slots, 0.0)


def ask(asked: Host, now: float, status: int | None = 200, seconds: float = 0.0, **answer: float | bool) -> None:
    asked.start(now)
    asked.end(now + seconds, status=status, seconds=seconds, **answer)


def test_a_refusal_lasts_as_long_as_the_server_says() -> None:
    asked = host()
    ask(asked, 10.0, 429, retry_after=5.0)
    assert asked.wait(10.0) == 5.0
    assert asked.wait(15.0) == 0.0


def test_repeated_refusals_last_longer_than_the_server_says() -> None:
    asked, now = host(), 0.0
    waits = []
    for _ in range(9):
        ask(asked, now, 429, retry_after=1.0)
        waits.append(asked.wait(now))
        assert asked.named_until == now + 1.0
        now += waits[-1]
    assert waits == [1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, CAP_SECONDS, CAP_SECONDS]


def test_without_a_time_the_back_off_is_our_own_and_one_round_may_ask() -> None:
    asked = host()
    ask(asked, 0.0, 429)
    assert asked.wait(0.1) == 0.0  # those on their way together are one round
    ask(asked, 0.1, 429)
    assert asked.wait(ROUND_SECONDS) == 2.0 - ROUND_SECONDS
    ask(asked, 2.0, 429)
    assert asked.wait(2.0 + ROUND_SECONDS) == 4.0 - ROUND_SECONDS


def test_after_a_refusal_one_request_tries_before_the_others() -> None:
    asked = host()
    ask(asked, 0.0, 429, retry_after=1.0)
    asked.start(1.0)
    assert asked.wait(1.0) == math.inf
    asked.end(1.1, status=200, seconds=0.1)
    assert asked.wait(1.1) == 0.0


def test_the_rate_after_a_refusal_is_what_the_host_has_borne_and_grows() -> None:
    asked = host()
    for n in range(10):
        ask(asked, n * 0.01)
    ask(asked, 0.1, 429, retry_after=1.9)
    assert asked.delay(2.0) == pytest.approx(0.2)  # ten in two seconds
    for n in range(40):
        ask(asked, 2.0 + n * 0.2)
    assert asked.delay(12.0) == pytest.approx(0.1)


def test_successes_read_after_a_refusal_sent_with_them_count_for_the_rate() -> None:
    asked = host()
    for _ in range(12):
        asked.start(0.0)
    asked.end(0.01, status=429, seconds=0.01, retry_after=1.99)
    asked.end(0.01, status=429, seconds=0.01, retry_after=2.99)  # the longer of two waits, sent together
    for _ in range(10):
        asked.end(0.02, status=200, seconds=0.001, sent=0.0)  # a body takes longer than the head of the answer
    assert asked.wait(0.02) == pytest.approx(2.98)
    assert asked.delay(3.0) == pytest.approx(0.3)  # ten in three seconds, not one
    asked.start(3.0)
    assert asked.wait(4.0) == math.inf  # these successes do not show that the host takes requests again


def test_a_success_sent_before_the_refusal_before_last_changes_no_rate() -> None:
    asked = host()
    asked.start(0.0)
    for _ in range(9):
        ask(asked, 0.0)
    ask(asked, 0.0, 429, retry_after=3.0)
    ask(asked, 3.0, 429, retry_after=1.0)
    assert asked.delay(4.0) == pytest.approx(2 / 3)  # nine in three seconds, halved
    asked.end(4.0, status=200, seconds=4.0)
    assert asked.delay(4.0) == pytest.approx(2 / 3)


def test_a_request_that_was_under_way_when_another_was_refused_raises_no_back_off() -> None:
    asked = host()
    for _ in range(3):
        asked.start(0.0)
    for _ in range(3):
        asked.end(1.0, status=429, seconds=1.0, retry_after=0.1)
    assert asked.wait(1.0) == 0.5


@pytest.mark.parametrize(("has_answered", "probes"), [(True, PROBES), (False, PROBES_AT_FIRST)])
def test_failures_in_a_row_are_an_outage_with_probes_and_then_the_host_is_down(has_answered: bool, probes: int) -> None:
    asked, now = host(), 0.0
    if has_answered:
        ask(asked, now)
    for _ in range(FAILURES):
        now += asked.wait(now)
        ask(asked, now, None)
    waits = []
    while not asked.down:
        waits.append(asked.wait(now))
        now += waits[-1]
        ask(asked, now, None)
    assert waits == [PROBE_SECONDS * 2**n for n in range(probes)]
    assert asked.failing
    now += asked.wait(now)
    ask(asked, now, 200)
    assert not asked.down
    assert asked.wait(now) == 0.0


def test_the_only_host_of_a_run_has_no_outage_of_its_own() -> None:
    asked = host()
    for n in range(3 * FAILURES):
        ask(asked, float(n), None, may_open=False)
    assert asked.wait(1_000.0) == 0.0


def test_refusals_without_end_by_a_server_that_never_says_when_are_an_outage() -> None:
    asked, now = host(), 0.0
    for _ in range(ROUNDS):
        ask(asked, now, 429)
        now = max(now + ROUND_SECONDS, now + asked.wait(now + ROUND_SECONDS) + ROUND_SECONDS)
    assert asked.down


def test_not_found_is_an_answer() -> None:
    asked = host()
    for n in range(3 * FAILURES):
        ask(asked, float(n), 404)
    assert not asked.failing


def test_the_adaptive_delay_follows_latency_and_no_failure_lowers_it() -> None:
    asked = host(HostLimits(per_host=2, delay=0.1, adaptive=True))
    ask(asked, 0.0, 200, seconds=4.0)
    assert asked.delay(4.0) == 2.0
    ask(asked, 10.0, 500, seconds=0.1)
    assert asked.delay(10.0) == 2.0
    ask(asked, 20.0, 200, seconds=0.1)
    assert asked.delay(20.0) == pytest.approx((2.0 + 0.05) / 2)
    for n in range(40):
        ask(asked, 30.0 + n, 200, seconds=0.01)
    assert asked.delay(80.0) == pytest.approx(0.1)


def test_a_large_pool_meets_a_host_with_few_requests() -> None:
    asked = host()
    while asked.wait(0.0) == 0.0:
        asked.start(0.0)
    assert asked.open == 16
    asked.end(0.1, status=200, seconds=0.1)
    for _ in range(3):
        assert asked.wait(0.1) == 0.0
        asked.start(0.1)
    assert asked.wait(0.1) == math.inf


@pytest.mark.parametrize("value", [None, "", "-1", "0", "nan", "inf", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_time_that_says_nothing_or_at_once_is_none(value: str | None) -> None:
    assert retry_after_seconds(value, 1_700_000_000.0) is None


def test_a_time_to_come_back_is_an_hour_at_most() -> None:
    assert retry_after_seconds("90000", 0.0) == MOST_RETRY_AFTER
    assert retry_after_seconds(" 7 ", 0.0) == 7.0
    assert retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", 30.0) == 30.0
