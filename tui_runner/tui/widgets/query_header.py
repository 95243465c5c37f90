"""First line of the query screen: what is queried."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.message import Message

from tui_runner.tui.paint import BETWEEN, Line, PaintedWidget, Span, cells, fitted, own, spread

_WIDE = 60
"""Cells from which on the run is told, too."""
_NAME = 12
"""Cells that tabs leave to the name of the database."""


@dataclass(frozen=True, slots=True)
class QueryState:
    """What the first line says.

    Attributes:
        database: what is queried.
        run: the run that goes on in it, in a few words; empty for none.
        tabs: names of the tabs.
        tab: the place of the one that is shown.
        writes: whether statements may change data.
    """

    database: str
    run: str
    tabs: tuple[str, ...]
    tab: int
    writes: bool


class QueryHeader(PaintedWidget):
    """The database and the tabs at the left, whether data can be changed at the right."""

    class TabChosen(Message):
        """A tab was clicked."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state: QueryState | None = None
        # Where the first tab begins, and where each ends from there; no ends when only one tab is named.
        self._first_tab = 0
        self._ends: list[int] = []

    def show(self, state: QueryState) -> None:
        """Show this."""
        if state != self._state:
            self._state = state
            self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """One line."""
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
        """Every tab, where that leaves room for the name of the database; else the one that is shown."""
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
        # A click on it goes to the next.
        self._ends = []
        number, count = str(state.tab + 1), len(names)
        name = names[state.tab]
        return ((f" ▸{name}", "strong"), (f" of {count}" if name == number else f" {number} of {count}", "muted"))

    def on_click(self, event: events.Click) -> None:
        """Go to the tab under the mouse; where only one is named, to the next."""
        state = self._state
        if state is None or len(state.tabs) < 2 or event.x < self._first_tab:
            return
        if not self._ends:
            self.post_message(self.TabChosen(state.tab + 1))
            return
        place = bisect_right(self._ends, event.x - self._first_tab)
        if place < len(self._ends):
            self.post_message(self.TabChosen(place))
