"""The query screen on a terminal of 80 × 24: charts with little room, and columns out of view."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import desk, make_database

from tui_runner.store.database import Database

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
        assert "⠤⠤⠤ at ⠤⠀⠤ price by x   2 of 3 series…  F8 table" in at.shown()
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
