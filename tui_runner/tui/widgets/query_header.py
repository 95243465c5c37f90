"""First line of the query screen: what is queried."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.message import Message

from tui_runner.tui.paint import Line, PaintedWidget, Span, own, spread


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
        left: list[Span] = [(f" {own(state.database, 80)} ", "strong")]
        if len(state.tabs) > 1:
            for place, name in enumerate(state.tabs):
                here = place == state.tab
                left.append((f" {'▸' if here else ' '}{own(name, 20)}", "strong" if here else "muted"))
        right: list[Span] = []
        if state.run and width >= 60:
            right.append((f"{own(state.run, 60)}  ", "running"))
        right.append(("✎ WRITES " if state.writes else "read only ", "bad" if state.writes else "muted"))
        return [spread(tuple(left), tuple(right), width)]

    def on_click(self, event: events.Click) -> None:
        """Go to the tab under the mouse."""
        state = self._state
        if state is None or len(state.tabs) < 2:
            return
        start = len(f" {own(state.database, 80)} ")
        for place, name in enumerate(state.tabs):
            end = start + len(own(name, 20)) + 2
            if start <= event.x < end:
                self.post_message(self.TabChosen(place))
            start = end
