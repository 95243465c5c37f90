"""Keys on the query screen: their order, where they lead, and that each is one of the registry."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pilots import driven
from support.query_world import Desk, desk, make_database, query_app
from textual.binding import Binding
from textual.dom import DOMNode
from textual.events import Key
from textual.widgets import Input

import tui_runner.tui
from tui_runner.store.database import Database
from tui_runner.tui.actions import BY_ID
from tui_runner.tui.actions.model import QUERY_HELP
from tui_runner.tui.dialogs.questions import AskTexts, Choose, Confirm
from tui_runner.tui.preferences import Preferences, State
from tui_runner.tui.query.catalog_tree import Catalog
from tui_runner.tui.query.cell_viewer import CellViewer
from tui_runner.tui.query.tab import Shown


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = make_database(tmp_path / "books.duckdb")
    yield opened
    opened.close()


def press_at_once(at: Desk, *keys: str) -> None:
    """Press keys as a terminal hands them over after a pause: in one piece."""
    for key in keys:
        at.pilot.app.post_message(Key(key, key if len(key) == 1 else None))


async def test_letters_do_not_overtake_the_key_before_them(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.write("before it")
        press_at_once(at, "ctrl+e", "ctrl+u", *"abc", "left", "x", "home", "y", "ctrl+e", "backspace", *"FROM")
        await at.until(lambda: at.tab.editor.text.endswith("FROM"), "typing")
        assert at.tab.editor.text == "yabxFROM"


async def test_keys_after_the_change_of_a_part_are_for_the_new_part(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("FROM range(9)")
        press_at_once(at, "f6", "j", "j")
        await at.until(lambda: at.tab.grid.row == 2, "moving")
        assert at.tab.editor.text == "FROM range(9)"


async def test_a_text_of_many_lines_is_replaced(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.write("SELECT 1;\n\nSELECT 2")
        press_at_once(at, *"34", "ctrl+g", *"FROM")
        await at.until(lambda: at.tab.editor.text.endswith("FROM"), "typing")
        assert at.tab.editor.text == "FROM"


async def test_f10_empties_the_editor_and_undo_brings_its_text_back(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.write("SELECT 1;\n\nSELECT 2")
        press_at_once(at, *"34", "f10", *"FROM")
        await at.until(lambda: at.tab.editor.text.endswith("FROM"), "typing")
        assert at.tab.editor.text == "FROM"
        await at.press("f10")
        assert at.tab.editor.text == ""
        await at.press("ctrl+z")
        assert at.tab.editor.text == "FROM"
        await at.press("f6", "f10")
        assert at.tab.editor.text == "" and at.tab.editor.has_focus


async def test_ctrl_u_and_ctrl_k_delete_a_wrapped_line(database: Database, tmp_path: Path) -> None:
    long = "SELECT " + ", ".join(f"{number} AS column_{number}" for number in range(30))
    async with desk(database, tmp_path, size=(80, 24)) as at:
        await at.write(f"SELECT 1;\n{long}")
        await at.press("ctrl+u")
        assert at.tab.editor.text == "SELECT 1;\n"
        await at.press("ctrl+u", "ctrl+u")
        assert at.tab.editor.text == ""
        await at.write(f"SELECT 1;\n{long}")
        at.tab.editor.move_cursor((1, 6))
        await at.press("ctrl+k")
        assert at.tab.editor.text == "SELECT 1;\nSELECT"


async def test_letters_do_not_overtake_a_key_in_a_dialog(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 1")
        await at.press("f9")
        press_at_once(at, *"abc", "home", "x", "ctrl+k", *"y.csv")
        field = at.pilot.app.focused
        assert isinstance(field, Input)
        await at.until(lambda: field.value.endswith("csv"), "typing")
        assert field.value == "xy.csv"


def interface() -> Iterator[type[DOMNode]]:
    """Yield every screen, widget and application of the package."""
    for module in pkgutil.walk_packages(tui_runner.tui.__path__, "tui_runner.tui."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(found, DOMNode) and found.__module__ == module.name:
                yield found


def test_every_key_is_of_the_registry() -> None:
    seen = 0
    for each in interface():
        for binding in each.__dict__.get("BINDINGS", ()):
            assert isinstance(binding, Binding), each
            # There is always a way out, whatever a keymap says.
            assert binding.id in BY_ID or binding.key == "ctrl+c", (each, binding)
            seen += 1
    assert seen > 100


async def test_dialogs_obey_the_user_s_keys_and_name_them(database: Database, tmp_path: Path) -> None:
    keymap = {"choice.cancel": "z", "field.cancel": "f10", "reader.close": "x", "cell.wrap": "v", "catalog.open": "o"}
    app = query_app(database, tmp_path, preferences=Preferences(State(tmp_path / "state.json"), keymap=keymap))
    async with driven(app, size=(120, 40), notifications=True) as pilot:
        at = Desk(pilot, app.query_screen)
        await at.until(lambda: at.screen.tab is not None and at.screen.tables, "opening")
        await at.run("SELECT 'a long cell' AS a")
        for key, dialog, close in (("f2", Choose, "z"), ("f9", AskTexts, "f10")):
            await at.press(key)
            assert isinstance(app.screen, dialog)
            await at.press("escape")
            assert isinstance(app.screen, dialog)
            assert dialog is Choose or "F10 cancel" in at.shown()
            await at.press(close)
            assert app.screen is at.screen
        await at.press("f6", "enter")
        assert isinstance(app.screen, CellViewer) and "x close" in at.shown() and "v wrap" in at.shown()
        await at.press("w", "v", "escape", "x")
        assert app.screen is at.screen
    app.query_screen.close()


async def test_help_and_palette_have_every_key_of_the_screen(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path, (120, 200)) as at:
        await at.press("f1")
        told = " ".join(at.shown().split())
        for action in BY_ID.values():
            if action.place in QUERY_HELP:
                assert action.help.split()[0] in told and str(action.place) in told, action
        await at.press("escape")
        offered = [command.title for command in at.pilot.app.get_system_commands(at.screen)]
        assert len(offered) == len(set(offered))
        assert "Copy cell, row, column or all as text, CSV, JSON, Markdown" in offered


async def test_the_keys_of_the_focused_part_are_named(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        assert "Esc back" in at.shown() and "copy" not in at.shown()
        await at.run("SELECT 1 AS a")
        await at.press("f6")
        assert "Enter view" in at.shown() and "c copy" in at.shown() and "Esc back" in at.shown()
        await at.press("f6")
        assert "Enter open" in at.shown() and "i insert" in at.shown()


async def test_escape_leaves_from_everywhere_and_asks_where_it_may_be_meant_otherwise(
    database: Database, tmp_path: Path
) -> None:
    async with desk(database, tmp_path) as at:
        app = at.pilot.app
        await at.run("SELECT 1 AS a")
        await at.press("escape")
        assert isinstance(app.screen, Confirm) and "in the history" in at.shown()
        await at.press("escape")
        assert app.screen is at.screen
        await at.press("f6")
        await at.write("SELECT 1 AS a; SELECT 2")
        at.tab.grid.focus()
        await at.press("q")
        assert isinstance(app.screen, Confirm) and "neither run nor saved" in at.shown()
        await at.press("n")
        await at.run("SELECT 1 AS a; SELECT 2")
        await at.press("f6", "escape")
        assert not app.is_running


async def test_escape_from_the_editor_leaves_when_that_is_meant(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        await at.press("escape", "y")
        assert not at.pilot.app.is_running


async def test_enter_and_a_double_click_show_the_rows_of_a_table(database: Database, tmp_path: Path) -> None:
    async with desk(database, tmp_path) as at:
        catalog = at.screen.query_one(Catalog)
        await at.press("f6")
        assert at.pilot.app.focused is catalog
        await at.press("enter")
        await at.until(lambda: at.tab.shown is Shown.ROWS and not at.tab.busy, "the rows")
        assert at.tab.editor.text == "FROM books"
        catalog.focus()
        await at.press("space")
        assert not catalog.root.children[0].is_expanded
        await at.press("space", "down", "enter")
        assert at.tab.editor.text == "FROM books SELECT _run"
        place = next(line for line in range(20) if catalog.get_node_at_line(line) is catalog.root.children[1])
        await at.pilot.click(Catalog, offset=(4, place + 1))
        await at.pilot.pause()
        assert catalog.root.children[1].is_expanded and at.tab.editor.text == "FROM books SELECT _run"
        await at.pilot.click(Catalog, offset=(4, place + 1), times=2)
        await at.until(lambda: at.tab.editor.text.endswith('FROM "we ird"'), "the statement")
        await at.until(lambda: not at.tab.busy and at.tab.grid.rows == 1, "the rows")
