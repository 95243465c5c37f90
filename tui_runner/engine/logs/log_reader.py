"""Reads a run's log file, from its end or from any place in it, in blocks and never as a whole.

The log consists of the file of `log_file.py` and the rotated one (`.log.1`), which are read as one text. It has lines
of other runs as well; reading stops at their headings. A place is the inode of a file and an offset, so it stays valid
when the file is renamed while it is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from tui_runner.engine.logs.log_file import written
from tui_runner.engine.protocol import LogLine
from tui_runner.system.files import open_log

_BLOCK = 1 << 18
"""Bytes of one read. A file is searched block by block, so a search never holds more than a few blocks."""
_LONGEST = 1 << 17
"""Most bytes of a line that are parsed: four for each character of a job's longest line, and more for the fields before
the text."""
# At most 18 digits, because tui-runner writes no more, and Python refuses to convert very long numbers of a damaged
# file.
_LINE = re.compile(r"(\S+Z) (\S.*?) +chunk (-|\d{1,18}) item (-|\d{1,18})(?: (\"(?:[^\"\\]|\\.)*\"))?: (.*)", re.DOTALL)
_BEGINS = b"--- run "
"""Beginning of every heading; cheaper to search for than `_HEADING`."""
_HEADING = re.compile(rb"--- run (\d{1,18})")
"""The first line of a run in the log, with its number. Several runs of a database share one log."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two lines of the log: the inode of a file and an offset in bytes."""

    file: int
    offset: int


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line of the file, with the places where it starts and ends."""

    line: LogLine
    start: Place
    end: Place


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive lines of the log.

    Attributes:
        lines: the lines found.
        whole: True if the run has no more lines in the direction that was read.
    """

    lines: tuple[StoredLine, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Beginning:
    """The place in the log where the lines of a run begin.

    Attributes:
        place: place before the first line that exists.
        cut: True if earlier lines are gone, so that the run's heading is missing.
    """

    place: Place
    cut: bool = False


Wanted = Callable[[LogLine], bool]
"""Filter: function that returns True for the lines to return."""


def everything(line: LogLine) -> bool:
    """Return True for every line; the default filter."""
    return True


def parsed(text: str) -> LogLine:
    """Return a line of the file as a `LogLine`. A heading or a damaged line has no level and `at` 0."""
    match = _LINE.fullmatch(text)
    if match is not None:
        moment, level, chunk, item, value, message = match.groups()
        try:
            at = datetime.fromisoformat(moment).timestamp()
            shown = json.loads(value) if value else ""
        except ValueError:  # the file was edited or damaged
            return LogLine(0.0, "", text)
        return LogLine(at, level, message, _number(chunk), _number(item), value=shown)
    return LogLine(0.0, "", text)


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


class LogReader:
    """A reader of one run's log. Each call opens the files, reads them and closes them again, and blocks meanwhile.

    Args:
        path: path of the log file.
        run_id: number of the run.

    Every call raises:
        OSError, ValueError: the file cannot be read, is not a regular file, or its path is not valid.
    """

    def __init__(self, path: Path, run_id: int) -> None:
        self._path = path
        self._run_id = run_id

    def before(self, place: Place | None, lines: int, wanted: Wanted = everything, *, text: str = "") -> Page:
        """Return the last `lines` wanted lines before `place`, in file order.

        None for `place` means the end of the log.

        With `text`, only lines that contain this text (in upper or lower case) are examined. This is much faster for a
        rare text.
        """
        found: list[StoredLine] = []
        for stored in self._read_backwards(place, _needle(text)):
            if len(found) == lines:
                return Page(tuple(reversed(found)), whole=False)
            if wanted(stored.line):
                found.append(stored)
        return Page(tuple(reversed(found)))

    def after(self, place: Place, lines: int, wanted: Wanted = everything, *, text: str = "") -> Page:
        """Return the first `lines` wanted lines after a place. `text` works as in `before`."""
        found: list[StoredLine] = []
        for stored in self._read_forwards(place, _needle(text)):
            if len(found) == lines:
                return Page(tuple(found), whole=False)
            if wanted(stored.line):
                found.append(stored)
        return Page(tuple(found))

    def beginning(self) -> Beginning | None:
        """Return the place where the lines of the run begin; None if it has no lines."""
        with ExitStack() as opened:
            files = self._files(opened)
            first = None
            for start, _, run_id in _headings_backwards(files, None):
                if run_id != self._run_id:
                    return first
                first = Beginning(start)
            return first if first is not None or not files else Beginning(Place(files[0].number, 0), cut=True)

    def place_of(self, first: LogLine, second: LogLine | None) -> Place | None:
        """Return the place where the line `first` starts, if `second` follows it; None if the log has no such lines.

        If `second` is None, any line may follow.
        """
        wanted = written(first).encode("utf-8", "backslashreplace")
        following = None if second is None else written(second).encode("utf-8", "backslashreplace")
        after: bytes | None = None
        for start, _, line in self._raw_backwards(None):
            if line == wanted and (following is None or after == following):
                return start
            after = line
        return None

    def _read_backwards(self, place: Place | None, needle: bytes) -> Iterator[StoredLine]:
        for start, end, line in self._raw_backwards(place, needle):
            yield StoredLine(parsed(line[:_LONGEST].decode("utf-8", "replace")), start, end)

    def _raw_backwards(self, place: Place | None, needle: bytes = b"") -> Iterator[tuple[Place, Place, bytes]]:
        """Yield the lines of the run before a place, with start and end, last one first."""
        with ExitStack() as opened:
            files = self._files(opened)
            if place is not None:
                files = _up_to(files, place)
            elif _run_before(files, None) not in (None, self._run_id):
                return
            for start, end, line in _lines_backwards(files, place, needle):
                yield start, end, line
                # Lines before a heading belong to the run of the previous heading. Continue only if that is this run.
                if _heading(line) is not None and _run_before(_up_to(files, start), start) != self._run_id:
                    return

    def _read_forwards(self, place: Place, needle: bytes) -> Iterator[StoredLine]:
        with ExitStack() as opened:
            files = self._files(opened)
            earlier = _up_to(files, place)
            for file in files[len(earlier) - 1 :] if earlier else ():
                for start, stop, line in file.forwards(place.offset if file.number == place.file else 0, needle):
                    if _heading(line) not in (None, self._run_id):
                        return
                    text = line[:_LONGEST].decode("utf-8", "replace")
                    yield StoredLine(parsed(text), Place(file.number, start), Place(file.number, stop))

    def _files(self, opened: ExitStack) -> list[_File]:
        """Return the existing log files, the rotated one first."""
        files: list[_File] = []
        # Open the current file first. If it is rotated before the other one is opened, it is found twice instead of not
        # at all.
        for path in (self._path, self._path.with_name(self._path.name + ".1")):
            try:
                stream = open(path, "rb", opener=open_log)  # noqa: SIM115 - closed by `opened`
            except FileNotFoundError:  # no log yet, or none rotated
                continue
            file = _File(opened.enter_context(stream))
            if file.number not in {other.number for other in files}:
                files.append(file)
        return files[::-1]


def _up_to(files: list[_File], place: Place) -> list[_File]:
    """Return the files up to the file that contains `place`; an empty list if this file is gone."""
    at = next((number for number, file in enumerate(files) if file.number == place.file), -1)
    return files[: at + 1]


def _needle(text: str) -> bytes:
    """Return the bytes to search for in lower-cased lines; empty unless `text` is ASCII: other bytes have no case."""
    return text.lower().encode() if text.isascii() else b""


def _heading(line: bytes) -> int | None:
    """Return the number of the run if a line is a heading; None for any other line."""
    heading = _HEADING.fullmatch(line) if line.startswith(_BEGINS) else None
    return None if heading is None else int(heading[1])


def _lines_backwards(files: list[_File], place: Place | None, needle: bytes) -> Iterator[tuple[Place, Place, bytes]]:
    for file in reversed(files):
        end = place.offset if place is not None and file.number == place.file else file.size
        for start, stop, line in file.backwards(end, needle):
            yield Place(file.number, start), Place(file.number, stop), line


def _headings_backwards(files: list[_File], place: Place | None) -> Iterator[tuple[Place, Place, int]]:
    for start, end, line in _lines_backwards(files, place, _BEGINS):
        if (run_id := _heading(line)) is not None:
            yield start, end, run_id


def _run_before(files: list[_File], place: Place | None) -> int | None:
    """Return the run to which the lines before a place belong; None if their heading is gone."""
    return next((run_id for _, _, run_id in _headings_backwards(files, place)), None)


class _File:
    """One open file: its inode, its size, and its lines in both directions as (start, end, line without its end).

    With a needle, only headings and lines that contain the needle in lower case are returned; a block without either is
    not split into lines.
    """

    def __init__(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        self.number, self.size = status.st_ino, status.st_size
        self._file = file

    def backwards(self, end: int, needle: bytes = b"") -> Iterator[tuple[int, int, bytes]]:
        """Yield the lines that end at `end` or before, last one first. A line without its line end is left out."""
        rest, place = b"", end
        begun = False
        while place:
            size = min(_BLOCK, place)
            place -= size
            self._file.seek(place)
            rest = self._file.read(size) + rest
            if not begun:
                # Text after the last line end is still being written.
                rest = rest[: rest.rfind(b"\n") + 1]
                begun = bool(rest)
            first = 0 if not place else rest.find(b"\n") + 1
            if first < len(rest):
                yield from reversed(_lines(rest[first:], place + first, needle))
                rest = rest[:first]

    def forwards(self, start: int, needle: bytes = b"") -> Iterator[tuple[int, int, bytes]]:
        """Yield the whole lines from the offset `start` on."""
        rest, place = b"", start
        while True:
            # Seek each time, because the file object is shared and another read may have moved its position.
            self._file.seek(place + len(rest))
            block = self._file.read(_BLOCK)
            if not block:
                return
            rest += block
            whole = rest.rfind(b"\n") + 1
            yield from _lines(rest[:whole], place, needle)
            rest, place = rest[whole:], place + whole


def _lines(block: bytes, offset: int, needle: bytes) -> list[tuple[int, int, bytes]]:
    """Return the lines of a block that starts at `offset`; with a needle, only headings and lines that contain it."""
    if needle and _BEGINS not in block and needle not in block.lower():
        return []
    ends = [0, *(match.end() for match in re.finditer(rb"\n", block))]
    lines = [(offset + start, offset + stop, block[start : stop - 1]) for start, stop in pairwise(ends)]
    if not needle:
        return lines
    return [each for each in lines if each[2].startswith(_BEGINS) or needle in each[2].lower()]
