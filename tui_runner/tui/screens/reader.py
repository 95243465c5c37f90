"""A text to be read in full."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui_runner.safe_text import safe_text
from tui_runner.tui.paint import Line
from tui_runner.tui.widgets.rows import Rows

_LONGEST = 200_000
"""Characters that are shown; a traceback beyond that is a machine's."""


class Reader(ModalScreen[None]):
    """Shows a text that scrolls. The text is made safe here.

    Args:
        title: one line.
        text: what is to be read.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "close"),
        Binding("down,j", "move(1)", show=False),
        Binding("up,k", "move(-1)", show=False),
        Binding("pagedown,space", "pages(1)", show=False),
        Binding("pageup,b", "pages(-1)", show=False),
        Binding("home,g", "move(-1000000)", show=False),
        Binding("end,G", "move(1000000)", show=False),
        Binding("c", "copy", "copy"),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title_text = safe_text(title, limit=200)
        self._text = safe_text(text, newlines=True, limit=_LONGEST)

    def compose(self) -> ComposeResult:
        """The title and the text."""
        with Vertical(id="box"):
            yield Static(Content(self._title_text), id="question")
            yield Rows[str](_line, cursor=False, id="text")
            yield Static(Content("c copy   Esc close"), id="consequence")

    def on_resize(self) -> None:
        """Wrap the text anew."""
        self.call_after_refresh(self._wrap)

    def _wrap(self) -> None:
        rows = self.query_one(Rows)
        rows.show(wrapped(self._text, max(rows.size.width - 1, 10)))

    def action_move(self, rows: int) -> None:
        """Scroll by lines."""
        self.query_one(Rows).move(rows)

    def action_pages(self, pages: int) -> None:
        """Scroll by pages."""
        self.query_one(Rows).move_pages(pages)

    def action_copy(self) -> None:
        """Copy the whole text."""
        self.app.copy_to_clipboard(self._text)
        self.notify("copied (by OSC 52; the terminal must allow it)", markup=False, timeout=4)

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)


def wrapped(text: str, width: int) -> Sequence[str]:
    """The lines of a safe text in at most `width` cells each; the blanks at their beginnings stay."""
    lines: list[str] = []
    for line in text.split("\n"):
        lines += wrap(line, width, replace_whitespace=False, drop_whitespace=False, break_on_hyphens=False) or [""]
    return lines


def _line(text: str, width: int) -> Line:
    return ((text, "text"),)
