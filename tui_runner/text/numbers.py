"""Formats numbers: counts, sizes, durations, rates, shares.

Every function returns few characters, so that columns keep their width. For a value that is not a finite number, they
return `–`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

NONE = "–"
"""Shown for an unknown value."""

ZONE = "UTC"
"""The time zone of every time of day that is shown."""

_THOUSANDS = ("", " k", " M", " G", " T", " P", " E")
_BYTES = (" B", " kB", " MB", " GB", " TB", " PB", " EB")
"""Units by powers of a thousand."""
_DAY = 86_400
"""Seconds of a day."""
EXACT = 10_000
"""Counts below this are written in full. `9,999` has five characters, which fit into every column."""
_ONE_ESTIMATE = 0.1
"""Part of the upper end of an estimated range. A range that is narrower than this part is shown as its middle alone."""


def count(number: float) -> str:
    """Format a count in at most six characters, exact below ten thousand: `999`, `1,234`, `12 k`, `376 k`, `1.2 M`."""
    if not math.isfinite(number):
        return NONE
    return f"{number:,.0f}" if abs(number) < EXACT - 0.5 else _scaled(number, _THOUSANDS)


def size(nbytes: float) -> str:
    """Format a number of bytes in powers of a thousand: `12 B`, `4.0 GB`, `412 MB`."""
    if not math.isfinite(nbytes):
        return NONE
    return f"{nbytes:.0f} B" if abs(nbytes) < 999.5 else _scaled(nbytes, _BYTES)


def rate(per_second: float) -> str:
    """Format a rate per second: `0`, `0.84`, `50.2`, `376`, `1.2 M`."""
    if not math.isfinite(per_second):
        return NONE
    if per_second == 0:
        return "0"
    if abs(per_second) < 0.995:
        return f"{per_second:.2f}"
    return f"{per_second:.1f}" if abs(per_second) < 99.95 else count(per_second)


def plural(number: int, noun: str) -> str:
    """Format an exact number with its noun: `1 item`, `1,200 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def run_again(items: int) -> str:
    """Return a clause: `1 item runs again`, `1,200 items run again`."""
    return f"{plural(items, 'item')} {'runs' if items == 1 else 'run'} again"


def duration(seconds: float, *, short: bool = False) -> str:
    """Format a duration, rounded down to seconds, like a clock: `00:12:41`, from one day on `2 d 03:04:05`.

    Args:
        seconds: the duration; a negative one is shown as zero.
        short: True to omit zero hours: `12:41`.
    """
    if not math.isfinite(seconds):
        return NONE
    whole = max(int(seconds), 0)
    days, rest = divmod(whole, _DAY)
    hours, rest = divmod(rest, 3600)
    clock = f"{rest // 60:02d}:{rest % 60:02d}"
    if short and not days and not hours:
        return clock
    return f"{days} d {hours:02d}:{clock}" if days else f"{hours:02d}:{clock}"


def countdown(seconds: float) -> str:
    """Format the seconds until an event with their unit, `8 s`, and from a minute on like a clock: `02:05`.

    They are rounded up, as by `clock_down`.
    """
    if not math.isfinite(seconds) or seconds > 59:
        return clock_down(seconds)
    return f"{max(math.ceil(seconds), 0)} s"


def clock_down(seconds: float) -> str:
    """Format the seconds until an event like a clock: `00:41`.

    They are rounded up, so that the last second is shown as 1: at 0, a user expects the event to have happened.
    """
    return duration(math.ceil(seconds) if math.isfinite(seconds) else seconds, short=True)


def time_left(low: float, high: float) -> str:
    """Format a range of remaining seconds: `00:10:00–00:12:30`, or its middle if the ends hardly differ."""
    if high - low <= _ONE_ESTIMATE * high or int(low) == int(high):
        return duration((low + high) / 2)
    return f"{duration(low)}–{duration(high)}"


def clock(moment: float) -> str:
    """Return the time of day in UTC of `moment` (seconds since the epoch): `14:03:22`. Label it with `ZONE`.

    The log file, exports and query results are in UTC too, so that a user can compare their times with those on a
    screen.
    """
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")


def dated(moment: float) -> str:
    """Return the date and time of day in UTC of `moment` (seconds since the epoch): `2026-11-28 14:03:22`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(seconds: float) -> str:
    """Return a phrase for a time `seconds` ago: `just now`, `5 min ago`, `2 h ago`, `yesterday`, `3 days ago`."""
    if not math.isfinite(seconds):
        return NONE
    for length, unit in ((7 * _DAY, "week"), (_DAY, "day")):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}s ago"
    if seconds >= _DAY:
        return "yesterday"
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h ago"
    return f"{int(seconds // 60)} min ago" if seconds >= 60 else "just now"


def latency(seconds: float) -> str:
    """Format how long one attempt takes: `0.4 ms`, `84 ms`, `0.84 s`, `2.1 s`, `48 s`, `12:41`."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 0.00095:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 0.995:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 599.5 else duration(seconds, short=True)


def percent(part: float, whole: float) -> str:
    """Format `part` of `whole` as a percentage: `38 %`, `1.5 %`, `0.03 %`; `100 %` only if `part` reaches `whole`."""
    if not whole or not part:
        return "0 %"
    share = 100 * part / whole
    if share < 0.095:
        return f"{share:.2f} %" if share >= 0.005 else "<0.01 %"
    if share < 9.95:
        return f"{share:.1f} %"
    return f"{min(round(share), 99) if part < whole else round(share)} %"


def _scaled(number: float, units: tuple[str, ...]) -> str:
    number /= 1000
    power = 1
    # From 999.5 on the number would be written as 1000, so use the next unit.
    while abs(number) >= 999.5 and power < len(units) - 1:
        number /= 1000
        power += 1
    digits = 1 if abs(number) < 9.95 else 0
    return f"{number:.{digits}f}{units[power]}"


def short_plural(number: int, noun: str) -> str:
    """Format a count as `count` does, with its noun: `1 row`, `1,234 rows`, `12 k rows`."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def more_kinds(number: int) -> str:
    """Return a phrase for the number of error groups that are not shown: `and 1 more kind`, `and 12 more kinds`."""
    return f"and {short_plural(number, 'more kind')}"
