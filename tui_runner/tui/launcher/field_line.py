"""A field of the form on the screen: its name, its text and its unit, and below these its error or help."""

from __future__ import annotations

import textwrap

from rich.cells import cell_len
from textual.app import ComposeResult

from tui_runner.text.safe_text import safe_text
from tui_runner.tui.launcher.details import LABEL, MARGIN, VALUE
from tui_runner.tui.launcher.fields import SETTINGS, Field
from tui_runner.tui.terminal.key_order import TextField
from tui_runner.tui.widgets.paint import Line, PaintedWidget, column, end_of, fitted, own

INLINE = 50
"""Cells of the form from which all parameters show their help; in a narrower form, only the focused field does."""
_INDENT = MARGIN + LABEL
_NOTE = 300
"""Most characters of an error or help, so that a long docstring does not fill the form."""


class FieldLine(PaintedWidget):
    """A text field, with its name, unit, error and help painted by one widget.

    A form may have twenty fields. With a widget for each of these texts, it would take a tenth of a second to appear.

    Args:
        classes: style classes.
    """

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__()
        self.set_classes(classes or "")
        self.field = Field("", "", "", "", "")
        self.input = TextField(compact=True, valid_empty=True)
        self._width = 0
        self._complaint = self._warning = ""
        self._note: list[str] = []

    def compose(self) -> ComposeResult:
        """Yield the text field."""
        yield self.input

    @property
    def is_wrong(self) -> bool:
        """True if an error is shown."""
        return bool(self._complaint)

    def show(self, field: Field, text: str, width: int) -> None:
        """Show `field` in place of the previous one, with `text` typed into it, in a line of `width` cells."""
        self.field, self._complaint = field, ""
        self.input.password = field.secret
        self.input.value = text
        self.input.cursor_position = len(text)
        self.display = True
        self.fit(width)

    def fit(self, width: int) -> None:
        """Fit the texts into `width` cells."""
        self._width = width
        unset = safe_text(self.field.unset, limit=_NOTE)
        room = max(width - _INDENT - 3, 12)
        if self.field.kind == "database":  # the file's name, at the end of its path, matters most
            unset = end_of(unset, room)
        elif cell_len(unset) > room:
            unset = column(unset, room)
        self.input.placeholder = f"({unset})" if unset else "(needed)" if self.field.required else ""
        self.explain()

    def complain(self, text: str) -> None:
        """Show an error below the field; an empty `text` removes it. A typed text removes the warning."""
        if text != self._complaint or self._warning != self._due_warning:
            self._complaint = text
            self.explain()

    @property
    def _due_warning(self) -> str:
        return "" if self.input.value.strip() else self.field.warning

    def explain(self) -> None:
        """Show the error below the field.

        Without an error, show the warning about the default of an empty field. Without a warning, show the help of a
        field that has the focus, and of every parameter in a wide form. The help of a setting in a wide form is shown
        below the field only if it does not fit beside it.
        """
        inline = self._width >= INLINE
        wanted = (inline and self.field.kind == "parameter") or self.input.has_focus
        is_beside = inline and self.field.section == SETTINGS and cell_len(own(self.field.remark)) <= self._beside
        self._warning = self._due_warning
        text = self._complaint or self._warning or (self.field.remark if wanted and not is_beside else "")
        room = max(self._width - _INDENT - 1, 12)
        self._note = textwrap.wrap(safe_text(text, limit=_NOTE), room, break_on_hyphens=False)
        # Each change of the height causes a layout, which is slow.
        if self.styles.height is None or self.styles.height.value != 1 + len(self._note):
            self.styles.height = 1 + len(self._note)
        self.repaint()

    @property
    def _beside(self) -> int:
        """Cells that remain to the right of a setting for its unit."""
        return self._width - _INDENT - VALUE - 2

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the lines of the widget: the name and unit beside the text field, then the error or help."""
        focused = self.input.has_focus
        mark = " *" if self.field.required else ""
        name = column(own(self.field.name, LABEL - len(mark) - 1) + mark, LABEL)
        line: Line = (("▌" if focused else " ", "key"), (name, "key" if focused else "text"))
        if self._width >= INLINE and self.field.section == SETTINGS:
            line = (*line, (" " * (VALUE + 2), "text"), (own(self.field.remark), "muted"))
        role = "bad" if self._complaint else "warn" if self._warning else "muted"
        notes: list[Line] = [((" " * _INDENT, "text"), (note, role)) for note in self._note]
        return [fitted(each, width) for each in (line, *notes)]
