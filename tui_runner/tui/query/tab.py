"""The tabs of the query screen. Each tab has an editor, a line with the state of its statement, and the result.

Everything that blocks (running a statement, reading a page, comparing two results) is done in a thread and awaited.
A tab has one console (connection to the database), and so runs one statement at a time.
"""

from __future__ import annotations

import math
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
from tui_runner.store.access import Access, AnyConsole
from tui_runner.store.query.errors import CHANGES_DATA, ONLY_READS, QueryCancelled, QueryError
from tui_runner.store.query.pages import PAGE_ROWS, Pages
from tui_runner.store.query.statements import Statement, statement_at
from tui_runner.store.remote.client import OwnerGone
from tui_runner.text.numbers import duration
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import key_of
from tui_runner.tui.background import in_thread
from tui_runner.tui.base_app import COMPLAINT_SECONDS
from tui_runner.tui.query.cell_viewer import changed_cells
from tui_runner.tui.query.completion import Vocabulary
from tui_runner.tui.query.editor import Editor, Suggestions
from tui_runner.tui.query.header import Growth, QueryStatus
from tui_runner.tui.query.result_chart import ChartKind, ResultChart, suitable_kinds
from tui_runner.tui.query.result_grid import Order, ResultGrid

_TICK = 0.25
"""Seconds between two updates of the elapsed time of a running statement. The time is shown in seconds, so it is never
late by more than a quarter."""
AHEAD_ROWS = 1_000_000
"""Most rows that are read before the user scrolls to them if another process has the database. That process disconnects
a client that reads nothing for 20 s, and the client loses the rows that it has not read."""
_AHEAD_BYTES = 256 << 20
"""Most bytes of rows that are read before the user scrolls to them (256 MiB). They are stored in a temporary file. It
must not fill the disk with rows that the user may never see."""

_REST = 10
"""A watched statement that takes longer than its interval is run again after this multiple of its duration. So it
runs for a tenth of the time at most."""


class Shown(StrEnum):
    """The content of the lower part of a tab. Its value is the CSS class that shows it, after a dash."""

    NOTHING = "nothing"
    MESSAGE = "message"
    ROWS = "rows"
    CHART = "chart"


class QueryTab(Vertical):
    """An editor and the result of its last statement. A result is shown until the next result or error replaces it.

    Args:
        console: runs the statements; the tab closes it.
        suggestions: the completion list, which all editors share.
        text: the initial text of the editor.

    Attributes:
        file: the file from which the text was read or to which it was saved last; None without a file.
        saved: the text of `file`, or a text that tui-runner itself put into the editor.
        console: runs the statements.
        editor: the editor.
        shown: the content of the lower part.
        chart_kind: kind of the chart in which the result is drawn; None to show its rows. A chart stays for the next
            statement if its result has the same columns, for example after a change of a filter.
    """

    class Ran(Message):
        """Message: the user has started a statement in `tab`."""

        def __init__(self, tab: QueryTab, sql: str) -> None:
            super().__init__()
            self.tab = tab
            self.sql = sql

    class Failed(Message):
        """Message: a statement was refused, or ended with an error. With `ended`, the user has ended it."""

        def __init__(self, sql: str, *, ended: bool = False) -> None:
            super().__init__()
            self.sql = sql
            self.ended = ended

    def __init__(self, console: AnyConsole, suggestions: Suggestions, text: str = "") -> None:
        super().__init__()
        self.file: Path | None = None
        self.saved = ""
        self.console = console
        # Store the editor in an attribute, because its text is read after the screen was closed, when queries for
        # widgets find nothing.
        self.editor = Editor(text, suggestions=suggestions, id="editor")
        self._pages: Pages | None = None
        self._busy = False
        self._ending = False
        self._started = 0.0
        self._growth = Growth()
        self._timer: Timer | None = None
        self._last: tuple[Statement, Mapping[str, object]] | None = None
        self._every: float | None = None
        """Seconds from one run of the watched statement to the next, as requested; None if none is watched."""
        self._pace = 0.0
        """Seconds from one run of the watched statement to the next, as the last run allows."""
        self._order: Order | None = None
        self._last_watches: int | None = None
        """Number of results after which the statement is no longer run repeatedly; None for no limit."""
        self._why = ""
        self._updated = 0.0
        """Monotonic time in seconds at which the result arrived."""
        self._ages: Timer | None = None
        self._next: Timer | None = None
        self._naming: Timer | None = None
        """Runs until the statement of the result is compared with that at the cursor."""
        self._first: pa.Table | None = None
        self._no_more = ""
        self._closed = False
        self.shown = Shown.NOTHING
        self.chart_kind: ChartKind | None = None
        self._of_user = False
        """True if the user has started the statement that runs, or that ran last."""
        self._of_user_sql = ""
        self._waiting: tuple[Statement, Mapping[str, object], Order | None, float | None] | None = None
        """Statement of the user that starts when what runs now has ended."""
        self._runs_anew = False
        """True while a statement runs, unless it is a watched statement that runs again."""
        self._wants_chart = False
        """True if the user has asked for a chart of the result that is to come."""
        self._charted: pa.Schema | None = None
        """Columns of the result for which the user has chosen a chart; None before the first chart."""

    def compose(self) -> ComposeResult:
        """Yield the editor, the status, and the widgets for the result. One of these widgets is visible."""
        yield self.editor
        yield QueryStatus(id="status")
        yield Static(id="message", markup=False)
        yield ResultGrid(PAGE_ROWS, id="grid")
        yield ResultChart(id="result-chart")

    def on_descendant_focus(self) -> None:
        """Mark the status line if the result has the focus now."""
        self.set_class(self.screen.focused in self.result_parts, "-result-focus")

    def on_descendant_blur(self) -> None:
        """Remove the mark of the status line if the result has lost the focus."""
        self.set_class(self.screen.focused in self.result_parts, "-result-focus")

    def on_mount(self) -> None:
        """Show a hint in the status line, because no statement was run yet."""
        self.editor.border_title = "statements"
        self.status.ready(key_of(self.screen, "query.run"))
        self._show(Shown.NOTHING)

    @property
    def grid(self) -> ResultGrid:
        """The table of the result's rows."""
        return self.query_one("#grid", ResultGrid)

    @property
    def status(self) -> QueryStatus:
        """The status line between the editor and the result."""
        return self.query_one("#status", QueryStatus)

    @property
    def result_parts(self) -> list[Widget]:
        """The visible widgets of the result that can have the focus: the table or the chart, or none."""
        if self.shown is Shown.ROWS:
            return [self.grid]
        return [self.query_one(ResultChart)] if self.shown is Shown.CHART else []

    @property
    def busy(self) -> bool:
        """True while a statement runs or a page of rows is read."""
        return self._busy

    @property
    def runs_for_user(self) -> bool:
        """True while a statement runs that the user has started, and not one that the screen runs by itself."""
        return self._busy and self._of_user

    @property
    def pages(self) -> Pages | None:
        """The result, or None before the first result and after an error."""
        return self._pages

    @property
    def unfinished(self) -> str:
        """The statement of the user that is running; empty if there is none."""
        return self._of_user_sql if self._busy and self._of_user else ""

    @property
    def asked(self) -> tuple[Statement, Mapping[str, object]] | None:
        """The statement of the result and the values of its parameters, or None if there is no result."""
        return self._last

    @property
    def watching(self) -> bool:
        """True while the statement is watched, that is run repeatedly."""
        return self._every is not None

    def to_run(self) -> Statement | None:
        """Return the selected text as a statement, or else the statement at the cursor; None if there is none."""
        editor = self.editor
        text = editor.text
        if editor.selected_text.strip():
            start, end = sorted(editor.position_of(place) for place in editor.selection)
            found = statement_at(text[start:end], 0)
            if found is None or found.sql != text[start:end].strip().rstrip(";").strip():
                # Several statements are selected. Pass all of them to DuckDB, whose error says so.
                whole = text[start:end].strip()
                begin = start + len(text[start:end]) - len(text[start:end].lstrip())
                return Statement(whole, begin, begin + len(whole), found.parameters if found else ())
            return Statement(found.sql, found.start + start, found.end + start, found.parameters)
        return statement_at(text, editor.position)

    def start(
        self,
        statement: Statement,
        values: Mapping[str, object],
        order: Order | None = None,
        every: float | None = None,
    ) -> None:
        """Run a statement of the user. End what the screen runs or reads by itself.

        Args:
            statement: the statement.
            values: values of its parameters, by their names.
            order: the order that the user has requested and the statement has, for the heading; None for no order.
            every: seconds from one run of the statement to the next; None to run it once.
        """
        self.stop_watching()
        if self._busy:
            self._waiting = statement, values, order, every
            self.console.cancel()
            return
        self.status.remark("")
        if self.shown is Shown.MESSAGE:
            # Hide the error of the previous statement.
            self._show(Shown.NOTHING)
        self.post_message(self.Ran(self, statement.sql))
        self._of_user_sql = statement.sql
        self._order = order
        self._of_user = True
        if every is not None:
            self._begin_watching(every)
        self._run(statement, values)

    def begin_with(self, sql: str) -> None:
        """Run a statement that the user has not typed.

        The statement is selected in the editor, so that the first typed character replaces it. But a text that the user
        has typed or edited stays there.
        """
        editor = self.editor
        if not editor.text or editor.has_proposal:
            editor.propose(sql)
            self.saved = editor.text
        self._order = None
        self._of_user = False
        self._run(Statement(sql, 0, len(sql)), {})

    def cancel(self) -> bool:
        """End the running statement, and watch it no longer. Return True if there was anything to end."""
        was_watching = self.watching
        self.stop_watching("watching ended")
        if self._busy:
            self._ending = True
            self._look()
            self.console.cancel()
            return True
        return was_watching

    def watch_every(self, every: float) -> None:
        """Run the last statement every `every` seconds until the user ends it; less often if it takes longer."""
        self._begin_watching(every)
        self._tell_age()
        self._again()

    def _begin_watching(self, every: float) -> None:
        self._every = self._pace = every
        self._last_watches = None
        self._ages = self._ages or self.set_interval(1.0, self._tell_age)  # s, because the age is shown in seconds

    def _tell_age(self) -> None:
        """Show the age of a watched result in the status line, so that an old result does not look new."""
        if self._every is None or self._runs_anew:
            return
        seconds = int(time.monotonic() - self._updated)
        age = f"{seconds} s" if seconds < 60 else duration(seconds)
        verb = "every" if self._pace == self._every else "read every"
        self.status.remark(f"updated {age} ago · {verb} {self._pace:,g} s", gives_way=True)

    def watch_once_more(self, why: str) -> None:
        """Run the watched statement for the last time, and show `why` in the status line after its result."""
        # If the statement is running, it may have started before the last rows were written. Then a second result is
        # needed.
        self._last_watches, self._why = (2 if self._busy else 1), why
        if not self._busy:
            # The next run of a slow statement may be far off.
            self._again_in(_TICK)

    def stop_watching(self, why: str = "") -> None:
        """Run the watched statement no longer, and keep its result. The status line shows `why`."""
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
        """Draw the result as a chart of this kind, or show its rows if `kind` is None."""
        self.chart_kind = kind
        if self._first is not None:
            self._charted = self._first.schema
            self._show(Shown.ROWS if kind is None else Shown.CHART)
            self._draw()

    def next_chart(self) -> None:
        """Go from the rows of the result to the chart that suits it best, to another one, or back to the rows.

        While a statement runs, this is about its result: it is drawn as a chart when it arrives.
        """
        if self._runs_anew:
            self._wants_chart = True
        elif self._first is not None and self.result_parts:
            self.draw_chart(self._next_kind(self._first))

    def _next_kind(self, first: pa.Table) -> ChartKind | None:
        kinds = (*suitable_kinds(first, self._result_height), None)
        place = kinds.index(self.chart_kind) if self.chart_kind in kinds else -1
        return kinds[0] if self.chart_kind is None else kinds[place + 1]

    @property
    def _result_height(self) -> int:
        """Number of lines for the result. A hidden table or chart may have no size yet; half of the tab is less."""
        return max(self.grid.size.height, self.query_one(ResultChart).size.height, self.size.height // 2)

    def close(self) -> None:
        """End the statement and release all resources. The call blocks, so make it in a thread."""
        self._closed = True
        self.console.cancel()
        if self._pages is not None:
            self._pages.close()
        self.console.close()

    def leave(self) -> None:
        """Stop all timers, because the tab is being removed from the screen."""
        self._every = None
        for timer in (self._timer, self._ages, self._naming):
            if timer is not None:
                timer.stop()

    @work(exit_on_error=True)
    async def _run(self, statement: Statement, values: Mapping[str, object], *, keep: bool = False) -> None:
        if self._busy:
            return
        self._begin_busy()
        self._runs_anew, self._wants_chart = not keep, False
        if not keep:
            self.editor.clear_mistake()
            # The screen still shows the result of the previous statement: draw it paler.
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
            if not self._end_busy():
                self._fail(caught, statement, keep=keep)
            return
        self._end_busy()
        if self._closed:
            return
        if self._charted is not None and not self._charted.equals(first.schema):
            # The chart was chosen for other columns. Show the rows of another question first.
            self.chart_kind = self._charted = None
        if self._wants_chart and self.chart_kind is None:
            self.chart_kind, self._charted = suitable_kinds(first, self._result_height)[0], first.schema
        self._pages, self._first, self._last, self._no_more = pages, first, (statement, values), ""
        self._name_result()
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
        """Read up to `AHEAD_ROWS` rows of another process before the user scrolls to them.

        That process disconnects a client that reads nothing for 20 s. Stop at `_AHEAD_BYTES`, and after an error.
        """
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
                # When the user scrolls to these rows, they are read again, and the error is shown.
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
        self._of_user = False
        self._begin_busy()
        try:
            page = await in_thread(lambda: pages.page(number), "tui-runner-tab")
        except UserError as error:
            if self._end_busy():
                return
            self.grid.give_up_page(number)
            # No more rows can be read. The rows that were read so far stay visible.
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
        """Read the page that the grid needs."""
        event.stop()
        self._read_page(event.number)

    def on_text_area_changed(self) -> None:
        """Remove the mark of an error, because the text has changed."""
        self.editor.clear_mistake_of_other_text()
        self._name_result_soon()

    def on_text_area_selection_changed(self) -> None:
        """Compare the statement of the result with that at the cursor."""
        self._name_result_soon()

    def _name_result_soon(self) -> None:
        # Not at each key, because finding the statement at the cursor of a long script takes time.
        if self._last is not None and self._naming is None:
            self._naming = self.set_timer(_TICK, self._name_result)

    def _name_result(self) -> None:
        """Show the statement of the result if the one at the cursor is another."""
        self._naming = None
        sql = "" if self._last is None else self._last[0].sql
        if sql:
            at_cursor = self.to_run()
            sql = "" if at_cursor is not None and at_cursor.sql == sql else sql
        self.status.name_result(sql)

    def _begin_busy(self) -> None:
        self._busy, self._ending = True, False
        self._started = time.monotonic()
        self._growth = Growth()
        self._timer = self.set_interval(_TICK, self._look)

    def _end_busy(self) -> bool:
        """Return True if a statement of the user has waited for this end; it starts now."""
        self.remove_class("-older")
        self._busy = self._ending = self._runs_anew = False
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not self._closed:
            self.call_later(self.start, *waiting)
        return waiting is not None

    def _look(self) -> None:
        """Show the progress of the statement in the status line."""
        if self._busy and self.is_attached and (self._runs_anew or not self.watching or self._ending):
            seconds = time.monotonic() - self._started
            key = key_of(self.screen, "query.back")
            self.status.running(seconds, self._growth.of(self.console.progress(), seconds), key, ending=self._ending)

    def _fail(self, error: UserError, statement: Statement, *, keep: bool) -> None:
        if self._closed:
            return
        if keep and self._every is not None and isinstance(error, OwnerGone):
            # The other process ended during the answer, usually because its run has. Keep the rows; the next run of the
            # statement finds the process that has the database then.
            self._again_in(self._every)
            return
        self.stop_watching("watching ended" if keep else "")
        if isinstance(error, QueryCancelled):
            if not keep:
                self.post_message(self.Failed(statement.sql, ended=True))
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
            verb = "allows statements that change data" if self.console.can_write else "says how data can be changed"
            text += f"\n{key_of(self.screen, 'query.write_mode')} {verb}"
        self.query_one("#message", Static).update(Content(safe_text(text, newlines=True, limit=4_000)))
        self._pages = self._first = self._last = None
        self._name_result()
        self._show(Shown.MESSAGE)

    def _ended(self, seconds: float) -> None:
        """Show the previous result again, because the user has ended the statement.

        Rows of the previous result that were not read are lost, because a console has only one result.

        Args:
            seconds: how long the ended statement was running.
        """
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
        """Plan the next run of the watched statement. If the last run took longer than the interval, wait longer.

        Args:
            seconds: duration of the last run.
        """
        if self._every is None:
            return
        if self._last_watches is not None:
            self._last_watches -= 1
            if self._last_watches:
                self._again_in(_TICK)
            else:
                self.stop_watching(self._why)
            return
        # A statement that takes longer than the interval would be run all the time. Rows that arrive rarely are better
        # than none, so run it rarely instead.
        self._pace = self._every if seconds <= self._every else float(math.ceil(_REST * seconds))
        self._tell_age()
        self._again_in(max(self._pace - seconds, 0.05))

    def _again_in(self, seconds: float) -> None:
        if self._next is not None:
            self._next.stop()
        self._next = self.set_timer(seconds, self._again)

    def _again(self) -> None:
        if self._every is None:
            return
        if self._busy or self._last is None or not self.screen.is_current:
            # Try again soon: the screen is hidden, a page is being read, or the first run has not ended.
            self._again_in(_TICK)
        else:
            self._of_user = False
            self._run(*self._last, keep=True)

    def _show(self, what: Shown) -> None:
        focused = self.screen.focused
        self.shown = what
        for each in Shown:
            self.set_class(each is what, f"-{each}")
        chart = self.query_one(ResultChart)
        if focused is self.grid or focused is chart:
            # A widget that is hidden loses the focus. Give it to the widget that replaces it, after the refresh: until
            # the classes above are applied, that widget is still hidden and cannot take the focus.
            places = {Shown.ROWS: self.grid, Shown.CHART: chart}
            self.call_after_refresh(places.get(what, self.editor).focus)

    def _draw(self) -> None:
        if self._first is not None and self.chart_kind is not None and self._pages is not None:
            following = self._next_kind(self._first) or "table"
            keys = [f"{key_of(self.screen, 'query.chart')} {following}"]
            if following != "table":
                keys.append(f"{key_of(self.screen, 'query.back')} table")
            chart = self.query_one(ResultChart)
            chart.show(
                self._first, self.chart_kind, complete=self._pages.complete,
                keys="  ".join(keys), zoom=key_of(self.screen, "result.zoom"),
            )  # fmt: skip


def _answer(console: AnyConsole, sql: str, values: Mapping[str, object]) -> tuple[Pages, pa.Table, UserError | None]:
    """Run a statement. Return its result, its first page, and the error that ended this page early, or None. Blocks.

    Raises:
        UserError: the statement failed before its first row.
    """
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
    """Return the offset in the editor's text of a place in a statement.

    Args:
        statement: the statement.
        line: line of the statement, from 1.
        column: column in this line, from 1.
    """
    lines = statement.sql.split("\n")
    before = sum(len(each) + 1 for each in lines[: line - 1])
    return statement.start + before + column - 1


class QueryTabs(Container):
    """The tabs of a query screen. Only the current tab is shown.

    Args:
        suggestions: the completion list, which all editors share.
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
        """The current tab, or None if there is no tab yet."""
        return self._tabs[self.place] if self._tabs else None

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each tab: the name of its file, or its number if it has no file."""
        return tuple(tab.file.name if tab.file else str(number) for number, tab in enumerate(self._tabs, start=1))

    @property
    def unfinished(self) -> list[str]:
        """The statements of the user that are running."""
        return [tab.unfinished for tab in self._tabs if tab.unfinished]

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The text of each editor, and the text of its file, which is empty without a file."""
        return [(tab.editor.text, tab.saved) for tab in self._tabs]

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that completion can offer in all tabs."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        for tab in self._tabs:
            tab.editor.vocabulary = vocabulary

    async def add(self, console: AnyConsole, text: str = "") -> QueryTab:
        """Open a tab with `text` in its editor, and show it. The tab closes the console."""
        if self.writes and console.can_write:
            console.write = True
        tab = QueryTab(console, self._suggestions, text)
        try:
            await self.mount(tab)
        except BaseException:  # for example, the screen is being closed; it would not close this console
            console.close()
            raise
        # Show the tab only now, because a key may act on its parts, which exist after it was mounted.
        self._tabs.append(tab)
        tab.editor.vocabulary = self._vocabulary
        self.go_to(len(self._tabs) - 1)
        return tab

    def go_to(self, place: int) -> None:
        """Show the tab with index `place`. After the last tab comes the first, and before the first the last."""
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
            UserError: the database cannot be changed now. Then `writes` is False.
        """
        self.writes = False
        for tab in self._tabs:
            tab.console.write = wanted
        self.writes = wanted

    def leave(self) -> None:
        """Stop all timers, and cancel running statements without waiting for their ends."""
        for tab in self._tabs:
            tab.leave()
            tab.console.cancel()

    def close(self) -> None:
        """End all statements and close all consoles. Blocks."""
        for tab in self._tabs:
            tab.close()


class TabHost(Protocol):
    """The interface of the query screen for the modules that copy, export, and read and save files of statements."""

    app: App[object]

    @property
    def access(self) -> Access | None:
        """The access to the database, or None until the database is open."""

    @property
    def tab(self) -> QueryTab | None:
        """The current tab, or None if there is no tab yet."""

    @property
    def notify(self) -> Callable[..., None]:
        """Textual's method that shows a short message."""

    @property
    def run_worker(self) -> Callable[..., object]:
        """Textual's method that runs a coroutine."""

    async def add_tab(self, text: str = "") -> QueryTab | None:
        """Open and return a tab with `text` in its editor. Return None while the database is being opened."""

    def show_header(self) -> None:
        """Update the header of the screen."""

    def complain(self, error: UserError) -> None:
        """Show an error in a message."""
