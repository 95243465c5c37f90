"""Keys on the query screen: their order, where they lead, and that each is one of the registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from query_world import Desk, desk, make_database
from textual.events import Key

from tui_runner.store.database import Database


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
