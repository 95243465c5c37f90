"""Inputs: every kind of SOURCE read from real files, and cut into chunks."""

from __future__ import annotations

import csv
import gzip
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.errors import EXIT_DATABASE, EXIT_USAGE, DatabaseError, UserError
from tui_runner.inputs import cut, items_source, open_source, total_items
from tui_runner.keys import KeyMaker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name: str, content: str | bytes) -> str:
    """The name of a file with this content in the current folder; compressed if it ends in .gz."""
    raw = content.encode() if isinstance(content, str) else content
    Path(name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return name


def read(text: str, **options: Any) -> list[object]:
    source = open_source(text, **options)
    items = list(source)
    assert source.total in (None, len(items))
    return items


def refusal(text: str, **options: Any) -> str:
    """What opening or reading says."""
    with pytest.raises(UserError) as caught:
        list(open_source(text, **options))
    assert str(caught.value).isprintable()
    return str(caught.value)


# --- lines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT"])
def test_a_line_of_text_is_an_item(folder: Path, name: str) -> None:
    text = b"\xef\xbb\xbfone\r\n\r\n  \n two \n\xc3\xa9[/foo]\nbroken \xff\nlast"
    source = open_source(written(name, text))
    assert source.columns == ("line",)
    assert list(source) == ["one", " two ", "é[/foo]", "broken \\xff", "last"]
    assert list(source) == list(source)
    assert source.total == (None if name.endswith("gz") else 5)


def test_standard_input_is_read_as_it_comes(folder: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as stream, os.fdopen(write_end, "wb", buffering=0) as writer:
        source = open_source("-", stdin=stream)
        assert (source.columns, source.total, source.text) == (("line",), None, "-")
        items = iter(source)
        writer.write(b"one\n\n")
        assert next(items) == "one"
        writer.write(b'{"a": 1}')
        writer.close()
        assert list(items) == ['{"a": 1}']
    assert read("-", stdin=io.StringIO("a\nb\n")) == ["a", "b"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
def test_json_lines_keep_every_type(folder: Path, name: str) -> None:
    lines = '{"a": 1, "d": "2026-01-01"}\n\n{"a": 123456789012345678901234567890, "late": [1.5, null]}\n'
    source = open_source(written(name, lines))
    assert source.columns == ("a", "d", "late")
    assert list(source) == [{"a": 1, "d": "2026-01-01"}, {"a": 123456789012345678901234567890, "late": [1.5, None]}]
    selected = source.select(("a",))
    assert (selected.columns, selected.total) == (("a",), source.total)
    assert list(selected) == [{"a": 1}, {"a": 123456789012345678901234567890}]


def test_json_objects_with_one_member_give_their_values(folder: Path) -> None:
    source = open_source(written("a.jsonl", '{"url": "x"}\n{"url": null}\n{}\n'))
    assert source.columns == ("url",)
    assert list(source) == ["x", None, None]


def test_json_that_is_no_table_has_no_columns(folder: Path) -> None:
    source = open_source(written("a.jsonl", '[1, 2]\n"x"\n{"a": 1}\n'))
    assert source.columns is None
    assert list(source) == [[1, 2], "x", {"a": 1}]


def test_a_broken_json_line_is_named(folder: Path) -> None:
    assert refusal(written("a.jsonl", '{"a": 1}\n\nnonsense\n')).endswith("a.jsonl:3: it is not JSON: Expecting value")
    good = '{"a": 1}\n' * 2000
    source = open_source(written("b.jsonl", good + "{"))
    assert source.columns == ("a",)
    with pytest.raises(UserError, match=r"b.jsonl:2001: it is not JSON"):
        list(source)


# --- JSON ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "columns", "items"),
    [
        ('[{"a": 1, "b": 2.0}, {"a": "x"}]', ("a", "b"), [{"a": 1, "b": 2.0}, {"a": "x"}]),
        ('{\n "a": 1,\n "b": []\n}', ("a", "b"), [{"a": 1, "b": []}]),
        ('{"a": 1}\n{"a": 2}', ("a",), [1, 2]),
        ('[1, "é", null, [2]]', None, [1, "é", None, [2]]),
        ("[]", None, []),
        ("", None, []),
        (f'[{{"n": {10**30}, "d": "2026-01-01"}}]', ("n", "d"), [{"n": 10**30, "d": "2026-01-01"}]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_json_files(folder: Path, name: str, text: str, columns: object, items: list[object]) -> None:
    source = open_source(written(name, text))
    assert source.columns == columns
    assert list(source) == items
    assert source.total == len(items)


def test_json_that_breaks_off(folder: Path) -> None:
    assert (
        refusal(written("a.json", '[{"a": 1}, {"a": 2},'))
        == f"{folder}/a.json: its array does not end: the file was cut off; get the whole file"
    )
    assert "Malformed" in refusal(written("b.json", '{"a": 1} {"a": '))


def test_empty_fields_leave_a_column_its_type(folder: Path) -> None:
    assert read(written("a.csv", "width,height\n1,2\n,4\n5.5,\n")) == [
        {"width": 1.0, "height": 2},
        {"width": None, "height": 4},
        {"width": 5.5, "height": None},
    ]


# --- CSV -----------------------------------------------------------------------------------------------------


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
        ("a,b\n1,2\n3\n4,5\n", "a.csv:3: the row has 1 fields where the first line has 2"),
        ("a,b\n1,2\n3,4,5\n", "a.csv:3: the row has 3 fields where the first line has 2"),
        ('a,b\n1,"2\n3,4\n', "a.csv:2: a value in quotes does not end as it should; double the quotes inside it"),
        (b"a,b\n" + b"1,x\n" * 9999 + b"1,\xff\n", "a.csv:10001: it is not UTF-8 text; save it as UTF-8"),
        (b"a,b\n\xe9,1\n", "a.csv:1: it is not UTF-8 text"),
        ("1,2\n3,4\n", "a.csv: its first line holds data and not the names of columns: '1,2'; put a line"),
        ("http://x,2\n", "its first line holds data"),
        ("\n\na,b\r\n1,2\r\n", "a.csv:1: its first line is blank"),
        ("a,b\n1,2\r\n3,4\n", "a.csv: its lines end in different ways"),
    ],
    ids=range(9),
)
def test_a_broken_csv_file_is_named_with_its_line(folder: Path, text: str | bytes, message: str) -> None:
    assert message in refusal(written("a.csv", text))


def test_a_value_that_comes_too_late_to_change_a_large_files_types(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("a.csv", "n,s\n" + "1,x\n" * 120_000 + "many,x\n")
    assert read("a.csv")[-1] == {"n": "many", "s": "x"}
    monkeypatch.setattr("tui_runner.inputs.table_files._SMALL_BYTES", 1000)
    source = open_source("a.csv")
    assert source.total is None
    assert next(iter(source)) == {"n": 1, "s": "x"}
    with pytest.raises(
        UserError, match=r"a.csv:120002: 'many' in column n is not a whole number, as all values before"
    ):
        list(source)


def test_a_broken_row_does_not_change_the_types_and_so_the_keys_of_others(folder: Path) -> None:
    rows = "n,s\n" + "".join(f"{n},{'x' * 200}\n" for n in range(30_000))
    whole = list(cut(open_source(written("a.csv", rows)), 500))
    broken: list[Any] = []
    with pytest.raises(UserError, match=r"a\.csv:30002"):
        broken.extend(cut(open_source(written("a.csv", rows + "1,2,3\n")), 500))
    keys = [key for chunk in broken for key in chunk.keys]
    assert keys
    assert keys == [key for chunk in whole for key in chunk.keys][: len(keys)]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1), st.integers(-(10**30), 10**30)
        ),
        max_size=20,
    )
)
def test_what_pythons_csv_writes_is_read_again(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
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


# --- Parquet -------------------------------------------------------------------------------------------------


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
    source = open_source("a.parquet").select(("b", "i"))
    assert list(source) == [{"b": b"\0", "i": 2**62}]
    assert list(open_source("a.parquet").select(("i",))) == [{"i": 2**62}]  # rows stay rows


def test_parquet_knows_its_total_and_is_read_in_order_and_in_part(folder: Path) -> None:
    pq.write_table(pa.table({"n": range(300_000)}), "a.parquet", row_group_size=50_000)
    source = open_source("a.parquet")
    assert (source.total, source.columns) == (300_000, ("n",))
    assert list(islice(source, 5)) == [0, 1, 2, 3, 4]
    assert list(source) == list(range(300_000))


def test_a_broken_parquet_file(folder: Path) -> None:
    assert "a.parquet: " in refusal(written("a.parquet", b"PAR1 nonsense PAR1"))
    assert "inputs end in" in refusal(written("a.parquet.gz", b""))


# --- globs ---------------------------------------------------------------------------------------------------


def test_a_glob_reads_files_in_the_order_of_their_names(folder: Path) -> None:
    (folder / "in").mkdir()
    for name, text in (("b.csv", "y,x\n3,4\n"), ("a.csv", "x,y\n1,2\n"), ("c.csv", "y,x,more\n5,6,7\n")):
        written(f"in/{name}", text)
    source = open_source("in/*.csv")
    assert list(source) == [{"x": 1, "y": 2}, {"x": 4, "y": 3}, {"x": 6, "y": 5}]
    assert source.total == 3
    assert len(read("**/*.csv")) == 3
    written("in/d.csv", "x,z\n1,2\n")
    assert "in/d.csv: it lacks the columns y, which the files before have x, y" in refusal("in/*.csv")
    for name in ("1.parquet", "2.parquet"):
        pq.write_table(pa.table({"n": [name]}), f"in/{name}")
    assert read("in/*.parquet") == ["1.parquet", "2.parquet"]
    written("in/1.txt", "a\nb"), written("in/2.txt.gz", "c")
    assert read("in/*.txt*") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope.csv", "nope.csv: there is no such file; did you mean "),
        ("no/where.csv", "there is no folder"),
        ("*.nope", "no file matches"),
        ("*", "it matches files of several kinds"),
        (".", "the input is a folder"),
        ("", "'' names no input"),
        ("x.xlsx", ".xlsx can't be read; inputs end in .csv, .tsv, .parquet"),
        ("noending", "no ending can't be read"),
        ("https://x.org/a.csv", "an address is no input"),
        ("\x1b]52;c;x\x07.csv", r"'\x1b]52;c;x\x07.csv': there is no such file"),
        ("a\0b.csv", "names no input"),
        ("x" * 5000 + ".csv", "the input can't be read"),
        ("range:5", "write range:START:STOP"),
        ("range:1:x", "is no range"),
        ("range:1:2:0", "is no range"),
        ("range:1:2:3:4", "is no range"),
    ],
)
def test_what_is_no_input_says_so(folder: Path, text: str, message: str) -> None:
    written("nope1.csv", "a,b\n"), written("b.txt", "x")
    if text in ("x.xlsx", "noending"):
        written(text, "")
    assert message in refusal(text)


# --- ranges --------------------------------------------------------------------------------------------------


def test_ranges(folder: Path) -> None:
    source = open_source("range:1:10:3")
    assert (list(source), source.total, source.unique, source.columns) == ([1, 4, 7], 3, True, ("value",))
    assert read("range:3:0:-1") == [3, 2, 1]
    assert read("range:0:0") == []
    assert open_source("range:0:1_000_000_000_000").total == 10**12


# --- sql -----------------------------------------------------------------------------------------------------


@pytest.fixture
def database(folder: Path) -> Path:
    path = folder / "run's.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE pages AS SELECT range AS n, 'p' || range AS url FROM range(5000)")
        connection.execute("CREATE SCHEMA runner; CREATE TABLE runner.items AS SELECT 1 AS item")
    return path


def test_a_query_over_files_needs_no_database(folder: Path) -> None:
    written("a.csv", "a,b\n1,2\n")
    assert read("sql:FROM 'a.csv'") == [{"a": 1, "b": 2}]
    assert read("sql: SELECT 1::HUGEINT AS a, 2 AS a, 'x' AS \"at\"; -- done") == [{"a": 1, "a_1": 2, "at": "x"}]
    uuid = "00000000-0000-0000-0000-000000000001"
    row = read(f"sql:SELECT '{uuid}'::UUID u, INTERVAL 1 DAY i, TIMESTAMPTZ '2026-01-01 00:00:00+00' t, '101'::BIT b")[
        0
    ]
    assert row == {"u": UUID(uuid), "i": timedelta(days=1), "t": datetime(2026, 1, 1, tzinfo=UTC), "b": "101"}


def test_a_query_over_the_database_is_a_copy_made_at_once(database: Path) -> None:
    source = open_source("sql:SELECT url, n FROM pages ORDER BY n DESC", database=database)
    assert source.total == 5000
    # The run has the file for itself, and what it writes changes no item.
    with duckdb.connect(database) as connection:
        connection.execute("DELETE FROM pages")
        items = list(source)
    assert items == [{"url": f"p{n}", "n": n} for n in reversed(range(5000))]
    assert next(iter(source.select(("n",)))) == {"n": 4999}
    assert read("sql:FROM runner.items", database=database) == [1]


def test_the_copy_goes_with_its_source(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = database.parent / "tmp"
    places.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(places))
    source = open_source("sql:FROM pages", database=database)
    assert len(list(places.iterdir())) == 1
    items = iter(source.select(("n",)))
    del source
    assert next(items) == {"n": 0}
    items.close()  # type: ignore[attr-defined]
    del items
    assert list(places.iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selec 1", 'syntax error at or near "selec"'),
        ("select 1; select 2", "that is not one query; write a single SELECT"),
        ("create table x(i int)", "not one query"),
        ("connect foo", "not one query"),
        ("", "not one query"),
        ("from nowhere", "Table with name nowhere does not exist"),
        ("from 'no.csv'", "No files found"),
        ("select error('boom \x1b[31m')", r"boom \x1b[31m"),
        ("select nope from pages", "nope"),
        ("copy (select 1) to 'out.csv'", "not one query"),
    ],
)
def test_what_is_no_query_says_so(database: Path, sql: str, message: str) -> None:
    assert message in refusal(f"sql:{sql}", database=database)
    assert not Path("out.csv").exists()


def test_a_database_that_cannot_be_read(database: Path) -> None:
    with pytest.raises(UserError, match=r"the database .*x.duckdb does not exist yet"):
        open_source("sql:FROM pages", database=Path("x.duckdb"))
    with pytest.raises(DatabaseError, match="it is no DuckDB database") as caught:
        open_source("sql:FROM pages", database=Path(written("no.duckdb", "nonsense nonsense")))
    assert (caught.value.exit_code, UserError.exit_code) == (EXIT_DATABASE, EXIT_USAGE)
    program = f"import duckdb; c = duckdb.connect({str(database)!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        other.stdout.readline()
        with pytest.raises(DatabaseError, match="another process has it open"):
            open_source("sql:FROM pages", database=database)
        other.stdin.write(b"\n")
        other.stdin.close()


# --- items of Python -----------------------------------------------------------------------------------------


def test_iterables_have_a_total_if_they_have_a_length() -> None:
    assert items_source([1, 2]).total == 2
    assert items_source(range(5)).unique
    assert not items_source([1, 1]).unique
    assert items_source(iter([1, 2])).total is None
    assert items_source(range(10**30)).total is None
    assert items_source([1]).text is None
    assert [total_items(items_source([1, 2, 3]), limit) for limit in (None, 2, 9)] == [3, 2, 3]
    assert total_items(items_source(iter([])), 3) is None


def test_what_a_generator_raises_is_one_line_with_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ConnectionError("gone\n[/foo]")

    line = items.__code__.co_firstlineno + 2
    with pytest.raises(UserError) as caught:
        list(items_source(items()))
    assert str(caught.value) == f"{__file__}:{line}: making the items failed: ConnectionError: gone [/foo]"


# --- chunks --------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 5) | st.text(max_size=2), max_size=40), st.integers(1, 50), st.none() | st.integers(0, 50)
)
def test_chunks_are_a_partition_of_the_input(items: list[object], size: int, limit: int | None) -> None:
    chunks = list(cut(items_source(items), size, limit=limit))
    assert [value for chunk in chunks for value in chunk.values] == items[:limit]
    maker = KeyMaker()
    assert [key for chunk in chunks for key in chunk.keys] == [maker.key(item) for item in items[:limit]]
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
        "import resource, sys, duckdb, pyarrow\nfrom tui_runner.inputs import cut, open_source\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nbefore = peak()\n"
        "print(sum(len(c.values) for c in cut(open_source(sys.argv[1]), 500)), (peak() - before) >> 10)"
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
        "import sys\nfrom tui_runner.inputs import cut, open_source\nlist(cut(open_source('range:0:9'), 2))\n"
        "import tui_runner.job, tui_runner.loading, tui_runner.settings\n"
        "print(sorted({'duckdb', 'pyarrow', 'textual', 'httpx'} & set(sys.modules)))"
    )
    root = str(Path(sys.modules["tui_runner"].__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
