"""The writing thread: collects records and commits them about twice a second.

Concurrent writers of a DuckDB file conflict as soon as one of them changes a table's columns, and each commit waits for
the disk. So a single thread writes everything, and many batches share a commit.

When a flush (one transaction) fails, none of its records is lost. If the disk, the memory or the database has caused
the failure, the thread reports the error and waits for `retry_failed_flush`. If the data may have caused it, the
batches are written one by one, and a batch that fails again is halved until the bad items are found. An item whose rows
cannot be stored is recorded as failed, so it never blocks the run.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import duckdb

from tui_runner.errors import DiskFull, RowError
from tui_runner.store.connection import describe
from tui_runner.store.database import Database
from tui_runner.store.ingest.frontier import FrontierRules
from tui_runner.store.ingest.transaction import (
    Entry,
    HostRecords,
    StateRecord,
    Writer,
    halves,
    is_at_fault,
    rejected,
    without,
)
from tui_runner.store.records import TOO_MANY_COLUMNS, Batch, ChunkRecord, HostRecord, SampleRecord
from tui_runner.text.redaction import redact

MAX_ROWS = 61_440
"""Largest number of rows in a transaction: half a row group of DuckDB. With whole row groups, writing took a fifth
longer."""
_SPARE_BYTES = 64 << 20
"""Bytes that must still be free on the disk after a flush. If the disk becomes full in a checkpoint, DuckDB's instance
ends."""
_MAX_SPLITS = 128
"""Batches of one flush that are halved at most to find bad items. This is enough for about a dozen bad items and takes
about a second. After that, all items of a failing batch are recorded as failed."""
_PART = object()
"""Ticket of every part of a halved batch except the last, which has the ticket of the batch."""


_TRIM_SECONDS = 2.0
"""Seconds between two calls of `trim_cache`. At 1 M rows/s, DuckDB's cache grows by about 20 MB in that time."""


class Ingest:
    """The writer of the results of one run. All methods are thread-safe.

    The three callbacks are called in the writing thread and must be quick.

    Args:
        database: the open database.
        run_id: number of the run, which was begun with `Ledger.begin_run` or `reopen_run`.
        table: name of its results table.
        on_written: called with the tickets of committed batches. The list is empty after a commit without batches: of
            rows of chunks alone, or of a retry after a failed flush.
        on_error: called with the error of a failed flush. When its cause is removed, call `retry_failed_flush`.
        on_rejected: called with a batch of items whose rows could not be stored, and the error, before `on_written` is
            called with the ticket of the batch.
        interval: seconds for which a batch waits for others.
        max_rows: number of waiting rows that are written without waiting for the interval.
        redact: replaces secrets in the error message for a refused row.
        frontier: limits for the items that items add; None for no limits.
        keeps_versions: True if the rows are pages whose versions must be recorded.
    """

    def __init__(
        self,
        database: Database,
        run_id: int,
        table: str,
        *,
        on_written: Callable[[list[object]], None],
        on_error: Callable[[BaseException], None],
        on_rejected: Callable[[Batch, BaseException], None] = lambda batch, error: None,
        interval: float = 0.5,  # a commit waits for the disk; rows should be queryable within 1.5 s
        max_rows: int = MAX_ROWS,
        redact: Callable[[str], str] = redact,
        frontier: FrontierRules | None = None,
        keeps_versions: bool = False,
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._table = table
        self._on_written = on_written
        self._on_error = on_error
        self._on_rejected = on_rejected
        self._interval = interval
        self._max_rows = max_rows
        self._redact = redact
        self._frontier = frontier
        self._keeps_versions = keeps_versions
        # a daemon thread, because `close` stops waiting for it after a timeout
        self._thread = threading.Thread(target=self._run, name="tui-runner-ingest", daemon=True)
        self._changed = threading.Condition()
        # Protected by `_changed`: the waiting records, the number of their rows, the time since which they wait, and
        # requests to the thread.
        self._pending: deque[Entry] = deque()
        self._pending_rows = 0
        self._pending_since = 0.0
        self._retry = False
        self._closing = False
        self._abandoned = False
        self._trim_due = time.monotonic()
        # Used by the writing thread only: the records of the current flush.
        self._flight: deque[Entry] = deque()
        self._failing = False
        self._refused: dict[int, tuple[int, int]] = {}  # by chunk: number of refused items, and of their rows
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._writer: Writer | None = None

    def start(self) -> None:
        """Create the results table if it does not exist, and start the thread.

        Raises:
            DatabaseError: a view or another program's table has the name of the results table.
        """
        self._cursor = self._database.cursor()
        self._writer = Writer(self._cursor, self._run_id, self._table, self._frontier, self._keeps_versions)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Queue a batch to be written. Do not wait."""
        self._add(batch, batch.rows + batch.items.num_rows)

    def record_chunk(self, record: ChunkRecord) -> None:
        """Queue the row of a chunk. It replaces an earlier row of the same chunk."""
        self._add(record, 1)

    def record_sample(self, record: SampleRecord) -> None:
        """Queue a sample of the run's counters."""
        self._add(record, 1)

    def record_hosts(self, records: tuple[HostRecord, ...]) -> None:
        """Queue the rows of hosts. They replace earlier rows of the same hosts."""
        if records:
            self._add(HostRecords(records), 1)

    def replace_below(self, position: int) -> None:
        """Make items below `position`, which run again, replace their earlier rows."""
        assert self._writer is not None  # noqa: S101 - `start` has created it
        self._writer.replace_below(position)

    def record_state(
        self,
        state: str,
        *,
        items_total: int | None,
        ended_at: datetime | None,
        active_seconds: float | None = None,
        wall_seconds: float | None = None,
        at_once: bool = True,
    ) -> None:
        """Queue the run's state.

        If `items_total`, `active_seconds` or `wall_seconds` is None, the recorded value stays unchanged.

        The state is written without waiting for the interval: a run that is killed just after it was paused must be
        recorded as paused. With `at_once=False`, the state waits like other records.
        """
        self._add(StateRecord(state, items_total, ended_at, active_seconds, wall_seconds), 1, at_once=at_once)

    def retry_failed_flush(self) -> None:
        """Try again to write the failed flush. Do nothing if none has failed."""
        with self._changed:
            self._retry = True
            self._changed.notify_all()

    def finish(self) -> None:
        """Make the thread commit all queued records and then end. Do not wait. A failed flush still waits."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        """Wait after `finish` for the end of the thread, at most `timeout` seconds. Return True if it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self, timeout: float | None = None) -> bool:
        """Commit everything that is queued and end the thread.

        A flush that has failed before is tried once more. A flush that fails from now on is not.

        Args:
            timeout: seconds to wait; None for no limit.

        Returns:
            True if everything is committed. Items that are not committed run again when the run is resumed.
        """
        with self._changed:
            self._closing = self._abandoned = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive() and not self._flight and not self._pending

    def _add(self, entry: Entry, rows: int, *, at_once: bool = False) -> None:
        with self._changed:
            if not self._pending:
                self._pending_since = time.monotonic()
            if at_once:
                self._pending_since = time.monotonic() - self._interval
            self._pending.append(entry)
            self._pending_rows += rows
            self._changed.notify_all()

    def _run(self) -> None:
        """Take and write records until the end. The main function of the thread."""
        try:
            while self._take():
                while not self._flushed():
                    if not self._retry_requested():
                        return
        finally:
            if self._cursor is not None:
                self._database.close_cursor(self._cursor)

    def _take(self) -> bool:
        """Wait until there are enough records, or the first of them has waited for the interval.

        Return False if there are no more records.
        """
        with self._changed:
            while not self._closing and self._pending_rows < self._max_rows:
                if not self._pending:
                    self._changed.wait()
                    continue
                wait = self._pending_since + self._interval - time.monotonic()
                if wait <= 0:
                    break
                self._changed.wait(wait)
            rows = 0
            while self._pending and rows < self._max_rows:
                entry = self._pending.popleft()
                rows += entry.rows + entry.items.num_rows if isinstance(entry, Batch) else 1
                self._flight.append(entry)
            self._pending_rows -= rows
            self._retry = False
            return bool(self._flight)

    def _retry_requested(self) -> bool:
        """Wait for `retry_failed_flush` or `close`. Return True to try again. After `close`, return True only once."""
        with self._changed:
            last = self._abandoned
            while not self._retry and not self._abandoned:
                self._changed.wait()
            tried_again, self._retry = self._retry or not last, False
            return tried_again

    def _flushed(self) -> bool:
        """Write the current flush. If that fails, report the error and return False."""
        try:
            try:
                self._refuse_too_wide()
                self._write(list(self._flight))
                self._acknowledge(list(self._flight))
            except BaseException as error:  # one bad value makes the whole transaction fail, so find its item
                if not is_at_fault(error) or not any(isinstance(entry, Batch) for entry in self._flight):
                    raise
                self._write_apart()
        except duckdb.Error as error:
            described = describe(error, self._database.path)
            described.__cause__ = error
            self._failed(described)
        # the run must learn about any error, because it would wait for this flush forever
        except BaseException as error:
            self._failed(error)
        return not self._flight

    def _failed(self, error: BaseException) -> None:
        self._failing = True
        self._on_error(error)

    def _refuse_too_wide(self) -> None:
        """Record items as failed if they have too many columns for the results table. Do not affect other items."""
        assert self._writer is not None  # noqa: S101 - `start` has created it
        beyond = self._writer.too_wide(entry for entry in self._flight if isinstance(entry, Batch))
        if not beyond:
            return
        error = RowError(TOO_MANY_COLUMNS)
        for index, entry in enumerate(self._flight):
            parts = without(entry, beyond, error, self._redact) if isinstance(entry, Batch) else None
            if parts is not None:
                self._flight[index], refused = parts
                self._count_refused(refused)
                self._on_rejected(refused, error)

    def _write_apart(self) -> None:
        """Write the current flush one record at a time. Halve batches that fail, and record bad items as failed."""
        splits = 0
        given_up: object = None
        while self._flight:
            entry = self._flight[0]
            try:
                self._write([entry])
            except BaseException as error:  # an item may be recorded as failed only if it has caused the error
                if not isinstance(entry, Batch) or not is_at_fault(error) or entry is given_up:
                    raise
                self._flight.popleft()
                if entry.items.num_rows > 1 and splits < _MAX_SPLITS:
                    splits += 1
                    self._flight.extendleft(reversed(halves(entry, _PART)))  # `extendleft` reverses the order
                else:
                    given_up = rejected(entry, error, self._redact)
                    self._flight.appendleft(given_up)
                    self._count_refused(entry)
                    self._on_rejected(entry, error)
            else:
                self._acknowledge([entry])

    def _write(self, entries: list[Entry]) -> None:
        assert self._writer is not None and self._cursor is not None  # noqa: S101 - `start` has created it
        self._database.check_in_place()
        self._check_disk(entries)
        self._database.restore_thread_priority(self._cursor)
        stored = [self._as_stored(entry) for entry in entries]
        with self._database.writing:
            self._writer.write(stored)

    def _count_refused(self, batch: Batch) -> None:
        for item in batch.items.to_pylist():
            if item["state"] == "ok":
                items, rows = self._refused.get(item["chunk"], (0, 0))
                self._refused[item["chunk"]] = items + 1, rows + item["rows"]

    def _as_stored(self, entry: Entry) -> Entry:
        """Return the record of a chunk, corrected by items that were refused after the record was created."""
        if not isinstance(entry, ChunkRecord) or entry.chunk not in self._refused:
            return entry
        items, rows = self._refused[entry.chunk]
        state = "failed" if entry.state == "done" else entry.state
        done, failed = entry.done - items, entry.failed + items
        return replace(entry, state=state, done=done, failed=failed, rows=entry.rows - rows)

    def _acknowledge(self, entries: list[Entry]) -> None:
        """Remove committed records, then report their tickets."""
        for _ in entries:
            self._flight.popleft()
        tickets = [entry.ticket for entry in entries if isinstance(entry, Batch) and entry.ticket is not _PART]
        if tickets or self._failing or any(isinstance(entry, ChunkRecord) for entry in entries):
            self._failing = False
            self._on_written(tickets)
        if time.monotonic() >= self._trim_due:
            self._database.trim_cache()
            self._trim_due = time.monotonic() + _TRIM_SECONDS

    def _check_disk(self, entries: list[Entry]) -> None:
        """Raise `DiskFull` if the disk has too little space for these records."""
        batches = [entry for entry in entries if isinstance(entry, Batch)]
        # Twice the size, because rows are first written to the log and later to the file.
        needed = 2 * sum(table.nbytes for batch in batches for table in batch.tables) + _SPARE_BYTES
        free = self._database.free_bytes()
        if free < needed:
            raise DiskFull(
                f"the disk is full: {free // 1_000_000} MB are free, {needed // 1_000_000} MB are needed",
                str(self._database.path),
                "make room on it, then resume the run",
            )
