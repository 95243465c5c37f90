"""Counts outcomes into their chunks and gathers their ledger rows: the part of a flush that is not results."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable

import pyarrow as pa

from tui_runner.engine.outage import Trials
from tui_runner.engine.outcome import Ending, Outcome
from tui_runner.engine.protocol import Flush
from tui_runner.engine.work import OpenedChunk
from tui_runner.store.arrow_batches import serialize
from tui_runner.store.records import ERRORS, ITEMS
from tui_runner.text.describe import MESSAGE_LENGTH, Failure, item_text, shape, storable
from tui_runner.text.redaction import redact


class Tally:
    """The outcomes of one flush. `add` each once, then make the flush.

    Args:
        redact: takes secrets out of errors and of items: what leaves a worker goes through here, but for log lines.
    """

    def __init__(self, redact: Callable[[str], str] = redact) -> None:
        self._redact = redact
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
        self._items.append(
            (task.position, chunk.number, task.key, ending.value, attempts, rows, outcome.seconds, finished_at)
        )
        self._ended[chunk.number].append(task.position)
        if ending is not Ending.OK:
            self._failed[chunk.number][task.position] = attempts
        chunk.unended -= 1
        if not chunk.unended:
            self.finished.append(chunk)

    @property
    def trials(self) -> Trials:
        """How the items fared."""
        return Trials(self._ok, self._passing, self._lasting)

    def flush(self, worker: int, tables: tuple[bytes, ...], rows: int, nbytes: int) -> Flush:
        """The flush of `worker` with these streams of result rows."""
        return Flush(
            worker=worker,
            tables=tables,
            items=_stream(ITEMS, self._items),
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
        )


def _began(outcome: Outcome) -> float:
    """When the attempt began, by `time.monotonic()`; good to the seconds that the wall clock is set meanwhile."""
    return time.monotonic() - (time.time() - outcome.finished_at) - outcome.seconds


def _stream(schema: pa.Schema, rows: list[tuple[object, ...]]) -> bytes:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return serialize(pa.Table.from_arrays(arrays, schema=schema))
