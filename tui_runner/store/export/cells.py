r"""Converts the values of a result to text for users, and to JSON.

Numbers keep every digit. Dates and times are ISO 8601 in UTC. Bytes are written as DuckDB writes them (`\xFF`). Nested
values are written as JSON; values of type JSON in them become parts of it. Every JSON text is valid: NaN and
infinities, which do not exist in JSON, become null. In texts for users, they become strings, because null would be
NULL.

Nested values are converted as Arrow arrays. As Python values they would lose type information, and some have no Python
value: an infinite date, a timestamp in nanoseconds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from tui_runner.store.query.result import holds_json

_LINES = re.compile(r"[ \t\r\n]*[\t\r\n][ \t\r\n]*")
"""Matches whitespace with a line end in it. It is replaced by one space where JSON must be on one line."""
_RISKY_IN_JSON = re.compile("[\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Matches characters that are valid in a JSON string but can control a terminal. They are written as equivalent \\uXXXX
escapes."""

Cells = Callable[[pa.Array], list[str | None]]
"""A function that converts an array of one type to texts; None for NULL."""
_SHOWN_BYTES = {byte: f"\\x{byte:02X}" for byte in range(256) if not 32 <= byte < 127 or chr(byte) in "\\'\""}
"""The escapes that DuckDB writes for those bytes of a BLOB that are not printable ASCII."""
JsonCells = Callable[[pa.Array], list[str]]
"""A function that converts an array of one type to JSON texts."""


def is_number(kind: pa.DataType) -> bool:
    """Return True if the values of a type are numbers, which tables align to the right."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def text_cells(kind: pa.DataType) -> Cells:
    """Return a function that converts arrays of type `kind` to texts for users."""
    types = pa.types
    if types.is_dictionary(kind):
        decoded = text_cells(kind.value_type)
        return lambda array: decoded(array.dictionary_decode())
    if _is_moment(kind):
        return moment_texts
    if types.is_float16(kind) or types.is_float32(kind):
        # As a Python float, 0.1 in 32 bits would be shown as 0.10000000149011612.
        return lambda array: array.cast(pa.string()).to_pylist()
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return lambda array: array.to_pylist()
    if types.is_nested(kind):
        made = json_cells(kind, spells_nan=True)
        return lambda array: [
            text if valid else None for text, valid in zip(made(array), array.is_valid().to_pylist(), strict=True)
        ]
    return lambda array: [None if value is None else _plain(value) for value in array.to_pylist()]


def field_cells(field: pa.Field, *, spells_nan: bool = False) -> JsonCells:
    """Return a function that converts arrays of a field to JSON texts. Values of type JSON are not quoted."""
    return json_cells(field.type, is_json=holds_json(field), spells_nan=spells_nan)


def json_cells(kind: pa.DataType, *, is_json: bool = False, spells_nan: bool = False) -> JsonCells:
    """Return a function that converts arrays of type `kind` to JSON texts.

    Args:
        kind: the type.
        is_json: True if strings are already JSON.
        spells_nan: True to write NaN and infinities as strings, False to write them as null.
    """
    types = pa.types
    if types.is_dictionary(kind):
        decoded = json_cells(kind.value_type, is_json=is_json, spells_nan=spells_nan)
        return lambda array: decoded(array.dictionary_decode())
    if types.is_float16(kind) or types.is_float32(kind):
        return lambda array: [
            text if text is not None and math.isfinite(float(text)) else _not_finite(text, spells_nan)
            for text in array.cast(pa.string()).to_pylist()
        ]
    if types.is_float64(kind):
        return lambda array: [
            repr(value) if value is not None and math.isfinite(value) else _not_finite(value, spells_nan)
            for value in array.to_pylist()
        ]
    if _is_moment(kind):
        return lambda array: [
            "null" if text is None else json_string(text.replace(" ", "T")) for text in moment_texts(array)
        ]
    if types.is_struct(kind):
        return _structs(kind, spells_nan)
    if types.is_map(kind):
        return _maps(kind, spells_nan)
    if types.is_nested(kind) and not types.is_union(kind):
        return _lists(kind, spells_nan)
    if is_json:
        return lambda array: ["null" if text is None else _embedded(text) for text in array.to_pylist()]
    return lambda array: [_json_scalar(value) for value in array.to_pylist()]


def json_string(text: str) -> str:
    """Return `text` as a JSON string without characters that can control a terminal."""
    return _printable(json.dumps(text, ensure_ascii=False))


def _is_moment(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind) and not pa.types.is_interval(kind) and not pa.types.is_duration(kind)


def _structs(kind: pa.StructType, spells_nan: bool) -> JsonCells:
    """Return a function that converts structs to JSON objects."""
    names = [json_string(field.name) for field in kind]
    makers = [field_cells(field, spells_nan=spells_nan) for field in kind]

    def cells(array: pa.StructArray) -> list[str]:
        columns = [maker(column) for maker, column in zip(makers, array.flatten(), strict=True)]
        rows = zip(*columns, strict=True)
        return [
            "{" + ", ".join(map(": ".join, zip(names, row, strict=True))) + "}" if valid else "null"
            for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)
        ]

    return cells


def _lists(kind: pa.DataType, spells_nan: bool) -> JsonCells:
    made = field_cells(kind.value_field, spells_nan=spells_nan)
    return lambda array: [
        "null" if part is None else "[" + ", ".join(part) + "]" for part in _parts(array, made(array.flatten()))
    ]


def _maps(kind: pa.MapType, spells_nan: bool) -> JsonCells:
    """Return a function that converts maps to JSON objects."""
    keys, values = text_cells(kind.key_type), field_cells(kind.item_field, spells_nan=spells_nan)

    def cells(array: pa.MapArray) -> list[str]:
        ends = array.offsets.to_pylist()
        first, count = ends[0], ends[-1] - ends[0]
        pairs = zip(keys(array.keys.slice(first, count)), values(array.items.slice(first, count)), strict=True)
        members = [f"{json_string(key or '')}: {value}" for key, value in pairs]
        return [
            "{" + ", ".join(members[start - first : end - first]) + "}" if valid else "null"
            for start, end, valid in zip(ends, ends[1:], array.is_valid().to_pylist(), strict=False)
        ]

    return cells


def _parts(array: pa.Array, texts: list[str]) -> Iterator[list[str] | None]:
    """Yield the texts of each list in `array`, or None for NULL.

    `texts` are the texts of all lists, one after another.
    """
    start = 0
    for length in pc.list_value_length(array).to_pylist():
        if length is None:
            yield None
        else:
            yield texts[start : start + length]
            start += length


def _json_scalar(value: object) -> str:
    """Return a value that is not nested as JSON text."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Decimal():
            return format(value, "f") if value.is_finite() else "null"
    return json_string(_plain(value))


def _plain(value: object) -> str:
    """Return a value as text. It must be neither nested nor a date or time."""
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case bytes():
            return _bytes(value)
    return str(value)


def _bytes(value: bytes) -> str:
    """Return a BLOB in DuckDB's notation: printable ASCII unchanged, other bytes as hexadecimal escapes."""
    return value.decode("latin-1").translate(_SHOWN_BYTES)


def _not_finite(value: float | str | None, spells_nan: bool) -> str:
    """Return NULL, NaN or an infinity as JSON."""
    return "null" if value is None or not spells_nan else f'"{value}"'


def _embedded(text: str) -> str:
    """Return JSON text on one line so that it can be part of other JSON; as a JSON string if it is not valid JSON."""
    strange: list[str] = []
    try:
        # Leave numbers as text, because converting `1e999999999` would create a billion digits.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=strange.append)
    # the text is not JSON, although its column has that type; a user's statement can produce this
    except (ValueError, RecursionError):
        return json_string(text)
    # In valid JSON, line ends exist only between values, so this changes no string.
    return json_string(text) if strange else _printable(_LINES.sub(" ", text.strip()))


def _printable(json_text: str) -> str:
    return _RISKY_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


_ZERO_FRACTION = re.compile(r"(\.\d*?)0+$")
"""Matches zeros at the end of a fraction, which DuckDB does not print."""
_BEYOND = re.compile(r"<value out of range: (-?\d+)>")
"""Matches the text that Arrow writes for a value outside its range. The number counts the type's units since 1970."""
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Units per second."""


_INFINITE_NANOSECONDS = {
    "2262-04-11 23:47:16.854775807": "infinity",
    "1677-09-21 00:12:43.145224193": "-infinity",
}
"""DuckDB's names of the infinite timestamps in nanoseconds. Arrow writes them as the largest and smallest moments."""


def moment_texts(array: pa.Array) -> list[str | None]:
    """Return dates, times and timestamps as texts; None for NULL. With a time zone, they are in UTC and end in `Z`."""
    kind = array.type
    zone = ""
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        # Remove the zone, which is only a label: with a zone, Arrow writes wrong years beyond 32767.
        zone = "Z"
        array = array.view(pa.timestamp(kind.unit))
    texts = array.cast(pa.string()).to_pylist()
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        texts = [text and _INFINITE_NANOSECONDS.get(text, text) for text in texts]
    return [text and _short(_beyond(text, kind) if text[0] == "<" else text, zone) for text in texts]


def _short(text: str, zone: str) -> str:
    text = _ZERO_FRACTION.sub(r"\1", text).removesuffix(".")
    return text if text.endswith("infinity") else text + zone


def _beyond(text: str, kind: pa.DataType) -> str:
    """Convert the text that Arrow writes for a value outside its range to a date, time or timestamp."""
    found = _BEYOND.match(text)
    if found is None:
        return text
    count = int(found[1])
    if pa.types.is_date32(kind):
        return _infinite(count, 2**31 - 1) or _day(count)
    seconds, part = divmod(count, _UNITS[kind.unit])
    fraction = f".{part:0{len(str(_UNITS[kind.unit])) - 1}}" if part else ""
    if pa.types.is_time(kind):
        # DuckDB has the time 24:00:00, which Arrow cannot format.
        return f"{_clock(seconds)}{fraction}"
    days, seconds = divmod(seconds, 86_400)
    return _infinite(count, 2**63 - 1) or f"{_day(days)} {_clock(seconds)}{fraction}"


def _infinite(count: int, largest: int) -> str:
    """Return DuckDB's name of an infinite date or timestamp, which is stored as `largest` or `-largest`.

    Return an empty text for any other date or timestamp.
    """
    return {largest: "infinity", -largest: "-infinity"}.get(count, "")


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _day(days: int) -> str:
    """Return the date that is `days` days after 1970-01-01.

    This is `civil_from_days` from Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms". Years begin in March,
    so that the leap day is the last day of a year. A cycle of 400 years has 146,097 days.
    """
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += 400 * era + (month >= 10)
    return f"{year:0{5 if year < 0 else 4}}-{month + (3 if month < 10 else -9):02}-{day + 1:02}"
