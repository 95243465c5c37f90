"""Messages between the tui-runner process and a worker.

Down go `OpenChunk` and small orders; up come counters, finished rows and the end of chunks:

    runner                                   worker
      ── OpenChunk(items) ───────────────▶     takes items, calls the function
      ◀── ChunkExhausted ────────────────      no item of it is left to start: send the next
      ◀── Progress, LogLines, HostsReport      about 5 times a second
      ◀── ResultBatch(rows and ledger rows) ───      about 5 times a second
      ── Written(bytes) ─────────────────▶     room for that many bytes more
      ◀── ChunkFinished ─────────────────      always after the last ResultBatch of its items
      ── GrantHost, HoldHost ────────────▶     as other workers ask the same hosts
      ── Drain ──────────────────────────▶     no new items; finish, flush
      ◀── Drained ───────────────────────      nothing of this worker is unsent

Messages of one worker arrive in the order they were sent. A chunk is with one worker at a time, and nothing
from a worker is believed after it was declared lost; so an item's rows can reach the database once only.
Attempts are numbered across workers: `OpenChunk.attempts` says how many an item has behind it.
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
from tui_runner.system.process import no_exit_at_once
from tui_runner.text.items import Refused


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """All that a worker needs to know before its first chunk.

    Attributes:
        worker: its number.
        job: the function.
        params: the values of all job parameters. A worker process finds none here when it starts, but `packed_params`:
            values may be of classes of the job's own file, so they are unpickled when that has been loaded.
        packed_params: from `pack_params`.
        secrets: those in `params`.
        by_name: whether an item is a row passed by parameter name, else it is the one positional argument.
        from_input: whether items are those of an input, whose text is converted by the function's annotations.
        threads: items executed at once in this worker.
        retries: attempts after the first.
        retry_share: retries for each item that failed lately, see `budget`; None for no bound.
        timeout: seconds an attempt may take, None for no bound.
        rate: items started per second in this worker, None for no bound.
        host_limits: limits of every host.
        hosts_shared: whether other workers share them, so that slots of hosts are granted.
        max_buffered_bytes: rows not yet written, beyond which item threads wait.
        max_memory: bytes this worker may have, beyond which it starts no more items; None for no bound.
        paused: whether it starts paused.
        processors: how many native libraries (BLAS, OpenMP) may use in this worker; None for as many as they like.
        key_columns: what the keys of items are made of, see `inputs.keys`.
        item_text: whether the ledger gets a short text of every item.
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
    max_buffered_bytes: int = 64 << 20
    max_memory: int | None = None
    paused: bool = False
    processors: int | None = None
    key_columns: str | tuple[str, ...] = ()
    item_text: bool = True


# --- from the runner to a worker ---------------------------------------------------------------------------


Positions = range | array  # type: ignore[type-arg]  # of integers; at run time `array` has no element type
"""Positions of the items of a chunk, in their order: consecutive ones, or any."""


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """Run items of a chunk.

    Attributes:
        chunk: number of the chunk.
        positions: positions of all of its items.
        values: all of its items, from `pack`. Those that are not in `run` may be missing; None is in their place.
        run: which of them are to run, by index in `positions`; None for all.
        attempts: attempts already made, by position; items that are not in it have none.
        tries: those of them that failed and count as retries, by position. Attempts that a worker did not survive do
            not count, nor do those before a retry.
        refusals: why items are not to run but recorded as failed, by position.
        paused: whether the chunk starts paused.
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
        return OpenChunk, tuple(
            pickle.PickleBuffer(self.values) if name == "values" else getattr(self, name) for name in self.__slots__
        )


@dataclass(frozen=True, slots=True)
class Pause:
    """Start no new items of a chunk, or of any when `chunk` is None."""

    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Undo `Pause` of the same `chunk`."""

    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Start one item although everything is paused, to see whether an outage is over."""


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
    """Limit requests to a host so, or to every host that has no limits of its own where `host` is empty."""

    limits: HostLimits
    host: str = ""


@dataclass(frozen=True, slots=True)
class GrantHost:
    """Have at most `slots` requests open to a host, the first of them in `due` seconds.

    `serial` counts the grants of this host to this worker; reports name the last one that was obeyed.
    """

    host: str
    slots: int
    serial: int
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class HoldHost:
    """Ask a host no more for `seconds`: it has told another worker so."""

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PauseHost:
    """Ask a host no more, or again."""

    host: str
    paused: bool


@dataclass(frozen=True, slots=True)
class SetMaxMemory:
    """The worker may have this many bytes; None for no bound."""

    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Written:
    """Rows of this many bytes are in the database; they no longer count as buffered."""

    nbytes: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Start no new items, send what finishes within `grace` seconds, answer `Drained`."""

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
    """The worker has loaded the job and can take chunks; `host` is the machine it is on, empty for this one."""

    worker: int
    pid: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker cannot run this job at all (it does not load, `setup` raised): starting another won't help."""

    worker: int
    message: str


@dataclass(frozen=True, slots=True)
class ChunkExhausted:
    """The last item of the chunk that had not started has been started: there is room for another chunk."""

    worker: int
    chunk: int


@dataclass(frozen=True, slots=True)
class ChunkWait:
    """What the items of a chunk wait for, of which its worker executes none.

    Attributes:
        host: the host that may not be asked yet; empty where they wait for their next attempt.
        seconds: until the first of them may start; infinite where that is not known.
    """

    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a worker, reported several times a second.

    Attributes:
        worker: its number.
        in_flight: items being executed, by chunk.
        oldest: those in flight for longest, 20 at most.
        threads: threads (or tasks) executing items.
        latencies: attempts per bucket of `metrics.Histogram` since the last `Progress`.
        buffered_bytes: rows not yet written.
        throttled: whether threads wait for room.
        stuck: items past their deadline whose threads never came back, once they are too many for the worker to go on
            with; else 0.
        waiting: whether items wait to be started.
        rss: resident bytes of the worker, without its children.
        held: the part of `in_flight` that has begun and waits for its host, by chunk: another takes its place.
        waits: what chunks wait for of which nothing else is in flight.
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
        """Items being executed, without those that wait for their host."""
        return sum(self.in_flight.values()) - sum(self.held.values())


@dataclass(frozen=True, slots=True)
class HostReport:
    """Counts of a host since the last report of a worker; see `host_gate.HostState` for the others.

    Attributes:
        host: its name.
        done: requests that were answered well.
        failed: requests that failed.
        refused: requests that it refused for now.
        seconds: that they took, added up.
        statuses: how many had which status; 0 for no answer.
        latencies: how many took how long, by `metrics.bucket`.
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
    """A host wants to be left alone for `seconds`: sent at once, so that other workers know before they ask."""

    worker: int
    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class HostsReport:
    """The hosts of a worker that have changed."""

    worker: int
    hosts: tuple[HostReport, ...]


if TYPE_CHECKING:
    Ranges: TypeAlias = "array[int]"
else:  # at run time `array` has no element type, and readers of annotations evaluate them
    Ranges = array
"""Half-open ranges of integers, as pairs (start, stop); from `ranges_of`."""

ArrowStream = Any
"""An Arrow IPC stream: a `pyarrow.Buffer`, which is pickled without a copy, or bytes."""

MAX_KEPT_VALUE = 64 << 10
"""Bytes of a packed item up to which it comes back with its failure: larger ones are read from the input again."""


@dataclass(frozen=True, slots=True)
class ResultBatch:
    """Items that ended and attempts that failed, with their rows and errors.

    Attributes:
        worker: the worker.
        tables: Arrow IPC streams of result rows, each with the column `_item`; one stream a schema.
        items: Arrow IPC stream of ledger rows (`records.ITEMS`).
        errors: Arrow IPC stream of errors (`records.ERRORS`); empty bytes when there are none.
        ended: indexes in the chunk of the items that reached a final state, by chunk: pairs (start, stop), see
            `ranges_of`.
        failed: attempts made of those among them that did not end well, by chunk and position.
        retried: attempts made of the items that failed and will be tried again, by chunk and position.
        counts: counters of the chunks that this flush touches, since they were opened in this worker; they count
            exactly what has been flushed, this flush included.
        error_groups: how often each (type, folded message) occurred in this flush.
        trials: how the items fared, see `outage`.
        rows: result rows in `tables`.
        nbytes: what these rows count as buffered; given back with `Written`.
        failing_since: when the first of the failed attempts that `trials` counts began, by `time.monotonic()`, which
            is one clock for all processes; infinite when there is none.
        final_groups: of `error_groups`, how often it was the last attempt at an item.
        cancelled: how many of those in `ended` were cancelled, by chunk.
        examples: the first line of the newest message of each of `error_groups`.
        values: items that failed for good, pickled, by position: those of at most `MAX_KEPT_VALUE` bytes.
        by_host: the failures among `trials` that a host is at fault for, by host.
        added: Arrow IPC stream of items that items have added (`records.ADDED`); empty bytes when there are none.
        begun: of chunks of which nothing was reported before, seconds from the start of their first attempt until now.
            An age, because the clocks of two machines differ.
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

    def executed(self, chunk: int) -> int:
        """Items of a chunk that ended because they were executed, whatever came of it."""
        return self.ended_items(chunk) - self.cancelled.get(chunk, 0)

    def ended_items(self, chunk: int) -> int:
        """Items of a chunk that reached a final state."""
        ranges = self.ended.get(chunk, ())
        return sum(ranges[1::2]) - sum(ranges[::2])


BROKEN_EXIT, DESCRIPTORS_EXIT = 217, 218
"""Exit codes of a worker that ends because it cannot do its own work any more."""
EXIT_REASONS = {
    BROKEN_EXIT: "ended, because a function had changed what it needs itself (its line in the log says what failed)",
    DESCRIPTORS_EXIT: "ended, because a function had closed or replaced its file descriptors",
}


def ranges_of(indexes: Iterable[int]) -> array[int]:
    """Return the half-open ranges that cover ascending indexes, as pairs (start, stop)."""
    ranges = array("q")
    for index in indexes:
        if ranges and ranges[-1] == index:
            ranges[-1] = index + 1
        else:
            ranges.extend((index, index + 1))
    return ranges


@dataclass(frozen=True, slots=True)
class ChunkFinished:
    """Every item of the chunk is in a `ResultBatch` sent before this."""

    worker: int
    chunk: int


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines that the job printed and logged. `dropped` lines before these were too many to send.

    `worker` is None for the process that starts them, where the job makes its items.
    """

    worker: int | None
    lines: tuple[LogLine, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class MemoryFull:
    """The worker keeps more memory than it may have, and not for items in flight: it starts no more; replace it."""

    worker: int
    rss: int


@dataclass(frozen=True, slots=True)
class Drained:
    """The worker has sent everything it had; `stuck` items were still being executed."""

    worker: int
    stuck: int = 0


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The worker is gone. Sent by the backend, after the last message of that worker.

    Attributes:
        worker: its number.
        reason: how it ended; empty for exit code 0.
        in_flight: the items that it was executing at its end: the number of the attempt, by position.
        blame: False if no item can be to blame: its machine is gone.
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


_PLAIN = frozenset({str, int, float, bool, bytes, type(None), dict, list, tuple})


def pack(values: Sequence[object]) -> bytes:
    """Pickle items for `OpenChunk.values`; those that do not come back from pickling become `Refused`."""
    with no_exit_at_once():
        try:
            packed = pickle.dumps(list(values), protocol=pickle.HIGHEST_PROTOCOL)
            if not _PLAIN.issuperset(map(type, values)):
                unpack(packed)  # an exception with arguments of its own, say, pickles but does not come back
        except (Exception, SystemExit):  # which of them it was shows when each is tried alone
            return pickle.dumps([_sendable(value) for value in values], protocol=pickle.HIGHEST_PROTOCOL)
        return packed


def _sendable(value: object) -> object:
    try:
        unpack(pickle.dumps([value], protocol=pickle.HIGHEST_PROTOCOL))
    except (Exception, SystemExit) as error:  # a __reduce__ of the user's may raise anything
        kind = type(value).__name__
        return Refused("TypeError", f"an item of type {kind} cannot be sent to a worker: {type(error).__name__}", kind)
    return value


class PackedAgain(list["bytes | Refused"]):
    """Items that failed in a worker, each as that one has packed it.

    They may come from another machine, so the program passes the bytes on unread; the next worker unpickles them.
    """


def pack_again(values: Iterable[bytes | Refused]) -> bytes:
    """Return what `unpack` makes the items of, from values that workers have packed; nothing of these is unpickled."""
    return pickle.dumps(PackedAgain(values), protocol=pickle.HIGHEST_PROTOCOL)


def unpack(packed: bytes) -> list[object]:
    """Return the items of `pack` or `pack_again`.

    Raises:
        Exception: whatever unpickling an item of `pack` raises. One of `pack_again` that cannot be made becomes
            `Refused`.
    """
    values: list[object] = pickle.loads(packed)  # noqa: S301 - made by our own parent process
    if isinstance(values, PackedAgain):
        return [_unpacked_again(value) for value in values]
    return values


def _unpacked_again(value: bytes | Refused) -> object:
    if isinstance(value, Refused):
        return value
    try:
        with no_exit_at_once():
            return pickle.loads(value)  # noqa: S301 - packed by a worker, and only a worker comes here
    except (Exception, SystemExit) as error:  # the code of the user's classes may raise anything
        return Refused("TypeError", f"the item cannot be made again: {type(error).__name__}")


@dataclass(frozen=True, slots=True)
class InFlight:
    """An item being executed: its chunk, position, a short text of its value, attempt, seconds so far.

    `held_by` is the host that it waits for, having begun; empty for none.
    """

    chunk: int
    item: int
    text: str
    attempt: int
    seconds: float
    held_by: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that the job printed or logged, or an event; `text` is not yet safe to show.

    Attributes:
        at: wall clock, seconds since the epoch.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL; INFO for what was printed.
        text: the line, without its line end.
        chunk: chunk of the item that printed it, None when no item is known.
        item: position of that item in the input.
        worker: the worker it came from; negative for an event.
        value: a short text of that item's value, without secrets; empty where it is not known, or is its position.
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
    """Counters of a chunk's items. `busy_seconds` adds up all attempts."""

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
        """Items that reached a final state."""
        return self.done + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Trials:
    """Counts for the circuit breaker; of each item its first failure and its success are counted, nothing else.

    Attributes:
        ok: items that ended well.
        passing: items whose first attempt failed in a way that another attempt may mend.
        lasting: items whose first attempt failed for good.
    """

    ok: int = 0
    passing: int = 0
    lasting: int = 0

    def __add__(self, other: Trials) -> Trials:
        return Trials(self.ok + other.ok, self.passing + other.passing, self.lasting + other.lasting)

    def __sub__(self, other: Trials) -> Trials:
        return Trials(self.ok - other.ok, self.passing - other.passing, self.lasting - other.lasting)

    def without(self, failures: int) -> Trials:
        """Return a copy with `failures` fewer failures, lasting ones subtracted first."""
        lasting = min(self.lasting, failures)
        return self - Trials(0, min(self.passing, failures - lasting), lasting)

    @property
    def failed(self) -> int:
        """Items whose first attempt failed."""
        return self.passing + self.lasting

    @property
    def total(self) -> int:
        """Everything that was counted."""
        return self.ok + self.failed
