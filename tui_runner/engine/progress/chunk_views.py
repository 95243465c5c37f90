"""The chunks of a snapshot, at no cost for ended chunks.

A run of 50 million items has up to 100,000 chunks, and a screen shows about forty. Only open chunks have view objects.
Ended chunks are rows of columns that all snapshots of a run share (`scheduling/chunk_store.py`); the view of an ended
chunk is created when it is read.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import cast, overload

from tui_runner.engine.metrics import mean_rate
from tui_runner.engine.scheduling.chunk_store import STATES, EndedColumns
from tui_runner.engine.states import ChunkState


class WaitCause(StrEnum):
    """Reasons why no item of a chunk is executed although the chunk is not paused."""

    NOT_STARTED = "not started"
    QUEUED = "queued"
    """Some items of the chunk were executed. It waits for a worker again, or for threads of its worker."""
    RUN_PAUSED = "run paused"
    HOST = "host"
    HOST_PAUSED = "host paused"
    """The user has paused the host that the chunk waits for."""
    RETRY = "retry"
    """All remaining items of the chunk have failed and wait for their next attempt."""
    RETRY_BUDGET = "retry budget"
    """As with `RETRY`; the next attempt is due, and the retry budget holds it back."""
    MEMORY = "for memory"
    DISK = "for disk"
    DATABASE = "for database"
    """Too many rows are not written yet."""
    OUTAGE = "outage"
    MACHINE = "no machine"
    """No machine of the cluster is left."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The reason why a chunk waits, and the time until it continues.

    Attributes:
        cause: kind of reason.
        host: host that the chunk waits for, if a host is the cause; must pass `safe_text` before it is shown.
        seconds: whole seconds until the chunk continues; None if unknown.
        until: time at which the chunk continues, in whole seconds since the epoch; None if unknown.
    """

    cause: WaitCause
    host: str = ""
    seconds: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class ChunkView:
    """A chunk as shown to the user.

    Attributes:
        number: position among the chunks of the run, from 0.
        state: state that is shown. It is `WAITING` also for a running chunk of which no item is executed.
        wait: reason why the chunk is `WAITING`; None in every other state.
        first_item: position of the chunk's first item in the input.
        items: number of items, `skipped` included.
        done: items that succeeded, `skipped` included.
        failed: items that failed or timed out.
        cancelled: items that were cancelled.
        skipped: items that an earlier process recorded as ok.
        retries: attempts after the first, over all items.
        rows: result rows of the items so far, including rows of skipped items.
        in_flight: items being executed now. Items that have begun and wait for their host do not count.
        worker: number of the worker that has the chunk; None if no worker has it.
        started_at: active time at which the first item started; None before.
        elapsed: active seconds from `started_at` to the chunk's end or to now, without pauses of the chunk. If an
            earlier process ended the chunk, the seconds that the chunk took in that process.
        items_per_second: items that ended per second. While the chunk runs, over the last `metrics.RATE_SECONDS`; after
            its end, over `elapsed`.
        recent: items per second in each of the last ten spans of six seconds, oldest first; empty before the chunk has
            started and after its end.
    """

    number: int
    state: ChunkState
    first_item: int
    items: int
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    retries: int = 0
    rows: int = 0
    in_flight: int = 0
    worker: int | None = None
    started_at: float | None = None
    elapsed: float = 0.0
    items_per_second: float = 0.0
    recent: tuple[float, ...] = ()
    wait: Wait | None = None

    @property
    def finished(self) -> int:
        """The number of items that reached a final state."""
        return self.done + self.failed + self.cancelled


def _of_column(name: str) -> property:
    column = attrgetter(name)
    return property(lambda view: column(view.columns)[view.number])


class _EndedView:
    """A view of an ended chunk with the attributes of `ChunkView`, each read from the columns on access."""

    __slots__ = ("columns", "number")

    first_item = _of_column("first_item")
    items = _of_column("items")
    done = _of_column("done")
    failed = _of_column("failed")
    cancelled = _of_column("cancelled")
    skipped = _of_column("skipped")
    retries = _of_column("retries")
    rows = _of_column("rows")
    elapsed = _of_column("elapsed")
    in_flight = 0
    worker = None
    recent = ()
    wait = None

    def __init__(self, columns: EndedColumns, number: int) -> None:
        self.columns = columns
        self.number = number

    @property
    def state(self) -> ChunkState:
        return STATES[self.columns.state[self.number]]

    @property
    def started_at(self) -> float | None:
        started_at = self.columns.started_at[self.number]
        return None if math.isnan(started_at) else started_at

    @property
    def finished(self) -> int:
        columns, number = self.columns, self.number
        return columns.done[number] + columns.failed[number] + columns.cancelled[number]

    @property
    def items_per_second(self) -> float:
        columns, number = self.columns, self.number
        # If an earlier process ended the chunk, that process has recorded `elapsed`, too.
        executed = columns.done[number] + columns.failed[number] - columns.skipped[number] or columns.done[number]
        return mean_rate(executed, columns.elapsed[number])


_NO_COLUMNS, _NONE_ENDED = EndedColumns(), array("q")


class ChunkViews(Sequence[ChunkView]):
    """Every chunk of a snapshot; `views[i].number == i`. Immutable.

    Args:
        size: number of chunks.
        unended: views of the open chunks, by number.
        columns: columns with the rows of all other chunks.
        ended: numbers of chunks in the order in which they ended; the array may grow later.
    """

    __slots__ = ("_columns", "_ended", "_mark", "_size", "_unended")

    def __init__(self, size: int, unended: Mapping[int, ChunkView], columns: EndedColumns, ended: array[int]) -> None:
        self._size = size
        self._unended = unended
        self._columns = columns
        self._ended = ended
        self._mark = len(ended)

    @classmethod
    def of(cls, views: Iterable[ChunkView]) -> ChunkViews:
        """Return `views` as a sequence without columns; for tests and examples."""
        unended = {view.number: view for view in views}
        return cls(len(unended), unended, _NO_COLUMNS, _NONE_ENDED)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, number: int) -> ChunkView: ...

    @overload
    def __getitem__(self, number: slice) -> list[ChunkView]: ...

    def __getitem__(self, number: int | slice) -> ChunkView | list[ChunkView]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(self._size))]
        if not -self._size <= number < self._size:
            raise IndexError(number)
        number %= self._size
        view = self._unended.get(number)
        return cast("ChunkView", _EndedView(self._columns, number)) if view is None else view

    def open(self) -> Collection[ChunkView]:
        """Return the views of the chunks that have been read and have not ended."""
        return self._unended.values()

    def state(self, number: int) -> ChunkState:
        """Return the state of a chunk, without creating a view."""
        view = self._unended.get(number)
        return STATES[self._columns.state[number]] if view is None else view.state

    def scan(self, start: int = 0, stop: int | None = None) -> Iterator[ChunkView]:
        """Yield the views of many chunks.

        A view is valid only until the next one is yielded, because one object is reused.
        """
        unended = self._unended
        row = _EndedView(self._columns, 0)
        ended = cast("ChunkView", row)
        for number in range(start, self._size if stop is None else min(stop, self._size)):
            if number in unended:
                yield unended[number]
            else:
                row.number = number
                yield ended

    def changed_since(self, old: ChunkViews) -> set[int]:
        """Return the numbers of the chunks that are new or have changed since the earlier snapshot with `old`."""
        if old is self:
            return set()
        if old._ended is not self._ended or old._size > self._size or old._mark > self._mark:
            return set(range(self._size))  # `old` belongs to another run
        changed = set(self._ended[old._mark : self._mark])
        before = old._unended
        changed.update(number for number, view in self._unended.items() if before.get(number) is not view)
        return changed
