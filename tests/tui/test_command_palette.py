from __future__ import annotations

from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import settled
from textual.command import CommandInput, CommandList
from textual.events import Click
from textual.widgets.option_list import Option

from tui_runner.tui.app import RunnerApp
from tui_runner.tui.terminal.textual_fixes import Palette


async def test_command_palette_is_closed_once_and_may_be_opened_again_at_once() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        for _ in range(5):
            app.action_command_palette()
            app.action_command_palette()
            palette = app.screen
            assert isinstance(palette, Palette) and len(app.screen_stack) == 2
            palette.dismiss()
            palette.dismiss()
            assert len(app.screen_stack) == 1
        await pilot.press("ctrl+p", "escape", "ctrl+p")
        assert isinstance(app.screen, Palette)
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


async def test_a_page_is_turned_only_in_a_list_that_is_there() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("ctrl+p")
        await pilot.pause(0.3)
        listed = app.screen.query_one(CommandList)
        await pilot.press("pagedown")
        assert listed.highlighted
        listed.highlighted = 0
        listed.clear_options()
        listed.add_options([Option("a"), Option("b")])
        listed.highlighted = 0
        app.screen._action_command_list("page_down")
        await pilot.resize_terminal(1, 1)
        await pilot.press("pagedown", "pageup")
        assert isinstance(app.screen, Palette)


async def test_a_click_beside_its_parts_closes_it_wherever_it_comes_from() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("ctrl+p")
        palette = app.screen
        for widget, closed in ((palette.query_one(CommandInput), False), (palette, True)):
            palette.post_message(Click(widget, 500, 500, 0, 0, 1, False, False, False, 500, 500))
            await pilot.pause()
            assert (app.screen is not palette) is closed
