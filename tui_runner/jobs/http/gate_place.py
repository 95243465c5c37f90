"""A place at the gate of a host: held while a request is open, and released exactly once, however the request ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

import httpx

from tui_runner.jobs.http.blocking import Waiter
from tui_runner.jobs.http.host_gate import HostGate
from tui_runner.jobs.http.retry_after import retry_after_seconds
from tui_runner.system.clock import time


class _Releaser:
    """A thread that releases the places of responses that are collected as garbage.

    A garbage collection can begin at any moment, even in a thread that holds the gate's lock. So the collected object
    only puts its release into a queue, which is safe at that moment (`queue.SimpleQueue`). A thread takes it and
    acquires the lock.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._lock = threading.Lock()
        """Held while the thread is started, so that only one is started."""
        self._started = False

    def start(self) -> None:
        """Start the thread unless it is running. Call it when a response is created, never in a garbage collection."""
        if self._started:
            return
        with self._lock:
            if not self._started:  # another thread may have started it while this thread waited for the lock
                # daemon: it waits for the next release until the process ends
                threading.Thread(target=self._run, name="http-releaser", daemon=True).start()
                self._started = True

    def put(self, release: Callable[[], object]) -> None:
        """Make the thread call `release`."""
        self._queue.put(release)

    def _run(self) -> None:
        while True:
            self._queue.get()()


RELEASER = _Releaser()
"""The only releaser of this process."""


class Place:
    """A place at the gate of a host, held while a request is open. Create it when the gate has admitted the request."""

    __slots__ = ("_began", "_gate", "_host", "_is_released", "_retry_after", "_seconds", "_status")

    def __init__(self, gate: HostGate, host: str) -> None:
        self._gate = gate
        self._host = host
        self._is_released = False
        self._began = time.monotonic()
        self._seconds: float | None = None
        self._status: int | None = None
        self._retry_after: str | None = None

    def answered(self, status: int, retry_after: str | None) -> None:
        """Record the head of the response: its status, and the value of `Retry-After`."""
        self._seconds = time.monotonic() - self._began
        self._status = status
        self._retry_after = retry_after

    def leave(self, *, failed: bool = False) -> None:
        """Release the place at the gate. Further calls have no effect.

        Args:
            failed: True if there was no response, or an incomplete one.
        """
        if self._is_released:
            return
        self._is_released = True
        self._gate.leave(
            self._host,
            status=None if failed else self._status,
            seconds=time.monotonic() - self._began if self._seconds is None else self._seconds,
            sent=self._began,
            retry_after=None if self._retry_after is None else retry_after_seconds(self._retry_after, time.time()),
        )

    def leave_later(self) -> None:
        """Release the place soon. A garbage collection may call this in any thread."""
        if not self._is_released:
            RELEASER.put(self.leave)


async def admitted(
    gate: HostGate, host: str, until: float | None, waiter: type[Waiter], make_request: Callable[[], httpx.Request]
) -> Place:
    """Wait until a request may be sent to a host. Return its place at the gate.

    Raises:
        httpx.PoolTimeout: the deadline passed before the request could be sent.
        HostDown: the host has failed repeatedly, so no request is sent.
        ItemPostponed: the worker ended while the request waited.
    """
    if not await gate.admit(host, until, waiter):
        raise httpx.PoolTimeout(
            f"the item's deadline passed while {host} had as many requests open as per_host allows",
            request=make_request(),
        )
    return Place(gate, host)
