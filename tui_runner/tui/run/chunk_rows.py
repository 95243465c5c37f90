"""The rows of the chunk table: the listed chunks, their order, and the content of the columns.

A run may have 100,000 chunks and four snapshots a second, and sorting all chunks for each snapshot would keep a core
busy. A snapshot tells which chunks differ from an earlier snapshot, and only chunks whose state changed get another
row. Rows move at most once a second: rows that move four times a second cannot be read, and half of the bytes that a
busy run sent to the terminal were for rows that had moved by one line. The data of every chunk are in arrays with some
bytes per chunk.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain, compress

from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews
from tui_runner.engine.states import ChunkState
from tui_runner.text.numbers import count, duration, rate
from tui_runner.tui.widgets.paint import Line, Span, bar, column, sparkline, state_span

LISTING_HOLD = 2.0
"""Seconds for which the rows of a sorted table keep their places, so that a user can read a row or press a key on
it."""

SortKey = Callable[[ChunkView], float]
NO_CHUNKS = ChunkViews.of(())


def usual(chunk: ChunkView) -> float:
    """Return the sort key of a chunk among chunks in the same state: minus the time of its end.

    Chunks that have not ended have equal keys, so that they stay in the order of their numbers.
    """
    return -_end(chunk)[0] if chunk.state.ended else 0.0


class ChunkListing:
    """Rows of a chunk table that the user has sorted by a column or limited to one state.

    Args:
        key: sort key; equal chunks stay in the order of their numbers.
        reverse: True for the highest first.
        state: the only state whose chunks are listed; None for all states.
        clock: returns seconds, for `LISTING_HOLD`.
    """

    def __init__(
        self,
        key: SortKey,
        *,
        reverse: bool = False,
        state: ChunkState | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._reverse = reverse
        self._state = state
        self._clock = clock
        self._chunks = NO_CHUNKS
        # The chunks at the last sort, with the key of each and a flag for listed ones.
        self._listed = NO_CHUNKS
        self._keys: list[float] = []
        self._fits = bytearray()
        self._numbers = array("q")
        self._listed_at: float | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def update(self, chunks: ChunkViews) -> tuple[set[int], bool]:
        """Store a new snapshot's chunks. Return the numbers of changed chunks, and True if any row moved."""
        if chunks is self._chunks:
            return set(), False
        old, self._chunks = self._chunks, chunks
        changed = chunks.changed_since(old)
        now = self._clock()
        fewer = len(chunks) < len(old)
        if self._listed_at is not None and not fewer and (not changed or now - self._listed_at < LISTING_HOLD):
            return changed, False
        self._listed_at = now
        self._measure(chunks, changed if self._listed is old else chunks.changed_since(self._listed))
        before = self._numbers
        listed: Iterable[int] = range(len(chunks))
        if self._state is not None:
            listed = compress(listed, self._fits)
        self._numbers = array("q", sorted(listed, key=self._keys.__getitem__, reverse=self._reverse))
        return changed, self._numbers != before

    def _measure(self, chunks: ChunkViews, changed: set[int]) -> None:
        """Compute the sort keys of the chunks in `changed`."""
        old, self._listed = self._listed, chunks
        key, state = self._key, self._state
        if len(changed) == len(chunks):
            self._keys = [key(chunk) for chunk in chunks.scan()]
            self._fits = bytearray(b"\1") * len(chunks)
            if state is not None:
                self._fits = bytearray(chunks.state(number) is state for number in range(len(chunks)))
            return
        new = len(chunks) - len(old)
        self._keys.extend([0.0] * new)
        self._fits.extend(bytes(new))
        for number in changed:
            chunk = chunks[number]
            self._keys[number] = key(chunk)
            self._fits[number] = state is None or chunk.state is state

    def at(self, row: int) -> ChunkView:
        """Return the chunk in a row, from 0.

        Raises:
            IndexError: there is no such row.
        """
        if row < 0:
            raise IndexError(row)
        return self._chunks[self._numbers[row]]

    def row_of(self, number: int) -> int | None:
        """Return the row of a chunk; None if it is not listed."""
        try:
            return self._numbers.index(number)
        except ValueError:
            return None

    def numbers(self) -> list[int]:
        """Return the numbers of the listed chunks, in their order."""
        return list(self._numbers)


GROUPS = (ChunkState.RUNNING, ChunkState.PAUSED, ChunkState.WAITING)
"""States in the order of the list; all ended chunks come after them, the newest first."""


HOLD = 1.0
"""Seconds for which the table keeps its order after rows were reordered, so that a key applies to the row that the user
saw."""


class ChunkOrder:
    """Rows of the chunk table: running, paused and waiting chunks by number, then ended chunks, the newest first.

    Chunks whose items were all recorded by an earlier process come last, because they did not end now.

    Args:
        hold: seconds for which rows keep their places while their content is updated; None for `HOLD`.
        clock: returns seconds, for `hold`.
    """

    def __init__(self, hold: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._hold = HOLD if hold is None else hold
        self._clock = clock
        self._moved_at = float("-inf")
        self._chunks = NO_CHUNKS
        # The chunks when their rows were last put in order.
        self._placed = NO_CHUNKS
        self._open: dict[ChunkState, list[int]] = {state: [] for state in GROUPS}
        # Numbers of ended chunks, in the order in which their ends were seen. The last one is listed first.
        self._ended = array("q")
        # Ordinal of the end of each chunk in `_ended`.
        self._moments = array("q")
        # Ordinal of a chunk's end by its number; 0 if its end was not seen here.
        self._moment_of = array("q")
        # The last ordinal.
        self._moment = 0
        # Ascending numbers of chunks that an earlier process recorded, also listed from the last one. Their ordinal is
        # 0.
        self._earlier = array("q")

    def __len__(self) -> int:
        return len(self._placed)

    def update(self, chunks: ChunkViews) -> tuple[set[int], bool]:
        """Store a new snapshot's chunks. Return the numbers of changed chunks, and True if any row moved."""
        if chunks is self._chunks:
            return set(), False
        before, self._chunks = self._chunks, chunks
        changed = chunks.changed_since(before)
        now = self._clock()
        if now - self._moved_at < self._hold and len(chunks) >= len(self._placed):
            return changed, False
        if self._arrange(chunks):
            self._moved_at = now
            return changed, True
        return changed, False

    def settle(self) -> None:
        """Put every chunk into its row now, without waiting for `hold`."""
        if self._arrange(self._chunks):
            self._moved_at = self._clock()

    def _arrange(self, chunks: ChunkViews) -> bool:
        """Put every chunk into its row. Return True if any row moved."""
        old, self._placed = self._placed, chunks
        common = min(len(old), len(chunks))
        changed = sorted(number for number in chunks.changed_since(old) if number < common)
        moved = [number for number in changed if _group(old.state(number)) is not _group(chunks.state(number))]
        for number in moved:
            self._leave(number, old.state(number))
        for number in range(common, len(old)):
            self._leave(number, old.state(number))
        self._moment_of.extend([0] * (len(chunks) - len(self._moment_of)))
        entering = [*moved, *range(common, len(chunks))]
        # Chunks that ended since the last snapshot ended approximately in this order.
        ended = sorted((number for number in entering if chunks.state(number).ended), key=lambda n: _end(chunks[n]))
        for number in ended:
            if _is_earlier(chunks[number]):
                self._moment_of[number] = 0
                _insert(self._earlier, number)
                continue
            self._moment += 1
            self._moment_of[number] = self._moment
            self._moments.append(self._moment)
            self._ended.append(number)
        for number in entering:
            # New chunks arrive in the order of their numbers, so most of them go to the end of their group.
            if (group := self._open.get(chunks.state(number))) is not None:
                _insert(group, number)
        return bool(entering) or len(old) > common

    def at(self, row: int) -> ChunkView:
        """Return the chunk in a row, from 0.

        Raises:
            IndexError: there is no such row.
        """
        rest = row
        if rest < 0:
            raise IndexError(row)
        for state in GROUPS:
            group = self._open[state]
            if rest < len(group):
                return self._chunks[group[rest]]
            rest -= len(group)
        if rest < len(self._ended):
            return self._chunks[self._ended[-1 - rest]]
        rest -= len(self._ended)
        if rest >= len(self._earlier):
            raise IndexError(row)
        return self._chunks[self._earlier[-1 - rest]]

    def row_of(self, number: int) -> int | None:
        """Return the row of a chunk; None if it has no row yet."""
        if not 0 <= number < len(self._placed):
            return None
        state = _group(self._placed.state(number))
        before = 0
        for group in GROUPS:
            if group is state:
                return before + bisect_left(self._open[group], number)
            before += len(self._open[group])
        before += len(self._ended) - 1
        if not self._moment_of[number]:
            return before + len(self._earlier) - bisect_left(self._earlier, number)
        return before - bisect_left(self._moments, self._moment_of[number])

    def numbers(self) -> list[int]:
        """Return the numbers of all chunks, in their order."""
        listed = chain.from_iterable(self._open[state] for state in GROUPS)
        return [*listed, *reversed(self._ended), *reversed(self._earlier)]

    def _leave(self, number: int, state: ChunkState) -> None:
        group = self._open.get(state)
        if group is not None:
            del group[bisect_left(group, number)]
        elif not self._moment_of[number]:
            del self._earlier[bisect_left(self._earlier, number)]
        else:
            place = bisect_left(self._moments, self._moment_of[number])
            del self._ended[place], self._moments[place]


def _group(state: ChunkState) -> ChunkState | None:
    return None if state.ended else state


def _insert(numbers: array[int] | list[int], number: int) -> None:
    """Insert a number in ascending order, which is nearly always at the end."""
    if not numbers or numbers[-1] < number:
        numbers.append(number)
    else:
        insort(numbers, number)


def _is_earlier(chunk: ChunkView) -> bool:
    """Return True if an earlier process recorded every item of an ended chunk."""
    return chunk.state is ChunkState.DONE and chunk.skipped >= chunk.items


def _end(chunk: ChunkView) -> tuple[float, int]:
    # A chunk that an earlier process has ended has a duration, but no start by the clock of this process.
    return 0.0 if chunk.started_at is None else chunk.started_at + chunk.elapsed, chunk.number


NUMBER_DIGITS = 5
"""Digits to which a chunk's number is padded on every screen, so that 99,999 chunks are aligned in tables."""
_SHARE = 6
"""Cells of the percentage beside a bar."""
_BAR_LEAST = 6
"""Cells of the shortest bar. A shorter bar could only show steps of 20 %, so the percentage is shown alone."""
_BAR_MOST = 60
"""Cells of the longest bar. A longer bar would show no more detail, and would move the columns apart."""
_BAR_FIRST = 14
"""Cells that a bar gets before columns of rank `_BESIDE_BAR` and above are shown."""
_BESIDE_BAR = 6
"""Columns with at least this rank are shown only if the bar has `_BAR_FIRST` cells."""
_NARROW = 44
"""In a table with fewer cells, the state of waiting chunks is cut, because the number of failed items is more
important."""
_NARROW_STATE = 12
"""Cells of the state in a narrow table: its longest word and its glyph."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        title: its heading.
        width: cells, without the two cells between columns.
        rank: the highest ranks are omitted first in narrow tables.
        cell: returns the content for a chunk, in the given number of cells.
        right: True if it and its heading are aligned to the right.
        key: sort key for this column; None if the table cannot be sorted by it.
        highest_first: True if sorting begins with the highest.
    """

    title: str
    width: int
    rank: int
    cell: Callable[[ChunkView, int], Line]
    right: bool = True
    key: Callable[[ChunkView], float] | None = None
    highest_first: bool = True


def chunk_name(number: int) -> str:
    """Return a chunk's number with at least `NUMBER_DIGITS` digits, as all screens and messages show it."""
    return f"{number:0{NUMBER_DIGITS}d}"


def _number(chunk: ChunkView, width: int) -> Line:
    return ((column(chunk_name(chunk.number), width), "text"),)


def _state(chunk: ChunkView, width: int) -> Line:
    text, role = state_span(chunk)
    return ((column(text, width), role),)


def executed(chunk: ChunkView) -> int:
    """Return the number of ended items without cancelled ones, which were never executed."""
    return chunk.finished - chunk.cancelled if chunk.state is ChunkState.CANCELLED else chunk.finished


def time_taken(chunk: ChunkView) -> str:
    """Return how long a chunk has been running, or ran until its end; empty if no item of it was executed.

    A cancelled chunk may have a start without any executed item, because a worker records its cancelled items.
    """
    if _is_earlier(chunk) and not chunk.elapsed:
        return ""  # the ledger of an older version has no duration
    idle = chunk.state in (ChunkState.PAUSED, ChunkState.CANCELLED)
    if idle and not (chunk.done + chunk.failed + chunk.retries + chunk.in_flight):
        return ""
    if chunk.started_at is None and not _is_earlier(chunk):
        return ""
    if chunk.state.ended and 0.0 < chunk.elapsed < 1.0:
        return f"00:00.{int(10 * chunk.elapsed)}"  # the shape of the other times, so that the column can be compared
    return duration(chunk.elapsed, short=True)


def _share(chunk: ChunkView) -> float:
    return executed(chunk) / chunk.items if chunk.items else 1.0


def _progress(chunk: ChunkView, width: int) -> Line:
    if not chunk.items or (chunk.state is ChunkState.WAITING and not chunk.finished):
        return ((" " * width, "text"),)
    share = min(_share(chunk), 1.0)
    text = (f"{int(share * 100):3d} %".rjust(_SHARE), "text")
    if width < _SHARE + _BAR_LEAST:
        return ((" " * (width - _SHARE), "text"), text)
    return (*chunk_bar(chunk, width - _SHARE), text)


def chunk_bar(chunk: ChunkView, width: int) -> Line:
    """Return a chunk's progress in `width` cells. The end of the filled part shows the failed items."""
    filled, rest = bar(_share(chunk), width)
    bad = 0
    if chunk.failed and filled:
        # Even one failed item of thousands is visible, and a chunk with done items never looks completely failed.
        most = len(filled) if chunk.failed == executed(chunk) else max(len(filled) - 1, 1)
        bad = min(max(1, round(len(filled) * chunk.failed / executed(chunk))), most)
    good = "done" if chunk.state is ChunkState.FAILED else str(chunk.state)
    return ((filled[: len(filled) - bad], good), (filled[len(filled) - bad :], "failed"), (rest, "faint"))


def chunk_rate(chunk: ChunkView) -> str:
    """Format the items per second of a chunk; empty if too few items have ended for a rate.

    The text is also empty for a chunk that starts no items now, and for a cancelled one, whose items took no time.
    """
    if chunk.state is ChunkState.CANCELLED or (chunk.started_at is None and not _is_earlier(chunk)):
        return ""
    # A chunk that runs and finishes nothing has the rate 0.
    return rate(chunk.items_per_second) if chunk.state is ChunkState.RUNNING or chunk.items_per_second > 0 else ""


def _rate(chunk: ChunkView, width: int) -> Line:
    return ((column(chunk_rate(chunk), width, right=True), "text"),)


def _recent(chunk: ChunkView, width: int) -> Line:
    return ((sparkline(chunk.recent, width), "chart-1"),)


def _counted(value: Callable[[ChunkView], int], role: str = "text") -> Callable[[ChunkView, int], Line]:
    def cell(chunk: ChunkView, width: int) -> Line:
        number = value(chunk)
        if chunk.started_at is None and not number:
            return ((" " * width, "text"),)
        return ((column(count(number), width, right=True), role if number else "muted"),)

    return cell


def _elapsed(chunk: ChunkView, width: int) -> Line:
    return ((column(time_taken(chunk), width, right=True), "text"),)


def _worker(chunk: ChunkView, width: int) -> Line:
    return ((column("" if chunk.worker is None else str(chunk.worker), width, right=True), "muted"),)


def _of_items(chunk: ChunkView, width: int) -> Line:
    if not chunk.items:
        return ((" " * width, "text"),)
    return ((column(f"{count(chunk.finished)}/{count(chunk.items)}", width, right=True), "muted"),)


COLUMNS = (
    Column("chunk", NUMBER_DIGITS + 1, 0, _number, right=False, key=lambda chunk: chunk.number, highest_first=False),
    Column("state", 14, 0, _state, right=False),
    Column("progress", _SHARE, 1, _progress, right=False, key=_share),
    Column("items", 11, 9, _of_items),
    Column(
        "items/s", 7, 3, _rate, key=lambda chunk: chunk.items_per_second * (chunk.state is not ChunkState.CANCELLED)
    ),
    Column("last min", 10, 6, _recent),
    Column("failed", 7, 2, _counted(lambda chunk: chunk.failed, "bad"), key=lambda chunk: chunk.failed),
    Column("retries", 8, 7, _counted(lambda chunk: chunk.retries), key=lambda chunk: chunk.retries),
    Column("rows", 6, 4, _counted(lambda chunk: chunk.rows), key=lambda chunk: chunk.rows),
    Column("in flight", 9, 8, _counted(lambda chunk: chunk.in_flight), key=lambda chunk: chunk.in_flight),
    Column("worker", 6, 10, _worker),
    Column("elapsed", 8, 5, _elapsed, key=lambda chunk: chunk.elapsed),
)
"""All columns, from left to right. The progress bar takes the room that the other columns leave."""

GAP = 2
"""Blanks between two columns: with one, numbers run into each other."""
MARK = 2
"""Cells at the left for the signs of the cursor and of marks."""


def layout(width: int) -> list[Column]:
    """Return the columns that fit into `width` cells. The progress bar gets the room that the others leave."""
    kept: list[Column] = []
    room = width - MARK - 1
    every = [replace(item, width=_NARROW_STATE) if item.title == "state" else item for item in COLUMNS]
    every = every if width < _NARROW else list(COLUMNS)
    for item in sorted(every, key=lambda item: item.rank):
        spare = room - _BAR_FIRST if item.rank >= _BESIDE_BAR else room
        if item.width + (GAP if kept else 0) > spare:
            break
        kept.append(item)
        room -= item.width + (GAP if len(kept) > 1 else 0)
    columns = [item for item in every if item in kept]
    spare = min(room, _BAR_MOST)
    return [
        replace(item, width=item.width + spare) if item.title == "progress" and spare >= _BAR_LEAST else item
        for item in columns
    ]


def heading(columns: list[Column], sorted_by: str = "", *, reverse: bool = False) -> Line:
    """Return the line of titles. An arrow marks the sorted column; it points down if the highest value comes first."""
    spans: list[Span] = [(" " * MARK, "muted")]
    for number, item in enumerate(columns):
        title = item.title if len(item.title) <= item.width else "done"
        role = "muted"
        if item.title == sorted_by:
            title, role = ("▼" if reverse else "▲") + title[: item.width - 1], "accent"
        right = item.right or title.endswith("done")
        spans.append(((" " * GAP if number else "") + column(title, item.width, right=right), role))
    return tuple(spans)


def column_at(columns: list[Column], x: int) -> Column | None:
    """Return the column whose heading is at the cell `x`; None if there is none."""
    start = MARK
    for item in columns:
        if start <= x < start + item.width + GAP:
            return item
        start += item.width + GAP
    return None


def row(chunk: ChunkView, columns: list[Column], *, cursor: bool, marked: bool = False) -> Line:
    """Return a chunk as a line. The cursor and marks have a sign as well as another background."""
    line: list[Span] = [(("▸" if cursor else " ") + ("●" if marked else " "), "accent")]
    for number, item in enumerate(columns):
        if number:
            line.append((" " * GAP, "text"))
        line.extend(item.cell(chunk, item.width))
    return tuple(line)
