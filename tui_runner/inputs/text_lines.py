"""Inputs with one item per line: text files, and standard input, whose lines are read as they arrive."""

from __future__ import annotations

import codecs
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, BinaryIO

from tui_runner.errors import UserError
from tui_runner.inputs.compressed_files import (
    READ_ERRORS,
    is_compressed,
    line_at,
    open_bytes,
    read_block,
    unreadable,
)
from tui_runner.inputs.source import TAKEN_BYTES, FileSource, ItemReader, Source, iterate
from tui_runner.text.items import MAX_INPUT_BYTES, too_large, unreadable_item
from tui_runner.text.messages import plain

_COUNTED_BYTES = 1 << 30
"""Bytes of all files together up to which their lines are counted; counting a gigabyte takes about 3 s if it is cached.
"""
MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some editors write at the start of a file."""

_OTHER_MARKS = {
    # UTF-32 comes first: its little-endian mark begins with that of UTF-16.
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Byte order marks of other encodings, with the names of the encodings."""
_NUL_QUARTERS: dict[tuple[bool, ...], str] = {
    (False, True, True, True): "UTF-32",
    (True, True, True, False): "UTF-32",
    (False, True, False, True): "UTF-16",
    (True, False, True, False): "UTF-16",
}
"""Encodings of text without a byte order mark. The key says which of every four bytes are mostly NUL in Latin text."""


def check_encoding(start: bytes, place: str) -> None:
    """Refuse text in UTF-16 or UTF-32, as saved by Windows PowerShell and some Windows editors.

    Decoded as UTF-8, every item would be wrong, without any error.

    Args:
        start: the first bytes of the text.
        place: the file, as named in messages.

    Raises:
        UserError: the text begins with a byte order mark of these encodings, or has their pattern of NUL bytes.
    """
    name = next((name for mark, name in _OTHER_MARKS.items() if start.startswith(mark)), None)
    if name is None and b"\0" in start:
        quarters = [start[index::4] for index in range(4)]
        name = _NUL_QUARTERS.get(tuple(2 * part.count(0) > len(part) for part in quarters))
    if name is not None:
        raise UserError(f"it is {name} text", where=place, do="save it as UTF-8")


class OverlongLine:
    """A mark for a line that was longer than an item may be, and whose bytes were discarded.

    Args:
        size: number of bytes that the line had.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def isspace(self) -> bool:
        """Return False, so that the line is not skipped like a blank line."""
        return False


Line = bytes | OverlongLine


class LineSplitter:
    r"""A buffer that divides blocks of bytes into lines, without their `\n`. It holds at most `longest` bytes.

    Args:
        longest: bytes that a line may have; a longer line becomes an `OverlongLine`.

    Attributes:
        overlong: number of lines so far that were too long.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._begun: list[bytes] = []
        self._size = 0
        """Bytes of the unfinished line, including discarded ones."""
        self.overlong = 0

    def lines(self, block: bytes) -> list[Line]:
        """Return the lines that `block` completes."""
        parts = block.split(b"\n")
        rest = parts.pop()
        lines: list[Line] = [*parts]
        if lines:
            lines[0] = self.rest(parts[0])
            if max(map(len, parts)) > self._longest:
                lines[1:] = map(self._bounded, parts[1:])
        self._hold(rest)
        return lines

    def rest(self, end: bytes = b"") -> Line:
        """Return the unfinished line, completed by `end`."""
        self._hold(end)
        size, line = self._size, b"".join(self._begun)
        self._begun, self._size = [], 0
        return self._bounded(line, size)

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._longest:
            self._begun.append(part)
        else:
            self._begun = []

    def _bounded(self, line: bytes, size: int | None = None) -> Line:
        size = len(line) if size is None else size
        if size <= self._longest:
            return line
        self.overlong += 1
        return OverlongLine(size)


class TextLines(FileSource):
    r"""The lines of text files, without their line ends. Lines with only white space are skipped.

    Text is UTF-8. A byte that is invalid in UTF-8 becomes `\xNN` in its item. A file in UTF-16 or UTF-32 is refused.
    """

    columns: tuple[str, ...] | None = ("line",)

    def _count(self) -> int | None:
        return lines_in(self._paths)

    def __iter__(self) -> Iterator[object]:
        return iterate(self.open())

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the lines, beginning with the first one, or at byte `offset` of the concatenated files."""
        return LineReader(self._paths, decoded, offset or 0, self._max_bytes)


class LineReader(ItemReader):
    """A reader of the lines of files, except blank lines. A line that is too long or not readable becomes `Refused`.

    Args:
        paths: the files.
        convert: converts a line to an item, or raises `ValueError` or `RecursionError`.
        start: byte of the concatenated files at which reading begins.
        max_bytes: bytes that a line may have.
        explain: returns the reason for an error of `convert`, for a message.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        convert: Callable[[bytes], object],
        start: int = 0,
        max_bytes: int = MAX_INPUT_BYTES,
        explain: Callable[[Exception], str] = str,
    ) -> None:
        self._file: BinaryIO | None = None
        self._paths = paths
        self._convert = convert
        self._explain = explain
        self._max_bytes = max_bytes
        self._splitter = LineSplitter(max_bytes)
        self._number = -1
        """Index in `paths` of the open file."""
        self._begin: int | None = 0
        """Byte of the concatenated files at which the open file begins; None if a compressed file is before it."""
        self._size: int | None = 0
        """Bytes of the open file; None for a compressed file."""
        self._lines: list[Line] = []
        """Lines that were read. Those before index `_next` were delivered."""
        self._next = 0
        self._at = 0
        """Byte of the decompressed content of the open file at which the first line begins that `_pass` has not
        counted."""
        self._line: int | None = 1
        """Number in the open file, from 1, of the line that begins at `_at`. None after a start within the file, until
        a message needs the number."""
        if start:
            self._begin_at(start)
        else:
            self._open_next()

    @property
    def offset(self) -> int | None:
        """Byte of the concatenated files at which the next line begins; None if a file so far is compressed."""
        if self._begin is None or self._size is None:
            return None
        # The last line may have no line end, although `_at` counts a byte for it.
        return self._begin + min(self._at, self._size)

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` items to `values`, or fewer if they are large or at the end."""
        wanted, left = len(values) + count, TAKEN_BYTES
        while left > 0 and len(values) < wanted and (lines := self._some(wanted - len(values))):
            left -= sum(map(len, lines))
            items = [line for line in lines if line and not line.isspace()]
            before = len(values)
            try:
                if self._splitter.overlong:
                    values.extend(self._one_by_one(lines))
                else:
                    values.extend(map(self._convert, items))  # type: ignore[arg-type]  # none is overlong
            except (ValueError, RecursionError):
                # Find the lines that cannot be converted by converting each line again, which is slower.
                del values[before:]
                values.extend(self._one_by_one(lines))
            self._pass(lines)

    def skip(self, count: int) -> None:
        """Skip `count` lines that are not blank."""
        while count > 0 and (passed := self.pass_over(count)):
            count -= passed

    def pass_over(self, count: int) -> int:
        """Skip from one to `count` lines that are not blank. Return the number of skipped lines; 0 at the end."""
        passed = 0
        while not passed and (lines := self._some(count)):
            self._pass(lines)
            passed = sum(1 for line in lines if line and not line.isspace())
        return passed

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()

    __del__ = close

    def _some(self, count: int) -> list[Line]:
        """Return the next lines, at most `count`, including blank ones; no lines after the last file."""
        while self._next == len(self._lines):
            self._lines, self._next = [], 0
            if self._file is not None:
                self._read_block(self._file)
            elif not self._open_next():
                return []
        lines = self._lines[self._next : self._next + count]
        self._next += len(lines)
        return lines

    def _pass(self, lines: Sequence[Line]) -> None:
        self._at += sum(map(len, lines)) + len(lines)
        if self._line is not None:
            self._line += len(lines)

    def _read_block(self, file: BinaryIO, read: bytes = b"") -> None:
        path = self._paths[self._number]
        try:
            block = read or read_block(file)
        except READ_ERRORS as error:
            raise unreadable(error, path) from None
        if block:
            self._lines = self._splitter.lines(block)
            return
        file.close()
        self._file = None
        if rest := self._splitter.rest():
            self._lines = [rest]

    def _open_next(self) -> bool:
        """Open the next file and skip its byte order mark. Return False after the last file."""
        if self._number + 1 == len(self._paths):
            return False
        self._number += 1
        path = self._paths[self._number]
        self._begin = None if self._begin is None or self._size is None else self._begin + self._size
        try:
            self._size = None if is_compressed(path) else path.stat().st_size
            self._file = open_bytes(path)
            start = read_block(self._file)
        except READ_ERRORS as error:
            raise unreadable(error, path) from None
        check_encoding(start, plain(path))
        self._at, self._line = 0, 1
        if start.startswith(MARK):
            start, self._at = start.removeprefix(MARK), len(MARK)
        if start:
            self._read_block(self._file, start)
        return True

    def _begin_at(self, start: int) -> None:
        """Begin at byte `start` of the concatenated files, which must be uncompressed."""
        begins, path = [0], self._paths[0]
        try:
            for path in self._paths:
                begins.append(begins[-1] + path.stat().st_size)
            self._number = max(index for index, begin in enumerate(begins[:-1]) if begin <= start)
            self._begin = begins[self._number]
            if start == self._begin:
                self._number, self._size = self._number - 1, 0
                self._open_next()
                return
            self._size = begins[self._number + 1] - self._begin
            self._at, self._line = start - self._begin, None
            path = self._paths[self._number]
            self._file = open_bytes(path)
            self._file.seek(self._at)
        except OSError as error:
            raise unreadable(error, path) from None

    def _one_by_one(self, lines: Sequence[Line]) -> Iterator[object]:
        """Yield the items of `lines`, with `Refused` for lines that cannot be converted."""
        for index, line in enumerate(lines):
            if isinstance(line, OverlongLine):
                yield too_large(self._place(index), self._max_bytes)
            elif line and not line.isspace():
                try:
                    item = self._convert(line)
                except (ValueError, RecursionError) as error:
                    item = unreadable_item(self._place(index), self._explain(error))
                yield item

    def _place(self, index: int) -> str:
        """Return `file:line` for the line at `index` of the last lines read."""
        path = self._paths[self._number]
        if self._line is None:
            self._line = line_at(path, self._at)
        return f"{plain(path)}:{self._line + index}"


def _countable(paths: Sequence[Path]) -> bool:
    try:
        return sum(path.stat().st_size for path in paths) <= _COUNTED_BYTES and not any(map(is_compressed, paths))
    except OSError:  # opening the file reports it
        return False


def lines_in(paths: Sequence[Path]) -> int | None:
    """Return the number of lines that are not blank.

    Return None if a file is compressed or missing, or all files together have more than a gigabyte.
    """
    if not _countable(paths):
        return None
    count = 0
    with closing(LineReader(paths, decoded)) as reader:
        while passed := reader.pass_over(_COUNTED_AT_ONCE):
            count += passed
    return count


_COUNTED_AT_ONCE = 4_096
"""Lines skipped per call, so many that the cost of the call is negligible."""


def decoded(line: bytes) -> str:
    """Decode a line and remove its line end."""
    return line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")


_PIPE_BYTES = 1 << 16
"""Bytes read at once at most, as many as a pipe can hold."""


class StandardInput(Source):
    """The lines of standard input, as in a text file. They are text even if they look like JSON.

    The process that writes them may be slow.
    """

    columns = ("line",)
    text = "-"
    may_wait = True

    def __init__(self, stream: IO[Any] | None = None, max_bytes: int = MAX_INPUT_BYTES) -> None:
        self._given = stream
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[object]:
        splitter, number, stream = LineSplitter(self._max_bytes), 0, self._stream
        is_first = True
        block = _block(stream)
        check_encoding(block, "standard input")
        while block:
            for line in splitter.lines(block):
                number += 1
                if is_first:
                    is_first, line = False, _without_mark(line)
                if line and not line.isspace():
                    yield self._item(line, number)
            block = _block(stream)
        line = splitter.rest()
        if is_first:
            line = _without_mark(line)
        if line and not line.isspace():
            yield self._item(line, number + 1)

    def _item(self, line: Line, number: int) -> object:
        if isinstance(line, OverlongLine):
            return too_large(f"standard input:{number}", self._max_bytes)
        return decoded(line)

    @property
    def _stream(self) -> Any:
        stream = self._given or sys.stdin
        if stream is None:
            raise UserError("there is no standard input", do="name a file")
        return getattr(stream, "buffer", stream)


def _without_mark(line: Line) -> Line:
    return line.removeprefix(MARK) if isinstance(line, bytes) else line


def _block(stream: Any) -> bytes:
    """Read the bytes that are available; no bytes at the end.

    The stream's descriptor is read instead of the stream if there is one. A thread that waits in the stream's `read`
    holds the stream's lock. Python aborts at its end if it cannot acquire that lock, and a pipe without data would make
    this thread wait forever.
    """
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):  # the stream has no descriptor
        block = stream.read(_PIPE_BYTES)
        return block.encode("utf-8", "surrogateescape") if isinstance(block, str) else bytes(block)
    while True:
        try:
            return os.read(descriptor, _PIPE_BYTES)
        except BlockingIOError:  # another process that shares the descriptor has made it non-blocking
            select.select([descriptor], [], [])
