"""Functions for contenders of `peers.py` that use DataFrames; a separate module, because it imports pandas."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd


def rows_of(number: int) -> int:
    """Return the number of rows that `varied` makes for an item: 5 to 10 thousand."""
    return random.Random(number).randint(5_000, 10_000)


def frame(number: int) -> pd.DataFrame:
    """Return 7,500 rows of six columns."""
    return _frame(number, 7_500)


def varied(number: int) -> pd.DataFrame:
    """Return 5 to 10 thousand rows of six columns."""
    return _frame(number, rows_of(number))


def _frame(number: int, rows: int) -> pd.DataFrame:
    index = np.arange(rows)
    return pd.DataFrame(
        {
            "n": number,
            "row": index,
            "price": index * 0.5,
            "title": ("title " + pd.Series(index % 1000).astype(str)).to_numpy(dtype=object),
            "sold": index % 3 == 0,
            "stock": index % 97,
        }
    )
