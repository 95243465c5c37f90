"""Make tables of thousands of rows, as a scraper returns them, and watch memory stay flat.

    tui-runner run tables                        300 tables, about 2.2 million rows
    tui-runner run tables --set pages=6000       twenty times that in the same memory

Parameters
    pages       number of tables; default 300
    min_rows    rows of the smallest table; default 5,000
    max_rows    rows of the largest table; default 10,000

The size and the content of a table depend only on its number, so two runs store the same rows.

Rows: one per product, in table `tables`; its columns hold an integer, text, a number that may be missing,
another integer, true or false, a date, a time and a list.

Queries
    -- mean price by category
    SELECT category, count(*), avg(price), count(*) FILTER (price IS NULL) AS unpriced
    FROM tables GROUP BY category
    -- rows of each page, none of them twice
    SELECT _item, count(*), count(DISTINCT product) FROM tables GROUP BY _item ORDER BY _item
"""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tui_runner import job

CATEGORIES = ["art", "biology", "cooking", "fiction", "history", "poetry", "travel"]
LABELS = ["new", "sale", "signed", "used"]
FIRST_DAY = date(2020, 1, 1)
FIRST_MOMENT = datetime(2020, 1, 1, tzinfo=UTC)


@job(chunk_size=10, threads=4, open_chunks=4)
def tables(page: int, *, min_rows: int = 5_000, max_rows: int = 10_000) -> list[dict[str, Any]]:
    """Return the table of a page.

    Args:
        page: number of the page
        min_rows: rows of the smallest table
        max_rows: rows of the largest table
    """
    chance = random.Random(page)  # noqa: S311 - these are samples, not secrets
    return [row(page, number, chance) for number in range(chance.randint(min_rows, max_rows))]


@tables.items
def page_numbers(*, pages: int = 300) -> range:
    """Return the numbers of the pages, from 1.

    Args:
        pages: number of tables
    """
    return range(1, pages + 1)


def row(page: int, number: int, chance: random.Random) -> dict[str, Any]:
    """Return one product."""
    day = int(chance.random() * 2_000)
    return {
        "product": page * 100_000 + number,
        "category": chance.choice(CATEGORIES),
        "price": None if chance.random() < 0.02 else round(1 + chance.random() * 99, 2),
        "stock": int(chance.expovariate(0.02)),
        "available": chance.random() < 0.9,
        "published": FIRST_DAY + timedelta(days=day),
        "updated": FIRST_MOMENT + timedelta(days=day, seconds=chance.random() * 86_400),
        "labels": LABELS[: int(chance.random() * 4)],
    }
