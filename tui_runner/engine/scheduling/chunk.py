"""A chunk: its states, how one leads to another, and its counters.

`CHUNK_TRANSITIONS` is the whole truth: whatever is not in it raises, so a wrong turn of the scheduler
shows at once and not as a chunk that is never finished.

    waiting ──▶ running ──▶ done | failed | cancelled
       │  ▲       │  ▲
       ▼  │       ▼  │
      paused ◀─────▶ (both ways: a paused chunk goes back to where it came from)

A failed or cancelled chunk goes back to `waiting` when its failed items are to be run again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tui_runner.engine.protocol import Counts
from tui_runner.engine.states import CHUNK_TRANSITIONS, ChunkState, check_transition


@dataclass(slots=True, eq=False)
class Chunk:
    """A chunk as the scheduler sees it; only the scheduler changes it.

    Times are the run's active time: seconds without those in which the run was paused.

    Attributes:
        number: position among the chunks of the run, from 0.
        positions: those of its items.
        skipped: those that an earlier process had recorded as ok; counted in `counts.done`.
        skipped_rows: the rows of those; counted in `counts.rows`.
        pending: positions of the items that have no final state.
        known: those of them that had failed before the run was resumed, and of which nothing was heard since.
        rejected: items that ended well and whose rows the database refused: they count as failed, and cannot run again
            in this process.
        rejected_rows: the rows of those.
        failures: attempts made of the items that ended otherwise than well, by position.
        attempts: attempts made of pending items, by position; 0 for those that are not in it.
        tries: those of them that failed and were followed by another, since the chunk was last begun.
        worker: the worker that has it.
        exhausted: whether that worker has started every item of it.
        cancelling: whether it was told to cancel the rest.
        counts: what became of its items.
        sent_at: when it was first sent to a worker.
        started_at: when its first item was started; None before.
        ended_at: when its last item ended; None before.
    """

    number: int
    positions: range | array[int]
    skipped: int
    pending: set[int]
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
    skipped_rows: int = 0
    sent_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    _before: Counts = field(default_factory=Counts)
    _paused_at: float | None = None
    _paused_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self._before = Counts(done=self.skipped, rows=self.skipped_rows)

    @property
    def first_item(self) -> int:
        """Position of its first item."""
        return self.positions.start if isinstance(self.positions, range) else self.positions[0]

    @property
    def items(self) -> int:
        """How many items it has."""
        return len(self.positions)

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
        """So many items with so many rows were counted as done and have failed; returns the difference it makes."""
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

    def cross_off(self, positions: Iterable[int], failures: Mapping[int, int]) -> None:
        """These items have reached a final state; `failures` are the attempts of those that did not end well."""
        self.pending.difference_update(positions)
        if self.attempts:
            for position in positions:
                self.attempts.pop(position, None)
                self.tries.pop(position, None)
        self.failures.update(failures)

    def retried(self, attempts: Mapping[int, int]) -> None:
        """These attempts have failed, each will be followed by another."""
        self.attempts.update(attempts)
        for position in attempts:
            self.tries[position] = self.tries.get(position, 0) + 1

    def run_again(self, active: float) -> tuple[tuple[int, ...], Counts]:
        """Make its failures pending again; returns their positions and what that takes from the counters."""
        again = tuple(self.failures)
        self.attempts, self.failures = self.failures, {}
        self.pending.update(again)
        lost = Counts(failed=self.counts.failed - self.rejected, cancelled=self.counts.cancelled)
        self.counts = self._before = self.counts - lost
        if self.ended_at is not None:
            self._paused_seconds += active - self.ended_at  # until now it did not run
            self.ended_at = None
        return again, lost

    def stop_clock(self, active: float) -> None:
        """It is paused: `elapsed` stands still."""
        if self.started_at is not None and self._paused_at is None:
            self._paused_at = active

    def start_clock(self, active: float) -> None:
        """It is no longer paused."""
        if self._paused_at is not None:
            self._paused_seconds += active - self._paused_at
            self._paused_at = None

    def elapsed(self, active: float) -> float:
        """Seconds it has been running, at the run's active time `active`."""
        if self.started_at is None:
            return 0.0
        end = self._paused_at if self._paused_at is not None else self.ended_at
        return max(0.0, (active if end is None else end) - self.started_at - self._paused_seconds)
