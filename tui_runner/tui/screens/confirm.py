"""A question with two answers. The engine goes on while it is open."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from tui_runner.tui.action import Place
from tui_runner.tui.actions import bindings, key_of
from tui_runner.tui.dialog import Dialog

_TIGHT = 16
"""Terminals with fewer lines than this get the question without blank lines."""
_NARROW = 56
"""Terminals with fewer cells have the answers one above the other."""


class Confirm(Dialog[bool]):
    """Ask for a decision; the result is True for yes, False for no and for Escape.

    The answer that changes nothing has the focus. Texts must be safe to show; they are not markup.

    Args:
        question: one short line.
        consequence: what follows from yes.
        yes: what yes does, a word or three.
        no: what no does.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.QUESTION)]
    OUTSIDE = "no"

    def __init__(self, question: str, consequence: str, yes: str, no: str) -> None:
        super().__init__()
        self._question = question
        self._consequence = consequence
        self._yes = yes
        self._no = no

    def compose(self) -> ComposeResult:
        """The question, what follows, and the two answers."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            yield Static(Content(self._consequence), id="consequence")
            with Horizontal(id="answers"):
                yield Button(Content(self._yes), id="yes", compact=True)
                yield Button(Content(self._no), id="no", compact=True)

    def on_mount(self) -> None:
        """Name the keys, and focus the answer that changes nothing."""
        for name in ("yes", "no"):
            button, key = self.query_one(f"#{name}", Button), key_of(self, f"question.{name}")
            button.label = Content(f"{button.label} ({key})")
        self.query_one("#no", Button).focus()

    def on_resize(self) -> None:
        """Leave out blank lines on low terminals, and stack the answers on narrow ones."""
        self.set_class(self.size.width < _NARROW, "-narrow")
        self.set_class(self.size.height < _TIGHT, "-tight")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button that was pressed."""
        event.stop()
        self.dismiss(event.button.id == "yes")

    def action_yes(self) -> None:
        """Answer yes."""
        self.dismiss(True)

    def action_no(self) -> None:
        """Answer no."""
        self.dismiss(False)

    def action_other(self) -> None:
        """Move the focus to the other answer."""
        self.focus_next()
