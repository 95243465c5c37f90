"""A cluster on this machine for one run."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.waiting import eventually

import tui_runner
from tui_runner.errors import UserError

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


def test_memory_of_a_local_cluster_is_that_of_workers(here: Path) -> None:
    gate = here / "OPEN"
    source = f"""
        import pathlib
        import time
        from tui_runner import job

        @job
        def large(n: int):
            while not pathlib.Path("{gate}").exists():
                time.sleep(0.01)
            return n

        @large.setup
        def take_memory():
            global BALLAST
            BALLAST = bytearray(b"x") * 500_000_000
    """
    (here / "large.py").write_text(textwrap.dedent(source), encoding="utf-8")
    command = [sys.executable, "-m", "tui_runner", "run", "large.py", "--input", "range:0:5", "--headless", "--quiet"]
    process = psutil.Popen([*command, "--db", "x.duckdb", "--backend", "dask:local:1"], cwd=here)

    def measured() -> dict[str, int] | None:
        try:
            samples = (
                tui_runner.connect(here / "x.duckdb").sql("SELECT app_rss, workers_rss FROM runner.samples").rows()
            )
        except UserError:  # it has yet to be made
            return None
        return next((row for row in samples if row["workers_rss"] > 500_000_000), None)

    try:
        found = eventually(measured, "a sample with the memory of the worker")
        assert found["app_rss"] < 500_000_000
        assert found["workers_rss"] < 1_000_000_000, "it is counted twice"
        gate.touch()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
