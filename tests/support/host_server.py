"""A server that is many hosts: every address 127.x.y.z leads to it, and each behaves as the test says."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reply:
    """An answer: its status, the seconds until it is sent, and what `Retry-After` says."""

    status: int = 200
    after: float = 0.0
    retry_after: str | None = None


@dataclass
class Seen:
    """Requests to one host: the time of each, and the status of its answer."""

    requests: list[tuple[float, int]] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    def times(self, status: int | None = None) -> list[float]:
        return [at for at, answered in self.requests if status in (None, answered)]


Behaviour = Callable[[str, str, Seen, float], Reply]
"""Says what a host answers: its name, the path, what it was asked before, the time."""


class HostServer:
    """Answers plain HTTP on one port of all addresses of this machine."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.seen: dict[str, Seen] = defaultdict(Seen)
        self._behaviour = behaviour
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        async def begin() -> None:
            # Each address of the network 127.0.0.0/8 is this machine, but only listening at all of them gets them all.
            self._server = await asyncio.start_server(self._serve, "0.0.0.0", 0, backlog=1024)
            self.port = self._server.sockets[0].getsockname()[1]
            self._ready.set()

        self._loop.run_until_complete(begin())
        self._loop.run_forever()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                name = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"host:"))
                await self._answer(writer, name[5:].strip().decode().partition(":")[0], path)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, host: str, path: str) -> None:
        seen, now = self.seen[host], time.monotonic()
        reply = self._behaviour(host, path, seen, now)
        seen.requests.append((now, reply.status))
        seen.open += 1
        seen.most_open = max(seen.most_open, seen.open)
        try:
            if reply.after:
                await asyncio.sleep(reply.after)
            extra = "" if reply.retry_after is None else f"Retry-After: {reply.retry_after}\r\n"
            writer.write(f"HTTP/1.1 {reply.status} X\r\nContent-Length: 2\r\n{extra}\r\nok".encode())
            await writer.drain()
        finally:
            seen.open -= 1


@contextlib.contextmanager
def serving(behaviour: Behaviour) -> Iterator[HostServer]:
    """Serve for as long as the block lasts."""
    server = HostServer(behaviour)
    try:
        yield server
    finally:
        server.close()
