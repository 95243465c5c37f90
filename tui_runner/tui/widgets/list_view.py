"""A scrolling list of lines with a cursor. A row is drawn when it becomes visible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_runner.tui.actions.list_keys import in_sight, scrolled_to
from tui_runner.tui.widgets.paint import ROLE_CLASSES, Line, RoleStyles, cells, fitted

T = TypeVar("T")

Draw = Callable[[T, int], Line]
"""A function that returns the line of a row, in at most the given number of cells."""


class Rows(ScrollView, RoleStyles, Generic[T]):
    """A list of rows of any type. The view and the cursor move together, so that the cursor is always visible.

    Args:
        draw: returns the line of a row.
        cursor: True for a list with a cursor; False for a list that only scrolls.
        heading: returns the line above the rows, which does not scroll, for a width in cells; None for no heading.
        foot: returns the text of the last line, for the rows below the visible ones; None for no text. The line is
            shown only if not all rows fit.
        title: returns True for a row that is a title, which the cursor skips; None if no row is a title.
        nothing: returns the text that is shown while there are no rows, which must be safe to show; None for no text.
        id: id of the widget.

    Attributes:
        place: index of the row under the cursor; -1 in a list without a cursor.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {*ROLE_CLASSES, "table--cursor"}
    can_focus = False

    class Opened(Message):
        """Message: the user has chosen the row under the cursor with a double click."""

    class Moved(Message):
        """Message: the user has moved the cursor to another row; not posted by `show`."""

    def __init__(
        self,
        draw: Draw[T],
        *,
        cursor: bool = True,
        heading: Callable[[int], Line] | None = None,
        foot: Callable[[Sequence[T]], str] | None = None,
        title: Callable[[T], bool] | None = None,
        nothing: Callable[[], str] | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._heading = heading
        self._foot = foot
        self._title = title
        self._nothing = nothing
        self._rows: Sequence[T] = ()
        self.place = 0 if cursor else -1
        self._has_cursor = cursor

    @property
    def rows(self) -> Sequence[T]:
        """All rows of the list, in their order."""
        return self._rows

    @property
    def current(self) -> T | None:
        """The row under the cursor, or None if there is no row or no cursor."""
        return self._rows[self.place] if 0 <= self.place < len(self._rows) else None

    @property
    def at_end(self) -> bool:
        """True if the last row is visible."""
        return self.scroll_offset.y + self._in_sight >= len(self._rows)

    def show(self, rows: Sequence[T], *, place: int | None = None, above: int = 0) -> None:
        """Replace the rows.

        Args:
            rows: the new rows.
            place: index of the row to which the cursor moves; None to keep the index of the cursor.
            above: number of rows that were added before the visible rows, negative if rows were removed. The view
                scrolls by this number, so that the visible rows stay where they are.
        """
        old, self._rows = self._rows, rows
        if self._has_cursor:
            self.place = max(0, min(self.place if place is None else place, len(rows) - 1))
        if len(old) != len(rows):
            self._fit()
            self.place = self._passing_titles(self.place, 1)
        if above:
            self.scroll_to(y=self.scroll_offset.y + above, animate=False, force=True)  # as in `_keep_in_sight`
            self.refresh()
        top, height = self.scroll_offset.y, self._in_sight
        if place is not None:
            self._keep_in_sight()
        if old[top : top + height] != rows[top : top + height] or not rows:
            self.refresh()

    def redraw(self) -> None:
        """Draw every row again. Call this method when `draw` returns other lines for the same rows."""
        self.refresh()

    def move(self, rows: int) -> None:
        """Move the cursor down by `rows` rows, up if negative. A list without a cursor scrolls."""
        if not self._has_cursor:
            self.scroll_relative(y=rows, animate=False)
        else:
            self.go_to(self.place + rows)

    def move_pages(self, pages: int) -> None:
        """Move the cursor down by `pages` pages, which overlap by a row; up if negative."""
        self.move(pages * max(self._in_sight - 1, 1))

    def go_to(self, place: int) -> None:
        """Move the cursor to the row nearest to `place`, counted from 0. A list without a cursor scrolls to it."""
        place = max(0, min(place, len(self._rows) - 1))
        if not self._has_cursor:
            self.scroll_to(y=place, animate=False)
            return
        old, self.place = self.place, self._passing_titles(place, -1 if place < self.place else 1)
        place = self.place
        self._keep_in_sight()
        top = self.scroll_offset.y - self._above
        self.refresh(*(Region(0, row - top, self.size.width, 1) for row in {old, place}))
        if old != place:
            self.post_message(self.Moved())

    def go_to_end(self) -> None:
        """Go to the last row."""
        self.go_to(len(self._rows) - 1)

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the visible part, from 0: the heading or a row."""
        # Leave the last cell to the scroll bar.
        width, base = self.size.width - self.scrollbar_size_vertical, self.base_style
        if y < self._above and self._heading is not None:
            return self.strip(fitted(self._heading(width), width), width, base)
        if not self._rows and self._nothing is not None and y - self._above == self._in_sight // 2:
            text = fitted(((self._nothing(), "muted"),), width)
            return self.strip(((" " * ((width - cells(text)) // 2), "muted"), *text), width, base)
        place = self.scroll_offset.y + y - self._above
        if self._foot is not None and y - self._above >= self._in_sight:
            hidden = self._foot(self._rows[self.scroll_offset.y + self._in_sight :])
            return self.strip(fitted(((f"  {hidden}", "muted"),), width), width, base)
        if place >= len(self._rows):
            return Strip.blank(width, base)
        here = place == self.place
        style = self.component_style("table--cursor") if here else base
        room = width - 2 if self._has_cursor else width
        line = fitted(self._draw(self._rows[place], room), room)
        if self._has_cursor:
            line = (("▸ " if here else "  ", "accent"), *line)
        return self.strip(line, width, style)

    def on_resize(self) -> None:
        """Fit the rows into the new size."""
        self._fit()
        if self._has_cursor:
            self._keep_in_sight()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Move the cursor into the visible rows, after the mouse or a shorter list has scrolled the view."""
        super().watch_scroll_y(old_value, new_value)
        if not self._has_cursor or not self._in_sight or not self._rows:
            return
        seen = in_sight(self.place, self.scroll_offset.y, self._in_sight)
        if seen != self.place:
            self.place = self._passing_titles(min(seen, len(self._rows) - 1), 1 if seen > self.place else -1)
            self.refresh()
            self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row under the mouse. A double click chooses the row."""
        place = self.scroll_offset.y + event.y - self._above
        inside = self._above <= event.y < self._above + self._in_sight
        if inside and place < len(self._rows) and self._has_cursor:
            if self._title is not None and self._title(self._rows[place]):
                return
            self.go_to(place)
            if event.chain > 1:
                self.post_message(self.Opened())

    @property
    def _above(self) -> int:
        return 0 if self._heading is None else 1

    @property
    def _in_sight(self) -> int:
        return max(self.size.height - self._above - self._below, 0)

    @property
    def _below(self) -> int:
        """Lines of the foot."""
        room = self.size.height - self._above
        return 1 if self._foot is not None and 1 < room < len(self._rows) else 0

    def _fit(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows) + self._above + self._below)

    def _keep_in_sight(self) -> None:
        if self._in_sight:
            # If all rows above the cursor are titles, scroll to the top, so that the titles are visible too.
            place = 0 if self.place == self._passing_titles(0, 1) < self._in_sight else self.place
            # Without `force`, Textual does not scroll a list that has grown and has no scroll bar yet.
            self.scroll_to(y=scrolled_to(place, self.scroll_offset.y, self._in_sight), animate=False, force=True)

    def _passing_titles(self, place: int, direction: int) -> int:
        """Return the index of a row that is not a title: the nearest one from `place` on.

        The rows in `direction` (1 for down, -1 for up) are searched first, then the rows in the opposite direction.
        """
        if self._title is None:
            return place
        for step in (direction, -direction):
            at = place
            while 0 <= at < len(self._rows):
                if not self._title(self._rows[at]):
                    return at
                at += step
        return place
