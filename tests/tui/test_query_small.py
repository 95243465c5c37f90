"""The query screen on a terminal of 80 × 24: charts with little room, columns out of view, names from the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import desk, make_database

from tui_runner.store.database import Database
from tui_runner.tui.query.catalog_tree import Catalog
from tui_runner.tui.query.header import Growth

SMALL = (80, 24)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = make_database(tmp_path / "books.duckdb")
    yield opened
    opened.close()


async def test_a_chart_has_patterns_without_colours_and_leaves_out_what_has_no_room(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with desk(database, tmp_path, SMALL) as at:
        await at.run(
            "SELECT range AS x, 1_800_000_000 + x AS at, range / 7 AS price, range / 300 AS part FROM range(90)"
        )
        await at.press("f8")
        assert "⠤⠤⠤ at ⠤⠀⠤ price by x   2 of 3  z more  F8 table" in at.shown()
        await at.press("f6", "z")
        assert "⠤⠤⠤ at ⠤⠀⠤ price ⠄⠀⠄ part by x  " in at.shown(), "a zoomed chart has room for all"


async def test_columns_out_of_view_are_counted_in_the_heading(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path, SMALL) as at:
        # The sixth column would begin at the edge of the screen, so that no text is cut there.
        await at.run("SELECT 'aaaaaaaaa' AS a, 'bbbbbb' AS b, 'cccccc' AS c, 'dddddd' AS d, 5 AS e, 6 AS f, 7 AS g")

        def types() -> str:
            return next(line for line in at.shown().splitlines() if line.count("VARCHAR") > 1).rpartition("│")[2]

        assert types() == "   VARCHAR    VARCHAR  VARCHAR  VARCHAR  INT… +2 ›"
        await at.press("f6", "end")
        assert types().startswith("‹1 ") and types().rstrip().endswith("INTEGER") and "›" not in types()
        await at.press("home")
        await at.run("SELECT 1 AS a, 2 AS b")
        assert "›" not in at.shown() and "‹" not in at.shown(), "all columns are in view"


@pytest.mark.slow
async def test_a_name_of_the_catalog_goes_into_the_statement_as_it_would_be_typed(
    database: Database, tmp_path: Path
) -> None:
    cursor = database.cursor()
    cursor.execute('CREATE TABLE "left" ("at" TIMESTAMP, price DOUBLE, stock INTEGER)')
    database.close_cursor(cursor)
    async with desk(database, tmp_path, SMALL) as at:
        catalog, editor = at.screen.query_one(Catalog), at.tab.editor
        await at.until(lambda: len(catalog.root.children) > 2 and at.screen.vocabulary.quoted_words)
        node = next(node for node in catalog.root.children if node.data and node.data.name == "left")
        node.expand()
        await at.pilot.pause()

        async def enter(place: int, key: str = "enter") -> str:
            catalog.focus()
            catalog.move_cursor(node.children[place] if place >= 0 else node)
            await at.press(key)
            return editor.text

        at.tab.begin_with("FROM books ORDER BY rowid DESC LIMIT 100")
        await at.until(lambda: not at.tab.busy)
        assert await enter(0) == 'SELECT "at" FROM "left"'
        assert await enter(1) == 'SELECT "at", price FROM "left"'
        await at.press("f5")
        await at.until(lambda: at.tab.asked is not None and not at.tab.busy)
        assert "✔" in at.tab.status.text
        for text, place, expected in (
            ("FROM books LIMIT 100|", 0, 'FROM books LIMIT 100 "at"'),
            ("FROM books|", 1, "FROM books SELECT price"),
            ("FROM main.books |WHERE stars > 3", 1, "FROM main.books SELECT price WHERE stars > 3"),
            ("SELECT |FROM books", 1, "SELECT price FROM books"),
            ("SELECT sum(|) FROM books", 1, "SELECT sum(price) FROM books"),
            ("SELECT b.| FROM books b", 2, "SELECT b.stock FROM books b"),
            ("SELECT price  |", 2, "SELECT price, stock"),
            ("FROM books WHERE price <|", 2, "FROM books WHERE price < stock"),
            ("FROM books ORDER BY price|", 2, "FROM books ORDER BY price, stock"),
            ("SELECT price FROM|", -1, 'SELECT price FROM "left"'),
        ):
            position = text.index("|")
            await at.write(text.replace("|", ""))
            editor.move_cursor(editor.location_of(position))
            assert await enter(place, "i") == expected


async def test_the_list_of_words_says_which_key_takes_one(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path, SMALL) as at:
        await at.until(lambda: "freeze" in at.screen.vocabulary.keywords)
        await at.write("SELECT ")
        await at.press("p", "r")
        shown = at.shown().splitlines()
        first = next(number for number, line in enumerate(shown) if "▸price" in line)
        assert any(" Tab takes it  " in line for line in shown[first : first + 10])
        await at.press("down")
        assert " Tab, Enter take it" in at.shown()
        await at.press("up", "enter")
        assert at.tab.editor.text == "SELECT price" and "take it" not in at.shown()


def test_the_progress_of_a_statement_is_shown_only_while_it_grows() -> None:
    growth = Growth()
    seen = [(0.0, None), (0.25, 0.2), (0.5, 0.2), (0.75, 0.3), (2.5, 0.3), (3.0, 0.3), (3.25, 0.4), (3.5, 1.0)]
    assert [growth.of(progress, at) for at, progress in seen] == [None, None, None, 0.3, 0.3, None, 0.4, None]
