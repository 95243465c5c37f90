"""Compressed bodies that are decoded to their end, or not at all.

httpx gives what could be decoded of a gzip body that breaks off, as if that were all, and of one of several members
(RFC 1952, 2.2) the first alone. A decoder that is set beforehand takes the place of its own.
"""

from __future__ import annotations

import zlib
from typing import Any

import httpx

_GZIP = zlib.MAX_WBITS | 16
_GZIP_MAGIC = b"\x1f\x8b"


def check_end(response: httpx.Response) -> None:
    """Have the body of a response raise when it breaks off.

    It raises `httpx.RemoteProtocolError`, like a body that is shorter than it was said to be: another attempt may get
    all of it. `br` and `zstd`, which httpx decodes with other libraries, stay with these.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate") and not hasattr(response, "_decoder"):
        window = zlib.MAX_WBITS if encoding == "deflate" else _GZIP
        response._decoder = _WholeDecoder(response, window)  # type: ignore[assignment]  # its base class is not public


class _WholeDecoder:
    """Decodes gzip, also of several members, or deflate; what httpx calls a content decoder.

    Args:
        response: whose body it decodes.
        window: `wbits` of zlib.
    """

    def __init__(self, response: httpx.Response, window: int) -> None:
        self._response = response
        self._window = window
        self._decoder: Any = None
        self._head = b""

    def decode(self, data: bytes) -> bytes:
        """Return what the next bytes of the body stand for."""
        if self._decoder is None:
            self._head += data
            if len(self._head) < 2:
                return b""
            if self._window == zlib.MAX_WBITS and not _is_wrapped(self._head):
                # Some servers take "deflate" for what stands within zlib's wrapping (RFC 9110, 8.4.1.2).
                self._window = -zlib.MAX_WBITS
            self._decoder = zlib.decompressobj(self._window)
            data = self._head
        try:
            return self._decoded(data)
        except zlib.error as error:
            raise httpx.DecodingError(str(error), request=self._response.request) from error

    def flush(self) -> bytes:
        """Return nothing more; raise if the body broke off."""
        if self._head and not (self._decoder and self._decoder.eof):
            raise httpx.RemoteProtocolError(
                "the compressed body breaks off: the connection or the server ended it", request=self._response.request
            )
        return b""

    def _decoded(self, data: bytes) -> bytes:
        parts = []
        while data:
            if self._decoder.eof:
                # Behind the end there may be another member; anything else is padding, as browsers have it.
                if self._window != _GZIP or not data.startswith(_GZIP_MAGIC[: len(data)]):
                    break
                self._decoder = zlib.decompressobj(self._window)
            parts.append(self._decoder.decompress(data))
            data = self._decoder.unused_data
        return b"".join(parts)


def _is_wrapped(head: bytes) -> bool:
    """Return True if bytes begin as zlib's format does (RFC 1950, 2.2)."""
    return head[0] & 15 == 8 and (head[0] << 8 | head[1]) % 31 == 0
