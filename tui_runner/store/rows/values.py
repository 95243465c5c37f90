"""Converts one Python value to a plain value: an exact built-in scalar, or the JSON text of a nested value.

`json_texts` converts a whole column of lists and dicts if they contain only JSON types, as most do. `plain` examines
each value, which takes ten times as long (1.4 µs against 0.13 µs for a list of three words).

A plain value is immutable, and reading it executes no code of the job. So the job cannot change rows that wait to be
written, and building Arrow tables raises no errors of the job.

This module defines three forms of a value:

* plain: stored in a column of one type (`plain`);
* text: stored in a column of several types. It equals DuckDB's `CAST(x AS VARCHAR)` with `TimeZone = 'UTC'`, so that it
  does not matter whether the types met in one batch or only in the database (`text`);
* JSON: for nested values (`Json`), and for scalars in a column that also has nested values (`json_scalar`).

Inside nested values, NaN and infinities are null, because they do not exist in JSON (as scalars in a JSON column they
are strings). Dates and times are ISO 8601. Decimals are strings, because readers take JSON numbers for doubles. Bytes
are base64, durations are text, sets are sorted lists.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, ValuesView
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import chain
from types import NoneType
from typing import Any, TypeVar
from uuid import UUID

import orjson
import pyarrow as pa

from tui_runner.errors import RowError

_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
"""Options by which orjson refuses types that `plain` writes differently. orjson still accepts enumerations and UUIDs.
"""
_LEAVES: frozenset[type] = frozenset({NoneType, bool, int, float, str})
"""Types of JSON values that contain no other values."""
_CONTAINERS: frozenset[type] = frozenset({list, tuple, dict})
"""Types of JSON values that contain other values."""
_DEEPEST_FRAMES = 100
"""Levels of nesting that `_is_json_alone` examines. Deeper values are left to `plain`, which has a limit for the depth.
"""


def json_texts(values: Sequence[Any]) -> list[str | None] | None:
    """Return the JSON text of each value, equal to the result of `plain`; None for None.

    Args:
        values: a column.

    Returns:
        The texts. None if `plain` must examine each value, because a value is not a list, tuple or dict, or contains
        something that is not one of these, text, a number, a boolean or None.
    """
    if not (_CONTAINERS | {NoneType}).issuperset(map(type, values)):
        return None
    try:
        # Decode at once, because the bytes that orjson returns occupy a buffer of a kilobyte.
        texts = [None if value is None else orjson.dumps(value, None, _STRICT).decode() for value in values]
    except TypeError:  # orjson.JSONEncodeError is a subclass
        return None
    # Check this after orjson has refused values that contain themselves, because for such values this check would not
    # end.
    return texts if _is_json_alone(values) else None


def _is_json_alone(values: Iterable[Any]) -> bool:
    """Return True if `values` contain only types that exist in JSON, at any depth."""
    level = values
    for _ in range(_DEEPEST_FRAMES):
        kinds = set(map(type, level)) - _LEAVES
        if not kinds:
            return True
        if not kinds <= _CONTAINERS:
            return False
        inner: list[Iterable[Any]] = []
        if dict in kinds:
            inner += [value.values() for value in level if type(value) is dict]
        if kinds != {dict}:
            inner += [value for value in level if type(value) is list or type(value) is tuple]
        level = list(chain.from_iterable(inner))
    return False


_DEEPEST = 200
"""Largest number of nested levels that are stored. A level takes three stack frames, so 200 levels stay below Python's
limit of 1,000 frames."""
_T = TypeVar("_T")

_LONGEST_NAME = 80
"""Characters of a column's or type's name in a message at most, so that the message fits on a line."""
CACHED_TYPES = 128
"""Number of types whose classification is cached. Classifying a type takes microseconds, and few jobs return more
types."""
_LONGEST_DECIMAL = 1_000
"""Digits up to which a Decimal is written without an exponent. `Decimal("1E+999999999")` would fill the memory."""


class Json(str):
    """JSON text of a nested value."""

    __slots__ = ()


PLAIN: frozenset[type] = frozenset(
    {NoneType, bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, UUID, Json}
)
"""The exact types that plain values have."""

_SCALARS = (str, int, float, bytes, bytearray, memoryview, Decimal, date, time, timedelta, UUID, Enum, os.PathLike)
"""Types whose values fill one cell. Types of numpy, pandas and pyarrow are not among them."""
_type_name = type.__dict__["__name__"].__get__
_encode_any: Callable[[object], str] = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def type_name(kind: type) -> str:
    """Return the name of a type, even if its metaclass, which may be user code, defines another."""
    return quotable(_type_name(kind))


def quotable(text: str) -> str:
    """Return `text` cut to the length for messages, and without lone surrogates, because the ledger stores UTF-8."""
    return text[:_LONGEST_NAME].encode("utf-8", "backslashreplace").decode()


def in_column(name: str, fault: object) -> str:
    """Return the message that a value cannot be stored, with the name of its column."""
    return f"column '{quotable(name)}': {fault}"


def key_name(key: object) -> str:
    """Return the column name or JSON key for a key of a mapping: `str(key)`, or the text that an Enum member has."""
    if isinstance(key, Enum) and isinstance(key.value, str):
        key = key.value
    return str.__str__(key if isinstance(key, str) else str(key))


def named(row: Mapping[Any, object], *, nested: bool = False) -> dict[str, object]:
    """Return `row` with names as keys: names of columns or, if `nested`, of the members of a JSON object.

    Raises:
        RowError: two keys have the same name.
    """
    names = {key_name(key): value for key, value in row.items()}
    if len(names) < len(row):
        seen: set[str] = set()
        for name in map(key_name, row):
            if name in seen:
                both = "a nested object become the same key" if nested else "one row become the same column"
                raise RowError(f"two keys of {both} '{quotable(name)}'; rename one")
            seen.add(name)
    return names


def _by_type(function: Callable[[type], _T]) -> Callable[[type], _T]:
    """Cache the results of a function that takes a type.

    If `lru_cache` were used alone, mypy would report an error, because it takes a type for unhashable.
    """
    return lru_cache(CACHED_TYPES)(function)


@_by_type
def is_scalar(kind: type) -> bool:
    """Return True if values of the type `kind` fill one cell: text, number, date, bytes and others."""
    return issubclass(kind, (*_SCALARS, pa.Scalar)) or _is_numpy_scalar(kind) or _is_pandas_missing(kind)


@_by_type
def is_record(kind: type) -> bool:
    """Return True if values of the type have named fields: mappings, dataclasses, named tuples, pydantic models."""
    return (
        issubclass(kind, Mapping)
        or hasattr(kind, "__dataclass_fields__")
        or callable(getattr(kind, "_asdict", None))
        or callable(getattr(kind, "model_dump", None))
        or hasattr(kind, "__attrs_attrs__")
        or hasattr(kind, "__struct_fields__")
        or (callable(getattr(kind, "keys", None)) and hasattr(kind, "__getitem__"))
    )


def record(value: Any) -> Mapping[Any, object]:
    """Return the fields of a value by name. `is_record` must be true for its type. Values of fields are not copied.

    Raises:
        RowError: `model_dump()` did not return a mapping.
    """
    kind = type(value)
    if issubclass(kind, Mapping):
        return dict(value)
    names = _field_names(kind)
    if names is not None:
        return {name: getattr(value, name) for name in names}
    if callable(getattr(kind, "_asdict", None)):
        return dict(value._asdict())
    if callable(getattr(kind, "model_dump", None)):
        dumped = value.model_dump()
        if not isinstance(dumped, Mapping):
            raise RowError(f"model_dump() of a {type_name(kind)} returned a {type_name(type(dumped))}, not a dict")
        return dict(dumped)
    return {key: value[key] for key in value.keys()}  # noqa: SIM118 - sqlite3.Row iterates over its values


@_by_type
def _field_names(kind: Any) -> tuple[str, ...] | None:
    """Return the names of the fields of a dataclass, attrs class or msgspec struct; None for other types."""
    if hasattr(kind, "__dataclass_fields__"):
        return tuple(field.name for field in dataclasses.fields(kind))
    if hasattr(kind, "__attrs_attrs__"):
        return tuple(field.name for field in kind.__attrs_attrs__)
    if hasattr(kind, "__struct_fields__"):
        return tuple(kind.__struct_fields__)
    return None


def _encode(value: object) -> str:
    """Return a result of `_json` as JSON text.

    orjson needs an eighth of the time of the standard library, which builds an encoder at each call.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, or a lone surrogate
        return _encode_any(value)


def plain(value: object) -> object:
    """Return the plain form of any value.

    Raises:
        RowError: the value cannot be stored. The message does not name the column.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    try:
        return _plain_scalar(value) if is_scalar(kind) else Json(_encode(_json(value, 0)))
    except RowError:
        raise  # this error already has a reason
    except RecursionError:
        raise _too_deep() from None
    except Exception as error:  # reading an object of the user's class runs its code, which may raise anything
        raise RowError(f"a value of type {type_name(kind)} cannot be read: {_describe_error(error)}") from error


def _plain_scalar(value: Any) -> object:
    """Return the plain form of a value for whose type `is_scalar` is true. Subclasses become their built-in base."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if issubclass(kind, Enum):
        inner = value.value
        return _plain_scalar(inner) if is_scalar(type(inner)) or inner is None else value.name
    if issubclass(kind, pa.Scalar):
        return plain(value.as_py())
    if _is_numpy_scalar(kind):
        return _plain_numpy(value)
    if _is_pandas_missing(kind):
        return None
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__int__(value)
    if issubclass(kind, float):
        return float.__float__(value)
    if issubclass(kind, memoryview):
        return value.tobytes()
    if issubclass(kind, (bytes, bytearray)):
        return b"".join((value,))
    if issubclass(kind, Decimal):
        return Decimal(value)
    if issubclass(kind, datetime):
        if hasattr(kind, "to_pydatetime"):  # a pandas Timestamp, whose nanoseconds are cut off
            value = value.to_pydatetime(warn=False)
        clock = (value.hour, value.minute, value.second, value.microsecond)
        return datetime(value.year, value.month, value.day, *clock, value.tzinfo, fold=value.fold)
    if issubclass(kind, date):
        return date(value.year, value.month, value.day)
    if issubclass(kind, time):
        return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)
    if issubclass(kind, timedelta):
        return timedelta.__add__(value, timedelta())
    if issubclass(kind, UUID):
        return UUID(int=value.int)
    return _plain_scalar(os.fspath(value))


def _module(kind: type) -> str:
    """Return the name of the top-level package that defines a type."""
    module = getattr(kind, "__module__", "")
    return module.partition(".")[0] if isinstance(module, str) else ""


def _is_numpy_scalar(kind: type) -> bool:
    return issubclass(kind, getattr(sys.modules.get("numpy"), "generic", ()))


def _is_pandas_missing(kind: type) -> bool:
    return _type_name(kind) in ("NaTType", "NAType") and _module(kind) == "pandas"


def _plain_numpy(value: Any) -> object:
    """Return the plain form of a numpy scalar. Dates are cut to microseconds; durations in years or months fail."""
    item = value.item()
    name = _type_name(type(value))
    if type(item) is int and name in ("datetime64", "timedelta64"):
        item = value.astype(f"{name}[us]").item()
        if type(item) is int:
            raise RowError(f"a numpy {name} is out of range")
    if type(item) not in PLAIN:
        if name == "longdouble":
            return float(value)
        raise _unknown(type(value))
    return item


def _json(value: Any, depth: int) -> object:
    """Return `value`, built of types that the JSON encoder accepts. `depth` is the level of nesting at which it is."""
    kind = type(value)
    if kind in _JSON_LEAVES:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if depth > _DEEPEST:
        raise _too_deep()
    if kind is list or kind is tuple:
        if _JSON_LEAVES.issuperset(map(type, value)):
            return value
        return [_json(element, depth + 1) for element in value]
    if kind is Json:
        return json.loads(value)
    if is_scalar(kind):
        return _json_leaf(_plain_scalar(value), depth)
    if callable(getattr(kind, "model_dump", None)):
        return _json(value.model_dump(), depth + 1)
    for unpack in ("tolist", "to_list", "to_pylist"):
        if _module(kind) in ("numpy", "pandas", "polars", "pyarrow") and hasattr(kind, unpack):
            return _json(getattr(value, unpack)(), depth + 1)
    if is_record(kind):
        return {name: _json(cell, depth + 1) for name, cell in named(record(value), nested=True).items()}
    if issubclass(kind, Set):
        return _sorted([_json(element, depth + 1) for element in value])
    if issubclass(kind, (Sequence, ValuesView)):
        return [_json(element, depth + 1) for element in value]
    raise _unknown(kind)


_JSON_LEAVES: frozenset[type] = frozenset({NoneType, bool, int, str})
"""Types that are stored unchanged in JSON, at any depth. Floats are not among them because of NaN."""


def _json_leaf(value: object, depth: int) -> object:
    """Return the form that a plain scalar has inside a nested value."""
    kind = type(value)
    if kind in _JSON_LEAVES or kind is float or kind is Json:
        return _json(value, depth)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return text(value)


def _sorted(elements: list[Any]) -> list[Any]:
    """Return the elements of a set in an order that is the same in every process."""
    try:
        return sorted(elements)
    except TypeError:  # elements of several types have no order
        return sorted(elements, key=_encode)


def json_scalar(value: object) -> str:
    """Return a plain value as JSON text, for a column that has both scalars and nested values."""
    kind = type(value)
    if kind is Json:
        return str.__str__(value)
    if isinstance(value, float):
        if not math.isfinite(value):  # JSON has no such number; DuckDB casts these strings to it
            return '"nan"' if value != value else f'"{value!r}"'
        return repr(value)
    if isinstance(value, (bool, int)) or (isinstance(value, Decimal) and value.is_finite()):
        return text(value)
    return _encode(text(value))


def text(value: object) -> str:
    """Return a plain scalar as DuckDB's `CAST(x AS VARCHAR)` writes it.

    Raises:
        OverflowError: a date and time is outside the years 1 to 9999 in UTC, or a duration beyond 292,471 years.
        ValueError: an integer has more than 4,300 digits, which Python does not convert.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            return _trimmed(value.replace(tzinfo=None).isoformat(" "))
        return _trimmed(value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")) + "+00"
    if isinstance(value, time):
        return _trimmed(value.isoformat()) if value.tzinfo is None else value.isoformat()
    if isinstance(value, timedelta):
        return _duration_text(value)
    if isinstance(value, bytes):
        return value.decode("latin-1").translate(_BLOB)
    if isinstance(value, Decimal):
        return _decimal_text(value)
    if isinstance(value, float):
        return "-nan" if value != value and math.copysign(1, value) < 0 else repr(value)
    return str(value)


_BLOB = {code: f"\\x{code:02X}" for code in range(256) if not 32 <= code < 127 or chr(code) in "\\'\""}
"""The escapes that DuckDB writes when it casts a BLOB to text."""


def _trimmed(clock: str) -> str:
    """Return a time of day without the trailing zeros of its fraction."""
    return clock.rstrip("0") if "." in clock else clock


def _duration_text(value: timedelta) -> str:
    """Return a duration as hours, minutes and seconds; without days, as DuckDB writes durations from Arrow.

    Raises:
        OverflowError: the duration does not fit into Arrow's 64 bits of microseconds.
    """
    microseconds = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    if abs(microseconds) >= 2**63:
        raise OverflowError("duration out of range")
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours:02}:{minutes:02}:{seconds:02}"
    return ("-" if microseconds < 0 else "") + _trimmed(f"{clock}.{fraction:06}" if fraction else clock)


def _decimal_text(value: Decimal) -> str:
    """Return the digits of a Decimal, with an exponent only if they would be more than `_LONGEST_DECIMAL`."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or max(abs(exponent), abs(value.adjusted())) > _LONGEST_DECIMAL:
        return str(value)
    if value.is_zero():
        return f"{Decimal((0, (0,), min(exponent, 0))):f}"
    return f"{value:f}"


def _unknown(kind: type) -> RowError:
    return RowError(
        f"cannot store a value of type {type_name(kind)} (return str, numbers, dates, bytes, lists or dicts)"
    )


def _too_deep() -> RowError:
    return RowError(f"nested more than {_DEEPEST} levels deep, or contains itself")


def _describe_error(error: Exception) -> str:
    """Return an exception of the job's code in a few words, even if its `__str__` raises."""
    try:
        return f"{type_name(type(error))}: {quotable(str(error))}"
    except Exception:  # its `__str__` is user code and may raise anything
        return type_name(type(error))
