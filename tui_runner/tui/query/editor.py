"""The editor of statements, which colours SQL, completes words, and marks errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.geometry import Offset
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from tui_runner.text.safe_text import masked, safe_text
from tui_runner.tui.query.completion import Offer, Vocabulary, Word, offer
from tui_runner.tui.query.sql_tokens import Token, by_line, follows_column, is_table_alone
from tui_runner.tui.terminal.key_order import does_own_key
from tui_runner.tui.widgets.paint import Line, PaintedWidget, column, fitted

_TOKEN_CLASSES = frozenset({"sql-keyword", "sql-string", "sql-number", "sql-comment", "sql-operator"})
_WORD = re.compile(r'\w+(?:\.\w+)*|"[^"]*"|\S')
"""Matches the text to mark at the place of an error: a name that may have points, a quoted name, or any other single
character."""
_INDENT = 4
"""Blanks of an indent, which Tab inserts, as in most SQL."""

LONG_LINE = 5_000
"""Characters of a line above which lines are not wrapped. Textual lays out a wrapped line again for each of its rows: a
line of 200 kB delayed each key by two seconds."""
LONG_TEXT = 50_000
"""Characters above which a text has neither colours nor completion, because DuckDB tokenizes the whole text after each
key."""


class Editor(TextArea):
    """A text area for SQL.

    Args:
        text: the initial text.
        suggestions: the widget that lists the words to complete.
        id: id of the widget.

    Attributes:
        vocabulary: the words that completion can offer.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {*_TOKEN_CLASSES, "sql-mistake"}

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
        self._proposed: str | None = None
        self._was_proposal = False
        """True if the proposed statement was untouched when a mouse button was pressed."""

    def propose(self, sql: str) -> None:
        """Replace the text by a statement and select it, so that the first typed character replaces it."""
        self.load_text(sql)
        self.select_all()
        self._proposed = self.text

    @property
    def has_proposal(self) -> bool:
        """True if the text is the proposed statement, and still selected: the user has not begun to edit it."""
        return self.text == self._proposed and len(self.selected_text) == len(self.text)

    @property
    def position(self) -> int:
        """The position of the cursor, as a number of characters from the start of the text."""
        return self.position_of(self.selection.end)

    def position_of(self, location: tuple[int, int]) -> int:
        """Return the number of characters from the start of the text to (row, column), both from 0."""
        return sum(len(line) + 1 for line in self.document.lines[: location[0]]) + location[1]

    def location_of(self, position: int) -> tuple[int, int]:
        """Return (row, column), both from 0, of a number of characters from the start; at most the end of the text."""
        row = 0
        for row, line in enumerate(self.document.lines):
            if position <= len(line):
                return row, max(position, 0)
            position -= len(line) + 1
        return row, len(self.document.lines[row])

    def edit(self, edit: Edit) -> EditResult:
        """Change the text. Stop wrapping first if a line may become longer than `LONG_LINE`."""
        if len(edit.text) > LONG_LINE:
            self.soft_wrap = False
        return super().edit(edit)

    def load_text(self, text: str) -> None:
        """Replace the text. Stop wrapping first if a line may be longer than `LONG_LINE`."""
        if len(text) > LONG_LINE:
            self.soft_wrap = False
        super().load_text(text)

    def on_text_area_changed(self) -> None:
        """Wrap lines, unless one of them has more than `LONG_LINE` characters."""
        self.soft_wrap = all(len(line) <= LONG_LINE for line in self.document.lines)

    def mark_mistake(self, position: int) -> None:
        """Mark the word at `position` as an error until the text changes, and move the cursor to the word."""
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
        """Remove the mark of an error if the text has changed since the error was marked."""
        if self._mistake is not None and self._mistake[0] != self.text:
            self.clear_mistake()

    def get_line(self, line_index: int) -> Text:
        """Return a line with the colours of its tokens and the mark of an error."""
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
        """Offer words for the text before the cursor, even if the user has typed less than `LEAST` characters."""
        self._find_offer(asked=True)

    def hide_offer(self) -> bool:
        """Hide the completion list. Return True if it was shown."""
        if self._suggestions.current is None:
            return False
        self._suggestions.hide()
        return True

    async def _on_key(self, event: events.Key) -> None:
        """Handle a key. While the completion list is shown, some keys are for the list.

        Arrows select a word, Tab inserts it, and Escape hides the list. Without a list, Tab indents.
        """
        offered = self._suggestions.current is not None
        key = event.key
        if offered and key in ("up", "down", "pageup", "pagedown"):
            # A page is `_LINES` words with one word of overlap.
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
        """Delete the character before the cursor, and update the completion list if it is shown."""
        offered = self._suggestions.current is not None
        super().action_delete_left()
        if offered:
            self._find_offer()

    def action_delete_to_start_of_line(self) -> None:
        """Delete the selection, or the text from the start of the line to the cursor.

        Textual would stop at the start of a row if the line is wrapped, unlike the shells from which users know this
        key. At the start of a line, the line end before it is deleted.
        """
        row, column = self.selection.end
        if not self.selection.is_empty or column == 0:
            self.action_delete_left()
        else:
            self.delete((row, 0), (row, column), maintain_selection_offset=False)

    def action_delete_to_end_of_line(self) -> None:
        """Delete the selection, or the text from the cursor to the end of the line, however it is wrapped."""
        row, column = self.selection.end
        if not self.selection.is_empty:
            self.action_delete_right()
        else:
            self.delete((row, column), (row, len(self.document.get_line(row))), maintain_selection_offset=False)

    def insert_name(self, name: str, *, is_column: bool) -> None:
        """Insert a name at the cursor, with the blanks around it that keep it apart from other words.

        A column after another one in a list gets a comma, because it would become an alias: `SELECT price stock`. For
        the same reason, a column after `FROM books` alone gets SELECT, which DuckDB accepts there.

        Args:
            name: the name, quoted if necessary.
            is_column: True for a column, False for a table.
        """
        text, position = self.text, self.position
        before = text[:position]
        if is_column and follows_column(before):
            before_name = before.rstrip()
            gap = ", "
        elif is_column and is_table_alone(before):
            before_name = before.rstrip()
            gap = " SELECT "
        else:
            before_name = before
            gap = "" if not before or before[-1].isspace() or before[-1] in "(.[" else " "
        following = text[position : position + 1]
        end = " " if following.isalnum() or following in ("_", '"') else ""
        start = self.location_of(len(before_name))
        self.replace(f"{gap}{name}{end}", start, self.location_of(position), maintain_selection_offset=False)
        self.move_cursor(self.location_of(len(before_name) + len(gap) + len(name)))

    def clear_all(self) -> None:
        """Delete the whole text. The user can undo this."""
        self.hide_offer()
        self.select_all()
        self.delete(*self.selection, maintain_selection_offset=False)

    async def _on_mouse_down(self, event: events.MouseDown) -> None:
        self._was_proposal = self.has_proposal
        await super()._on_mouse_down(event)

    def on_blur(self) -> None:
        """Hide the completion list when the editor loses the focus."""
        self.hide_offer()

    def on_click(self) -> None:
        """Hide the completion list, because the click has moved the cursor.

        The first click into a proposed statement leaves it selected, as in the address field of a browser. Users click
        before they type, and their text must not end up within the statement.
        """
        self.hide_offer()
        if self._was_proposal and self.selection.is_empty:
            self.select_all()
            self._proposed = None  # the next click moves the cursor

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
"""Most words that are shown at once: a third of a terminal of 24 lines, so that the statement stays visible."""
_KEYS, _KEYS_MOVED = " Tab takes it", " Tab, Enter take it"
"""Last line of the list, at first and after the user has selected a word."""
_WIDEST = 48
"""Most cells of the list, so that on a terminal of 80 cells 32 are left for the statement. Longer names are cut."""
_KIND = 9
"""Cells for the kind of a word (the longest is `function`) or the type of a column. Longer types are cut."""


class Suggestions(PaintedWidget):
    """The completion list: words to insert, one of them selected.

    The list never has the focus, because the editor passes keys to it.

    Attributes:
        moved: True if the user has selected a word with a key. Otherwise, Enter does not insert a word.
    """

    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._words: Sequence[Word] = ()
        self._place = 0
        self.moved = False
        self.display = False

    @property
    def current(self) -> Word | None:
        """The selected word, or None while the list is hidden."""
        return self._words[self._place] if self._words else None

    def offer(self, words: Sequence[Word], cursor: Offset) -> None:
        """Show words below or above the cursor of the editor. Hide the list if there are no words.

        Args:
            words: the words, the best one first.
            cursor: position of the cursor on the screen.
        """
        self._words, self._place, self.moved = words, 0, False
        self.display = bool(words)
        if not words:
            return
        room = self.screen.size
        below = room.height - cursor.y - 1
        lines = min(len(words), _LINES, max(below, cursor.y, 2) - 1) + 1
        longest = max(cell_len(safe_text(word.text, limit=_WIDEST)) for word in words)
        width = min(max(longest + _KIND + 4, len(_KEYS_MOVED) + 1), _WIDEST, room.width)
        y = cursor.y + 1 if lines <= below else cursor.y - lines
        self.styles.width, self.styles.height = width, lines
        self.styles.offset = (max(min(cursor.x, room.width - width), 0), max(y, 0))
        self.repaint()

    def hide(self) -> None:
        """Hide the completion list."""
        self.offer((), Offset())

    def move(self, places: int) -> None:
        """Select the word `places` further down, or up if negative. After the last word comes the first."""
        if self._words:
            self._place = (self._place + places) % len(self._words)
            self.moved = True
            self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return lines with the words around the selected word, and a line with the keys that insert it."""
        height -= 1
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
        return [*lines, fitted(((_KEYS_MOVED if self.moved else _KEYS, "muted"),), width)]
