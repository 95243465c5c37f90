"""All chunks of a run by number: open ones as objects, ended ones as numbers in columns.

A run of 50 million items has up to 100,000 chunks. As an object, each would take about a kilobyte and be visited by
every garbage collection. In columns a chunk takes 77 bytes and the collector never visits it.

Snapshots share the columns with the scheduler. A row is written when its chunk ends; earlier snapshots never read that
row, because in them the chunk is still open. A row is written a second time when its chunk has run again or when the
database refuses the chunk's rows. Before that, the columns are copied if a snapshot shares them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from tui_runner.engine.protocol import Counts
from tui_runner.engine.scheduling.chunk import Chunk, ItemsLeft
from tui_runner.engine.states import ChunkState

STATES = tuple(ChunkState)
"""States of chunks; the column `state` holds an index into this tuple."""
_NEVER = math.nan
"""Value that replaces None in the columns of times, which can hold only floats."""
_NOTHING_LEFT = ItemsLeft(range(0), ())
"""The pending items of every ended chunk: none."""


class EndedColumns:
    """Figures of ended chunks: one row per chunk, by its number.

    The row of an open chunk holds zeros. If the chunk had ended before, and items of it run again, the row holds the
    earlier figures. See `Chunk` for the meaning of each column. A row takes 77 bytes.
    """

    __slots__ = (
        "busy_seconds",
        "cancelled",
        "done",
        "elapsed",
        "ended_at",
        "failed",
        "first_item",
        "items",
        "retries",
        "rows",
        "skipped",
        "started_at",
        "state",
    )

    def __init__(self) -> None:
        self.first_item = array("q")
        self.items = array("i")
        self.state = array("b")
        self.skipped = array("i")
        self.done = array("i")
        self.failed = array("i")
        self.cancelled = array("i")
        self.retries = array("q")
        self.rows = array("q")
        self.busy_seconds = array("d")
        self.started_at = array("d")
        self.ended_at = array("d")
        self.elapsed = array("d")

    def __len__(self) -> int:
        return len(self.state)

    def copy(self) -> EndedColumns:
        """Return a copy that the scheduler may change without changing the snapshots that share this object."""
        copy = EndedColumns()
        for name in self.__slots__:
            setattr(copy, name, getattr(self, name)[:])
        return copy

    def append_empty(self) -> None:
        """Append a row of zeros, for a chunk that has not ended."""
        for name in self.__slots__:
            getattr(self, name).append(0)


class ChunkStore(Sequence[Chunk]):
    """Every chunk that was read, by number. Owned by the scheduler.

    Indexing an ended chunk builds a new `Chunk` from its columns. Changes to that object are kept only by passing it to
    `end` or `reopen`.

    Attributes:
        open: the chunks that have not ended, by number.
        ended: numbers of chunks in the order in which they ended. A number is repeated when its chunk ends again, or
            when the database refuses its rows later. The array only grows, so readers can remember how far they have
            read.
        items: total number of items of all chunks.
    """

    def __init__(self) -> None:
        self.open: dict[int, Chunk] = {}
        self.ended = array("q")
        self.items = 0
        self._columns = EndedColumns()
        self._are_shared = False
        self._failures: dict[int, tuple[array[int], array[int], int]] = {}
        self._rejected: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Chunk]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, number: int) -> Chunk: ...

    @overload
    def __getitem__(self, number: slice) -> list[Chunk]: ...

    def __getitem__(self, number: int | slice) -> Chunk | list[Chunk]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if number < 0:
            number += len(self)
        chunk = self.open.get(number)
        return self._ended(number) if chunk is None else chunk

    def add(self, chunk: Chunk) -> None:
        """Add the next chunk of the input, which is open."""
        self._columns.append_empty()
        self.items += chunk.items
        self.open[chunk.number] = chunk

    def add_done(self, first_items: array[int], items: array[int], rows: array[int], milliseconds: array[int]) -> None:
        """Add the next chunks of the input, which an earlier process recorded as complete.

        Args:
            first_items: position of the first item of each chunk.
            items: number of items of each chunk.
            rows: number of result rows of each chunk.
            milliseconds: duration of each chunk in that process; 0 if unknown.
        """
        columns, count = self._columns, len(items)
        first = len(columns)
        zeros, never = array("b", bytes(count)), array("d", [_NEVER]) * count
        columns.first_item.extend(first_items)
        columns.rows.extend(rows)
        for column in (columns.items, columns.skipped, columns.done):
            column.extend(array(column.typecode, items))
        for column in (columns.failed, columns.cancelled, columns.retries):
            column.extend(array(column.typecode, zeros))
        columns.state.extend(array("b", [STATES.index(ChunkState.DONE)]) * count)
        for times in (columns.started_at, columns.ended_at):
            times.extend(never)
        columns.busy_seconds.extend(array("d", zeros))
        columns.elapsed.extend(each / 1000 for each in milliseconds)
        self.items += sum(items)
        self.ended.extend(range(first, first + count))

    def end(self, chunk: Chunk) -> None:
        """Replace an ended chunk by its row of figures and its failures."""
        number, columns, counts = chunk.number, self._columns, chunk.counts
        if self.open.pop(number, None) is None or columns.items[number]:  # an earlier snapshot may read this row
            columns = self._writable()
        columns.first_item[number] = chunk.first_item
        columns.items[number] = chunk.items
        columns.state[number] = STATES.index(chunk.state)
        columns.skipped[number] = chunk.skipped
        columns.done[number] = counts.done
        columns.failed[number] = counts.failed
        columns.cancelled[number] = counts.cancelled
        columns.retries[number] = counts.retries
        columns.rows[number] = counts.rows
        columns.busy_seconds[number] = counts.busy_seconds
        columns.started_at[number] = _NEVER if chunk.started_at is None else chunk.started_at
        columns.ended_at[number] = _NEVER if chunk.ended_at is None else chunk.ended_at
        columns.elapsed[number] = 0.0 if chunk.ended_at is None else chunk.elapsed(chunk.ended_at)
        self.ended.append(number)
        self._failures.pop(number, None)
        if chunk.failures:
            self._failures[number] = array("q", chunk.failures), array("q", chunk.failures.values()), chunk.nbytes
        if chunk.rejected:
            self._rejected[number] = chunk.rejected, chunk.rejected_rows

    def reopen(self, chunk: Chunk) -> None:
        """Make an ended chunk open again, because items of it run again."""
        self.open[chunk.number] = chunk
        self._failures.pop(chunk.number, None)

    def share(self) -> EndedColumns:
        """Return the current columns for a snapshot. In these columns, the rows of ended chunks never change."""
        self._are_shared = True
        return self._columns

    def _writable(self) -> EndedColumns:
        if self._are_shared:
            # Snapshots still read the old columns.
            self._columns, self._are_shared = self._columns.copy(), False
        return self._columns

    def _ended(self, number: int) -> Chunk:
        """Return an ended chunk, made from the columns."""
        columns = self._columns
        started_at, ended_at = columns.started_at[number], columns.ended_at[number]
        has_run = not math.isnan(started_at)
        positions, attempts, nbytes = self._failures.get(number, ((), (), 0))
        rejected, rejected_rows = self._rejected.get(number, (0, 0))
        return Chunk(
            number,
            columns.first_item[number],
            columns.items[number],
            columns.skipped[number],
            _NOTHING_LEFT,
            STATES[columns.state[number]],
            rejected=rejected,
            rejected_rows=rejected_rows,
            failures=dict(zip(positions, attempts, strict=True)),
            nbytes=nbytes,
            counts=Counts(
                columns.done[number],
                columns.failed[number],
                columns.cancelled[number],
                columns.retries[number],
                columns.rows[number],
                columns.busy_seconds[number],
            ),
            started_at=started_at if has_run else None,
            ended_at=None if math.isnan(ended_at) else ended_at,
            paused_seconds=ended_at - started_at - columns.elapsed[number] if has_run else 0.0,
        )
