"""Commands that execute code of a folder or a database, and those that never do.

There is a test for each row of the table in docs/security.md.

Each command is started as its console script starts it, in a folder full of files that others may have put there, on a
database that lies among more of them. Whatever is executed leaves a mark.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from support.cli_jobs import INLINE, write
from support.command_line import ROOT, CommandLine
from support.pseudo_terminal import PseudoTerminal

pytestmark = pytest.mark.slow

JOB = """
    {mark}
    from tui_runner import job

    @job
    def planted(n: int):
        assert n
        return n

    @planted.items
    def items():
        return range(3)
"""
AT_START = ("sitecustomize.py", "usercustomize.py", "planted.pth")
"""Python executes files with these names when it starts, from some folders."""
ALIKE = ("duckdb.py", "queue.py", "socket.py", "typer.py", "textual.py", "tui_runner.py", "build_backend.py")
"""These have the names of modules that the program imports, of the program itself, and of what builds packages."""
PROJECT = """
[build-system]
requires = []
build-backend = "build_backend"
backend-path = ["."]

[tool.tui-runner]
threads = 2
"""


@dataclass(frozen=True)
class Planted:
    """Two folders with planted files: `here` is the current one, the database is in `data`."""

    here: Path
    data: Path
    marks: Path
    program: tuple[str, ...]

    def run(self, *arguments: str) -> int:
        """Run a command in `here`; the exit code."""
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([*self.program, *arguments], cwd=self.here, env=environ, capture_output=True, timeout=60)
        return done.returncode

    @property
    def executed(self) -> set[str]:
        """The files that were executed, as `folder/name`."""
        return {path.name.replace("-", "/", 1) for path in self.marks.iterdir()}


@pytest.fixture
def planted(cli: CommandLine, tmp_path: Path) -> Planted:
    here, data, marks = tmp_path / "here", tmp_path / "data", tmp_path / "marks"
    for folder in (here, data, marks, tmp_path / "bin"):
        folder.mkdir()

    def mark(path: Path) -> str:
        return f"open({str(marks / f'{path.parent.name}-{path.name}')!r}, 'w').close()"

    for folder in (here, data):
        write(folder, "planted.py", JOB.format(mark=""))
        assert cli("run", "planted.py", "--quiet", *INLINE, cwd=folder).code == 1
        write(folder, "planted.py", JOB.format(mark=mark(folder / "planted.py")))
        for name in (*AT_START, *ALIKE):
            (folder / name).write_text(f"import os; {mark(folder / name)}\n")
        (folder / "pyproject.toml").write_text(PROJECT)
    # What an installed package has for `tui-runner`.
    script = tmp_path / "bin" / "tui-runner"
    script.write_text("from tui_runner.cli.main import main\nmain()\n")
    return Planted(here, data, marks, (sys.executable, str(script)))


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "../data/planted.duckdb"),
        ("errors", "../data/planted.duckdb", "--traceback"),
        ("query", "../data/planted.duckdb", "FROM planted"),
        ("export", "../data/planted.duckdb", "planted", "-o", "out.csv"),
        ("--help",),
        ("samples",),
        ("doctor",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_command_that_looks_executes_nothing(planted: Planted, arguments: tuple[str, ...]) -> None:
    assert planted.run(*arguments) == 0
    assert planted.executed == set()


@pytest.fixture
def terminal(planted: Planted, request: pytest.FixtureRequest) -> Iterator[PseudoTerminal]:
    opened = PseudoTerminal(request.param, planted.here, program=planted.program)
    yield opened
    opened.close()


@pytest.mark.parametrize("terminal", [["open", "../data/planted.duckdb"]], indirect=True)
def test_the_query_screen_executes_nothing(planted: Planted, terminal: PseudoTerminal) -> None:
    terminal.shows("_item")  # the catalog has been read
    terminal.press("\x1b[17~")  # F6: from the editor to the result
    terminal.until(lambda: terminal.press("q") and terminal.process.poll() is not None, "end")
    assert (terminal.exit_code(), planted.executed) == (0, set())


@pytest.mark.parametrize("terminal", [[]], indirect=True)
def test_the_search_of_the_launcher_executes_nothing(planted: Planted, terminal: PseudoTerminal) -> None:
    terminal.shows("planted.duckdb")  # jobs and databases have been looked into
    terminal.press("q")
    assert (terminal.exit_code(), planted.executed) == (0, set())


@pytest.mark.parametrize(
    ("arguments", "job"),
    [
        (("run", "planted.py", "--new"), "here/planted.py"),
        (("try", "planted.py"), "here/planted.py"),
        (("resume", "../data/planted.duckdb"), "data/planted.py"),
        (("retry", "../data/planted.duckdb"), "data/planted.py"),
    ],
    ids=["run", "try", "resume", "retry"],
)
def test_a_command_that_runs_a_job_executes_its_file(planted: Planted, arguments: tuple[str, ...], job: str) -> None:
    if arguments[0] == "resume":
        with duckdb.connect(str(planted.data / "planted.duckdb")) as ledger:
            ledger.execute("UPDATE runner.runs SET state = 'stopped'")
    assert planted.run(*arguments) == 1  # one item fails
    assert planted.executed == {job}


def test_a_sample_is_resumed_unasked_and_executes_nothing_of_the_folder_it_began_in(planted: Planted) -> None:
    begun = ("run", "flaky", "--limit", "3", "--set", "seconds=0", "--db", "../data/sample.duckdb")
    assert planted.run(*begun) == 0
    with duckdb.connect(str(planted.data / "sample.duckdb")) as ledger:
        ledger.execute("UPDATE runner.runs SET state = 'stopped', items_total = NULL")
        ledger.execute("UPDATE runner.runs SET settings = json_merge_patch(settings, '{\"limit\": 6}')")
    # Its workers are started in that folder, where modules are called like those that Python needs for it.
    assert planted.run("resume", "../data/sample.duckdb") == 0
    with duckdb.connect(str(planted.data / "sample.duckdb")) as results:
        assert results.execute("SELECT count(*) FROM flaky").fetchone() == (6,)
    assert planted.executed == set()
