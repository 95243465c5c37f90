"""Generated statements of great length: a key does not make the editor process all of the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.query_world import desk, make_database
from textual.document import _wrapped_document
from textual.events import Paste

from tui_runner.tui.query import editor as editor_module


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of what was wrapped, coloured and completed."""
    lengths: list[int] = []
    for module, name in (
        (_wrapped_document, "compute_wrap_offsets"),
        (editor_module, "by_line"),
        (editor_module, "offer"),
    ):
        real = getattr(module, name)

        def noted(text: str, *args: object, real: object = real, **named: object) -> object:
            lengths.append(len(text))
            return real(text, *args, **named)  # type: ignore[operator]

        monkeypatch.setattr(module, name, noted)
    return lengths


@pytest.mark.slow
async def test_a_very_long_line_is_neither_wrapped_nor_coloured_nor_completed(
    tmp_path: Path, looked_at: list[int]
) -> None:
    text = f"SELECT * FROM books WHERE page IN ({', '.join(str(number) for number in range(40_000))}) AND ti"
    async with desk(make_database(tmp_path / "x.duckdb"), tmp_path) as at:
        editor = at.tab.editor
        editor.focus()
        await at.pilot.pause()
        at.pilot.app.post_message(Paste(text))
        await at.pilot.pause()
        await at.press("t", "left", "x", "backspace")
        assert editor.text == text + "t"
        assert not editor.soft_wrap and len(editor.get_line(0)) == len(editor.text)
        assert max(looked_at, default=0) <= 50_000
        editor.load_text(text * 2)
        await at.pilot.pause()
        assert max(looked_at, default=0) <= 50_000
        editor.load_text("SELECT ti")
        await at.pilot.pause()
        assert editor.soft_wrap and editor.get_line(0).spans
