"""Decodes bodies in pieces of limited size. A body that cannot be decoded to its end is an error.

A kilobyte of gzip may decode to a megabyte, a kilobyte of Brotli to a gigabyte. The result of a decoder that returns
all decoded bytes at once could not be limited. httpx's decoders are not used: they return a truncated gzip body as if
it were complete, and only the first member of a body with several (RFC 1952, 2.2).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

PIECE = 256 * 1024
"""Bytes that the decoders of gzip, deflate and Brotli return at once at most, so that a small body that decodes to
gigabytes is refused before it fills the memory. zstd has another limit (`_ZSTD_INPUT`)."""
_MOST_ENCODINGS = 5
"""Content encodings that may be applied to one body, one after another: as many as curl decodes."""
_ZSTD_INPUT = 64
"""Bytes of input that the zstd decoder gets at once, because it returns all of their content. That is up to 2 MB: a
block of 128 kB (RFC 8878, 3.1.1.2.4) takes at least 4 bytes of input."""
_ZSTD_WINDOW = 8 << 20
"""Bytes of memory that a zstd frame may require. RFC 8878, 3.1.1.1.2 recommends that decoders support this much."""
_GZIP_MAGIC = b"\x1f\x8b"
_NO_ENCODING = frozenset({"", "identity", "none", "utf-8"})
"""Values of `Content-Encoding` for a body that is not encoded. The last two are common mistakes of servers."""


class BodyError(Exception):
    """Raised if a body is damaged, or its encoding cannot be decoded here. The message says why."""


class BrokenOffError(BodyError):
    """Raised if a body is cut off. Another attempt may get the whole body."""


class _Decoder(Protocol):
    def decode(self, data: bytes) -> Iterator[bytes]: ...

    @property
    def is_complete(self) -> bool: ...


class Content:
    """A decoder for the body of one response.

    Args:
        encodings: values of its `Content-Encoding`, in the order in which they were applied.

    Raises:
        BodyError: at least one of the encodings cannot be decoded here, or there are too many.
    """

    def __init__(self, encodings: Sequence[str]) -> None:
        names = [name for each in encodings if (name := each.strip().lower()) not in _NO_ENCODING]
        if len(names) > _MOST_ENCODINGS:
            raise BodyError(f"the body is encoded {len(names)} times over")
        self._decoders = [_decoder(name) for name in reversed(names)]

    @property
    def is_plain(self) -> bool:
        """True if the body is not encoded."""
        return not self._decoders

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded content of the next bytes of the body, in pieces."""
        return _through(self._decoders, data)

    def check_end(self) -> None:
        """Raise `BrokenOffError` if the bytes decoded so far are not a complete body."""
        if not all(decoder.is_complete for decoder in self._decoders):
            raise BrokenOffError("the compressed body breaks off: the connection or the server ended it")


def accepted() -> str:
    """Return a value for `Accept-Encoding` with the encodings that can be decoded here."""
    return ", ".join(["gzip", "deflate", *(name for name, (module, _) in _EXTRAS.items() if find_spec(module))])


def _through(decoders: Sequence[_Decoder], data: bytes) -> Iterator[bytes]:
    if not decoders:
        yield data
        return
    for piece in decoders[0].decode(data):
        yield from _through(decoders[1:], piece)


def _decoder(name: str) -> _Decoder:
    if name in ("gzip", "x-gzip"):
        return _Zlib(is_gzip=True)
    if name == "deflate":
        return _Zlib(is_gzip=False)
    if name not in _EXTRAS:
        raise BodyError(f"the body is encoded as {name[:40]!r}, which cannot be decoded")
    module, make = _EXTRAS[name]
    try:
        return make()
    except ImportError:
        raise BodyError(
            f"the body is encoded as {name!r}, which cannot be decoded without {module}: pip install tui-runner[http]"
        ) from None


class _Zlib:
    """A decoder of gzip, with any number of members, or of deflate."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._decoder: Any = None
        self._head = b""

    @property
    def is_complete(self) -> bool:
        return not self._head or (self._decoder is not None and self._decoder.eof)

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._decoder is None:
            self._head += data
            if len(self._head) < 2:
                return
            self._decoder = zlib.decompressobj(self._window())
            data = self._head
        try:
            while data:
                if self._decoder.eof:
                    # Another member may follow. Ignore any other bytes as padding, like browsers do.
                    if not self._is_gzip or not data.startswith(_GZIP_MAGIC[: len(data)]):
                        return
                    self._decoder = zlib.decompressobj(self._window())
                piece = self._decoder.decompress(data, PIECE)
                if piece:
                    yield piece
                data = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
                # After the last input, zlib may still have output in its window.
                while not data and not self._decoder.eof and len(piece) == PIECE:
                    piece = self._decoder.decompress(b"", PIECE)
                    if piece:
                        yield piece
                    data = self._decoder.unused_data if self._decoder.eof else b""
        except zlib.error as error:
            raise BodyError(f"the body is not what its encoding says ({error})") from error

    def _window(self) -> int:
        if self._is_gzip:
            return zlib.MAX_WBITS | 16
        # Some servers send "deflate" without the zlib header (RFC 9110, 8.4.1.2).
        return zlib.MAX_WBITS if _is_wrapped(self._head) else -zlib.MAX_WBITS


class _Brotli:
    """A decoder of Brotli (RFC 7932)."""

    def __init__(self) -> None:
        import brotli

        self._error = brotli.error
        self._decoder = brotli.Decompressor()
        self._began = False

    @property
    def is_complete(self) -> bool:
        return not self._began or self._decoder.is_finished()

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._began = True
        try:
            # Output beyond `PIECE` bytes is requested by calls without further input. The decoder's own flags cannot be
            # used. It reports that it accepts input although output remains, and that it has finished although it has
            # not yet returned everything.
            while piece := self._decoder.process(data, output_buffer_limit=PIECE):
                yield piece
                if len(piece) < PIECE:
                    return
                data = b""
        except self._error as error:
            raise BodyError(f"the body is not what its encoding says ({error})") from error


class _Zstd:
    """A decoder of zstd (RFC 8878), with any number of frames."""

    def __init__(self) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._frame: Any = None

    @property
    def is_complete(self) -> bool:
        return self._frame is None

    def decode(self, data: bytes) -> Iterator[bytes]:
        try:
            for start in range(0, len(data), _ZSTD_INPUT):
                rest = data[start : start + _ZSTD_INPUT]
                while rest:
                    if self._frame is None:
                        self._frame = self._decompressor.decompressobj()
                    if piece := self._frame.decompress(rest):
                        yield piece
                    rest = b""
                    if self._frame.eof:
                        rest, self._frame = self._frame.unused_data, None
        except self._error as error:
            raise BodyError(f"the body is not what its encoding says ({error})") from error


_EXTRAS: dict[str, tuple[str, Callable[[], _Decoder]]] = {"br": ("brotli", _Brotli), "zstd": ("zstandard", _Zstd)}
"""Encodings of the optional dependencies `http`: for each, its module and a function that creates a decoder."""


def _is_wrapped(head: bytes) -> bool:
    """Return True if bytes begin like the zlib format (RFC 1950, 2.2)."""
    return head[0] & 15 == 8 and (head[0] << 8 | head[1]) % 31 == 0
