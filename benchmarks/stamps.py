"""A job for `freshness.py`: each row has the time at which its function returned."""

from __future__ import annotations

import time

from tui_runner import job

ROWS = 500
"""Rows of an item: enough to load the database, and so few that items return all the time."""


@job(chunk_size=100, threads=8)
def stamps(number: int) -> list[dict[str, object]]:
    """Return some rows, after a wait."""
    time.sleep(0.05)
    now = time.time()
    return [{"returned_at": now, "title": f"title {place % 97}", "price": place * 0.5} for place in range(ROWS)]


@stamps.items
def numbers(*, count: int = 3_000) -> range:
    """Return the numbers of the items."""
    return range(count)
