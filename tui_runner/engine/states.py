"""The states of chunks and runs, and which may follow which.

Two of the four state machines of a run are here; a worker's is at the head of `scheduling/workers.py`, the circuit
breaker's at the head of `scheduling/circuit_breaker.py`. Each is a table that raises on a transition it does not have.

*A chunk* has one `ChunkState`, written by `scheduling/chunk.py` alone.

*A run* has one `RunStatus`, a frozen value that the scheduler alone replaces. It is made of what is true and derives
what is shown:

* its *phase*: `RUNNING`, `DRAINING`, or one of the three ends;
* its *pauses*: while there is one, no new item starts. Several may apply at once, each begins and ends by itself:

  | cause    | begins                               | ends                                                       |
  | -------- | ------------------------------------ | ---------------------------------------------------------- |
  | `USER`   | the user pauses the run              | the user resumes it                                        |
  | `MEMORY` | memory reaches its limit             | memory has fallen                                          |
  | `DISK`   | a flush finds the disk full          | a later one is written; so it may outlast the last worker  |
  | `OUTAGE` | the circuit breaker opens            | a trial succeeds, or the user resumes or pauses the run    |

* its *ending*: the state in which it ends, and why, once something has decided that.

`PAUSED` is not a phase but what a run is shown as while something keeps it from starting items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar


class ChunkState(StrEnum):
    """The states of a chunk."""

    WAITING = "waiting"
    """Cut from the input, not yet handed to a worker."""
    RUNNING = "running"
    """Sent to a worker."""
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
        """Return True if no item of the chunk is left to run."""
        return self in _CHUNK_ENDED


class RunState(StrEnum):
    """The states of a run, as they are shown and recorded."""

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
        """Return True if the run is over."""
        return self in _RUN_ENDED


_CHUNK_ENDED = frozenset({ChunkState.DONE, ChunkState.FAILED, ChunkState.CANCELLED})
_RUN_ENDED = frozenset({RunState.STOPPED, RunState.FINISHED, RunState.FAILED})

CHUNK_TRANSITIONS: Mapping[ChunkState, frozenset[ChunkState]] = {
    ChunkState.WAITING: frozenset({ChunkState.RUNNING, ChunkState.PAUSED, ChunkState.CANCELLED, ChunkState.DONE}),
    ChunkState.RUNNING: frozenset({ChunkState.WAITING, ChunkState.PAUSED}) | _CHUNK_ENDED,
    ChunkState.PAUSED: frozenset({ChunkState.WAITING, ChunkState.RUNNING}) | _CHUNK_ENDED,
    ChunkState.DONE: frozenset({ChunkState.FAILED}),
    ChunkState.FAILED: frozenset({ChunkState.WAITING}),
    ChunkState.CANCELLED: frozenset({ChunkState.WAITING}),
}
"""From each state of a chunk, the states that may follow. `waiting → done` is a chunk whose items were all recorded
before, `done → failed` one whose rows the database refused."""

RUN_TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    RunState.RUNNING: frozenset({RunState.DRAINING, RunState.FINISHED, RunState.FAILED}),
    RunState.DRAINING: _RUN_ENDED,
    RunState.STOPPED: frozenset({RunState.FAILED}),
    RunState.FINISHED: frozenset({RunState.FAILED}),
    RunState.FAILED: frozenset(),
}
"""From each phase of a run, the phases that may follow. `running → failed` is a fault of tui-runner itself, `draining →
finished` a run that was stopped when nothing was left to do. A run that has ended fails when the database does not take
its last rows."""

State = TypeVar("State", bound=StrEnum)


def check_transition(table: Mapping[State, frozenset[State]], old: State, new: State) -> None:
    """Raise `ValueError` unless `new` may follow `old` in a table of transitions."""
    if new not in table[old]:
        raise ValueError(f"{type(old).__name__} cannot go from {old} to {new}")


def recorded_state(state: str, *, goes_on: bool) -> str:
    """Return a run's recorded state in words; one recorded as running that no process executes was interrupted."""
    return state if goes_on or state not in (RunState.RUNNING, RunState.DRAINING) else "interrupted"


class PauseCause(StrEnum):
    """Causes that keep a run from starting items."""

    USER = "user"
    MEMORY = "memory"
    DISK = "disk"
    OUTAGE = "outage"
    HOSTS = "hosts"


HOLDS = frozenset({PauseCause.MEMORY, PauseCause.DISK, PauseCause.HOSTS})
"""Causes that only their guard ends, whatever the user does. While one applies, the run is *held*."""

ALL_CHUNKS_PAUSED = "only paused chunks are left: resume or cancel them"


@dataclass(frozen=True, slots=True)
class Pause:
    """One reason why no items start.

    Attributes:
        cause: what has paused the run.
        reason: shown to the user; empty for a pause of the user's own.
        resumes_by_itself: whether it ends without the user.
    """

    cause: PauseCause
    reason: str = ""
    resumes_by_itself: bool = True


USER_PAUSE = Pause(PauseCause.USER, resumes_by_itself=False)


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a run, decided before its workers are gone.

    Attributes:
        state: the state in which it ends.
        reason: why, shown to the user.
    """

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The state of a run. The scheduler alone replaces it; everybody else reads it.

    Attributes:
        phase: the state apart from pauses; never `PAUSED`.
        pauses: why it starts no items, the newest last; one at most of each cause.
        ending: how it ends; None as long as it runs to its last item.
        chunks_paused: whether every chunk that is left is paused by the user, and no other will come.
        abandoned: whether the user who could resume it has gone.
    """

    phase: RunState = RunState.RUNNING
    pauses: tuple[Pause, ...] = ()
    ending: Ending | None = None
    chunks_paused: bool = False
    abandoned: bool = False

    # --- what is derived -----------------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """The state as it is shown: a run that starts nothing until something changes is paused."""
        return RunState.PAUSED if self.is_paused or self.idle else self.phase

    @property
    def reason(self) -> str:
        """The cause of that state, in a few words; empty when there is nothing to say."""
        if self.is_paused:
            return self._shown_pause.reason
        if self.idle:
            return ALL_CHUNKS_PAUSED
        return "" if self.ending is None or self.phase is RunState.FINISHED else self.ending.reason

    @property
    def ended(self) -> bool:
        """Return True if every worker is gone; its last rows may still be on their way to the database."""
        return self.phase.ended

    @property
    def is_paused(self) -> bool:
        """Return True if a pause keeps it from starting items, or from writing its last rows."""
        return bool(self.pauses) and self.phase in (RunState.RUNNING, RunState.FINISHED)

    @property
    def starts_items(self) -> bool:
        """Return True if items may start."""
        return self.phase is RunState.RUNNING and not self.pauses

    @property
    def idle(self) -> bool:
        """Return True if the run is not paused, but only paused chunks have items left to start."""
        return self.chunks_paused and self.starts_items

    @property
    def held(self) -> bool:
        """Return True if it is paused for full disk, memory or hosts alone: it resumes by itself, and not before."""
        return self.is_paused and all(pause.cause in HOLDS for pause in self.pauses)

    @property
    def resumes_by_itself(self) -> bool:
        """Return True unless it stands still until the user acts."""
        return not self.idle and all(pause.resumes_by_itself for pause in self.pauses)

    @property
    def persisted(self) -> RunState:
        """State to restore on resume. An automatic pause is stored as RUNNING: its cause is checked again then."""
        is_paused_by_user = self.phase is RunState.RUNNING and self.has(PauseCause.USER)
        return RunState.PAUSED if is_paused_by_user else self.phase

    def has(self, *causes: PauseCause) -> bool:
        """Return True if one of these causes pauses it."""
        return any(pause.cause in causes for pause in self.pauses)

    @property
    def _shown_pause(self) -> Pause:
        """The pause whose end has to come first: the user's, else the newest hold, else the outage."""
        for causes in ((PauseCause.USER,), HOLDS):
            for pause in reversed(self.pauses):
                if pause.cause in causes:
                    return pause
        return self.pauses[-1]

    # --- what may follow -----------------------------------------------------------------------------------

    def paused(self, pause: Pause) -> RunStatus:
        """Return the status with `pause` as its newest; it replaces an older one of the same cause."""
        return replace(self, pauses=(*self._pauses_without(pause.cause), pause))

    def resumed(self, *causes: PauseCause) -> RunStatus:
        """Return the status without pauses of these causes."""
        return replace(self, pauses=self._pauses_without(*causes))

    def draining(self, ending: Ending) -> RunStatus:
        """Return the status of a run that starts no more items, to end as `ending` says.

        The pause of a full disk stays: it holds up the last rows, too.
        """
        return replace(self._to(RunState.DRAINING), pauses=self._disk_pauses, ending=ending)

    def ending_as(self, ending: Ending) -> RunStatus:
        """Return the status with another ending than it had."""
        return replace(self, ending=ending)

    def finished(self) -> RunStatus:
        """Return the status of a run all of whose items have run."""
        return replace(self._to(RunState.FINISHED), pauses=self._disk_pauses)

    def ended_as_decided(self) -> RunStatus:
        """Return the status of a run that has ended as its `ending` says."""
        if self.ending is None:
            raise ValueError("nothing has decided how the run ends")
        return replace(self._to(self.ending.state), pauses=())

    def failed(self, reason: str) -> RunStatus:
        """Return the status of a run that fails at once, or after its end; of one that has failed, with this reason."""
        failed = self if self.phase is RunState.FAILED else self._to(RunState.FAILED)
        return replace(failed, pauses=(), ending=Ending(RunState.FAILED, reason))

    def _to(self, phase: RunState) -> RunStatus:
        check_transition(RUN_TRANSITIONS, self.phase, phase)
        return replace(self, phase=phase)

    def _pauses_without(self, *causes: PauseCause) -> tuple[Pause, ...]:
        return tuple(pause for pause in self.pauses if pause.cause not in causes)

    @property
    def _disk_pauses(self) -> tuple[Pause, ...]:
        return tuple(pause for pause in self.pauses if pause.cause is PauseCause.DISK)
