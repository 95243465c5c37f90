"""Which file a cursor asks, for messages of code that has nothing but the cursor."""

from __future__ import annotations

from tui_runner.store.sql import Cursor


def file_of(cursor: Cursor) -> str:
    """Path of the database that a cursor asks; empty when it is in memory."""
    sql = "SELECT coalesce(path, '') FROM duckdb_databases() WHERE database_name = current_database()"
    return str(cursor.execute(sql).fetchall()[0][0])
