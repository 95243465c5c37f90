"""The query screen: a catalog of the tables, and tabs, each with an editor and a result.

A tab runs its own statements (module `tab`), and shows them with `editor`, `result_grid` and `result_chart`. The
modules `copy_export` and `script_files` have the dialogs for copies, exports and files of statements. `unsaved` stores
typed text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import ClassVar

import pyarrow as pa
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer

from tui_runner.engine.states import ChunkState
from tui_runner.errors import UserError
from tui_runner.store.access import Access, AnyConsole
from tui_runner.store.export.cells import is_number
from tui_runner.store.query.catalog import (
    NEWEST_FIRST,
    CatalogTable,
    catalog,
    column_statistics_sql,
    is_active,
    newest_rows,
    query_templates,
    sorted_sql,
)
from tui_runner.store.query.statements import Statement, has_limit, typed_value
from tui_runner.text.numbers import NONE, ago
from tui_runner.text.paths import cut_middle
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import DEFAULT_KEYS, Keys, bindings, key_of
from tui_runner.tui.actions.model import QUERY_HELP, QUERY_PARTS, Place
from tui_runner.tui.background import in_thread
from tui_runner.tui.base_app import COMPLAINT_SECONDS
from tui_runner.tui.dialogs.help import Help
from tui_runner.tui.dialogs.questions import Ask, AskTexts, Confirm, Pick, pick_one
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.query.catalog_tree import Catalog
from tui_runner.tui.query.cell_viewer import CellViewer, point_width, shown_number, type_name, whole_text
from tui_runner.tui.query.completion import Vocabulary, name_in_sql, read_words, with_tables
from tui_runner.tui.query.copy_export import copy_rows, export_result
from tui_runner.tui.query.editor import Suggestions
from tui_runner.tui.query.header import QueryHeader, QueryState
from tui_runner.tui.query.result_grid import ResultGrid
from tui_runner.tui.query.script_files import History, edit_elsewhere, open_script, save_script
from tui_runner.tui.query.tab import QueryTab, QueryTabs, Shown
from tui_runner.tui.query.unsaved import UnsavedStatements, unsaved_texts
from tui_runner.tui.terminal.textual_fixes import EarlyClose
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.paint import CHUNK_GLYPHS, own

NARROW = 72
"""Cells of a terminal below which the catalog is shown only on request, in place of the tabs. The catalog has 30 cells
(`styles/query.tcss`), so that statements and results beside it have at least 42."""
REFRESH = 3.0
"""Seconds between two reads of the catalog. New tables appear soon after they were created, and a read takes
milliseconds."""
_LIVE = 2.0
"""Seconds between two reads of the newest rows of a run. A user could not read rows that change more often."""
_KEEP_SECONDS = 1.0
"""Seconds from a change of the text until the text is stored in a file. If the program is killed, what was typed in the
last second is lost."""
INTERVALS = (1.0, 2.0, 5.0, 10.0, 60.0)
"""Seconds between two runs of a watched statement, from which the user chooses."""
_OF_A_TABLE = ("result.sort", "result.statistics", "result.go_to_row", "result.copy_cell")
"""Actions on the cell under the cursor. A chart has no cursor, so its footer leaves them out."""


class QueryScreen(EarlyClose, Screen[None]):
    """The screen for queries of one database.

    Args:
        open_access: opens the database; called once, in a thread.
        history: statements that were run before.
        leave: called when the user leaves the screen.
        run: returns a few words about the run that this program shows, or an empty text if it shows none.
        is_running: returns True while that run is in progress. The run of another process is found by `access`.
        keys: the keys of every action.
        refresh: seconds between two reads of the catalog.
        newest: True to begin with the newest rows of the table that the newest run writes.
        unsaved: stores typed text; None to store nothing.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.QUERY, Place.RESULT)]

    def __init__(
        self,
        open_access: Callable[[], Access],
        *,
        history: History,
        leave: Callable[[], None],
        run: Callable[[], str] = str,
        is_running: Callable[[], bool] = bool,
        keys: Keys = DEFAULT_KEYS,
        refresh: float = REFRESH,
        newest: bool = True,
        unsaved: UnsavedStatements | None = None,
    ) -> None:
        super().__init__()
        self._unsaved = unsaved
        self._keeping: Timer | None = None
        self._newest = newest
        self._order: tuple[str, str, bool] | None = None
        """The last order that the user has requested: the statement before it was sorted, the name of the column, and
        True if the highest values come first. None before the first request."""
        self._open_access = open_access
        self._history = history
        self._leave = leave
        self._run_text = run
        self._is_running = is_running
        self._opening: tuple[QueryTab, str] | None = None
        """The tab that shows the newest rows, and its statement, which is run repeatedly while any run is in progress.
        None before there are rows, and after the user has run another statement or has chosen what is watched."""
        self._announced = ""
        """Statement for the newest rows of another table, of which the user was told."""
        self._run_goes_on = False
        """True if a run was in progress at the last read of the catalog."""
        self._keys = keys
        self._refresh_seconds = refresh
        self._access: Access | None = None
        self._catalog_console: AnyConsole | None = None
        self._catalog_busy = False
        self._tables: list[CatalogTable] = []
        self._values: dict[str, str] = {}
        self._first = ""
        self._suggestions = Suggestions(id="suggestions")
        self._tabs = QueryTabs(self._suggestions, id="tabs")

    # --- opening and closing --------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Yield header, catalog, tabs, keys, and the list of words for completion."""
        yield QueryHeader(id="query-header")
        with Horizontal(id="body"):
            yield Catalog(id="catalog")
            yield self._tabs
        yield KeyLine(self._keys, QUERY_PARTS["editor"], id="query-keys")
        yield self._suggestions

    def on_mount(self) -> None:
        """Begin to open the database."""
        self.query_one(Catalog).border_title = "catalog"
        self._begin()

    def on_unmount(self) -> None:
        """Cancel running statements without waiting for them."""
        self._tabs.leave()

    def close(self) -> None:
        """End all statements and close all consoles. Call this method after the application has ended. It blocks.

        Statements that are still running are marked as ended in the history.
        """
        for sql in self._tabs.unfinished:
            self._history.mark_failed(sql, ended=True)
        if self._unsaved is not None:
            self._unsaved.keep(unsaved_texts(self._tabs.texts, self._history.statements))
            self._unsaved.give_up()
        self._tabs.close()
        if self._catalog_console is not None:
            self._catalog_console.close()

    @property
    def tab(self) -> QueryTab | None:
        """The current tab, or None while the database is being opened."""
        return self._tabs.current

    @property
    def access(self) -> Access | None:
        """The access to the database, or None while the database is being opened."""
        return self._access

    @property
    def unsaved(self) -> bool:
        """True if a typed statement was neither saved nor run, so that the user would lose it with the screen."""
        return bool(unsaved_texts(self._tabs.texts, self._history.statements))

    @property
    def typed(self) -> bool:
        """True if the user has typed a text that differs from the file of its tab."""
        return any(text.strip() and text != saved for text, saved in self._tabs.texts)

    def discard_unsaved(self) -> None:
        """Delete the stored text, and store no more. Call this method when the user has agreed to lose the text."""
        if self._unsaved is not None:
            self._unsaved.keep([])
            self._unsaved.give_up()
            self._unsaved = None

    def on_text_area_changed(self) -> None:
        """Store the typed text within `_KEEP_SECONDS`, because a program that is killed cannot store it any more."""
        if self._unsaved is not None and self._keeping is None:
            self._keeping = self.set_timer(_KEEP_SECONDS, self._keep_typed)

    @work(group="keep", exclusive=True)
    async def _keep_typed(self) -> None:
        self._keeping = None
        unsaved, texts, before = self._unsaved, self._tabs.texts, self._history.statements
        if unsaved is not None:
            await in_thread(lambda: unsaved.keep(unsaved_texts(texts, before)), "tui-runner-keep")

    async def _bring_back(self) -> None:
        """Open a tab for each unsaved text of earlier query screens, and notify the user."""
        if self._unsaved is None:
            return
        texts = await in_thread(self._unsaved.take, "tui-runner-unsaved")
        for text in texts:
            await self.add_tab(text)
        if texts:
            tabs = "tab 2" if len(texts) == 1 else f"tabs 2 to {len(texts) + 1}"
            self.notify(f"Statements that were typed before and never run are back, in {tabs}.", markup=False)

    def ask(self, sql: str) -> None:
        """Put the statement `sql` into the editor and run it, as soon as the database is open."""
        self._newest = False
        if self.tab is not None:
            self._write_and_run(sql)
        else:
            self._first = sql

    @property
    def tables(self) -> list[CatalogTable]:
        """The tables of the database at the last read of the catalog."""
        return self._tables

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that completion can offer."""
        return self._tabs.vocabulary

    @work
    async def _begin(self) -> None:
        try:
            self._access = await in_thread(self._open_access, "tui-runner-open")
        except UserError as error:
            self.complain(error)
            return
        self._catalog_console = self._access.console()
        if self._unsaved is not None:
            self._unsaved.database = str(self._access.path.resolve())
        await self.add_tab()
        if self._first:
            self._write_and_run(self._first)
        try:
            await self._show_newest()
        except UserError as error:
            self.complain(error)
        await self._bring_back()
        self._load_words()
        self._look_at_catalog()
        self.set_interval(self._refresh_seconds, self._look_at_catalog)

    async def _show_newest(self) -> None:
        """Show the newest rows in the current tab, once there are any, unless the user has run a statement before.

        The statement is selected in the editor, so that the first typed character replaces it. Text that was typed
        while the database was being opened stays, with the rows below it.

        Raises:
            UserError: see `newest_rows`.
        """
        console, tab = self._catalog_console, self.tab
        if not self._newest or console is None or tab is None:
            return
        sql = await in_thread(lambda: newest_rows(console), "tui-runner-newest")
        # The user may have run a statement meanwhile.
        if sql is None or not self._newest or tab.busy or tab.asked is not None:
            return
        self._newest, self._opening = False, (tab, sql)
        tab.begin_with(sql)

    async def _follow_table(self, console: AnyConsole) -> None:
        """Show the newest rows of another table, in place of those that the screen began with, if rows arrive there.

        This is the case after a later run has written its first rows. If the user has begun to edit the statement, the
        screen keeps it, and says once where rows arrive.

        Raises:
            UserError: see `newest_rows`.
        """
        if self._opening is None:
            return
        sql = await in_thread(lambda: newest_rows(console), "tui-runner-newest")
        if self._opening is None or sql is None or sql == self._opening[1] or sql == self._announced:
            return
        tab = self._opening[0]
        if not tab.editor.has_proposal:
            self._announced = sql
            table = safe_text(sql.removeprefix("FROM ").removesuffix(NEWEST_FIRST), limit=100)
            self.notify(f"Rows arrive in {table} now: {key_of(self, 'query.ready_made')} shows them.", markup=False)
        elif not tab.busy:  # otherwise at the next read of the catalog
            self._opening = (tab, sql)
            tab.begin_with(sql)

    def _follow_run(self, goes_on: bool) -> None:
        """Update the newest rows, with which the screen began, while a run is in progress.

        Args:
            goes_on: True if a run is in progress.
        """
        has_changed, self._run_goes_on = goes_on != self._run_goes_on, goes_on
        if self._opening is None:
            return
        tab, sql = self._opening
        if goes_on and tab.shown is Shown.MESSAGE and not tab.busy:
            tab.begin_with(sql)  # it has failed, for example because a process was silent while it opened the database
        if goes_on and (has_changed or not tab.watching):
            tab.watch_every(_LIVE)
        elif not goes_on and has_changed and tab.watching:
            tab.watch_once_more("the run has ended")

    def _leave_opening(self, tab: QueryTab) -> None:
        """Leave it to the user from now on what `tab` shows and whether it is watched."""
        if self._opening is not None and self._opening[0] is tab:
            self._opening = None

    async def _writes(self, console: AnyConsole) -> bool:
        """Return True while the run of this program, or the run of the process that has the database open, is active.

        Raises:
            UserError: see `is_active`.
        """
        run = None if self._access is None else self._access.run
        if self._is_running() or run is None:
            return self._is_running()
        return await in_thread(lambda: is_active(console, run), "tui-runner-active")

    def _shows_live(self, tab: QueryTab) -> bool:
        """Return True if `tab` shows and updates the newest rows, with which the screen began."""
        return self._opening is not None and self._opening[0] is tab and tab.watching

    # --- updates of catalog and words -----------------------------------------------------------------------

    async def add_tab(self, text: str = "") -> QueryTab | None:
        """Open and return a tab with `text` in its editor. Return None while the database is being opened."""
        if self._access is None:
            return None
        tab = await self._tabs.add(self._access.console(), text)
        self.show_header()
        return tab

    def show_header(self) -> None:
        """Update the header, the first line of the screen."""
        described = "opening…" if self._access is None else self._access.describe
        state = QueryState(described, self._run_text(), self._tabs.names, self._tabs.place, self._tabs.writes)
        self.query_one(QueryHeader).show(state)

    @work
    async def _look_at_catalog(self) -> None:
        console = self._catalog_console
        if console is None or self._catalog_busy or not self.is_current:
            return
        if self._tables and not self._run_goes_on and self._access is not None and self._access.is_unchanged():
            return  # do not open the file every few seconds for hours
        self._catalog_busy = True
        before = self._tables
        try:
            self._tables = await in_thread(lambda: catalog(console), "tui-runner-catalog")
            await self._show_newest()
            if self._tables != before:
                await self._follow_table(console)
            goes_on = await self._writes(console)
        except UserError as error:
            self.query_one(Catalog).tooltip = safe_text(str(error), limit=200)
            return
        finally:
            self._catalog_busy = False
        self._follow_run(goes_on)
        if self._access is not None and self._tabs.writes and not self._access.can_write:
            self._set_write(False)
        if self._access is not None and (news := self._access.news()):
            self.notify(safe_text(news), markup=False)
        self.query_one(Catalog).show(self._tables)
        self.show_header()
        self._tabs.vocabulary = with_tables(self._tabs.vocabulary, self._tables)

    @work
    async def _load_words(self) -> None:
        if self._access is None:
            return
        access = self._access
        try:
            words = await in_thread(lambda: read_words(access), "tui-runner-words")
        except UserError:
            # Completion works without keywords and functions; it still offers tables and columns.
            return
        self._tabs.vocabulary = with_tables(words, self._tables)

    # --- messages of the parts ------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Show the catalog beside the tabs on a terminal of at least `NARROW` cells."""
        self.set_class(self.size.width < NARROW, "-narrow")

    def on_descendant_focus(self) -> None:
        """Show the keys of the focused part. On narrow terminals, show the catalog only while it has the focus."""
        self.set_class(isinstance(self.focused, Catalog), "-catalog")
        part = self.focused.id if self.focused is not None else None
        footer = self.query_one(KeyLine)
        footer.go_to(QUERY_PARTS.get(part or "", QUERY_PARTS["editor"]))
        footer.relabel(dict.fromkeys(_OF_A_TABLE, "") if part == "result-chart" else {})

    def on_key_line_chosen(self, event: KeyLine.Chosen) -> None:
        """Carry out the action whose key was clicked."""
        self.call_later(self.run_action, event.action.method)

    def on_query_header_tab_chosen(self, event: QueryHeader.TabChosen) -> None:
        """Go to the tab that was clicked."""
        self._go_to_tab(event.place)

    def on_query_tab_ran(self, event: QueryTab.Ran) -> None:
        """Add the statement that was started to the history."""
        self._history.add(event.sql)
        self._newest = False
        if self._opening is not None and event.sql != self._opening[1]:
            self._leave_opening(event.tab)

    def on_query_tab_failed(self, event: QueryTab.Failed) -> None:
        """Mark the statement of the message as failed or ended in the history."""
        self._history.mark_failed(event.sql, ended=event.ended)

    def on_catalog_insert(self, event: Catalog.Insert) -> None:
        """Insert the name of a table or column into the editor.

        A proposed statement that is untouched becomes a statement with that name, as it would for a typed character.
        """
        if self.tab is not None:
            editor, words = self.tab.editor, self._tabs.vocabulary
            table = name_in_sql(words, event.table)
            column = None if event.column is None else words.identifier(event.column.name)
            editor.focus()
            if not editor.has_proposal:
                editor.insert_name(table if column is None else column, is_column=column is not None)
                return
            before, behind = (f"FROM {table}", "") if column is None else (f"SELECT {column}", f" FROM {table}")
            editor.replace(before + behind, (0, 0), editor.document.end)
            editor.move_cursor(editor.location_of(len(before)))

    def on_catalog_show_rows(self, event: Catalog.ShowRows) -> None:
        """Put a statement that shows the rows of the table into the editor, and run it."""
        self._write_and_run(f"FROM {name_in_sql(self._tabs.vocabulary, event.table)}")

    def on_result_grid_cell_opened(self, event: ResultGrid.CellOpened) -> None:
        """Show the cell under the cursor in full."""
        event.stop()
        grid = None if self.tab is None else self.tab.grid
        found = None if grid is None else grid.value_at(grid.row, grid.column)
        if found is not None:
            field, array, place = found
            text, length = whole_text(array, place)
            self.app.push_screen(CellViewer(field.name, type_name(field), text, length, self.action_copy_cell))

    # --- running a statement --------------------------------------------------------------------------------

    def action_run(self) -> None:
        """Run the selected text of the editor, or else the statement at the cursor."""
        if self.tab is not None:
            # The editor may not have handled all keys that were typed before this one, so run the statement after
            # them.
            self.tab.editor.call_later(self._run_in, self.tab)

    def _run_in(self, tab: QueryTab) -> None:
        tab.editor.hide_offer()
        if tab.runs_for_user:
            self._tell_that_one_runs()
            return
        statement = tab.to_run()
        if statement is None:
            tab.status.say("There is no statement here.")
        else:
            self._start(tab, statement)

    def _tell_that_one_runs(self) -> None:
        self.notify(f"A statement is running; {key_of(self, 'query.back')} ends it.", markup=False)

    def _start(self, tab: QueryTab, statement: Statement, every: float | None = None) -> None:
        """Ask for the values of the statement's parameters, if it has any, and run it; see `QueryTab.start`."""
        names = statement.parameters
        if not names:
            tab.start(statement, {}, every=every)
            return

        def answered(texts: list[str] | None) -> None:
            if texts is not None:
                self._values.update(zip(names, texts, strict=True))
                values = {name: typed_value(text) for name, text in zip(names, texts, strict=True)}
                tab.start(statement, values, every=every)

        labels = [f"?{name}" if name.isdigit() else f"${name}" for name in names]
        self.app.push_screen(
            AskTexts(
                "Values of the parameters",
                labels,
                [self._values.get(name, "") for name in names],
                "Numbers, true, false and null are what they look like; '5' is text.",
            ),
            answered,
        )

    # --- moving between the parts ---------------------------------------------------------------------------

    def action_back(self) -> None:
        """Do the first of these that applies: end the statement, end the zoom, leave the chart, leave the screen."""
        tab = self.tab
        # Do not end the updates of the newest rows first: the user has not asked for them and wants to leave.
        if tab is not None and not self._shows_live(tab) and tab.cancel():
            self._leave_opening(tab)
            return
        if self.has_class("-zoomed"):
            self.remove_class("-zoomed")
            return
        if tab is not None and tab.shown is Shown.CHART:
            tab.draw_chart(None)
            return
        self._leave()

    def action_leave(self) -> None:
        """Leave the screen. On the dashboard, a running statement continues, and the user may return to its result."""
        self._leave()

    def action_next_part(self) -> None:
        """Move the focus to the next part: from the editor to the result, to the catalog, to the editor."""
        tab = self.tab
        if tab is None:
            return
        parts = [tab.editor, *tab.result_parts, self.query_one(Catalog)]
        place = next((number for number, part in enumerate(parts) if part is self.focused), -1)
        target = parts[(place + 1) % len(parts)]
        self.set_class(target is parts[-1], "-catalog")
        if target is parts[-1] and self.has_class("-narrow"):
            # The catalog must be visible first, because a hidden widget cannot have the focus.
            self.call_after_refresh(target.focus)
        else:
            # Do not use `target.focus()`, which sets the focus later: the next key is for this part already.
            self.set_focus(target)

    def action_complete(self) -> None:
        """Offer words that complete the text before the cursor of the editor."""
        if self.tab is not None and self.tab.editor.has_focus:
            self.tab.editor.complete()

    def action_select_all(self) -> None:
        """Select the whole text of the editor, to run or replace it.

        This action has a key of its own, because F7, which does this in Textual's text areas, watches a statement here.
        """
        if self.tab is not None:
            self.set_focus(self.tab.editor)
            # The editor may not have handled all keys that were typed before this one, so select the text after them.
            self.tab.editor.call_later(self.tab.editor.select_all)

    def action_clear(self) -> None:
        """Delete the whole text of the editor."""
        if self.tab is not None:
            self.set_focus(self.tab.editor)
            # The editor may not have handled all keys that were typed before this one, so delete the text after them.
            self.tab.editor.call_later(self.tab.editor.clear_all)

    # --- choosing a statement, and looking at its result ----------------------------------------------------

    def action_ready_made(self) -> None:
        """Ask for one of the ready-made queries, and run it."""
        queries = query_templates(self._tables)

        picks = [Pick(query.title, "ledger" if query.table is None else query.table) for query in queries]
        pick_one(self.app, "Ready-made queries", picks, lambda place: self._write_and_run(queries[place].sql))

    def action_history(self) -> None:
        """Ask for an earlier statement, and put it into the editor without running it."""
        entries = list(reversed(self._history.entries))
        if not entries:
            self.notify("No statement was run yet.", markup=False)
            return

        now = time.time()
        picks = []
        for entry in entries:
            when = "" if entry.at is None else ago(now - entry.at)
            state = ChunkState.FAILED if entry.failed else ChunkState.CANCELLED if entry.ended else None
            outcome = "failed" if entry.failed else "ended"
            remark = when if state is None else f"{when}  {CHUNK_GLYPHS[state]} {outcome}"
            picks.append(Pick(" ".join(cut_middle(entry.sql, 300).split()), remark, entry.sql))
        title = "Statements, newest first"
        pick_one(self.app, title, picks, lambda place: self._write(entries[place].sql), search=True)

    def action_watch(self) -> None:
        """Ask for an interval, and run the statement at the cursor repeatedly; or stop if this is done already.

        If the result has the focus, or there is no statement at the cursor, run the statement of the result.
        """
        tab = self.tab
        if tab is None:
            return
        if tab.watching:
            self._leave_opening(tab)
            tab.stop_watching()
            return
        tab.editor.call_later(self._watch_in, tab)  # after the keys that were typed before this one

    def _watch_in(self, tab: QueryTab) -> None:
        tab.editor.hide_offer()
        shown = None if tab.asked is None else tab.asked[0]
        statement = shown if self.focused in tab.result_parts else None
        statement = statement or tab.to_run() or shown
        if statement is None:
            tab.status.say("There is no statement here.")
            return
        if tab.runs_for_user:
            self._tell_that_one_runs()
            return

        def chosen(place: int) -> None:
            self._leave_opening(tab)
            if shown is not None and statement.sql == shown.sql:
                tab.watch_every(INTERVALS[place])
            else:
                self._start(tab, statement, INTERVALS[place])

        picks = [Pick(f"every {seconds:g} s") for seconds in INTERVALS]
        pick_one(self.app, f"Run again: {own(' '.join(statement.sql.split()), 60)}", picks, chosen, 1)

    def action_chart(self) -> None:
        """Go from the rows of the result to a chart, to a chart of the other kind, or back to the rows."""
        tab = self.tab
        if tab is None or (tab.pages is None and not tab.busy):
            self._tell_no_result()
            return
        tab.next_chart()

    def action_sort(self) -> None:
        """Sort the result by the column under the cursor. If it is sorted by this column already, reverse the order.

        The statement that sorts is put into the editor and run.
        """
        if (tab := self._with_table()) is not None:
            self._sort_by(tab, tab.grid.column)

    def _with_table(self) -> QueryTab | None:
        """Return the current tab if it shows the rows of a result. Otherwise tell the user what to do; return None."""
        tab = self.tab
        if tab is not None and tab.shown is Shown.ROWS:
            return tab
        if tab is not None and tab.shown is Shown.CHART:
            self.notify(f"The cursor is in the table: {key_of(self, 'query.back')} shows it.", markup=False)
        else:
            self._tell_no_result()
        return None

    def _tell_no_result(self) -> None:
        if self.tab is not None and self.tab.busy:
            why = "There is no result yet: the statement is still running."
        elif self.tab is not None and self.tab.shown is Shown.MESSAGE:
            why = "The last statement has no result."
        else:
            why = "There is no result: run a statement first."
        self.notify(why, markup=False)

    def on_result_grid_heading_chosen(self, event: ResultGrid.HeadingChosen) -> None:
        """Sort the result by the column whose heading was clicked."""
        event.stop()
        if self.tab is not None:
            self._sort_by(self.tab, event.column)

    def _sort_by(self, tab: QueryTab, column: int) -> None:
        schema = tab.grid.schema
        if tab.asked is None or tab.runs_for_user or schema is None or not 0 <= column < len(schema):
            return
        statement, values = tab.asked
        name = schema.field(column).name
        before, descending = statement.sql, False
        if (
            self._order is not None
            and sorted_sql(self._order[0], self._order[1], descending=self._order[2]) == statement.sql
        ):
            before = self._order[0]
            descending = self._order[1] == name and not self._order[2]
        self._order = (before, name, descending)
        sorted_ = self._write(sorted_sql(before, name, descending=descending), focus=False)
        if sorted_ is not None:
            tab.start(sorted_, values, (name, descending))
            if sorted_.sql.startswith("FROM (") and has_limit(before):
                tab.status.remark("only the rows within LIMIT are sorted")

    def action_statistics(self) -> None:
        """Show statistics about the values of the column under the cursor."""
        tab = self._with_table()
        if tab is None or tab.grid.schema is None or tab.asked is None:
            return
        field = tab.grid.schema.field(tab.grid.column)
        sql, values = column_statistics_sql(tab.asked[0].sql, field.name, type_name(field)), tab.asked[1]
        self._statistics(field, sql, values)

    @work(exclusive=True, group="statistics")
    async def _statistics(self, field: pa.Field, sql: str, values: Mapping[str, object]) -> None:
        if self._access is None:
            return
        console = self._access.console()

        def read() -> list[dict[str, str | None]]:
            try:
                with console.query(sql, values) as result:
                    rows: list[dict[str, str | None]] = result.read_all().to_pylist()
                    return rows
            finally:
                console.close()

        try:
            rows = await in_thread(read, "tui-runner-statistics")
        except UserError as error:
            self.complain(error)
            return
        exact = pa.types.is_decimal(field.type)
        texts = [NONE if row["value"] is None else shown_number(row["value"], exact=exact) for row in rows]
        # Align numbers by their decimal points.
        before = max(point_width(text)[0] for text in texts) if is_number(field.type) else 0
        lines = [
            f"{row['figure'] or '':<22}  {' ' * (before - point_width(text)[0])}{text}"
            for row, text in zip(rows, texts, strict=True)
        ]
        self.app.push_screen(Reader(f"column {field.name} of this result", "\n".join(lines), low=True))

    def action_go_to_row(self) -> None:
        """Ask for the number of a row, counted from 1, and move the cursor to this row."""
        if (tab := self._with_table()) is None:
            return

        def wrong(text: str) -> str:
            number = text.replace(",", "").strip()
            return "" if number.isdecimal() and int(number) >= 1 else "a number from 1 on"

        def answered(text: str | None) -> None:
            if text is not None:
                tab.grid.go_to_row(int(text.replace(",", "").strip()) - 1)

        self.app.push_screen(Ask(f"Go to which row of {tab.grid.rows:,}?", "", wrong), answered)

    # --- layout, export and copies --------------------------------------------------------------------------

    def action_hide_catalog(self) -> None:
        """Hide the catalog, or show it again."""
        if isinstance(self.focused, Catalog) and self.tab is not None:
            self.set_focus(self.tab.editor)
        self.toggle_class("-no-catalog")

    def action_zoom(self) -> None:
        """Give the whole screen to the result, or show all parts again."""
        if self.tab is not None and (self.tab.result_parts or self.has_class("-zoomed")):
            self.toggle_class("-zoomed")
            if self.has_class("-zoomed"):
                self.set_focus(self.tab.result_parts[0])

    def action_export(self) -> None:
        """Ask for a file, and write all rows of the result into it."""
        if self.tab is not None and self.tab.pages is not None:
            export_result(self, self.tab)
        else:
            self._tell_no_result()

    def action_copy_cell(self) -> None:
        """Copy the cell under the cursor."""
        if (tab := self._with_table()) is not None:
            copy_rows(self, tab, "cell", "text")

    def action_copy_as(self) -> None:
        """Ask for a part of the result (cell, row, column or all) and a format, and copy this part."""
        tab = self.tab
        if tab is None:
            return
        choices = [
            (what, how) for what in ("cell", "row", "column", "all") for how in ("text", "csv", "json", "markdown")
        ]
        picks = [Pick(what, how) for what, how in choices]
        pick_one(self.app, "Copy", picks, lambda place: copy_rows(self, tab, *choices[place]), 4)

    # --- tabs and files -------------------------------------------------------------------------------------

    @work
    async def action_new_tab(self) -> None:
        """Open another tab."""
        await self.add_tab()

    def action_next_tab(self) -> None:
        """Go to the next tab."""
        self._go_to_tab(self._tabs.place + 1)

    def action_previous_tab(self) -> None:
        """Go to the previous tab."""
        self._go_to_tab(self._tabs.place - 1)

    def _go_to_tab(self, place: int) -> None:
        self._tabs.go_to(place)
        self.show_header()

    @work
    async def action_close_tab(self) -> None:
        """Close the current tab, unless it is the only one."""
        if self.tab is not None and len(self._tabs.names) > 1:
            self._leave_opening(self.tab)
        await self._tabs.close_current()
        self.show_header()

    def action_open_file(self) -> None:
        """Ask for a file of statements, and open it: in the current tab if its editor is empty, else in a new tab."""
        open_script(self)

    def action_save_file(self) -> None:
        """Ask for a file, and save the statements of the current tab in it. Ask again before a file is replaced."""
        if self.tab is not None:
            save_script(self, self.tab)

    def action_external_editor(self) -> None:
        """Edit the statements of the current tab with the user's `$EDITOR`."""
        if self.tab is not None:
            self.tab.editor.call_later(edit_elsewhere, self, self.tab)

    # --- write mode, help, and writing into the editor ------------------------------------------------------

    def action_write_mode(self) -> None:
        """Ask whether to allow statements that change data; or forbid them if they are allowed."""
        if self._access is None:
            return
        if self._tabs.writes:
            self._set_write(False)
            return
        if not self._access.can_write:
            self.notify(self._access.read_only, severity="warning", markup=False)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._set_write(True)

        self.app.push_screen(
            Confirm(
                "Allow statements that change data?",
                "INSERT, UPDATE, DELETE, CREATE, DROP then take effect at once. The ledger stays as it is.",
                "Allow",
                "Read only",
            ),
            answered,
        )

    def _set_write(self, wanted: bool) -> None:
        try:
            self._tabs.set_write(wanted)
        except UserError as error:
            self.complain(error)
        self.show_header()

    def action_help(self) -> None:
        """Show the help screen."""
        self.app.push_screen(Help(self._keys, QUERY_HELP))

    def _write(self, sql: str, *, focus: bool = True) -> Statement | None:
        """Put a statement into the editor. Return the statement with its position in the text, or None without a tab.

        The statement replaces the whole text of the editor. But it is put after a text that belongs to a file, or that
        was neither saved nor run, because that text would be lost.

        Args:
            sql: the statement.
            focus: True to focus the editor.
        """
        tab = self.tab
        if tab is None:
            return None
        editor = tab.editor
        keeps = tab.file is not None or unsaved_texts([(editor.text, tab.saved)], self._history.statements)
        before = editor.text.rstrip() if keeps else ""
        if before and not before.endswith(";"):
            before += ";"
        text = f"{before}\n\n{sql}" if before else sql
        editor.replace(text, (0, 0), editor.document.end)
        # Show the beginning of a statement that is longer than the editor is high beside a result.
        is_long = sql.count("\n") >= self.size.height // 3
        editor.move_cursor(editor.location_of(len(text) - len(sql)) if is_long else editor.document.end)
        if focus:
            editor.focus()
        return tab.to_run()

    def _write_and_run(self, sql: str) -> None:
        statement = self._write(sql)
        if statement is not None and self.tab is not None:
            self.action_run()

    def complain(self, error: UserError) -> None:
        """Show an error in a message."""
        self.notify(safe_text(str(error), limit=400), severity="error", markup=False, timeout=COMPLAINT_SECONDS)
