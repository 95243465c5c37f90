"""Collects outcomes into batches and counts, and reports them to the tui-runner process.

Five times a second it takes what the pool has finished and sends it. Everything in a `ResultBatch` was counted by that
flush and nothing else was, so when a worker is lost the counters say exactly what has been received of it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable

import pyarrow as pa

from tui_runner.engine.metrics import bucket
from tui_runner.engine.protocol import (
    ChunkFinished,
    InFlight,
    LogLines,
    Progress,
    Refused,
    Report,
    ResultBatch,
    Trials,
    unpack,
)
from tui_runner.engine.worker.attempt import Ending, Outcome, Outcomes
from tui_runner.engine.worker.item_columns import json_value, packed_value, text_column
from tui_runner.engine.worker.job_output import JobLog
from tui_runner.engine.worker.task_queue import OpenedChunk, Task, WorkQueue
from tui_runner.engine.worker.thread_pool import Pool
from tui_runner.store.arrow_batches import serialize
from tui_runner.store.records import ERRORS, ITEMS
from tui_runner.store.rows.collect import Built, build
from tui_runner.text.describe import MESSAGE_LENGTH, Failure, item_text, shape, storable
from tui_runner.text.redaction import Redaction

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
        item_text: whether the ledger gets a short text of every item.
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
    ) -> None:
        self._worker = worker
        self._item_text = item_text
        self._redact = redact or Redaction()
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

    def _flush(self, outcomes: list[Outcome]) -> tuple[ResultBatch, list[OpenedChunk]]:
        """A flush of these outcomes, and the chunks that end with it."""
        tables, rows, nbytes = self._build(outcomes)
        self._latencies.update(map(bucket, [o.seconds for o in outcomes if o.ending is not Ending.CANCELLED]))
        tally = Tally(self._redact, item_text=self._item_text)
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


class Tally:
    """The outcomes of one flush. `add` each once, then make the flush.

    Args:
        redact: takes secrets out of errors and of items: what leaves a worker goes through here, but for log lines.
        item_text: whether the ledger gets a short text of every item.
    """

    def __init__(self, redact: Redaction | None = None, *, item_text: bool = True) -> None:
        self._redact = redact or Redaction()
        self._item_text = item_text
        self._values: list[object] = []
        """Of the items in `_items`."""
        self._kept: dict[int, bytes] = {}
        self._unpacked: dict[int, list[object]] = {}
        self.finished: list[OpenedChunk] = []
        """Chunks whose last item was added."""
        self._touched: dict[int, OpenedChunk] = {}
        self._items: list[tuple[object, ...]] = []
        self._errors: list[tuple[object, ...]] = []
        self._groups: Counter[tuple[str, str]] = Counter()
        self._final_groups: Counter[tuple[str, str]] = Counter()
        self._ended: defaultdict[int, list[int]] = defaultdict(list)
        self._cancelled: Counter[int] = Counter()
        self._failed: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._retried: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._ok = self._passing = self._lasting = 0
        self._failing_since = math.inf

    def add(self, outcome: Outcome) -> None:
        """Count an outcome; its ending must be settled."""
        chunk = outcome.task.chunk
        self._touched[chunk.number] = chunk
        chunk.busy_seconds += outcome.seconds
        if outcome.failure is not None:
            self._add_error(outcome, outcome.failure)
            if outcome.task.is_first:
                self._passing += outcome.failure.transient
                self._lasting += not outcome.failure.transient
                self._failing_since = min(self._failing_since, _began(outcome))
        if outcome.ending is Ending.RETRY:
            chunk.retries += 1
            self._retried[chunk.number][outcome.task.position] = outcome.task.attempt
        else:
            self._end_item(chunk, outcome)

    def _add_error(self, outcome: Outcome, failure: Failure) -> None:
        message = self._redact(failure.message)[:MESSAGE_LENGTH]
        folded = shape(message)
        self._groups[failure.type, folded] += 1
        if outcome.ending is not Ending.RETRY:
            self._final_groups[failure.type, folded] += 1
        self._errors.append(
            (
                outcome.task.position,
                outcome.task.chunk.number,
                outcome.task.attempt,
                failure.type,
                message,
                self._redact(failure.traceback),
                int(outcome.finished_at * 1e6),
                outcome.ending is not Ending.RETRY,
                folded,
                storable(item_text(outcome.task.value, self._redact)),
            )
        )

    def _end_item(self, chunk: OpenedChunk, outcome: Outcome) -> None:
        task, ending = outcome.task, outcome.ending
        rows, attempts = 0, task.attempt
        if ending is Ending.OK:
            rows = 0 if outcome.rows is None else outcome.rows.count
            self._ok += 1
            chunk.done += 1
            chunk.rows += rows
        elif ending is Ending.CANCELLED:
            attempts -= 1  # the one it waited for was not made
            chunk.cancelled_items += 1
            self._cancelled[chunk.number] += 1
        else:
            chunk.failed += 1
        finished_at = int(outcome.finished_at * 1e6)
        json = None
        if ending is not Ending.OK:
            value = self._original(task)
            json = None if isinstance(value, Refused) else json_value(value, self._redact)
            if (packed := packed_value(value)) is not None:
                self._kept[task.position] = packed
        self._values.append(task.value)
        self._items.append(
            (task.position, chunk.number, task.key, ending.value, attempts, rows, outcome.seconds, finished_at, json)
        )
        self._ended[chunk.number].append(task.position)
        if ending is not Ending.OK:
            self._failed[chunk.number][task.position] = attempts
        chunk.unended -= 1
        if not chunk.unended:
            self.finished.append(chunk)

    def _original(self, task: Task) -> object:
        """The value of an item as it was sent: the function may have changed the one that it was called with."""
        if type(task.value) in (str, int, float, bytes, bool, type(None)):
            return task.value
        chunk = task.chunk
        if chunk.number not in self._unpacked:
            self._unpacked[chunk.number] = unpack(chunk.values)
        return self._unpacked[chunk.number][task.index]

    @property
    def trials(self) -> Trials:
        """How the items fared."""
        return Trials(self._ok, self._passing, self._lasting)

    def flush(self, worker: int, tables: tuple[bytes, ...], rows: int, nbytes: int) -> ResultBatch:
        """The flush of `worker` with these streams of result rows."""
        return ResultBatch(
            worker=worker,
            tables=tables,
            items=self._item_rows(),
            errors=_stream(ERRORS, self._errors) if self._errors else b"",
            ended=dict(self._ended),
            failed=dict(self._failed),
            retried=dict(self._retried),
            counts={chunk.number: chunk.counts() for chunk in self._touched.values()},
            error_groups=dict(self._groups),
            rows=rows,
            nbytes=nbytes,
            trials=self.trials,
            failing_since=self._failing_since,
            final_groups=dict(self._final_groups),
            cancelled=dict(self._cancelled),
            values=self._kept,
        )

    def _item_rows(self) -> bytes:
        *columns, json = list(zip(*self._items, strict=True)) or [()] * (len(ITEMS) - 1)
        texts = text_column(self._values, self._redact) if self._item_text else pa.nulls(len(self._values), pa.string())
        arrays = [pa.array(column, field.type) for column, field in zip(columns, ITEMS, strict=False)]
        return serialize(pa.Table.from_arrays([*arrays, texts, pa.array(json, pa.string())], schema=ITEMS))


def _began(outcome: Outcome) -> float:
    """When the attempt began, by `time.monotonic()`; good to the seconds that the wall clock is set meanwhile."""
    return time.monotonic() - (time.time() - outcome.finished_at) - outcome.seconds


def _stream(schema: pa.Schema, rows: list[tuple[object, ...]]) -> bytes:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return serialize(pa.Table.from_arrays(arrays, schema=schema))
