"""The query screen by mouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import Desk, desk, make_database

from tui_runner.store.database import Database
from tui_runner.tui.query.cell_viewer import CellViewer
from tui_runner.tui.query.header import QueryHeader


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = make_database(tmp_path / "books.duckdb")
    yield opened
    opened.close()


def first_line(at: Desk) -> str:
    return at.shown().split("\n", 1)[0]


async def click_word(at: Desk, word: str) -> None:
    """Click a word of the first line."""
    await at.pilot.click(QueryHeader, offset=(first_line(at).index(word), 0))
    await at.pilot.pause()


@pytest.mark.parametrize("key", ["f1", "f2", "f9", "ctrl+r", "ctrl+o", "f6 enter"])
async def test_a_click_beside_a_dialog_closes_it(database: Database, tmp_path: Path, key: str) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 1")
        await at.press(*key.split())
        app = at.pilot.app
        assert app.screen is not at.screen
        await at.pilot.click(app.screen.query_one("#box"), offset=(5, 1))
        assert app.screen is not at.screen
        await at.pilot.click(offset=(0, 0))
        await at.until(lambda: app.screen is at.screen, "closing")
        assert "read only" in first_line(at)


async def test_any_number_of_clicks_opens_one_viewer(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 'a' AS a, 'b' AS b")
        await at.pilot.click(at.tab.grid, offset=(13, 2), times=3)
        await at.until(lambda: isinstance(at.pilot.app.screen, CellViewer))
        assert at.tab.grid.column == 1
        await at.press("escape")
        assert at.screen.is_current


async def test_tabs_are_clicked_and_the_shown_one_is_always_named(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        for _ in range(9):
            await at.press("ctrl+t")
        await at.until(lambda: "▸10" in first_line(at))
        await click_word(at, "4")
        assert "▸4" in first_line(at)
        await at.pilot.resize_terminal(40, 12)
        await at.pilot.pause()
        assert "books.duckdb" in first_line(at) and "▸4 of 10" in first_line(at) and " read only" in first_line(at)
        await click_word(at, "▸")
        assert "▸5 of 10" in first_line(at)
        at.tab.file = Path("名前.sql")
        at.screen.show_header()
        await at.pilot.pause()
        assert "▸名前.sql 5 of 10" in first_line(at)
        await at.pilot.resize_terminal(120, 40)
        await at.pilot.pause()
        line = first_line(at)
        # A wide character takes two cells.
        await at.pilot.click(QueryHeader, offset=(line.index("8") + 2, 0))
        await at.pilot.pause()
        assert "▸8" in first_line(at)
