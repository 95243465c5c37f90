"""Runs on a Dask cluster of this machine while parts of it are killed: each row once, no innocent item failed.

One fault of each kind by default; `TIMES=10 pytest -n 0 -m slow tests/faults/test_dask.py` does ten, and with
`SILENCE=45 -k stop_a_dask_worker` a Dask worker is stopped for 60 s.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.dask_cluster import Cluster
from support.waiting import WAIT_SECONDS, eventually

from tui_runner.engine.backends import remote

pytest.importorskip("distributed")

TIMES = int(os.environ.get("TIMES", "1"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
ITEMS = 800
SILENCE = float(os.environ.get("SILENCE", "4"))
"""Seconds after which a host that does not answer is given up in these tests; 45 in the program."""

JOB = """
    import time
    from tui_runner import current, job
    from rows_of_dask_job import rows

    @job(chunk_size=20, threads=8, retries=3)
    def work(n: int):
        time.sleep(0.05)
        if n % 37 == 0 and current.attempt == 1:
            raise ConnectionError("once")
        return rows(n)

    @work.items
    def numbers():
        return range(ITEMS)
"""
BESIDE = """
    def rows(n):
        return [{"n": n, "part": part} for part in range(3)]
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster; all of it is killed after the test."""
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.kill()


@pytest.fixture
def job(job_file: Callable[..., str]) -> str:
    """The job, and the module that it imports, which is nowhere but beside it."""
    job_file(BESIDE, "rows_of_dask_job.py")
    return job_file(textwrap.dedent(JOB).replace("ITEMS", str(ITEMS)))


def kill_a_dask_worker(cluster: Cluster, chance: random.Random) -> None:
    """Send SIGKILL to a Dask worker; its nanny starts another one."""
    chance.choice(cluster.dask_workers()).kill()


def kill_a_host(cluster: Cluster, chance: random.Random) -> None:
    """Send SIGKILL to the process beside a Dask worker, which continues."""
    chance.choice(cluster.hosts()).kill()


def kill_a_worker_of_ours(cluster: Cluster, chance: random.Random) -> None:
    """Send SIGKILL to one of our workers; its items are suspected, and found innocent."""
    if workers := cluster.our_workers():  # none while a host starts
        chance.choice(workers).kill()


def stop_a_dask_worker(cluster: Cluster, chance: random.Random) -> None:
    """Send SIGSTOP to a Dask worker for longer than a host may be silent."""
    process = chance.choice(cluster.dask_workers())
    process.send_signal(signal.SIGSTOP)

    def resume() -> None:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)

    threading.Timer(SILENCE + 15, resume).start()


def restart_the_cluster(cluster: Cluster, chance: random.Random) -> None:
    """Kill scheduler and workers, and start others at the same address."""
    cluster.kill()
    cluster.start()


FAULTS = [kill_a_dask_worker, kill_a_host, kill_a_worker_of_ours, stop_a_dask_worker, restart_the_cluster]


@pytest.mark.timeout(60 + 120 * TIMES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_outlives_its_hosts(
    fault: Callable[[Cluster, random.Random], None],
    cluster: Cluster,
    job: str,
    new_run: Callable[..., Any],
    rows: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "RemoteBackend", partial(remote.RemoteBackend, silence=SILENCE))
    chance = random.Random(SEED)
    for number in range(TIMES):
        database = tmp_path / f"{number}.duckdb"
        run = new_run(job, database=database, backend=f"dask:{cluster.address}", workers=2, new=True).start()
        begun = chance.randrange(1, ITEMS // 2)
        run.until(lambda snapshot, begun=begun: snapshot.items_done >= begun)
        fault(cluster, chance)
        snapshot = run.finish()
        assert snapshot.state == "finished", f"seed {SEED}: {snapshot.reason}"
        check_each_item_once(rows, database)
        eventually(lambda: not cluster.hosts(), "the end of the hosts")


@pytest.mark.timeout(60 + 120 * TIMES)
def test_a_killed_program_leaves_nothing_on_the_hosts_and_is_resumed(
    cluster: Cluster, job: str, rows: Callable[..., Any], tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    for number in range(TIMES):
        database = tmp_path / f"{number}.duckdb"
        command = [sys.executable, "-m", "tui_runner", "run", job, "--headless", "--quiet", "--db", str(database)]
        command += ["--backend", f"dask:{cluster.address}", "--workers", "2"]
        first = psutil.Popen(command, cwd=tmp_path)
        eventually(lambda: len(cluster.our_workers()) >= 2, "the start of the workers")
        with contextlib.suppress(psutil.TimeoutExpired):
            first.wait(chance.uniform(0.5, 4.0))
        first.kill()
        first.wait()
        eventually(lambda: not cluster.hosts() and not cluster.our_workers(), "the end of the hosts")
        assert subprocess.run(command, cwd=tmp_path, timeout=WAIT_SECONDS).returncode == 0
        check_each_item_once(rows, database)


def check_each_item_once(rows: Callable[..., Any], database: Path) -> None:
    """Assert that all items of the newest run have succeeded, with three rows each, once."""
    newest = "(SELECT max(run_id) FROM runner.runs)"
    assert rows(
        f"SELECT count(*), count(DISTINCT (n, part)), count(DISTINCT _item) FROM work WHERE _run = {newest}", database
    ) == [(3 * ITEMS, 3 * ITEMS, ITEMS)]
    assert rows(
        f"SELECT state, count(*), count(DISTINCT item) FROM runner.items WHERE run_id = {newest} GROUP BY 1", database
    ) == [("ok", ITEMS, ITEMS)]
