"""Decodes bodies in pieces of at most `PIECE` bytes. A body that cannot be decoded to its end is an error.

A kilobyte of gzip may decode to a megabyte, one of Brotli to a gigabyte. A decoder that returns all decoded bytes at
once cannot be limited. httpx is not used for this: it returns a truncated gzip body as if it were complete, and only
the first member of a body with several (RFC 1952, 2.2).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

PIECE = 256 * 1024
"""Bytes that a decoder returns at once at most, so that a small body that decodes to gigabytes is refused before it
fills memory."""
_MOST_ENCODINGS = 5
"""Encodings of one body, one within the other: as many as curl decodes."""
_ZSTD_INPUT = 64
"""Bytes of input that zstd is given at once. Its decoder returns all of their content, up to 2 MB: a block of 128 kB
(RFC 8878, 3.1.1.2.4) takes at least 4 bytes."""
_ZSTD_WINDOW = 8 << 20
"""Bytes of memory that a zstd frame may ask for: RFC 8878, 3.1.1.1.2 has decoders of HTTP support this much."""
_GZIP_MAGIC = b"\x1f\x8b"
_NO_ENCODING = frozenset({"", "identity", "none", "utf-8"})
"""Names that servers give to a body that is not encoded. The last two are common mistakes."""


class BodyError(Exception):
    """A body cannot be decoded: it is damaged, or its encoding is not known. The message has the reason."""


class BrokenOffError(BodyError):
    """A body was cut off: another attempt may get all of it."""


class _Decoder(Protocol):
    def decode(self, data: bytes) -> Iterator[bytes]: ...

    @property
    def is_complete(self) -> bool: ...


class Content:
    """Decodes the body of one answer.

    Args:
        encodings: values of its `Content-Encoding`, in the order in which they were applied.

    Raises:
        BodyError: one of the encodings cannot be decoded here.
    """

    def __init__(self, encodings: Sequence[str]) -> None:
        names = [name for each in encodings if (name := each.strip().lower()) not in _NO_ENCODING]
        if len(names) > _MOST_ENCODINGS:
            raise BodyError(f"the body is encoded {len(names)} times over")
        self._decoders = [_decoder(name) for name in reversed(names)]

    @property
    def is_plain(self) -> bool:
        """Return True if the body is not encoded."""
        return not self._decoders

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield the content of the next bytes of the body, a piece at a time.

        Raises:
            BodyError: the bytes are not in this encoding.
        """
        return _through(self._decoders, data)

    def check_end(self) -> None:
        """Raise `BrokenOffError` if the bytes so far are not a complete body."""
        if not all(decoder.is_complete for decoder in self._decoders):
            raise BrokenOffError("the compressed body breaks off: the connection or the server ended it")


def accepted() -> str:
    """Return a value of `Accept-Encoding` with the encodings that can be decoded here."""
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
    """Decodes gzip, also of several members, or deflate."""

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
                    # Another member may follow the end. Treat any other bytes as padding, as browsers do.
                    if not self._is_gzip or not data.startswith(_GZIP_MAGIC[: len(data)]):
                        return
                    self._decoder = zlib.decompressobj(self._window())
                piece = self._decoder.decompress(data, PIECE)
                if piece:
                    yield piece
                data = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
                # After the last input, zlib may still hold a window of output.
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
        # Some servers send "deflate" without zlib's wrapping (RFC 9110, 8.4.1.2).
        return zlib.MAX_WBITS if _is_wrapped(self._head) else -zlib.MAX_WBITS


class _Brotli:
    """Decodes Brotli (RFC 7932)."""

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
            # Output that does not fit into a piece is requested without further input. The decoder's flags do not help:
            # it reports that it accepts input although output is left, and that it has finished when all is read but
            # not yet returned.
            while piece := self._decoder.process(data, output_buffer_limit=PIECE):
                yield piece
                if len(piece) < PIECE:
                    return
                data = b""
        except self._error as error:
            raise BodyError(f"the body is not what its encoding says ({error})") from error


class _Zstd:
    """Decodes zstd (RFC 8878), also of several frames."""

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
"""Encodings of the extra `http`: the module that decodes each, and the factory of a decoder."""


def _is_wrapped(head: bytes) -> bool:
    """Return True if bytes begin as zlib's format does (RFC 1950, 2.2)."""
    return head[0] & 15 == 8 and (head[0] << 8 | head[1]) % 31 == 0
