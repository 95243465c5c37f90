"""Draws a result as bars or as lines. `chart_data` chooses x and the series, and `chart_axis` labels the axes.

Where more rows than lines would need bars, the distribution of the values is drawn.

If x is a number or a time, the position of a row depends on its x, so that missing rows leave a gap. Bars with
ascending x are drawn as a histogram. If the values of two series differ very much, each series has its own scale.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import compress, cycle, pairwise
from typing import TypeGuard

import pyarrow as pa

from tui_runner.text.numbers import plural
from tui_runner.text.safe_text import ELLIPSIS
from tui_runner.tui.query.chart_axis import (
    LARGEST_STEP,
    LEAST_STEP,
    STEPS,
    axis_labels,
    bin_labels,
    number_text,
    rounded_scale,
    scale_label,
    scale_of,
    share_of,
)
from tui_runner.tui.query.chart_data import MOST_BARS, MOST_ROWS, ZONE_REMARK, Plot, Remark, plot_of
from tui_runner.tui.widgets.braille import nice_top
from tui_runner.tui.widgets.paint import BETWEEN, Line, PaintedWidget, Span, cells, column, fitted, spread

_ROLES = ("chart-1", "chart-2", "warn", "done")
"""Roles of the series, each with another colour: as many as `MOST_SERIES`."""
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
_STROKES = ((1,), (1, 1, 0, 0), (1, 0, 0, 0), (1, 0))
"""Pattern of the line of each series on a terminal without colours: 1 for a dot that is drawn, 0 for a gap."""


def _stroke_mark(stroke: Sequence[int]) -> str:
    """Return three cells of a level line with a pattern."""
    dots = [stroke[place % len(stroke)] for place in range(6)]
    bits = [dots[left] * _DOTS[0][1] | dots[left + 1] * _DOTS[1][1] for left in (0, 2, 4)]
    return "".join(chr(0x2800 + each) for each in bits)


_FILL_MARKS = ("▪", *_FILLS[1:])
"""Marks of the series in the legend of bars, and of lines that differ by their colours."""
_STROKE_MARKS = tuple(map(_stroke_mark, _STROKES))
"""Marks of the series in the legend of lines, on a terminal without colours."""


class ChartKind(StrEnum):
    """The kind of a chart. Its value is its name for the user."""

    BARS = "bars"
    LINE = "line"


class ResultChart(PaintedWidget, can_focus=True):
    """A widget that draws a result as bars or as lines."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._plot: Plot | str = "there is no result"
        self._kind = ChartKind.BARS
        self._keys = self._zoom = ""

    def show(self, table: pa.Table, kind: ChartKind, *, complete: bool, keys: str = "", zoom: str = "") -> None:
        """Draw a result.

        Args:
            table: the first rows of the result.
            kind: bars or lines.
            complete: True if the result has no more rows.
            keys: the keys that lead to another kind of chart and back to the rows, with labels.
            zoom: the key that gives the chart the whole screen.
        """
        self._plot = plot_of(table, complete=complete)
        self._kind, self._keys, self._zoom = kind, keys, zoom
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return a line with the names of the series and the keys, and the chart below it."""
        if isinstance(self._plot, str):
            return [self._first_line(((f" Nothing to draw: {self._plot}.", "muted"),), width)]
        if self._kind is ChartKind.LINE:
            return self._paint_lines(self._plot, width, height - 1)
        plot = self._plot
        if not (_is_histogram(plot) or _has_room(plot, height - 1)) and len(plot.series) == 1:
            plot = distribution(plot)
        draw = histogram if _is_histogram(plot) else bars
        remarks = plot.remarks
        if draw is bars and _differ(plot, _APART):
            remarks = (Remark("each series has a scale of its own", "own scales"), *remarks)
        elif draw is histogram and (together := _binned(plot, width)[1]) > 1:
            remarks = (Remark(f"a column is the mean of {together} values", f"means of {together}"), *remarks)
        legend = _legend(plot, range(len(plot.series)), _FILL_MARKS, remarks, self._legend_room(width))
        return [self._first_line(legend, width), *draw(plot, width, height - 1)]

    def _paint_lines(self, plot: Plot, width: int, height: int) -> list[Line]:
        has_colours = not (self.is_attached and self.app.no_color)
        shown, remarks, zoom = _drawn_series(plot, height), plot.remarks, ""
        if len(shown) < len(plot.series):
            some = f"{len(shown)} of {len(plot.series)}"
            remarks = (Remark(f"{some} series", some), *remarks)
            if self._zoom and not (self.is_attached and self.screen.has_class("-zoomed")):
                zoom = f"{self._zoom} more  "
        marks = _FILL_MARKS if has_colours or _has_points(plot) else _STROKE_MARKS
        legend = _legend(plot, shown, marks, remarks, self._legend_room(width, zoom))
        return [self._first_line(legend, width, zoom), *line_chart(plot, width, height, has_colours=has_colours)]

    def _first_line(self, left: Line, width: int, zoom: str = "") -> Line:
        """Return `left` with the keys at the right end. If there is no room for both, the end of `left` is cut."""
        room = self._legend_room(width, zoom)
        return fitted(left, width) if room == width else spread(fitted(left, room), self._key_text(zoom), width)

    def _legend_room(self, width: int, zoom: str = "") -> int:
        """Return the cells of the first line that the legend may take: all if there is no room for the keys."""
        room = width - cells(self._key_text(zoom)) - BETWEEN
        return room if self._keys and room >= _LEAST_LEGEND else width

    def _key_text(self, zoom: str) -> Line:
        return ((f"{zoom}{self._keys} ", "muted"),)


def suitable_kinds(table: pa.Table, height: int) -> tuple[ChartKind, ...]:
    """Return the kinds of charts that suit a result, the best one first.

    Bars are best for few rows, categories and bins. They do not suit many rows with a number or time as x and several
    series, because the first bars would tell nothing about the others.

    Args:
        table: the first rows of the result.
        height: number of lines for the chart, with its legend.
    """
    plot = plot_of(table, complete=True)
    if isinstance(plot, str):
        return (ChartKind.BARS,)
    if _has_room(plot, height - 1):
        return ChartKind.BARS, ChartKind.LINE
    is_binned = _is_histogram(plot) and len(plot.labels) <= MOST_BARS
    if is_binned or (plot.xs is None and len(plot.series) == 1):
        return ChartKind.BARS, ChartKind.LINE
    has_bars = len(plot.series) == 1 or (plot.xs is None and bool(plot.x_name))
    return (ChartKind.LINE, ChartKind.BARS) if has_bars else (ChartKind.LINE,)


def _has_room(plot: Plot, height: int) -> bool:
    """Return True if `height` lines have room for all bars, or if the bars are those of not too many categories."""
    rows = len(plot.labels)
    is_category = plot.xs is None and bool(plot.x_name)
    return rows * len(plot.series) <= height or (is_category and rows <= MOST_BARS)


_LEAST_LEGEND = 12
"""Fewest cells of the legend beside the keys: enough for the name of a series. With fewer cells, the keys are left out,
which the last line of the screen has, too."""


def _legend(plot: Plot, shown: Sequence[int], marks: Sequence[str], remarks: Sequence[Remark], room: int) -> Line:
    """Return the names of the series with the indexes `shown` after their marks, the name of x, and the remarks.

    If `room` cells are not enough, the remarks are brief. Then the name of x is left out, because its values are below
    the chart or beside it, and then the last remarks; `…` stands for them. No remark is cut, because a part of a number
    would be another number.
    """
    names: list[Span] = []
    for number in shown:
        names += [(f" {marks[number]} ", _ROLES[number]), (plot.names[number], "text")]
    named = [*names, (f" by {plot.x_name or 'row'}", "muted")]
    briefs = [each.brief for each in remarks if each.brief]
    left_out = f" {ELLIPSIS}"

    def legend(line: Sequence[Span], gap: str, texts: Sequence[str], end: str = "") -> Line:
        return (*line, ((gap + ", ".join(texts) if texts else "") + end, "muted"))

    legends = [
        legend(named, "   ", [each.text for each in remarks]),
        legend(named, "   ", [each.brief or each.text for each in remarks]),
        legend(named, "   ", briefs, left_out if len(briefs) < len(remarks) else ""),
        *(legend(names, " ", briefs[:count], left_out) for count in range(len(briefs), -1, -1)),
    ]
    return next((each for each in legends if cells(each) <= room), tuple(named))


def _differ(plot: Plot, factor: float) -> bool:
    """Return True if the largest values of two series differ by more than `factor`."""
    tops = [max((abs(value) for value in series if _drawn(value)), default=0.0) for series in plot.series]
    # A series of zeros looks the same on every scale.
    tops = [top for top in tops if top > 0]
    return bool(tops) and max(tops) > factor * min(tops)


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
    texts = [[number_text(value) for value in series[:shown]] for series in plot.series]
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
    """Return True if the rows can be bins: one series without negative values, with numbers or times as x, in order.

    The order may be descending, because statements often have the newest rows first.
    """
    if plot.xs is None or len(plot.series) != 1 or len(plot.xs) < _LEAST_BINS:
        return False
    if any(a >= b for a, b in pairwise(_ascending(plot).xs or ())):
        return False
    return all(_drawn(value) and value >= 0 for value in plot.series[0])


def _ascending(plot: Plot) -> Plot:
    """Return `plot` with its rows in reverse order if the last x is lower than the first one."""
    if plot.xs is None or plot.xs[0] <= plot.xs[-1]:
        return plot
    series = tuple(values[::-1] for values in plot.series)
    return replace(plot, labels=plot.labels[::-1], series=series, xs=plot.xs[::-1])


def histogram(plot: Plot, width: int, height: int) -> list[Line]:
    """Return a histogram: a column for each bin, from zero, and the values of x below; no lines below a height of 3.

    If there are more bins than cells, a column shows the mean of several bins. Their sum would be wrong for prices, and
    would let a last column of fewer bins look low. Results often lack bins without values. These bins are added if the
    other bins have an even width (`with_empty_bins`).
    """
    if height < 3:
        return []
    plot, each = _binned(plot, width)
    values = plot.series[0]
    scale, rows = _histogram_margin(plot), height - 1
    room = max(width - scale - 1, 1)
    parts = [list(filter(_drawn, values[start : start + each])) for start in range(0, len(values), each)]
    heights = [sum(part) / max(len(part), 1) for part in parts]
    across = max(min(room // len(heights), 6), 1)
    top = nice_top(max(heights, default=0.0))
    lines: list[Line] = []
    for row in range(rows - 1, -1, -1):
        label = number_text(top) if row == rows - 1 else "0" if row == 0 else ""
        text = "".join(_column(value / top * rows - row, value > 0 and row == 0) * across for value in heights)
        lines.append(((label.rjust(scale - 1) + " ", "muted"), ("│", "faint"), (text, _ROLES[0])))
    lines.append(((" " * (scale + 1) + bin_labels(plot, each, across, room), "muted"),))
    return [fitted(line, width) for line in lines]


def _binned(plot: Plot, width: int) -> tuple[Plot, int]:
    """Return the bins of a histogram in ascending order, and the number of bins in each of its columns."""
    bins = with_empty_bins(_ascending(plot))
    return bins, -(-len(bins.labels if bins.xs is None else bins.xs) // max(width - _histogram_margin(bins) - 1, 1))


def _histogram_margin(plot: Plot) -> int:
    """Return the cells at the left of a histogram, for the labels of its scale."""
    return len(number_text(max(filter(_drawn, plot.series[0]), default=0.0))) + 2


def distribution(plot: Plot) -> Plot:
    """Return a plot with the number of rows in bins of the only series. Return `plot` if it has no different values."""
    values = [value for value in plot.series[0] if _drawn(value)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    # Rice's rule: 2 · ∛n bins. https://onlinestatbook.com/2/graphing_distributions/histograms.html
    least = (high - low) / max(2 * len(values) ** (1 / 3), _LEAST_BINS)
    if not LEAST_STEP < least < LARGEST_STEP:
        return plot
    power = 10.0 ** math.floor(math.log10(least))
    step = next(each * power for each in STEPS if each * power >= least)
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
    remarks = [each for each in plot.remarks if each != ZONE_REMARK]
    if missing := len(plot.series[0]) - len(values):
        remarks.append(Remark(f"{plural(missing, 'row')} without a number left out"))
    return Plot(tuple(map(number_text, xs)), ("rows",), (tuple(counts),), tuple(remarks), xs, x_name=plot.names[0])


_LARGEST_COUNT = 1e12
"""Steps of a histogram from zero to its values, above which rounding errors would move values to other bins."""
_EVEN = 0.02, 0.3
"""Largest deviations of a step between two bins from a multiple of the shortest step, as shares of the shortest step.
The first number is for the logarithms of geometric bins (1, 2, 4, …). The second is for bins that are about equally
wide, as months, which have 28 to 31 days."""


def with_empty_bins(plot: Plot) -> Plot:
    """Return `plot` with bins in its gaps: of value zero if its values may be counts, otherwise without a value.

    Return it unchanged if its bins have no even width, or if it would have more than `MOST_ROWS` bins.
    """
    xs, series = plot.xs, plot.series[0]
    if xs is None or len(xs) < 3:
        return plot
    # A group without rows has a count of 0, but no mean.
    are_counts = all(value >= 0 and value == math.floor(value) for value in filter(_drawn, series))
    missing = 0.0 if are_counts else None
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
        filled, values = [xs[0]], [series[0]]
        for place, width in enumerate(widths):
            filled += [unscaled(at[place] + steps[place] * part / width) for part in range(1, width)]
            values += [missing] * (width - 1)
            filled.append(xs[place + 1])
            values.append(series[place + 1])
        return replace(plot, xs=tuple(filled), series=(tuple(values),))
    return plot


def _column(level: float, shows: bool) -> str:
    """Return the character for one cell of a column.

    Args:
        level: height of the column above the bottom of this cell, in cells.
        shows: True to draw at least the lowest character, so that a small value is visible.
    """
    eighths = max(min(round(level * 8), 8), 1 if shows else 0)
    return " ▁▂▃▄▅▆▇█"[max(eighths, 0)]


def line_chart(plot: Plot, width: int, height: int, *, has_colours: bool = True) -> list[Line]:
    """Return a chart of lines in braille, with the scale at the left and the values of x below.

    If the largest values of two series differ by more than the factor `_APART_LINES`, there are panels with their own
    scales (`_panels`). They have the same margin, so that the same x is at the same place in all of them. If many rows
    have the same x, points are drawn instead of lines.

    Args:
        plot: the data of the chart.
        width: cells of a line.
        height: number of lines.
        has_colours: False if lines must differ by their patterns.
    """
    has_strokes = not (has_colours or _has_points(plot))
    panels = [(_only(plot, numbers), numbers) for numbers in _panels(plot, height, has_colours=has_colours)]
    margin = max(max(map(len, _scale_labels(part)), default=0) for part, _ in panels)
    lines: list[Line] = []
    for part, numbers in panels:
        strokes = [_STROKES[number if has_strokes else 0] for number in numbers]
        roles = [_ROLES[number] for number in numbers]
        lines += _panel(part, width, height // len(panels), roles, strokes, margin)
    return lines


def _panels(plot: Plot, height: int, *, has_colours: bool = True) -> list[list[int]]:
    """Return the indexes of the series in each panel.

    Series whose values differ get a panel each. If there is no room for all of these panels, series of similar size
    share one. If there is still no room, the last panels are left out: on the scale of a much larger series, the others
    would all look like zero. Points, which have no patterns, get a panel each without colours, too.
    """
    numbers = range(len(plot.series))
    if not _differ(plot, _APART_LINES) and (has_colours or not _has_points(plot)):
        return [list(numbers)]
    most = max(height // _LEAST_PANEL, 1)
    if len(numbers) <= most:
        return [[number] for number in numbers]
    panels: list[list[int]] = []
    for number in numbers:
        alike = (panel for panel in panels if not _differ(_only(plot, [*panel, number]), _APART_LINES))
        if (panel := next(alike, None)) is None:
            panels.append([number])
        else:
            panel.append(number)
    return panels[:most]


def _drawn_series(plot: Plot, height: int) -> list[int]:
    """Return the indexes of the series that `line_chart` draws in `height` lines."""
    return sorted(number for panel in _panels(plot, height) for number in panel)


def _only(plot: Plot, numbers: Sequence[int]) -> Plot:
    """Return `plot` with the series that have the indexes `numbers`."""
    series = tuple(plot.series[number] for number in numbers)
    return replace(plot, series=series, names=tuple(plot.names[number] for number in numbers))


def _scale_of(plot: Plot) -> tuple[float, float] | None:
    """Return the lowest and the highest value of the scale for all series; None if no value is finite."""
    values = [value for series in plot.series for value in series if _drawn(value)]
    return rounded_scale(*scale_of(min(values), max(values))) if values else None


def _scale_labels(plot: Plot) -> tuple[str, ...]:
    """Return the labels of the lowest, the middle and the highest value of the scale; none if no value is finite."""
    ends = _scale_of(plot)
    if ends is None:
        return ()
    values = ends[0], ends[0] / 2 + ends[1] / 2, ends[1]
    labels = tuple(map(scale_label, values))
    # Large numbers are rounded, and may look equal then.
    return labels if len(set(labels)) == len(labels) else tuple(f"{value:.16g}" for value in values)


def _panel(
    plot: Plot, width: int, height: int, series_roles: Sequence[str], strokes: Sequence[Sequence[int]], margin: int
) -> list[Line]:
    """Return a chart of lines with one scale.

    Args:
        plot: the data of the chart.
        width: cells of a line.
        height: number of lines.
        series_roles: the role of each series, for its colour.
        strokes: the pattern of the line of each series.
        margin: fewest cells for the labels of the scale, at the left.
    """
    if height < 3:
        return []
    ends = _scale_of(plot)
    if ends is None:
        return [fitted(((" Nothing to draw: no value is finite.", "muted"),), width)]
    low, high = ends
    rows = height - 1
    bottom, middle, top = _scale_labels(plot)
    if rows < _LEAST_PANEL:
        middle = ""
    scale = max(margin, *map(len, (bottom, middle, top))) + 1
    columns = max(width - scale - 2, 1)
    bits = [[0] * columns for _ in range(rows)]
    roles = [[-1] * columns for _ in range(rows)]
    are_points = _has_points(plot)
    for number, series in enumerate(plot.series):
        stroke = strokes[number]
        dots = _dots(series, low, high, columns * 2, rows * 4, plot.xs, are_points=are_points)
        for x, y in compress(dots, cycle(stroke)):
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
            spans.append((chr(0x2800 + value) if value else " ", series_roles[number] if number >= 0 else "text"))
        lines.append(tuple(spans))
    ends_of_x = replace(plot, labels=tuple(shortened_labels((plot.labels[0], plot.labels[-1]), columns // 2 - 1)))
    lines.append(((" " * (scale + 1) + axis_labels(ends_of_x, columns), "muted"),))
    return [fitted(line, width) for line in lines]


_GAP = 3.0
"""A line is interrupted where x grows by more than this number times its median step: one or two missing rows leave no
gap, three do."""


_REPEATED = 0.9
"""Share of different x among all rows below which points are drawn instead of lines. A line between many values with
the same x would look like a curve. A few rows with the same time do no harm."""


def _has_points(plot: Plot) -> bool:
    """Return True if `line_chart` draws points, because many rows have the same x."""
    return plot.xs is not None and len(set(plot.xs)) < _REPEATED * len(plot.xs)


def _dots(
    series: Sequence[float | None],
    low: float,
    high: float,
    across: int,
    down: int,
    xs: Sequence[float] | None,
    *,
    are_points: bool,
) -> list[tuple[int, int]]:
    """Return the dots (x, y) of a line, counted from its lower left corner.

    Neighbouring values are connected by straight lines of dots, unless `are_points`. There are no dots between values
    beside a gap.

    Args:
        series: a value for each row; None or a value that is not finite is a gap.
        low: the lowest value of the scale.
        high: the highest value of the scale.
        across: number of dots from the first x to the last.
        down: number of dots from the lowest value to the highest.
        xs: value of x in each row; None for equal distances.
        are_points: True to return only the dots of the values.
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
        if are_points or here - then > _GAP * usual > 0:
            before = None
        then = here
        if not _drawn(value):
            before = None
            continue
        x = round(share_of(here, at[0], at[-1]) * (across - 1)) if at[-1] > at[0] else 0
        y = round(share_of(value, low, high) * (down - 1))
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
    zero = round(share_of(0.0, low, high) * room)
    share = abs(share_of(value, low, high) - share_of(0.0, low, high))
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


def _drawn(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
