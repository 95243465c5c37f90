"""Carries out the actions that move the cursor of a list or scroll a text, for every screen with a list."""

from __future__ import annotations

from typing import Protocol

from textual.containers import ScrollableContainer


def in_sight(place: int, top: int, height: int) -> int:
    """Return the visible row that is nearest to `place`. Visible are `height` rows, the first of them `top`."""
    return max(top, min(place, top + height - 1))


def scrolled_to(place: int, top: int, height: int) -> int:
    """Return the first visible row after scrolling as little as possible to make row `place` visible.

    Args:
        place: row that must be visible.
        top: the first visible row before scrolling.
        height: number of visible rows.
    """
    return max(place - height + 1, min(place, top))


class Movable(Protocol):
    """A list with a cursor, or a text that scrolls. The actions of lists call these methods."""

    def move(self, rows: int, /) -> None:
        """Move the cursor, or scroll, down by `rows` rows; up if negative."""

    def move_pages(self, pages: int, /) -> None:
        """Move the cursor, or scroll, down by `pages` pages; up if negative."""

    def go_to_end(self) -> None:
        """Move the cursor, or scroll, to the last row."""


class Scrolled:
    """A `Movable` for a scrolling text, which has no cursor.

    Args:
        text: the container that scrolls.
    """

    def __init__(self, text: ScrollableContainer) -> None:
        self._text = text

    def move(self, rows: int, /) -> None:
        """Scroll down by `rows` lines, up if negative."""
        self._text.scroll_relative(y=rows, animate=False)

    def move_pages(self, pages: int, /) -> None:
        """Scroll down by `pages` pages, which overlap by a line; up if negative."""
        self.move(pages * max(self._text.size.height - 1, 1))

    def go_to_end(self) -> None:
        """Scroll to the last line."""
        self._text.scroll_end(animate=False)


class ListNavigation:
    """A mixin for screens, which carries out the actions of lists on the list that `list_in_use` returns."""

    def list_in_use(self) -> Movable:
        """Return the list with the cursor that the keys move now, or the text that they scroll."""
        raise NotImplementedError

    def action_cursor_down(self) -> None:
        """Move the cursor down."""
        self.list_in_use().move(1)

    def action_cursor_up(self) -> None:
        """Move the cursor up."""
        self.list_in_use().move(-1)

    def action_page_down(self) -> None:
        """Move the cursor down by a page."""
        self.list_in_use().move_pages(1)

    def action_page_up(self) -> None:
        """Move the cursor up by a page."""
        self.list_in_use().move_pages(-1)

    def action_first_row(self) -> None:
        """Go to the first row."""
        self.list_in_use().move(-1_000_000_000)  # more rows than any list has

    def action_last_row(self) -> None:
        """Go to the last row."""
        self.list_in_use().go_to_end()
