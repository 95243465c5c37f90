"""One item a line: text files, and standard input as its lines come."""

from __future__ import annotations

import codecs
import gzip
import os
import select
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import accumulate, islice
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from tui_runner.errors import UserError
from tui_runner.inputs.source import ItemReader, Source, fingerprint_of_files, iterate
from tui_runner.text.messages import one_line, plain

_COUNTED_BYTES = 1 << 30
"""Files up to this size together are read once more for counting their lines: about 3 s from a warm cache."""
MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some editors put first."""

_MARKS_OF_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What Windows PowerShell and editors there put first. Taken for UTF-8 every item would be torn apart, in silence."""


class TextLines(Source):
    r"""The lines of text files, without their ends; lines with nothing but white space are left out.

    Text is UTF-8. A byte that is not shows as `\xNN` in its item; a file that says it is UTF-16 is refused.
    """

    columns: tuple[str, ...] | None = ("line",)

    def __init__(self, paths: Sequence[Path], text: str) -> None:
        self.text = text
        self._paths = tuple(paths)
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        """Lines with something in them; None for compressed files and for more than a gigabyte."""
        if self._total is None:
            self._total = lines_in(self._paths)
        return self._total

    def __iter__(self) -> Iterator[object]:
        return iterate(self.open())

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the lines from the first on, or from byte `offset` of the files one after the other."""
        return LineReader(self._paths, decoded, offset or 0)

    def fingerprint(self) -> str | None:
        """Return what tells the files from changed ones."""
        return fingerprint_of_files(self._paths)


class LineReader(ItemReader):
    """Reads the lines of files that are not blank.

    Args:
        paths: the files.
        convert: makes an item of a line; a `ValueError` or `RecursionError` that it raises becomes a `UserError`.
        start: byte to begin at, in the files one after the other.
    """

    def __init__(self, paths: Sequence[Path], convert: Callable[[bytes], object], start: int = 0) -> None:
        self._file: BinaryIO | None = None
        self._paths = paths
        self._convert = convert
        self._is_plain = not any(path.name.lower().endswith(".gz") for path in paths)
        self._begins = [0]
        """Byte at which each file begins, where bytes of one are bytes of the other."""
        if self._is_plain:
            try:
                self._begins = list(accumulate((path.stat().st_size for path in paths), initial=0))
            except OSError as error:
                raise UserError(f"the input can't be read: {error.strerror}", where=plain(paths[0])) from None
        self._number = -1
        """Of the file that is open."""
        self._read: list[bytes] = []
        """The lines that were read last."""
        if start:
            self._number = max(index for index, begin in enumerate(self._begins[:-1]) if begin <= start)
            self._file = self._opened(paths[self._number])
            self._file.seek(start - self._begins[self._number])

    @property
    def offset(self) -> int | None:
        """Byte at which the next line begins; None for compressed files."""
        if not self._is_plain:
            return None
        return 0 if self._file is None else self._begins[self._number] + self._file.tell()

    def take(self, values: list[object], count: int) -> None:
        """Append the next `count` items to `values`, fewer at the end."""
        convert, wanted = self._convert, len(values) + count
        while len(values) < wanted and (lines := self.lines(wanted - len(values))):
            before = len(values)
            try:
                values.extend(map(convert, lines))
            except (ValueError, RecursionError) as error:
                # What came before the error is in `values`.
                raise self._broken(error, lines[len(values) - before]) from None

    def skip(self, count: int) -> None:
        """Pass over `count` lines."""
        while count > 0 and (lines := self.lines(min(count, _SKIPPED_AT_ONCE))):
            count -= len(lines)

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()

    __del__ = close

    def lines(self, count: int) -> list[bytes]:
        """At most `count` lines that are not blank, at least one unless there are none left."""
        while True:
            if self._file is None and not self._open_next():
                return []
            assert self._file is not None  # noqa: S101 - opened above
            try:
                self._read = read = list(islice(self._file, count))
            except (OSError, EOFError, zlib.error) as error:
                raise _unreadable(error, self._paths[self._number]) from None
            if not read:
                self._file.close()
                self._file = None
            elif lines := [line for line in read if not line.isspace()]:
                return lines

    def _open_next(self) -> bool:
        if self._number + 1 == len(self._paths):
            return False
        self._number += 1
        self._file = self._opened(self._paths[self._number])
        return True

    def _opened(self, path: Path) -> BinaryIO:
        """Open a file behind its byte order mark."""
        try:
            file = _binary(path)
            start = file.read(len(MARK))
            if start.startswith(_MARKS_OF_UTF_16):
                file.close()
                raise UserError("it is UTF-16 text", where=plain(path), do="save it as UTF-8")
            if start != MARK:
                file.seek(0)
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(error, path) from None
        return file

    def _broken(self, error: Exception, line: bytes) -> UserError:
        """Return what is wrong with a line of those that were read last, and which it is."""
        assert self._file is not None  # noqa: S101 - the line is from it
        path, end = self._paths[self._number], self._file.tell()
        behind = len(self._read) - next(index for index, each in enumerate(self._read) if each is line)
        with _binary(path) as file:
            number = next(number for number, size in enumerate(accumulate(map(len, file)), 1) if size >= end)
        message = getattr(error, "msg", None) or one_line(error)
        return UserError(f"it is not JSON: {message}", where=f"{plain(path)}:{number - behind + 1}")


def _countable(paths: Sequence[Path]) -> bool:
    if any(path.name.lower().endswith(".gz") for path in paths):
        return False
    try:
        return sum(path.stat().st_size for path in paths) <= _COUNTED_BYTES
    except OSError:
        return False


def lines_in(paths: Sequence[Path]) -> int | None:
    """Count the lines that are not blank; None for compressed files and for more than a gigabyte."""
    if not _countable(paths):
        return None
    count = 0
    with closing(LineReader(paths, decoded)) as reader:
        while lines := reader.lines(_SKIPPED_AT_ONCE):
            count += len(lines)
    return count


def _binary(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def _unreadable(error: BaseException, path: Path) -> UserError:
    reason = getattr(error, "strerror", None) or one_line(error)
    return UserError(f"the input can't be read: {reason}", where=plain(path))


_SKIPPED_AT_ONCE = 4_096
"""Lines."""


def decoded(line: bytes) -> str:
    """A line as text, without its end."""
    return line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")


_BLOCK = 1 << 16
"""Bytes read at once, at most: what a pipe holds."""
_LONGEST_LINE = 256 << 20
"""Bytes of a line. Longer ones would be held several times over; what has no line ends at all never stops."""


class StandardInput(Source):
    """The lines of standard input, like those of a text file; they are taken as text even if they look like JSON.

    Whoever writes them may be slow: `comes_within` says whether the next one is worth waiting for.
    """

    columns = ("line",)
    text = "-"
    may_wait = True

    def __init__(self, stream: IO[Any] | None = None) -> None:
        self._given = stream
        self._lines: deque[str] = deque()
        self._rest: list[bytes] = []
        """What was read of a line whose end was not."""
        self._held = 0
        """Bytes of that."""
        self._begun = False
        self._ended = False

    def __iter__(self) -> Iterator[object]:
        while True:
            while self._lines:
                yield self._lines.popleft()
            if self._ended:
                return
            self._read()

    def comes_within(self, seconds: float) -> bool:
        """Whether a line, or the end, is there within so many seconds."""
        if self._lines:
            return True
        until = time.monotonic() + seconds
        while not self._lines and not self._ended:
            if not self._can_be_read(until - time.monotonic()):
                return False
            self._read()
        return True

    @property
    def _stream(self) -> Any:
        stream = self._given or sys.stdin
        if stream is None:
            raise UserError("there is no standard input", do="name a file")
        return getattr(stream, "buffer", stream)

    def _can_be_read(self, seconds: float) -> bool:
        try:
            return bool(select.select([self._stream], [], [], max(0.0, seconds))[0])
        except (OSError, ValueError, TypeError):  # no file of the system's: all of it is there
            return True

    def _read(self) -> None:
        """Read what there is, or wait for it."""
        block = _block(self._stream)
        if not block:
            self._ended = True
            self._add(b"".join(self._rest))
            return
        first, *others = block.split(b"\n")
        self._rest.append(first)
        self._held += len(first)
        if self._held > _LONGEST_LINE:
            self._rest = []
            size = f"{_LONGEST_LINE >> 20} MB"
            raise UserError(f"a line is longer than {size}", "standard input", "write one item a line")
        if others:
            self._add(b"".join(self._rest))
            for line in others[:-1]:
                self._add(line)
            self._rest = [others[-1]]
            self._held = len(others[-1])

    def _add(self, line: bytes) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(MARK)
        if line.strip():
            self._lines.append(decoded(line))


def _block(stream: Any) -> bytes:
    """What there is to read; nothing at the end.

    A file of the system's is read past the stream: whoever waits in the stream holds its lock, and Python aborts when
    it cannot get that at its own end, while this thread may wait for a quiet pipe for ever.
    """
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):  # no file of the system's
        block = stream.read(_BLOCK)
        return block.encode("utf-8", "surrogateescape") if isinstance(block, str) else bytes(block)
    while True:
        try:
            return os.read(descriptor, _BLOCK)
        except BlockingIOError:  # whoever has the other end, too, made it so
            select.select([descriptor], [], [])
