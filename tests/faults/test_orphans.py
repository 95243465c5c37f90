"""Workers end with the program, however it ends, and leave no files."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.waiting import WAIT_SECONDS, eventually

JOB = """
    import ctypes, os, time
    from pathlib import Path
    from tui_runner import job

    @job(threads=2, retries=0)
    def work(n: int):
        while not n and not Path("started-1").exists():
            time.sleep(0.01)
        Path(f"started-{n}").touch()
        if n or "pause" not in os.environ:
            time.sleep(600)
        ctypes.PyDLL(None).pause()  # holds the interpreter, so no thread of the worker can notice anything

    @work.items
    def numbers():
        return range(2)
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_a_worker_that_is_stuck_ends_with_the_program(tmp_path: Path, temporary: Path, ending: signal.Signals) -> None:
    (tmp_path / "work.py").write_text(textwrap.dedent(JOB), encoding="utf-8")
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "TMPDIR": str(temporary)}
    if ending is signal.SIGKILL:
        environment["pause"] = "1"
    arguments = ["run", "work.py", "--headless", "--quiet", "--db", "x.duckdb", "--grace", "0.1"]
    with (tmp_path / "errors").open("wb") as errors:
        program = psutil.Popen(
            [sys.executable, "-m", "tui_runner", *arguments], cwd=tmp_path, stderr=errors, env=environment
        )
    try:
        eventually(lambda: (tmp_path / "started-0").exists() and (tmp_path / "started-1").exists(), "both items")
        family = program.children(recursive=True)
        assert family
        program.send_signal(ending)
        code = program.wait(WAIT_SECONDS)
        assert code == (3 if ending is signal.SIGINT else -ending)
        eventually(lambda: not any(_lives(process) for process in family), "the end of the workers")
    finally:
        if program.is_running():
            program.kill()
    # Of a program that was killed the server of its workers takes them away.
    eventually(lambda: not any(temporary.iterdir()), "the end of its temporary files")
    databases = {"x.duckdb", "x.duckdb.wal", "x.duckdb.lock", "x.duckdb.log"}
    left = {path.name for path in tmp_path.iterdir()} - databases
    assert left <= {"work.py", "__pycache__", "errors", "started-0", "started-1"}


def _lives(process: psutil.Process) -> bool:
    try:
        alive: bool = process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return alive
