"""What the scheduler is told, besides the reports of workers, and what it answers: events and actions.

Reports (`Ready`, `Flush`, `ChunkFinished`, …) are in `protocol`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tui_runner.engine.protocol import (
    ChunkExhausted,
    ChunkFinished,
    Drained,
    Flush,
    MemoryFull,
    Order,
    Progress,
    Ready,
    WorkerFailed,
    WorkerLost,
)
from tui_runner.engine.states import PauseCause, RunState

# --- events: from the input --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """The next chunk was cut from the input.

    Attributes:
        number: its number; they come in order.
        first_item: position of its first item.
        items: how many it has.
        pending: positions of those that are not yet recorded as ok.
        rows: how many rows the others have.
        known: those of `pending` of which it is no news when they fail: they had failed before the run was resumed.
    """

    number: int
    first_item: int
    items: int
    pending: Collection[int]
    rows: int = 0
    known: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class InputEnded:
    """There are no more chunks."""


@dataclass(frozen=True, slots=True)
class InputFailed:
    """The input cannot be read any further."""

    message: str


@dataclass(frozen=True, slots=True)
class ItemsRejected:
    """The database refused what items returned, which were counted as done: the ledger has them as failed.

    Attributes:
        items: their positions, by chunk.
        rows: how many rows were counted for them, by chunk.
        message: why.
    """

    items: Mapping[int, Collection[int]]
    rows: Mapping[int, int]
    message: str


# --- events: commands and the clock ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Start the run's workers."""


@dataclass(frozen=True, slots=True)
class PauseRun:
    """Start no new items."""


@dataclass(frozen=True, slots=True)
class ResumeRun:
    """Go on after `PauseRun`."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Start no new items until `Release` of the same `cause`, whoever resumes the run; `reason` says why."""

    cause: PauseCause
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """What held the run is gone; it goes on, unless a person has paused it meanwhile."""

    cause: PauseCause


@dataclass(frozen=True, slots=True)
class PauseChunks:
    """Start no new items of these chunks."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class ResumeChunks:
    """Go on with these chunks."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class CancelChunks:
    """Record what has not started of these chunks as cancelled."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class RetryChunks:
    """Run again what failed or was cancelled in these chunks."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class ChangeThreads:
    """Execute this many items at once, over all workers."""

    threads: int


@dataclass(frozen=True, slots=True)
class DivideThreads:
    """Execute only one in `divisor` of the items at once that `ChangeThreads` asks for; `text` says why."""

    divisor: int
    text: str


@dataclass(frozen=True, slots=True)
class Recycle:
    """Have a new worker take the place of one that has too much memory.

    Attributes:
        worker: its number; one that is gone is no mistake.
        reason: why.
        at_once: it is killed, and its items run again.
    """

    worker: int
    reason: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class ChangeOpenChunks:
    """Keep this many chunks open at once."""

    open_chunks: int


@dataclass(frozen=True, slots=True)
class StopRun:
    """Drain and end, as `state`, because of `reason`.

    Attributes:
        state: the state in which the run ends.
        reason: why, as it is shown while the run drains and afterwards.
        announced: what is told when it begins to drain; `reason` unless given.
    """

    state: RunState
    reason: str
    announced: str = ""


@dataclass(frozen=True, slots=True)
class KillRun:
    """End at once, as `state`, because of `reason`."""

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseLost:
    """Nothing can be written any more: end at once, as failed; a run that has ended fails after all."""

    reason: str


@dataclass(frozen=True, slots=True)
class RunnerFault:
    """The runner cannot go on because of a fault of tui-runner itself: the run has failed, whatever it did."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Nobody watches the run any more: what is paused can't be resumed by hand."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    Begin
    | ChunkRead
    | InputEnded
    | InputFailed
    | PauseRun
    | ResumeRun
    | Hold
    | Release
    | PauseChunks
    | ResumeChunks
    | CancelChunks
    | RetryChunks
    | ChangeThreads
    | DivideThreads
    | Recycle
    | ChangeOpenChunks
    | StopRun
    | KillRun
    | DatabaseLost
    | RunnerFault
    | Abandoned
    | Tick
    | Ready
    | WorkerFailed
    | ChunkExhausted
    | Flush
    | Progress
    | ItemsRejected
    | MemoryFull
    | ChunkFinished
    | Drained
    | WorkerLost
)
"""What `Scheduler.handle` takes."""

# --- actions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadChunks:
    """Cut this many chunks more from the input."""

    count: int


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker with this many threads."""

    worker: int
    threads: int
    paused: bool


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send items of a chunk to a worker.

    Attributes:
        worker: number of the worker.
        chunk: number of the chunk.
        positions: those of its items.
        paused: whether they are to wait until the chunk is resumed.
        refusals: why some of these items are not to be run but recorded as failed, by position.
    """

    worker: int
    chunk: int
    positions: Collection[int]
    paused: bool
    refusals: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SendOrder:
    """Send an order to a worker."""

    worker: int
    order: Order


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End a worker at once."""

    worker: int


@dataclass(frozen=True, slots=True)
class ChunkEnded:
    """No item of the chunk is left: record it; of its items only those at `failed` may be needed again."""

    chunk: int
    failed: Collection[int]


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Items that have a final state will run again: their ledger rows are to be replaced."""

    chunk: int
    positions: Collection[int]


@dataclass(frozen=True, slots=True)
class TryRelease:
    """A person wants the run to go on although it is held: see at once whether it can."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Something a person wants to know."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """Every worker is gone: write what has been received, and end."""

    state: RunState
    reason: str


Action = (
    ReadChunks | StartWorker | SendChunk | SendOrder | KillWorker | ChunkEnded | RunAgain | TryRelease | Tell | EndRun
)
