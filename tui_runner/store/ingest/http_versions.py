"""Versions of pages that were fetched, table `runner.http_cache`: what asks a server whether a page has changed.

The writing thread alone fills it, from the rows of pages, in their transaction. Workers do not have the database; they
read a copy of two columns, made when the run begins, in a file of SQLite, which finds a URL in microseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa

from tui_runner.store.ingest.results_table import ArrowViews

_COLUMNS = frozenset({"url", "status", "headers"})
_SLICE = 10_000


def record_versions(cursor: duckdb.DuckDBPyConnection, views: ArrowViews, tables: Iterable[pa.Table]) -> None:
    """Write down the versions of pages, within the transaction of the caller.

    Args:
        cursor: in a transaction.
        views: shows Arrow tables to it.
        tables: rows of results; those without `url`, `status` and `headers` are no pages.
    """
    for table in tables:
        if not _COLUMNS.issubset(table.column_names):
            continue
        pages = table.select(sorted(_COLUMNS))
        with views.show("versions", pages) as view:
            found = f"""(
                SELECT url, max(etag) AS etag, max(last_modified) AS last_modified, max(status) AS status FROM (
                    SELECT url, json_extract_string(CAST(headers AS VARCHAR), '$.etag') AS etag,
                        json_extract_string(CAST(headers AS VARCHAR), '$."last-modified"') AS last_modified, status
                    FROM {view} WHERE status = 200
                ) GROUP BY url
            )"""
            cursor.execute(f"DELETE FROM runner.http_cache WHERE url IN (SELECT url FROM {found})")
            cursor.execute(
                "INSERT INTO runner.http_cache (url, etag, last_modified, status, checked_at)"
                f" SELECT url, etag, last_modified, status, now() FROM {found}"
                " WHERE etag IS NOT NULL OR last_modified IS NOT NULL"
            )


def copy_versions(cursor: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Write what is known of versions into a file of SQLite that does not exist yet; return the number of pages."""
    copied = 0
    target = sqlite3.connect(path)
    try:
        target.execute("CREATE TABLE versions (url TEXT PRIMARY KEY, etag TEXT, last_modified TEXT) WITHOUT ROWID")
        found = cursor.execute("SELECT url, etag, last_modified FROM runner.http_cache")
        while rows := found.fetchmany(_SLICE):
            target.executemany("INSERT OR REPLACE INTO versions VALUES (?, ?, ?)", rows)
            copied += len(rows)
        target.commit()
    finally:
        target.close()
    return copied
