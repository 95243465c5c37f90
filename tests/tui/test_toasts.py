"""The short messages that lie over a screen for seconds: where they lie, and how many there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets._toast import Toast

from tui_runner.tui.app import RunnerApp
from tui_runner.tui.base_app import MOST
from tui_runner.tui.preferences import Preferences, State
from tui_runner.tui.run.event_line import EventLine
from tui_runner.tui.widgets.footer import KeyLine

SIZES = [(40, 12), (80, 24), (120, 40)]
LONG = "/home/someone/.config/tui-runner/themes/broken.toml: is no TOML file: Expected '=' after a key; mend it " * 3


def regions(app: RunnerApp, kind: type[Widget]) -> list[Region]:
    return [widget.region for widget in app.screen.query(kind)]


async def shown(pilot: Pilot[None]) -> RunnerApp:
    app = pilot.app
    assert isinstance(app, RunnerApp)
    app.look()
    for _ in range(3):
        await pilot.pause()
    return app


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reason", ["", "nearly everything fails, so the run waits and tries again in 30 s; " * 3])
async def test_toasts_lie_above_the_keys_and_the_lines_of_events(size: tuple[int, int], reason: str) -> None:
    control = FakeRunControl(replace(busy(), reason=reason))
    async with driven(RunnerApp(control), size=size, notifications=True) as pilot:
        await shown(pilot)
        await pilot.press("down", "down", "r")
        app = await shown(pilot)
        app.notify(LONG, markup=False)
        await shown(pilot)
        toasts = regions(app, Toast)
        assert len(toasts) == (2 if size[1] > 12 else 1)
        below = min(region.y for kind in (EventLine, KeyLine) for region in regions(app, kind))
        for toast in toasts:
            assert toast.y >= 0 and toast.bottom <= below, (toast, below)
            assert toast.x >= size[0] // 6  # which chunks the rows are stays legible
        assert max(toast.bottom for toast in toasts) == below
        assert sum(toast.height for toast in toasts) <= size[1] // 2, toasts


async def test_a_key_pressed_in_vain_again_and_again_is_answered_once() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(80, 24), notifications=True) as pilot:
        await shown(pilot)
        await pilot.press(*["down", "down", *["r"] * 5])
        app = await shown(pilot)
        assert [toast.height for toast in regions(app, Toast)] == [1]


async def test_the_oldest_make_way() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(80, 24), notifications=True) as pilot:
        app = await shown(pilot)
        for number in range(5):
            app.notify(f"message {number}", markup=False)
            await pilot.pause()
        await shown(pilot)
        assert [str(toast.render()) for toast in app.screen.query(Toast)] == ["message 3", "message 4"]
        assert MOST == 2


async def test_faults_of_the_configuration_are_one_message(tmp_path: Path) -> None:
    complaints = tuple(f"theme {number}: is [/no] TOML file" for number in range(7))
    preferences = Preferences(State(tmp_path / "state.toml"), complaints=complaints)
    app = RunnerApp(FakeRunControl(busy()), preferences=preferences)
    async with driven(app, size=(80, 24), notifications=True) as pilot:
        await shown(pilot)
        (toast,) = app.screen.query(Toast)
        said = str(toast.render())
    assert said.startswith("7 settings or themes are left out; tui-runner doctor lists them. theme 0: is [/no] TOML")
