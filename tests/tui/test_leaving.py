"""Leaving in a terminal: quick, and the terminal is as it was, whatever the screen does at that moment."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.pseudo_terminal import PseudoTerminal
from support.query_world import make_database

pytestmark = pytest.mark.slow

JOB = """
    import time
    from tui_runner import job

    @job(chunk_size=20, threads=4, open_chunks=2)
    def work(n: int):
        time.sleep(0.02)
        return {"n": n}

    @work.items
    def items():
        return range(50_000)
"""

F2, F3, F5, F8, F9, CTRL_C, CTRL_P = "\x1bOQ", "\x1bOR", "\x1b[15~", "\x1b[19~", "\x1b[20~", "\x03", "\x10"
CLEARED = "\x05\x15"
"""Keys that empty a line of the editor."""
ENDLESS = "SELECT count(*) FROM range(9999999) a, range(9999999) b WHERE a.range * b.range = 7"
HUGE = "SELECT i, md5(i::VARCHAR) AS hash FROM range(400000000) t(i)"
QUICK = 10.0
"""Seconds. A quiet machine needs less than one; what is held here is that nothing is waited for."""

Start = Callable[..., PseudoTerminal]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the program in a folder with a job and a database."""
    opened: list[PseudoTerminal] = []

    def started(*arguments: str, source: str = JOB) -> PseudoTerminal:
        (tmp_path / "work.py").write_text(textwrap.dedent(source), encoding="utf-8")
        opened.append(PseudoTerminal(list(arguments), tmp_path, errors=tmp_path / "errors.txt"))
        return opened[-1]

    yield started
    for each in opened:
        each.close()


def leave(screen: PseudoTerminal, modes: int, code: int, keys: str = CTRL_C) -> None:
    """Press `keys` and hold the program to what it owes the terminal."""
    place, pressed = screen.press(keys), time.monotonic()
    assert screen.exit_code() == code
    assert time.monotonic() - pressed < QUICK
    assert screen.modes() == modes
    rest = screen.output[place:]
    assert b"\x1b[?1049l" in rest, "the first screen again"
    assert b"\x1b[?25h" in rest, "the cursor"
    assert b"\x1b[?1003l" in rest and b"\x1b[?2004l" in rest, "mouse and paste"


@pytest.mark.parametrize(
    ("keys", "shows"),
    [
        (f"{CLEARED}{ENDLESS}{F5}", "running"),
        (f"{CLEARED}{HUGE}{F5}", "hash"),
        (f"{CLEARED}SELECT tit", "title"),
        (F2, "Rows per minute"),
        (F3, "SELECT 'before'"),
        (CTRL_P, "Choose a ready-made query"),
    ],
    ids=["statement", "rows without end", "completion", "ready-made queries", "history", "palette"],
)
def test_the_query_screen_is_left_at_once(start: Start, tmp_path: Path, keys: str, shows: str) -> None:
    make_database(tmp_path / "books.duckdb").close()
    history = tmp_path / "tui-runner" / "queries.jsonl"
    history.parent.mkdir()
    history.write_text(json.dumps("SELECT 'before'") + "\n")
    screen = start("open", "books.duckdb")
    modes = screen.modes()
    screen.shows("we ird")
    place = screen.press(keys)
    screen.shows(shows, place)
    leave(screen, modes, 0)
    assert (tmp_path / "errors.txt").read_text() == ""


def test_the_query_screen_is_left_in_the_middle_of_an_export_that_leaves_no_half_file(
    start: Start, tmp_path: Path
) -> None:
    make_database(tmp_path / "books.duckdb").close()
    screen = start("open", "books.duckdb")
    modes = screen.modes()
    screen.shows("we ird")
    place = screen.press(f"{CLEARED}{HUGE}{F5}")
    screen.shows("cfcd208495d565ef", place)  # `hash` is in the statement, too
    place = screen.press(F9)
    screen.shows("xport", place)
    place = screen.press("\x05\x15all.csv\r")
    screen.shows("exporting: ", place)
    leave(screen, modes, 0)
    assert (tmp_path / "errors.txt").read_text() == ""
    assert not list(tmp_path.rglob("*csv*"))


@pytest.mark.parametrize("which", ["query", "launcher"])
def test_sigterm_leaves_the_terminal_as_it_was_and_marks_the_running_statement(
    start: Start, tmp_path: Path, which: str
) -> None:
    make_database(tmp_path / "books.duckdb").close()
    screen = start("open", "books.duckdb") if which == "query" else start()
    modes = screen.modes()
    if which == "query":
        screen.shows("we ird")
        place = screen.press(f"{CLEARED}SELECT count(*) FROM range(100000000000) a{F5}")
        screen.shows("running", place)
    else:
        screen.shows("books.duckdb")
    screen.process.terminate()
    assert screen.exit_code() == 143
    assert b"\x1b[?1049l" in screen.output and screen.modes() == modes
    assert (tmp_path / "errors.txt").read_text() == ""
    if which == "query":
        last = (tmp_path / "tui-runner" / "queries.jsonl").read_text().splitlines()[-1]
        assert json.loads(last)["ended"] is True


def test_the_query_screen_is_left_from_a_chart(start: Start, tmp_path: Path) -> None:
    make_database(tmp_path / "books.duckdb").close()
    screen = start("open", "books.duckdb")
    modes = screen.modes()
    screen.shows("we ird")
    place = screen.press(f"{CLEARED}SELECT range AS x, range * 2 AS twice FROM range(50){F5}")
    screen.shows("twice", place)
    place = screen.press(F8)
    screen.shows("█", place)
    leave(screen, modes, 0)
    assert (tmp_path / "errors.txt").read_text() == ""


@pytest.mark.parametrize(
    ("keys", "shows"),
    [("h", "host"), ("e", "errors"), ("l", "log of"), (",", "Change while it runs"), ("m", ""), ("d", "catalog")],
    ids=["hosts", "errors", "log", "settings", "map", "query"],
)
def test_a_run_is_left_from_every_screen_by_asking_once(start: Start, tmp_path: Path, keys: str, shows: str) -> None:
    screen = start("run", "work.py", "--tui", "--grace", "1")
    modes = screen.modes()
    screen.shows("RUNNING")
    place = screen.press(keys)
    screen.until(lambda: shows in screen.text(place).lower() or shows in screen.text(place), f"{shows!r}")
    place = screen.press(CTRL_C)
    screen.shows("Drain and stop", place)
    leave(screen, modes, 3)
    assert "Traceback" not in (tmp_path / "errors.txt").read_text()


def test_the_launcher_is_left_while_it_looks_for_jobs(start: Start, tmp_path: Path) -> None:
    screen = start()
    modes = screen.modes()
    screen.shows("tui-runner")
    leave(screen, modes, 0)
    assert (tmp_path / "errors.txt").read_text() == ""


def test_escape_leads_back_to_the_list_of_the_launcher_from_an_ended_run_and_a_database(
    start: Start, tmp_path: Path
) -> None:
    screen = start(source=JOB.replace("50_000", "40"))
    modes = screen.modes()
    screen.shows("Enter loads the file")
    place = screen.press("\r")
    screen.shows("the job's own items", place)
    place = screen.press("\x13")
    screen.shows("finished after", place)
    screen.shows("back to the list", place)
    place = screen.press("\x1b")
    screen.shows("40 rows", place)
    screen.shows("jobs", place)
    screen.press("j")  # the database follows the job
    place = screen.press("o")
    screen.shows("catalog", place)
    screen.shows("✔ 40 rows", place)  # earlier, Esc would end the statement
    place = screen.press("\x1b")
    screen.shows("databases", place)
    leave(screen, modes, 0)
    assert (tmp_path / "errors.txt").read_text() == ""


def test_the_launcher_ends_when_its_terminal_is_gone_and_no_signal_says_so(tmp_path: Path) -> None:
    # As under `nohup`. It used to read from the terminal without end, with a whole core.
    program = ("/usr/bin/env", "--ignore-signal=HUP", sys.executable, "-m", "tui_runner")
    screen = PseudoTerminal([], tmp_path, program=program)
    try:
        screen.shows("tui-runner")
        screen.shows("samples")
        screen.hang_up(signalled=False)
        assert screen.exit_code() == 0
    finally:
        screen.close()
