"""The editor of statements: with colours of DuckDB's tokens, completion, and marks of errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from tui_runner.text.safe_text import masked, safe_text
from tui_runner.tui.query.completion import Offer, Vocabulary, Word, offer
from tui_runner.tui.query.sql_tokens import Token, by_line
from tui_runner.tui.terminal.key_order import does_own_key
from tui_runner.tui.widgets.paint import Line, PaintedWidget, column

_TOKEN_CLASSES = frozenset({"sql-keyword", "sql-string", "sql-number", "sql-comment", "sql-operator"})
_WORD = re.compile(r'\w+(?:\.\w+)*|"[^"]*"|\S')
"""Matches the text that is marked at the place of an error: a name with points, a quoted name, or one other
character."""
_INDENT = 4
"""Blanks of an indent, as in most SQL."""

LONG_LINE = 5_000
"""If a line has more characters, lines are not wrapped. Textual lays out a whole line for each of its rows: a list of
numbers of 200 kB delayed each key by two seconds."""
LONG_TEXT = 50_000
"""A text with more characters has no colours and no completion, because DuckDB tokenizes the whole text after each
key."""


class Editor(TextArea):
    """A text area for SQL.

    Attributes:
        vocabulary: the words for completion.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {*_TOKEN_CLASSES, "sql-mistake"}

    class OfferChanged(Message):
        """Message: offer other words."""

        def __init__(self, editor: Editor, offer: Offer) -> None:
            super().__init__()
            self.editor = editor
            self.offer = offer

    def __init__(self, text: str = "", *, suggestions: Suggestions, id: str | None = None) -> None:
        super().__init__(
            text,
            id=id,
            soft_wrap=True,
            show_line_numbers=True,
            highlight_cursor_line=False,
            tab_behavior="focus",
            max_checkpoints=200,
        )
        self.vocabulary = Vocabulary()
        self._suggestions = suggestions
        self._offer = Offer(0, ())
        self._coloured: tuple[str, list[list[Token]]] = ("", [[]])
        self._mistake: tuple[str, int, int, int] | None = None

    @property
    def position(self) -> int:
        """Position of the cursor, in characters from the start."""
        return self.position_of(self.selection.end)

    def position_of(self, location: tuple[int, int]) -> int:
        """Return the offset in characters of a row and a column."""
        return sum(len(line) + 1 for line in self.document.lines[: location[0]]) + location[1]

    def location_of(self, position: int) -> tuple[int, int]:
        """Return row and column of an offset in characters; an offset beyond the end is the end."""
        row = 0
        for row, line in enumerate(self.document.lines):
            if position <= len(line):
                return row, max(position, 0)
            position -= len(line) + 1
        return row, len(self.document.lines[row])

    def edit(self, edit: Edit) -> EditResult:
        """Change the text, and stop wrapping before a long line is laid out."""
        if len(edit.text) > LONG_LINE:
            self.soft_wrap = False
        return super().edit(edit)

    def load_text(self, text: str) -> None:
        """Replace the text, and stop wrapping before a long line is laid out."""
        if len(text) > LONG_LINE:
            self.soft_wrap = False
        super().load_text(text)

    def on_text_area_changed(self) -> None:
        """Wrap lines unless one of them is too long."""
        self.soft_wrap = all(len(line) <= LONG_LINE for line in self.document.lines)

    def mark_mistake(self, position: int) -> None:
        """Mark the word at `position` until the text changes, and put the cursor there."""
        position = max(0, min(position, len(self.text)))
        row, start = self.location_of(position)
        line = self.document.get_line(row)
        word = _WORD.match(line, start)
        self._mistake = (self.text, row, start, word.end() if word else start + 1)
        self.move_cursor((row, start))
        self.notify_style_update()

    def clear_mistake(self) -> None:
        """Remove the mark of an error."""
        if self._mistake is not None:
            self._mistake = None
            self.notify_style_update()

    def clear_mistake_of_other_text(self) -> None:
        """Remove the mark of an error if the text has changed."""
        if self._mistake is not None and self._mistake[0] != self.text:
            self.clear_mistake()

    def get_line(self, line_index: int) -> Text:
        """Return a line with its colours."""
        text = self.document.text
        if text != self._coloured[0]:
            self._coloured = (text, by_line(text) if len(text) <= LONG_TEXT else [])
        line = Text(masked(self.document.get_line(line_index)), end="", no_wrap=True)
        tokens = self._coloured[1]
        for token in tokens[line_index] if line_index < len(tokens) else ():
            line.stylize(self.get_component_rich_style(token.role, partial=True), token.start, token.end)
        if self._mistake is not None and self._mistake[:2] == (text, line_index):
            style = self.get_component_rich_style("sql-mistake", partial=True)
            line.stylize(style, self._mistake[2], self._mistake[3])
        return line

    def complete(self) -> None:
        """Offer words for the text before the cursor, however short."""
        self._find_offer(asked=True)

    def hide_offer(self) -> bool:
        """Hide the completion list. Return True if it was shown."""
        if self._suggestions.current is None:
            return False
        self._suggestions.hide()
        return True

    async def _on_key(self, event: events.Key) -> None:
        """Let keys move in the completion list while it is shown.

        Tab inserts the selected word, or indents without a list.
        """
        offered = self._suggestions.current is not None
        key = event.key
        if offered and key in ("up", "down", "pageup", "pagedown"):
            self._suggestions.move({"up": -1, "down": 1, "pageup": -7, "pagedown": 7}[key])
        elif offered and key == "escape":
            self.hide_offer()
        elif offered and (key == "tab" or (key == "enter" and self._suggestions.moved)):
            self._accept()
        elif key == "tab":
            self._replace_via_keyboard(" " * (_INDENT - self.cursor_location[1] % _INDENT), *self.selection)
        else:
            before = self.text
            if not await does_own_key(self, event):
                await super()._on_key(event)
            if event.is_printable and before != self.text:
                self._find_offer()
            elif key not in ("backspace", "delete"):
                self.hide_offer()
            return
        event.stop()
        event.prevent_default()

    def action_delete_left(self) -> None:
        """Delete a character, and update the completion list if it is shown."""
        offered = self._suggestions.current is not None
        super().action_delete_left()
        if offered:
            self._find_offer()

    def on_blur(self) -> None:
        """Hide the completion list when the editor loses the focus."""
        self.hide_offer()

    def on_click(self) -> None:
        """Hide the completion list when the cursor moves away."""
        self.hide_offer()

    def _find_offer(self, *, asked: bool = False) -> None:
        if self.selection.start != self.selection.end or len(self.text) > LONG_TEXT:
            self.hide_offer()
            return
        self._offer = offer(self.text, self.position, self.vocabulary, asked=asked)
        self.call_after_refresh(self._show_offer)

    def _show_offer(self) -> None:
        if self.has_focus and self.is_attached:
            self._suggestions.offer(self._offer.words, self.cursor_screen_offset)

    def _accept(self) -> None:
        word = self._suggestions.current
        if word is None:
            return
        start = self.location_of(self._offer.start)
        text = word.text + "(" if word.kind == "function" else word.text
        self._suggestions.hide()
        self._replace_via_keyboard(text, start, self.selection.end)


_LINES = 8
"""Words shown at once: on 24 lines, the list should cover as little of the statement as possible."""
_WIDEST = 48
"""Cells of the list at most; longer names are cut. On 80 cells, nearly half stay free for the statement."""
_KIND = 9
"""Cells for the kind of a word, or for the type of a column."""


class Suggestions(PaintedWidget):
    """A list of words, one of them selected. It takes no focus; the editor's keys move in it."""

    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._words: Sequence[Word] = ()
        self._place = 0
        self.moved = False
        """True once a key has moved to a word, so that Enter inserts it."""
        self.display = False

    @property
    def current(self) -> Word | None:
        """The selected word; None while the list is hidden."""
        return self._words[self._place] if self._words else None

    def offer(self, words: Sequence[Word], cursor: Offset) -> None:
        """Show words beside the cursor, which is at `cursor` on the screen; hide the list if there are none."""
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
        """Hide the list."""
        self.offer((), Offset())

    def move(self, places: int) -> None:
        """Select another word."""
        if self._words:
            self._place = (self._place + places) % len(self._words)
            self.moved = True
            self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the words around the selected one."""
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
