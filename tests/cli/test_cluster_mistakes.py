"""Clusters that are not there: one line that says what to do, exit code 2, and nothing left behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.command_line import CommandLine

RUN = ("run", "ok.py", "--headless", "--quiet", "--db", "x.duckdb", "--backend")
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
    command = ("run", "ask.py", "--input", "range:3", "--headless", "--backend", "dask:tcp://192.0.2.1:8786")
    done = cli(*command, cwd=here)
    assert done.code == 2
    assert "secret parameters would go to another machine unencrypted; use dask:tls://" in done.complaint


def test_without_dask_it_says_what_to_install(cli: CommandLine, here: Path) -> None:
    (here / "distributed.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    done = cli(*RUN, "dask:local:1", cwd=here, env={"PYTHONPATH": str(here)})
    assert done.code == 2
    assert "Dask is not installed" in done.complaint and "pip install 'tui-runner[dask]'" in done.complaint
