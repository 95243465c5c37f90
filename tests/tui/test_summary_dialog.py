"""The dialog with the whole summary of a run that has not ended when the dialog is opened."""

from __future__ import annotations

from dataclasses import replace

from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import screen_text, settled

from tui_runner.engine.progress.snapshot import ErrorGroup
from tui_runner.engine.states import RunState
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.widgets.list_view import Rows


async def test_an_open_summary_shows_the_newest_numbers_and_stays_scrolled() -> None:
    errors = tuple(ErrorGroup(3, "ValueError", f"kind {number} " + "of a long text " * 20, 1) for number in range(6))
    control = FakeRunControl(replace(busy(), errors=errors, items_done=67_700, retries=3))
    async with driven(RunnerApp(control), size=(60, 16)) as pilot:
        await settled(pilot)
        await pilot.press("i")
        shown = screen_text(await settled(pilot))
        assert "│ run 3 so far" in shown and "67,700 done" in shown
        await pilot.press("down")
        control.change(retries=4)
        app = await settled(pilot)
        lines = app.screen.query_one("#text", Rows)
        assert lines.scroll_offset.y == 1 and any("4 retries" in line for line in lines.rows)
        control.change(state=RunState.FINISHED, items_done=99_988)
        app = await settled(pilot)
        shown = screen_text(app)
        assert "│ run 3  " in shown and "so far" not in shown
        assert any("finished" in line for line in lines.rows) and any("99,988 done" in line for line in lines.rows)
        assert lines.scroll_offset.y == 1
        await pilot.press("escape")
        control.change(items_done=99_989)
        await settled(pilot)
        await pilot.press("i")
        assert any("99,989 done" in line for line in (await settled(pilot)).screen.query_one("#text", Rows).rows)
