from __future__ import annotations

from collections.abc import Callable

import pytest
from fake_run import FakeControl, busy
from test_app import settled
from textual.screen import Screen

from tui_runner.tui.app import RunnerApp
from tui_runner.tui.screens.ask import Ask
from tui_runner.tui.screens.choose import Choice, Choose
from tui_runner.tui.screens.chunk_detail import ChunkDetail
from tui_runner.tui.screens.confirm import Confirm
from tui_runner.tui.screens.errors import Errors
from tui_runner.tui.screens.help import Help
from tui_runner.tui.screens.live_settings import LiveSettings
from tui_runner.tui.screens.log import Log
from tui_runner.tui.screens.query_ask import AskTexts
from tui_runner.tui.screens.reader import Reader

MAKERS: list[Callable[[RunnerApp], Screen[object]]] = [
    lambda app: Confirm("stop?", "it stops", "yes", "no"),
    lambda app: Choose("which?", [Choice("this", "", 1)]),
    lambda app: Ask("what?"),
    lambda app: AskTexts("where?", ["File"]),
    lambda app: Reader("an error", "in full"),
    lambda app: LiveSettings(busy()),
    lambda app: Help(app._keys, ()),
    lambda app: Errors(app.steering, app._keys),
    lambda app: Log(app.steering, app._keys),
    lambda app: ChunkDetail(app.steering, app._keys, 76),
]


@pytest.mark.parametrize("make", MAKERS)
async def test_a_screen_may_be_closed_before_it_has_its_parts(make: Callable[[RunnerApp], Screen[object]]) -> None:
    async with RunnerApp(FakeControl(busy())).run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        app.push_screen(make(app))
        app.pop_screen()
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
