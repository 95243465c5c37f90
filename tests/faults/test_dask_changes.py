"""Runs on a Dask cluster of this machine that grows, shrinks and goes away while they run."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.cut_connection import Way
from support.dask_cluster import Cluster
from support.waiting import WAIT_SECONDS, eventually

import tui_runner
from tui_runner.engine.assembly import open_runner
from tui_runner.engine.backends import dask
from tui_runner.engine.backends.dask_courier import DaskCourier
from tui_runner.engine.planning.request import plan_run
from tui_runner.engine.planning.resume import resume_request
from tui_runner.errors import UserError

distributed = pytest.importorskip("distributed")

ITEMS = 60
MB = 1_000_000
JOB = """
    import pathlib
    import time
    from tui_runner import job

    @job(chunk_size=2, threads=4)
    def work(n: int):
        while n >= 10 and not pathlib.Path("OPEN").exists():
            time.sleep(0.01)
        return {"n": n}
"""
"""Ten items end at once; the others wait until the test opens the gate, so that nothing has to be timed."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with one worker; all of it is killed after the test."""
    cluster = Cluster(tmp_path, workers=1)
    yield cluster
    cluster.kill()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file that lets items end."""
    return tmp_path / "OPEN"


@pytest.fixture
def job(job_file: Callable[..., str], gate: Path) -> str:
    """The job."""
    return job_file(JOB.replace("OPEN", str(gate)))


@pytest.fixture
def begin(cluster: Cluster, job: str, new_run: Callable[..., Any]) -> Callable[..., Any]:
    """Starts a run on the cluster, and waits until its items wait."""

    def start(job: str = job, **options: Any) -> Any:
        options = {"input": f"range:0:{ITEMS}", "backend": f"dask:{cluster.address}", **options}
        run = new_run(job, **options).start()
        run.until(lambda snapshot: snapshot.items_done == 10 and snapshot.in_flight == 4)
        return run

    return start


def told(run: Any, text: str) -> bool:
    """Return True if an event of the run has this text."""
    return any(text in event.text for event in run.runner.snapshot().events)


def each_item_once(rows: Callable[..., Any]) -> None:
    """Assert that every item has its row, once, and none has failed."""
    assert rows("SELECT count(*), count(DISTINCT n) FROM work") == [(ITEMS, ITEMS)]
    assert rows("SELECT state, count(*) FROM runner.items GROUP BY 1") == [("ok", ITEMS)]


def test_a_run_grows_with_its_cluster(
    cluster: Cluster, gate: Path, begin: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    run = begin()
    assert (run.runner.snapshot().workers, run.runner.snapshot().machines) == (1, 1)
    cluster.add_worker()
    snapshot = run.until(lambda snapshot: snapshot.machines == 2)
    assert snapshot.workers == 2
    # The threads are divided anew; items of the first worker still have those that it had.
    run.until(lambda snapshot: snapshot.worker_views[-1].threads == 2)
    gate.touch()
    assert run.finish().state == "finished"
    each_item_once(rows)


def test_a_run_whose_workers_were_set_moves_one_to_a_machine_that_joins(
    cluster: Cluster, gate: Path, begin: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    run = begin(workers=2)
    cluster.add_worker()
    run.until(lambda snapshot: snapshot.machines == 2)
    gate.touch()
    snapshot = run.finish()
    assert (snapshot.state, snapshot.machines_lost) == ("finished", 0)
    each_item_once(rows)


def test_a_retired_machine_finishes_its_items_and_gets_no_more(
    cluster: Cluster, gate: Path, begin: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    run = begin()
    first = run.runner.snapshot().worker_views[0].host
    cluster.add_worker()
    run.until(lambda snapshot: snapshot.machines == 2)
    with distributed.Client(cluster.address, set_as_default=False) as client:
        address = next(each for each in client.scheduler_info(n_workers=-1)["workers"] if each.split("//")[1] in first)
        for _ in range(30):  # for a moment each time the Dask worker looks as if it closed
            assert not client.retire_workers([address]), "Dask retires a worker that has an actor"
        eventually(lambda: told(run, "is being retired: it finishes its items"), "the news")
        # Others take its place while its items still wait for the gate.
        run.until(lambda snapshot: [each.host != first for each in snapshot.worker_views].count(True) == 2)
        assert not told(run, "has finished and is released")
        gate.touch()
        eventually(lambda: told(run, "has finished and is released"), "the end of the host")
        assert address in client.retire_workers([address])
    snapshot = run.finish()
    assert (snapshot.state, snapshot.machines_lost) == ("finished", 0)
    each_item_once(rows)
    assert rows("SELECT max(attempts) FROM runner.items") == [(1,)], "an item was executed twice"


def test_machines_that_only_the_scheduler_can_reach_are_used_through_it(
    cluster: Cluster, gate: Path, begin: Callable[..., Any], rows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = DaskCourier._execute

    async def behind_a_firewall(courier: DaskCourier, function: str, args: tuple[Any, ...]) -> Any:
        if courier.is_direct:
            raise OSError("no route to host")
        return await execute(courier, function, args)

    monkeypatch.setattr(DaskCourier, "_execute", behind_a_firewall)
    run = begin()
    assert told(run, "is reached through the scheduler only")
    cluster.add_worker()
    run.until(lambda snapshot: snapshot.machines == 2)
    gate.touch()
    assert run.finish().state == "finished"
    each_item_once(rows)


def test_chunks_name_the_machine_that_had_them_last(
    cluster: Cluster, gate: Path, begin: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    run = begin()
    first = run.runner.snapshot().worker_views[0].host
    cluster.add_worker()
    snapshot = run.until(lambda snapshot: snapshot.machines == 2)
    second = next(view.host for view in snapshot.worker_views if view.host != first)
    assert snapshot.workers_rss == sum(view.rss for view in snapshot.worker_views)
    cluster.end_worker(0)
    run.until(lambda snapshot: snapshot.machines_lost == 1)
    gate.touch()
    assert run.finish().state == "finished"
    each_item_once(rows)
    assert rows("SELECT chunk < 5, list(DISTINCT host) FROM runner.chunks GROUP BY 1 ORDER BY 1") == [
        (False, [second]),
        (True, [first]),
    ]


def test_memory_on_other_machines_is_recorded_and_is_none_of_this_one(
    cluster: Cluster, job_file: Callable[..., str], gate: Path, tmp_path: Path
) -> None:
    # A worker takes more than the whole run may use on this machine; the run is a process that has not started it.
    ballast = f"""
    @work.setup
    def take_memory():
        global BALLAST
        BALLAST = bytearray(b"x") * {600 * MB}
    """
    job = job_file(JOB.replace("OPEN", str(gate)) + ballast)
    command = [sys.executable, "-m", "tui_runner", "run", job, "--input", f"range:0:{ITEMS}", "--headless", "--quiet"]
    command += ["--db", "x.duckdb", "--max-memory", "500MB", "--backend", f"dask:{cluster.address}"]
    process = psutil.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)

    def most() -> tuple[int, int] | None:
        try:
            samples = tui_runner.connect(tmp_path / "x.duckdb").sql("SELECT workers_rss, app_rss FROM runner.samples")
        except UserError:  # it has yet to be made
            return None
        there, here = (max((row[name] for row in samples.rows()), default=0) for name in ("workers_rss", "app_rss"))
        return (there, here) if there > 600 * MB else None

    _, here = eventually(most, "a sample with the memory of the worker")
    assert here < 500 * MB
    gate.touch()
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0
    log = (tmp_path / "x.duckdb.log").read_text()
    assert " is replaced" not in log and "threads:" not in log and "held" not in log, log


def test_a_run_waits_without_a_scheduler_and_continues_with_another(
    cluster: Cluster, gate: Path, begin: Callable[..., Any], rows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client closes itself after that, and another one takes its place.
    monkeypatch.setattr(dask, "_CONNECT_SECONDS", 1.0)
    run = begin()
    cluster.kill()
    run.until(lambda snapshot: snapshot.held and "no machine is left to run on" in snapshot.reason)
    eventually(lambda: told(run, "the scheduler does not answer"), "the news")
    client = run.runner._parts.backend._cluster._client
    eventually(lambda: client.status == "closed", "the end of the client")
    gate.touch()
    cluster.start()
    assert run.finish().state == "finished"
    each_item_once(rows)


@pytest.mark.parametrize("is_long", [False, True], ids=["for a moment", "until the client gives up"])
def test_a_run_survives_that_its_connection_to_the_scheduler_breaks(
    is_long: bool,
    cluster: Cluster,
    gate: Path,
    begin: Callable[..., Any],
    rows: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("distributed.client")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    # The scheduler releases the agents of a client that it does not hear any more; Dask workers stay.
    monkeypatch.setattr(dask, "_CONNECT_SECONDS", 1.0 if is_long else 30.0)
    way = Way(int(cluster.address.rpartition(":")[2]))
    run = begin(backend=f"dask:tcp://127.0.0.1:{way.port}")
    host = cluster.hosts()[0]
    client = run.runner._parts.backend._cluster._client
    way.cut()
    eventually(lambda: client.status == ("closed" if is_long else "connecting"), "the end of the connection")
    eventually(lambda: not host.is_running(), "the end of the agent")
    run.until(lambda snapshot: snapshot.held and snapshot.machines_lost == 1)
    way.mend()
    run.until(lambda snapshot: not snapshot.held and snapshot.in_flight == 4)
    gate.touch()
    assert run.finish().state == "finished"
    each_item_once(rows)
    way.cut()
    assert not caplog.records, "distributed's own log would be on the terminal"


def test_a_run_whose_cluster_was_closed_stops_in_order_and_is_resumed(
    cluster: Cluster,
    gate: Path,
    begin: Callable[..., Any],
    rows: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(dask, "_CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(dask, "DaskCluster", partial(dask.DaskCluster, patience=0.5))
    run = begin()
    with distributed.Client(cluster.address, set_as_default=False) as client:
        client.shutdown()
    snapshot = run.finish()
    assert (snapshot.state, snapshot.items_done) == ("stopped", 10)
    assert snapshot.reason == "the cluster is gone: no scheduler has answered for 0.5 s"
    cluster.kill()
    cluster.start()
    cluster.add_worker()
    eventually(lambda: cluster.joined() == 2, "the start of the second worker")
    request = resume_request(tmp_path / "x.duckdb", None)
    assert "workers" not in request.settings, "it would have as many as there were, not as there are"
    runner = open_runner(plan_run(request, folder=tmp_path, environ={}))
    try:
        runner.start()
        eventually(lambda: runner.snapshot().machines == 2, "the start of both workers")
        gate.touch()
        assert runner.join(WAIT_SECONDS)
        assert runner.snapshot().state == "finished"
    finally:
        runner.close()
    each_item_once(rows)
    assert rows("SELECT count(*) FROM runner.runs") == [(1,)]


def test_a_scheduler_that_ends_lets_a_headless_run_end_with_the_code_of_a_stopped_one(
    cluster: Cluster, job: str, gate: Path, tmp_path: Path
) -> None:
    line = "from tui_runner.engine.backends import dask; dask._CONNECT_SECONDS = 1.0; dask.GONE_SECONDS = 0.5"
    line += "; from tui_runner.cli.main import main; main()"
    command = [sys.executable, "-c", line, "run", job, "--input", f"range:0:{ITEMS}", "--headless", "--db", "x.duckdb"]
    command += ["--backend", f"dask:{cluster.address}"]
    process = psutil.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    eventually(cluster.our_workers, "the start of its workers")
    cluster.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert b"the cluster is gone" in said
