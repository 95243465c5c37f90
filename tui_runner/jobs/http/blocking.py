"""Lets threads execute coroutines without an event loop, so that threads and event loops share the same code.

Theory of operation. Code that waits at a gate or speaks HTTP is written once, as coroutines. These coroutines await
only the methods of a few small classes: the classes below, and sockets (`sockets.py`). Each class exists in two kinds.
Methods of the kind for tasks suspend the task, so that others run meanwhile. Methods of the kind for threads are
coroutines, too, but block and never suspend. `completed` executes a coroutine that awaits only such methods, and has
its result after one step. This costs a thread a fifth of a microsecond per nested coroutine.
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
        RuntimeError: the coroutine suspended, so it needs an event loop.
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

    @abstractmethod
    def wake(self) -> None:
        """End the current wait, or else the next one; any thread may call this."""

    @abstractmethod
    async def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, for at most `seconds`, which may be infinite."""


class WaitingThread(Waiter):
    """A thread that waits."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def wake(self) -> None:
        """End the wait, or the next one."""
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Block the thread until `wake` is called, or the time has passed."""
        self._woken.wait(None if math.isinf(seconds) else min(seconds, threading.TIMEOUT_MAX))
        self._woken.clear()


class WaitingTask(Waiter):
    """A task of an event loop that waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """End the wait, or the next one."""
        self._loop.call_soon_threadsafe(self._woken.set)

    async def wait(self, seconds: float) -> None:
        """Suspend the task until `wake` is called, or the time has passed."""
        with contextlib.suppress(TimeoutError):  # the requested time has passed: check the host again
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._woken.wait()
        self._woken.clear()
