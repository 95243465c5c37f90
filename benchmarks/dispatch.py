"""Items per second of an empty function: tui-runner, with everything recorded, against the loop people write.

The loop is a `ThreadPoolExecutor` per chunk of 5,000 items with `as_completed`, which records nothing. Both run in
turn, several times; what counts is the ratio of the medians. The bar is 2.

    python benchmarks/dispatch.py [ITEMS] [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import median

from tui_runner import run
from tui_runner.jobs.loading import load_job

CHUNK = 5_000
THREADS = 16
BAR = 2.0


def _nothing(number: int) -> None:
    return None


def plain_loop(items: int) -> float:
    """Seconds of the loop."""
    started = time.perf_counter()
    for first in range(0, items, CHUNK):
        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(_nothing, number) for number in range(first, first + CHUNK)]
            for future in as_completed(futures):
                future.result()
    return time.perf_counter() - started


def tui_runner(items: int) -> float:
    """Seconds from the start of the run, its worker not yet started, to its last commit."""
    job = load_job(f"{Path(__file__).with_name('nothing.py')}:nothing")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        snapshot = run(job, database=Path(folder) / "x.duckdb", params={"count": items}, progress=False)
        seconds = time.perf_counter() - started
    if snapshot.items_done != items:
        raise SystemExit(f"{snapshot.items_done} of {items} items were done")
    return seconds


def main() -> None:
    """Print the medians and their ratio."""
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    loops, runs = [], []
    for _ in range(rounds):
        loops.append(plain_loop(items))
        runs.append(tui_runner(items))
    loop, ours = median(loops), median(runs)
    print(f"{items:,} items, medians of {rounds}: loop {items / loop:,.0f}/s, tui-runner {items / ours:,.0f}/s")
    print(f"ratio {loop / ours:.2f} (bar {BAR})")


if __name__ == "__main__":
    main()
