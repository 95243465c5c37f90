"""Ctrl-C while the program loads: its exit code, one line at most, and never a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Interrupts itself when a module begins to load, as a Ctrl-C would at that moment.
PROGRAM = """
    import os, signal, sys, time

    at = sys.argv[1]

    class Interrupts:
        def find_spec(self, name, path=None, target=None):
            if name == at:
                sys.meta_path.remove(self)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
            return None

    sys.meta_path.insert(0, Interrupts())
    sys.argv = ["tui-runner", *sys.argv[2:]]
    from tui_runner.cli.entry import main
    main()
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("typer", ["--version"]),
        ("tui_runner.cli.options", ["runs", "x.duckdb"]),
        ("tui_runner.system.fork_server", ["run", "job.py"]),
        ("pyarrow.compute", ["run", "job.py"]),
        ("tui_runner.engine.planning.request", ["run", "job.py"]),
        ("duckdb", ["query", "x.duckdb", "SELECT 1"]),
        ("tui_runner.cli.doctor", ["doctor"]),
    ],
)
def test_an_interrupt_while_something_loads_ends_the_program_with_130(
    tmp_path: Path, module: str, arguments: list[str]
) -> None:
    (tmp_path / "job.py").write_text("def job(number):\n    return number\n")
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), module, *arguments]
    ended = subprocess.run(
        program, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # processes of the test runner may ignore it
    )  # fmt: skip
    assert ended.returncode == 130, ended.stderr
    assert len(ended.stderr.splitlines()) <= 1
    assert not list(tmp_path.glob("*.duckdb*"))


def test_an_interrupt_that_is_ignored_stays_so(tmp_path: Path) -> None:
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), "typer", "--version"]
    ended = subprocess.run(
        program, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("tui-runner ")


def test_the_package_loads_nothing_before_the_program_has_begun() -> None:
    loaded = (
        "import sys; before = set(sys.modules); import tui_runner.cli.entry; print(sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60, check=True).stdout
    assert set(eval(out)) == {
        "__future__", "tui_runner", "tui_runner._version", "tui_runner.cli", "tui_runner.cli.entry",
    }  # fmt: skip
