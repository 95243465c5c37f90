"""A chunk that has not ended: its state, which of its items are left, and its counters.

`CHUNK_TRANSITIONS` is the whole truth: whatever is not in it raises, so a wrong turn of the scheduler
shows at once and not as a chunk that is never finished.

    waiting ──▶ running ──▶ done | failed | cancelled
       │  ▲       │  ▲
       ▼  │       ▼  │
      paused ◀─────▶ (both ways: a paused chunk goes back to where it came from)

A failed or cancelled chunk goes back to `waiting` when its failed items run again.

Which items are left is a byte an item, by their index in the chunk. Workers report ranges of indexes, which are
crossed off and counted without a step of Python for each item. What concerns single items is by position and sparse:
only few items fail, are tried again or are suspected. When the chunk has ended, all of that is dropped; what remains
of it is in `chunk_store`.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress

from tui_runner.engine.protocol import Counts, Positions
from tui_runner.engine.states import CHUNK_TRANSITIONS, ChunkState, check_transition


class ItemsLeft:
    """The items of a chunk that have no final state.

    Args:
        positions: of all items that may run, in the order in which the worker has them.
        pending: positions of those that are to run.
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
        """Positions of the items that are left."""
        return compress(self.positions, self._left)

    @property
    def is_whole(self) -> bool:
        """Return True if none of the items has a final state."""
        return self._size == len(self.positions)

    def cross_off(self, ranges: Sequence[int]) -> None:
        """Remove ranges of indexes, given as pairs (start, stop)."""
        for start, stop in zip(ranges[::2], ranges[1::2], strict=True):
            self._size -= self._left.count(1, start, stop)
            self._left[start:stop] = bytes(stop - start)

    def indexes(self) -> list[int]:
        """Return the indexes of the items that are left."""
        return list(compress(range(len(self.positions)), self._left))

    def unheard(self, run: Sequence[int] | None) -> Iterator[int]:
        """Return the positions of those items that are left of the ones at these indexes; of all for None."""
        return iter(self) if run is None else (self.positions[index] for index in run if self._left[index])

    def among(self, positions: Collection[int]) -> dict[int, int]:
        """Return the index of each of `positions` that belongs to an item that is left."""
        return {position: index for position, index in self.indexes_of(positions).items() if self._left[index]}

    def indexes_of(self, positions: Collection[int]) -> dict[int, int]:
        """Return the index of each of `positions` that belongs to the chunk."""
        every = self.positions
        if isinstance(every, range):
            return {position: position - every.start for position in positions if position in every}
        if not positions:
            return {}
        wanted = frozenset(positions)
        return {position: index for index, position in enumerate(every) if position in wanted}

    def positions_in(self, ranges: Sequence[int]) -> Iterator[int]:
        """Return the positions of the items in ranges of indexes, given as pairs (start, stop)."""
        for start, stop in zip(ranges[::2], ranges[1::2], strict=True):
            yield from self.positions[start:stop]


@dataclass(slots=True, eq=False)
class Chunk:
    """A chunk as the scheduler sees it; only the scheduler changes it.

    Times are the run's active time: seconds without those in which the run was paused.

    Attributes:
        number: position among the chunks of the run, from 0.
        first_item: position in the input of its first item.
        items: how many it has.
        skipped: those that an earlier process had recorded as ok; counted in `counts.done`.
        left: the items that have no final state. When items of it run again, it knows no others than these.
        nbytes: of its packed items; of a chunk that has ended those of its failures.
        known: positions of those left that had failed before the run was resumed and have not been reported since.
        rejected: items that ended well and whose rows the database refused: they count as failed, and cannot run again
            in this process.
        rejected_rows: the rows of those.
        failures: attempts made of the items that ended otherwise than well, by position.
        attempts: attempts made of items, by position; 0 for those that are not in it. Of items that have ended since
            it means nothing.
        tries: those of them that failed and were followed by another, since the chunk was last begun.
        worker: the worker that has it.
        exhausted: whether that worker has started every item of it.
        cancelling: whether it was told to cancel the rest.
        counts: what became of its items.
        sent_at: when it was first sent to a worker.
        started_at: when its first item was started; None before.
        ended_at: when its last item ended; None before.
        paused_seconds: the time between its start and now in which it was paused, or had ended.
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
        """Go to `state`; raises `ValueError` when that cannot follow."""
        if state is not self.state:
            check_transition(CHUNK_TRANSITIONS, self.state, state)
            self.state = state

    def count(self, counts: Counts) -> Counts:
        """Take over what the present worker has counted of this chunk; returns the difference it makes."""
        old, self.counts = self.counts, self._before + counts
        return self.counts - old

    def reject(self, items: int, rows: int) -> Counts:
        """Count `items` items with `rows` rows, which were counted as done, as failed; returns the difference."""
        difference = Counts(done=-items, failed=items, rows=-rows)
        self.rejected += items
        self.rejected_rows += rows
        self._before += difference
        self.counts += difference
        return difference

    def leave_worker(self) -> None:
        """The worker no longer has it: what the next one counts comes on top."""
        self._before = self.counts
        self.worker = None
        self.exhausted = False

    def cross_off(self, ranges: Sequence[int], failures: Mapping[int, int]) -> None:
        """Record that items have reached a final state.

        Args:
            ranges: their indexes, as pairs (start, stop).
            failures: attempts made of those among them that did not end well, by position.
        """
        self.left.cross_off(ranges)
        if failures:
            self.failures.update(failures)

    def retried(self, attempts: Mapping[int, int]) -> None:
        """These attempts have failed, each will be followed by another."""
        self.attempts.update(attempts)
        for position in attempts:
            self.tries[position] = self.tries.get(position, 0) + 1

    def made(self, counters: Mapping[int, int]) -> dict[int, int]:
        """Return those of `attempts` or `tries` that belong to items that are left."""
        return {position: counters[position] for position in self.left.among(counters)} if counters else {}

    def run_again(self, active: float) -> Counts:
        """Make its failures pending again, and nothing else; returns what that takes from the counters."""
        self.attempts, self.failures, self.tries = self.failures, {}, {}
        again = array("q", self.attempts)
        self.left = ItemsLeft(again, again)
        lost = Counts(failed=self.counts.failed - self.rejected, cancelled=self.counts.cancelled)
        self.counts = self._before = self.counts - lost
        if self.ended_at is not None:
            self.paused_seconds += active - self.ended_at  # until now it did not run
            self.ended_at = None
        return lost

    def stop_clock(self, active: float) -> None:
        """Pause it: `elapsed` stands still."""
        if self.started_at is not None and self._paused_at is None:
            self._paused_at = active

    def start_clock(self, active: float) -> None:
        """End its pause."""
        if self._paused_at is not None:
            self.paused_seconds += active - self._paused_at
            self._paused_at = None

    def elapsed(self, active: float) -> float:
        """Seconds it has been running, at the run's active time `active`."""
        if self.started_at is None:
            return 0.0
        end = self._paused_at if self._paused_at is not None else self.ended_at
        return max(0.0, (active if end is None else end) - self.started_at - self.paused_seconds)
