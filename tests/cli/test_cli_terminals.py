"""Terminals and pipes: a progress line stays on its line, and a run outlives a reader that stops."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from support.cli_jobs import COMMAND, INLINE, Stopped, write
from support.command_line import ROOT, CommandLine
from support.pseudo_terminal import PseudoTerminal

pytestmark = pytest.mark.slow


def test_a_reader_that_closes_a_pipe_causes_no_error(cli: CommandLine, here: Path) -> None:
    assert cli("run", "ok.py", "--quiet", *INLINE, cwd=here).code == 0

    def status(command: str) -> tuple[str, str]:
        script = f"{' '.join(COMMAND)} {command}; echo ${{PIPESTATUS[0]}} >&2"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=here,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout, done.stderr

    assert status("query ok.duckdb 'SELECT * FROM range(100000)' | head -1") == ("range\n", "0\n")
    assert status("query ok.duckdb 'SELECT 1' > /dev/full") == (
        "",
        "tui-runner: the output cannot be written: No space left on device\n2\n",
    )
    # A run continues to its end when its reader is gone.
    assert status("run ok.py --new --json --set last=2000 --chunk-size 500 | head -0") == ("", "making items\n0\n")
    assert cli("query", "ok.duckdb", "SELECT max(items_total) FROM runner.runs", cwd=here).out.endswith("\n2000\n")
    # Nor does the line that names the job end one that is resumed.
    write(here, "mute.py", "def mute(n):\n    return n\n")
    run = ("run", "mute.py:mute", "--input", "range:0:9", "--db", "mute.duckdb", "--quiet", *INLINE)
    assert cli(*run, cwd=here).code == 0
    with duckdb.connect(str(here / "mute.duckdb")) as ledger:
        ledger.execute("UPDATE runner.runs SET state = 'stopped'")
    assert status("resume mute.duckdb 2>&1 | head -0") == ("", "0\n")
    assert "finished" in cli("runs", "mute.duckdb", cwd=here).out


def test_terminal_without_a_screen_is_told_why_it_shows_the_help(tmp_path: Path) -> None:
    terminal = PseudoTerminal([], tmp_path, program=("env", "TERM=dumb", *COMMAND))
    try:
        assert terminal.exit_code() == 0
        first, _, usage, *_ = terminal.text().splitlines()
        assert (
            first == "tui-runner: the launcher needs a terminal that shows a screen, but TERM is dumb; this is the help"
        )
        assert usage.startswith("Usage: ")
    finally:
        terminal.close()


def test_on_a_terminal_the_progress_line_stays_on_its_line(tmp_path: Path) -> None:
    run = Stopped(tmp_path)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    process = run.start("run", "waiting.py", "--headless", "--grace", 0.1, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    read = _until(ours, b"5/20")
    process.send_signal(signal.SIGINT)
    read += _until(ours, None)
    assert process.wait(60) == 3
    text = read.decode()
    assert "\x1b[3" not in text  # no colour
    lines = text.split("\r\n")
    for line in lines:
        *overwritten, stays = line.split("\r")
        for each in overwritten:
            assert len(each.replace("\x1b[K", "")) < 40
        if overwritten:
            assert stays.startswith("\x1b[K")
    assert lines[-1] == ""
    # The terminal is too narrow for it: the command has a line of its own, so that it can be copied.
    assert lines[-3:-1] == ["resume:", "    tui-runner resume waiting.duckdb 1"]


# --- a job from elsewhere ----------------------------------------------------------------------------------------


@pytest.fixture
def question(cli: CommandLine, tmp_path: Path) -> Iterator[PseudoTerminal]:
    """A terminal at which it is asked whether `far/job.py` may run."""
    for name in ("here", "far"):
        (tmp_path / name).mkdir()
    source = "from pathlib import Path\nPath(__file__).with_name('executed').touch()\ndef work(n):\n    return n\n"
    write(tmp_path / "far", "job.py", source)
    run = ("run", "../far/job.py:work", "--input", "range:0:3", "--db", "x.duckdb", "--quiet", *INLINE)
    assert cli(*run, cwd=tmp_path / "here").code == 0
    (tmp_path / "far" / "executed").unlink()
    with duckdb.connect(str(tmp_path / "here" / "x.duckdb")) as ledger:
        ledger.execute("UPDATE runner.runs SET state = 'stopped'")
    terminal = PseudoTerminal(["resume", "x.duckdb", "--headless", "--quiet"], tmp_path / "here")
    try:
        terminal.shows("Run it? [y/N] ")
        asked = terminal.text().splitlines()
        assert asked[0] == f"job: {tmp_path.resolve()}/far/job.py:work"
        assert asked[1].startswith("Asked because its file is outside ") and asked[-1].startswith("Run it?")
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize("answer", ["y\n", " YES \n"])
def test_a_job_from_elsewhere_runs_after_a_yes(question: PseudoTerminal, tmp_path: Path, answer: str) -> None:
    question.press(answer)
    assert question.exit_code() == 0
    assert (tmp_path / "far" / "executed").exists()


@pytest.mark.parametrize("answer", ["n\n", "\n", "yes, please\n", "\x04"], ids=["no", "nothing", "else", "end"])
def test_a_job_from_elsewhere_does_not_run_after_any_other_answer(
    question: PseudoTerminal, tmp_path: Path, answer: str
) -> None:
    since = question.press(answer)
    assert question.exit_code() == 2
    told = " ".join(question.text(since).split())
    job = f"{tmp_path.resolve()}/far/job.py:work"
    assert told.endswith(
        f"tui-runner: {job}: not run, because the answer was not yes; look at the file, then add --yes"
    )
    assert not (tmp_path / "far" / "executed").exists()


def test_an_interrupt_at_the_question_ends_the_program(question: PseudoTerminal, tmp_path: Path) -> None:
    question.process.send_signal(signal.SIGINT)
    assert question.exit_code() == 130
    assert question.text().splitlines()[-1].endswith("tui-runner: interrupted")
    assert not (tmp_path / "far" / "executed").exists()


def _until(descriptor: int, sign: bytes | None) -> bytes:
    """Read from a terminal until `sign` has come, or to its end."""
    read = b""
    try:
        while sign is None or sign not in read:
            part = os.read(descriptor, 65536)
            if not part:
                break
            read += part
    except OSError:  # how the end of a terminal shows
        os.close(descriptor)
    return read
