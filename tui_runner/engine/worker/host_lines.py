"""Queues of items whose host is known before they start: one queue per host, called its *line*.

An item in a line occupies no thread. `WorkQueue` owns the lines and calls them only while it holds its lock. The *gate*
(`HostGate`) decides when a request may be sent to a host.

A host is in one of three states. *Ready*: the gate may let a request through. *Due*: a delay or a cooldown ends at a
known time. *Blocked*: its items wait until the gate reports a change. Threads take items from the ready hosts in turn,
so a host with many items does not delay the others.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tui_runner.jobs.http.host_gate import HostDown, HostGate

if TYPE_CHECKING:
    from tui_runner.engine.worker.opened_chunk import OpenedChunk

Placed = tuple["OpenedChunk", int]
"""An item in a line: its chunk, and its index in the chunk."""


class HostLines:
    """The lines of all hosts.

    Args:
        gate: decides when requests may be sent to a host.
        clock: returns monotonic seconds.
    """

    def __init__(self, gate: HostGate, clock: Callable[[], float]) -> None:
        self._gate = gate
        self._clock = clock
        self._lines: dict[str, deque[Placed]] = {}
        self._ready: deque[str] = deque()
        self._is_ready: set[str] = set()
        self._due: list[tuple[float, str]] = []
        self._due_at: dict[str, float] = {}
        self._down: dict[str, str] = {}
        """Hosts that are down, with the error message for their items."""
        self.items = 0
        """Number of items in all lines."""

    def __bool__(self) -> bool:
        return self.items > 0

    @property
    def has_ready(self) -> bool:
        """True if at least one host is ready."""
        return bool(self._ready)

    def put(self, host: str, chunk: OpenedChunk, index: int, *, first: bool = False) -> None:
        """Add an item at the end of a host's line, or at the front if `first`."""
        line = self._lines.get(host)
        if line is None:
            line = self._lines[host] = deque()
        if first:
            line.appendleft((chunk, index))
        else:
            line.append((chunk, index))
        chunk.lined += 1
        self.items += 1
        if host not in self._due_at:
            self._make_ready(host)

    def take(self) -> tuple[str, OpenedChunk, int] | float:
        """Take an item whose host accepts a request, and reserve the request: (host, chunk, index).

        If no item may start, return the seconds until one may; infinite if unknown.
        """
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            at, host = heapq.heappop(self._due)
            if self._due_at.get(host) == at:
                del self._due_at[host]
                self._make_ready(host)
        for _ in range(len(self._ready)):
            host = self._ready.popleft()
            self._is_ready.discard(host)
            line = self._lines.get(host)
            if line is None:
                continue
            try:
                seconds = self._gate.reserve(host)
            except HostDown as error:  # the reporter takes the items of this host by `take_down` and fails them
                self._down[host] = str(error)
                continue
            if seconds == 0:
                chunk, index = line.popleft()
                self._took(host, chunk)
                if host in self._lines:
                    self._make_ready(host)
                return host, chunk, index
            if seconds < math.inf:
                self._due_at[host] = now + seconds
                heapq.heappush(self._due, (now + seconds, host))
        return self._due[0][0] - now if self._due else math.inf

    def recheck(self, host: str) -> bool:
        """Make a host ready, because the gate may now let a request through. Return True if items wait for the host."""
        if host not in self._lines:
            return False
        self._due_at.pop(host, None)
        self._make_ready(host)
        return True

    def take_down(self) -> list[tuple[OpenedChunk, int, str, str]]:
        """Take the items of hosts that are down, each as (chunk, index, host, error message)."""
        found = []
        for host, reason in self._down.items():
            while (line := self._lines.get(host)) is not None:
                chunk, index = line.popleft()
                self._took(host, chunk)
                found.append((chunk, index, host, reason))
        self._down.clear()
        return found

    def remove(self, chunk: OpenedChunk) -> list[int]:
        """Remove every item of a chunk. Return their indexes in ascending order."""
        if not chunk.lined:
            return []
        found = []
        for host, line in list(self._lines.items()):
            mine = [index for other, index in line if other is chunk]
            if mine:
                found += mine
                rest = deque(placed for placed in line if placed[0] is not chunk)
                if rest:
                    self._lines[host] = rest
                else:
                    del self._lines[host]
        self.items -= len(found)
        chunk.lined = 0
        return sorted(found)

    def waiting(self) -> dict[str, int]:
        """Return the number of waiting items by host."""
        return {host: len(line) for host, line in self._lines.items()}

    def waits(self, now: float) -> Iterator[tuple[str, float, set[int]]]:
        """Yield each host that accepts no requests now, the seconds until it does, and the chunks that wait for it.

        The seconds are infinite if they are unknown, because other requests to the host must end first.
        """
        for host, line in self._lines.items():
            if host not in self._is_ready:
                due = self._due_at.get(host, math.inf)
                yield host, due - now, {chunk.number for chunk, _ in line}

    def _took(self, host: str, chunk: OpenedChunk) -> None:
        chunk.lined -= 1
        self.items -= 1
        if not self._lines[host]:
            del self._lines[host]

    def _make_ready(self, host: str) -> None:
        if host not in self._is_ready:
            self._is_ready.add(host)
            self._ready.append(host)
