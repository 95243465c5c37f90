"""Values of every type as text and as JSON: what DuckDB says they are, however nested, and beyond what Python holds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tui_runner.errors import UserError
from tui_runner.store.database import Database
from tui_runner.store.export import write_text
from tui_runner.store.export.cells import json_cells, text_cells
from tui_runner.store.export.files import write_file
from tui_runner.store.query.console import Console
from tui_runner.tui.query.cell_viewer import shown_cells, whole_text

NESTED = """SELECT
    CASE WHEN range % 5 <> 0 THEN [range, NULL, range + 1][:range % 4] END AS list,
    CASE WHEN range % 3 <> 0 THEN {'a': range, 'b': [{'c': CASE WHEN range % 2 = 0 THEN 'x"' || range END}]} END AS s,
    CASE WHEN range % 7 <> 0 THEN map_from_entries([(i, 'v' || i) for i in range(range % 3)]) END AS map,
    CASE WHEN range % 4 <> 0 THEN [[range], [], NULL] END AS lists,
    CASE WHEN range % 6 <> 0 THEN array_value(range, range / 4) END AS array,
    {'m': map {'k': [range]}, 't': row(range, NULL)} AS deep
    FROM range(10_000)"""


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    database = Database.open(tmp_path / "books.duckdb")
    opened = Console(database)
    yield opened
    opened.close()
    database.close()


def as_text(console: Console, sql: str, format: str) -> str:
    out = io.StringIO()
    with console.query(sql) as result:
        write_text(result, format, out)
    return out.getvalue()


def one(console: Console, expression: str) -> tuple[str | None, str]:
    """Return a value as text to read and as JSON."""
    with console.query(f"SELECT {expression} AS v") as result:
        column = result.read_all().column(0).combine_chunks()
    return text_cells(column.type)(column)[0], json_cells(column.type)(column)[0]


def test_nested_values_are_the_json_that_duckdb_makes_of_them(console: Console) -> None:
    ours = [json.loads(line) for line in as_text(console, NESTED, "jsonl").splitlines()]
    theirs = [json.loads(row[0]) for row in duckdb.sql(f"SELECT to_json(t) FROM ({NESTED}) t").fetchall()]
    assert len(ours) == 10_000
    for our, their in zip(ours, theirs, strict=True):
        # DuckDB 2 gives the members of a row no names; Arrow does.
        our["deep"]["t"] = list(our["deep"]["t"].values())
        their["deep"]["t"] = list(
            their["deep"]["t"].values() if isinstance(their["deep"]["t"], dict) else their["deep"]["t"]
        )
        assert our == their


def test_parts_of_an_array_are_its_own(console: Console) -> None:
    with console.query(NESTED) as result:
        for column in next(iter(result)).columns:
            made = json_cells(column.type)
            assert made(column.slice(100, 50)) == made(column)[100:150]
            assert made(column.slice(0, 0)) == []


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("DATE 'infinity'", "infinity"),
        ("DATE '-infinity'", "-infinity"),
        ("TIMESTAMP 'infinity'", "infinity"),
        ("TIMESTAMPTZ '-infinity'", "-infinity"),
        ("TIMESTAMP '294247-01-10 04:00:54.775806'", "294247-01-10 04:00:54.775806"),
        ("TIMESTAMPTZ '100000-02-29 23:59:59.5+00'", "100000-02-29 23:59:59.5Z"),
        ("DATE '5000000-12-31'", "5000000-12-31"),
        ("DATE '32768-03-01'", "32768-03-01"),
        ("DATE '290000-03-01 (BC)'", "-289999-03-01"),
        ("DATE '0044-03-15 (BC)'", "-0043-03-15"),
        ("TIMESTAMP '9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999"),
        ("TIMESTAMP_NS '2020-01-01 00:00:00.123456789'", "2020-01-01 00:00:00.123456789"),
        ("TIMESTAMP_NS 'infinity'", "infinity"),
        ("TIMESTAMP_NS '-infinity'", "-infinity"),
        ("TIMESTAMPTZ_NS '2020-01-01 00:00:00.123456789+02'", "2019-12-31 22:00:00.123456789Z"),
        ("TIMESTAMPTZ 'infinity'", "infinity"),
        ("0.1::FLOAT", "0.1"),
        ("INTERVAL '1 month 3 days'", "1 month 3 days"),
        ("'101'::BIT", "101"),
        ("'12:34:56+05:30'::TIMETZ", "12:34:56+05:30"),
        ("340282366920938463463374607431768211455::UHUGEINT", "340282366920938463463374607431768211455"),
        ("99999999999999999999999999999999999999999::BIGNUM", "99999999999999999999999999999999999999999"),
        ("5::UNION(n INTEGER, t VARCHAR)", "5"),
        (r"'\xAA\x00'::BLOB", r"\xAA\x00"),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ],
)
def test_a_value_is_the_same_alone_and_within_others(console: Console, expression: str, text: str) -> None:
    alone, member = one(console, expression)
    assert alone == text
    assert member in (text, json.dumps(text), json.dumps(text.replace(" ", "T")))
    for outside, before, after in (
        (f"[{expression}]", "[", "]"),
        (f"{{'a': {expression}}}", '{"a": ', "}"),
        (f"array_value({expression})", "[", "]"),
        (f"map {{1: {expression}}}", '{"1": ', "}"),
        (f"[{{'a b\"': [{expression}]}}]", '[{"a b\\"": [', "]}]"),
    ):
        assert one(console, outside) == (before + member + after,) * 2
    assert one(console, f"map {{{expression}: 1}}")[1] == f"{{{json.dumps(text)}: 1}}"


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE"])
def test_nan_and_infinities_are_not_shown_as_null(console: Console, kind: str) -> None:
    values = f"['nan', 'inf', '-inf', NULL, '1.5']::{kind}[]"
    assert one(console, values) == ('["nan", "inf", "-inf", null, 1.5]', "[null, null, null, null, 1.5]")
    text, exported = one(console, f"{{'a': map {{'k': {values}}}}}")
    assert text == '{"a": {"k": ["nan", "inf", "-inf", null, 1.5]}}'
    assert exported == '{"a": {"k": [null, null, null, null, 1.5]}}'


@pytest.mark.parametrize(
    "expression",
    [
        *(f"INTERVAL '{each}'" for each in ("0 days", "-3 days -4 hours", "1 year 2 months 3 days 04:05:06.789")),
        *(f"INTERVAL '{each}'" for each in ("-00:00:01", "1000000 hours", "-1 year 2 days")),
        "TIMESTAMP '2024-03-01' - TIMESTAMP '2024-01-05 12:00'",
        *(f"TIMETZ '10:00:00{zone}'" for zone in ("+02", "-05:30", "+00", "-15:59:59")),
        *(f"TIMESTAMP_{unit} '{at}'" for unit in ("S", "MS", "NS") for at in ("2020-01-01", "infinity", "-infinity")),
        *(f"{kind} '{at}'" for kind in ("DATE", "TIMESTAMP") for at in ("2020-01-01", "infinity", "-infinity")),
        *("TIME '10:11:12.5'", "TIME '24:00:00'", "TIME_NS '10:11:12.123456789'"),
        *("'a'::ENUM('a', 'b')", "'010101'::BIT", r"'\xAA\x00hi'::BLOB", "'{\"a\": 1}'::VARIANT", "MAP {}", "[]"),
        *("union_value(a := INTERVAL 3 DAY)", "union_value(b := 'text')", "union_value(c := TIMETZ '10:00:00+02')"),
        *(f"{number}::HUGEINT" for number in (2**127 - 1, 1 - 2**127)),
        *("'-1'::BIGNUM", f"'{10**60}'::BIGNUM", "1.50::DECIMAL(10, 2)", "-0.05::DECIMAL(38, 20)"),
        *("'nan'::DOUBLE", "'-inf'::DOUBLE", "1e300::DOUBLE", "-0.0::DOUBLE", "0.1::FLOAT", "true", "''", "NULL"),
    ],
)
def test_a_value_is_shown_copied_and_exported_as_duckdb_writes_it(console: Console, expression: str) -> None:
    with console.query(f"SELECT {expression} AS v, CAST(({expression}) AS VARCHAR) AS text") as result:
        rows = result.read_all()
    column, ((text,),) = rows.column("v").combine_chunks(), [rows.column("text").to_pylist()]
    assert text_cells(column.type)(column) == shown_cells(column) == [text]
    assert whole_text(column, 0) == (text, len(text or "") - 3 * (text or "").count(r"\x"))
    (row,) = csv.DictReader(io.StringIO(as_text(console, f"SELECT {expression} AS v, 1 AS one", "csv")))
    assert row["v"] == (text or "")


@pytest.mark.parametrize(
    "value", ["INTERVAL 3 DAY", "'101'::BIT", "5::UNION(n INTEGER, t VARCHAR)", "'1:0:0+02'::TIMETZ"]
)
def test_types_that_parquet_has_not_are_text_in_it(console: Console, tmp_path: Path, value: str) -> None:
    target = tmp_path / "out.parquet"
    with console.query(f"SELECT {value} AS v, [{{'a': {value}}}] AS nested") as result:
        write_file(result, "parquet", target, replace=False)
    (row,) = pq.read_table(target).to_pylist()
    assert row["nested"] == [{"a": row["v"]}] and isinstance(row["v"], str)


def test_values_that_parquet_cannot_hold_are_named(console: Console, tmp_path: Path) -> None:
    with console.query("SELECT MAP {} AS nothing") as result, pytest.raises(UserError, match="cannot hold"):
        write_file(result, "parquet", tmp_path / "out.parquet", replace=False)
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.parametrize(
    "stored",
    ['{"a": [1, 1e400, 12345678901234567890.10], "a": 1E+5}', "[" * 500 + "]" * 500, "1e999999999", "[]"],
)
def test_json_stays_as_it_is_stored(console: Console, stored: str) -> None:
    text = stored.replace("'", "''")
    assert as_text(console, f"SELECT '{text}'::JSON AS j", "jsonl") == f'{{"j": {stored}}}\n'


def test_json_of_several_lines_is_one_line(console: Console) -> None:
    stored = '{\n  "a":\t"b\\nc",\r\n "d": [ 1, 2 ]\n}'
    line = as_text(console, f"SELECT '{stored}'::JSON AS j", "jsonl")
    assert line == '{"j": { "a": "b\\nc", "d": [ 1, 2 ] }}\n'


NESTED_JSON = """SELECT
    ['{"a": [1]}'::JSON, NULL, '"b"'] AS list,
    {'x': '[1]'::JSON, 'y': 1, 'a "JSON" b': '[1]', 'deep': [{'z': 'null'::JSON}]} AS struct,
    MAP {'k': '{}'::JSON} AS map,
    ['[1]'::JSON, '2'::JSON]::JSON[2] AS array,
    {'i': INTERVAL 1 DAY, 'j': '[2]'::JSON} AS beside,
    NULL::JSON[] AS missing"""


@pytest.mark.parametrize("format", ["jsonl", "json", "csv"])
def test_json_within_lists_structs_and_maps_is_json_and_text_there_is_text(console: Console, format: str) -> None:
    text = as_text(console, NESTED_JSON, format)
    ((theirs,),) = duckdb.sql(f"SELECT to_json(t) FROM ({NESTED_JSON}) t").fetchall()
    if format == "csv":
        head, row = csv.reader(io.StringIO(text))
        assert {name: json.loads(cell or "null") for name, cell in zip(head, row, strict=True)} == json.loads(theirs)
        return
    (ours,) = [json.loads(text)] if format == "jsonl" else json.loads(text)
    assert ours == json.loads(theirs)
    assert ours["struct"]["x"] == [1] and ours["struct"]['a "JSON" b'] == "[1]"


def test_a_process_that_asks_another_writes_the_same_json(console: Console) -> None:
    sent = io.BytesIO()
    with console.query(NESTED_JSON) as result, pa.ipc.new_stream(sent, result.schema) as stream:
        for batch in result:
            stream.write(batch)
    out = io.StringIO()
    write_text(pa.ipc.open_stream(sent.getvalue()), "jsonl", out)
    assert '"x": [1]' in out.getvalue()
    assert out.getvalue() == as_text(console, NESTED_JSON, "jsonl")


def test_values_that_json_lacks_are_strings() -> None:
    made = json_cells(pa.string(), is_json=True)
    assert made(pa.array(["NaN", "{", None, "[-Infinity]"])) == ['"NaN"', '"{"', "null", '"[-Infinity]"']


def test_every_byte_of_a_blob_is_written_as_duckdb_writes_it(console: Console) -> None:
    blob = f"unhex('{bytes(range(256)).hex()}')"
    assert one(console, blob)[0] == one(console, f"CAST({blob} AS VARCHAR)")[0]
