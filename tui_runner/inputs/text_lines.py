"""One item a line: text files, and standard input as its lines come."""

from __future__ import annotations

import codecs
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import accumulate
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
"""Files up to this size together are read once more for counting their lines: about 3 s from a warm cache."""
MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some editors put first."""

_OTHER_MARKS = {
    # UTF-32 comes first: its mark of little endian begins with that of UTF-16.
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_NUL_QUARTERS: dict[tuple[bool, ...], str] = {
    (False, True, True, True): "UTF-32",
    (True, True, True, False): "UTF-32",
    (False, True, False, True): "UTF-16",
    (True, False, True, False): "UTF-16",
}
"""Encodings by which bytes of each four are mostly NUL in text in Latin letters: it shows where there is no mark."""


def check_encoding(start: bytes, place: str) -> None:
    """Refuse text in UTF-16 or UTF-32, as Windows PowerShell and editors there save it.

    Decoded as UTF-8, every item would be wrong, without any error.

    Args:
        start: the first bytes of the text.
        place: the file, as in messages.

    Raises:
        UserError: it begins with a byte order mark of these encodings, or has their NUL bytes.
    """
    name = next((name for mark, name in _OTHER_MARKS.items() if start.startswith(mark)), None)
    if name is None and b"\0" in start:
        quarters = [start[index::4] for index in range(4)]
        name = _NUL_QUARTERS.get(tuple(2 * part.count(0) > len(part) for part in quarters))
    if name is not None:
        raise UserError(f"it is {name} text", where=place, do="save it as UTF-8")


class OverlongLine:
    """Takes the place of a line that is longer than an item may be; its bytes are dropped.

    Args:
        size: how many there were.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def isspace(self) -> bool:
        """Return False: it is not left out like a blank line."""
        return False


Line = bytes | OverlongLine


class LineSplitter:
    r"""Divides blocks of bytes into lines, without their `\n`. Holds one line at most, and that to its bound.

    Args:
        longest: bytes that a line may have; a longer one becomes an `OverlongLine`.

    Attributes:
        overlong: how many of these there were.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._begun: list[bytes] = []
        self._size = 0
        """Bytes of the current line, with those that were dropped."""
        self.overlong = 0

    def lines(self, block: bytes) -> list[Line]:
        """Return the lines that end in this block."""
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
        """Return the current line, completed by `end`."""
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
    r"""The lines of text files, without their ends; lines with nothing but white space are left out.

    Text is UTF-8. A byte that is not shows as `\xNN` in its item; a file in UTF-16 or UTF-32 is refused.
    """

    columns: tuple[str, ...] | None = ("line",)

    def _count(self) -> int | None:
        return lines_in(self._paths)

    def __iter__(self) -> Iterator[object]:
        return iterate(self.open())

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the lines from the first on, or from byte `offset` of the files one after the other."""
        return LineReader(self._paths, decoded, offset or 0, self._max_bytes)


class LineReader(ItemReader):
    """Reads the lines of files that are not blank. One that is too long or cannot be converted becomes `Refused`.

    Args:
        paths: the files.
        convert: makes an item of a line, or raises `ValueError` or `RecursionError`.
        start: byte to begin at, in the files one after the other.
        max_bytes: bytes that a line may have.
        explain: says in plain words why `convert` has raised that.
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
        """Number, in the order of `paths`, of the file that is open."""
        self._begin: int | None = 0
        """Byte at which that file begins in all files one after the other; None after a compressed one."""
        self._size: int | None = 0
        """Bytes of that file; None for a compressed one."""
        self._lines: list[Line] = []
        """Lines that were read and not yet given, from `_next` on."""
        self._next = 0
        self._at = 0
        """Byte of the file at which the first of these begins."""
        self._line: int | None = 1
        """Its number; None where reading did not begin with the file."""
        if start:
            self._begin_at(start)
        else:
            self._open_next()

    @property
    def offset(self) -> int | None:
        """Byte at which the next line begins; None for compressed files."""
        if self._begin is None or self._size is None:
            return None
        # Behind a last line without a line end there is none to count.
        return self._begin + min(self._at, self._size)

    def take(self, values: list[object], count: int, patience: float | None = None) -> None:
        """Append the next `count` items to `values`, fewer where these are large."""
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
                # Once more, and slower: only this way one that cannot be converted is an item of its own.
                del values[before:]
                values.extend(self._one_by_one(lines))
            self._pass(lines)

    def skip(self, count: int) -> None:
        """Pass over `count` lines."""
        while count > 0 and (passed := self.pass_over(count)):
            count -= passed

    def pass_over(self, count: int) -> int:
        """Pass over at least one of the next `count` lines, and return over how many; 0 at the end."""
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
        """Return at most `count` of the next lines, including blank ones; none after the last."""
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
        """Open the next file, and skip its byte order mark."""
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
        """Begin at a byte inside uncompressed files; compressed ones have no such position."""
        try:
            begins = list(accumulate((path.stat().st_size for path in self._paths), initial=0))
            self._number = max(index for index, begin in enumerate(begins[:-1]) if begin <= start)
            self._begin = begins[self._number]
            if start == self._begin:
                self._number, self._size = self._number - 1, 0
                self._open_next()
                return
            self._size = begins[self._number + 1] - self._begin
            self._at, self._line = start - self._begin, None
            self._file = open_bytes(self._paths[self._number])
            self._file.seek(self._at)
        except OSError as error:
            raise unreadable(error, self._paths[max(0, self._number)]) from None

    def _one_by_one(self, lines: Sequence[Line]) -> Iterator[object]:
        """Yield the items of the `lines` that were read last, with `Refused` for those that are none."""
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
        """Return the file and number of the line at `index` of those that were read last."""
        path = self._paths[self._number]
        if self._line is None:
            self._line = line_at(path, self._at)
        return f"{plain(path)}:{self._line + index}"


def _countable(paths: Sequence[Path]) -> bool:
    try:
        return sum(path.stat().st_size for path in paths) <= _COUNTED_BYTES and not any(map(is_compressed, paths))
    except OSError:
        return False


def lines_in(paths: Sequence[Path]) -> int | None:
    """Count the lines that are not blank; None for compressed files and for more than a gigabyte."""
    if not _countable(paths):
        return None
    count = 0
    with closing(LineReader(paths, decoded)) as reader:
        while passed := reader.pass_over(_COUNTED_AT_ONCE):
            count += passed
    return count


_COUNTED_AT_ONCE = 4_096
"""Lines passed over in one call: the cost of the call is spread over them."""


def decoded(line: bytes) -> str:
    """Decode a line, without its line end."""
    return line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")


_PIPE_BYTES = 1 << 16
"""Bytes read at once, at most: what a pipe holds."""


class StandardInput(Source):
    """The lines of standard input, like those of a text file; they are taken as text even if they look like JSON.

    Their writer may be slow.
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
    """Read what is there; nothing at the end.

    A file of the system's is read past the stream: a thread that waits in the stream holds its lock, and Python aborts
    when it cannot get that at its own end, while this thread may wait for a quiet pipe for ever.
    """
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):  # no file of the system's
        block = stream.read(_PIPE_BYTES)
        return block.encode("utf-8", "surrogateescape") if isinstance(block, str) else bytes(block)
    while True:
        try:
            return os.read(descriptor, _PIPE_BYTES)
        except BlockingIOError:  # another process that has it, too, made it so
            select.select([descriptor], [], [])
