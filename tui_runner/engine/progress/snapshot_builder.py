"""Collects the figures that a snapshot needs beyond the scheduler's state, and builds the snapshot.

Owned by the runner's thread.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from typing import get_args

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.guards.disk import DiskGuard
from tui_runner.engine.guards.memory import MemoryGuard
from tui_runner.engine.metrics import ErrorCounts, Estimate, Histogram, RateWindow, RecentHistogram, mean_rate
from tui_runner.engine.progress.host_wait import host_wait
from tui_runner.engine.progress.open_chunks import OpenChunks
from tui_runner.engine.progress.snapshot import (
    KEPT_EVENTS,
    ErrorGroup,
    HostView,
    RunEvent,
    Sample,
    Snapshot,
    WorkerView,
)
from tui_runner.engine.protocol import LogLine, LogLines, Progress, Ready, ResultBatch, WorkerLost
from tui_runner.engine.scheduling.events import ChunkEnded, Committed, Draw, EndRun, FrontierGrown, Tell
from tui_runner.engine.scheduling.host_board import HostRow
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import HOLDS, PauseCause, RunState
from tui_runner.store.records import SampleRecord
from tui_runner.text.redaction import redact

_SAMPLE_SECONDS = 5.0
"""Seconds between two rows of `runner.samples`. Ten hours make 7,200 rows."""
_HISTORY_SECONDS = 300
"""Seconds of history in a snapshot, for the graphs of the dashboard."""
_LOG_LINES = 1_000
"""Most log lines in a snapshot. The log screen reads older ones from the file."""
_FIRST_SECONDS = 1.0
"""Active seconds after which the rate of a snapshot counts for the highest rate. A burst of items in the first
milliseconds would have a rate that nobody could see in the graph, whose points are a second apart."""
_KEPT_ERROR_GROUPS = 20
"""Most groups of errors in a snapshot: the most important ones. The errors screen reads all groups from the ledger."""
_OLDEST = 20
"""Most items in flight in a snapshot: those that have run longest, as many as each worker reports (`reporter._OLDEST`).
There may be thousands, and a snapshot is built four times a second."""
_HOSTS = 300
"""Most hosts in a snapshot, because the percentiles of all of them are computed at each update."""
_STATUSES = 8
"""Most HTTP statuses of a host in a snapshot: the most frequent ones. The dashboard shows them on one line."""
_HOSTS_SECONDS = 0.5
"""Seconds between two updates of the hosts, because percentiles of hundreds of hosts take some milliseconds."""
_STALL_SECONDS = 10.0
"""Seconds without an ended item before a run may count as stalled, however short its items are."""
_LATENCY_SECONDS = 60.0
"""Active seconds over which percentiles of latency are computed. Percentiles of the whole run would hardly change after
hours."""
_UNSEEN_SECONDS = 1.5
"""Most active seconds of a wait for hosts before a snapshot shows it: a second in which the chunks still count as
running (`open_chunks._IDLE_SECONDS`), and the time until the next snapshot."""
_STALL_FACTOR = 5.0
"""A run counts as stalled if no item has ended for longer than this factor times the 95th percentile of latency. A
factor of 1 would be too small, because one item in twenty takes longer than that percentile."""


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The part of a snapshot that does not change during a run; see `Snapshot` for the fields.

    `items_total` is the length of the input if it is known before the input is read.
    """

    run_id: int
    job: str
    table: str
    database: str
    started_at: float
    items_total: int | None
    log_file: str = ""
    done_before: int = 0
    """Items that earlier processes recorded as done. The scheduler counts them only when it reaches their chunks."""
    rows_before: int = 0
    """Result rows of the items in `done_before`."""
    active_before: float = 0.0
    """Seconds that the run was active in earlier processes, without pauses."""
    wall_before: float = 0.0
    """Seconds that the run took in earlier processes, with pauses."""
    grace: float = 0.0
    """Seconds that items in flight have to finish when the run is stopped."""
    items_again: int | None = None
    """Number of items that a retry runs; None for a run that is not a retry."""


@dataclass(frozen=True, slots=True)
class RecordSample:
    """A request to record a sample of the run in the ledger."""

    sample: SampleRecord


Message = (
    ChunkEnded
    | FrontierGrown
    | Tell
    | Progress
    | Ready
    | WorkerLost
    | ResultBatch
    | Committed
    | LogLines
    | MemoryMeasured
    | Draw
    | EndRun
)


class SnapshotBuilder:
    """The reports of a run, collected to build snapshots from them.

    Args:
        identity: the part of a snapshot that does not change.
        scheduler: the scheduler; read only.
        memory: the memory guard; read only.
        disk: the disk guard; read only.
        began: time at which the run was started in this process, by the runner's clock.
        redact: removes secrets from events.
    """

    takes = frozenset(get_args(Message))
    """Types of the messages that `handle` takes."""

    def __init__(
        self,
        identity: RunIdentity,
        scheduler: Scheduler,
        memory: MemoryGuard,
        disk: DiskGuard,
        began: float,
        redact: Callable[[str], str] = redact,
    ) -> None:
        self._redact = redact
        self._identity = identity
        self._scheduler = scheduler
        self._memory_guard = memory
        self._disk_guard = disk
        self.began = began
        self._began_at = time.time()
        self._chunks = OpenChunks(scheduler, self._began_at - began, redact)
        self._items = RateWindow()
        self._rows = RateWindow()
        self._known: int | None = None
        """Number of items in the frontier; None for a run without one."""
        self._new = RateWindow()
        self._items.add(0.0, 0)
        self._rows.add(0.0, 0)
        self._ended = 0
        """Number of executions that ended in this process in active time, for the rates. An item that ran again counts
        again."""
        self._unwritten = 0
        """Bytes of rows that this process has received and not committed."""
        self._estimate = Estimate()
        self._latencies = Histogram()
        self._recent_latencies = RecentHistogram(_LATENCY_SECONDS)
        self._failed = RateWindow()
        self._failed.add(0.0, 0)
        self._errors = ErrorCounts()
        self._progress: dict[int, Progress] = {}
        self._heard: dict[int, float] = {}
        """Time of the last progress report of each worker, on the runner's clock."""
        self._events: deque[RunEvent] = deque(maxlen=KEPT_EVENTS)
        self._log: deque[LogLine] = deque(maxlen=_LOG_LINES)
        self._history: deque[Sample] = deque()
        self._memory = MemoryMeasured(0, 0, 0)
        self._last_end = 0.0
        self._pids: dict[int, int] = {}
        self._machines: dict[int, str] = {}
        """Name of the machine, by worker; only workers on other machines."""
        self._machines_lost: set[str] = set()
        self._extra: set[int] = set()
        """Workers that run single suspect items, in addition to the other workers."""
        self._replacing = 0
        """Number of workers that have ended and were not replaced yet."""
        self._recycled: deque[float] = deque()
        self._log_lines = 0
        self._hosts: tuple[HostView, ...] = ()
        self._hosts_version, self._hosts_due = 0, 0.0
        self._paused_hosts: set[str] = set()
        self._next_sample: float | None = None
        """Time of the next sample for the ledger; None before the first."""
        self._rests = False
        """True if the run was at rest (`Scheduler.is_at_rest`) when it was last measured."""
        self._fastest = 0.0
        """Highest rate in a snapshot since the last point of the graph."""
        self._highest_rate = 0.0
        self._fastest_sample = 0.0
        """Highest rate since the last sample for the ledger. It is recorded, so that the maximum of all samples is the
        maximum of the graph."""
        self._most_memory: tuple[int, int] | None = None
        """Bytes of this process and of the workers when their sum was highest since the last sample, for the same
        reason; None if they were not measured since."""
        self._paused_for: dict[str, float] = {}
        """Seconds of pauses by cause."""
        self._paused_by = "by you"
        """Cause of the newest pause."""
        self._held_seconds = self._held_until = 0.0
        """Active seconds in which all items waited for hosts, and the active time of the last of them."""
        self._refused_seconds = 0.0
        """The part of `_held_seconds` in which the hosts had refused requests."""
        self._refused_until: float | None = None
        """Time of the wall clock at which the present wait of this kind ends; None without one."""
        self._drains_since: float | None = None
        """Time at which the run began to drain, by the runner's clock."""
        self.last = self.snapshot(began)

    # --- messages of the run --------------------------------------------------------------------------------

    def handle(self, message: Message, now: float) -> Iterable[RecordSample]:
        """Record a message of the run. `Draw` publishes a new snapshot."""
        if self._rests and not self._scheduler.is_at_rest:
            # Before the first item of the resumed run ends. Otherwise the sample would spread its items over the pause.
            self._rests = False
            yield self._record_sample(now)
        match message:
            case ResultBatch():
                self.flushed(message, now)
            case Committed(tickets):
                self._unwritten -= sum(nbytes for _, nbytes in tickets)
            case Progress():
                self.progress(message, now)
            case ChunkEnded(number):
                self._chunks.end(number)
            case LogLines():
                self.logged(message)
            case FrontierGrown(items):
                self._known = items
                self._new.add(self._scheduler.active(now), items)
            case Tell(level, text, passes):
                self.tell(now, level, text, passes=passes)
            case Ready(worker, pid, host):
                if host:
                    self._machines[worker] = host
                self.worker_ready(worker, pid, now)
            case WorkerLost(worker):
                machine = self._machines.pop(worker, "")
                if machine and not message.blame:
                    self._machines_lost.add(machine)
                self.worker_gone(worker)
            case MemoryMeasured():
                self.measured(message, now)
                rests = self._scheduler.is_at_rest
                # Samples at both ends of a pause show the pause and its length. The first samples are close together,
                # because the process may not run for long.
                if rests and not self._rests:
                    # The rate until the pause is drawn from this sample, so it has the time of the last item's end.
                    yield self._record_sample(now, ago=self._scheduler.rested(now))
                elif self._next_sample is None or now >= self._next_sample:
                    yield self._record_sample(now)
                self._rests = rests
            case EndRun():
                # Without this sample, items that ended since the last one would be missing in the curves.
                yield self._record_sample(now)
            case Draw():
                # The ended state is published only after the last commit, because readers query the database as soon as
                # they see it. Until then a run may wait for free disk space, or write its last rows.
                self.snapshot(now, committed=False)

    def tell(self, now: float, level: str, text: str, *, passes: bool = False) -> None:
        """Add an event with the time `now` of the runner's clock."""
        self._events.append(RunEvent(now - self.began, level, self._redact(text), passes))

    def progress(self, progress: Progress, now: float) -> None:
        """Record a worker's progress."""
        for number, begun in progress.in_flight.items():
            if begun > progress.held.get(number, 0):
                self._chunks.measure(number, self._scheduler.active(now), 0)
        self._progress[progress.worker] = progress
        self._heard[progress.worker] = now

    def worker_ready(self, worker: int, pid: int, now: float) -> None:
        """Record that a worker is ready. If another worker has ended or drains, count the new one as a replacement."""
        self._pids[worker] = pid
        if self._scheduler.workers[worker].slot is None:
            self._extra.add(worker)
        elif len(self._pids) + self._replacing - len(self._extra) > self._scheduler.workers.size:
            # A draining worker is still in `_pids` and not counted in `_replacing`, which may then be 0.
            self._replacing = max(0, self._replacing - 1)
            self._recycled.append(now - self.began)

    def worker_gone(self, worker: int) -> None:
        """Record that a worker has ended."""
        self._progress.pop(worker, None)
        self._heard.pop(worker, None)
        gone = self._pids.pop(worker, None) is not None
        if worker in self._extra:
            self._extra.discard(worker)
        elif gone and len(self._pids) - len(self._extra) < self._scheduler.workers.size:
            self._replacing += 1

    def flushed(self, flush: ResultBatch, now: float) -> None:
        """Record a batch that the scheduler has already processed."""
        self._unwritten += flush.nbytes
        scheduler = self._scheduler
        active = scheduler.active(now)
        executed = sum(map(flush.executed, flush.ended))
        rows = scheduler.counts.rows - scheduler.before.rows
        failed = scheduler.counts.failed - scheduler.before.failed
        if scheduler.counts_in_rates(now):
            for number in flush.counts:
                self._chunks.measure(number, active, flush.executed(number))
            self._ended += executed
            self._items.add(active, self._ended)
            self._estimate.add(scheduler.working(now), self._ended, self._refused_seconds)
            self._rows.add(active, rows)
            self._failed.add(active, failed)
        else:
            self._rows.leave_out(rows)
            self._failed.leave_out(failed)
        if flush.error_groups:
            self._errors.add(flush.error_groups, flush.final_groups, flush.examples)
        if executed:
            self._last_end = active
        self._latencies.add(flush.latencies)
        self._recent_latencies.add(active, flush.latencies)

    def logged(self, lines: LogLines) -> None:
        """Keep the newest log lines, and a line that says how many lines were dropped."""
        if lines.dropped:
            text = f"({lines.dropped} lines were dropped)"
            self._log.append(LogLine(time.time(), "WARNING", text, worker=lines.worker))
        self._log.extend(lines.lines)
        self._log_lines += len(lines.lines) + bool(lines.dropped)

    def measured(self, memory: MemoryMeasured, now: float) -> None:
        """Record a measurement, and add a point to the graphs."""
        self._memory = memory
        scheduler = self._scheduler
        active = scheduler.active(now)
        items_rate = rows_rate = failed_rate = None
        if not scheduler.is_at_rest and active > 0:
            items_rate, rows_rate = self._items.rate(active), self._rows.rate(active)
            failed_rate = min(self._failed.rate(active), items_rate)
        fastest, self._fastest = max(self._fastest, items_rate or 0.0), 0.0
        # Reports are a little late, so rates over ten seconds are a little low. The highest cannot be below the mean.
        highest = max(fastest, mean_rate(self._ended, active))
        self._fastest_sample = max(self._fastest_sample, fastest)
        self._highest_rate = max(self._highest_rate, highest)
        at, workers_rss = now - self.began, self._workers_rss()
        if memory.app_rss + workers_rss >= sum(self._most_memory or ()):
            self._most_memory = memory.app_rss, workers_rss
        self._history.append(Sample(at, items_rate, rows_rate, memory.app_rss, workers_rss, failed_rate, fastest))
        while self._history and self._history[0].at < at - _HISTORY_SECONDS:
            self._history.popleft()
        while self._recycled and self._recycled[0] < at - _HISTORY_SECONDS:
            self._recycled.popleft()

    def _record_sample(self, now: float, ago: float = 0.0) -> RecordSample:
        sample = RecordSample(self._sample(now, ago))
        self._next_sample = now + min(_SAMPLE_SECONDS, max(1.0, now - self.began))
        return sample

    def _sample(self, now: float, ago: float) -> SampleRecord:
        """Return a sample of the run for the ledger. Since `ago` seconds before `now`, nothing has changed."""
        counts = self._scheduler.counts
        unread, unread_rows = self._unread()
        fastest = max(self._fastest_sample, self._fastest)
        app_rss, workers_rss = self._most_memory or (self._memory.app_rss, self._workers_rss())
        self._fastest_sample, self._most_memory = 0.0, None
        return SampleRecord(
            sampled_at=datetime.now(UTC) - timedelta(seconds=ago),
            items_done=counts.done + unread,
            # Items that failed because of an outage run again.
            items_failed=max(counts.failed - self._scheduler.items_lost, 0),
            rows=counts.rows + unread_rows,
            in_flight=None if self._next_sample is None else self._in_flight,
            threads=self._scheduler.workers.threads,
            items_per_second=fastest,
            app_rss=app_rss,
            workers_rss=workers_rss,
            db_bytes=self._memory.db_bytes,
        )

    # --- the snapshot --------------------------------------------------------------------------------------

    def set_database_size(self, nbytes: int) -> None:
        """Record the size of the database after the last commit, which the last measurement may have missed."""
        self._memory = replace(self._memory, db_bytes=nbytes)

    def snapshot(self, now: float, *, committed: bool = True) -> Snapshot:
        """Build a snapshot of the run at `now` and publish it.

        Args:
            now: time by the runner's clock.
            committed: True if an ended state may be shown; otherwise the state before it is shown.
        """
        scheduler, identity = self._scheduler, self._identity
        active, counts = scheduler.active(now), scheduler.counts
        unread, unread_rows = self._unread()
        in_flight: Counter[int] = Counter()
        held: Counter[int] = Counter()
        for progress in self._progress.values():
            in_flight.update(progress.in_flight)
            held.update(progress.held)
        begun = in_flight.total()
        in_flight -= held
        hosts = self._draw_hosts(now, last=scheduler.status.ended)
        self._paused_hosts = {host.host for host in hosts if host.paused}
        chunks = self._chunks.draw(now, active, in_flight, self._progress, self._heard, self._paused_hosts)
        status = scheduler.status
        in_outage = status.has(PauseCause.OUTAGE) and not status.has(PauseCause.USER, *HOLDS)
        state = status.state
        if state.ended and not committed:
            state = RunState.RUNNING if state is RunState.FINISHED else RunState.DRAINING
        items_rate = rows_rate = 0.0
        if not scheduler.is_at_rest:
            items_rate, rows_rate = self._items.rate(active), self._rows.rate(active)
        if active >= _FIRST_SECONDS:
            self._fastest = max(self._fastest, items_rate)
            self._highest_rate = max(self._highest_rate, items_rate, mean_rate(self._ended, active))
        total = identity.items_total if scheduler.input_length is None else scheduler.input_length
        oldest = sorted(
            (item for progress in self._progress.values() for item in progress.oldest), key=lambda i: -i.seconds
        )
        longest = oldest[0].seconds if oldest else 0.0
        rests = not in_flight and bool(self._paused_hosts)
        # Items that wait for a host cannot end, so a run whose items all wait is not stalled.
        stalled = self._stalled(active, max((item.seconds for item in oldest if not item.held_by), default=0.0))
        left = self._left(total)
        awaits = self._state is RunState.RUNNING and bool(left) and 2 * self._delayed >= (left or 0)
        eta, slow = None, False
        if left is not None and stalled is None and not rests and not awaits:
            eta, slow = self._eta(now, left, begun, longest)
        recent = self._recent_latencies.at(active)
        # When the run has ended, or nothing has ended for a minute, the percentiles of all attempts are more useful.
        latencies = self._latencies if status.ended or not recent.total else recent
        self.last = Snapshot(
            run_id=identity.run_id,
            job=identity.job,
            table=identity.table,
            database=identity.database,
            state=state,
            held=status.held,
            reason=self._redact(status.reason),
            in_outage=in_outage,
            outage_error=self._redact(scheduler.outage_error) if in_outage else "",
            trying=in_outage and begun > 0 and scheduler.is_probing,
            trial_seconds=scheduler.seconds_until_trial(now),
            drain_seconds=self._drain_seconds(state, now),
            grace=identity.grace,
            warnings=self._disk_guard.warnings + self._memory_guard.warnings,
            started_at=identity.started_at,
            began_at=self._began_at,
            at=now - self.began,
            elapsed=active,
            held_seconds=self._held_seconds,
            paused=scheduler.elapsed(now) - active,
            pauses=self._pauses_until(now),
            active_before=identity.active_before,
            wall_before=identity.wall_before,
            items_total=total,
            items_known=self._known,
            new_per_second=0.0 if self._known is None else self._new.rate(active),
            items_done=counts.done + unread,
            items_failed=counts.failed,
            items_cancelled=counts.cancelled,
            items_skipped=scheduler.before.done + unread,
            rows=counts.rows + unread_rows,
            rows_skipped=scheduler.before.rows + unread_rows,
            retries=counts.retries,
            in_flight=in_flight.total(),
            items_held=held.total(),
            threads=scheduler.workers.threads,
            workers=len(scheduler.workers.ready),
            machines=len(set(self._machines.values())),
            machines_lost=len(self._machines_lost),
            worker_views=self._workers(),
            recycled=tuple(self._recycled),
            open_chunks=scheduler.open_chunks,
            rate=scheduler.workers.rate,
            items_per_second=items_rate,
            rows_per_second=rows_rate,
            highest_rate=self._highest_rate,
            eta_seconds=eta,
            has_slow_item=slow,
            p50=latencies.percentile(0.5),
            p95=latencies.percentile(0.95),
            latency_window=None if latencies is self._latencies else _LATENCY_SECONDS,
            app_rss=self._memory.app_rss,
            workers_rss=self._workers_rss(),
            memory_limit=self._memory_guard.limit,
            memory_needed=self._memory_guard.needed,
            db_bytes=self._memory.db_bytes,
            # Bytes on the way from a worker to this process are counted only by the worker. Bytes of workers that have
            # ended are counted only by this process.
            buffered_bytes=max(self._unwritten, sum(progress.buffered_bytes for progress in self._progress.values())),
            throttled=any(progress.throttled for progress in self._progress.values()),
            delayed=self._delayed,
            next_attempt=self._next_attempt(now),
            awaits_attempts=awaits,
            retries_over_budget=sum(progress.over_budget for progress in self._progress.values()),
            stalled_seconds=stalled,
            chunks=chunks,
            history=tuple(self._history),
            events=tuple(self._events),
            error_groups=len(self._errors),
            failed_groups=self._errors.final_groups,
            errors_final=self._errors.final,
            errors=tuple(
                ErrorGroup(
                    count, kind, text, final, self._errors.example((kind, text)), self._errors.differ((kind, text))
                )
                for (kind, text), count, final in self._errors.largest(_KEPT_ERROR_GROUPS)
            ),
            oldest=tuple(oldest[:_OLDEST]),
            hosts=hosts,
            hosts_total=len(scheduler.hosts.rows),
            host_limits=scheduler.hosts.limits,
            log=tuple(self._log),
            log_lines=self._log_lines,
            log_file=identity.log_file,
        )
        self._measure_host_wait(active)
        return self.last

    def _measure_host_wait(self, active: float) -> None:
        """Add the time since the last snapshot to `_held_seconds` if all items wait for hosts."""
        self._refused_until = None
        wait = host_wait(self.last)
        # In a pause, the items that are held still wait until they may send their requests.
        ends_waiting = self._state is RunState.PAUSED and self.last.items_held and not self.last.in_flight
        if wait is not None or ends_waiting:
            # Chunks count as running for a second after their last item, so the wait has begun before it is visible.
            since = max(self._held_until, self._last_end, active - _UNSEEN_SECONDS)
            self._held_seconds += max(active - since, 0.0)
            self._held_until = active
            if wait is not None and wait.status is not None:
                self._refused_seconds += max(active - since, 0.0)
                self._refused_until = wait.until

    def _pauses_until(self, now: float) -> tuple[tuple[str, float], ...]:
        """Return the seconds of pauses by cause, the longest first.

        Time since the last call during which the run was paused is added to the cause that was seen last.
        """
        scheduler = self._scheduler
        passed = scheduler.elapsed(now) - scheduler.active(now) - sum(self._paused_for.values())
        status = scheduler.status
        if status.state is RunState.PAUSED:
            self._paused_by = status.automatic_pause or "by you"
        if passed > 0:
            self._paused_for[self._paused_by] = self._paused_for.get(self._paused_by, 0.0) + passed
        return tuple(sorted(self._paused_for.items(), key=lambda each: -each[1]))

    def _draw_hosts(self, now: float, *, last: bool) -> tuple[HostView, ...]:
        """Return the views of the hosts.

        They are updated after changes, but at most once in `_HOSTS_SECONDS` until the run has ended.
        """
        board = self._scheduler.hosts
        if board.version != self._hosts_version and (last or now >= self._hosts_due):
            self._hosts_version, self._hosts_due = board.version, now + _HOSTS_SECONDS
            busiest = nlargest(_HOSTS, board.rows.values(), key=lambda row: (row.open + row.waiting, row.done))
            self._hosts = tuple(self._draw_host(row, now) for row in busiest)
        return self._hosts

    def _draw_host(self, row: HostRow, now: float) -> HostView:
        """Return the view of a host."""
        cools_down = row.cooldown_until > now
        return HostView(
            host=row.host,
            done=row.done,
            failed=row.failed,
            refused=row.refused,
            open=row.open,
            waiting=row.waiting,
            delay=row.delay,
            cooldown_until=row.cooldown_until - self.began if cools_down else None,
            backs_off=cools_down and row.backs_off,
            refusal=row.refusal if cools_down else None,
            p50=row.latencies.percentile(0.5),
            p95=row.latencies.percentile(0.95),
            statuses=tuple(row.statuses.most_common(_STATUSES)),
            paused=row.paused,
            failing=row.failing,
            down=row.down,
            limits=self._scheduler.hosts.limits_of(row.host),
        )

    def _unread(self) -> tuple[int, int]:
        """Return the number of items done by earlier processes in chunks that are not reached yet, and their rows.

        A run that is resumed by position reaches its chunks one after another, but done items are shown from the start.
        """
        identity, before = self._identity, self._scheduler.before
        if self._scheduler.input_ended:
            return 0, 0
        return max(0, identity.done_before - before.done), max(0, identity.rows_before - before.rows)

    def _left(self, total: int | None) -> int | None:
        """Return the number of items that this process still has to run; None while unknown."""
        counts, identity = self._scheduler.counts, self._identity
        if identity.items_again is not None:
            return max(0, identity.items_again - (counts.finished - self._scheduler.before.finished))
        return None if total is None else max(0, total - counts.finished - self._unread()[0])

    def _drain_seconds(self, state: RunState, now: float) -> float | None:
        if state is not RunState.DRAINING:
            self._drains_since = None
            return None
        if self._drains_since is None:
            self._drains_since = now
        return max(self._identity.grace - (now - self._drains_since), 0.0)

    @property
    def _state(self) -> RunState:
        return self._scheduler.status.state

    @property
    def _delayed(self) -> int:
        return sum(progress.delayed for progress in self._progress.values())

    def _next_attempt(self, now: float) -> float | None:
        """Return the seconds until the first item that waits for its next attempt is due; None if none waits."""
        due = [
            self._heard[worker] + progress.next_attempt
            for worker, progress in self._progress.items()
            if progress.next_attempt is not None
        ]
        return max(min(due) - now, 0.0) if due else None

    @property
    def _in_flight(self) -> int:
        return sum(progress.in_flight_now for progress in self._progress.values())

    def _workers(self) -> tuple[WorkerView, ...]:
        views = []
        for number, pid in sorted(self._pids.items()):  # by number, as the screen lists them
            progress = self._progress.get(number)
            threads = progress.threads if progress else 0
            in_flight = progress.in_flight_now if progress else 0
            host = self._machines.get(number, "")
            rss = self._far_rss(number) if host else self._memory.by_pid.get(pid, 0)
            views.append(WorkerView(number, pid, threads, in_flight, rss, host))
        return tuple(views)

    def _workers_rss(self) -> int:
        # Workers of a Dask cluster on this machine are measured by the monitor, together with Dask's own processes.
        return self._memory.workers_rss or sum(map(self._far_rss, self._machines))

    def _far_rss(self, worker: int) -> int:
        """Return the resident bytes that a worker on another machine reports; the monitor sees only this machine."""
        progress = self._progress.get(worker)
        return progress.rss if progress else 0

    def _eta(self, now: float, left: int, in_flight: int, longest: float) -> tuple[tuple[float, float] | None, bool]:
        """Return the estimated time left, and True if one unusually long item may outlast it.

        The time is None while the run is paused, before there is an estimate, and while such an item and others in
        flight are all that is left.
        """
        if self._state is RunState.PAUSED:
            return None, False
        working, since = self._scheduler.working(now), self._scheduler.since_resume(now)
        refused = self._refused_seconds
        estimate = self._estimate.seconds(working, left, in_flight, refused=refused, since_resume=since)
        if estimate is None:
            return None, False
        if self._refused_until is not None:
            wait = max(self._refused_until - self._began_at - (now - self.began), 0.0)
            estimate = estimate[0] + wait, estimate[1] + wait
        slow = longest > (self._latencies.percentile(0.95) or 0.0) and longest >= estimate[0]
        return None if slow and left <= in_flight else estimate, slow

    def _stalled(self, active: float, oldest: float) -> float | None:
        """Return the seconds without an ended item if they are unusually many, otherwise None.

        They are at most `oldest`, the age of the oldest item that does not wait for a host, so that time without items
        does not count.
        """
        if self._state is not RunState.RUNNING:
            return None
        normal = max(_STALL_SECONDS, _STALL_FACTOR * (self._latencies.percentile(0.95) or 0.0))
        passed = min(active - self._last_end, oldest)
        return passed if passed > normal else None
