"""Hosts over all workers: shares by demand, cooldowns for everybody, and what of failures is the run's."""

from __future__ import annotations

import random

import pytest

from tui_runner.engine.protocol import GrantHost, HoldHost, HostReport, HostsReport, SetHostLimits, Trials
from tui_runner.engine.scheduling.circuit_breaker import CircuitBreaker
from tui_runner.engine.scheduling.host_board import MAX_HOSTS, OTHER_HOSTS, HostBoard
from tui_runner.jobs.hosts import HostLimits


def test_a_hold_that_one_worker_learns_reaches_the_others() -> None:
    board = HostBoard()
    assert board.refused("a", 30.0, [2, 3], 0.0) == [(2, HoldHost("a", 30.0)), (3, HoldHost("a", 30.0))]
    board.reported(HostsReport(2, (HostReport("a", cooldown=28.0),)), 1.0)
    assert board.rows["a"].cooldown_until == 30.0


def test_long_refusals_and_down_hosts_are_reported_but_not_hundreds() -> None:
    board = HostBoard()
    board.refused("a", 5.0, [], 0.0)
    assert board.take_news() == []
    board.refused("a", 60.0, [], 10.0, named=60.0)
    board.refused("a", 60.0, [], 11.0, named=60.0)
    assert board.take_news() == ["a refuses requests: the next one is sent in 60 s"]
    board.reported(HostsReport(1, tuple(HostReport(f"h{n}", down=True) for n in range(100))), 12.0)
    news = board.take_news()
    assert news[0].startswith("h0 keeps failing")
    assert len(news) == 19
    assert news[-1].startswith("more hosts refuse or fail")


@pytest.mark.parametrize(("named", "asked"), [(1.0, "it asks for 1 s"), (0.0, "it names no time")])
def test_a_wait_that_the_host_has_not_asked_for_is_called_back_off(named: float, asked: str) -> None:
    board = HostBoard()
    board.refused("a", 32.0, [], 10.0, named=named)
    (news,) = board.take_news()
    assert news.endswith(
        f"the next one is sent in 32 s ({asked}; the rest is back-off, which doubles with each refusal)"
    )
    assert board.rows["a"].backs_off
    board.reported(HostsReport(1, (HostReport("a", cooldown=90.0, named=90.0),)), 20.0)
    assert not board.rows["a"].backs_off, "it has asked for more since"


def test_a_worker_that_has_all_the_work_has_all_slots() -> None:
    board = HostBoard(HostLimits(per_host=4), is_shared=True)
    report = HostsReport(1, (HostReport("a", waiting=10, slots=0),))
    assert board.reported(report, 0.0) == [(1, GrantHost("a", 4, 1))]


def test_a_slot_is_granted_again_only_when_it_was_given_back() -> None:
    board = HostBoard(HostLimits(per_host=1), is_shared=True)
    assert board.reported(HostsReport(1, (HostReport("a", waiting=5, slots=0),)), 0.0)
    assert board.reported(HostsReport(2, (HostReport("a", waiting=5, slots=0),)), 0.1) == []
    # After some seconds it is the other's turn: first the one is told to stop, then it says that it has.
    told = board.reported(HostsReport(1, (HostReport("a", open=1, waiting=4, serial=1),)), 2.1)
    assert told == [(1, GrantHost("a", 0, 2))]
    assert board.reported(HostsReport(1, (HostReport("a", open=1, waiting=4, serial=2),)), 2.2) == []
    told = board.reported(HostsReport(1, (HostReport("a", open=0, waiting=4, serial=2),)), 2.3)
    assert told == [(2, GrantHost("a", 1, 1))]


def test_slots_of_a_lost_worker_go_to_the_others() -> None:
    board = HostBoard(HostLimits(per_host=1), is_shared=True)
    board.reported(HostsReport(1, (HostReport("a", open=1, slots=1),)), 0.0)
    board.reported(HostsReport(2, (HostReport("a", waiting=1, slots=0),)), 0.0)
    assert board.lost(1, 0.1) == [(2, GrantHost("a", 1, 1))]


def test_with_a_delay_one_worker_asks_and_the_next_waits_for_the_rest_of_it() -> None:
    board = HostBoard(HostLimits(delay=10.0), is_shared=True)
    told = board.reported(HostsReport(1, (HostReport("a", waiting=1, slots=0),)), 0.0)
    assert told == [(1, GrantHost("a", 1, 1))]
    board.reported(HostsReport(2, (HostReport("a", waiting=3, slots=0),)), 0.0)
    told = board.reported(HostsReport(1, (HostReport("a", serial=1, due=9.0),)), 1.0)
    assert told == [(1, GrantHost("a", 0, 2))]
    told = board.reported(HostsReport(1, (HostReport("a", serial=2, due=8.0),)), 2.0)
    assert told == [(2, GrantHost("a", 1, 1, 8.0))]


@pytest.mark.slow
def test_the_limit_holds_at_every_moment_whatever_workers_do() -> None:
    """Workers obey late and report late; nevertheless no more than the limit may be open together."""
    chance = random.Random(7)
    for _ in range(60):
        limit = chance.randint(1, 4)
        board = HostBoard(HostLimits(per_host=limit), is_shared=True)
        slots, serials, running, waiting = [0] * 3, [0] * 3, [0] * 3, [chance.randint(0, 6) for _ in range(3)]
        mail: list[tuple[int, GrantHost]] = []
        ended = total = sum(waiting)
        for step in range(3_000):
            worker = chance.randrange(3)
            if chance.random() < 0.3 and running[worker]:
                running[worker] -= 1
                ended -= 1
            elif chance.random() < 0.5 and waiting[worker] and running[worker] < slots[worker]:
                running[worker], waiting[worker] = running[worker] + 1, waiting[worker] - 1
            elif mail and chance.random() < 0.5:
                to, order = mail.pop(0)
                slots[to], serials[to] = order.slots, order.serial
            else:
                state = HostReport("a", open=running[worker], waiting=waiting[worker], serial=serials[worker])
                told = board.reported(HostsReport(worker, (state,)), step / 100)
                mail += [(to, order) for to, order in told if isinstance(order, GrantHost)]
            assert sum(running) <= limit
        assert ended == 0, f"{ended} of {total} never had a slot"


def test_hosts_beyond_the_bound_are_one_row() -> None:
    board = HostBoard()
    for number in range(MAX_HOSTS + 50):
        board.reported(HostsReport(1, (HostReport(f"h{number}", done=2),)), 0.0)
    assert len(board.rows) == MAX_HOSTS + 1
    assert board.rows[OTHER_HOSTS].done == 100


def hosts_that_answered(*names: str) -> HostBoard:
    board = HostBoard()
    board.reported(HostsReport(1, tuple(HostReport(name, done=1) for name in names)), 0.0)
    return board


def test_failures_for_good_and_of_hosts_that_never_answered_say_nothing_of_the_run() -> None:
    board = hosts_that_answered("a", "b")
    board.reported(HostsReport(1, (HostReport("dead", failed=9),)), 0.0)
    trials = Trials(1, transient=12, permanent=5)
    rest, at_fault = board.judged(trials, {"dead": Trials(0, 9, 0), "a": Trials(0, 2, 5)}, 0.0)
    assert rest == Trials(1, transient=3, permanent=0)
    assert at_fault == {"a", ""}


def test_where_one_host_is_known_everything_counts() -> None:
    board = hosts_that_answered("a")
    trials = Trials(0, 3, 4)
    assert board.judged(trials, {"a": trials}, 0.0) == (trials, None)


def test_one_of_several_hosts_that_fails_is_no_outage_but_two_are() -> None:
    board = hosts_that_answered("a", "b", "c")
    breaker = CircuitBreaker(ground=10)
    one, at_fault = board.judged(Trials(0, 10, 0), {"a": Trials(0, 10, 0)}, 0.0)
    assert breaker.count(one, {}, 0.0, hosts=at_fault) is None
    other, at_fault = board.judged(Trials(0, 5, 0), {"b": Trials(0, 5, 0)}, 0.0)
    assert breaker.count(other, {}, 0.0, hosts=at_fault) is not None


def test_delay_that_a_host_asks_for_is_of_the_run_until_it_is_changed() -> None:
    board = HostBoard(HostLimits(per_host=4), is_shared=True)
    board.reported(HostsReport(1, (HostReport("a", waiting=5, slots=0),)), 0.0)
    board.reported(HostsReport(2, (HostReport("a", waiting=5, slots=0),)), 0.1)
    orders = board.reported(HostsReport(1, (HostReport("a", waiting=5, serial=1, asked_delay=3.0),)), 0.2)
    spaced = HostLimits(per_host=4, delay=3.0)
    assert orders[:2] == [(1, SetHostLimits(spaced, "a")), (2, SetHostLimits(spaced, "a"))]
    assert board.limits_of("a") == spaced
    assert "3 s between two requests" in board.take_news()[0]
    board.change(HostLimits(per_host=4), "a", 0.3)
    board.reported(HostsReport(2, (HostReport("a", asked_delay=3.0),)), 0.4)
    assert board.limits_of("a") == HostLimits(per_host=4)


def test_delay_that_is_longer_than_the_one_a_host_asks_for_stays() -> None:
    board = HostBoard(HostLimits(delay=5.0))
    assert board.reported(HostsReport(1, (HostReport("a", asked_delay=3.0),)), 0.0) == []
    assert board.limits_of("a") == HostLimits(delay=5.0)
