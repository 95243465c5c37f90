"""Results of statements that are ended, fail, are watched or are left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import Desk, desk, make_database
from textual.widgets import Static

from tui_runner.store.database import Database
from tui_runner.store.query.statements import Statement
from tui_runner.tui.dialogs.questions import Choose
from tui_runner.tui.dialogs.reader import Reader
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
        at.tab.editor.load_text("")
        await at.press("f7")
        assert isinstance(at.pilot.app.screen, Choose)
        await at.press("enter")
        await at.until(lambda: "✔ 1 row" in at.tab.status.text, "the older statement again")
        assert at.tab.watching and at.tab.asked is not None and "'kept'" in at.tab.asked[0].sql


async def test_rows_that_went_with_an_ended_statement_are_not_promised_but_exported(
    database: Database, tmp_path: Path
) -> None:
    async with desk(database, tmp_path) as at:
        assert "first 10,000 rows, more follow" in await at.run("FROM range(60_000)")
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
        for key in ("f8", "f9"):
            await at.press(key)
            assert at.screen.is_current and "The last statement has no result." in at.shown()
        await at.write(ENDLESS)
        at.strike("f5")
        await at.until(lambda: "▶ running" in at.tab.status.text)
        assert at.tab.shown is Shown.NOTHING
        at.strike("escape")
        await at.until(lambda: not at.tab.busy)
        assert at.tab.shown is Shown.NOTHING


@pytest.mark.parametrize("watched", [False, True])
async def test_a_statement_of_the_user_does_not_wait_for_one_that_the_screen_runs_by_itself(
    watched: bool, database: Database, tmp_path: Path
) -> None:
    async with desk(database, tmp_path) as at:
        if watched:
            await at.run("SELECT 'old' AS word")
            at.tab._last = Statement(ENDLESS, 0, len(ENDLESS)), {}
            at.tab.watch_every(0.05)
        else:
            at.tab.begin_with(ENDLESS)
        await at.until(lambda: at.tab.busy)
        await at.write("SELECT 'mine' AS word")
        at.strike("f5")
        await at.until(lambda: "✔ 1 row" in at.tab.status.text and "mine" in at.shown())
        assert not at.tab.watching
        await at.write(ENDLESS)
        at.strike("f5")
        await at.until(lambda: "▶ running" in at.tab.status.text)
        await at.press("f5")
        assert "A statement is running; Esc ends it" in at.shown() and at.tab.busy
        at.strike("escape")
        await at.until(lambda: not at.tab.busy)


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


async def test_numbers_that_a_scroll_bar_would_cover_are_marked_as_cut(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path, size=(60, 24)) as at:
        marked = 0
        for width in range(8, 20):
            numbers = ", ".join(f"123456.123456789 AS {name}" for name in "abcd")
            await at.run(f"SELECT repeat('x', {width}) AS first, {numbers} FROM range(100)")
            grid = at.tab.grid
            assert grid.scrollbars_enabled[0], "there are more rows than fit"
            line = grid.render_line(2).text
            assert len(line) == grid.scrollable_content_region.width
            last = line.split()[-1]
            assert last in ("x" * width, "123,456.123456789", "…") or last.endswith("…")
            marked += last.endswith("…")
        assert marked > 5


async def test_decimal_points_of_a_column_stand_below_each_other(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT unnest([1.5, 12345.25, 0.123456789012, 7, NULL, 3.5e-9])::DOUBLE AS x")
        lines = [at.tab.grid.render_line(line).text for line in range(2, 8)]
        points = {line.index(".") for line in lines if "." in line}
        assert len(points) == 1 and "12,345.25" in lines[1]
        assert lines[4].rstrip().endswith("NULL") and lines[3].split()[1] in ("7", "7.0")


async def test_statistics_have_their_decimal_points_below_each_other(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT range / 3 * 1e-7 AS tiny FROM range(1, 101)")
        at.tab.grid.focus()
        await at.press("t")
        await at.until(lambda: isinstance(at.pilot.app.screen, Reader))
        lines = at.pilot.app.screen._text.split("\n")
        values = dict((line[:22].rstrip(), line[24:]) for line in lines)
        assert float(values["mean"]) == pytest.approx(50.5 / 3 * 1e-7)
        assert int(values["distinct, about"]) <= int(values["rows"]) == 100
        assert not any(name.endswith("times") for name in values), "no value is there twice"
        assert len({value.index(".") for value in values.values() if "." in value}) == 1


@pytest.mark.parametrize("height", [24, 40])
async def test_statistics_leave_rows_visible(database: Database, tmp_path: Path, height: int) -> None:
    async with desk(database, tmp_path, (80, height)) as at:
        await at.run("SELECT 'row ' || range AS name, range AS n FROM range(100)")
        at.tab.grid.focus()
        await at.press("right", "t")
        await at.until(lambda: isinstance(at.pilot.app.screen, Reader))
        await at.pilot.pause()
        reader = at.pilot.app.screen
        assert isinstance(reader, Reader)
        box = reader.query_one("#box")
        assert box.size.height + 2 <= 15 and box.region.y == 0  # with its border
        last = reader._text.split("\n")[-1]
        assert last in at.shown() and "row 3" in at.shown()
        await at.press("end")
        assert last in at.shown()
