"""Measures the time to the first page of a large result, and the time in which Escape ends a statement.

    python benchmarks/first_page.py [ROWS]

Statements are run on a console, as on the query screen, and on bare DuckDB with the same database. DuckDB must finish
some of them before it has a first row (sorting, grouping). The bar is 300 ms for a result of 10 million rows. Then a
cross join is cancelled repeatedly; the bar is 200 ms.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from tui_runner.store.database import Database
from tui_runner.store.query.console import Console
from tui_runner.store.query.errors import QueryCancelled
from tui_runner.store.query.pages import PAGE_ROWS, Pages

STATEMENTS = (
    "FROM books",
    "SELECT * FROM books WHERE stars = 3",
    "SELECT *, price * 1.19 AS gross FROM books",
    "FROM books ORDER BY price LIMIT 1000",
    "FROM books ORDER BY price",
    "SELECT title, count(*) FROM books GROUP BY title",
)
CROSS_JOIN = "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b WHERE hash(a.range + b.range) % 7 = 3"
ROUNDS = 5
"""Runs of each statement; their median is the result."""
CANCELLED = 20
"""Number of cancelled statements; their median and maximum are printed."""


def page_seconds(database: Database, sql: str) -> float:
    """Return the seconds until the first page is read."""
    begun = time.perf_counter()
    with Console(database) as console:
        pages = Pages(console.query(sql))
        pages.page(0)
        seconds = time.perf_counter() - begun
        pages.close()
    return seconds


def bare_seconds(database: Database, sql: str) -> float:
    """Return the seconds until DuckDB itself returns its first batch, without a console."""
    cursor = database.cursor()
    begun = time.perf_counter()
    reader = cursor.sql(sql).to_arrow_reader(PAGE_ROWS)
    reader.read_next_batch()
    seconds = time.perf_counter() - begun
    cursor.interrupt()
    reader.close()
    database.close_cursor(cursor)
    return seconds


def cancel_seconds(database: Database) -> float:
    """Return the seconds from the call of `cancel` to the end of a cross join."""
    cancelled: list[float] = []
    with Console(database) as console:

        def cancel() -> None:
            cancelled.append(time.perf_counter())
            console.cancel()

        threading.Timer(0.3, cancel).start()
        try:
            console.query(CROSS_JOIN).read_all()
        except QueryCancelled:
            return time.perf_counter() - cancelled[0]
    raise SystemExit("the cross join was not cancelled")


def main() -> None:
    """Print the seconds."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as folder, Database.open(Path(folder) / "x.duckdb") as database:
        cursor = database.cursor()
        cursor.execute(
            "CREATE TABLE books AS SELECT 1 AS _run, range AS _item, 'Book no. ' || range AS title,"
            f" hash(range) % 100000 / 100 AS price, range % 5 AS stars FROM range({rows})"
        )
        database.close_cursor(cursor)
        for sql in STATEMENTS:
            console = [page_seconds(database, sql) for _ in range(ROUNDS)]
            bare = [bare_seconds(database, sql) for _ in range(ROUNDS)]
            print(f"{statistics.median(console):6.3f} s, bare {statistics.median(bare):6.3f} s   {sql}")
        waits = sorted(cancel_seconds(database) for _ in range(CANCELLED))
        print(f"cancelled after {statistics.median(waits) * 1000:.0f} ms, {waits[-1] * 1000:.0f} ms at worst")


if __name__ == "__main__":
    main()
