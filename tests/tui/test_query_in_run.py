"""The query screen beside a run: opened from the dashboard, left again, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.query_world import Desk, make_database
from textual.events import Key

from tui_runner.engine.states import RunState
from tui_runner.store.access import LocalAccess
from tui_runner.store.database import Database
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.dialogs.questions import Confirm
from tui_runner.tui.query.screen import QueryScreen
from tui_runner.tui.query.tab import Shown
from tui_runner.tui.run.dashboard import Dashboard


@pytest.fixture(autouse=True)
def no_folder_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = make_database(tmp_path / "books.duckdb")
    opened.note_run(1)
    yield opened
    opened.close()


async def test_d_opens_the_query_screen_and_escape_goes_back_to_the_run(database: Database) -> None:
    control = FakeRunControl(busy())
    app = RunnerApp(control, access=lambda: LocalAccess(database))
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        app.look()
        assert isinstance(app.screen, Dashboard)
        await pilot.press("d")
        screen = app.screen
        assert isinstance(screen, QueryScreen)
        at = Desk(pilot, screen)
        await at.until(lambda: screen.tab is not None and screen.tables)
        assert "run 3 running" in at.shown()
        assert "✔ 1 row" in await at.run("SELECT 'quick d' AS q")
        assert "▲ failed" in await at.run("DELETE FROM books")
        assert "allows statements" not in at.shown(), "the key would only refuse"
        await at.press("ctrl+r")
        assert app.screen is screen and "beside a run. Leave it" in at.shown()
        await at.press("escape")
        assert isinstance(app.screen, Dashboard)
        await pilot.press("d")
        assert app.screen is screen and screen.tab is not None
        assert screen.tab.editor.text == "DELETE FROM books"
        await at.press("f6", "d")
        assert isinstance(app.screen, Dashboard)
        assert not any(command[0] == "stop" for command in control.commands)
    app.close()
    assert not database._cursors


async def test_the_keys_of_the_query_screen_are_the_user_s_too(database: Database) -> None:
    keymap = {"query.run": "f4", "query.external_editor": "f14", "grid.down": "n", "query.help": "f5"}
    keymap |= {"query.back": "f13", "question.no": "u"}
    app = RunnerApp(FakeRunControl(busy()), access=lambda: LocalAccess(database), keymap=keymap)
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        app.look()
        await pilot.press("d")
        screen = app.screen
        assert isinstance(screen, QueryScreen)
        at = Desk(pilot, screen)
        await at.until(lambda: screen.tab is not None and screen.tables)
        assert "F4 run" in at.shown() and "F5 help" in at.shown() and "keymap:" not in at.shown()
        await at.write("FROM range(3)")
        await at.press("f4")
        await at.until(lambda: at.tab.grid.rows == 3, "the result")
        await at.press("f6", "n", "n")
        assert at.tab.grid.row == 2
        await at.press("ctrl+t")
        await at.until(lambda: "F4 runs the statement" in at.tab.status.text, "the hint of an empty tab")
        await at.press("f5")
        assert "F4" in at.shown() and "Run the selection" in at.shown()
        await at.press("escape")
        await at.write("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b")
        at.strike("f4")
        await at.until(lambda: "F13 ends it" in at.tab.status.text, "the key in the status line")
        at.strike("f13")
        await at.until(lambda: not at.tab.busy)
        app.push_screen(Confirm("Sure?", "", "Yes", "No"))
        await at.pilot.pause()
        assert "Enter answers   Tab moves   u changes nothing" in at.shown()
        await at.press("u")
        assert app.screen is screen
    app.close()


async def test_ctrl_c_asks_what_to_do_with_the_run_there_as_well(database: Database) -> None:
    app = RunnerApp(FakeRunControl(busy()), access=lambda: LocalAccess(database))
    async with driven(app, size=(80, 24)) as pilot:
        await pilot.pause()
        app.look()
        await pilot.press("d")
        await pilot.pause()
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        await pilot.press("n")
    app.close()


async def test_the_newest_rows_are_watched_until_the_run_has_ended(database: Database) -> None:
    control = FakeRunControl(busy())
    app = RunnerApp(control, access=lambda: LocalAccess(database))
    async with driven(app, size=(120, 40)) as pilot:
        await pilot.pause()
        app.look()
        await pilot.press("d")
        screen = app.screen
        assert isinstance(screen, QueryScreen)
        at = Desk(pilot, screen)
        await at.until(lambda: screen.tab is not None and at.tab.watching and not at.tab.busy)
        screen._look_at_catalog()
        await at.until(lambda: not screen._catalog_busy)
        assert at.tab.watching
        cursor = database.cursor()
        cursor.execute("INSERT INTO books SELECT 1, 99999, 'the last one', 1.0, 1, DATE '2024-01-01'")
        database.close_cursor(cursor)
        control.change(state=RunState.FINISHED)
        app.look()
        screen._look_at_catalog()
        await at.until(lambda: "the run has ended" in at.tab.status.text)
        assert not at.tab.watching and "the last one" in at.shown()
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)
    app.close()


async def test_escape_leaves_the_newest_rows_at_once_and_ends_a_watch_that_was_asked_for(database: Database) -> None:
    app = RunnerApp(FakeRunControl(busy()), access=lambda: LocalAccess(database))
    async with driven(app, size=(120, 40)) as pilot:
        await pilot.pause()
        app.look()
        await pilot.press("d")
        screen = app.screen
        assert isinstance(screen, QueryScreen)
        at = Desk(pilot, screen)
        await at.until(lambda: screen.tab is not None and at.tab.watching and not at.tab.busy)
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard) and at.tab.watching  # it continues when the screen is shown again
        await pilot.press("d")
        await at.run("SELECT 1 AS one")
        at.tab.watch_every(60.0)
        await at.until(lambda: not at.tab.busy)
        await pilot.press("escape")
        assert app.screen is screen and "watching ended" in at.tab.status.text
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)
    app.close()


async def test_the_newest_rows_of_a_run_that_has_ended_are_not_watched(database: Database) -> None:
    app = RunnerApp(FakeRunControl(replace(busy(), state=RunState.FINISHED)), access=lambda: LocalAccess(database))
    async with driven(app, size=(120, 40)) as pilot:
        await pilot.pause()
        app.look()
        await pilot.press("d")
        screen = app.screen
        assert isinstance(screen, QueryScreen)
        at = Desk(pilot, screen)
        await at.until(lambda: screen.tab is not None and at.tab.shown is Shown.ROWS)
        assert not at.tab.watching
    app.close()


async def test_without_a_database_d_says_so() -> None:
    app = RunnerApp(FakeRunControl(busy()))
    async with driven(app, size=(80, 24)) as pilot:
        await pilot.pause()
        await pilot.press("d")
        await pilot.pause()
        assert isinstance(app.screen, Dashboard)


async def test_keys_that_come_before_the_screen_is_ready_harm_nothing(database: Database) -> None:
    app = RunnerApp(FakeRunControl(busy()), access=lambda: LocalAccess(database))
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        await pilot.pause()
        app.look()
        app.post_message(Key("d", "d"))
        for _ in range(8):
            for key in ("c", "C", "e", "g", "w", "f5", "f6", "f7", "f8", "f9", "f12"):
                app.post_message(Key(key, key if len(key) == 1 else None))
            await asyncio.sleep(0)
        await pilot.pause()
        screen = app.get_screen("query")
        assert isinstance(screen, QueryScreen)
        await Desk(pilot, screen).until(lambda: screen.tab is not None and screen.tables)
    app.close()
