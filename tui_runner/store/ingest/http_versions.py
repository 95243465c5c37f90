"""Records versions of fetched pages (table `runner.http_cache`).

If a client sends the version that it has, a server can respond that the page has not changed.

Only the writing thread writes versions, in the transaction that writes the rows of the pages. Workers have no access to
the database. They read a copy of two columns that is made when the run starts: an SQLite file, which finds a URL in
microseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa

from tui_runner.store.ingest.results_table import ArrowViews

_COLUMNS = frozenset({"url", "status", "headers"})
"""Columns by which a result table is recognised as pages."""
_SLICE = 10_000
"""Rows copied at once, so that the memory for the copy is limited."""


def record_versions(cursor: duckdb.DuckDBPyConnection, views: ArrowViews, tables: Iterable[pa.Table]) -> None:
    """Record the versions of pages with status 200, within the caller's transaction.

    The recorded version of such a page is removed if the new response has none.

    Args:
        cursor: cursor with an open transaction.
        views: makes Arrow tables available to the cursor.
        tables: result rows. Tables that lack `url`, `status` or `headers` are not pages and are skipped.
    """
    for table in tables:
        if not _COLUMNS.issubset(table.column_names):
            continue
        pages = table.select(sorted(_COLUMNS))  # sorted, because a set has no order
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
    """Copy the known versions to a new SQLite file. Return the number of pages."""
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
