"""The query screen on a database of another process, which cuts off clients that read no rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.pilots import driven
from support.query_world import Desk, desk, make_database, query_app

from tui_runner.store.access import FollowingAccess, FollowingConsole, RemoteAccess, open_access
from tui_runner.store.database import Database
from tui_runner.store.lock import DatabaseInUse
from tui_runner.store.remote.client import OwnerGone
from tui_runner.store.remote.server import ServerLimits, serve
from tui_runner.tui.query import tab

ROWS = 400_000
LARGE = f"SELECT range AS n, repeat('x', 100) AS x FROM range({ROWS})"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A served database; the parameter gives the seconds after which a client that reads no rows is cut off."""
    # The folders of pytest are too deep for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="tr-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        opened = make_database(tmp_path / "books.duckdb")
        server = serve(opened, ServerLimits(stall=getattr(request, "param", 60.0)))
        yield opened
        server.close()
        opened.close()


@pytest.mark.parametrize("database", [2.0], indirect=True)
async def test_rows_that_were_taken_stay_and_those_behind_them_are_asked_for_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tab, "AHEAD_ROWS", 30_000)
    monkeypatch.chdir(tmp_path)
    access = open_access(database.path)
    assert isinstance(access, RemoteAccess)
    async with desk(access, tmp_path) as at:
        await at.run(LARGE)
        await at.until(lambda: at.tab.grid.rows >= 30_000, "reading ahead")
        await at.until(lambda: not database._cursors, "cutting off")
        await at.press("f6", "ctrl+end")
        await at.until(lambda: "run the statement again" in at.tab.status.text, "the message")
        await at.until(lambda: at.tab.grid.value_at(at.tab.grid.row, 0) is not None, "a page that was kept")
        assert 30_000 <= at.tab.grid.rows < ROWS and "Traceback" not in at.shown()
        await at.press("f9")
        await at.press(*"all.csv", "enter")
        await at.until(lambda: "rows written" in at.shown(), "the export")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == ROWS + 1


async def test_the_newest_rows_are_watched_until_the_run_of_the_other_process_has_ended(
    database: Database, tmp_path: Path
) -> None:
    database.note_run(1)
    app = query_app(open_access(database.path), tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.watching and not at.tab.busy, "watching")
        await at.until(lambda: "ago · every 2 s" in at.tab.status.text, "the age")
        cursor = database.cursor()
        cursor.execute("INSERT INTO books SELECT 1, 99999, 'the last one', 1.0, 1, DATE '2024-01-01'")
        cursor.execute("UPDATE runner.runs SET ended_at = now()")
        database.close_cursor(cursor)
        await at.until(lambda: "the run has ended" in at.tab.status.text, "the end")
        assert not at.tab.watching and "the last one" in at.shown()
    app.query_screen.close()


async def test_the_newest_rows_of_an_ended_run_of_another_process_are_not_watched(
    database: Database, tmp_path: Path
) -> None:
    database.note_run(1)
    cursor = database.cursor()
    cursor.execute("UPDATE runner.runs SET ended_at = now()")
    database.close_cursor(cursor)
    app = query_app(open_access(database.path), tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.screen.tables and at.tab.shown is tab.Shown.ROWS)
        assert not at.tab.watching
    app.query_screen.close()


@asynccontextmanager
async def following(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sql: str = ""
) -> AsyncIterator[tuple[Desk, Path]]:
    """Open the query screen, as `tui-runner open` does, for a database in which `sql` was executed."""
    path = tmp_path / "books.duckdb"
    with make_database(path) as database, database.opened_cursor() as cursor:
        if sql:
            cursor.execute(sql)
    with tempfile.TemporaryDirectory(prefix="tr-") as folder:  # for the path of the socket
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        app = query_app(FollowingAccess(path), tmp_path, newest=True)
        async with driven(app, size=(120, 40), notifications=True) as pilot:
            yield Desk(pilot, app.query_screen), path
        app.query_screen.close()


async def test_the_newest_rows_are_watched_again_whenever_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(tmp_path, monkeypatch) as (at, path):
        await at.until(lambda: at.screen.tables and at.tab.shown is tab.Shown.ROWS, "the opening result")
        assert not at.tab.watching
        for run in (2, 3):
            with running(path, run) as database:
                await at.until(lambda: "ago · every 2 s" in at.tab.status.text, f"watching run {run}")
                cursor = database.cursor()
                cursor.execute(f"INSERT INTO books SELECT {run}, 99999, 'of run {run}', 1.0, 1, DATE '2024-01-01'")
                database.close_cursor(cursor)
                await at.until(lambda row=f"of run {run}": row in at.shown(), f"rows of run {run}")
                if run == 3:
                    await at.press("f5")  # the same statement
                    await at.until(lambda: "ago · every 2 s" in at.tab.status.text, "watching after F5")
            await at.until(lambda: "the run has ended" in at.tab.status.text, f"the end of run {run}")
        await at.run("SELECT 'mine'")
        with running(path, 4):
            await at.until(lambda: "run 4" in at.shown().splitlines()[0], "the header")
            await at.until(lambda: at.screen._run_goes_on, "reading the catalog")
            assert not at.tab.watching and "mine" in at.shown()


async def test_the_newest_rows_are_not_watched_again_after_the_user_has_ended_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(tmp_path, monkeypatch) as (at, path):
        await at.until(lambda: at.screen.tables and at.tab.shown is tab.Shown.ROWS, "the opening result")
        with running(path, 2):
            await at.until(lambda: at.tab.watching, "watching")
            await at.press("f7")
            assert not at.tab.watching
        await at.until(lambda: not at.screen._run_goes_on, "the end of run 2")
        with running(path, 3):
            await at.until(lambda: at.screen._run_goes_on, "run 3")
            assert not at.tab.watching


async def test_a_database_without_rows_shows_the_newest_ones_as_soon_as_a_run_has_written_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with following(tmp_path, monkeypatch, sql='DROP TABLE "we ird"; DELETE FROM books') as (at, path):
        await at.until(lambda: at.screen.tables, "the catalog")
        await at.press("9")
        assert at.tab.shown is tab.Shown.NOTHING
        with running(path, 2) as database:
            cursor = database.cursor()
            cursor.execute("INSERT INTO books SELECT 2, 0, 'the first one', 1.0, 1, DATE '2024-01-01'")
            database.close_cursor(cursor)
            await at.until(lambda: "ago · every 2 s" in at.tab.status.text, "watching")
            await at.until(lambda: "the first one" in at.shown(), "the first row")
            assert at.tab.editor.text == "9"


@contextmanager
def running(path: Path, run: int) -> Iterator[Database]:
    """A process's database while a run is in progress in it."""
    end = time.monotonic() + 30
    while True:
        try:
            database = Database.open(path)
            break
        except DatabaseInUse:  # the screen, in the same process, reads the catalog at this moment
            assert time.monotonic() < end
            time.sleep(0.01)
    cursor = database.cursor()
    cursor.execute("UPDATE runner.runs SET ended_at = now()")
    cursor.execute(
        "INSERT INTO runner.runs BY NAME SELECT * REPLACE (? AS run_id, NULL AS ended_at) FROM runner.runs LIMIT 1",
        [run],
    )
    database.close_cursor(cursor)
    database.note_run(run)
    server = serve(database, ServerLimits())
    try:
        yield database
    finally:
        server.close()
        database.close()


async def test_why_there_is_no_write_mode_is_said(database: Database, tmp_path: Path) -> None:
    async with desk(open_access(database.path), tmp_path) as at:
        await at.press("ctrl+r")
        (said,) = at.pilot.app._notifications
        assert "no other process has the database open" in said.message


async def test_a_result_that_fits_is_kept_whole(database: Database, tmp_path: Path) -> None:
    async with desk(open_access(database.path), tmp_path) as at:
        await at.run("FROM books ORDER BY _item")
        await at.until(lambda: "25,000 rows" in at.tab.status.text and "more" not in at.tab.status.text, "the rest")
        database.note_run(1)
        await at.press("f6", "ctrl+end")
        await at.until(lambda: at.tab.grid.row == 24_999 and "Book no. 24999" in at.shown(), "the last row")
        assert at.tab.grid.rows == 25_000 and "again" not in at.tab.status.text


async def test_the_screen_reads_the_file_itself_when_the_other_process_has_closed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="tr-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        database = make_database(tmp_path / "books.duckdb")
        database.note_run(1)
        server = serve(database, ServerLimits())
        app = query_app(FollowingAccess(database.path), tmp_path, newest=True)
        async with driven(app, size=(120, 40), notifications=True) as pilot:
            at = Desk(pilot, app.query_screen)
            await at.until(lambda: at.screen.tab is not None and at.tab.watching and not at.tab.busy, "watching")
            assert "run 1" in at.shown().splitlines()[0]
            server.close()
            database.close()
            await at.until(lambda: "has closed it; it is read directly" in at.shown(), "the line about it")
            await at.until(lambda: not at.tab.watching and not at.tab.busy, "the end of watching")
            assert "run 1" not in at.shown().splitlines()[0] and "Book no. 24999" in at.shown()
            assert "the run has ended" in at.tab.status.text
            assert "✔ 1 row" in await at.run("SELECT count(*) FROM books")
        app.query_screen.close()


async def test_an_answer_that_is_cut_off_does_not_end_the_watching(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(FollowingAccess(database.path), tmp_path) as at:
        await at.run("FROM books LIMIT 3")
        with monkeypatch.context() as patch:
            cut = Mock(side_effect=OwnerGone(database.path, midway=True))
            patch.setattr(FollowingConsole, "query", cut)
            at.tab.watch_every(0.1)
            await at.until(lambda: cut.call_count > 1, "two runs of the statement")
        await at.until(lambda: not at.tab.busy, "the end of the statement")
        assert at.tab.watching and "✔ 3 rows" in at.tab.status.text
