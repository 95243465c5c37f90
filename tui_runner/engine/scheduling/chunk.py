"""A chunk that has not ended: its state, its pending items and its counters.

Every change of state is checked against `CHUNK_TRANSITIONS` (`engine/states.py`). A change that the table does not
list raises, so a mistake of the scheduler is noticed at once and not as a chunk that never finishes.

    waiting ──▶ running ──▶ done | failed | cancelled
       │  ▲       │  ▲
       ▼  │       ▼  │
      paused ◀─────▶ (both ways: a resumed chunk returns to the state it had before)

A failed or cancelled chunk returns to `waiting` when its failed items run again.

Pending items are a bytearray with one byte per item, by index in the chunk. Workers report ranges of indexes, which are
removed and counted without a Python step per item. Facts about single items (attempts, failures) are in dicts by
position, because few items fail, are retried or are suspected. All of these facts are dropped when the chunk ends;
`chunk_store` keeps only the counters and times of the chunk.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress

from tui_runner.engine.protocol import Counts, Positions
from tui_runner.engine.states import CHUNK_TRANSITIONS, ChunkState, check_transition


class ItemsLeft:
    """The items of a chunk that have no final state yet.

    Args:
        positions: positions in the input of all items of the chunk, in the order in which workers get the items.
        pending: the part of `positions` that has to run.
    """

    __slots__ = ("_left", "_size", "positions")

    def __init__(self, positions: Positions, pending: Sequence[int]) -> None:
        self.positions = positions
        self._size = len(pending)
        if self._size == len(positions):
            self._left = bytearray(b"\1" * self._size)
            return
        self._left = bytearray(len(positions))
        for index in self.indexes_of(pending).values():
            self._left[index] = 1

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        """Yield the positions of the pending items."""
        return compress(self.positions, self._left)

    @property
    def is_whole(self) -> bool:
        """True if none of the items has a final state."""
        return self._size == len(self.positions)

    def cross_off(self, ranges: Sequence[int]) -> None:
        """Mark items as ended. `ranges` are half-open ranges of indexes, as (start, stop) pairs."""
        for start, stop in zip(ranges[::2], ranges[1::2], strict=True):
            self._size -= self._left.count(1, start, stop)
            self._left[start:stop] = bytes(stop - start)

    def indexes(self) -> list[int]:
        """Return the indexes of the pending items."""
        return list(compress(range(len(self.positions)), self._left))

    def pending_among(self, run: Sequence[int] | None) -> Iterator[int]:
        """Yield the positions of the pending items among the indexes `run`; None means all indexes."""
        return iter(self) if run is None else (self.positions[index] for index in run if self._left[index])

    def among(self, positions: Collection[int]) -> dict[int, int]:
        """Return {position: index} of those `positions` that are pending."""
        return {position: index for position, index in self.indexes_of(positions).items() if self._left[index]}

    def indexes_of(self, positions: Collection[int]) -> dict[int, int]:
        """Return {position: index} of those `positions` that belong to the chunk, pending or not."""
        every = self.positions
        if isinstance(every, range):
            return {position: position - every.start for position in positions if position in every}
        if not positions:
            return {}
        wanted = frozenset(positions)
        return {position: index for index, position in enumerate(every) if position in wanted}

    def positions_in(self, ranges: Sequence[int]) -> Iterator[int]:
        """Yield the positions of the items in flattened half-open ranges of indexes."""
        for start, stop in zip(ranges[::2], ranges[1::2], strict=True):
            yield from self.positions[start:stop]


@dataclass(slots=True, eq=False)
class Chunk:
    """A chunk as the scheduler sees it; only the scheduler changes it.

    All times are active seconds of the run: seconds since its start, without pauses.

    Attributes:
        number: position among the chunks of the run, from 0.
        first_item: position of the chunk's first item in the input.
        items: number of items.
        skipped: items that an earlier process recorded as ok; included in `counts.done`.
        left: items that have no final state. After `run_again` it contains only the items that run again.
        nbytes: bytes of all packed items; after the chunk has ended, bytes of the kept failures only.
        known: positions of pending items that failed before the run was resumed and were not reported since.
        rejected: number of items that succeeded, but whose rows the database refused. They count as failed and cannot
            run again in this process.
        rejected_rows: rows of the rejected items.
        failures: attempts made at each item that failed or was cancelled, by position.
        aside: number of `failures` that did not run again when others did; `left` does not contain their positions.
        attempts: attempts made so far at each pending item, by position; a missing position means 0. Entries of ended
            items are stale.
        tries: number of failed attempts that were followed by a retry, by position. `run_again` clears it.
        worker: number of the worker that has the chunk; None if no worker has it.
        exhausted: True if the worker has started every item of the chunk.
        cancelling: True if the user cancelled the items that have not started.
        counts: counters over the items of the chunk.
        sent_at: time at which the chunk was first sent to a worker; None before.
        started_at: time at which the first item started; None before.
        ended_at: time at which the last item ended; None before.
        paused_seconds: seconds since `started_at` in which the chunk was paused, or had ended and not yet run again.
    """

    number: int
    first_item: int
    items: int
    skipped: int
    left: ItemsLeft
    state: ChunkState = ChunkState.WAITING
    worker: int | None = None
    exhausted: bool = False
    cancelling: bool = False
    known: set[int] = field(default_factory=set)
    rejected: int = 0
    rejected_rows: int = 0
    failures: dict[int, int] = field(default_factory=dict)
    aside: int = 0
    attempts: dict[int, int] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    nbytes: int = 0
    sent_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    paused_seconds: float = 0.0
    _before: Counts = field(default_factory=Counts)
    _paused_at: float | None = None

    def __post_init__(self) -> None:
        self._before = self.counts

    def set_state(self, state: ChunkState) -> None:
        """Change to `state`. Raise `ValueError` if the transition is not allowed."""
        if state is not self.state:
            check_transition(CHUNK_TRANSITIONS, self.state, state)
            self.state = state

    def count(self, counts: Counts) -> Counts:
        """Replace the counters that the current worker has reported for this chunk. Return the change of `counts`."""
        old, self.counts = self.counts, self._before + counts
        return self.counts - old

    def reject(self, items: int, rows: int) -> Counts:
        """Move `items` items with `rows` rows from done to failed. Return the difference in the counters."""
        difference = Counts(done=-items, failed=items, rows=-rows)
        self.rejected += items
        self.rejected_rows += rows
        self._before += difference
        self.counts += difference
        return difference

    def leave_worker(self) -> None:
        """Detach the chunk from its worker. Counters of the next worker are added to the present ones."""
        self._before = self.counts
        self.worker = None
        self.exhausted = False

    def cross_off(self, ranges: Sequence[int], failures: Mapping[int, int]) -> None:
        """Record that items have reached a final state.

        Args:
            ranges: indexes of these items, as flattened half-open ranges.
            failures: the items among them that failed or were cancelled: number of their attempts, by position.
        """
        self.left.cross_off(ranges)
        if failures:
            self.failures.update(failures)

    def retried(self, attempts: Mapping[int, int]) -> None:
        """Record failed attempts that will be retried: number of the attempt by position."""
        self.attempts.update(attempts)
        for position in attempts:
            self.tries[position] = self.tries.get(position, 0) + 1

    def made(self, counters: Mapping[int, int]) -> dict[int, int]:
        """Return the entries of `counters` (`attempts` or `tries`) that belong to pending items."""
        return {position: counters[position] for position in self.left.among(counters)} if counters else {}

    def run_again(self, active: float, only: Collection[int] | None = None) -> Counts:
        """Make failed and cancelled items the only pending ones. Return the counts to subtract from those of the run.

        Args:
            active: active seconds of the run.
            only: positions of the failed items that run again; None for all failed and cancelled items.
        """
        failures, self.tries = self.failures, {}
        self.attempts = failures if only is None else {item: made for item, made in failures.items() if item in only}
        self.failures = {} if only is None else {item: made for item, made in failures.items() if item not in only}
        self.aside = len(self.failures)
        again = array("q", self.attempts)
        self.left = ItemsLeft(again, again)
        lost = Counts(failed=self.counts.failed - self.rejected, cancelled=self.counts.cancelled)
        if only is not None:
            lost = Counts(failed=len(again))
        self.counts = self._before = self.counts - lost
        if self.ended_at is not None:
            self.paused_seconds += active - self.ended_at  # the time since it ended is not running time
            self.ended_at = None
        return lost

    def stop_clock(self, active: float) -> None:
        """Stop `elapsed` at the active time `active`, because the chunk is paused."""
        if self.started_at is not None and self._paused_at is None:
            self._paused_at = active

    def start_clock(self, active: float) -> None:
        """Let `elapsed` continue at the active time `active`."""
        if self._paused_at is not None:
            self.paused_seconds += active - self._paused_at
            self._paused_at = None

    def elapsed(self, active: float) -> float:
        """Return the seconds that the chunk has been running at the run's active time `active`."""
        if self.started_at is None:
            return 0.0
        end = self._paused_at if self._paused_at is not None else self.ended_at
        return max(0.0, (active if end is None else end) - self.started_at - self.paused_seconds)
