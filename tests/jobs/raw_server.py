"""A server that sends exactly the given bytes."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

Answer = bytes | Callable[[socket.socket], None]
"""Bytes that are sent for a request, or a function that sends them."""


class RawServer:
    """Answers on loopback, by path.

    Args:
        answers: what to send for each path; a list is for one request after the other.
        keep: whether connections stay open.
    """

    def __init__(self, answers: dict[str, Answer | list[Answer]], *, keep: bool = False) -> None:
        self._answers = answers
        self._keep = keep
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[bytes] = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed at the end of the test
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:  # a client that goes away is what some tests are about
            for request in _requests(connection):
                self.requests.append(request)
                answer = self._answers[request.split()[1].decode()]
                if isinstance(answer, list):
                    answer = answer.pop(0)
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)
                if not self._keep:
                    return


def _requests(connection: socket.socket) -> Iterator[bytes]:
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            more = connection.recv(65_536)
            if not more:
                return
            received += more
        head, _, received = received.partition(b"\r\n\r\n")
        body = b""
        if found := re.search(rb"content-length: (\d+)", head, re.IGNORECASE):
            while len(received) < int(found[1]):
                received += connection.recv(65_536)
            body, received = received[: int(found[1])], received[int(found[1]) :]
        elif b"transfer-encoding: chunked" in head.lower():
            while b"0\r\n\r\n" not in received:
                received += connection.recv(65_536)
            body, end, received = received.partition(b"0\r\n\r\n")
            body += end
        yield head + b"\r\n\r\n" + body


def answer(body: bytes = b"ok", *lines: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return an answer with a body and further header lines.

    Args:
        body: as it is sent.
        lines: header lines.
        status: number and reason.
        length: what it says the body's length is, the right one by default.
    """
    head = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def headers_without_end(connection: socket.socket) -> None:
    """Answer with header lines for as long as the client takes them."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: and more\r\n" * 1_000)


def body_without_end(connection: socket.socket) -> None:
    """Answer with a body for as long as the client takes it."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


_PART = gzip.compress(b"\0" * 10_000_000)


def bomb(connection: socket.socket) -> None:
    """Answer with 10 MB that decode to 10 GB."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
    for _ in range(1_000):
        connection.sendall(_PART)
