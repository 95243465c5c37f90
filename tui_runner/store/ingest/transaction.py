"""Writes one transaction: result rows, the ledger rows of exactly those items, and other records.

So results are recorded exactly once: the rows of an item and the ledger row that says that it is done are committed
together or not at all, and no other code writes them.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from tui_runner.errors import DatabaseError
from tui_runner.store.ingest.chunk_rows import recount_chunks
from tui_runner.store.ingest.frontier import FrontierRules, add_items
from tui_runner.store.ingest.http_versions import record_versions
from tui_runner.store.ingest.results_table import ArrowViews, ResultsTable
from tui_runner.store.records import (
    ADDED,
    ERRORS,
    ITEM_COLUMN,
    ITEMS,
    Batch,
    ChunkRecord,
    HostRecord,
    SampleRecord,
    insert_errors_sql,
)
from tui_runner.text.describe import shape
from tui_runner.text.redaction import redact

_MOMENT = pa.timestamp("us", tz="UTC")
_CHUNKS = pa.schema(
    [
        ("chunk", pa.int64()),
        ("first_item", pa.int64()),
        ("items", pa.int64()),
        ("state", pa.string()),
        ("done", pa.int64()),
        ("failed", pa.int64()),
        ("rows", pa.int64()),
        ("retries", pa.int64()),
        ("started_at", _MOMENT),
        ("ended_at", _MOMENT),
        ("busy_seconds", pa.float64()),
        ("byte_offset", pa.int64()),
        ("host", pa.string()),
    ]
)
_HOSTS = pa.schema(
    [
        ("host", pa.string()),
        ("done", pa.int64()),
        ("failed", pa.int64()),
        ("refused", pa.int64()),
        ("seconds", pa.float64()),
        ("delay_seconds", pa.float64()),
        ("cooldown_until", _MOMENT),
        ("p50_seconds", pa.float64()),
        ("p95_seconds", pa.float64()),
        ("statuses", pa.string()),
        ("updated_at", _MOMENT),
    ]
)
_SAMPLES = pa.schema(
    [
        ("sampled_at", _MOMENT),
        ("items_done", pa.int64()),
        ("items_failed", pa.int64()),
        ("rows", pa.int64()),
        ("in_flight", pa.int64()),
        ("threads", pa.int64()),
        ("items_per_second", pa.float64()),
        ("app_rss", pa.int64()),
        ("workers_rss", pa.int64()),
        ("db_bytes", pa.int64()),
    ]
)
"""Schemas of the rows for `runner.chunks`, `runner.hosts` and `runner.samples`."""


@dataclass(frozen=True, slots=True)
class StateRecord:
    """The state of the run, and the seconds for which its processes have worked on it, without and with pauses.

    If `items_total`, `active_seconds` or `wall_seconds` is None, the recorded value stays unchanged.
    """

    state: str
    items_total: int | None
    ended_at: datetime | None
    active_seconds: float | None = None
    wall_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class HostRecords:
    """All hosts that this process has counted. These records replace the recorded rows of the same hosts."""

    hosts: tuple[HostRecord, ...]


Entry = Batch | ChunkRecord | SampleRecord | HostRecords | StateRecord
"""Any record that can be written."""


class Writer:
    """A writer of the records of one run, with one transaction per call. Only one thread, with one cursor, uses it."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        run_id: int,
        table: str,
        frontier: FrontierRules | None = None,
        keeps_versions: bool = False,
    ) -> None:
        """Prepare the results table, and read what earlier processes of the run have recorded.

        Args:
            cursor: cursor without an open transaction.
            run_id: number of the run, which the ledger already has.
            table: name of the results table.
            frontier: limits for the items that items add; None for no limits.
            keeps_versions: True if the rows are pages whose versions must be recorded (`http_versions`).

        Raises:
            DatabaseError: a view or another program's table has the name `table`.
        """
        self._cursor = cursor
        self._run_id = int(run_id)
        self._frontier = frontier or FrontierRules()
        self._keeps_versions = keeps_versions
        self._views = ArrowViews(cursor)
        self._results = ResultsTable(cursor, self._views, table)
        found = cursor.execute(
            "SELECT (SELECT coalesce(max(item), -1) FROM runner.items WHERE run_id = $run AND state <> 'ok'),"
            " (SELECT coalesce(max(chunk), -1) FROM runner.chunks WHERE run_id = $run)",
            {"run": self._run_id},
        ).fetchall()
        # Only items below this position can have a row to replace, so the others need no search for it.
        self._replaced_below = int(found[0][0]) + 1
        self._highest_chunk = self._earlier_chunks = int(found[0][1])
        self._hosts_before = {
            str(host): (int(done), int(failed), int(refused or 0), float(seconds or 0.0), json.loads(statuses or "{}"))
            for host, done, failed, refused, seconds, statuses in cursor.execute(
                "SELECT host, done, failed, refused, seconds, CAST(statuses AS VARCHAR) FROM runner.hosts"
                " WHERE run_id = ?",
                [self._run_id],
            ).fetchall()
        }
        """Counts that earlier processes of this run have recorded for each host."""

    def replace_below(self, position: int) -> None:
        """Expect rows of items below `position`, which run again: replace them. Thread-safe."""
        self._replaced_below = max(self._replaced_below, position)

    def too_wide(self, batches: Iterable[Batch]) -> set[int]:
        """Return the positions of the items in `batches` that have more columns than fit into the results table."""
        return self._results.too_wide([table for batch in batches for table in batch.tables])

    def write(self, entries: Sequence[Entry]) -> None:
        """Write all `entries` in one transaction, or nothing.

        After an error, the results table may have new columns without values (`ResultsTable.add_in_steps`).

        Raises:
            Exception: any error. The transaction is rolled back.
        """
        batches = [entry for entry in entries if isinstance(entry, Batch)]
        items = _newest(_concatenated(ITEMS, [batch.items for batch in batches]))
        chunks = {entry.chunk: entry for entry in entries if isinstance(entry, ChunkRecord)}
        tables = [table for batch in batches for table in batch.tables]
        try:
            self._results.add_in_steps(tables)
            self._cursor.execute("BEGIN TRANSACTION")
            shape = self._results.write(self._run_id, tables)
            if self._keeps_versions:
                record_versions(self._cursor, self._views, tables)
            items, left = self._replace_items(items)
            self._append("items", items)
            self._append_errors(_concatenated(ERRORS, [batch.errors for batch in batches]))
            if any(batch.added is not None for batch in batches):
                added = _concatenated(ADDED, [batch.added for batch in batches])
                add_items(self._cursor, self._views, self._run_id, added, self._frontier)
            self._replace_chunks(chunks)
            # A chunk that an earlier process has cut may have run only partly in this process, so recount it.
            left.update(n for n, chunk in chunks.items() if n <= self._earlier_chunks and chunk.ended_at is not None)
            if left:
                recount_chunks(self._cursor, self._run_id, left)
            self._append("samples", _table(_SAMPLES, [e for e in entries if isinstance(e, SampleRecord)]))
            hosts = [entry for entry in entries if isinstance(entry, HostRecords)]
            if hosts:
                self._replace_hosts(hosts[-1].hosts)
            states = [entry for entry in entries if isinstance(entry, StateRecord)]
            if states:
                self._update_run(states)
            self._cursor.execute("COMMIT")
        except BaseException:
            # After an error, DuckDB's COMMIT returns normally but writes nothing. So always roll back.
            with contextlib.suppress(duckdb.Error):  # DuckDB has given up on the file, so nothing can be rolled back
                self._cursor.execute("ROLLBACK")
                self._views.clear()
            raise
        self._results.shape = shape
        self._highest_chunk = max(self._highest_chunk, *chunks, -1)

    def _append(self, ledger_table: str, rows: pa.Table) -> None:
        if rows.num_rows:
            with self._views.show("ledger", rows) as view:
                columns = ", ".join(rows.column_names)
                target = f"runner.{ledger_table} (run_id, {columns})"
                self._cursor.execute(f"INSERT INTO {target} SELECT {self._run_id}, {columns} FROM {view}")

    def _append_errors(self, rows: pa.Table) -> None:
        if rows.num_rows:
            with self._views.show("ledger", rows) as view:
                for statement in insert_errors_sql(view, str(self._run_id)):
                    self._cursor.execute(statement)

    def _replace_items(self, items: pa.Table) -> tuple[pa.Table, set[int]]:
        """Delete earlier ledger rows of the same items, which did not succeed and are replaced by `items`.

        Returns:
            The rows to add, and the numbers of the chunks whose items are now in another chunk.
        """
        again = items.filter(pc.less(items.column("item"), self._replaced_below))
        if not again.num_rows:
            return items, set()
        same = "(item, key) IN (SELECT (item, key) FROM {view})"
        # An item that could not be read has a key that begins with `@`. If its line was corrected, the new item has the
        # same position but another key.
        corrected = "(starts_with(key, '@') AND item IN (SELECT item FROM {view}))"
        replaced = self._delete_failed(again, f"({same} OR {corrected})", "item, chunk")
        # A new row with such a key is of an item that could not be read again: it replaces the row at its position.
        nameless = again.filter(pc.starts_with(again.column("key"), "@"))
        if nameless.num_rows:
            columns = "item, chunk, key, text, CAST(value AS VARCHAR)"
            found = self._delete_failed(nameless, "item IN (SELECT item FROM {view})", columns)
            items = _named(items, {item: named for item, _, *named in found})
            replaced += [row[:2] for row in found]
        now = dict(zip(again.column("item").to_pylist(), again.column("chunk").to_pylist(), strict=True))
        return items, {chunk for item, chunk in replaced if chunk != now[item]}

    def _delete_failed(self, items: pa.Table, condition: str, columns: str) -> list[tuple[Any, ...]]:
        """Delete the rows of `items` that did not succeed and meet `condition`. Return their values in `columns`."""
        bounds = pc.min_max(items.column("item"))
        with self._views.show("again", items.select(["item", "key"])) as view:
            # By these bounds DuckDB can skip most of the table.
            return self._cursor.execute(
                f"DELETE FROM runner.items WHERE run_id = {self._run_id} AND state <> 'ok'"
                f" AND item BETWEEN {bounds['min']} AND {bounds['max']}"
                f" AND {condition.format(view=view)} RETURNING {columns}"
            ).fetchall()

    def _replace_chunks(self, chunks: dict[int, ChunkRecord]) -> None:
        known = sorted(number for number in chunks if number <= self._highest_chunk)
        if known:
            self._cursor.execute(
                f"DELETE FROM runner.chunks WHERE run_id = {self._run_id} AND chunk IN ({', '.join(map(str, known))})"
            )
        self._append("chunks", _table(_CHUNKS, list(chunks.values())))

    def _replace_hosts(self, hosts: Sequence[HostRecord]) -> None:
        """Replace the rows of hosts. Their counts include those of earlier processes."""
        rows = []
        for record in hosts:
            row = asdict(record)
            statuses = Counter(record.statuses)
            if (before := self._hosts_before.get(record.host)) is not None:
                for name, value in zip(("done", "failed", "refused", "seconds"), before, strict=False):
                    row[name] += value
                statuses.update(before[4])
            row["statuses"] = json.dumps(dict(sorted(statuses.items())))  # sorted for people who read the table
            rows.append(row)
        table = pa.Table.from_pylist(rows, schema=_HOSTS)
        with self._views.show("hosts", table) as view:
            self._cursor.execute(
                f"DELETE FROM runner.hosts WHERE run_id = {self._run_id} AND host IN (SELECT host FROM {view})"
            )
        self._append("hosts", table)

    def _update_run(self, states: Sequence[StateRecord]) -> None:
        last = states[-1]
        total = next((state.items_total for state in reversed(states) if state.items_total is not None), None)
        ended = None if last.ended_at is None else last.ended_at.astimezone(UTC).isoformat()
        self._cursor.execute(
            "UPDATE runner.runs SET state = ?, items_total = coalesce(?, items_total),"
            " active_seconds = coalesce(?, active_seconds), wall_seconds = coalesce(?, wall_seconds),"
            " ended_at = CAST(? AS TIMESTAMPTZ) WHERE run_id = ?",
            [last.state, total, last.active_seconds, last.wall_seconds, ended, self._run_id],
        )


def is_at_fault(error: BaseException) -> bool:
    """Return True if the data may have caused `error`; False for a failure of disk, memory or database."""
    return isinstance(error, Exception) and not isinstance(
        error,
        OSError
        | MemoryError
        | DatabaseError
        | duckdb.OperationalError
        | duckdb.InternalError
        | duckdb.FatalException
        | duckdb.InterruptException
        | duckdb.CatalogException
        | duckdb.DependencyException,
    )


def halves(batch: Batch, ticket: object) -> tuple[Batch, Batch]:
    """Return two batches, each with half of the items of `batch`.

    The first has the ticket `ticket`, the second the ticket of `batch`.
    """
    positions = batch.items.column("item")
    second = positions.slice(len(positions) // 2)
    return _part(batch, second, inside=False, ticket=ticket), _part(batch, second, inside=True, ticket=batch.ticket)


def rejected(batch: Batch, error: BaseException, redact: Callable[[str], str] = redact) -> Batch:
    """Return `batch` without its rows and added items.

    Items that were `ok` are `failed` with `error`, whose message is redacted.
    """
    rows = batch.items.to_pylist()
    now = datetime.now(UTC)
    lost = [row for row in rows if row["state"] == "ok"]
    for row in lost:
        row.update(state="failed", rows=0)
    message = redact(f"the rows could not be stored: {error}")
    errors = [
        {
            "item": row["item"],
            "chunk": row["chunk"],
            "attempt": row["attempts"],
            "type": type(error).__name__,
            "message": message.encode("utf-8", "backslashreplace").decode(),
            "traceback": "",
            "occurred_at": now,
            "final": True,
            "shape": shape(message),
        }
        for row in lost
    ]
    return Batch(
        ticket=batch.ticket,
        tables=(),
        items=pa.Table.from_pylist(rows, schema=ITEMS),
        errors=_concatenated(ERRORS, [batch.errors, pa.Table.from_pylist(errors, schema=ERRORS)]),
        rows=0,
    )


def without(
    batch: Batch, positions: Collection[int], error: BaseException, redact: Callable[[str], str] = redact
) -> tuple[Batch, Batch] | None:
    """Return `batch` with the items at `positions` failed because of `error`, and a batch of the same items unchanged.

    Return None if the batch has none of these items.
    """
    chosen = pa.chunked_array([pa.array(sorted(positions), pa.int64())])
    refused = _part(batch, chosen, inside=True, ticket=batch.ticket)
    if not refused.items.num_rows:
        return None
    kept, failed = _part(batch, chosen, inside=False, ticket=batch.ticket), rejected(refused, error, redact)
    merged = Batch(
        ticket=batch.ticket,
        tables=tuple(map(_without_empty_columns, kept.tables)),
        items=_concatenated(ITEMS, [kept.items, failed.items]),
        errors=_concatenated(ERRORS, [kept.errors, failed.errors]),
        rows=kept.rows,
        added=kept.added,
    )
    return merged, refused


def _without_empty_columns(table: pa.Table) -> pa.Table:
    return table.select([i for i, column in enumerate(table.columns) if column.null_count < len(column)])


def _part(batch: Batch, positions: pa.ChunkedArray, *, inside: bool, ticket: object) -> Batch:
    """Return a batch with the items at `positions` of `batch` or, if `inside` is False, with all other items."""

    def chosen(table: pa.Table, column: str) -> pa.Table:
        mask = pc.is_in(table.column(column), value_set=positions.combine_chunks())
        return table.filter(mask if inside else pc.invert(mask))

    tables = tuple(chosen(table, ITEM_COLUMN) for table in batch.tables)
    return Batch(
        ticket=ticket,
        tables=tuple(table for table in tables if table.num_rows),
        items=chosen(batch.items, "item"),
        errors=None if batch.errors is None else chosen(batch.errors, "item"),
        rows=sum(table.num_rows for table in tables),
        added=None if batch.added is None else chosen(batch.added, "added_by"),
    )


def _concatenated(schema: pa.Schema, tables: Iterable[pa.Table | None]) -> pa.Table:
    found = [table.select(schema.names).cast(schema) for table in tables if table is not None]
    return pa.concat_tables(found) if found else schema.empty_table()


def _table(schema: pa.Schema, records: Sequence[ChunkRecord] | Sequence[SampleRecord]) -> pa.Table:
    return pa.Table.from_pylist([asdict(record) for record in records], schema=schema)


def _named(items: pa.Table, names: Mapping[int, Sequence[str | None]]) -> pa.Table:
    """Return `items` with new key, text and value for the items whose positions are in `names`."""
    if not names:
        return items
    rows = items.to_pylist()
    for row in rows:
        if row["item"] in names:
            row["key"], row["text"], row["value"] = names[row["item"]]
    return pa.Table.from_pylist(rows, schema=items.schema)


def _newest(items: pa.Table) -> pa.Table:
    """Return the last row of each item, because an item may fail and then succeed within one flush."""
    positions = items.column("item")
    if pc.count_distinct(positions).as_py() == items.num_rows:
        return items
    last = {position: index for index, position in enumerate(positions.to_pylist())}
    # sorted, so that the rows are in the same order as before
    return items.take(pa.array(sorted(last.values()), pa.int64()))
