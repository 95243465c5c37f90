"""Jobs for tests of the command line, and the program as a process beside the test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from support.command_line import ROOT
from support.waiting import eventually

COMMAND = [sys.executable, "-m", "tui_runner"]
INLINE = ("--backend", "inline")
"""Options for a run in the process of the command: starting a worker takes a second, and most tests need none."""

OK = """
    from tui_runner import job

    @job(threads=2, chunk_size=2)
    def ok(number, *, factor: int = 2):
        return {"product": number * factor}

    @ok.items
    def numbers(*, last: int = 5):
        print("making items")
        return range(last)
"""

WAITING = """
    import threading
    from pathlib import Path
    from tui_runner import job

    @job(threads=3, chunk_size=10)
    def waiting(number, *, free: int = 5):
        if number >= free and not Path("go").exists():
            Path(f"started-{number}").touch()
            threading.Event().wait()
        return {"number": number}

    @waiting.items
    def numbers(*, last: int = 20):
        return range(last)
"""


def write(folder: Path, name: str, source: str) -> None:
    (folder / name).write_text(textwrap.dedent(source))


def files(folder: Path) -> dict[str, bytes]:
    """Every file and what is in it, so that a test sees any change."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def start(folder: Path, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Return a `tui-runner` process that runs beside the test."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    )


class Stopped:
    """Runs `waiting.py` until its items wait, sends signals, and says how it ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write(folder, "waiting.py", WAITING)

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        """Start it, and wait until three items are in flight."""
        for path in self.folder.glob("started-*"):
            path.unlink()
        process = start(self.folder, *arguments, **options)
        eventually(lambda: len(list(self.folder.glob("started-*"))) == 3 or process.poll() is not None, "the start")
        assert process.poll() is None, process.communicate()
        return process

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, list[str]]:
        """Return its exit code and its lines on standard error."""
        out, err = process.communicate(timeout=60)
        assert out == ""
        assert not (self.folder / "waiting.duckdb.lock").exists()
        return process.returncode, err.splitlines()


SECRET = "open-sesame"

NATIVE = """
    import os, subprocess
    from tui_runner import Secret, job

    def tell(where, secret):
        os.write(1, f"\\x1b]52;c;eA==\\x07{where} writes {secret}\\n".encode())
        os.system(f"printf '{where} starts \\033[2J {secret}\\n' >&2")
        print(f"{where} prints \\x1b[2J {secret}")

    tell("module", os.environ["TUI_RUNNER_SET_TOKEN"])

    @job(threads=1)
    def native(number, *, token: Secret):
        tell("item", token)
        return {"number": number}

    @native.setup
    def begin(*, token: Secret):
        tell("setup", token)

    @native.teardown
    def end(*, token: Secret):
        tell("teardown", token)
        # It outlives the item, the run and tui-runner.
        subprocess.Popen(["sh", "-c", "read forever"], stdin=subprocess.PIPE)

    @native.items
    def numbers(*, token: Secret):
        tell("items", token)

        def made():
            tell("generator", token)
            yield 1

        return made()
"""
"""Writes escape sequences and its secret past Python, wherever a job can; it needs TUI_RUNNER_SET_TOKEN."""


def native_lines(*places: str, ways: tuple[str, ...] = ("writes", "starts")) -> list[str]:
    """Return the lines that `NATIVE` writes at these places, sorted."""
    forms = {"writes": "␛]52;c;eA==␇{} writes ***", "starts": "{} starts ␛[2J ***", "prints": "{} prints ␛[2J ***"}
    return sorted(forms[way].format(place) for place in places for way in ways)
