"""A job for `query_screen.py`: returns Arrow tables of 20,000 rows, which cost almost nothing to make."""

from __future__ import annotations

import pyarrow as pa

from tui_runner import job

ROWS = 20_000
"""Rows of a page. At 20 pages a second, the run of `query_screen.py` writes 400,000 rows a second."""
_NUMBERS = pa.array(range(ROWS), pa.int64())
_TABLE = pa.table(
    {
        "id": _NUMBERS,
        "title": pa.array([f"book no. {number}" for number in range(ROWS)]),
        "price": pa.array([10 + number % 40 + 0.25 for number in range(ROWS)]),
        "shelf": pa.array([number % 97 for number in range(ROWS)], pa.int32()),
    }
)


@job(table="books", threads=8, chunk_size=50)
def books(page: int, *, pages: int = 1000) -> pa.Table:
    """Return the same table for every page, with the number of the page in it."""
    return _TABLE.append_column("page", pa.repeat(pa.scalar(page, pa.int64()), ROWS))


@books.items
def numbers(*, pages: int = 1000) -> range:
    """Return the numbers of the pages."""
    return range(pages)
