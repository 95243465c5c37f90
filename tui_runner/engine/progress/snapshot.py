"""One frozen picture of a run: what every interface reads, and all it reads.

The runner's thread builds a new `Snapshot` at most four times a second and publishes it by one assignment.
Nothing in it changes afterwards, so a screen may keep it as long as it likes and compare by identity:
parts that did not change since the last snapshot are the same objects, and chunks know which of them differ
(`ChunkViews.changed_since`).

Times are seconds. `at` values of history and events are seconds since the run was started in this process
(monotonic), so that a change of the wall clock moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tui_runner.engine.metrics import mean_rate
from tui_runner.engine.progress.chunk_views import ChunkViews
from tui_runner.engine.protocol import InFlight, LogLine
from tui_runner.engine.states import RunState
from tui_runner.errors import EXIT_ITEMS_FAILED, EXIT_OK, EXIT_STOPPED, EXIT_USAGE
from tui_runner.jobs.hosts import HostLimits
from tui_runner.text.numbers import duration
from tui_runner.text.safe_text import safe_text

KEPT_EVENTS = 200
"""Events that a snapshot has at most."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that is ready.

    Attributes:
        number: its number.
        pid: its process id; that of this process where workers are threads.
        threads: threads (or tasks) that execute items.
        in_flight: items being executed.
        rss: resident memory of it and its children, bytes; 0 before the first measurement. That of a worker on another
            machine is without its children.
        host: the machine that it is on; empty for this one. Not yet safe to show.
    """

    number: int
    pid: int
    threads: int
    in_flight: int
    rss: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class HostView:
    """A host that the run asks; its name is not yet safe to show.

    Attributes:
        host: its name.
        done: requests that were answered well.
        failed: requests that failed.
        refused: requests that it refused for now (429, or 503 with a time to come back).
        open: requests that are open.
        waiting: requests and items that wait for it.
        delay: seconds from one request to the next.
        cooldown_until: when a refusal ends, in seconds since the run was started in this process; None for none.
        p50: median seconds of a request; None before the first.
        p95: 95th percentile likewise.
        statuses: each status with how many answers had it, the most frequent first; 0 for no answer.
        paused: whether the user has paused it.
        failing: whether it is asked now and then only, because it failed again and again.
        down: whether its items fail without being asked.
        limits: its limits.
    """

    host: str
    done: int = 0
    failed: int = 0
    refused: int = 0
    open: int = 0
    waiting: int = 0
    delay: float = 0.0
    cooldown_until: float | None = None
    p50: float | None = None
    p95: float | None = None
    statuses: tuple[tuple[int, int], ...] = ()
    paused: bool = False
    failing: bool = False
    down: bool = False
    limits: HostLimits = field(default_factory=HostLimits)


@dataclass(frozen=True, slots=True)
class Sample:
    """One point of the graphs, taken once a second.

    Attributes:
        at: seconds since the run was started in this process.
        items_per_second: as `Snapshot.items_per_second`; None while the run was paused (a gap in the graph).
        rows_per_second: likewise.
        app_rss: resident memory of the tui-runner process, bytes.
        workers_rss: resident memory of all its worker processes and their children, bytes.
        failed_per_second: the part of `items_per_second` that failed for good.
    """

    at: float
    items_per_second: float | None
    rows_per_second: float | None
    app_rss: int
    workers_rss: int
    failed_per_second: float | None = 0.0


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something worth telling: a command taken, a worker lost, a chunk failed. `text` is not yet safe to show."""

    at: float
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors of one type whose messages are alike (numbers, quoted texts folded); no text is yet safe to show.

    Attributes:
        count: attempts that ended so.
        type: of the exception.
        text: its message, folded: what the group is known by.
        final: how many of them were the last attempt at their item.
        example: the first line of the newest message: what a person is shown.
    """

    count: int
    type: str
    text: str
    final: int = 0
    example: str = ""

    @property
    def shown(self) -> str:
        """The message that stands for all of them."""
        return self.example or self.text

    @property
    def tried_again(self) -> int:
        """Attempts that were not the last one at their item."""
        return self.count - self.final


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot:
    """A run at one moment.

    Attributes:
        run_id: number of the run in its database.
        job: name of the job's function.
        table: results table.
        database: path of the DuckDB file.
        state: what the run is doing; `PAUSED` also when nothing but paused chunks is left.
        held: True if it is paused and continues by itself as soon as it can, and not before: its disk is full, say.
        reason: why it is in that state, in a few words; empty when there is nothing to say.
        in_outage: whether it is paused because nearly every item fails, and for nothing that has to end first.
        trial_seconds: seconds until one item is tried to see whether an outage is over; None when none will be.
        drain_seconds: seconds that items in flight still have to finish; None while it does not drain.
        warnings: what will go wrong without intervention, a few words each: a disk that runs low.
        started_at: wall clock of the run's very first start, seconds since the epoch.
        began_at: wall clock of its start in this process, seconds since the epoch; with an `at` it tells a time of day.
        at: seconds since it was started in this process.
        elapsed: `at` without the time it was paused.
        active_before: seconds that earlier processes were at work on it, without the time it was paused.
        items_total: length of the input; None while unknown.
        items_known: items in the frontier so far, of a run whose items add items; None for others.
        new_per_second: items added to it, over the last ten seconds.
        items_done: items that ended well, those of earlier processes included.
        items_failed: items that failed or timed out.
        items_cancelled: items that were cancelled.
        items_skipped: the part of `items_done` that earlier processes recorded.
        rows: rows of the run, those that earlier processes recorded (`rows_skipped`) included.
        rows_skipped: the part of `rows` that earlier processes recorded.
        retries: attempts beyond the first, of this process.
        in_flight: items being executed.
        items_held: items that have begun and wait for their host, while others take their places.
        trying: whether one item is being tried, to see whether an outage is over.
        threads: threads (or tasks) that are to execute items, over all workers.
        workers: worker processes that are ready.
        worker_views: those workers, by number.
        machines: on how many other machines these are; 0 for a run on this one.
        machines_lost: how many were lost.
        recycled: when a worker took the place of another, `at` values of the last five minutes.
        open_chunks: chunks that are kept open at once.
        rate: items started per second at most; None for no bound.
        items_per_second: items that ended, well or not, over the last `metrics.RATE_SECONDS` of active time; 0 while it
            is paused.
        rows_per_second: likewise.
        eta_seconds: (low, high) estimate of the time left; None while there is no ground for one.
        p50: median seconds of an attempt, whether it ended well or not; None before the first.
        p95: 95th percentile of the same.
        latency_window: seconds of active time that both are of; None for all attempts of this process.
        app_rss: resident bytes of this process.
        workers_rss: resident bytes of the workers.
        memory_limit: bytes the run may use, None without a limit.
        memory_needed: bytes with which a run that failed for its limit could probably continue; else None.
        db_bytes: size of the database file and its write-ahead log.
        buffered_bytes: rows returned and not yet written.
        throttled: whether item threads wait because too many bytes are not yet written.
        stalled_seconds: how long no item has finished, once that is too long to be normal; else None.
        chunks: every chunk cut so far; `chunks[i].number == i`.
        chunk_size: items a chunk; None where it is chosen by how long items take.
        chunks_total: how many there will be; None while unknown.
        history: the last five minutes, a point a second.
        events: the last `KEPT_EVENTS` events, oldest first.
        errors: groups of errors, 20 at most; those that ended the most items for good first, then the most frequent.
        error_groups: how many groups there are, those that `errors` leaves out included.
        errors_final: errors that were an item's last, those of groups that `errors` leaves out included.
        oldest: the items in flight for longest, 20 at most.
        hosts: the hosts of the run, 300 at most: those with the most requests open or waiting first.
        hosts_total: how many hosts there are.
        host_limits: limits of every host that has none of its own.
        log: the last 1,000 lines of the log: the job's output, and what a person is told (`events`).
        log_lines: how many lines there were; the last of `log` is number `log_lines - 1`.
        log_file: path of the file that has all of them.
    """

    run_id: int
    job: str
    table: str
    database: str
    state: RunState
    held: bool = False
    reason: str = ""
    in_outage: bool = False
    trial_seconds: float | None = None
    drain_seconds: float | None = None
    warnings: tuple[str, ...] = ()
    started_at: float = 0.0
    began_at: float = 0.0
    at: float = 0.0
    elapsed: float = 0.0
    active_before: float = 0.0
    items_total: int | None = None
    items_known: int | None = None
    new_per_second: float = 0.0
    items_done: int = 0
    items_failed: int = 0
    items_cancelled: int = 0
    items_skipped: int = 0
    rows: int = 0
    rows_skipped: int = 0
    retries: int = 0
    in_flight: int = 0
    items_held: int = 0
    trying: bool = False
    threads: int = 0
    workers: int = 0
    worker_views: tuple[WorkerView, ...] = ()
    machines: int = 0
    machines_lost: int = 0
    recycled: tuple[float, ...] = ()
    open_chunks: int = 0
    rate: float | None = None
    items_per_second: float = 0.0
    rows_per_second: float = 0.0
    eta_seconds: tuple[float, float] | None = None
    p50: float | None = None
    p95: float | None = None
    latency_window: float | None = None
    app_rss: int = 0
    workers_rss: int = 0
    memory_limit: int | None = None
    memory_needed: int | None = None
    db_bytes: int = 0
    buffered_bytes: int = 0
    throttled: bool = False
    stalled_seconds: float | None = None
    chunks: ChunkViews = field(default_factory=lambda: ChunkViews.of(()))
    chunk_size: int | None = None
    chunks_total: int | None = None
    history: tuple[Sample, ...] = ()
    events: tuple[RunEvent, ...] = ()
    errors: tuple[ErrorGroup, ...] = ()
    error_groups: int = 0
    errors_final: int = 0
    oldest: tuple[InFlight, ...] = ()
    hosts: tuple[HostView, ...] = ()
    hosts_total: int = 0
    host_limits: HostLimits = field(default_factory=HostLimits)
    log: tuple[LogLine, ...] = ()
    log_lines: int = 0
    log_file: str = ""

    def __repr__(self) -> str:
        """Return three lines: the run and its state, its items, its rows; as a notebook and `print` show it."""
        total = "" if self.items_total is None else f" of {self.items_total:,}"
        reason = f": {safe_text(self.reason, limit=200)}" if self.reason else ""
        others = f", {self.items_cancelled:,} cancelled" if self.items_cancelled else ""
        name = safe_text(f"{self.job} run {self.run_id}")
        where = safe_text(f"table {self.table} of {self.database}")
        return (
            f"{name} {self.state.value}{reason}\n"
            f"  items  {self.items_done:,}{total} done, {self.items_failed:,} failed{others}, "
            f"{self.retries:,} retries\n"
            f"  rows   {self.rows:,} in {where}, {duration(self.active_seconds)} at work"
        )

    @property
    def active_seconds(self) -> float:
        """Seconds that all processes together were at work on the run, without the time it was paused."""
        return self.active_before + self.elapsed

    @property
    def items_finished(self) -> int:
        """Items that reached a final state."""
        return self.items_done + self.items_failed + self.items_cancelled

    @property
    def items_executed(self) -> int:
        """Items that this process has executed to their end, whatever came of them."""
        return self.items_done + self.items_failed - self.items_skipped

    @property
    def items_begun(self) -> int:
        """Items that have begun and not ended: those being executed, and those that wait for their host."""
        return self.in_flight + self.items_held

    @property
    def mean_items_per_second(self) -> float:
        """Items that ended in this process, well or not, a second of its active time."""
        return mean_rate(self.items_executed, self.elapsed)

    @property
    def mean_rows_per_second(self) -> float:
        """Rows of this process a second of its active time."""
        return mean_rate(self.rows - self.rows_skipped, self.elapsed)

    @property
    def wall_seconds(self) -> float:
        """Seconds of this process with its pauses, and those that earlier ones were at work."""
        return self.active_before + self.at

    @property
    def is_resumed(self) -> bool:
        """Return True if an earlier process was at work on the run."""
        return self.active_before > 0 or self.items_skipped > 0

    @property
    def is_writing(self) -> bool:
        """Return True if every item that runs has ended and the run waits for their rows to be committed."""
        last = self.state is RunState.DRAINING or self.items_finished == self.items_total
        return (
            self.state in (RunState.RUNNING, RunState.DRAINING)
            and last
            and not self.in_flight
            and bool(self.buffered_bytes)
        )

    @property
    def has_rates(self) -> bool:
        """Return True if rates tell something: the run is not paused, and an item has ended in this process."""
        return self.state is not RunState.PAUSED and self.items_executed > 0

    @property
    def finals_are_items(self) -> bool:
        """Return True if `ErrorGroup.final` counts items: one that ran again by hand may have failed for good twice."""
        return self.errors_final == self.items_failed

    @property
    def exit_code(self) -> int:
        """The exit code that stands for how the run has ended; of one that has not, for one that was stopped."""
        if self.state is RunState.FINISHED:
            return EXIT_ITEMS_FAILED if self.items_failed or self.items_cancelled else EXIT_OK
        return EXIT_USAGE if self.nothing_ran else EXIT_STOPPED

    @property
    def nothing_ran(self) -> bool:
        """True if the run failed before any item had so much as an attempt that ended, in whatever process."""
        return self.state is RunState.FAILED and not (self.items_finished or self.retries or self.errors)


def more_memory(snapshot: Snapshot) -> str:
    """Return what belongs behind the command that resumes a run: a higher limit, if it failed for that."""
    needed = snapshot.memory_needed
    return "" if needed is None else f" --max-memory {-(-needed // 1_000_000)}MB"
