"""Pictures of the query screen, at three sizes, dark and light. Look at the report before accepting a new one.

`pytest tests/tui/test_query_pictures.py --snapshot-update` takes them anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import Desk, make_database, query_app
from textual.pilot import Pilot

from tui_runner.store.database import Database
from tui_runner.tui.query import header
from tui_runner.tui.query.app import QueryApp

pytestmark = pytest.mark.slow

SIZES = [(40, 12), (80, 24), (120, 40)]
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
every_theme = pytest.mark.parametrize("theme", ["night", "day"])

QUERY = "-- newest first\nSELECT _item, title, price, stars\nFROM books WHERE price > 2.5\nORDER BY 1 DESC LIMIT 1000"
SCREENS = {
    "rows": (QUERY, ["f6", "down", "right"]),
    "mistake": ("SELECT title, prize FROM books", []),
    "bars": ("SELECT stars, count(*) AS n FROM books GROUP BY ALL ORDER BY ALL", ["f8"]),
    "line": ("SELECT range AS x, sin(range / 9.0) AS a, cos(range / 9.0) AS b FROM range(100)", ["f8"]),
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = make_database(tmp_path / "books.duckdb")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def times_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "latency", lambda seconds: "12 ms")


async def opened(pilot: Pilot[None]) -> Desk:
    app = pilot.app
    assert isinstance(app, QueryApp)
    desk, screen = Desk(pilot, app.query_screen), app.query_screen
    await desk.until(lambda: screen.tab is not None and screen.tables and screen.vocabulary.functions, "opening")
    return desk


@every_theme
@every_size
@pytest.mark.parametrize("name", ["rows", "mistake"])
def test_query_screen(
    snap_compare, database: Database, tmp_path: Path, size: tuple[int, int], theme: str, name: str
) -> None:
    cursor = database.cursor()
    cursor.execute('DROP TABLE "we ird"')  # it would look odd in the documentation
    database.close_cursor(cursor)
    assert snap_compare(query_app(database, tmp_path, theme), terminal_size=size, run_before=showing(name))


@pytest.mark.parametrize("name", ["bars", "line"])
def test_charts(snap_compare, database: Database, tmp_path: Path, name: str) -> None:
    assert snap_compare(query_app(database, tmp_path), terminal_size=(80, 24), run_before=showing(name))


@every_size
@pytest.mark.parametrize(
    "keys", [["f2"], ["f1"], ["f9"], ["f6", "f6", "enter"]], ids=["queries", "help", "export", "catalog"]
)
def test_what_opens(snap_compare, database: Database, tmp_path: Path, size: tuple[int, int], keys: list[str]) -> None:
    async def press(pilot: Pilot[None]) -> None:
        desk = await opened(pilot)
        await desk.run("SELECT 1")
        await desk.press(*keys)
        await pilot.pause()

    assert snap_compare(query_app(database, tmp_path), terminal_size=size, run_before=press)


def test_the_words_that_are_offered(snap_compare, database: Database, tmp_path: Path) -> None:
    async def press(pilot: Pilot[None]) -> None:
        desk = await opened(pilot)
        desk.tab.editor.focus()
        await desk.press(*"from books select st")
        await desk.until(lambda: desk.screen.query_one("#suggestions").display)

    assert snap_compare(query_app(database, tmp_path), terminal_size=(80, 24), run_before=press)


def showing(name: str):  # type: ignore[no-untyped-def]
    sql, keys = SCREENS[name]

    async def press(pilot: Pilot[None]) -> None:
        desk = await opened(pilot)
        await desk.run(sql)
        await desk.press(*keys)
        await pilot.pause()

    return press
