"""The map of a run, with one cell for each chunk, and a legend. A large terminal has room for 20,000 chunks.

If there are more chunks than cells, a cell stands for several neighbouring chunks, and the legend says how many. The
look of such a cell (see `paint.py`) is decided in this order:

1. If a chunk is running or paused, the cell has its look.
2. If any items have failed, the cell shows their share of the ended items in it. The look of a single chunk would say
   little, because of fifty chunks, one nearly always has failed items.
3. Otherwise, the cell has the most urgent look of its chunks (`_URGENT`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby

from textual import events

from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews
from tui_runner.engine.states import ChunkState
from tui_runner.text.numbers import count, percent
from tui_runner.tui.run.chunk_rows import NO_CHUNKS, chunk_name
from tui_runner.tui.run.chunk_table import ChunkTable
from tui_runner.tui.widgets.paint import (
    FEW_FAILED,
    LOOKS,
    MANY_FAILED,
    MOVED,
    Line,
    PaintedWidget,
    Span,
    fitted,
    look,
    words,
)

HARDLY_FAILED = "hardly failed"
"""Look of a cell of several chunks in which at most one per cent of the ended items failed."""
CELLS: dict[str, tuple[str, str]] = {**LOOKS, HARDLY_FAILED: ("▵", "warn")}
"""The glyph and the role of each look of a cell. Those of chunks are the same as in the table."""

_SHARES = ((0.1, MANY_FAILED), (0.01, FEW_FAILED), (0.0, HARDLY_FAILED))
"""Looks of a cell of several chunks with failed items. Each applies above the share of failed items before it."""
_URGENT: tuple[str, ...] = (
    ChunkState.RUNNING,
    ChunkState.PAUSED,
    MANY_FAILED,
    FEW_FAILED,
    ChunkState.CANCELLED,
    ChunkState.WAITING,
    ChunkState.DONE,
    MOVED,
)
"""The looks of chunks, the most urgent one first."""
MARKED = "marked"
"""Look of a cell that has a chunk which is marked in the table. It replaces every other look, so that the user sees
which chunks a command would reach."""
_RANK = {look: rank for rank, look in enumerate(_URGENT)}
"""Index of each look in `_URGENT`."""
_MARK = "●"
"""The character of a cell with a marked chunk."""
_STEPS = (1, 2, 5)
"""The number of chunks in a cell is one of these numbers times a power of ten, so that the legend has round numbers."""
_LEGEND = 1
"""Lines of the legend above the map."""


def chunks_a_cell(chunks: int, cells: int) -> int:
    """Return the number of chunks that a cell stands for, so that `chunks` chunks fit into `cells` cells.

    It is the smallest sufficient one of 1, 2, 5, 10, 20, 50, …
    """
    power = 1
    while True:
        for step in _STEPS:
            if chunks <= step * power * max(cells, 1):
                return step * power
        power *= 10


class ChunkMap(PaintedWidget):
    """A map of chunks with a cursor.

    The cursor is on one chunk, which the legend names and to which commands apply. If the user moves the cursor to a
    cell of several chunks, it goes to the most urgent of them; among equally urgent ones, to the one with the most
    failed items.
    """

    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._chunks = NO_CHUNKS
        self._cells: list[str] = []
        self._counts: Counter[str] = Counter()
        self._each = 0
        """Number of chunks that a cell stands for; 0 while the map has no size, so that the number is unknown."""
        self._cursor = 0
        self._marked: set[int] = set()

    @property
    def cursor_chunk(self) -> ChunkView | None:
        """The chunk under the cursor, or None if the run has no chunk yet."""
        return self._chunks[self._cursor] if self._cursor < len(self._chunks) else None

    def show(self, chunks: ChunkViews) -> None:
        """Show the chunks of a new snapshot."""
        old, self._chunks = self._chunks, chunks
        if not self.size.area:
            self._each = 0
        elif self._each != self._each_now() or len(chunks) < len(old):
            self._count()
        else:
            self._recount(old)
        self.repaint()

    def _recount(self, old: ChunkViews) -> None:
        """Update the cells of the chunks that differ from `old`, the chunks of the last snapshot."""
        chunks, cells = self._chunks, set[int]()
        for number in chunks.changed_since(old):
            now = chunks[number]
            if number < len(old):
                before = old[number]
                if _cell_data(before) == _cell_data(now):
                    continue
                self._counts[look(before)] -= 1
            self._counts[look(now)] += 1
            cells.add(number // self._each)
        for cell in sorted(cells):
            # A cell after the last one is appended. Because the cells are in order, none is left out.
            self._cells[cell : cell + 1] = [self._look_of(cell)]

    def mark(self, numbers: set[int]) -> None:
        """Show the cells of the chunks with these numbers as marked, and no others."""
        self._marked = set(numbers)
        self.repaint()

    def go_to_chunk(self, number: int) -> None:
        """Move the cursor to the chunk with this number."""
        self._cursor = max(0, min(number, len(self._chunks) - 1))
        self.repaint()

    def move(self, cells: int) -> None:
        """Move the cursor forward by `cells` cells, backward if negative."""
        if not self._each:
            self._count()
        self._go_to_cell(max(0, min(self._cursor // self._each + cells, len(self._cells) - 1)))

    def move_lines(self, lines: int) -> None:
        """Move the cursor down by `lines` lines, up if negative."""
        self.move(lines * max(self.size.width, 1))

    def move_pages(self, pages: int) -> None:
        """Move the cursor down by `pages` quarters of the map's height, up if negative."""
        self.move_lines(pages * max((self.size.height - _LEGEND) // 4, 1))

    def go_to_end(self) -> None:
        """Move the cursor to the last cell."""
        self.move(len(self._chunks))

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the legend, and the lines of cells below it."""
        if self._each != self._each_now():
            self._count()
        cells = len(self._cells)
        starts = range(0, min(cells, width * (height - _LEGEND)), width)
        marked = {number // self._each for number in self._marked}
        rows = (self._row(start, min(start + width, cells), marked) for start in starts)
        lines = [fitted(self._legend(), width), *rows]
        return lines + [()] * (height - len(lines))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the cell under the mouse. A double click opens the chunk under the cursor."""
        cell = (event.y - _LEGEND) * self.size.width + event.x
        if event.y < _LEGEND or cell >= len(self._cells):
            return
        self._go_to_cell(cell)
        if event.chain > 1:
            self.post_message(ChunkTable.Opened())

    def _go_to_cell(self, cell: int) -> None:
        if cell != self._cursor // self._each:
            mates = ((_RANK[look(chunk)], -chunk.failed, chunk.number) for chunk in self._mates(cell))
            self._cursor = min(mates)[-1]
            self.post_message(ChunkTable.Moved())
        self.repaint()

    def _mates(self, cell: int) -> Iterable[ChunkView]:
        """Yield the chunks of a cell. Use each view before the next one is yielded, because it is the same object."""
        return self._chunks.scan(cell * self._each, (cell + 1) * self._each)

    def _each_now(self) -> int:
        return chunks_a_cell(len(self._chunks), self.size.width * (self.size.height - _LEGEND))

    def _count(self) -> None:
        """Compute the number of chunks in a cell, the look of every cell, and the counts for the legend."""
        self._each = self._each_now()
        self._counts = Counter(map(look, self._chunks.scan()))
        cells = -(-len(self._chunks) // self._each)
        self._cells = [self._look_of(cell) for cell in range(cells)]
        self._cursor = max(0, min(self._cursor, len(self._chunks) - 1))

    def _look_of(self, cell: int) -> str:
        if self._each == 1:
            return look(self._chunks[cell])
        ranks, failed, ended = set[int](), 0, 0
        for chunk in self._mates(cell):
            ranks.add(_RANK[look(chunk)])
            failed += chunk.failed
            ended += chunk.done + chunk.failed
        most_urgent = _URGENT[min(ranks)]
        if most_urgent in (ChunkState.RUNNING, ChunkState.PAUSED) or not failed:
            return most_urgent
        return next(each for share, each in _SHARES if failed > share * ended)

    def _row(self, start: int, end: int, marked: set[int]) -> Line:
        spans: list[Span] = []
        place, cursor = start, self._cursor // self._each
        looks = self._cells[start:end]
        if marked:
            looks = [MARKED if cell in marked else look for cell, look in enumerate(looks, start)]
        for each, run in groupby(looks):
            length = sum(1 for _ in run)
            text, role = (_MARK, "accent") if each == MARKED else CELLS[each]
            text *= length
            if place <= cursor < place + length:
                before = cursor - place
                spans += [
                    (text[:before], role),
                    (text[before], "cursor"),
                    (text[before + 1 :], role),
                ]
            else:
                spans.append((text, role))
            place += length
        return tuple(span for span in spans if span[0])

    def _legend(self) -> Line:
        spans: list[Span] = [("  ", "text")]
        chunk = self.cursor_chunk
        if chunk is not None:
            spans.append((f"{chunk_name(chunk.number)} {words(chunk)}  ", "strong"))
        if self._marked:
            spans.append((f"{_MARK} {len(self._marked)} marked  ", "accent"))
        counts = self._counts
        if self._each > 1:
            figures = [(chunk.failed, chunk.done + chunk.failed) for chunk in self._mates(self._cursor // self._each)]
            failed, ended = (sum(column) for column in zip(*figures, strict=True))
            if failed:
                here = f"cell: {percent(failed, ended)} failed ({count(failed)} of {count(ended)} items)  "
                spans.append((here, "strong"))
            spans.append((f"1 cell = {self._each} chunks  ", "accent"))
            if any_failed := counts[MANY_FAILED] + counts[FEW_FAILED]:
                counts = Counter({each: n for each, n in counts.items() if each not in (MANY_FAILED, FEW_FAILED)})
                spans.append((f" failed {count(any_failed)}:", "muted"))
                for share, each in _SHARES:
                    glyph, role = CELLS[each]
                    meaning = f"> {100 * share:g} %" if share else "less of its items "
                    spans += [(f" {glyph} ", role), (meaning, "muted")]
        for each in _URGENT:
            if counts[each]:
                glyph, role = CELLS[each]
                spans += [(f" {glyph} ", role), (f"{each} {count(counts[each])} ", "muted")]
        return tuple(spans)


def _cell_data(chunk: ChunkView) -> tuple[str, int]:
    """Return the data of a chunk on which its cell depends: its look and the number of its failed items."""
    return look(chunk), chunk.failed
