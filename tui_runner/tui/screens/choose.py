"""A choice among a few things. The engine goes on while it is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui_runner.tui.action import Place
from tui_runner.tui.actions import bindings, keys_of
from tui_runner.tui.dialog import Dialog
from tui_runner.tui.moving import Movable, Moving
from tui_runner.tui.paint import Line
from tui_runner.tui.widgets.rows import Rows

_FRAME = 8
"""Lines of the box besides its rows."""
_TIGHT_FRAME = 4
"""The same without blank lines."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Something to choose: what it is called, a remark beside it, and what choosing it returns. Texts must be safe."""

    label: str
    remark: str
    value: object


class Choose(Moving, Dialog[object]):
    """Ask which one; the result is the value of the choice, None for Escape.

    Args:
        question: one short line.
        choices: what there is to choose from.
        place: the one that is under the cursor at first.
        preview: called with the value under the cursor whenever it moves.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.CHOICE, Place.LIST)]

    def __init__(
        self,
        question: str,
        choices: Sequence[Choice],
        place: int = 0,
        preview: Callable[[object], None] | None = None,
    ) -> None:
        super().__init__()
        self._question = question
        self._choices = choices
        self._place = place
        self._preview = preview

    def compose(self) -> ComposeResult:
        """The question and the choices."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            yield Rows[Choice](_line, id="choices")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """List the choices, and name the keys."""
        self.query_one("#consequence", Static).update(Content(keys_of(self, Place.CHOICE)))
        self.on_resize()
        self.query_one(Rows).show(self._choices, place=self._place)

    def on_resize(self) -> None:
        """As many rows as there is room for; blank lines go first."""
        tight = len(self._choices) + _FRAME > self.size.height
        self.set_class(tight, "-tight")
        room = self.size.height - (_TIGHT_FRAME if tight else _FRAME)
        self.query_one(Rows).styles.height = max(min(len(self._choices), room), 1)

    def on_rows_moved(self) -> None:
        """Show what the choice would do."""
        current = self.query_one(Rows).current
        if self._preview is not None and current is not None:
            self._preview(current.value)

    def on_rows_opened(self) -> None:
        """Choose with the mouse."""
        self.action_choose()

    def list_in_use(self) -> Movable:
        """The choices."""
        return self.query_one(Rows)

    def action_choose(self) -> None:
        """Answer with the choice under the cursor."""
        current = self.query_one(Rows).current
        self.dismiss(None if current is None else current.value)

    def action_cancel(self) -> None:
        """Answer with nothing."""
        self.dismiss(None)


def _line(choice: Choice, width: int) -> Line:
    return ((choice.label, "text"), ("  " + choice.remark, "muted"))
