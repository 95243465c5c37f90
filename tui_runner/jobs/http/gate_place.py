"""A place at the gate of a host: held while a request to it is open, and given back once, whatever becomes of that."""

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
    """Gives places at gates back for responses that are collected as garbage.

    A collection can begin anywhere, also in a thread that has the gate's lock at that moment; so what it releases goes
    through a queue that may be used there (`queue.SimpleQueue`), to a thread that takes the lock.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = False

    def start(self) -> None:
        """Start the thread, if there is none; called where a response is made, not where it is collected."""
        if self._started:
            return
        with self._lock:
            if not self._started:
                threading.Thread(target=self._run, name="http-releaser", daemon=True).start()
                self._started = True

    def put(self, release: Callable[[], object]) -> None:
        """Make the thread call `release`."""
        self._queue.put(release)

    def _run(self) -> None:
        while True:
            self._queue.get()()


RELEASER = _Releaser()


class Place:
    """A place at the gate of a host, held while a request to it is open. Made when the gate has let it in."""

    __slots__ = ("_began", "_gate", "_held", "_host", "_retry_after", "_seconds", "_status")

    def __init__(self, gate: HostGate, host: str) -> None:
        self._gate = gate
        self._host = host
        self._held = True
        self._began = time.monotonic()
        self._seconds: float | None = None
        self._status: int | None = None
        self._retry_after: str | None = None

    def answered(self, status: int, retry_after: str | None) -> None:
        """Record the head of the answer: its status, and the value of `Retry-After`."""
        self._seconds = time.monotonic() - self._began
        self._status = status
        self._retry_after = retry_after

    def leave(self, *, failed: bool = False) -> None:
        """Free the place at the gate; further calls have no effect.

        Args:
            failed: whether there was no answer, or no whole one.
        """
        if not self._held:
            return
        self._held = False
        self._gate.leave(
            self._host,
            status=None if failed else self._status,
            seconds=time.monotonic() - self._began if self._seconds is None else self._seconds,
            sent=self._began,
            retry_after=None if self._retry_after is None else retry_after_seconds(self._retry_after, time.time()),
        )

    def leave_later(self) -> None:
        """Give the place back from wherever garbage is collected."""
        if self._held:
            RELEASER.put(self.leave)


async def admitted(
    gate: HostGate, host: str, until: float | None, waiter: type[Waiter], make_request: Callable[[], httpx.Request]
) -> Place:
    """Wait until a host may be asked, and return the place at its gate.

    Raises:
        httpx.PoolTimeout: none came free before the deadline.
        HostDown: the host failed again and again, and is not asked.
    """
    if not await gate.admit(host, until, waiter):
        raise httpx.PoolTimeout(
            f"the item's deadline passed while {host} had as many requests open as per_host allows",
            request=make_request(),
        )
    return Place(gate, host)
