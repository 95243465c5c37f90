"""Dialogs that ask the user: for yes or no, for a choice, or for texts. A run continues while a dialog is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from tui_runner.errors import UserError
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import BY_ID, bindings, key_of, keys_of, shown_key
from tui_runner.tui.actions.list_keys import ListNavigation, Movable
from tui_runner.tui.actions.model import Place
from tui_runner.tui.dialogs import Dialog
from tui_runner.tui.terminal.key_order import TextField
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import BETWEEN, Line, spread, without_middle

_TIGHT = 16
"""Lines of a terminal below which a question has no blank lines. With them, its box takes about 12 lines, or 13 if the
answers are stacked."""
_NARROW = 56
"""Cells of a terminal below which the two answers are stacked, because two long answers do not fit side by side."""


class Confirm(Dialog[bool]):
    """A question with two answers. The result is True for yes, and False for no or Escape.

    At first the focus is on the answer no, which changes nothing. The texts must be safe to show; they are not markup.

    Args:
        question: one short line.
        consequence: what happens after the answer yes.
        yes: label of the answer yes, one to three words.
        no: label of the answer no.
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
        """Yield the question, the consequence, and the two answers."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            yield Static(Content(self._consequence), id="consequence")
            yield Static(id="hint")
            with Horizontal(id="answers"):
                yield Button(Content(self._yes), id="yes", compact=True)
                yield Button(Content(self._no), id="no", compact=True)

    def on_mount(self) -> None:
        """Show the keys, and focus the answer no, which changes nothing."""
        for name in ("yes", "no"):
            button, key = self.query_one(f"#{name}", Button), key_of(self, f"question.{name}")
            button.label = Content(f"{button.label} ({key})")
        escape = self.active_bindings.get("escape")
        is_bound = escape is not None and escape.binding.id == "question.no"
        key = shown_key("escape") if is_bound else key_of(self, "question.no")
        # Enter and Tab are keys of Textual's buttons, which the keymap does not change.
        self.query_one("#hint", Static).update(Content(f"Enter answers   Tab moves   {key} changes nothing"))
        self.query_one("#no", Button).focus()

    def on_resize(self) -> None:
        """Omit blank lines on low terminals, and stack the answers on narrow terminals."""
        self.set_class(self.size.width < _NARROW, "-narrow")
        self.set_class(self.size.height < _TIGHT, "-tight")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Give the answer whose button was pressed."""
        event.stop()
        self.dismiss(event.button.id == "yes")

    def action_yes(self) -> None:
        """Give the answer yes."""
        self.dismiss(True)

    def action_no(self) -> None:
        """Give the answer no."""
        self.dismiss(False)

    def action_other(self) -> None:
        """Move the focus to the other answer."""
        self.focus_next()


_FRAME = 8
"""Lines that the box of a choice takes besides its rows: the border, the question, the keys, and four blank lines."""
_TIGHT_FRAME = 4
"""Lines that the box of a choice takes besides its rows if it has no blank lines."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers of `Choose`.

    Attributes:
        label: text of the choice, which must be safe to show.
        remark: text beside the label, which must be safe to show.
        value: result of the dialog if the user makes this choice.
        text: further text that `Search` finds; it is not shown.
    """

    label: str
    remark: str
    value: object
    text: str = ""

    @property
    def searched(self) -> str:
        """All text in which `Search` finds words, in lower case."""
        return f"{self.label} {self.remark} {self.text}".lower()


class Choose(ListNavigation, Dialog[object]):
    """A list of choices. The result is the value of the choice that the user makes, or None after Escape.

    Args:
        question: one short line.
        choices: the possible answers.
        place: index of the choice under the cursor at first.
        preview: called with the value of the choice under the cursor whenever the cursor moves; None for no preview.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.CHOICE, Place.LIST)]
    BESIDE: ClassVar[int] = 0
    """Lines that a subclass adds to the box, besides the rows and `_FRAME`."""

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
        """Yield the question and the choices."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            yield Rows[Choice](_line, id="choices")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """List the choices, and show the keys."""
        self.query_one("#consequence", Static).update(Content(self.keys()))
        self.on_resize()
        self.query_one(Rows).show(self._choices, place=self._place)

    def keys(self) -> str:
        """Return the line of keys below the choices."""
        return keys_of(self, Place.CHOICE)

    def on_resize(self) -> None:
        """Give the rows as many lines as fit. If not all rows fit, omit the blank lines of the box."""
        tight = len(self._choices) + self.BESIDE + _FRAME > self.size.height
        self.set_class(tight, "-tight")
        room = self.size.height - self.BESIDE - (_TIGHT_FRAME if tight else _FRAME)
        self.query_one(Rows).styles.height = max(min(len(self._choices), room), 1)

    def on_rows_moved(self) -> None:
        """Call `preview` with the choice to which the cursor has moved."""
        current = self.query_one(Rows).current
        if self._preview is not None and current is not None:
            self._preview(current.value)

    def on_rows_opened(self) -> None:
        """Answer with the choice that was chosen with the mouse."""
        self.action_choose()

    def list_in_use(self) -> Movable:
        """Return the list of choices, in which the keys move the cursor."""
        return self.query_one(Rows)

    def action_choose(self) -> None:
        """Answer with the choice under the cursor."""
        current = self.query_one(Rows).current
        self.dismiss(None if current is None else current.value)

    def action_cancel(self) -> None:
        """Close without a choice."""
        self.dismiss(None)


def _line(choice: Choice, width: int) -> Line:
    return ((choice.label, "text"), ("  " + choice.remark, "muted"))


class Search(Choose):
    """A list of many choices with a field for words.

    The list shows only choices that contain all words in the field. The arrows move the cursor of the list.
    """

    BESIDE = 1

    def compose(self) -> ComposeResult:
        """Yield the question, the field, and the matching choices."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            yield TextField(id="words", compact=True, placeholder="type to search")
            yield Rows[Choice](_spread_line, nothing=lambda: "nothing has all of these words", id="choices")
            yield Static(id="consequence")

    def keys(self) -> str:
        """Return the line of keys below the choices. It has no keys that are letters, because the field takes these."""
        return f"Enter {BY_ID['choice.choose'].label}   ↓ ↑ move   {key_of(self, 'choice.cancel')} cancel"

    def on_input_changed(self, event: Input.Changed) -> None:
        """List the choices that contain all words in the field, with the cursor on the first of them."""
        words = event.value.lower().split()
        fitting = [each for each in self._choices if all(word in each.searched for word in words)]
        self.query_one(Rows).show(fitting, place=0)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer with the choice under the cursor. Do nothing if no choice is listed."""
        event.stop()
        if self.query_one(Rows).current is not None:
            self.action_choose()


def _spread_line(choice: Choice, width: int) -> Line:
    # Cut a long label, not the remark: the remark has the time and the outcome of an earlier statement. The label loses
    # its middle: statements that were run one after the other often differ at their ends only.
    room = width - cell_len(choice.remark) - BETWEEN if choice.remark else width
    return spread(((without_middle(choice.label, room), "text"),), ((choice.remark, "muted"),), width)


class Ask(Dialog[str | None]):
    """A dialog with one text field. The result is the text, or None after Escape.

    Args:
        question: one short line, which must be safe to show.
        value: the initial text, which must be safe to show.
        check: returns the reason why a text is refused, or an empty text for a valid one; called after every change,
            and before the dialog closes. None to accept every text.
        secret: True to hide the typed text.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.FIELD)]

    def __init__(
        self, question: str, value: str = "", check: Callable[[str], str] | None = None, *, secret: bool = False
    ) -> None:
        super().__init__()
        self._secret = secret
        self._question = question
        self._value = value
        self._check = check

    def compose(self) -> ComposeResult:
        """Yield the question and the input line."""
        with Vertical(id="box"):
            yield Static(Content(self._question), id="question")
            yield TextField(self._value, id="answer", compact=True, select_on_focus=True, password=self._secret)
            yield Static(Content(""), id="complaint")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """Show the keys."""
        keys = f"Enter applies   {key_of(self, 'field.cancel')} cancel"
        self.query_one("#consequence", Static).update(Content(keys))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the reason why the text is refused, or remove the last reason."""
        self.query_one("#complaint", Static).update(Content(self._complaint(event.value)))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer with the text if it is valid."""
        event.stop()
        if not self._complaint(event.value):
            self.dismiss(event.value)

    def action_cancel(self) -> None:
        """Close without an answer."""
        self.dismiss(None)

    def action_next(self) -> None:
        """Do nothing, because there is only one field."""

    action_previous = action_next

    def _complaint(self, text: str) -> str:
        return self._check(text) if self._check else ""


@dataclass(frozen=True, slots=True)
class Pick:
    """One of the answers of `pick_one`. Its texts may be unsafe, because `pick_one` makes them safe.

    Attributes:
        label: text of the choice.
        remark: text beside the label.
        text: further text that a search finds; it is not shown.
    """

    label: str
    remark: str = ""
    text: str = ""


def pick_one(
    app: App[Any],
    question: str,
    picks: Sequence[Pick],
    chosen: Callable[[int], object],
    place: int = 0,
    *,
    search: bool = False,
) -> None:
    """Ask the user to choose, and call `chosen` with the choice. After Escape, `chosen` is not called.

    Args:
        app: shows the question.
        question: one short line.
        picks: the possible answers.
        chosen: called with the index of the choice in `picks`.
        place: index of the choice under the cursor at first.
        search: True to let the user search the choices by typing words.
    """

    def answered(value: object) -> None:
        if isinstance(value, int):
            chosen(value)

    choices = [
        Choice(safe_text(pick.label, limit=300), safe_text(pick.remark, limit=300), number, pick.text)
        for number, pick in enumerate(picks)
    ]
    screen = (Search if search else Choose)(question, choices, place)
    screen.add_class("-wide")
    app.push_screen(screen, answered)


class AskTexts(Dialog[list[str] | None]):
    """A dialog with several text fields. The result is the list of their texts, or None after Escape.

    Args:
        question: one short line.
        labels: the label of each field.
        values: the initial text of each field; fields without a value are empty.
        hint: a line below the fields.
        check: called with the texts before the dialog closes. If it raises `UserError`, the error is shown, and the
            dialog stays open.
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
        """Yield the question, the fields with their labels, and lines for an error, the hint and the keys."""
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
        """Show the keys, and focus the first field."""
        keys = keys_of(self, Place.FIELD) if len(self._labels) > 1 else f"{key_of(self, 'field.cancel')} cancel"
        self.query_one("#consequence", Static).update(Content(f"Enter applies   {keys}"))
        self._complain("")
        self.query(Input).first().focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next field. After the last field, answer with the texts if they are valid."""
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
        """Remove the error message, because the user has changed a text."""
        self._complain("")

    def _complain(self, text: str) -> None:
        mistake = self.query_one("#mistake", Static)
        mistake.update(Content(f"▲ {safe_text(text, limit=400)}" if text else ""))
        mistake.display = bool(text)

    def action_cancel(self) -> None:
        """Close without an answer."""
        self.dismiss(None)

    def action_next(self) -> None:
        """Go to the next field."""
        self.focus_next(Input)

    def action_previous(self) -> None:
        """Go to the previous field."""
        self.focus_previous(Input)
