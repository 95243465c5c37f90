"""The states of chunks and runs, and the transitions between them.

Two of the four state machines of a run are here. The worker's is at the head of `scheduling/workers.py`, the circuit
breaker's at the head of `scheduling/circuit_breaker.py`. Each is a table; a transition that is not in the table raises.

*A chunk* has one `ChunkState`, which only `scheduling/chunk.py` changes.

*A run* has one `RunStatus`, a frozen value that only the scheduler replaces. It stores facts, from which the shown
state is derived:

* its *phase*: `RUNNING`, `DRAINING`, or one of the three ends;
* its *pauses*: no new item starts while at least one applies. Each pause begins and ends independently of the others:

  | cause    | begins                               | ends                                                       |
  | -------- | ------------------------------------ | ---------------------------------------------------------- |
  | `USER`   | the user pauses the run              | the user resumes it                                        |
  | `MEMORY` | memory reaches its limit             | memory has fallen                                          |
  | `DISK`   | a flush finds the disk full          | a later flush succeeds, perhaps after the last worker ends |
  | `OUTAGE` | the circuit breaker opens            | a trial succeeds, or the user resumes or pauses the run    |
  | `HOSTS`  | a cluster has no host process left   | a host process joins                                       |

* its *ending*: the final state and its reason, once they are decided.

`PAUSED` is not a phase. It is derived: a run is shown as paused while it starts no items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar


class ChunkState(StrEnum):
    """The state of a chunk."""

    WAITING = "waiting"
    """Cut from the input; no worker has it."""
    RUNNING = "running"
    """Sent to a worker."""
    PAUSED = "paused"
    """Starts no new item until it is resumed; items in flight finish. Also a cancelled chunk that no worker has."""
    DONE = "done"
    """Every item succeeded."""
    FAILED = "failed"
    """Every item ended, and at least one of them failed."""
    CANCELLED = "cancelled"
    """Ended by the user before all of its items had run."""

    @property
    def ended(self) -> bool:
        """True if no item of the chunk is left to run."""
        return self in _CHUNK_ENDED


class RunState(StrEnum):
    """The state of a run, as shown and as recorded in the ledger."""

    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    """Starts no new items; items in flight finish and are written."""
    STOPPED = "stopped"
    """Ended before its last item; can be resumed."""
    FINISHED = "finished"
    FAILED = "failed"
    """Ended by an error, for example because a limit was reached, the job could not start, the input could not be read,
    or the database was lost."""

    @property
    def ended(self) -> bool:
        """True if the run has ended."""
        return self in _RUN_ENDED


_CHUNK_ENDED = frozenset({ChunkState.DONE, ChunkState.FAILED, ChunkState.CANCELLED})
"""States of a chunk that has ended."""
_RUN_ENDED = frozenset({RunState.STOPPED, RunState.FINISHED, RunState.FAILED})
"""Final states of a run in this process. A later process may resume a stopped or failed run."""

CHUNK_TRANSITIONS: Mapping[ChunkState, frozenset[ChunkState]] = {
    ChunkState.WAITING: frozenset({ChunkState.RUNNING, ChunkState.PAUSED, ChunkState.CANCELLED, ChunkState.DONE}),
    ChunkState.RUNNING: frozenset({ChunkState.WAITING, ChunkState.PAUSED}) | _CHUNK_ENDED,
    ChunkState.PAUSED: frozenset({ChunkState.WAITING, ChunkState.RUNNING}) | _CHUNK_ENDED,
    ChunkState.DONE: frozenset({ChunkState.FAILED}),
    ChunkState.FAILED: frozenset({ChunkState.WAITING}),
    ChunkState.CANCELLED: frozenset({ChunkState.WAITING}),
}
"""Allowed next states for each state of a chunk. `waiting → done` happens if all items of the chunk were recorded
before, `done → failed` if the database refused rows of the chunk."""

RUN_TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    RunState.RUNNING: frozenset({RunState.DRAINING, RunState.FINISHED, RunState.FAILED}),
    RunState.DRAINING: _RUN_ENDED,
    RunState.STOPPED: frozenset({RunState.FAILED}),
    RunState.FINISHED: frozenset({RunState.FAILED}),
    RunState.FAILED: frozenset(),
}
"""Allowed next phases for each phase of a run. `running → failed` happens after a defect of tui-runner. `draining →
finished` happens if a run is stopped when nothing is left to do. A run that has ended fails if the database does not
accept its last rows."""

State = TypeVar("State", bound=StrEnum)


def check_transition(table: Mapping[State, frozenset[State]], old: State, new: State) -> None:
    """Raise `ValueError` unless the table allows the transition from `old` to `new`."""
    if new not in table[old]:
        raise ValueError(f"{type(old).__name__} cannot go from {old} to {new}")


def recorded_state(state: str, *, goes_on: bool, pause: str = "") -> str:
    """Return the text to show for the recorded state of a run.

    The text is "interrupted" if the run is recorded as running or draining, but no process executes it.

    Args:
        state: the recorded state.
        goes_on: True if a process executes the run.
        pause: cause of an automatic pause in one word, or empty. The recorded state of such a run is "running".
    """
    if goes_on and pause and state == RunState.RUNNING:
        return f"{RunState.PAUSED}: {pause}"
    return state if goes_on or state not in (RunState.RUNNING, RunState.DRAINING) else "interrupted"


class PauseCause(StrEnum):
    """A cause that keeps a run from starting items."""

    USER = "user"
    MEMORY = "memory"
    DISK = "disk"
    OUTAGE = "outage"
    HOSTS = "hosts"


HOLDS = frozenset({PauseCause.MEMORY, PauseCause.DISK, PauseCause.HOSTS})
"""Causes of pauses that the user cannot end: such a pause ends with its cause. A run that has no other pauses is
*held*."""

ALL_CHUNKS_PAUSED = "only paused chunks are left: resume or cancel them"
"""Reason shown while every chunk that is left is paused, so that the run waits for the user."""
HOSTS_PAUSED = (
    "only items of paused hosts are left",
    "open chunks wait for paused hosts; later items of other hosts wait, too",
)
"""Reasons shown while the run waits for the user because of paused hosts. The first is shown after all chunks of the
input were sent to workers, the second before."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One cause of a pause, with the reason that is shown.

    Attributes:
        cause: cause of the pause.
        reason: text for the user; empty for a pause by the user.
        resumes_by_itself: True if the pause ends without an action of the user.
    """

    cause: PauseCause
    reason: str = ""
    resumes_by_itself: bool = True


USER_PAUSE = Pause(PauseCause.USER, resumes_by_itself=False)
"""A pause by the user, which is shown without a reason."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The decided end of a run, whose workers may still be running.

    Attributes:
        state: final state.
        reason: text for the user.
    """

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The state of a run. Only the scheduler replaces it; all other parts read it.

    Attributes:
        phase: state without regard to pauses; never `PAUSED`.
        pauses: the current pauses, newest last; at most one per cause.
        ending: decided end of the run; None until it is decided.
        chunks_paused: True if the user has paused every chunk that is left, and no further chunk will be read.
        hosts_paused: one of the reasons `HOSTS_PAUSED` if no item can be executed until the user resumes a host;
            otherwise empty.
        abandoned: True if the run has lost its screen, so that no user can resume it.
    """

    phase: RunState = RunState.RUNNING
    pauses: tuple[Pause, ...] = ()
    ending: Ending | None = None
    chunks_paused: bool = False
    hosts_paused: str = ""
    abandoned: bool = False

    # --- derived state -------------------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """The state that is shown: `PAUSED` if the run is paused or idle, otherwise the phase."""
        return RunState.PAUSED if self.is_paused or self.idle else self.phase

    @property
    def reason(self) -> str:
        """The reason for `state` in a few words; may be empty."""
        if self.is_paused:
            return self._shown_pause.reason
        if self.idle:
            return ALL_CHUNKS_PAUSED if self.chunks_paused else self.hosts_paused
        return "" if self.ending is None or self.phase is RunState.FINISHED else self.ending.reason

    @property
    def ended(self) -> bool:
        """True if every worker has ended. The last rows may not be committed yet."""
        return self.phase.ended

    @property
    def is_paused(self) -> bool:
        """True if a pause keeps the run from starting items, or a finished run from writing its last rows."""
        return bool(self.pauses) and self.phase in (RunState.RUNNING, RunState.FINISHED)

    @property
    def starts_items(self) -> bool:
        """True if items may start."""
        return self.phase is RunState.RUNNING and not self.pauses

    @property
    def idle(self) -> bool:
        """True if the run is not paused, but paused chunks or hosts keep every item from starting."""
        return (self.chunks_paused or bool(self.hosts_paused)) and self.starts_items

    @property
    def held(self) -> bool:
        """True if every pause of the run has a cause in `HOLDS`.

        The run then resumes by itself, and the user cannot resume it earlier.
        """
        return self.is_paused and all(pause.cause in HOLDS for pause in self.pauses)

    @property
    def resumes_by_itself(self) -> bool:
        """True unless the run waits for the user."""
        return not self.idle and all(pause.resumes_by_itself for pause in self.pauses)

    @property
    def persisted(self) -> RunState:
        """The state that the ledger records, and that a resume restores.

        It is RUNNING during an automatic pause, because a resumed run checks the cause again.
        """
        is_paused_by_user = self.phase is RunState.RUNNING and self.has(PauseCause.USER)
        return RunState.PAUSED if is_paused_by_user else self.phase

    @property
    def automatic_pause(self) -> str:
        """The cause of an automatic pause in one word. Empty if the run is not paused, or if the user paused it."""
        if not self.is_paused or self._shown_pause.cause is PauseCause.USER:
            return ""
        cause = self._shown_pause.cause
        return "machines" if cause is PauseCause.HOSTS else cause

    def has(self, *causes: PauseCause) -> bool:
        """Return True if one of `causes` pauses the run."""
        return any(pause.cause in causes for pause in self.pauses)

    @property
    def _shown_pause(self) -> Pause:
        """The pause whose reason is shown. A pause by the user comes first, then the newest hold, then an outage."""
        for causes in ((PauseCause.USER,), HOLDS):
            for pause in reversed(self.pauses):  # the newest first
                if pause.cause in causes:
                    return pause
        return self.pauses[-1]

    # --- transitions ---------------------------------------------------------------------------------------

    def paused(self, pause: Pause) -> RunStatus:
        """Return the status with `pause` added as the newest; it replaces a pause with the same cause."""
        return replace(self, pauses=(*self._pauses_without(pause.cause), pause))

    def resumed(self, *causes: PauseCause) -> RunStatus:
        """Return the status without the pauses whose causes are `causes`."""
        return replace(self, pauses=self._pauses_without(*causes))

    def draining(self, ending: Ending) -> RunStatus:
        """Return the status of a run that starts no more items and will end as `ending`.

        A pause for a full disk stays, because the last rows also wait for free space.
        """
        return replace(self._to(RunState.DRAINING), pauses=self._disk_pauses, ending=ending)

    def ending_as(self, ending: Ending) -> RunStatus:
        """Return the status with `ending` in place of the present ending."""
        return replace(self, ending=ending)

    def finished(self) -> RunStatus:
        """Return the status of a run whose items have all run."""
        return replace(self._to(RunState.FINISHED), pauses=self._disk_pauses)

    def ended_as_decided(self) -> RunStatus:
        """Return the status of a run that has ended with its `ending`. Raise `ValueError` if no ending is decided."""
        if self.ending is None:
            raise ValueError("nothing has decided how the run ends")
        return replace(self._to(self.ending.state), pauses=())

    def failed(self, reason: str) -> RunStatus:
        """Return the status of a run that fails for `reason`. The run may have ended already."""
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
