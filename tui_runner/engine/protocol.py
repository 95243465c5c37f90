"""Messages between the tui-runner process and a worker.

    runner                                   worker
      ── OpenChunk(items) ───────────────▶     takes items, calls the function
      ◀── ChunkExhausted ────────────────      no item of the chunk is left to start: send the next
      ◀── Progress, LogLines, HostsReport      about 5 times a second
      ◀── ResultBatch(rows, ledger rows)       about 5 times a second
      ── Written(bytes) ─────────────────▶     room for that many bytes more
      ◀── ChunkFinished ─────────────────      always after the last ResultBatch of its items
      ── GrantHost, HoldHost ────────────▶     as other workers use the same hosts
      ── Drain ──────────────────────────▶     no new items; finish, flush
      ◀── Drained ───────────────────────      nothing of this worker is unsent

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

from tui_runner.jobs.hosts import HostLimits
from tui_runner.jobs.reference import JobReference


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Configuration of a worker: all that it has to know before its first chunk.

    Attributes:
        worker: number of the worker.
        job: reference to the user's function.
        params: values of all job parameters. Empty when a worker process starts: the values may be of classes of the
            job's own file, so `packed_params` is unpickled after that file has been loaded.
        packed_params: `params`, packed by `pack_params`.
        secrets: the secret values in `params`.
        by_name: True if an item is a row that is passed by parameter name; False if it is the one positional argument.
        from_input: True if items come from an input, whose text is converted by the function's annotations.
        threads: items executed at once in this worker.
        retries: attempts after the first.
        retry_share: retries allowed per item that failed lately, see `RetryBudget`; None for no limit.
        timeout: seconds an attempt may take; None for no limit.
        rate: items started per second in this worker; None for no limit.
        host_limits: limits of requests to each host.
        hosts_shared: True if other workers share these limits, so that slots have to be granted.
        max_buffered_bytes: bytes of rows that are not written yet, beyond which item threads wait.
        max_memory: bytes that this worker may use, beyond which it starts no more items; None for no limit.
        paused: True if it starts paused.
        processors: threads that native libraries (BLAS, OpenMP) may use in this worker; None for no limit.
        key_columns: columns of an item that its key is made of, see `inputs.keys`.
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
    max_buffered_bytes: int = 64 << 20  # for tests; runs set it from `worker_config._MAX_BUFFERED_BYTES`
    max_memory: int | None = None
    paused: bool = False
    processors: int | None = None
    key_columns: str | tuple[str, ...] = ()
    item_text: bool = True


# --- from the runner to a worker ---------------------------------------------------------------------------


Positions = range | array  # type: ignore[type-arg]  # of integers; at run time `array` has no element type
"""Positions of the items of a chunk, in their order; a range if they are consecutive."""


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """Run items of a chunk.

    Attributes:
        chunk: number of the chunk.
        positions: positions of all of its items.
        values: all items of the chunk, from `pack`. Items that are not in `run` may be missing; they are None then.
        run: indexes in `positions` of the items to run; None for all.
        attempts: attempts already made, by position; a missing position means 0.
        tries: attempts that failed and count as retries, by position. Attempts during which the worker was lost do not
            count, nor do attempts before the user retried the chunk.
        refusals: items to record as failed without running them: the message by position.
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
    """Start no new items of a chunk; of any chunk if `chunk` is None."""

    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Undo the `Pause` with the same `chunk`."""

    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Start one item although the worker is paused, to find out whether an outage is over."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Record the items of a chunk that have not started as cancelled."""

    chunk: int


@dataclass(frozen=True, slots=True)
class SetThreads:
    """Execute this many items at once."""

    threads: int


@dataclass(frozen=True, slots=True)
class SetRate:
    """Start at most this many items per second; None for no bound."""

    rate: float | None


@dataclass(frozen=True, slots=True)
class SetHostLimits:
    """Set the limits of requests to `host`; if `host` is empty, of every host without limits of its own."""

    limits: HostLimits
    host: str = ""


@dataclass(frozen=True, slots=True)
class GrantHost:
    """Have at most `slots` requests open to a host; start the first one after `due` seconds.

    `serial` counts the grants of this host to this worker. Reports name the last one that was applied.
    """

    host: str
    slots: int
    serial: int
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class HoldHost:
    """Send no requests to a host for `seconds`, because it has refused another worker."""

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PauseHost:
    """Pause or resume requests to a host."""

    host: str
    paused: bool


@dataclass(frozen=True, slots=True)
class SetMaxMemory:
    """Set the bytes that the worker may use; None for no limit."""

    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Written:
    """Rows of this many bytes are committed; they no longer count as buffered."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Start no new items, send what finishes within `grace` seconds, then answer `Drained`."""

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
    """The worker has loaded the job and can take chunks. `host` is its machine; empty for this one."""

    worker: int
    pid: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker cannot run this job (it does not load, or `setup` raised), and another worker could not either."""

    worker: int
    message: str


@dataclass(frozen=True, slots=True)
class ChunkExhausted:
    """The worker has started the last item of the chunk: it has room for another chunk."""

    worker: int
    chunk: int


@dataclass(frozen=True, slots=True)
class ChunkWait:
    """The reason why a worker executes no item of a chunk: a host accepts no requests yet, or attempts are not due.

    Attributes:
        host: host that accepts no requests yet; empty if the items wait for their next attempts.
        seconds: seconds until the first item may start; infinite if unknown.
    """

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a worker, reported several times a second.

    Attributes:
        worker: number of the worker.
        in_flight: number of items being executed, by chunk.
        oldest: the items that have been in flight longest, at most 20.
        threads: threads (or asyncio tasks) that execute items.
        latencies: attempts per bucket of `metrics.Histogram` since the last `Progress`.
        buffered_bytes: bytes of rows that are not written yet.
        throttled: True if threads wait because too many bytes are buffered.
        stuck: items past their deadline whose threads have not returned, once they are too many for the worker to
            continue; else 0.
        waiting: True if items wait to be started.
        rss: resident bytes of the worker, without its child processes.
        held: the part of `in_flight` that has begun and waits for its host, by chunk; other items take its place.
        waits: for chunks without other items in flight, the reasons for which they wait.
    """

    worker: int
    in_flight: Mapping[int, int]
    oldest: tuple[InFlight, ...]
    threads: int
    latencies: Mapping[int, int]
    buffered_bytes: int
    throttled: bool
    stuck: int = 0
    waiting: bool = False
    rss: int = 0
    held: Mapping[int, int] = field(default_factory=dict)
    waits: Mapping[int, ChunkWait] = field(default_factory=dict)

    @property
    def in_flight_now(self) -> int:
        """Return the number of items being executed, without those that wait for their host."""
        return sum(self.in_flight.values()) - sum(self.held.values())


@dataclass(frozen=True, slots=True)
class HostReport:
    """The state of a host in one worker, and its counters since the worker's last report.

    The fields without a description are those of `host_gate.HostState`.

    Attributes:
        host: name of the host.
        done: requests that succeeded.
        failed: requests that failed.
        refused: requests that the host refused for now.
        seconds: sum of the durations of requests.
        statuses: number of answers by status; 0 for no answer.
        latencies: number of requests by bucket of their duration (`metrics.bucket`).
    """

    host: str
    open: int = 0
    waiting: int = 0
    slots: int | None = None
    serial: int = 0
    delay: float = 0.0
    cooldown: float = 0.0
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
    latencies: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostRefused:
    """A host refuses requests for `seconds`. Sent at once, so that other workers know before their next request."""

    worker: int
    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class HostsReport:
    """The hosts whose state changed in a worker since its last report."""

    worker: int
    hosts: tuple[HostReport, ...]


if TYPE_CHECKING:
    Ranges: TypeAlias = "array[int]"
else:  # at run time `array` has no element type, and readers of annotations evaluate them
    Ranges = array
"""Half-open ranges of integers, flattened: start, stop, start, stop, …; from `ranges_of`."""

ArrowStream = Any
"""An Arrow IPC stream as bytes or as a `pyarrow.Buffer`, which is pickled without a copy."""

MAX_KEPT_VALUE = 64 << 10
"""A packed item of at most this many bytes is reported with its failure, so that the program can send it again. Larger
items are read from the input again, because keeping them would fill the program's memory."""


@dataclass(frozen=True, slots=True)
class ResultBatch:
    """Items that ended and attempts that failed, with their rows and errors.

    Attributes:
        worker: number of the worker.
        tables: Arrow IPC streams of result rows, one stream per schema, each with the column `_item`.
        items: Arrow IPC stream of ledger rows (`records.ITEMS`).
        errors: Arrow IPC stream of errors (`records.ERRORS`); empty bytes if there are none.
        ended: indexes in the chunk of the items that reached a final state, by chunk, as from `ranges_of`.
        failed: attempts made at the items of `ended` that did not end well, by chunk and position.
        retried: number of each failed attempt that will be followed by another, by chunk and position.
        counts: counters of each chunk in this batch since the worker received it. They count exactly the items that
            were sent in batches so far, this batch included.
        error_groups: number of occurrences of each (type, folded message) in this batch.
        trials: results that the circuit breaker counts.
        rows: number of result rows in `tables`.
        nbytes: bytes of these rows in the worker's bound on unwritten rows; `Written` returns them.
        failing_since: when the first failed attempt in `trials` began, by `time.monotonic()`, which is the same clock
            in all processes of a machine; infinite if there is none.
        final_groups: like `error_groups`, but only last attempts at an item.
        cancelled: number of items in `ended` that were cancelled, by chunk.
        examples: first line of the newest message of each group in `error_groups`.
        out_of_attempts: positions of the items of `failed` whose last error was transient, by chunk.
        values: pickled items that failed for good, by position, up to `MAX_KEPT_VALUE` bytes each.
        by_host: the failures in `trials` that a host has caused, by host.
        added: Arrow IPC stream of items that these items added (`records.ADDED`); empty bytes if there are none.
        begun: seconds since the first attempt of a chunk started, by chunk, for chunks without an earlier report. An
            age, because the clocks of two machines differ.
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

    def executed(self, chunk: int) -> int:
        """Return the number of items of a chunk that were executed and ended, well or not."""
        return self.ended_items(chunk) - self.cancelled.get(chunk, 0)

    def ended_items(self, chunk: int) -> int:
        """Return the number of items of a chunk that reached a final state, cancelled ones included."""
        ranges = self.ended.get(chunk, ())
        return sum(ranges[1::2]) - sum(ranges[::2])


BROKEN_EXIT, DESCRIPTORS_EXIT = 217, 218
"""Exit codes of a worker that can no longer do its own work, because a function has broken its process."""
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
    """Lines that the job printed or logged. `dropped` lines before them were discarded, because they were too many.

    `worker` is None for the tui-runner process, where the job makes its items.
    """

    worker: int | None
    lines: tuple[LogLine, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class MemoryFull:
    """The worker uses more memory than it may, with nothing in flight. It starts no more items; replace it."""

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
        reason: how it ended; empty for exit code 0.
        in_flight: number of the attempt of each item that the worker was executing, by position.
        blame: False if no item can be the cause, because the worker's machine was lost.
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

    `held_by` is the host for which the item waits after it has begun; empty for none.
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
        chunk: chunk of the item that printed it; None if no item is known.
        item: position in the input of the item that printed the line.
        worker: number of the worker it came from; negative for an event.
        value: short text of the item, without secrets; empty if it is unknown or equals the position.
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
        """Return the number of items that reached a final state."""
        return self.done + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Trials:
    """Results that the circuit breaker counts: the success of each item, and the failure of its first attempt.

    Attributes:
        ok: items that ended well.
        transient: items whose first attempt failed temporarily: another attempt may succeed.
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
        """Return the number of items whose first attempt failed."""
        return self.transient + self.permanent

    @property
    def total(self) -> int:
        """Return the number of successes and failures."""
        return self.ok + self.failed
