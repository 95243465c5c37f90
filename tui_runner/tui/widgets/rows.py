"""A list of lines that scrolls and has a cursor. What a row looks like is made when it comes into sight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_runner.tui.paint import ROLE_CLASSES, Line, fitted, merged

T = TypeVar("T")

Draw = Callable[[T, int], Line]
"""A row as a line of at most so many cells."""


class Rows(ScrollView, Generic[T]):
    """Rows of anything.

    Args:
        draw: makes a row's line.
        cursor: whether a row is under a cursor; a list without one only scrolls.
        heading: the line above the rows, for a width; it does not scroll.
        id: of the widget.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {*ROLE_CLASSES, "table--cursor"}
    can_focus = False

    class Opened(Message):
        """A row was chosen with the mouse."""

    class Moved(Message):
        """The cursor is on another row."""

    def __init__(
        self,
        draw: Draw[T],
        *,
        cursor: bool = True,
        heading: Callable[[int], Line] | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._heading = heading
        self._rows: Sequence[T] = ()
        self.place = 0 if cursor else -1
        self._has_cursor = cursor

    @property
    def rows(self) -> Sequence[T]:
        """What is listed."""
        return self._rows

    @property
    def current(self) -> T | None:
        """The row under the cursor."""
        return self._rows[self.place] if 0 <= self.place < len(self._rows) else None

    @property
    def at_end(self) -> bool:
        """Whether the last row is in sight."""
        return self.scroll_offset.y + self._in_sight >= len(self._rows)

    def show(self, rows: Sequence[T], *, place: int | None = None) -> None:
        """List these rows, with the cursor on one of them; where it was, if none is given."""
        old, self._rows = self._rows, rows
        if self._has_cursor:
            self.place = max(0, min(self.place if place is None else place, len(rows) - 1))
        if len(old) != len(rows):
            self._fit()
        top, height = self.scroll_offset.y, self._in_sight
        if place is not None:
            self._keep_in_sight()
        if old[top : top + height] != rows[top : top + height]:
            self.refresh()

    def redraw(self) -> None:
        """Draw every row anew: what `draw` makes of them has changed."""
        self.refresh()

    def move(self, rows: int) -> None:
        """Move the cursor down by so many rows, or scroll where there is none."""
        if not self._has_cursor:
            self.scroll_relative(y=rows, animate=False)
        else:
            self.go_to(self.place + rows)

    def move_pages(self, pages: int) -> None:
        """Move by so many pages."""
        self.move(pages * max(self._in_sight - 1, 1))

    def go_to(self, place: int) -> None:
        """Put the cursor into a row, from 0, or into the nearest one there is."""
        place = max(0, min(place, len(self._rows) - 1))
        if not self._has_cursor:
            self.scroll_to(y=place, animate=False)
            return
        old, self.place = self.place, place
        self._keep_in_sight()
        top = self.scroll_offset.y - self._above
        self.refresh(*(Region(0, row - top, self.size.width, 1) for row in {old, place}))
        if old != place:
            self.post_message(self.Moved())

    def go_to_end(self) -> None:
        """Go to the last row."""
        self.go_to(len(self._rows) - 1)

    def render_line(self, y: int) -> Strip:
        """A line of the viewport."""
        width, base = self.size.width, self.rich_style
        if y < self._above and self._heading is not None:
            return self._strip(fitted(self._heading(width), width), width, base)
        place = self.scroll_offset.y + y - self._above
        if place >= len(self._rows):
            return Strip.blank(width, base)
        here = place == self.place
        style = self.get_component_rich_style("table--cursor") if here else base
        room = width - 2 if self._has_cursor else width
        line = fitted(self._draw(self._rows[place], room), room)
        if self._has_cursor:
            line = (("▸ " if here else "  ", "accent"), *line)
        return self._strip(line, width, style)

    def on_resize(self) -> None:
        """Fit the rows into the new size."""
        self._fit()
        if self._has_cursor:
            self._keep_in_sight()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; with two clicks, choose."""
        place = self.scroll_offset.y + event.y - self._above
        if event.y >= self._above and place < len(self._rows) and self._has_cursor:
            self.go_to(place)
            if event.chain > 1:
                self.post_message(self.Opened())

    @property
    def _above(self) -> int:
        return 0 if self._heading is None else 1

    @property
    def _in_sight(self) -> int:
        return max(self.size.height - self._above, 0)

    def _fit(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows) + self._above)

    def _keep_in_sight(self) -> None:
        top = self.scroll_offset.y
        if self.place < top:
            self.scroll_to(y=self.place, animate=False)
        elif self._in_sight and self.place >= top + self._in_sight:
            self.scroll_to(y=self.place - self._in_sight + 1, animate=False)

    def _strip(self, line: Line, width: int, style: Style) -> Strip:
        back = Style(bgcolor=style.bgcolor)
        segments = [
            Segment(text, self.get_component_rich_style(f"paint--{role}") + back) for text, role in merged(line)
        ]
        return Strip(segments).adjust_cell_length(width, style)
