"""The key of an item: what an item is known by, wherever it stands in the input.

A key is 64 bits of BLAKE2b over a canonical form of the item's value, as 16 hex digits. The canonical form is a
tag for the kind of value and its content; parts of a container carry their length, so that no two different
values have the same form. It does not depend on the process, the hash seed, the Python version, the order of a
dict or a set, or the folder a class was loaded from:

* numbers that are equal have one key (`1`, `1.0`, `Decimal("1")`), except that `True` is not `1`;
* a list and a tuple of the same values have one key;
* an aware datetime is its instant, whatever its zone;
* a dataclass, an enumeration member or any other object is the qualified name of its class and its state, as
  pickling would take it (`__reduce_ex__`). The pickle itself would not do: it differs with the identity of parts.

What has no such state (an open file, a generator) has the key `@<position>`.

A value that comes again has `-2`, `-3`, … behind its key, in the order of the input.
"""

from __future__ import annotations

import dataclasses
from array import array
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

KEY_DIGITS = 16
"""Hex digits of a key without its counter."""
_PARTITIONS = 256
"""Tables of the hashes seen; growing one of them stops the caller for 1/256 of what growing a single one would."""
_SMALL_TABLE = 4096
"""Slots of a table that still grows fourfold; all of them together are 8 MB."""
_WIDEST_EXPONENT = 400
"""Powers of ten up to which a whole Decimal counts as an integer; all floats are below."""


class KeyMaker:
    """Gives the items of one input their keys, in order.

    Owned by the thread that cuts the input. Knowing repeats takes 12 to 24 bytes an item (more below a few
    hundred thousand items), where a `set` of `int` takes 60 to 100; nothing when `unique` promises that no
    value comes again.

    The hashes seen are in open-addressed tables of machine words with linear probing, at most two thirds full.
    Zero marks a free slot. The lookup stands inside `key`, for a call more would be a tenth of the whole.
    """

    def __init__(self, *, unique: bool = False) -> None:
        self._unique = unique
        self._position = -1
        self._tables = [] if unique else [array("Q", bytes(8 * 8)) for _ in range(_PARTITIONS)]
        self._free = [5] * len(self._tables)
        self._repeats: dict[int, int] = {}

    def key(self, value: object) -> str:
        """The key of the next item, which is `value`."""
        self._position += 1
        kind = type(value)
        # The two usual kinds are spelled out here: a call and a match would cost as much as the hash.
        if kind is int:
            form = b"i%x" % value  # type: ignore[str-format]  # kind says so
        elif kind is str:
            form = b"s" + value.encode("utf-8", "surrogatepass")  # type: ignore[attr-defined]  # likewise
        else:
            try:
                form = canonical(value)
            except Exception:  # whatever a user's object raises when asked for its state
                return f"@{self._position}"
        key = blake2b(form, digest_size=8).hexdigest()
        if self._unique:
            return key
        number = int(key, 16) or 1  # 0 is the free slot; that two hashes are 0 and 1 is not to be expected
        partition = number % _PARTITIONS
        table = self._tables[partition]
        size = len(table)
        slot = (number >> 8) % size
        while found := table[slot]:
            if found == number:
                return self._again(key, number)
            slot = (slot + 1) % size
        table[slot] = number
        left = self._free[partition] = self._free[partition] - 1
        if not left:
            self._grow(partition)
        return key

    def _again(self, key: str, number: int) -> str:
        count = self._repeats.get(number, 1) + 1
        self._repeats[number] = count
        return f"{key}-{count}"

    def _grow(self, partition: int) -> None:
        old = self._tables[partition]
        # Small tables grow by more at a time: they cost little memory, and each step inserts everything again.
        size = len(old) * (4 if len(old) < _SMALL_TABLE else 2)
        table = array("Q", bytes(8 * size))
        for number in filter(None, old):
            slot = (number >> 8) % size
            while table[slot]:
                slot = (slot + 1) % size
            table[slot] = number
        self._tables[partition] = table
        self._free[partition] = size * 2 // 3 - len(old) * 2 // 3


def plain_key(value: object, position: int) -> str:
    """Return the key of an item; equal items have equal keys.

    Args:
        value: the item.
        position: its position in the input; the key of an item that has no state of its own.
    """
    kind = type(value)
    # The two usual kinds are spelled out here: a call and a match would cost as much as the hash.
    if kind is int:
        form = b"i%x" % value  # type: ignore[str-format]  # kind says so
    elif kind is str:
        form = b"s" + value.encode("utf-8", "surrogatepass")  # type: ignore[attr-defined]  # likewise
    else:
        try:
            form = canonical(value)
        except Exception:  # whatever a user's object raises when asked for its state
            return f"@{position}"
    return blake2b(form, digest_size=8).hexdigest()


def canonical(value: object) -> bytes:
    """The canonical form of a value; see the head of this module.

    Raises:
        TypeError: the value has no state that could be told apart from another's.
        RecursionError: the value contains itself.
        Exception: what the methods of a user's class raise.
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
            # A naive time is no instant; it keeps a form of its own.
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
    pairs = sorted([(canonical(name), canonical(part)) for name, part in value.items()])
    return _tagged(b"m", [form for pair in pairs for form in pair])


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
    # What follows is the state, and iterators over the items of subclasses of list and dict.
    parts = [make, arguments, *(list(part) if isinstance(part, Iterator) else part for part in rest[:3])]
    return _tagged(b"o", list(map(canonical, parts)))


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
"""The forms of the types that rows are made of: a lookup, where the cases of `canonical` cost 10 µs a row."""
