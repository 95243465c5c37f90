"""The real thing in a real terminal: started, paused, tuned, looked into and drained by keys, judged by its screen."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.tmux_terminal import Tmux
from support.waiting import eventually

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

JOB = """
    import threading, time
    from tui_runner import job

    def say(name):
        with open(name, "a") as file:
            file.write("x")

    def tick():
        while True:
            time.sleep(0.01)
            say("ticks")

    @job(chunk_size=20, threads=4, open_chunks=2, retries=0)
    def work(n: int):
        time.sleep(0.02)
        say("ended")
        if n % 10 == 7:
            raise ValueError(f"no table on page {n}")
        return {"n": n}

    @work.setup
    def begin():
        threading.Thread(target=tick, daemon=True).start()

    @work.items
    def items():
        return range(50_000)
"""


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    (tmp_path / "work.py").write_text(textwrap.dedent(JOB), encoding="utf-8")
    terminal = Tmux(["run", "work.py", "--tui", "--db", "x.duckdb"], tmp_path)
    yield terminal
    terminal.close()


def test_the_dashboard_in_a_terminal(tmux: Tmux, tmp_path: Path, rows: Callable[..., list[tuple[Any, ...]]]) -> None:
    def size(name: str) -> int:
        path = tmp_path / name
        return path.stat().st_size if path.exists() else 0

    def finished() -> int:
        """Return items that ended, as the screen has them."""
        found = re.search(r"([\d,]+) / 50,000", tmux.screen)
        return int(found[1].replace(",", "")) if found else 0

    tmux.shows("▶ RUNNING", "in flight", "▸   ")
    eventually(lambda: finished() > 40, "items on the screen")

    tmux.press("Space")
    tmux.shows("⏸ PAUSED")
    eventually(lambda: re.search(r"in flight +0/4", tmux.screen), "nothing in flight")
    still = eventually(lambda: finished() == size("ended") and finished(), "every item of a paused run on the screen")
    ticks = size("ticks")
    # The worker is alive and could have executed thirty items and more in this time.
    eventually(lambda: size("ticks") > ticks + 60, "ticks of the worker")
    assert finished() == size("ended") == still

    tmux.press("Space")
    tmux.shows("▶ RUNNING")
    eventually(lambda: finished() > still + 20, "items after the pause")

    tmux.press("+")
    eventually(lambda: re.search(r"in flight +\d/5", tmux.screen), "5 threads on the screen")
    tmux.press("-", "-")
    eventually(lambda: re.search(r"in flight +\d/3", tmux.screen), "3 threads on the screen")

    tmux.press("e")
    shown = tmux.shows("errors of work", "ValueError: no table on page")
    assert re.search(r"▸ +\d+ +\d+ +100 %", shown), shown
    tmux.press("q")
    tmux.shows("▶ RUNNING")

    tmux.press("q")
    tmux.shows("Drain and stop")
    tmux.press("y")
    shown = tmux.shows("left with 3")
    assert shown.startswith("before\n") and "run 1 stopped" in shown
    # The terminal is as it was: main screen, cursor, no mouse; what is typed is echoed, and comes a line at a time.
    states = [tmux.state(name) for name in ("alternate_on", "cursor_flag", "mouse_any_flag", "keypad_cursor_flag")]
    assert states == ["0", "1", "0", "0"]
    tmux.press("typed", "Enter")
    tmux.shows("typed\ntyped\n")

    recorded = rows("SELECT count(*), count_if(state = 'ok') FROM runner.items")[0]
    assert recorded == (size("ended"), rows("SELECT count(DISTINCT _item) FROM work")[0][0])
