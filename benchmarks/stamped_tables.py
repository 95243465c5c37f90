"""A job for `freshness.py --tables`: many threads return large tables faster than the database stores them."""

from __future__ import annotations

import time

import pandas as pd

from tui_runner import job

ROWS = 7_500
"""Rows of an item: about 0.85 MB."""


@job(table="stamps", chunk_size=500, threads=500)
def tables(number: int) -> pd.DataFrame:
    """Return a table, after waits of 0.25 to 0.75 s."""
    time.sleep(0.25 + number * 7 % 11 / 20)
    index = pd.Series(range(ROWS))
    title = "title " + (index % 1000).astype(str) + " of a page"
    return pd.DataFrame({"returned_at": time.time(), "title": title, "price": index * 0.5, "stock": index % 97})


@tables.items
def numbers(*, count: int = 5_000) -> range:
    """Return the numbers of the items."""
    return range(count)
