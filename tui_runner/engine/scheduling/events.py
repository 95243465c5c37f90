"""The scheduler's events and actions (except the reports of workers), and messages between other parts of a run.

The reports (`Ready`, `ResultBatch`, `ChunkFinished`, …) are in `protocol`. The heads of `runner` and `parts` describe
the order in which messages reach the parts.
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
        positions: positions in the input of all items of the chunk, in the order of the chunk.
        pending: positions of the items that have to run, in the same order. The other items are recorded as ok.
        rows: number of result rows of the items that are recorded as ok.
        known: positions of the `pending` items that failed before the run was resumed. The circuit breaker does not
            count their next failure.
        nbytes: bytes of the packed items.
        byte_offset: offset in bytes at which the chunk begins; None if the source cannot be read from an offset.
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
        """The position of the chunk's first item."""
        return self.positions[0]

    @property
    def items(self) -> int:
        """The number of items of the chunk."""
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class ChunksSkipped:
    """Consecutive chunks have nothing to run, because an earlier process recorded all of their items as ok.

    Attributes:
        first: number of the first of these chunks. Events `ChunkRead` and `ChunksSkipped` arrive in the order of the
            chunks.
        first_items: position of the first item of each chunk.
        items: number of items of each chunk.
        rows: number of result rows of each chunk.
        milliseconds: duration of each chunk in the earlier process; 0 if unknown.
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
    """The first event of a run, which starts its clock and its workers."""


@dataclass(frozen=True, slots=True)
class PauseRun:
    """A command to start no new items until `ResumeRun`."""


@dataclass(frozen=True, slots=True)
class ResumeRun:
    """A command to resume the run after `PauseRun` or an outage."""


@dataclass(frozen=True, slots=True)
class TryNow:
    """A command to start one item now, during an outage. If the item succeeds, the run continues."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A command of a guard or a cluster to pause the run until `Release` with the same `cause`.

    The user cannot resume the run earlier. `reason` is shown to the user.
    """

    cause: PauseCause
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """A command of a guard or a cluster to remove the pause of its `Hold`.

    The run resumes unless another pause applies.
    """

    cause: PauseCause


@dataclass(frozen=True, slots=True)
class PauseChunks:
    """A command to start no new items of the chunks `numbers`."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class ResumeChunks:
    """A command to resume the paused chunks `numbers`."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class CancelChunks:
    """A command to record the unstarted items of the chunks `numbers` as cancelled."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class RetryChunks:
    """A command to run the failed and cancelled items of the chunks `numbers` again."""

    numbers: Collection[int]


@dataclass(frozen=True, slots=True)
class ChangeThreads:
    """A command to execute `threads` items at once, over all workers."""

    threads: int


@dataclass(frozen=True, slots=True)
class ChangeWorkers:
    """A command to run `workers` workers, at most one per thread. It is given when a cluster grows or shrinks."""

    workers: int


@dataclass(frozen=True, slots=True)
class DivideThreads:
    """A command to use only one in `divisor` of the threads, because memory is short. `text` is shown to the user."""

    divisor: int
    text: str


@dataclass(frozen=True, slots=True)
class ChangeRate:
    """A command to start at most `rate` items per second, over all workers; None for no limit."""

    rate: float | None


@dataclass(frozen=True, slots=True)
class ChangeHostLimits:
    """A command to set the limits of requests to `host`. An empty `host` means every host without limits of its own."""

    limits: HostLimits
    host: str = ""


@dataclass(frozen=True, slots=True)
class PauseHosts:
    """A command to pause requests to `hosts`, or to resume them if `paused` is False."""

    hosts: Collection[str]
    paused: bool


@dataclass(frozen=True, slots=True)
class ShareMemory:
    """A command to set the memory limit of each present and later worker to `nbytes` bytes; None for no limit."""

    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Recycle:
    """A command of a guard or a cluster to replace a worker by a new one.

    Attributes:
        worker: number of the worker. A worker that has already ended is ignored.
        reason: the reason that is shown to the user.
        at_once: True to kill the worker and run its items again; False to let it finish its items in flight.
        blamed: True if an item in flight is the cause. The worker is killed, and its items in flight are treated as if
            they had killed it.
    """

    worker: int
    reason: str
    at_once: bool = False
    blamed: bool = False


@dataclass(frozen=True, slots=True)
class ChangeOpenChunks:
    """A command to have `open_chunks` chunks open, in place of the automatic number."""

    open_chunks: int


@dataclass(frozen=True, slots=True)
class StopRun:
    """A command to drain the workers and then end the run.

    Attributes:
        state: final state of the run.
        reason: reason that is shown while the run drains and afterwards.
        announced: text that is logged when draining begins; empty to log `reason`.
    """

    state: RunState
    reason: str
    announced: str = ""


@dataclass(frozen=True, slots=True)
class KillRun:
    """A command to kill the workers and end the run in `state`, for `reason`."""

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseLost:
    """The database accepts no more writes. The workers are killed, and the run fails, even if it has ended before."""

    error: DatabaseError


@dataclass(frozen=True, slots=True)
class RunnerFault:
    """The runner cannot continue because of a defect in tui-runner, so the run fails for `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The run has lost its screen, so no user can resume it from now on. `reason` is logged."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A signal of the runner, four times a second, at which parts check deadlines and measure rates."""


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
    """A request to cut more chunks from the input.

    Attributes:
        count: number of chunks.
        size: items per chunk; None for the size that the user has set.
    """

    count: int
    size: int | None = None


@dataclass(frozen=True, slots=True)
class StartWorker:
    """A request to start a worker.

    Attributes:
        worker: number of the new worker.
        threads: items that the worker executes at once.
        paused: True if the worker starts no items until `Resume`.
        rate: items that the worker may start per second; None for no limit.
        max_memory: bytes that the worker may use; None for no limit.
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
    """A request to send items of a chunk to a worker.

    Attributes:
        worker: number of the worker.
        chunk: number of the chunk.
        run: indexes in the chunk of the items to run; None for all of them.
        paused: True if the items wait until the chunk is resumed.
        refusals: error messages of items that are recorded as failed without an attempt, by position.
        attempts: attempts already made, by position; a missing position means 0.
        tries: failed attempts that count as retries, by position.
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
    """A request to send `order` to `worker`."""

    worker: int
    order: Order


@dataclass(frozen=True, slots=True)
class KillWorker:
    """A request to end a worker at once."""

    worker: int


@dataclass(frozen=True, slots=True)
class ChunkEnded:
    """Every item of the chunk has ended. Only the values of the items at the positions `failed` are kept, for a retry.

    If the failed items run again, the chunk consists of them alone, and indexes in the chunk refer to `failed`.
    """

    chunk: int
    failed: Sequence[int]


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker died while it executed items of a chunk.

    The death is recorded for a resume, because any of the items may be its cause.

    Attributes:
        chunk: number of the chunk.
        attempts: number of the attempt that was in flight, by position of its item.
        reason: description of the worker's end.
    """

    chunk: int
    attempts: Mapping[int, int]
    reason: str


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Items that have a final state run again, so their new ledger rows replace the old ones."""

    chunk: int
    positions: Sequence[int]


@dataclass(frozen=True, slots=True)
class TryRelease:
    """A request to the guards to check at once if a held run can continue, because the user has resumed it."""


@dataclass(frozen=True, slots=True)
class RecordState:
    """A request to record `state`, because the state to restore after a crash has changed."""

    state: RunState


@dataclass(frozen=True, slots=True)
class Tell:
    """A request to log `text` for the user; `level` is a logging level such as WARNING.

    `passes` is True for a text that does not hold after the end of the run, such as one about a host.
    """

    level: str
    text: str
    passes: bool = False


@dataclass(frozen=True, slots=True)
class EndRun:
    """Every worker has ended. The run ends in `state`, for `reason`, when all received rows are written."""

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
    """A command to set the run's memory limit: bytes, a share of the machine's memory such as `80%`, or None."""

    limit: int | str | None


@dataclass(frozen=True, slots=True)
class Committed:
    """Batches or chunks are committed to the database. A ticket is the pair (worker, bytes) that came with a batch."""

    tickets: list[Any]


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """The database did not accept a flush, because of `error`."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class RetryFlush:
    """A request to write the failed flush again now. It is ignored if no flush has failed."""


@dataclass(frozen=True, slots=True)
class RowsLeft:
    """The writing thread has ended without writing all rows."""


@dataclass(frozen=True, slots=True)
class LogFailed:
    """The log file accepts no more lines, for `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Draw:
    """A request to publish a new snapshot."""
