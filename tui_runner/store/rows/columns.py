"""Converts a column of Python values to one Arrow array, in the narrowest type that represents all of them exactly.

The set of Python types in the column determines the type. Arrow's own inference is not used, because it considers only
the first values. Few types are used, so that the database rarely has to widen a column:

| values | Arrow |
| --- | --- |
| bool · str · bytes · UUID | bool · string · binary · uuid |
| date · time · timedelta | date32 · time64[us] · duration[us] |
| int | int64; decimal128(38, 0) beyond 64 bits; text from 10³⁸ on |
| float, or int and float | double; text if a double cannot represent an int exactly |
| Decimal, or int and Decimal | decimal128 as wide as needed; text beyond 38 digits and for NaN or infinities |
| datetime, or date and datetime | timestamp[us]; timestamp[us, UTC] if all have a zone; text if only some have one |
| nested, or nested and scalars | JSON |
| any other mix, times with a zone | text |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID

import pyarrow as pa

from tui_runner.errors import RowError
from tui_runner.store.records import ITEM_COLUMN, RUN_COLUMN
from tui_runner.store.rows.values import PLAIN, Json, json_scalar, json_texts, plain, quotable, text, type_name

_EXACT_IN_DOUBLE = 2**53
"""Integers below this can be represented exactly as a double."""
_DIGITS = 38
"""Largest number of digits of a decimal in DuckDB."""
_SMALL_DIGITS = 18
"""Digits of a decimal that DuckDB stores in 64 bits. Decimals with fewer digits also get this number, so that columns
have fewer different types."""
_MICROSECONDS = pa.timestamp("us")
_UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
"""Types for a date with time, without and with a time zone, as DuckDB stores them."""
_PART_LENGTH = 100_000
"""Characters of text that are converted at once if rows are long. glibc takes blocks above 128 kB from the system
(`system/memory.py`) and returns them at once; smaller blocks are reused."""
_MOST_ROWS_OF_A_PART = 100
"""Largest number of rows in such a part. For short texts more rows would fit, but then building parts costs more than
it saves."""
_LONGEST_OF_PARTS = 1 << 29
"""Largest number of characters that are converted in parts. An Arrow array can store 2 GB, and a character takes up to
four bytes."""
Values = Sequence[Any]


def name_fault(name: str) -> str | None:
    """Return why `name` cannot be the name of a column; None if it can."""
    if name.lower() in (RUN_COLUMN, ITEM_COLUMN):
        return f"column '{name}' is reserved; rename it"
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            return f"column '{quotable(name)}': a name with a lone surrogate is not text; rename it"
    return None


def to_arrow(values: Values) -> tuple[pa.Array | None, dict[int, str]]:
    """Convert one column to an Arrow array.

    Args:
        values: any Python values, one per row.

    Returns:
        The array, and the reason for each value that cannot be stored, by its index. Reasons do not name the column.
        The array is None if a value cannot be stored, or if all values are null, because a column is created only with
        its first value.
    """
    kinds = set(map(type, values))
    if not kinds <= PLAIN:
        texts = json_texts(values)
        if texts is not None:
            return _json(texts), {}
        values, faults = _plain_values(values)
        if faults:
            return None, faults
        kinds = set(map(type, values))
    kinds.discard(NoneType)
    if not kinds:
        return None, {}
    build = _BUILDERS.get(frozenset(kinds)) or (_json_with_scalars if Json in kinds else _texts)
    try:
        return build(values), {}
    # Arrow raises errors of many types; the values that cause them are then found one by one
    except Exception as error:
        return None, _faults(build, values, error)


def _plain_values(values: Values) -> tuple[Values, dict[int, str]]:
    """Return `values` in their plain form, and the reason for each value that has no plain form, by its index."""
    converted = list(values)
    faults: dict[int, str] = {}
    for index, value in enumerate(values):
        if type(value) not in PLAIN:
            try:
                converted[index] = plain(value)
            except RowError as error:  # only this value is bad; the others are stored
                faults[index] = str(error)
    return converted, faults


def _faults(build: Callable[[Values], pa.Array], values: Values, error: Exception) -> dict[int, str]:
    """Return the reason for each value that makes `build` fail, by its index; all values if each is accepted alone."""
    faults: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            build([value])
        except Exception as fault:  # Arrow raises errors of many types
            faults[index] = _described(value, fault)
    return faults or {index: _described(value, error) for index, value in enumerate(values)}


def _described(value: object, error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "text with a lone surrogate, which UTF-8 cannot hold"
    if isinstance(value, int) and isinstance(error, ValueError):
        return "an integer with more than 4,300 digits"
    return f"a {type_name(type(value))} that is out of range"


def _texts(values: Values) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in values], pa.string())


def _json(values: Values) -> pa.Array:
    """Return an array of nested values, which are already JSON texts."""
    return _extension(pa.json_(), pa.array(values, pa.string()))


def _json_with_scalars(values: Values) -> pa.Array:
    return _json([None if value is None else json_scalar(value) for value in values])


def _uuids(values: Values) -> pa.Array:
    storage = pa.array([None if value is None else value.bytes for value in values], pa.binary(16))
    return _extension(pa.uuid(), storage)


def _extension(kind: pa.DataType, storage: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return `storage` as an array of an extension type. pyarrow gives a ChunkedArray for more than 2 GB of text."""
    if isinstance(storage, pa.ChunkedArray):
        return pa.chunked_array([pa.ExtensionArray.from_storage(kind, chunk) for chunk in storage.chunks], kind)
    return pa.ExtensionArray.from_storage(kind, storage)


def _integers(values: Values) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid):  # beyond 64 bits
        if all(value is None or abs(value) < 10**_DIGITS for value in values):
            return pa.array(values, pa.decimal128(_DIGITS, 0))
        return _texts(values)


def _numbers(values: Values) -> pa.Array:
    """Return integers and floats as an array of doubles; of texts if a double cannot represent an integer exactly."""
    if any(type(value) is int and abs(value) >= _EXACT_IN_DOUBLE for value in values):
        return _texts(values)
    return pa.array(values, pa.float64())


def _decimals(values: Values) -> pa.Array:
    """Return decimals and integers as an array of decimals; of texts if one is not finite or has too many digits."""
    whole = scale = 0
    for value in values:
        if value is None:
            continue
        if type(value) is int:
            if abs(value) >= 10**_DIGITS:
                return _texts(values)
            digits, exponent = len(str(abs(value))), 0
        else:
            parts = value.as_tuple()
            if not isinstance(parts.exponent, int):  # NaN or infinite
                return _texts(values)
            digits, exponent = len(parts.digits) if value else 0, parts.exponent
        whole = max(whole, digits + exponent if digits else 0)
        scale = max(scale, -exponent)
    if whole + scale > _DIGITS:
        return _texts(values)
    kind = pa.decimal128(max(whole + scale, _SMALL_DIGITS), scale)
    return pa.array([Decimal(value) if type(value) is int else value for value in values], kind)


def _dates_and_times(values: Values) -> pa.Array:
    """Return datetimes and dates as timestamps, dates at midnight; as texts if a value has a time zone."""
    if any(_has_zone(value) for value in values):
        return _texts(values)
    return _timestamps([datetime(v.year, v.month, v.day) if type(v) is date else v for v in values])


def _timestamps(values: Values) -> pa.Array:
    """Return an array of datetimes. The two usual cases, all without a zone or all in UTC, need no conversion."""
    zones = {id(value.tzinfo) for value in values if value is not None}
    if zones == {id(None)}:
        return pa.array(values, _MICROSECONDS)
    if zones == {id(UTC)}:
        return pa.array(values, _UTC_MICROSECONDS)
    zoned = {_has_zone(value) for value in values if value is not None}
    if zoned == {True}:
        return pa.array([value and value.astimezone(UTC) for value in values], _UTC_MICROSECONDS)
    if zoned == {False}:
        return pa.array([value and value.replace(tzinfo=None) for value in values], _MICROSECONDS)
    return _texts(values)


def _has_zone(value: date | None) -> bool:
    """Return True if `value` has a UTC offset. A `tzinfo` alone is not enough, because it may return no offset."""
    return isinstance(value, datetime) and value.tzinfo is not None and value.utcoffset() is not None


def _times(values: Values) -> pa.Array:
    if any(value is not None and value.tzinfo is not None for value in values):
        return _texts(values)
    return pa.array(values, pa.time64("us"))


def _typed(kind: pa.DataType) -> Callable[[Values], pa.Array]:
    """Return a function that builds an array of values which pyarrow accepts unchanged."""
    return lambda values: pa.array(values, kind)


def _long(kind: pa.DataType) -> Callable[[Values], pa.Array]:
    """Return a function that builds an array of text or bytes, which may be long.

    When a buffer grows, pyarrow doubles it in new memory, which the system must clear. With 27 kB per row that takes 53
    µs per row. Small parts are built in memory that is reused, which takes 29 µs per row.
    """

    def build(values: Values) -> pa.Array:
        length = sum(len(value) for value in values if value is not None)
        rows = _PART_LENGTH * len(values) // max(1, length)
        if not 1 < rows <= _MOST_ROWS_OF_A_PART or not _PART_LENGTH < length < _LONGEST_OF_PARTS:
            return pa.array(values, kind)
        return pa.concat_arrays([pa.array(values[at : at + rows], kind) for at in range(0, len(values), rows)])

    return build


def _table(*builders: tuple[Iterable[type], Callable[[Values], pa.Array]]) -> dict[frozenset[type], Any]:
    return {frozenset(kinds): build for kinds, build in builders}


_BUILDERS: dict[frozenset[type], Callable[[Values], pa.Array]] = _table(
    ([bool], _typed(pa.bool_())),
    ([int], _integers),
    ([float], _typed(pa.float64())),
    ([int, float], _numbers),
    ([str], _long(pa.string())),
    ([bytes], _long(pa.binary())),
    ([Json], _json),
    ([Decimal], _decimals),
    ([Decimal, int], _decimals),
    ([date], _typed(pa.date32())),
    ([datetime], _timestamps),
    ([date, datetime], _dates_and_times),
    ([time], _times),
    ([timedelta], _typed(pa.duration("us"))),
    ([UUID], _uuids),
)
"""Functions that build the array of a column, by the set of types of its values without None."""
