"""The scheduler's events and actions (except the reports of workers), and messages between other parts of a run.

The reports (`Ready`, `ResultBatch`, `ChunkFinished`, …) are in `protocol`. `runner` documents the order in which
messages reach the parts.
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
        number: number of the chunk; chunks arrive in order.
        positions: positions in the input of all items of the chunk, in their order.
        pending: positions of the items that have to run, in the same order; the ledger has the other items as ok.
        rows: number of result rows of the items that the ledger has as ok.
        known: the part of `pending` that had failed before the run was resumed. The circuit breaker ignores their
            failures.
        nbytes: bytes of the packed items.
        byte_offset: offset in bytes at which the chunk begins, in a source that can be read from there; else None.
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
        """Return the position of the chunk's first item."""
        return self.positions[0]

    @property
    def items(self) -> int:
        """Return the number of items of the chunk."""
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class ChunksSkipped:
    """Consecutive chunks have nothing to run, because an earlier process recorded all of their items as ok.

    Attributes:
        first: number of the first of these chunks. `ChunkRead` and this event arrive in the order of the chunks.
        first_items: position of the first item of each chunk.
        items: number of items of each chunk.
        rows: number of result rows of each chunk.
        milliseconds: duration of each chunk in that process; 0 if unknown.
    """

    first: int
    first_items: array[int]
    items: array[int]
    rows: array[int]
    milliseconds: array[int]


@dataclass(frozen=True, slots=True)
class InputEnded:
    """The input has no more chunks. `missed` items failed in an earlier process and do not run again."""

    missed: int = 0


@dataclass(frozen=True, slots=True)
class FrontierGrown:
    """The frontier (the table of added items) now has `items` items, including the input and items that have run."""

    items: int


@dataclass(frozen=True, slots=True)
class InputFailed:
    """The input cannot be read any further; `message` is the reason."""

    message: str


@dataclass(frozen=True, slots=True)
class ItemsRejected:
    """The database refused the rows of items that were counted as done; the ledger records these items as failed.

    Attributes:
        items: positions of the items, by chunk.
        rows: number of rows that were counted for them, by chunk.
        message: the database's error.
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
    """Pause the run: start no new items until `ResumeRun`."""


@dataclass(frozen=True, slots=True)
class ResumeRun:
    """Resume the run after `PauseRun` or an outage."""


@dataclass(frozen=True, slots=True)
class TryNow:
    """Start one item now, during an outage. If it ends well, the run continues."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Pause the run until `Release` with the same `cause`, even if the user resumes it. `reason` is shown."""

    cause: PauseCause
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """Remove the pause of a `Hold`. The run resumes unless another pause applies."""

    cause: PauseCause


@dataclass(frozen=True, slots=True)
class PauseChunks:
    """Start no new items of these chunks."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class ResumeChunks:
    """Resume these paused chunks."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class CancelChunks:
    """Record the items of these chunks that have not started as cancelled."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class RetryChunks:
    """Run the failed and cancelled items of these chunks again."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class ChangeThreads:
    """Execute this many items at once, over all workers."""

    threads: int


@dataclass(frozen=True, slots=True)
class ChangeWorkers:
    """Run this many workers, or fewer if there are fewer threads; sent when a cluster grows or shrinks."""

    workers: int


@dataclass(frozen=True, slots=True)
class DivideThreads:
    """Use only one in `divisor` of the threads, because memory is short. `text` is shown."""

    divisor: int
    text: str


@dataclass(frozen=True, slots=True)
class ChangeRate:
    """Start at most this many items per second, over all workers; None for no bound."""

    rate: float | None


@dataclass(frozen=True, slots=True)
class ChangeHostLimits:
    """Set the limits of requests to `host`; if `host` is empty, of every host without limits of its own."""

    limits: HostLimits
    host: str = ""


@dataclass(frozen=True, slots=True)
class PauseHosts:
    """Pause or resume requests to these hosts."""

    hosts: Collection[str]
    paused: bool


@dataclass(frozen=True, slots=True)
class ShareMemory:
    """Set the memory limit of each worker to this many bytes, also of later workers; None for no limit."""

    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Recycle:
    """Replace a worker by a new one, because it uses too much memory.

    Attributes:
        worker: number of the worker. A worker that has already ended is ignored.
        reason: the reason that is shown.
        at_once: True to kill the worker and run its items again; False to let it finish its items.
        blamed: True if the one item in flight is the cause. The item then counts as if it had killed the worker.
    """

    worker: int
    reason: str
    at_once: bool = False
    blamed: bool = False


@dataclass(frozen=True, slots=True)
class ChangeOpenChunks:
    """Keep this many chunks open, instead of the automatic number."""

    open_chunks: int


@dataclass(frozen=True, slots=True)
class StopRun:
    """Drain the workers, then end the run.

    Attributes:
        state: final state of the run.
        reason: reason that is shown while the run drains and afterwards.
        announced: event that is logged when draining begins; `reason` if empty.
    """

    state: RunState
    reason: str
    announced: str = ""


@dataclass(frozen=True, slots=True)
class KillRun:
    """Kill the workers and end the run in `state`, because of `reason`."""

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseLost:
    """The database accepts no more writes: kill the workers and fail the run, even if it has already ended."""

    error: DatabaseError


@dataclass(frozen=True, slots=True)
class RunnerFault:
    """The runner cannot continue because of a defect in tui-runner; the run has failed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """No user watches the run from now on, so no one can resume a pause. `reason` is logged."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: check deadlines. Sent four times a second."""


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
        count: number of chunks.
        size: items per chunk; None for the size that the user has set.
    """

    count: int
    size: int | None = None


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker.

    Attributes:
        worker: number of the new worker.
        threads: items that it executes at once.
        paused: True if it starts no items until `Resume`.
        rate: items that it may start per second; None for no limit.
        max_memory: bytes that it may use; None for no limit.
        host_limits: limits of requests to each host.
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
        paused: True if the items wait until the chunk is resumed.
        refusals: items to record as failed without running them: the message by position.
        attempts: attempts already made, by position; a missing position means 0.
        tries: attempts that failed and count as retries, by position.
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
    """No item of the chunk is left: record the chunk, and keep only the values of the items `failed` for a retry.

    If the failed items run again, the chunk consists of them alone: its indexes then refer to `failed`, in this order.
    """

    chunk: int
    failed: Sequence[int]


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker died while it executed items of a chunk.

    Record its death for a resume, because any of the items may be the cause.

    Attributes:
        chunk: number of the chunk.
        attempts: number of the attempt that was in flight, by position.
        reason: how the worker ended.
    """

    chunk: int
    attempts: Mapping[int, int]
    reason: str


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Items that have a final state run again: delete their ledger rows before new ones are written."""

    chunk: int
    positions: Sequence[int]


@dataclass(frozen=True, slots=True)
class TryRelease:
    """The user resumed a run that is held by a guard: make the guard check at once whether it can continue."""


@dataclass(frozen=True, slots=True)
class RecordState:
    """The state in which the run would resume after a crash has changed: record it."""

    state: RunState


@dataclass(frozen=True, slots=True)
class Tell:
    """Log an event for the user; `level` is a logging level such as WARNING."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """Every worker has ended: write all rows that were received, then end the run."""

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
    """Set the memory limit of the run in bytes, or as a share of the machine's such as `80%`; None for no limit."""

    limit: int | str | None


@dataclass(frozen=True, slots=True)
class Committed:
    """Batches or chunks are committed to the database. A ticket is the pair (worker, bytes) that came with a batch."""

    tickets: list[Any]


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """The database did not accept a flush."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class RetryFlush:
    """Write the failed flush again now; ignored if no flush has failed."""


@dataclass(frozen=True, slots=True)
class RowsLeft:
    """The writing thread has ended without writing all rows."""


@dataclass(frozen=True, slots=True)
class LogFailed:
    """The log file accepts no more lines."""

    reason: str


@dataclass(frozen=True, slots=True)
class Draw:
    """Publish a new snapshot."""
