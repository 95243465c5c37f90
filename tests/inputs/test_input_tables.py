"""Inputs: CSV and Parquet, read from real files."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from operator import add
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.input_files import read, refusal, written
from support.python_memory import at_most

from tui_runner.errors import UserError
from tui_runner.inputs import compressed_files, csv_files, open_source
from tui_runner.inputs import source as sources
from tui_runner.inputs.keys import plain_key
from tui_runner.store.arrow_batches import PIECE_BYTES
from tui_runner.text.items import Refused


def test_csv_values_have_the_type_that_loses_nothing(folder: Path) -> None:
    text = (
        "id,zip,big,price,long,day,at,zoned,flag,nothing,code\n"
        "1,00123,123456789012345678901234567890,1.5,0.12345678901234567890,2026-01-01,2026-01-01 10:00,"
        "2026-01-01T10:00:00Z,true,,12E4\n"
        "-2,04567,3,1e-05,1.0,2026-02-28,2026-01-01T10:00:00.5,2026-01-01 10:00:00+02:00,FALSE,,3E4\n"
    )
    for name in ("a.csv", "a.csv.gz"):
        first, second = read(written(name, text))
        assert first == {
            "id": 1,
            "zip": "00123",
            "big": 123456789012345678901234567890,
            "price": 1.5,
            "long": "0.12345678901234567890",
            "day": date(2026, 1, 1),
            "at": datetime(2026, 1, 1, 10),
            "zoned": datetime(2026, 1, 1, 10, tzinfo=UTC),
            "flag": True,
            "nothing": None,
            "code": "12E4",
        }
        assert isinstance(second, dict)
        assert (second["id"], second["price"], second["flag"]) == (-2, 1e-05, False)
        assert second["zoned"] == datetime(2026, 1, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "text", "items"),
    [
        ("a.csv", 'a,b\r\n1,"x, ""y""\nz"\r\n2,\r\n3,""\r\n', [
            {"a": 1, "b": 'x, "y"\nz'}, {"a": 2, "b": None}, {"a": 3, "b": ""},
        ]),
        ("a.csv", "\ufeffnäme;x\nété;1", [{"näme": "été", "x": 1}]),
        ("a.tsv", "a\tb\nx,y\t2\n", [{"a": "x,y", "b": 2}]),
        ("a.csv", "a|b\n1|2\n\n3|4\n", [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        ("a.csv", "a,A,a,\n1,2,3,4\n", [{"a": 1, "A": 2, "a_2": 3, "column4": 4}]),
        ("a.csv", '"a\nq","x,y"\n1,2\n', [{"a\nq": 1, "x,y": 2}]),
        ("a.csv", "name,2025,2026\nx,1,2\n", [{"name": "x", "2025": 1, "2026": 2}]),
        ("a.csv", "day,x\n2026-02-30,1\n", [{"day": "2026-02-30", "x": 1}]),
        ("a.csv", "url,title\n", []),
        ("a.csv", "url,title", []),
        ("a.csv", "", []),
        ("[a] *?'.csv", "a,b\n1,2\n", [{"a": 1, "b": 2}]),
        # A single column: whatever stands in the line is the value.
        ("a.csv", "url\nhttp://a?x=1,2\n\nhttp://b;c|d\n", ["http://a?x=1,2", "http://b;c|d"]),
        ("a.csv", 'url\n"http://a,b"\n""\n', ["http://a,b", ""]),
        ("a.csv", "http://a\nhttp://b\n", ["http://a", "http://b"]),
        ("a.csv", "1\n2\n", [1, 2]),
        ("a.csv", "url\n", []),
    ],
)  # fmt: skip
def test_csv_files(folder: Path, name: str, text: str, items: list[object]) -> None:
    assert read(written(name, text)) == items
    assert open_source(name).total == len(items)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n3\n4,5,6\n", "a.csv:2: the row has 1 field where the first line has 2"),
        ('a,b\n1,"2\n3,4\n', "a.csv:2: a quoted value has no closing quote; close it, or double the quotes inside it"),
        (b"a,b\n" + b"1,x\n" * 9999 + b"1,\xff\n", "a.csv:10001: it is not UTF-8 text; save it as UTF-8"),
        (b"a,b\n\xe9,1\n", "a.csv:2: it is not UTF-8 text"),
        (b"a,b\xe9\n1,1\n", "a.csv:1: it is not UTF-8 text"),
        ("1,2\n3,4\n", "a.csv: its first line has data, not names of columns: '1,2'; put a line"),
        ("http://x,2\n", "its first line has data"),
        ("\n\na,b\r\n1,2\r\n", "a.csv:1: its first line is blank"),
    ],
    ids=range(8),
)
def test_a_broken_csv_file_is_named_with_its_line(folder: Path, text: str | bytes, message: str) -> None:
    assert message in refusal(written("a.csv", text))


@pytest.mark.parametrize("late", [False, True])
def test_a_file_that_is_only_named_as_compressed_is_told_from_one_in_another_encoding(folder: Path, late: bool) -> None:
    # `written` would compress a file of this name.
    (folder / "a.csv.gz").write_bytes(b"a,b\n" + b"1,x\n" * (9999 if late else 0) + b"1,\xff\n")
    assert refusal("a.csv.gz").endswith(
        "a.csv.gz: its name ends in .gz, but it is not gzip data; get the whole file again"
    )


def test_a_value_that_comes_too_late_to_change_a_large_files_types(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("a.csv", "n,s\n" + "1,x\n" * 120_000 + "many,x\n")
    assert read("a.csv")[-1] == {"n": "many", "s": "x"}
    monkeypatch.setattr("tui_runner.inputs.source._SMALL_BYTES", 1000)
    source = open_source("a.csv")
    assert source.total is None
    assert next(iter(source)) == {"n": 1, "s": "x"}
    with pytest.raises(
        UserError, match=r"a.csv:120002: 'many' in column n is not a whole number, as all values before"
    ):
        list(source)


def test_a_broken_row_does_not_change_the_types_and_so_the_keys_of_others(folder: Path) -> None:
    rows = "n,s\n" + "".join(f"{n},{'x' * 200}\n" for n in range(30_000))
    whole = read(written("a.csv", rows))
    broken = read(written("a.csv", rows + "1,2,3\n"))
    assert len(broken) == len(whole) + 1
    assert list(map(plain_key, broken[:-1])) == list(map(plain_key, whole))


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1), st.integers(-(10**30), 10**30)
        ),
        max_size=20,
    )
)
def test_files_of_pythons_csv_writer_are_read_again(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([("text text", "number"), *rows])
    items = read(str(path))
    assert [item["number"] for item in items] == [number for _, number in rows]  # type: ignore[index]
    if not any(looks_typed(text) for text, _ in rows):
        assert [item["text text"] for item in items] == [text for text, _ in rows]  # type: ignore[index]


def looks_typed(text: str) -> bool:
    return text[0] in "-0123456789" or text.lower() in ("true", "false")


def test_parquet_keeps_types(folder: Path) -> None:
    row = {
        "i": 2**62,
        "at": datetime(2026, 1, 1, 10, 0, 0, 5),
        "zoned": datetime(2026, 1, 1, 10, tzinfo=UTC),
        "d": Decimal("1.50"),
        "b": b"\0",
        "list": [1, None],
        "struct": {"x": "y"},
        "none": None,
        "at": datetime(2026, 1, 1),  # noqa: F601
    }
    table = pa.Table.from_pylist([row])
    table = table.append_column("ns", pa.array([1_000], pa.timestamp("ns")))
    pq.write_table(table, "a.parquet")
    assert read("a.parquet") == [{**row, "ns": datetime(1970, 1, 1, 0, 0, 0, 1)}]


def test_parquet_knows_its_total_and_is_read_in_order_and_in_part(folder: Path) -> None:
    pq.write_table(pa.table({"n": range(300_000)}), "a.parquet", row_group_size=50_000)
    source = open_source("a.parquet")
    assert (source.total, source.columns) == (300_000, ("n",))
    assert list(islice(source, 5)) == [0, 1, 2, 3, 4]
    assert list(source) == list(range(300_000))


def test_of_wide_rows_few_are_objects_at_once(folder: Path) -> None:
    pq.write_table(pa.table({"n": range(1_000), "text": ["x" * 100_000] * 1_000}), "a.parquet")
    with at_most(6 * PIECE_BYTES):
        assert sum(1 for _ in open_source("a.parquet")) == 1_000


def test_a_broken_parquet_file(folder: Path) -> None:
    assert "a.parquet: " in refusal(written("a.parquet", b"PAR1 nonsense PAR1"))
    assert "inputs end in" in refusal(written("a.parquet.gz", b""))


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,x\r\n2,y\n", "a,b\r\n1,x\n2,y\r\n", "a,b\r1,x\r\n2,y\n", "a,b\n1,x\r2,y\r", "\ufeffa,b\r\n1,x\n2,y"],
)
def test_lines_that_end_in_different_ways_are_lines(folder: Path, text: str) -> None:
    assert read(written("a.csv", text)) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


_FIELD = st.text(st.sampled_from('ab",\r\n '), max_size=5)


@settings(max_examples=20)
@given(
    rows=st.lists(st.tuples(_FIELD, _FIELD), min_size=1, max_size=12),
    ends=st.lists(st.sampled_from(["\n", "\r\n", "\r"]), min_size=14, max_size=14),
    block=st.integers(1, 40),
)
def test_fields_in_quotes_keep_the_ends_of_their_lines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], ends: list[str], block: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    lines = [",".join('"' + field.replace('"', '""') + '"' for field in row) for row in [("x 1", "x 2"), *rows]]
    path.write_text("".join(map(add, lines, ends)), newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed_files, "BLOCK", block)
        assert read(str(path)) == [{"x 1": one, "x 2": two} for one, two in rows]


def test_row_that_is_too_large_fails_alone(folder: Path) -> None:
    rows = [{"n": 1, "t": "x"}, {"n": 2, "t": "y" * 2_000}, {"n": 3, "t": None}, {"n": 4, "t": "z" * 900}]
    pq.write_table(pa.Table.from_pylist(rows), "a.parquet")
    pq.write_table(pa.table({"l": [[1], list(range(1_000)), None], "n": [1, 2, 3]}), "b.parquet")
    items = list(open_source("a.parquet", max_bytes=1_000))
    assert [items[0], items[2], items[3]] == [rows[0], rows[2], rows[3]]
    assert isinstance(items[1], Refused)
    assert "a.parquet: row 2: the item is larger than 1.0 kB; raise max_input_bytes" in items[1].message
    nested = list(open_source("b.parquet", max_bytes=1_000))
    assert [nested[0], nested[2]] == [{"l": [1], "n": 1}, {"l": None, "n": 3}] and isinstance(nested[1], Refused)
    query = list(open_source("sql:SELECT repeat('x', n * 600) AS t FROM range(3) r(n)", max_bytes=1_000))
    assert query[:2] == ["", "x" * 600]
    assert isinstance(query[2], Refused) and query[2].message.startswith("the input sql: row 3: the item is larger")


def test_json_value_that_is_too_large_fails_alone(folder: Path) -> None:
    rows = [{"a": "1 x", "b": 2}, {"a": "x" * 3_000_000, "b": 3}, {"a": "2 x", "b": 4}]
    items = list(open_source(written("a.json", json.dumps(rows)), max_bytes=2_000_000))
    assert isinstance(items[1], Refused) and "a.json: row 2: the item is larger than 2.0 MB" in items[1].message
    assert [items[0], items[2]] == [rows[0], rows[2]]


def test_csv_row_that_is_too_large_ends_the_input(folder: Path) -> None:
    written("a.csv", f"a,b\n1 x,2\n{'x' * 3_000_000},3\n")
    with pytest.raises(UserError, match=r"a\.csv:3: a row is larger than 2\.0 MB; raise max_input_bytes to have"):
        list(open_source("a.csv", max_bytes=2_000_000))


@pytest.mark.slow
@pytest.mark.parametrize("large", ["x" * 3_000_000, "9" * 3_000_000, '"' + "x\n" * 1_500_000 + '"', "x" * 20_000_000])
@pytest.mark.parametrize("before", ["{0},{0}\n", "{0}t,{0}\n", '"{0}\nt",{0}\n'])
def test_a_csv_row_that_is_too_large_is_reported_as_such_whatever_its_column(
    folder: Path, before: str, large: str
) -> None:
    rows = "".join(map(before.format, range(50_000)))
    written("a.csv", f"a,b\n{rows}{large},3\n{rows}")
    line = rows.count("\n") + 2
    with pytest.raises(UserError) as caught:
        list(open_source("a.csv", max_bytes=1_000_000))
    assert (
        str(caught.value)
        == f"{folder}/a.csv:{line}: a row is larger than 1.0 MB; raise max_input_bytes to have it read"
    )


def test_csv_file_whose_large_row_can_be_read_is_another_input(folder: Path) -> None:
    rows = "".join(f"{number},{number}\n" for number in range(5_000))
    written("a.csv", f"a,b\n{rows}{'x' * 9_000_000},3\n{rows}")
    small, large = (open_source("a.csv", max_bytes=size) for size in (1_000_000, 10_000_000))
    assert len(list(large)) == 10_001
    assert small.fingerprint() != large.fingerprint(), "items behind that row have other places"
    assert small.fingerprint() == open_source("a.csv", max_bytes=1_000_000).fingerprint()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_value_that_does_not_fit_its_column_is_reported_although_a_later_row_is_too_large(
    folder: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_SMALL_BYTES", 0)  # the types are those of the first rows
    rows = "".join(f"{number},{number}{end}" for number in range(120_000))
    written("a.csv", f"a,b{end}{rows}x,3{end}{'y' * 3_000_000},3{end}{rows}")
    said = refusal("a.csv", max_bytes=2_000_000)
    assert said.startswith(f"{folder}/a.csv:120002: 'x' in column a is not a whole number")


@pytest.mark.parametrize(
    ("heading", "said"),
    [
        ("a" * 20_000_000, "its first line does not end within 1.0 MB; put the names of the columns there"),
        (
            "a" * 200_000,
            "a name in its first line has more than 131,072 characters; put the names of the columns there",
        ),
        ('"' + "a\n" * 1_000_000, "its first line does not end within 1.0 MB"),
        ('"a"b', "the quotes in its first line are not valid CSV; close them, and double those inside a name"),
    ],
    ids=["line", "name", "quote", "quotes"],
)
def test_csv_heading_that_cannot_be_one_is_refused(folder: Path, heading: str, said: str) -> None:
    assert f"{folder}/a.csv:1: {said}" in refusal(written("a.csv", f"{heading},b\n1,2\n"))


def test_names_in_quotes_may_have_spaces_around_them(folder: Path) -> None:
    assert read(written("a.csv", '"a ""x""" ,"b\n,c" \n1,2\n')) == [{'a "x"': 1, "b\n,c": 2}]
    assert read(written("a.tsv", '"a" \tb "x"\n1\t2\n')) == [{"a": 1, 'b "x"': 2}]


@pytest.mark.parametrize("end", ["", "\n"])
def test_last_csv_row_beyond_the_buffer_is_refused(folder: Path, end: str) -> None:
    written("a.csv", f"a\n1\n{'x' * 5_000_000}{end}")
    with pytest.raises(UserError, match=r"a\.csv: its last row is larger than 2\.0 MB; raise max_input_bytes to have"):
        list(open_source("a.csv", max_bytes=2_000_000))


def test_json_array_behind_a_byte_order_mark_is_read_by_its_elements(folder: Path) -> None:
    Path("a.json").write_bytes(b'\xef\xbb\xbf[{"a": 1, "b": 2}, {"a": 3, "b": 4}]')
    assert list(open_source("a.json")) == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_file_of_many_columns_has_their_types(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "_COLUMNS_AT_ONCE", 20)
    values = ["1", "1.5", "x", "", "2026-01-02", "2026-02-30", "true"]
    width = 70
    row = [values[index % 7] for index in range(width)]
    written("a.csv", "\n".join([",".join(f"c{index}" for index in range(width)), ",".join(row), ",".join(row)]))
    found = read("a.csv")
    expected = [1, 1.5, "x", None, date(2026, 1, 2), "2026-02-30", True]
    assert found == [{f"c{index}": expected[index % 7] for index in range(width)}] * 2


@pytest.mark.slow
def test_file_of_thousands_of_columns_of_text_is_read(folder: Path) -> None:
    width = 2_500  # DuckDB nests 1,000 expressions at most
    text = ["x"] * width
    written("a.csv", "\n".join([",".join(f"c{index}" for index in range(width)), ",".join(text), ",".join(text[1:])]))
    whole, broken = read("a.csv")
    assert whole == {f"c{index}": "x" for index in range(width)}
    assert isinstance(broken, Refused) and "the row has 2,499 fields where the first line has 2,500" in broken.message
