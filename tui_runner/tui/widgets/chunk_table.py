"""The chunks of a run as a table that draws only what is in sight, and of that only what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_runner.engine.snapshot import ChunkView
from tui_runner.tui.paint import ROLE_CLASSES, merged
from tui_runner.tui.widgets.chunk_columns import Column, heading, layout, row
from tui_runner.tui.widgets.chunk_order import ChunkOrder

_HEADING = 1
"""Lines above the first row; they do not scroll."""


class ChunkTable(ScrollView):
    """A virtual table of chunks with a cursor.

    The cursor stays with its chunk when rows move. Until it is moved by hand, it keeps to the first row.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {*ROLE_CLASSES, "table--cursor"}
    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._order = ChunkOrder()
        self._columns: list[Column] = []
        self._cursor: int | None = None
        self._follows = True

    @property
    def cursor_chunk(self) -> ChunkView | None:
        """The chunk under the cursor."""
        place = self._cursor_row
        return None if place is None else self._order.at(place)

    def show(self, chunks: Sequence[ChunkView]) -> None:
        """Take the chunks of a new snapshot."""
        was_in_sight = self._cursor_in_sight()
        before = len(self._order)
        changed, moved = self._order.update(chunks)
        if len(self._order) != before:
            self._fit()
        if moved:
            if self._follows or self._cursor_row is None:
                self._cursor = self._order.at(0).number if len(self._order) else None
            elif was_in_sight:
                self._keep_in_sight()
            self.refresh()
            return
        rows = (self._order.row_of(number) for number in changed)
        self._refresh_rows([place for place in rows if place is not None])

    def hold(self) -> None:
        """Keep the cursor with its chunk from now on: a command was given for it, another may follow."""
        self._follows = False

    def move(self, rows: int) -> None:
        """Move the cursor down by so many rows, up if negative."""
        self.go_to((self._cursor_row or 0) + rows)

    def move_pages(self, pages: int) -> None:
        """Move the cursor by so many pages."""
        self.move(pages * max(self._rows_in_sight - 1, 1))

    def go_to(self, place: int) -> None:
        """Put the cursor into a row, from 0; or into the nearest one there is."""
        if not len(self._order):
            return
        place = min(max(place, 0), len(self._order) - 1)
        old = self._cursor_row
        self._cursor = self._order.at(place).number
        # At the very top it follows the run again: whoever goes home wants to see what runs.
        self._follows = place == 0
        self._keep_in_sight()
        self._refresh_rows([place] if old is None else [place, old])

    def go_to_end(self) -> None:
        """Put the cursor into the last row."""
        self.go_to(len(self._order) - 1)

    def render_line(self, y: int) -> Strip:
        """A line of the viewport: the heading, or the row that is scrolled to there."""
        width = self.size.width
        base = self.rich_style
        if y < _HEADING:
            return self._strip(heading(self._columns), width, base)
        place = self.scroll_offset.y + y - _HEADING
        if place >= len(self._order):
            return Strip.blank(width, base)
        chunk = self._order.at(place)
        cursor = chunk.number == self._cursor
        style = self.get_component_rich_style("table--cursor") if cursor else base
        return self._strip(row(chunk, self._columns, cursor=cursor), width, style)

    def on_resize(self) -> None:
        """Choose the columns anew."""
        self._columns = layout(self.size.width)
        self._fit()
        self._keep_in_sight()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is."""
        place = self.scroll_offset.y + event.y - _HEADING
        if event.y < _HEADING or place >= len(self._order):
            return
        self.go_to(place)
        self.hold()

    @property
    def _cursor_row(self) -> int | None:
        return None if self._cursor is None else self._order.row_of(self._cursor)

    @property
    def _rows_in_sight(self) -> int:
        return max(self.size.height - _HEADING, 0)

    def _cursor_in_sight(self) -> bool:
        place = self._cursor_row
        return place is not None and 0 <= place - self.scroll_offset.y < self._rows_in_sight

    def _keep_in_sight(self) -> None:
        place = self._cursor_row
        if place is None or not self._rows_in_sight:
            return
        top = self.scroll_offset.y
        if place < top:
            self.scroll_to(y=place, animate=False)
        elif place >= top + self._rows_in_sight:
            self.scroll_to(y=place - self._rows_in_sight + 1, animate=False)

    def _fit(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._order) + _HEADING)

    def _refresh_rows(self, places: list[int]) -> None:
        top = self.scroll_offset.y
        lines = {place - top for place in places if 0 <= place - top < self._rows_in_sight}
        if lines:
            self.refresh(*(Region(0, line + _HEADING, self.size.width, 1) for line in sorted(lines)))

    def _strip(self, line: tuple[tuple[str, str], ...], width: int, style: Style) -> Strip:
        back = Style(bgcolor=style.bgcolor)
        segments = [
            Segment(text, self.get_component_rich_style(f"paint--{role}") + back) for text, role in merged(line)
        ]
        return Strip(segments).adjust_cell_length(width, style)
