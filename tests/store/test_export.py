"""Results in every format."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.python_memory import at_most

from tui_runner.errors import UserError
from tui_runner.store import export as export_module
from tui_runner.store.arrow_batches import PIECE_BYTES
from tui_runner.store.database import Database
from tui_runner.store.export import TEXT_FORMATS, write_parquet, write_text
from tui_runner.store.query.console import Console
from tui_runner.text.safe_text import display_width

Export = Callable[..., str]

EVERYTHING = """
SELECT TIMESTAMPTZ '2026-01-02 03:04:05.5+02' AS aware, TIMESTAMP '2026-01-02 03:04:05' AS naive,
    TIMESTAMP_NS '2026-01-02 03:04:05.123456789' AS fine, DATE '2026-01-02' AS day, TIME '03:04:05.25' AS clock,
    CAST('12345678901234567890.123456789' AS DECIMAL(38,9)) AS price, CAST('0.0000001' AS DECIMAL(18,7)) AS small,
    170141183460469231731687303715884105727::HUGEINT AS huge, CAST('nan' AS DOUBLE) AS nothing,
    CAST('-inf' AS FLOAT) AS below, 0.1::FLOAT AS tenth, 1e300 AS large, 1.0::DOUBLE AS one,
    '\\xFF\\x00ab\\x5C'::BLOB AS bytes, INTERVAL '1 month 2 days' AS span, [1, NULL, 3] AS list,
    {'a': 1.50::DECIMAL(5,2), 'b': ['x"y']} AS struct, MAP {'k': DATE '2026-01-02'} AS map,
    'x'::ENUM('x', 'y') AS choice,
    CAST('{"n": 1.10, "s": [null, "é"]}' AS JSON) AS json, true AS yes, NULL AS missing, '' AS empty,
    '9e8af0a3-0000-0000-0000-000000000000'::UUID AS id, 'a"b,c' || chr(10) || 'd|e' AS text
"""


@pytest.fixture
def export(database: Database) -> Iterator[Export]:
    console = Console(database)

    def run(sql: str, format: str, **options: Any) -> str:
        out = io.StringIO(newline="")
        with console.query(sql) as result:
            write_text(result, format, out, **options)
        return out.getvalue()

    yield run


def test_every_type_as_json(export: Export) -> None:
    text = export(EVERYTHING, "jsonl")
    row = json.loads(text, parse_float=str)
    assert row == {
        "aware": "2026-01-02T01:04:05.5Z", "naive": "2026-01-02T03:04:05", "fine": "2026-01-02T03:04:05.123456789",
        "day": "2026-01-02", "clock": "03:04:05.25", "price": "12345678901234567890.123456789", "small": "0.0000001",
        "huge": 2**127 - 1, "nothing": None, "below": None, "tenth": "0.1", "large": "1e+300", "one": "1.0",
        "bytes": "\\xFF\\x00ab\\x5C", "span": "1 month 2 days", "list": [1, None, 3],
        "struct": {"a": "1.50", "b": ['x"y']}, "map": {"k": "2026-01-02"}, "choice": "x",
        "json": {"n": "1.10", "s": [None, "é"]}, "yes": True, "missing": None, "empty": "",
        "id": "9e8af0a3-0000-0000-0000-000000000000", "text": 'a"b,c\nd|e',
    }  # fmt: skip


def test_every_type_as_csv(export: Export) -> None:
    header, row = csv.reader(io.StringIO(export(EVERYTHING, "csv"), newline=""))
    assert dict(zip(header, row, strict=True)) == {
        "aware": "2026-01-02 01:04:05.5Z", "naive": "2026-01-02 03:04:05", "fine": "2026-01-02 03:04:05.123456789",
        "day": "2026-01-02", "clock": "03:04:05.25", "price": "12345678901234567890.123456789", "small": "0.0000001",
        "huge": str(2**127 - 1), "nothing": "nan", "below": "-inf", "tenth": "0.1", "large": "1e+300", "one": "1.0",
        "bytes": "\\xFF\\x00ab\\x5C", "span": "1 month 2 days", "list": "[1, null, 3]",
        "struct": '{"a": 1.50, "b": ["x\\"y"]}', "map": '{"k": "2026-01-02"}', "choice": "x",
        "json": '{"n": 1.10, "s": [null, "é"]}', "yes": "true", "missing": "", "empty": "",
        "id": "9e8af0a3-0000-0000-0000-000000000000", "text": 'a"b,c\nd|e',
    }  # fmt: skip


def test_every_type_as_parquet(database: Database) -> None:
    out = io.BytesIO()
    with Console(database).query(EVERYTHING) as result:
        assert write_parquet(result, out) == 1
    row = pq.read_table(io.BytesIO(out.getvalue())).to_pylist()[0]
    assert row["huge"] == 2**127 - 1
    assert row["span"] == "1 month 2 days"
    assert row["list"] == [1, None, 3]
    assert row["bytes"] == b"\xff\0ab\\"


@pytest.mark.slow
@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "markdown"])
def test_of_wide_rows_few_are_text_at_once(database: Database, format: str) -> None:
    with (
        Console(database).query("SELECT repeat('x', 100_000) AS a FROM range(1_000)") as result,
        Path(os.devnull).open("w") as out,
        at_most(6 * PIECE_BYTES),
    ):
        assert write_text(result, format, out) == 1_000


def test_row_groups_of_wide_rows_have_few_of_them(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "_PARQUET_BYTES", 10 << 20)
    out = io.BytesIO()
    with Console(database).query("SELECT repeat('x', 20_000) AS a FROM range(2_000)") as result:
        assert write_parquet(result, out) == 2_000
    written = pq.ParquetFile(io.BytesIO(out.getvalue())).metadata
    assert [written.row_group(index).num_rows for index in range(written.num_row_groups)] == [1_024, 976]


def test_null_and_empty_text_differ_in_csv(export: Export) -> None:
    assert export("VALUES (NULL, ''), ('a', NULL)", "csv") == 'col0,col1\n,""\na,\n'
    assert export("SELECT * FROM (VALUES (NULL), ('')) t(a)", "csv") == 'a\n""\n""\n'


def test_json_of_no_rows_is_an_empty_list(export: Export) -> None:
    assert json.loads(export("SELECT 1 AS a WHERE false", "json")) == []
    assert export("SELECT 1 AS a WHERE false", "jsonl") == ""
    assert export("SELECT 1 AS a WHERE false", "csv") == "a\n"
    assert export("SELECT 1 AS a WHERE false", "table") == "a\n-\n(0 rows)\n"


def test_json_is_a_list_of_objects(export: Export) -> None:
    assert json.loads(export("SELECT range AS a FROM range(10_000)", "json")) == [{"a": n} for n in range(10_000)]


def test_a_table_is_aligned(export: Export) -> None:
    sql = "SELECT * FROM (VALUES ('one', 1, NULL), ('名前', 1000, 2.5::DOUBLE)) t(name, count, x)"
    assert export(sql, "table") == (
        "name  count     x\n"
        "----  -----  ----\n"
        "one       1  NULL\n"
        "名前   1000   2.5\n"
        "(2 rows)\n"
    )  # fmt: skip
    assert export(sql, "table", width=80) == export(sql, "table").replace("-", "─")


def test_a_table_says_that_there_is_more(export: Export) -> None:
    text = export("SELECT range AS a FROM range(1_000_000_000_000)", "table")
    assert text.endswith("(first 1,000 rows, more follow)\n")
    assert text.count("\n") == 1003
    assert export("SELECT range AS a FROM range(1000)", "table").endswith("(1,000 rows)\n")


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80])
def test_a_table_fits_the_terminal(export: Export, width: int) -> None:
    lines = export("SELECT repeat('long ', 20) AS a, 12345 AS b, repeat('名', 30) AS c, 1 AS d", "table", width=width)
    for line in lines.splitlines()[:-1]:
        assert display_width(line) <= max(width, 6)


def test_columns_that_do_not_fit_are_counted(export: Export) -> None:
    sql = "SELECT " + ", ".join(f"{number} AS column_{number}" for number in range(1000))
    text = export(sql, "table", width=80)
    assert text.endswith("(1 row, 10 of 1,000 columns)\n")
    assert "…" in text


def test_markdown_cells_stay_cells(export: Export) -> None:
    assert export("SELECT 'a|b\\' || chr(10) || 'c' AS \"x|y\", 5 AS n", "markdown") == (
        "| x\\|y | n |\n| --- | ---: |\n| a\\|b\\\\<br>c | 5 |\n"
    )


@pytest.mark.parametrize("format", TEXT_FORMATS)
def test_nothing_that_steers_a_terminal_gets_through(export: Export, format: str) -> None:
    sql = (
        "SELECT 'a' || chr(27) || ']52;c;x' || chr(7) || chr(155) || chr(8238) AS \"n"
        + "\x1b[31m"
        + '", [chr(155)] AS l'
    )
    shown = "".join(
        char if char.isprintable() or char == "\n" else "?"
        for char in export(sql, format, clean=lambda text: "".join(c if c.isprintable() else "�" for c in text))
    )
    assert "?" not in shown


def test_an_unknown_format_is_named(export: Export) -> None:
    with pytest.raises(UserError, match="no such format: xml; use one of table, csv, json, jsonl, markdown, parquet"):
        export("SELECT 1", "xml")


def test_columns_of_one_name_are_all_there(export: Export) -> None:
    assert json.loads(export("SELECT 1 AS a, 2 AS a", "json")) == [{"a": 1, "a_1": 2}]


def test_moments_at_the_edges_do_not_end_an_export(export: Export) -> None:
    sql = """SELECT TIMESTAMP 'infinity' AS a, DATE '-infinity' AS b, TIMESTAMP '9999-12-31 23:59:59.999999' AS c,
        TIME '24:00:00' AS d"""
    for format in TEXT_FORMATS:
        assert "9999-12-31" in export(sql, format)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.none() | st.text(st.characters(blacklist_categories=["Cs"])), st.none() | st.floats())))
def test_csv_and_json_read_back_as_they_were_written(rows: list[tuple[str | None, float | None]]) -> None:
    table = pa.table(
        {"t": pa.array([t for t, _ in rows], pa.string()), "x": pa.array([x for _, x in rows], pa.float64())}
    )
    out = io.StringIO(newline="")
    assert write_text(table.to_reader(), "csv", out) == len(rows)
    found = list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1:]
    assert [t for t, _ in found] == [t or "" for t, _ in rows]
    assert [x for _, x in found] == ["" if x is None else repr(x) for _, x in rows]
    out = io.StringIO(newline="")
    write_text(table.to_reader(), "jsonl", out)
    lines = [json.loads(line) for line in out.getvalue().split("\n") if line]
    assert [line["t"] for line in lines] == [t for t, _ in rows]
