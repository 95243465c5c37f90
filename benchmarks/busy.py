"""Jobs for `dashboard.py`: threads that wait and compute, and threads that fetch from a server on this machine."""

from __future__ import annotations

import time

from tui_runner import http, job


# 256 threads, because a user may try so many for slow sites. Small chunks make the table of chunks change often.
@job(threads=256, chunk_size=200, open_chunks=4)
def mixed(number: int, *, count: int = 1000, seconds: float = 0.05) -> dict[str, object]:
    """Wait, then compute for about a millisecond."""
    time.sleep(seconds)
    return {"number": number, "sum": sum(range(20_000))}


@mixed.items
def numbers(*, count: int = 1000) -> range:
    """Return the numbers of the items."""
    return range(count)


@job(threads=256, chunk_size=200, open_chunks=4)
def fetching(number: int, *, address: str, count: int = 1000) -> dict[str, object]:
    """Fetch a page from a server on this machine."""
    return {"number": number, "length": len(http.get(f"{address}/{number}").text)}


@fetching.items
def fetched(*, count: int = 1000) -> range:
    """Return the numbers of the pages."""
    return range(count)
