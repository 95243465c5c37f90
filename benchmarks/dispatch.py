"""Measures the items per second of an empty function: tui-runner, with everything recorded, against a plain loop.

The loop is a `ThreadPoolExecutor` per chunk of 5,000 items with `as_completed`, which records nothing. Both run in
turn, several times; the result is the ratio of the medians.

    python benchmarks/dispatch.py [ITEMS] [ROUNDS]           in this process: chunks of 5,000, no rows; the bar is 2
    python benchmarks/dispatch.py --whole [ITEMS] [ROUNDS]   whole commands: default settings, a row an item; 2.5
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import median

CHUNK = 5_000
"""Items of a chunk, of the loop and of tui-runner."""
THREADS = 16
"""The default of tui-runner, used for both."""
BAR = 2.0
"""Rate that tui-runner must reach, as a multiple of the loop: it must be faster although it records every item."""
BAR_WHOLE = 2.5
"""The same for whole commands with 1 million items. With so many items, the start of the command hardly counts."""


def _nothing(number: int) -> None:
    return None


def plain_loop(items: int) -> float:
    """Return the seconds of the loop."""
    started = time.perf_counter()
    for first in range(0, items, CHUNK):
        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(_nothing, number) for number in range(first, first + CHUNK)]
            for future in as_completed(futures):
                future.result()
    return time.perf_counter() - started


def tui_runner(items: int) -> float:
    """Return the seconds from the start of the run, before its worker starts, to its last commit."""
    from tui_runner import run  # imported here, so that the loop, run as a command, does not load it
    from tui_runner.jobs.loading import load_job

    job = load_job(f"{Path(__file__).with_name('nothing.py')}:nothing")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        snapshot = run(job, database=Path(folder) / "x.duckdb", params={"count": items}, progress=False)
        seconds = time.perf_counter() - started
    if snapshot.items_done != items:
        raise SystemExit(f"{snapshot.items_done} of {items} items were done")
    return seconds


def whole_loop(items: int) -> float:
    """Return the seconds of the loop as a command."""
    started = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--loop", str(items)], check=True)
    return time.perf_counter() - started


def whole_command(items: int) -> float:
    """Return the seconds of `tui-runner run`, from its start to its end, with a row per item."""
    import duckdb

    command = [
        str(Path(sys.executable).with_name("tui-runner")),
        "run",
        f"{Path(__file__).with_name('peer_work.py')}:empty",
    ]
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "x.duckdb"
        started = time.perf_counter()
        subprocess.run([*command, "--input", f"range:0:{items}", "--db", database, "--headless", "--quiet"], check=True)
        seconds = time.perf_counter() - started
        with duckdb.connect(str(database), read_only=True) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM empty").fetchall()[0]
    if rows != items:
        raise SystemExit(f"{rows} rows of {items} items")
    return seconds


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", type=int, nargs="?")
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--whole", action="store_true", help="whole commands, 1 M items by default")
    parser.add_argument("--loop", action="store_true", help="the loop alone")
    options = parser.parse_args()
    items = options.items or (1_000_000 if options.whole else 200_000)
    if options.loop:
        plain_loop(items)
        return
    theirs, own, bar = (whole_loop, whole_command, BAR_WHOLE) if options.whole else (plain_loop, tui_runner, BAR)
    loops, runs = [], []
    for _ in range(options.rounds):
        loops.append(theirs(items))
        runs.append(own(items))
    loop, ours = median(loops), median(runs)
    print(f"{items:,} items, medians of {options.rounds}: loop {items / loop:,.0f}/s, tui-runner {items / ours:,.0f}/s")
    print(f"ratio {loop / ours:.2f} (bar {bar})")


if __name__ == "__main__":
    main()
