"""A dialog in which the user reads a long text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import bindings, keys_of
from tui_runner.tui.actions.list_keys import ListNavigation, Movable
from tui_runner.tui.actions.model import Place
from tui_runner.tui.dialogs import Dialog
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import Line

_CARETS = re.compile(r" {4,}[~^]+")
"""Matches the lines of a traceback that mark a part of the line above with `^` and `~`."""
_LONGEST = 200_000
"""Most characters that are shown. Laying them out takes a second, and no user reads more of a traceback."""

_USUAL_WIDTH = 80
"""Cells of a line for a text that is copied before the dialog knows its width."""
_LEAST_LOW = 15
"""Lines of a low dialog on a terminal with less than 45 lines: the statistics of a column have eleven lines."""
_AROUND_TEXT = 4
"""Lines of the dialog around the text: the border, the title and the keys."""


class Reader(ListNavigation, Dialog[None]):
    """A dialog with a long text that scrolls.

    Args:
        title: one line. The dialog makes it safe.
        text: the text to read, or a function that returns it for lines of the given number of cells. The dialog makes
            it safe.
        low: True for a short text about what the screen shows: the dialog is at the top and takes at most a third of
            the height, or `_LEAST_LOW` lines.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.READER, Place.LIST)]
    OUTSIDE = "close"

    def __init__(self, title: str, text: str | Callable[[int], str], *, low: bool = False) -> None:
        super().__init__(classes="-low" if low else None)
        self._is_low = low
        self._title_text = safe_text(title, limit=200)
        self._given = text
        self._text = self._for_width(_USUAL_WIDTH)

    def compose(self) -> ComposeResult:
        """Yield the title and the text."""
        with Vertical(id="box"):
            yield Static(Content(self._title_text), id="question")
            yield Rows[str](_line, cursor=False, id="text")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """Show the keys."""
        self.query_one("#consequence", Static).update(Content(keys_of(self, Place.READER)))

    def on_resize(self) -> None:
        """Wrap the text for the new width."""
        self.call_after_refresh(self._wrap)

    def renew(self, title: str) -> None:
        """Show `title` and the text that the given function returns now. The lines stay scrolled as they are."""
        self._title_text = safe_text(title, limit=200)
        if self.is_mounted:
            self.query_one("#question", Static).update(Content(self._title_text))
            self._wrap()

    def _wrap(self) -> None:
        rows = self.query_one(Rows)
        width = max(rows.size.width - 1, 10)
        self._text = self._for_width(width)
        lines = wrapped(self._text, width)
        if self._is_low:
            self.query_one("#box").styles.height = min(
                len(lines) + _AROUND_TEXT, max(self.size.height // 3, _LEAST_LOW)
            )
        rows.show(lines)

    def _for_width(self, width: int) -> str:
        text = self._given if isinstance(self._given, str) else self._given(width)
        return safe_text(text, newlines=True, limit=_LONGEST)

    def list_in_use(self) -> Movable:
        """Return the text, which the keys of lists scroll."""
        return self.query_one(Rows)

    def action_copy(self) -> None:
        """Copy the whole text, of which at most `_LONGEST` characters are shown and copied."""
        self.app.copy_to_clipboard(self._text)
        self.notify("copied (by OSC 52; the terminal must allow it)", markup=False, timeout=4)  # s, to read one line

    def action_close(self) -> None:
        """Close the dialog."""
        self.dismiss(None)


def wrapped(text: str, width: int) -> Sequence[str]:
    """Return the lines of a safe text, wrapped to at most `width` characters. Blanks at the start of a line stay.

    A line of carets in a traceback is omitted if it is longer than `width`: the line above it is wrapped, so the carets
    would point at the wrong place.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        if len(line) > width and _CARETS.fullmatch(line):
            continue
        lines += wrap(line, width, replace_whitespace=False, drop_whitespace=False, break_on_hyphens=False) or [""]
    return lines


def _line(text: str, width: int) -> Line:
    return ((text, "text"),)
