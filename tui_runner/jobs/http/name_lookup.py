"""Looks up addresses of hosts in a few separate threads, and caches them.

`getaddrinfo` takes no timeout. If the resolver does not answer, it blocks its thread for half a minute and more. So no
item's thread or event loop calls it: an item waits for an address only until its deadline.
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
"""Family of a socket and argument of `connect`: `(AF_INET, ("192.0.2.1", 443))`."""

KEPT_SECONDS = 60.0
"""Seconds that addresses are cached: shorter than most names' time to live, long enough for one lookup a minute."""
KEPT_FAILURE_SECONDS = 10.0
"""Seconds that a failed lookup of an unknown name is cached: the resolver is asked less, and a new name is still found
soon."""
_KEPT_HICCUP_SECONDS = 1.0
"""Seconds that any other failure is cached: fewer than until an item's second attempt, because that may succeed."""
_THREADS = 8
"""Lookups at once. With one, a slow name server would delay all lookups; with more than eight, lookups would only queue
at the resolver."""
_MOST_NAMES = 10_000
"""Names that are cached at most: a crawl of a million hosts needs each name only for a moment."""

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
"""Errors of the resolver that another lookup does not change."""

Lookup = Callable[[str, int], list[Any]]
"""Takes a host and a port, returns the result of `socket.getaddrinfo`."""

Settled = Callable[[Future[Any], float | None], Awaitable[None]]
"""Waits until a future has a result or an error, or raises `TimeoutError` after `seconds`."""


def _look_up(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class _Entry:
    """A name that was requested."""

    __slots__ = ("answer", "until")

    def __init__(self) -> None:
        self.answer: Future[list[Address]] = Future()
        self.until = float("inf")


class Names:
    """Finds the addresses of hosts, each name once a minute.

    Args:
        look_up: calls the system's resolver.
        clock: returns monotonic seconds.
    """

    def __init__(self, look_up: Lookup = _look_up, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._lock = threading.Lock()
        """Guards the fields below, which all threads of a worker use."""
        self._known: dict[tuple[str, int], _Entry] = {}
        self._asked: SimpleQueue[tuple[str, int, _Entry]] = SimpleQueue()
        self._threads = 0
        self._idle = 0

    async def addresses(self, host: str, port: int, seconds: float | None, settled: Settled) -> list[Address]:
        """Return the addresses of `host`, in the order in which to try them.

        Args:
            host: a name or an IP address, without brackets.
            port: port of the addresses.
            seconds: time to wait for the resolver; None for no limit.
            settled: waits for a future, in a thread or a task (`Socket.settled`).

        Raises:
            TimeoutError: the resolver has not answered in that time.
            OSError: there is no such name (`socket.gaierror`), or no descriptor is left.
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
            # Raise a new exception each time: threads would add their frames to a shared exception.
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
            # Start threads on demand: a job that fetches nothing has none.
            starts = self._idle < self._asked.qsize() + 1 and self._threads < _THREADS
            self._threads += starts
        self._asked.put((host, port, entry))
        if starts:
            threading.Thread(target=self._serve, name="resolver", daemon=True).start()
        return entry

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            host, port, entry = self._asked.get()
            with self._lock:
                self._idle -= 1
            kept = KEPT_SECONDS
            error: OSError | None = None
            found: list[Address] = []
            try:
                found = list(dict.fromkeys((each[0], each[4]) for each in self._look_up(host, port)))
            except OSError as failure:
                error = _cause(failure)
                is_final = isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME
                kept = KEPT_FAILURE_SECONDS if is_final else _KEPT_HICCUP_SECONDS
                if is_final:
                    error = socket.gaierror(error.errno, f"the host name {host!r} does not resolve")
            except ValueError as failure:  # a label too long for IDNA, a null byte
                error = socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a host name: {failure}")
                kept = KEPT_FAILURE_SECONDS
            entry.until = self._clock() + kept
            if error is None:
                entry.answer.set_result(found)
            else:
                entry.answer.set_exception(error)


def _cause(error: OSError) -> OSError:
    """Return the cause of a failed lookup: without a free descriptor, glibc reports an unknown name."""
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
        if "%" not in host:  # only `getaddrinfo` knows scope numbers
            socket.inet_pton(socket.AF_INET6, host)
            return socket.AF_INET6, (host, port, 0, 0)
    except (OSError, ValueError):
        return None
    return None
