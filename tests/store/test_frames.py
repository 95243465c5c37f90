"""Tables of pandas, polars, numpy and pyarrow → Arrow of few types, the same values in them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_runner.errors import RowError
from tui_runner.store.rows.dataframes import is_table, read_table

US = pa.timestamp("us")
UTC_US = pa.timestamp("us", tz="UTC")
MOMENT = datetime(2020, 1, 2, 3, 4, 5, 6)


def one_column(array: Any) -> pa.ChunkedArray:
    """Return a column as `read_table` converts it."""
    table = read_table(pa.table({"x": array}))
    assert table.column_names == ["x"]
    return table.column("x")


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.array([1, None], pa.int8()), pa.int64(), [1, None]),
        (pa.array([2**32 - 1], pa.uint32()), pa.int64(), [2**32 - 1]),
        (pa.array([2**63 - 1], pa.uint64()), pa.int64(), [2**63 - 1]),
        (pa.array([2**64 - 1], pa.uint64()), pa.decimal128(38, 0), [Decimal(2**64 - 1)]),
        (pa.array(np.array([1.5], np.float16)), pa.float64(), [1.5]),
        (pa.array([1.5], pa.float32()), pa.float64(), [1.5]),
        (pa.array(["x", None], pa.large_string()), pa.string(), ["x", None]),
        (pa.array(["x", None], pa.string_view()), pa.string(), ["x", None]),
        (pa.array([b"x"], pa.large_binary()), pa.binary(), [b"x"]),
        (pa.array([b"x"], pa.binary_view()), pa.binary(), [b"x"]),
        (pa.array([b"xy"], pa.binary(2)), pa.binary(), [b"xy"]),
        (pa.array(["x", None, "x"]).dictionary_encode(), pa.string(), ["x", None, "x"]),
        (pa.array([1, 2, 1], pa.int8()).dictionary_encode(), pa.int64(), [1, 2, 1]),
        (pc.run_end_encode(pa.array([1, 1, 2], pa.int32())), pa.int64(), [1, 1, 2]),
        (pa.array([MOMENT.replace(microsecond=0)], pa.timestamp("s")), US, [MOMENT.replace(microsecond=0)]),
        (pa.array([MOMENT], pa.timestamp("ns")), US, [MOMENT]),
        (pa.array([MOMENT], pa.timestamp("us", "Asia/Tokyo")), UTC_US, [MOMENT.replace(tzinfo=UTC)]),
        (pa.array([date(2020, 1, 2)], pa.date64()), pa.date32(), [date(2020, 1, 2)]),
        (pa.array([time(1, 2)], pa.time32("s")), pa.time64("us"), [time(1, 2)]),
        (pa.array([timedelta(1)], pa.duration("s")), pa.duration("us"), [timedelta(1)]),
        (pa.array([Decimal("1.50")], pa.decimal32(5, 2)), pa.decimal128(5, 2), [Decimal("1.50")]),
        (pa.array([Decimal("1500")], pa.decimal128(5, -2)), pa.decimal128(7, 0), [Decimal(1500)]),
        (pa.array([Decimal("1.50")], pa.decimal256(60, 2)), pa.decimal128(38, 2), [Decimal("1.50")]),
        (pa.array([Decimal("1" * 50)], pa.decimal256(60, 0)), pa.string(), ["1" * 50]),
        (pa.array([[1, 2], None, [3]], pa.large_list(pa.int8())), pa.list_(pa.int64()), [[1, 2], None, [3]]),
        (pa.array([[1, 2], None, [3]], pa.list_view(pa.int8())), pa.list_(pa.int64()), [[1, 2], None, [3]]),
        (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)), pa.list_(pa.int64()), [[1, 2], None, [3, 4]]),
        (pa.array([[None], []], pa.list_(pa.null())), pa.list_(pa.int64()), [[None], []]),
        (pa.array([{"a": [1.5]}], pa.struct([("a", pa.list_(pa.float32()))])), None, [{"a": [1.5]}]),
        (pa.array([[("k", 1)]], pa.map_(pa.large_string(), pa.int8())), None, [[("k", 1)]]),
        (pa.array([[2**64 - 1]], pa.list_(pa.uint64())), pa.json_(), ["[18446744073709551615]"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_arrow_types_become_few(array: pa.Array, kind: pa.DataType | None, values: list[object]) -> None:
    column = one_column(array)
    assert kind is None or column.type == kind
    assert column.to_pylist() == values
    doubled = one_column(pa.chunked_array([array.slice(1), array]))
    assert doubled.to_pylist() == values[1:] + values
    with duckdb.connect() as connection:  # DuckDB can make a table of it
        table = pa.table({"x": column})
        connection.register("batch", table)
        connection.execute("CREATE TABLE stored AS SELECT * FROM batch")


def test_nanoseconds_are_kept_where_they_matter() -> None:
    assert one_column(pa.array([1], pa.timestamp("ns"))).type == pa.timestamp("ns")
    assert one_column(pa.array([1], pa.timestamp("ns", "Asia/Tokyo"))).type == pa.timestamp("ns", "UTC")
    assert one_column(pa.array([1], pa.duration("ns"))).type == pa.duration("ns")


def test_columns_without_values_are_left_out_and_rows_still_count() -> None:
    table = read_table(pa.table({"a": pa.nulls(3), "b": pa.array([None] * 3, pa.int64())}))
    assert (table.num_rows, table.column_names) == (3, [])


def test_extension_types_that_the_database_knows_are_kept() -> None:
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))
    assert one_column(uuids).type == pa.uuid()
    tensor = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2]], pa.list_(pa.int32(), 2))
    )
    assert one_column(tensor).to_pylist() == [[1, 2]]


def test_batches_readers_arrays_and_streams_are_tables() -> None:
    batch = pa.record_batch({"a": [1, 2]})
    for value in (batch, pa.Table.from_batches([batch]), pa.RecordBatchReader.from_batches(batch.schema, [batch])):
        assert is_table(type(value))
        assert read_table(value).to_pydict() == {"a": [1, 2]}
    assert read_table(pa.array([1])).to_pydict() == {"value": [1]}
    assert read_table(pa.chunked_array([[1], [2]])).to_pydict() == {"value": [1, 2]}


class Stream:
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.table({"a": [1]}).__arrow_c_stream__(requested_schema)


class Exporting:
    def __init__(self, table: object) -> None:
        self.table = table

    def to_arrow(self) -> object:
        return self.table


class Interchanged:
    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> object:
        return pa.table({"a": [1]}).__dataframe__()


@pytest.mark.parametrize("value", [Stream(), Exporting(pa.table({"a": [1]})), Interchanged()])
def test_protocols_are_enough(value: object) -> None:
    assert is_table(type(value))
    assert read_table(value).to_pydict() == {"a": [1]}


def test_an_export_that_is_no_table_is_refused() -> None:
    with pytest.raises(RowError, match=r"Exporting cannot be read: to_arrow\(\) returned a int"):
        read_table(Exporting(5))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), "two columns have the name 'a'"),
        (pa.table({"_ITEM": [1]}), "column '_ITEM' is reserved; rename it"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns have the name 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "two columns have the name '1'"),
        (pd.DataFrame({"a": [1], "bad": [object()]}), "column 'bad': cannot store a value of type object"),
        (pd.DataFrame({"bad": ["\ud800"]}, dtype=object), "column 'bad': text with a lone surrogate"),
        (pd.DataFrame({"bad": [1j]}), "column 'bad': cannot store a value of type complex"),
        (pl.DataFrame({"bad": [object()]}, schema={"bad": pl.Object}), "column 'bad': cannot store a value of type"),
        (pa.table({"bad": pa.array([2**62], pa.timestamp("s"))}), "column 'bad': "),
        (np.zeros((2, 2)), "a numpy array of 2 dimensions is not a table"),
    ],
)
def test_faults_name_the_column(value: object, why: str) -> None:
    with pytest.raises(RowError) as caught:
        read_table(value)
    assert why in str(caught.value)


def test_text_that_is_no_utf8_is_refused() -> None:
    offsets = pa.py_buffer(np.array([0, 2], np.int32).tobytes())
    broken = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    for array in (broken, pa.StructArray.from_arrays([broken], ["q"])):
        with pytest.raises(RowError, match=r"column 'x': .*UTF8"):
            read_table(pa.table({"x": array}))


def test_pandas() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, np.nan],
            "nullable": pd.array([1, None], dtype="Int64"),
            "text": ["a", None],
            "mixed": [1, "x"],
            "days": [date(2020, 1, 1), datetime(2020, 1, 2, 3)],
            "nested": [{"a": 1}, [2]],
            "category": pd.Categorical(["a", "b"]),
            "period": pd.period_range("2020", periods=2, freq="Y"),
            "sparse": pd.arrays.SparseArray([0, 1]),
            "moment": pd.to_datetime(["2020-01-01", None]).tz_localize("Europe/Berlin"),
            "empty": [None, np.nan],
            7: [True, False],
        },
        index=["i", "j"],
    )
    assert read_table(frame).to_pydict() == {
        "number": [1.5, None],
        "nullable": [1, None],
        "text": ["a", None],
        "mixed": ["1", "x"],
        "days": [datetime(2020, 1, 1), datetime(2020, 1, 2, 3)],
        "nested": ['{"a":1}', "[2]"],
        "category": ["a", "b"],
        "period": ["2020", "2021"],
        "sparse": [0, 1],
        "moment": [datetime(2019, 12, 31, 23, tzinfo=UTC), None],
        "7": [True, False],
    }
    assert read_table(pd.Series([1, 2], name="n")).to_pydict() == {"n": [1, 2]}
    assert read_table(pd.Series([1, 2])).to_pydict() == {"value": [1, 2]}


def test_a_frame_that_the_job_changes_later_is_stored_as_returned() -> None:
    buffer = np.arange(4.0)
    table = read_table(pd.DataFrame({"x": buffer}, copy=False))
    buffer[:] = -1
    assert table.to_pydict() == {"x": [0.0, 1.0, 2.0, 3.0]}


def test_polars() -> None:
    frame = pl.DataFrame(
        {
            "text": ["a", None],
            "small": pl.Series([1, 2], dtype=pl.UInt8),
            "huge": pl.Series([2**100, None], dtype=pl.Int128),
            "price": [Decimal("1.50"), None],
            "category": pl.Series(["a", "b"], dtype=pl.Categorical),
            "clock": [time(1), None],
            "nested": [[1], [2, 3]],
            "mixed": pl.Series([1, "x"], dtype=pl.Object),
            "nan": [float("inf"), 1.0],
            "empty": [None, None],
        }
    )
    expected = {
        "text": ["a", None],
        "small": [1, 2],
        "huge": [Decimal(2**100), None],
        "price": [Decimal("1.50"), None],
        "category": ["a", "b"],
        "clock": [time(1), None],
        "nested": [[1], [2, 3]],
        "mixed": ["1", "x"],
        "nan": [float("inf"), 1.0],
    }
    assert read_table(frame).to_pydict() == expected
    assert read_table(pl.LazyFrame({"a": [1]})).to_pydict() == {"a": [1]}
    assert read_table(pl.Series("n", [1])).to_pydict() == {"n": [1]}
    assert read_table(pl.Series([1])).to_pydict() == {"value": [1]}


def test_numpy() -> None:
    assert read_table(np.array([1, 2], np.int8)).to_pydict() == {"value": [1, 2]}
    moments = np.array(["2020-01-01T00:00:00.000001", "NaT"], "datetime64[ns]")
    assert read_table(moments).to_pydict() == {"value": [datetime(2020, 1, 1, 0, 0, 0, 1), None]}
    points = np.array([(1, 0.5), (2, 1.5)], dtype=[("x", "i4"), ("y", "f4")])
    assert read_table(points).to_pydict() == {"x": [1, 2], "y": [0.5, 1.5]}


@settings(max_examples=40)
@given(st.lists(st.none() | st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_unsigned_integers_keep_their_values(values: list[int | None]) -> None:
    table = read_table(pa.table({"x": pa.array(values, pa.uint64())}))
    got = table.column("x").to_pylist() if table.num_columns else [None] * table.num_rows
    assert got == values


def test_no_table_library_is_imported() -> None:
    """Beyond what pyarrow imports on its own: numpy, and pandas at its first array."""
    code = (
        "import sys, pyarrow as pa; pa.array([1]); before = set(sys.modules);"
        "import tui_runner.store.rows.collect as rows; rows.build([(0, rows.collect([{'a': [1]}] * 2000))]);"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "tui_runner" in imported
    assert imported.isdisjoint({"duckdb", "pandas", "polars", "numpy", "pydantic", "textual"})
