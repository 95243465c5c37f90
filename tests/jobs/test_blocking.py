"""Coroutines that a thread executes without an event loop."""

from __future__ import annotations

import asyncio

import pytest

from tui_runner.jobs.http.blocking import WaitingThread, completed


async def half(number: int) -> int:
    if number % 2:
        raise ValueError("odd")
    return number // 2


async def quarter(number: int) -> int:
    return await half(await half(number))


def test_result_and_error_are_those_of_the_coroutine() -> None:
    assert completed(quarter(8)) == 2
    with pytest.raises(ValueError, match="odd"):
        completed(quarter(6))


def test_coroutine_for_an_event_loop_is_refused_and_closed() -> None:
    ended = []

    async def suspend() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="event loop"):
        completed(suspend())
    assert ended == [True]


def test_waiting_thread_is_woken_once() -> None:
    waiter = WaitingThread()
    waiter.wake()
    completed(waiter.wait(float("inf")))
    assert not waiter._woken.is_set()
