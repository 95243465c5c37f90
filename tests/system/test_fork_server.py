"""The fork server that workers come from, when something is wrong where it starts."""

from __future__ import annotations

import errno
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine

from tui_runner.cli import main as command_line
from tui_runner.engine.backends import process
from tui_runner.engine.protocol import WorkerConfig

Rows = Callable[..., list[tuple[Any, ...]]]

JOB = """
    import os
    from tui_runner import job

    @job
    def safe(n: int):
        return {"path": str(os.environ.get("PYTHONSAFEPATH"))}

    @safe.items
    def numbers():
        return range(3)
"""


def test_a_neighbour_called_like_a_standard_module_breaks_no_worker(
    cli: CommandLine, tmp_path: Path, rows: Rows
) -> None:
    (tmp_path / "safe.py").write_text(textwrap.dedent(JOB))
    for name in ("types", "socket", "enum"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not the one you look for')\n")
    done = cli("run", "safe.py", "--db", "x.duckdb", "--quiet", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert rows("SELECT DISTINCT path FROM safe") == [("None",)]


def test_workers_are_spawned_when_the_fork_server_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def begin(context: Any, config: object, deliver: object) -> Any:
        begun.append(context.get_start_method())
        if begun[-1] == "forkserver":
            raise EOFError
        return object()

    monkeypatch.setattr(process, "_WorkerProcess", begin)
    config: WorkerConfig = type("Config", (), {"worker": 1})()
    process.ProcessBackend(lambda report: None).start_worker(config)
    assert begun == ["forkserver", "spawn"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "resource temporarily unavailable"),
        (EOFError(), "EOFError"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
    ],
    ids=["process", "pipe", "thread"],
)
def test_a_run_whose_workers_cannot_start_has_not_begun(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: Exception,
    reason: str,
) -> None:
    def begin(*_: object) -> Any:
        raise error

    monkeypatch.setattr(process, "_WorkerProcess", begin)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "safe.py").write_text(textwrap.dedent(JOB))
    with pytest.raises(SystemExit) as ended:
        command_line.main(["run", "safe.py", "--db", "x.duckdb", "--headless"])
    assert ended.value.code == 2
    why = f"5 workers in a row were lost before they could take items, the last one could not be started ({reason})"
    assert capfd.readouterr().err == f"tui-runner: safe run 1 could not begin: {why}\n"
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__", "x.duckdb.log"} == {"safe.py"}


def test_the_end_of_a_file_is_no_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(*_: object, **__: object) -> int:
        raise EOFError

    monkeypatch.setattr("tui_runner.cli.doctor.examine", end)
    with pytest.raises(SystemExit) as ended:
        command_line.main(["doctor"])
    assert ended.value.code == command_line.EXIT_FAULT
    assert "a fault of tui-runner's own, please report it: EOFError" in capsys.readouterr().err
