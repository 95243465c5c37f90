"""Clusters that are not there: one line that says what to do, exit code 2, and nothing left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import ROOT, CommandLine

RUN = ("run", "ok.py", "--input", "range:0:5", "--headless", "--quiet", "--db", "x.duckdb", "--backend")
SECRET = """
    from tui_runner import Secret, job

    @job
    def ask(n: int, *, token: Secret = Secret("hunter22")):
        return n
"""


@pytest.mark.parametrize(
    ("backend", "complaint"),
    [
        ("dask:tcp://127.0.0.1:1", r"dask:tcp://127\.0\.0\.1:1: no Dask scheduler answers .* check the address"),
        ("dask:nowhere.json", "dask:nowhere.json: there is no such file; give the scheduler file"),
        ("dask:local:none", "none is no number of workers; say dask:local:2"),
        ("dask:no address", "is not a backend: process, inline or dask:ADDRESS"),
    ],
)
def test_a_cluster_that_is_not_there(cli: CommandLine, here: Path, backend: str, complaint: str) -> None:
    before = set(here.iterdir())
    done = cli(*RUN, backend, cwd=here)
    assert done.code == 2
    assert re.search(complaint, done.complaint), done.err
    assert set(here.iterdir()) == before


def test_secrets_are_not_sent_unencrypted(cli: CommandLine, here: Path) -> None:
    (here / "ask.py").write_text(re.sub(r"^    ", "", SECRET, flags=re.M), encoding="utf-8")
    command = ("run", "ask.py", "--input", "range:0:3", "--headless", "--backend", "dask:tcp://192.0.2.1:8786")
    done = cli(*command, cwd=here)
    assert done.code == 2
    assert "secret parameters would go to another machine unencrypted; use dask:tls://" in done.complaint


def test_without_dask_it_says_what_to_install(here: Path) -> None:
    fake = here / "fake"
    fake.mkdir()
    (fake / "distributed.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(fake), str(ROOT)])}
    command = [sys.executable, "-m", "tui_runner", *RUN, "dask:local:1"]
    done = subprocess.run(command, cwd=here, env=environ, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "tui-runner: --backend dask:local:1: Dask is not installed; pip install 'tui-runner[dask]'\n"
