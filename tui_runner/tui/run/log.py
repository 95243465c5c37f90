"""The log screen: what a job prints and logs.

The newest lines come with the snapshots, and the screen stays at the newest one ("follows"). When the user scrolls back
beyond them or searches, the screen reads the log file. It then shows a part of the file (`LogWindow`) in place of the
newest lines, until the user goes to the end again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer

from tui_runner.engine.logs.log_reader import Place as LogPlace
from tui_runner.engine.logs.log_reader import StoredLine
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.protocol import LogLine
from tui_runner.engine.states import RunState
from tui_runner.text.describe import named_item
from tui_runner.text.numbers import NONE, ZONE, clock, dated, plural, short_plural
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import Keys, bindings
from tui_runner.tui.actions.list_keys import Movable
from tui_runner.tui.actions.model import Place
from tui_runner.tui.dialogs.questions import Ask, Choice, Choose
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.run.chunk_rows import chunk_name
from tui_runner.tui.run.commands import RunCommands
from tui_runner.tui.run.log_window import LogHistory, LogWindow, is_same
from tui_runner.tui.run.run_screen import RunScreen
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import RUN_GLYPHS, Line, PaintedLines, Span, cells, column, end_of, own, spread

KEPT = 10_000
"""Most lines in memory while the screen is open, the newest ones: some megabytes of usual lines. Earlier lines are read
from the file."""
_WIDE = 70
"""Fewest cells of a line that shows its chunk and item. Then 30 cells are left for its text."""
_WITH_HINT = 100
"""Fewest cells of the head with all hints about keys beside a filter or a search. Below, the texts need the room."""
_CHUNK = 5
"""Cells for the number of a chunk, as in the chunk table (`chunk_rows.NUMBER_DIGITS`)."""
_LEAST_VALUE, _MOST_VALUE = 14, 40
"""Fewest and most cells of an item's value, which otherwise gets a fifth of the line."""
_NO_LINE = "there is no line here"
"""Message for a key that applies to a line if none is listed."""
_MESSAGE_SECONDS = 4.0
"""Seconds for which a message is shown in the head: long enough to read one line."""
_ENDED = {RunState.STOPPED: "been stopped"}
"""Texts for the sentence "the run has …", for states of an ended run whose names do not fit there."""
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
"""The log levels of Python with their numbers."""
_EVERY_LEVEL = "DEBUG"
"""The lowest level, which lists every line."""
_ROLES = {"DEBUG": "muted", "WARNING": "warn", "ERROR": "bad", "CRITICAL": "bad"}
"""Roles of the log levels. Others have the role `text`."""


@dataclass(frozen=True, slots=True)
class _Numbered:
    number: int
    line: LogLine


Row = _Numbered | StoredLine


class Log(RunScreen):
    """The log screen, which follows the newest line until the user scrolls back."""

    PLACES = (Place.LOG, Place.LIST, Place.INNER, Place.ANYWHERE)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.LOG, Place.LIST, Place.INNER)]

    def __init__(self, steering: RunCommands, keys: Keys) -> None:
        super().__init__(steering, keys)
        self._recent: deque[_Numbered] = deque(maxlen=KEPT)
        self._window: LogWindow | None = None
        """The shown part of the file, or None while the newest lines are shown."""
        self._follows = True
        self._level = _EVERY_LEVEL
        self._wanted = ""
        self._only = False
        """True while only lines with the searched text are listed."""
        self._busy = ""
        """Text about the read of the file that is in progress, such as `further back`; empty if there is none."""
        self._begins = False
        """True if the file has no line to list before the first listed line."""
        self._cut = False
        """True if the file has lost the first lines of the run, because log files are limited in size."""
        self._message = ""
        self._message_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Yield the head, the lines, and the keys."""
        yield PaintedLines(self._head, id="head")
        yield Rows[Row](self._line, heading=_heading, nothing=self._nothing, id="lines")
        yield KeyLine(self.keys, self.PLACES, id="keys")

    def update(self, snapshot: Snapshot) -> None:
        """Add the lines that are new in this snapshot."""
        known = self._recent[-1].number + 1 if self._recent else 0
        first = snapshot.log_lines - len(snapshot.log)
        new = snapshot.log[max(known - first, 0) :]
        if self._recent and first > known:
            text = f"({first - known:,} lines came too fast for the screen: they are in the file)"
            self._recent.append(_Numbered(first - 1, LogLine(0.0, "", text)))
        self._recent.extend(_Numbered(max(known, first) + place, line) for place, line in enumerate(new))
        if new and self._window is None:
            self._list()
        if snapshot.state.ended:
            self.query_one("#head", PaintedLines).repaint()
        self._relabel()

    def list_in_use(self) -> Movable:
        """Return the list of lines. It reads more of the file when the cursor reaches its first or last line."""
        return _Paged(self.query_one(Rows), self._look)

    def on_rows_moved(self) -> None:
        """Read more of the file if the first or the last listed line is visible now."""
        rows = self.query_one(Rows)
        self._look(-1 if not rows.scroll_offset.y else 1 if rows.at_end else 0)

    def action_first_row(self) -> None:
        """Go to the first line of the run that the log file still has."""
        self._follows = False
        self._say("")
        self.query_one(Rows).go_to(0)
        self._read("the beginning", self._to_beginning())

    def action_last_row(self) -> None:
        """Go to the newest line, and stay at the newest line from now on."""
        self._window, self._follows, self._begins = None, True, False
        self._say("")
        self._list()

    def _relabel(self) -> None:
        """Show only keys that have an effect now. For example, an empty log cannot be searched."""
        labels = self.inner_labels() | {"log": "", "follow": "" if self._follows else "newest"}
        if not self._recent:
            labels |= dict.fromkeys(("search", "next_match", "copy", "level"), "")
        self.query_one(KeyLine).relabel(labels)

    def action_follow(self) -> None:
        """Stop staying at the newest line, or begin again."""
        if self._follows:
            self._follows = False
            self._list()
        else:
            self.action_last_row()

    def action_level(self) -> None:
        """Ask for a log level, and list only lines of this level and above."""
        choices = [Choice(level, "everything" if level == _EVERY_LEVEL else "and above", level) for level in _LEVELS]

        def answered(level: object) -> None:
            if isinstance(level, str):
                self._list_from(level)

        self.app.push_screen(Choose("List lines of which level?", choices, list(_LEVELS).index(self._level)), answered)

    def _list_from(self, level: str) -> None:
        """List only lines of this level and above."""
        self._level, self._begins = level, False
        row = self.query_one(Rows).current
        if isinstance(row, StoredLine):
            self._read(level, self._around(row.start))
        else:
            self._window = None
            self._list()

    def action_search(self) -> None:
        """Ask for a text, and go to the nearest line with this text, from the cursor on.

        The search goes downwards, except from the newest line, below which there is none.
        """

        def answered(text: str | None) -> None:
            if text is not None:
                self._wanted = text
                rows = self.query_one(Rows)
                is_newest = self._window is None and rows.place == len(rows.rows) - 1
                self._go_to_match(-1 if is_newest else 1, from_here=True)
                self.query_one(Rows).redraw()

        self.app.push_screen(Ask("Find in the log", self._wanted), answered)

    def action_only(self) -> None:
        """List only lines with the searched text, or list all lines again."""
        if not self._wanted:
            self._say("search for a text first: /")
            return
        self._only, self._begins = not self._only, False
        row = self.query_one(Rows).current
        if isinstance(row, StoredLine):
            self._read("the lines", self._around(row.start))
        else:
            self._window = None
            self._list()
        self.query_one(PaintedLines).repaint()

    def action_back(self) -> None:
        """Undo the first filter that is set: by the searched text, then by level. Without one, go back."""
        if self._only:
            self.action_only()
        elif self._level != _EVERY_LEVEL:
            self._list_from(_EVERY_LEVEL)
        else:
            super().action_back()

    def action_next_match(self) -> None:
        """Go to the next line with the searched text. After the last line with it comes the first."""
        self._go_to_match(1)

    def action_previous_match(self) -> None:
        """Go to the previous line with the searched text. Before the first line with it comes the last."""
        self._go_to_match(-1)

    def on_rows_opened(self) -> None:
        """Show the chosen line in full."""
        self.action_open_line()

    def action_open_line(self) -> None:
        """Show the line under the cursor in full in a dialog."""
        rows: Rows[Row] = self.query_one(Rows)
        if rows.current is None:
            self._say(_NO_LINE)
        else:
            line = rows.current.line
            where = "" if line.chunk is None else f" {chunk_name(line.chunk)} {_named(line)}"
            when = f" · {dated(line.at)} {ZONE}" if line.at else ""
            self.app.push_screen(Reader(f"{line.level}{where}{when}".strip(" ·") or "the log", line.text))

    def action_copy(self) -> None:
        """Copy the line under the cursor to the clipboard."""
        rows: Rows[Row] = self.query_one(Rows)
        if rows.current is None:
            self._say(_NO_LINE)
        else:
            self.copied(rows.current.line.text, "line")

    # --- the listed lines ----------------------------------------------------------------------------------

    def _is_listed(self, line: LogLine) -> bool:
        if _LEVELS.get(line.level.upper(), 20) < _LEVELS[self._level]:
            return False
        return not self._only or not self._wanted or self._has_text(line)

    def _has_text(self, line: LogLine) -> bool:
        wanted = self._wanted.lower()
        return wanted in line.text.lower() or wanted in line.value.lower()

    def _match_count(self, total: int) -> str:
        """Return a text about the search: what was searched, the match under the cursor, and the number of matches.

        It says which lines are counted unless these are all `total` lines of the run. Without a search, it is empty.
        """
        rows: Rows[Row] = self.query_one(Rows)
        if not self._wanted:
            return ""
        places = [place for place, row in enumerate(rows.rows) if self._matches(row.line)]
        scope = ""
        if self._window is not None:
            scope = f" in the {short_plural(len(rows.rows), 'listed line')}"
        elif len(self._recent) < total:
            scope = f" in the last {len(self._recent):,} lines"
        if not places:
            return f"{self._searched()} no match{scope}"
        here = bisect_right(places, rows.place)
        found = f"{here:,}" if here and places[here - 1] == rows.place else NONE
        return f"{self._searched()} {found} of {len(places):,}{scope}"

    def _searched(self) -> str:
        return f"“{own(self._wanted, 20)}”" if self._wanted else ""

    def _list(self) -> None:
        """List the newest lines, those in memory."""
        rows: Rows[Row] = self.query_one(Rows)
        listed: list[Row] = [each for each in self._recent if self._is_listed(each.line)]
        here = rows.current
        place = len(listed) - 1
        if not self._follows and isinstance(here, _Numbered):
            newer = (at for at, each in enumerate(listed) if isinstance(each, _Numbered) and each.number >= here.number)
            place = next(newer, place)
        rows.show(listed, place=place)
        self.query_one(PaintedLines).repaint()

    def _show(self, window: LogWindow, *, above: int = 0) -> None:
        """List the lines of `window`.

        Args:
            window: a part of the file.
            above: number of lines that were added before the visible ones, so that these stay where they are.
        """
        self._window, self._follows = window, False
        rows: Rows[Row] = self.query_one(Rows)
        rows.show(window.lines, place=window.place, above=above)
        rows.redraw()

    # --- the file ------------------------------------------------------------------------------------------

    def _look(self, direction: int) -> None:
        """Read more of the file if the first or the last listed line is visible. Update `_follows`.

        Args:
            direction: below 0 after a move up, above 0 after a move down, 0 after another move.
        """
        rows = self.query_one(Rows)
        if self._window is None:
            self._follows = bool(rows.rows) and rows.place == len(rows.rows) - 1 and direction >= 0
        if direction < 0 and not rows.scroll_offset.y and not self._begins and not self._busy:
            self._read("further back", self._earlier())
        elif direction > 0 and self._window is not None and rows.at_end and not self._busy:
            self._read("on", self._later())
        self.query_one(PaintedLines).repaint()

    @property
    def _history(self) -> LogHistory | None:
        snapshot = self.steering.snapshot
        return LogHistory(snapshot.log_file, snapshot.run_id) if snapshot and snapshot.log_file else None

    @property
    def _has_all(self) -> bool:
        """True if all lines that this process has logged are still in memory."""
        return not self._recent or self._recent[0].number == 0

    @property
    def _oldest(self) -> tuple[LogLine, ...]:
        return tuple(each.line for each in islice(self._recent, 2))

    def _read(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Read the file with `work`. A read that is in progress is cancelled.

        Args:
            what: text about the read for the head.
            work: reads the file and shows the result.
        """

        async def read() -> None:
            try:
                await work
            except (OSError, ValueError) as error:
                self._begins = True
                self._say(_unreadable(error))
            # This is not reached after a cancellation, when another read is in progress or the screen was closed.
            self._busy = ""
            self.query_one(PaintedLines).repaint()

        self._busy = what
        self.query_one(PaintedLines).repaint()
        self.run_worker(read(), group="file", exclusive=True)

    async def _earlier(self) -> None:
        history, rows = self._history, self.query_one(Rows)
        if history is None:
            self._begins = True
            return
        if self._window is not None:
            found = await history.earlier(self._window, rows.place, self._is_listed)
        else:
            here = None if rows.current is None else rows.current.line
            found = await history.before_memory(self._oldest, here, self._is_listed)
        if found is None:
            self._begins, self._cut = True, not self._has_all and await history.is_cut()
            rows.redraw()
        else:
            self._show(found, above=found.above)

    async def _later(self) -> None:
        history, rows, window = self._history, self.query_one(Rows), self._window
        if history is None or window is None:
            return
        found = await history.later(window, rows.place, self._is_listed)
        if found is not None:
            self._begins = self._begins and found.above == 0
            self._show(found, above=found.above)
        elif rows.place == len(rows.rows) - 1:
            self.action_last_row()

    async def _to_beginning(self) -> None:
        history = self._history
        found = None if history is None else await history.beginning(self._is_listed)
        if found is not None:
            self._begins, self._cut = True, found.cut
            self._show(found)
        else:
            # The file has no line to list, so there was no window that says if lines are gone. Ask the file.
            self._begins, self._cut = True, not self._has_all and (history is None or await history.is_cut())
            self.query_one(Rows).redraw()

    async def _around(self, place: LogPlace) -> None:
        history = self._history
        if history is not None:
            window = await history.around(place, self._is_listed)
            if window.lines:
                self._show(window)
            else:
                self.action_last_row()
                self._begins = True  # the file has no line to list

    def _go_to_match(self, direction: int, *, from_here: bool = False) -> None:
        """Go to the nearest line with the searched text. Search the listed lines first, then the file.

        Args:
            direction: 1 to search downwards, -1 upwards.
            from_here: True if the line under the cursor counts as well.
        """
        rows: Rows[Row] = self.query_one(Rows)
        if not self._wanted:
            return
        self._say("")
        if self._match_in(rows, rows.place if from_here else rows.place + direction, direction):
            return
        self._read("for the text", self._match_in_file(direction))

    def _match_in(self, rows: Rows[Row], place: int, direction: int) -> bool:
        while 0 <= place < len(rows.rows):
            if self._matches(rows.rows[place].line):
                self._follows = False
                rows.go_to(place)
                return True
            place += direction
        return False

    def _matches(self, line: LogLine) -> bool:
        return self._has_text(line) and self._is_listed(line)

    async def _match_in_file(self, direction: int) -> None:
        history, rows = self._history, self.query_one(Rows)
        found, where = None, "in the log"
        try:
            if history is not None:
                found = await history.find(direction, self._window, self._oldest, self._is_listed, self._wanted)
        except (OSError, ValueError) as error:
            where = f"here; {_unreadable(error)}"
        if found is None:
            if self._match_in(rows, 0 if direction > 0 else len(rows.rows) - 1, direction):
                self._went_round(direction)
            else:
                self._say(f"no line has that text {where}")
            return
        window, round_ = found
        wanted = window.lines[window.place].line
        here = (at for at, row in enumerate(rows.rows) if is_same(row.line, wanted))
        if (at := next(here, None)) is not None:
            self._follows = False
            rows.go_to(at)
        else:
            self._begins = False
            self._show(window)
        if round_:
            self._went_round(direction)

    def _went_round(self, direction: int) -> None:
        self._say("from the top" if direction > 0 else "from the end")

    def _say(self, text: str) -> None:
        """Show a message in the head for `_MESSAGE_SECONDS`. Textual's messages would cover the newest lines."""
        if self._message_timer is not None:
            self._message_timer.stop()
        self._message = text
        self._message_timer = self.set_timer(_MESSAGE_SECONDS, lambda: self._say("")) if text else None
        self.query_one(PaintedLines).repaint()

    # --- drawing -------------------------------------------------------------------------------------------

    def _nothing(self) -> str:
        """Return the text that is shown while no line is listed. It says why."""
        snapshot = self.steering.snapshot
        if snapshot is None or not self._recent:
            over = snapshot is not None and snapshot.state.ended
            return "nothing was printed or logged" if over else "nothing was printed or logged so far"
        where = "in the log" if self._begins else f"among the newest {len(self._recent):,}; Home looks at the others"
        return f"no line of {self._level} and above {where}"

    def _head(self, width: int) -> list[Line]:
        snapshot = self.steering.snapshot
        if snapshot is None:
            return []
        wide = width >= _WIDE
        total = snapshot.log_lines
        matches = f"  {'only ' if self._only else ''}{found}" if (found := self._match_count(total)) else ""
        away = "  scrolled back; G follows" if width >= (_WITH_HINT if matches else _WIDE) else "G follows"
        if self._begins and self._cut and not self._follows and not self.query_one(Rows).scroll_offset.y:
            away = "older lines are gone"
        if snapshot.state.ended and self._follows:
            away = f"{RUN_GLYPHS[snapshot.state][0]} the run has {_ENDED.get(snapshot.state, snapshot.state)}"
        message = self._message or ("▼ following" if self._follows and not snapshot.state.ended else away)
        state = f"… reading {self._busy}" if self._busy else message
        hint = " (Esc clears)" if width >= _WITH_HINT else ""
        level = "" if self._level == _EVERY_LEVEL else f"  {self._level} and above{hint}"
        if self._window is not None:
            lines = f"{total:,} lines, read back" if wide else "read back"
        elif len(self._recent) < total:
            lines = f"last {len(self._recent):,} of {total:,} lines"
        else:
            lines = plural(total, "line")
        lines += level
        if matches:
            # The text about the search names the lines that it counts if they are not all lines.
            all_listed = self._window is None and len(self._recent) >= total
            lines = f"{lines}{matches}" if all_listed else f"{level}{matches}".lstrip()
        title: Line = ((" log  ", "strong"), (f"{state}  ", "accent"), (lines, "muted"))
        if wide:
            name = f" log of {own(snapshot.job, 40)}  "
            shown = lines
            if self._message:
                # A message is shown without the number of lines, so that it fits, but with what was searched.
                room = width - len(name) - cells(((state, "accent"),)) - 4
                texts = (matches.lstrip(), self._searched(), "")
                shown = next(text for text in texts if not text or cells(((text, "muted"),)) <= room)
            title = ((name, "strong"), (f"{shown}  " if shown else "", "muted"), (state, "accent"))
        file: Line = ((own(snapshot.log_file, 200) + " ", "muted"),) if total and wide else ()
        return [title_and_file(title, file, width)]

    def _line(self, each: Row, width: int) -> Line:
        line = each.line
        role = _ROLES.get(line.level.upper(), "text") if line.at else "muted"
        spans: list[Span] = [(clock(line.at) + " " if line.at else " " * 9, "muted")]
        spans.append((column(own(line.level, 8), 8) + " ", role if role != "text" else "muted"))
        # A line of no chunk has blanks there, so that all texts begin below their heading. Remarks of tui-runner about
        # the log, which have no time, need the room.
        if width >= _WIDE and (line.at or line.chunk is not None):
            value = _value_room(width)
            spans.append((column("" if line.chunk is None else str(line.chunk), _CHUNK, right=True) + " ", "muted"))
            spans.append((column(_value_in(line, value), value) + "  ", "accent"))
        text = own(line.text)
        found = text.lower().find(self._wanted.lower()) if self._wanted else -1
        if found < 0:
            spans.append((text, role))
        else:
            end = found + len(self._wanted)
            spans += [(text[:found], role), (text[found:end], "cursor"), (text[end:], role)]
        return tuple(spans)


def _value_room(width: int) -> int:
    """Return the cells of an item's value in a line of `width` cells."""
    return max(min(width // 5, _MOST_VALUE), _LEAST_VALUE)


def _value(line: LogLine) -> str:
    return line.value or str(line.item)


def _value_in(line: LogLine, room: int) -> str:
    """Return the value of a line's item for `room` cells; empty for a line without item.

    Paths and URLs lose their beginning if they are too long, because most items of a run begin alike.
    """
    if line.item is None:
        return ""
    text = own(_value(line), 500)
    return end_of(text, room) if "/" in text else text


def _named(line: LogLine) -> str:
    return own(named_item(line.item or 0, line.value), 100)


def _heading(width: int) -> Line:
    # `_line` gets two cells less than the heading, because a row begins with the sign of the cursor.
    level = f"{ZONE:<8} level    "
    if width - 2 < _WIDE:
        return ((f"  {level}text", "muted"),)
    value = _value_room(width - 2)
    return ((f"  {level}{column('chunk', _CHUNK, right=True)} {column('item', value)}  text", "muted"),)


class _Paged:
    """The list of lines for the keys of lists.

    Args:
        rows: the list.
        look: called after each move by a key: with 1 after a move down, with -1 after a move up.
    """

    def __init__(self, rows: Rows[Row], look: Callable[[int], None]) -> None:
        self._rows = rows
        self._look = look

    def move(self, rows: int, /) -> None:
        self._rows.move(rows)
        self._look(1 if rows > 0 else -1)

    def move_pages(self, pages: int, /) -> None:
        self._rows.move_pages(pages)
        self._look(1 if pages > 0 else -1)

    def go_to_end(self) -> None:
        self._rows.go_to_end()


def _unreadable(error: OSError | ValueError) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return safe_text(f"the log file cannot be read: {reason}", limit=200)


def title_and_file(title: Line, file: Line, width: int) -> Line:
    """Return a line with `title` at the left and the path of the file at the right.

    A path that is too long is cut at its beginning. It is left out if 12 cells or less are free.
    """
    room = width - cells(title) - 3
    if file and cells(file) > room:
        file = ((end_of(file[0][0], room), file[0][1]),) if room > 12 else ()
    return spread(title, file, width)
