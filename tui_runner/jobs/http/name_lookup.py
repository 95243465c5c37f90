"""Looks up addresses of hosts in a few separate threads, and caches them.

`getaddrinfo` takes no timeout. If the resolver does not respond, it blocks its thread for half a minute and more. So it
is never called in the thread or event loop of an item. The item waits for the result only until its deadline.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from tui_runner.system.clock import time

Address = tuple[int, Any]
"""Address family of a socket and argument for its `connect`: `(AF_INET, ("192.0.2.1", 443))`."""

KEPT_SECONDS = 60.0
"""Seconds for which addresses are cached: one lookup a minute is cheap, and most names have a longer time to live."""
KEPT_FAILURE_SECONDS = 10.0
"""Seconds for which the failed lookup of an unknown name is cached: long enough to spare the resolver, and short enough
to find a newly added name soon."""
_KEPT_HICCUP_SECONDS = 1.0
"""Seconds for which any other failure is cached. An item's second attempt comes later and may succeed."""
_THREADS = 8
"""Lookups at once. With one, a slow name server would delay all lookups. With more than eight, they would only queue in
the resolver."""
_MOST_NAMES = 10_000
"""Names that are cached at most. A crawl of a million hosts needs each name only for a moment."""

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
"""Errors of the resolver for names that do not exist. Looking up such a name again would not help."""

Lookup = Callable[[str, int], list[Any]]
"""A function that takes a host and a port and returns the result of `socket.getaddrinfo`."""

Settled = Callable[[Future[Any], float | None], Awaitable[None]]
"""A function that waits until a future has a result or an error. It raises `TimeoutError` after the given seconds."""


def _look_up(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class _Entry:
    """The result of a lookup, and the time until which it is cached."""

    __slots__ = ("answer", "until")

    def __init__(self) -> None:
        self.answer: Future[list[Address]] = Future()
        self.until = float("inf")


class Names:
    """A cache of the addresses of hosts. Addresses are cached for a minute, failed lookups for a shorter time.

    Args:
        look_up: calls the system's resolver.
        clock: returns monotonic seconds.
    """

    def __init__(self, look_up: Lookup = _look_up, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._lock = threading.Lock()
        """Protects the fields below, which all threads of a worker use."""
        self._known: dict[tuple[str, int], _Entry] = {}
        self._asked: SimpleQueue[tuple[str, int, _Entry]] = SimpleQueue()
        self._threads = 0
        self._idle = 0

    async def addresses(self, host: str, port: int, seconds: float | None, settled: Settled) -> list[Address]:
        """Return the addresses of `host`, the preferred one first.

        Args:
            host: a name or an IP address, without brackets.
            port: port that the addresses get.
            seconds: seconds to wait for the resolver; None for no limit.
            settled: waits for a future, in a thread or a task (`Socket.settled`).

        Raises:
            TimeoutError: there was no result within `seconds`.
            OSError: there is no such name (`socket.gaierror`), or no file descriptor is left.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        answer = self._entry(host, port).answer
        if not answer.done():
            try:
                await settled(answer, seconds)
            except TimeoutError:
                raise TimeoutError(f"the name {host} was not resolved in time") from None
        if (error := answer.exception()) is not None:
            # Raise a new exception each time, because each thread adds its frames to the exception that it raises.
            raise type(error)(*error.args)
        return answer.result()

    def _entry(self, host: str, port: int) -> _Entry:
        key = (host, port)
        with self._lock:
            entry = self._known.get(key)
            if entry is not None and self._clock() < entry.until:
                return entry
            entry = _Entry()
            self._known.pop(key, None)
            self._known[key] = entry
            if len(self._known) > _MOST_NAMES:
                del self._known[next(iter(self._known))]
            # Threads are started on demand, so a job that sends no requests has none.
            starts = self._idle < self._asked.qsize() + 1 and self._threads < _THREADS
            self._threads += starts
        self._asked.put((host, port, entry))
        if starts:
            # daemon: a lookup that hangs in the C library cannot be ended, and must not delay the end of the process
            threading.Thread(target=self._serve, name="resolver", daemon=True).start()
        return entry

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            host, port, entry = self._asked.get()
            with self._lock:
                self._idle -= 1
            seconds = KEPT_SECONDS
            error: OSError | None = None
            found: list[Address] = []
            try:
                found = list(dict.fromkeys((each[0], each[4]) for each in self._look_up(host, port)))
            except OSError as failure:
                error = _cause(failure)
                is_final = isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME
                seconds = KEPT_FAILURE_SECONDS if is_final else _KEPT_HICCUP_SECONDS
                if is_final:
                    error = socket.gaierror(error.errno, f"the host name {host!r} does not resolve")
            except ValueError as failure:  # for example a label that is too long for IDNA, or a null byte
                error = socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a host name: {failure}")
                seconds = KEPT_FAILURE_SECONDS
            entry.until = self._clock() + seconds
            if error is None:
                entry.answer.set_result(found)
            else:
                entry.answer.set_exception(error)


def _cause(error: OSError) -> OSError:
    """Return the cause of a failed lookup. If no file descriptor is left, glibc wrongly reports an unknown name."""
    if isinstance(error, socket.gaierror):
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as cause:
            return OSError(cause.errno, cause.strerror)
    return error


def _literal(host: str, port: int) -> Address | None:
    """Return the address if `host` is an IP address; None if it is a name."""
    try:
        if ":" not in host:
            socket.inet_pton(socket.AF_INET, host)
            return socket.AF_INET, (host, port)
        if "%" not in host:  # only `getaddrinfo` understands scope ids
            socket.inet_pton(socket.AF_INET6, host)
            return socket.AF_INET6, (host, port, 0, 0)
    except (OSError, ValueError):
        return None
    return None
