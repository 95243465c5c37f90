"""The graphs of the dashboard: throughput and memory over the last minutes, as stacked areas from zero."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

from tui_runner.engine.metrics import RATE_SECONDS
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.store.ledger.reports import RunCurves
from tui_runner.text.numbers import NONE, rate, size
from tui_runner.tui.widgets.braille import (
    DOTS_ACROSS,
    FULL_MARK,
    SPARSE_MARK,
    Cell,
    bins,
    nice_top,
    places,
    resampled,
    stacked,
)
from tui_runner.tui.widgets.paint import ROLES, Line, PaintedWidget, Span, cells, column, fitted, sparkline

SPANS = (60.0, 120.0, 300.0)
"""Time spans of a graph, in seconds. The graph of a new run has the shortest span, so that it is soon filled. When the
points no longer fit, the graph changes to the next span."""

_SCALE = 8
"""Cells at the left for the labels of the scale: seven for a label such as `1.2 GB`, and a blank."""
_SCALE_FROM = 30
"""Fewest cells of a graph with a scale at the left. In a narrower graph, the area needs the cells, and only the frame
shows the highest value."""
MARK = "┊"
"""The character that marks the time of an event. It is drawn in the top line of the graph, and in lower lines only
where no area is drawn."""
_WHOLE_FROM = 40
"""Fewest cells of an area whose first third shows the whole run. In a narrower area, too little would be left for the
last minutes."""
_WHOLE_SHARE = 3
"""The curve of the whole run gets the cells of an area divided by this number. The last minutes get all others, because
users watch them."""
_BETWEEN = "▏"
"""The character between the whole run and the last minutes."""
_UNDER_FROM = 6
"""Fewest lines of an area whose last line shows another series. A lower area would become too flat."""
_ZERO_DECIMALS = re.compile(r"\.0(?!\d)")
_SHADES = ("", "-mid", "-low")
"""Suffixes of the role of an area, for the shades of its upper, middle and lower third."""
_ABOVE_TOP = 0.005
"""Share by which the highest value may exceed the top of the scale, much less than a dot. A steady rate of 20.0 may be
measured as 20.03, which must not double the scale."""
_LIMIT_IN_SIGHT = 2.0
"""Largest ratio of the limit to the highest value at which the limit is drawn. A scale up to a higher limit would make
the areas too flat."""


@dataclass(frozen=True, slots=True)
class Series:
    """The data of one area.

    Attributes:
        name: name of the series for the legend.
        role: role of the area's colour.
        points: (seconds, value) of each sample, oldest first; a value of None is a gap.
    """

    name: str
    role: str
    points: tuple[tuple[float, float | None], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """The content of a graph.

    Attributes:
        title: name of the measured quantity, with its unit.
        now: the newest value, as text.
        series: the areas, the lowest first.
        end: the newest moment shown, in seconds by the clock of the points.
        limit: value at which a horizontal line is drawn; None for no line.
        marks: moments at which vertical lines are drawn, in seconds by the same clock.
        marked: meaning of the vertical lines, for the legend.
        whole: values of each series for equal parts of the whole run, oldest first; empty if the last minutes are the
            whole run.
        under: a series that is drawn with its own scale in a line below the areas; None for no such line.
        under_whole: values of `under` for equal parts of the whole run.
        under_most: the highest known value of `under`; 0 to take the highest value that is drawn.
        most: the highest value of the whole run, measured as the points are; 0 to take the highest value of `whole`.
            Values of `whole` may exceed it, because they are measured over other lengths of time.
        newest: the value in `now`. It may be newer than the last point, and the scale must have room for it.
        peaks: (seconds, value) of the highest value between each point and the one before; empty if nothing is known
            between the points.
    """

    title: str
    now: str
    series: tuple[Series, ...]
    end: float
    limit: float | None = None
    marks: tuple[float, ...] = ()
    whole: tuple[tuple[float, ...], ...] = ()
    under: Series | None = None
    under_whole: tuple[float, ...] = ()
    under_most: float = 0.0
    marked: str = ""
    most: float = 0.0
    newest: float = 0.0
    peaks: tuple[tuple[float, float], ...] = ()


def span_of(series: Sequence[Series], end: float) -> float:
    """Return the seconds to show: the shortest of `SPANS` that contains all points, or else the longest one."""
    first = min((line.points[0][0] for line in series if line.points), default=end)
    return next((span for span in SPANS if end - first <= span), SPANS[-1])


class Chart(PaintedWidget):
    """A graph of areas in braille. Its scale begins at zero and ends at a round number.

    Args:
        unit: formats a value of the scale.
        id: id of the widget.
    """

    def __init__(self, unit: Callable[[float], str], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._unit = unit
        self._picture: Picture | None = None
        self._under_most = 0.0

    def show(self, picture: Picture) -> None:
        """Draw `picture`. Only lines that differ from those of the previous picture are drawn.

        The highest value of the series below the areas is remembered, because the last minutes lose it, and so does the
        curve of the whole run: its parts become longer, and their means lower.
        """
        self._under_most = max(self._under_most, picture.under_most)
        picture = replace(picture, under_most=self._under_most)
        if picture != self._picture:
            self._picture = picture
            self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the lines of the graph with its frame. A widget that is too small has no lines."""
        if self._picture is None or width < 12 or height < 3:
            return []
        return drawn(self._picture, width, height, self._unit)


def drawn(picture: Picture, width: int, height: int, unit: Callable[[float], str]) -> list[Line]:
    """Return the lines of a graph with its frame.

    Args:
        picture: the content of the graph.
        width: cells of a line.
        height: number of lines, with the frame.
        unit: formats a value of the scale.
    """
    scale = _SCALE if width >= _SCALE_FROM else 0
    across = width - 2 - scale
    whole = across // _WHOLE_SHARE if picture.whole and across >= _WHOLE_FROM else 0
    span = span_of(picture.series, picture.end)
    highest = max(_highest(picture, span), picture.newest)
    if whole:
        highest = max(highest, picture.most or max(map(sum, zip(*picture.whole, strict=True))))
    limit = picture.limit
    if limit is not None and not (highest > 0 and limit <= highest * _LIMIT_IN_SIGHT):
        limit = None
    # Without values, the top of the scale would be an arbitrary number.
    top = nice_top(max(highest / (1 + _ABOVE_TOP), limit or 0.0))
    scale_end = unit(top) if highest > 0 else ""
    # The newest value changes with each snapshot, the points once a second. Only the top edge shows the former, so that
    # the other lines, which take far more time, are drawn once a second.
    points = replace(picture, title="", now="", limit=limit, most=0.0, newest=0.0, peaks=())
    edge = _top_edge(picture, span, highest, width, unit, with_whole=whole > 0)
    return [edge, *_below_top_edge(points, width, height, unit, top, scale_end, whole, span)]


@lru_cache(maxsize=4)  # two graphs, each of which may have two sizes on one screen
def _below_top_edge(
    picture: Picture,
    width: int,
    height: int,
    unit: Callable[[float], str],
    top: float,
    scale_end: str,
    whole: int,
    span: float,
) -> tuple[Line, ...]:
    """Return the lines of a graph below its top edge.

    Args:
        picture: the content; its limit is None unless the limit is drawn.
        width: cells of a line.
        height: number of lines, with the top edge.
        unit: formats a value.
        top: the value at the top of the scale.
        scale_end: `top` as text; empty if the graph has no values.
        whole: cells of the whole run at the left; 0 if the graph shows only the last minutes.
        span: seconds of the last minutes.
    """
    scale = _SCALE if width >= _SCALE_FROM else 0
    under = picture.under if scale and height - 2 >= _UNDER_FROM else None
    rows = height - 2 - (under is not None)
    columns = width - 2 - scale - whole - (whole > 0)
    series = [bins(line.points, picture.end, span, columns * DOTS_ACROSS) for line in picture.series]
    limit_row = None if picture.limit is None else rows - 1 - min(int(picture.limit / top * rows), rows - 1)
    marked = {place // DOTS_ACROSS for place in places(picture.marks, picture.end, span, columns * DOTS_ACROSS)}
    before = (
        stacked([resampled(values, whole * DOTS_ACROSS) for values in picture.whole], top, rows)
        if whole
        else [[]] * rows
    )
    lines: list[Line] = []
    scale_end = _ZERO_DECIMALS.sub("", scale_end)  # the other label, 0, has no decimals either
    shades = [_SHADES[row * len(_SHADES) // rows] for row in range(rows)]
    for number, row in enumerate(stacked(series, top, rows)):
        label = scale_end if number == 0 else "0" if number == rows - 1 else ""
        left: Line = (("│", "faint"),)
        if scale:
            left = (*left, (column(label, scale - 1, right=True) + " ", "muted"))
        if whole:
            left = (*left, *_row(before[number], picture, shades[number], number == limit_row), (_BETWEEN, "faint"))
        if marked:
            row = [(MARK, -1) if at in marked and (not number or cell[1] < 0) else cell for at, cell in enumerate(row)]
        lines.append((*left, *_row(row, picture, shades[number], number == limit_row), ("│", "faint")))
    bottom = ""
    if under is not None:
        values = [value or 0.0 for value in bins(under.points, picture.end, span, columns)]
        earlier = [value or 0.0 for value in resampled(picture.under_whole, whole)]
        # Draw both parts with one scale, because many failures an hour ago must not look like one failure now.
        bars = sparkline([*earlier, *values], whole + columns)
        parts: Line = ((bars[:whole], under.role), (_BETWEEN, "faint")) if whole else ()
        lines.append(
            (
                ("│", "faint"),
                (column("failed", scale - 1, right=True) + " ", "muted"),
                *parts,
                (bars[whole:], under.role),
                ("│", "faint"),
            )
        )
        bottom = f" {under.name}, max {unit(picture.under_most or max([*earlier, *values], default=0.0))} "
    lines.append((("└", "faint"), (bottom, "muted"), ("─" * (width - 2 - len(bottom)) + "┘", "faint")))
    return tuple(lines)


def _highest(picture: Picture, span: float) -> float:
    """Return the highest sum of all series at one moment of the last `span` seconds, or the highest peak.

    The result is that of the points, not of the columns that are drawn. A column has the mean of several points, so
    that its value depends on the time span.
    """
    since = picture.end - span
    sums: dict[float, float] = {}
    for line in picture.series:
        for at, value in line.points:
            if at >= since and value is not None and math.isfinite(value):
                sums[at] = sums.get(at, 0.0) + value
    peaks = (value for at, value in picture.peaks if at >= since and math.isfinite(value))
    return max([*sums.values(), *peaks], default=0.0)


def _top_edge(
    picture: Picture, span: float, highest: float, width: int, unit: Callable[[float], str], *, with_whole: bool
) -> Line:
    title: Line = (("┌ ", "faint"), (picture.title, "text"))
    legend: list[Span] = []
    if len(picture.series) > 1:
        for number, series in enumerate(picture.series):
            legend += [(f" {SPARSE_MARK if number else FULL_MARK} ", series.role), (series.name, "muted")]
    if picture.marks:
        legend += [(f" {MARK} ", "muted"), (picture.marked, "muted")]
    minutes = f"{span / 60:.0f} min"
    when: Span = (f" ── {f'whole run {_BETWEEN} ' if with_whole else ''}last {minutes}", "muted")
    most: Span = (f"  max {unit(highest)}" if highest > 0 else "", "muted")
    choices = [[when, *legend, most], [*legend, most], legend]
    if with_whole:
        # Both parts need their time spans. The legend is omitted first, because the failures have a labelled line.
        short: Span = (f" ── run {_BETWEEN} {minutes}", "muted")
        choices = [[when, *legend, most], [short, *legend, most], [when, most], [short, most], [short]]
    # Take the first choice that fits. Each one omits more than the previous one.
    for parts in (*choices, []):
        left: Line = (*title, *parts, (" ", "text"))
        right: Line = ((" now ", "muted"), (picture.now, "strong"), (" ┐", "faint"))
        room = width - cells(left) - cells(right)
        if room >= 1:
            return (*left, ("─" * room, "faint"), *right)
    alone = fitted(title, width - 2)
    return (*alone, (" " + "─" * (width - 2 - cells(alone)) + "┐", "faint"))


def _row(row: list[Cell], picture: Picture, shade: str, with_limit: bool) -> list[Span]:
    spans: list[Span] = []
    for number, run in groupby(row, key=lambda cell: cell[1]):
        text = "".join(character for character, _ in run)
        if number >= 0:
            role = picture.series[number].role
            spans.append((text, f"{role}{shade}" if f"{role}{shade}" in ROLES else role))
        elif with_limit:
            spans.append(("".join(MARK if character == MARK else "╌" for character in text), "limit"))
        else:
            spans.append((text, "muted"))
    return spans


def throughput(snapshot: Snapshot, curves: RunCurves | None = None) -> Picture:
    """Return the content of the graph of items that finish per second.

    Failed items are the upper area, and are drawn once more in a line below with its own scale. A pause is a gap.

    Args:
        snapshot: the newest snapshot.
        curves: curves of the whole run; None if the last minutes are the whole run.
    """
    history = snapshot.history
    failed = tuple((sample.at, sample.failed_per_second) for sample in history)
    points = tuple(
        (
            sample.at,
            None if sample.items_per_second is None else sample.items_per_second - (sample.failed_per_second or 0),
        )
        for sample in history
    )
    series = [Series("done", "chart-1", points)]
    under = None
    earlier = curves.failed if curves else ()
    if any(value for _, value in failed) or any(earlier):
        under = Series("failed/s", "bad", failed)
        series.append(Series("failed", "bad", failed))
    # While the last minutes are all of this process, their maximum is that which the whole run has later.
    is_all = curves is None or snapshot.at <= SPANS[-1]
    highest = ((history[-1].at, snapshot.highest_rate),) if is_all and history else ()
    # Take the rate of the snapshot, not that of the newest point, because the line of figures shows that rate too.
    newest = snapshot.items_per_second if history and snapshot.has_rates else None
    return Picture(
        title=f"items/s over {RATE_SECONDS:.0f} s",
        now=rate(newest) if newest is not None else NONE,
        series=tuple(series),
        end=history[-1].at if history else 0.0,
        whole=_layers(curves.items, earlier)[: len(series)] if curves else (),
        under=under,
        under_whole=earlier,
        under_most=max([*(value or 0.0 for _, value in failed), curves.most_failed if curves else 0.0]),
        most=max(curves.most, snapshot.highest_rate) if curves else 0.0,
        # The newest rate may be higher than the rates at all points, which are a second apart.
        newest=newest or 0.0,
        peaks=(*((sample.at, sample.fastest) for sample in history), *highest),
    )


def _layers(sums: Sequence[float], upper: Sequence[float]) -> tuple[tuple[float, ...], ...]:
    """Return the values of the lower and the upper of two areas, of which `sums` are the sums; empty without values."""
    pairs = [(max(total - value, 0.0), value) for total, value in zip(sums, upper, strict=True)]
    return tuple(zip(*pairs, strict=True))


def memory(snapshot: Snapshot, curves: RunCurves | None = None) -> Picture:
    """Return the content of the graph of memory: that of the workers, and that of the main process above it.

    Args:
        snapshot: the newest snapshot.
        curves: curves of the whole run; None if the last minutes are the whole run.
    """
    history = snapshot.history
    # On a cluster, leave out the limit: it is for this machine, and the curves are for all machines.
    limit = None if snapshot.machines or snapshot.machines_lost else snapshot.memory_limit
    return Picture(
        title="memory" if limit is None else f"memory, limit {size(limit)}",
        now=size(snapshot.app_rss + snapshot.workers_rss) if history else NONE,
        series=(
            Series("workers", "chart-1", tuple((sample.at, float(sample.workers_rss)) for sample in history)),
            Series("app", "chart-2", tuple((sample.at, float(sample.app_rss)) for sample in history)),
        ),
        end=history[-1].at if history else 0.0,
        marks=snapshot.recycled,
        marked="replaced",
        limit=None if limit is None else float(limit),
        whole=_layers(curves.memory, curves.app) if curves else (),
        most=max(curves.memory, default=0.0) if curves else 0.0,
    )
