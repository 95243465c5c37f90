"""Turns outcomes into flushes: the one thread of a worker that counts, builds Arrow tables and reports.

Five times a second it takes what the pool has finished and sends it. Everything in a `Flush` was counted by that
flush and nothing else was, so when a worker is lost the counters say exactly what has been received of it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from tui_runner.engine.metrics import bucket
from tui_runner.engine.outcome import Ending, Outcome, Outcomes
from tui_runner.engine.output import JobLog
from tui_runner.engine.pool import Pool
from tui_runner.engine.protocol import (
    ChunkFinished,
    Flush,
    LogLines,
    Progress,
    Report,
)
from tui_runner.engine.snapshot import InFlight
from tui_runner.engine.tally import Tally
from tui_runner.engine.work import OpenedChunk, Task, WorkQueue
from tui_runner.store.arrow_batches import serialize
from tui_runner.store.rows.collect import Built, build
from tui_runner.text.describe import Failure, item_text
from tui_runner.text.redaction import redact

INTERVAL = 0.2
"""Seconds between reports: seen at once by a person, and two thirds of a second before the freshness budget."""
_HEARTBEAT = 2.0
"""Seconds between reports of a worker that has nothing to do: they say that it is there (see `silence`)."""
_OLDEST = 20


class Collector:
    """Collects the outcomes of one worker and reports them.

    Args:
        worker: number of the worker.
        queue: for the chunks, and for retries that are due.
        outcomes: what the pool has finished.
        pool: for what is being executed.
        log: what the job has printed.
        send: takes reports; may block.
        redact: takes secrets out of errors and items.
    """

    def __init__(
        self,
        worker: int,
        queue: WorkQueue,
        outcomes: Outcomes,
        pool: Pool,
        log: JobLog,
        send: Callable[[Report], None],
        redact: Callable[[str], str] = redact,
    ) -> None:
        self._worker = worker
        self._redact = redact
        self._queue = queue
        self._outcomes = outcomes
        self._pool = pool
        self._log = log
        self._send = send
        self._latencies: Counter[int] = Counter()
        self._idle = False
        self._reported_at = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def finish(self) -> None:
        """Send everything that is left, and end."""
        self._ending.set()
        self._outcomes.hurry.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._outcomes.hurry.wait(INTERVAL)
            self._outcomes.hurry.clear()
            self._queue.release_due()
            self._pool.end_overdue()
            self.collect()
        while self.collect():
            pass

    def collect(self) -> bool:
        """Report what has been finished, as much as one flush takes; whether there was anything."""
        outcomes = self._outcomes.take()
        if outcomes:
            flush, finished = self._flush(outcomes)
            self._send(flush)
            for chunk in finished:
                self._queue.forget(chunk)
                self._send(ChunkFinished(self._worker, chunk.number))
        self.send_log()
        self._report_progress(bool(outcomes))
        return bool(outcomes)

    def send_log(self) -> None:
        """Report what the job has printed and logged."""
        lines, dropped = self._log.take_all()
        if lines or dropped:
            self._send(LogLines(self._worker, lines, dropped))

    def _report_progress(self, busy: bool) -> None:
        running = sorted(self._pool.in_flight(), key=lambda pair: pair[1])
        now = time.perf_counter()
        idle = not busy and not running
        if idle and self._idle and now - self._reported_at < _HEARTBEAT:
            return
        self._idle, self._reported_at = idle, now
        latencies, self._latencies = self._latencies, Counter()
        self._send(
            Progress(
                self._worker,
                Counter(task.chunk.number for task, _ in running),
                tuple(self._in_flight(task, now - started) for task, started in running[:_OLDEST]),
                self._queue.lanes,
                latencies,
                self._outcomes.unwritten,
                self._queue.throttled,
                self._pool.stuck(),
            )
        )

    def _in_flight(self, task: Task, seconds: float) -> InFlight:
        text = item_text(task.value, self._redact)
        return InFlight(task.chunk.number, task.position, text, task.attempt, seconds)

    def _flush(self, outcomes: list[Outcome]) -> tuple[Flush, list[OpenedChunk]]:
        """A flush of these outcomes, and the chunks that end with it."""
        tables, rows, nbytes = self._build(outcomes)
        self._latencies.update(map(bucket, [o.seconds for o in outcomes if o.ending is not Ending.CANCELLED]))
        tally = Tally(self._redact)
        for outcome in outcomes:
            # Only now may the next attempt run: its outcome must not be counted before this one is.
            if outcome.retry_after is not None and self._queue.retry(outcome.task, outcome.retry_after):
                outcome.ending = Ending.RETRY
            tally.add(outcome)
        self._queue.count_ended(tally.trials.ok, tally.trials.failed)
        return tally.flush(self._worker, tables, rows, nbytes), tally.finished

    def _build(self, outcomes: list[Outcome]) -> tuple[tuple[bytes, ...], int, int]:
        """Arrow streams of the rows, how many rows, and the bytes their results counted.

        An outcome whose rows cannot be stored becomes a failure.
        """
        stored = [outcome for outcome in outcomes if outcome.rows is not None]
        nbytes = sum(outcome.rows.nbytes for outcome in stored if outcome.rows is not None)
        built = build([(o.task.position, o.rows) for o in stored if o.rows is not None])
        _fail_unstorable(stored, built)
        return tuple(map(serialize, built.tables)), built.rows, nbytes


def _fail_unstorable(outcomes: list[Outcome], built: Built) -> None:
    for index, message in built.failed.items():
        outcome = outcomes[index]
        outcome.ending = Ending.FAILED
        outcome.failure = Failure("RowError", message)
        outcome.rows = None
