"""Inputs cut into chunks, read as they are needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ctrl_c import ctrl_c_raises
from support.input_files import cut

from tui_runner.errors import UserError
from tui_runner.inputs import items_source, made_items, source, total_items
from tui_runner.jobs.job import job


def test_iterables_have_a_total_if_they_have_a_length() -> None:
    assert items_source([1, 2]).total == 2
    assert items_source(iter([1, 2])).total is None
    assert items_source(range(10**30)).total is None
    assert items_source([1]).text is None
    assert [total_items(items_source([1, 2, 3]), limit) for limit in (None, 2, 9)] == [3, 2, 3]
    assert total_items(items_source(iter([])), 3) is None


def test_error_of_a_generator_is_one_line_with_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ConnectionError("gone\n[/foo]")

    line = items.__code__.co_firstlineno + 2
    with pytest.raises(UserError) as caught:
        list(items_source(items()))
    assert str(caught.value) == f"{__file__}:{line}: making the items failed: ConnectionError: gone [/foo]"


def _pages(fails: dict[int, list[Exception]], asked: list[int]) -> Iterator[int]:
    """Yield ten pages; each first raises its error in `fails`, if it has one."""
    for page in range(10):
        asked.append(page)
        if fails.get(page):
            raise fails[page].pop(0)
        yield page


def _twice(error: BaseException, failures: int) -> float | None:
    return 0.0 if isinstance(error, ConnectionError) and failures <= 2 else None


def test_items_are_made_again_behind_those_that_were_given() -> None:
    asked: list[int] = []
    fails: dict[int, list[Exception]] = {4: [ConnectionError("gone"), ConnectionError("gone")], 7: [ConnectionError()]}
    source = made_items(lambda: _pages(fails, asked), str, _twice)
    said: list[str] = []
    source.tell = lambda level, text: said.append(f"{level} {text}")
    assert list(source) == list(range(10))
    assert asked.count(0) == 4 and asked.count(9) == 1
    assert len(said) == 3 and said[0].startswith("WARNING making the items failed (ConnectionError: gone): they are")


@pytest.mark.parametrize("errors", [[ConnectionError("gone")] * 3, [ValueError("gone")]])
def test_items_that_cannot_be_made_end_with_what_had_been_read(errors: list[Exception]) -> None:
    fails = {4: errors.copy()}
    items = iter(made_items(lambda: _pages(fails, []), str, _twice))
    assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(UserError, match=rf"{__file__}:\d+: making the items failed: {type(errors[0]).__name__}: gone"):
        next(items)


@pytest.mark.parametrize("second", [[0, 5, 2, 3], [0, 1], []])
def test_items_that_are_others_when_made_again_are_not_taken_for_the_same(second: list[int]) -> None:
    made = iter([[0, 1, 2], second])

    def items() -> Iterator[int]:
        values = next(made)
        yield from values
        if values is not second:
            raise ConnectionError

    with pytest.raises(UserError, match="and the second time the first 3 items were different"):
        list(made_items(items, str, _twice))


def test_items_function_that_fails_before_its_first_item_is_called_again() -> None:
    errors = [ConnectionError(), ConnectionError()]

    def numbers() -> list[int]:
        if errors:
            raise errors.pop()
        return [1, 2]

    declared = job(lambda item: None)
    declared.items(numbers)
    assert list(made_items(lambda: declared.make_items({}), str, _twice)) == [1, 2]


class _Stopped(BaseException):
    """An error that is none of `Exception`, as asyncio's are."""


@pytest.mark.parametrize("error", [ValueError("gone"), StopIteration(), SystemExit(0), _Stopped("gone")])
@pytest.mark.parametrize("fails_later", [False, True])
def test_an_items_function_that_raises_at_once_is_reported_with_its_line(
    error: BaseException, fails_later: bool
) -> None:
    def numbers() -> list[int]:
        raise error

    declared = job(lambda item: None)
    declared.items(numbers)
    line = numbers.__code__.co_firstlineno + 1
    with pytest.raises(UserError) as caught:
        made = made_items(lambda: declared.make_items({}), str, fails_later=fails_later)
        assert fails_later
        list(made)
    assert str(caught.value).startswith(f"{__file__}:{line}: making the items failed: {type(error).__name__}")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), _Stopped("gone")])
def test_items_that_end_with_a_base_exception_are_reported_with_their_line(error: BaseException) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise error

    line = items.__code__.co_firstlineno + 2
    reader = items_source(items()).open()  # in a thread of its own, as a generator may be slow
    values: list[object] = []
    with pytest.raises(UserError, match=rf"^{__file__}:{line}: making the items failed: {type(error).__name__}"):
        while len(values) < 2:
            reader.take(values, 1)
    assert values == [1]


def test_ctrl_c_while_items_are_made_is_no_error_of_theirs() -> None:
    def items() -> Iterator[int]:
        yield 1
        signal.raise_signal(signal.SIGINT)
        yield 2

    with ctrl_c_raises(), pytest.raises(KeyboardInterrupt):
        list(items_source(items()))


def test_an_error_in_a_library_is_reported_with_the_line_that_called_it() -> None:
    def items() -> Iterator[object]:
        yield json.loads("{")

    line = items.__code__.co_firstlineno + 1
    with pytest.raises(UserError, match=rf"^{__file__}:{line}: making the items failed: JSONDecodeError"):
        list(items_source(items()))


@given(
    st.lists(st.integers(0, 5) | st.text(max_size=2), max_size=40), st.integers(1, 50), st.none() | st.integers(0, 50)
)
def test_chunks_are_a_partition_of_the_input(items: list[object], size: int, limit: int | None) -> None:
    chunks = list(cut(items_source(items), size, limit=limit))
    assert [value for chunk in chunks for value in chunk.values] == items[:limit]
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.first_item for chunk in chunks] == [size * chunk.number for chunk in chunks]
    assert all(len(chunk.values) == size for chunk in chunks[:-1])
    assert all(chunk.values for chunk in chunks)


def test_items_are_read_only_as_chunks_are_asked_for() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    chunks = cut(items_source(endless()), 3)
    assert taken == []
    assert next(chunks).values == [0, 1, 2]
    assert len(taken) == 3
    assert [chunk.values for chunk in cut(items_source(endless()), 100, limit=2)] == [[3, 4]]


def test_items_do_not_wait_for_a_generator_that_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PATIENCE", 0.05)
    more = threading.Event()

    def pages() -> Iterator[int]:
        yield from range(3)
        assert more.wait(60)
        yield from range(3, 6)

    chunks = cut(items_source(pages()), 500)
    assert next(chunks).values == [0, 1, 2]
    more.set()
    assert [chunk.values for chunk in chunks] == [[3, 4, 5]]


def test_items_before_a_failure_come_first() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("no more")

    chunks = cut(items_source(items()), 3)
    assert [next(chunks).values, next(chunks).values] == [[0, 1, 2], [3, 4]]
    with pytest.raises(UserError, match="ValueError: no more"):
        next(chunks)


def test_a_chunk_has_items() -> None:
    with pytest.raises(ValueError, match="0 items"):
        next(cut(items_source([1]), 0))


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.txt", "a.parquet"])
def test_a_file_is_never_held_whole(folder: Path, name: str) -> None:
    text = "x" * 2000
    if name == "a.parquet":
        table = pa.table({"id": range(1000), "text": [f"{n}{text}" for n in range(1000)]})
        with pq.ParquetWriter(name, table.schema, compression="none", use_dictionary=False) as file:
            for _ in range(100):
                file.write_table(table)
    else:
        row = {"a.csv": f"7,{text}", "a.txt": text}.get(name, f'{{"id": 7, "text": "{text}"}}')
        with Path(name).open("w") as lines:
            lines.writelines(["id,text\n"] * (name == "a.csv"))
            lines.writelines(f"{row}\n" for _ in range(100_000))
    program = (
        "import resource, sys, duckdb, pyarrow\nfrom tui_runner.inputs import open_source\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nbefore = peak()\n"
        "from tui_runner.engine.planning.cutting import CutByPosition\n"
        "cutter, count = CutByPosition(open_source(sys.argv[1])), 0\n"
        "while (read := cutter.next(500)) is not None: count += len(read.pending)\n"
        "print(count, (peak() - before) >> 10)"
    )
    root = str(Path(sys.modules["tui_runner"].__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", program, name],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert len(done.stdout.split()) == 2, done  # and DuckDB draws no progress bar on standard output
    count, grown = map(int, done.stdout.split())
    assert count == 100_000
    assert grown < 120, f"{grown} MB more for a file of 200 MB"


def test_plain_inputs_import_neither_duckdb_nor_arrow() -> None:
    program = (
        "import sys\nfrom tui_runner.inputs import open_source\nopen_source('range:0:9').open().take([], 2)\n"
        "import tui_runner.jobs.job, tui_runner.jobs.loading, tui_runner.jobs.settings\n"
        "print(sorted({'duckdb', 'pyarrow', 'textual', 'httpx'} & set(sys.modules)))"
    )
    root = str(Path(sys.modules["tui_runner"].__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
