"""The states of runs and chunks, and which may follow which."""

from __future__ import annotations

from enum import StrEnum


class ChunkState(StrEnum):
    """What a chunk is doing."""

    WAITING = "waiting"
    """Cut from the input, not yet handed to a worker."""
    RUNNING = "running"
    """With a worker."""
    PAUSED = "paused"
    """Starts no new item until it is resumed; items in flight finish."""
    DONE = "done"
    """Every item ended well."""
    FAILED = "failed"
    """Every item ended, some of them in failure."""
    CANCELLED = "cancelled"
    """Ended on request, before all its items had run."""

    @property
    def ended(self) -> bool:
        """Whether no item of the chunk is left to run."""
        return self in _ENDED


class RunState(StrEnum):
    """What a run is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    """No new items; those in flight finish and are written."""
    STOPPED = "stopped"
    """Ended before its last item; can be resumed."""
    FINISHED = "finished"
    FAILED = "failed"
    """Ended because a limit was reached, the job could not start, or the database was lost."""

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self in (RunState.STOPPED, RunState.FINISHED, RunState.FAILED)


def recorded_state(state: str, *, goes_on: bool) -> str:
    """A run's state in the ledger, in words: one that says it goes on and does not was interrupted."""
    return state if goes_on or state not in (RunState.RUNNING, RunState.DRAINING) else "interrupted"


_ENDED = frozenset({ChunkState.DONE, ChunkState.FAILED, ChunkState.CANCELLED})

TRANSITIONS: dict[ChunkState, frozenset[ChunkState]] = {
    ChunkState.WAITING: frozenset({ChunkState.RUNNING, ChunkState.PAUSED, ChunkState.CANCELLED, ChunkState.DONE}),
    ChunkState.RUNNING: frozenset({ChunkState.WAITING, ChunkState.PAUSED}) | _ENDED,
    ChunkState.PAUSED: frozenset({ChunkState.WAITING, ChunkState.RUNNING}) | _ENDED,
    ChunkState.DONE: frozenset({ChunkState.FAILED}),
    ChunkState.FAILED: frozenset({ChunkState.WAITING}),
    ChunkState.CANCELLED: frozenset({ChunkState.WAITING}),
}
"""From each state, the states that may follow. `waiting → done` is a chunk whose items were all recorded
before, `done → failed` one whose rows the database refused."""


def check_transition(old: ChunkState, new: ChunkState) -> None:
    """Raise `ValueError` unless `new` may follow `old`."""
    if new not in TRANSITIONS[old]:
        raise ValueError(f"a chunk cannot go from {old} to {new}")
