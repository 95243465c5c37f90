"""The table of a run's chunks. Only visible rows that changed are drawn."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews
from tui_runner.engine.states import ChunkState
from tui_runner.tui.actions.list_keys import in_sight, scrolled_to
from tui_runner.tui.run.chunk_rows import (
    COLUMNS,
    MARK,
    NO_CHUNKS,
    ChunkListing,
    ChunkOrder,
    Column,
    column_at,
    heading,
    layout,
    row,
    usual,
)
from tui_runner.tui.widgets.paint import ROLE_CLASSES, merged

_HEADING = 1
"""Lines above the first row; they do not scroll."""


class ChunkTable(ScrollView):
    """A virtual table of chunks with a cursor and marks.

    The cursor stays in the first row until the user moves it. After that, it stays on its chunk when rows move, and the
    view scrolls with it. A command for a chunk also keeps the cursor on that chunk, until the chunk has ended. When the
    user scrolls the view, the cursor moves with the view. So the cursor is always visible, and no key acts on a chunk
    that the user does not see.

    Attributes:
        marked: numbers of the marked chunks.
        sorted_by: title of the column by which the table is sorted; empty for the usual order.
        highest_first: True if the highest value comes first.
        only: the only state whose chunks are listed; None for all states.
    """

    class Opened(Message):
        """Message: open a chunk."""

    class Changed(Message):
        """Message: order, filter or marks have changed, or the cursor has begun or stopped to follow the run."""

    class Moved(Message):
        """Message: the cursor has moved to another chunk."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*ROLE_CLASSES, "table--cursor"}
    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        # The usual order is updated even while the table is sorted: computing all of it at once takes longer than a
        # frame may.
        self._usual = ChunkOrder()
        self._order: ChunkOrder | ChunkListing = self._usual
        self._chunks = NO_CHUNKS
        self.marked: set[int] = set()
        self.sorted_by = ""
        self.highest_first = False
        self.only: ChunkState | None = None
        self._columns: list[Column] = []
        self._cursor: int | None = None
        self._place = 0
        """Last row of the cursor. The cursor stays in this row if its chunk is no longer listed."""
        self._follows = True
        self._commanded: int | None = None
        """The chunk that keeps the cursor until it has ended; then the cursor follows the run again."""

    @property
    def follows(self) -> bool:
        """True if the cursor stays in the first row, beside running chunks; False if it stays with a chunk."""
        return self._follows

    @property
    def cursor_chunk(self) -> ChunkView | None:
        """The chunk under the cursor; None if there is none."""
        place = self._cursor_row
        return None if place is None else self._order.at(place)

    def show(self, chunks: ChunkViews) -> None:
        """Take the chunks of a new snapshot."""
        self._chunks = chunks
        before = len(self._order)
        changed, moved = self._usual.update(chunks)
        if self._order is not self._usual:
            changed, moved = self._order.update(chunks)
        if len(self._order) != before:
            self._fit()
        if self._commanded is not None and (self._commanded >= len(chunks) or chunks.state(self._commanded).ended):
            self.go_to(0)
        if moved:
            if self._follows:
                self._put_cursor(0)
            elif self._cursor_row is None:
                self._put_cursor(self._place)
            self._keep_in_sight()
            self.refresh()
            return
        top = self.scroll_offset.y
        in_sight = range(top, min(top + self._rows_in_sight, len(self._order)))
        self._refresh_rows([place for place in in_sight if self._order.at(place).number in changed])

    def rearrange(self, sorted_by: str = "", *, highest_first: bool = False, only: ChunkState | None = None) -> None:
        """Sort by the column titled `sorted_by`, and list only chunks in state `only`.

        An empty title restores the usual order; None lists chunks in all states.
        """
        self.sorted_by, self.highest_first, self.only = sorted_by, highest_first, only
        key = next((item.key for item in COLUMNS if item.title == sorted_by), None)
        if key is None and only is None:
            self._usual.settle()
            self._order = self._usual
        else:
            self._order = ChunkListing(key or usual, reverse=highest_first, state=only)
            self._order.update(self._chunks)
        self._cursor, self._follows = None, True
        self.go_to(0)
        self._fit()
        self.refresh()
        self.post_message(self.Changed())

    def toggle_mark(self) -> None:
        """Mark or unmark the chunk under the cursor, and go to the next one."""
        chunk = self.cursor_chunk
        if chunk is None:
            return
        self.marked ^= {chunk.number}
        self.post_message(self.Changed())
        place = self._cursor_row
        self.move(1)
        if place is not None:
            self._refresh_rows([place])
        self.hold()

    def mark_all(self) -> None:
        """Mark every listed chunk; if all of them are marked, unmark them."""
        listed = set(self._order.numbers())
        self.marked = set() if listed <= self.marked else self.marked | listed
        self._marks_changed()

    def clear_marks(self) -> None:
        """Remove all marks."""
        self.marked = set()
        self._marks_changed()

    def go_to_chunk(self, number: int) -> None:
        """Move the cursor to a chunk, if it is listed."""
        place = self._order.row_of(number)
        if place is not None:
            self.go_to(place)
            self.hold()

    def _marks_changed(self) -> None:
        self.refresh()
        self.post_message(self.Changed())

    def hold(self) -> None:
        """Keep the cursor on its chunk, because the user moved it there."""
        self._follow(False)

    def hold_commanded(self) -> None:
        """Keep the cursor on its chunk after a command, because the user may give it another command.

        If the cursor followed the run before, it follows it again when the chunk has ended. So a user who only watches
        sees running chunks, not an ended chunk.
        """
        chunk = self.cursor_chunk
        commanded = self._commanded
        if self._follows and chunk is not None and not chunk.state.ended:
            commanded = chunk.number
        self._follow(False)
        self._commanded = commanded

    def _follow(self, follows: bool) -> None:
        self._commanded = None
        if follows != self._follows:
            self._follows = follows
            self.post_message(self.Changed())

    def move(self, rows: int) -> None:
        """Move the cursor down by `rows` rows, up if negative."""
        self.go_to((self._cursor_row or 0) + rows)

    def move_pages(self, pages: int) -> None:
        """Move the cursor by `pages` pages."""
        self.move(pages * max(self._rows_in_sight - 1, 1))

    def go_to(self, place: int) -> None:
        """Move the cursor to row `place`, counted from 0; if there is no such row, to the first or last one."""
        if not len(self._order):
            return
        old = self._cursor_row
        place = self._put_cursor(place)
        # In the first row the cursor follows the run again: a user who presses Home wants to see running chunks.
        self._follow(place == 0)
        self._keep_in_sight()
        self._refresh_rows([place] if old is None else [place, old])

    def go_to_end(self) -> None:
        """Move the cursor to the last row."""
        self.go_to(len(self._order) - 1)

    def render_line(self, y: int) -> Strip:
        """Return a line of the viewport: the heading or a row."""
        width = self.size.width
        base = self.rich_style
        if y < _HEADING:
            return self._strip(heading(self._columns, self.sorted_by, reverse=self.highest_first), width, base)
        place = self.scroll_offset.y + y - _HEADING
        if place >= len(self._order):
            return Strip.blank(width, base)
        chunk = self._order.at(place)
        cursor = chunk.number == self._cursor
        style = self.get_component_rich_style("table--cursor") if cursor else base
        line = row(chunk, self._columns, cursor=cursor, marked=chunk.number in self.marked)
        return self._strip(line, width, style)

    def on_resize(self) -> None:
        """Choose the columns for the new width."""
        self._columns = layout(self.size.width)
        self._fit()
        self._keep_in_sight()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the mouse.

        A click at the left edge marks the chunk, a double click opens it, a click on a heading sorts.
        """
        if event.y < _HEADING:
            column = column_at(self._columns, event.x)
            if column is not None and column.key is not None:
                again = column.title == self.sorted_by
                highest_first = not self.highest_first if again else column.highest_first
                self.rearrange(column.title, highest_first=highest_first, only=self.only)
            return
        place = self.scroll_offset.y + event.y - _HEADING
        if place >= len(self._order):
            return
        self.go_to(place)
        self.hold()
        if event.x < MARK:
            self.toggle_mark()
        elif event.chain > 1:
            self.post_message(self.Opened())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Move the cursor with the view when the view is scrolled, by the mouse or because there are fewer rows."""
        super().watch_scroll_y(old_value, new_value)
        place = self._cursor_row
        if place is None or not self._rows_in_sight:
            return
        seen = in_sight(place, self.scroll_offset.y, self._rows_in_sight)
        if seen != place:
            self._put_cursor(seen)
            self.hold()
            self.refresh()

    def _put_cursor(self, place: int) -> int:
        """Move the cursor to the row nearest to `place`, without scrolling. Return the row."""
        self._place = max(0, min(place, len(self._order) - 1))
        before = self._cursor
        self._cursor = self._order.at(self._place).number if len(self._order) else None
        if self._cursor != before:
            self.post_message(self.Moved())
        return self._place

    @property
    def _cursor_row(self) -> int | None:
        return None if self._cursor is None else self._order.row_of(self._cursor)

    @property
    def _rows_in_sight(self) -> int:
        return max(self.size.height - _HEADING, 0)

    def _keep_in_sight(self) -> None:
        place = self._cursor_row
        if place is None or not self._rows_in_sight:
            return
        self._place = place
        self.scroll_to(y=scrolled_to(place, self.scroll_offset.y, self._rows_in_sight), animate=False)

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
