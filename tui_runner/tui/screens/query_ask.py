"""Small questions of the query screen: a choice from a list, and texts to be typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from tui_runner.safe_text import safe_text


@dataclass(frozen=True, slots=True)
class Pick:
    """Something to choose: a label, a remark beside it; both are made safe here."""

    label: str
    remark: str = ""


class PickOne(ModalScreen[int | None]):
    """Ask which one; the result is its place in the list, None for Escape.

    Args:
        question: one short line.
        picks: what there is to choose from.
        place: the one under the cursor at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "cancel", "cancel"),
        Binding("j", "move(1)", show=False),
        Binding("k", "move(-1)", show=False),
    ]

    def __init__(self, question: str, picks: Sequence[Pick], place: int = 0) -> None:
        super().__init__()
        self._question = question
        self._picks = picks
        self._place = place

    def compose(self) -> ComposeResult:
        """The question and the list."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            yield OptionList(
                *(
                    Option(
                        Content.assemble(
                            safe_text(pick.label, limit=300), ("   " + safe_text(pick.remark, limit=300), "dim")
                        )
                    )
                    for pick in self._picks
                ),
                id="picks",
                markup=False,
            )

    def on_mount(self) -> None:
        """Put the cursor on its first place."""
        picks = self.query_one("#picks", OptionList)
        picks.highlighted = self._place if self._picks else None
        picks.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer with what was chosen."""
        event.stop()
        self.dismiss(event.option_index)

    def action_move(self, places: int) -> None:
        """Move the cursor, for hands that stay on the letters."""
        picks = self.query_one("#picks", OptionList)
        (picks.action_cursor_down if places > 0 else picks.action_cursor_up)()

    def action_cancel(self) -> None:
        """Choose nothing."""
        self.dismiss(None)


class AskTexts(ModalScreen[list[str] | None]):
    """Ask for texts, one for each label; the result is None for Escape.

    Args:
        question: one short line.
        labels: what each text is.
        values: what stands there at first.
        hint: a line below, about all of them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "cancel")]

    def __init__(self, question: str, labels: Sequence[str], values: Sequence[str] = (), hint: str = "") -> None:
        super().__init__()
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
                    yield Input(value, compact=True)
            yield Static(Content(self._hint), id="hint")

    def on_mount(self) -> None:
        """Begin with the first."""
        self.query(Input).first().focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next text, or answer after the last."""
        event.stop()
        inputs = list(self.query(Input))
        place = inputs.index(event.input)
        if place + 1 < len(inputs):
            inputs[place + 1].focus()
        else:
            self.dismiss([each.value for each in inputs])

    def action_cancel(self) -> None:
        """Answer nothing."""
        self.dismiss(None)
