"""Collects ended attempts into batches, counts them, and reports them to the tui-runner process.

A batch is sent when it is due (`INTERVAL`, or less while `concurrency` adds threads), when many items or bytes wait
(`Outcomes`), or when the worker has become idle. At least `_SHORTEST` lies between two batches, unless a batch is full
or the last one. The counters of a `ResultBatch` count exactly the items that were sent so far. So when a worker is
lost, the program's counters count exactly the items whose results it has received.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from tui_runner.engine.metrics import Durations
from tui_runner.engine.protocol import (
    ChunkFinished,
    ChunkWait,
    HostReport,
    HostsReport,
    InFlight,
    LogLines,
    Progress,
    Report,
    ResultBatch,
)
from tui_runner.engine.worker.attempt import Ending, Outcome, Outcomes, host_down
from tui_runner.engine.worker.batch_builder import BatchBuilder, build_tables
from tui_runner.engine.worker.concurrency import RAMP_SECONDS, ThreadTuner
from tui_runner.engine.worker.job_output import JobLog
from tui_runner.engine.worker.memory_limit import resident_bytes
from tui_runner.engine.worker.opened_chunk import Ended, OpenedChunk
from tui_runner.engine.worker.slot import Slot
from tui_runner.engine.worker.suspension import Suspension
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.engine.worker.thread_pool import Pool
from tui_runner.jobs.http.host_gate import HostState
from tui_runner.system.clock import time
from tui_runner.system.process import available_processors
from tui_runner.text.describe import item_text
from tui_runner.text.numbers import short_plural
from tui_runner.text.redaction import Redaction

INTERVAL = 0.2
"""Seconds between reports. Rows should be queryable within 1.5 s of the function's return; with this interval they are
within 0.8 s."""
_SHORTEST = 0.02
"""Least seconds between two batches, unless a batch is full. A message costs both processes a millisecond."""
_PROGRESS_SECONDS = 0.1
"""Least seconds between two `Progress` messages, unless the worker has just become idle. Screens draw less often."""
_HEARTBEAT = 2.0
"""Seconds between reports of an idle worker. `Liveness` (scheduling/workers.py) and `guards/hung_workers.py` (which
allows two missing reports) depend on it."""
_OLDEST = 20
"""Most items in flight in a `Progress`: more than a screen lists."""
_WAITS_SECONDS = 0.5
"""Seconds between two searches for the reasons why chunks wait. A search examines every waiting item."""
_HOSTS_A_MESSAGE = 500
"""Most hosts in one message. A report of thousands of hosts would delay the batches that follow."""


def _raised(error: BaseException) -> None:
    raise error


class Reporter:
    """The thread that collects the outcomes of one worker and reports them.

    Args:
        worker: number of the worker.
        queue: the worker's queue, which knows the items in flight and takes retries.
        outcomes: ended attempts of the pool.
        pool: the pool, which reports stuck attempts.
        log: output of the job.
        send: sends a report; may block.
        redact: removes secrets from errors and items.
        item_text: True if the ledger gets a short text of every item.
        on_broken: called when the reporter can no longer report.
    """

    def __init__(
        self,
        worker: int,
        queue: WorkQueue,
        outcomes: Outcomes,
        pool: Pool,
        log: JobLog,
        send: Callable[[Report], None],
        redact: Redaction | None = None,
        *,
        item_text: bool = True,
        on_broken: Callable[[BaseException], None] = _raised,
    ) -> None:
        self._worker = worker
        self._on_broken = on_broken
        self._redact = redact or Redaction()
        self._item_text = item_text
        self._queue = queue
        self._outcomes = outcomes
        self._pool = pool
        self._log = log
        self._send = send
        self._tuner = ThreadTuner(time.process_time, available_processors())
        self._suspension = Suspension(queue.extend_deadlines)
        self._idle = False
        self._host_items: dict[str, int] = {}
        self._reported_at = 0.0
        self._waits: dict[int, ChunkWait] = {}
        self._waits_from = -math.inf
        """Time of the last search for the reasons why chunks wait, by the monotonic clock."""
        self._ending = threading.Event()
        """Set by `finish`; ends the thread after everything was sent."""
        # daemon: a worker that must end at once does not wait for this thread
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Start the threads that report and watch for suspensions; limit the items executed at once for the ramp."""
        self._queue.set_useful(self._tuner.useful)
        self._suspension.start()
        self._thread.start()

    def finish(self) -> None:
        """Send everything that is left, then end the thread."""
        self._suspension.end()
        self._ending.set()
        self._outcomes.wake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._report()
        except BaseException as error:  # the function has broken something that the reporter needs
            self._on_broken(error)

    def _report(self) -> None:
        """Report every `INTERVAL` and when woken, until `finish`."""
        last = -math.inf
        while not self._ending.is_set():
            self._outcomes.wake.wait(RAMP_SECONDS if self._tuner.is_ramping and self._queue.busy else INTERVAL)
            if not self._outcomes.has_more and (early := last + _SHORTEST - time.monotonic()) > 0:
                self._ending.wait(early)
            self._outcomes.wake.clear()  # clear it before collecting, because attempts that end meanwhile set it again
            self._queue.release_due()
            self._suspension.check()
            self._pool.end_overdue()
            if self.collect():
                last = time.monotonic()
            self._tune()
        while self.collect():  # the size of a batch is limited, and everything must be sent before the end
            pass

    def collect(self) -> bool:
        """Report one batch of ended attempts, the log and progress. Return True if the batch was not empty."""
        for down in self._queue.take_down():
            self._outcomes.put_other(host_down(*down))
        self._queue.ask_for_more()
        self._report_hosts()
        ended, others = self._outcomes.take(self._queue.blocks())
        if ended or others:
            batch, finished = self._batch(ended, others)
            self._send(batch)
            for chunk in finished:
                self._queue.forget(chunk)
                self._send(ChunkFinished(self._worker, chunk.number))
        self.send_log()
        self._report_progress(bool(ended or others))
        return bool(ended or others)

    def measure_soon(self) -> None:
        """Wake the reporter during the ramp, because new items may make more threads useful at once."""
        if self._tuner.is_ramping:
            self._outcomes.wake.set()

    def _tune(self) -> None:
        """Adjust the number of items executed at once for CPU-bound jobs, see `concurrency`."""
        queue = self._queue
        wanted = queue.wanted_consumers
        settled = self._tuner.measure(time.monotonic(), wanted, busy=queue.busy, throttled=queue.throttled)
        queue.set_useful(self._tuner.useful)
        if settled is not None:
            self._log.add("INFO", settled)

    def send_log(self) -> None:
        """Send output and log lines of the job."""
        lines, dropped = self._log.take_all()
        if lines or dropped:
            self._send(LogLines(self._worker, lines, dropped))

    def _report_progress(self, busy: bool) -> None:
        """Send a `Progress`, unless one was just sent. An idle worker sends one at once, then every `_HEARTBEAT`."""
        # The first are sent: the oldest, and before items that wait for their host those that are executed, because
        # only they show that the run is stalled.
        running = sorted(self._queue.in_flight(), key=lambda found: (bool(found[2].held_by), found[2].started))
        now = time.monotonic()
        idle = not busy and not running
        since = now - self._reported_at
        if since < _PROGRESS_SECONDS and not (idle and not self._idle):
            return
        if idle and self._idle and since < _HEARTBEAT:
            return
        self._idle, self._reported_at = idle, now
        if idle or now >= self._waits_from + _WAITS_SECONDS:
            self._waits, self._waits_from = self._queue.waits(), now
        self._send(
            Progress(
                self._worker,
                Counter(chunk.number for chunk, _, _ in running),
                tuple(self._in_flight(*found, now) for found in running[:_OLDEST]),
                self._queue.consumers,
                self._outcomes.unwritten,
                self._queue.throttled,
                self._pool.stuck(),
                self._queue.has_waiting,
                resident_bytes(),
                Counter(chunk.number for chunk, _, slot in running if slot.held_by),
                self._waits_at(now),
                self._queue.over_budget(),
                self._queue.delayed,
                self._queue.next_attempt(),
            )
        )

    def _waits_at(self, now: float) -> dict[int, ChunkWait]:
        """Return the reasons why chunks wait, with the seconds left at `now`: the last search may be older."""
        passed = now - self._waits_from
        return {number: replace(wait, seconds=max(wait.seconds - passed, 0.0)) for number, wait in self._waits.items()}

    def _report_hosts(self) -> None:
        """Send the state of hosts that has changed since the last report."""
        items = self._queue.host_items()
        gate = self._queue.gate
        if items != self._host_items:
            gate.touch([host for host, count in items.items() if self._host_items.get(host) != count])
            gate.touch([host for host in self._host_items if host not in items])
            self._host_items = items
        reports = [_host_report(state, items.get(state.host, 0)) for state in gate.states()]
        for start in range(0, len(reports), _HOSTS_A_MESSAGE):
            self._send(HostsReport(self._worker, tuple(reports[start : start + _HOSTS_A_MESSAGE])))

    def _in_flight(self, chunk: OpenedChunk, index: int, slot: Slot, now: float) -> InFlight:
        text = item_text(chunk.values[index], self._redact)
        seconds = now - slot.started
        return InFlight(chunk.number, chunk.positions[index], text, slot.attempt, seconds, self._redact(slot.held_by))

    def _batch(
        self, ended: list[tuple[OpenedChunk, list[Ended]]], others: list[Outcome]
    ) -> tuple[ResultBatch, list[OpenedChunk]]:
        """Return a batch of the ended items and other outcomes, and the chunks that are finished with it."""
        tables, rows, nbytes, unstorable = build_tables(ended)
        others += unstorable
        builder = BatchBuilder(self._queue.key, self._redact, item_text=self._item_text)
        for chunk, items in ended:
            builder.add_ended(chunk, items)
        for outcome in others:
            if self._postpone(outcome, builder):
                continue
            # The next attempt may start from here on, because its outcome comes in a later batch than this failure.
            host = outcome.host if outcome.refused else ""
            if outcome.retry_after is not None and self._queue.retry(
                outcome.chunk, outcome.index, outcome.retry_after, host
            ):
                outcome.ending = Ending.RETRY
                builder.restore(outcome.chunk, outcome.index)
            builder.add(outcome)
        if builder.left_out:
            self._log.add(
                "WARNING",
                f"{short_plural(builder.left_out, 'added item')} left out: text of a secret parameter is in it, and "
                "the ledger keeps no secrets. Add items without it",
            )
        self._tuner.count(builder.executed)
        self._queue.count_ended(builder.trials.ok, builder.trials.failed)
        return builder.batch(self._worker, tables, rows, nbytes), builder.finished

    def _postpone(self, outcome: Outcome, builder: BatchBuilder) -> bool:
        """Make the item of an outcome wait for its host, without counting the attempt. Return False if it cannot."""
        if outcome.postponed_seconds is None:
            return False
        chunk, index = outcome.chunk, outcome.index
        builder.restore(chunk, index)
        return self._queue.postpone_item(chunk, index, outcome.host, outcome.postponed_seconds)


def _host_report(state: HostState, items: int) -> HostReport:
    """Return the report on a host; `items` is the number of items in its line."""
    counts = state.counts
    return HostReport(
        host=state.host,
        open=state.open,
        waiting=state.waiting + items,
        slots=state.slots,
        serial=state.serial,
        delay=state.delay,
        cooldown=state.cooldown,
        named=state.named,
        due=state.due,
        asked_delay=state.asked_delay,
        paused=state.paused,
        failing=state.failing,
        down=state.down,
        done=counts.done,
        failed=counts.failed,
        refused=counts.refused,
        seconds=counts.seconds,
        statuses=dict(counts.statuses),
        latencies=Durations.of(counts.latencies),
    )
