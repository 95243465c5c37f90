"""Two lines of the query screen: the header above the editor, and the state of the statement below the editor."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.message import Message

from tui_runner.text.messages import shortened
from tui_runner.text.numbers import duration, latency, plural
from tui_runner.tui.widgets.paint import BETWEEN, Line, PaintedWidget, Span, cells, fitted, own, spread

_WIDE = 60
"""Fewest cells of a terminal on which the run is shown. On narrower terminals the tabs need the room."""
_NAME = 12
"""Fewest cells for the name of the database beside the tabs, so that the user recognises it."""


@dataclass(frozen=True, slots=True)
class QueryState:
    """The content of the header.

    Attributes:
        database: name of the database.
        run: a few words about the run that this program shows; empty if it shows none.
        tabs: names of the tabs.
        tab: index of the current tab.
        writes: True if statements may change data.
    """

    database: str
    run: str
    tabs: tuple[str, ...]
    tab: int
    writes: bool


_STUCK = 2.0
"""Seconds for which DuckDB's progress of a statement is shown if it does not grow."""


class Growth:
    """Tells a progress that grows from one that says nothing.

    DuckDB reports how much of a table it has read. During a large join or a sort, which may take most of the time, that
    does not grow: it stays at 73 %, or at 100 %, from the first moment to the end.
    """

    def __init__(self) -> None:
        self._least = 1.0
        self._most = 0.0
        self._grown_at = 0.0

    def of(self, progress: float | None, seconds: float) -> float | None:
        """Return `progress` if it has grown since the first call and within the last `_STUCK` seconds, else None.

        Args:
            progress: share that is done, 0.0 to 1.0; None if unknown.
            seconds: duration of the statement so far.
        """
        if progress is None or progress <= 0:
            return None
        self._least = min(self._least, progress)
        if progress > self._most:
            self._most, self._grown_at = progress, seconds
        has_grown = self._least < self._most < 1.0
        return progress if has_grown and seconds - self._grown_at < _STUCK else None


class QueryHeader(PaintedWidget):
    """The header: the database and the tabs at the left, the run and the mode (read only or writes) at the right."""

    class TabChosen(Message):
        """Message: the user has clicked a tab."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state: QueryState | None = None
        # Cell at which the first tab begins, and for each tab, the cell at which it ends, counted from the first tab.
        # There are no ends if only the current tab is shown.
        self._first_tab = 0
        self._ends: list[int] = []

    def show(self, state: QueryState) -> None:
        """Show `state`."""
        if state != self._state:
            self._state = state
            self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the only line."""
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
        """Return all tabs if they leave room for the database's name, else the current tab and the number of tabs."""
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
        # Without ends, `on_click` goes to the next tab.
        self._ends = []
        number, count = str(state.tab + 1), len(names)
        name = names[state.tab]
        return ((f" ▸{name}", "strong"), (f" of {count}" if name == number else f" {number} of {count}", "muted"))

    def on_click(self, event: events.Click) -> None:
        """Go to the tab under the mouse. If only the current tab is shown, go to the next one."""
        state = self._state
        if state is None or len(state.tabs) < 2 or event.x < self._first_tab:
            return
        if not self._ends:
            self.post_message(self.TabChosen(state.tab + 1))
            return
        place = bisect_right(self._ends, event.x - self._first_tab)
        if place < len(self._ends):
            self.post_message(self.TabChosen(place))


_STATEMENT = 24
"""Least cells for the statement of a result beside a remark. With fewer, one of the two is left out."""
_JOINT = " · "


class QueryStatus(PaintedWidget):
    """One line below the editor: the state of the statement at the left, and a remark at the right."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line: Line = ()
        self._remark: Line = ()
        self._gives_way = False
        self._statement = ""

    @property
    def text(self) -> str:
        """The text of the line, without colours."""
        return "".join(text for text, _ in (*self._line, *self._remark))

    def ready(self, key: str) -> None:
        """Show that the key `key` runs a statement, because none was run yet."""
        self._set((f" {key} runs the statement at the cursor", "muted"))

    def running(self, seconds: float, progress: float | None, key: str, *, ending: bool = False) -> None:
        """Show that a statement is running.

        Args:
            seconds: how long it has been running.
            progress: share that is done, 0.0 to 1.0; None if unknown.
            key: the key that ends it.
            ending: True if the user has asked to end it.
        """
        share = "" if progress is None else f"  {progress:.0%}"
        word = "ending" if ending else "running"
        self._set(
            (f" ▶ {word} {duration(seconds, short=True)}{share}", "running"),
            ("" if ending else f"   {key} ends it", "muted"),
        )

    def done(self, rows: int, complete: bool, seconds: float) -> None:
        """Show the number of rows and the duration of a statement.

        Args:
            rows: number of rows that were read so far.
            complete: True if the result has no more rows.
            seconds: duration of the statement.
        """
        counted = plural(rows, "row")
        result = counted if complete else f"first {counted}, more follow"
        self._set((f" ✔ {result}", "done"), (f" · {latency(seconds)}", "text"))

    def failed(self, text: str) -> None:
        """Show that a statement failed, with a text about the error."""
        self._set((f" ▲ {own(text)}", "bad"))

    def say(self, text: str) -> None:
        """Show any other text in place of the state."""
        self._set((f" {own(text)}", "text"))

    def remark(self, text: str, *, gives_way: bool = False) -> None:
        """Show a remark at the right end. An empty text removes it.

        If there is no room for the remark and the statement of the result, the statement is left out, or with
        `gives_way` the remark.
        """
        self._gives_way = gives_way
        self._remark = ((f"{own(text)} ", "accent"),) if text else ()
        self.repaint()

    def name_result(self, sql: str) -> None:
        """Show the statement of the result before the remark, because the editor has another one; empty: remove it."""
        if sql != self._statement:
            self._statement = sql
            self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the only line."""
        room = max(width - cells(self._line) - BETWEEN, 0)
        remark = self._remark
        if self._statement:
            text = f"result of {own(' '.join(self._statement.split()), 300)}"
            if self._gives_way and room - cells(remark) - len(_JOINT) < _STATEMENT:
                remark = ()
            end = _JOINT if remark else " "
            rest = room - cells(remark) - len(end)
            if not remark or rest >= _STATEMENT:
                remark = ((shortened(text, max(rest, 0)), "warn"), (end, "muted"), *remark)
        return [fitted(spread(self._line, fitted(remark, room), width), width)]

    def _set(self, *spans: tuple[str, str]) -> None:
        self._line = spans
        self.repaint()
