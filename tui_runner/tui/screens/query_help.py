"""What the keys of the query screen do, made from the list of its actions."""

from __future__ import annotations

from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui_runner.tui.actions import shown_key
from tui_runner.tui.query_actions import QUERY_ACTIONS, QueryPlace

_KEYS = 12
"""Cells of the column of keys."""
_CATALOG = (("Enter", "Open a table; put a column's name into the editor."), ("i", "Put the name into the editor."),
            ("s", "Show the rows of the table."))  # fmt: skip


def query_help(width: int) -> Content:
    """Every action beside its keys, by where it applies; `width` cells wide."""
    lines: list[Content] = []
    for place in QueryPlace:
        lines.append(Content.styled(str(place), "bold"))
        for action in (action for action in QUERY_ACTIONS if action.place is place):
            lines += _entry(" ".join(shown_key(key) for key in action.keys[:2]), action.help, width)
        lines.append(Content(""))
    lines.append(Content.styled("catalog", "bold"))
    for keys, help in _CATALOG:
        lines += _entry(keys, help, width)
    return Content("\n").join(lines)


def _entry(keys: str, help: str, width: int) -> list[Content]:
    first, *rest = wrap(help, max(width - _KEYS, 10))
    return [
        Content.assemble((f"{keys:<{_KEYS}}", "$text-primary"), first),
        *(Content(" " * _KEYS + line) for line in rest),
    ]


class QueryHelp(ModalScreen[None]):
    """The keys of every action of the query screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter,space", "close", "close"),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def compose(self) -> ComposeResult:
        """The text in a box that scrolls."""
        with Vertical(id="box"), VerticalScroll():
            yield Static(id="text")

    def on_resize(self) -> None:
        """Wrap the text anew."""
        self.call_after_refresh(self._wrap)

    def _wrap(self) -> None:
        text = self.query_one("#text", Static)
        # One cell less, for the scroll bar that may come or go.
        text.update(query_help(text.size.width - 1))

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
