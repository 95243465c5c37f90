"""A run with a log that is longer than the part in its snapshot, and keys for the log screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from support.fake_run import FakeRunControl, busy
from support.screens import read, screen_text, settled
from tui_runner.engine.logs.log_file import LogFile
from tui_runner.engine.protocol import LogLine, LogLines
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.run import log_window
from tui_runner.tui.widgets.list_view import Rows

LINES = 2_812
IN_MEMORY = 100


def line(number: int) -> LogLine:
    level = "ERROR" if number % 1_000 == 7 else "INFO"
    return LogLine(1_790_000_000.0 + number, level, f"page {number}.", number // 50, number, 1)


def run_with_long_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRunControl:
    """Return a run with 2,812 lines of log; the last 100 are in its snapshot. The screen reads 40 lines at once."""
    monkeypatch.setattr(log_window, "PAGE", 40)
    monkeypatch.setattr(log_window, "WINDOW", 150)
    path = folder / "x.duckdb.log"
    file = LogFile(path, 3, lambda reason: pytest.fail(reason))
    file.add(LogLines(1, tuple(line(number) for number in range(LINES))))
    file.close()
    newest = tuple(line(number) for number in range(LINES - IN_MEMORY, LINES))
    return FakeRunControl(replace(busy(), log=newest, log_lines=LINES, log_file=str(path)))


async def open_log(pilot: Pilot[None]) -> RunnerApp:
    await settled(pilot)
    await pilot.press("l")
    return await read(pilot)


async def press(pilot: Pilot[Any], *keys: str) -> str:
    """Press keys, each after what the one before has caused. Return the text on the screen."""
    app = await read(pilot)
    for key in keys:
        await pilot.press(key)
        app = await read(pilot)
    return screen_text(app)


def under_cursor(app: RunnerApp) -> int:
    """Return the item of the line under the cursor, which must be visible."""
    row = app.screen.query_one(Rows).current
    assert row is not None and "▸ " in screen_text(app)
    item = row.line.item
    assert f"page {item}." in screen_text(app)
    return -1 if item is None else int(item)
