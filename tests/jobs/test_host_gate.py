"""The gate that requests wait at, with threads, tasks and a clock of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.host_gate import enter

from tui_runner.jobs.current import CONTEXT
from tui_runner.jobs.hosts import HostLimits, host_of
from tui_runner.jobs.http.blocking import WaitingTask
from tui_runner.jobs.http.host_gate import MAX_HOSTS, HostDown, HostGate, ItemPostponed, Listener


def leave(gate: HostGate, host: str, status: int | None = 200, retry_after: float | None = None) -> None:
    gate.leave(host, status=status, seconds=0.0, retry_after=retry_after)


def open_requests(gate: HostGate) -> int:
    return sum(state.open for state in gate.states())


def test_a_raised_limit_wakes_waiting_requests() -> None:
    gate = HostGate(HostLimits(per_host=1))
    assert enter(gate, "a")
    assert enter(gate, "b")
    assert not enter(gate, "a", time.monotonic())
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(enter, gate, "a", time.monotonic() + 10)
        gate.set_limits(HostLimits(per_host=2))
        assert waiting.result()
    for host in ("a", "a", "b"):
        leave(gate, host)
    assert open_requests(gate) == 0


async def test_a_cancelled_task_leaves_the_line() -> None:
    gate = HostGate(HostLimits(per_host=1))
    assert enter(gate, "a")
    assert not await gate.admit("a", time.monotonic(), WaitingTask)
    waiting = asyncio.create_task(gate.admit("a", None, WaitingTask))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    leave(gate, "a")
    assert await gate.admit("a", None, WaitingTask)


def test_limits_are_never_exceeded_and_no_slot_is_lost() -> None:
    gate = HostGate(HostLimits(per_host=3))
    lock = threading.Lock()
    holders = most = 0

    def work() -> None:
        nonlocal holders, most
        for turn in range(200):
            if not enter(gate, "a", time.monotonic() + (0.0001 if turn % 3 == 0 else 10)):
                continue
            with lock:
                holders += 1
                most = max(most, holders)
            with lock:
                holders -= 1
            leave(gate, "a")

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 3
    assert open_requests(gate) == 0


def test_a_refusal_holds_a_host_for_everybody_else_too() -> None:
    now = 0.0
    gate = HostGate(clock=lambda: now)
    assert enter(gate, "a")
    leave(gate, "a", 429, retry_after=5.0)
    assert gate.reserve("a") == 5.0
    assert gate.reserve("b") == 0.0
    now = 5.0
    assert gate.reserve("a") == 0.0


def test_workers_learn_with_which_status_a_host_refuses() -> None:
    gate, told = HostGate(clock=lambda: 0.0), []
    gate.add(Listener(lambda host: None, lambda: None, lambda *refusal: told.append(refusal)))
    assert enter(gate, "a") and enter(gate, "b")
    leave(gate, "a", 429, retry_after=5.0)
    leave(gate, "b", 503)
    gate.refuse("b", 503, 8.0, 0.0)
    assert told == [("a", 5.0, 5.0, 429), ("b", 8.0, 8.0, 503)]


def test_a_worker_that_ends_sends_back_who_waits() -> None:
    gate = HostGate(HostLimits(per_host=1))
    worker = Listener(lambda host: None, lambda: None)
    gate.add(worker)
    assert enter(gate, "a")
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(enter, gate, "a")
        gate.remove(worker)
        with pytest.raises(ItemPostponed):
            waiting.result()


def test_a_host_that_is_down_refuses_who_waits_and_who_comes() -> None:
    now = 0.0
    gate = HostGate(clock=lambda: now)
    assert enter(gate, "b")
    leave(gate, "b")
    while not any(state.down for state in gate.states()):
        while (seconds := gate.reserve("a")) > 0:
            now += seconds
        leave(gate, "a", None)
        assert now < 3600
    assert gate.reserve("b") == 0.0
    with pytest.raises(HostDown, match="a failed repeatedly"):
        enter(gate, "a")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://Example.org:8080/x", "example.org"),
        ("//example.org/x", "example.org"),
        ("Example.org", "example.org"),
        ("http://[::1", ""),
        (7, ""),
    ],
)
def test_the_host_of_a_url_or_of_a_name(text: object, host: str) -> None:
    assert host_of(text) == host


@given(st.lists(st.sampled_from(["a", "B.c", "1", "-", ":", "80", "/", "//", "?", "#", "@", "[", "]", "é", " ", "\n"])))
def test_the_host_of_a_plain_url_is_what_urlsplit_finds(parts: list[str]) -> None:
    url = "http://" + "".join(parts)
    try:
        expected = (urlsplit(url).hostname or "").lower()
    except ValueError:
        expected = ""
    assert host_of(url) == expected


class Item:
    """An item as the gate sees it."""

    def __init__(self, reserved: str = "") -> None:
        self.reserved_host = reserved
        self.deadline = None
        self.waits: list[tuple[str, float]] = []

    def begin_wait(self, host: str) -> None:
        self.waits.append((host, 0.0))

    def end_wait(self, seconds: float) -> None:
        self.waits[-1] = (self.waits[-1][0], seconds)


@contextmanager
def executing(item: Item) -> Iterator[None]:
    token = CONTEXT.set(item)
    try:
        yield
    finally:
        CONTEXT.reset(token)


def test_a_reservation_lets_the_first_request_in_and_no_other() -> None:
    gate = HostGate(HostLimits(per_host=1))
    assert gate.reserve("a") == 0.0
    item = Item("a")
    with executing(item):
        assert enter(gate, "a")
        assert item.waits == []
        assert not enter(gate, "a", time.monotonic())
    assert item.waits[0][0] == "a"


def test_a_reservation_is_void_when_the_host_has_refused_since() -> None:
    now = 0.0
    gate = HostGate(clock=lambda: now)
    assert enter(gate, "a")
    assert gate.reserve("a") == 0.0
    leave(gate, "a", 429, retry_after=9.0)
    item = Item("a")
    with executing(item):
        assert not enter(gate, "a", now)
    now = 9.0
    assert gate.reserve("a") == 0.0


def test_an_item_that_waits_for_another_host_gives_up_its_reservation() -> None:
    gate = HostGate(HostLimits(per_host=1))
    assert gate.reserve("a") == 0.0
    assert enter(gate, "b")
    with executing(Item("a")):
        assert not enter(gate, "b", time.monotonic())
    assert gate.reserve("a") == 0.0


def test_hosts_without_state_are_forgotten() -> None:
    gate = HostGate()
    for number in range(MAX_HOSTS + 10):
        assert enter(gate, f"h{number}")
        leave(gate, f"h{number}")
    assert len(gate.states()) == MAX_HOSTS + 10
    assert enter(gate, "new")
    assert [state.host for state in gate.states()] == ["new"]
    assert len(gate._lines) == 1


def test_delay_that_a_host_asks_for_holds_for_it_alone() -> None:
    now = 0.0
    gate = HostGate(HostLimits(per_host=8), clock=lambda: now)
    gate.ask_delay("a", 3.0)
    assert enter(gate, "a")
    assert not enter(gate, "a", now)
    assert enter(gate, "b")
    assert enter(gate, "b", now)
    assert {state.host: (state.asked_delay, state.delay) for state in gate.states()} == {
        "a": (3.0, 3.0),
        "b": (0.0, 0.0),
    }
    now = 3.0
    assert enter(gate, "a", now)
