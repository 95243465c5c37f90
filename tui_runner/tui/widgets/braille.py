"""Draws areas with braille characters, which have two dots across and four down in a cell.

Values become dots in two steps. `bins` assigns samples to columns of dots by their time. `stacked` stacks the columns
of several series and converts them to cells. This module uses neither a terminal nor Textual.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

DOTS_ACROSS = 2
"""Columns of dots in a braille character."""
DOTS_DOWN = 4
"""Rows of dots in a braille character."""

_BLANK = 0x2800
"""Code point of the braille character without dots. Each dot adds one bit to this number."""
# Bits of the dots in the left and the right column of a cell, from the lowest dot up (Unicode, Braille Patterns).
_LEFT = (0x40, 0x04, 0x02, 0x01)
_RIGHT = (0x80, 0x20, 0x10, 0x08)

_EVEN_DOTS = 0x40 | 0x02 | 0x20 | 0x08
"""Every second dot of a cell, as on a chessboard. All series except the first are drawn with these dots alone, so that
they differ from the first series even without colours."""
FULL_MARK, SPARSE_MARK = chr(_BLANK + 0xFF), chr(_BLANK + _EVEN_DOTS)
"""Signs in a legend: for the first series, and for every other series."""

_HOLD = 2.5
"""Seconds for which a sample is drawn if no later sample follows. Samples come about once per second, so that a sample
that is a second late leaves no gap."""

_LEAST = 1e-9
"""Values up to this one count as zero for the top of a scale, because a division by a top of zero would fail. Values
that are shown are larger."""

Cell = tuple[str, int]
"""A character, and the index of the series that has the most dots in it, or -1 for a cell without dots."""


def bins(points: Sequence[tuple[float, float | None]], end: float, span: float, columns: int) -> list[float | None]:
    """Return the mean value in each of `columns` equal parts of the last `span` seconds before `end`.

    A part without a sample has the value of the last sample if this is at most `_HOLD` seconds old. Otherwise the part
    is None: a gap. The parts begin at multiples of their length, so that a graph moves by whole columns and its old
    part never changes.

    Args:
        points: (seconds, value) of each sample, oldest first; a value of None begins a gap.
        end: the newest moment shown, in seconds by the clock of `points`.
        span: seconds shown.
        columns: number of parts.
    """
    length = span / columns
    last = math.floor(end / length)
    sums = [0.0] * columns
    counts = [0] * columns
    latest: list[float | None] = [None] * columns
    for at, value in points:
        place = columns - 1 - (last - math.floor(at / length))
        good = value is not None and math.isfinite(value)
        if good and 0 <= place < columns:
            sums[place] += value or 0.0
            counts[place] += 1
        for later in range(max(place, 0), min(place + math.ceil(_HOLD / length), columns)):
            latest[later] = value if good else None
    return [sums[place] / counts[place] if counts[place] else latest[place] for place in range(columns)]


def resampled(values: Sequence[float], columns: int) -> list[float | None]:
    """Return `columns` values for equal parts of the time that `values` divide into equal parts.

    If there are more values than columns, a column has the mean of several values. If there are fewer, values are
    repeated. Without values, every column is None.
    """
    if not values:
        return [None] * columns
    edges = [place * len(values) // columns for place in range(columns + 1)] if columns else []
    parts = [values[low : max(high, low + 1)] for low, high in pairwise(edges)]
    return [sum(part) / len(part) for part in parts]


def places(moments: Sequence[float], end: float, span: float, columns: int) -> list[int]:
    """Return the indices of the columns of `bins` that contain `moments`. Moments outside of the span are left out."""
    length = span / columns
    last = math.floor(end / length)
    found = (columns - 1 - (last - math.floor(moment / length)) for moment in moments)
    return [place for place in found if 0 <= place < columns]


def nice_top(highest: float) -> float:
    """Return the top of a scale for values up to `highest`, a number with a short label.

    The top is 1, 2, 3, 4, 5 or 8 times a power of ten; it is 1 if `highest` is not above zero or not finite.
    """
    if not highest > _LEAST or not math.isfinite(highest):
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    for step in (1.0, 2.0, 3.0, 4.0, 5.0, 8.0):
        # Because of rounding errors, `highest` may be slightly above a number that it should equal.
        if highest <= step * power * 1.000001:
            return step * power
    return 10.0 * power


def stacked(series: Sequence[Sequence[float | None]], top: float, rows: int) -> list[list[Cell]]:
    """Return series drawn as stacked areas, as `rows` rows of cells, the highest row first.

    The rows show values from zero to `top`. A gap counts as zero. Values above zero have at least one dot.

    Args:
        series: values of each series, one for each column of dots; None is a gap.
        top: the value at the top of the highest row.
        rows: number of rows.
    """
    columns = len(series[0]) if series else 0
    totals = [0.0] * columns
    scaled: list[list[int]] = []
    for values in series:
        totals = [total + (value or 0.0) for total, value in zip(totals, values, strict=True)]
        scaled.append([_height(total, top, rows * DOTS_DOWN) for total in totals])
    heights = [*zip(*scaled, strict=True)]
    if columns % DOTS_ACROSS:
        heights.append((0,) * len(series))
    picture: list[list[Cell]] = []
    for row in range(rows - 1, -1, -1):
        base = row * DOTS_DOWN
        inside = [tuple([min(max(height - base, 0), DOTS_DOWN) for height in each]) for each in heights]
        picture.append([*map(_cell, inside[::DOTS_ACROSS], inside[1::DOTS_ACROSS])])
    return picture


def _height(total: float, top: float, dots: int) -> int:
    if total <= 0:
        return 0
    return min(max(round(total / top * dots), 1), dots)


@lru_cache(maxsize=4096)  # two series end at 225 combinations of dots
def _cell(left: tuple[int, ...], right: tuple[int, ...]) -> Cell:
    """Return the cell in which the series end at these dots, counted from the bottom, in its left and right column."""
    bits = 0
    own_bits = [0] * len(left)
    shares = [0] * len(left)
    for dots, heights in ((_LEFT, left), (_RIGHT, right)):
        lower = 0
        for number, upper in enumerate(heights):
            for dot in range(lower, upper):
                bits |= dots[dot]
                own_bits[number] |= dots[dot]
            shares[number] += max(upper - lower, 0)
            lower = max(lower, upper)
    if not bits:
        return " ", -1
    most = max(range(len(shares)), key=lambda number: shares[number])
    for number, mine in enumerate(own_bits[1:], 1):
        # Keep all dots of the series if none of them is an even dot, because values above zero must be visible.
        if mine & _EVEN_DOTS or most != number:
            bits &= ~(mine & ~_EVEN_DOTS)
    return chr(_BLANK + bits), most
