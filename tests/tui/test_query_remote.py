"""The query screen on a database of another process, which cuts off clients that read no rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import desk, make_database

from tui_runner.store.access import RemoteAccess, open_access
from tui_runner.store.database import Database
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
