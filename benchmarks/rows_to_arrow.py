"""Measures the conversion of a function's rows to Arrow, against `pyarrow.Table.from_pylist` on the same rows.

    python benchmarks/rows_to_arrow.py [ROWS]

`from_pylist` takes its columns from the first row and its types from the first values, fails on mixed ones, and needs
all rows at once; it is a measure for speed, not an alternative. Each result is a ratio of the fastest of several
rounds, in which the two conversions take turns.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable

import pyarrow as pa

from tui_runner.store.rows.collect import build, collect

_ROUNDS = 7
"""Rounds of each case; the fastest is the result."""
_SMALL_LIST = 50
"""Rows per item in the case of small results: too few for an Arrow table of their own, so they are collected first."""


def make_rows(count: int) -> list[dict[str, object]]:
    """Return `count` rows of 8 columns, as a scraper returns them."""
    moment = dt.datetime(2024, 5, 17, 12, 30, tzinfo=dt.UTC)
    return [
        {
            "id": number,
            "url": f"https://example.org/catalogue/page-{number}.html",
            "title": f"Title number {number % 977}",
            "price": number * 0.25,
            "in_stock": number % 3 == 0,
            "published": dt.date(2000 + number % 24, 1 + number % 12, 1),
            "seen_at": moment + dt.timedelta(seconds=number),
            "note": None if number % 4 else "reduced",
        }
        for number in range(count)
    ]


def best(cases: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the processor seconds of the fastest round of each case. The cases take turns, so the load is the same."""
    fastest = dict.fromkeys(cases, float("inf"))
    for _ in range(_ROUNDS):
        for name, case in cases.items():
            started = time.process_time()
            case()
            fastest[name] = min(fastest[name], time.process_time() - started)
    return fastest


def dropped(results: Iterable[object]) -> None:
    """Iterate over `results` and drop them: a list of them would add the time of the garbage collector."""
    deque(results, maxlen=0)


def main(count: int) -> None:
    """Measure and print."""
    rows = make_rows(count)
    row = rows[0]
    single = list(enumerate(map(collect, rows)))
    slices = [rows[n : n + _SMALL_LIST] for n in range(0, count, _SMALL_LIST)]
    lists = list(enumerate(map(collect, slices)))
    yardstick = "pa.Table.from_pylist"
    seconds = best(
        {
            yardstick: lambda: pa.Table.from_pylist(rows),
            "collect: one list of all rows": lambda: collect(rows),
            "collect: a generator of all rows": lambda: collect(iter(rows)),
            "collect: a dict an item": lambda: dropped(map(collect, rows)),
            "build: a dict an item": lambda: build(single),
            f"collect: {_SMALL_LIST} rows an item": lambda: dropped(map(collect, slices)),
            f"build: {_SMALL_LIST} rows an item": lambda: build(lists),
        }
    )
    print(f"{count:,} rows of {len(row)} columns, CPU time, best of {_ROUNDS} rounds")
    for name, taken in seconds.items():
        print(f"  {name:34} {taken / count * 1e6:6.2f} µs a row   {seconds[yardstick] / taken:5.2f} × its speed")
    small = best({"dict": lambda: dropped(collect({"a": 1, "b": "x"}) for _ in range(count))})["dict"]
    print(f"  {'collect: a dict of two keys':34} {small / count * 1e6:6.2f} µs an item")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
