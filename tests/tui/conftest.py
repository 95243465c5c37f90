"""Fixtures for all tests of the interface: no state of the user who runs them, no blinking cursor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.pilots import OrderedPilot
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tui_runner.tui import launcher


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def _cursors_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine a picture is taken half a second later, when the cursor is not there."""
    for widget in (Input, TextArea):
        monkeypatch.setattr(widget.cursor_blink, "_default", False)


@pytest.fixture(autouse=True)
def _jobs_and_databases_are_listed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, databases would be listed after the jobs, and the cursor would move when they are."""
    monkeypatch.setattr(launcher, "_PATIENCE", 60.0)


@pytest.fixture
def snap_compare(snap_compare: Callable[..., bool]) -> Callable[..., bool]:
    """Compare a picture of an application with the one that was accepted; `run_before` gets an `OrderedPilot`."""

    def compare(
        app: App[Any], *, terminal_size: tuple[int, int], run_before: Callable[[Pilot[Any]], Awaitable[None]]
    ) -> bool:
        async def run(pilot: Pilot[Any]) -> None:
            ordered = OrderedPilot(pilot.app)
            await run_before(ordered)
            await ordered.pause()

        return snap_compare(app, terminal_size=terminal_size, run_before=run)

    return compare


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a launcher whose state and configuration are the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return {}
