"""A cluster on this machine for one run."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.waiting import eventually

pytest.importorskip("distributed")


def is_alive(process: psutil.Process) -> bool:
    """Return True if a process runs; where the first process of a container reaps none, they stay as zombies."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_run_has_a_cluster_of_its_own_and_leaves_nothing_of_it(here: Path, rows: Callable[..., Any]) -> None:
    before = set(here.iterdir())
    command = [sys.executable, "-m", "tui_runner", "run", "ok.py", "--input", "range:0:50", "--headless", "--quiet"]
    with socket.socket() as taken:  # the port that Dask likes best
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        except OSError:
            pass  # it is taken already
        command += ["--db", "x.duckdb", "--backend", "dask:local:2"]
        process = psutil.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        everything: set[psutil.Process] = set()

        def ended() -> bool:
            everything.update(process.children(recursive=True) if process.is_running() else ())
            return process.poll() is not None

        eventually(ended, "the end of the run")
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, b"", b"")
    assert len(everything) > 4, "two Dask workers with a host each"
    eventually(lambda: not [each for each in everything if is_alive(each)], "the end of the last process")
    assert {path.name for path in set(here.iterdir()) - before} == {"x.duckdb", "x.duckdb.log"}
    assert rows("SELECT count(*), count(DISTINCT _item) FROM ok", here / "x.duckdb") == [(50, 50)]
    assert rows("SELECT count(*) FROM runner.chunks WHERE host NOT LIKE '%127.0.0.1%'", here / "x.duckdb") == [(0,)]
