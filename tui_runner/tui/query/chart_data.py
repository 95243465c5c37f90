"""Chooses what a chart of a result shows: the column x, the series, and the position of each row.

The first column is x if it can be (`_x_column`): a constant tells nothing, and a time tells more than another number.
Each of the other numeric columns is a series.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tui_runner.store.export.cells import is_number, moment_texts
from tui_runner.text.numbers import ZONE
from tui_runner.tui.query.cell_viewer import shown_cells
from tui_runner.tui.widgets.paint import own

MOST_SERIES = 4
"""Most series of a chart, because each needs a colour of its own. Further numeric columns are left out."""
MOST_ROWS = 2_000
"""Most rows of a result that are drawn. More rows could not be distinguished on any screen."""
MOST_BARS = 100
"""Most categories or bins for which bars are drawn at first, even if not all of them fit on the screen. A result with
more rows is rather a list, of which the first bars would tell little."""


class Remark(NamedTuple):
    """A remark about what a chart shows or leaves out.

    Attributes:
        text: the remark.
        brief: a shorter text for little room; empty if the remark is left out there.
    """

    text: str
    brief: str = ""


ZONE_REMARK = Remark(f"times are {ZONE}", ZONE)
"""Remark above a chart whose x is a time with a time zone."""


@dataclass(frozen=True, slots=True)
class Plot:
    """The data of a chart.

    Attributes:
        labels: label of each row.
        names: name of each series.
        series: values of each series, one for each row. NULL is None. Values that are not finite are not drawn.
        remarks: what the user must know about the data, the most important first; for example that rows were left out.
        xs: value of x in each row: a number, or seconds since the epoch. None if x is a text or NULL in any row.
        is_time: True if `xs` are times.
        x_name: name of the column x; empty if x is the number of the row.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    series: tuple[tuple[float | None, ...], ...]
    remarks: tuple[Remark, ...]
    xs: tuple[float, ...] | None = None
    is_time: bool = False
    x_name: str = ""


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
    names = [own(part.schema.names[number], 40) for number in series[:MOST_SERIES]]
    values = [tuple(_number(value) for value in part.column(each).to_pylist()) for each in series[:MOST_SERIES]]
    remarks = []
    if part.num_rows < table.num_rows or not complete:
        remarks.append(Remark(f"first {part.num_rows:,} rows", f"first {part.num_rows:,}"))
    if len(series) > MOST_SERIES:
        some = f"{MOST_SERIES} of {len(series)}"
        remarks.append(Remark(f"{some} numeric columns", f"{some} columns"))
    if constants := [each for each in _measures(part, but=x) if each not in series]:
        remarks.append(_constants_remark(part, constants))
    if x is None:
        labels = [str(row + 1) for row in range(part.num_rows)]
        return Plot(tuple(labels), tuple(names), tuple(values), tuple(remarks))
    column = part.column(x).combine_chunks()
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        remarks.append(ZONE_REMARK)
    labels = [text or "NULL" for text in shown_cells(column)]
    xs, is_time = _positions(column)
    x_name = own(part.schema.names[x], 40)
    return Plot(tuple(labels), tuple(names), tuple(values), tuple(remarks), xs, is_time, x_name)


_ID = re.compile(r"_?(run|item|chunk|id)|.*_id", re.IGNORECASE)
"""Matches the names of columns whose numbers name something and measure nothing."""


def _x_column(part: pa.Table) -> int | None:
    """Return the index of the column for x; None if x is the number of the row.

    That is the first column, where statements with GROUP BY have what they count by. But in the rows of a table, it may
    be a constant, the id of a run, one of many different texts, or a number that measures something. Then a time is
    better, or else a number that grows or falls from row to row, or else an id that each row has alone, or else a text.
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
        if is_number(kinds[0]):
            # Beside times in order, even a number that grows from row to row is probably a total.
            in_time = any(_is_sorted(part.column(place)) for place in times)
            is_key = counts[0] == part.num_rows
            is_sorted = 0 in whole and _is_sorted(part.column(0))
            is_axis = not in_time and (is_key and is_sorted if times else is_key or is_sorted)
        else:
            is_axis = 0 in times or part.num_rows <= MOST_BARS or not times
        if is_named and is_axis:
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
    if x == 0 and len(measures) <= MOST_SERIES:
        return measures
    return [place for place in measures if _distinct(part.column(place)) > 1] or measures


def _constants_remark(part: pa.Table, constants: Sequence[int]) -> Remark:
    """Return a remark about columns that are not drawn because all of their rows are equal."""
    if len(constants) > 1:
        return Remark(f"{len(constants)} constants left out")
    column = part.column(constants[0]).slice(0, 1).combine_chunks()
    return Remark(f"{own(part.schema.names[constants[0]], 40)} is always {shown_cells(column)[0] or 'NULL'}")


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


def _is_sorted(column: pa.ChunkedArray) -> bool:
    """Return True if the values rise or fall, or stay equal. Arrow compares them, as Python has no infinite dates."""
    values = column.combine_chunks()
    before, behind = values.slice(0, len(values) - 1), values.slice(1)
    return any(pc.all(compare(before, behind)).as_py() for compare in (pc.less_equal, pc.greater_equal))


def _is_ordered(values: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values))


_INFINITE = frozenset({"infinity", "-infinity"})
"""Texts of dates and times that are later or earlier than all others."""


def _positions(values: pa.Array) -> tuple[tuple[float, ...] | None, bool]:
    """Return `Plot.xs` and `Plot.is_time` for the values of x.

    Infinite values have no position, so all of x is text then.
    """
    kind = values.type
    is_time = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if values.null_count or not (is_time or is_number(kind)):
        return None, False
    try:
        if is_time:
            if any(text in _INFINITE for text in moment_texts(values)):
                return None, False
            moments = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_pylist()
            return tuple(moment / 1e6 for moment in moments), True
        numbers = tuple(float(value) for value in values.to_pylist())
    except (pa.ArrowException, OverflowError, ValueError):
        return None, False
    return (numbers, False) if all(map(math.isfinite, numbers)) else (None, False)


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]  # a number, by the column's type
