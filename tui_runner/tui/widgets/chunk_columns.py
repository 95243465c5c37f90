"""The columns of the chunk table: what each shows of a chunk, how wide it is, and which give way where it is narrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tui_runner.engine.progress.snapshot import ChunkView
from tui_runner.engine.states import ChunkState
from tui_runner.text.numbers import count, duration, rate
from tui_runner.tui.chunk_look import state_span
from tui_runner.tui.glyphs import bar, sparkline
from tui_runner.tui.paint import Line, Span, column

NUMBER_DIGITS = 5

_SHARE = 6
"""Cells of the percentage beside a bar."""
_BAR_LEAST = 6
_BAR_MOST = 60
_BAR_FIRST = 14
"""Cells that a bar gets before columns of these ranks and above get any."""
_BESIDE_BAR = 6


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        title: its heading.
        width: cells, without the two cells between columns.
        rank: the highest are left out first where it is narrow.
        cell: what it shows of a chunk in that many cells.
        right: whether it and its heading are aligned to the right.
        key: what the table is sorted by for this column; None for one that it is not sorted by.
        highest_first: whether sorting begins with the highest.
    """

    title: str
    width: int
    rank: int
    cell: Callable[[ChunkView, int], Line]
    right: bool = True
    key: Callable[[ChunkView], float] | None = None
    highest_first: bool = True


def chunk_name(number: int) -> str:
    """A chunk's number as it is written everywhere: at least five digits."""
    return f"{number:0{NUMBER_DIGITS}d}"


def _number(chunk: ChunkView, width: int) -> Line:
    return ((column(chunk_name(chunk.number), width), "text"),)


def _state(chunk: ChunkView, width: int) -> Line:
    text, role = state_span(chunk)
    return ((column(text, width), role),)


def executed(chunk: ChunkView) -> int:
    """Items that count as progress: of a chunk that was cancelled those alone that ended before."""
    return chunk.finished - chunk.cancelled if chunk.state is ChunkState.CANCELLED else chunk.finished


def time_taken(chunk: ChunkView) -> str:
    """How long a chunk took, or has taken; empty for one of which nothing was executed.

    A worker has a chunk that is to be cancelled, too: only workers write down what was cancelled.
    """
    idle = chunk.state in (ChunkState.PAUSED, ChunkState.CANCELLED)
    if chunk.started_at is None or (idle and not (chunk.done + chunk.failed + chunk.retries + chunk.in_flight)):
        return ""
    return duration(chunk.elapsed, short=True)


def _share(chunk: ChunkView) -> float:
    return executed(chunk) / chunk.items if chunk.items else 1.0


def _progress(chunk: ChunkView, width: int) -> Line:
    if chunk.state is ChunkState.WAITING and not chunk.finished:
        return ((" " * width, "text"),)
    share = min(_share(chunk), 1.0)
    text = (f"{int(share * 100):3d} %".rjust(_SHARE), "text")
    if width < _SHARE + _BAR_LEAST:
        return ((" " * (width - _SHARE), "text"), text)
    return (*chunk_bar(chunk, width - _SHARE), text)


def chunk_bar(chunk: ChunkView, width: int) -> Line:
    """A chunk's progress in `width` cells; the end of what is filled stands for the items that failed."""
    filled, rest = bar(_share(chunk), width)
    bad = 0
    if chunk.failed and filled:
        # One failed item of thousands shows as well, and a chunk of which some are done never looks wholly failed.
        most = len(filled) if chunk.failed == executed(chunk) else max(len(filled) - 1, 1)
        bad = min(max(1, round(len(filled) * chunk.failed / executed(chunk))), most)
    good = "done" if chunk.state is ChunkState.FAILED else str(chunk.state)
    return ((filled[: len(filled) - bad], good), (filled[len(filled) - bad :], "failed"), (rest, "faint"))


def chunk_rate(chunk: ChunkView) -> str:
    """Items per second of a chunk; empty for one that has no rate to speak of.

    One that starts no items has none. One that was cancelled has none either: the cancelled items took no time.
    """
    if chunk.state is ChunkState.CANCELLED or chunk.started_at is None:
        return ""
    # One that runs and finishes nothing has one: 0.
    return rate(chunk.items_per_second) if chunk.state is ChunkState.RUNNING or chunk.items_per_second > 0 else ""


def _rate(chunk: ChunkView, width: int) -> Line:
    return ((column(chunk_rate(chunk), width, right=True), "text"),)


def _recent(chunk: ChunkView, width: int) -> Line:
    return ((sparkline(chunk.recent, width), "chart-1"),)


def _counted(value: Callable[[ChunkView], int], role: str = "text") -> Callable[[ChunkView, int], Line]:
    def cell(chunk: ChunkView, width: int) -> Line:
        number = value(chunk)
        if chunk.started_at is None and not number:
            return ((" " * width, "text"),)
        return ((column(count(number), width, right=True), role if number else "muted"),)

    return cell


def _elapsed(chunk: ChunkView, width: int) -> Line:
    return ((column(time_taken(chunk), width, right=True), "text"),)


def _worker(chunk: ChunkView, width: int) -> Line:
    return ((column("" if chunk.worker is None else str(chunk.worker), width, right=True), "muted"),)


def _of_items(chunk: ChunkView, width: int) -> Line:
    return ((column(f"{count(chunk.finished)}/{count(chunk.items)}", width, right=True), "muted"),)


COLUMNS = (
    Column("chunk", NUMBER_DIGITS + 1, 0, _number, right=False, key=lambda chunk: chunk.number, highest_first=False),
    Column("state", 12, 0, _state, right=False),
    Column("progress", _SHARE, 1, _progress, right=False, key=_share),
    Column("items", 11, 9, _of_items),
    Column(
        "items/s", 7, 3, _rate, key=lambda chunk: chunk.items_per_second * (chunk.state is not ChunkState.CANCELLED)
    ),
    Column("last min", 10, 6, _recent),
    Column("failed", 7, 2, _counted(lambda chunk: chunk.failed, "bad"), key=lambda chunk: chunk.failed),
    Column("retries", 8, 7, _counted(lambda chunk: chunk.retries), key=lambda chunk: chunk.retries),
    Column("rows", 6, 4, _counted(lambda chunk: chunk.rows), key=lambda chunk: chunk.rows),
    Column("in flight", 9, 8, _counted(lambda chunk: chunk.in_flight), key=lambda chunk: chunk.in_flight),
    Column("worker", 6, 10, _worker),
    Column("elapsed", 8, 5, _elapsed, key=lambda chunk: chunk.elapsed),
)
"""Every column, in the order shown. Progress takes the room that is left over."""

GAP = 2
MARK = 2
"""Cells at the left for the signs of the cursor and of a marked chunk."""


def layout(width: int) -> list[Column]:
    """The columns that fit into `width` cells, with their widths; the bar of progress takes what is left."""
    kept: list[Column] = []
    room = width - MARK - 1
    for item in sorted(COLUMNS, key=lambda item: item.rank):
        spare = room - _BAR_FIRST if item.rank >= _BESIDE_BAR else room
        if item.width + (GAP if kept else 0) > spare:
            break
        kept.append(item)
        room -= item.width + (GAP if len(kept) > 1 else 0)
    columns = [item for item in COLUMNS if item in kept]
    spare = min(room, _BAR_MOST)
    return [
        replace(item, width=item.width + spare) if item.title == "progress" and spare >= _BAR_LEAST else item
        for item in columns
    ]


def heading(columns: list[Column], sorted_by: str = "", *, reverse: bool = False) -> Line:
    """The line of titles; the column that the table is sorted by has an arrow, down for the highest first."""
    spans: list[Span] = [(" " * MARK, "muted")]
    for number, item in enumerate(columns):
        title = item.title if len(item.title) <= item.width else "done"
        role = "muted"
        if item.title == sorted_by:
            title, role = ("▼" if reverse else "▲") + title[: item.width - 1], "accent"
        right = item.right or title.endswith("done")
        spans.append(((" " * GAP if number else "") + column(title, item.width, right=right), role))
    return tuple(spans)


def column_at(columns: list[Column], x: int) -> Column | None:
    """The column whose heading is at the cell `x`."""
    start = MARK
    for item in columns:
        if start <= x < start + item.width + GAP:
            return item
        start += item.width + GAP
    return None


def row(chunk: ChunkView, columns: list[Column], *, cursor: bool, marked: bool = False) -> Line:
    """A chunk as a line; the cursor's one and marked ones have a sign of their own as well as another background."""
    line: list[Span] = [(("▸" if cursor else " ") + ("●" if marked else " "), "accent")]
    for number, item in enumerate(columns):
        if number:
            line.append((" " * GAP, "text"))
        line.extend(item.cell(chunk, item.width))
    return tuple(line)
