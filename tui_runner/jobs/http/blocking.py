"""Code that threads and event loops share: coroutines that a thread executes without a loop.

Theory of operation. What waits at a gate or speaks HTTP is written once, as coroutines. All that they wait for are the
methods of a few small classes that come in two kinds: those below, and sockets (`sockets.py`). Those for a task suspend
it, so others run meanwhile. Those for a thread are coroutines, too, but block and never suspend: `completed` executes a
coroutine that awaits no others, and has its result after one step. That costs a thread a fifth of a microsecond for
each coroutine on the way.
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
        RuntimeError: it suspended, so it is for an event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine for an event loop was executed by a thread")


class Waiter(ABC):
    """A thread or task that waits in the line of a host."""

    is_sent_back = False

    @abstractmethod
    def wake(self) -> None:
        """End the wait, or the next one; any thread may call this."""

    @abstractmethod
    async def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, for `seconds` at most (infinite: any time)."""


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
        with contextlib.suppress(TimeoutError):  # the time that the host asked for has passed: look again
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                await self._woken.wait()
        self._woken.clear()
