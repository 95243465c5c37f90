"""Reads parts of a run's log file for the log screen. A part ("window") has at most `WINDOW` consecutive lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tui_runner.engine.logs.log_file import written
from tui_runner.engine.logs.log_reader import LogReader, Place, StoredLine, Wanted
from tui_runner.engine.protocol import LogLine
from tui_runner.tui.background import in_thread

PAGE = 1_000
"""Number of lines that are read at once. They are several screens, so that few key presses have to read. They are a
fifth of `WINDOW`, so that one read never replaces the whole window."""
WINDOW = 5_000
"""Most lines of a window. The lines farthest from the cursor are dropped, so that little of a log of 64 MB is in
memory."""


@dataclass(frozen=True, slots=True)
class LogWindow:
    """A part of the log file.

    Attributes:
        lines: consecutive lines among those that the user wants to see.
        place: index in `lines` of the line on which the cursor is to be.
        above: number of lines that were added before the first line of the previous window; negative if lines were
            dropped at its beginning.
        cut: True if the log file has lost lines of the run before the first line.
    """

    lines: tuple[StoredLine, ...]
    place: int = 0
    above: int = 0
    cut: bool = False


def is_same(one: LogLine, other: LogLine) -> bool:
    """Return True if a line in memory and a line of the file are the same. The file has times in milliseconds."""
    return abs(one.at - other.at) < 0.002 and one.item == other.item and written(one) == written(other)


class LogHistory:
    """Reads windows of a log file in threads, so that the screen never waits.

    All methods raise OSError if the file cannot be read, and ValueError if its name is not valid. Their argument
    `wanted` returns True for lines that the user wants to see; other lines are left out.

    Args:
        path: path of the log file.
        run_id: number of the run.
    """

    def __init__(self, path: str, run_id: int) -> None:
        self._reader = LogReader(Path(path), run_id)

    async def before_memory(
        self, oldest: tuple[LogLine, ...], here: LogLine | None, wanted: Wanted
    ) -> LogWindow | None:
        """Return a window with a page of lines before those in memory, and a page of lines from the first in memory on.

        Return None if the file has no line before those in memory.

        Args:
            oldest: the one or two oldest lines in memory.
            here: the line under the cursor, on which the cursor stays; None if there is none.
            wanted: returns True for lines that the user wants to see.
        """

        def read() -> LogWindow | None:
            place = self._place_of(oldest)
            before = self._reader.before(place, PAGE, wanted).lines
            if not before:
                return None
            lines = before + (self._reader.after(place, PAGE, wanted).lines if place is not None else ())
            last = len(before) - 1
            at = next((at for at, each in enumerate(lines) if here is not None and is_same(here, each.line)), last)
            return LogWindow(lines, at, len(before))

        return await in_thread(read, "log")

    async def beginning(self, wanted: Wanted) -> LogWindow | None:
        """Return a window with the first lines of the run in the file, or None if there are no such lines."""

        def read() -> LogWindow | None:
            first = self._reader.beginning()
            lines = () if first is None else self._reader.after(first.place, PAGE, wanted).lines
            return LogWindow(lines, cut=first.cut) if first is not None and lines else None

        return await in_thread(read, "log")

    async def is_cut(self) -> bool:
        """Return True if the file has lost the first lines of the run."""

        def read() -> bool:
            first = self._reader.beginning()
            return first is None or first.cut

        return await in_thread(read, "log")

    async def around(self, place: Place, wanted: Wanted) -> LogWindow:
        """Return a window with half a page of lines before `place` and half a page after it."""
        return await in_thread(lambda: self._around(place, wanted), "log")

    async def earlier(self, window: LogWindow, at: int, wanted: Wanted) -> LogWindow | None:
        """Return `window` with a page of earlier lines before it, or None if the file has no earlier lines.

        If the result would have more than `WINDOW` lines, the last ones are dropped.

        Args:
            window: the current window.
            at: index of the line under the cursor.
            wanted: returns True for lines that the user wants to see.
        """

        def read() -> LogWindow | None:
            more = self._reader.before(window.lines[0].start, PAGE, wanted).lines
            lines = (more + window.lines)[:WINDOW]
            return LogWindow(lines, min(at + len(more), len(lines) - 1), len(more)) if more else None

        return await in_thread(read, "log")

    async def later(self, window: LogWindow, at: int, wanted: Wanted) -> LogWindow | None:
        """Return `window` with a page of later lines after it, or None if the file has no later lines.

        If the result would have more than `WINDOW` lines, the first ones are dropped.

        Args:
            window: the current window.
            at: index of the line under the cursor.
            wanted: returns True for lines that the user wants to see.
        """

        def read() -> LogWindow | None:
            more = self._reader.after(window.lines[-1].end, PAGE, wanted).lines
            lines = window.lines + more
            gone = max(len(lines) - WINDOW, 0)
            return LogWindow(lines[gone:], max(at - gone, 0), -gone) if more else None

        return await in_thread(read, "log")

    async def find(
        self, direction: int, window: LogWindow | None, oldest: tuple[LogLine, ...], wanted: Wanted, text: str
    ) -> tuple[LogWindow, bool] | None:
        """Find the nearest line of the file with a text in it or in its item, outside of the lines that are listed.

        Upper and lower case are equal. After the last line in this direction, the search continues from the other end.

        Args:
            direction: 1 to search towards the end, -1 towards the beginning.
            window: the current window; None while the newest lines are shown.
            oldest: the one or two oldest lines in memory.
            wanted: returns True for lines that the user wants to see.
            text: the text.

        Returns:
            A window around the line, and True if the search has continued from the other end. None if there is no such
            line.
        """
        return await in_thread(lambda: self._find(direction, window, oldest, wanted, text), "log")

    def _find(
        self, direction: int, window: LogWindow | None, oldest: tuple[LogLine, ...], wanted: Wanted, text: str
    ) -> tuple[LogWindow, bool] | None:
        reader, lower = self._reader, text.lower()

        def match(line: LogLine) -> bool:
            return (lower in line.text.lower() or lower in line.value.lower()) and wanted(line)

        found: tuple[StoredLine, ...] = ()
        if window is not None and direction > 0:
            found = reader.after(window.lines[-1].end, 1, match, text=text).lines
        elif direction < 0:
            place = window.lines[0].start if window is not None else self._place_of(oldest)
            found = reader.before(place, 1, match, text=text).lines if place is not None else ()
        if found:
            return self._around(found[0].start, wanted), False
        if direction > 0:
            first = reader.beginning()
            found = reader.after(first.place, 1, match, text=text).lines if first is not None else ()
        else:
            found = reader.before(None, 1, match, text=text).lines
        return (self._around(found[0].start, wanted), True) if found else None

    def _place_of(self, oldest: tuple[LogLine, ...]) -> Place | None:
        return self._reader.place_of(oldest[0], oldest[1] if len(oldest) > 1 else None) if oldest else None

    def _around(self, place: Place, wanted: Wanted) -> LogWindow:
        before = self._reader.before(place, PAGE // 2, wanted).lines
        lines = before + self._reader.after(place, PAGE // 2, wanted).lines
        return LogWindow(lines, max(0, min(len(before), len(lines) - 1)))
