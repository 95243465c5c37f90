"""The tabs of the query screen: each has an editor, the state of its statement, and the rows.

Everything that blocks (running a statement, reading a page, comparing two results) is done in a thread and awaited.
A tab has one console, and so one statement at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from textual import work
from textual.app import App, ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from tui_runner.errors import UserError
from tui_runner.store.access import Access
from tui_runner.store.query.console import Console
from tui_runner.store.query.errors import CHANGES_DATA, ONLY_READS, QueryCancelled, QueryError
from tui_runner.store.query.pages import PAGE_ROWS, Pages
from tui_runner.store.query.statements import Statement, statement_at
from tui_runner.store.remote.client import RemoteConsole
from tui_runner.text.numbers import duration
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import key_of
from tui_runner.tui.background import in_thread
from tui_runner.tui.base_app import COMPLAINT_SECONDS
from tui_runner.tui.query.cell_viewer import changed_cells
from tui_runner.tui.query.completion import Vocabulary
from tui_runner.tui.query.editor import Editor, Suggestions
from tui_runner.tui.query.header import QueryStatus
from tui_runner.tui.query.result_chart import ChartKind, ResultChart
from tui_runner.tui.query.result_grid import Order, ResultGrid

_TICK = 0.25
"""Seconds between two checks of a running statement, whose elapsed time is shown in seconds."""
AHEAD_ROWS = 1_000_000
"""Rows that are read before the user scrolls to them if another process owns the database: it disconnects a client that
reads nothing for 20 s."""
_AHEAD_BYTES = 256 << 20
"""Most bytes of rows that are read before the user scrolls to them. A temporary file holds them."""


class Shown(StrEnum):
    """Content of the lower part of a tab; also the CSS class that shows it."""

    NOTHING = "nothing"
    MESSAGE = "message"
    ROWS = "rows"
    CHART = "chart"


class QueryTab(Vertical):
    """An editor and its result. A result stays until the next result replaces it, also when the user ends a statement.

    Attributes:
        file: file of the text; None for a text that was neither read from nor saved to a file.
        saved: text of that file.
        editor: the editor.
    """

    class Ran(Message):
        """Message: a statement was started."""

        def __init__(self, sql: str) -> None:
            super().__init__()
            self.sql = sql

    class Failed(Message):
        """Message: a statement was refused, or ended with an error."""

        def __init__(self, sql: str) -> None:
            super().__init__()
            self.sql = sql

    def __init__(self, console: Console | RemoteConsole, suggestions: Suggestions, text: str = "") -> None:
        super().__init__()
        self.file: Path | None = None
        self.saved = ""
        self.console = console
        # The editor is stored here, so that its text is accessible after the screen is gone.
        self.editor = Editor(text, suggestions=suggestions, id="editor")
        self._pages: Pages | None = None
        self._busy = False
        self._ending = False
        self._started = 0.0
        self._timer: Timer | None = None
        self._last: tuple[Statement, Mapping[str, object]] | None = None
        self._every: float | None = None
        self._order: Order | None = None
        self._last_watches: int | None = None
        """Number of results after which watching ends by itself; None if only the user ends it."""
        self._why = ""
        self._updated = 0.0
        """Monotonic time at which the result arrived."""
        self._ages: Timer | None = None
        self._next: Timer | None = None
        self._first: pa.Table | None = None
        self._no_more = ""
        self._closed = False
        self.shown = Shown.NOTHING
        self.chart_kind: ChartKind | None = None

    def compose(self) -> ComposeResult:
        """Yield the editor, the status, and the result."""
        yield self.editor
        yield QueryStatus(id="status")
        yield Static(id="message", markup=False)
        yield ResultGrid(PAGE_ROWS, id="grid")
        yield ResultChart(id="result-chart")

    def on_descendant_focus(self) -> None:
        """Mark the line above the result while the result has the focus."""
        self.set_class(self.screen.focused in self.result_parts, "-result-focus")

    def on_descendant_blur(self) -> None:
        """Update the line above the result when the focus leaves."""
        self.set_class(self.screen.focused in self.result_parts, "-result-focus")

    def on_mount(self) -> None:
        """Show that no statement was run yet."""
        self.editor.border_title = "statements"
        self.status.ready()
        self._show(Shown.NOTHING)

    @property
    def grid(self) -> ResultGrid:
        """The rows."""
        return self.query_one("#grid", ResultGrid)

    @property
    def status(self) -> QueryStatus:
        """The line between editor and result."""
        return self.query_one("#status", QueryStatus)

    @property
    def result_parts(self) -> list[Widget]:
        """The parts of the result that can have the focus now."""
        if self.shown is Shown.ROWS:
            return [self.grid]
        return [self.query_one(ResultChart)] if self.shown is Shown.CHART else []

    @property
    def busy(self) -> bool:
        """True if a statement runs or rows are read."""
        return self._busy

    @property
    def pages(self) -> Pages | None:
        """The result; None before the first."""
        return self._pages

    @property
    def asked(self) -> tuple[Statement, Mapping[str, object]] | None:
        """The statement of the result, with the values of its parameters; None before the first one."""
        return self._last

    @property
    def watching(self) -> bool:
        """True if the statement is run repeatedly."""
        return self._every is not None

    def to_run(self) -> Statement | None:
        """Return the selected statement, or else the statement at the cursor; None if there is none."""
        editor = self.editor
        text = editor.text
        if editor.selected_text.strip():
            start, end = sorted(editor.position_of(place) for place in editor.selection)
            found = statement_at(text[start:end], 0)
            if found is None or found.sql != text[start:end].strip().rstrip(";").strip():
                # If several statements are selected, DuckDB reports that.
                whole = text[start:end].strip()
                begin = start + len(text[start:end]) - len(text[start:end].lstrip())
                return Statement(whole, begin, begin + len(whole), found.parameters if found else ())
            return Statement(found.sql, found.start + start, found.end + start, found.parameters)
        return statement_at(text, editor.position)

    def start(self, statement: Statement, values: Mapping[str, object], order: Order | None = None) -> None:
        """Run a statement. `order` is the column by which it sorts at the user's request, for the heading."""
        self.stop_watching()
        self.status.remark("")
        if self.shown is Shown.MESSAGE:
            # Remove the error of the previous statement.
            self._show(Shown.NOTHING)
        self.post_message(self.Ran(statement.sql))
        self._order = order
        self._run(statement, values)

    def begin_with(self, sql: str) -> None:
        """Run a statement that was not typed. It is selected, so that typing replaces it."""
        editor = self.editor
        editor.load_text(sql)
        editor.select_all()
        self.saved = editor.text
        self._order = None
        self._run(Statement(sql, 0, len(sql)), {})

    def cancel(self) -> bool:
        """End the running statement and watching. Return True if there was anything to end."""
        was_watching = self.watching
        self.stop_watching("watching ended")
        if self._busy:
            self._ending = True
            self._look()
            self.console.cancel()
            return True
        return was_watching

    def watch_every(self, every: float) -> None:
        """Run the last statement repeatedly, a run each `every` seconds, until a run takes longer."""
        self._every = every
        self._ages = self._ages or self.set_interval(1.0, self._tell_age)  # the age is in seconds
        self._tell_age()
        self._again()

    def _tell_age(self) -> None:
        """Show the age of a watched result, so that an old result does not look new."""
        if self._every is None:
            return
        seconds = int(time.monotonic() - self._updated)
        age = f"{seconds} s" if seconds < 60 else duration(seconds)
        self.status.remark(f"updated {age} ago · every {self._every:g} s")

    def watch_once_more(self, why: str) -> None:
        """Stop watching after the next result. `why` is shown in the line above it."""
        # A running statement may have started before the last rows were written, so wait for one more result.
        self._last_watches, self._why = (2 if self._busy else 1), why

    def stop_watching(self, why: str = "") -> None:
        """Stop watching and keep the result. `why` is shown in the line above it."""
        if self._next is not None:
            self._next.stop()
        self._last_watches = None
        if self._every is not None:
            self._every = None
            if self._ages is not None:
                self._ages.stop()
                self._ages = None
            self.status.remark(why)

    def draw_chart(self, kind: ChartKind | None) -> None:
        """Draw the result, or show its rows if `kind` is None."""
        self.chart_kind = kind
        if self._first is not None:
            self._show(Shown.ROWS if kind is None else Shown.CHART)
            self._draw()

    def close(self) -> None:
        """End the statement and release all resources; blocks, so call it in a thread."""
        self._closed = True
        self.console.cancel()
        if self._pages is not None:
            self._pages.close()
        self.console.close()

    def leave(self) -> None:
        """Stop all timers, because the tab is no longer shown."""
        self._every = None
        for timer in (self._timer, self._ages):
            if timer is not None:
                timer.stop()

    @work(exit_on_error=True)
    async def _run(self, statement: Statement, values: Mapping[str, object], *, keep: bool = False) -> None:
        if self._busy:
            return
        self._begin_busy()
        if not keep:
            self.editor.clear_mistake()
            # The screen still shows the result of the previous statement.
            self.add_class("-older")
        old, before = self._pages, self._first if keep else None
        console = self.console

        def call() -> tuple[Pages, pa.Table, UserError | None, frozenset[tuple[int, int]]]:
            ended = False
            try:
                pages, table, error = _answer(console, statement.sql, values)
                return pages, table, error, changed_cells(before, table)
            except QueryCancelled:
                ended = True
                raise
            finally:
                if old is not None and not ended:
                    old.close()

        try:
            pages, first, error, changed = await in_thread(call, "tui-runner-tab")
        except UserError as caught:
            self._end_busy()
            self._fail(caught, statement, keep=keep)
            return
        self._end_busy()
        if self._closed:
            return
        self._pages, self._first, self._last, self._no_more = pages, first, (statement, values), ""
        self._updated = time.monotonic()
        seconds = self._updated - self._started
        self.grid.load(
            pages.schema, first, rows=pages.rows_known, complete=pages.complete or error is not None,
            keep=keep, changed=changed, order=self._order,
        )  # fmt: skip
        self.status.done(pages.rows_known, pages.complete, seconds)
        if error is not None:
            self.status.failed(f"after {pages.rows_known:,} rows: {error}")
        self._show(Shown.CHART if self.chart_kind is not None else Shown.ROWS)
        self._draw()
        self._watch_on(seconds)
        if console.impatient and not self.watching and error is None:
            self._read_ahead(pages, seconds)

    @work
    async def _read_ahead(self, pages: Pages, seconds: float) -> None:
        """Fetch rows from another process before they are needed for scrolling."""
        while (
            pages is self._pages
            and not (pages.complete or self._closed)
            and pages.rows_known < AHEAD_ROWS
            and pages.nbytes < _AHEAD_BYTES
        ):
            number = pages.rows_known // PAGE_ROWS
            try:
                await in_thread(lambda number=number: pages.page(number), "tui-runner-ahead")  # type: ignore[misc]
            except UserError:
                # The error is shown when the user scrolls there.
                return
            if pages is self._pages and not self._busy and self.is_attached:
                self.grid.grow(pages.rows_known, pages.complete)
                self.status.done(pages.rows_known, pages.complete, seconds)

    @work
    async def _read_page(self, number: int) -> None:
        pages = self._pages
        if pages is None or self._busy:
            self.grid.give_up_page(number)
            return
        self._begin_busy()
        try:
            page = await in_thread(lambda: pages.page(number), "tui-runner-tab")
        except UserError as error:
            self._end_busy()
            self.grid.give_up_page(number)
            # There will be no more rows; those read so far stay visible.
            self.grid.grow(pages.rows_known, complete=True)
            self._no_more = f"first {pages.rows_known:,} rows only: {error.do or error.what}"
            self.status.failed(self._no_more)
            self.notify(safe_text(str(error), limit=400), severity="error", markup=False, timeout=COMPLAINT_SECONDS)
            return
        self._end_busy()
        if pages is self._pages:
            complete = pages.complete or bool(self._no_more)
            self.grid.add_page(number, page, rows=pages.rows_known, complete=complete)
            if self._no_more:
                self.status.failed(self._no_more)
            else:
                self.status.done(pages.rows_known, complete, time.monotonic() - self._started)

    def on_result_grid_page_wanted(self, event: ResultGrid.PageWanted) -> None:
        """Read a page that the grid needs."""
        event.stop()
        self._read_page(event.number)

    def on_text_area_changed(self) -> None:
        """Remove the mark of an error once the text has changed."""
        self.editor.clear_mistake_of_other_text()

    def _begin_busy(self) -> None:
        self._busy, self._ending = True, False
        self._started = time.monotonic()
        self._timer = self.set_interval(_TICK, self._look)

    def _end_busy(self) -> None:
        self.remove_class("-older")
        self._busy = self._ending = False
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _look(self) -> None:
        """Show the progress of the statement."""
        if self._busy and self.is_attached and (not self.watching or self._ending):
            seconds = time.monotonic() - self._started
            self.status.running(seconds, self.console.progress(), ending=self._ending)

    def _fail(self, error: UserError, statement: Statement, *, keep: bool) -> None:
        if self._closed:
            return
        self.stop_watching("watching ended" if keep else "")
        if isinstance(error, QueryCancelled):
            self._ended(time.monotonic() - self._started)
            return
        place = ""
        if isinstance(error, QueryError) and error.line is not None and not keep:
            position = _position(statement, error.line, error.column or 1)
            row, column = self.editor.location_of(position)
            place = f"line {row + 1}, column {column + 1}"
            if self.editor.text[statement.start : statement.end] == statement.sql:
                self.editor.mark_mistake(position)
        self.status.failed(f"failed: {place}" if place else "failed")
        self.post_message(self.Failed(statement.sql))
        text = str(error)
        if error.what in (CHANGES_DATA, ONLY_READS):
            text += f"\n{key_of(self.screen, 'query.write_mode')} allows statements that change data"
        self.query_one("#message", Static).update(Content(safe_text(text, newlines=True, limit=4_000)))
        self._pages = self._first = self._last = None
        self._show(Shown.MESSAGE)

    def _ended(self, seconds: float) -> None:
        """Return to the previous result. Its unread rows are lost with its statement."""
        said = f"⊘ ended after {seconds:.1f} s"
        pages = self._pages
        if pages is None:
            self.status.say(said)
            self._show(Shown.NOTHING)
            return
        if not pages.complete:
            self._no_more = f"first {pages.rows_known:,} rows only: run the statement again"
            self.grid.grow(pages.rows_known, complete=True)
        self.status.say(f"{said}; this result is older")

    def _watch_on(self, seconds: float) -> None:
        """Run the watched statement again when it is due. Stop watching if it takes longer than its interval."""
        if self._every is None:
            return
        if self._last_watches is not None:
            self._last_watches -= 1
            if not self._last_watches:
                self.stop_watching(self._why)
                return
        if seconds > self._every:
            self.stop_watching(f"watching ended: {seconds:.1f} s is longer than {self._every:g} s")
            return
        self._again_in(max(self._every - seconds, 0.05))

    def _again_in(self, seconds: float) -> None:
        if self._next is not None:
            self._next.stop()
        self._next = self.set_timer(seconds, self._again)

    def _again(self) -> None:
        if self._every is None:
            return
        if self._busy or self._last is None or not self.screen.is_current:
            # The tab is hidden, a page is being read, or the watched statement runs for the first time.
            self._again_in(_TICK)
        else:
            self._run(*self._last, keep=True)

    def _show(self, what: Shown) -> None:
        focused = self.screen.focused
        self.shown = what
        for each in Shown:
            self.set_class(each is what, f"-{each}")
        chart = self.query_one(ResultChart)
        if focused is self.grid or focused is chart:
            # A hidden part loses the focus; the part that replaces it gets the focus.
            places = {Shown.ROWS: self.grid, Shown.CHART: chart}
            self.call_after_refresh(places.get(what, self.editor).focus)

    def _draw(self) -> None:
        if self._first is not None and self.chart_kind is not None and self._pages is not None:
            self.query_one(ResultChart).show(self._first, self.chart_kind, complete=self._pages.complete)


def _answer(
    console: Console | RemoteConsole, sql: str, values: Mapping[str, object]
) -> tuple[Pages, pa.Table, UserError | None]:
    """Return the result of a statement, its first page, and an error that ended the page early, or None. Blocks."""
    pages = Pages(console.query(sql, values), page_rows=PAGE_ROWS)
    error = None
    try:
        first = pages.page(0)
    except UserError as caught:
        if not pages.rows_known:
            pages.close()
            raise
        first, error = pages.page(0), caught
    except BaseException:
        pages.close()
        raise
    return pages, first if first is not None else pages.schema.empty_table(), error


def _position(statement: Statement, line: int, column: int) -> int:
    """Return the offset in the whole text of a line and column of a statement, both from 1."""
    lines = statement.sql.split("\n")
    before = sum(len(each) + 1 for each in lines[: line - 1])
    return statement.start + before + column - 1


class QueryTabs(Container):
    """The tabs of a query screen; one of them is shown.

    Args:
        suggestions: the list of words, which all editors share.
        id: id of the widget.

    Attributes:
        place: index of the current tab, from 0.
        writes: True if statements may change data.
    """

    def __init__(self, suggestions: Suggestions, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._suggestions = suggestions
        self._tabs: list[QueryTab] = []
        self._vocabulary = Vocabulary()
        self.place = 0
        self.writes = False

    @property
    def current(self) -> QueryTab | None:
        """The current tab; None before the first."""
        return self._tabs[self.place] if self._tabs else None

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each tab: the name of its file, or its number if it has no file."""
        return tuple(tab.file.name if tab.file else str(number) for number, tab in enumerate(self._tabs, start=1))

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Text of each editor, and the text of its file."""
        return [(tab.editor.text, tab.saved) for tab in self._tabs]

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that are offered."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        for tab in self._tabs:
            tab.editor.vocabulary = vocabulary

    async def add(self, console: Console | RemoteConsole, text: str = "") -> QueryTab:
        """Open a tab with `text` in its editor, and show it. The tab owns the console."""
        if self.writes and console.can_write:
            console.write = True
        tab = QueryTab(console, self._suggestions, text)
        try:
            await self.mount(tab)
        except BaseException:  # for example, the screen is being closed, which does not know this console yet
            console.close()
            raise
        # Do not show the tab earlier: before it is mounted, it has no parts on which a key could act.
        self._tabs.append(tab)
        tab.editor.vocabulary = self._vocabulary
        self.go_to(len(self._tabs) - 1)
        return tab

    def go_to(self, place: int) -> None:
        """Show the tab with index `place`; after the last tab comes the first."""
        if not self._tabs:
            return
        self.place = place % len(self._tabs)
        for number, tab in enumerate(self._tabs):
            tab.set_class(number == self.place, "-current")
        self._tabs[self.place].editor.focus()

    async def close_current(self) -> None:
        """Close the current tab, unless it is the only one."""
        if len(self._tabs) < 2:
            return
        tab = self._tabs.pop(self.place)
        tab.leave()
        self.go_to(max(self.place - 1, 0))
        await tab.remove()
        await in_thread(tab.close, "tui-runner-close")

    def set_write(self, wanted: bool) -> None:
        """Allow statements that change data in every tab, or forbid them.

        Raises:
            UserError: the database cannot be changed now; statements that change data stay forbidden in all tabs.
        """
        self.writes = False
        for tab in self._tabs:
            tab.console.write = wanted
        self.writes = wanted

    def leave(self) -> None:
        """Stop drawing, and cancel running statements without waiting for them."""
        for tab in self._tabs:
            tab.leave()
            tab.console.cancel()

    def close(self) -> None:
        """End statements and close every console; blocks."""
        for tab in self._tabs:
            tab.close()


class TabHost(Protocol):
    """Interface of the screen that holds the tabs, for copying, exporting and files of statements."""

    app: App[object]

    @property
    def access(self) -> Access | None:
        """The database; None until it is open."""

    @property
    def tab(self) -> QueryTab | None:
        """The current tab; None if there is none."""

    @property
    def notify(self) -> Callable[..., None]:
        """Show a short message (Textual's method)."""

    @property
    def run_worker(self) -> Callable[..., object]:
        """Run a coroutine (Textual's method)."""

    async def add_tab(self, text: str = "") -> QueryTab | None:
        """Open a tab with `text` in its editor, and return it; None while the database is being opened."""

    def show_header(self) -> None:
        """Update the first line."""

    def complain(self, error: UserError) -> None:
        """Show an error."""
