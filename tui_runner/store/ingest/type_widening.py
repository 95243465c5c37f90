"""Converts Arrow types to types that DuckDB accepts, and finds the DuckDB type that can hold values of two types.

| Arrow type | why it is converted | converted to | if a value does not fit |
| --- | --- | --- | --- |
| dictionary | chunks may have different dictionaries | type of its values | |
| float16 | "Unsupported Internal Arrow Type" | float32 | |
| decimal256 | "Unsupported Internal Arrow Type" | decimal128 | text |
| timestamp in s or ms | is another type than microseconds, and a column has one type | microseconds | not converted |
| timestamp in ns with zone | only DuckDB 2 has the type | microseconds | text |
| time in ns | only DuckDB 2 has the type | microseconds | text |
| duration in ns | intervals have no nanoseconds | microseconds | text |
| other extension types | unknown to DuckDB | the type in which they are stored | |

No conversion changes a value. Nested values that do not fit are not converted.

The wider of two types is on the right:

    TINYINT < SMALLINT < INTEGER < BIGINT < HUGEINT      also unsigned types, each below the next larger signed type
    integer < DECIMAL(p, s)                              if at most 38 digits are needed
    integer, FLOAT < DOUBLE                              integers only if a DOUBLE represents them exactly
    DATE < TIMESTAMP < TIMESTAMP_NS                      if the moment is in the range of the wider type
    any type < JSON                                      if one type is nested or JSON, and the types differ
    any type < VARCHAR                                   in all other cases

`widened` returns the wider type, assuming that every value fits. `guard` returns the condition that values must meet.
If a value does not meet it, the column becomes VARCHAR.
"""

from __future__ import annotations

import re

import pyarrow as pa

_KNOWN_EXTENSIONS = frozenset({"arrow.json", "arrow.uuid", "arrow.bool8"})
"""Arrow extension types that DuckDB supports."""


def admit(table: pa.Table) -> pa.Table:
    """Return `table` with columns converted to types that DuckDB accepts. Column names are unchanged."""
    columns, changed = [], False
    for column in table.columns:
        new = _admit_column(column)
        changed = changed or new is not column
        columns.append(new)
    if not changed:
        return table
    return pa.Table.from_arrays(columns, names=table.column_names)


def _admit_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in a type that DuckDB accepts, as in the table at the head of this module."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name not in _KNOWN_EXTENSIONS:
        storage = [chunk.storage for chunk in column.chunks]
        return _admit_column(pa.chunked_array(storage, type=kind.storage_type))
    target = _admitted(kind)
    if target == kind:
        return column
    try:
        return column.cast(target)
    except pa.ArrowInvalid:
        # Do not convert nested values to text, because that would lose their structure. Timestamps beyond the range of
        # microseconds need no conversion: DuckDB has types for seconds and milliseconds.
        keeps = pa.types.is_nested(kind) or (pa.types.is_timestamp(kind) and kind.unit != "ns")
        return column if keeps else column.cast(pa.string())


def _admitted(kind: pa.DataType) -> pa.DataType:
    """Return the type in which values of the type `kind` are passed to DuckDB."""
    types = pa.types
    if types.is_dictionary(kind):
        return _admitted(kind.value_type)
    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal256(kind):
        # DuckDB's decimals have 38 digits. With a larger scale only text can represent the values.
        return pa.decimal128(38, kind.scale) if 0 <= kind.scale <= 38 else pa.string()
    if types.is_timestamp(kind) and (kind.unit in ("s", "ms") or (kind.unit == "ns" and kind.tz is not None)):
        return pa.timestamp("us", tz=kind.tz)
    if types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    return _admitted_nested(kind)


def _admitted_nested(kind: pa.DataType) -> pa.DataType:
    """Return a nested type with every inner type replaced by one that DuckDB accepts."""
    types = pa.types
    if types.is_struct(kind):
        return pa.struct([field.with_type(_admitted(field.type)) for field in kind])
    if types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_admitted(kind.value_type)))
    if types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_admitted(kind.value_type)))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_admitted(kind.value_type)), kind.list_size)
    if types.is_map(kind):
        return pa.map_(_admitted(kind.key_type), _admitted(kind.item_type))
    return kind


VARCHAR = "VARCHAR"
JSON = "JSON"

_SIGNED = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_UNSIGNED = {"UTINYINT": 8, "USMALLINT": 16, "UINTEGER": 32, "UBIGINT": 64, "UHUGEINT": 128}
"""Bits of each unsigned integer type; `_SIGNED` has the bits of each signed type."""
_DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}
"""Decimal digits that each integer type needs."""
_DIGITS |= {"UTINYINT": 3, "USMALLINT": 5, "UINTEGER": 10, "UBIGINT": 20}
_FLOATS = {"FLOAT", "DOUBLE"}
_MOMENTS = {"DATE": 0, "TIMESTAMP_S": 1, "TIMESTAMP_MS": 2, "TIMESTAMP": 3, "TIMESTAMP_NS": 4}
"""Date and timestamp types, from the coarsest to the finest."""
_EXACT_IN_DOUBLE = 2**53
"""Every integer up to this one can be stored exactly as a DOUBLE."""
_MAX_DIGITS = 38
"""Largest number of digits of a DECIMAL in DuckDB."""
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
"""Matches DuckDB's name of a decimal type. Groups: all digits; digits after the point."""


def is_nested(name: str) -> bool:
    """Return True if values of a DuckDB type contain other values: lists, arrays, structs, maps, unions."""
    return name.endswith("]") or name.startswith(("STRUCT(", "MAP(", "UNION("))


def storable(name: str) -> str:
    """Return the type of a new column for values of type `name`. A nested type with an unknown part becomes JSON."""
    if name == '"NULL"':
        return VARCHAR
    return JSON if is_nested(name) and '"NULL"' in name else name


def widened(one: str, other: str) -> str:
    """Return the type that can store the values of both types, provided that they meet the condition of `guard`."""
    if one == other:
        return one
    if JSON in (one, other) or is_nested(one) or is_nested(other):
        return JSON
    if _is_number(one) and _is_number(other):
        return _widened_number(one, other)
    if one in _MOMENTS and other in _MOMENTS:
        # At least TIMESTAMP, because a DATE and a TIMESTAMP_S would otherwise result in the unusual type TIMESTAMP_S.
        return max(one, other, "TIMESTAMP", key=_MOMENTS.__getitem__)
    return VARCHAR


def guard(source: str, target: str, value: str) -> str | None:
    """Return the SQL condition under which `value` can be stored as `target` without loss; None if it always can."""
    if source == target or target in (VARCHAR, JSON):
        return None
    if target in _FLOATS and (_SIGNED.get(source) or _UNSIGNED.get(source) or 0) > 32:
        return f"{value} BETWEEN -{_EXACT_IN_DOUBLE} AND {_EXACT_IN_DOUBLE}"
    if source in _MOMENTS:
        return f"TRY_CAST(TRY_CAST({value} AS {target}) AS {source}) IS NOT DISTINCT FROM {value}"
    return None


def converted(source: str, target: str, value: str) -> str:
    """Return SQL that converts `value` from type `source` to `target`, without loss if the value meets `guard`."""
    if source == target:
        return value
    if source == "FLOAT":
        # Do not read the text of a FLOAT as a DOUBLE: it has only as many digits as distinguish FLOATs, so the result
        # would be another number.
        value, source = f"CAST({value} AS DOUBLE)", "DOUBLE"
    if target != JSON:
        return f"CAST({value} AS {target})"
    if is_nested(source) or _is_number(source) or source == "BOOLEAN":
        text = f"to_json({value})"
        return _finite(text) if any(name in source for name in _FLOATS) else text
    return f"to_json(CAST({value} AS VARCHAR))"


def _finite(text: str) -> str:
    """Return SQL that replaces NaN and infinities in a JSON value by strings, as `json_scalar` writes them.

    DuckDB writes them as bare words, which are not valid JSON. It casts the strings to the same numbers again.
    """
    parts = rf"""regexp_extract_all(CAST({text} AS VARCHAR), '"(?:[^"\\]|\\.)*"|[^"]+')"""
    nan = "regexp_replace(part, '-?NaN', '\"nan\"', 'g')"
    words = rf"""regexp_replace({nan}, '(-?)Infinity', '"\1inf"', 'g')"""
    repaired = f"lambda part: CASE WHEN part[1] = '\"' THEN part ELSE {words} END"
    whole = f"CAST(array_to_string(list_transform({parts}, {repaired}), '') AS JSON)"
    return f"CASE WHEN regexp_matches(CAST({text} AS VARCHAR), 'NaN|Infinity') THEN {whole} ELSE {text} END"


def _is_number(name: str) -> bool:
    return name in _SIGNED or name in _UNSIGNED or name in _FLOATS or _DECIMAL.fullmatch(name) is not None


def _widened_number(one: str, other: str) -> str:
    """Return the type that can store the numbers of both types; VARCHAR if there is none."""
    decimals = [match for name in (one, other) if (match := _DECIMAL.fullmatch(name))]
    if one in _FLOATS or other in _FLOATS:
        return VARCHAR if decimals else "DOUBLE"
    if decimals:
        return _widened_decimal(one, other)
    if one in _UNSIGNED and other in _UNSIGNED:
        return max(one, other, key=_UNSIGNED.__getitem__)
    bits = max(_SIGNED.get(name) or 2 * _UNSIGNED[name] for name in (one, other))
    return next((name for name, size in _SIGNED.items() if size >= bits), VARCHAR)


def _widened_decimal(one: str, other: str) -> str:
    """Return the type that can store the integers and decimals of both types; VARCHAR if there is none."""
    if "HUGEINT" in (one, other):
        # HUGEINT has 39 digits: it can store every DECIMAL without a fraction, and no DECIMAL can store every HUGEINT.
        return "HUGEINT" if (one if other == "HUGEINT" else other).endswith(",0)") else VARCHAR
    if "UHUGEINT" in (one, other):
        return VARCHAR
    whole = scale = 0
    for name in (one, other):
        match = _DECIMAL.fullmatch(name)
        digits, places = (int(match[1]), int(match[2])) if match else (_DIGITS[name], 0)
        whole, scale = max(whole, digits - places), max(scale, places)
    return f"DECIMAL({whole + scale},{scale})" if whole + scale <= _MAX_DIGITS else VARCHAR
