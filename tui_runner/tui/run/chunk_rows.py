"""Decides which chunks the table lists, in which order, and what its columns show.

A run may have 100,000 chunks and has four snapshots per second. Sorting all chunks for each snapshot would keep a core
busy. But a snapshot knows which chunks differ from an earlier snapshot, and only chunks whose state has changed get
another row. For the same reason, the data about all chunks are in arrays that take a few bytes per chunk.

Rows move at most once per second. Users cannot read rows that move four times per second, and half of the bytes that a
busy run sent to the terminal were for rows that had moved by one line.
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
"""Seconds for which the rows of a table that the user has sorted keep their order, so that the user can read a row or
give it a command."""

SortKey = Callable[[ChunkView], float]
"""A function that returns the number by which a chunk is sorted."""
NO_CHUNKS = ChunkViews.of(())


def usual(chunk: ChunkView) -> float:
    """Return the sort key for a list of chunks in one state, with the chunk that ended last at its beginning.

    Chunks that have not ended have equal keys, so that they stay in the order of their numbers.
    """
    return -_end(chunk)[0] if chunk.state.ended else 0.0


class ChunkListing:
    """The rows of a chunk table that the user has sorted by a column or limited to one state.

    Args:
        key: returns the sort key of a chunk. Chunks with equal keys stay in the order of their numbers.
        reverse: True to list the highest keys first.
        state: the only state whose chunks are listed; None to list chunks in all states.
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
        # The chunks at the last sort. For each of them, `_keys` has its key, and `_fits` is 1 if it is listed.
        self._listed = NO_CHUNKS
        self._keys: list[float] = []
        self._fits = bytearray()
        self._numbers = array("q")
        self._listed_at: float | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def update(self, chunks: ChunkViews) -> tuple[set[int], bool]:
        """Take the chunks of a new snapshot, and sort the rows if `LISTING_HOLD` seconds have passed.

        The rows are sorted at once in the first call, and if there are fewer chunks than before. Return the numbers of
        the chunks that have changed, and True if any row has moved.
        """
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
        """Update `_keys` and `_fits` for the chunks whose numbers are in `changed`."""
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
        """Return the chunk in row `row`, counted from 0.

        Raises:
            IndexError: there is no such row.
        """
        if row < 0:
            raise IndexError(row)
        return self._chunks[self._numbers[row]]

    def row_of(self, number: int) -> int | None:
        """Return the row of the chunk with this number, or None if the chunk is not listed."""
        try:
            return self._numbers.index(number)
        except ValueError:
            return None

    def numbers(self) -> list[int]:
        """Return the numbers of the listed chunks, in the order of their rows."""
        return list(self._numbers)


GROUPS = (ChunkState.RUNNING, ChunkState.PAUSED, ChunkState.WAITING)
"""The states of chunks that have not ended, in the order of the table. Ended chunks come after them."""


HOLD = 1.0
"""Seconds for which the table keeps its order after it was changed, so that a key applies to the row that the user has
seen."""


class ChunkOrder:
    """The rows of the chunk table in the usual order.

    Running chunks come first, then paused and waiting ones, each by number. Ended chunks come after them, the one that
    ended last at their beginning. Chunks that an earlier process has completed come last.

    Args:
        hold: seconds for which rows keep their order, while their content is updated; None for `HOLD`.
        clock: returns seconds, for `hold`.
    """

    def __init__(self, hold: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._hold = HOLD if hold is None else hold
        self._clock = clock
        self._moved_at = float("-inf")
        self._chunks = NO_CHUNKS
        # The chunks at the last change of the order.
        self._placed = NO_CHUNKS
        self._open: dict[ChunkState, list[int]] = {state: [] for state in GROUPS}
        # Numbers of ended chunks, in the order in which snapshots showed their ends. The last one is listed first.
        self._ended = array("q")
        # For each chunk in `_ended`, the ordinal of its end: 1 for the first end that a snapshot showed.
        self._moments = array("q")
        # For each chunk by its number, the ordinal of its end; 0 if it has not ended, or ended in an earlier process.
        self._moment_of = array("q")
        # The ordinal of the last end.
        self._moment = 0
        # Ascending numbers of chunks that an earlier process has completed. The last one is listed first here, too.
        self._earlier = array("q")

    def __len__(self) -> int:
        return len(self._placed)

    def update(self, chunks: ChunkViews) -> tuple[set[int], bool]:
        """Take the chunks of a new snapshot, and change the order of the rows if `hold` seconds have passed.

        The order is changed at once if there are fewer chunks than before. Return the numbers of the chunks that have
        changed, and True if any row has moved.
        """
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
        """Put every chunk into its row at once, even if the order was changed less than `hold` seconds ago."""
        if self._arrange(self._chunks):
            self._moved_at = self._clock()

    def _arrange(self, chunks: ChunkViews) -> bool:
        """Put every chunk into its row in the usual order. Return True if any row has moved."""
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
        # Several chunks may have ended since the last change of the order. Sort them by the times of their ends.
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
            # Most numbers are higher than those in the group, because new chunks arrive in ascending order.
            if (group := self._open.get(chunks.state(number))) is not None:
                _insert(group, number)
        return bool(entering) or len(old) > common

    def at(self, row: int) -> ChunkView:
        """Return the chunk in row `row`, counted from 0.

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
        """Return the row of the chunk with this number, or None if the chunk has no row yet."""
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
        """Return the numbers of all chunks, in the order of their rows."""
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
    """Insert `number` into `numbers`, which stay ascending. It is nearly always the highest one."""
    if not numbers or numbers[-1] < number:
        numbers.append(number)
    else:
        insort(numbers, number)


def _is_earlier(chunk: ChunkView) -> bool:
    """Return True if an earlier process has completed the chunk, so that this process skips all of its items."""
    return chunk.state is ChunkState.DONE and chunk.skipped >= chunk.items


def _end(chunk: ChunkView) -> tuple[float, int]:
    # A chunk that ended in an earlier process has no start by the clock of this process.
    return 0.0 if chunk.started_at is None else chunk.started_at + chunk.elapsed, chunk.number


NUMBER_DIGITS = 5
"""Cells for the number of a chunk, which suffice for a run with up to 100,000 chunks."""
_SHARE = 6
"""Cells of the percentage beside a bar: ` 100 %`."""
_BAR_LEAST = 6
"""Fewest cells of a bar. A shorter bar would have steps of 10 % and more, so the percentage is shown alone."""
_BAR_MOST = 60
"""Most cells of a bar. A longer bar would move the columns apart without showing more."""
_BAR_FIRST = 14
"""Cells that the progress bar gets before the columns whose rank is at least `_BESIDE_BAR` are shown."""
_BESIDE_BAR = 6
"""Lowest rank of the columns that are less important than a progress bar of `_BAR_FIRST` cells."""
_NARROW = 44
"""Cells of a table below which the column of states has only `_NARROW_STATE` cells, so that the number of failed items
still fits."""
_NARROW_STATE = 12
"""Cells of the column of states in a narrow table: enough for a glyph and the longest state, `cancelled`. The reason
why a chunk waits may be cut."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the chunk table.

    Attributes:
        title: heading of the column.
        width: cells of the column, without the blanks between columns.
        rank: importance of the column. A narrow table omits the columns with the highest ranks first.
        cell: returns the content of the column for a chunk, in the given number of cells.
        right: True if the content and the heading are aligned to the right.
        key: returns the sort key of a chunk; None if the table cannot be sorted by the column.
        highest_first: True if the highest key comes first when the user sorts by the column.
    """

    title: str
    width: int
    rank: int
    cell: Callable[[ChunkView, int], Line]
    right: bool = True
    key: Callable[[ChunkView], float] | None = None
    highest_first: bool = True


def chunk_name(number: int) -> str:
    """Return the name of a chunk as all screens, messages and logs show it: `chunk 76`.

    Columns with the heading "chunk" have the number alone.
    """
    return f"chunk {number}"


def _number(chunk: ChunkView, width: int) -> Line:
    return ((column(str(chunk.number), width, right=True), "text"),)


def _state(chunk: ChunkView, width: int) -> Line:
    text, role = state_span(chunk)
    return ((column(text, width), role),)


def executed(chunk: ChunkView) -> int:
    """Return the number of ended items of a chunk, for a cancelled chunk without the items that were cancelled."""
    return chunk.finished - chunk.cancelled if chunk.state is ChunkState.CANCELLED else chunk.finished


def time_taken(chunk: ChunkView) -> str:
    """Return the duration of a chunk so far, as text. The text is empty if the chunk has not started.

    It is also empty for a paused or cancelled chunk of which no item was executed: such a chunk may have a start,
    because a worker records the items of a cancelled chunk.
    """
    if _is_earlier(chunk) and not chunk.elapsed:
        return ""  # a ledger that an older version of tui-runner has written has no durations
    idle = chunk.state in (ChunkState.PAUSED, ChunkState.CANCELLED)
    if idle and not (chunk.done + chunk.failed + chunk.retries + chunk.in_flight):
        return ""
    if chunk.started_at is None and not _is_earlier(chunk):
        return ""
    if chunk.state.ended and 0.0 < chunk.elapsed < 1.0:
        return f"00:00.{int(10 * chunk.elapsed)}"  # as wide as other times, so that digits are aligned
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
    """Return the progress bar of a chunk in `width` cells. The end of its filled part stands for the failed items."""
    filled, rest = bar(_share(chunk), width)
    bad = 0
    if chunk.failed and filled:
        # Give failed items at least one cell, so that even one of thousands is visible. Leave at least one cell to done
        # items, so that no chunk looks as if all of its items had failed.
        most = len(filled) if chunk.failed == executed(chunk) else max(len(filled) - 1, 1)
        bad = min(max(1, round(len(filled) * chunk.failed / executed(chunk))), most)
    good = "done" if chunk.state is ChunkState.FAILED else str(chunk.state)
    return ((filled[: len(filled) - bad], good), (filled[len(filled) - bad :], "failed"), (rest, "faint"))


def chunk_rate(chunk: ChunkView) -> str:
    """Return the items per second of a chunk as text; empty if the chunk has no rate.

    A chunk has no rate if it has not started, if it neither runs nor has finished any items, or if it was cancelled:
    the ends of cancelled items took no time.
    """
    if chunk.state is ChunkState.CANCELLED or (chunk.started_at is None and not _is_earlier(chunk)):
        return ""
    # A running chunk that finishes no items has a rate of 0, which is shown.
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
    Column("chunk", NUMBER_DIGITS + 1, 0, _number, key=lambda chunk: chunk.number, highest_first=False),
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
"""All columns, from left to right. `layout` widens the column of progress by cells that the other columns leave."""

GAP = 2
"""Blanks between two columns. With one blank, neighbouring numbers would look like one number."""
MARK = 2
"""Cells at the left end of a row, for the sign of the cursor and the sign of a marked chunk."""


def layout(width: int) -> list[Column]:
    """Return the columns that fit into `width` cells. The column of progress gets the cells that the others leave.

    Its bar has at most `_BAR_MOST` cells. If less than `_BAR_LEAST` cells are left, it has no bar.
    """
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
    """Return the line with the titles of `columns`.

    Args:
        columns: the columns, from left to right.
        sorted_by: title of the column by which the table is sorted, which gets an arrow; empty for no column.
        reverse: True if the highest value comes first, for which the arrow points down.
    """
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
    """Return the column at cell `x` of a line, or None if there is none. The gap after a column belongs to it."""
    start = MARK
    for item in columns:
        if start <= x < start + item.width + GAP:
            return item
        start += item.width + GAP
    return None


def row(chunk: ChunkView, columns: list[Column], *, cursor: bool, marked: bool = False) -> Line:
    """Return the row of a chunk.

    Args:
        chunk: the chunk.
        columns: the columns, from left to right.
        cursor: True if the cursor is on the chunk. The row gets a sign, because terminals may have no colours.
        marked: True if the user has marked the chunk.
    """
    line: list[Span] = [(("▸" if cursor else " ") + ("●" if marked else " "), "accent")]
    for number, item in enumerate(columns):
        if number:
            line.append((" " * GAP, "text"))
        line.extend(item.cell(chunk, item.width))
    return tuple(line)
