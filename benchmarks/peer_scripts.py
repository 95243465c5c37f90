"""Scripts that people write without tui-runner, as commands for `peers.py`.

    python benchmarks/peer_scripts.py CONTENDER FUNCTION COUNT DATABASE [--threads N] [--group N] [--lines FILE]

Each runs the function over its items and writes the rows to DuckDB from Arrow, once per 5,000 items or 50 tables. It
records nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

PROCESSES = 2
"""Processes of every peer, because the machines of the published figures have two cores."""
Items = Iterable[Any]
Function = Callable[[Any], Any]


def groups(items: Items, size: int) -> Iterator[list[Any]]:
    """Divide `items` into lists of `size`."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def loop(function: Function, items: Items, threads: int, group: int) -> Iterator[Any]:
    """Call the function in a loop."""
    return map(function, items)


def thread_chunks(function: Function, items: Items, threads: int, group: int) -> Iterator[Any]:
    """Use a new pool of threads for each group, and wait for the whole group."""
    for chunk in groups(items, group):
        with ThreadPoolExecutor(threads) as pool:
            for future in as_completed([pool.submit(function, item) for item in chunk]):
                yield future.result()


def threads_at_once(function: Function, items: Items, threads: int, group: int) -> Iterator[Any]:
    """Use one pool of threads that gets all items at once."""
    with ThreadPoolExecutor(threads) as pool:
        yield from (future.result() for future in as_completed([pool.submit(function, item) for item in items]))


def processes(function: Function, items: Items, threads: int, group: int) -> Iterator[Any]:
    """Use a pool of processes."""
    with multiprocessing.Pool(PROCESSES) as pool:
        yield from pool.imap_unordered(function, items, chunksize=group)


def joblib_threads(function: Function, items: Items, threads: int, group: int) -> Iterator[Any]:
    """Use the threads of joblib."""
    from joblib import Parallel, delayed

    call = delayed(function)
    yield from Parallel(n_jobs=threads, prefer="threads", return_as="generator_unordered", batch_size=group)(
        call(item) for item in items
    )


CONTENDERS = {each.__name__: each for each in (loop, thread_chunks, threads_at_once, processes, joblib_threads)}


def arrow(results: list[Any]) -> pa.Table:
    """Return the results of some items as one Arrow table."""
    if isinstance(results[0], dict):
        return pa.Table.from_pylist(results)
    if isinstance(results[0], list):
        return pa.Table.from_pylist([row for rows in results for row in rows])
    return pa.concat_tables([pa.Table.from_pandas(frame, preserve_index=False) for frame in results])


def main() -> None:
    """Run one contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("function", help="module:function")
    parser.add_argument("count", type=int)
    parser.add_argument("database")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--group", type=int, default=5_000)
    parser.add_argument("--insert", type=int, default=5_000, help="results an INSERT")
    parser.add_argument("--lines", type=Path)
    options = parser.parse_args()
    module, _, name = options.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    connection = duckdb.connect(options.database)
    with options.lines.open() if options.lines else _Range(options.count) as items:
        results = CONTENDERS[options.contender](function, items, options.threads, options.group)
        made = False
        for group in groups(results, options.insert):
            rows = arrow(group)  # noqa: F841 - DuckDB finds it by its name
            connection.execute("INSERT INTO results FROM rows" if made else "CREATE TABLE results AS FROM rows")
            made = True
    connection.close()


class _Range:
    """A range with the interface of an open file, for functions that need no lines."""

    def __init__(self, count: int) -> None:
        self._items = range(count)

    def __enter__(self) -> range:
        return self._items

    def __exit__(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    main()
