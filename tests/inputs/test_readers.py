"""Readers of items: whatever is taken, skipped or opened again, the items are those of the input."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.errors import UserError
from tui_runner.inputs import items_source, open_source
from tui_runner.inputs.source import LostItems, is_range
from tui_runner.inputs.text_lines import LineReader
from tui_runner.text.items import Refused

steps = st.lists(st.tuples(st.sampled_from(["take", "skip", "reopen"]), st.integers(0, 9)), max_size=20)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, list[object]]]:
    """Of each kind of input its `SOURCE` and its items."""
    folder = tmp_path_factory.mktemp("in")
    lines = [f"é{n}" for n in range(40)]
    (folder / "a1.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n \n".join(lines[:15]).encode())
    (folder / "a2.txt").write_bytes(b"")
    (folder / "a3.txt").write_bytes(("\n" + "\n\n".join(lines[15:]) + "\n").encode())
    (folder / "a.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    rows = [{"n": n, "s": f"é{n}"} for n in range(40)]
    (folder / "a.jsonl").write_text("\n\n".join(f'{{"n": {row["n"]}, "s": "{row["s"]}"}}' for row in rows))
    (folder / "a.csv").write_text("n,s\n" + "".join(f"{row['n']},{row['s']}\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet", row_group_size=7)
    return {
        "lines": (str(folder / "a?.txt"), [*lines]),
        "compressed": (str(folder / "a.txt.gz"), [*lines]),
        "jsonl": (str(folder / "a.jsonl"), [*rows]),
        "csv": (str(folder / "a.csv"), [*rows]),
        "parquet": (str(folder / "a.parquet"), [*rows]),
        "range": ("range:5:45", [*range(5, 45)]),
    }


@pytest.mark.parametrize("kind", ["lines", "compressed", "jsonl", "csv", "parquet", "range"])
@settings(max_examples=25)
@given(steps=steps)
def test_items_are_those_of_the_input(inputs, kind: str, steps: list[tuple[str, int]]) -> None:
    text, items = inputs[kind]
    source = open_source(text)
    assert list(source) == items
    reader, place = source.open(), 0
    for step, count in steps:
        if step == "take":
            values: list[object] = ["before"]
            reader.take(values, count)
            assert values == ["before", *items[place : place + count]]
        elif step == "skip":
            reader.skip(count)
        elif (offset := reader.offset) is not None:
            reader.close()
            reader = source.open(offset)
        place = min(len(items), place + count * (step != "reopen"))
    reader.close()
    assert (source.open().offset is not None) == (kind in ("lines", "jsonl"))


def test_broken_line_is_named_wherever_reading_began(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("1\n\n2\n3\n\n[\n4\n[\n")
    source = open_source(str(path))
    reader = source.open()
    values: list[object] = []
    reader.take(values, 2)
    for start in (None, reader.offset):
        values = []
        source.open(start).take(values, 10)
        assert [value for value in values if not isinstance(value, Refused)] == [1, 2, 3, 4][2 * (start is not None) :]
        assert [str(value) for value in values if isinstance(value, Refused)] == [f"{path}:6", f"{path}:8"]
    reader.close()


def test_files_have_a_fingerprint_that_any_change_changes(tmp_path: Path) -> None:
    for name in ("a1.txt", "a2.txt"):
        (tmp_path / name).write_text("x\n")
    found = [open_source(str(tmp_path / "a*.txt")).fingerprint()]
    assert found[0] == open_source(str(tmp_path / "a*.txt")).fingerprint()
    os.utime(tmp_path / "a1.txt", ns=(1, 1))
    found.append(open_source(str(tmp_path / "a*.txt")).fingerprint())
    (tmp_path / "a2.txt").write_text("xy\n")
    found.append(open_source(str(tmp_path / "a*.txt")).fingerprint())
    (tmp_path / "a3.txt").write_text("x\n")
    found.append(open_source(str(tmp_path / "a*.txt")).fingerprint())
    (tmp_path / "b").write_text("x\n")
    os.utime(tmp_path / "b", ns=(1, 1))
    (tmp_path / "b").replace(tmp_path / "a1.txt")  # the same name, size and time
    found.append(open_source(str(tmp_path / "a*.txt")).fingerprint())
    assert len({*found}) == len(found)


def test_inputs_that_may_change_unseen_have_no_fingerprint() -> None:
    assert items_source([1, 2]).fingerprint() is None
    assert open_source("sql:SELECT 1").fingerprint() is None
    assert items_source(range(3)).fingerprint() == open_source("range:0:3").fingerprint()
    assert is_range(items_source(range(3))) and not is_range(items_source([1]))


def test_items_that_are_lost_say_so() -> None:
    source = LostItems("-", ("line",), "they came through a pipe")
    with pytest.raises(UserError, match="they came through a pipe"):
        list(source)


def test_a_file_that_is_gone_when_reading_goes_on_is_named(tmp_path: Path) -> None:
    first, gone = tmp_path / "a.txt", tmp_path / "gone.txt"
    first.write_text("one\ntwo\n")
    with pytest.raises(UserError, match=r"gone\.txt: the input can't be read: No such file"):
        LineReader([first, gone], bytes.decode, start=2)
