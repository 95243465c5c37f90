"""Dates and times as ISO 8601, also those that only DuckDB knows: beyond year 32767, and the infinities."""

from __future__ import annotations

import re

import pyarrow as pa

_ZERO_FRACTION = re.compile(r"(\.\d*?)0+$")
_BEYOND = re.compile(r"<value out of range: (-?\d+)>")
"""How Arrow writes what it cannot write: as the count of its unit since 1970."""
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Parts of a second."""


def moment_texts(array: pa.Array) -> list[str | None]:
    """Dates, times and timestamps as texts, None for NULL; those with a zone in UTC, marked `Z`."""
    kind = array.type
    zone = ""
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        # The zone is a label only. Arrow takes years beyond 32767 for others once there is one.
        zone = "Z"
        array = array.view(pa.timestamp(kind.unit))
    texts = array.cast(pa.string()).to_pylist()
    return [text and _short(_beyond(text, kind) if text[0] == "<" else text, zone) for text in texts]


def _short(text: str, zone: str) -> str:
    text = _ZERO_FRACTION.sub(r"\1", text).removesuffix(".")
    return text if text.endswith("infinity") else text + zone


def _beyond(text: str, kind: pa.DataType) -> str:
    """What Arrow wrote as a count of days or units, as a date, time or timestamp."""
    found = _BEYOND.match(text)
    if found is None:
        return text
    count = int(found[1])
    if pa.types.is_date32(kind):
        return _infinite(count, 2**31 - 1) or _day(count)
    seconds, part = divmod(count, _UNITS[kind.unit])
    fraction = f".{part:0{len(str(_UNITS[kind.unit])) - 1}}" if part else ""
    if pa.types.is_time(kind):
        # DuckDB has 24:00:00.
        return f"{_clock(seconds)}{fraction}"
    days, seconds = divmod(seconds, 86_400)
    return _infinite(count, 2**63 - 1) or f"{_day(days)} {_clock(seconds)}{fraction}"


def _infinite(count: int, largest: int) -> str:
    """DuckDB's name of an infinite date or timestamp, which is the largest or smallest number; else nothing."""
    return {largest: "infinity", -largest: "-infinity"}.get(count, "")


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _day(days: int) -> str:
    """The day so many days after 1970-01-01, by Howard Hinnant's `civil_from_days` (chrono-Compatible Low-Level Date
    Algorithms): years begin in March, so that the odd day is the last one of four centuries of 146,097 days.
    """  # noqa: D205
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += 400 * era + (month >= 10)
    return f"{year:0{5 if year < 0 else 4}}-{month + (3 if month < 10 else -9):02}-{day + 1:02}"
