"""The table of a run's chunks. It draws only visible rows that have changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

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
from tui_runner.tui.widgets.paint import ROLE_CLASSES, RoleStyles

_HEADING = 1
"""Lines of the heading above the rows, which does not scroll."""


class ChunkTable(ScrollView, RoleStyles):
    """A table of chunks with a cursor and marks. It has no widgets for its rows, so it may have any number of them.

    At first the cursor follows the run: it stays in the first row, where the running chunks are. After the user has
    moved it, the cursor stays on its chunk when rows move, and the view scrolls with it. A command for a chunk also
    keeps the cursor on that chunk, until the chunk has ended. When the user scrolls the view, the cursor moves with the
    view. So the cursor is always visible, and no key acts on a chunk that the user does not see.

    Args:
        changed: called when the order, the filter, the marks, or `follows` has changed. What it draws is in the same
            frame as the change; with a message, it would be a frame later.
        id: id of the widget.

    Attributes:
        marked: numbers of the marked chunks.
        sorted_by: title of the column by which the table is sorted; empty for the usual order.
        highest_first: True if the highest value of that column comes first.
        only: the only state whose chunks are listed; None for chunks in all states.
    """

    class Opened(Message):
        """Message: the user has chosen the chunk under the cursor with a double click."""

    class Moved(Message):
        """Message: the cursor has moved to another chunk."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*ROLE_CLASSES, "table--cursor"}
    can_focus = False

    def __init__(self, changed: Callable[[], None], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._changed = changed
        # Update the usual order even while the table has another one. To compute all of it at once, when the user
        # returns to it, would delay the key by more than a frame.
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
        """The last known row of the cursor. If the cursor's chunk is no longer listed, the cursor stays in this row."""
        self._follows = True
        self._commanded: int | None = None
        """Number of the chunk on which the cursor stays because of a command. When this chunk has ended, the cursor
        follows the run again. None if there is no such chunk."""

    @property
    def follows(self) -> bool:
        """True if the cursor follows the run: it stays in the first row. False if it stays on its chunk."""
        return self._follows

    @property
    def cursor_chunk(self) -> ChunkView | None:
        """The chunk under the cursor, or None if no chunk is listed."""
        place = self._cursor_row
        return None if place is None else self._order.at(place)

    def show(self, chunks: ChunkViews) -> None:
        """Show the chunks of a new snapshot."""
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
        """Sort and filter the table.

        Args:
            sorted_by: title of the column by which to sort; empty for the usual order.
            highest_first: True if the highest value of that column comes first.
            only: the only state whose chunks are listed; None for chunks in all states.
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
        self._changed()

    def toggle_mark(self) -> None:
        """Mark the chunk under the cursor, or remove its mark. Then move the cursor to the next row."""
        chunk = self.cursor_chunk
        if chunk is None:
            return
        self.marked ^= {chunk.number}
        place = self._cursor_row
        self.move(1)
        if place is not None:
            self._refresh_rows([place])
        self.hold()
        self._changed()

    def mark_all(self) -> None:
        """Mark all listed chunks. If all of them are marked already, remove all marks."""
        listed = set(self._order.numbers())
        self.marked = set() if listed <= self.marked else self.marked | listed
        self._marks_changed()

    def clear_marks(self) -> None:
        """Remove all marks."""
        self.marked = set()
        self._marks_changed()

    def go_to_chunk(self, number: int) -> None:
        """Move the cursor to the chunk with this number, if it is listed."""
        place = self._order.row_of(number)
        if place is not None:
            self.go_to(place)
            self.hold()

    def _marks_changed(self) -> None:
        self.refresh()
        self._changed()

    def hold(self) -> None:
        """Keep the cursor on its chunk from now on, because the user has moved it there."""
        self._follow(False)

    def hold_commanded(self) -> None:
        """Keep the cursor on its chunk after a command, because the user may give the chunk another command.

        If the cursor has followed the run before, it will do so again when the chunk has ended. So a user who only
        watches sees running chunks, not a chunk that has ended.
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
            self._changed()

    def move(self, rows: int) -> None:
        """Move the cursor down by `rows` rows, up if negative."""
        self.go_to((self._cursor_row or 0) + rows)

    def move_pages(self, pages: int) -> None:
        """Move the cursor down by `pages` pages, which overlap by a row; up if negative."""
        self.move(pages * max(self._rows_in_sight - 1, 1))

    def go_to(self, place: int) -> None:
        """Move the cursor to the row nearest to `place`, counted from 0.

        From then on, a cursor in row 0 stays there, where the running chunks are; elsewhere it stays on its chunk.
        """
        if not len(self._order):
            return
        old = self._cursor_row
        place = self._put_cursor(place)
        # A user who goes to the first row wants to see running chunks, so let the cursor follow the run again.
        self._follow(place == 0)
        self._keep_in_sight()
        self._refresh_rows([place] if old is None else [place, old])

    def go_to_end(self) -> None:
        """Move the cursor to the last row."""
        self.go_to(len(self._order) - 1)

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the visible part, from 0: the heading or a row."""
        width = self.size.width
        base = self.base_style
        if y < _HEADING:
            return self.strip(heading(self._columns, self.sorted_by, reverse=self.highest_first), width, base)
        place = self.scroll_offset.y + y - _HEADING
        if place >= len(self._order):
            return Strip.blank(width, base)
        chunk = self._order.at(place)
        cursor = chunk.number == self._cursor
        style = self.component_style("table--cursor") if cursor else base
        line = row(chunk, self._columns, cursor=cursor, marked=chunk.number in self.marked)
        return self.strip(line, width, style)

    def on_resize(self) -> None:
        """Choose the columns that fit into the new width, and keep the cursor visible."""
        self._columns = layout(self.size.width)
        self._fit()
        self._keep_in_sight()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row under the mouse.

        A click at the left end of a row also marks the chunk, and a double click opens it. A click on a heading sorts
        the table by its column.
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
        """Move the cursor into the visible rows, after the mouse or a shorter list has scrolled the view."""
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
        """Move the cursor to the row nearest to `place`, without scrolling, and return this row."""
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
        old, size = self.virtual_size, Size(self.size.width, len(self._order) + _HEADING)
        if self.show_vertical_scrollbar and size.width == old.width and size.height >= old.height:
            # With a scroll bar already, more rows move nothing on the screen. A new `virtual_size` would make Textual
            # lay out the whole screen, which takes 12 ms, with each snapshot that has new chunks.
            self.set_reactive(ChunkTable.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
        else:
            self.virtual_size = size

    def _refresh_rows(self, places: list[int]) -> None:
        top = self.scroll_offset.y
        lines = {place - top for place in places if 0 <= place - top < self._rows_in_sight}
        if lines:
            self.refresh(*(Region(0, line + _HEADING, self.size.width, 1) for line in sorted(lines)))
