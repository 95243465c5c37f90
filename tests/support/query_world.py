"""A database with results and a ledger, and the query screen on it, driven by keys."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import Input

from support.pilots import driven
from tui_runner.store.access import Access, LocalAccess
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger
from tui_runner.store.records import RunRecord
from tui_runner.tui.preferences import Preferences
from tui_runner.tui.query.app import QueryApp
from tui_runner.tui.query.screen import QueryScreen
from tui_runner.tui.query.script_files import History
from tui_runner.tui.query.tab import QueryTab
from tui_runner.tui.themes import find_themes

HOSTILE = "\x1b]52;c;aGFsbG8=\x07[/red]\u202eabc\x9b31m"
"""Text that would write the clipboard, break markup, turn the line around and colour it."""

_ROWS = """CREATE TABLE books AS SELECT
    1::BIGINT AS _run, range::BIGINT AS _item, 'Book no. ' || range AS title, (10 + range % 50) + 0.25 AS price,
    CASE WHEN range % 7 <> 0 THEN range % 5 END AS stars, DATE '2024-01-01' + (range % 365)::INT AS day
FROM range(25000)"""
_LEDGER = (
    """INSERT INTO runner.items (run_id, item, chunk, key, state, attempts, rows, seconds, finished_at)
        SELECT 1, _item, _item // 500, 'k' || _item, 'ok', 1, 1, (_item % 100) / 100.0,
        TIMESTAMPTZ '2026-01-01 00:00:00Z' + to_seconds(_item / 50) FROM books""",
    """INSERT INTO runner.chunks SELECT 1, chunk, min(item), count(*), NULL, NULL, 'done', count(*), 0, sum(rows), 0,
        min(finished_at - to_seconds(seconds)), max(finished_at), sum(seconds) FROM runner.items GROUP BY chunk""",
    """INSERT INTO runner.samples SELECT 1, TIMESTAMPTZ '2026-01-01 00:00:00Z' + to_seconds(5 * n), 250 * n, 0, 250 * n,
        if(n = 0, NULL, 25), 25, if(n = 0, 0, 50), 100000000, 200000000, 1000000 FROM range(101) t(n)""",
    """INSERT INTO runner.columns SELECT 'books', column_name, column_name, data_type FROM duckdb_columns()
        WHERE table_name = 'books' AND NOT starts_with(column_name, '_')""",
)


def make_database(path: Path) -> Database:
    """Make a database with 25,000 rows of results, a hostile table, and a ledger with the run that made them."""
    path.write_bytes(_content())
    return Database.open(path)


@cache
def _content() -> bytes:
    """Return the content of the file, which takes longer to make than to copy for each test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "books.duckdb"
        with Database.open(path) as database:
            _fill(database)
        return path.read_bytes()


def _fill(database: Database) -> None:
    cursor = database.cursor()
    cursor.execute(_ROWS)
    cursor.execute('CREATE TABLE "we ird" ("a[/b]\x1b[31m" VARCHAR, "select" INTEGER)')
    cursor.execute('INSERT INTO "we ird" VALUES (?, 2)', [HOSTILE])
    Ledger(cursor).begin_run(
        RunRecord(
            run_id=0,
            job="books",
            job_path="/jobs/scrape.py:books",
            table_name="books",
            input=None,
            params={},
            settings={},
            state="finished",
            items_total=25_000,
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
            ended_at=None,
            host="here",
            version="0",
        )
    )
    for statement in _LEDGER:
        cursor.execute(statement)
    database.close_cursor(cursor)


def query_app(
    database: Database | Access,
    folder: Path,
    theme: str = "night",
    preferences: Preferences | None = None,
    *,
    newest: bool = False,
) -> QueryApp:
    """Return the application, with nothing of this machine's user in it."""
    history = History(folder / "queries.jsonl")
    access = LocalAccess(database) if isinstance(database, Database) else database
    themes = find_themes(folder / "themes")
    return QueryApp(
        access, theme=theme, themes=themes, history=history, refresh=0.2, preferences=preferences, newest=newest
    )


class Desk:
    """The query screen and hands on its keys."""

    def __init__(self, pilot: Pilot[None], screen: QueryScreen) -> None:
        self.pilot = pilot
        self.screen = screen

    @property
    def tab(self) -> QueryTab:
        """The tab that is shown."""
        assert self.screen.tab is not None
        return self.screen.tab

    async def until(self, condition: Callable[[], object], what: str = "it") -> None:
        """Wait for something that takes moments."""
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen: {self.shown()}"
            # Not `pilot.pause`, which waits for threads that are busy.
            await asyncio.sleep(0.01)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    def strike(self, *keys: str) -> None:
        """Press keys, and do not wait until this process is idle: not while a statement computes."""
        for key in keys:
            self.pilot.app.post_message(Key(key, key if len(key) == 1 else None))

    async def answer(self, text: str) -> None:
        """Paste a text into the field that has the focus, and press Enter."""
        field = self.pilot.app.focused
        assert isinstance(field, Input)
        field.post_message(Paste(text))
        await self.pilot.pause()
        await self.press("enter")

    async def write(self, text: str) -> None:
        """Put a text into the editor in place of what is there."""
        self.tab.editor.focus()
        self.tab.editor.load_text(text)
        self.tab.editor.move_cursor(self.tab.editor.document.end)
        await self.pilot.pause()

    async def run(self, sql: str) -> str:
        """Run a statement, wait for its end, and return what the status line says."""
        await self.write(sql)
        await self.press("f5")
        await self.until(lambda: not self.tab.busy, "the end of the statement")
        return self.tab.status.text

    def shown(self) -> str:
        """Return the screen as text."""
        strips = self.pilot.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@asynccontextmanager
async def desk(database: Database | Access, folder: Path, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Desk]:
    """Yield the query screen, with its catalog and words loaded."""
    app = query_app(database, folder)
    async with driven(app, size=size, notifications=True) as pilot:
        found = Desk(pilot, app.query_screen)
        screen = app.query_screen
        await found.until(lambda: screen.tab is not None and screen.tables and screen.vocabulary.functions, "opening")
        yield found
    app.query_screen.close()
