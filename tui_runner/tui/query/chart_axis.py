"""Labels the axes of charts with round numbers and moments, and computes their scales."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len

from tui_runner.tui.query.chart_data import Plot
from tui_runner.tui.widgets.braille import nice_top
from tui_runner.tui.widgets.paint import column


def axis_labels(plot: Plot, room: int) -> str:
    """Return the line of labels below an x-axis: round values of x, or else two to five values at even distances.

    If x is a text, the labels are those of the first and the last row. If all rows have the same x, it is the only
    label.

    Args:
        plot: the data of the chart.
        room: cells of the axis.
    """
    first, last = plot.labels[0], plot.labels[-1]
    if plot.xs is None:
        # With one row, one label is enough. A label that is too long leaves room for the other one.
        last = "" if last == first else column(last, min(cell_len(last), max(room // 2, 1)))
        return f"{column(first, max(room - cell_len(last) - 1, 1))} {last}".rstrip()
    low, high = min(plot.xs), max(plot.xs)
    if plot.is_time:
        return _time_ticks(low, high, room) or _ends(low, high, room)
    if low == high:
        return _position_text(low, low, high)[:room]
    if ticks := _round_ticks(plot, low, high, room):
        return ticks
    shares: list[float] = []
    texts: list[str] = []
    for number in (5, 4, 3, 2):
        shares = [part / (number - 1) for part in range(number)]
        texts = [_position_text(low + (high - low) * share, low, high) for share in shares]
        if sum(map(len, texts)) + 3 * number <= room:
            break
    return _centred(texts, shares, room) or texts[0][:room]


def bin_labels(plot: Plot, together: int, across: int, room: int) -> str:
    """Return the line of labels below the columns of a histogram. A label begins below the left edge of its column.

    Labels have even distances. They are at round values if the bins have an even width, and otherwise at every n-th
    column. Labels of times are at round moments.

    Args:
        plot: the data of the chart; its x ascend.
        together: number of bins in a column.
        across: cells of a column.
        room: cells from the first column to the end of the line.
    """
    starts = (plot.xs or (0.0,))[::together]
    low, high = starts[0], starts[-1]
    if plot.is_time:
        return _time_ticks(low, high, room, starts, across) or _ends(low, high, across * len(starts))
    texts = [_position_text(start, low, high) for start in starts]
    for every, first in _tick_columns(starts):
        places = range(first, len(starts), every)
        if line := _placed([texts[at] for at in places], [at * across for at in places], room, gap=2):
            return line
    return texts[0][:room]


def _tick_columns(starts: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Yield distances between labelled columns, and the index of the first one; the best choice first.

    Args:
        starts: the lowest value of each column, ascending.
    """
    count, low = len(starts), starts[0]
    width = (starts[-1] - low) / max(count - 1, 1)
    is_even = all(abs(start - low - place * width) <= width / 100 for place, start in enumerate(starts))
    if is_even and width > 0 and math.isfinite(width):
        for every in range(-(-count // (_MOST_TICKS + 1)), count // 2 + 1):
            step = every * width
            if not any(math.isclose(step / 10.0 ** math.floor(math.log10(step)), each, rel_tol=1e-4) for each in STEPS):
                continue
            # The columns may lie beside the multiples of the step, as 3, 8, 13, … do. Then no label would be round.
            first = round((math.ceil(low / step - 0.01) * step - low) / width)
            if math.isclose((low + first * width) / step, round((low + first * width) / step), abs_tol=0.01):
                yield every, first
    yield from ((every, 0) for every in range(-(-count // (_MOST_TICKS + 1)), count))


def _round_ticks(plot: Plot, low: float, high: float, room: int) -> str:
    """Return the line of labels at the multiples of a round step from `low` to `high`; empty if two do not fit."""
    is_whole = all(x == math.floor(x) for x in plot.xs or ())  # for example, nothing is between two chunks
    for number in (5, 4, 3, 2):
        least = (high - low) / number
        if not LEAST_STEP < least < LARGEST_STEP:
            continue
        power = 10.0 ** math.floor(math.log10(least))
        steps = [each * power for each in STEPS if each * power >= least]
        if is_whole:
            steps = [max(step, 1.0) for step in steps if step < 1 or step == math.floor(step)]
        step = steps[0]
        # Because of rounding errors, the quotients may be slightly beside a whole number that they should equal.
        first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
        if last - first < 1 or max(abs(first), abs(last)) > 1e9:
            continue
        ticks = [part * step for part in range(first, last + 1)]
        texts = [_position_text(float(f"{tick:.12g}"), low, high) for tick in ticks]
        if line := _centred(texts, [share_of(tick, low, high) for tick in ticks], room):
            return line
    return ""


def _centred(texts: Sequence[str], shares: Sequence[float], room: int, gap: int = 1) -> str:
    """Return a line of `room` cells with texts in the middle of their places; empty if they do not fit.

    Args:
        texts: the texts.
        shares: their places, from 0.0 at the left end to 1.0 at the right end.
        room: cells of the line.
        gap: fewest cells between two texts.
    """
    starts = [
        min(max(round(share * (room - 1)) - len(text) // 2, 0), room - len(text))
        for text, share in zip(texts, shares, strict=True)
    ]
    return _placed(texts, starts, room, gap)


def _placed(texts: Sequence[str], starts: Sequence[int], room: int, gap: int) -> str:
    """Return a line of at most `room` cells with texts that begin at the cells `starts`; empty if they do not fit."""
    line = ""
    for text, start in zip(texts, starts, strict=True):
        if start < (len(line) + gap if line else 0) or start + len(text) > room:
            return ""
        line = line.ljust(start) + text
    return line


_SECONDS = (
    *(power * digit for power in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1) for digit in (1, 2, 5)),
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200),
    *(86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400),
)  # fmt: skip
"""Round steps between times below an axis, in seconds, up to two weeks."""
_MONTHS = (1, 2, 3, 6, *(12 * power * digit for power in (1, 10, 100) for digit in (1, 2, 5)))
"""Longer steps, in months."""
_MONDAY = 4 * 86_400
"""A Monday, in seconds since the epoch, at which steps of weeks begin. All shorter steps divide it."""


def _time_ticks(low: float, high: float, room: int, columns: Sequence[float] | None = None, across: int = 1) -> str:
    """Return the line of labels at different round moments from `low` to `high`; empty if two do not fit.

    Args:
        low: the first moment, in seconds since the epoch.
        high: the last moment.
        room: cells of the axis.
        columns: the first moment of each column of a histogram, ascending; None if the time grows linearly.
        across: cells of such a column.
    """

    def line_of(texts: Sequence[str], moments: Sequence[float]) -> str:
        if columns is None:
            return _centred(texts, [share_of(moment, low, high) for moment in moments], room, gap=2)
        return _placed(texts, [(bisect_right(columns, moment) - 1) * across for moment in moments], room, gap=2)

    for step in _SECONDS:
        if (high - low) / step <= _MOST_TICKS:
            first, last = math.ceil((low - _MONDAY) / step), math.floor((high - _MONDAY) / step)
            ticks = [_MONDAY + number * step for number in range(first, last + 1)]
            texts = [_moment_text(tick, step, high - low) for tick in ticks]
            if len(ticks) > 1 and (line := line_of(texts, ticks)):
                return line
    for months in _MONTHS:
        if (high - low) / (months * 28 * 86_400) <= 2 * _MOST_TICKS and (starts := _month_starts(low, high, months)):
            texts = [moment.strftime("%Y" if months >= 12 else "%Y-%m") for moment in starts]
            ticks = [(moment - _EPOCH).total_seconds() for moment in starts]
            if len(starts) > 1 and (line := line_of(texts, ticks)):
                return line
    return ""


def _ends(low: float, high: float, room: int) -> str:
    """Return the line of labels with the first and the last moment, or with the first one if they are equal."""
    span = high - low
    step = 1e-4 if span < 0.01 else 0.1 if span < 10 else 1 if span < 5 * 86_400 else 86_400
    first, last = (_moment_text(each, step, span) for each in (low, high))
    return (first != last and _centred([first, last], [0.0, 1.0], room)) or first[:room]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _month_starts(low: float, high: float, step: int) -> list[datetime]:
    """Return the beginning of every month whose number, counted from year 0, is a multiple of `step`."""
    try:
        start, end = (_EPOCH + timedelta(seconds=each) for each in (low, high))
    except OverflowError:
        return []
    numbers = range(-(-(start.year * 12 + start.month - 1) // step) * step, end.year * 12 + end.month, step)
    found = [datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC) for number in numbers if number >= 12]
    return [moment for moment in found if start <= moment]


def _moment_text(moment: float, step: float, span: float) -> str:
    """Return a moment as text, with the parts that differ between moments at this distance."""
    try:
        at = _EPOCH + timedelta(seconds=moment)
    except OverflowError:
        return f"{moment:.4g}"
    if step < 1:
        return at.strftime("%H:%M:%S.%f")[: -3 if step > 0.0009 else None]
    if step >= 86_400:
        return at.strftime("%Y-%m-%d")
    return at.strftime(("%m-%d " if span >= 86_400 else "") + ("%H:%M:%S" if step < 60 else "%H:%M"))


_MOST_TICKS = 10
"""Most steps between labels below an axis. With more labels, the axis would be hard to read."""


def _position_text(value: float, low: float, high: float) -> str:
    """Return a value of x, on an axis from `low` to `high`, as text with all digits that tell it from others.

    If all numbers have four digits, they have no separators, because they may be years.
    """
    span = high - low
    if value != math.floor(value) and LEAST_STEP < span < LARGEST_STEP:
        value = round(value, 3 - math.floor(math.log10(min(span, abs(value)))))
    text = scale_label(value)
    return text.replace(",", "") if 1_000 <= low <= high < 10_000 else text


def scale_of(least: float, most: float) -> tuple[float, float]:
    """Return the lowest and the highest value of the scale, for values from `least` to `most`.

    The scale includes zero, unless all values are positive and the lowest is at least half of the highest.
    """
    if least == most or least <= 0 or least < most / 2:
        least, most = min(least, 0.0), max(most, 0.0)
    return (least, most) if most > least else (0.0, 1.0)


STEPS = (1.0, 2.0, 2.5, 5.0, 10.0, 20.0)
"""Round steps of a scale. Twice each step is round, too."""
LEAST_STEP, LARGEST_STEP = 1e-9, 1e300
"""Steps outside of these bounds are not rounded, because numbers could overflow."""


def rounded_scale(low: float, high: float) -> tuple[float, float]:
    """Return a scale from `low` to `high`, extended so that its two ends and its middle are round numbers.

    Scales of the largest and smallest numbers are unchanged.
    """
    least = (high - low) / 4
    if not LEAST_STEP < least < LARGEST_STEP:
        return low, high
    if low == 0 or high == 0:
        top = nice_top(high - low)
        return (0.0, top) if high > 0 else (-top, 0.0)
    power = 10.0 ** math.floor(math.log10(least))
    for step in (each * power for each in STEPS if each * power >= least):
        # Because of rounding errors, the quotients may be slightly beside a whole number that they should equal.
        first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
        last += (last - first) % 2  # an even number of steps, so that one ends in the middle
        if last - first <= 4:
            return first * step, last * step
    return low, high


def scale_label(value: float) -> str:
    """Return the label of a round value, with all of its digits."""
    return f"{value:,.10g}" if abs(value) < 1e6 and value != int(value) else number_text(value)


def share_of(value: float, low: float, high: float) -> float:
    """Return the position of `value` between `low` (0.0) and `high` (1.0)."""
    if math.isfinite(high - low):
        return (value - low) / (high - low)
    # The difference of very large numbers overflows. The difference of their halves does not.
    return (value / 2 - low / 2) / (high / 2 - low / 2)


def number_text(value: float | None) -> str:
    """Return a value as text, with separators and at most as many digits as a label needs; `NULL` for None."""
    if value is None:
        return "NULL"
    if not math.isfinite(value) or abs(value) >= 1e15:
        return f"{value:.4g}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
