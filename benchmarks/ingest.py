"""Measures rows per second through `Ingest`, against a bare `INSERT … SELECT` of the same Arrow table into DuckDB.

    python benchmarks/ingest.py [--rows N] [--rounds N]

Both write the same rows into a new file: the bare insert in transactions as large as those of `Ingest`; `Ingest` as
batches of a worker (500 rows per item), with the ledger and schema checks. The result is the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from tui_runner.store.connection import STORAGE_VERSION
from tui_runner.store.database import Database
from tui_runner.store.ingest.writer_thread import MAX_ROWS, Ingest
from tui_runner.store.ledger import Ledger
from tui_runner.store.records import ITEMS, Batch, RunRecord

ROWS_PER_ITEM = 500
"""Rows of an item. A batch of `ITEMS_PER_BATCH` such items has 5,000 rows, as from a worker with large results."""
ITEMS_PER_BATCH = 10
"""Items of a batch; see `ROWS_PER_ITEM`."""


def rows(first_item: int, items: int) -> pa.Table:
    """Return result rows of some items, with eight columns of the usual types."""
    count = items * ROWS_PER_ITEM
    numbers = pa.array(range(first_item * ROWS_PER_ITEM, first_item * ROWS_PER_ITEM + count), pa.int64())
    texts = numbers.cast(pa.string())
    return pa.table(
        {
            "_item": pa.array([first_item + row // ROWS_PER_ITEM for row in range(count)], pa.int64()),
            "id": numbers,
            "title": texts,
            "price": numbers.cast(pa.float64()),
            "url": pa.array([f"https://example.org/page/{number}" for number in range(count)]),
            "seen": numbers.cast(pa.timestamp("us")),
            "stock": numbers.cast(pa.int32(), safe=False),
            "sold": pa.array([True, False] * (count // 2)),
        }
    )


def batches(total_rows: int) -> list[Batch]:
    """Return the rows as a worker sends them."""
    now = datetime.now(UTC)
    made = []
    for first in range(0, total_rows // ROWS_PER_ITEM, ITEMS_PER_BATCH):
        items = [
            {
                "item": item,
                "chunk": item // 500,
                "key": f"{item:032x}",
                "state": "ok",
                "attempts": 1,
                "rows": ROWS_PER_ITEM,
            }
            | {"seconds": 0.1, "finished_at": now}
            for item in range(first, first + ITEMS_PER_BATCH)
        ]
        table = rows(first, ITEMS_PER_BATCH)
        made.append(Batch(first, (table,), pa.Table.from_pylist(items, schema=ITEMS), None, table.num_rows))
    return made


def bare(folder: Path, work: list[Batch]) -> float:
    """Return the seconds of the insert alone."""
    connection = duckdb.connect(str(folder / "bare.duckdb"), config={"storage_compatibility_version": STORAGE_VERSION})
    table = pa.concat_tables([batch.tables[0] for batch in work])
    connection.register("incoming", table.slice(0, 0))
    connection.execute("CREATE TABLE results AS FROM incoming")
    started = time.perf_counter()
    for first in range(0, table.num_rows, MAX_ROWS):
        connection.register("incoming", table.slice(first, MAX_ROWS))
        connection.execute("INSERT INTO results FROM incoming")
    connection.execute("CHECKPOINT")
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


def through_ingest(folder: Path, work: list[Batch]) -> float:
    """Return the seconds of the same rows through `Ingest`."""
    record = RunRecord(
        0, "job", "job.py:job", "results", None, {}, {}, "running", None, datetime.now(UTC), None, "", ""
    )
    failed: list[BaseException] = []
    with Database.open(folder / "ingest.duckdb") as database:
        run_id = Ledger(database.cursor()).begin_run(record)
        ingest = Ingest(database, run_id, "results", on_written=lambda _: None, on_error=failed.append)
        started = time.perf_counter()
        ingest.start()
        for batch in work:
            ingest.submit(batch)
        if not ingest.close() or failed:
            raise SystemExit(f"nothing to compare: {failed}")
        database.cursor().execute("CHECKPOINT")
        return time.perf_counter() - started


def main() -> None:
    """Print the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    work = batches(options.rows)
    count = sum(batch.rows for batch in work)
    ratios = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            one, other = bare(Path(folder), work), through_ingest(Path(folder), work)
        ratios.append(one / other)
        print(
            f"round {number + 1}: bare {count / one:,.0f} rows/s, Ingest {count / other:,.0f} rows/s: {one / other:.0%}"
        )
    print(f"median of {options.rounds}: Ingest reaches {statistics.median(ratios):.0%} of the bare insert")


if __name__ == "__main__":
    main()
