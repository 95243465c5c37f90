"""Measures how soon a query finds a row after its function returned, and the cost of a heavy aggregate for the run.

    python benchmarks/freshness.py [ITEMS]
    python benchmarks/freshness.py ITEMS --tables

`stamps.py` runs in its own process. This process queries it through its socket, as `tui-runner query` does: one thread
repeats the aggregate over all rows, another queries the newest rows. The bar is 1.5 s at the 99th percentile. A second
run without the aggregate shows the cost of the aggregate: the run should keep 95 % of its rate.

With `--tables`, 500 threads return tables of 0.85 MB, faster than the database stores them, and no aggregate runs. The
bar is 5 s, and 2 GB for all processes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from flat_memory import Peaks

from tui_runner.errors import UserError
from tui_runner.store.access import RemoteAccess, open_access

BAR = 1.5
"""Seconds allowed until a row can be queried, at the 99th percentile; the bar in docs/performance.md."""
RATE_BAR = 0.95
"""Rate that the run must keep beside the heavy query, as a fraction of its rate alone."""
TABLES_BAR = 5.0
"""Seconds allowed until a row of a large table from one of 500 threads can be queried, at the 99th percentile."""
MEMORY_BAR = 2e9
"""Bytes that all processes together may use with large tables from 500 threads."""
JOB = Path(__file__).with_name("stamps.py")
TABLES_JOB = Path(__file__).with_name("stamped_tables.py")
HEAVY = """SELECT hash(title) % 1000 AS bucket, count(*), sum(price), approx_quantile(price, 0.9)
FROM stamps, range(30) GROUP BY bucket ORDER BY sum(price) DESC"""
NEWEST = "SELECT _item, any_value(returned_at) AS returned_at FROM stamps WHERE returned_at > $since GROUP BY _item"
ENDED = "SELECT item AS _item, epoch(finished_at) AS returned_at FROM runner.items WHERE epoch(finished_at) > $since"
"""The query for the newest items with `--tables`. It reads the ledger, because each poll of the table would read
millions of rows and slow down the run. Rows and ledger are committed in the same transaction."""
SLOWEST = 60.0
"""Seconds by which an item may be seen later than one that returned after it; each poll looks back so far."""
POLL_SECONDS = 0.01
"""Seconds between two queries for the newest rows: much less than the delays that are measured."""


def opened(database: Path) -> RemoteAccess:
    """Return the access to the run's database, as soon as its table has columns."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            access = open_access(database, patience=0.0)
            if isinstance(access, RemoteAccess):
                with access.console() as console:
                    console.query("SELECT returned_at FROM stamps LIMIT 1").read_all()
                return access
            access.close()
        except UserError:
            time.sleep(0.05)
    raise SystemExit("the run did not begin")


def ask(access: RemoteAccess, stop: threading.Event, ended: list[float]) -> None:
    """Run the aggregate again and again until the run is over. Return the seconds of each execution."""
    with access.console() as console:
        while not stop.is_set():
            begun = time.perf_counter()
            try:
                console.query(HEAVY).read_all()
            except UserError:
                return
            ended.append(time.perf_counter() - begun)


class Measured(NamedTuple):
    """The figures of one run.

    Attributes:
        waits: seconds from each item's end until its rows were seen.
        aggregates: seconds of each aggregate.
        active: seconds of the run.
        memory: highest resident bytes of its processes.
    """

    waits: list[float]
    aggregates: list[float]
    active: float
    memory: int


def measure(job: Path, items: int, *, querying: bool) -> Measured:
    """Run a job, query its newest rows all the time and, with `querying`, the aggregate as well."""
    found: dict[int, float] = {}
    aggregates: list[float] = []
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "x.duckdb"
        command = [sys.executable, "-m", "tui_runner", "run", str(job), "--headless", "--quiet"]
        with subprocess.Popen([*command, "--set", f"count={items}", "--db", str(database)]) as run:
            peaks = Peaks(run.pid)
            access = opened(database)
            asking = threading.Thread(target=ask, args=(access, stop, aggregates))
            if querying:
                asking.start()
            since = 0.0
            with access.console() as console:
                # Rows of the first query are left out, because nobody knows when they became visible.
                before = True
                while run.poll() is None:
                    asked = time.time()
                    try:
                        newest = console.query(NEWEST if job == JOB else ENDED, {"since": since}).read_all()
                    except UserError:
                        break
                    for item, returned_at in zip(*newest.to_pydict().values(), strict=True):
                        found.setdefault(item, -1.0 if before else max(asked - returned_at, 0.0))
                        since = max(since, returned_at - SLOWEST)
                    before = False
                    time.sleep(POLL_SECONDS)
            peaks.stop()
            stop.set()
            if querying:
                asking.join()
        with open_access(database) as access, access.console() as console:
            active = console.query("SELECT active_seconds FROM runner.runs").read_all()["active_seconds"][0].as_py()
    waits = [delay for delay in found.values() if delay >= 0]
    return Measured(waits, aggregates, active, max(peaks.first, peaks.rest))


def describe(measured: Measured, bar: float) -> str:
    """Return median and percentiles of the delays as one line."""
    waits, aggregates = measured.waits, measured.aggregates
    beside = f"beside {len(aggregates)} aggregates of {median(aggregates):.2f} s" if aggregates else "alone"
    p99 = quantiles(waits, n=100)[98]
    return f"{beside}: {len(waits):,} items, median {median(waits):.2f} s, p99 {p99:.2f} s (bar {bar} s)"


def main() -> None:
    """Print the delays."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--tables"]
    if "--tables" in sys.argv:
        measured = measure(TABLES_JOB, int(arguments[0]) if arguments else 5_000, querying=False)
        print(describe(measured, TABLES_BAR))
        print(f"{measured.memory / 1e9:.2f} GB at most (bar {MEMORY_BAR / 1e9:.0f} GB), {measured.active:.0f} s")
        return
    seconds = []
    for querying in (False, True):
        measured = measure(JOB, int(arguments[0]) if arguments else 3_000, querying=querying)
        seconds.append(measured.active)
        print(describe(measured, BAR))
    print(f"beside aggregates the run keeps {seconds[0] / seconds[1]:.1%} of its rate (bar {RATE_BAR:.0%})")


if __name__ == "__main__":
    main()
