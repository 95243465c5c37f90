"""One Python value → one plain value: an exact built-in scalar, or the JSON text of something nested.

`values.plain` looks at each value by itself and takes ten times as long as writing it does (1.4 µs against 0.13 µs for
a list of three words). Most columns of lists and dicts come from JSON, and need no such care.

A plain value is immutable and runs no code of the job when it is read, so rows may wait for the next flush
without anybody changing them, and the thread that builds Arrow tables meets no surprises.

Three forms of a value are decided here:

* plain: what a column of one kind stores (`plain`);
* text: what a column of several kinds stores, the same as DuckDB's `CAST(x AS VARCHAR)` with `TimeZone = 'UTC'`,
  so that it does not matter whether the kinds met in one batch or only in the database (`text`);
* JSON: what nested values become (`Json`), and scalars in a column that also holds nested ones (`json_scalar`).

Inside nested values: NaN and infinities are null (JSON has neither; a value of its own is a string then); dates and
times are ISO 8601; Decimals are strings, since readers take JSON numbers as doubles; bytes are base64; durations are
text; sets become sorted lists.
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
"""Refuse what `values.plain` writes in its own way. Enumerations and UUIDs are taken all the same."""
_LEAVES: frozenset[type] = frozenset({NoneType, bool, int, float, str})
_CONTAINERS: frozenset[type] = frozenset({list, tuple, dict})
_DEEPEST_FRAMES = 100
"""Levels that are looked at; `values.plain` says what is too deep."""


def json_texts(values: Sequence[Any]) -> list[str | None] | None:
    """JSON text of each value, the same as `values.plain` makes of it. A null stays one.

    Args:
        values: a column.

    Returns:
        None when `values.plain` has to look at each: one is no list, tuple or dict, or contains something else than
        those, text, numbers, booleans and nulls.
    """
    if not (_CONTAINERS | {NoneType}).issuperset(map(type, values)):
        return None
    try:
        # Decode each at once: the bytes that orjson returns hold a kilobyte of buffer.
        texts = [None if value is None else orjson.dumps(value, None, _STRICT).decode() for value in values]
    except TypeError:  # orjson's own error is one
        return None
    # Afterwards: a value that contains itself, or itself many times over, has been refused by then.
    return texts if _is_json_alone(values) else None


def _is_json_alone(values: Iterable[Any]) -> bool:
    """Return True if there are no types in there that JSON does not have."""
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
"""Levels of nesting that are stored: three frames a level stay below Python's recursion limit of 1,000."""
_T = TypeVar("_T")

_LONGEST_NAME = 80
"""Characters of a column or type name in a message."""
CACHED_TYPES = 128
"""Types whose nature is remembered; asking anew takes microseconds, and few jobs return more."""
_LONGEST_DECIMAL = 1_000
"""Digits up to which a Decimal is written without exponent: `Decimal("1E+999999999")` would fill the memory."""


class Json(str):
    """JSON text of a nested value."""

    __slots__ = ()


PLAIN: frozenset[type] = frozenset(
    {NoneType, bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, UUID, Json}
)
"""The exact types of plain values."""

_SCALARS = (str, int, float, bytes, bytearray, memoryview, Decimal, date, time, timedelta, UUID, Enum, os.PathLike)
_type_name = type.__dict__["__name__"].__get__
_encode_any: Callable[[object], str] = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def type_name(kind: type) -> str:
    """The name of a type, whatever its metaclass says."""
    return quotable(_type_name(kind))


def quotable(text: str) -> str:
    """`text` cut to a length that fits a message, without lone surrogates (the ledger stores UTF-8)."""
    return text[:_LONGEST_NAME].encode("utf-8", "backslashreplace").decode()


def in_column(name: str, fault: object) -> str:
    """The message for a value that cannot be stored, with the column it is in."""
    return f"column '{quotable(name)}': {fault}"


def key_name(key: object) -> str:
    """The column or JSON key that a mapping's key stands for: itself when it is a str, else `str(key)`."""
    if isinstance(key, Enum) and isinstance(key.value, str):
        key = key.value
    return str.__str__(key if isinstance(key, str) else str(key))


def named(row: Mapping[Any, object], *, nested: bool = False) -> dict[str, object]:
    """Return `row` with its keys as names: of columns, or if it is `nested`, of the members of an object in JSON.

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
    """Remember what `function` says of a type; for mypy a type is not hashable, so `lru_cache` alone won't do."""
    return lru_cache(CACHED_TYPES)(function)


@_by_type
def is_scalar(kind: type) -> bool:
    """Return True if values of this type are one value of a column: text, number, date, bytes and the like."""
    return issubclass(kind, (*_SCALARS, pa.Scalar)) or _is_numpy_scalar(kind) or _is_pandas_missing(kind)


@_by_type
def is_record(kind: type) -> bool:
    """Return True if values of this type have named fields: mappings, dataclasses, named tuples, pydantic models."""
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
    """The fields of a value whose type `is_record`, by name; the values are those of the object, not copies.

    Raises:
        RowError: `model_dump()` gave something else than a mapping.
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
            raise RowError(f"model_dump() of a {type_name(kind)} gave a {type_name(type(dumped))}, not a dict")
        return dict(dumped)
    return {key: value[key] for key in value.keys()}  # noqa: SIM118  # e.g. sqlite3.Row, which iterates its values


@_by_type
def _field_names(kind: Any) -> tuple[str, ...] | None:
    """The fields of a dataclass, attrs class or msgspec struct."""
    if hasattr(kind, "__dataclass_fields__"):
        return tuple(field.name for field in dataclasses.fields(kind))
    if hasattr(kind, "__attrs_attrs__"):
        return tuple(field.name for field in kind.__attrs_attrs__)
    if hasattr(kind, "__struct_fields__"):
        return tuple(kind.__struct_fields__)
    return None


def _encode(value: object) -> str:
    """Return what `_json` made, as JSON text.

    The standard library takes longer to build an encoder than to encode a short list; orjson needs an eighth of it.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, a lone surrogate
        return _encode_any(value)


def plain(value: object) -> object:
    """The plain form of any value.

    Raises:
        RowError: it cannot be stored; the message does not yet name the column.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    try:
        return _plain_scalar(value) if is_scalar(kind) else Json(_encode(_json(value, 0)))
    except RowError:
        raise
    except RecursionError:
        raise _too_deep() from None
    except Exception as error:
        raise RowError(f"a value of type {type_name(kind)} cannot be read: {_told(error)}") from error


def _plain_scalar(value: Any) -> object:
    """The plain form of a value whose type `is_scalar`; subclasses lose what they added."""
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
        if hasattr(kind, "to_pydatetime"):  # pandas; its nanoseconds are cut off
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
    """The top-level package that a type comes from."""
    module = getattr(kind, "__module__", "")
    return module.partition(".")[0] if isinstance(module, str) else ""


def _is_numpy_scalar(kind: type) -> bool:
    return issubclass(kind, getattr(sys.modules.get("numpy"), "generic", ()))


def _is_pandas_missing(kind: type) -> bool:
    return _type_name(kind) in ("NaTType", "NAType") and _module(kind) == "pandas"


def _plain_numpy(value: Any) -> object:
    """The plain form of a numpy scalar. Dates finer than a microsecond are cut off, coarser durations refused."""
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
    """Return `value` built of types that the JSON encoder accepts; `depth` is how deeply it is nested."""
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


def _json_leaf(value: object, depth: int) -> object:
    """A plain scalar as it stands inside a nested value."""
    kind = type(value)
    if kind in _JSON_LEAVES or kind is float or kind is Json:
        return _json(value, depth)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return text(value)


def _sorted(elements: list[Any]) -> list[Any]:
    """The elements of a set in an order that does not change from one process to the next."""
    try:
        return sorted(elements)
    except TypeError:
        return sorted(elements, key=_encode)


def json_scalar(value: object) -> str:
    """A plain value as JSON text, the way a value of a column of its own is written when that becomes JSON."""
    kind = type(value)
    if kind is Json:
        return str.__str__(value)
    if isinstance(value, float):
        if not math.isfinite(value):  # JSON has none; DuckDB reads such a string as the number that it was
            return '"nan"' if value != value else f'"{value!r}"'
        return repr(value)
    if isinstance(value, (bool, int)) or (isinstance(value, Decimal) and value.is_finite()):
        return text(value)
    return _encode(text(value))


def text(value: object) -> str:
    """A plain scalar as DuckDB's `CAST(x AS VARCHAR)` writes it.

    Raises:
        OverflowError: a moment before the year 1 or after 9999 in UTC, or a duration beyond 292,471 years.
        ValueError: an integer with more digits than Python converts (4,300).
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


def _trimmed(clock: str) -> str:
    """A time of day without the zeros that end its fraction."""
    return clock.rstrip("0") if "." in clock else clock


def _duration_text(value: timedelta) -> str:
    """Hours, minutes and seconds: DuckDB reads an Arrow duration as microseconds and never as days."""
    microseconds = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    if abs(microseconds) >= 2**63:
        raise OverflowError("duration out of range")
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours:02}:{minutes:02}:{seconds:02}"
    return ("-" if microseconds < 0 else "") + _trimmed(f"{clock}.{fraction:06}" if fraction else clock)


def _decimal_text(value: Decimal) -> str:
    """Plain digits; with an exponent only where they would be thousands."""
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


def _told(error: Exception) -> str:
    """An exception of the job's own code in a few words, whatever its `__str__` does."""
    try:
        return f"{type_name(type(error))}: {quotable(str(error))}"
    except Exception:
        return type_name(type(error))
