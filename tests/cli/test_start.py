"""Modules that a run loads, by process; start and end of the server of its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.command_line import ROOT
from support.waiting import eventually

pytest.importorskip("pandas")

Rows = Callable[..., list[tuple[Any, ...]]]

COMMAND = [sys.executable, "-m", "tui_runner"]

LOADED = """
    import gc, os, sys
    from tui_runner import job

    def loaded():
        return sorted({"pandas", "duckdb", "httpx", "textual", "polars"}.intersection(sys.modules))

    def seldom(objects):
        # Garbage is looked for, but not as often as by default.
        return gc.isenabled() and gc.get_threshold()[0] == objects

    @job(threads=1)
    def look(item: dict):
        import pyarrow
        variable = str(os.environ.get("ARROW_DEFAULT_MEMORY_POOL"))
        pool = pyarrow.default_memory_pool().backend_name
        garbage = item["garbage"] and seldom(100_000)
        return {"app": item["app"], "worker": loaded(), "pool": pool, "variable": variable, "garbage": garbage}

    @look.items
    def looks():
        yield {"app": loaded(), "garbage": seldom(10_000)}
        yield {"app": loaded(), "garbage": seldom(10_000)}
"""

FRAMES = """
    from tui_runner import job

    def short_plural():
        # Arrow knows what is missing in a column of pandas, and only there.
        import numpy, pandas, pyarrow
        return pyarrow.array(pandas.Series([1.0, numpy.nan])).null_count

    @job(threads=2)
    def frames(item: dict):
        import pandas
        frame = pandas.DataFrame({"n": [item["n"], None], "when": pandas.Timestamp("2026-01-02"), "kind": ["a", "b"]})
        frame["kind"] = frame["kind"].astype("category")
        frame["app"], frame["worker"] = item["counted"], short_plural()
        return frame

    @frames.items
    def numbers():
        for n in range(3):
            yield {"n": n, "counted": short_plural()}
"""

SLOW = """
    import time
    from pathlib import Path
    from tui_runner import job

    @job(threads=1)
    def slow(n: int):
        Path("started").touch()
        time.sleep(600)

    @slow.items
    def numbers():
        return range(2)
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def started(job: str, folder: Path, temporary: Path, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
    """Start a run of `job` in a new process; other tests fork one that has loaded everything."""
    (folder / "work.py").write_text(textwrap.dedent(job))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)} | environ
    command = [*COMMAND, "run", "work.py", "--db", "x.duckdb", "--headless", "--quiet", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_nothing_that_a_run_does_not_use_is_loaded_in_the_program_or_in_workers(
    tmp_path: Path, temporary: Path, rows: Rows
) -> None:
    program = started(LOADED, tmp_path, temporary)
    assert program.communicate(timeout=60) == (b"", b"")
    assert program.returncode == 0
    assert rows("SELECT DISTINCT app, worker FROM look") == [('["duckdb"]', "[]")]
    assert rows("SELECT DISTINCT garbage FROM look") == [(True,)]  # which is looked for again once all is loaded


@pytest.mark.parametrize(("given", "pool"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_arrow_uses_the_allocator_of_the_system_unless_the_user_wants_another(
    tmp_path: Path, temporary: Path, rows: Rows, given: str | None, pool: str
) -> None:
    environ = {} if given is None else {"ARROW_DEFAULT_MEMORY_POOL": given}
    program = started(LOADED, tmp_path, temporary, **environ)
    assert program.communicate(timeout=60) == (b"", b"")
    assert rows("SELECT DISTINCT pool, variable FROM look") == [(pool, str(given))]


def test_pandas_is_known_to_arrow_once_a_job_imports_it(tmp_path: Path, temporary: Path, rows: Rows) -> None:
    program = started(FRAMES, tmp_path, temporary)
    assert program.communicate(timeout=60) == (b"", b"")
    day = """CAST("when" AS DATE) = '2026-01-02'"""
    found = rows(f"SELECT n, kind, app, worker, {day} FROM frames ORDER BY _item, kind")
    assert found == [row for n in range(3) for row in ((n, "a", 1, 1, True), (None, "b", 1, 1, True))]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the server is a new interpreter")
@pytest.mark.parametrize("ends_by", ["SIGINT", "SIGKILL"])
def test_the_server_of_workers_is_the_programs_own_child_and_ends_with_it(
    tmp_path: Path, temporary: Path, ends_by: str
) -> None:
    program = started(SLOW, tmp_path, temporary, "--grace", "0.1")
    try:
        eventually(lambda: (tmp_path / "started").exists(), "an item")
        family = psutil.Process(program.pid).children(recursive=True)
        assert len({process.ppid() for process in family}) == 2  # the program, and the server with its worker
        program.send_signal(getattr(signal, ends_by))
        program.communicate(timeout=30)
        eventually(lambda: not any(map(psutil.Process.is_running, family)), "the end of all processes")
        eventually(lambda: not [*temporary.glob("tui-runner-*/*")], "the end of the private folder")
    finally:
        program.kill()


@pytest.mark.parametrize("arguments", [["run", "nowhere.py"], ["run"], ["resume", "nowhere.duckdb"]])
def test_a_mistake_leaves_no_server_behind(tmp_path: Path, temporary: Path, arguments: list[str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (2, 4)
    assert len(done.stderr.splitlines()) == 1
    eventually(lambda: not [*temporary.glob("tui-runner-*/*")], "the end of the private folder")

    def of_the_command() -> list[psutil.Process]:
        found = psutil.process_iter(["environ"])
        return [each for each in found if (each.info["environ"] or {}).get("TMPDIR") == str(temporary)]

    eventually(lambda: not of_the_command(), "the end of all processes")


def test_workers_find_the_folder_and_the_modules_of_the_run(tmp_path: Path, temporary: Path, rows: Rows) -> None:
    """Check that a resumed run has the folder in which it began, although this process has changed to another one."""
    job = """
        import os
        from tui_runner import job
        from beside import NAME

        @job(threads=1, retries=0)
        def where(n: int):
            if not os.path.exists("again"):
                raise ValueError("not yet")
            return {"folder": os.getcwd(), "name": NAME}

        @where.items
        def numbers():
            return range(2)
    """
    (tmp_path / "beside.py").write_text("NAME = 'found'\n")
    first = started(job, tmp_path, temporary)
    first.communicate(timeout=60)
    assert first.returncode == 1
    (tmp_path / "again").touch()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    command = [*COMMAND, "retry", str(tmp_path / "x.duckdb"), "--headless", "--quiet", "--yes"]
    second = subprocess.run(command, cwd=temporary, env=environment, capture_output=True, timeout=60)
    assert second.returncode == 0, second.stderr
    assert rows('SELECT DISTINCT folder, name FROM "where"') == [(str(tmp_path), "found")]


def test_a_worker_can_start_processes_of_its_own(tmp_path: Path, temporary: Path, rows: Rows) -> None:
    """Locks and queues that the server held when it forked are free in workers."""
    job = """
        import multiprocessing.forkserver, sys
        from tui_runner import job
        from tui_runner.system.fork_server import prepare_child_start

        @job(threads=1, retries=0, timeout=20)
        def starts(n: int):
            with prepare_child_start():
                return {"preloads": str(multiprocessing.forkserver._forkserver._preload_modules)}

        @starts.items
        def numbers():
            return range(1)
    """
    program = started(job, tmp_path, temporary)
    assert program.communicate(timeout=60) == (b"", b"")
    assert rows("SELECT preloads FROM starts") == [("['__main__']",)]
