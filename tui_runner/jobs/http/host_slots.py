"""How many requests may be open to one host at once.

A host has `limit` slots. Who finds none free waits in line and is handed the next slot that is given back, so
nobody is overtaken. Threads and event loops wait in the same line: each leaves a callable that wakes it. The
lock is held for the decision alone; whoever is to be woken is woken after it is released.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

Wake = Callable[[], object]


class _Host:
    """Slots in use at one host, and who waits for one; guarded by the lock of its `HostSlots`."""

    __slots__ = ("held", "waiting")

    def __init__(self) -> None:
        self.held = 0
        self.waiting: deque[Wake] = deque()


class HostSlots:
    """Slots for requests, a limited number a host.

    Args:
        limit: slots of every host, None for no bound.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        # Only hosts that hold a slot or wait for one, so a million hosts in a row cost nothing.
        self._hosts: dict[str, _Host] = {}

    def set_limit(self, limit: int | None) -> None:
        """Change the number of slots; the requests that are open beyond a lower one go on to their end."""
        with self._lock:
            self._limit = limit
            woken = [wake for host in self._hosts.values() for wake in self._admit(host)]
        for wake in woken:
            wake()

    def acquire(self, host: str, seconds: float | None = None) -> bool:
        """Take a slot of `host`, waiting at most `seconds`; False when there was none in that time."""
        gate = threading.Lock()
        gate.acquire()
        if self._take(host, gate.release):
            return True
        patience = -1.0 if seconds is None else min(max(seconds, 0.0), threading.TIMEOUT_MAX)
        try:
            if gate.acquire(timeout=patience):
                return True
        except BaseException:
            self._abandon(host, gate.release)
            raise
        return not self._withdraw(host, gate.release)

    async def acquire_async(self, host: str, seconds: float | None = None) -> bool:
        """`acquire` for a task of an event loop: other tasks go on meanwhile."""
        loop = asyncio.get_running_loop()
        gate = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(gate.set)

        if self._take(host, wake):
            return True
        try:
            async with asyncio.timeout(seconds):
                await gate.wait()
        except TimeoutError:
            return not self._withdraw(host, wake)
        except BaseException:
            self._abandon(host, wake)
            raise
        return True

    def give_back(self, host: str) -> None:
        """Return a slot of `host`; the first in line gets it."""
        with self._lock:
            entry = self._hosts[host]
            entry.held -= 1
            woken = self._admit(entry)
            if not entry.held and not entry.waiting:
                del self._hosts[host]
        for wake in woken:
            wake()

    def _take(self, host: str, wake: Wake) -> bool:
        """Take a slot at once, or stand in line with `wake`."""
        with self._lock:
            entry = self._hosts.setdefault(host, _Host())
            if self._limit is None or entry.held < self._limit:
                entry.held += 1
                return True
            entry.waiting.append(wake)
            return False

    def _admit(self, entry: _Host) -> list[Wake]:
        """Hand free slots to the first in line; the caller wakes them after it has released the lock."""
        woken: list[Wake] = []
        while entry.waiting and (self._limit is None or entry.held < self._limit):
            entry.held += 1
            woken.append(entry.waiting.popleft())
        return woken

    def _withdraw(self, host: str, wake: Wake) -> bool:
        """Leave the line; False when a slot had been handed over meanwhile, which the caller now holds."""
        with self._lock:
            entry = self._hosts[host]
            if wake not in entry.waiting:
                return False
            entry.waiting.remove(wake)
            if not entry.held and not entry.waiting:
                del self._hosts[host]
            return True

    def _abandon(self, host: str, wake: Wake) -> None:
        """Leave the line for good, giving back a slot that had been handed over meanwhile."""
        if not self._withdraw(host, wake):
            self.give_back(host)
