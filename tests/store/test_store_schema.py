"""The results table follows its rows: columns are added and widened, and no value is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.sent_batches import make_batch, rows_of, run_record

from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database
from tui_runner.store.ingest.results_table import prepare_table
from tui_runner.store.ingest.transaction import Writer
from tui_runner.store.ledger import Ledger

Fetch = Callable[[str], list[tuple[Any, ...]]]


def columns(fetch: Fetch, table: str = "books") -> dict[str, str]:
    rows = fetch(
        f"SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = '{table}' ORDER BY column_index"
    )
    return dict(rows)


def write(writer: Writer, *tables: pa.Table) -> None:
    """Each table in a transaction of its own."""
    for table in tables:
        writer.write([make_batch(table)])


@pytest.fixture(params=["one transaction", "a transaction each"])
def put(request: pytest.FixtureRequest, writer: Writer) -> Callable[..., None]:
    """Writes tables; what comes of them must not depend on how they share transactions."""
    if request.param == "one transaction":
        return lambda *tables: writer.write([make_batch(table) for table in tables])
    return lambda *tables: write(writer, *tables)


def test_the_table_is_there_once_the_run_began(writer: Writer, fetch: Fetch) -> None:
    assert columns(fetch) == {"_run": "BIGINT", "_item": "BIGINT"}


def test_rows_carry_run_and_item(put: Callable[..., None], fetch: Fetch) -> None:
    put(rows_of(7, title="a"), rows_of(9, title="b"))
    assert fetch("SELECT * FROM books ORDER BY _item") == [(1, 7, "a"), (1, 9, "b")]


def test_columns_that_come_later_are_added(put: Callable[..., None], fetch: Fetch) -> None:
    put(rows_of(0, a=1), rows_of(1, b="x"), rows_of(2, c=1.5, a=3))
    assert fetch("SELECT a, b, c FROM books ORDER BY _item") == [(1, None, None), (None, "x", None), (3, None, 1.5)]


BIG = 2**53 + 1
HUGE = pa.decimal128(38, 0)


@pytest.mark.parametrize(
    ("values", "type", "stored"),
    [
        ([1, 2.5], "DOUBLE", [1.0, 2.5]),
        ([2.5, 1], "DOUBLE", [2.5, 1.0]),
        ([BIG, 2.5], "VARCHAR", [str(BIG), "2.5"]),
        ([2.5, BIG], "VARCHAR", ["2.5", str(BIG)]),
        ([1, (Decimal(10**30), HUGE)], "DECIMAL(38,0)", [Decimal(1), Decimal(10**30)]),
        ([(Decimal("1.25"), pa.decimal128(5, 2)), (Decimal("1000.5"), pa.decimal128(5, 1))], "DECIMAL(6,2)", None),
        ([(Decimal("1.25"), pa.decimal128(38, 20)), 1], "VARCHAR", None),
        ([(Decimal("1.25"), pa.decimal128(5, 2)), 1.5], "VARCHAR", ["1.25", "1.5"]),
        ([(1, pa.int8()), (300, pa.int16())], "SMALLINT", [1, 300]),
        ([(255, pa.uint8()), (-1, pa.int8())], "SMALLINT", [255, -1]),
        ([(2**64 - 1, pa.uint64()), -1], "HUGEINT", [2**64 - 1, -1]),
        ([(0.5, pa.float32()), 0.1], "DOUBLE", [0.5, 0.1]),
        ([(71440568.0, pa.float32()), "x"], "VARCHAR", ["71440568.0", "x"]),
        ([1, "x"], "VARCHAR", ["1", "x"]),
        ([True, 1], "VARCHAR", ["true", "1"]),
        ([date(2026, 1, 2), datetime(2026, 1, 2, 3)], "TIMESTAMP", [datetime(2026, 1, 2), datetime(2026, 1, 2, 3)]),
        ([datetime(2026, 1, 2, 3), date(2026, 1, 2)], "TIMESTAMP", [datetime(2026, 1, 2, 3), datetime(2026, 1, 2)]),
        ([(1, pa.timestamp("ns")), datetime(2026, 1, 2, 3)], "TIMESTAMP_NS", None),
        (
            [(1, pa.timestamp("ns")), datetime(3000, 1, 2, 3)],
            "VARCHAR",
            ["1970-01-01 00:00:00.000000001", "3000-01-02 03:00:00"],
        ),
        ([date(2026, 1, 2), "x"], "VARCHAR", ["2026-01-02", "x"]),
        (
            [datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC)],
            "VARCHAR",
            ["2026-01-02 00:00:00", "2026-01-02 00:00:00+00"],
        ),
        ([time(1, 2, 3), 1], "VARCHAR", ["01:02:03", "1"]),
        ([b"\xff\\", 1], "VARCHAR", ["\\xFF\\x5C", "1"]),
        ([timedelta(seconds=90), 1], "VARCHAR", ["00:01:30", "1"]),
        ([[1, 2], 3], "JSON", ["[1,2]", "3"]),
        ([3, [1, 2]], "JSON", ["3", "[1,2]"]),
        (["x", [1]], "JSON", ['"x"', "[1]"]),
        ([[1], ["x"]], "JSON", ["[1]", '["x"]']),
        ([{"a": 1}, {"a": 1, "b": [2]}], "JSON", ['{"a":1}', '{"a":1,"b":[2]}']),
        ([{"a": 1}, date(2026, 1, 2)], "JSON", ['{"a":1}', '"2026-01-02"']),
        ([[1], math.nan], "JSON", ["[1]", '"nan"']),
        ([math.inf, [1]], "JSON", ['"inf"', "[1]"]),
        ([(-math.inf, pa.float32()), [1]], "JSON", ['"-inf"', "[1]"]),
        ([[math.nan, -math.inf, 1.5], 1], "JSON", ['["nan","-inf",1.5]', "1"]),
        (
            [{"NaN": 'NaN,"\\', "b": [math.nan, 1.0]}, 1],
            "JSON",
            ['{"NaN":"NaN,\\"\\\\","b":["nan",1.0]}', "1"],
        ),
        ([[], [1]], "JSON", ["[]", "[1]"]),
        ([[1], [2, 3]], "BIGINT[]", [[1], [2, 3]]),
        ([(["x"], pa.list_(pa.string())), ([b"\xff"], pa.list_(pa.binary()))], "JSON", ['["x"]', '["\\\\xFF"]']),
    ],
)
def test_types_widen_without_loss(
    put: Callable[..., None], fetch: Fetch, values: list[Any], type: str, stored: list[Any] | None
) -> None:
    put(*(rows_of(item, v=value) for item, value in enumerate(values)))
    assert columns(fetch)["v"] == type
    found = [value for (value,) in fetch("SELECT v FROM books ORDER BY _item")]
    assert None not in found
    if stored is not None:
        assert found == stored


def test_json_stays_json(put: Callable[..., None], fetch: Fetch) -> None:
    put(
        rows_of(0, v=('{"a": 1}', pa.json_())),
        rows_of(1, v=5),
        rows_of(2, v=('[1, "x"]', pa.json_())),
        rows_of(3, v="text"),
    )
    assert columns(fetch)["v"] == "JSON"
    assert fetch("SELECT v->>'$.a', v->>'$[1]' FROM books ORDER BY _item")[0] == ("1", None)
    assert fetch("SELECT count(*) FROM books WHERE json_valid(v)") == [(4,)]


def test_half_a_number_is_not_stored_as_a_whole_one(put: Callable[..., None], fetch: Fetch) -> None:
    put(rows_of(0, v=1), rows_of(1, v=2.5), rows_of(2, v=3))
    assert fetch("SELECT v FROM books ORDER BY _item") == [(1.0,), (2.5,), (3.0,)]


def test_big_integers_of_the_same_transaction_keep_a_column_from_becoming_double(writer: Writer, fetch: Fetch) -> None:
    write(writer, rows_of(0, v=1))
    writer.write([make_batch(rows_of(1, v=BIG)), make_batch(rows_of(2, v=0.5))])
    assert fetch("SELECT v FROM books ORDER BY _item") == [("1",), (str(BIG),), ("0.5",)]


def test_a_column_of_nulls_takes_the_type_of_its_first_value(put: Callable[..., None], fetch: Fetch) -> None:
    put(rows_of(0, v=None), rows_of(1, v=(None, pa.int64())), rows_of(2, v=date(2026, 1, 2)), rows_of(3, v=None))
    assert columns(fetch)["v"] == "DATE"
    assert fetch("SELECT count(*), count(v) FROM books") == [(4, 1)]


def test_nulls_of_another_type_widen_nothing(put: Callable[..., None], fetch: Fetch) -> None:
    put(rows_of(0, v=5), rows_of(1, v=(None, pa.string())))
    assert columns(fetch)["v"] == "BIGINT"


def test_names_that_sql_would_take_for_one_are_kept_apart(put: Callable[..., None], fetch: Fetch) -> None:
    put(rows_of(0, A=1, a=2), rows_of(1, a=3), rows_of(2, A=4, a_1=5))
    assert fetch("SELECT A, a_1, a_1_1 FROM books ORDER BY _item") == [(1, 2, None), (None, 3, None), (4, None, 5)]
    assert sorted(fetch("SELECT raw_name, column_name FROM runner.columns")) == [
        ("A", "A"),
        ("a", "a_1"),
        ("a_1", "a_1_1"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "at",
        "select",
        "a b",
        'a"b',
        "a'b",
        "a.b",
        "rowid",
        "c0",
        "c1",
        "_ITEM",
        "_run",
        "é",
        "名",
        "x" * 500,
        "a;--",
        "run_id",
    ],
)
def test_any_name_can_name_a_column(put: Callable[..., None], fetch: Fetch, name: str) -> None:
    put(rows_of(0, **{name: 1}), rows_of(1, **{name: "x"}))
    column = fetch("SELECT column_name FROM runner.columns")[0][0]
    assert column == name or name in ("_ITEM", "_run")
    quoted = column.replace('"', '""')
    assert fetch(f'SELECT "{quoted}" FROM books ORDER BY _item') == [("1",), ("x",)]
    assert fetch("SELECT _run, _item FROM books ORDER BY _item") == [(1, 0), (1, 1)]


def test_names_are_kept_fit_to_be_seen(put: Callable[..., None], fetch: Fetch) -> None:
    put(rows_of(0, **{"": 1, "  ": 2, "a\x1b[31m\nb": 3, "x\0y": 4, "a\u202eb": 5}))
    assert list(columns(fetch)) == ["_run", "_item", "column", "column_1", "a_[31m_b", "x_y", "a_b"]
    assert fetch("SELECT count(*) FROM runner.columns WHERE raw_name = ''") == [(1,)]


def test_a_column_twice_in_one_table_is_two_columns(put: Callable[..., None], fetch: Fetch) -> None:
    twice = pa.Table.from_arrays([pa.array([0]), pa.array([1]), pa.array([2])], names=["_item", "a", "a"])
    put(twice, twice.set_column(0, "_item", pa.array([1])))
    assert fetch("SELECT a, a_1 FROM books") == [(1, 2), (1, 2)]


def test_a_thousand_columns(put: Callable[..., None], fetch: Fetch) -> None:
    put(
        rows_of(0, **{f"c{number}": number for number in range(1000)}),
        rows_of(1, **{f"c{number}": number + 0.5 for number in range(990, 1010)}),
    )
    assert len(columns(fetch)) == 1012
    assert fetch("SELECT c999 FROM books ORDER BY _item") == [(999.0,), (999.5,)]


def test_a_table_without_rows_brings_its_columns(put: Callable[..., None], fetch: Fetch) -> None:
    put(rows_of(0, a=1).slice(0, 0))
    assert columns(fetch)["a"] == "BIGINT"
    assert fetch("SELECT count(*) FROM books") == [(0,)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("array", "type", "text"),
    [
        (pa.array(["a", "b", "a"]).dictionary_encode().slice(0, 1), "VARCHAR", "a"),
        (pa.array([1.5], pa.float16()), "FLOAT", "1.5"),
        (pa.array([Decimal("1.5")], pa.decimal256(60, 2)), "DECIMAL(38,2)", "1.50"),
        (pa.array([Decimal("1" * 50)], pa.decimal256(60, 2)), "VARCHAR", "1" * 50 + ".00"),
        (pa.array([1], pa.timestamp("s")), "TIMESTAMP", "1970-01-01 00:00:01"),
        (
            pa.array([1000], pa.timestamp("ns", "Europe/Berlin")),
            "TIMESTAMP WITH TIME ZONE",
            "1970-01-01 00:00:00.000001+00",
        ),
        (pa.array([1], pa.timestamp("ns", "UTC")), "VARCHAR", "1970-01-01 00:00:00.000000001Z"),
        (pa.array([1000], pa.time64("ns")), "TIME", "00:00:00.000001"),
        (pa.array([1000], pa.duration("ns")), "INTERVAL", "00:00:00.000001"),
        (pa.array([[1.5]], pa.list_(pa.float16())), "FLOAT[]", "[1.5]"),
        (pa.array([UUID(int=5).bytes], pa.uuid()), "UUID", str(UUID(int=5))),
        (pa.array(["x\0y"]), "VARCHAR", "x\0y"),
        (pa.array(["x"], pa.string_view()), "VARCHAR", "x"),
        (pa.array(["x"], pa.large_string()), "VARCHAR", "x"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "MAP(VARCHAR, BIGINT)", "{k=1}"),
    ],
)
def test_arrow_types_of_other_libraries(
    put: Callable[..., None], fetch: Fetch, array: pa.Array, type: str, text: str
) -> None:
    put(pa.table({"_item": pa.array([0]), "v": array}))
    assert columns(fetch)["v"] == type
    assert fetch("SELECT CAST(v AS VARCHAR) FROM books") == [(text,)]


def test_the_shape_is_known_again_after_reopening(path: Path) -> None:
    for item, column in enumerate(("A", "a", "A")):
        with Database.open(path) as database:
            cursor = database.cursor()
            run_id = Ledger(cursor).begin_run(run_record())
            write(Writer(cursor, run_id, "books"), rows_of(item, **{column: item}))
    with Database.open(path) as database:
        found = database.cursor().execute("SELECT _run, A, a_1 FROM books ORDER BY _run").fetchall()
    assert found == [(1, 0, None), (2, None, 1), (3, 2, None)]


def test_a_column_that_was_dropped_by_hand_comes_again(path: Path) -> None:
    for drop in (True, False):
        with Database.open(path) as database:
            cursor = database.cursor()
            run_id = Ledger(cursor).begin_run(run_record())
            write(Writer(cursor, run_id, "books"), rows_of(0, a=1, b=2))
            if drop:
                cursor.execute("ALTER TABLE books DROP COLUMN a")
            else:
                assert cursor.execute("SELECT a, b FROM books ORDER BY _run").fetchall() == [(None, 2), (1, 2)]


def test_a_column_that_was_added_by_hand_is_filled(path: Path) -> None:
    with Database.open(path) as database:
        cursor = database.cursor()
        run_id = Ledger(cursor).begin_run(run_record())
        cursor.execute("ALTER TABLE books ADD COLUMN a BIGINT")
        write(Writer(cursor, run_id, "books"), rows_of(0, a=1))
        assert cursor.execute("SELECT a FROM books").fetchall() == [(1,)]


@pytest.mark.parametrize("name", ["select", "at", 'a"b', "a b", "a.b", "Bücher", "x'; DROP TABLE runner.items; --"])
def test_any_visible_name_can_name_the_table(database: Database, name: str) -> None:
    cursor = database.cursor()
    run_id = Ledger(cursor).begin_run(run_record(table_name=name))
    write(Writer(cursor, run_id, name), rows_of(0, a=1), rows_of(1, a="x", b=2))
    quoted = name.replace('"', '""')
    assert cursor.execute(f'SELECT a, b FROM main."{quoted}" ORDER BY _item').fetchall() == [("1", None), ("x", 2)]


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b", "__tui_runner_rows_0"])
def test_texts_that_cannot_name_a_table_are_refused(cursor: duckdb.DuckDBPyConnection, name: str) -> None:
    with pytest.raises(DatabaseError, match="cannot be the name of a results table; choose another one with --table"):
        prepare_table(cursor, name)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("CREATE TABLE Books (title VARCHAR)", "table Books of .*: is a table that tui-runner did not create"),
        ("CREATE TABLE books (_run VARCHAR, _item BIGINT)", "is a table that tui-runner did not create"),
        ("CREATE VIEW books AS SELECT 1 AS _run, 2 AS _item", "is a view"),
    ],
)
def test_a_foreign_table_is_refused_before_anything_is_written(database: Database, made: str, message: str) -> None:
    cursor = database.cursor()
    cursor.execute(made)
    with pytest.raises(DatabaseError, match=message):
        Ledger(cursor).begin_run(run_record())
    assert Ledger(cursor).runs() == []


def test_upper_and_lower_case_name_one_table(database: Database) -> None:
    cursor = database.cursor()
    for name in ("Books", "books"):
        run_id = Ledger(cursor).begin_run(run_record(table_name=name))
        write(Writer(cursor, run_id, name), rows_of(0, A=1))
    assert cursor.execute("SELECT _run, A FROM books ORDER BY _run").fetchall() == [(1, 1), (2, 1)]
    assert [summary.record.table_name for summary in Ledger(cursor).runs()] == ["Books", "Books"]


def test_a_failed_transaction_leaves_the_shape_as_it_was(writer: Writer, fetch: Fetch) -> None:
    write(writer, rows_of(0, a=1))
    broken = pa.Table.from_arrays(
        [pa.array([2]), pa.Array.from_buffers(pa.string(), 1, _bad_text())], names=["_item", "b"]
    )
    with pytest.raises(duckdb.Error):
        writer.write([make_batch(rows_of(1, a="x", c=5)), make_batch(broken)])
    assert columns(fetch) == {"_run": "BIGINT", "_item": "BIGINT", "a": "BIGINT"}
    assert fetch("SELECT count(*) FROM runner.items") == [(1,)]
    write(writer, rows_of(3, a="x", c=5))
    assert fetch("SELECT a, c FROM books ORDER BY _item") == [("1", None), ("x", 5)]


def _bad_text() -> list[pa.Buffer | None]:
    """Return the buffers of a string that is not UTF-8."""
    return [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]


# --- any values in any order ---------------------------------------------------------------------------------

_TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
_MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
_KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint8(), st.integers(0, 255)),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.decimal128(38, 0), st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal)),
    (pa.decimal128(7, 3), st.integers(-(10**7) + 1, 10**7 - 1).map(lambda n: Decimal(n).scaleb(-3))),
    (pa.string(), _TEXT),
    (pa.binary(), st.binary(max_size=6)),
    (pa.date32(), st.dates()),
    (pa.timestamp("us"), _MOMENTS),
    (pa.timestamp("ns"), st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))),
    (pa.timestamp("us", tz="UTC"), _MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC))),
    (pa.time64("us"), st.times()),
    (pa.list_(pa.int64()), st.lists(st.integers(-5, 5), max_size=3)),
    (pa.list_(pa.string()), st.lists(_TEXT, max_size=3)),
    (pa.struct([("x", pa.int64()), ("y", pa.string())]), st.fixed_dictionaries({"x": st.integers(-5, 5), "y": _TEXT})),
    (pa.null(), st.none()),
]


def _cells() -> st.SearchStrategy[tuple[Any, pa.DataType]]:
    return st.sampled_from(_KINDS).flatmap(lambda kind: st.tuples(st.none() | kind[1], st.just(kind[0])))


def _meaning(text: str) -> Any:
    """Return the value of a text, however it is written: 1, 1.0 and "1" are equal; so are a day and its midnight."""
    import json

    text = text.strip('"') if text in ('"nan"', '"inf"', '"-inf"') else text
    with_point = Decimal(text) if _is_decimal(text) else None
    if with_point is not None:
        return "nan" if with_point.is_nan() else with_point.normalize()
    try:
        return ("json", _worded(json.loads(text)))
    except ValueError:
        return text.removesuffix(" 00:00:00")


def _worded(value: Any) -> Any:
    """A JSON value with the word for a number that JSON has not: DuckDB writes one as it is, we write a string."""
    if isinstance(value, list):
        return [_worded(each) for each in value]
    if isinstance(value, dict):
        return {name: _worded(each) for name, each in value.items()}
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _is_decimal(text: str) -> bool:
    try:
        Decimal(text)
    except ArithmeticError:
        return False
    return text.isascii() and "_" not in text and text == text.strip()


def _alike(expected: str, found: str) -> bool:
    """Return True if a stored value's text means the same as DuckDB's text of the value alone, JSON string or not."""
    import json

    if _meaning(expected) == _meaning(found):
        return True
    try:
        inner = json.loads(found)
    except ValueError:
        return False
    if isinstance(inner, str):
        return _meaning(expected) == _meaning(inner) or expected == inner
    return False


_EDGES: list[tuple[Any, pa.DataType]] = [
    (True, pa.bool_()),
    *((value, pa.int8()) for value in (-128, 127)),
    *((value, pa.int64()) for value in (-(2**63), 2**63 - 1, 2**53 + 1, 0)),
    *((value, pa.uint64()) for value in (2**64 - 1, 0)),
    *((value, pa.float32()) for value in (math.inf, -math.inf, math.nan, 71440568.0, 0.1, -0.0, 3.4e38)),
    *((value, pa.float64()) for value in (math.inf, -math.inf, math.nan, 5e-324, 1.7e308, -0.0, 0.1, 1e16)),
    *((Decimal(value), pa.decimal128(38, 0)) for value in (10**38 - 1, 1 - 10**38)),
    *((Decimal(value), pa.decimal128(38, 38)) for value in ("1e-38", "0.5")),
    *((value, pa.string()) for value in ("", "NaN", "null", '"', "1", "\\", "é\n")),
    *((value, pa.binary()) for value in (b"", b"\xff\\\0")),
    *((value, pa.date32()) for value in (date(1, 1, 1), date(9999, 12, 31))),
    *((value, pa.timestamp("us")) for value in (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))),
    *((value, pa.timestamp("ns")) for value in (1, -1, 2**62)),
    (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), pa.timestamp("us", tz="UTC")),
    (time(23, 59, 59, 999999), pa.time64("us")),
    (timedelta(days=-1, microseconds=1), pa.duration("us")),
    *((value, pa.list_(pa.float64())) for value in ([math.inf, None, -math.inf, math.nan, 0.1], [])),
    ([2**63 - 1], pa.list_(pa.int64())),
    ([2**64 - 1], pa.list_(pa.uint64())),
    ([0.1], pa.list_(pa.float32())),
    (["NaN", "-Infinity", '"', "\\"], pa.list_(pa.string())),
    ([Decimal("0.1")], pa.list_(pa.decimal128(38, 38))),
    ([b"\xff"], pa.list_(pa.binary())),
    ([timedelta(days=1)], pa.list_(pa.duration("us"))),
    ({"NaN": math.nan, "y": '"Infinity'}, pa.struct([("NaN", pa.float64()), ("y", pa.string())])),
    ([[math.nan]], pa.list_(pa.list_(pa.float64()))),
    ('{"a": 1e999}', pa.json_()),
]
"""Values at the ends of each kind, and those that text or JSON has no number for."""


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from(_EDGES), min_size=2, max_size=4).map(lambda cells: [[cell] for cell in cells]))
@example([[(math.inf, pa.float64())], [([1], pa.list_(pa.int64()))]])
@example([[(math.nan, pa.float32())], [(["x"], pa.list_(pa.string()))]])
@example([[([math.inf], pa.list_(pa.float64()))], [("x", pa.string())]])
def test_values_at_the_ends_of_their_kinds_widen_without_loss(
    database: Database, flushes: list[list[tuple[Any, pa.DataType]]]
) -> None:
    _check_that_nothing_is_lost(database, flushes)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.lists(_cells(), min_size=1, max_size=3), min_size=1, max_size=6))
def test_no_batch_fails_and_no_value_is_lost_in_any_order(
    database: Database, flushes: list[list[tuple[Any, pa.DataType]]]
) -> None:
    _check_that_nothing_is_lost(database, flushes)


def _check_that_nothing_is_lost(database: Database, flushes: list[list[tuple[Any, pa.DataType]]]) -> None:
    cursor = database.cursor()
    try:
        ledger = Ledger(cursor)
        run_id = 1 if ledger.runs() else ledger.begin_run(run_record())
        cursor.execute("DROP TABLE books")
        writer = Writer(cursor, run_id, "books")
        expected: list[str | None] = []
        for cells in flushes:
            tables = []
            for cell in cells:
                table = rows_of(len(expected), v=cell)
                cursor.register("alone", table.select(["v"]))
                nested = pa.types.is_nested(cell[1])
                text = "CAST(to_json(v) AS VARCHAR)" if nested else "CAST(v AS VARCHAR)"
                if pa.types.is_float32(cell[1]):
                    text = "CAST(CAST(v AS DOUBLE) AS VARCHAR)"  # the value itself; 0.1 as FLOAT is another
                expected.append(cursor.execute(f"SELECT {text} FROM alone").fetchall()[0][0])
                cursor.unregister("alone")
                tables.append(table)
            writer.write([make_batch(table) for table in tables])
        kind = cursor.execute(
            "SELECT data_type FROM duckdb_columns() WHERE table_name = 'books' AND column_name = 'v'"
        ).fetchall()[0][0]
        text = (
            "CAST(to_json(v) AS VARCHAR)"
            if kind.endswith(("]", ")")) and "DECIMAL" not in kind
            else "CAST(v AS VARCHAR)"
        )
        if kind == "FLOAT":
            text = "CAST(CAST(v AS DOUBLE) AS VARCHAR)"
        found = [value for (value,) in cursor.execute(f"SELECT {text} FROM books ORDER BY _item").fetchall()]
        assert len(found) == len(expected)
        for before, after in zip(expected, found, strict=True):
            assert (before is None and after is None) or (
                before is not None and after is not None and _alike(before, after)
            ), (before, after, kind)
    finally:
        database.close_cursor(cursor)
