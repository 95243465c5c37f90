"""The chunks of a snapshot; those that have ended cost it nothing.

A run of 50 million items has up to 100,000 chunks, and a screen shows forty of them. Views are kept of those alone that
have not ended; ended ones are rows of columns that all snapshots of a run share (`scheduling/chunk_store.py`), and a
view of one is made when it is looked at.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import cast, overload

from tui_runner.engine.metrics import mean_rate
from tui_runner.engine.scheduling.chunk_store import STATES, EndedColumns
from tui_runner.engine.states import ChunkState


class WaitCause(StrEnum):
    """Causes for which no item of a chunk is executed that is not paused itself."""

    NOT_STARTED = "not started"
    QUEUED = "queued"
    """Some of its items were executed, and it waits for a worker again, or in its worker for its turn."""
    RUN_PAUSED = "run paused"
    HOST = "host"
    RETRY = "retry"
    """All that is left of it failed and will be tried again."""
    MEMORY = "for memory"
    DISK = "for disk"
    DATABASE = "for database"
    """Rows that are not written yet are too many."""
    OUTAGE = "outage"
    MACHINE = "no machine"
    """Every machine of the cluster is gone."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a chunk waits for.

    Attributes:
        cause: why it waits.
        host: the host that it waits for, if that is the cause; not yet safe to show.
        seconds: whole seconds until it goes on; None where that is not known.
        until: the same as wall clock, whole seconds since the epoch.
    """

    cause: WaitCause
    host: str = ""
    seconds: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class ChunkView:
    """A chunk as it is shown.

    Attributes:
        number: position among the chunks of the run, from 0.
        state: what it is doing; one that a worker has without executing any of it is `WAITING`.
        wait: why it is `WAITING`; None in every other state.
        first_item: position in the input of its first item.
        items: how many items it has, those recorded by an earlier process (`skipped`) included.
        done: items that ended well, `skipped` included.
        failed: items that ended in failure or timeout.
        cancelled: items that were cancelled.
        skipped: items that an earlier process had recorded already.
        retries: attempts beyond the first, over all items.
        rows: rows of its items so far, those of `skipped` included.
        in_flight: items being executed now, without those that have begun and wait for their host.
        worker: the worker that has it, None when none has.
        started_at: when its first item was started; None before.
        elapsed: seconds from then to its end, or to now, without the time it was paused.
        items_per_second: items that ended, however: over `metrics.RATE_SECONDS` while it runs, over `elapsed` when
            ended.
        recent: items/s in each of the last 10 six-second spans, oldest first; empty before it started.
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
        """Items that reached a final state."""
        return self.done + self.failed + self.cancelled


def _of_column(name: str) -> property:
    column = attrgetter(name)
    return property(lambda view: column(view.columns)[view.number])


class _EndedView:
    """An ended chunk with the attributes of a `ChunkView`, which are read from the columns when they are asked for."""

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
        executed = columns.done[number] + columns.failed[number] - columns.skipped[number]
        return mean_rate(executed, columns.elapsed[number])


_NO_COLUMNS, _NONE_ENDED = EndedColumns(), array("q")


class ChunkViews(Sequence[ChunkView]):
    """Every chunk of a snapshot; `views[i].number == i`. Nothing in it changes.

    Args:
        size: how many chunks there are.
        unended: views of those that have not ended, by number.
        columns: has the rows of all others.
        ended: numbers of chunks in the order in which they ended; may grow later.
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
        """Return views that were made elsewhere, by number."""
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

    def state(self, number: int) -> ChunkState:
        """Return the state of a chunk; faster than to ask its view."""
        view = self._unended.get(number)
        return STATES[self._columns.state[number]] if view is None else view.state

    def scan(self, start: int = 0, stop: int | None = None) -> Iterator[ChunkView]:
        """Read the figures of many chunks; each may be looked at only until the next one is asked for."""
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
        """Return the numbers of the chunks that differ from those of an earlier snapshot, or are new."""
        if old is self:
            return set()
        if old._ended is not self._ended or old._size > self._size or old._mark > self._mark:
            return set(range(self._size))  # of another run
        changed = set(self._ended[old._mark : self._mark])
        before = old._unended
        changed.update(number for number, view in self._unended.items() if before.get(number) is not view)
        return changed
