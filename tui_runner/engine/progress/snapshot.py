"""The snapshot: one frozen picture of a run, and the only state that interfaces read.

The runner's thread builds a new `Snapshot` four times a second, and at the end, and publishes it with one assignment. A
snapshot never changes, so a screen may keep one and compare parts by identity: parts that did not change since the last
snapshot are the same objects. `ChunkViews.changed_since` returns the chunks that differ.

Times are seconds. The `at` values of history and events are monotonic seconds since the run was started in this
process, so that a change of the wall clock moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tui_runner.engine.metrics import mean_rate
from tui_runner.engine.progress.chunk_views import ChunkViews
from tui_runner.engine.protocol import InFlight, LogLine
from tui_runner.engine.states import HOSTS_PAUSED, RunState
from tui_runner.errors import EXIT_ITEMS_FAILED, EXIT_OK, EXIT_STOPPED, EXIT_USAGE
from tui_runner.jobs.hosts import HostLimits
from tui_runner.text.numbers import duration, time_left
from tui_runner.text.safe_text import safe_text

KEPT_EVENTS = 200
"""Most events in a snapshot: more than a user scrolls back. The log file has all events."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that is ready.

    Attributes:
        number: number of the worker.
        pid: process id of the worker; if workers are threads, the id of this process.
        threads: threads (or tasks) that execute items.
        in_flight: items being executed.
        rss: resident bytes of the worker and its children; 0 before the first measurement. For a worker on another
            machine, its children are not counted.
        host: name of the worker's machine; empty for this machine. Pass the name through `safe_text` to show it.
    """

    number: int
    pid: int
    threads: int
    in_flight: int
    rss: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class HostView:
    """An HTTP host of the run. Pass its name through `safe_text` to show it.

    Attributes:
        host: name of the host.
        done: requests that succeeded.
        failed: requests that failed.
        refused: requests that the host refused for now (429, or 503 with `Retry-After`).
        open: requests that are open.
        waiting: requests and items that wait for the host.
        delay: seconds between two requests.
        cooldown_until: end of the wait after a refusal, in seconds since the run was started in this process; None if
            there is no such wait.
        p50: median duration of a request in seconds; None before the first.
        p95: 95th percentile of the duration in seconds; None before the first.
        statuses: at most eight pairs (HTTP status, number of responses), the most frequent first; requests without a
            response count as status 0.
        paused: True if the user has paused the host.
        failing: True if the host failed so often that it gets only single requests, as tests.
        down: True while items for the host fail without a request. One item a minute still sends its request, as a
            test.
        limits: limits of requests to the host.
        backs_off: True if the wait after a refusal is longer than the host asks for, because it has refused before.
        refusal: status of the response that caused the wait until `cooldown_until`; None if there is no such wait.
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
    backs_off: bool = False
    refusal: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One point of the graphs, taken once a second.

    Attributes:
        at: seconds since the run was started in this process.
        items_per_second: as `Snapshot.items_per_second`; None while the run was paused (a gap in the graph).
        rows_per_second: as `Snapshot.rows_per_second`; None while the run was paused.
        app_rss: resident bytes of this process and of its children that are not workers.
        workers_rss: resident bytes of all worker processes and their children.
        failed_per_second: the part of `items_per_second` whose items failed; None while the run was paused.
        fastest: the highest `items_per_second` of all snapshots since the previous point, this point included, without
            those of the first second.
    """

    at: float
    items_per_second: float | None
    rows_per_second: float | None
    app_rss: int
    workers_rss: int
    failed_per_second: float | None = 0.0
    fastest: float = 0.0


@dataclass(frozen=True, slots=True)
class RunEvent:
    """An event for the user: a command, a lost worker, a failed chunk. Pass `text` through `safe_text` to show it.

    `passes` is True if `text` does not hold after the end of the run, for example that a host refuses requests.
    """

    at: float
    level: str
    text: str
    passes: bool = False


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors with one type and one shape of message (`text.describe.shape`). Pass every text through `safe_text`.

    Attributes:
        count: number of attempts that failed this way.
        type: type of the exception.
        text: shape of the messages, which identifies the group together with `type`.
        final: number of these attempts that were the last one at their item.
        example: first line of the message to be shown: of the newest last attempt, or without one, of the newest.
        differ: True if the errors are known to have different messages.
    """

    count: int
    type: str
    text: str
    final: int = 0
    example: str = ""
    differ: bool = False

    @property
    def shown(self) -> str:
        """The message to show for the group."""
        return self.example or self.text


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot:
    """A run at one moment.

    Attributes:
        run_id: number of the run in its database.
        job: name of the job's function.
        table: name of the results table.
        database: path of the DuckDB file.
        state: state that is shown. It is `PAUSED` also while the run waits for the user to resume chunks or hosts.
        held: True if all pauses of the run are holds (for example, for a full disk). Such a run resumes by itself, and
            the user cannot resume it earlier.
        reason: reason for the state in a few words; may be empty.
        in_outage: True if the run is paused because nearly every item fails, and for no other reason.
        outage_error: the most frequent error of this outage, which is also in `reason`; empty if unknown.
        trial_seconds: seconds until an item is tried during an outage; None if no item will be tried.
        drain_seconds: seconds that items in flight still have to finish; None while the run is not draining.
        grace: seconds that items in flight have to finish when the run is stopped.
        warnings: problems that need the user soon, such as a disk that is nearly full; a few words each.
        started_at: wall clock time of the run's first start, seconds since the epoch.
        began_at: wall clock time of the run's start in this process, seconds since the epoch. Added to an `at`, it
            gives a time of day.
        at: seconds since the run was started in this process.
        elapsed: active seconds in this process, without pauses.
        held_seconds: the part of `elapsed` in which nothing was executed because all items waited for hosts.
        paused: seconds in this process during which the run was paused.
        pauses: the seconds of `paused` by cause, the longest first. The cause is `by you`, or a word for the guard or
            outage.
        active_before: active seconds of earlier processes.
        wall_before: seconds of earlier processes, with pauses.
        items_total: number of items in the input; None while unknown.
        items_known: items in the frontier (the table of added items) so far; None for a run whose items do not add
            items.
        new_per_second: items added to the frontier per second, over the last ten seconds.
        items_done: items that succeeded, in earlier processes too.
        items_failed: items that failed or timed out.
        items_cancelled: items that were cancelled.
        items_skipped: the part of `items_done` that earlier processes recorded.
        rows: result rows of the run, `rows_skipped` included.
        rows_skipped: the part of `rows` that earlier processes recorded.
        retries: attempts after the first, in this process.
        in_flight: items being executed.
        items_held: items that have begun and wait for their host, while other items run in their place.
        trying: True if one item is being tried, to test if an outage is over.
        threads: items that may be executed at once, over all workers.
        workers: number of workers that are ready.
        worker_views: the workers that are ready, by number.
        machines: number of other machines with workers; 0 for a run on this machine.
        machines_lost: number of other machines that were lost.
        recycled: `at` values of the last five minutes at which a worker was replaced.
        open_chunks: number of chunks to have open at once; the least number if the user has set none.
        rate: limit on items started per second; None for no limit.
        items_per_second: items that were executed to their end, successfully or not, per active second of the last
            `metrics.RATE_SECONDS`; 0 while the run is paused.
        rows_per_second: result rows per active second of the last `metrics.RATE_SECONDS`; 0 while the run is paused.
        highest_rate: the highest `items_per_second` of all snapshots of this process after its first second, but not
            less than its mean so far.
        eta_seconds: estimated time left as (low, high) in seconds; None while no estimate is possible.
        has_slow_item: True if an item is unusually long in flight and may outlast the estimate. The estimate is then
            that of the other items. If no others are left, there is none.
        p50: median duration of an attempt in seconds, successful or not; None before the first.
        p95: 95th percentile of the duration in seconds; None before the first.
        latency_window: active seconds that `p50` and `p95` cover; None for all attempts in this process.
        app_rss: resident bytes of this process and of its children that are not workers.
        workers_rss: resident bytes of the workers.
        memory_limit: bytes that the run may use; None for no limit.
        memory_needed: limit in bytes with which the run could probably continue after it failed because of its memory
            limit. None for a run that did not fail so.
        db_bytes: bytes of the database file and its write-ahead log.
        buffered_bytes: bytes of rows that are not written yet.
        throttled: True if item threads wait because too many bytes are not written yet.
        delayed: number of items that wait for their next attempt.
        next_attempt: seconds until the first of them is due, 0 if it is due now; None if none waits.
        awaits_attempts: True if at least half of the items left wait for their next attempts. Such a run has no
            estimate, because back-off and retry budget decide how long it takes.
        retries_over_budget: number of retries that are overdue because the retry budget holds them back.
        stalled_seconds: active seconds since the last item ended, but at most the age of the oldest item in flight;
            None unless they are unusually many.
        chunks: every chunk read so far; `chunks[i].number == i`.
        history: the last five minutes, one point per second.
        events: the last `KEPT_EVENTS` events, oldest first.
        errors: at most 20 groups of errors; those with the most final failures first, then the most frequent.
        error_groups: number of groups, including those that are not in `errors`.
        failed_groups: the part of `error_groups` with final failures.
        errors_final: number of final failures, including groups that are not in `errors`.
        oldest: the items that have been in flight longest, at most 20.
        hosts: at most 300 HTTP hosts; those with the most open or waiting requests first.
        hosts_total: number of HTTP hosts.
        host_limits: limits of every host without limits of its own.
        log: the last 1,000 lines of the log: output of the job, and events.
        log_lines: number of lines so far; the last line of `log` has the number `log_lines - 1`.
        log_file: path of the file with all lines.
    """

    run_id: int
    job: str
    table: str
    database: str
    state: RunState
    held: bool = False
    reason: str = ""
    in_outage: bool = False
    outage_error: str = ""
    trial_seconds: float | None = None
    drain_seconds: float | None = None
    grace: float = 0.0
    warnings: tuple[str, ...] = ()
    started_at: float = 0.0
    began_at: float = 0.0
    at: float = 0.0
    elapsed: float = 0.0
    held_seconds: float = 0.0
    paused: float = 0.0
    pauses: tuple[tuple[str, float], ...] = ()
    active_before: float = 0.0
    wall_before: float = 0.0
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
    highest_rate: float = 0.0
    eta_seconds: tuple[float, float] | None = None
    has_slow_item: bool = False
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
    delayed: int = 0
    next_attempt: float | None = None
    awaits_attempts: bool = False
    retries_over_budget: int = 0
    stalled_seconds: float | None = None
    chunks: ChunkViews = field(default_factory=lambda: ChunkViews.of(()))
    history: tuple[Sample, ...] = ()
    events: tuple[RunEvent, ...] = ()
    errors: tuple[ErrorGroup, ...] = ()
    error_groups: int = 0
    failed_groups: int = 0
    errors_final: int = 0
    oldest: tuple[InFlight, ...] = ()
    hosts: tuple[HostView, ...] = ()
    hosts_total: int = 0
    host_limits: HostLimits = field(default_factory=HostLimits)
    log: tuple[LogLine, ...] = ()
    log_lines: int = 0
    log_file: str = ""

    def __repr__(self) -> str:
        """Return three lines for a notebook or `print`: the run and its state, its items, its rows."""
        total = "" if self.items_total is None else f" of {self.items_total:,}"
        reason = f": {safe_text(self.reason, limit=200)}" if self.reason else ""
        others = f", {self.items_cancelled:,} cancelled" if self.items_cancelled else ""
        name = safe_text(f"{self.job} run {self.run_id}")
        where = safe_text(f"table {self.table} of {self.database}")
        return (
            f"{name} {self.state.value}{reason}\n"
            f"  items  {self.items_done:,}{total} done, {self.items_failed:,} failed{others}, "
            f"{self.retries:,} {'retry' if self.retries == 1 else 'retries'}\n"
            f"  rows   {self.rows:,} in {where}, {duration(self.active_seconds)} at work"
        )

    @property
    def eta(self) -> str:
        """The estimated time left as text, or the reason why there is none.

        One of `ETA 00:10:00–00:12:30`, `ETA ≥ 00:00:14` with a slow item, `ETA after retries` and `ETA after slow
        items`; empty before there is an estimate.
        """
        if self.eta_seconds is not None:
            low, high = self.eta_seconds
            return f"ETA ≥ {duration(low)}" if self.has_slow_item else f"ETA {time_left(low, high)}"
        if self.awaits_attempts:
            return "ETA after retries"
        return "ETA after slow items" if self.has_slow_item else ""

    @property
    def active_seconds(self) -> float:
        """The active seconds of all processes together, without pauses."""
        return self.active_before + self.elapsed

    @property
    def items_finished(self) -> int:
        """The number of items that reached a final state."""
        return self.items_done + self.items_failed + self.items_cancelled

    @property
    def items_ended(self) -> int:
        """The number of items that were executed to their end, in earlier processes too.

        Cancelled items do not count.
        """
        return self.items_done + self.items_failed

    @property
    def items_executed(self) -> int:
        """The number of items that this process has executed to their end, successfully or not."""
        return self.items_ended - self.items_skipped

    @property
    def items_begun(self) -> int:
        """The number of items that have begun and not ended: in execution, or waiting for a host."""
        return self.in_flight + self.items_held

    @property
    def mean_items_per_second(self) -> float:
        """The mean rate over all processes: items executed to their end, successfully or not, per active second.

        If the active time of earlier processes is unknown, the rate covers only this process.
        """
        if self._earlier_time_unknown:
            return mean_rate(self.items_executed, self.elapsed)
        return mean_rate(self.items_ended, self.active_seconds)

    @property
    def mean_rows_per_second(self) -> float:
        """The mean rate over all processes: result rows per active second.

        If the active time of earlier processes is unknown, the rate covers only this process.
        """
        if self._earlier_time_unknown:
            return mean_rate(self.rows - self.rows_skipped, self.elapsed)
        return mean_rate(self.rows, self.active_seconds)

    @property
    def _earlier_time_unknown(self) -> bool:
        """True if the run was begun by an earlier version of tui-runner, which did not record active time.

        The mean rates of such a run cover only this process.
        """
        return self.items_skipped > 0 and not self.active_before

    @property
    def wall_seconds(self) -> float:
        """The seconds of all processes together, pauses included. The time between two processes does not count."""
        return max(self.wall_before, self.active_before) + self.elapsed + self.paused

    @property
    def paused_seconds(self) -> float:
        """The seconds during which the run was paused, over all processes, by the user or by itself."""
        return self.wall_seconds - self.active_seconds

    @property
    def is_resumed(self) -> bool:
        """True if an earlier process has worked on the run."""
        return self.active_before > 0 or self.items_skipped > 0

    @property
    def is_writing(self) -> bool:
        """True if all items have ended and the run waits only for their rows to be committed."""
        last = self.state is RunState.DRAINING or self.items_finished == self.items_total
        return (
            self.state in (RunState.RUNNING, RunState.DRAINING)
            and last
            and not self.in_flight
            and bool(self.buffered_bytes)
        )

    @property
    def paused_hosts(self) -> tuple[str, ...]:
        """The hosts that the user has paused."""
        return tuple(host.host for host in self.hosts if host.paused)

    @property
    def waits_for_user(self) -> bool:
        """True if the run executes nothing until the user resumes a host."""
        return self.state is RunState.PAUSED and self.reason in HOSTS_PAUSED

    @property
    def has_rates(self) -> bool:
        """True if rates are meaningful: the run is not paused and an item has ended in this process."""
        return self.state is not RunState.PAUSED and self.items_executed > 0

    @property
    def finals_are_items(self) -> bool:
        """True if `ErrorGroup.final` can be read as a number of items.

        If the user ran failed items again, `final` only counts failures, because an item may have failed twice.
        """
        return self.errors_final == self.items_failed

    @property
    def exit_code(self) -> int:
        """The exit code for the end of the run; before the end, the code that a stop would have now."""
        if self.state is RunState.FINISHED:
            return EXIT_ITEMS_FAILED if self.items_failed or self.items_cancelled else EXIT_OK
        return EXIT_USAGE if self.nothing_ran else EXIT_STOPPED

    @property
    def nothing_ran(self) -> bool:
        """True if the run failed before any attempt ended, in this or an earlier process."""
        return self.state is RunState.FAILED and not (self.items_finished or self.retries or self.errors)


def more_memory(snapshot: Snapshot) -> str:
    """Return the option for resuming a run that failed because of its memory limit; empty for any other run."""
    needed = snapshot.memory_needed
    return "" if needed is None else f" --max-memory {-(-needed // 1_000_000)}MB"
