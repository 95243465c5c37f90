"""The words that are offered below the cursor of the editor."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.geometry import Offset

from tui_runner.text.safe_text import safe_text
from tui_runner.tui.completion import Word
from tui_runner.tui.paint import Line, PaintedWidget, column

_LINES = 8
_WIDEST = 48
_KIND = 9
"""Cells for the kind of a word, or for the type of a column."""


class Suggestions(PaintedWidget):
    """A list of words, one of them chosen; it takes no focus, the editor's keys move in it."""

    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._words: Sequence[Word] = ()
        self._place = 0
        self.moved = False
        """Whether somebody chose a word, and did not merely go on typing."""
        self.display = False

    @property
    def current(self) -> Word | None:
        """The chosen word, None while nothing is offered."""
        return self._words[self._place] if self._words else None

    def offer(self, words: Sequence[Word], cursor: Offset) -> None:
        """Show words beside the cursor, which is at `cursor` on the screen; no words hide the list."""
        self._words, self._place, self.moved = words, 0, False
        self.display = bool(words)
        if not words:
            return
        room = self.screen.size
        below = room.height - cursor.y - 1
        lines = min(len(words), _LINES, max(below, cursor.y))
        longest = max(cell_len(safe_text(word.text, limit=_WIDEST)) for word in words)
        width = min(longest + _KIND + 4, _WIDEST, room.width)
        y = cursor.y + 1 if lines <= below else cursor.y - lines
        self.styles.width, self.styles.height = width, lines
        self.styles.offset = (max(min(cursor.x, room.width - width), 0), max(y, 0))
        self.repaint()

    def hide(self) -> None:
        """Offer nothing."""
        self.offer((), Offset())

    def move(self, places: int) -> None:
        """Choose another word."""
        if self._words:
            self._place = (self._place + places) % len(self._words)
            self.moved = True
            self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """The words around the chosen one."""
        first = max(0, min(self._place - height // 2, len(self._words) - height))
        lines: list[Line] = []
        for number, word in enumerate(self._words[first : first + height], first):
            here = number == self._place
            mark = "▸" if here else " "
            remark = word.remark if word.kind == "column" and word.remark else word.kind
            text = column(safe_text(word.text, limit=_WIDEST), max(width - _KIND - 3, 1))
            lines.append(
                (
                    (f"{mark}{text} ", "strong" if here else "text"),
                    (column(safe_text(remark, limit=_KIND * 2).lower(), _KIND), "muted"),
                )
            )
        return lines
