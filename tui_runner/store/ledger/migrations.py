"""The tables of the ledger (schema `runner`), and the migration of older ledgers."""

from __future__ import annotations

import contextlib
import re

import duckdb

from tui_runner.errors import DatabaseError
from tui_runner.store.query.catalog import ERRORS_SQL, FAILURE_GROUPS_SQL
from tui_runner.store.records import insert_errors_sql
from tui_runner.store.sql import CATALOG, Cursor, file_of
from tui_runner.text.messages import listed

LEDGER_VERSION = 5
"""Version of the tables below, as stored in `runner.ledger`. To change a table, also add a step to `_STEPS`."""

_ERROR_TABLES = (
    """CREATE TABLE runner.failed_attempts (
        run_id BIGINT, item BIGINT, chunk BIGINT, attempt INTEGER, type VARCHAR, message VARCHAR, traceback_id UBIGINT,
        ends_with_message BOOLEAN, occurred_at TIMESTAMPTZ, final BOOLEAN, shape VARCHAR, item_text VARCHAR)""",
    "CREATE TABLE runner.tracebacks (traceback_id UBIGINT, text VARCHAR)",
)
"""Failed attempts, and each distinct traceback once, without the message at its end. DuckDB merges row groups of
122,880 rows in memory: with a traceback of four lines in every row, a checkpoint took 200 MB (measured)."""

_HTTP_TABLES = (
    """CREATE TABLE runner.hosts (
        run_id BIGINT, host VARCHAR, done BIGINT, failed BIGINT, refused BIGINT, seconds DOUBLE, delay_seconds DOUBLE,
        cooldown_until TIMESTAMPTZ, p50_seconds DOUBLE, p95_seconds DOUBLE, statuses JSON, updated_at TIMESTAMPTZ)""",
    """CREATE TABLE runner.added (
        run_id BIGINT, item BIGINT, key VARCHAR, value JSON, depth INTEGER, added_by BIGINT, added_at TIMESTAMPTZ)""",
    """CREATE TABLE runner.http_cache (
        url VARCHAR, etag VARCHAR, last_modified VARCHAR, status INTEGER, sha256 VARCHAR, checked_at TIMESTAMPTZ)""",
)
"""Tables for hosts, for items that items have added, and for versions of pages."""

_TABLES = (
    "CREATE TABLE runner.ledger (version INTEGER)",
    """CREATE TABLE runner.runs (
        run_id BIGINT, job VARCHAR, job_path VARCHAR, table_name VARCHAR, input VARCHAR, params JSON, settings JSON,
        state VARCHAR, items_total BIGINT, started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, active_seconds DOUBLE,
        host VARCHAR, version VARCHAR, key_columns JSON, fingerprint VARCHAR, wall_seconds DOUBLE)""",
    """CREATE TABLE runner.chunks (
        run_id BIGINT, chunk BIGINT, first_item BIGINT, items BIGINT, byte_offset BIGINT, host VARCHAR, state VARCHAR,
        done BIGINT, failed BIGINT, rows BIGINT, retries BIGINT, started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ,
        busy_seconds DOUBLE)""",
    """CREATE TABLE runner.items (
        run_id BIGINT, item BIGINT, chunk BIGINT, key VARCHAR, text VARCHAR, value JSON, state VARCHAR,
        attempts INTEGER, rows BIGINT, seconds DOUBLE, finished_at TIMESTAMPTZ)""",
    *_ERROR_TABLES,
    """CREATE TABLE runner.samples (
        run_id BIGINT, sampled_at TIMESTAMPTZ, items_done BIGINT, items_failed BIGINT, rows BIGINT, in_flight BIGINT,
        threads BIGINT, items_per_second DOUBLE, app_rss BIGINT, workers_rss BIGINT, db_bytes BIGINT)""",
    "CREATE TABLE runner.columns (table_name VARCHAR, raw_name VARCHAR, column_name VARCHAR, type VARCHAR)",
    *_HTTP_TABLES,
)
# Do not add keys or indexes: they slow down every insert, and indexes of DuckDB have lost data.

_KINDS = {"INTEGER": "a number", "BIGINT": "a number", "UBIGINT": "a number", "JSON": "text", "VARCHAR": "text"}
"""Kind of each type. When a ledger is checked, types of the same kind count as equal. A type that is not listed here is
a kind of its own."""


def _kind(type: str) -> str:
    return _KINDS.get(type, type)


_COLUMNS = {
    (found[1], name, _kind(type.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE")))
    for table in _TABLES
    if (found := re.fullmatch(r"CREATE TABLE runner\.(\w+) \((.*)\)", table, re.DOTALL))
    for name, type in (part.split() for part in found[2].split(","))
}
"""Table, name and kind of type of every column of the ledger."""

_ERRORS = f"CREATE OR REPLACE VIEW runner.errors AS {ERRORS_SQL}"
_FAILURE_GROUPS = f"CREATE OR REPLACE VIEW runner.failure_groups AS {FAILURE_GROUPS_SQL}"
"""Views for statements of users. tui-runner itself uses the texts of the queries, because a user may have replaced the
views."""

_STEPS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE runner.errors ADD COLUMN shape VARCHAR",
        "ALTER TABLE runner.errors ADD COLUMN item_text VARCHAR",
        # Approximates `text.describe.shape` by DuckDB's regular expressions.
        r"""UPDATE runner.errors SET shape = left(regexp_replace(split_part(trim(message), chr(10), 1),
            '0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9]+([.,:][0-9]+)*', 'N', 'g'),
            200)""",
    ),
    2: (
        "ALTER TABLE runner.runs ADD COLUMN active_seconds DOUBLE",
        "ALTER TABLE runner.runs ADD COLUMN key_columns JSON",
        "ALTER TABLE runner.runs ADD COLUMN fingerprint VARCHAR",
        "ALTER TABLE runner.chunks ADD COLUMN byte_offset BIGINT",
        "ALTER TABLE runner.chunks ADD COLUMN host VARCHAR",
        "ALTER TABLE runner.items ADD COLUMN text VARCHAR",
        "ALTER TABLE runner.items ADD COLUMN value JSON",
        # In version 2, the keys of repeated items ended with a counter.
        "UPDATE runner.items SET key = left(key, 16) WHERE length(key) > 16 AND NOT starts_with(key, '@')",
        *_HTTP_TABLES,
    ),
    3: (
        "ALTER TABLE runner.hosts ADD COLUMN IF NOT EXISTS refused BIGINT",
        "ALTER TABLE runner.hosts ADD COLUMN IF NOT EXISTS seconds DOUBLE",
    ),
    4: (
        "ALTER TABLE runner.runs ADD COLUMN wall_seconds DOUBLE",
        *_ERROR_TABLES,
        *insert_errors_sql("runner.errors", "run_id"),
        "DROP TABLE runner.errors",
        _ERRORS,
        _FAILURE_GROUPS,
    ),
}
"""For each version of the ledger, the statements that migrate it to the next version."""


def ledger_version(cursor: Cursor) -> int | None:
    """Return the version of the ledger in the database; None if there is none.

    Raises:
        DatabaseError: another program has created the schema `runner`, the ledger's own table is missing or empty, or
            macros of the database replace functions of DuckDB.
    """
    found = cursor.execute(
        f"SELECT table_name FROM {CATALOG}.duckdb_tables() WHERE database_name = {CATALOG}.current_database()"
        " AND schema_name = 'runner' AND table_name = 'ledger'"
    ).fetchone()
    if found is None:
        views = cursor.execute(
            f"SELECT view_name FROM {CATALOG}.duckdb_views() WHERE database_name = {CATALOG}.current_database()"
            " AND schema_name = 'runner' AND view_name = 'ledger'"
        ).fetchall()
        if views:
            raise DatabaseError(_NOT_OURS, file_of(cursor), "choose another database")
        if any(table == "runs" for table, *_ in _COLUMNS & _columns(cursor)):
            raise _not_whole(cursor, "runner.ledger is missing")
        return None
    if ("ledger", "version", _kind("INTEGER")) not in _columns(cursor):
        raise DatabaseError(_NOT_OURS, file_of(cursor), "choose another database")
    _refuse_lookalikes(cursor)
    row = cursor.execute("SELECT max(version) FROM runner.ledger").fetchone()
    if row is None or row[0] is None:  # tui-runner creates the table and inserts the version in one transaction
        raise _not_whole(cursor, "runner.ledger is empty")
    return int(row[0])


def ensure_ledger(cursor: Cursor, *, create: bool) -> bool:
    """Create the ledger or migrate it to `LEDGER_VERSION`, in its own transaction.

    Args:
        cursor: cursor without an open transaction.
        create: True to create a ledger if there is none.

    Returns:
        True if the database now has a ledger.

    Raises:
        DatabaseError: a newer tui-runner wrote the ledger; an older one wrote it, and it cannot be changed; a table or
            column is missing; or an error of `ledger_version`.
    """
    version = ledger_version(cursor)
    if version == LEDGER_VERSION:
        _check_whole(cursor)
        return True
    if version is None and not create:
        return False
    if version is not None and version > LEDGER_VERSION:
        raise DatabaseError(
            f"written by a newer tui-runner (ledger version {version}, this one knows {LEDGER_VERSION})",
            file_of(cursor),
            "update tui-runner",
        )
    if version is not None and _can_only_be_read(cursor):
        raise DatabaseError(
            f"written by an older tui-runner (ledger version {version}), and it can only be read",
            file_of(cursor),
            "have its owner open it once with this tui-runner, or work on a copy of it",
        )
    statements = (
        ["CREATE SCHEMA IF NOT EXISTS runner", *_TABLES, _ERRORS, _FAILURE_GROUPS]
        if version is None
        else _steps_from(version, cursor)
    )
    cursor.execute("BEGIN TRANSACTION")
    try:
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("DELETE FROM runner.ledger")
        cursor.execute("INSERT INTO runner.ledger VALUES (?)", [LEDGER_VERSION])
        cursor.execute("COMMIT")
    except BaseException as error:
        with contextlib.suppress(duckdb.Error):  # the error itself has ended the transaction
            cursor.execute("ROLLBACK")
        if isinstance(error, duckdb.CatalogException):
            raise DatabaseError(_NOT_OURS, file_of(cursor), "choose another database") from error
        raise
    return True


def _can_only_be_read(cursor: Cursor) -> bool:
    found = cursor.execute(
        f"SELECT readonly FROM {CATALOG}.duckdb_databases() WHERE database_name = {CATALOG}.current_database()"
    ).fetchall()
    return bool(found[0][0])


_NOT_OURS = "its schema `runner` has tables that are not tui-runner's"
"""Message for a database in which another program has created the schema `runner`."""


def _columns(cursor: Cursor) -> set[tuple[str, str, str]]:
    """Return table, name and kind of type of every column of the tables in schema `runner`. Views are not included."""
    found = cursor.execute(
        f"""SELECT c.table_name, c.column_name, c.data_type
        FROM {CATALOG}.duckdb_columns() c SEMI JOIN {CATALOG}.duckdb_tables() t
            ON t.database_oid = c.database_oid AND t.table_oid = c.table_oid
        WHERE c.database_name = {CATALOG}.current_database() AND c.schema_name = 'runner'"""
    ).fetchall()
    return {(str(table), str(column), _kind(str(type))) for table, column, type in found}


def _refuse_lookalikes(cursor: Cursor) -> None:
    """Refuse a database with macros named like functions of DuckDB, because our statements would call the macros.

    Statements of users are still executed in such a database, so that a user can drop the macros.
    """
    functions = f"SELECT DISTINCT function_name FROM {CATALOG}.duckdb_functions()"
    # Query the list of built-in functions only if there are macros, because that takes 13 ms.
    made = f"{functions} WHERE NOT internal AND database_name = {CATALOG}.current_database()"
    macros = {str(name) for (name,) in cursor.execute(made).fetchall()}
    if not macros:
        return
    taken = macros & {str(name) for (name,) in cursor.execute(f"{functions} WHERE internal").fetchall()}
    if taken:
        what = f"it has macros that replace DuckDB's own functions: {listed(sorted(taken))}"
        raise DatabaseError(what, file_of(cursor), "drop them, or restore a copy of the file")


def _check_whole(cursor: Cursor) -> None:
    """Refuse a ledger that lacks a table or column, because otherwise each command would fail in a different way."""
    lost = sorted(_COLUMNS - _columns(cursor))
    if lost:
        names = sorted({f"runner.{table}" for table, *_ in lost})
        raise _not_whole(cursor, f"missing or changed: {listed(names)}")


def _not_whole(cursor: Cursor, why: str) -> DatabaseError:
    do = "restore a copy of the file, or choose another database"
    return DatabaseError(f"its ledger is incomplete: {why}", file_of(cursor), do)


def _steps_from(version: int, cursor: Cursor) -> list[str]:
    if any(step not in _STEPS for step in range(version, LEDGER_VERSION)):
        what = f"its ledger has the unknown version {version}"
        raise DatabaseError(what, file_of(cursor), "choose another database")
    return [statement for step in range(version, LEDGER_VERSION) for statement in _STEPS[step]]
