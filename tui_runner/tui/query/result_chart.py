"""Draws a result as bars or as lines. One column is x, and each of the other numeric columns is a series.

The first column is x if it can be (`_x_column`): a constant tells nothing, and a time tells more than the number of a
run or chunk. Where more rows than lines would need bars, the distribution of the values is drawn.

If x is a number or a time, the position of a row depends on its x, so that missing rows leave a gap. Bars with
ascending x are drawn as a histogram. If the values of two series differ very much, each series has its own scale.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import TypeGuard

import pyarrow as pa
import pyarrow.compute as pc

from tui_runner.store.export.cells import is_number
from tui_runner.text.numbers import ZONE
from tui_runner.text.safe_text import ELLIPSIS
from tui_runner.tui.query.cell_viewer import shown_cells
from tui_runner.tui.widgets.braille import nice_top
from tui_runner.tui.widgets.paint import Line, PaintedWidget, Span, cells, column, fitted, own

MOST_ROWS = 2_000
"""Most rows of a result that are drawn. More rows could not be distinguished on any screen."""
_ROLES = ("chart-1", "chart-2", "warn", "done")
"""Roles of the series, each with another colour. A result with more numeric columns is drawn without the last ones."""
_LABEL = 60
"""Most cells for the label of a bar. Longer labels would take room from the bars and say little more."""
_LEAST_BAR = 20
"""Fewest cells that are left for a bar if the labels take more than a third of the width. Shorter bars could hardly be
compared."""
_DOTS = (0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08)
"""Bits of the dots in the two columns of a braille cell, from the lowest dot up."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"
"""Characters for the end of a bar. The index is the length in eighths of a cell."""
_FILLS = "█▒▓░"
"""Characters for the bars of each series, so that series differ even without colours."""


class ChartKind(StrEnum):
    """The kind of a chart. Its value is its name for the user."""

    BARS = "bars"
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Plot:
    """The data of a chart.

    Attributes:
        labels: label of each row.
        names: name of each series.
        series: values of each series, one for each row. NULL is None. Values that are not finite are not drawn.
        remark: text about data that were left out; empty if the chart has all data.
        xs: value of x in each row: a number, or seconds since the epoch. None if x is a text or NULL in any row.
        is_time: True if `xs` are times.
        x_name: name of the column x; empty if x is the number of the row.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    series: tuple[tuple[float | None, ...], ...]
    remark: str
    xs: tuple[float, ...] | None = None
    is_time: bool = False
    x_name: str = ""


_ZONE_REMARK = f"times are {ZONE}"


def plot_of(table: pa.Table, *, complete: bool) -> Plot | str:
    """Return the data of a chart of `table`, or a text for the user if the table cannot be drawn.

    Args:
        table: the first rows of a result.
        complete: True if the result has no more rows.
    """
    part = table.slice(0, MOST_ROWS)
    if not part.num_rows:
        return "there are no rows"
    x = _x_column(part)
    series = _series_columns(part, x)
    if not series:
        return "a chart needs a numeric column"
    names = [own(part.schema.names[number], 40) for number in series[: len(_ROLES)]]
    values = [tuple(_number(value) for value in part.column(each).to_pylist()) for each in series[: len(_ROLES)]]
    remarks = []
    if part.num_rows < table.num_rows or not complete:
        remarks.append(f"first {part.num_rows:,} rows")
    if len(series) > len(_ROLES):
        remarks.append(f"{len(_ROLES)} of {len(series)} numeric columns")
    if x is None:
        labels = [str(row + 1) for row in range(part.num_rows)]
        return Plot(tuple(labels), tuple(names), tuple(values), ", ".join(remarks))
    column = part.column(x).combine_chunks()
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        remarks.append(_ZONE_REMARK)
    labels = [text or "NULL" for text in shown_cells(column)]
    xs, is_time = _positions(column)
    x_name = own(part.schema.names[x], 40)
    return Plot(tuple(labels), tuple(names), tuple(values), ", ".join(remarks), xs, is_time, x_name)


_ID = re.compile(r"_?(run|item|chunk|id)|.*_id", re.IGNORECASE)
"""Matches the names of columns whose numbers name something and measure nothing."""


def _x_column(part: pa.Table) -> int | None:
    """Return the index of the column for x; None if x is the number of the row.

    That is the first column, where statements with GROUP BY have what they count by. But in the rows of a table, it may
    be a constant, the id of a run, or one of many different texts. Then a time is better, or else a number that grows
    or falls from row to row, or else an id that each row has alone, or else a text.
    """
    if part.num_columns == 1:
        return None
    if part.num_rows == 1:
        return 0
    kinds = [field.type for field in part.schema]
    counts = [_distinct(column) for column in part.columns]
    numbers = [place for place, kind in enumerate(kinds) if is_number(kind)]
    # There must be a column for y beside x.
    varied = [place for place, count in enumerate(counts) if count > 1 and _measures(part) != [place]]
    whole = [place for place in varied if not part.column(place).null_count]
    times = [place for place in whole if pa.types.is_timestamp(kinds[place]) or pa.types.is_date(kinds[place])]
    if 0 in varied:
        is_named = not _ID.fullmatch(part.schema.names[0]) or counts[0] == part.num_rows
        is_drawn = is_number(kinds[0]) or 0 in times or part.num_rows <= _MOST_BARS or not times
        if is_named and is_drawn:
            return 0
    ordered = [place for place in whole if place in numbers and _is_ordered(part.column(place).to_pylist())]
    unique = [place for place in whole if counts[place] == part.num_rows and not pa.types.is_nested(kinds[place])]
    ids = [place for place in unique if _ID.fullmatch(part.schema.names[place])]
    texts = [place for place in (*unique, *varied) if place not in numbers and not pa.types.is_nested(kinds[place])]
    return next(iter([*times, *ordered, *ids, *texts]), None)


def _series_columns(part: pa.Table, x: int | None) -> list[int]:
    """Return the indexes of the numeric columns beside x, without ids and constants if there are other numbers.

    A constant remains if x is the first column, because such a statement has probably named its columns for a chart.
    """
    measures = _measures(part, but=x)
    if x == 0 and len(measures) <= len(_ROLES):
        return measures
    return [place for place in measures if _distinct(part.column(place)) > 1] or measures


def _measures(part: pa.Table, but: int | None = None) -> list[int]:
    """Return the indexes of the numeric columns that are no ids, or of all of them if all are ids; but not `but`."""
    numbers = [place for place, field in enumerate(part.schema) if is_number(field.type) and place != but]
    return [place for place in numbers if not _ID.fullmatch(part.schema.names[place])] or numbers


def _distinct(column: pa.ChunkedArray) -> int:
    """Return the number of different values of a column. Arrow cannot count nested values, which usually all differ."""
    try:
        return int(pc.count_distinct(column, mode="all").as_py())
    except pa.ArrowNotImplementedError:
        return len(column)


def _is_ordered(values: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values))


def _positions(values: pa.Array) -> tuple[tuple[float, ...] | None, bool]:
    """Return `Plot.xs` and `Plot.is_time` for the values of the first column."""
    kind = values.type
    is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if values.null_count or not (is_time or is_number(kind)):
        return None, False
    try:
        if is_time:
            moments = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_pylist()
            return tuple(moment / 1e6 for moment in moments), True
        numbers = tuple(float(value) for value in values.to_pylist())
    except (pa.ArrowException, OverflowError, ValueError):
        return None, False
    return (numbers, False) if all(map(math.isfinite, numbers)) else (None, False)


class ResultChart(PaintedWidget, can_focus=True):
    """A widget that draws a result as bars or as lines."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._plot: Plot | str = "there is no result"
        self._kind = ChartKind.BARS

    def show(self, table: pa.Table, kind: ChartKind, *, complete: bool) -> None:
        """Draw a result.

        Args:
            table: the first rows of the result.
            kind: bars or lines.
            complete: True if the result has no more rows.
        """
        self._plot = plot_of(table, complete=complete)
        self._kind = kind
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return a line with the names of the series, and the chart below it."""
        if isinstance(self._plot, str):
            return [((f" Nothing to draw: {self._plot}.", "muted"),)]
        plot, draw = self._plot, line_chart
        if self._kind is ChartKind.BARS:
            if not (_is_histogram(plot) or _has_room(plot, height - 1)) and len(plot.series) == 1:
                plot = distribution(plot)
            draw = histogram if _is_histogram(plot) else bars
        remark = _OWN_SCALES if draw is bars and _differ(plot, _APART) else ""
        return [fitted(_legend(plot, remark), width), *draw(plot, width, height - 1)]


def suitable_kinds(table: pa.Table, height: int) -> tuple[ChartKind, ...]:
    """Return the kinds of charts that suit a result, the best one first.

    Bars are best for few rows, categories and bins. They do not suit many rows with a number or time as x and several
    series, because the first bars would tell nothing about the others.

    Args:
        table: the first rows of the result.
        height: number of lines for the chart, with its legend.
    """
    plot = plot_of(table, complete=True)
    if isinstance(plot, str) or _has_room(plot, height - 1):
        return ChartKind.BARS, ChartKind.LINE
    is_binned = _is_histogram(plot) and len(plot.labels) <= _MOST_BARS
    if is_binned or (plot.xs is None and len(plot.series) == 1):
        return ChartKind.BARS, ChartKind.LINE
    has_bars = len(plot.series) == 1 or (plot.xs is None and bool(plot.x_name))
    return (ChartKind.LINE, ChartKind.BARS) if has_bars else (ChartKind.LINE,)


def _has_room(plot: Plot, height: int) -> bool:
    """Return True if `height` lines have room for all bars, or if the bars are those of not too many categories."""
    rows = len(plot.labels)
    is_category = plot.xs is None and bool(plot.x_name)
    return rows * len(plot.series) <= height or (is_category and rows <= _MOST_BARS)


_MOST_BARS = 100
"""Most categories or bins for which bars are drawn at first, even if not all of them fit on the screen. A result with
more rows is rather a list, of which the first bars would tell little."""


_OWN_SCALES = "each series has a scale of its own"


def _legend(plot: Plot, remark: str) -> Line:
    spans: list[Span] = []
    for number, (name, role) in enumerate(zip(plot.names, _ROLES, strict=False)):
        spans += [(f" {_FILLS[number] if number else '▪'} ", role), (name, "text")]
    if plot.x_name:
        spans.append((f" by {plot.x_name}", "muted"))
    if remarks := ", ".join(filter(None, (plot.remark, remark))):
        spans.append((f"   {remarks}", "muted"))
    return tuple(spans)


def _differ(plot: Plot, factor: float) -> bool:
    """Return True if the largest values of two series differ by more than `factor`."""
    tops = [max((abs(value) for value in series if _drawn(value)), default=0.0) for series in plot.series]
    return min(tops, default=0.0) > 0 and max(tops) > factor * min(tops)


def bars(plot: Plot, width: int, height: int) -> list[Line]:
    """Return a horizontal bar for each value, from zero. If not all rows fit, the last line says how many are missing.

    A value that is NULL or not finite has no bar. If the largest values of two series differ by more than the factor
    `_APART`, each series has its own scale.
    """
    across = len(plot.series)
    room = height // across
    shown = min(len(plot.labels), room if len(plot.labels) <= room else max((height - 1) // across, 0))
    values = [[value for value in series[:shown] if _drawn(value)] for series in plot.series]
    if not _differ(plot, _APART):
        values = [[value for series in values for value in series]] * across
    scales = [(min(0.0, *series, 0.0), max(0.0, *series, 0.0)) for series in values]
    texts = [[_text(value) for value in series[:shown]] for series in plot.series]
    text_room = max((len(text) for series in texts for text in series), default=0)
    most = max(width // 3, width - text_room - 4 - _LEAST_BAR)
    longest = min(_LABEL, most)
    labels = shortened_labels(plot.labels[:shown], longest)
    label_room = min(max((cells(((label, "text"),)) for label in labels), default=0), longest)
    bar_room = max(width - label_room - text_room - 4, 1)
    lines: list[Line] = []
    for row in range(shown):
        for number, series in enumerate(plot.series):
            label = column(labels[row] if number == 0 else "", label_room, right=True)
            bar = _bar(series[row], *scales[number], bar_room, _FILLS[number])
            lines.append(
                (
                    (f" {label} ", "muted"),
                    (bar, _ROLES[number]),
                    (" " + texts[number][row].rjust(text_room), "text"),
                )
            )
    if shown < len(plot.labels) and height > 0:
        lines.append(((f" … and {len(plot.labels) - shown:,} more", "muted"),))
    return [fitted(line, width) for line in lines]


def shortened_labels(labels: Sequence[str], room: int) -> Sequence[str]:
    """Return `labels` with `…` for their common beginning and end, so that they differ even if they are cut.

    For example, the URLs of one site become their paths. Labels that all have at most `room` characters are unchanged.
    """
    if len(labels) < 2 or all(len(label) <= room for label in labels):
        return labels
    before = len(_WORD_AT_END.sub("", _common_beginning(labels)))
    behind = len(_WORD_AT_END.sub("", _common_beginning([label[before:][::-1] for label in labels])))
    return [
        (ELLIPSIS if before > 1 else label[:before])
        + label[before : len(label) - behind]
        + (ELLIPSIS if behind > 1 else label[len(label) - behind :])
        for label in labels
    ]


def _common_beginning(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # their common beginning is that of all labels
    alike = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:alike]


_WORD_AT_END = re.compile(r"\w+$")
"""Matches the letters and digits at the end of a common beginning. They are not cut off, so that the numbers in
`page-17` and `page-18` stay whole."""
_LEAST_BINS = 8
"""Fewest rows that are drawn as the bins of a histogram. A result with fewer rows is probably a small table."""
_APART = 20.0
"""Factor between the largest values of two series from which bars of each series get their own scale. On a common
scale, the shorter bars would all look alike."""
_APART_LINES = 4.0
"""The same factor for lines. It is smaller, because a line in the lowest quarter of a chart looks flat, and because
panels with their own axes do not suggest that their heights can be compared."""
_LEAST_PANEL = 5
"""Fewest lines of a panel: the axis, and four lines with 16 rows of dots for the curve."""


def _is_histogram(plot: Plot) -> bool:
    """Return True if the rows can be bins: one series without negative values, with ascending numbers or times as x."""
    if plot.xs is None or len(plot.series) != 1 or len(plot.xs) < _LEAST_BINS:
        return False
    return all(a < b for a, b in pairwise(plot.xs)) and all(_drawn(value) and value >= 0 for value in plot.series[0])


def histogram(plot: Plot, width: int, height: int) -> list[Line]:
    """Return a histogram: a column for each bin, from zero, and the values of x below; no lines below a height of 3.

    If there are more bins than cells, a column shows the sum of several bins. Results often lack bins without values.
    These bins are added if the other bins have an even width (`with_empty_bins`).
    """
    if height < 3:
        return []
    plot = with_empty_bins(plot)
    values = [value for value in plot.series[0] if _drawn(value)]
    scale = len(_text(max(values, default=0.0))) + 2
    room, rows = max(width - scale - 1, 1), height - 1
    each = -(-len(values) // room)
    heights = [sum(values[start : start + each]) for start in range(0, len(values), each)]
    across = max(min(room // len(heights), 6), 1)
    top = nice_top(max(heights, default=0.0))
    lines: list[Line] = []
    for row in range(rows - 1, -1, -1):
        label = _text(top) if row == rows - 1 else "0" if row == 0 else ""
        text = "".join(_column(value / top * rows - row, value > 0 and row == 0) * across for value in heights)
        lines.append(((label.rjust(scale - 1) + " ", "muted"), ("│", "faint"), (text, _ROLES[0])))
    room = across * len(heights)
    xs = plot.xs or (0.0,)
    below = _ticks(plot, room, lambda share: xs[min(int(share * len(xs)), len(xs) - 1)])
    lines.append(((" " * (scale + 1) + below, "muted"),))
    return [fitted(line, width) for line in lines]


def distribution(plot: Plot) -> Plot:
    """Return a plot with the number of rows in bins of the only series. Return `plot` if it has no different values."""
    values = [value for value in plot.series[0] if _drawn(value)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    # Rice's rule: 2 · ∛n bins. https://onlinestatbook.com/2/graphing_distributions/histograms.html
    least = (high - low) / max(2 * len(values) ** (1 / 3), _LEAST_BINS)
    if not _LEAST_STEP < least < _LARGEST_STEP:
        return plot
    power = 10.0 ** math.floor(math.log10(least))
    step = next(each * power for each in _STEPS if each * power >= least)
    if max(abs(low), abs(high)) / step > _LARGEST_COUNT:
        return plot
    if all(value == int(value) for value in values):
        step = max(step, 1.0)
    first, last = math.floor(low / step), math.floor(high / step)
    last = max(last, first + _LEAST_BINS - 1)  # so that few values are drawn as bins as well
    counts = [0.0] * (last - first + 1)
    for value in values:
        counts[math.floor(value / step) - first] += 1
    xs = tuple(float(f"{number * step:.12g}") for number in range(first, last + 1))
    remark = ", ".join(each for each in plot.remark.split(", ") if each != _ZONE_REMARK)
    return Plot(tuple(map(_text, xs)), ("rows",), (tuple(counts),), remark, xs, x_name=plot.names[0])


_LARGEST_COUNT = 1e12
"""Steps of a histogram from zero to its values, above which rounding errors would move values to other bins."""
_EVEN = 0.02, 0.3
"""Largest deviations of a step between two bins from a multiple of the shortest step, as shares of the shortest step.
The first number is for the logarithms of geometric bins (1, 2, 4, …). The second is for bins that are about equally
wide, as months, which have 28 to 31 days."""


def with_empty_bins(plot: Plot) -> Plot:
    """Return `plot` with bins of value zero in its gaps.

    Return it unchanged if its bins have no even width, or if it would have more than `MOST_ROWS` bins.
    """
    xs, series = plot.xs, plot.series[0]
    if xs is None or len(xs) < 3:
        return plot
    geometric = xs[0] > 0 and not plot.is_time
    scales = ([(math.log, math.exp, _EVEN[0])] if geometric else []) + [(float, float, _EVEN[1])]
    for scaled, unscaled, tolerance in scales:
        at = [scaled(x) for x in xs]
        steps = [b - a for a, b in pairwise(at)]
        least = min(steps)
        widths = [round(step / least) for step in steps]
        even = all(abs(step / least - width) <= tolerance for step, width in zip(steps, widths, strict=True))
        if not even or not len(xs) <= 1 + sum(widths) <= MOST_ROWS:
            continue
        filled, counts = [xs[0]], [series[0]]
        for place, width in enumerate(widths):
            filled += [unscaled(at[place] + steps[place] * part / width) for part in range(1, width)]
            counts += [0.0] * (width - 1)
            filled.append(xs[place + 1])
            counts.append(series[place + 1])
        return replace(plot, xs=tuple(filled), series=(tuple(counts),))
    return plot


def _column(level: float, shows: bool) -> str:
    """Return the character for one cell of a column.

    Args:
        level: height of the column above the bottom of this cell, in cells.
        shows: True to draw at least the lowest character, so that a small value is visible.
    """
    eighths = max(min(round(level * 8), 8), 1 if shows else 0)
    return " ▁▂▃▄▅▆▇█"[max(eighths, 0)]


def _ticks(plot: Plot, room: int, at: Callable[[float], float] | None = None) -> str:
    """Return the line of labels below an x-axis: round values of x, or else two to five values at even distances.

    If x is a text, the labels are those of the first and the last row.

    Args:
        plot: the data of the chart.
        room: cells of the axis.
        at: returns the value of x at a position on the axis, 0.0 to 1.0; None if x grows linearly.
    """
    first, last = plot.labels[0], plot.labels[-1]
    if plot.xs is None:
        return column(first, max(room - len(last) - 1, 0)) + " " + last
    low, high = min(plot.xs), max(plot.xs)
    if plot.is_time:
        # The cells of a histogram are those of its bins, which may have no even width.
        rising = None if at is None else plot.xs
        return _time_ticks(low, high, room, rising) or _ends(low, high, room)
    if at is None and (ticks := _round_ticks(plot, low, high, room)):
        return ticks
    texts: list[str] = []
    for number in (5, 4, 3, 2):
        shares = [part / (number - 1) for part in range(number)]
        values = [low + (high - low) * share if at is None else at(share) for share in shares]
        texts = [_position_text(value, high - low, plot) for value in values]
        if sum(map(len, texts)) + 3 * number <= room:
            break
    line = ""
    for part, text in enumerate(texts):
        place = round(part * (room - 1) / max(len(texts) - 1, 1))
        start = min(max(place - (len(text) // 2 if part else 0), len(line) + bool(line)), max(room - len(text), 0))
        line = line.ljust(start) + text if start >= len(line) else line
    return line


def _round_ticks(plot: Plot, low: float, high: float, room: int) -> str:
    """Return the line of labels at the multiples of a round step from `low` to `high`; empty if two do not fit."""
    for number in (5, 4, 3, 2):
        step = nice_top((high - low) / number)
        first, last = math.ceil(low / step), math.floor(high / step)
        if not math.isfinite(high - low) or last - first < 1 or last - first > _MOST_TICKS:
            continue
        ticks = [part * step for part in range(first, last + 1)]
        texts = [_position_text(tick, high - low, plot) for tick in ticks]
        if line := _placed(texts, [_share(tick, low, high) for tick in ticks], room):
            return line
    return ""


def _placed(texts: Sequence[str], shares: Sequence[float], room: int, gap: int = 1) -> str:
    """Return a line of `room` cells with texts in the middle of their places; empty if they do not fit.

    Args:
        texts: the texts.
        shares: their places, from 0.0 at the left end to 1.0 at the right end.
        room: cells of the line.
        gap: fewest cells between two texts.
    """
    line = ""
    for text, share in zip(texts, shares, strict=True):
        start = min(max(round(share * (room - 1)) - len(text) // 2, 0), room - len(text))
        if start < (len(line) + gap if line else 0):
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


def _time_ticks(low: float, high: float, room: int, bins: Sequence[float] | None = None) -> str:
    """Return the line of labels at different round moments from `low` to `high`; empty if two do not fit.

    Args:
        low: the first moment, in seconds since the epoch.
        high: the last moment.
        room: cells of the axis.
        bins: the ascending moments of bins of equal width, for a histogram; None if the time grows linearly.
    """

    def share(moment: float) -> float:
        return _share(moment, low, high) if bins is None else (bisect_right(bins, moment) - 1) / len(bins)

    for step in _SECONDS:
        if (high - low) / step <= _MOST_TICKS:
            first, last = math.ceil((low - _MONDAY) / step), math.floor((high - _MONDAY) / step)
            ticks = [_MONDAY + number * step for number in range(first, last + 1)]
            texts = [_moment_text(tick, step, high - low) for tick in ticks]
            if len(ticks) > 1 and (line := _placed(texts, list(map(share, ticks)), room, gap=2)):
                return line
    for months in _MONTHS:
        if (high - low) / (months * 28 * 86_400) <= 2 * _MOST_TICKS and (starts := _month_starts(low, high, months)):
            texts = [moment.strftime("%Y" if months >= 12 else "%Y-%m") for moment in starts]
            shares = [share((moment - _EPOCH).total_seconds()) for moment in starts]
            if len(starts) > 1 and (line := _placed(texts, shares, room, gap=2)):
                return line
    return ""


def _ends(low: float, high: float, room: int) -> str:
    """Return the line of labels with the first and the last moment, or with the first one if they are equal."""
    span = high - low
    step = 1e-4 if span < 0.01 else 0.1 if span < 10 else 1 if span < 5 * 86_400 else 86_400
    first, last = (_moment_text(each, step, span) for each in (low, high))
    return (first != last and _placed([first, last], [0.0, 1.0], room)) or first[:room]


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


def _position_text(value: float, span: float, plot: Plot) -> str:
    return _moment_text(value, 1, span) if plot.is_time else _text(float(f"{value:.4g}"))


def line_chart(plot: Plot, width: int, height: int) -> list[Line]:
    """Return a chart of lines in braille, with the scale at the left and the values of x below.

    If the largest values of two series differ by more than the factor `_APART_LINES`, each series has its own panel and
    scale.
    """
    each = height // max(len(plot.series), 1)
    if not _differ(plot, _APART_LINES) or each < _LEAST_PANEL:
        return _panel(plot, width, height)
    lines: list[Line] = []
    for number, series in enumerate(plot.series):
        alone = replace(plot, series=(series,), names=(plot.names[number],))
        lines += _panel(alone, width, each, first=number)
    return lines


def _panel(plot: Plot, width: int, height: int, first: int = 0) -> list[Line]:
    """Return a chart of lines with one scale.

    Args:
        plot: the data of the chart.
        width: cells of a line.
        height: number of lines.
        first: index of the first series of `plot` among all series of the result, which decides on its colour.
    """
    values = [value for series in plot.series for value in series if _drawn(value)]
    if height < 3:
        return []
    if not values:
        return [fitted(((" Nothing to draw: no value is finite.", "muted"),), width)]
    low, high = _rounded(*_scale(min(values), max(values)))
    rows = height - 1
    bottom, middle, top = (_tick(value) for value in (low, low / 2 + high / 2, high))
    if rows < _LEAST_PANEL:
        middle = ""
    scale = max(map(len, (bottom, middle, top))) + 1
    columns = max(width - scale - 2, 1)
    bits = [[0] * columns for _ in range(rows)]
    roles = [[-1] * columns for _ in range(rows)]
    for number, series in enumerate(plot.series):
        for x, y in _dots(series, low, high, columns * 2, rows * 4, plot.xs):
            row, place = rows - 1 - y // 4, x // 2
            bits[row][place] |= _DOTS[x % 2][y % 4]
            roles[row][place] = number
    lines: list[Line] = []
    for row in range(rows):
        label = top if row == 0 else bottom if row == rows - 1 else ""
        if row == rows // 2 and middle:
            label = middle
        # Draw the lower end of the axis as a broken line if the scale does not begin at zero.
        axis = "╎" if low > 0 and row == rows - 1 else "│"
        spans: list[Span] = [(label.rjust(scale), "muted"), (axis, "faint")]
        for value, number in zip(bits[row], roles[row], strict=True):
            spans.append((chr(0x2800 + value) if value else " ", _ROLES[first + number] if number >= 0 else "text"))
        lines.append(tuple(spans))
    lines.append(((" " * (scale + 1) + _ticks(plot, columns), "muted"),))
    return [fitted(line, width) for line in lines]


_GAP = 3.0
"""A line is interrupted where x grows by more than this number times its median step: one or two missing rows leave no
gap, three do."""


def _dots(
    series: Sequence[float | None],
    low: float,
    high: float,
    across: int,
    down: int,
    xs: Sequence[float] | None = None,
) -> list[tuple[int, int]]:
    """Return the dots (x, y) of a line, counted from its lower left corner.

    Neighbouring values are connected by straight lines of dots. There are no dots between values beside a gap.

    Args:
        series: a value for each row; None or a value that is not finite is a gap.
        low: the lowest value of the scale.
        high: the highest value of the scale.
        across: number of dots from the first x to the last.
        down: number of dots from the lowest value to the highest.
        xs: value of x in each row; None for equal distances.
    """
    places = range(len(series)) if xs is None else sorted(range(len(series)), key=xs.__getitem__)
    at = list(map(float, places)) if xs is None else [xs[place] for place in places]
    steps_between = sorted(b - a for a, b in pairwise(at) if b > a)
    usual = steps_between[len(steps_between) // 2] if steps_between else 0.0
    dots: list[tuple[int, int]] = []
    before: tuple[int, int] | None = None
    then = -math.inf
    for place, here in zip(places, at, strict=True):
        value = series[place]
        if here - then > _GAP * usual > 0:
            before = None
        then = here
        if not _drawn(value):
            before = None
            continue
        x = round(_share(here, at[0], at[-1]) * (across - 1)) if at[-1] > at[0] else 0
        y = round(_share(value, low, high) * (down - 1))
        if before is not None:
            steps = max(abs(x - before[0]), abs(y - before[1]), 1)
            for step in range(1, steps):
                part = step / steps
                dots.append((round(before[0] + (x - before[0]) * part), round(before[1] + (y - before[1]) * part)))
        dots.append((x, y))
        before = (x, y)
    return dots


def _bar(value: float | None, low: float, high: float, room: int, fill: str) -> str:
    if not _drawn(value) or high <= low:
        return " " * room
    zero = round(_share(0.0, low, high) * room)
    share = abs(_share(value, low, high) - _share(0.0, low, high))
    if value < 0:
        length = max(round(share * room), 1)
        return (" " * (zero - length) + fill * length).ljust(room)[:room]
    eighths = round(share * room * 8)
    if value > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    if fill != _FILLS[0]:  # only the first character also exists for parts of a cell
        whole, rest = max(round(eighths / 8), int(value > 0)), 0
    return (" " * zero + fill * whole + (_EIGHTHS[rest] if rest else "")).ljust(room)[:room]


def _scale(least: float, most: float) -> tuple[float, float]:
    """Return the lowest and the highest value of the scale, for values from `least` to `most`.

    The scale includes zero, unless all values are positive and the lowest is at least half of the highest.
    """
    if least == most or least <= 0 or least < most / 2:
        least, most = min(least, 0.0), max(most, 0.0)
    return (least, most) if most > least else (0.0, 1.0)


_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0, 20.0)
"""Round steps of a scale. Twice each step is round, too."""
_LEAST_STEP, _LARGEST_STEP = 1e-9, 1e300
"""Steps outside of these bounds are not rounded, because numbers could overflow."""


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Return a scale from `low` to `high`, extended so that its two ends and its middle are round numbers.

    Scales of the largest and smallest numbers are unchanged.
    """
    least = (high - low) / 4
    if not _LEAST_STEP < least < _LARGEST_STEP:
        return low, high
    if low == 0 or high == 0:
        top = nice_top(high - low)
        return (0.0, top) if high > 0 else (-top, 0.0)
    power = 10.0 ** math.floor(math.log10(least))
    for step in (each * power for each in _STEPS if each * power >= least):
        # Because of rounding errors, the quotients may be slightly beside a whole number that they should equal.
        first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
        last += (last - first) % 2  # an even number of steps, so that one ends in the middle
        if last - first <= 4:
            return first * step, last * step
    return low, high


def _tick(value: float) -> str:
    """Return the label of a round value, with all of its digits."""
    return f"{value:,.10g}" if abs(value) < 1e6 and value != int(value) else _text(value)


def _share(value: float, low: float, high: float) -> float:
    """Return the position of `value` between `low` (0.0) and `high` (1.0)."""
    if math.isfinite(high - low):
        return (value - low) / (high - low)
    # The difference of very large numbers overflows. The difference of their halves does not.
    return (value / 2 - low / 2) / (high / 2 - low / 2)


def _drawn(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]  # a number, by the column's type


def _text(value: float | None) -> str:
    if value is None:
        return "NULL"
    if not math.isfinite(value) or abs(value) >= 1e15:
        return f"{value:.4g}"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
