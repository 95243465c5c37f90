"""Keys that come in one piece: each acts on what the one before it has brought about."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import commands, settled
from textual.app import App
from textual.events import Key, Paste
from textual.widgets import Input

from tui_runner.engine.protocol import LogLine
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.dialogs.questions import Ask, Confirm
from tui_runner.tui.run.live_settings import LiveSettings
from tui_runner.tui.terminal import key_order


def press_at_once(app: App[None], *keys: str) -> None:
    for key in keys:
        app.post_message(Key(key, key if len(key) == 1 else None))


async def test_a_text_behind_the_key_that_opens_its_field_is_typed_there() -> None:
    control = FakeRunControl(replace(busy(), log=(LogLine(1.0, "INFO", "page 7"),), log_lines=1))
    async with driven(RunnerApp(control), size=(80, 24)) as pilot:
        app = await settled(pilot)
        press_at_once(app, "l", "slash", *"pag", "left", "x")
        app.post_message(Paste("7 8"))
        await settled(pilot)
        assert isinstance(app.screen, Ask)
        assert app.screen.query_one(Input).value == "pax7 8g"


async def test_an_answer_behind_the_key_that_asks_is_the_answer() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(80, 24)) as pilot:
        app = await settled(pilot)
        press_at_once(app, "down", "x", "left", "enter", "comma", *"7", "enter", "x")
        await settled(pilot)
        assert commands(control) == [("cancel_chunks", 77), ("set_threads", 7)]
        assert isinstance(app.screen, Confirm)


async def test_keys_continue_when_a_widget_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_order, "PATIENCE", -1.0)
    stuck, free = asyncio.Event(), asyncio.Event()

    async def busy_screen() -> None:
        stuck.set()
        await free.wait()

    async with driven(RunnerApp(FakeRunControl(busy())), size=(80, 24)) as pilot:
        app = await settled(pilot)
        app.screen.call_later(busy_screen)
        await stuck.wait()
        press_at_once(app, "e", "ctrl+c")
        # Behind these keys: the application itself is not stuck.
        done = asyncio.Event()
        app.call_later(done.set)
        await done.wait()
        asked = isinstance(app.screen, Confirm)
        free.set()
        await settled(pilot)
        assert asked


async def test_every_key_of_a_flood_is_carried_out_once_and_in_order() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(80, 24)) as pilot:
        app = await settled(pilot)
        press_at_once(app, "comma", "down", "up", *("1", "2", "backspace", "left", "3", "end") * 20)
        await settled(pilot)
        assert isinstance(app.screen, LiveSettings) and isinstance(app.focused, Input)
        assert app.focused.value == "31" * 20
