"""Builds one batch of ended attempts of a worker: result rows and ledger rows as Arrow streams, counters by chunk."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from tui_runner.engine.metrics import Durations
from tui_runner.engine.packed_items import unpack
from tui_runner.engine.protocol import ResultBatch, Trials, ranges_of
from tui_runner.engine.worker.attempt import Ending, Outcome
from tui_runner.engine.worker.item_columns import json_value, packed_value, text_column
from tui_runner.engine.worker.opened_chunk import Ended, OpenedChunk
from tui_runner.inputs.keys import plain_key
from tui_runner.store.arrow_batches import serialize
from tui_runner.store.records import ADDED, ERRORS, ITEMS
from tui_runner.store.rows.collect import Built, build
from tui_runner.system.clock import time
from tui_runner.text.describe import MESSAGE_LENGTH, TYPE_LENGTH, Failure, first_line, item_text, shape, storable
from tui_runner.text.items import Refused
from tui_runner.text.paths import cut_text
from tui_runner.text.redaction import Redaction

_EXAMPLE_LENGTH = 300
"""Characters of the example message of a group of equal errors. They fill some lines on a screen."""


def build_tables(
    ended: list[tuple[OpenedChunk, list[Ended]]],
) -> tuple[tuple[pa.Buffer, ...], int, int, list[Outcome]]:
    """Return the Arrow streams of all result rows, the number of rows, their counted bytes, and failed outcomes.

    Items whose rows cannot be stored are removed from `ended` and returned as failed outcomes.
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
        stored = []
        for item in items:
            message = built.failed.get(number)
            number += 1
            if message is None:
                stored.append(item)
                continue
            index, started, now, _ = item
            made = chunk.made.get(index, 0)
            failure = Failure("RowError", message)
            first = not chunk.tries.get(index, 0)
            found.append(Outcome(chunk, index, made + 1, first, Ending.FAILED, started, now, failure))
        ended[part] = (chunk, stored)
    return found


class BatchBuilder:
    """A `ResultBatch` that is being built: ledger rows by column, counters by chunk.

    Args:
        key: returns the key of an item from its value and position.
        redact: removes secrets from errors and from the ledger's text of an item. Result rows are stored as the job
            returns them, and `JobLog` redacts log lines.
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
        """Add successful items of a chunk."""
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
        """Add an attempt that failed, timed out or was cancelled.

        Its `ending` must be final: it is RETRY only if the queue has accepted the retry.
        """
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
        """Record the start of a chunk's earliest attempt in this batch."""
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
        """Append ledger rows of items of one chunk with the same ending.

        If `attempts` is None, one attempt was made at each item.
        """
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
        """Add the items that the item at `position` has added. Leave out items that contain a secret parameter.

        The ledger would store the secret, and a redacted item would be a different item.
        """
        for value in values:
            text = json.dumps(value, ensure_ascii=False)
            try:
                text.encode()
            except UnicodeEncodeError:  # lone surrogates can be stored only as JSON escapes
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
        # A class that is created at run time can have any name, even one with a secret.
        kind = self._redact(failure.type)[:TYPE_LENGTH]
        folded = shape(message)
        self._groups[kind, folded] += 1
        is_final = outcome.ending is not Ending.RETRY
        if is_final or not self._final_groups[kind, folded]:
            self._examples[kind, folded] = cut_text(first_line(message), _EXAMPLE_LENGTH)
        self._final_groups[kind, folded] += is_final
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
                is_final,
                folded,
                storable(item_text(chunk.values[index], self._redact)),
            )
        )

    @property
    def trials(self) -> Trials:
        """The results that the circuit breaker counts."""
        return Trials(self._ok, self._transient, self._permanent)

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
            final_groups=dict(+self._final_groups),
            cancelled=dict(self._cancelled),
            values=self._values,
            examples=self._examples,
            by_host=self._by_host,
            added=_stream(ADDED, self._added) if self._added else b"",
            begun={number: max(self._now - started, 0.0) for number, started in self._begun.items()},
            out_of_attempts=dict(self._out_of_attempts),
            latencies=Durations.of(self._seconds),
        )

    def _item_rows(self) -> pa.Buffer:
        """Return the ledger rows of the items as an Arrow stream."""
        columns = self._columns
        size = len(columns["item"])
        text = text_column(columns["text"], self._redact) if self._item_text else pa.nulls(size, pa.string())
        made: dict[str, pa.Array] = {"text": text}
        if self._ok == size:  # nearly always true, so building two columns from lists of equal values is avoided
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
