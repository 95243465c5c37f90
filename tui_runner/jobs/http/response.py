"""Responses of httpx whose bodies are limited in size, checked to be complete, and decoded as in a browser.

A response of httpx decodes the whole body, however large it becomes. These responses decode one piece at a time, and
`read` raises an error as soon as the body is larger than `max_bytes`, so that memory holds at most a piece more.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from tui_runner.jobs.http.charset import charset_of
from tui_runner.jobs.http.content import BodyError, BrokenOffError, Content
from tui_runner.text.numbers import size


class TooLargeError(httpx.RequestError):
    """Raised if a body is larger than `max_bytes`. Another attempt would end in the same way."""


class JobResponse(httpx.Response):
    """The `httpx.Response` that `tui_runner.jobs.http` returns.

    Attributes:
        max_bytes: bytes of the decoded body that `read` accepts; None for no limit.
        limits_pieces: True if the limit also applies to `iter_bytes` and the methods based on it.
        make_request: creates the request, for a response that was created without one.
        method: method of the request that `make_request` creates.
    """

    max_bytes: int | None = None
    limits_pieces = False
    make_request: Callable[[], httpx.Request] | None = None
    method: str | None = None

    @property
    def request(self) -> httpx.Request:
        """The request of this response."""
        if self._request is None and self.make_request is not None:
            self._request = self.make_request()
        return super().request

    @request.setter
    def request(self, value: httpx.Request) -> None:
        self._request = value

    def raise_for_status(self) -> httpx.Response:
        """Raise `httpx.HTTPStatusError` unless the status is a success; then return this response."""
        if 200 <= self.status_code < 300:
            return self
        self._request = self.request
        return super().raise_for_status()

    @property
    def encoding(self) -> str | None:
        """Encoding of the text: the one that was set, otherwise the one that a browser would use (`charset_of`)."""
        known: str | None = self.__dict__.get("_encoding")
        if known is None:
            content = self.__dict__.get("_content")
            known = charset_of(content or b"", self.headers.get("content-type", ""))
            if content is not None:
                self._encoding = known
        return known

    @encoding.setter
    def encoding(self, value: str) -> None:
        if hasattr(self, "_text"):
            raise ValueError("Setting encoding after `text` has been accessed is not allowed.")
        self._encoding = value

    @property
    def text(self) -> str:
        """The body as text. Bytes that are invalid in its encoding become U+FFFD."""
        if not hasattr(self, "_text"):
            self._text = decoded(self.content, self.encoding or "utf-8")
        return self._text

    def read(self) -> bytes:
        """Read the whole body and return it decoded.

        Raises:
            TooLargeError: the body is larger than `max_bytes`.
            httpx.HTTPError: the body is incomplete or cannot be decoded.
        """
        if not hasattr(self, "_content"):
            body = io.BytesIO()
            try:
                for piece in self._pieces(self.max_bytes):
                    body.write(piece)
            except BaseException:  # also the end of an item by its deadline: its connection must not stay open
                self.close()
                raise
            self._content = body.getvalue()
        return self._content

    def read_exchange(self, read: Callable[[], bytes]) -> bytes:
        """Read the whole body like `read`, but faster. Call it before any part of the body was read.

        Args:
            read: returns the next bytes of the body, not decoded; no bytes at its end.
        """
        parts: list[bytes] = []
        try:
            reading = _Reading(self, self.max_bytes)
            while raw := read():
                self._num_bytes_downloaded += len(raw)
                parts += reading.pieces(raw)
            reading.end()
        except BaseException:
            self.close()
            raise
        self._content = parts[0] if len(parts) == 1 else b"".join(parts)
        self.is_stream_consumed = self.is_closed = True
        return self._content

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """Yield the decoded body in pieces, each of `chunk_size` bytes if that is given."""
        if hasattr(self, "_content"):
            yield from super().iter_bytes(chunk_size)
            return
        cut = _Cutter(chunk_size)
        for piece in self._pieces(self.max_bytes if self.limits_pieces else None):
            yield from cut.pieces(piece)
        yield from cut.rest()

    async def aread(self) -> bytes:
        """Read the whole body and return it decoded; see `read`."""
        if not hasattr(self, "_content"):
            body = io.BytesIO()
            try:
                async for piece in self._apieces(self.max_bytes):
                    body.write(piece)
            except BaseException:
                await self.aclose()
                raise
            self._content = body.getvalue()
        return self._content

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """Yield the decoded body in pieces; see `iter_bytes`."""
        if hasattr(self, "_content"):
            async for piece in super().aiter_bytes(chunk_size):
                yield piece
            return
        cut = _Cutter(chunk_size)
        async for piece in self._apieces(self.max_bytes if self.limits_pieces else None):
            for part in cut.pieces(piece):
                yield part
        for part in cut.rest():
            yield part

    def _pieces(self, limit: int | None) -> Iterator[bytes]:
        reading = _Reading(self, limit)
        for raw in self.iter_raw():
            yield from reading.pieces(raw)
        reading.end()

    async def _apieces(self, limit: int | None) -> AsyncIterator[bytes]:
        reading = _Reading(self, limit)
        async for raw in self.aiter_raw():
            for piece in reading.pieces(raw):
                yield piece
        reading.end()

    def decoding(self, limit: int | None) -> Content:
        """Return a decoder for the body.

        Args:
            limit: largest size of the decoded body in bytes; None for no limit.

        Raises:
            httpx.DecodingError: one of the encodings in the headers cannot be decoded here, or there are too many.
            TooLargeError: the body is not encoded, and the headers declare more than `limit` bytes.
        """
        has_body = self.status_code not in (204, 304) and (self.method or self.request.method) != "HEAD"
        try:
            content = Content(self.headers.get_list("content-encoding", split_commas=True) if has_body else ())
        except BodyError as error:
            raise httpx.DecodingError(str(error), request=self.request) from None
        length = self.headers.get("content-length", "")
        if has_body and limit is not None and content.is_plain and length.isdecimal() and int(length[:20]) > limit:
            raise too_large(limit, self.request)
        return content


class _Reading:
    """A body that is being read: decoded, limited in size, and checked to be complete.

    Args:
        response: the response that has the body.
        limit: largest size of the decoded body in bytes; None for no limit.
    """

    def __init__(self, response: JobResponse, limit: int | None) -> None:
        self._response = response
        self._limit = limit
        self._content = response.decoding(limit)
        self._read = 0

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        """Yield the decoded content of received bytes."""
        try:
            for piece in self._content.decode(raw):
                self._read += len(piece)
                if self._limit is not None and self._read > self._limit:
                    raise too_large(self._limit, self._response.request)
                yield piece
        except BodyError as error:
            raise httpx.DecodingError(str(error), request=self._response.request) from error

    def end(self) -> None:
        """Raise an error if the body is not complete. Call it at the end of the body."""
        try:
            self._content.check_end()
        except BrokenOffError as error:
            raise httpx.RemoteProtocolError(str(error), request=self._response.request) from None


class _Cutter:
    """A buffer that divides a body into pieces of `size` bytes, or returns them as they come if `size` is None."""

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._rest = b""

    def pieces(self, piece: bytes) -> Iterator[bytes]:
        if self._size is None:
            yield piece
            return
        data = self._rest + piece
        whole = len(data) - len(data) % self._size
        for start in range(0, whole, self._size):
            yield data[start : start + self._size]
        self._rest = data[whole:]

    def rest(self) -> Iterator[bytes]:
        if self._rest:
            yield self._rest


def too_large(limit: int, request: httpx.Request) -> TooLargeError:
    """Return the error for a body of more than `limit` bytes."""
    return TooLargeError(f"the body is larger than {size(limit)}, which is its limit (max_bytes)", request=request)


def decoded(content: bytes, encoding: str) -> str:
    """Decode `content`. Bytes that are invalid in the encoding become U+FFFD."""
    try:
        return content.decode(encoding, "replace")
    except (LookupError, UnicodeError):  # for example an unknown encoding that a job has set
        return codecs.decode(content, "utf-8", "replace")


def as_job_response(response: httpx.Response, **attributes: Any) -> httpx.Response:
    """Make the response of another transport a `JobResponse`, and set attributes of it."""
    if type(response) is httpx.Response:
        response.__class__ = JobResponse
    for name, value in attributes.items():
        setattr(response, name, value)
    return response
