"""Reads and decompresses files in gzip, bzip2, xz and Zstandard format, recognised by their first bytes.

The extension of the name is not used: a server may send compressed data as `.csv`, and a browser may save a `.txt.gz`
decompressed. DuckDB reads the content of a compressed file through a named pipe (`PipedFile`), because it supports only
two of the four formats, and because only then are truncated files of all four detected.
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
"""File name extensions of compressed files. Before them is the extension for the content, as in `.csv.gz`."""
_FORMATS = dict(zip(ENDINGS, ("gzip", "Zstandard", "bzip2", "xz"), strict=True))
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""Errors that reading a file may raise, whether it is compressed or not."""
BLOCK = 1 << 18
"""Bytes to read at once. A compressed block of zeros may decompress to more than a hundred times its size, all in
memory."""

_GZIP = re.compile(rb"\x1f\x8b\x08")
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")
_XZ = re.compile(rb"\xfd7zXZ\0")
_ZSTANDARD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
"""The first bytes of each format. A Zstandard file begins with an ordinary or with a skippable frame, which begin
differently."""
_HEAD_BYTES = 10
"""Length of the longest of these patterns (bzip2), which is needed to recognise a format."""
_T = TypeVar("_T")


def is_compressed(path: Path) -> bool:
    """Return True if the file is compressed.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(_HEAD_BYTES)
    return any(kind.match(head) for kind in (_GZIP, _BZIP2, _XZ, _ZSTANDARD))


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading; a compressed file is decompressed while it is read.

    Raises:
        OSError: the file cannot be opened. Reading it later may raise any of `READ_ERRORS`.
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

    `bz2.open` and `lzma.open` take anything after the first stream that is not a stream, such as the padding of `xz`,
    for the end of the file. They raise no error, and the items of all later streams would be missing.

    Args:
        file: the compressed bytes; closed together with this object.
        new: creates a decompressor for one stream.
        padding: bytes that may be between two streams.
    """

    def __init__(self, file: BinaryIO, new: Callable[[], Any], padding: bytes = b"") -> None:
        self._file, self._new, self._padding = file, new, padding
        self._stream = new()

    def readable(self) -> bool:
        """Return True, because `io.BufferedReader` asks its raw stream."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with the next decompressed bytes. Return their number; 0 at the end."""
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
        """Close this object and the compressed file."""
        self._file.close()
        super().close()


def blocks_of(path: Path) -> Iterator[bytes]:
    """Yield the decompressed content of a file in blocks."""
    with open_bytes(path) as file:
        while block := read_block(file):
            yield block


def read_block(file: BinaryIO) -> bytes:
    """Return the next bytes of an open file; no bytes at the end.

    All bytes before a damaged place are returned first.
    """
    # `read` of gzip reads until it has the requested number of bytes, and loses them all if an error occurs meanwhile.
    read = getattr(file, "read1", file.read)
    return cast("bytes", read(BLOCK))


def line_at(path: Path, offset: int) -> int:
    """Return the number, from 1, of the line that contains the byte at `offset` of the decompressed content."""
    number, left = 1, offset
    for block in blocks_of(path):
        number += block.count(b"\n", 0, left)
        left -= len(block)
        if left <= 0:
            break
    return number


def not_text(path: Path, where: str) -> UserError:
    """Return the error for a file that is not UTF-8. If only its name says that it is compressed, report that."""
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
        if isinstance(error, gzip.BadGzipFile) and "Not a gzipped file" in reason:  # the file began with a valid stream
            reason = "its compressed data is followed by something that is not gzip"
    return UserError(f"the input can't be read: {reason}", where=plain(path), do=do)


class PipedFile:
    """A named pipe through which DuckDB can read, once, what this process produces from a file.

    Args:
        file: the file, which is named in errors.
        blocks: content for the pipe; None for the decompressed content of the file. A separate thread iterates over the
            blocks while DuckDB reads.
    """

    def __init__(self, file: Path, blocks: Iterable[bytes] | None = None) -> None:
        self._file = file
        self._folder = tempfile.mkdtemp(prefix="pipe-", dir=private_folder())
        self.path = Path(self._folder) / "data"
        os.mkfifo(self.path, 0o600)
        self._error: BaseException | None = None
        # daemon: opening a pipe blocks until DuckDB opens its other end, which it never does after an error
        self._thread = threading.Thread(
            target=self._write, args=(blocks_of(file) if blocks is None else blocks,), name="input pipe", daemon=True
        )
        self._thread.start()

    def checked(self, slices: Iterable[_T]) -> Iterator[_T]:
        """Yield DuckDB's result rows, but raise the error of reading the file before any row that it may have damaged.

        DuckDB would take the place of the error for the end of the file, and the part of a row before it for a whole
        row.

        Raises:
            UserError: the file cannot be read to its end, or iterating over `slices` raises it.
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
        """End the thread and remove the pipe."""
        try:
            while self._thread.is_alive():
                # The thread may be waiting until a reader opens the pipe, or until the pipe accepts more bytes. Opening
                # the pipe ends the first; closing it as its last reader ends the second with an error in the thread.
                reading = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
                self._thread.join(0.01)  # usually the thread ends within microseconds; otherwise the loop tries again
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
                return  # DuckDB has stopped reading, because it needs no more rows
            except BaseException as error:  # `_check` reports it in the thread that reads the rows
                self._error = error
