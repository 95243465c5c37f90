"""CSV rows with a wrong number of fields: each is an item that fails, and the rows around it are read."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.input_files import cut, read, refusal, written

from tui_runner.inputs import open_source
from tui_runner.inputs.csv_text import RepairedText
from tui_runner.text.items import Refused


def refused(path: str, line: int, fields: str) -> Refused:
    place = f"{Path.cwd() / path}:{line}"
    reason = f"{place}: the row has {fields} where the first line has 2; correct the line, then retry the run"
    return Refused("InputUnreadable", reason, place)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_with_a_wrong_number_of_fields_fail_alone(folder: Path, name: str, end: str) -> None:
    lines = ["a,b", "1,2", "3", "", '5,"x', 'y"', "6,7,8", ",", '"9,9","10",', "11,12,x"]
    written(name, end.join(lines))
    assert read(name) == [
        {"a": "1", "b": "2"},
        refused(name, 3, "1 field"),
        {"a": "5", "b": f"x{end}y"},
        refused(name, 7 if end != "\r" else 6, "3 fields"),  # a \r within quotes is no end of a line
        {"a": None, "b": None},
        {"a": "9,9", "b": "10"},
        refused(name, 10 if end != "\r" else 9, "3 fields"),
    ]


def test_broken_row_of_a_large_file_leaves_positions_and_types_as_they_are(folder: Path) -> None:
    rows = [f"{number},{number}\n" for number in range(100_000)]
    rows[50_000] = "broken\n"  # is no number either, which DuckDB says first
    path = written("x.csv", "a,b\n" + "".join(rows))
    assert open_source(path).total == 100_000
    for chunk in cut(open_source(path), 500):
        numbers = range(chunk.first_item, chunk.first_item + 500)
        expected: list[object] = [{"a": number, "b": number} for number in numbers]
        if 50_000 in numbers:
            expected[50_000 - chunk.first_item] = refused(path, 50_002, "1 field")
        assert chunk.values == expected
    assert chunk.number == 199


def test_reader_skips_broken_rows_like_others(folder: Path) -> None:
    rows = [f"{number},{number}\n" for number in range(30_000)]
    rows[9_000] = rows[20_000] = "broken\n"
    reader = open_source(written("x.csv", "a,b\n" + "".join(rows))).open()
    reader.skip(19_999)
    values: list[object] = []
    while len(values) < 3:
        reader.take(values, 3 - len(values))
    assert values == [{"a": 19_999, "b": 19_999}, refused("x.csv", 20_002, "1 field"), {"a": 20_001, "b": 20_001}]


@pytest.mark.parametrize("rows", ["1\n", "1\n2\n3,4\n", "1,2,3\n" * 5_000 + "1,2\n"])
def test_file_whose_rows_are_mostly_broken_is_refused(folder: Path, rows: str) -> None:
    assert f"{folder}/a.csv:2: the row has " in refusal(written("a.csv", f"a,b\n{rows}"))


def test_value_of_another_type_behind_a_broken_row_ends_the_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_runner.inputs.source._SMALL_BYTES", 1_000)  # the types are those of the first rows
    written("a.csv", "n,s\n" + "1,x\n" * 110_000 + "broken\n" + "1,x\n" * 10 + "many,x\n")
    assert f"{folder}/a.csv:110013: 'many' in column n is not a whole number" in refusal("a.csv")


_FIELD = st.text(st.sampled_from('ab",\n '), max_size=4)


@settings(max_examples=60)
@given(
    rows=st.lists(st.lists(_FIELD, min_size=1, max_size=4), max_size=12),
    block=st.integers(1, 40),
    ended=st.booleans(),
)
def test_repaired_text_has_the_rows_of_pythons_csv_parser(rows: list[list[str]], block: int, ended: bool) -> None:
    lines = [",".join('"' + field.replace('"', '""') + '"' for field in row) for row in [["x", "y"], *rows]]
    text = ("\n".join(lines) + "\n" * ended).encode()
    repaired = RepairedText((text[start : start + block] for start in range(0, len(text), block)), ",", 2, True, 1_000)
    found = list(csv.reader(io.StringIO(b"".join(repaired).decode(), newline="")))
    assert found == [["x", "y"], *(row if len(row) == 2 else ["", ""] for row in rows)]
    first_lines = [1 + "\n".join(lines[:number]).count("\n") + 1 for number in range(1, len(lines))]
    assert list(repaired.broken) == [
        (number, first_lines[number], len(row)) for number, row in enumerate(rows) if len(row) != 2
    ]
    assert repaired.rows == len(rows)


def test_repaired_text_passes_on_quotes_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'a,b\n1\n"2"x,"3\n' + b"4,5\n" * 100
    repaired = RepairedText([text], ",", 2, True, 50)
    assert b"".join(repaired) == text.replace(b"\n1\n", b"\n,\n")
    assert [broken.line for broken in repaired.broken] == [2]
