"""The search on the log screen: where it begins, and what its match count counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_run import FakeRunControl
from support.long_log import LINES, line, open_log, press, run_with_long_log, under_cursor
from support.pilots import driven

from tui_runner.engine.logs.log_file import LogFile
from tui_runner.engine.protocol import LogLines
from tui_runner.tui.app import RunnerApp


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRunControl:
    return run_with_long_log(tmp_path, monkeypatch)


@pytest.mark.slow
async def test_the_head_keeps_what_was_searched_and_says_which_lines_are_counted(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await open_log(pilot)
        shown = await press(pilot, "slash", *"page 27", "enter")
        assert "“page 27” 88 of 88 in the last 100 lines" in shown
        shown = await press(pilot, "G", "slash", "ctrl+u", "ctrl+k", *"page 17", "enter")
        assert "“page 17” 21 of 21 in the 40 listed lines" in shown and under_cursor(app) == 1799
        shown = await press(pilot, "slash", "ctrl+u", "ctrl+k", *"page 7.", "enter")
        assert under_cursor(app) == 7 and "“page 7.” 1 of 1 in the 28 listed lines" in shown and "from the top" in shown
        shown = await press(pilot, "n")
        assert under_cursor(app) == 7 and "“page 7.” 1 of 1" in shown
        shown = await press(pilot, "slash", "ctrl+u", "ctrl+k", *"page 9999", "enter")
        assert "“page 9999” no match in the 28 listed lines" in shown and "no line has that text in the log" in shown


@pytest.mark.slow
async def test_a_search_begins_at_the_shown_line(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await open_log(pilot)
        shown = await press(pilot, "home", "slash", *"page 17", "enter")
        assert under_cursor(app) == 17 and "“page 17” 1 of 1" in shown and "from the" not in shown
        shown = await press(pilot, "n")
        assert under_cursor(app) == 170 and "“page 17”" in shown
        await press(pilot, "G", "slash", "ctrl+u", "ctrl+k", *"page 27", "enter")
        assert under_cursor(app) == 2799


async def test_a_search_finds_the_item_of_a_line_in_the_file(control: FakeRunControl, tmp_path: Path) -> None:
    path = tmp_path / "y.duckdb.log"
    file = LogFile(path, 3, lambda reason: pytest.fail(reason))
    named = replace(line(0), value="part-7", text="page 0.")
    file.add(LogLines(1, (named, *(line(number) for number in range(1, LINES)))))
    file.close()
    control.change(log_file=str(path))
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await open_log(pilot)
        shown = await press(pilot, "slash", *"part-7", "enter")
        assert under_cursor(app) == 0 and "“part-7” 1 of 1" in shown
