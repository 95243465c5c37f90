"""A lost terminal: the run continues without it, says so in its log, and no loop keeps a processor busy."""

from __future__ import annotations

import os
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.pseudo_terminal import PseudoTerminal
from support.waiting import eventually

JOB = """
    import os
    import time
    from pathlib import Path
    from tui_runner import job

    @job(chunk_size=10, threads=4)
    def work(n: int):
        Path("begun").touch()
        os.write(1, b"working\\n")
        time.sleep(0.02)
        while n >= 200 and not Path("open").exists():
            time.sleep(0.02)
        return n

    @work.items
    def items():
        return range(400)
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., PseudoTerminal]]:
    opened: list[PseudoTerminal] = []

    def start(*arguments: str) -> PseudoTerminal:
        (tmp_path / "work.py").write_text(textwrap.dedent(JOB), encoding="utf-8")
        opened.append(PseudoTerminal(["run", "work.py", "--db", "x.duckdb", *arguments], tmp_path))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.mark.parametrize(
    ("how", "signalled"),
    [
        ("--tui", True),
        ("--tui", False),
        ("--headless", True),
        ("--tui --backend inline", True),
        ("--tui --backend inline", False),
        ("--headless --backend inline", True),
    ],
)
def test_the_run_continues_without_its_terminal(
    terminal: Callable[..., PseudoTerminal],
    tmp_path: Path,
    rows: Callable[..., list[tuple[Any, ...]]],
    how: str,
    signalled: bool,
) -> None:
    screen = terminal(*how.split())
    screen.shows("RUNNING" if "--tui" in how else " %  ")
    eventually((tmp_path / "begun").exists, "an item")
    screen.hang_up(signalled=signalled)
    log = tmp_path / "x.duckdb.log"
    eventually(
        lambda: log.exists() and "the terminal is gone; the run continues" in log.read_text(), "a word in the log"
    )
    process = psutil.Process(screen.process.pid)
    # One that spins uses a core; waiting for items that do nothing takes a few hundredths of one.
    eventually(lambda: process.cpu_percent(0.5) < 40, "a process at rest")
    (tmp_path / "open").touch()
    assert screen.exit_code() == 0
    assert rows("SELECT count(*), count(DISTINCT key) FROM runner.items WHERE state = 'ok'") == [(400, 400)]
    assert "is lost" not in log.read_text()
    assert log.read_text().count(": working\n") == 400


def test_a_paused_run_stops_when_its_terminal_is_lost(
    terminal: Callable[..., PseudoTerminal], rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    screen = terminal("--tui")
    screen.shows("RUNNING")
    screen.shows("PAUSED", screen.press(" "))
    screen.hang_up(signalled=True)
    assert screen.exit_code() == 3
    assert rows("SELECT state FROM runner.runs") == [("stopped",)]


def test_sigterm_drains_the_run_on_the_dashboard(
    terminal: Callable[..., PseudoTerminal], rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    screen = terminal("--tui", "--grace", "0.5")
    screen.shows("RUNNING")
    os.kill(screen.process.pid, signal.SIGTERM)
    assert screen.exit_code() == 3
    assert "resume:" in screen.text()
    assert rows("SELECT state FROM runner.runs") == [("stopped",)]
