"""Carries out the keys of lists: they move a cursor, or scroll a text. Every screen with a list uses this module."""

from __future__ import annotations

from typing import Protocol

from textual.containers import ScrollableContainer


def in_sight(place: int, top: int, height: int) -> int:
    """Return the row nearest to `place` among the `height` visible rows from `top` on."""
    return max(top, min(place, top + height - 1))


def scrolled_to(place: int, top: int, height: int) -> int:
    """Return the first visible row, as near to `top` as possible, that keeps row `place` visible in `height` rows."""
    return max(place - height + 1, min(place, top))


class Movable(Protocol):
    """A list with a cursor, or a text that scrolls."""

    def move(self, rows: int, /) -> None:
        """Move down by `rows` rows, up if negative."""

    def move_pages(self, pages: int, /) -> None:
        """Move down by `pages` pages, up if negative."""

    def go_to_end(self) -> None:
        """Go to the last row."""


class Scrolled:
    """A scrolling text without a cursor.

    Args:
        text: the widget that scrolls.
    """

    def __init__(self, text: ScrollableContainer) -> None:
        self._text = text

    def move(self, rows: int, /) -> None:
        """Scroll by `rows` lines."""
        self._text.scroll_relative(y=rows, animate=False)

    def move_pages(self, pages: int, /) -> None:
        """Scroll by `pages` pages, which overlap by a line."""
        self.move(pages * max(self._text.size.height - 1, 1))

    def go_to_end(self) -> None:
        """Scroll to the last line."""
        self._text.scroll_end(animate=False)


class ListNavigation:
    """Carries out the actions of lists, on the current list."""

    def list_in_use(self) -> Movable:
        """Return the list, or the text, that the keys move now."""
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
        self.list_in_use().move(-1_000_000_000)

    def action_last_row(self) -> None:
        """Go to the last row."""
        self.list_in_use().go_to_end()
