"""The log screen reads the run's log file when the user scrolls back or searches."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from support.fake_run import FakeRunControl
from support.long_log import IN_MEMORY, LINES, line, open_log, press, run_with_long_log, under_cursor
from support.pilots import driven
from support.screens import screen_text, settled

from tui_runner.tui.app import RunnerApp
from tui_runner.tui.run import log_window
from tui_runner.tui.run.log import Log
from tui_runner.tui.widgets.list_view import Rows


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRunControl:
    return run_with_long_log(tmp_path, monkeypatch)


async def test_scrolling_back_shows_every_line_once_and_returns_to_the_newest(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await open_log(pilot)
        assert "last 100 of 2,812 lines" in screen_text(app) and "▼ following" in screen_text(app)
        seen = [under_cursor(app)]
        while seen[-1] > 2_400:
            await press(pilot, "pageup")
            seen.append(under_cursor(app))
        assert seen == sorted(seen, reverse=True) and max(a - b for a, b in pairwise(seen)) == 20
        assert "read back" in screen_text(app) and "G follows" in screen_text(app)
        rows = app.screen.query_one(Rows)
        assert len(rows.rows) <= 150
        numbers = [row.line.item for row in rows.rows]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        while under_cursor(app) < LINES - 1:
            before = under_cursor(app)
            await press(pilot, "pagedown")
            assert before < under_cursor(app) <= before + 21
        await press(pilot, "down")
        assert "▼ following" in screen_text(app) and len(rows.rows) == IN_MEMORY


async def test_home_goes_to_the_first_line_of_the_run_and_g_to_the_newest(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await open_log(pilot)
        shown = await press(pilot, "home")
        assert "--- run 3" in shown and "page 0." in shown
        await press(pilot, "down")
        assert under_cursor(app) == 0
        control.change(log=(*control.current.log[1:], line(LINES)), log_lines=LINES + 1)
        assert f"page {LINES}." not in screen_text(await settled(pilot))  # new lines move nothing
        assert under_cursor(app) == 0
        await press(pilot, "G")
        assert under_cursor(app) == LINES


async def test_a_search_finds_what_is_in_the_file_alone(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24), notifications=True) as pilot:
        app = await open_log(pilot)
        await press(pilot, "slash", *"PAGE 17", "enter")
        assert under_cursor(app) == 1799
        await press(pilot, "N")
        assert under_cursor(app) == 1798
        await press(pilot, "n", "n")
        assert under_cursor(app) == 17 and "from the top" in screen_text(app)
        await press(pilot, "N")
        assert under_cursor(app) == 1799 and "from the end" in screen_text(app)
        assert "“PAGE 17” 21 of 21 in the 40 listed lines" in screen_text(app)
        shown = await press(pilot, "slash", "ctrl+u", "ctrl+k", *"nowhere", "enter")
        assert "no line has that text in the log" in shown and under_cursor(app) == 1799


async def test_a_level_is_looked_for_in_the_file_too(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await open_log(pilot)
        shown = await press(pilot, "v", "down", "down", "down", "enter")
        assert "no line of ERROR and above among the newest 100; Home looks at the others" in shown
        shown = await press(pilot, "up")
        assert [row.line.item for row in app.screen.query_one(Rows).rows] == [7, 1007, 2007]
        shown = await press(pilot, "v", "down", "enter")
        assert "no line of CRITICAL and above in the log" in shown
        shown = await press(pilot, "v", "home", "enter", "G", "v", "end", "enter")
        assert "no line of CRITICAL and above among the newest 100; Home looks at the others" in shown
        shown = await press(pilot, "home")
        assert "no line of CRITICAL and above in the log" in shown
        assert "older lines are gone" not in shown


async def test_a_log_without_lines_says_so(control: FakeRunControl) -> None:
    control.change(log=(), log_lines=0)
    async with driven(RunnerApp(control), size=(40, 12)) as pilot:
        await open_log(pilot)
        assert "nothing was printed or logged so far" in screen_text(await settled(pilot))


async def test_a_file_that_cannot_be_read_is_named_and_lines_in_memory_stay(
    control: FakeRunControl, tmp_path: Path
) -> None:
    control.change(log_file=str(tmp_path))
    async with driven(RunnerApp(control), size=(100, 24), notifications=True) as pilot:
        app = await open_log(pilot)
        shown = await press(pilot, "slash", *"page 17", "enter")
        assert "“page 17”  no line has that text here; the log file cannot be read: it is a folder" in shown
        assert under_cursor(app) == LINES - 1
        shown = await press(pilot, "slash", *" 2750", "home", "ctrl+k", *"page 2750", "enter")
        assert under_cursor(app) == 2750
        await press(pilot, "home")
        assert isinstance(app.screen, Log) and app.screen.query_one(Rows).place == 0


async def test_lines_that_came_too_fast_are_counted(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await open_log(pilot)
        control.change(log=tuple(line(number) for number in range(3_000, 3_010)), log_lines=3_010)
        app = await settled(pilot)
        assert "(188 lines came too fast for the screen: they are in the file)" in screen_text(app)


async def test_a_screen_that_is_left_while_it_reads_is_gone_and_nothing_else(
    control: FakeRunControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def beginning(history: log_window.LogHistory, wanted: object) -> None:
        begun.set()
        await asyncio.Event().wait()  # a disk that does not answer

    monkeypatch.setattr(log_window.LogHistory, "beginning", beginning)
    async with driven(RunnerApp(control), size=(100, 24)) as pilot:
        app = await open_log(pilot)
        await pilot.press("home")
        await begun.wait()
        await pilot.press("home")  # a second reading takes the place of the first
        await pilot.pause()
        assert "reading the beginning" in screen_text(app)
        await pilot.press("q")
        await settled(pilot)
        assert not isinstance(app.screen, Log) and app.is_running
        assert "items/s over 10 s" in screen_text(app)


def keep(path: Path, lines: int) -> None:
    """Cut off the beginning of a file."""
    text = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(text[len(text) - lines :]), encoding="utf-8")


GONE = "older lines are gone"


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40)])
@pytest.mark.parametrize("level", [False, True])
async def test_that_older_lines_are_gone_is_said_where_the_log_begins(
    control: FakeRunControl, size: tuple[int, int], level: bool
) -> None:
    path = Path(control.current.log_file)
    levels = ("v", "down", "down", "enter") if level else ()
    async with driven(RunnerApp(control), size=size) as pilot:
        await open_log(pilot)
        assert GONE not in await press(pilot, *levels, "home")
        keep(path, 1_812)
        shown = await press(pilot, "G", "home")
        assert GONE in shown and "page 7." not in shown
        assert GONE not in await press(pilot, "G")
        keep(path, 0)
        assert GONE in await press(pilot, "home")
        path.unlink()  # noqa: ASYNC240 - a moment, in a test
        assert GONE in await press(pilot, "G", "up", "home", "up")


async def test_of_a_run_all_of_whose_lines_are_in_memory_none_are_gone(control: FakeRunControl) -> None:
    keep(Path(control.current.log_file), 0)
    control.change(log=control.current.log[:50], log_lines=50)
    async with driven(RunnerApp(control), size=(80, 24)) as pilot:
        await open_log(pilot)
        assert GONE not in await press(pilot, "home", "up")
