"""The types of columns, and the text form, which has to be DuckDB's own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.store.rows.columns import name_fault, to_arrow
from tui_runner.store.rows.values import json_scalar, plain, text

UTC_US = pa.timestamp("us", tz="UTC")
BERLIN = ZoneInfo("Europe/Berlin")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTS = st.integers(-(2**63), 2**63 - 1)
WIDE_INTS = st.integers(-(10**38) + 1, 10**38 - 1)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20)
MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29), timezones=st.just(UTC) | st.just(BERLIN)
)
DURATIONS = st.timedeltas(min_value=timedelta(days=-(10**8)), max_value=timedelta(days=10**8))
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": INTS,
    "wide int": WIDE_INTS,
    "float": st.floats(),
    "str": TEXTS,
    "bytes": st.binary(max_size=20),
    "Decimal": DECIMALS,
    "date": st.dates(),
    "datetime": st.datetimes(),
    "moment": MOMENTS,
    "time": st.times(),
    "timedelta": DURATIONS,
    "UUID": st.uuids(),
}


@pytest.fixture(scope="module")
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def stored(values: list[Any]) -> pa.Array:
    array, faults = to_arrow(values)
    assert not faults
    assert array is not None
    assert len(array) == len(values)
    return array


def cast(cursor: duckdb.DuckDBPyConnection, array: pa.Array, expression: str = "CAST(x AS VARCHAR)") -> list[str]:
    batch = pa.table({"x": array})
    cursor.register("batch", batch)
    found = cursor.sql(f"SELECT {expression} FROM batch").fetchall()
    cursor.unregister("batch")
    return [value for (value,) in found]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None], pa.bool_()),
        ([1, -(2**63), 2**63 - 1], pa.int64()),
        ([1, 2**63], pa.decimal128(38, 0)),
        ([1, 10**38], pa.string()),
        ([1.5, float("nan")], pa.float64()),
        ([1, 1.5, 2**53 - 1], pa.float64()),
        ([1, 1.5, 2**53], pa.string()),
        ([Decimal("1.50")], pa.decimal128(18, 2)),
        ([Decimal("1.50"), 3, Decimal("1E+3")], pa.decimal128(18, 2)),
        ([Decimal("1" * 20), Decimal("0.001")], pa.decimal128(23, 3)),
        ([Decimal("1" * 38), Decimal("0.1")], pa.string()),
        ([Decimal("NaN"), Decimal(1)], pa.string()),
        ([Decimal("Infinity")], pa.string()),
        ([Decimal(1), 1.5], pa.string()),
        (["a", None, ""], pa.string()),
        ([b"a", bytearray(b"b"), memoryview(b"c")], pa.binary()),
        ([date(2020, 1, 1)], pa.date32()),
        ([datetime(2020, 1, 1)], pa.timestamp("us")),
        ([datetime(2020, 1, 1), date(2020, 1, 1)], pa.timestamp("us")),
        ([datetime(2020, 1, 1, tzinfo=BERLIN), datetime(2020, 1, 1, tzinfo=UTC)], UTC_US),
        ([datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1)], pa.string()),
        ([datetime(2020, 1, 1, tzinfo=UTC), date(2020, 1, 1)], pa.string()),
        ([time(1, 2)], pa.time64("us")),
        ([time(1, 2), time(1, 2, tzinfo=UTC)], pa.string()),
        ([timedelta(days=1)], pa.duration("us")),
        ([UUID(int=1), None], pa.uuid()),
        ([{"a": 1}, [1], (1,), {1}, None], pa.json_()),
        ([{"a": 1}, 1, "x"], pa.json_()),
        ([1, True], pa.string()),
        ([1, "x"], pa.string()),
    ],
)
def test_the_types_of_all_values_decide(values: list[Any], kind: pa.DataType) -> None:
    for order in itertools.islice(itertools.permutations(values), 6):
        assert stored(list(order)).type == kind


def test_a_column_of_nulls_has_no_array() -> None:
    assert to_arrow([None, None]) == (None, {})


@pytest.mark.parametrize("length", [900, 3_000, 27_000, 60_000])
def test_long_text_and_bytes_are_whole_however_they_are_put_together(length: int) -> None:
    texts = [None if n % 7 == 3 else chr(97 + n % 26) * (length + n) + "é" for n in range(150)]
    for values in (texts, [each and each.encode() for each in texts]):
        array, faults = to_arrow(values)
        assert not faults
        assert array is not None
        assert array.to_pylist() == values


def test_long_text_with_a_lone_surrogate_is_named() -> None:
    values = ["x" * 20_000 for _ in range(20)]
    values[13] += "\ud800"
    array, faults = to_arrow(values)
    assert array is None
    assert list(faults) == [13]


def test_values_survive() -> None:
    moment = datetime(2020, 10, 25, 2, 30, tzinfo=BERLIN, fold=1)
    for values in (
        [1, None, -1],
        [2**64, None],
        [Decimal("1.50"), Decimal("-0.07")],
        [b"\x00\xff", None],
        [date(1, 1, 1), date(9999, 12, 31)],
        [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)],
        [timedelta(microseconds=-1), None],
        [UUID(int=7), None],
    ):
        assert stored(values).to_pylist() == values
    assert stored([moment]).to_pylist() == [datetime(2020, 10, 25, 1, 30, tzinfo=UTC)]
    assert stored([date(2020, 1, 2), datetime(2020, 1, 1, 1)]).to_pylist() == [
        datetime(2020, 1, 2),
        datetime(2020, 1, 1, 1),
    ]


@settings(max_examples=33)
@given(st.lists(DECIMALS | st.integers(-(10**18), 10**18), min_size=1, max_size=8))
def test_decimals_are_exact(values: list[Any]) -> None:
    array = stored([*values, Decimal("0.5")])
    assert pa.types.is_decimal(array.type)
    assert array.to_pylist()[:-1] == values


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_what_duckdb_casts_to(cursor: duckdb.DuckDBPyConnection, kind: str) -> None:
    @settings(max_examples=20)
    @given(KINDS[kind])
    def same(value: Any) -> None:
        array = stored([value])
        assert array.type != pa.string() or kind == "str"
        if isinstance(value, Decimal):  # DECIMAL(18, 6) would show six digits for any value
            scale = max(-value.as_tuple().exponent, 0)
            array = pa.array([value], pa.decimal128(38, scale))
        assert cast(cursor, array) == [text(plain(value))]

    same()


@pytest.mark.parametrize("value", [1.0, 1e15, 1e16, 1e17, 1e-4, 1e-5, 5e-324, -0.0, 123456789.125, 1e22, float("-nan")])
def test_floats_are_written_as_duckdb_writes_them(cursor: duckdb.DuckDBPyConnection, value: float) -> None:
    assert cast(cursor, stored([value])) == [text(value)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.00"), "0.00"),
        (Decimal("0E+5"), "0"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("1E+999999"), "1E+999999"),
        (Decimal("NaN"), "NaN"),
        (time(1, 2, 3, 4000, tzinfo=timezone(timedelta(hours=2))), "01:02:03.004000+02:00"),
    ],
)
def test_text_of_values_that_duckdb_has_no_type_for(value: Any, expected: str) -> None:
    assert text(value) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_json_of_a_scalar_is_what_duckdb_makes_of_its_column(cursor: duckdb.DuckDBPyConnection, kind: str) -> None:
    @settings(max_examples=40)
    @given(KINDS[kind])
    def same(value: Any) -> None:
        if isinstance(value, float) and (value != value or abs(value) == float("inf")):
            # DuckDB writes NaN, which no JSON reader takes, and reads the word in a string as the number.
            words = cursor.execute("SELECT CAST(CAST(? AS JSON) AS DOUBLE)", [json_scalar(value)]).fetchall()
            assert repr(words[0][0]) == repr(abs(value) if value != value else value)
            return
        array = stored([value])
        if isinstance(value, Decimal):
            array = pa.array([value], pa.decimal128(38, max(-value.as_tuple().exponent, 0)))
        (theirs,) = cast(cursor, array, "CAST(to_json(x) AS VARCHAR)")
        assert json.loads(json_scalar(plain(value))) == json.loads(theirs)

    same()


@settings(max_examples=20)
@given(data=st.data())
def test_a_mix_is_the_same_wherever_batches_are_cut(cursor: duckdb.DuckDBPyConnection, data: st.DataObject) -> None:
    """Two kinds in one batch give the text that each gives alone, cast in the database."""
    # These pairs have a type of their own, to which the database widens the column.
    widened = [{"int", "wide int"}, {"int", "float"}, {"date", "datetime"}, {"int", "Decimal"}, {"wide int", "float"}]
    widened.append({"wide int", "Decimal"})
    pair = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=2, max_size=2, unique=True))
    if set(pair) in widened:
        return
    left, right = (data.draw(KINDS[kind]) for kind in pair)
    together = stored([left, right])
    assert together.type == pa.string()

    def alone(value: Any) -> str:
        if isinstance(value, Decimal):
            return cast(cursor, pa.array([value], pa.decimal128(38, max(-value.as_tuple().exponent, 0))))[0]
        return cast(cursor, stored([value]))[0]

    assert together.to_pylist() == [alone(left), alone(right)]


@pytest.mark.parametrize(
    ("values", "index", "why"),
    [
        (["ok", "\ud800"], 1, "lone surrogate"),
        ([{"a": "\udfff"}, 1], 0, "lone surrogate"),
        ([timedelta(1), timedelta.max], 1, "out of range"),
        ([timedelta.max, "x"], 0, "out of range"),
        ([datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2020, 1, 1, tzinfo=UTC)], 0, "out of range"),
        ([1, 10**5000], 1, "4,300 digits"),
        (["x", 10**5000], 1, "4,300 digits"),
        ([object(), 1], 0, "cannot store a value of type object"),
        ([1, [1, object()]], 1, "cannot store a value of type object"),
        ([1, 1j], 1, "cannot store a value of type complex"),
    ],
)
def test_value_that_cannot_be_stored_is_named(values: list[Any], index: int, why: str) -> None:
    array, faults = to_arrow(values)
    assert array is None
    assert list(faults) == [index]
    assert why in faults[index]


@pytest.mark.parametrize("name", ["_item", "_run", "_ITEM", "_Run", "\ud800"])
def test_names_that_no_column_may_have(name: str) -> None:
    assert name_fault(name)


@pytest.mark.parametrize("name", ["", "item", "at", "ümlaut", 'quo"te', "[/b]", "_item_"])
def test_names_that_a_column_may_have(name: str) -> None:
    assert name_fault(name) is None
