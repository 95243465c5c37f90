"""Lets threads execute coroutines without an event loop, so that threads and event loops share the same code.

Theory of operation. Code that waits at a gate or speaks HTTP is written once, as coroutines. They await only methods of
the classes below and of sockets (`sockets.py`). Each of these classes exists in two kinds. Methods of the kind for
tasks suspend the task, so that other tasks run meanwhile. Methods of the kind for threads are also coroutines, but they
block and never suspend. So a coroutine that awaits only these runs to its end in one step, and `completed` returns its
result. This costs a thread a fifth of a microsecond per nested coroutine.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def completed(coroutine: Coroutine[Any, Any, T]) -> T:
    """Execute a coroutine that blocks instead of suspending, and return its result.

    Raises:
        RuntimeError: the coroutine was suspended, so it needs an event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine for an event loop was executed by a thread")


class Waiter(ABC):
    """A thread or task that waits in the queue of a host."""

    is_sent_back = False
    """True if the worker ends: the next check of the queue then raises `ItemPostponed`."""

    @abstractmethod
    def wake(self) -> None:
        """End the current wait, or if the waiter is not waiting, its next wait. Any thread may call this."""

    @abstractmethod
    async def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, for at most `seconds`, which may be infinite."""


class WaitingThread(Waiter):
    """A thread that waits in the queue of a host."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def wake(self) -> None:
        """End the current wait, or if the thread is not waiting, its next wait."""
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Block the thread until `wake` is called or `seconds` have passed."""
        self._woken.wait(None if math.isinf(seconds) else min(seconds, threading.TIMEOUT_MAX))
        self._woken.clear()


class WaitingTask(Waiter):
    """A task of an event loop that waits in the queue of a host."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """End the current wait, or if the task is not waiting, its next wait."""
        self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self, seconds: float) -> None:
        """Suspend the task until `wake` is called or `seconds` have passed."""
        # the time has passed, which is no error: the caller checks the host again
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._woken.wait()
        self._woken.clear()
