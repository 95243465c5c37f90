"""A column of nested values as JSON text in one go, where they contain nothing but what JSON itself has.

`values.plain` looks at each value by itself and takes ten times as long as writing it does (1.4 µs against 0.13 µs for
a list of three words). Most columns of lists and dicts come from JSON, and need no such care.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from types import NoneType
from typing import Any

import orjson

_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
"""Refuse what `values.plain` writes in its own way. Enumerations and UUIDs are taken all the same."""
_LEAVES: frozenset[type] = frozenset({NoneType, bool, int, float, str})
_CONTAINERS: frozenset[type] = frozenset({list, tuple, dict})
_DEEPEST = 100
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
        # Each is decoded at once: orjson gives it a kilobyte that would stay with it.
        texts = [None if value is None else orjson.dumps(value, None, _STRICT).decode() for value in values]
    except TypeError:  # orjson's own error is one
        return None
    # Afterwards: a value that contains itself, or itself many times over, has been refused by then.
    return texts if _is_json_alone(values) else None


def _is_json_alone(values: Iterable[Any]) -> bool:
    """Whether there are no types in there that JSON does not have."""
    level = values
    for _ in range(_DEEPEST):
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
