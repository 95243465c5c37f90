"""The query screen opens with an answer: the newest rows; and what can be asked of a result by a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import Desk, make_database, query_app
from textual.widgets import Input

from tui_runner.store.database import Database
from tui_runner.store.query.catalog import column_statistics_sql, sorted_sql
from tui_runner.tui.dialogs.questions import Ask
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.query.catalog_tree import Catalog
from tui_runner.tui.query.tab import Shown


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path / "books.duckdb")
    yield made
    made.close()


async def test_it_opens_with_the_newest_rows_and_what_is_typed_takes_their_place(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with app.run_test(size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        assert "Book no. 24999" in at.shown() and at.tab.editor.text.startswith('FROM "books" ORDER BY rowid DESC')
        assert not at.screen.unsaved and not at.screen._history.statements  # nobody has typed it
        await at.press(*"SELECT 1", "f5")
        await at.until(lambda: at.tab.asked is not None and at.tab.asked[0].sql == "SELECT 1")
        assert at.tab.editor.text == "SELECT 1"


async def test_a_result_is_sorted_by_the_column_under_the_cursor_and_the_statement_is_shown(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with app.run_test(size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        await at.press("f6", "l", "o")
        await at.until(lambda: at.tab.asked is not None and at.tab.asked[0].sql.endswith('ORDER BY "_item" NULLS LAST'))
        first = at.tab.grid.value_at(0, 1)
        assert first is not None and first[1][0].as_py() == 24_900
        await at.press("o")
        await at.until(lambda: at.tab.asked is not None and "DESC NULLS" in at.tab.asked[0].sql)
        # Once more turns the order round, and does not sort what is sorted.
        assert at.tab.asked is not None and at.tab.asked[0].sql.count("NULLS LAST") == 1


async def test_figures_of_a_column_rows_by_number_and_more_room(database: Database, tmp_path: Path) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with app.run_test(size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        await at.press("f6", "colon")
        await at.until(lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = "42"
        await at.press("enter")
        await at.until(lambda: at.tab.grid.row == 41)
        await at.press("b", "z")
        assert not at.screen.query_one(Catalog).display or not at.screen.query_one(Catalog).size.width
        assert not at.tab.editor.size.height
        await at.press("escape", "b")
        assert at.tab.editor.size.height and at.screen.query_one(Catalog).size.width
        await at.press("t")
        await at.until(lambda: isinstance(app.screen, Reader))


def test_statistics_of_any_column_can_be_computed(database: Database) -> None:
    cursor = database.cursor()
    for column, type in (("price", "DOUBLE"), ("title", "VARCHAR"), ("day", "DATE"), ("stars", "INTEGER")):
        rows = dict(cursor.execute(column_statistics_sql("FROM books", column, type)).fetchall())
        assert rows["rows"] == "25000" and int(rows["not null"]) == (21_428 if column == "stars" else 25_000)
    odd = cursor.execute(column_statistics_sql('FROM "we ird"', "a[/b]\x1b[31m", "VARCHAR")).fetchall()
    assert ("rows", "1") in odd
    assert sorted_sql("FROM x", 'a"b', descending=True).endswith('ORDER BY "a""b" DESC NULLS LAST')
