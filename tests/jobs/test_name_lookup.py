"""Addresses of hosts: remembered, and never waited for longer than there is time."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tui_runner.jobs.http.blocking import completed
from tui_runner.jobs.http.name_lookup import KEPT_FAILURE_SECONDS, KEPT_SECONDS, Address, Names
from tui_runner.jobs.http.sockets import TaskSocket, ThreadSocket


def addresses(names: Names, host: str, port: int = 80, seconds: float = 5.0) -> list[Address]:
    return completed(names.addresses(host, port, seconds, ThreadSocket.settled))


class Resolver:
    """Answers as told, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, host: str, port: int) -> list[Any]:
        self.asked.append(host)
        self.may_answer.wait(10)
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))] * 2


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_name_is_asked_for_once_a_minute() -> None:
    resolver, clock = Resolver(), Clock()
    names = Names(resolver, clock)
    for _ in range(3):
        assert addresses(names, "a.test", 80, 5) == [(socket.AF_INET, ("192.0.2.1", 80))]
    clock.now += KEPT_SECONDS
    addresses(names, "a.test", 80, 5)
    addresses(names, "b.test", 80, 5)
    assert resolver.asked == ["a.test", "a.test", "b.test"]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(socket.gaierror(socket.EAI_NONAME, "no"), KEPT_FAILURE_SECONDS), (socket.gaierror(socket.EAI_AGAIN, "later"), 1)],
)
def test_failure_is_remembered_for_a_while(error: socket.gaierror, seconds: float) -> None:
    resolver, clock = Resolver(), Clock()
    resolver.error = error
    names = Names(resolver, clock)
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            addresses(names, "a.test", 80, 5)
    assert len(resolver.asked) == 1
    resolver.error = None
    clock.now += seconds
    assert addresses(names, "a.test", 80, 5)


def test_a_dead_resolver_delays_no_request_beyond_its_deadline() -> None:
    resolver = Resolver()
    resolver.may_answer.clear()
    names = Names(resolver)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(addresses, names, f"{number}.test", 80, 0.05) for number in range(12)]
        for each in asked:
            with pytest.raises(TimeoutError, match="not resolved"):
                each.result()
    assert addresses(names, "192.0.2.7", 80, 0) == [(socket.AF_INET, ("192.0.2.7", 80))]
    resolver.may_answer.set()
    assert addresses(names, "0.test", 80, 10), "what it finds at last is used"


def test_many_who_ask_at_once_share_one_lookup() -> None:
    resolver = Resolver()
    names = Names(resolver)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: addresses(names, "a.test", 443, 5), range(40)))
    assert resolver.asked == ["a.test"]
    assert all(each == found[0] for each in found)


def test_invalid_name_is_an_unknown_host() -> None:
    with pytest.raises(socket.gaierror):
        addresses(Names(), "a" * 70 + ".test")


async def test_a_task_that_gives_up_does_not_cancel_the_lookup_of_others() -> None:
    resolver = Resolver()
    resolver.may_answer.clear()
    names = Names(resolver)
    impatient = asyncio.create_task(names.addresses("a.test", 80, None, TaskSocket.settled))
    with pytest.raises(TimeoutError, match="not resolved"):
        await names.addresses("a.test", 80, 0.01, TaskSocket.settled)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    resolver.may_answer.set()
    assert await names.addresses("a.test", 80, 10, TaskSocket.settled) == [(socket.AF_INET, ("192.0.2.1", 80))]
    assert resolver.asked == ["a.test"]
