"""Connections that are kept open between requests.

httpx's own pool has one lock for all threads. The garbage collector acquires it, too, when it collects a partly read
response. If that happens in a thread that holds the lock, the thread waits for itself (httpcore issue #996). So here
idle connections are in a deque for each server. `append` and `pop` of a deque are single operations that neither a
thread nor a garbage collection can interrupt, so no lock is needed.
"""

from __future__ import annotations

import ssl
from collections import deque

from tui_runner.jobs.http.connection import Connection
from tui_runner.jobs.http.name_lookup import Names
from tui_runner.jobs.http.sockets import Socket, ThreadSocket, connect
from tui_runner.system.clock import time

Origin = tuple[str, str, int]
"""Scheme, host and port of a server."""

_IDLE_SECONDS = 15.0
"""Seconds for which an idle connection is kept. Servers close idle connections after 5 to 75 seconds. Detecting that a
connection is closed costs a system call; if it is closed only while a request is being sent, the request must be sent
again."""
_MOST_IDLE = 256
"""Idle connections that are kept at most; the oldest is closed first. Each takes a file descriptor, and many systems
allow 1,024."""


class Connections:
    """Connections that are kept open between requests, for all threads of a process or all tasks of an event loop.

    Args:
        names: looks up the addresses of hosts.
        kind: class of the sockets.
    """

    def __init__(self, names: Names, kind: type[Socket] = ThreadSocket) -> None:
        self.kind = kind
        self._names = names
        self._idle: dict[Origin, deque[Connection]] = {}
        self._order: deque[tuple[Origin, Connection, float]] = deque()

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection that the server has not closed; None if there is none."""
        idle = self._idle.get(origin)
        while idle:
            try:
                found = idle.pop()
            except IndexError:  # another thread has taken the last one
                return None
            if not idle:  # drop the empty deque, because a crawl of a million hosts would leave a million of them
                self._idle.pop(origin, None)
            age = time.monotonic() - found.idle_since
            found.idle_since = 0.0  # tells `_forget` that the connection is in use
            if age < _IDLE_SECONDS and not found.is_stale():
                return found
            found.close()
        return None

    def put(self, origin: Origin, connection: Connection) -> None:
        """Store a connection whose exchange has ended, so that the next request to the same server can use it."""
        connection.idle_since = since = time.monotonic()
        connection.is_used = True
        self._idle.setdefault(origin, deque()).append(connection)
        self._order.append((origin, connection, since))
        while len(self._order) > _MOST_IDLE:
            try:
                self._forget(*self._order.popleft())
            except IndexError:  # another thread has emptied it meanwhile
                return

    def _forget(self, origin: Origin, connection: Connection, since: float) -> None:
        # the connection is in use, or is idle again and has a newer entry in `_order`
        if connection.idle_since != since:
            return
        idle = self._idle.get(origin)
        if idle is not None:
            try:
                idle.remove(connection)
            except (ValueError, IndexError):
                return  # another thread has taken it
            if not idle:
                self._idle.pop(origin, None)
        # Close it also if it is in no deque: then it was put into a deque that another thread had just dropped, so that
        # no thread can take it.
        connection.close()

    def close(self) -> None:
        """Close all idle connections."""
        for idle in list(self._idle.values()):
            while idle:
                try:
                    idle.pop().close()
                except IndexError:  # another thread has taken the last one
                    break
        self._idle.clear()
        self._order.clear()

    async def open(
        self, origin: Origin, until: float | None, context: ssl.SSLContext | None, server_name: str | None
    ) -> Connection:
        """Open a new connection before `until`. It raises the errors of `Names.addresses` and `connect`."""
        _, host, port = origin
        left = None if until is None else max(0.0, until - time.monotonic())
        addresses = await self._names.addresses(host, port, left, self.kind.settled)
        return Connection(await connect(self.kind, addresses, until, context=context, server_name=server_name or host))
