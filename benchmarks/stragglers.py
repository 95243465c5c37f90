"""Measures the wall time when a few items take far longer than the others: tui-runner against a plain loop.

One item in 200 waits a hundred times as long as the others. The loop is a `ThreadPoolExecutor` per chunk, so each chunk
lasts as long as its slowest item; tui-runner's chunks overlap. In the ideal schedule, every thread takes the next item
as soon as it has none, without knowing which items are slow. The bar is 1.25 times the ideal plus the start-up, which
is measured by a run of a single item. The loop must take at least five times as long.

    python benchmarks/stragglers.py [ROUNDS]
"""

from __future__ import annotations

import heapq
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import median

from tui_runner import Job, run
from tui_runner.jobs.loading import load_job

CHUNKS = 8
"""Number of chunks. The loop waits at the end of each one for a slow item."""
CHUNK = 500
"""Items of a chunk. One item in 200 is slow, so every chunk has some."""
THREADS = 100
"""Threads: so many that all short items of a chunk end while one slow item runs."""
SHORT, LONG = 0.02, 2.0
"""Seconds of a usual item, and of one item in 200."""
BAR = 1.25
"""Largest allowed wall time, as a multiple of the ideal schedule."""
LOOP_BAR = 5.0
"""Multiple of the ideal schedule that the loop must take at least; otherwise this benchmark would show nothing."""


def waits(items: int) -> list[float]:
    """Return the seconds that each item waits: one in 200 waits a hundred times as long as the others."""
    chance = random.Random(1)
    return [LONG if chance.random() < 0.005 else SHORT for _ in range(items)]


def shortest(seconds: list[float]) -> float:
    """Return the seconds of a schedule that takes the items in order and never leaves a thread idle."""
    free_at = [0.0] * THREADS
    for wait in seconds:
        heapq.heapreplace(free_at, free_at[0] + wait)
    return max(free_at)


def plain_loop(seconds: list[float]) -> float:
    """Return the seconds of the loop."""
    started = time.perf_counter()
    for first in range(0, len(seconds), CHUNK):
        with ThreadPoolExecutor(THREADS) as pool:
            for future in as_completed([pool.submit(time.sleep, wait) for wait in seconds[first : first + CHUNK]]):
                future.result()
    return time.perf_counter() - started


def tui_runner(job: Job, seconds: list[float]) -> float:
    """Return the seconds from the start of the run, before its worker starts, to its last commit."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        snapshot = run(
            job, items=seconds, database=Path(folder) / "x.duckdb", threads=THREADS, chunk_size=CHUNK, progress=False
        )
        took = time.perf_counter() - started
    if snapshot.items_done != len(seconds):
        raise SystemExit(f"{snapshot.items_done} of {len(seconds)} items were done")
    return took


def main() -> None:
    """Print the medians and their ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    job = load_job(f"{Path(__file__).with_name('nothing.py')}:wait")
    seconds = waits(CHUNKS * CHUNK)
    ideal = shortest(seconds)
    loops, runs, starts = [], [], []
    for _ in range(rounds):
        loops.append(plain_loop(seconds))
        starts.append(tui_runner(job, [0.0]))
        runs.append(tui_runner(job, seconds))
    loop, ours, start = median(loops), median(runs), median(starts)
    print(f"{len(seconds):,} items, ideal {ideal:.2f} s; medians of {rounds}: ", end="")
    print(f"loop {loop:.2f} s, tui-runner {ours:.2f} s, its start-up {start:.2f} s")
    print(f"ratio {(ours - start) / ideal:.2f} of the ideal (bar {BAR}); loop {loop / ideal:.1f} (at least {LOOP_BAR})")
    bound = max(sum(seconds) / THREADS, max(seconds))
    print(f"of the slowest item, or of all by the threads: {(ours - start) / bound:.2f}; the ideal {ideal / bound:.2f}")


if __name__ == "__main__":
    main()
