"""Two lines of the query screen: above the editor, the database; below it, the state of the statement."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.message import Message

from tui_runner.text.numbers import duration, latency, plural
from tui_runner.tui.widgets.paint import BETWEEN, Line, PaintedWidget, Span, cells, fitted, own, spread

_WIDE = 60
"""On a terminal with at least this many cells the run is shown as well; on narrower ones the tabs need the room."""
_NAME = 12
"""Fewest cells of the database's name beside the tabs: enough to recognise it."""


@dataclass(frozen=True, slots=True)
class QueryState:
    """Content of the first line.

    Attributes:
        database: name of the database.
        run: a few words about the run that writes to the database; empty without one.
        tabs: names of the tabs.
        tab: index of the current one.
        writes: True if statements may change data.
    """

    database: str
    run: str
    tabs: tuple[str, ...]
    tab: int
    writes: bool


class QueryHeader(PaintedWidget):
    """The database and the tabs at the left, the mode (read only or write) at the right."""

    class TabChosen(Message):
        """A tab was clicked."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state: QueryState | None = None
        # Cell at which the first tab begins, and the ends of all tabs relative to that cell; no ends if only one tab is
        # shown.
        self._first_tab = 0
        self._ends: list[int] = []

    def show(self, state: QueryState) -> None:
        """Show a new state."""
        if state != self._state:
            self._state = state
            self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return one line."""
        state = self._state
        if state is None:
            return []
        right: list[Span] = []
        if state.run and width >= _WIDE:
            right.append((f"{own(state.run, 60)}  ", "running"))
        right.append(("✎ WRITES " if state.writes else "read only ", "bad" if state.writes else "muted"))
        tabs = self._tabs(state, width - cells(tuple(right)) - BETWEEN)
        room = width - cells((*tabs, *right)) - BETWEEN
        name = fitted(((f" {own(state.database, 80)} ", "strong"),), room)
        self._first_tab = cells(name)
        return [spread((*name, *tabs), tuple(right), width)]

    def _tabs(self, state: QueryState, room: int) -> Line:
        """Return every tab if that leaves room for the name of the database; else only the current tab."""
        self._ends = []
        if len(state.tabs) < 2:
            return ()
        names = [own(name, 20) for name in state.tabs]
        spans: list[Span] = []
        for place, name in enumerate(names):
            here = place == state.tab
            spans.append((f" {'▸' if here else ' '}{name}", "strong" if here else "muted"))
            self._ends.append(cells(tuple(spans)))
        if cells(tuple(spans)) <= room - min(_NAME, cell_len(own(state.database, 80)) + 2):
            return tuple(spans)
        # A click on the only tab goes to the next one.
        self._ends = []
        number, count = str(state.tab + 1), len(names)
        name = names[state.tab]
        return ((f" ▸{name}", "strong"), (f" of {count}" if name == number else f" {number} of {count}", "muted"))

    def on_click(self, event: events.Click) -> None:
        """Go to the tab under the mouse; if only one is shown, go to the next."""
        state = self._state
        if state is None or len(state.tabs) < 2 or event.x < self._first_tab:
            return
        if not self._ends:
            self.post_message(self.TabChosen(state.tab + 1))
            return
        place = bisect_right(self._ends, event.x - self._first_tab)
        if place < len(self._ends):
            self.post_message(self.TabChosen(place))


class QueryStatus(PaintedWidget):
    """One line: the state of the statement at the left, a remark (watching, charted) at the right."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line: Line = ()
        self._remark: Line = ()

    @property
    def text(self) -> str:
        """The text without its colours."""
        return "".join(text for text, _ in (*self._line, *self._remark))

    def ready(self) -> None:
        """Show that no statement was run yet."""
        self._set((" F5 runs the statement at the cursor", "muted"))

    def running(self, seconds: float, progress: float | None, *, ending: bool = False) -> None:
        """Show that a statement has run for `seconds`; `progress` is 0.0 to 1.0."""
        share = "" if progress is None or progress <= 0 else f"  {progress:.0%}"
        word = "ending" if ending else "running"
        self._set(
            (f" ▶ {word} {duration(seconds, short=True)}{share}", "running"),
            ("" if ending else "   Esc ends it", "muted"),
        )

    def done(self, rows: int, complete: bool, seconds: float) -> None:
        """Show the number of rows and the time of a finished statement."""
        counted = plural(rows, "row")
        said = counted if complete else f"first {counted} of more"
        self._set((f" ✔ {said}", "done"), (f" · {latency(seconds)}", "text"))

    def failed(self, text: str) -> None:
        """Show that the statement failed."""
        self._set((f" ▲ {own(text)}", "bad"))

    def say(self, text: str) -> None:
        """Show another message."""
        self._set((f" {own(text)}", "text"))

    def remark(self, text: str) -> None:
        """Show a text at the right end; empty for none."""
        self._remark = ((f"{own(text)} ", "accent"),) if text else ()
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return one line."""
        remark = fitted(self._remark, max(width - cells(self._line) - 1, 0))
        return [fitted(spread(self._line, remark, width), width)]

    def _set(self, *spans: tuple[str, str]) -> None:
        self._line = spans
        self.repaint()
