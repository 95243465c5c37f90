"""Measures rows per second through `Ingest` with and without heavy queries on the same database.

    python benchmarks/query_beside_ingest.py [--rows N] [--rounds N]

A console, as the query screen uses it, repeats an aggregate over all rows. The result is the ratio of the two rates;
the bar is 80 %. It also measures the longest time from a flush until its rows can be read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from ingest import batches

from tui_runner.errors import UserError
from tui_runner.store.database import Database
from tui_runner.store.ingest.writer_thread import Ingest
from tui_runner.store.ledger import Ledger
from tui_runner.store.query.console import Console
from tui_runner.store.records import Batch, RunRecord

HEAVY = """SELECT hash(title) % 1000 AS bucket, count(*), sum(price), max(url), approx_quantile(price, 0.9)
FROM results, range(3) GROUP BY bucket ORDER BY sum(price) DESC"""


def ingest(folder: Path, work: list[Batch], *, querying: bool) -> tuple[float, float, int]:
    """Return the seconds to write all of `work` twice, the longest wait for a commit, and the number of queries."""
    record = RunRecord(
        0, "job", "job.py:job", "results", None, {}, {}, "running", None, datetime.now(UTC), None, "", ""
    )
    submitted: dict[object, float] = {}
    waits: list[float] = []
    failed: list[BaseException] = []
    stop = threading.Event()
    ended = [0]

    def written(tickets: list[object]) -> None:
        now = time.perf_counter()
        waits.extend(now - submitted[ticket] for ticket in tickets)

    with Database.open(folder / "ingest.duckdb", for_run=True) as database:
        run_id = Ledger(database.cursor()).begin_run(record)
        database.note_run(run_id)  # statements have a low priority only while a run is active
        # The first queries need rows too.
        first = Ingest(database, run_id, "results", on_written=lambda _: None, on_error=failed.append)
        first.start()
        for batch in work:
            first.submit(batch)
        first.close()

        def ask() -> None:
            with Console(database) as console:
                while not stop.is_set():
                    try:
                        console.query(HEAVY).read_all()
                        ended[0] += 1
                    except UserError as error:
                        if not stop.is_set():
                            failed.append(error)
                            return

        asking = threading.Thread(target=ask)
        second = Ingest(database, run_id, "results", on_written=written, on_error=failed.append)
        if querying:
            asking.start()
        started = time.perf_counter()
        second.start()
        for batch in work:
            submitted[batch.ticket] = time.perf_counter()
            second.submit(batch)
        closed = second.close()
        seconds = time.perf_counter() - started
        stop.set()
        if querying:
            asking.join()
        if not closed or failed:
            raise SystemExit(f"nothing to compare: {failed}")
    return seconds, max(waits), ended[0]


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
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            alone, _, _ = ingest(Path(one), work, querying=False)
            beside, _, queries = ingest(Path(other), work, querying=True)
        ratios.append(alone / beside)
        print(
            f"round {number + 1}: alone {count / alone:,.0f} rows/s, beside {queries} queries "
            f"{count / beside:,.0f} rows/s: {alone / beside:.0%}"
        )
    print(f"median of {options.rounds}: beside queries Ingest keeps {statistics.median(ratios):.0%} of its rate")


if __name__ == "__main__":
    main()
