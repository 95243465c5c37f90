"""Parses the header `Retry-After` (RFC 9110, 10.2.3): the time until a server accepts another request."""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime

MOST_RETRY_AFTER = 3600.0
"""Longest postponement in seconds that is accepted. The windows of common rate limits are an hour at most. A longer one
must not delay the end of a run for days."""


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` names, at most `MOST_RETRY_AFTER`.

    Return None if there is no header, or no usable time in it: text, NaN, zero, a negative number, a date in the past.
    A refused request must not be repeated at once, so the caller then waits as long as its own back-off says.

    Args:
        value: the header's value, a number of seconds or a date; None if there is no header.
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
        except (ValueError, OverflowError, TypeError, IndexError):  # the value is neither a number nor a date
            return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(seconds, MOST_RETRY_AFTER)
