"""Collects what has ended into batches, counts it, and reports it to the tui-runner process.

A batch is sent when it is due (`INTERVAL`), when it is full, or when the worker has become idle. Except for the last
one, never within `_SHORTEST` of the previous batch. The counters of a `ResultBatch` count exactly the items that were
sent so far, so when a worker is lost the program's counters are exactly what it has received.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from tui_runner.engine.metrics import bucket
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
    Trials,
    ranges_of,
    unpack,
)
from tui_runner.engine.worker.attempt import Ending, Outcome, Outcomes, host_down
from tui_runner.engine.worker.concurrency import RAMP_SECONDS, ThreadTuner
from tui_runner.engine.worker.item_columns import json_value, packed_value, text_column
from tui_runner.engine.worker.job_output import JobLog
from tui_runner.engine.worker.memory_limit import resident_bytes
from tui_runner.engine.worker.slot import Ended, OpenedChunk, Slot
from tui_runner.engine.worker.standstill import Standstill
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.engine.worker.thread_pool import Pool
from tui_runner.inputs.keys import plain_key
from tui_runner.jobs.http.host_gate import HostState
from tui_runner.store.arrow_batches import serialize
from tui_runner.store.records import ADDED, ERRORS, ITEMS
from tui_runner.store.rows.collect import Built, build
from tui_runner.system.clock import time
from tui_runner.system.process import available_processors
from tui_runner.text.describe import MESSAGE_LENGTH, TYPE_LENGTH, Failure, item_text, shape, storable
from tui_runner.text.items import Refused
from tui_runner.text.numbers import short_plural
from tui_runner.text.redaction import Redaction

INTERVAL = 0.2
"""Seconds between reports. Rows should be queryable 1.5 s after their function returned; this makes it 0.8 s."""
_SHORTEST = 0.02
"""Shortest time between two batches in seconds, unless one is full: a message costs both processes a millisecond."""
_PROGRESS_SECONDS = 0.1
"""Shortest time between two `Progress` in seconds, unless the worker has just become idle; screens draw less often."""
_HEARTBEAT = 2.0
"""Seconds between reports of an idle worker. `Liveness` (scheduling/workers.py) and `guards/stillness.py`, which allows
two missed ones, depend on it."""
_OLDEST = 20
"""Items in flight in a report of progress: more than a screen lists."""
_WAITS_SECONDS = 0.5
"""Seconds between two reports of what chunks wait for, because that examines every item that waits for its host."""
_HOSTS_A_MESSAGE = 500
"""Hosts in one message: a report of thousands would delay the batches behind it."""
_EXAMPLE_LENGTH = 300
"""Characters of the example message of a group of equal errors: some lines on a screen."""


def _raised(error: BaseException) -> None:
    raise error


class Reporter:
    """Collects the outcomes of one worker and reports them, in its own thread.

    Args:
        worker: number of the worker.
        queue: the queue, which is asked for in-flight items and given retries.
        outcomes: what the pool has ended.
        pool: the pool, which is asked for stuck attempts.
        log: what the job has printed.
        send: sends a report; may block.
        redact: removes secrets from errors and items.
        item_text: True if the ledger gets a short text of every item.
        on_broken: called when it can no longer report.
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
        self._standstill = Standstill(queue.extend_deadlines)
        self._latencies: Counter[int] = Counter()
        self._idle = False
        self._host_items: dict[str, int] = {}
        self._reported_at = 0.0
        self._waits: dict[int, ChunkWait] = {}
        self._waits_due = 0.0
        self._ending = threading.Event()
        """Set by `finish`; ends the thread after everything was sent."""
        # daemon: a worker that must end at once does not wait for it
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Start reporting."""
        self._queue.set_useful(self._tuner.useful)
        self._standstill.start()
        self._thread.start()

    def finish(self) -> None:
        """Send everything that is left, then end the thread."""
        self._standstill.end()
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
            self._outcomes.wake.clear()  # before collecting: what ends meanwhile sets it again and is not missed
            self._queue.release_due()
            self._standstill.check()
            self._pool.end_overdue()
            if self.collect():
                last = time.monotonic()
            self._tune()
        while self.collect():  # a batch is limited, and everything must be sent before the end
            pass

    def collect(self) -> bool:
        """Report one batch of what has ended, and the log and progress. Return True if the batch was not empty."""
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
        """Send what the job has printed and logged."""
        lines, dropped = self._log.take_all()
        if lines or dropped:
            self._send(LogLines(self._worker, lines, dropped))

    def _report_progress(self, busy: bool) -> None:
        """Send a `Progress`, unless one was just sent or the worker is still idle."""
        running = sorted(self._queue.in_flight(), key=lambda found: found[2].started)  # the oldest are sent
        now = time.monotonic()
        idle = not busy and not running
        since = now - self._reported_at
        if since < _PROGRESS_SECONDS and not (idle and not self._idle):
            return
        if idle and self._idle and since < _HEARTBEAT:
            return
        self._idle, self._reported_at = idle, now
        if idle or now >= self._waits_due:
            self._waits, self._waits_due = self._queue.waits(), now + _WAITS_SECONDS
        latencies, self._latencies = self._latencies, Counter()
        self._send(
            Progress(
                self._worker,
                Counter(chunk.number for chunk, _, _ in running),
                tuple(self._in_flight(*found, now) for found in running[:_OLDEST]),
                self._queue.consumers,
                latencies,
                self._outcomes.unwritten,
                self._queue.throttled,
                self._pool.stuck(),
                self._queue.has_waiting,
                resident_bytes(),
                Counter(chunk.number for chunk, _, slot in running if slot.held_by),
                self._waits,
            )
        )

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
        tables, rows, nbytes, unstorable = _build(ended)
        others += unstorable
        builder = BatchBuilder(self._queue.key, self._redact, item_text=self._item_text)
        for chunk, items in ended:
            builder.add_ended(chunk, items)
        for outcome in others:
            if self._postpone(outcome, builder):
                continue
            # The next attempt may start only now: this failure must be counted before its outcome.
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
        self._latencies.update(builder.latencies())
        self._tuner.count(builder.executed)
        self._queue.count_ended(builder.trials.ok, builder.trials.failed)
        return builder.batch(self._worker, tables, rows, nbytes), builder.finished

    def _postpone(self, outcome: Outcome, builder: BatchBuilder) -> bool:
        """Put an item back to wait for its host, without counting the attempt. Return True if that was done."""
        if outcome.postponed_seconds is None:
            return False
        chunk, index = outcome.chunk, outcome.index
        builder.restore(chunk, index)
        return self._queue.postpone_item(chunk, index, outcome.host, outcome.postponed_seconds)


def _host_report(state: HostState, items: int) -> HostReport:
    """Return the report on a host; `items` wait for it in lines."""
    counts = state.counts
    return HostReport(
        host=state.host,
        open=state.open,
        waiting=state.waiting + items,
        slots=state.slots,
        serial=state.serial,
        delay=state.delay,
        cooldown=state.cooldown,
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
        latencies=Counter(map(bucket, counts.latencies)),
    )


def _build(
    ended: list[tuple[OpenedChunk, list[Ended]]],
) -> tuple[tuple[pa.Buffer, ...], int, int, list[Outcome]]:
    """Return Arrow streams of the rows, the number of rows, the bytes counted for them, and failed outcomes.

    Items whose rows cannot be stored are removed from `ended` and returned as outcomes.
    """
    results = [(chunk.positions[index], rows) for chunk, items in ended for index, _, _, rows in items]
    nbytes = sum([rows.nbytes for _, rows in results])
    built = build(results)
    return tuple(map(serialize, built.tables)), built.rows, nbytes, _unstorable(ended, built)


def _unstorable(ended: list[tuple[OpenedChunk, list[Ended]]], built: Built) -> list[Outcome]:
    """Remove the items that failed in `built` from `ended`, and return them as failed outcomes."""
    if not built.failed:
        return []
    found = []
    number = 0
    for part, (chunk, items) in enumerate(ended):
        kept = []
        for item in items:
            message = built.failed.get(number)
            number += 1
            if message is None:
                kept.append(item)
                continue
            index, started, now, _ = item
            made = chunk.made.get(index, 0)
            failure = Failure("RowError", message)
            first = not chunk.tries.get(index, 0)
            found.append(Outcome(chunk, index, made + 1, first, Ending.FAILED, started, now, failure))
        ended[part] = (chunk, kept)
    return found


class BatchBuilder:
    """Builds one `ResultBatch`: ledger rows by column, counters by chunk.

    Args:
        key: returns the key of an item from its value and position.
        redact: removes secrets from errors and items. Everything that leaves a worker passes it, except log lines,
            which `JobLog` redacts.
        item_text: True if the ledger gets a short text of every item.
    """

    def __init__(
        self, key: Callable[[object, int], str], redact: Redaction | None = None, *, item_text: bool = True
    ) -> None:
        self._key = key
        self._redact = redact or Redaction()
        self._item_text = item_text
        self._unpacked: dict[int, list[object]] = {}
        self.finished: list[OpenedChunk] = []
        """Chunks whose last item is in this batch."""
        self.executed = 0
        """Number of items with a final outcome in this batch."""
        self._now = time.monotonic()
        self._wall = time.time() - self._now
        self._begun: dict[int, float] = {}
        self._touched: dict[int, OpenedChunk] = {}
        self._columns: dict[str, list[Any]] = {name: [] for name in ITEMS.names}
        self._seconds: list[float] = []
        self._errors: list[tuple[object, ...]] = []
        self._groups: Counter[tuple[str, str]] = Counter()
        self._final_groups: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        self._ended: defaultdict[int, list[int]] = defaultdict(list)
        self._others: defaultdict[int, list[tuple[object, ...]]] = defaultdict(list)
        self._values: dict[int, bytes] = {}
        self._cancelled: Counter[int] = Counter()
        self._failed: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._out_of_attempts: defaultdict[int, list[int]] = defaultdict(list)
        self._retried: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._ok = self._transient = self._permanent = 0
        self._failing_since = math.inf
        self._by_host: dict[str, Trials] = {}
        self._added: list[tuple[object, ...]] = []
        self.left_out = 0
        """Number of added items that were dropped because they contain a secret."""

    def add_ended(self, chunk: OpenedChunk, items: list[Ended]) -> None:
        """Add items of a chunk that ended well."""
        if not items:
            return
        indexes = [index for index, _, _, _ in items]
        seconds = [ended - started for _, started, ended, _ in items]
        counts = [rows.count for _, _, _, rows in items]
        wall = self._wall
        finished_at = [int((ended + wall) * 1e6) for _, _, ended, _ in items]
        made = chunk.made
        attempts = [made.get(index, 0) + 1 for index in indexes] if made else None
        self._add_items(chunk, indexes, Ending.OK, attempts, counts, seconds, finished_at)
        self._touched[chunk.number] = chunk
        if not chunk.reported:
            self._begin(chunk, min(started for _, started, _, _ in items))
        for index, _, _, rows in items:
            if rows.added:
                self._add_new(chunk.positions[index], rows.added)
        self._seconds += seconds
        self._ok += len(items)
        chunk.done += len(items)
        chunk.rows += sum(counts)
        chunk.busy_seconds += sum(seconds)
        self._end_items(chunk, indexes)

    def add(self, outcome: Outcome) -> None:
        """Add an attempt that did not end well. Its `ending` must be final: RETRY if the queue took the retry."""
        chunk, index = outcome.chunk, outcome.index
        self._touched[chunk.number] = chunk
        if not chunk.reported:
            self._begin(chunk, outcome.started)
        seconds = outcome.ended - outcome.started
        chunk.busy_seconds += seconds
        position = chunk.positions[index]
        if outcome.failure is not None:
            self._seconds.append(seconds)
            self._add_error(outcome, outcome.failure)
            if outcome.is_first:
                self._transient += outcome.failure.transient
                self._permanent += not outcome.failure.transient
                self._failing_since = min(self._failing_since, outcome.started)
                if outcome.host:
                    known = self._by_host.get(outcome.host, Trials())
                    transient = outcome.failure.transient
                    self._by_host[outcome.host] = known + Trials(0, int(transient), int(not transient))
        if outcome.ending is Ending.RETRY:
            chunk.retries += 1
            self._retried[chunk.number][position] = outcome.attempt
            return
        if outcome.ending is Ending.CANCELLED:
            chunk.cancelled_items += 1
            self._cancelled[chunk.number] += 1
        else:
            chunk.failed += 1
            if outcome.failure is not None and outcome.failure.transient:
                self._out_of_attempts[chunk.number].append(position)
        self._failed[chunk.number][position] = outcome.attempt
        value = self._original(chunk, index)
        json = None if isinstance(value, Refused) else json_value(value, self._redact)
        if (packed := packed_value(value)) is not None:
            self._values[position] = packed
        finished_at = int((outcome.ended + self._wall) * 1e6)
        self._add_items(chunk, [index], outcome.ending, [outcome.attempt], [0], [seconds], [finished_at], json)
        self._end_items(chunk, [index])

    def _begin(self, chunk: OpenedChunk, started: float) -> None:
        """Record when the earliest attempt of a chunk in this batch began."""
        self._begun[chunk.number] = min(self._begun.get(chunk.number, started), started)

    def _add_items(
        self,
        chunk: OpenedChunk,
        indexes: list[int],
        ending: Ending,
        attempts: list[int] | None,
        rows: list[int],
        seconds: list[float],
        finished_at: list[int],
        value: str | None = None,
    ) -> None:
        """Append ledger rows of items of one chunk with the same ending. `attempts` None means one attempt each."""
        size = len(indexes)
        columns = self._columns
        positions = [chunk.positions[index] for index in indexes]
        columns["item"] += positions
        columns["chunk"] += [chunk.number] * size
        if chunk.keys is None:
            key, values = self._key, chunk.values
            columns["key"] += [key(values[index], place) for index, place in zip(indexes, positions, strict=True)]
        else:
            columns["key"] += [chunk.keys[index] for index in indexes]
        columns["state"] += [ending.value] * size
        columns["attempts"] += [1] * size if attempts is None else attempts
        columns["rows"] += rows
        columns["seconds"] += seconds
        columns["finished_at"] += finished_at
        if self._item_text:
            texts = chunk.texts or chunk.values
            columns["text"] += [texts[index] for index in indexes]
        columns["value"] += [value] * size

    def _add_new(self, position: int, values: tuple[object, ...]) -> None:
        """Add the items that the item at `position` has added, without those that contain a secret parameter.

        The ledger would store them as they are, and a redacted item would be another item.
        """
        for value in values:
            text = json.dumps(value, ensure_ascii=False)
            try:
                text.encode()
            except UnicodeEncodeError:  # lone surrogates; as JSON escapes they can be stored
                text = json.dumps(value)
            if any(form in text for form in self._redact.forms):
                self.left_out += 1
            else:
                self._added.append((position, plain_key(value), text))

    def _end_items(self, chunk: OpenedChunk, indexes: list[int]) -> None:
        self._ended[chunk.number] += indexes
        self.executed += len(indexes)
        values = chunk.values
        for index in indexes:
            values[index] = None
        chunk.unended -= len(indexes)
        if not chunk.unended:
            self.finished.append(chunk)

    def restore(self, chunk: OpenedChunk, index: int) -> None:
        """Undo changes that an attempt has made to its item, so that the next attempt gets the original."""
        chunk.values[index] = self._original(chunk, index)

    def _original(self, chunk: OpenedChunk, index: int) -> object:
        """Return an item as it was sent. The function may have changed the object that it was called with."""
        if chunk.keys is None:
            return chunk.values[index]
        if chunk.number not in self._unpacked:
            self._unpacked[chunk.number] = unpack(chunk.packed)
        return self._unpacked[chunk.number][index]

    def _add_error(self, outcome: Outcome, failure: Failure) -> None:
        """Append the ledger row of a failed attempt, without secrets, and count it in its group."""
        message = self._redact(failure.message)[:MESSAGE_LENGTH]
        kind = self._redact(failure.type)[:TYPE_LENGTH]  # a class can be created at run time with any name
        folded = shape(message)
        self._groups[kind, folded] += 1
        self._examples[kind, folded] = message.strip().split("\n", 1)[0][:_EXAMPLE_LENGTH]
        if outcome.ending is not Ending.RETRY:
            self._final_groups[kind, folded] += 1
        chunk, index = outcome.chunk, outcome.index
        self._errors.append(
            (
                chunk.positions[index],
                chunk.number,
                outcome.attempt,
                kind,
                message,
                self._redact(failure.traceback),
                int((outcome.ended + self._wall) * 1e6),
                outcome.ending is not Ending.RETRY,
                folded,
                storable(item_text(chunk.values[index], self._redact)),
            )
        )

    @property
    def trials(self) -> Trials:
        """Return the results that the circuit breaker counts."""
        return Trials(self._ok, self._transient, self._permanent)

    def latencies(self) -> Counter[int]:
        """Return the number of attempts by `metrics.bucket` of their duration."""
        return Counter(map(bucket, self._seconds))

    def batch(self, worker: int, tables: tuple[pa.Buffer, ...], rows: int, nbytes: int) -> ResultBatch:
        """Return the batch. `tables` are Arrow streams of `rows` result rows, for which `nbytes` were counted."""
        for number in self._begun:
            self._touched[number].reported = True
        return ResultBatch(
            worker=worker,
            tables=tables,
            items=self._item_rows(),
            errors=_stream(ERRORS, self._errors) if self._errors else b"",
            ended={number: ranges_of(sorted(indexes)) for number, indexes in self._ended.items()},
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
            values=self._values,
            examples=self._examples,
            by_host=self._by_host,
            added=_stream(ADDED, self._added) if self._added else b"",
            begun={number: max(self._now - started, 0.0) for number, started in self._begun.items()},
            out_of_attempts=dict(self._out_of_attempts),
        )

    def _item_rows(self) -> pa.Buffer:
        """Return the ledger rows of the items as an Arrow stream."""
        columns = self._columns
        size = len(columns["item"])
        text = text_column(columns["text"], self._redact) if self._item_text else pa.nulls(size, pa.string())
        made: dict[str, pa.Array] = {"text": text}
        if self._ok == size:  # nearly always; skips two columns of constants, which would be lists of equal values
            made["state"] = pa.repeat(pa.scalar(Ending.OK.value, pa.string()), size)
            made["value"] = pa.nulls(size, pa.string())
        arrays = [
            made[field.name] if field.name in made else pa.array(columns[field.name], field.type) for field in ITEMS
        ]
        return serialize(pa.Table.from_arrays(arrays, schema=ITEMS))


def _stream(schema: pa.Schema, rows: Sequence[tuple[object, ...]]) -> pa.Buffer:
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return serialize(pa.Table.from_arrays(arrays, schema=schema))
