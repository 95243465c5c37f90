"""The query screen: the catalog, tabs with an editor and a result each, and what can be done with a result."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.screen import Screen

from tui_runner.errors import UserError
from tui_runner.safe_text import safe_text
from tui_runner.store.access import Access
from tui_runner.store.catalog import CatalogTable, catalog
from tui_runner.store.console import Console
from tui_runner.store.ready_made import ready_made
from tui_runner.store.remote import RemoteConsole
from tui_runner.store.statements import Statement, typed_value
from tui_runner.tui.action import QUERY_PLACES, Place
from tui_runner.tui.actions import DEFAULT_KEYS, Keys, bindings
from tui_runner.tui.completion import KnownTable, Vocabulary
from tui_runner.tui.external_editor import edited
from tui_runner.tui.query_files import History, read_statements, write_statements
from tui_runner.tui.result_text import type_name, whole_text
from tui_runner.tui.screens.confirm import Confirm
from tui_runner.tui.screens.help import Help
from tui_runner.tui.screens.query_ask import AskTexts, Pick, PickOne
from tui_runner.tui.screens.query_cell import CellViewer
from tui_runner.tui.screens.query_out import copy_rows, export_result
from tui_runner.tui.threads import in_thread
from tui_runner.tui.widgets.catalog import Catalog
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.query_header import QueryHeader, QueryState
from tui_runner.tui.widgets.query_tab import QueryTab, Shown
from tui_runner.tui.widgets.result_chart import ChartKind
from tui_runner.tui.widgets.result_grid import ResultGrid
from tui_runner.tui.widgets.suggestions import Suggestions

NARROW = 72
"""Terminals of fewer cells show the catalog in place of the tabs, when it is asked for."""
REFRESH = 3.0
"""Seconds between two looks at the catalog."""
INTERVALS = (1.0, 2.0, 5.0, 10.0, 60.0)
"""Seconds between two runs of a statement that is watched."""

_FUNCTIONS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE regexp_matches(function_name, '^[a-z]\\w*$')"
_KEYWORDS = "SELECT keyword_name, keyword_category = 'reserved' AS reserved FROM duckdb_keywords()"


class QueryScreen(Screen[None]):
    """Query one database.

    Args:
        open_access: gives the database; called once, in a thread.
        history: the statements that were run before.
        leave: leaves the screen.
        run: the run that goes on in the database, in a few words; empty for none.
        keys: the keys in force.
        refresh: seconds between two looks at the catalog.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Place.QUERY, Place.RESULT),
        Binding("tab", "app.focus_next", show=False),
    ]

    def __init__(
        self,
        open_access: Callable[[], Access],
        *,
        history: History,
        leave: Callable[[], None],
        run: Callable[[], str] = str,
        keys: Keys = DEFAULT_KEYS,
        refresh: float = REFRESH,
    ) -> None:
        super().__init__()
        self._open_access = open_access
        self._history = history
        self._leave = leave
        self._run_text = run
        self._keys = keys
        self._refresh_seconds = refresh
        self._access: Access | None = None
        self._catalog_console: Console | RemoteConsole | None = None
        self._catalog_busy = False
        self._tables: list[CatalogTable] = []
        self._vocabulary = Vocabulary()
        self._tabs: list[QueryTab] = []
        self._place = 0
        self._values: dict[str, str] = {}
        self._writes = False
        self._first = ""

    def compose(self) -> ComposeResult:
        """The parts."""
        yield QueryHeader(id="query-header")
        with Horizontal(id="body"):
            yield Catalog(id="catalog")
            yield Container(id="tabs")
        yield KeyLine(self._keys, QUERY_PLACES, id="query-keys")
        yield Suggestions(id="suggestions")

    def on_mount(self) -> None:
        """Open the database."""
        self._begin()

    def on_unmount(self) -> None:
        """Whatever runs is not to be waited for."""
        for tab in self._tabs:
            tab.leave()
            tab.console.cancel()

    def close(self) -> None:
        """End what runs and give every console back; blocks. Call it after the application has ended."""
        for tab in self._tabs:
            tab.close()
        if self._catalog_console is not None:
            self._catalog_console.close()

    @property
    def tab(self) -> QueryTab | None:
        """The tab that is shown; None while the database is being opened."""
        return self._tabs[self._place] if self._tabs else None

    def ask(self, sql: str) -> None:
        """Put a statement into the editor and run it, as soon as the database is open."""
        if self._tabs:
            self._write_and_run(sql)
        else:
            self._first = sql

    @property
    def tables(self) -> list[CatalogTable]:
        """The newest catalog."""
        return self._tables

    @property
    def vocabulary(self) -> Vocabulary:
        """The words that are offered."""
        return self._vocabulary

    @work
    async def _begin(self) -> None:
        try:
            self._access = await in_thread(self._open_access, "tui-runner-open")
        except UserError as error:
            self._complain(error)
            return
        self._catalog_console = self._access.console()
        await self._add_tab("")
        if self._first:
            self._write_and_run(self._first)
        self._load_words()
        self._look_at_catalog()
        self.set_interval(self._refresh_seconds, self._look_at_catalog)

    async def _add_tab(self, text: str) -> QueryTab | None:
        if self._access is None:
            return None
        console = self._access.console()
        if self._writes and self._access.can_write:
            console.write = True
        tab = QueryTab(console, self.query_one(Suggestions), text)
        self._tabs.append(tab)
        await self.query_one("#tabs").mount(tab)
        tab.editor.vocabulary = self._vocabulary
        self._go_to_tab(len(self._tabs) - 1)
        return tab

    def _go_to_tab(self, place: int) -> None:
        self._place = place % len(self._tabs)
        for number, tab in enumerate(self._tabs):
            tab.set_class(number == self._place, "-current")
        self._tabs[self._place].editor.focus()
        self._show_header()

    def _show_header(self) -> None:
        names = tuple(tab.file.name if tab.file else str(number) for number, tab in enumerate(self._tabs, start=1))
        described = "opening…" if self._access is None else self._access.describe
        state = QueryState(described, self._run_text(), names, self._place, self._writes)
        self.query_one(QueryHeader).show(state)

    @work
    async def _look_at_catalog(self) -> None:
        console = self._catalog_console
        if console is None or self._catalog_busy or not self.is_current:
            return
        self._catalog_busy = True
        try:
            self._tables = await in_thread(lambda: catalog(console), "tui-runner-catalog")
        except UserError as error:
            self.query_one(Catalog).border_title = None
            self.query_one(Catalog).tooltip = safe_text(str(error), limit=200)
            return
        finally:
            self._catalog_busy = False
        if self._access is not None and self._writes and not self._access.can_write:
            self._set_write(False)
        self.query_one(Catalog).show(self._tables)
        self._show_header()
        known = tuple(
            KnownTable(table.schema, table.name, tuple((each.name, each.type) for each in table.columns))
            for table in self._tables
        )
        words = self._vocabulary
        self._take_vocabulary(Vocabulary(known, words.functions, words.keywords, words.reserved))

    @work
    async def _load_words(self) -> None:
        if self._access is None:
            return
        console = self._access.console()

        def call() -> tuple[list[str], list[dict[str, object]]]:
            with console.query(_FUNCTIONS) as functions:
                names = functions.read_all().column(0).to_pylist()
            with console.query(_KEYWORDS) as keywords:
                words = keywords.read_all().to_pylist()
            console.close()
            return names, words

        try:
            functions, keywords = await in_thread(call, "tui-runner-words")
        except UserError:
            # Without them completion offers tables and columns alone.
            return
        reserved = frozenset(str(each["keyword_name"]) for each in keywords if each["reserved"])
        words = tuple(sorted(str(each["keyword_name"]) for each in keywords))
        self._take_vocabulary(Vocabulary(self._vocabulary.tables, tuple(sorted(functions)), words, reserved))

    def _take_vocabulary(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        for tab in self._tabs:
            tab.editor.vocabulary = vocabulary

    def on_resize(self) -> None:
        """Show the catalog beside the tabs where there is room."""
        self.set_class(self.size.width < NARROW, "-narrow")

    def on_descendant_focus(self) -> None:
        """On narrow terminals the catalog is there while it has the focus."""
        self.set_class(isinstance(self.focused, Catalog), "-catalog")

    def on_key_line_chosen(self, event: KeyLine.Chosen) -> None:
        """Carry out an action whose key was clicked."""
        self.call_later(self.run_action, event.action.method)

    def on_query_header_tab_chosen(self, event: QueryHeader.TabChosen) -> None:
        """Go to a tab that was clicked."""
        self._go_to_tab(event.place)

    def on_query_tab_ran(self, event: QueryTab.Ran) -> None:
        """Remember what was run."""
        self._history.add(event.sql)

    def on_catalog_insert(self, event: Catalog.Insert) -> None:
        """Put a name into the editor."""
        if self.tab is not None:
            entry = event.entry
            name = self._vocabulary.identifier(entry.name)
            if isinstance(entry, CatalogTable) and entry.schema != "main":
                name = f"{self._vocabulary.identifier(entry.schema)}.{name}"
            self.tab.editor.focus()
            self.tab.editor.insert(name)

    def on_catalog_show_rows(self, event: Catalog.ShowRows) -> None:
        """Put a statement for the rows of a table into the editor, and run it."""
        name = self._vocabulary.identifier(event.table.name)
        if event.table.schema != "main":
            name = f"{self._vocabulary.identifier(event.table.schema)}.{name}"
        self._write_and_run(f"FROM {name}")

    def on_result_grid_cell_opened(self, event: ResultGrid.CellOpened) -> None:
        """Show a cell in full."""
        event.stop()
        grid = None if self.tab is None else self.tab.grid
        found = None if grid is None else grid.value_at(grid.row, grid.column)
        if found is not None:
            field, array, place = found
            text, length = whole_text(array, place)
            self.app.push_screen(CellViewer(field.name, type_name(field), text, length, self.action_copy_cell))

    def action_run(self) -> None:
        """Run the selection, or the statement at the cursor."""
        tab = self.tab
        if tab is None:
            return
        tab.editor.hide_offer()
        if tab.busy:
            self.notify("A statement is running; Esc ends it.", markup=False)
            return
        statement = tab.to_run()
        if statement is None:
            tab.status.say("There is no statement here.")
        elif statement.parameters:
            self._ask_values(tab, statement)
        else:
            tab.start(statement, {})

    def _ask_values(self, tab: QueryTab, statement: Statement) -> None:
        names = statement.parameters

        def answered(texts: list[str] | None) -> None:
            if texts is not None:
                self._values.update(zip(names, texts, strict=True))
                tab.start(statement, {name: typed_value(text) for name, text in zip(names, texts, strict=True)})

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

    def action_back(self) -> None:
        """End what runs; else leave a chart, else leave the screen."""
        tab = self.tab
        if tab is not None and tab.cancel():
            return
        if tab is not None and tab.shown is Shown.CHART:
            tab.draw_chart(None)
            return
        self._leave()

    def action_leave(self) -> None:
        """Leave the screen; what runs goes on."""
        self._leave()

    def action_next_part(self) -> None:
        """Go to the editor, the result, the catalog in turn."""
        tab = self.tab
        if tab is None:
            return
        parts = [tab.editor, *tab.result_parts, self.query_one(Catalog)]
        place = next((number for number, part in enumerate(parts) if part is self.focused), -1)
        target = parts[(place + 1) % len(parts)]
        self.set_class(target is parts[-1], "-catalog")
        if target is parts[-1] and self.has_class("-narrow"):
            # It is to be seen first: what is hidden takes no focus.
            self.call_after_refresh(target.focus)
        else:
            target.focus()

    def action_complete(self) -> None:
        """Offer words."""
        if self.tab is not None and self.tab.editor.has_focus:
            self.tab.editor.complete()

    def action_ready_made(self) -> None:
        """Choose a ready-made query."""
        queries = ready_made(self._tables)

        def answered(place: int | None) -> None:
            if place is not None:
                self._write_and_run(queries[place].sql)

        picks = [Pick(query.title, "ledger" if query.table is None else query.table) for query in queries]
        self.app.push_screen(PickOne("Ready-made queries", picks), answered)

    def action_history(self) -> None:
        """Choose among statements that were run before; it is put into the editor and not run."""
        statements = list(reversed(self._history.statements))
        if not statements:
            self.notify("No statement was run yet.", markup=False)
            return

        def answered(place: int | None) -> None:
            if place is not None and self.tab is not None:
                self._write(statements[place])

        picks = [Pick(" ".join(sql[:300].split())) for sql in statements]
        self.app.push_screen(PickOne("Statements, newest first", picks), answered)

    def action_watch(self) -> None:
        """Run the statement again and again, or stop that."""
        tab = self.tab
        if tab is None or tab.statement is None:
            self.notify("Run a statement first.", markup=False)
            return
        if tab.watching:
            tab.stop_watching()
            return

        def answered(place: int | None) -> None:
            if place is not None:
                tab.watch_every(INTERVALS[place])

        picks = [Pick(f"every {seconds:g} s") for seconds in INTERVALS]
        self.app.push_screen(PickOne("Run the statement again", picks, 1), answered)

    def action_chart(self) -> None:
        """Draw the result as bars, then as a line, then list its rows again."""
        tab = self.tab
        if tab is None or tab.shown not in (Shown.ROWS, Shown.CHART):
            return
        following = {None: ChartKind.BARS, ChartKind.BARS: ChartKind.LINE, ChartKind.LINE: None}
        tab.draw_chart(following[tab.chart_kind])

    def action_export(self) -> None:
        """Write the result into a file."""
        if self.tab is not None and self.tab.pages is not None:
            export_result(self, self.tab)
        else:
            self.notify("Run a statement first.", markup=False)

    def action_copy_cell(self) -> None:
        """Copy the cell under the cursor."""
        if self.tab is not None:
            copy_rows(self, self.tab, "cell", "text")

    def action_copy_as(self) -> None:
        """Choose what to copy, and how."""
        tab = self.tab
        if tab is None:
            return
        choices = [
            (what, how) for what in ("cell", "row", "column", "all") for how in ("text", "csv", "json", "markdown")
        ]

        def answered(place: int | None) -> None:
            if place is not None:
                copy_rows(self, tab, *choices[place])

        self.app.push_screen(PickOne("Copy", [Pick(what, how) for what, how in choices], 4), answered)

    @work
    async def action_new_tab(self) -> None:
        """Open another tab."""
        await self._add_tab("")

    def action_next_tab(self) -> None:
        """Go to the next tab."""
        if self._tabs:
            self._go_to_tab(self._place + 1)

    def action_previous_tab(self) -> None:
        """Go to the tab before."""
        if self._tabs:
            self._go_to_tab(self._place - 1)

    @work
    async def action_close_tab(self) -> None:
        """Close this tab; the last one stays."""
        if len(self._tabs) < 2:
            return
        tab = self._tabs.pop(self._place)
        tab.leave()
        self._go_to_tab(max(self._place - 1, 0))
        await tab.remove()
        await in_thread(tab.close, "tui-runner-close")

    def action_open_file(self) -> None:
        """Open a file of statements in a new tab, or in this one when it is empty."""

        def answered(texts: list[str] | None) -> None:
            if texts and texts[0].strip():
                self._open(Path(texts[0].strip()).expanduser())

        self.app.push_screen(AskTexts("Open statements", ["File"], hint="A text file, such as queries.sql."), answered)

    @work
    async def _open(self, path: Path) -> None:
        try:
            text = await in_thread(lambda: read_statements(path), "tui-runner-file")
        except UserError as error:
            self._complain(error)
            return
        tab = self.tab
        if tab is None or tab.editor.text.strip():
            tab = await self._add_tab(text)
        else:
            tab.editor.load_text(text)
        if tab is not None:
            tab.file = path
            self._show_header()

    def action_save_file(self) -> None:
        """Save the statements; asks for the file, and before it overwrites another one."""
        tab = self.tab
        if tab is None:
            return

        def answered(texts: list[str] | None) -> None:
            if not texts or not texts[0].strip():
                return
            path = Path(texts[0].strip()).expanduser()
            if path.exists() and path != tab.file:
                self.ask_overwrite(path, lambda: self._save(tab, path))
            else:
                self._save(tab, path)

        known = "" if tab.file is None else str(tab.file)
        self.app.push_screen(AskTexts("Save statements", ["File"], [known]), answered)

    def ask_overwrite(self, path: Path, then: Callable[[], None]) -> None:
        """Ask whether to replace a file, and go on if so."""

        def answered(yes: bool | None) -> None:
            if yes:
                then()

        name = safe_text(path.name, limit=60)
        self.app.push_screen(
            Confirm(f"Replace {name}?", "A file of this name exists; what is in it is lost.", "Replace", "Keep it"),
            answered,
        )

    def _save(self, tab: QueryTab, path: Path) -> None:
        try:
            write_statements(path, tab.editor.text)
        except UserError as error:
            self._complain(error)
            return
        tab.file = path
        self._show_header()
        self.notify(f"saved {safe_text(str(path), limit=200)}", markup=False)

    def action_external_editor(self) -> None:
        """Edit the statements with $EDITOR; the screen waits meanwhile, the run does not."""
        tab = self.tab
        if tab is None:
            return
        try:
            text = edited(self.app, tab.editor.text, os.environ)
        except UserError as error:
            self._complain(error)
            return
        if text != tab.editor.text:
            tab.editor.load_text(text)

    def action_write_mode(self) -> None:
        """Allow statements that change data, or forbid them again."""
        if self._access is None:
            return
        if self._writes:
            self._set_write(False)
            return
        if not self._access.can_write:
            self.notify("Data can be changed only while no run is going on.", severity="warning", markup=False)
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
            for tab in self._tabs:
                tab.console.write = wanted
        except UserError as error:
            self._complain(error)
            wanted = False
        self._writes = wanted
        self._show_header()

    def action_help(self) -> None:
        """Show what the keys do."""
        self.app.push_screen(Help(self._keys, QUERY_PLACES))

    def _write(self, sql: str) -> Statement | None:
        """Put a statement behind what is in the editor; the statement as it stands there."""
        tab = self.tab
        if tab is None:
            return None
        editor = tab.editor
        before = editor.text.rstrip()
        if before and not before.endswith(";"):
            before += ";"
        text = f"{before}\n\n{sql}" if before else sql
        editor.replace(text, (0, 0), editor.document.end)
        editor.move_cursor(editor.document.end)
        editor.focus()
        return tab.to_run()

    def _write_and_run(self, sql: str) -> None:
        statement = self._write(sql)
        if statement is not None and self.tab is not None:
            self.action_run()

    def _complain(self, error: UserError) -> None:
        self.notify(safe_text(str(error), limit=400), severity="error", markup=False, timeout=10)
