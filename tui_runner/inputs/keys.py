"""Computes the key of an item, by which a later run finds the same item again, wherever it is in the input.

A key is 64 bits of BLAKE2b over a canonical form of the item's value, as 16 hex digits. The canonical form consists of
a tag for the kind of value and the value's content. Parts of a container are preceded by their lengths, so that
`["a","bc"]` and `["ab","c"]` have different forms. It does not depend on the process, the hash seed, the Python
version, the order of a dict or a set, or the folder a class was loaded from:

* equal whole numbers have the same key (`1`, `1.0`, `Decimal("1")`), except for decimals of more than 400 digits;
* `True` and `1` have different keys, and so have `0.5` and `Decimal("0.5")`;
* a list and a tuple of the same values have the same key;
* for a datetime with a time zone, the form is its instant in UTC;
* for a dataclass, an enumeration member or any other object, the form is the qualified name of its class and its state,
  as pickling reads it (`__reduce_ex__`). The pickle itself is not used, because it depends on which parts are the same
  object.

An object without a state that can be read (an open file, a generator) has the key `@<position>`.

Equal items have equal keys; the ledger distinguishes them by their positions.

The key of a row is computed from the columns that the input had when the run began (`KeyColumns`). So the key does not
change if a column is added to the file later, or the function is changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from numbers import Integral, Real
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, SupportsIndex
from uuid import UUID

_WIDEST_EXPONENT = 400
"""A whole Decimal below ten to this power has the key of the equal integer. All floats are below it.
`Decimal("1E+999999999")` as an integer would fill the memory."""

KeyColumns = str | tuple[str, ...]
"""Columns from which the key of an item is computed. For rows, it is a tuple of names. For an input with a single
column, whose items are bare values, it is the name of the column. An empty tuple means the whole item."""


def key_columns(columns: Sequence[str] | None) -> KeyColumns:
    """Return the columns from which keys are computed, for an input with the columns `columns` (None: it has none)."""
    if columns is None or not columns:
        return ()
    return columns[0] if len(columns) == 1 else tuple(columns)


def keyed(value: object, columns: KeyColumns) -> object:
    """Return the part of an item from which its key is computed."""
    if not columns or not isinstance(value, dict):
        return value
    if isinstance(columns, str):
        return value.get(columns)
    if tuple(value) == columns:
        return value
    return {name: value[name] for name in columns if name in value}


def plain_key(value: object, position: int = 0) -> str:
    """Return the key of an item. If the item has no state that can be read, the key is `@<position>`."""
    kind = type(value)
    # The two usual types have their own code here: a call and a match statement would take as long as the hash.
    if kind is int:
        form = b"i%x" % value  # type: ignore[str-format]  # `kind` is int
    elif kind is str:
        form = b"s" + value.encode("utf-8", "surrogatepass")  # type: ignore[attr-defined]  # `kind` is str
    else:
        try:
            form = canonical(value)
        except Exception:  # a user's object may raise anything when its state is read
            return position_key(position)
    # 64 bits: among 20 million items, the chance that two different items have the same key is 1 in 90,000.
    return blake2b(form, digest_size=8).hexdigest()


def position_key(position: int) -> str:
    """Return the key of the item at `position` whose state cannot be read."""
    return f"@{position}"


def canonical(value: object) -> bytes:
    """Return the canonical form of a value, as described at the head of this module.

    Raises:
        TypeError: the value has no state that can be read.
        RecursionError: the value contains itself.
        Exception: any error of the methods of a user's class.
    """
    exact = _EXACT.get(type(value))
    if exact is not None:
        return exact(value)
    match value:
        case Enum():
            return _tagged(b"e", [type(value).__qualname__.encode(), value.name.encode()])
        case bool():
            return b"t" if value else b"f"
        case str():
            return b"s" + value.encode("utf-8", "surrogatepass")
        case Integral():
            return b"i%x" % int(value)
        case Decimal():
            return _decimal(value)
        case Real():
            return _float(float(value))
        case bytes() | bytearray() | memoryview():
            return b"b" + bytes(value)
        case datetime():
            # A time without a zone is not an instant, so it is not converted.
            return b"D" + (value if value.tzinfo is None else value.astimezone(UTC)).isoformat().encode()
        case date() | time():
            return b"T" + value.isoformat().encode()
        case timedelta():
            return b"d%d %d %d" % (value.days, value.seconds, value.microseconds)
        case UUID():
            return b"u" + value.bytes
        case PurePath():
            return b"p" + str(value).encode("utf-8", "surrogatepass")
        case list() | tuple():
            return _list(value)
        case Mapping():
            return _mapping(value)
        case Set():
            return _tagged(b"S", sorted(map(canonical, value)))
    return _object(value)


def _tagged(tag: bytes, parts: list[bytes]) -> bytes:
    return tag + b"".join([b"%d:%b" % (len(part), part) for part in parts])


def _list(value: Sequence[object]) -> bytes:
    return _tagged(b"l", [canonical(part) for part in value])


def _mapping(value: Mapping[object, object]) -> bytes:
    names = tuple(value)
    # a member of a string enumeration equals its text, but has a key of its own
    if not _TEXT.issuperset(map(type, names)):
        pairs = sorted([(canonical(name), canonical(part)) for name, part in value.items()])
        return _tagged(b"m", [form for pair in pairs for form in pair])
    parts = [b"m"]
    for name, begin in _layouts.get(names) or _layout(names):  # type: ignore[arg-type]  # all of them are text
        part = value[name]
        form = b"s" + part.encode("utf-8", "surrogatepass") if type(part) is str else canonical(part)
        parts += begin, b"%d:" % len(form), form
    return b"".join(parts)


def _layout(names: tuple[str, ...]) -> _Layout:
    """Return the names of a row in canonical order, each with the bytes that precede its value."""
    forms = sorted((canonical(name), name) for name in names)
    layout = tuple((name, b"%d:%b" % (len(form), form)) for form, name in forms)
    if len(_layouts) < _MOST_LAYOUTS:
        _layouts[names] = layout
    return layout


def _float(value: float) -> bytes:
    return b"i%x" % int(value) if value.is_integer() else b"r" + repr(value).encode()


def _decimal(value: Decimal) -> bytes:
    if value.is_finite() and value.adjusted() < _WIDEST_EXPONENT and value == value.to_integral_value():
        return b"i%x" % int(value)
    return b"c" + str(value.normalize() if value.is_finite() else value).lower().encode()


def _object(value: object) -> bytes:
    if isinstance(value, (type, FunctionType, BuiltinFunctionType, ModuleType)):
        return b"g" + str(getattr(value, "__qualname__", value.__name__)).encode()
    if dataclasses.is_dataclass(value):
        state = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _tagged(b"o", [type(value).__qualname__.encode(), canonical(state)])
    version: SupportsIndex = 4
    reduced = value.__reduce_ex__(version)
    if isinstance(reduced, str):
        return b"g" + reduced.encode()
    make, arguments, *rest = reduced
    # The other elements are the state, and iterators over the items of subclasses of list and dict.
    parts = [make, arguments, *(list(part) if isinstance(part, Iterator) else part for part in rest[:3])]
    return _tagged(b"o", list(map(canonical, parts)))


_TEXT = frozenset({str})
"""The only type of names for which `_mapping` may use cached layouts."""
_Layout = tuple[tuple[str, bytes], ...]
_MOST_LAYOUTS = 256
"""Sets of column names that are cached at most. An input has a few such sets, but each dict that a program supplies may
have different names."""
_layouts: dict[tuple[str, ...], _Layout] = {}

_EXACT: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"n",
    bool: lambda value: b"t" if value else b"f",
    str: lambda value: b"s" + value.encode("utf-8", "surrogatepass"),
    int: lambda value: b"i%x" % value,
    float: _float,
    dict: _mapping,
    list: _list,
    tuple: _list,
}
"""Canonical forms for the usual types of values in rows. This lookup replaces the cases of `canonical`, which take 10
µs per row."""
