"""The chunks of a run as a map: one cell a chunk, and a legend. Of 20,000 chunks it shows all at a glance.

Where chunks are more than cells, a cell stands for several neighbours and shows the state that asks for attention
most; the legend says for how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import compress, groupby
from operator import is_not

from textual import events

from tui_runner.engine.chunk import ChunkState
from tui_runner.engine.snapshot import ChunkView
from tui_runner.formatting import count
from tui_runner.tui.glyphs import CHUNK_GLYPHS
from tui_runner.tui.paint import Line, PaintedWidget, Span, fitted
from tui_runner.tui.widgets.chunk_columns import chunk_name
from tui_runner.tui.widgets.chunk_table import ChunkTable

CELLS = {**CHUNK_GLYPHS, ChunkState.WAITING: "·", ChunkState.DONE: "■"}
"""What a state looks like here: the two that fill most of a map are calm."""

_URGENT = (
    ChunkState.RUNNING,
    ChunkState.FAILED,
    ChunkState.PAUSED,
    ChunkState.CANCELLED,
    ChunkState.WAITING,
    ChunkState.DONE,
)
"""Of several chunks in a cell, the first of these states that one of them has is shown."""
_RANK = {state: rank for rank, state in enumerate(_URGENT)}
_STEPS = (1, 2, 5)
_LEGEND = 1


def chunks_a_cell(chunks: int, cells: int) -> int:
    """How many chunks a cell stands for: the smallest of 1, 2, 5, 10, 20, … with which all of them fit."""
    power = 1
    while True:
        for step in _STEPS:
            if chunks <= step * power * max(cells, 1):
                return step * power
        power *= 10


class ChunkMap(PaintedWidget):
    """A map of chunks with a cursor."""

    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._chunks: Sequence[ChunkView] = ()
        self._cells: list[ChunkState] = []
        self._counts: Counter[ChunkState] = Counter()
        self._each = 1
        self._cursor = 0

    @property
    def cursor_chunk(self) -> ChunkView | None:
        """The chunk under the cursor; of several in a cell the one that gives it its look."""
        mates = self._chunks[self._cursor * self._each : (self._cursor + 1) * self._each]
        return min(mates, key=lambda chunk: _RANK[chunk.state], default=None)

    def show(self, chunks: Sequence[ChunkView]) -> None:
        """Take the chunks of a new snapshot."""
        old, self._chunks = self._chunks, chunks
        if self._each != self._each_now() or len(chunks) != len(old):
            self._count()
        else:
            changed = compress(range(len(chunks)), map(is_not, old, chunks))
            moved = [number for number in changed if old[number].state is not chunks[number].state]
            for number in moved:
                self._counts[old[number].state] -= 1
                self._counts[chunks[number].state] += 1
            for cell in {number // self._each for number in moved}:
                self._cells[cell] = self._state_of(cell)
        self.repaint()

    def go_to_chunk(self, number: int) -> None:
        """Put the cursor on a chunk."""
        self._cursor = max(0, min(number // self._each, len(self._cells) - 1))
        self.repaint()

    def move(self, cells: int) -> None:
        """Move the cursor by so many cells, back if negative."""
        self._cursor = max(0, min(self._cursor + cells, len(self._cells) - 1))
        self.repaint()

    def move_lines(self, lines: int) -> None:
        """Move the cursor down by so many lines, up if negative."""
        self.move(lines * max(self.size.width, 1))

    def move_pages(self, pages: int) -> None:
        """Move the cursor by so many quarters of the map."""
        self.move_lines(pages * max((self.size.height - _LEGEND) // 4, 1))

    def go_to_end(self) -> None:
        """Put the cursor on the last cell."""
        self.move(len(self._cells))

    def paint(self, width: int, height: int) -> list[Line]:
        """The legend and the cells."""
        if self._each != self._each_now():
            self._count()
        cells = len(self._cells)
        starts = range(0, min(cells, width * (height - _LEGEND)), width)
        lines = [fitted(self._legend(), width), *(self._row(start, min(start + width, cells)) for start in starts)]
        return lines + [()] * (height - len(lines))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; with two clicks open the chunk."""
        cell = (event.y - _LEGEND) * self.size.width + event.x
        if event.y < _LEGEND or cell >= len(self._cells):
            return
        self._cursor = cell
        self.repaint()
        if event.chain > 1:
            self.post_message(ChunkTable.Opened())

    def _each_now(self) -> int:
        return chunks_a_cell(len(self._chunks), self.size.width * (self.size.height - _LEGEND))

    def _count(self) -> None:
        """Make every cell anew."""
        under_cursor = self._cursor * self._each
        self._each = self._each_now()
        self._counts = Counter(chunk.state for chunk in self._chunks)
        cells = -(-len(self._chunks) // self._each)
        self._cells = [self._state_of(cell) for cell in range(cells)]
        self._cursor = max(0, min(under_cursor // self._each, cells - 1))

    def _state_of(self, cell: int) -> ChunkState:
        mates = self._chunks[cell * self._each : (cell + 1) * self._each]
        if self._each == 1:
            return mates[0].state
        return _URGENT[min(_RANK[chunk.state] for chunk in mates)]

    def _row(self, start: int, end: int) -> Line:
        spans: list[Span] = []
        place = start
        for state, run in groupby(self._cells[start:end]):
            length = sum(1 for _ in run)
            text = CELLS[state] * length
            if place <= self._cursor < place + length:
                before = self._cursor - place
                spans += [
                    (text[:before], str(state)),
                    (text[before], "cursor"),
                    (text[before + 1 :], str(state)),
                ]
            else:
                spans.append((text, str(state)))
            place += length
        return tuple(span for span in spans if span[0])

    def _legend(self) -> Line:
        spans: list[Span] = [("  ", "text")]
        chunk = self.cursor_chunk
        if chunk is not None:
            spans.append((f"{chunk_name(chunk.number)} {chunk.state}  ", "strong"))
        if self._each > 1:
            spans.append((f"1 cell = {self._each} chunks  ", "accent"))
        for state in _URGENT:
            if self._counts[state]:
                spans += [(f" {CELLS[state]} ", str(state)), (f"{count(self._counts[state])} {state} ", "muted")]
        return tuple(spans)
