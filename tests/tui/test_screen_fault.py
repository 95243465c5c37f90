"""A fault of the screen does not end the run, and shows no secrets."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_run import FakeRunControl, busy
from support.pilots import driven
from support.pseudo_terminal import PseudoTerminal
from support.screens import settled
from textual.css.query import NoMatches
from textual.worker import WorkerFailed, WorkerState

from tui_runner.tui.app import RunnerApp
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.launcher import Launcher
from tui_runner.tui.terminal.textual_fixes import KeepsFault

JOB = """
    import time
    from pathlib import Path
    from tui_runner import job
    from tui_runner.tui.run.dashboard import Dashboard

    def broken(screen):
        password = "hunter2"
        raise KeyError("https://me:hunter2@example.org \\x1b[2J")

    Dashboard.action_map = broken

    @job(chunk_size=10, threads=4)
    def work(n: int):
        while n >= 40 and not Path("open").exists():
            time.sleep(0.02)
        return n

    @work.items
    def items():
        return range(80)
"""


@pytest.mark.slow
def test_the_run_continues_without_its_dashboard(tmp_path: Path, rows: Callable[..., list[tuple[Any, ...]]]) -> None:
    (tmp_path / "work.py").write_text(textwrap.dedent(JOB), encoding="utf-8")
    screen = PseudoTerminal(["run", "work.py", "--tui", "--db", "x.duckdb"], tmp_path)
    try:
        screen.shows("4/4")
        place = screen.press("m")
        screen.shows("the dashboard has failed, please report it; the run continues, Ctrl-C stops it", place)
        screen.shows(" %  ", place)
        (tmp_path / "open").touch()
        assert screen.exit_code() == 0
        said = screen.text(place)
    finally:
        screen.close()
    assert 'raise KeyError("https' in said and "run 1 finished" in said
    assert "me:hunter2" not in said.partition("raise KeyError")[2].partition("\n")[2]
    assert "password" not in said
    assert rows("SELECT count(*), count(DISTINCT key) FROM runner.items WHERE state = 'ok'") == [(80, 80)]
    assert "the screen has failed (KeyError); the run goes on without it" in (tmp_path / "x.duckdb.log").read_text()


def test_a_fault_of_another_screen_is_one_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(app: Launcher) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr(Launcher, "on_mount", broken)
    launcher = Launcher(tmp_path, {})
    monkeypatch.setattr(launcher, "run", lambda: KeepsFault.run(launcher, headless=True))
    with pytest.raises(KeyError, match="no such thing"):
        launcher.run_or_raise()


async def test_failed_lookup_of_a_screen_that_was_left_is_no_fault() -> None:
    async with driven(RunnerApp(FakeRunControl(busy())), size=(120, 40)) as pilot:
        app = await settled(pilot)
        reader = Reader("an error", "in full")

        async def looks_for_what_is_gone() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise NoMatches("its parts") from None

        app.push_screen(reader)
        await pilot.pause()
        worker = reader.run_worker(looks_for_what_is_gone())
        app.pop_screen()
        with pytest.raises(WorkerFailed):
            await worker.wait()
        assert worker.state is WorkerState.ERROR and app.fault is None and app.is_running
