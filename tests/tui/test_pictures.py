"""Pictures of every screen, at three sizes, dark and light. Look at the report before accepting a new one.

`pytest tests/tui/test_pictures.py --snapshot-update` takes them anew.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_run import FakeControl, busy
from textual.pilot import Pilot

from tui_runner.engine.chunk import RunState
from tui_runner.engine.snapshot import Snapshot
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.themes import find_themes

SIZES = [(40, 12), (80, 24), (120, 40)]
THEMES = ["night", "day"]

every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
every_theme = pytest.mark.parametrize("theme", THEMES)


def app(theme: str, tmp_path: Path, snapshot: Snapshot | None = None) -> RunnerApp:
    return RunnerApp(FakeControl(snapshot or busy()), theme=theme, themes=find_themes(tmp_path))


async def show(pilot: Pilot[None]) -> None:
    assert isinstance(pilot.app, RunnerApp)
    pilot.app.look()
    await pilot.pause()


@every_theme
@every_size
def test_dashboard(snap_compare, tmp_path: Path, size: tuple[int, int], theme: str) -> None:
    assert snap_compare(app(theme, tmp_path), terminal_size=size, run_before=show)


@every_theme
@every_size
@pytest.mark.parametrize("key", ["q", "question_mark"], ids=["quit", "help"])
def test_modal_screens(snap_compare, tmp_path: Path, size: tuple[int, int], theme: str, key: str) -> None:
    async def press(pilot: Pilot[None]) -> None:
        await show(pilot)
        await pilot.press(key)
        await pilot.pause()
        await pilot.pause()

    assert snap_compare(app(theme, tmp_path), terminal_size=size, run_before=press)


@pytest.mark.parametrize("theme", ["high-contrast", "colour-blind"])
def test_other_themes(snap_compare, tmp_path: Path, theme: str) -> None:
    assert snap_compare(app(theme, tmp_path), terminal_size=(120, 40), run_before=show)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"state": RunState.PAUSED, "items_per_second": 0.0, "rows_per_second": 0.0}, id="paused"),
        pytest.param({"items_total": None, "eta_seconds": None, "stalled_seconds": 34.0}, id="stalled-stream"),
        pytest.param(
            {"memory_limit": 500_000_000, "throttled": True, "buffered_bytes": 64_000_000}, id="at-its-limits"
        ),
        pytest.param({"state": RunState.FINISHED, "items_done": 99_988, "chunks": busy().chunks[:76]}, id="finished"),
    ],
)
def test_dashboard_in_other_states(snap_compare, tmp_path: Path, changes: dict[str, object]) -> None:
    assert snap_compare(app("night", tmp_path, replace(busy(), **changes)), terminal_size=(100, 30), run_before=show)
