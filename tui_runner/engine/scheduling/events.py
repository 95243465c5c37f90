"""Events and actions of the scheduler, besides the reports of workers, and messages between other parts of a run.

Reports (`Ready`, `ResultBatch`, `ChunkFinished`, …) are in `protocol`; how messages reach the parts is in `runner`.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tui_runner.engine.protocol import (
    ChunkExhausted,
    ChunkFinished,
    Drained,
    HostRefused,
    HostsReport,
    MemoryFull,
    Order,
    Positions,
    Progress,
    Ready,
    ResultBatch,
    WorkerFailed,
    WorkerLost,
)
from tui_runner.engine.states import PauseCause, RunState
from tui_runner.errors import DatabaseError
from tui_runner.jobs.hosts import HostLimits

# --- events: from the input --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """The next chunk was cut from the input.

    Attributes:
        number: its number; they come in order.
        positions: of all its items, in their order.
        pending: positions of those that are to run, in the same order; the others are recorded as ok.
        rows: how many rows the others have.
        known: those of `pending` that had failed before the run was resumed: that they fail again is no news.
        nbytes: of its packed items.
        byte_offset: where it begins in a source that can be read from there; else None.
    """

    number: int
    positions: Positions
    pending: Sequence[int]
    rows: int = 0
    known: Collection[int] = ()
    nbytes: int = 0
    byte_offset: int | None = None

    @property
    def first_item(self) -> int:
        """Position of its first item."""
        return self.positions[0]

    @property
    def items(self) -> int:
        """The number of its items."""
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class ChunksSkipped:
    """Chunks with consecutive numbers have nothing left to do: an earlier process has recorded that.

    Attributes:
        first: number of the first one; they come in order, among those of `ChunkRead`.
        first_items: position of the first item of each.
        items: how many items of each ended well.
        rows: how many rows these have.
    """

    first: int
    first_items: array[int]
    items: array[int]
    rows: array[int]


@dataclass(frozen=True, slots=True)
class InputEnded:
    """The input has no more chunks; `missed` recorded items did not end well and do not run again."""

    missed: int = 0


@dataclass(frozen=True, slots=True)
class FrontierGrown:
    """The frontier has `items` items by now, those of the input and those that have run included."""

    items: int


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
class TryNow:
    """Try one item of an outage at once; the run goes on if that ends well."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Start no new items until `Release` of the same `cause`, even if the run is resumed; `reason` says why."""

    cause: PauseCause
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """The cause of a `Hold` is gone; the run resumes unless something else pauses it."""

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
class ChangeWorkers:
    """Have this many workers, where there are threads enough; sent when a cluster has grown."""

    workers: int


@dataclass(frozen=True, slots=True)
class DivideThreads:
    """Execute only one in `divisor` of the items at once that `ChangeThreads` asks for; `text` says why."""

    divisor: int
    text: str


@dataclass(frozen=True, slots=True)
class ChangeRate:
    """Start at most this many items per second, over all workers; None for no bound."""

    rate: float | None


@dataclass(frozen=True, slots=True)
class ChangeHostLimits:
    """Limit requests to a host so, or to every other host where `host` is empty, over all workers."""

    limits: HostLimits
    host: str = ""


@dataclass(frozen=True, slots=True)
class PauseHosts:
    """Ask these hosts no more, or again."""

    hosts: Collection[str]
    paused: bool


@dataclass(frozen=True, slots=True)
class ShareMemory:
    """Let each worker have this many bytes, those that start later, too; None for no bound."""

    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Recycle:
    """Have a new worker take the place of one that has too much memory.

    Attributes:
        worker: its number; one that is gone is no mistake.
        reason: why.
        at_once: it is killed, and its items run again.
        blamed: True if that is the fault of the one item that it executes, as if that had killed it.
    """

    worker: int
    reason: str
    at_once: bool = False
    blamed: bool = False


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

    error: DatabaseError


@dataclass(frozen=True, slots=True)
class RunnerFault:
    """The runner cannot continue because of a fault of tui-runner itself: the run has failed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The run is not watched any more: what is paused can't be resumed by hand."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    Begin
    | ChunkRead
    | ChunksSkipped
    | InputEnded
    | InputFailed
    | PauseRun
    | ResumeRun
    | TryNow
    | Hold
    | Release
    | PauseChunks
    | ResumeChunks
    | CancelChunks
    | RetryChunks
    | ChangeThreads
    | ChangeWorkers
    | DivideThreads
    | ChangeRate
    | ChangeHostLimits
    | PauseHosts
    | ShareMemory
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
    | ResultBatch
    | Progress
    | HostRefused
    | HostsReport
    | ItemsRejected
    | MemoryFull
    | ChunkFinished
    | Drained
    | WorkerLost
)
"""Messages that `Scheduler.handle` takes."""

# --- actions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadChunks:
    """Cut more chunks from the input.

    Attributes:
        count: how many.
        size: items of each; None for the size that is set.
    """

    count: int
    size: int | None = None


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker.

    Attributes:
        worker: its number.
        threads: how many it has.
        paused: whether it starts no items before the run is resumed.
        rate: items it may start per second; None for no bound.
        max_memory: bytes it may have; None for no bound.
        host_limits: limits of every host.
    """

    worker: int
    threads: int
    paused: bool
    rate: float | None = None
    max_memory: int | None = None
    host_limits: HostLimits = field(default_factory=HostLimits)


@dataclass(frozen=True, slots=True)
class SendChunk:
    """Send items of a chunk to a worker.

    Attributes:
        worker: number of the worker.
        chunk: number of the chunk.
        run: indexes in the chunk of the items to run; None for all of them.
        paused: whether they are to wait until the chunk is resumed.
        refusals: why some of these items are not to be run but recorded as failed, by position.
        attempts: attempts already made, by position, of those items that have any.
        tries: how many of those failed and count as retries, likewise.
    """

    worker: int
    chunk: int
    run: Sequence[int] | None
    paused: bool
    refusals: Mapping[int, str] = field(default_factory=dict)
    attempts: Mapping[int, int] = field(default_factory=dict)
    tries: Mapping[int, int] = field(default_factory=dict)


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
    """No item of the chunk is left: record it; of its items only those at `failed` may be needed again.

    When these run again the chunk has no others: its indexes are then those of `failed`, in this order.
    """

    chunk: int
    failed: Sequence[int]


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker died while it executed items of a chunk, any of which may be the cause: record it, for a resume.

    Attributes:
        chunk: number of the chunk.
        attempts: the number of the attempt that was made, by position.
        reason: what the worker died of.
    """

    chunk: int
    attempts: Mapping[int, int]
    reason: str


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Items that have a final state will run again: replace their ledger rows."""

    chunk: int
    positions: Sequence[int]


@dataclass(frozen=True, slots=True)
class TryRelease:
    """A person resumes a run that is held: look at once whether it can continue."""


@dataclass(frozen=True, slots=True)
class RecordState:
    """The state in which the run resumes after a crash has changed: record it."""

    state: RunState


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
    ReadChunks
    | StartWorker
    | SendChunk
    | SendOrder
    | KillWorker
    | ChunkEnded
    | WorkerDied
    | RunAgain
    | TryRelease
    | RecordState
    | Tell
    | EndRun
)
"""Messages that `Scheduler.handle` returns."""

# --- messages between other parts of a run --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChangeMaxMemory:
    """The run may use this much memory, in bytes or as a share of the machine's such as `80%`; None for no bound."""

    limit: int | str | None


@dataclass(frozen=True, slots=True)
class Committed:
    """These batches are in the database; their tickets are (worker, bytes)."""

    tickets: list[Any]


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """The database did not take a flush."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class RetryFlush:
    """Try again to write the flush that has failed; nothing when there is none."""


@dataclass(frozen=True, slots=True)
class RowsLeft:
    """The writing thread has ended and has not written all rows."""


@dataclass(frozen=True, slots=True)
class LogFailed:
    """The log file takes no more lines."""

    reason: str


@dataclass(frozen=True, slots=True)
class Draw:
    """Publish a new snapshot."""
