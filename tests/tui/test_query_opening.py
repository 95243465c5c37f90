"""The query screen opens with an answer: the newest rows; and what can be asked of a result by a key."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from support.pilots import driven
from support.query_world import HOSTILE, Desk, desk, make_database, query_app
from textual.widgets import Input

from tui_runner.store.database import Database
from tui_runner.store.export.cells import text_cells
from tui_runner.store.ledger import Ledger
from tui_runner.store.query.catalog import Queryable, column_statistics_sql, newest_rows, sorted_sql
from tui_runner.store.records import RunRecord
from tui_runner.tui.dialogs.questions import Ask, Choose, Search
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.query.catalog_tree import Catalog
from tui_runner.tui.query.script_files import History
from tui_runner.tui.query.tab import Shown


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = make_database(tmp_path / "books.duckdb")
    yield made
    made.close()


async def test_the_screen_opens_with_the_newest_rows_and_typed_text_replaces_them(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        assert "Book no. 24999" in at.shown() and at.tab.editor.text.startswith('FROM "books" ORDER BY rowid DESC')
        assert not at.screen.unsaved and not at.screen._history.statements  # nobody has typed it
        await at.press(*"SELECT 1", "f5")
        await at.until(lambda: at.tab.asked is not None and at.tab.asked[0].sql == "SELECT 1")
        assert at.tab.editor.text == "SELECT 1"


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    [[], ["f6", "f6", "f6"], ["f8", "f8", "f8"], ["f1", "escape"], ["f6", "down", "c", "f6", "f6"]],
    ids="-".join,
)
async def test_what_is_typed_replaces_the_opening_statement_whatever_was_looked_at_before(
    database: Database, tmp_path: Path, before: list[str]
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(80, 24)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        await at.press(*before, *"FROM x")
        assert at.tab.editor.text == "FROM x"


async def test_the_first_click_leaves_the_opening_statement_selected_and_the_second_edits_it(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        opening = at.tab.editor.text
        await pilot.click(at.tab.editor, offset=(9, 1))
        assert at.tab.editor.selected_text == opening
        await pilot.click(at.tab.editor, offset=(9, 1))
        await at.press("X")
        assert len(at.tab.editor.text) == len(opening) + 1 and "X" in at.tab.editor.text[1:-1]


def write_another_table(database: Database) -> None:
    """Do what a later run of another job does: begin, and write its first rows."""
    cursor = database.cursor()
    cursor.execute(
        "CREATE TABLE pages AS SELECT 2::BIGINT AS _run, range AS _item, 'Page no. ' || range AS page FROM range(9)"
    )
    Ledger(cursor).begin_run(
        RunRecord(
            run_id=0,
            job="pages",
            job_path="/jobs/pages.py:pages",
            table_name="pages",
            input=None,
            params={},
            settings={},
            state="running",
            items_total=9,
            started_at=None,
            ended_at=None,
            host="here",
            version="0",
        )
    )
    database.close_cursor(cursor)


@pytest.mark.slow
async def test_the_opening_statement_goes_to_the_table_of_a_later_run(database: Database, tmp_path: Path) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS and at.screen.tables)
        assert "Book no. 24999" in at.shown()
        await at.press("f6", "down")  # looking at the rows is no edit of the statement
        write_another_table(database)
        at.screen._run_goes_on = True  # the catalog is read again, as while a run writes
        await at.until(lambda: "Page no. 8" in at.shown(), "the rows of the other table")
        assert at.tab.editor.text == 'FROM "pages" ORDER BY rowid DESC LIMIT 100' and not at.screen.unsaved
        await at.press("f6", "f6", *"FROM x")
        assert at.tab.editor.text == "FROM x"


async def test_an_edited_opening_statement_stays_and_the_screen_says_where_rows_arrive(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS and at.screen.tables)
        await at.press("right", "backspace", "9")
        edited = at.tab.editor.text
        write_another_table(database)
        at.screen._run_goes_on = True
        await at.until(lambda: 'Rows arrive in "pages" now: F2 shows them.' in at.shown())
        assert at.tab.editor.text == edited and "Book no. 24999" in at.shown()
        # Another statement of the user ends it all.
        await at.run("SELECT 1 AS one")
        assert at.screen._opening is None


async def test_text_that_is_typed_while_the_screen_opens_stays_above_the_newest_rows(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = threading.Event()

    def late(console: Queryable) -> str | None:
        assert typed.wait(30)
        return newest_rows(console)

    monkeypatch.setattr("tui_runner.tui.query.screen.newest_rows", late)
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None)
        at.strike("9")
        await at.until(lambda: at.tab.editor.text == "9")
        typed.set()
        await at.until(lambda: at.tab.shown is Shown.ROWS, "the opening result")
        assert "Book no. 24999" in at.shown() and at.tab.editor.text == "9"


@pytest.mark.slow
async def test_a_result_is_sorted_by_the_column_under_the_cursor_and_the_statement_is_shown(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        await at.press("f6", "l", "o")
        await at.until(lambda: at.tab.asked is not None and 'ORDER BY "_item" NULLS LAST' in at.tab.asked[0].sql)
        # The whole table is sorted, not only the newest 100 rows.
        first = at.tab.grid.value_at(0, 1)
        assert first is not None and first[1][0].as_py() == 0
        assert "▲_item" in at.shown()
        await at.press("o")
        await at.until(lambda: at.tab.asked is not None and "DESC NULLS" in at.tab.asked[0].sql)
        await at.until(lambda: "▼_item" in at.shown())
        # Once more turns the order round, and does not sort what is sorted.
        assert at.tab.asked is not None and at.tab.asked[0].sql.count("NULLS LAST") == 1


async def test_sorting_a_statement_with_a_limit_says_that_only_its_rows_are_sorted(
    database: Database, tmp_path: Path
) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT _item FROM books WHERE _item > 5 LIMIT 3")
        await at.press("f6", "o")
        await at.until(lambda: "only the rows within LIMIT are sorted" in at.shown())
        assert at.tab.asked is not None and at.tab.asked[0].sql.startswith("FROM (")


@pytest.mark.slow
async def test_figures_of_a_column_rows_by_number_and_more_room(database: Database, tmp_path: Path) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
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


@pytest.mark.slow
async def test_statements_of_the_past_are_searched_by_all_words_and_say_when_and_whether_they_failed(
    database: Database, tmp_path: Path
) -> None:
    now = [time.time() - 7_200.0]
    past = History(tmp_path / "queries.jsonl", clock=lambda: now[0])
    past.add("SELECT title FROM books")
    past.add("SELECT nothing FROM nowhere", failed=True)
    past.add("SELECT 1 FROM books, books", ended=True)
    past.add("SELECT count(*) FROM books WHERE stars = 5 AND title <> '" + "x" * 400 + "'")
    app = query_app(database, tmp_path)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None)
        await at.press("f3")
        assert re.search(r"SELECT title FROM books +2 h ago", at.shown())
        assert re.search(r"SELECT nothing FROM nowhere +2 h ago  ▲ failed", at.shown())
        assert re.search(r"SELECT 1 FROM books, books +2 h ago  ⊘ ended", at.shown())
        # However long a statement is, there is room for its end and for when it was run.
        assert re.search(r"SELECT count\(\*\) FROM books WHERE stars = 5 .*…x+' +2 h ago", at.shown())
        await at.press(*"BOOKS stars")
        assert "count(*)" in at.shown() and "SELECT title" not in at.shown()
        await at.press(*"xyz")
        assert "nothing has all of these words" in at.shown()
        await at.press("enter")
        assert isinstance(app.screen, Search)  # there is nothing to choose
        await at.press("ctrl+u", *"select", "down", "down", "enter")
        assert at.tab.editor.text == "SELECT nothing FROM nowhere"
        at.tab.editor.load_text("")
        await at.press("f3", *"failed", "enter")
        assert at.tab.editor.text == "SELECT nothing FROM nowhere"
        await at.press("f3", "escape")
        assert at.screen is app.screen


async def test_a_hostile_statement_is_text_in_the_list(database: Database, tmp_path: Path) -> None:
    History(tmp_path / "queries.jsonl").add(f"SELECT '{HOSTILE}'")
    app = query_app(database, tmp_path)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None)
        await at.press("f3", *"select")
        assert "[/red]" in at.shown() and "\x1b" not in at.shown() and "\u202e" not in at.shown()


async def test_a_result_that_is_watched_says_how_old_it_is(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        at.tab.watch_every(600.0)
        await at.until(lambda: not at.tab.busy)
        for seconds, shown in ((0, "updated 0 s ago · every 600 s"), (8, "updated 8 s ago"), (95, "00:01:35 ago")):
            at.tab._updated = time.monotonic() - seconds
            at.tab._tell_age()
            assert shown in at.tab.status.text
        at.tab.stop_watching()
        at.tab._tell_age()
        assert "ago" not in at.tab.status.text


@pytest.mark.slow
@pytest.mark.parametrize(("width", "end"), [(120, r" · updated \d s ago · every 600 s"), (80, "")])
async def test_a_result_is_named_while_another_statement_is_at_the_cursor(
    database: Database, tmp_path: Path, width: int, end: str
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(width, 24)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        at.tab.watch_every(600.0)
        assert "result of" not in at.shown()
        await at.press(*"SELECT 7; SELECT 8")
        await at.until(lambda: "result of" in at.shown())
        (line,) = [line for line in at.shown().splitlines() if "result of" in line]
        assert re.search(rf"✔ 100 rows · .* m?s +result of FROM.*…[^·]*{end} *$", line), line
        await at.press("f5")
        await at.until(lambda: at.tab.asked is not None and at.tab.asked[0].sql == "SELECT 8" and not at.tab.busy)
        assert "result of" not in at.shown()
        await at.press("home")
        await at.until(lambda: "result of SELECT 8" in at.shown())
        await at.press("end")
        await at.until(lambda: "result of" not in at.shown())
        await at.press("f10")
        await at.until(lambda: "result of SELECT 8" in at.shown())
        await at.press(*"SELECT nothing", "f5")
        await at.until(lambda: at.tab.shown is Shown.MESSAGE)
        assert "result of" not in at.shown()


@pytest.mark.slow
async def test_keys_about_the_cell_under_the_cursor_say_what_to_do_on_a_chart(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS and not at.tab.busy)
        await at.press("f6")
        assert "  c copy  " in at.shown()
        await at.press("f8")
        await at.until(lambda: at.tab.shown is Shown.CHART)
        assert at.screen.focused in at.tab.result_parts
        assert "o sort" not in at.shown() and "  c copy  " not in at.shown() and "z zoom" in at.shown()
        before = at.tab.editor.text
        for key in ("o", "t", "colon", "c"):
            app.clear_notifications()
            await at.press(key)
            assert at.screen.is_current and at.tab.editor.text == before
            assert [each.message for each in app._notifications] == ["The cursor is in the table: Esc shows it."]


@pytest.mark.slow
async def test_the_statement_at_the_cursor_is_watched_whatever_has_run_before(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path)
    async with driven(app, size=(120, 24)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None)
        await at.press("f7")
        assert "There is no statement here" in at.tab.status.text
        await at.run("SELECT nothing")  # fails
        at.tab.editor.load_text("SELECT 1; SELECT $number AS n")
        at.tab.editor.move_cursor((0, 29))
        await at.press("f7", "home", "enter", *"42", "enter")
        await at.until(lambda: at.tab.asked is not None and "ago · every 1 s" in at.tab.status.text, "the first result")
        assert at.tab.watching and at.tab.asked is not None and dict(at.tab.asked[1]) == {"number": 42}
        assert "result of" not in at.shown() and at.screen._history.statements[-1] == "SELECT $number AS n"
        updated = at.tab._updated
        await at.until(lambda: at.tab._updated > updated, "the second result")
        await at.press("f7")
        assert not at.tab.watching
        at.tab.editor.load_text("SELECT count(*) FROM range(1_000_000) a, range(1_000_000) b")
        await at.press("f7", "enter")
        await at.until(lambda: "▶ running" in at.tab.status.text, "running")
        await at.press("escape")
        await at.until(lambda: not at.tab.busy, "the end")
        assert not at.tab.watching and "⊘ ended after" in at.tab.status.text


@pytest.mark.slow
async def test_text_typed_for_the_editor_chooses_no_interval_of_a_watch(database: Database, tmp_path: Path) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(80, 24)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS and not at.tab.busy)
        await at.press("f7", *"select 1 from   ")
        assert isinstance(app.screen, Choose) and not at.tab.watching
        await at.press("escape")
        assert not at.tab.watching


async def test_the_result_of_the_statement_before_is_dimmed_while_the_next_one_runs(
    database: Database, tmp_path: Path
) -> None:
    app = query_app(database, tmp_path, newest=True)
    async with driven(app, size=(120, 40)) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.tab.shown is Shown.ROWS)
        assert at.tab.grid.opacity == 1.0
        await at.write("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b")
        at.strike("f5")
        await at.until(lambda: at.tab.busy)
        assert at.tab.grid.opacity < 0.7 and "Book no. 24999" in at.shown()
        at.strike("escape")
        await at.until(lambda: not at.tab.busy)
        assert at.tab.grid.opacity == 1.0 and "this result is older" in at.tab.status.text


def test_statistics_of_any_column_can_be_computed(database: Database) -> None:
    cursor = database.cursor()
    for column, type in (("price", "DOUBLE"), ("title", "VARCHAR"), ("day", "DATE"), ("stars", "INTEGER")):
        rows = dict(cursor.execute(column_statistics_sql("FROM books", column, type)).fetchall())
        assert rows["rows"] == "25000" and int(rows["not null"]) == (21_428 if column == "stars" else 25_000)
    times = cursor.execute(column_statistics_sql("SELECT unnest([3, 3, 4]) AS n", "n", "INTEGER")).fetchall()
    assert times[-1] == ("2 times", "3") and ("distinct, about", "2") in times
    thirds = "SELECT unnest([1, 2, 4]) / 3 AS x"
    figures = dict(cursor.execute(column_statistics_sql(thirds, "x", "DOUBLE")).fetchall())
    assert (figures["median"], figures["mean"]) == ("0.666666666666667", "0.777777777777778")
    whole = dict(cursor.execute(column_statistics_sql("SELECT 7::DECIMAL(9, 2) AS x", "x", "DECIMAL(9,2)")).fetchall())
    assert (whole["median"], whole["5 %"], whole["highest"]) == ("7", "7", "7.00")
    moments = (
        "SELECT unnest([t, t, t + INTERVAL 1 DAY]) AS t FROM (SELECT TIMESTAMPTZ '2026-01-01 15:50:42.734655Z' AS t)"
    )
    (shown, *_) = text_cells(pa.timestamp("us", "UTC"))(cursor.sql(moments).to_arrow_table()["t"].combine_chunks())
    found = cursor.execute(column_statistics_sql(moments, "t", "TIMESTAMP WITH TIME ZONE")).fetchall()
    assert shown == "2026-01-01 15:50:42.734655Z" and ("lowest", shown) in found and ("2 times", shown) in found
    odd = cursor.execute(column_statistics_sql('FROM "we ird"', "a[/b]\x1b[31m", "VARCHAR")).fetchall()
    assert ("rows", "1") in odd
    assert sorted_sql("FROM x", 'a"b', descending=True).endswith('ORDER BY "a""b" DESC NULLS LAST')
