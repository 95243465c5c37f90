"""The screen of the hosts of a run."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import HOSTILE, screen_text, settled

from tui_runner.engine.progress.snapshot import HostView
from tui_runner.jobs.hosts import HostLimits
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.run.hosts import Hosts

HOSTS = (
    HostView("books.example", 1_200, 3, 17, 4, 31, 0.25, 90.0, 0.2, 1.4, ((200, 1_200), (429, 17), (0, 3))),
    HostView("dead.example", 0, 20, failing=True, down=True),
    HostView("quiet.example", 5, paused=True),
)


@pytest.fixture
def control() -> FakeRunControl:
    return FakeRunControl(replace(busy(), at=60.0, hosts=HOSTS, hosts_total=412, host_limits=HostLimits(4, 0.25)))


async def test_each_host_has_a_line_with_what_it_answered_and_why_it_is_not_asked(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(160, 24)) as pilot:
        await settled(pilot)
        await pilot.press("h")
        app = await settled(pilot)
        assert isinstance(app.screen, Hosts)
        text = screen_text(app)
        assert "412 hosts, the 3 busiest" in text
        assert "4 at once · 0.25 s apart" in text
        books = next(line for line in text.split("\n") if "books.example" in line)
        assert re.search(r"books.example +1,200 +3 +17 +4 +31 +0.25 s +0.20 s +1.4 s", books), books
        assert "held 00:30" in books
        assert "200 × 1,200  429 × 17  no answer × 3" in books
        assert "down" in next(line for line in text.split("\n") if "dead.example" in line)
        assert "paused" in next(line for line in text.split("\n") if "quiet.example" in line)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_host_under_the_cursor_is_shown_in_full_below_the_list(
    control: FakeRunControl, size: tuple[int, int]
) -> None:
    long = f"{'very-' * 12}long.example"
    codes = tuple((status, 1_000 + status) for status in (200, 201, 301, 404, 429, 500, 503, 0))
    control.change(hosts=(replace(HOSTS[0], host=long, statuses=codes), *HOSTS[1:]))
    async with driven(RunnerApp(control), size=size) as pilot:
        await settled(pilot)
        await pilot.press("h")
        app = await settled(pilot)
        shown = screen_text(app).replace("\xa0", " ")
        assert long in shown and shown.count(long) == 1 and "held 00:30" in shown
        assert all(f"{status or 'no answer'} × 1,{status:03}" in shown for status, _ in codes)
        await pilot.press("down")
        await settled(pilot)
        assert "answers  –" in screen_text(app)


async def test_a_host_is_paused_resumed_and_limited_by_itself(control: FakeRunControl) -> None:
    async with driven(RunnerApp(control), size=(120, 24)) as pilot:
        await settled(pilot)
        await pilot.press("h")
        await settled(pilot)
        await pilot.press("p", "end", "p", "g", "enter")
        await settled(pilot)
        await pilot.press(*"2", "tab", *"1.5", "enter")
        await settled(pilot)
    given = [command for command in control.commands if "host" in command[0]]
    assert given == [
        ("pause_hosts", "books.example", True),
        ("pause_hosts", "quiet.example", False),
        ("set_host_limits", HostLimits(2, 1.5), "books.example"),
    ]


async def test_the_name_of_a_host_is_shown_as_text(control: FakeRunControl) -> None:
    control.change(hosts=(HostView(HOSTILE["escape"]),), hosts_total=1)
    async with driven(RunnerApp(control), size=(60, 12)) as pilot:
        await settled(pilot)
        await pilot.press("h")
        app = await settled(pilot)
        assert "\x1b" not in screen_text(app)


async def test_without_hosts_the_screen_says_where_they_come_from() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 12)) as pilot:
        await settled(pilot)
        await pilot.press("h")
        app = await settled(pilot)
        assert "no host is known" in screen_text(app)
