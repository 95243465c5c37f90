"""Executes statements that change data while no run is active, and ensures that they do not change the ledger.

A statement can change a table in many ways, so a search of its text for the ledger's name would not be enough. Instead
the ledger is compared before and after the statement, within its transaction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from itertools import islice
from typing import Any

import duckdb
import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.query.result import Readable
from tui_runner.store.query.statements import tokens
from tui_runner.store.sql import literal, quote

LEDGER = "runner"
"""Schema that statements of users must not change, because a run is resumed by its content."""

_CHANGING = frozenset(
    {
        duckdb.StatementType.INSERT,
        duckdb.StatementType.UPDATE,
        duckdb.StatementType.DELETE,
        duckdb.StatementType.MERGE_INTO,
        duckdb.StatementType.ALTER,
        duckdb.StatementType.DROP,
        duckdb.StatementType.CREATE,
    }
)
"""Types of statements that may change data."""
_PRELUDE = frozenset({"CREATE", "OR", "REPLACE", "TEMP", "TEMPORARY", "RECURSIVE"})
"""Words that may be between CREATE and the kind of object."""
_CREATED = frozenset({"TABLE", "VIEW", "MACRO", "FUNCTION", "TYPE", "SEQUENCE", "SCHEMA"})
"""Kinds of objects that may be created. Secrets are excluded, because DuckDB writes them to the user's home folder, and
indexes, because they slow down the writing of results."""


def is_change(kind: duckdb.StatementType, sql: str) -> bool:
    """Return True if write mode allows statements of this type and text."""
    if kind == duckdb.StatementType.CREATE:
        words = (word.upper() for word in _words(sql))
        return next((word for word in words if word not in _PRELUDE), "") in _CREATED
    return kind in _CHANGING


def run_change(cursor: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, object] | None) -> pa.Table:
    """Execute a statement that changes data, and commit it. Return its result, for example the number of rows.

    Raises:
        UserError: the statement would change the ledger. Nothing was changed.
        duckdb.Error: DuckDB rejected the statement. Nothing was changed.
    """
    cursor.execute("BEGIN TRANSACTION")
    try:
        before = _ledger(cursor)
        # DuckDB executes a statement that changes data at once and stores its result. Reading the result does not
        # execute it again.
        relation = cursor.sql(sql, params=dict(values) if values else None)
        readable = Readable(cursor.sql('SELECT 0::BIGINT AS "Count"') if relation is None else relation)
        table = readable.relation.to_arrow_table()
        table = pa.Table.from_arrays(table.columns, schema=readable.schema(table.schema))
        if _ledger(cursor) != before:
            raise UserError(
                f"the statement would change schema {LEDGER}, the ledger of the runs", do="leave that schema alone"
            )
        cursor.execute("COMMIT")
    except BaseException:  # also for Ctrl-C, because an incomplete change must be rolled back
        with contextlib.suppress(duckdb.Error):  # the error itself has ended the transaction
            cursor.execute("ROLLBACK")
        raise
    return table


def _ledger(cursor: duckdb.DuckDBPyConnection) -> list[Any]:
    """Return the content of schema `runner`: names and definitions, and a checksum of the rows of each table."""
    mine = f"schema_name = {literal(LEDGER)}"
    definitions = cursor.execute(
        f"""SELECT 'table', table_name, sql FROM duckdb_tables() WHERE {mine}
        UNION ALL SELECT 'view', view_name, sql FROM duckdb_views() WHERE {mine}
        UNION ALL SELECT 'index', index_name, sql FROM duckdb_indexes() WHERE {mine}
        UNION ALL SELECT 'sequence', sequence_name, sql FROM duckdb_sequences() WHERE {mine}
        UNION ALL SELECT 'type', type_name, logical_type FROM duckdb_types() WHERE {mine}
        UNION ALL SELECT 'function', function_name, macro_definition FROM duckdb_functions() WHERE {mine}
        ORDER BY ALL"""
    ).fetchall()
    rows = []
    for kind, name, _ in definitions:
        if kind == "table":
            rows += cursor.execute(
                f"SELECT count(*), sum(CAST(hash(t) AS HUGEINT)) FROM {quote(LEDGER)}.{quote(name)} AS t"
            ).fetchall()
    return [*definitions, *rows]


def _words(sql: str) -> list[str]:
    """Return the first eight tokens of a statement, without comments: enough to find the kind of a created object."""
    found = tokens(sql)
    ends = [*(token.start for token in found[1:]), len(sql)]
    every = (sql[token.start : end] for token, end in zip(found, ends, strict=True) if token.kind != "comment")
    return [text.strip() for text in islice(every, 8)]
