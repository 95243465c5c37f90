"""Sockets of two kinds, for a thread and for a task of an event loop: the only code for HTTP that uses the network.

Both kinds have the same methods, all coroutines. Those for a thread block (see `blocking.py`); those for a task suspend
the task.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
import ssl
from abc import ABC, abstractmethod
from concurrent.futures import Future, wait
from typing import Any, Self

from tui_runner.jobs.http.blocking import Waiter, WaitingTask, WaitingThread
from tui_runner.jobs.http.name_lookup import Address
from tui_runner.system.clock import time

_LEAST_CONNECT_SECONDS = 1.0
"""Seconds that each of several addresses gets at least, even if that exceeds its share of the time. The system sends a
lost first packet again after a second."""
_MOST_WAITING = 256 * 1024
"""Bytes that an event loop reads ahead of a slow task: beyond that it stops reading, so that the server stops sending.
Also the bytes that are passed to the event loop at once to be sent. A task needs that much memory at most for each."""


class Socket(ABC):
    """A connected socket. Methods with a parameter `seconds` raise `TimeoutError` after that time; None: no limit."""

    __slots__ = ()
    waiter: type[Waiter]
    """Class of the waiters in queues of hosts that suits this kind of socket."""

    @staticmethod
    @abstractmethod
    async def settled(future: Future[Any], seconds: float | None) -> None:
        """Wait until a future has a result or an error."""

    @staticmethod
    @abstractmethod
    async def connect(sock: socket.socket, address: Any, seconds: float | None) -> None:
        """Connect a socket of the operating system to an address."""

    @classmethod
    @abstractmethod
    async def opened(
        cls, sock: socket.socket, context: ssl.SSLContext | None, server_name: str, seconds: float | None
    ) -> Self:
        """Return an object for a connected socket of the operating system, with TLS if there is a context."""

    @abstractmethod
    async def send(self, data: memoryview, seconds: float | None) -> int:
        """Send bytes. Return the number of bytes that were accepted."""

    @abstractmethod
    async def receive(self, most: int, seconds: float | None) -> bytes:
        """Return at most `most` received bytes; no bytes if the peer sends no more."""

    @abstractmethod
    def is_stale(self) -> bool:
        """Return True if the peer of an idle socket has closed it, or has sent bytes without a request."""

    @abstractmethod
    def close(self) -> None:
        """Close the socket. Any thread may call this."""


class ThreadSocket(Socket):
    """A socket that one thread uses at a time."""

    waiter = WaitingThread
    __slots__ = ("_poll", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poll: select.poll | None = None

    @staticmethod
    async def settled(future: Future[Any], seconds: float | None) -> None:
        """Block until a future has a result or an error."""
        if not wait([future], seconds).done:
            raise TimeoutError

    @staticmethod
    async def connect(sock: socket.socket, address: Any, seconds: float | None) -> None:
        """Block until a socket of the operating system is connected."""
        sock.settimeout(seconds)
        sock.connect(address)

    @classmethod
    async def opened(
        cls, sock: socket.socket, context: ssl.SSLContext | None, server_name: str, seconds: float | None
    ) -> Self:
        """Return an object for a connected socket. A TLS handshake blocks."""
        if context is None:
            return cls(sock)
        sock.settimeout(seconds)
        return cls(context.wrap_socket(sock, server_hostname=server_name))

    async def send(self, data: memoryview, seconds: float | None) -> int:
        """Block until bytes are accepted. Return their number."""
        self._set_timeout(seconds)
        return self._sock.send(data)

    async def receive(self, most: int, seconds: float | None) -> bytes:
        """Block until bytes arrive. Return them."""
        self._set_timeout(seconds)
        return self._sock.recv(most)

    def _set_timeout(self, seconds: float | None) -> None:
        # Set the timeout only if it changes: that is a system call, after which the thread must wait for the
        # interpreter lock.
        if seconds != self._sock.gettimeout():
            self._sock.settimeout(seconds)

    def is_stale(self) -> bool:
        """Return True if the peer has closed the idle socket, or has sent bytes without a request."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._sock.fileno(), select.POLLIN)
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class TaskSocket(Socket, asyncio.Protocol):
    """A socket that one task of an event loop uses at a time."""

    waiter = WaitingTask

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._changed = asyncio.Event()
        self._is_full = False
        """True while the operating system accepts no more bytes."""
        self._has_ended = False
        self._error: Exception | None = None

    @staticmethod
    async def settled(future: Future[Any], seconds: float | None) -> None:
        """Suspend the task until a future has a result or an error."""
        loop, is_settled = asyncio.get_running_loop(), asyncio.Event()

        def wake(_: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(is_settled.set)

        # `wrap_future` is not used, because cancelling the task would cancel the future, for which others also wait.
        future.add_done_callback(wake)
        async with asyncio.timeout(seconds):
            await is_settled.wait()

    @staticmethod
    async def connect(sock: socket.socket, address: Any, seconds: float | None) -> None:
        """Suspend the task until a socket of the operating system is connected."""
        sock.setblocking(False)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, address)

    @classmethod
    async def opened(
        cls, sock: socket.socket, context: ssl.SSLContext | None, server_name: str, seconds: float | None
    ) -> Self:
        """Return an object for a connected socket. The task is suspended during the TLS handshake."""
        name = None if context is None else server_name
        async with asyncio.timeout(seconds):
            loop = asyncio.get_running_loop()
            return (await loop.create_connection(cls, sock=sock, ssl=context, server_hostname=name))[1]

    async def send(self, data: memoryview, seconds: float | None) -> int:
        """Send bytes, suspending the task while too many wait to be sent. Return the number of bytes accepted."""
        assert self._transport is not None  # noqa: S101 - `opened` returns only after the connection is made
        self._check_error()
        piece = bytes(data[:_MOST_WAITING])
        self._transport.write(piece)
        while self._is_full:
            await self._wait(seconds)
            self._check_error()
        return len(piece)

    async def receive(self, most: int, seconds: float | None) -> bytes:
        """Suspend the task until bytes arrive. Return them."""
        while not self._received:
            self._check_error()
            if self._has_ended:
                return b""
            await self._wait(seconds)
        with memoryview(self._received) as received:
            piece = bytes(received[:most])
        del self._received[:most]
        if self._transport is not None and not self._has_ended:
            self._transport.resume_reading()
        return piece

    def is_stale(self) -> bool:
        """Return True if the peer has closed the idle socket, or has sent bytes without a request."""
        return self._has_ended or bool(self._received)

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended and closed its sockets
                self._loop.call_soon_threadsafe(self._transport.abort)

    def _check_error(self) -> None:
        if self._error is not None:
            raise self._error

    async def _wait(self, seconds: float | None) -> None:
        self._changed.clear()
        async with asyncio.timeout(seconds):
            await self._changed.wait()

    # The methods below are called by the event loop (`asyncio.Protocol`).

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, which is asyncio's side of the connection."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - stream sockets have such a transport
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Store received bytes. Stop reading if the task is too slow."""
        self._received += data
        if len(self._received) > _MOST_WAITING and self._transport is not None:
            self._transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> None:
        """Record that the peer sends no more bytes."""
        self._has_ended = True
        self._changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Record that the connection has ended, with its error if there was one."""
        self._has_ended = True
        self._is_full = False
        self._error = error
        self._changed.set()

    def pause_writing(self) -> None:
        """Record that too many bytes wait to be sent."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Record that only few bytes wait to be sent."""
        self._is_full = False
        self._changed.set()


async def connect(
    kind: type[Socket],
    addresses: list[Address],
    until: float | None,
    *,
    context: ssl.SSLContext | None,
    server_name: str,
) -> Socket:
    """Connect to the first of several addresses that accepts a connection.

    Args:
        kind: class of the socket.
        addresses: addresses of one host, the preferred one first.
        until: time limit, by `time.monotonic()`; None for no limit.
        context: TLS context; None for no TLS.
        server_name: the name that the certificate must have.

    Raises:
        TimeoutError: no address accepted a connection in time.
        OSError: no address can be reached. The error is that of the last address; `ssl.SSLError` for a failed
            handshake.
    """
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the host has no address")
    for tried, (family, address) in enumerate(addresses):
        left = None if until is None else until - time.monotonic()
        if left is not None:
            if left <= 0:
                raise TimeoutError("the host could not be reached in time") from failure
            # An unreachable address must not use up the time for the addresses after it.
            others = len(addresses) - tried - 1
            left = min(left, max(left / (others + 1), _LEAST_CONNECT_SECONDS))
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            await kind.connect(sock, address, left)
            # Nagle's algorithm would hold a body back until the headers are acknowledged.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not isinstance(error, OSError):
                raise
            failure = error
            if error.errno in (errno.EMFILE, errno.ENFILE):
                break
            continue
        try:
            # A timeout of 0 would make the socket non-blocking, so that a TLS handshake fails with another error.
            seconds = None if until is None else max(0.001, until - time.monotonic())
            return await kind.opened(sock, context, server_name, seconds)
        except BaseException:
            with contextlib.suppress(OSError):  # the error of the handshake is more important
                sock.close()
            raise
    raise failure
