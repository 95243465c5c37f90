"""The dialogs of the query screen that ask for a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.query_world import desk, make_database
from textual.events import Key
from textual.widgets import Input, Static

from tui_runner.store.database import Database
from tui_runner.tui.dialogs.help import Help
from tui_runner.tui.dialogs.questions import AskTexts


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = make_database(tmp_path / "books.duckdb")
    yield opened
    opened.close()


@pytest.mark.parametrize("opened", ["f5", "f2", "f1", "ctrl+r"])
async def test_an_answer_that_is_given_twice_is_one(database: Database, tmp_path: Path, opened: str) -> None:
    async with desk(database, tmp_path) as at:
        await at.write("SELECT ? AS b")
        await at.press(opened)
        assert at.pilot.app.screen is not at.screen
        keys = [Key("escape", None)] * 3 if opened == "f1" else [Key("enter", "\r")] * 3
        for key in keys:
            # As they come from a terminal that hands them over in one piece.
            at.pilot.app.post_message(key)
        await at.until(lambda: at.pilot.app.screen is at.screen, "closing")
        await at.press("f1")
        assert isinstance(at.pilot.app.screen, Help)


@pytest.mark.parametrize(
    ("key", "typed", "said"),
    [
        ("f9", "out.xyz", "does not say the format"),
        ("f9", "none/out.csv", "folder does not exist"),
        ("f9", "books.duckdb", "does not say the format"),
        ("f9", "", "type the name"),
        ("f9", "x" * 300 + ".csv", "name too long"),
        ("ctrl+o", "none.sql", "cannot be read"),
        ("ctrl+o", ".", "is not a file"),
        ("ctrl+o", "~nobody_at_all/a.sql", "no home folder"),
        ("ctrl+s", "none/a.sql", "folder does not exist"),
        ("ctrl+s", ".", "is not a file"),
        ("ctrl+s", "x" * 300, "name too long"),
    ],
)
async def test_a_name_that_will_not_do_stays_to_be_mended(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, typed: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with desk(database, tmp_path) as at:
        await at.run("SELECT 1")
        await at.press(key)
        await at.answer(typed)
        assert isinstance(at.pilot.app.screen, AskTexts)
        mistake = at.pilot.app.screen.query_one("#mistake", Static)
        assert mistake.display and said in str(mistake.content)
        field = at.pilot.app.focused
        assert isinstance(field, Input) and field.value == typed
        await at.press("end", "x")
        assert not mistake.display
