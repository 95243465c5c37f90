"""Parses the header `Retry-After` (RFC 9110, 10.2.3): the time until a server accepts another request."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

MOST_RETRY_AFTER = 3600.0
"""Seconds by which a server may postpone a retry. The windows of common rate limits are an hour at most; a longer time
must not delay the end of a run for days."""


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Return the seconds of a `Retry-After`, at most `MOST_RETRY_AFTER`.

    Return None if there is no header, or its value has no usable time: text, NaN, zero, a negative number, a date in
    the past. A refused request must not be repeated at once, so the caller's back-off applies then.

    Args:
        value: the header's value, a number of seconds or a date.
        now: seconds since the epoch.
    """
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
            # "-0000" means an unknown zone; HTTP dates are UTC.
            seconds = (date.replace(tzinfo=UTC) if date.tzinfo is None else date).timestamp() - now
        except (ValueError, OverflowError, TypeError, IndexError):  # not a number or date
            return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, MOST_RETRY_AFTER)
