"""Arrow tables as DuckDB can take them: types that it cannot scan, or that older DuckDB cannot read from the file.

| Arrow type | why not | instead |
| --- | --- | --- |
| dictionary | chunks with different dictionaries | its values |
| float16 | "Unsupported Internal Arrow Type" | float32 |
| decimal256 | likewise | decimal128, else text |
| timestamp in s or ms | a type of its own for each unit | microseconds, else as it is |
| timestamp in ns with zone | only DuckDB 2 has the type | microseconds, else text |
| time, duration in ns | likewise; intervals have no nanoseconds | microseconds, else text |
| other extension types | unknown to DuckDB | what they are stored as |

"Else": when a value does not fit. No value is changed.
"""

from __future__ import annotations

import pyarrow as pa

_KNOWN_EXTENSIONS = frozenset({"arrow.json", "arrow.uuid", "arrow.bool8"})
"""Extension types that DuckDB takes for what they are."""


def admit(table: pa.Table) -> pa.Table:
    """`table` with the columns that need it converted, column names untouched."""
    columns, changed = [], False
    for column in table.columns:
        new = _admit_column(column)
        changed = changed or new is not column
        columns.append(new)
    if not changed:
        return table
    return pa.Table.from_arrays(columns, names=table.column_names)


def _admit_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
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
        # Text would lose the shape of a nested value; and DuckDB has types for moments that far away.
        keeps = pa.types.is_nested(kind) or (pa.types.is_timestamp(kind) and kind.unit != "ns")
        return column if keeps else column.cast(pa.string())


def _admitted(kind: pa.DataType) -> pa.DataType:
    """The type that values of `kind` are offered to DuckDB in."""
    types = pa.types
    if types.is_dictionary(kind):
        return _admitted(kind.value_type)
    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal256(kind):
        # 38 digits are what DuckDB has; a scale above that leaves no room for anything but text.
        return pa.decimal128(38, kind.scale) if 0 <= kind.scale <= 38 else pa.string()
    if types.is_timestamp(kind) and (kind.unit in ("s", "ms") or (kind.unit == "ns" and kind.tz is not None)):
        return pa.timestamp("us", tz=kind.tz)
    if types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    return _admitted_nested(kind)


def _admitted_nested(kind: pa.DataType) -> pa.DataType:
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
