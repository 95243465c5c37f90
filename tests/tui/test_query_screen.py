"""The query screen on a real database: statements are typed and run, rows, mistakes and hostile text shown."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest
from support.query_world import HOSTILE, Desk, desk, make_database

from tui_runner.store.database import Database
from tui_runner.tui.dialogs.questions import AskTexts, Choose, Confirm
from tui_runner.tui.query import result_grid, tab
from tui_runner.tui.query.catalog_tree import Catalog
from tui_runner.tui.query.cell_viewer import CellViewer, shown_cells
from tui_runner.tui.query.editor import Suggestions
from tui_runner.tui.query.result_chart import ChartKind
from tui_runner.tui.query.script_files import History
from tui_runner.tui.query.tab import Shown


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = make_database(tmp_path / "books.duckdb")
    yield opened
    opened.close()


def half_written(folder: Path) -> list[Path]:
    """Return files of exports that did not come to an end."""
    return list(folder.glob(".out*"))


def rows_shown(at: Desk) -> list[tuple[str | None, ...]]:
    """Return the texts of the first page."""
    table = at.tab.grid.page_table(0)
    assert table is not None
    columns = [shown_cells(column.combine_chunks()) for column in table.columns]
    return list(zip(*columns, strict=True))


async def test_the_catalog_has_results_first_and_grows_with_the_run(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        catalog = at.screen.query_one(Catalog)
        labels = [str(node.label) for node in catalog.root.children]
        assert labels[0] == "books  25,000"
        assert labels[2].startswith("runner.")
        assert "title  VARCHAR" in at.shown()
        cursor = database.cursor()
        cursor.execute("ALTER TABLE books ADD COLUMN added INTEGER")
        cursor.execute("CREATE TABLE later AS SELECT 1 AS one")
        await at.until(lambda: "added  INTEGER" in at.shown() and "later  1" in at.shown(), "the refresh")
        assert catalog.root.children[0].is_expanded
        database.close_cursor(cursor)


async def test_a_statement_is_typed_and_its_rows_are_shown(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.press(*"select title, stars from books limit 3", "f5")
        await at.until(lambda: at.tab.shown is Shown.ROWS)
        shown = at.shown()
        assert "✔ 3 rows · " in at.tab.status.text
    assert "VARCHAR" in shown and "BIGINT" in shown
    lines = shown.splitlines()
    row = next(line for line in lines if "Book no. 1" in line)
    assert row.rstrip().endswith("1"), "numbers stand at the right"
    assert "NULL" in next(line for line in lines if "Book no. 0" in line)


async def test_more_rows_than_a_page_are_read_when_the_cursor_reaches_them(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        assert "first 10,000 rows, more follow" in await at.run("SELECT _item FROM books ORDER BY _item")
        await at.press("f6", "G")
        await at.until(lambda: at.tab.grid.rows == 20_000)
        assert "first 20,000 rows, more follow" in at.tab.status.text
        await at.press("G")
        await at.until(lambda: at.tab.grid.rows == 25_000)
        await at.press("G")
        assert "25,000 rows" in at.tab.status.text and "more" not in at.tab.status.text
        assert "24,999" in at.shown()
        await at.press("ctrl+home")
        assert at.tab.grid.row == 0 and " 1 " in at.shown()


async def test_pages_of_many_bytes_are_dropped_but_those_on_the_screen(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_grid, "_PAGES_BYTES", 1)
    async with desk(database, tmp_path) as at:
        await at.run("SELECT range AS n FROM range(60000)")
        grid = at.tab.grid
        await at.press("f6")
        for rows in (20_000, 30_000, 40_000, 50_000, 60_000):
            await at.press("G")
            await at.until(lambda rows=rows: grid.rows == rows, f"{rows} rows")  # type: ignore[misc]
        await at.press("G")
        await at.until(lambda: "60,000 59,999" in at.shown(), "the last row")
        await at.press("ctrl+home")
        await at.until(lambda: grid.value_at(0, 0) is not None, "the first row, which was dropped")
        for _ in range(3):
            await at.pilot.pause()
        assert [grid.page_table(number) is not None for number in range(6)].count(True) == 3
        assert " 0 " in at.shown()


async def test_a_result_that_fills_its_page_is_not_said_to_have_more(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        assert "✔ 10,000 rows" in await at.run("FROM books LIMIT 10000")
        assert "✔ first 10,000 rows, more follow" in await at.run("FROM books LIMIT 10001")


async def test_clearing_the_editor_leaves_an_editor(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.write("x")
        await at.press("backspace", "f5")
        assert "no statement" in at.tab.status.text
        await at.press("ctrl+z")
        assert at.tab.editor.text == "x"


@pytest.mark.parametrize(
    ("sql", "place", "word"),
    [
        ("SELECT 1;\nSELECT *\nFROM books WERE 1", "line 3, column 17", "1"),
        ("SELECT title,\n  'ü', titel FROM books", "line 2, column 8", "titel"),
        ("FROM nowhere", "line 1, column 6", "nowhere"),
    ],
)
async def test_a_mistake_is_shown_and_marked_in_the_editor(
    database: Database, tmp_path: Path, sql: str, place: str, word: str
) -> None:
    async with desk(database, tmp_path) as at:
        status = await at.run(sql)
        assert place in status
        editor = at.tab.editor
        row, column = editor.cursor_location
        assert editor.document.get_line(row)[column:].startswith(word)
        marked = editor.get_line(row)
        assert any("underline" in str(span.style) and span.start == column for span in marked.spans)
        await at.press("x")
        assert not any("underline" in str(span.style) for span in editor.get_line(row).spans)
        # and the next statement works
        assert "✔ 1 row" in await at.run("SELECT 1")


async def test_statements_that_would_change_data_are_refused(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        for sql in (
            "DELETE FROM books",
            "WITH gone AS (DELETE FROM books RETURNING *) FROM gone",
            "FROM read_csv('/etc/passwd')",
            "ATTACH ':memory:' AS other",
            "COPY books TO 'out.csv'",
            "SET threads = 1",
        ):
            assert "▲ failed" in await at.run(sql), sql
        assert "✔ 1 row" in await at.run("SELECT count(*) FROM books")
        assert rows_shown(at) == [("25,000",)]


async def test_write_mode_is_asked_for_and_shown(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        assert "read only" in at.shown()
        await at.press("ctrl+r")
        assert isinstance(at.pilot.app.screen, Confirm)
        await at.press("y")
        assert "✎ WRITES" in at.shown()
        await at.run("DELETE FROM books WHERE _item >= 10")
        await at.run("SELECT count(*) FROM books")
        assert rows_shown(at) == [("10",)]
        assert "▲ failed" in await at.run("DELETE FROM runner.items")
        await at.press("ctrl+r")
        assert "▲ failed" in await at.run("DELETE FROM books")
        assert "^r allows statements that change data" in at.shown()


async def test_the_statement_at_the_cursor_or_the_selection_is_run(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.write("SELECT 'one; two' AS a; -- first\nSELECT 2 AS b;\nSELECT 3 AS c")
        editor = at.tab.editor
        for location, expected in (((0, 3), "one; two"), ((1, 5), "2"), ((2, 0), "3")):
            editor.move_cursor(location)
            await at.press("f5")
            await at.until(lambda: not at.tab.busy)
            assert rows_shown(at) == [(expected,)]
        editor.move_cursor((1, 7))
        editor.move_cursor((1, 8), select=True)
        await at.press("home", "shift+end")
        await at.press("ctrl+j")
        await at.until(lambda: not at.tab.busy)
        assert rows_shown(at) == [("2",)]


async def test_escape_ends_a_statement_at_once(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.write("SELECT sum(a.range * b.range) FROM range(10_000_000) a, range(10_000_000) b")
        at.strike("f5")
        await at.until(lambda: "▶ running" in at.tab.status.text)
        at.strike("x")  # the editor keeps working meanwhile
        await at.until(lambda: at.tab.editor.text.endswith("bx"))
        at.strike("escape")
        await at.until(lambda: not at.tab.busy)
        assert "⊘ ended after" in at.tab.status.text
        assert at.tab.shown is Shown.NOTHING
        await at.press("f9")
        assert "run a statement first" in at.shown()
        assert "✔ 1 row" in await at.run("SELECT 1")


async def test_parameters_are_asked_for(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.write("SELECT $least + 1 AS n, $word AS w")
        await at.press("f5")
        assert isinstance(at.pilot.app.screen, AskTexts)
        await at.press("4", "1", "enter", *"it's", "enter")
        await at.until(lambda: at.tab.shown is Shown.ROWS)
        assert rows_shown(at) == [("42", "it's")]


async def test_hostile_names_and_cells_are_harmless_everywhere(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run('SELECT * FROM "we ird"')
        catalog = at.screen.query_one(Catalog)
        for node in catalog.root.children:
            node.expand()
        await at.pilot.pause()
        pictures = [at.shown()]
        await at.press("f6", "enter")
        assert isinstance(at.pilot.app.screen, CellViewer)
        pictures.append(at.shown())
        await at.press("escape")
        await at.run(f"SELECT '{HOSTILE}' FROM nowhere")
        pictures.append(at.shown())
        await at.press("f3")
        pictures.append(at.shown())
    for picture in pictures:
        for character in picture.replace("\n", ""):
            assert unicodedata.category(character) not in ("Cc", "Cf"), hex(ord(character))
    assert "␛]52" in pictures[0] and "␛]52" in pictures[1]


async def test_a_cell_of_any_size_is_shown_at_once(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        assert "✔ 2 rows" in await at.run(
            "SELECT repeat('ä\nb', 20_000_000) AS long, [1, 2] AS l UNION ALL SELECT 'x', range(1_000_000)"
        )
        await at.press("f6", "enter")
        assert isinstance(at.pilot.app.screen, CellViewer)
        assert "first 100,000 of 60,000,000 characters" in at.shown()


async def test_words_are_offered_and_taken(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        offered = at.screen.query_one(Suggestions)
        await at.press(*"from books b select b.ti")
        await at.until(lambda: offered.current is not None)
        assert offered.current is not None and offered.current.text == "title"
        await at.press("tab")
        assert at.tab.editor.text == "from books b select b.title"
        assert not offered.display
        await at.press(*" wher")
        await at.until(lambda: offered.current is not None)
        await at.press("escape")
        assert not offered.display and at.pilot.app.screen is at.screen
        await at.press(*"e date_tr")
        await at.until(lambda: offered.current is not None)
        await at.press("tab")
        assert at.tab.editor.text == "from books b select b.title where date_trunc("


async def test_history_is_there_after_a_restart(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 'first'")
        await at.run("SELECT 'second'")
        await at.run("SELECT 'first'")
    async with desk(database, tmp_path) as at:
        await at.press("f3")
        assert isinstance(at.pilot.app.screen, Choose)
        await at.press("enter")
        assert at.tab.editor.text == "SELECT 'first'"
    assert History(tmp_path / "queries.jsonl").statements == ["SELECT 'second'", "SELECT 'first'"]
    assert (tmp_path / "queries.jsonl").stat().st_mode & 0o077 == 0


async def test_ready_made_queries_run(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.press("f2")
        assert "Rows per minute" in at.shown()
        await at.press("enter")
        await at.until(lambda: at.tab.shown is Shown.ROWS)
        assert at.tab.grid.rows == 9
        await at.press("f2", "down", "enter")
        await at.until(lambda: "failure" in at.tab.editor.text.lower() or "errors" in at.tab.editor.text)
        # What was run is in the history: it gives way. What was typed and never run stays.
        assert "date_trunc" not in at.tab.editor.text
        await at.write("SELECT 'mine'")
        await at.press("f2", "enter")
        await at.until(lambda: "date_trunc" in at.tab.editor.text)
        assert at.tab.editor.text.startswith("SELECT 'mine';")


async def test_a_long_ready_made_query_is_shown_from_its_beginning(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path, size=(80, 24)) as at:
        await at.press("f2", "down", "down", "down", "enter")
        await at.until(lambda: at.tab.shown is Shown.ROWS)
        assert at.tab.editor.text.startswith("-- Each line is twice")
        assert at.tab.editor.cursor_location == (0, 0)
        await at.until(lambda: "Each line is twice" in at.shown(), "scrolling")


async def test_watching_shows_what_changes_and_ends_on_request(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT count(*) AS n, 'same' AS s FROM books")
        cursor = database.cursor()
        cursor.execute("INSERT INTO books (_item) VALUES (99999)")
        # It looks at once, and however busy the machine is, not for longer than this.
        at.tab.watch_every(20.0)
        await at.until(lambda: rows_shown(at) == [("25,001", "same")], "the next look")
        assert "every 20 s" in at.tab.status.text
        await at.press("escape")
        assert not at.tab.watching
        cursor.execute("INSERT INTO books (_item) VALUES (99998)")
        database.close_cursor(cursor)
        await at.until(lambda: not at.tab.busy)
        assert at.screen.is_current


async def test_a_watched_statement_that_is_slower_than_its_interval_is_run_more_rarely(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 1")
        monkeypatch.setattr(tab, "_REST", 1_000_000)
        at.tab.watch_every(0.000_001)
        await at.until(lambda: "read every" in at.tab.status.text, "the longer interval")
        assert at.tab.watching and at.tab._pace > 60
        # The run has ended: its last rows are shown although the next look would be far off.
        at.tab.watch_once_more("the run has ended")
        await at.until(lambda: not at.tab.watching, "the last look")
        at.tab.watch_every(60.0)
        await at.until(lambda: not at.tab.busy and "· every 60 s" in at.tab.status.text, "the usual interval")
        at.tab.stop_watching("watching ended")
        # What became of the statement is more important than why it is watched no more.
        await at.pilot.resize_terminal(40, 12)
        await at.pilot.pause()
        assert "✔ 1 row · " in at.shown() and "watching" in at.shown()
        await at.run("SELECT 2")
        assert "watching" not in at.tab.status.text


async def test_the_chart_goes_from_bars_to_a_line_to_rows(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT stars, count(*) AS n FROM books GROUP BY stars ORDER BY stars")
        await at.press("f8")
        assert at.tab.chart_kind is ChartKind.BARS and "█" in at.shown() and "▪ n" in at.shown()
        assert re.search(r"▪ n by stars +F8 line  Esc table", at.shown())
        await at.press("f8")
        assert at.tab.chart_kind is ChartKind.LINE and re.search(r"▪ n by stars +F8 table", at.shown())
        assert any(0x2800 < ord(character) <= 0x28FF for character in at.shown())
        await at.press("f8")
        assert at.tab.shown is Shown.ROWS
        await at.press("f8", "escape")
        assert at.tab.shown is Shown.ROWS and at.screen.is_current
        await at.press("f8", "f8")
        await at.run("SELECT stars, count(*) AS n FROM books GROUP BY stars ORDER BY n")
        assert at.tab.chart_kind is ChartKind.LINE  # the user has chosen it for these columns
        await at.run("SELECT stars, count(*) AS n FROM boks GROUP BY stars ORDER BY n")
        await at.run("SELECT stars, count(*) AS n FROM books GROUP BY stars ORDER BY stars")
        assert at.tab.shown is Shown.CHART  # also after a mistake
        # The result of another question shows its rows, and the chart that suits it best after one key.
        await at.run("SELECT title, price FROM books LIMIT 5")
        assert at.tab.shown is Shown.ROWS
        await at.press("f8")
        assert at.tab.chart_kind is ChartKind.BARS
        # Many rows with a number as x and several series have no bars.
        await at.run("SELECT _item, price, price / 2 AS half FROM books WHERE _item < 500")
        assert at.tab.shown is Shown.ROWS
        await at.press("f8")
        assert at.tab.chart_kind is ChartKind.LINE
        await at.press("f8")
        assert at.tab.shown is Shown.ROWS
        await at.run("SELECT _item, price, price / 2 AS half FROM books WHERE _item < 400")
        assert at.tab.shown is Shown.ROWS  # the user has left the chart


async def test_a_chart_that_is_asked_for_while_a_statement_runs_is_one_of_its_result(
    database: Database, tmp_path: Path
) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT title, price FROM books LIMIT 5")
        await at.write("SELECT range % 3 AS third, count(*) AS n FROM range(30_000_000) GROUP BY ALL ORDER BY ALL")
        at.strike("f5")
        await at.until(lambda: at.tab._runs_anew, "the statement")
        at.strike("f8")
        await at.until(lambda: at.tab.shown is Shown.CHART, "the chart")
        assert not at.tab.busy and "▪ n by third" in at.shown()
        await at.run("SELECT 1 AS one")
        assert at.tab.shown is Shown.ROWS


async def test_cells_rows_and_results_are_copied(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 1 AS a, 'x, \"y\"' AS b UNION ALL SELECT 2, NULL ORDER BY a")
        await at.press("f6", "right", "c")
        app = at.pilot.app
        await at.until(lambda: app.clipboard == 'x, "y"')
        assert "OSC 52" in at.shown()
        from tui_runner.tui.query.copy_export import copy_rows

        for what, how, expected in (
            ("row", "csv", 'a,b\n1,"x, ""y"""\n'),
            ("all", "text", '1\tx, "y"\n2\t'),
            ("column", "markdown", '| b |\n| --- |\n| x, "y" |\n| NULL |\n'),
        ):
            copy_rows(at.screen, at.tab, what, how)
            await at.until(lambda expected=expected: app.clipboard == expected, f"copying {what}: {app.clipboard!r}")
        await at.press("C")
        assert isinstance(app.screen, Choose)
        await at.press(*["down"] * 10, "enter")  # all as JSON
        await at.until(lambda: app.clipboard.startswith("["))
        assert json.loads(app.clipboard) == [{"a": 1, "b": 'x, "y"'}, {"a": 2, "b": None}]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
async def test_every_row_is_exported(database: Database, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"out.{ending}"
    async with desk(database, tmp_path) as at:
        await at.run("SELECT _item, title FROM books")
        await at.press("f9")
        await at.answer(str(target))
        await at.until(target.exists)
        await at.until(lambda: "25,000 rows written" in at.shown().replace("\n", " "))
        before = target.read_bytes()
        await at.press("f9")
        await at.answer(str(target))
        assert isinstance(at.pilot.app.screen, Confirm)
        await at.press("n")
        assert target.read_bytes() == before
    assert duckdb.sql(f"SELECT count(*), sum(_item) FROM '{target}'").fetchall() == [(25_000, 312_487_500)]
    assert half_written(tmp_path) == []


async def test_tabs_have_statements_and_results_of_their_own(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 'left'")
        await at.press("ctrl+t")
        await at.until(lambda: at.tab.editor.text == "")
        await at.run("SELECT 'right'")
        assert rows_shown(at) == [("right",)]
        await at.press("f12")
        assert rows_shown(at) == [("left",)] and at.tab.editor.text == "SELECT 'left'"
        await at.press("f11", "ctrl+f4")
        await at.until(lambda: at.tab.editor.text == "SELECT 'left'")


async def test_statements_are_saved_and_opened(database: Database, folder: Path) -> None:
    file = folder / "mine.sql"
    async with desk(database, folder) as at:
        await at.write("SELECT 'saved'")
        await at.press("ctrl+s")
        await at.answer(str(file))
        assert file.read_text() == "SELECT 'saved'\n"
        await at.press("ctrl+t")
        await at.until(lambda: at.tab.editor.text == "")
        await at.press("ctrl+o")
        await at.answer(str(file))
        await at.until(lambda: at.tab.editor.text.startswith("SELECT 'saved'"))
        await at.press("ctrl+o")
        await at.answer("none.sql")
        await at.until(lambda: "cannot be read" in at.shown())


@pytest.mark.slow
async def test_many_statements_leave_no_cursor_and_no_memory_behind(database: Database, tmp_path: Path) -> None:
    process = psutil.Process()
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 1")
        await at.until(lambda: not at.screen._catalog_busy)
        before, memory = len(database._cursors), 0
        for number in range(31):
            # A page of 20 MB: if pages were kept, 400 MB more would be in use at the end.
            await at.run(f"SELECT repeat('x', 200_000) || (range + {number}) AS t FROM range(100)")
            memory = process.memory_info().rss if number == 10 else memory
        assert process.memory_info().rss - memory < 200 << 20
        await at.until(lambda: len(database._cursors) <= before + 1, "closing cursors")
    assert not database._cursors


KINDS = [
    "FROM books LIMIT 5",
    "SELECT a.title, b.price FROM books a JOIN books b USING (_item) ORDER BY _item LIMIT 20",
    "SELECT _item, row_number() OVER (PARTITION BY stars ORDER BY _item) AS n FROM books ORDER BY _item LIMIT 30",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 50) SELECT n, n * n FROM t ORDER BY n",
    "PIVOT (SELECT stars, day.year() AS y FROM books) ON y USING count(*) GROUP BY stars ORDER BY stars",
    "SELECT [1, NULL, 3] AS l, {'a': 1, 'b': [2]} AS s, MAP {'k': 1.5} AS m",
    "SELECT x, y FROM range(3) t(x), LATERAL (SELECT x * 2 AS y) ORDER BY x",
    "SELECT '{\"a\": [1, 2]}'::JSON->'a' AS j, '{\"a\": 1}'::JSON AS k",
    "FROM generate_series(1, 10)",
    "DESCRIBE books",
    "SELECT DATE '2024-02-29' AS d, TIMESTAMP '2024-02-29 12:34:56.7' AS t, TIME '01:02:03' AS c, INTERVAL 3 DAY AS i",
    "SELECT 1.5::DECIMAL(10, 2) AS d, 2::HUGEINT ** 100 AS h, 0.1::FLOAT AS f, 'x'::BLOB AS b, true AS t, NULL AS n",
    "SELECT $$it's; fine$$ AS a, 'ÄÖ 漢字 🎉' AS b, 'it''s' AS c /* ; */ -- ;",
    "SELECT count(*) FILTER (stars = 1) AS one, max(price) AS most FROM books",
    "SELECT stars, list(_item ORDER BY _item)[1:3] AS first FROM books GROUP BY ALL ORDER BY stars",
    "SELECT * EXCLUDE (day) FROM books WHERE title LIKE '%99' ORDER BY ALL LIMIT 40",
    "VALUES (1, 'a'), (2, NULL)",
    "SELECT unnest([1, 2, 3]) AS u",
]


async def test_statements_of_every_kind_give_what_duckdb_gives(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        for sql in KINDS:
            cursor = database.cursor()
            relation = cursor.sql(sql)
            names, types = relation.columns, [str(each) for each in relation.types]
            expected = relation.to_arrow_table()
            database.close_cursor(cursor)
            assert "✔" in await at.run(sql), sql
            table = at.tab.grid.page_table(0)
            assert table is not None
            assert names[0] in at.shown(), sql
            assert table.column_names == names
            assert [field.metadata[b"duckdb_type"].decode() for field in table.schema] == types
            assert table.num_rows == expected.num_rows
            for ours, theirs in zip(table.columns, expected.columns, strict=True):
                if ours.type == theirs.type:  # what differs is read as DuckDB's text
                    assert ours.to_pylist() == theirs.to_pylist(), sql
