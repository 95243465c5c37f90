"""The real thing: the program in a terminal, with real workers and a real database."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pseudo_terminal import PseudoTerminal

pytestmark = pytest.mark.slow

JOB = """
    import os, time
    from tui_runner import job

    @job(chunk_size=20, threads=4, open_chunks=2)
    def work(n: int):
        time.sleep(0.02)
        with open("done", "a") as file:
            file.write("x")
        return {"n": n}

    @work.items
    def items():
        return range(50_000)
"""

HOSTILE = "EVIL\x1b]52;c;aGFja2Vk\x07\x1b[31;5m\x1b[2J\u009b2J\u202e\x1b]0;owned\x1b\\[/a][@click=app.quit]x[/]\x00\x7f"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., PseudoTerminal]]:
    """Starts the program in a folder with a job `work.py`."""
    opened: list[PseudoTerminal] = []

    def start(
        *arguments: str, source: str = JOB, size: tuple[int, int] = (120, 40), errors: Path | None = None
    ) -> PseudoTerminal:
        (tmp_path / "work.py").write_text(textwrap.dedent(source), encoding="utf-8")
        opened.append(PseudoTerminal(list(arguments), tmp_path, size, errors))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def drawn_rows(screen: PseudoTerminal, since: int) -> set[int]:
    """Return the numbers of the rows that were written to after the byte `since`."""
    return {int(row) for row in re.findall(rb"\x1b\[(\d+);\d+H", screen.output[since:])}


def test_ctrl_l_sends_every_row_again(
    terminal: Callable[..., PseudoTerminal],
) -> None:
    screen = terminal("run", "work.py", "--tui")
    screen.shows("RUNNING")
    screen.press(" ")
    screen.shows("PAUSED")
    for keys, title in (("", "work.duckdb"), ("?", "Cancel the chunk"), ("q,", "Change while it runs")):
        place = screen.press(keys) if keys else 0
        screen.shows(title, place)
        place = screen.press("\x0c")  # Ctrl-L
        screen.shows(title, place)
        screen.until(lambda place=place: len(drawn_rows(screen, place)) >= 40, "every row drawn again")
        assert drawn_rows(screen, place) == set(range(1, 41))


@pytest.mark.parametrize("arguments", [["run", "work.py", "--tui"], []], ids=["run", "launcher"])
def test_files_beside_a_job_that_are_called_like_libraries_are_not_imported_by_the_screens(
    tmp_path: Path, arguments: list[str]
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "work.py").write_text(textwrap.dedent(JOB))
    # Textual imports the first two only if they are installed, and parts of the others when they are needed.
    for name in ("tree_sitter", "textual_speedups", "pygments", "rich", "markdown_it", "platformdirs"):
        (here / f"{name}.py").write_text("open('imported', 'a').write(__name__)\nraise SystemExit('imported')\n")
    script = tmp_path / "tui-runner"  # what an installed package has: `python -m` would find these files itself
    script.write_text("from tui_runner.cli.entry import main\nmain()\n")
    screen = PseudoTerminal(arguments, here, program=(sys.executable, str(script)))
    try:
        if not arguments:
            screen.shows("work.py")
            screen.press("\r")
            screen.shows("threads")
            screen.press("\x13")  # Ctrl-S starts the run
        screen.shows("RUNNING")
        for keys, title in (("?", "Cancel the chunk"), ("qd", "_item")):
            place = screen.press(keys)
            screen.shows(title, place)
    finally:
        screen.close()
    assert not (here / "imported").exists()


def test_shell_is_not_shown_between_the_launcher_and_the_other_screens(
    terminal: Callable[..., PseudoTerminal],
) -> None:
    screen = terminal(source=JOB.replace("50_000", "5"))
    screen.shows("own items")
    place = screen.press("\x13")  # Ctrl-S starts the run
    screen.shows("FINISHED", place)
    place = screen.press("\x1b")
    screen.shows("1 database", place)  # in the title; the form names the file before it is listed
    screen.shows("just now", place)
    screen.press("\x1b[B")
    screen.shows("opens it for queries", place)
    place = screen.press("o")
    screen.shows("✔ 5 rows", place)  # before, Esc would cancel the statement
    place = screen.press("\x1b")
    screen.shows("jobs and databases", place)
    screen.shows("samples", place)
    assert screen.output.count(b"\x1b[?1049h") == 1 and b"\x1b[?1049l" not in screen.output
    screen.press("q")
    assert screen.exit_code() == 0
    assert screen.output.count(b"\x1b[?1049l") == 1


def test_error_after_the_launcher_is_not_written_over_its_screen(
    terminal: Callable[..., PseudoTerminal], tmp_path: Path
) -> None:
    first = terminal("run", "work.py", "--limit", "5", "--headless")
    assert first.exit_code() == 0
    screen = terminal()
    screen.shows("work.duckdb")
    screen.press("/work.duckdb\r")
    screen.shows("only “work.duckdb”")
    (tmp_path / "work.duckdb").write_text("no database any more")
    place = screen.press("o")
    assert screen.exit_code() == 4
    shown = screen.output[place:]
    assert -1 < shown.find(b"\x1b[?1049l") < shown.find(b"work.duckdb: ")


def test_bytes_that_are_no_text_harm_neither_the_screen_nor_the_run(terminal: Callable[..., PseudoTerminal]) -> None:
    screen = terminal("run", "work.py", "--tui")
    screen.shows("RUNNING")
    place = screen.send(b"\xe9\xff\x1b[M \xc3\xa9")
    screen.press(" ")
    screen.shows("PAUSED", place)
    assert "Traceback" not in screen.text()
    place = screen.press(" ")
    screen.shows("RUNNING", place)
    assert screen.process.poll() is None


def test_a_program_that_was_killed_leaves_the_terminal_as_it_was(terminal: Callable[..., PseudoTerminal]) -> None:
    screen = terminal("run", "work.py", "--tui")
    before = screen.modes()
    screen.shows("RUNNING")
    assert screen.modes() != before
    place = len(screen.output)
    screen.process.kill()
    screen.until(lambda: b"\x1b[?1049l" in screen.output[place:], "the first screen again")
    screen.until(lambda: screen.modes() == before, "echo, lines and signals")
    assert b"\x1b[?1003l" in screen.output[place:]


def test_a_run_is_paused_resumed_tuned_and_drained(
    terminal: Callable[..., PseudoTerminal], tmp_path: Path, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    def done() -> int:
        path = tmp_path / "done"
        return path.stat().st_size if path.exists() else 0

    screen = terminal("run", "work.py", "--tui", "--db", "x.duckdb")
    screen.shows("RUNNING")
    screen.until(lambda: done() > 20, "items")
    place = screen.press(" ")
    screen.shows("PAUSED", place)
    screen.shows("0/4", place)
    before = done()
    time.sleep(1.0)  # the claim is that nothing happens in this time
    assert done() == before
    place = screen.press(" ")
    screen.shows("RUNNING", place)
    screen.until(lambda: done() > before + 20, "items after the pause")
    place = screen.press("+")
    screen.shows("/5 ", place)  # the event "threads: 5" may give way to a newer one before the screen is drawn
    place = screen.press(",")
    screen.shows("Change while it runs", place)
    place = screen.press("9\r")
    screen.shows("/9 ", place)
    place = screen.press("l")
    screen.shows("log of work", place)
    screen.press("q")
    place = screen.press("q")
    screen.shows("Drain and stop", place)
    screen.press("y")
    assert screen.exit_code() == 3
    recorded = rows("SELECT count(*) FROM runner.items WHERE state = 'ok'")[0][0]
    assert recorded == rows("SELECT count(DISTINCT _item) FROM work")[0][0] == done()
    assert rows("SELECT state FROM runner.runs") == [("stopped",)]
    state = json.loads((tmp_path / "tui-runner" / "state.json").read_text())
    assert state["recent"] == [f"{tmp_path.resolve()}/work.py:work"]


def test_a_run_that_ends_is_summed_up_and_says_how_in_its_exit_code(
    terminal: Callable[..., PseudoTerminal], tmp_path: Path
) -> None:
    failing = JOB.replace('return {"n": n}', "assert n % 10").replace("50_000", "40")
    errors = tmp_path / "errors.txt"
    screen = terminal("run", "work.py", "--tui", "--retries", "0", source=failing, size=(80, 24), errors=errors)
    screen.shows("finished after")
    screen.shows("tui-runner errors")
    place = screen.press("e")
    screen.shows("AssertionError", place)
    screen.press("\x1b")
    screen.until(lambda: screen.press("q") and screen.process.poll() is not None, "end")
    assert screen.exit_code() == 1
    assert errors.read_text() == ""
    # The terminal is left as it was: main screen, cursor, mouse, title.
    for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[23;2t"):
        assert sequence in screen.output


def test_the_theme_that_was_chosen_last_is_used(terminal: Callable[..., PseudoTerminal], tmp_path: Path) -> None:
    state = tmp_path / "tui-runner" / "state.json"
    state.parent.mkdir()
    state.write_text('{"theme": "day"}')
    screen = terminal("run", "work.py", "--tui", "--limit", "20", size=(80, 24))
    screen.shows("finished after")
    assert b"48;2;251;250;247m" in screen.output  # the ground of `day`


def test_what_failed_runs_again_when_the_run_is_over(
    terminal: Callable[..., PseudoTerminal], tmp_path: Path, rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    failing = JOB.replace('return {"n": n}', 'assert n % 10 or os.path.exists("mended")').replace("50_000", "40")
    screen = terminal("run", "work.py", "--tui", "--retries", "0", "--db", "x.duckdb", source=failing, size=(100, 24))
    screen.shows("finished after")
    (tmp_path / "mended").touch()
    place = screen.press("R")
    screen.shows("4 items that failed", place)
    place = screen.press("y")
    # "finished after" would not do: it is written again when the question closes, before the items run.
    screen.shows("36 of them before", place)
    screen.until(lambda: screen.press("q") and screen.process.poll() is not None, "end")
    assert screen.exit_code() == 0
    assert rows("SELECT state, count(*) FROM runner.items GROUP BY state") == [("ok", 40)]


def test_nothing_that_a_job_says_reaches_the_terminal_as_a_command(
    terminal: Callable[..., PseudoTerminal], tmp_path: Path
) -> None:
    source = f"""
        import logging, os, sys, time
        from tui_runner import current, job

        BAD = {HOSTILE!r}

        class Item(str):
            def __reduce__(self):
                return (Item, (str(self),))

        @job(chunk_size=5, threads=3, retries=0)
        def work(item):
            print(BAD)
            sys.stderr.write(BAD + chr(10))
            logging.getLogger(BAD).error(BAD)
            current.log(BAD)
            os.write(1, BAD.encode())
            os.write(2, BAD.encode() + bytes([255, 155, 10]))
            time.sleep(0.3)
            if hash(item) % 2:
                raise type("E" + BAD, (Exception,), {{}})(BAD)
            return {{"name " + BAD: BAD}}

        @work.items
        def items():
            print("printed by items " + BAD)
            os.write(1, b"written by items " + BAD.encode() + b"\\n")
            os.system("echo a program of items")
            for n in range(30):
                yield Item(BAD + "A" * 100_000 + str(n))
    """
    screen = terminal("run", "work.py", "--tui", "--db", f"{HOSTILE[:24]}.duckdb".replace("/", ""), source=source)
    screen.shows("RUNNING")
    for keys, shown in (
        ("\r", "in flight"),
        ("l", "EVIL"),
        ("\r", "Esc close"),
        ("\x1b", "log of"),
        ("e", "errors of"),
    ):
        place = screen.press(keys)
        screen.shows(shown, place)
    screen.shows("EVIL")
    screen.press("q")
    place = screen.press("m")
    screen.shows("finished after")
    screen.until(lambda: screen.press("q") and screen.process.poll() is not None, "end")
    assert screen.exit_code() == 1
    nothing_is_obeyed(screen.output)
    (file,) = tmp_path.glob("*.log")
    log = file.read_text()
    for level, said in (("INFO ", "printed by items"), ("WARNING ", "written by items"), ("WARNING ", "a program of")):
        assert re.search(f"{level} *chunk - item -: {said}", log)


def test_nothing_that_the_launcher_finds_reaches_the_terminal_as_a_command(
    terminal: Callable[..., PseudoTerminal], tmp_path: Path
) -> None:
    source = f"""
        import os
        from tui_runner import job

        BAD = {HOSTILE!r}

        @job
        def work(item: str, *, first: str = BAD):
            {HOSTILE[:60]!r}
            print(BAD)
            os.write(1, b"tried: " + BAD.encode() + b"\\n")
            if item.endswith("1"):
                raise ValueError(BAD)
            return {{BAD: BAD}}

        @work.items
        def items():
            os.write(2, BAD.encode() + b"\\n")
            return [BAD + str(n) for n in range(3)]
    """
    name = HOSTILE[:24].replace("/", "")
    (tmp_path / f"{name}.py").write_text("import tui_runner\nx = (\n")
    (tmp_path / f"{name}.duckdb").write_text("x" * 100)
    screen = terminal(source=source)
    screen.shows("EVIL")
    screen.shows("databases")
    for keys, shown in (("\r", "first items"), ("\x14", "tried: "), ("\x1b", "start"), ("\x1b", "help")):
        place = screen.press(keys)
        screen.shows(shown, place)
    for _ in range(12):
        screen.press("j")
    place = screen.press("?")
    screen.shows("Show what the keys do", place)
    screen.press("\x1b")
    screen.until(lambda: screen.press("q") and screen.process.poll() is not None, "end")
    assert screen.exit_code() == 0
    nothing_is_obeyed(screen.output)


def nothing_is_obeyed(output: bytes) -> None:
    """Assert that no sequence of `HOSTILE` was sent to the terminal."""
    # The shape of the mouse pointer is Textual's own, and the one sequence that it ends with a bell.
    output = re.sub(rb"\x1b\]22;[a-z-]+\x07", b"", output)
    for sequence in (
        b"\x1b]52",
        b"\x1b[31;5m",
        b"\x1b]0;",
        b"\xc2\x9b",
        b"\x9b2J",
        b"\x07",
        b"\xe2\x80\xae",
        b"owned\x1b",
    ):
        found = output.find(sequence)
        assert found < 0, output[max(found - 80, 0) : found + 40]


ASKING = """
import sys, time, tui_runner
print("asking", flush=True)
with tui_runner.connect("x.duckdb").stream(sys.argv[1]) as result:
    print("answered", next(iter(result)).num_rows, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("statement", "answered"),
    [
        ("FROM range(1000000000)", True),
        ("SELECT i, repeat('x', 100000) FROM range(100000) t(i)", True),
        ("SELECT sum(a.range * b.range) FROM range(9999999) a, range(9999999) b", False),
        ("FROM range(300000000) ORDER BY hash(range)", False),
        ("SELECT count(DISTINCT md5(range::VARCHAR)) FROM range(300000000)", False),
    ],
    ids=["stream", "large rows", "cross join", "sort", "distinct"],
)
def test_leaving_in_the_middle_of_a_statement_of_another_process_says_nothing_on_the_terminal(
    terminal: Callable[..., PseudoTerminal], tmp_path: Path, statement: str, answered: bool
) -> None:
    errors = tmp_path / "errors.txt"
    screen = terminal("run", "work.py", "--tui", "--db", "x.duckdb", "--grace", "1", errors=errors)
    screen.shows("RUNNING")
    with subprocess.Popen(
        [sys.executable, "-c", ASKING, statement], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == b"asking\n"
            if answered:
                assert client.stdout.readline().startswith(b"answered")
            else:
                time.sleep(2.0)  # it is not to be seen from outside that a statement without rows runs
            place = screen.press("q")
            screen.shows("Drain and stop", place)
            screen.press("y")
            assert screen.exit_code() == 3
        finally:
            client.kill()
    # DuckDB's bindings complain of every object that is in use when Python takes its modules apart.
    assert errors.read_text() == ""
    assert b"nanobind" not in screen.output
