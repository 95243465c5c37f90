"""What a job prints and logs, line by line: the newest lines are here, all of them in the log file."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from tui_runner.engine.snapshot import LogLine, Snapshot
from tui_runner.formatting import clock, count
from tui_runner.tui.action import Place
from tui_runner.tui.actions import Keys, bindings
from tui_runner.tui.moving import Movable
from tui_runner.tui.paint import Line, Span, column, own, spread
from tui_runner.tui.screens.ask import Ask
from tui_runner.tui.screens.choose import Choice, Choose
from tui_runner.tui.screens.reader import Reader
from tui_runner.tui.screens.run_screen import RunScreen
from tui_runner.tui.steering import Steering
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.painted_lines import PaintedLines
from tui_runner.tui.widgets.rows import Rows

KEPT = 10_000
"""Lines that stay in memory while the screen is open; those before are in the file."""
_WIDE = 70
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_ROLES = {"DEBUG": "muted", "WARNING": "warn", "ERROR": "bad", "CRITICAL": "bad"}


@dataclass(frozen=True, slots=True)
class _Numbered:
    number: int
    line: LogLine


class Log(RunScreen):
    """The log, which follows the newest line until it is scrolled back."""

    PLACES = (Place.LOG, Place.LIST, Place.INNER, Place.ANYWHERE)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.LOG, Place.LIST, Place.INNER)]

    def __init__(self, steering: Steering, keys: Keys) -> None:
        super().__init__(steering, keys)
        self._kept: deque[_Numbered] = deque(maxlen=KEPT)
        self._follows = True
        self._level = "DEBUG"
        self._wanted = ""

    def compose(self) -> ComposeResult:
        """The head, the lines, the keys."""
        yield PaintedLines(self._head, id="head")
        yield Rows[_Numbered](self._line, id="lines")
        yield KeyLine(self.keys, self.PLACES, id="keys")

    def update(self, snapshot: Snapshot) -> None:
        """Take over the lines that are new."""
        self.query_one(KeyLine).relabel(self.inner_labels() | {"log": ""})
        known = self._kept[-1].number + 1 if self._kept else 0
        first = snapshot.log_lines - len(snapshot.log)
        new = snapshot.log[max(known - first, 0) :]
        self._kept.extend(_Numbered(max(known, first) + place, line) for place, line in enumerate(new))
        if new:
            self._list()

    def list_in_use(self) -> Movable:
        """The lines; moving in them ends following."""
        self._follows = False
        self.call_after_refresh(self._maybe_follow)
        return self.query_one(Rows)

    def on_rows_moved(self) -> None:
        """Say whether it follows."""
        self.query_one(PaintedLines).repaint()

    def action_last_row(self) -> None:
        """Go to the newest line and follow."""
        self._follows = True
        self._list()

    def action_follow(self) -> None:
        """Stay at the newest line, or stop doing so."""
        self._follows = not self._follows
        self._list()

    def action_level(self) -> None:
        """Ask for the least level to list."""
        choices = [Choice(level, "everything" if level == "DEBUG" else "and above", level) for level in _LEVELS]

        def answered(level: object) -> None:
            if isinstance(level, str):
                self._level = level
                self._list()

        self.app.push_screen(Choose("List lines of which level?", choices, list(_LEVELS).index(self._level)), answered)

    def action_search(self) -> None:
        """Ask for a text and go to the newest line that has it."""

        def answered(text: str | None) -> None:
            if text is not None:
                self._wanted = text
                self._go_to_match(-1, from_here=True)
                self.query_one(Rows).redraw()

        self.app.push_screen(Ask("Find in the log", self._wanted), answered)

    def action_next_match(self) -> None:
        """Go to the next line with the text, after the last one to the first."""
        self._go_to_match(1)

    def action_previous_match(self) -> None:
        """Go to the line with the text before, from the first one to the last."""
        self._go_to_match(-1)

    def on_rows_opened(self) -> None:
        """Read the line in full."""
        self.action_open_line()

    def action_open_line(self) -> None:
        """Read the line under the cursor in full."""
        rows: Rows[_Numbered] = self.query_one(Rows)
        if rows.current is not None:
            line = rows.current.line
            self.app.push_screen(Reader(f"{line.level} chunk {line.chunk} item {line.item}", line.text))

    def action_copy(self) -> None:
        """Copy the line under the cursor."""
        rows: Rows[_Numbered] = self.query_one(Rows)
        if rows.current is not None:
            self.copied(rows.current.line.text, "line")

    def _go_to_match(self, direction: int, *, from_here: bool = False) -> None:
        rows: Rows[_Numbered] = self.query_one(Rows)
        if not self._wanted:
            return
        wanted = self._wanted.lower()
        lines = len(rows.rows)
        for step in range(0 if from_here else 1, lines + (not from_here)):
            place = rows.place + direction * step
            if wanted in rows.rows[place % lines].line.text.lower():
                self._follows = False
                rows.go_to(place % lines)
                if not 0 <= place < lines:
                    self.notify("from the top" if direction > 0 else "from the end", markup=False, timeout=3)
                return
        self.notify("no line here has that text; all lines are in the log file", markup=False, timeout=4)

    def _maybe_follow(self) -> None:
        rows = self.query_one(Rows)
        self._follows = bool(rows.rows) and rows.place == len(rows.rows) - 1
        self.query_one(PaintedLines).repaint()

    def _list(self) -> None:
        rows: Rows[_Numbered] = self.query_one(Rows)
        least = _LEVELS[self._level]
        listed = [each for each in self._kept if _LEVELS.get(each.line.level.upper(), 20) >= least]
        here = rows.current
        place = len(listed) - 1
        if not self._follows and here is not None:
            place = next((at for at, each in enumerate(listed) if each.number >= here.number), place)
        rows.show(listed, place=place)
        self.query_one(PaintedLines).repaint()

    def _head(self, width: int) -> list[Line]:
        snapshot = self.steering.snapshot
        if snapshot is None:
            return []
        state = "▼ following" if self._follows else "  scrolled back; G follows"
        level = "" if self._level == "DEBUG" else f"  {self._level} and above"
        title: Line = (
            (f" log of {own(snapshot.job, 40)}", "strong"),
            (f"  {count(snapshot.log_lines)} lines{level}  ", "muted"),
            (state, "accent"),
        )
        file: Line = ((own(snapshot.log_file, 200) + " ", "muted"),) if snapshot.log_lines else ()
        return [spread(title, file if width >= _WIDE else (), width)]

    def _line(self, each: _Numbered, width: int) -> Line:
        line = each.line
        role = _ROLES.get(line.level.upper(), "text")
        spans: list[Span] = [(clock(line.at) + " ", "muted")]
        spans.append((column(own(line.level, 8), 8) + " ", role if role != "text" else "muted"))
        if width >= _WIDE:
            where = "" if line.chunk is None else f"{line.chunk}/{line.item}"
            spans.append((column(where, 14) + " ", "muted"))
        text = own(line.text)
        found = text.lower().find(self._wanted.lower()) if self._wanted else -1
        if found < 0:
            spans.append((text, role))
        else:
            end = found + len(self._wanted)
            spans += [(text[:found], role), (text[found:end], "cursor"), (text[end:], role)]
        return tuple(spans)
