"""Calls that a screen awaits."""

from __future__ import annotations

import threading

import pytest
from support.pilots import driven
from textual.app import App, ComposeResult
from textual.screen import Screen
from textual.widgets import Label

from tui_runner.tui.background import in_thread


class Part(Label):
    """The last moment at which the screen still runs and its parts do not."""

    async def on_unmount(self) -> None:
        screen = self.screen
        assert isinstance(screen, Reading)
        screen.answer.set()
        screen.came_back = True
        await in_thread(lambda: None, "after the answer")
        await in_thread(lambda: None, "after that")


class Reading(Screen[None]):
    """Shows the call that it waits for."""

    came_back = False

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.answer = threading.Event()
        self.shown: list[str] = []
        self._fails = fails

    def compose(self) -> ComposeResult:
        yield Part("")

    def on_mount(self) -> None:
        self.run_worker(self._read())

    async def _read(self) -> None:
        def call() -> str:
            assert self.answer.wait(60)
            if self._fails:
                raise OSError
            return "answer"

        try:
            text = await in_thread(call, "read")
        except OSError:
            text = "error"
        self.shown.append(text)
        self.query_one(Part).update(text)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_call_that_returns_after_its_screen_was_closed_shows_nothing(fails: bool) -> None:
    app: App[None] = App()
    async with driven(app) as pilot:
        screen = Reading(fails=fails)
        await app.push_screen(screen)
        await pilot.pause()
        app.pop_screen()
        await pilot.pause()
        assert screen.came_back
        assert screen.shown == []


async def test_a_call_that_returns_in_an_open_screen_shows_its_answer() -> None:
    app: App[None] = App()
    async with driven(app) as pilot:
        screen = Reading(fails=False)
        await app.push_screen(screen)
        screen.answer.set()
        while not screen.shown:
            await pilot.pause()
        assert screen.query_one(Part).content == "answer"
