"""Reads the ledger's runs, items and errors, and begins or resumes runs.

While a run is active, only `store/ingest/` writes, in the transactions of its flushes.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.connection import fault_of_file, first_line
from tui_runner.store.ingest.chunk_rows import recount_chunks
from tui_runner.store.ingest.frontier import FrontierRules, add_items
from tui_runner.store.ingest.results_table import ArrowViews, find_table, is_bare, prepare_table
from tui_runner.store.ledger.migrations import LEDGER_VERSION, ensure_ledger
from tui_runner.store.ledger.reports import EPOCH, moment
from tui_runner.store.records import RunRecord
from tui_runner.store.sql import Cursor, literal, quote
from tui_runner.text.messages import listed, one_line, plain

__all__ = ["LEDGER_VERSION", "Ledger", "RunSummary", "Totals"]

KeyColumns = str | tuple[str, ...]
"""Columns from which the keys of a run's items are computed; see `inputs.keys`."""

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Matches lone surrogates, which JSON text may contain and DuckDB refuses."""
_SLICE = 5_000
"""Rows fetched at once. Fetching holds the interpreter lock: for a million rows it would be held for a second."""

# Times are read in microseconds, because DuckDB's own conversion of TIMESTAMPTZ needs the package pytz.
_RUN_COLUMNS = """run_id, coalesce(job, ''), coalesce(job_path, ''), coalesce(table_name, ''), input,
    CAST(params AS VARCHAR), CAST(settings AS VARCHAR), coalesce(state, ''), items_total,
    CASE WHEN isfinite(started_at) THEN epoch_us(started_at) END,
    CASE WHEN isfinite(ended_at) THEN epoch_us(ended_at) END, coalesce(host, ''), coalesce(version, ''),
    CAST(key_columns AS VARCHAR), fingerprint, CASE WHEN isfinite(active_seconds) THEN active_seconds ELSE 0 END,
    CASE WHEN isfinite(wall_seconds) THEN wall_seconds ELSE 0 END"""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of a run's items. `failed` includes timeouts; `retries` are attempts after the first one of each item."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    rows: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run with the counts of its items."""

    record: RunRecord
    totals: Totals


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Convert errors in a `with` block that reads a ledger to one error saying that the ledger is damaged.

    Raises:
        DatabaseError: the block has read values that tui-runner never writes, or the file or its disk has failed.
    """
    try:
        yield
    except duckdb.Error as error:
        raise fault_of_file(error, path) or _damaged(path, first_line(error)) from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> DatabaseError:
    return DatabaseError(f"its ledger cannot be read ({one_line(why)})", str(path), "restore a copy of the file")


class Ledger:
    """The ledger of one database. Used by one thread, with one cursor."""

    def __init__(self, cursor: Cursor) -> None:
        """Open the ledger, and migrate an older version. A database without a ledger has no runs and is not changed.

        Raises:
            DatabaseError: see `ensure_ledger`.
        """
        self._cursor = cursor
        self._exists = ensure_ledger(cursor, create=False)

    def begin_run(self, record: RunRecord) -> int:
        """Record a new run and create its results table. Return its number; `record.run_id` is ignored.

        Raises:
            DatabaseError: a view or another program's table has the name of the results table. Nothing is recorded.
        """
        find_table(self._cursor, record.table_name)  # raises an error before a ledger is created
        self._exists = ensure_ledger(self._cursor, create=True)
        with self._transaction():
            table = prepare_table(self._cursor, record.table_name)
            run_id = self._number("SELECT coalesce(max(run_id), 0) + 1 FROM runner.runs")
            self._cursor.execute(
                "INSERT INTO runner.runs (run_id, job, job_path, table_name, input, params, settings, state,"
                " items_total, started_at, ended_at, host, version, key_columns, fingerprint) VALUES"
                " (?, ?, ?, ?, ?, ?, ?, ?, ?, make_timestamptz(?), make_timestamptz(?), ?, ?, ?, ?)",
                [
                    run_id,
                    _text(record.job),
                    _text(record.job_path),
                    table,
                    None if record.input is None else _text(record.input),
                    _json(record.params),
                    _json(record.settings),
                    record.state,
                    record.items_total,
                    _microseconds(record.started_at),
                    _microseconds(record.ended_at),
                    _text(record.host),
                    record.version,
                    _columns_json(record.key_columns),
                    record.fingerprint,
                ],
            )
        return run_id

    def add_seeds(
        self, cursor: duckdb.DuckDBPyConnection, run_id: int, slices: Iterable[pa.Table], rules: FrontierRules
    ) -> None:
        """Add all items of a run's input to its frontier, unless an earlier process has done that.

        Args:
            cursor: cursor of this ledger.
            run_id: number of the run.
            slices: the items, in tables with the schema `records.ADDED`.
            rules: limits for the frontier.
        """
        if self._number(f"SELECT count(*) FROM runner.added WHERE run_id = {int(run_id)}"):
            return
        views = ArrowViews(cursor)
        with self._transaction():
            for table in slices:
                add_items(cursor, views, run_id, table, rules)

    def forget_run(self, run_id: int) -> None:
        """Undo `begin_run` for a run in which no item has ended: delete its rows in the ledger.

        Drop its results table if that is empty and no other run uses it.
        """
        table = self.run(run_id).table_name
        with self._transaction():
            for name in ("runs", "chunks", "items", "failed_attempts", "samples", "hosts", "added"):
                self._cursor.execute(f"DELETE FROM runner.{name} WHERE run_id = ?", [run_id])
            used = self._number(f"SELECT count(*) FROM runner.runs WHERE lower(table_name) = lower({literal(table)})")
            if not used and is_bare(self._cursor, table):
                self._cursor.execute(f"DROP TABLE main.{quote(table)}")

    def reopen_run(
        self,
        run_id: int,
        settings: dict[str, object],
        state: str,
        *,
        key_columns: KeyColumns | None = (),
        fingerprint: str | None = None,
        positions_are_unique: bool = True,
        cut_anew: tuple[int, int] | None = None,
    ) -> None:
        """Record that a run is resumed.

        Args:
            run_id: number of the run.
            settings: the new settings, see `RunRecord`.
            state: the new state, see `RunRecord`.
            key_columns: see `RunRecord`.
            fingerprint: see `RunRecord`.
            positions_are_unique: False for a run of an earlier version, in which two items may have the same position
                because its input was reordered.
            cut_anew: (items per chunk, items of the input) to replace the rows of chunks by new ones, computed from the
                rows of items; None to leave them.

        Raises:
            UserError: there is no such run.
            DatabaseError: a view or another program's table has the name of the results table.
        """
        record = self.run(run_id)
        with self._transaction():
            prepare_table(self._cursor, record.table_name)
            self._cursor.execute(
                "UPDATE runner.runs SET settings = ?, state = ?, ended_at = NULL, key_columns = ?, fingerprint = ?"
                " WHERE run_id = ?",
                [_json(settings), state, _columns_json(key_columns), fingerprint, run_id],
            )
            if not positions_are_unique:
                self._make_positions_unique(run_id)
            if cut_anew is not None:
                self._recut_chunks(run_id, *cut_anew)

    def recount_chunks(self, run_id: int) -> None:
        """Recount a run's chunks from the rows of its items, because its input will be cut into different chunks."""
        with self._transaction():
            recount_chunks(self._cursor, run_id)

    def _make_positions_unique(self, run_id: int) -> None:
        """Give items that share a position new positions above all others, except the item that succeeded.

        Result rows are not changed, because it is unknown to which of these items they belong.
        """
        self._cursor.execute(
            """UPDATE runner.items SET item = moved.new FROM (
                SELECT key, item, finished_at, (SELECT max(item) FROM runner.items WHERE run_id = $run)
                    + row_number() OVER (ORDER BY item, place) AS new
                FROM (
                    SELECT key, item, finished_at,
                        row_number() OVER (PARTITION BY item ORDER BY state <> 'ok', finished_at, key) AS place
                    FROM runner.items WHERE run_id = $run
                ) WHERE place > 1
            ) AS moved
            WHERE items.run_id = $run AND items.item = moved.item AND items.key = moved.key
                AND items.finished_at IS NOT DISTINCT FROM moved.finished_at""",
            {"run": run_id},
        )

    def _recut_chunks(self, run_id: int, size: int, total: int) -> None:
        """Replace the recorded chunks of a run by chunks of `size` items, with counts from the rows of items."""
        cursor = self._cursor
        cursor.execute("DELETE FROM runner.chunks WHERE run_id = ?", [run_id])
        cursor.execute("UPDATE runner.items SET chunk = item // ? WHERE run_id = ?", [size, run_id])
        cursor.execute(
            """INSERT INTO runner.chunks (
                run_id, chunk, first_item, items, state, done, failed, rows, retries, started_at, ended_at,
                busy_seconds)
            WITH recorded AS (
                SELECT chunk, count(*) FILTER (WHERE state = 'ok') AS done, count(*) AS ended, sum(rows) AS rows,
                    min(finished_at) AS started_at, max(finished_at) AS ended_at, sum(seconds) AS busy_seconds
                FROM runner.items WHERE run_id = $run GROUP BY chunk
            ), cut AS (
                SELECT number, number * $size AS first_item, least($size, $total - number * $size) AS items
                FROM range((SELECT coalesce(max(chunk), -1) + 1 FROM recorded)) AS numbers(number)
            )
            SELECT $run, number, first_item, items, if(done = items, 'done', 'running'), coalesce(done, 0),
                coalesce(ended - done, 0), coalesce(rows, 0), 0, started_at, if(ended = items, ended_at, NULL),
                coalesce(busy_seconds, 0)
            FROM cut LEFT JOIN recorded ON chunk = number ORDER BY number""",
            {"run": run_id, "size": size, "total": total},
        )

    def run(self, run_id: int | None = None, *, database: Path | None = None) -> RunRecord:
        """Return a run.

        Args:
            run_id: number of the run; None for the newest run.
            database: path of the database, for messages.

        Raises:
            UserError: there is no such run.
        """
        records = self._records("run_id = ?", [run_id]) if run_id is not None else self._records("true", [])
        if records:
            return records[0]
        where = "" if database is None else plain(database)
        if run_id is None:
            raise UserError("no runs in this database", where, "start one with: tui-runner run JOB")
        numbers = [record.run_id for record in self._records("true", [])]
        do = "start one with: tui-runner run JOB"
        if numbers:
            do = f"its runs are {listed(numbers)}" if len(numbers) > 1 else f"its only run is {numbers[0]}"
        raise UserError(f"there is no run {run_id}", where, do)

    def runs(self) -> list[RunSummary]:
        """Return every run with its counts, newest first.

        Items of a run in progress that did not succeed in an earlier process run again, and count only when they have.
        """
        records = self._records("true", [])
        if not records:
            return []
        rows = self._cursor.execute(f"SELECT run_id, {_TOTALS} FROM runner.items GROUP BY run_id").fetchall()
        totals = {run_id: Totals(*counts) for run_id, *counts in rows}
        totals |= {each.run_id: self._totals_in_progress(each.run_id) for each in records if each.state in _IN_PROGRESS}
        return [RunSummary(record, totals.get(record.run_id, Totals())) for record in records]

    def last_into(self, table: str, before: int) -> RunRecord | None:
        """Return the newest run into a results table whose number is below `before`; None if there is none."""
        records = self._records("lower(table_name) = lower(?) AND run_id < ?", [table, before])
        return records[0] if records else None

    def find_alike(
        self,
        *,
        job: str,
        job_path: str,
        table_name: str,
        input: str | None,
        params: dict[str, object],
        limit: int | None = None,
        finished: bool = False,
    ) -> RunRecord | None:
        """Return the newest run with these properties; None if there is none.

        Args:
            job: name of the job.
            job_path: path of its file.
            table_name: name of the results table, in any case.
            input: source of the items; None for the items of the job.
            params: values of the job's parameters.
            limit: largest number of items; None for no limit.
            finished: True to look only at finished runs, False to look only at others.
        """
        records = self._records(
            "(state = 'finished') = ? AND job = ? AND job_path = ? AND lower(table_name) = lower(?)"
            " AND input IS NOT DISTINCT FROM ?",
            [finished, _text(job), _text(job_path), table_name, None if input is None else _text(input)],
        )
        wanted = json.loads(_json(params))
        alike = (
            each for each in records if each.is_whole and each.params == wanted and each.settings.get("limit") == limit
        )
        return next(alike, None)

    def find_unfinished(self, job: str) -> RunRecord | None:
        """Return the newest unfinished run of the job named `job`, with any settings; None if there is none."""
        return next(iter(self._records("state <> 'finished' AND job = ?", [_text(job)])), None)

    def totals(self, run_id: int) -> Totals:
        """Return the counts of the items of a run."""
        if not self._exists:
            return Totals()
        row = self._cursor.execute(f"SELECT {_TOTALS} FROM runner.items WHERE run_id = ?", [run_id]).fetchone()
        return Totals(*row) if row is not None else Totals()

    def _totals_in_progress(self, run_id: int) -> Totals:
        row = self._cursor.execute(
            f"""SELECT {_TOTALS} FROM runner.items WHERE run_id = $1 AND (state = 'ok' OR coalesce(finished_at >= (
                SELECT max(sampled_at) FROM runner.samples WHERE run_id = $1 AND in_flight IS NULL), true))""",
            [run_id],
        ).fetchone()
        return Totals(*row) if row is not None else Totals()

    def _records(self, condition: str, values: list[object]) -> list[RunRecord]:
        """Return the runs that meet `condition` (SQL) with `values` for its `?`, newest first."""
        if not self._exists:
            return []
        rows = self._rows(
            f"SELECT {_RUN_COLUMNS} FROM runner.runs WHERE run_id IS NOT NULL AND ({condition}) ORDER BY run_id DESC",
            values,
        )
        return [_record(row) for row in rows]

    def _rows(self, query: str, values: list[object]) -> Iterator[tuple[Any, ...]]:
        self._cursor.execute(query, values)
        while rows := self._cursor.fetchmany(_SLICE):
            yield from rows

    def _number(self, query: str) -> int:
        return int(self._cursor.execute(query).fetchall()[0][0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._cursor.execute("BEGIN TRANSACTION")
        try:
            yield
            self._cursor.execute("COMMIT")
        except BaseException:  # also for Ctrl-C, because an open transaction would block later ones
            with contextlib.suppress(duckdb.Error):  # the error itself has ended the transaction
                self._cursor.execute("ROLLBACK")
            raise


_IN_PROGRESS = ("running", "paused", "draining")
"""States of a run that a process works on, or worked on when it was killed."""
_TOTALS = """
    count(*) FILTER (WHERE state = 'ok'),
    count(*) FILTER (WHERE state IN ('failed', 'timeout')),
    count(*) FILTER (WHERE state = 'cancelled'),
    CAST(coalesce(sum(rows) FILTER (WHERE state = 'ok'), 0) AS BIGINT),
    CAST(coalesce(sum(greatest(attempts - 1, 0)), 0) AS BIGINT)"""
"""SQL for the fields of `Totals`, in their order, as aggregates over `runner.items`."""


def _record(row: tuple[Any, ...]) -> RunRecord:
    """Convert a row of `_RUN_COLUMNS` to a record."""
    run_id, job, job_path, table_name, source, params, settings, state, items_total, started, ended, *rest = row
    host, version, columns, fingerprint, active_seconds, wall_seconds = rest
    return RunRecord(
        run_id=run_id,
        job=job,
        job_path=job_path,
        table_name=table_name,
        input=source,
        params=_object(params),
        settings=_object(settings),
        state=state,
        items_total=items_total,
        started_at=moment(started),
        ended_at=None if ended is None else moment(ended),
        host=host,
        version=version,
        key_columns=_columns(columns),
        is_whole=None not in (_read(params), _read(settings)) and bool(job_path and table_name and state),
        fingerprint=fingerprint,
        active_seconds=active_seconds,
        wall_seconds=wall_seconds,
    )


def _read(text: str | None) -> dict[str, object] | None:
    """Return the JSON object in `text`; None if the text is not a JSON object."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):  # RecursionError: nested too deeply
        return None
    return found if isinstance(found, dict) else None


def _object(text: str | None) -> dict[str, object]:
    return _read(text) or {}


def _columns(text: str | None) -> KeyColumns | None:
    if text is None:
        return None
    try:
        columns = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: nested too deeply
        columns = None
    if isinstance(columns, str):
        return columns
    if isinstance(columns, list) and all(isinstance(name, str) for name in columns):
        return tuple(columns)
    raise ValueError("key_columns of a run are neither names nor one name")


def _columns_json(columns: KeyColumns | None) -> str | None:
    return None if columns is None else _storable_json(columns)


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else (at - EPOCH) // timedelta(microseconds=1)


def _text(text: str) -> str:
    """Return `text` with lone surrogates as escapes, because DuckDB refuses them. Some paths contain them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _json(values: dict[str, object]) -> str:
    """Return `values` as JSON that DuckDB accepts: NaN and infinities as text, no lone surrogates."""
    return _storable_json(json.loads(json.dumps(values), parse_constant=str))


def _storable_json(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return _SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
