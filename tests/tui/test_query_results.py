"""Results of statements that are ended, fail, are watched or are left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import Desk, desk, make_database
from textual.widgets import Static

from tui_runner.store.database import Database
from tui_runner.tui.dialogs.questions import Choose
from tui_runner.tui.query import copy_export
from tui_runner.tui.query.tab import QueryTab, Shown

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(10_000_000) b"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = make_database(tmp_path / "books.duckdb")
    yield opened
    opened.close()


async def end_a_long_one(at: Desk) -> None:
    await at.write(ENDLESS)
    at.strike("f5")
    await at.until(lambda: "▶ running" in at.tab.status.text)
    at.strike("escape")
    await at.until(lambda: not at.tab.busy)


async def test_the_result_before_stays_when_a_statement_is_ended(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 'kept' AS word")
        await end_a_long_one(at)
        assert "⊘ ended after" in at.tab.status.text and "this result is older" in at.tab.status.text
        assert "kept" in at.shown()
        await at.press("f9")
        await at.answer(str(tmp_path / "kept.csv"))
        await at.until(lambda: (tmp_path / "kept.csv").exists())
        assert (tmp_path / "kept.csv").read_text() == "word\nkept\n"
        await at.press("f7")
        assert isinstance(at.pilot.app.screen, Choose)
        await at.press("enter")
        await at.until(lambda: "✔ 1 row" in at.tab.status.text, "the older statement again")
        assert at.tab.watching and at.tab.asked is not None and "'kept'" in at.tab.asked[0].sql


async def test_rows_that_went_with_an_ended_statement_are_not_promised_but_exported(
    database: Database, tmp_path: Path
) -> None:
    async with desk(database, tmp_path) as at:
        assert "first 10,000 rows of more" in await at.run("FROM range(60_000)")
        await end_a_long_one(at)
        at.tab.grid.focus()
        await at.press("ctrl+end", "down")
        assert at.tab.grid.rows == at.tab.grid.row + 1 < 60_000
        await at.press("f9")
        await at.answer(str(tmp_path / "cut.csv"))
        await at.until(lambda: (tmp_path / "cut.csv").exists(), "the export")
        assert len((tmp_path / "cut.csv").read_text().splitlines()) == 60_001


async def test_the_viewer_counts_characters_and_bytes(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run(r"SELECT NULL::VARCHAR AS a, '' AS b, 'x' AS c, 'yy' AS d, '\x00'::BLOB AS e")
        for said in (
            "a VARCHAR",
            "b VARCHAR 0 characters",
            "c VARCHAR 1 character",
            "d VARCHAR 2 characters",
            "e BLOB 1 byte",
        ):
            at.tab.grid.focus()
            await at.press("enter")
            heading = at.pilot.app.screen.query_one("#question", Static)
            assert " ".join(str(heading.content).split()) == said
            await at.press("escape", "right")


async def test_a_mistake_takes_the_place_of_the_result(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 1")
        await at.run("SELECT no_such_column")
        assert at.tab.shown is Shown.MESSAGE and at.tab.pages is None
        for key in ("f7", "f8", "f9"):
            await at.press(key)
            assert at.screen.is_current and "run a statement first" in at.shown()
        await at.write(ENDLESS)
        at.strike("f5")
        await at.until(lambda: "▶ running" in at.tab.status.text)
        assert at.tab.shown is Shown.NOTHING
        at.strike("escape")
        await at.until(lambda: not at.tab.busy)
        assert at.tab.shown is Shown.NOTHING


async def test_watching_continues_after_a_page_was_read_meanwhile(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT count(*) AS n FROM books")
        # As it is while a page is read, which takes moments.
        at.tab._busy = True
        at.tab.watch_every(0.1)
        at.tab._busy = False
        cursor = database.cursor()
        cursor.execute("DELETE FROM books")
        database.close_cursor(cursor)
        await at.until(lambda: at.tab.grid._row_texts(0) == ["0"], "the next look")
        assert at.tab.shown is Shown.ROWS


async def test_a_tab_may_be_closed_while_its_rows_are_exported(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def write(*_: object, **__: object) -> int:
        begun.set()
        assert ended.wait(60)
        return 0

    monkeypatch.setattr(copy_export, "write_file", write)
    async with desk(database, tmp_path) as at:
        await at.press("ctrl+t")
        await at.until(lambda: len(at.screen.query(QueryTab)) == 2)
        await at.run("SELECT * FROM books")
        await at.press("f9")
        await at.answer(str(tmp_path / "out.csv"))
        await at.until(begun.is_set)
        await at.press("ctrl+f4")
        await at.until(lambda: len(at.screen.query(QueryTab)) == 1, "the end of the tab")
        ended.set()
        assert "1 row" in await at.run("SELECT 1")


async def test_cells_that_are_cut_at_an_edge_of_the_result_are_marked(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path, size=(60, 24)) as at:
        await at.run("SELECT repeat('a', 30) AS first, repeat('b', 30) AS second, repeat('c', 30) AS third")
        grid = at.tab.grid
        grid.focus()

        def row() -> str:
            return grid.render_line(2).text[3:].rstrip()

        assert row().startswith("a" * 30) is (grid.size.width >= 33)
        assert row().endswith("…") and len(row()) + 3 <= grid.size.width
        await at.press("end")
        assert row().startswith("…") and row().endswith("c" * 30)
        await at.run("SELECT 1 AS one, 2 AS two")
        assert "…" not in row()
