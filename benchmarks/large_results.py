"""Measures rows per second of a job that makes tables of thousands of rows, in one worker, from start to last commit.

The job `tables` makes lists of dicts in plain Python. It is compared with its two parts alone: making the rows in a
loop that drops them, and inserting the same rows, as Arrow tables, into a DuckDB file. The slower part limits one
worker; the bar is 0.7 of it. All three run in turn, several times; the medians count.

    python benchmarks/large_results.py [PAGES] [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb

from tui_runner import Job, run
from tui_runner.jobs.loading import load_job
from tui_runner.store.rows.collect import build, collect

BAR = 0.7
"""Rows per second that a run must reach, as a fraction of those of the slower part alone."""


def making(job: Job, pages: int) -> float:
    """Return the rows per second of the function alone."""
    started = time.perf_counter()
    rows = sum(len(job.function(page)) for page in range(1, pages + 1))
    return rows / (time.perf_counter() - started)


def inserting(job: Job, pages: int) -> float:
    """Return the rows per second of inserting Arrow tables alone, eight tables per transaction."""
    results = [(page, collect(job.function(page))) for page in range(1, 9)]
    tables = build(results).tables
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(Path(folder) / "x.duckdb")) as database:
        database.register("made", tables[0])
        database.execute("CREATE TABLE kept AS FROM made LIMIT 0")
        repeats = max(1, pages // len(results))
        rows: int = repeats * tables[0].num_rows
        started = time.perf_counter()
        for _ in range(repeats):
            database.execute("INSERT INTO kept FROM made")
        return rows / (time.perf_counter() - started)


def tui_runner(job: Job, pages: int) -> float:
    """Return the rows per second of a whole run, including the start of its worker."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        snapshot = run(job, database=Path(folder) / "x.duckdb", params={"pages": pages}, progress=False)
        seconds = time.perf_counter() - started
    if snapshot.items_done != pages:
        raise SystemExit(f"{snapshot.items_done} of {pages} pages were done")
    return snapshot.rows / seconds


def main() -> None:
    """Print the medians and their ratio."""
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    job = load_job("tables")
    parts: dict[str, list[float]] = {"making": [], "inserting": [], "tui-runner": []}
    for _ in range(rounds):
        parts["making"].append(making(job, pages))
        parts["inserting"].append(inserting(job, pages))
        parts["tui-runner"].append(tui_runner(job, pages))
    rates = {name: median(values) for name, values in parts.items()}
    print(f"{pages} pages, medians of {rounds}: " + ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items()))
    print(f"ratio {rates['tui-runner'] / min(rates['making'], rates['inserting']):.2f} (bar {BAR})")


if __name__ == "__main__":
    main()
