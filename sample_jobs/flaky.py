"""Fail in many ways, some of them at every attempt, to show retries and groups of errors.

    tui-runner run flaky                          2,000 items, about 30 seconds
    tui-runner run flaky --set items=100000       more
    tui-runner run flaky --set seconds=0          items that take no time

Parameters
    items      number of items; default 2,000
    seconds    mean duration of an item; default 0.2

Of every 100 items, by the last two digits of their number:
    07           ValueError: the item fails
    17           TimeoutError, at every attempt: the item fails after the last one
    27           KeyError whose text looks like Textual markup: the item fails
    37           RuntimeError with control sequences for a terminal: the item fails
    41 to 44     ConnectionError at the first attempt, then success
    53           OSError, no route to a host, at the first two attempts, then success
The other 91 succeed at once. After network errors and timeouts, an item is tried again, at most twice. After a
ValueError it is not, because another attempt would fail in the same way. So 4 of 100 items fail finally.

Rows: one per item that succeeded, in table `flaky`: its number and the attempt that succeeded.

Queries
    -- items by the attempt that succeeded
    SELECT attempt, count(*) FROM flaky GROUP BY attempt ORDER BY attempt
    -- errors by type, and whether the attempt was the last one
    SELECT type, final, count(*) FROM runner.errors GROUP BY type, final ORDER BY type
"""

import errno
import time

from tui_runner import current, job


@job(chunk_size=50, threads=16, retries=2)
def flaky(number: int, *, seconds: float = 0.2) -> dict[str, int]:
    """Wait, then succeed or fail. The item's number determines the time and the error.

    Args:
        number: the item
        seconds: mean duration of an item
    """
    time.sleep(seconds * (0.5 + number * 7 % 11 / 10))
    error = error_of(number, current.attempt)
    if error is not None:
        raise error
    return {"number": number, "attempt": current.attempt}


@flaky.items
def numbers(*, items: int = 2_000) -> range:
    """Return the numbers of the items, from 0.

    Args:
        items: number of items
    """
    return range(items)


def error_of(number: int, attempt: int) -> Exception | None:
    """Return the error that attempt `attempt` (from 1) of an item raises; None if it succeeds."""
    match number % 100:
        case 7:
            return ValueError(f"page {number} has no table")
        case 17:
            return TimeoutError(f"no answer from shard-{number % 7} after 30 s")
        case 27:
            return KeyError(f"[/foo] [red]column {number}[/red]")
        case 37:
            return RuntimeError(f"\x1b[31mrow {number}\x1b[0m \x1b]0;a new window title\x07 can't be read")
        case 41 | 42 | 43 | 44 if attempt == 1:
            return ConnectionError(f"connection {number} was reset")
        case 53 if attempt <= 2:
            return OSError(errno.EHOSTUNREACH, f"no route to shard-{number % 7}")
        case _:
            return None
