"""Reads compressed files as their content: gzip, bzip2, xz and Zstandard, recognised by the first bytes of a file.

The name does not count: a server may send compressed data as `.csv`, and a browser may save a `.txt.gz` decompressed.
DuckDB reads the content of such a file through a named pipe (`PipedFile`), because it supports only two of the four
formats, and because truncated files of all four are detected this way.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from tui_runner.errors import UserError
from tui_runner.system.private_folder import private_folder
from tui_runner.text.messages import one_line, plain

ENDINGS = (".gz", ".zst", ".bz2", ".xz")
"""File name extensions of compressed files; the extension of the content is before them."""
_FORMATS = dict(zip(ENDINGS, ("gzip", "Zstandard", "bzip2", "xz"), strict=True))
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""Errors that reading a file may raise, compressed or not."""
BLOCK = 1 << 18
"""Bytes to read at once. A compressed file of zeros decompresses to a hundred times as many, all of them in memory."""

_GZIP = re.compile(rb"\x1f\x8b\x08")
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_XZ = re.compile(rb"\xfd7zXZ\0")
_ZSTANDARD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
"""The first bytes of each format; for Zstandard, those of an ordinary and of a skippable frame."""
_HEAD_BYTES = 10
"""Number of first bytes that are needed to recognise a format: the length of the longest pattern above, for bzip2."""
_T = TypeVar("_T")


def is_compressed(path: Path) -> bool:
    """Return True if the file is compressed.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(_HEAD_BYTES)
    return any(kind.match(head) for kind in (_GZIP, _BZIP2, _XZ, _ZSTANDARD))


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading; a compressed one is decompressed as it is read.

    Raises:
        OSError: it cannot be opened; reading raises `READ_ERRORS`.
    """
    file = path.open("rb")
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if _GZIP.match(head):
        file.close()
        return cast("BinaryIO", gzip.open(path))
    if _BZIP2.match(head):
        file.close()
        return cast("BinaryIO", _Streams(path.open("rb"), bz2.BZ2Decompressor))
    if _XZ.match(head):
        file.close()
        return cast("BinaryIO", _Streams(path.open("rb"), lzma.LZMADecompressor, padding=b"\0"))
    if _ZSTANDARD.match(head):
        import pyarrow as pa  # lazy: it takes 200 ms; Python itself has Zstandard only from 3.14 on

        return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(file), "zstd"))
    return file


class _Streams(io.RawIOBase):
    """A file of consecutive compressed streams, as written by parallel compressors.

    After the first stream, `bz2.open` and `lzma.open` end without an error at anything that is not a stream, such as
    the padding of `xz`. The items of all later streams would be missing.

    Args:
        file: the compressed bytes; closed with this.
        new: creates a decompressor for one stream.
        padding: bytes that may be between two streams.
    """

    def __init__(self, file: BinaryIO, new: Callable[[], Any], padding: bytes = b"") -> None:
        self._file, self._new, self._padding = file, new, padding
        self._stream = new()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with the next content. Return the number of bytes; 0 at the end."""
        view = memoryview(buffer)
        while True:
            if self._stream.eof:
                rest = self._stream.unused_data.lstrip(self._padding)
                while not rest:
                    block = self._file.read(BLOCK)
                    if not block:
                        return 0
                    rest = block.lstrip(self._padding)
                self._stream = self._new()
            elif self._stream.needs_input:
                rest = self._file.read(BLOCK)
                if not rest:
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            else:
                rest = b""
            if found := self._stream.decompress(rest, len(view)):
                view[: len(found)] = found
                return len(found)

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()


def blocks_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, piece by piece."""
    with open_bytes(path) as file:
        while block := read_block(file):
            yield block


def read_block(file: BinaryIO) -> bytes:
    """Return the next bytes of an open file; none at the end. Bytes before a damaged place come before the error."""
    # `read` of gzip reads until it has the requested number of bytes, and drops them all if that fails.
    read = getattr(file, "read1", file.read)
    return cast("bytes", read(BLOCK))


def line_at(path: Path, offset: int) -> int:
    """Return the number, from 1, of the line that contains the byte at `offset`."""
    number, left = 1, offset
    for block in blocks_of(path):
        number += block.count(b"\n", 0, left)
        left -= len(block)
        if left <= 0:
            break
    return number


def not_text(path: Path, where: str) -> UserError:
    """Return the error for a file that is not UTF-8; a truncated or renamed file may only be named as compressed."""
    ending = next((each for each in ENDINGS if path.name.lower().endswith(each)), "")
    if ending and not is_compressed(path):
        what = f"its name ends in {ending}, but it is not {_FORMATS[ending]} data"
        return UserError(what, plain(path), "get the whole file again")
    return UserError("it is not UTF-8 text", where, "save it as UTF-8")


def unreadable(error: BaseException, path: Path) -> UserError:
    """Return the error for a file that cannot be read."""
    reason = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
    do = ""
    if getattr(error, "errno", None) is None:  # its bytes were read, but cannot be decompressed
        do = "get the whole file again, or unpack it yourself and name the result"
        if isinstance(error, gzip.BadGzipFile) and "Not a gzipped file" in reason:  # it began with a whole stream
            reason = "its compressed data is followed by something that is not gzip"
    return UserError(f"the input can't be read: {reason}", where=plain(path), do=do)


class PipedFile:
    """A named pipe through which DuckDB reads, once, content that this process produces from a file.

    Args:
        file: the file.
        blocks: content for the pipe; None for the content of the file. A separate thread iterates over the blocks while
            DuckDB reads.
    """

    def __init__(self, file: Path, blocks: Iterable[bytes] | None = None) -> None:
        self._file = file
        self._folder = tempfile.mkdtemp(prefix="pipe-", dir=private_folder())
        self.path = Path(self._folder) / "data"
        os.mkfifo(self.path, 0o600)
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._write, args=(blocks_of(file) if blocks is None else blocks,), name="input pipe", daemon=True
        )
        self._thread.start()

    def checked(self, slices: Iterable[_T]) -> Iterator[_T]:
        """Yield what DuckDB returns for the file, up to the place where reading fails.

        Raises:
            UserError: the file cannot be read to its end. DuckDB would take the place for the end of the file and a
                partial row there for a whole one, so the error is raised before that row is yielded.
        """
        try:
            for part in slices:
                self._check()
                yield part
        except UserError:
            self._check()
            raise
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise unreadable(self._error, self._file) from None

    def close(self) -> None:
        """End the thread, and remove the pipe."""
        try:
            while self._thread.is_alive():
                # The thread may wait for a reader, or for room in the pipe. Provide both, and then make its next write
                # fail.
                reading = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
                self._thread.join(0.01)  # it usually ends within microseconds; else try again
                os.close(reading)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, blocks: Iterable[bytes]) -> None:
        with self.path.open("wb", buffering=0) as pipe:
            try:
                for block in blocks:
                    view = memoryview(block)
                    while view:
                        view = view[pipe.write(view) :]
            except BrokenPipeError:
                return  # DuckDB has stopped reading: it has all that it needs
            except BaseException as error:  # raised again in the thread that reads
                self._error = error
