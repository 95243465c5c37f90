"""The end of a run, the window's title, and settings that are changed during it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.screens import HOSTILE, after, screen_text, settled
from textual.widgets import Static

from tui_runner.engine.progress.snapshot import ErrorGroup, HostView
from tui_runner.engine.states import RunState
from tui_runner.jobs.hosts import HostLimits
from tui_runner.store.ledger.reports import RunCurves
from tui_runner.tui.app import RunnerApp
from tui_runner.tui.run.chart import MARK, drawn, memory
from tui_runner.tui.run.header import Failures, Summary, summary
from tui_runner.tui.run.live_settings import LiveSettings
from tui_runner.tui.terminal import notifications
from tui_runner.tui.widgets.list_view import Rows


def listening(control: FakeRunControl, **options: bool) -> tuple[RunnerApp, list[str]]:
    """Return an application, and what it sends to the terminal besides the screen."""
    app = RunnerApp(control, **options)
    sent: list[str] = []
    app.write_out = sent.append  # type: ignore[method-assign]
    return app, sent


async def test_a_run_that_ended_is_summed_up() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        assert "tui-runner open" not in screen_text(app)
        control.change(state=RunState.FINISHED, items_done=99_988, in_flight=0)
        await settled(pilot)
        shown = screen_text(app)
        for part in (
            "✔ finished after 00:12:41",
            "99,988 done, 12 failed",
            "286,000,000 in table books, file 2.3 GB",
            "131 items/s",
            "9 items failed: ReadTimeout: timed out",
            "tui-runner open /data/scrape/books.duckdb",
            "tui-runner errors /data/scrape/books.duckdb",
            "    76  ",
        ):
            assert part in shown, part


async def test_the_summary_is_copied_as_markdown_whatever_an_error_has_written() -> None:
    errors = (ErrorGroup(3, "ValueError", "a ```` b\x1b[31m", final=3, example="a ```` b\x1b[31m"),)
    control = FakeRunControl(replace(busy(), errors=errors))
    async with driven(RunnerApp(control), size=(80, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("y")
        assert "## books · run 3 · running" in app.clipboard and "tui-runner open" not in app.clipboard
        control.change(state=RunState.FINISHED, items_done=99_988, in_flight=0)
        await settled(pilot)
        await pilot.press("y")
    lines = app.clipboard.split("\n")
    assert lines[:3] == ["## books · run 3 · finished", "", "`````"] and lines[-2:] == ["`````", ""]
    assert " items   99,988 done, 12 failed (0.01 %), 87 retries" in lines
    assert any("ValueError: a ```` b" in line for line in lines) and "\x1b" not in app.clipboard
    assert " next    tui-runner open /data/scrape/books.duckdb" in lines


async def test_a_stopped_run_is_to_be_resumed_and_names_are_quoted_for_the_shell() -> None:
    stopped = replace(busy(), state=RunState.STOPPED, database="/tmp/my data.duckdb", reason="stopped on request")
    async with driven(RunnerApp(FakeRunControl(stopped)), size=(120, 40)) as pilot:
        shown = screen_text(await settled(pilot))
    assert "tui-runner resume '/tmp/my data.duckdb'" in shown
    assert "stopped on request" in shown and "retry '" not in shown


async def test_a_run_that_failed_for_its_memory_is_to_be_resumed_with_more() -> None:
    failed = replace(busy(), state=RunState.FAILED, memory_needed=1_500_000_000)
    async with driven(RunnerApp(FakeRunControl(failed)), size=(120, 40)) as pilot:
        assert "resume /data/scrape/books.duckdb --max-memory 1500MB" in screen_text(await settled(pilot))


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (20, 5)])
async def test_the_summary_leaves_room_for_the_table(size: tuple[int, int]) -> None:
    async with driven(RunnerApp(FakeRunControl(replace(busy(), state=RunState.FINISHED))), size=size) as pilot:
        app = await settled(pilot)
        await pilot.resize_terminal(size[0] + 1, size[1])
        await pilot.pause()
        if size[1] > 10:
            assert ("after 00:12:41" in screen_text(app) and "▸     78" in screen_text(app)) or "▸" in screen_text(app)


async def test_the_end_is_told_on_the_screen_that_is_looked_at() -> None:
    control = FakeRunControl(busy())
    async with driven(RunnerApp(control), size=(120, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("l")
        await settled(pilot)
        assert "▼ following" in screen_text(app)
        control.change(state=RunState.FINISHED, items_done=99_988, in_flight=0)
        await settled(pilot)
        assert "✔ the run has finished" in screen_text(app)
        (told,) = app._notifications
        assert told.message == "books finished: 99,988 done, 12 failed, in 00:12:41"


@pytest.mark.parametrize(
    ("in_flight", "begin"), [(64, "64 items in flight have 30 s to finish, then"), (0, "The run stops, then")]
)
async def test_the_question_before_a_stop_says_what_finishes_and_in_which_time(in_flight: int, begin: str) -> None:
    control = FakeRunControl(replace(busy(), grace=30.0, in_flight=in_flight, items_held=7))
    async with driven(RunnerApp(control), size=(120, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("q")
        await settled(pilot)
        shown = " ".join(str(app.screen.query_one("#consequence", Static).render()).split())
    assert shown.startswith(f"{begin} tui-runner leaves.")
    assert "What has not finished and what waits for its host (7) runs again on resume" in shown


def test_a_summary_without_room_for_all_of_it_says_how_much_is_missing() -> None:
    ended = replace(busy(), state=RunState.FINISHED)
    every = len(summary(ended, 80))
    lines = ["".join(text for text, _ in line) for line in Summary().lines(ended, 80, 5)]
    told = [line for line in lines if line.endswith(f"… {every - 5} more lines")]
    assert len(told) == 1 and "tui-runner" not in told[0]
    assert not any("more line" in "".join(text for text, _ in line) for line in Summary().lines(ended, 80, every))


async def test_a_low_terminal_keeps_the_next_steps_and_says_how_to_get_the_rest() -> None:
    failures = [Failures("ValueError", f"no {n}", 4 - n, 4 - n) for n in range(3)]
    ended = replace(busy(), state=RunState.FINISHED)
    curves = RunCurves((1.0, 50.0), (1.0, 2.0), (1.0, 1.0), most=95.5)
    async with driven(RunnerApp(FakeRunControl(ended)), size=(80, 24)) as pilot:
        app = await settled(pilot)
        app.screen.query_one(Summary).show_failures(failures, curves)
        app.screen._sum_up(ended)
        shown = screen_text(await settled(pilot))
        assert all(f"tui-runner {command} /data/" in shown for command in ("open", "errors", "retry"))
        assert "more lines: i shows all" in shown
        assert "attempt p50" not in shown
        await pilot.press("i")
        await settled(pilot)
        whole = screen_text(await settled(pilot))
        assert "│ run 3  " in whole and "so far" not in whole and "attempt p50" in whole and "max 95.5" in whole


async def test_the_whole_summary_fits_the_dialog_that_shows_it() -> None:
    error = "500 Internal Server Error for https://books.example/catalogue/page-38007.html?sort=title"
    ended = replace(busy(), state=RunState.FINISHED, errors=(ErrorGroup(9, "HTTPStatusError", error, 9),))
    async with driven(RunnerApp(FakeRunControl(ended)), size=(80, 24)) as pilot:
        app = await settled(pilot)
        wanted = app.screen.query_one(Summary)
        await pilot.press("i")
        await settled(pilot)
        for width in (80, 120):
            await pilot.resize_terminal(width, 24)
            await settled(pilot)
            rows = app.screen.query_one(Rows)
            whole = wanted.text(ended, rows.size.width - 1).split("\n")
            assert [*rows.rows] == whole, "no line is wrapped"
            assert error in " ".join(" ".join(whole).split())


async def test_the_title_follows_the_run_and_is_given_back() -> None:
    control = FakeRunControl(busy())
    app, sent = listening(control)
    async with driven(app, size=(80, 24)) as pilot:
        await settled(pilot)
        assert sent == [notifications.KEEP_TITLE + "\x1b]2;38 % books\x1b\\"]
        control.change(at=770.0)
        await settled(pilot)
        assert len(sent) == 1
        control.change(state=RunState.PAUSED)
        await settled(pilot)
        assert sent[1:] == ["\x1b]2;paused books\x1b\\"]
    assert sent[-1] == notifications.RESTORE_TITLE


@pytest.mark.parametrize(
    ("focus", "wanted", "rings"), [(True, True, False), (False, True, True), (False, False, False)]
)
async def test_the_terminal_rings_only_without_focus(focus: bool, wanted: bool, rings: int) -> None:
    control = FakeRunControl(busy())
    app, sent = listening(control, notify=wanted)
    async with driven(app, size=(80, 24)) as pilot:
        await settled(pilot)
        app.app_focus = focus
        control.change(state=RunState.FINISHED)
        await settled(pilot)
        control.change(at=999.0)
        await settled(pilot)
    assert sum(notifications.BELL in sequence for sequence in sent) == rings


def test_each_terminal_gets_the_notification_it_knows() -> None:
    assert notifications.notification("a;b", {"TERM": "xterm-256color"}) == "\a"
    assert notifications.notification("a;b", {"TERM": "foot"}) == "\a\x1b]777;notify;tui-runner;a,b\x1b\\"
    assert (
        notifications.notification("x", {"TERM_PROGRAM": "iTerm.app", "TERM": "xterm"})
        == "\a\x1b]9;tui-runner: x\x1b\\"
    )


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_job_gets_a_sequence_into_the_title(text: str) -> None:
    for state in (RunState.RUNNING, RunState.FINISHED):
        snapshot = replace(busy(), job=text, state=state)
        for shown in (notifications.title(snapshot), notifications.ended_text(snapshot)):
            assert not set(shown) & set("\x1b\x07\x9b\x9c\n\r\x00\u202e\ud800") and len(shown) < 160


async def test_settings_are_typed_checked_and_asked_for() -> None:
    control = FakeRunControl(replace(busy(), open_chunks=4, rate=None))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("comma", *"zero")
        assert isinstance(app.screen, LiveSettings)
        await pilot.press("enter")
        assert isinstance(app.screen, LiveSettings) and "whole number" in screen_text(app)
        await pilot.press("home", "ctrl+k", *"128", "tab", *"9", "down", *"2.5", "tab", *"3GB", "enter")
        await pilot.pause()
        assert "asked: threads: 128 · open chunks: 9 · rate: 2.5 · memory: 3.0 GB" in screen_text(app)
        control.change(threads=128, open_chunks=9, rate=2.5, memory_limit=3_000_000_000)
        await settled(pilot)
        assert "asked" not in screen_text(app)
    assert control.commands[1:] == [
        ("set_threads", 128),
        ("set_open_chunks", 9),
        ("set_rate", 2.5),
        ("set_max_memory", 3_000_000_000),
    ]


HOSTS = {"hosts": (HostView("books.example"),), "host_limits": HostLimits(4, 0.25)}


async def test_limits_of_every_host_are_among_the_settings_of_a_run_that_has_hosts() -> None:
    control = FakeRunControl(replace(busy(), **HOSTS))
    async with driven(RunnerApp(control), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("comma", *["tab"] * 4, *"8", "tab", *"soon")
        assert "per host at once" in screen_text(app) and "number" in screen_text(app)
        await pilot.press("home", "ctrl+k", *"1.5", "tab", *"true", "enter")
        await pilot.pause()
        assert "asked: hosts: limits" in screen_text(app)
        control.change(host_limits=HostLimits(8, 1.5, adaptive=True))
        await settled(pilot)
        assert "asked" not in screen_text(app)
    assert control.commands[1:] == [("set_host_limits", HostLimits(8, 1.5, adaptive=True), "")]


async def test_limits_of_hosts_are_not_asked_for_without_hosts() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("comma")
        assert "memory at most" in screen_text(app) and "per host" not in screen_text(app)


async def test_every_setting_can_be_reached_on_a_low_terminal() -> None:
    control = FakeRunControl(replace(busy(), **HOSTS))
    async with driven(RunnerApp(control), size=(40, 12)) as pilot:
        app = await settled(pilot)
        await pilot.press("comma", *["tab"] * 6)
        await pilot.pause()
        assert "per host adaptive" in screen_text(app)
        await pilot.press(*"true", "enter")
        await pilot.pause()
    assert control.commands[1:] == [("set_host_limits", HostLimits(4, 0.25, adaptive=True), "")]


async def test_settings_left_as_they_are_change_nothing() -> None:
    assert await after("comma", "enter", "comma", "escape") == []
    assert await after("comma", "2", "escape") == []
    ended = FakeRunControl(replace(busy(), state=RunState.FINISHED))
    assert await after("comma", "2", "enter", control=ended) == []


async def test_a_rate_can_be_taken_away() -> None:
    control = FakeRunControl(replace(busy(), rate=5.0))
    assert await after("comma", "tab", "tab", *"none", "enter", control=control) == [("set_rate", None)]


def test_recycled_workers_are_marked_in_the_memory_graph() -> None:
    snapshot = busy()
    unit = str
    assert not any(MARK in text for line in drawn(memory(snapshot), 60, 10, unit) for text, _ in line)
    at = snapshot.history[-1].at - 60
    lines = drawn(memory(replace(snapshot, recycled=(at, at - 10_000))), 60, 10, unit)
    columns = {"".join(text for text, _ in line).index(MARK) for line in lines if any(MARK in text for text, _ in line)}
    assert len(columns) == 1


def test_the_memory_graph_of_a_cluster_has_no_limit_for_that_is_of_one_machine() -> None:
    limited = replace(busy(), memory_limit=1 << 30)
    assert memory(limited).limit == 1 << 30
    assert "limit" in memory(limited).title
    for far in (replace(limited, machines=2), replace(limited, machines_lost=1)):
        assert (memory(far).limit, memory(far).title) == (None, "memory")


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40)])
@pytest.mark.parametrize("state", [RunState.FAILED, RunState.PAUSED])
async def test_a_long_reason_leaves_room_for_a_chunk_and_the_keys(size: tuple[int, int], state: RunState) -> None:
    reason = (
        "40 of the last 50 items failed with ConnectError: nobody answers at books.example; one is tried every 30 s"
    )
    control = FakeRunControl(replace(busy(), state=state, reason=reason))
    async with driven(RunnerApp(control), size=size) as pilot:
        app = await settled(pilot)
        await pilot.pause()
        lines = screen_text(app).split("\n")
        assert "q " in lines[-1] and any(line.startswith("▸ ") for line in lines), lines
        if state is RunState.PAUSED:
            assert reason in " ".join(" ".join(lines).split())
