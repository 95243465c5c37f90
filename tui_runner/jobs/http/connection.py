"""One connection to a server, and the HTTP/1.1 that is spoken on it.

The standard library's `http.client` is what one would use; two things in it cannot be had otherwise. Its parser of
headers ends at the first line without a colon and takes the rest of them for the body, and it takes half the time of a
request. And its timeouts are those of a single `recv`: a server that sends a byte now and then holds a thread for ever.
So this reads answers itself (RFC 9112), strict where lengths are concerned, and lenient as browsers are where it is
about headers: a line that is none is passed over. Every `recv` and `send` ends at the deadline of the exchange.

A connection belongs to one thread at a time; nothing here takes a lock.
"""

from __future__ import annotations

import contextlib
import errno
import re
import select
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead

from tui_runner.jobs.http.names import Address
from tui_runner.system.clock import time

MOST_HEADER_BYTES = 256 * 1024
"""Bytes of the head of an answer. Browsers take as many; what is longer is no page."""
_MOST_LINE = 4096
"""Bytes of a line that gives the size of a chunk, with its extensions."""
_MOST_INTERIM = 20
"""Interim answers (1xx) before the final one."""
_READ = 64 * 1024
_LEAST_CONNECT_SECONDS = 1.0
"""Seconds that each of several addresses is given at least, even where that is more than its share."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01])[ \t]+(\d{3})(?:[ \t]+([^\r\n]*))?")
_FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

Header = tuple[bytes, bytes]


class SilentError(TimeoutError):
    """A server said nothing, or took nothing, for as long as it may."""


class DeadlineError(TimeoutError):
    """The deadline of the exchange passed."""


class ProtocolError(HTTPException):
    """What a server sent is not HTTP/1.1, or longer than it may be."""


class NoAnswerError(HTTPException):
    """A server closed the connection before it sent anything."""


@dataclass(slots=True)
class Head:
    """What comes before the body of an answer.

    Attributes:
        status: 100 to 999.
        reason: text behind it, empty without one.
        version: `HTTP/1.0` or `HTTP/1.1`.
        headers: names and values as sent, in order.
    """

    status: int
    reason: bytes
    version: bytes
    headers: list[Header]

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a header, by its name in lower case."""
        return [value for key, value in self.headers if key.lower() == name]


class Connection:
    """A connection that is open.

    Args:
        sock: connected, with TLS where there is any; this closes it.

    Attributes:
        until: deadline of the exchange, by `time.monotonic()`; None for none.
        silence: seconds that the server may stay silent, None for any time.
        idle_since: when its last exchange ended.
        is_used: whether there has been one.
    """

    __slots__ = ("_buffer", "_poll", "_sock", "idle_since", "is_used", "silence", "until")

    def __init__(self, sock: socket.socket) -> None:
        _open.add(self)
        self._sock = sock
        self._buffer = b""
        self._poll: select.poll | None = None
        self.until: float | None = None
        self.silence: float | None = None
        self.idle_since = 0.0
        self.is_used = False

    def close(self) -> None:
        """Close the socket; what is being read ends with an error."""
        _open.discard(self)
        self._sock.close()

    def is_stale(self) -> bool:
        """Return True if the server has closed an idle connection, or sent on it what nobody asked for."""
        if self._buffer:
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._sock.fileno(), select.POLLIN)
        return bool(self._poll.poll(0))

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            TimeoutError: the server did not take them in time (`SilentError`, `DeadlineError`).
            OSError: the connection is gone.
        """
        # `sendall` has one timeout for all pieces: of a large body each may take its time.
        view = memoryview(data)
        while view:
            self._set_timeout()
            try:
                view = view[self._sock.send(view) :]
            except TimeoutError as error:
                raise self._timed_out("the server did not take the request") from error

    def receive_head(self) -> Head:
        """Read an answer up to its body. Interim answers are passed over.

        Raises:
            TimeoutError: it did not come in time.
            http.client.HTTPException: it is no HTTP, or too long; `NoAnswerError` if not a byte of it came.
            OSError: the connection is gone.
        """
        for _ in range(_MOST_INTERIM):
            head = self._receive_one_head()
            if head.status >= 200 or head.status == 101:
                return head
        raise ProtocolError(f"more than {_MOST_INTERIM} interim answers")

    def body(self, head: Head, method: str) -> Iterator[bytes]:
        """Yield the body that follows a head, as it is sent, in pieces.

        Raises:
            TimeoutError: it did not come in time.
            http.client.IncompleteRead: the connection ended before the body did.
            http.client.HTTPException: its lengths contradict themselves.
        """
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            return iter(())
        encoding = b",".join(head.values(b"transfer-encoding")).strip().lower()
        if encoding and encoding != b"identity":
            if encoding.rpartition(b",")[2].strip() != b"chunked" or encoding.count(b"chunked") > 1:
                raise ProtocolError(f"transfer encoding {encoding[:40]!r}")
            return self._chunks()
        length = _length(head)
        return self._until_closed() if length is None else self._of_length(length)

    def keeps_alive(self, head: Head, method: str) -> bool:
        """Return True if another exchange may follow on this connection once the body is read."""
        options = b",".join(head.values(b"connection")).lower()
        if head.version == b"HTTP/1.0" and b"keep-alive" not in options:
            return False
        if b"close" in options or head.status == 101:
            return False
        if method == "HEAD" or head.status in (204, 304):
            return True
        return bool(head.values(b"transfer-encoding") or head.values(b"content-length"))

    # -------------------------------------------------------------------------------------------------------

    def _receive_one_head(self) -> Head:
        data = bytearray(self._buffer)
        searched = 0
        while True:
            # Blank lines before the status line are left over from a body that was longer than it said.
            while data[:1] == b"\r" or data[:1] == b"\n":
                del data[:1]
            end = _end_of_head(data, searched)
            if end is not None and end[1] <= MOST_HEADER_BYTES:
                break
            if end is not None or len(data) > MOST_HEADER_BYTES:
                raise ProtocolError(f"headers of more than {MOST_HEADER_BYTES // 1024} KiB")
            if not b"HTTP/".startswith(data[:5]):
                raise ProtocolError(f"an answer that is not HTTP: {bytes(data[:40])!r}")
            searched = max(0, len(data) - 3)
            more = self._receive()
            if not more:
                raise (
                    IncompleteRead(b"") if data else NoAnswerError("the server closed the connection without an answer")
                )
            data += more
        self._buffer = bytes(data[end[1] :])
        return _parsed(bytes(data[: end[0]]))

    def _of_length(self, length: int) -> Iterator[bytes]:
        left = length
        while left:
            piece = self._buffer or self._receive(min(left, _READ * 4))
            self._buffer = b""
            if not piece:
                raise IncompleteRead(b"", left)
            if len(piece) > left:
                piece, self._buffer = piece[:left], piece[left:]
            left -= len(piece)
            yield piece

    def _until_closed(self) -> Iterator[bytes]:
        piece, self._buffer = self._buffer, b""
        while True:
            if piece:
                yield piece
            piece = self._receive()
            if not piece:
                return

    def _chunks(self) -> Iterator[bytes]:
        while True:
            text = self._line().partition(b";")[0].strip()
            # `int` would take "+5", "0x5" and "5_0" as well.
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", text):
                raise ProtocolError(f"size of a chunk {text[:20]!r}")
            size = int(text, 16)
            if not size:
                break
            yield from self._of_length(size)
            if self._line():
                raise ProtocolError("a chunk is longer than it says")
        trailer = 0
        while line := self._line():
            trailer += len(line)
            if trailer > MOST_HEADER_BYTES:
                raise ProtocolError(f"a trailer of more than {MOST_HEADER_BYTES // 1024} KiB")

    def _line(self) -> bytes:
        data = self._buffer
        while (end := data.find(b"\n")) < 0:
            if len(data) > _MOST_LINE:
                raise ProtocolError("a line that does not end")
            more = self._receive()
            if not more:
                raise IncompleteRead(b"")
            data += more
        self._buffer = data[end + 1 :]
        return data[:end].rstrip(b"\r")

    def _receive(self, most: int = _READ) -> bytes:
        self._set_timeout()
        try:
            return self._sock.recv(most)
        except TimeoutError as error:
            raise self._timed_out("the server did not answer") from error
        except ssl.SSLEOFError:  # it left without a closing alert, as many do; lengths say whether all came
            return b""

    def _set_timeout(self) -> None:
        wanted = self.silence
        if self.until is not None:
            left = self.until - time.monotonic()
            if left <= 0:
                raise DeadlineError("the deadline passed")
            wanted = left if wanted is None else min(left, wanted)
        # A call of the system without the interpreter's lock, which many threads wait for: one each request less.
        if wanted != self._sock.gettimeout():
            self._sock.settimeout(wanted)

    def _timed_out(self, what: str) -> TimeoutError:
        if self.until is not None and time.monotonic() >= self.until:
            return DeadlineError(f"{what} before the deadline")
        return SilentError(f"{what} for {self.silence:g} s")


_open: set[Connection] = set()
"""All that are open. Kept here so that a response that is collected as garbage closes its connection, and the socket is
not collected first."""


def connect(
    addresses: list[Address],
    until: float | None,
    *,
    context: ssl.SSLContext | None,
    server_name: str,
    source: tuple[str, int] | None = None,
) -> socket.socket:
    """Connect to the first of several addresses that answers.

    Args:
        addresses: of one host, in the order in which to try them.
        until: when to give up, by `time.monotonic()`.
        context: of TLS, None for none.
        server_name: what the certificate is to name.
        source: local address to connect from.

    Raises:
        TimeoutError: none has answered in time.
        OSError: none can be reached, as the last one says; `ssl.SSLError` for a handshake that failed.
    """
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the host has no address")
    for tried, (family, address) in enumerate(addresses):
        left = None if until is None else until - time.monotonic()
        if left is not None:
            if left <= 0:
                raise TimeoutError("the host could not be reached in time") from failure
            # An address that is not reachable must not use up the time of those behind it.
            others = len(addresses) - tried - 1
            left = min(left, max(left / (others + 1), _LEAST_CONNECT_SECONDS))
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.settimeout(left)
            if source is not None:
                sock.bind(source)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            if sock is not None:
                sock.close()
            failure = error
            if error.errno in (errno.EMFILE, errno.ENFILE):
                break
            continue
        if context is None:
            return sock
        try:
            if until is not None:
                sock.settimeout(max(0.001, until - time.monotonic()))
            return context.wrap_socket(sock, server_hostname=server_name)
        except BaseException:
            with contextlib.suppress(OSError):
                sock.close()
            raise
    raise failure


def _end_of_head(data: bytearray, start: int) -> tuple[int, int] | None:
    """Return where a head ends and where what follows it begins; lines may end without a carriage return."""
    end = data.find(b"\r\n\r\n", start)
    bare = data.find(b"\n\n", start, end if end >= 0 else len(data))
    if bare >= 0:
        return bare, bare + 2
    return None if end < 0 else (end, end + 4)


def _parsed(data: bytes) -> Head:
    """Return the head that bytes are. Lines that are no headers are passed over, as browsers and curl do."""
    first, *lines = data.split(b"\n")
    found = _STATUS_LINE.fullmatch(first.rstrip(b"\r \t"))
    if found is None or not 100 <= int(found[2]) <= 999:
        raise ProtocolError(f"an answer that is not HTTP: {first[:40]!r}")
    headers: list[Header] = []
    for line in lines:
        line = line.rstrip(b"\r")
        if line[:1] in (b" ", b"\t"):  # continues the one before (RFC 9112, 5.2)
            if headers:
                name, value = headers[-1]
                headers[-1] = name, (value + b" " + line.strip(b" \t")).strip()
            continue
        name, colon, value = line.partition(b":")
        if colon and _FIELD_NAME.fullmatch(name):
            headers.append((name, value.strip(b" \t\0")))
    return Head(int(found[2]), found[3] or b"", b"HTTP/1." + found[1], headers)


def _length(head: Head) -> int | None:
    """Return the length that a head gives its body; None if it gives none.

    Raises:
        ProtocolError: it is no number, or there are several that differ, which no length can be trusted of (RFC 9112,
            6.3).
    """
    values = {each.strip() for value in head.values(b"content-length") for each in value.split(b",")}
    if not values:
        return None
    text = values.pop()
    if values or not re.fullmatch(rb"\d{1,19}", text):
        raise ProtocolError(f"content length {text[:20]!r}")
    return int(text)
