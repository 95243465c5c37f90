"""What holds for every test of the interface: no state of whoever runs it, no cursor that blinks, keys with effect."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tui_runner.tui.terminal.key_order import OrderedKeys


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def _cursors_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine a picture is taken half a second later, when the cursor is not there."""
    for widget in (Input, TextArea):
        monkeypatch.setattr(widget.cursor_blink, "_default", False)


@pytest.fixture(autouse=True)
def _keys_take_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pilots wait for the application. By themselves they wait until the process uses little time of the CPU,
    which on a busy machine it may do before a key has been carried out."""
    press, pause = Pilot.press, Pilot.pause

    async def wait(pilot: Pilot[object]) -> None:
        app = pilot.app
        while isinstance(app, OrderedKeys) and app.is_running and not app.keys_are_done:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def press_and_wait(pilot: Pilot[object], *keys: str) -> None:
        await press(pilot, *keys)
        await wait(pilot)

    async def wait_and_pause(pilot: Pilot[object], delay: float | None = None) -> None:
        await wait(pilot)
        await pause(pilot, delay)

    monkeypatch.setattr(Pilot, "press", press_and_wait)
    monkeypatch.setattr(Pilot, "pause", wait_and_pause)


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a launcher whose state and configuration are the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return {}
