r"""Values of a result as text: as a person reads them, and as JSON.

Numbers keep every digit, moments are ISO 8601 in UTC, bytes are written as DuckDB writes them (`\xFF`), nested
values are JSON. Every JSON text is valid: NaN and infinity, which JSON lacks, are null.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal

import pyarrow as pa

_ZERO_FRACTION = re.compile(r"(\.\d*?)0+(?=Z?$)")
_RISKY_IN_JSON = re.compile("[\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Valid in a JSON string as they are, but able to steer a terminal; written as \\uXXXX, which means the same."""

Cells = Callable[[pa.Array], list[str | None]]
"""Turns an array of one type into texts, None for NULL."""


def is_number(kind: pa.DataType) -> bool:
    """Whether values of the type are numbers, which stand at the right of their column."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def text_cells(kind: pa.DataType) -> Cells:
    """How arrays of type `kind` become text to read."""
    types = pa.types
    if types.is_dictionary(kind):
        decoded = text_cells(kind.value_type)
        return lambda array: decoded(array.dictionary_decode())
    if types.is_temporal(kind) and not types.is_interval(kind) and not types.is_duration(kind):
        return _temporal
    if types.is_float16(kind) or types.is_float32(kind):
        # As a Python float 0.1 would come out as 0.10000000149011612.
        return lambda array: array.cast(pa.string()).to_pylist()
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return lambda array: array.to_pylist()
    plain = _plain(kind)
    return lambda array: [None if value is None else plain(value) for value in array.to_pylist()]


def json_cells(kind: pa.DataType, *, holds_json: bool = False) -> Callable[[pa.Array], list[str]]:
    """How arrays of type `kind` become JSON texts; with `holds_json` its strings are JSON already."""
    types = pa.types
    if types.is_dictionary(kind):
        decoded = json_cells(kind.value_type, holds_json=holds_json)
        return lambda array: decoded(array.dictionary_decode())
    if types.is_float16(kind) or types.is_float32(kind):
        return lambda array: [_finite(text) for text in array.cast(pa.string()).to_pylist()]
    if types.is_temporal(kind) and not types.is_interval(kind) and not types.is_duration(kind):
        return lambda array: [
            "null" if text is None else json_string(text.replace(" ", "T")) for text in _temporal(array)
        ]
    if holds_json:
        return lambda array: ["null" if text is None else _embedded(text) for text in array.to_pylist()]
    return lambda array: [json_value(value, kind) for value in array.to_pylist()]


def json_value(value: object, kind: pa.DataType | None = None) -> str:
    """One Python value as JSON; `kind` tells a map from a list of pairs."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else "null"
        case Decimal():
            return format(value, "f") if value.is_finite() else "null"
        case str():
            return json_string(value)
        case bytes():
            return json_string(_bytes(value))
        case datetime() | date() | time():
            return json_string(value.isoformat())
        case dict():
            fields = {field.name: field.type for field in kind} if kind is not None and pa.types.is_struct(kind) else {}
            members = (f"{json_string(str(key))}: {json_value(each, fields.get(key))}" for key, each in value.items())
            return "{" + ", ".join(members) + "}"
        case list() if kind is not None and pa.types.is_map(kind):
            key_text = _plain(kind.key_type)
            members = (f"{json_string(key_text(key))}: {json_value(each, kind.item_type)}" for key, each in value)
            return "{" + ", ".join(members) + "}"
        case list():
            inner = getattr(kind, "value_type", None)
            return "[" + ", ".join(json_value(each, inner) for each in value) + "]"
    return json_string(str(value))


def json_string(text: str) -> str:
    """A JSON string that is also safe to print."""
    return _RISKY_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _plain(kind: pa.DataType) -> Callable[[object], str]:
    """How one Python value of a type that is no moment becomes text."""

    def plain(value: object) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case Decimal():
                return format(value, "f")
            case bytes():
                return _bytes(value)
            case str():
                return value
            case list() | dict():
                return json_value(value, kind)
        return str(value)

    return plain


def _temporal(array: pa.Array) -> list[str | None]:
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        # The zone is a label only; naming UTC needs no database of time zones.
        array = array.cast(pa.timestamp(array.type.unit, tz="UTC"))
    texts = array.cast(pa.string()).to_pylist()
    return [text and _ZERO_FRACTION.sub(r"\1", text).replace(".Z", "Z").removesuffix(".") for text in texts]


def _bytes(value: bytes) -> str:
    """As DuckDB shows a BLOB: what it can print of ASCII as it is, all else as hexadecimal."""
    return "".join(chr(byte) if 32 <= byte < 127 and chr(byte) not in "\\'\"" else f"\\x{byte:02X}" for byte in value)


def _finite(text: str | None) -> str:
    return "null" if text is None or not math.isfinite(float(text)) else text


def _embedded(text: str) -> str:
    """JSON text within JSON, on one line; as a string when it is not valid after all."""
    try:
        return json_value(json.loads(text, parse_float=Decimal, parse_constant=lambda _: None))
    except (ValueError, RecursionError):
        return json_string(text)
