"""Converts tables that a job returned (pandas, polars, pyarrow, any Arrow protocol) to Arrow tables with few types.

pandas, polars and numpy are never imported here, because a job that returns their objects has imported them. Columns
get the types of `columns.py`, except that nested Arrow types are not converted to JSON. If a value does not fit (an
integer beyond 64 bits, nanoseconds, decimals of 76 digits), the column gets the next wider type that DuckDB reads.

In pandas, NaN, None, NaT and NA all mean "missing", so they become null. From every other source, NaN is stored as NaN.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from tui_runner.errors import RowError
from tui_runner.store.rows.columns import name_fault, to_arrow
from tui_runner.store.rows.values import CACHED_TYPES, in_column, key_name, quotable, type_name

VALUE_COLUMN = "value"
"""Column name for values that have no name: scalars, and a series without a name."""

_EXPORTS = ("to_arrow_table", "to_pyarrow", "to_arrow")
"""Methods by which libraries export Arrow tables."""
_PROTOCOLS = ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__", *_EXPORTS)
"""Methods by which an object is recognised as a table."""

_MAX_DIGITS = 38
"""Largest number of digits of a decimal in DuckDB."""
_INT64 = pa.int64()
_WIDE_INTEGER = pa.decimal128(_MAX_DIGITS, 0)

Column: TypeAlias = pa.Array | pa.ChunkedArray
Raw: TypeAlias = Column | Sequence[object]
"""A column whose type is not determined yet. It is a sequence of Python values if Arrow must not guess the type."""


@lru_cache(CACHED_TYPES)
def is_table(kind: type) -> bool:
    """Return True if values of the type `kind` are tables or series."""
    return (
        is_series(kind)
        or issubclass(kind, (pa.Table, pa.RecordBatch, pa.RecordBatchReader))
        or issubclass(kind, _loaded("pandas", "DataFrame"))
        or issubclass(kind, _loaded("polars", "DataFrame", "LazyFrame"))
        or any(hasattr(kind, name) for name in _PROTOCOLS)
    )


def is_series(kind: type) -> bool:
    """Return True if values of the type `kind` are one column, which has values but no names.

    In a list, a pandas series is a row instead.
    """
    return (
        issubclass(kind, (pa.Array, pa.ChunkedArray))
        or is_pandas_series(kind)
        or issubclass(kind, _loaded("polars", "Series"))
        or issubclass(kind, _loaded("numpy", "ndarray"))
    )


def is_pandas_series(kind: type) -> bool:
    """Return True if values of the type `kind` are pandas series."""
    return issubclass(kind, _loaded("pandas", "Series"))


def series_row(series: Any) -> dict[Any, object]:
    """Return a pandas series as a row, with the index as column names, as `iterrows()` returns it."""
    return dict(zip(series.index.tolist(), _pandas_values(series), strict=True))


def read_table(value: Any) -> pa.Table:
    """Convert a table of any library to an Arrow table of few types, without columns that have no value.

    Raises:
        RowError: the table cannot be read or stored. If a single column is at fault, the message names it.
    """
    try:
        rows, columns = _raw_columns(value)
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, AttributeError) as error:
        reason = quotable(" ".join(str(error).split()))
        raise RowError(f"a table of type {type_name(type(value))} cannot be read: {reason}") from error
    arrays: dict[str, Column] = {}
    seen: set[str] = set()
    for name, raw in columns:
        if fault := name_fault(name):
            raise RowError(fault)
        if name in seen:
            raise RowError(f"two columns have the name '{quotable(name)}'; rename one")
        seen.add(name)
        array = _settled(name, raw)
        if array is not None:
            arrays[name] = array
    if not arrays:
        return pa.table({"": pa.nulls(rows)}).select([])
    return pa.Table.from_arrays(list(arrays.values()), names=list(arrays))


def _loaded(module: str, *names: str) -> tuple[type, ...]:
    """Return the classes `names` that a library has; empty if this process has not imported the library."""
    library = sys.modules.get(module)
    return tuple(found for name in names if isinstance(found := getattr(library, name, None), type))


def _raw_columns(value: Any) -> tuple[int, list[tuple[str, Raw]]]:
    """Return the number of rows of a table, and its columns with their names."""
    kind = type(value)
    if issubclass(kind, _loaded("pandas", "DataFrame")):
        series = (value.iloc[:, index] for index in range(value.shape[1]))
        return len(value), [(key_name(n), _from_pandas(s)) for n, s in zip(value.columns, series, strict=True)]
    if issubclass(kind, _loaded("pandas", "Series")):
        return len(value), [(_series_name(value.name), _from_pandas(value))]
    if issubclass(kind, _loaded("polars", "LazyFrame")):
        value = value.collect()
        kind = type(value)
    if issubclass(kind, _loaded("polars", "DataFrame")):
        return len(value), [(series.name, _from_polars(series)) for series in value.get_columns()]
    if issubclass(kind, _loaded("polars", "Series")):
        return len(value), [(_series_name(value.name), _from_polars(value))]
    if issubclass(kind, _loaded("numpy", "ndarray")):
        return _from_numpy(value)
    if issubclass(kind, (pa.Array, pa.ChunkedArray)):
        return len(value), [(VALUE_COLUMN, value)]
    table = _arrow_table(value)
    return table.num_rows, list(zip(table.column_names, table.columns, strict=True))


def _series_name(name: object) -> str:
    return VALUE_COLUMN if name is None or name == "" else key_name(name)


def _arrow_table(value: Any) -> pa.Table:
    """Convert an object with one of the Arrow protocols to a table."""
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if isinstance(value, pa.RecordBatchReader):
        return value.read_all()
    kind = type(value)
    if hasattr(kind, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(value).read_all()
    if hasattr(kind, "__arrow_c_array__"):
        return pa.Table.from_batches([pa.record_batch(value)])
    for name in _EXPORTS:
        if hasattr(kind, name):
            exported = getattr(value, name)()
            if isinstance(exported, (pa.Table, pa.RecordBatch, pa.RecordBatchReader)):
                return _arrow_table(exported)
            raise TypeError(f"{name}() returned a {type_name(type(exported))}, not an Arrow table")
    from pyarrow.interchange import from_dataframe  # imported here, because it is rarely needed and takes 20 ms

    return from_dataframe(value)


def _from_pandas(series: Any) -> Raw:
    """Return a pandas column. Objects stay Python values, because Arrow infers a type from the first ones only."""
    dtype = series.dtype
    if str(dtype) != "object":
        if hasattr(dtype, "subtype") and hasattr(series, "sparse"):
            series = series.sparse.to_dense()
        try:
            # Copy it, because Arrow shares memory with numpy, and the job may change its buffers later.
            array = pa.Array.from_pandas(series.copy())
        except (pa.ArrowException, TypeError, ValueError):
            array = None  # Arrow does not know the type; below, the values are converted one by one
        if array is not None and not isinstance(array.type, pa.BaseExtensionType):
            return array
        if array is not None:  # periods and intervals, which Arrow stores as numbers without their meaning
            series = series.astype(str).where(series.notna(), None)
    return _pandas_values(series)


def _pandas_values(series: Any) -> list[object]:
    return [None if isinstance(value, float) and value != value else value for value in series.tolist()]


def _from_polars(series: Any) -> Raw:
    """Return a polars column as an Arrow array; objects as Python values, because polars exports their addresses."""
    if type(series.dtype).__name__ == "Object" or str(series.dtype) == "Object":
        return list(series.to_list())
    try:
        return series.to_arrow()
    except Exception:
        # Types that polars cannot export to Arrow, such as 128-bit integers, can be read as Python values.
        return list(series.to_list())


def _from_numpy(array: Any) -> tuple[int, list[tuple[str, Raw]]]:
    """Return the number of rows and the columns of a one-dimensional array: one column per field, or a single one."""
    if array.ndim != 1:
        raise RowError(f"a numpy array of {array.ndim} dimensions is not a table; return one dimension or dicts")
    if array.dtype.names:
        return len(array), [(name, list(array[name])) for name in array.dtype.names]
    return len(array), [(VALUE_COLUMN, list(array))]


def _settled(name: str, raw: Raw) -> Column | None:
    """Return a column in its final type; None if it has no value."""
    if not isinstance(raw, (pa.Array, pa.ChunkedArray)):
        return _by_values(name, raw)
    if raw.null_count == len(raw):
        return None
    try:
        raw.validate(full=True)
        return _converted(raw)
    except pa.ArrowInvalid as error:
        raise RowError(in_column(name, quotable(" ".join(str(error).split())))) from error
    except (pa.ArrowException, _ByValues):  # Arrow cannot cast this type, but its values may be storable
        return _by_values(name, _python_values(name, raw))


class _ByValues(Exception):
    """Raised if Arrow cannot cast a column to a type that DuckDB reads; its Python values are converted instead."""


def _python_values(name: str, array: Column) -> list[object]:
    try:
        return list(array.to_pylist())
    except Exception as error:  # extension types convert values with their own code, which may raise anything
        raise RowError(in_column(name, f"{quotable(str(array.type))} cannot be stored")) from error


def _by_values(name: str, values: Sequence[object]) -> Column | None:
    array, faults = to_arrow(values)
    if faults:
        raise RowError(in_column(name, next(iter(faults.values()))))
    return array


def _converted(array: Column) -> Column:
    """Return `array` in its final type, or if a value does not fit, in the next wider type.

    Raises:
        pa.ArrowInvalid: a value does not fit, and there is no wider type.
        pa.ArrowException: Arrow cannot cast the type.
        _ByValues: the values must be converted one by one.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType) and kind not in (pa.uuid(), pa.json_()):
        return _converted(_map_chunks(array, lambda chunk: chunk.storage))
    if types.is_run_end_encoded(kind):
        return _converted(_map_chunks(array, pc.run_end_decode))
    if types.is_dictionary(kind):
        return _converted(_map_chunks(array, lambda chunk: chunk.dictionary_decode()))
    target = _canonical(kind)
    if target == kind:
        return array
    if _has_view(kind):
        # Convert Python values instead: Arrow 26 casts list views to lists wrongly, so that rows after a null become
        # empty.
        return pa.array(array.to_pylist(), target)
    try:
        return array.cast(target)
    except pa.ArrowInvalid:  # a value does not fit into the target, such as a number beyond 64 bits
        wider = _wider(kind)
        if wider is None:
            raise
        return array.cast(wider) if wider != kind else array


def _map_chunks(array: Column, change: Any) -> pa.ChunkedArray:
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    return pa.chunked_array([change(chunk) for chunk in chunks])


def _wider(kind: pa.DataType) -> pa.DataType | None:
    """Return the type for a column with values that do not fit into its usual type; None if there is none.

    Raise `_ByValues` for a nested type, whose values must be converted one by one.
    """
    if types.is_uint64(kind):
        return _WIDE_INTEGER
    if types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("ns", tz="UTC" if kind.tz else None)
    if (types.is_time(kind) or types.is_duration(kind)) and kind.unit == "ns":
        return kind
    if types.is_decimal(kind):
        return pa.string()
    if types.is_large_string(kind) or types.is_large_binary(kind):
        return kind
    if types.is_nested(kind):
        raise _ByValues
    return None


def _canonical(kind: pa.DataType) -> pa.DataType:
    """Return the type to which a column of type `kind` must be cast. Raise `_ByValues` if Arrow cannot cast it."""
    # null only occurs inside a nested type; integers can be widened to most other types
    if types.is_integer(kind) or types.is_null(kind):
        return _INT64
    if types.is_floating(kind):
        return pa.float64()
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if any(f(kind) for f in (types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)):
        return pa.binary()
    if types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if types.is_date(kind):
        return pa.date32()
    if types.is_time(kind):
        return pa.time64("us")
    if types.is_duration(kind):
        return pa.duration("us")
    if types.is_decimal(kind):
        return _decimal(kind.precision, kind.scale)
    if types.is_dictionary(kind):
        return _canonical(kind.value_type)
    if types.is_map(kind):
        return pa.map_(_canonical(kind.key_type), _canonical(kind.item_type))
    if types.is_struct(kind):
        return pa.struct([field.with_type(_canonical(field.type)) for field in _fields(kind)])
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or _has_view(kind):
        return pa.list_(_canonical(kind.value_type))
    if types.is_union(kind) or types.is_run_end_encoded(kind):
        raise _ByValues
    return kind


def _decimal(precision: int, scale: int) -> pa.DataType:
    if scale > _MAX_DIGITS:
        return pa.string()
    whole = precision - scale
    return pa.decimal128(max(1, min(_MAX_DIGITS, max(whole, 0) + max(scale, 0))), max(scale, 0))


def _fields(kind: pa.DataType) -> Iterable[pa.Field]:
    return (kind.field(index) for index in range(kind.num_fields))


def _has_view(kind: pa.DataType) -> bool:
    """Return True if the type contains a list view at any depth."""
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        return True
    return types.is_nested(kind) and any(_has_view(field.type) for field in _fields(kind))
