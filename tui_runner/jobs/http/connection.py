"""One connection to a server, and HTTP/1.1 on it.

The standard library's `http.client` is not used for two reasons. Its parser of headers stops at the first line without
a colon and takes the remaining headers for the body; it also takes half the time of a request. And its timeouts apply
to a single `recv`, so a server that sends a byte now and then would occupy a thread forever. So this module parses
responses itself (RFC 9112). It is strict about lengths, and as lenient as browsers about headers: a line that is not a
header is skipped. Every read and write ends at the deadline of the exchange.

A connection is used by one thread or task at a time, so it has no lock.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead

from tui_runner.jobs.http.sockets import Socket
from tui_runner.system.clock import time

MOST_HEADER_BYTES = 256 * 1024
"""Largest head of a response in bytes. Browsers have the same limit; no real page has a longer head."""
_MOST_LINE = 4096
"""Longest line in bytes that gives the size of a chunk, with its extensions. Real lines have ten bytes. A line without
an end must not fill the memory."""
_MOST_INTERIM = 20
"""Most interim responses (status 1xx) before the final response. Servers send one or two. A server that sends only
such responses must not occupy a thread forever."""
READ_BYTES = 64 * 1024
"""Bytes read at once, or four times as many of a body whose length is known. If it were larger, each thread would hold
memory that most pages do not need."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01])[ \t]+(\d{3})(?:[ \t]+([^\r\n]*))?")
_FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

Header = tuple[bytes, bytes]


class SilentError(TimeoutError):
    """Raised if a server sent nothing, or accepted nothing, for longer than allowed."""


class DeadlineError(TimeoutError):
    """Raised if the deadline of the exchange has passed."""


class ProtocolError(HTTPException):
    """Raised if the server's bytes are not HTTP/1.1, or exceed a limit."""


class NoAnswerError(HTTPException):
    """Raised if a server closed the connection before it sent anything."""


@dataclass(slots=True)
class Head:
    """The part of a response before its body.

    Attributes:
        status: 100 to 999.
        reason: text after the status; empty if there is none.
        version: `HTTP/1.0` or `HTTP/1.1`.
        headers: names and values as sent, in order.
    """

    status: int
    reason: bytes
    version: bytes
    headers: list[Header]

    def values(self, name: bytes) -> list[bytes]:
        """Return all values of the header with the lower-case name `name`."""
        return [value for key, value in self.headers if key.lower() == name]


class Connection:
    """An open connection to a server.

    Args:
        sock: connected socket, with TLS if it is used; closed by this object.

    Attributes:
        until: deadline of the current exchange, by `time.monotonic()`; None for no deadline.
        silence: seconds for which the server may send nothing or accept nothing; None for no limit.
        idle_since: time at which the last exchange ended, by `time.monotonic()`; 0 while the connection is in use.
        is_used: True if there was an exchange on this connection.
    """

    __slots__ = ("_sock", "buffer", "idle_since", "is_used", "silence", "until")

    def __init__(self, sock: Socket) -> None:
        _open.add(self)
        self._sock = sock
        self.buffer = b""
        self.until: float | None = None
        self.silence: float | None = None
        self.idle_since = 0.0
        self.is_used = False

    def close(self) -> None:
        """Close the socket. A read in another thread ends with an error."""
        _open.discard(self)
        self._sock.close()

    def is_stale(self) -> bool:
        """Return True if the server has closed the idle connection, or sent bytes without a request."""
        return bool(self.buffer) or self._sock.is_stale()

    async def send(self, data: bytes) -> None:
        """Send all bytes of `data`.

        Raises:
            TimeoutError: the server did not accept them in time (`SilentError`, `DeadlineError`).
            OSError: the server has closed the connection.
        """
        # `sendall` is not used, because its timeout is for all data. Here it is for each part that the server accepts.
        view = memoryview(data)
        while view:
            seconds = self._seconds()
            try:
                view = view[await self._sock.send(view, seconds) :]
            except TimeoutError as error:
                raise self._timed_out("the server did not take the request") from error

    async def receive_head(self) -> Head:
        """Read a response up to its body. Skip interim responses.

        Raises:
            TimeoutError: the response did not arrive in time.
            http.client.HTTPException: the response is not HTTP, its head is too long, or the server closed the
                connection within it; a `NoAnswerError` if the server closed the connection before it sent a byte.
            OSError: the connection was broken.
        """
        for _ in range(_MOST_INTERIM):
            head = await self._receive_one_head()
            if head.status >= 200 or head.status == 101:
                return head
        raise ProtocolError(f"more than {_MOST_INTERIM} interim responses")

    def keeps_alive(self, head: Head, method: str) -> bool:
        """Return True if the connection can be used for another exchange after the body is read."""
        options = b",".join(head.values(b"connection")).lower()
        if head.version == b"HTTP/1.0" and b"keep-alive" not in options:
            return False
        if b"close" in options or head.status == 101:
            return False
        if method == "HEAD" or head.status in (204, 304):
            return True
        return bool(head.values(b"transfer-encoding") or head.values(b"content-length"))

    async def _receive_one_head(self) -> Head:
        data = bytearray(self.buffer)
        searched = 0
        while True:
            # Blank lines before the status line belong to the previous body, which was longer than its declared length.
            while data[:1] == b"\r" or data[:1] == b"\n":
                del data[:1]
            end = _end_of_head(data, searched)
            if end is not None and end[1] <= MOST_HEADER_BYTES:
                break
            if end is not None or len(data) > MOST_HEADER_BYTES:
                raise ProtocolError(f"headers of more than {MOST_HEADER_BYTES // 1024} KiB")
            if not b"HTTP/".startswith(data[:5]):
                raise ProtocolError(f"a response that is not HTTP: {bytes(data[:40])!r}")
            searched = max(0, len(data) - 3)
            more = await self.receive()
            if not more:
                raise (
                    IncompleteRead(b"")
                    if data
                    else NoAnswerError("the server closed the connection without a response")
                )
            data += more
        self.buffer = bytes(data[end[1] :])
        return _parsed(bytes(data[: end[0]]))

    async def line(self) -> bytes:
        """Read a line, and return it without its end.

        Raises:
            http.client.HTTPException: more than 4 kB arrived without a line end, or the connection ended.
            OSError: see `receive`.
        """
        data = self.buffer
        while (end := data.find(b"\n")) < 0:
            if len(data) > _MOST_LINE:
                raise ProtocolError("a line that does not end")
            more = await self.receive()
            if not more:
                raise IncompleteRead(b"")
            data += more
        self.buffer = data[end + 1 :]
        return data[:end].rstrip(b"\r")

    async def receive(self, most: int = READ_BYTES) -> bytes:
        """Return the bytes from the socket that follow the bytes in `buffer`; no bytes at the end.

        Raises:
            TimeoutError: no bytes arrived in time (`SilentError`, `DeadlineError`).
            OSError: the connection was broken.
        """
        seconds = self._seconds()
        try:
            return await self._sock.receive(most, seconds)
        except TimeoutError as error:
            raise self._timed_out("the server did not answer") from error
        # many servers close without a TLS alert; whether the body is complete is checked by its length
        except ssl.SSLEOFError:
            return b""

    def _seconds(self) -> float | None:
        if self.until is None:
            return self.silence
        left = self.until - time.monotonic()
        if left <= 0:
            raise DeadlineError("the deadline passed")
        return left if self.silence is None else min(left, self.silence)

    def _timed_out(self, what: str) -> TimeoutError:
        if self.until is not None and time.monotonic() >= self.until:
            return DeadlineError(f"{what} before the deadline")
        return SilentError(f"{what} for {self.silence:g} s")


_open: set[Connection] = set()
"""All open connections. These references keep each socket alive until its connection is closed. Otherwise a garbage
collection could destroy the socket before the response that must close it."""


class Body:
    """The body after a head, not decoded.

    Args:
        connection: the connection on which it arrives.
        head: the head before it.
        method: method of the request.

    Attributes:
        is_complete: True if the whole body was read.

    Raises:
        http.client.HTTPException: the head has contradictory lengths.
    """

    __slots__ = ("_connection", "_has_chunks", "_in_chunk", "_left", "is_complete")

    def __init__(self, connection: Connection, head: Head, method: str) -> None:
        self._connection = connection
        self._has_chunks = self._in_chunk = False
        self._left: int | None = 0
        if not (method == "HEAD" or head.status in (204, 304) or head.status < 200):
            encoding = b",".join(head.values(b"transfer-encoding")).strip().lower()
            if encoding and encoding != b"identity":
                if encoding.rpartition(b",")[2].strip() != b"chunked" or encoding.count(b"chunked") > 1:
                    raise ProtocolError(f"transfer encoding {encoding[:40]!r}")
                self._has_chunks = True
            else:
                self._left = _length(head)
        self.is_complete = self._left == 0 and not self._has_chunks

    async def read(self) -> bytes:
        """Return the next bytes of the body; no bytes at its end.

        Raises:
            TimeoutError: the bytes did not arrive in time.
            http.client.IncompleteRead: the connection ended before the body did.
            http.client.HTTPException: the sizes in the body are not valid.
        """
        if self._has_chunks and not self._left and not self.is_complete:
            await self._begin_chunk()
        if self.is_complete:
            return b""
        connection, left = self._connection, self._left
        most = READ_BYTES if left is None else min(left, READ_BYTES * 4)
        piece = connection.buffer or await connection.receive(most)
        connection.buffer = b""
        if left is None:
            self.is_complete = not piece
            return piece
        if not piece:
            raise IncompleteRead(b"", left)
        if len(piece) > left:
            piece, connection.buffer = piece[:left], piece[left:]
        self._left = left - len(piece)
        self.is_complete = not self._left and not self._has_chunks
        return piece

    async def _begin_chunk(self) -> None:
        if self._in_chunk and await self._connection.line():
            raise ProtocolError("a chunk is longer than it says")
        text = (await self._connection.line()).partition(b";")[0].strip()
        # `int` would also accept "+5", "0x5" and "5_0".
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", text):
            raise ProtocolError(f"the size of a chunk, {text[:20]!r}, is not a number")
        self._left, self._in_chunk = int(text, 16), True
        if self._left:
            return
        trailer = 0
        while line := await self._connection.line():
            trailer += len(line)
            if trailer > MOST_HEADER_BYTES:
                raise ProtocolError(f"a trailer of more than {MOST_HEADER_BYTES // 1024} KiB")
        self.is_complete = True


def _end_of_head(data: bytearray, start: int) -> tuple[int, int] | None:
    """Return the offsets at which the head ends and the body begins; None if the head is incomplete.

    Line ends without a carriage return are accepted.
    """
    end = data.find(b"\r\n\r\n", start)
    bare = data.find(b"\n\n", start, end if end >= 0 else len(data))
    if bare >= 0:
        return bare, bare + 2
    return None if end < 0 else (end, end + 4)


def _parsed(data: bytes) -> Head:
    """Parse a head. Skip lines that are not headers, as browsers and curl do."""
    first, *lines = data.split(b"\n")
    found = _STATUS_LINE.fullmatch(first.rstrip(b"\r \t"))
    if found is None or not 100 <= int(found[2]) <= 999:
        raise ProtocolError(f"a response that is not HTTP: {first[:40]!r}")
    headers: list[Header] = []
    for line in lines:
        line = line.rstrip(b"\r")
        if line[:1] in (b" ", b"\t"):  # the line continues the previous one (RFC 9112, 5.2)
            if headers:
                name, value = headers[-1]
                headers[-1] = name, (value + b" " + line.strip(b" \t")).strip()
            continue
        name, colon, value = line.partition(b":")
        if colon and _FIELD_NAME.fullmatch(name):
            headers.append((name, value.strip(b" \t\0")))
    return Head(int(found[2]), found[3] or b"", b"HTTP/1." + found[1], headers)


def _length(head: Head) -> int | None:
    """Return the length of the body that a head declares; None if it declares none.

    Raises:
        ProtocolError: the length is not a number, or the head has several different lengths (RFC 9112, 6.3).
    """
    values = {each.strip() for value in head.values(b"content-length") for each in value.split(b",")}
    if not values:
        return None
    text = values.pop()
    if values or not re.fullmatch(rb"\d{1,19}", text):
        raise ProtocolError(f"the content length {text[:20]!r} is not one number")
    return int(text)
