"""Failed attempts in a ledger, as a run writes them."""

from __future__ import annotations

import duckdb

from tui_runner.store.records import insert_errors_sql


def add_errors(cursor: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Add failed attempts to the ledger. `rows` is a statement with the columns of `runner.errors`."""
    cursor.execute("CREATE TEMP TABLE new_errors AS FROM runner.errors LIMIT 0")
    cursor.execute(f"INSERT INTO new_errors {rows}")
    for statement in insert_errors_sql("new_errors", "run_id"):
        cursor.execute(statement)
    cursor.execute("DROP TABLE new_errors")
