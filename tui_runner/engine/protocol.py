"""Messages between the tui-runner process and a worker.

    runner                                   worker
      ── OpenChunk(items) ───────────────▶     call the function with these items
      ◀── ChunkExhausted ────────────────      no item of the chunk is left to start: send the next
      ◀── Progress, LogLines, HostsReport      about 5 times a second
      ◀── ResultBatch(rows, ledger rows)       about 5 times a second
      ── Written(bytes) ─────────────────▶     these bytes of rows are committed
      ◀── ChunkFinished ─────────────────      always after the last ResultBatch of the chunk
      ── GrantHost, HoldHost ────────────▶     share the limits of a host among workers
      ── Drain ──────────────────────────▶     start no new items; finish, flush
      ◀── Drained ───────────────────────      the worker has sent everything

Messages of one worker arrive in the order in which they were sent. A chunk is with one worker at a time, and messages
of a worker that was declared lost are ignored. So the rows of an item can reach the database only once. Attempts are
numbered across workers: `OpenChunk.attempts` is the number of earlier attempts of an item.
"""

from __future__ import annotations

import math
import pickle
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tui_runner.engine.metrics import Durations
from tui_runner.jobs.hosts import HostLimits
from tui_runner.jobs.reference import JobReference


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Configuration of a worker: everything that the worker needs before its first chunk.

    Attributes:
        worker: number of the worker.
        job: reference to the user's function.
        params: values of all job parameters. A worker process starts without them. It loads the job's file first,
            which may define classes of these values, and then unpickles `packed_params`.
        packed_params: `params`, packed by `pack_params`.
        secrets: the secret values in `params`.
        by_name: True to pass the values of an item by parameter name; False to pass the item as the only positional
            argument.
        from_input: True if items come from an input. Text in such items is converted to the types of the function's
            annotations.
        threads: items executed at once in this worker.
        retries: attempts after the first.
        retry_share: retries allowed for each first attempt that failed lately, see `RetryBudget`; None for no limit.
        timeout: seconds an attempt may take; None for no limit.
        rate: items started per second in this worker; None for no limit.
        host_limits: limits of requests to each host.
        hosts_shared: True if several workers share `host_limits`, so that a worker needs a `GrantHost` for each host.
        max_buffered_bytes: bytes of unwritten rows beyond which the worker's item threads wait.
        max_memory: bytes of memory beyond which the worker starts no more items; None for no limit.
        paused: True if the worker starts paused.
        processors: threads that native libraries (BLAS, OpenMP) may use in this worker; None for no limit.
        key_columns: columns of an item that form its key, see `inputs.keys`.
        item_text: True if the ledger gets a short text of every item.
    """

    worker: int
    job: JobReference
    params: Mapping[str, Any]
    packed_params: bytes
    secrets: tuple[str, ...]
    by_name: bool
    from_input: bool
    threads: int
    retries: int
    retry_share: float | None = None
    timeout: float | None = None
    rate: float | None = None
    host_limits: HostLimits = field(default_factory=HostLimits)
    hosts_shared: bool = False
    max_buffered_bytes: int = 64 << 20  # for tests; runs set it from `assembly._MAX_BUFFERED_BYTES`
    max_memory: int | None = None
    paused: bool = False
    processors: int | None = None
    key_columns: str | tuple[str, ...] = ()
    item_text: bool = True


# --- from the runner to a worker ---------------------------------------------------------------------------


Positions = range | array  # type: ignore[type-arg]  # of integers; at run time `array` has no element type
"""Positions in the input of a chunk's items, in the order of the chunk; a range if they are consecutive."""


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """An order to run items of a chunk.

    Attributes:
        chunk: number of the chunk.
        positions: positions of all items of the chunk.
        values: all items of the chunk, packed by `pack`. None may replace an item that is not in `run`.
        run: indexes in `positions` of the items to run; None for all.
        attempts: attempts already made, by position; a missing position means 0.
        tries: failed attempts that count as retries, by position. Attempts that the loss of a worker ended do not
            count, nor do attempts before the user retried the chunk.
        refusals: error messages of items that are recorded as failed without an attempt, by position.
        paused: True if the chunk starts paused.
    """

    chunk: int
    positions: Positions
    values: bytes
    run: Sequence[int] | None = None
    attempts: Mapping[int, int] = field(default_factory=dict)
    tries: Mapping[int, int] = field(default_factory=dict)
    refusals: Mapping[int, str] = field(default_factory=dict)
    paused: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle the values out of band, so that 8 MB go into the pipe without being copied into the pickle.
        return OpenChunk, tuple(
            pickle.PickleBuffer(self.values) if name == "values" else getattr(self, name) for name in self.__slots__
        )


@dataclass(frozen=True, slots=True)
class Pause:
    """An order to start no new items of a chunk, or of any chunk if `chunk` is None."""

    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """An order that undoes the `Pause` with the same `chunk`."""

    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """An order to start one item although the worker is paused, to test if an outage is over."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """An order to record the unstarted items of a chunk as cancelled."""

    chunk: int


@dataclass(frozen=True, slots=True)
class SetThreads:
    """An order to execute `threads` items at once."""

    threads: int


@dataclass(frozen=True, slots=True)
class SetRate:
    """An order to start at most `rate` items per second; None for no limit."""

    rate: float | None


@dataclass(frozen=True, slots=True)
class SetHostLimits:
    """An order to set the limits of requests to `host`. An empty `host` means every host without limits of its own."""

    limits: HostLimits
    host: str = ""


@dataclass(frozen=True, slots=True)
class GrantHost:
    """A worker's share of a host: at most `slots` open requests, the first of which may be sent in `due` seconds.

    `serial` numbers the grants of this host to this worker. The worker's reports contain the serial of the grant that
    the worker applied last.
    """

    host: str
    slots: int
    serial: int
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class HoldHost:
    """An order to send no requests to a host for `seconds`, because the host has refused another worker's request."""

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PauseHost:
    """An order to pause or resume requests to a host."""

    host: str
    paused: bool


@dataclass(frozen=True, slots=True)
class SetMaxMemory:
    """An order that sets the bytes of memory that the worker may use; None for no limit."""

    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Written:
    """A notice that `nbytes` bytes of rows are committed, so that they no longer count as buffered."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Drain:
    """An order to start no new items, and to end when the items in flight have ended, after `grace` seconds at most.

    The worker sends all results, and then `Drained` as its last message.
    """

    grace: float


Order = (
    OpenChunk
    | Pause
    | Resume
    | Probe
    | Cancel
    | SetThreads
    | SetRate
    | SetHostLimits
    | GrantHost
    | HoldHost
    | PauseHost
    | SetMaxMemory
    | Written
    | Drain
)


# --- from a worker to the runner ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has loaded the job and can take chunks.

    `host` names the worker's machine; it is empty for the machine of the tui-runner process.
    """

    worker: int
    pid: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker cannot run the job, and other workers could not either.

    For example, the job does not load, its `setup` raised, or items cannot be unpickled in a worker.
    """

    worker: int
    message: str


@dataclass(frozen=True, slots=True)
class ChunkExhausted:
    """The worker has started all items of the chunk, or the remaining items wait for hosts.

    The next chunk can be sent.
    """

    worker: int
    chunk: int


@dataclass(frozen=True, slots=True)
class ChunkWait:
    """The reason why a worker executes no item of a chunk: a host accepts no requests, or no attempt is due yet.

    Attributes:
        host: host that accepts no requests; empty if the items wait until their next attempts are due.
        seconds: seconds until the first item may start; infinite if unknown.
        over_budget: True if the first item is due and the retry budget holds it back; `seconds` is 0 then.
    """

    host: str
    seconds: float
    over_budget: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a worker, reported several times a second while it executes items, and every two seconds otherwise.

    Attributes:
        worker: number of the worker.
        in_flight: number of items being executed, by chunk.
        oldest: the items that have been in flight longest, at most 20. Items that wait for a host are among them only
            if there are fewer others.
        threads: threads (or asyncio tasks) that execute items.
        buffered_bytes: bytes of rows that are not written yet.
        throttled: True if threads wait because too many bytes are buffered.
        stuck: items past their deadline whose threads have not returned. It is 0 while they are few enough for the
            worker to continue.
        waiting: True if items wait to be started.
        rss: resident bytes of the worker, without its child processes.
        held: number of items of `in_flight` that have begun and now wait for their host, by chunk. Other items are
            executed in their place.
        waits: reasons why chunks wait, by chunk; only chunks with no item in execution have one.
        over_budget: number of retries that are overdue because the retry budget holds them back.
        delayed: number of items that wait for their next attempt.
        next_attempt: seconds until the first of them is due; None if none waits.
    """

    worker: int
    in_flight: Mapping[int, int]
    oldest: tuple[InFlight, ...]
    threads: int
    buffered_bytes: int
    throttled: bool
    stuck: int = 0
    waiting: bool = False
    rss: int = 0
    held: Mapping[int, int] = field(default_factory=dict)
    waits: Mapping[int, ChunkWait] = field(default_factory=dict)
    over_budget: int = 0
    delayed: int = 0
    next_attempt: float | None = None

    @property
    def in_flight_now(self) -> int:
        """The number of items in flight that do not wait for their host."""
        return sum(self.in_flight.values()) - sum(self.held.values())


@dataclass(frozen=True, slots=True)
class HostReport:
    """The state of a host in one worker, and its counters since the worker's last report.

    `host_gate.HostState` describes the fields that are not described here.

    Attributes:
        host: name of the host.
        done: requests that succeeded.
        failed: requests that failed.
        refused: requests that the host refused for now.
        seconds: sum of the durations of requests.
        statuses: number of responses by HTTP status; requests without a response count as status 0.
        latencies: durations of the requests.
    """

    host: str
    open: int = 0
    waiting: int = 0
    slots: int | None = None
    serial: int = 0
    delay: float = 0.0
    cooldown: float = 0.0
    named: float = 0.0
    due: float = 0.0
    asked_delay: float = 0.0
    paused: bool = False
    failing: bool = False
    down: bool = False
    done: int = 0
    failed: int = 0
    refused: int = 0
    seconds: float = 0.0
    statuses: Mapping[int, int] = field(default_factory=dict)
    latencies: Durations = field(default_factory=Durations)


@dataclass(frozen=True, slots=True)
class HostRefused:
    """A host gets no requests for `seconds`, because it has refused one.

    Sent at once, so that other workers learn it before their next request. `named` are the seconds that the host itself
    named; 0 if it named none. `status` is the status of the response.
    """

    worker: int
    host: str
    seconds: float
    named: float
    status: int


@dataclass(frozen=True, slots=True)
class HostsReport:
    """The hosts whose state changed in a worker since its last report."""

    worker: int
    hosts: tuple[HostReport, ...]


if TYPE_CHECKING:
    Ranges: TypeAlias = "array[int]"
else:  # at run time `array` has no element type, and tools that read annotations evaluate them
    Ranges = array
"""Half-open ranges of integers, flattened: start, stop, start, stop, …; from `ranges_of`."""

ArrowStream = Any
"""An Arrow IPC stream as bytes or as a `pyarrow.Buffer`, which is pickled without a copy."""

MAX_KEPT_VALUE = 64 << 10
"""Largest packed item, in bytes, that a worker reports with its failure. The program keeps such items, so that the user
can retry them during the run. Larger ones would fill its memory; only `tui-runner retry` runs them again."""


@dataclass(frozen=True, slots=True)
class ResultBatch:
    """Items that ended and attempts that failed, with their rows and errors.

    Attributes:
        worker: number of the worker.
        tables: Arrow IPC streams of result rows, one stream per schema, each with the column `_item`.
        items: Arrow IPC stream of ledger rows (`records.ITEMS`).
        errors: Arrow IPC stream of errors (`records.ERRORS`); empty bytes if there are none.
        ended: indexes in the chunk of the items that reached a final state, by chunk, as from `ranges_of`.
        failed: number of attempts made at each item of `ended` that failed or was cancelled, by chunk and position.
        retried: number of each failed attempt that will be followed by another, by chunk and position.
        counts: counters of each chunk in this batch since the worker received the chunk. They cover the items of this
            batch and of the worker's earlier batches, and no others.
        error_groups: number of errors by (type, shape of the message), see `text.describe.shape`.
        trials: results that the circuit breaker counts.
        rows: number of result rows in `tables`.
        nbytes: bytes that `rows` take of the worker's `max_buffered_bytes`, until `Written` frees them.
        failing_since: time at which the first failed attempt in `trials` began; infinite if no attempt failed. The
            clock is `time.monotonic()`, which all processes of a machine share.
        final_groups: like `error_groups`, but counts only errors of the last attempt at an item.
        cancelled: number of items in `ended` that were cancelled, by chunk.
        examples: first line of one message of each group in `error_groups`: the newest of its last attempts, or without
            one, the newest.
        out_of_attempts: positions of the items of `failed` whose last error was transient, by chunk.
        values: pickled items of `failed`, by position, without those of more than `MAX_KEPT_VALUE` bytes.
        by_host: the failures in `trials` that a host has caused, by host.
        added: Arrow IPC stream of items that these items added (`records.ADDED`); empty bytes if there are none.
        begun: seconds since the first attempt of a chunk started, by chunk, for chunks without an earlier report. It
            is an age and no time, because the clocks of two machines differ.
        latencies: durations of all attempts in this batch, failed ones included.
    """

    worker: int
    tables: tuple[ArrowStream, ...]
    items: ArrowStream
    errors: ArrowStream
    ended: Mapping[int, Ranges]
    failed: Mapping[int, Mapping[int, int]]
    retried: Mapping[int, Mapping[int, int]]
    counts: Mapping[int, Counts]
    error_groups: Mapping[tuple[str, str], int]
    rows: int
    nbytes: int
    trials: Trials
    failing_since: float = math.inf
    final_groups: Mapping[tuple[str, str], int] = field(default_factory=dict)
    cancelled: Mapping[int, int] = field(default_factory=dict)
    values: Mapping[int, bytes] = field(default_factory=dict)
    examples: Mapping[tuple[str, str], str] = field(default_factory=dict)
    by_host: Mapping[str, Trials] = field(default_factory=dict)
    added: ArrowStream = b""
    begun: Mapping[int, float] = field(default_factory=dict)
    out_of_attempts: Mapping[int, Sequence[int]] = field(default_factory=dict)
    latencies: Durations = field(default_factory=Durations)

    def executed(self, chunk: int) -> int:
        """Return the number of items of a chunk that were executed to their end, successfully or not."""
        return self.ended_items(chunk) - self.cancelled.get(chunk, 0)

    def ended_items(self, chunk: int) -> int:
        """Return the number of items of a chunk that reached a final state, cancelled ones included."""
        ranges = self.ended.get(chunk, ())
        return sum(ranges[1::2]) - sum(ranges[::2])


BROKEN_EXIT, DESCRIPTORS_EXIT = 217, 218
"""Exit codes of a worker process that user code has made unusable. The numbers are arbitrary, but above those by which
shells report a signal (128 plus the number of the signal)."""
EXIT_REASONS = {
    BROKEN_EXIT: "ended because a function had broken something that the worker needs (its line in the log says what)",
    DESCRIPTORS_EXIT: "ended because a function had closed or replaced its file descriptors",
}
"""Texts for the exit codes above."""


def ranges_of(indexes: Iterable[int]) -> array[int]:
    """Return half-open ranges that cover ascending indexes, flattened: (start, stop) pairs in one sequence."""
    ranges = array("q")
    for index in indexes:
        if ranges and ranges[-1] == index:
            ranges[-1] = index + 1
        else:
            ranges.extend((index, index + 1))
    return ranges


@dataclass(frozen=True, slots=True)
class ChunkFinished:
    """Every item of the chunk is in a `ResultBatch` that was sent before this message."""

    worker: int
    chunk: int


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines that the job printed or logged, or events of the run on their way to the log.

    `dropped` is the number of lines that were discarded before them, because the job wrote too many. `worker` is None
    for lines of the tui-runner process, which is where the job's code makes its items.
    """

    worker: int | None
    lines: tuple[LogLine, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class MemoryFull:
    """The worker uses more memory than it may, although nothing is in flight or the items in flight do not end soon.

    It starts no more items and has to be replaced.
    """

    worker: int
    rss: int


@dataclass(frozen=True, slots=True)
class Drained:
    """The worker has sent everything; `stuck` items were still being executed."""

    worker: int
    stuck: int = 0


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker has ended. The backend sends this after the last message of that worker.

    Attributes:
        worker: number of the worker.
        reason: description of the worker's end; empty for exit code 0.
        in_flight: number of the attempt of each item that the worker was executing, by position.
        blame: False if no item can be the cause, because the worker's machine was lost, or none was found for it.
    """

    worker: int
    reason: str
    in_flight: Mapping[int, int] = field(default_factory=dict)
    blame: bool = True


Report = (
    Ready
    | WorkerFailed
    | ChunkExhausted
    | Progress
    | HostRefused
    | HostsReport
    | ResultBatch
    | ChunkFinished
    | LogLines
    | MemoryFull
    | Drained
    | WorkerLost
)


@dataclass(frozen=True, slots=True)
class InFlight:
    """An item that is being executed: chunk, position, short text, number of the attempt, seconds so far.

    `held_by` is the host for which the item waits after it has begun; empty if it waits for none.
    """

    chunk: int
    item: int
    text: str
    attempt: int
    seconds: float
    held_by: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that the job printed or logged, or an event of the run. Pass `text` through `safe_text` to show it.

    Attributes:
        at: wall clock time, seconds since the epoch.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL; INFO for printed text.
        text: the line, without its line end.
        chunk: number of the chunk of the item that printed the line; None if that item is unknown.
        item: position in the input of the item that printed the line; None if that item is unknown.
        worker: number of the worker whose job wrote the line; negative for an event, None for the tui-runner process.
        value: short text of the item, without secrets. Empty if the text is unknown or only repeats the position.
    """

    at: float
    level: str
    text: str
    chunk: int | None = None
    item: int | None = None
    worker: int | None = None
    value: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters over items. `busy_seconds` is the sum of the durations of all attempts."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    retries: int = 0
    rows: int = 0
    busy_seconds: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.done + other.done,
            self.failed + other.failed,
            self.cancelled + other.cancelled,
            self.retries + other.retries,
            self.rows + other.rows,
            self.busy_seconds + other.busy_seconds,
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.done - other.done,
            self.failed - other.failed,
            self.cancelled - other.cancelled,
            self.retries - other.retries,
            self.rows - other.rows,
            self.busy_seconds - other.busy_seconds,
        )

    @property
    def finished(self) -> int:
        """The number of items that reached a final state."""
        return self.done + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Trials:
    """Results that the circuit breaker counts: the success of each item, and the failure of its first attempt.

    Attributes:
        ok: items that succeeded.
        transient: items whose first attempt failed with an error after which another attempt may succeed.
        permanent: items whose first attempt failed permanently.
    """

    ok: int = 0
    transient: int = 0
    permanent: int = 0

    def __add__(self, other: Trials) -> Trials:
        return Trials(self.ok + other.ok, self.transient + other.transient, self.permanent + other.permanent)

    def __sub__(self, other: Trials) -> Trials:
        return Trials(self.ok - other.ok, self.transient - other.transient, self.permanent - other.permanent)

    def without(self, failures: int) -> Trials:
        """Return a copy with `failures` fewer failures, permanent ones subtracted first."""
        permanent = min(self.permanent, failures)
        return self - Trials(0, min(self.transient, failures - permanent), permanent)

    @property
    def failed(self) -> int:
        """The number of items whose first attempt failed."""
        return self.transient + self.permanent

    @property
    def total(self) -> int:
        """The number of successes and failures."""
        return self.ok + self.failed
