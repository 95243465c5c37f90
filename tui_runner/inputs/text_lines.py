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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tui_runner.errors import UserError
from tui_runner.inputs.source import Source
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
        if self._total is None and _countable(self._paths):
            self._total = sum(1 for path in self._paths for _ in _raw_lines(path))
        return self._total

    def __iter__(self) -> Iterator[object]:
        for path in self._paths:
            for _, line in _raw_lines(path):
                yield decoded(line)


def _countable(paths: Sequence[Path]) -> bool:
    if any(path.name.lower().endswith(".gz") for path in paths):
        return False
    try:
        return sum(path.stat().st_size for path in paths) <= _COUNTED_BYTES
    except OSError:
        return False


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    if line.startswith(_MARKS_OF_UTF_16):
                        raise UserError("it is UTF-16 text", where=plain(path), do="save it as UTF-8")
                    line = line.removeprefix(MARK)
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"the input can't be read: {reason}", where=plain(path)) from None


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
