"""A question that is answered with a text or a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from tui_runner.tui.action import Place
from tui_runner.tui.actions import bindings
from tui_runner.tui.dialog import Dialog
from tui_runner.tui.widgets.text_field import TextField


class Ask(Dialog[str | None]):
    """Ask for a text; None for Escape. Texts of the program itself only, or safe ones.

    Args:
        question: one short line.
        value: what stands there at first.
        check: why a text will not do, empty for one that does; what is typed is checked as it is typed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.FIELD)]

    def __init__(self, question: str, value: str = "", check: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._question = question
        self._value = value
        self._check = check

    def compose(self) -> ComposeResult:
        """The question and the line to type into."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            yield TextField(self._value, id="answer", compact=True, select_on_focus=True)
            yield Static(Content(""), id="complaint")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what is wrong."""
        self.query_one("#complaint", Static).update(Content(self._complaint(event.value)))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer, if the text will do."""
        event.stop()
        if not self._complaint(event.value):
            self.dismiss(event.value)

    def action_cancel(self) -> None:
        """Answer with nothing."""
        self.dismiss(None)

    def action_next(self) -> None:
        """There is one field only."""

    action_previous = action_next

    def _complaint(self, text: str) -> str:
        return self._check(text) if self._check else ""
