"""Small questions of the query screen: a choice from a list, and texts to be typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from tui_runner.errors import UserError
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.action import Place
from tui_runner.tui.actions import bindings, key_of, keys_of
from tui_runner.tui.dialog import Dialog
from tui_runner.tui.screens.choose import Choice, Choose
from tui_runner.tui.widgets.text_field import TextField


@dataclass(frozen=True, slots=True)
class Pick:
    """Something to choose: a label, a remark beside it; both are made safe here."""

    label: str
    remark: str = ""


def pick_one(
    app: App[Any], question: str, picks: Sequence[Pick], chosen: Callable[[int], object], place: int = 0
) -> None:
    """Ask which one; nothing happens when none is taken.

    Args:
        app: shows the question.
        question: one short line.
        picks: what there is to choose from.
        chosen: told the place in the list of what was chosen.
        place: the one under the cursor at first.
    """

    def answered(value: object) -> None:
        if isinstance(value, int):
            chosen(value)

    choices = [
        Choice(safe_text(pick.label, limit=300), safe_text(pick.remark, limit=300), number)
        for number, pick in enumerate(picks)
    ]
    screen = Choose(question, choices, place)
    screen.add_class("-wide")
    app.push_screen(screen, answered)


class AskTexts(Dialog[list[str] | None]):
    """Ask for texts, one for each label; the result is None for Escape.

    Args:
        question: one short line.
        labels: what each text is.
        values: what stands there at first.
        hint: a line below, about all of them.
        check: told the texts before the dialog closes; a UserError of it is shown, and the dialog stays as it is.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.FIELD)]

    def __init__(
        self,
        question: str,
        labels: Sequence[str],
        values: Sequence[str] = (),
        hint: str = "",
        *,
        check: Callable[[list[str]], object] = list,
    ) -> None:
        super().__init__()
        self._check = check
        self._question = question
        self._labels = labels
        self._values = [*values, *[""] * (len(labels) - len(values))]
        self._hint = hint

    def compose(self) -> ComposeResult:
        """The question and a line for each text."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            with VerticalScroll(id="texts"):
                for label, value in zip(self._labels, self._values, strict=True):
                    yield Static(Content(safe_text(label, limit=200)), classes="label")
                    yield TextField(value, compact=True)
            yield Static(id="mistake")
            yield Static(Content(self._hint), id="hint")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """Name the keys, and begin with the first."""
        keys = keys_of(self, Place.FIELD) if len(self._labels) > 1 else f"{key_of(self, 'field.cancel')} cancel"
        self.query_one("#consequence", Static).update(Content(f"Enter applies   {keys}"))
        self._complain("")
        self.query(Input).first().focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next text, or answer after the last."""
        event.stop()
        inputs = list(self.query(Input))
        place = inputs.index(event.input)
        if place + 1 < len(inputs):
            inputs[place + 1].focus()
            return
        texts = [each.value for each in inputs]
        try:
            self._check(texts)
        except UserError as error:
            self._complain(str(error))
        else:
            self.dismiss(texts)

    def on_input_changed(self) -> None:
        """What was wrong is being mended."""
        self._complain("")

    def _complain(self, text: str) -> None:
        mistake = self.query_one("#mistake", Static)
        mistake.update(Content(f"▲ {safe_text(text, limit=400)}" if text else ""))
        mistake.display = bool(text)

    def action_cancel(self) -> None:
        """Answer nothing."""
        self.dismiss(None)

    def action_next(self) -> None:
        """Go to the next text."""
        self.focus_next(Input)

    def action_previous(self) -> None:
        """Go to the text before."""
        self.focus_previous(Input)
