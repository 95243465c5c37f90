from __future__ import annotations

from collections.abc import Callable

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import settled
from textual.screen import Screen

from tui_runner.tui.app import RunnerApp
from tui_runner.tui.dialogs.help import Help
from tui_runner.tui.dialogs.questions import Ask, AskTexts, Choice, Choose, Confirm
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.run.chunk_detail import ChunkDetail
from tui_runner.tui.run.errors import Errors
from tui_runner.tui.run.live_settings import LIVE, LiveSettings, values_of
from tui_runner.tui.run.log import Log

MAKERS: list[Callable[[RunnerApp], Screen[object]]] = [
    lambda app: Confirm("stop?", "it stops", "yes", "no"),
    lambda app: Choose("which?", [Choice("this", "", 1)]),
    lambda app: Ask("what?"),
    lambda app: AskTexts("where?", ["File"]),
    lambda app: Reader("an error", "in full"),
    lambda app: LiveSettings("Change while it runs", LIVE, values_of(busy())),
    lambda app: Help(app._keys, ()),
    lambda app: Errors(app.steering, app._keys),
    lambda app: Log(app.steering, app._keys),
    lambda app: ChunkDetail(app.steering, app._keys, 76),
]


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS)
async def test_a_screen_may_be_closed_before_it_has_its_parts(make: Callable[[RunnerApp], Screen[object]]) -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        app.push_screen(make(app))
        app.pop_screen()
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
