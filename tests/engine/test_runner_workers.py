"""Workers of real runs: lost ones, failing ones, what runs once in each."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.real_jobs import GATED

from tui_runner.engine.states import RunState

Rows = Callable[..., list[tuple[Any, ...]]]

BOTH = pytest.mark.parametrize("backend", ["process", "inline"])


@pytest.mark.local_workers
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_items_of_a_killed_worker_run_again(job_file, new_run, rows: Rows, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}).start()
    run.until(lambda s: s.in_flight == 2)
    (pid,) = run.runner.worker_pids()
    os.kill(pid, signal.SIGKILL)
    run.until(lambda s: any("SIGKILL" in event.text for event in s.events))
    gate.touch()
    assert run.finish().items_done == 40
    assert rows("SELECT count(*), count(DISTINCT value) FROM gated") == [(40, 40)]


def test_a_worker_that_dies_before_its_first_item_every_time_ends_the_run(job_file, new_run) -> None:
    source = """
        import os
        from tui_runner import job

        @job
        def die(n: int):
            return n

        @die.setup
        def begin():
            os._exit(7)

        @die.items
        def numbers():
            return range(3)
    """
    snapshot = new_run(job_file(source)).start().finish()
    assert snapshot.state is RunState.FAILED
    assert snapshot.reason == (
        "5 workers in a row were lost before they could take items, the last one ended with exit code 7"
    )
    assert [event.text for event in snapshot.events] == [f"stopping: {snapshot.reason}"]


@pytest.mark.local_workers
def test_workers_are_gone_after_the_run(job_file, new_run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}, workers=2, threads=4).start()
    run.until(lambda s: s.in_flight == 4)
    pids = list(run.runner.worker_pids())
    assert len(pids) == 2
    gate.touch()
    run.finish()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


@BOTH
def test_setup_and_teardown_run_once_a_worker(job_file, new_run, tmp_path: Path, backend: str) -> None:
    source = """
        from pathlib import Path
        from tui_runner import job

        @job
        def work(n: int):
            return n

        @work.items
        def numbers():
            return range(30)

        @work.setup
        def begin(*, folder: str):
            with open(Path(folder) / "calls", "a") as calls:
                calls.write("setup ")

        @work.teardown
        def end(*, folder: str):
            with open(Path(folder) / "calls", "a") as calls:
                calls.write("teardown ")
    """
    new_run(job_file(source), backend=backend, params={"folder": str(tmp_path)}).start().finish()
    assert (tmp_path / "calls").read_text() == "setup teardown "


@BOTH
def test_a_setup_that_fails_ends_the_run_with_its_message(job_file, new_run, backend: str) -> None:
    source = """
        from tui_runner import job

        @job
        def work(n: int):
            return n

        @work.items
        def numbers():
            return range(30)

        @work.setup
        def begin():
            raise LookupError("no such server")
    """
    snapshot = new_run(job_file(source), backend=backend).start().finish()
    assert snapshot.state is RunState.FAILED
    reason = re.sub(r"^host host-\d: ", "", snapshot.reason)  # with --hosts it names the one that says so
    assert reason == "setup raised LookupError: no such server"
    assert snapshot.items_finished == 0


def test_no_more_threads_start_than_there_are_items(job_file, new_run, rows: Rows) -> None:
    source = """
        import threading
        from tui_runner import job

        together = threading.Barrier(20)

        @job
        def work(n: int):
            together.wait(60)
            return len([thread for thread in threading.enumerate() if thread.name.startswith("item-")])

        @work.items
        def numbers():
            return range(20)
    """
    run = new_run(job_file(source), threads=5_000, chunk_size=1, open_chunks=20).start()
    assert run.finish().items_done == 20
    assert rows("SELECT max(value) BETWEEN 1 AND 20 FROM work") == [(True,)]


@BOTH
def test_one_thread_is_one_item_at_once_however_many_workers_there_are(
    job_file, new_run, rows: Rows, tmp_path: Path, backend: str
) -> None:
    gate = tmp_path / "gate"
    run = new_run(
        job_file(GATED), params={"gate": str(gate), "count": 300}, threads=4, workers=2, rate=100, backend=backend
    )
    run.start().until(lambda s: s.in_flight == 4)
    run.runner.set_threads(1)
    run.until(lambda s: s.threads == s.workers == 1)
    gate.touch()
    run.until(lambda s: len(s.worker_views) == 1 and s.items_done > 4)
    gate.unlink()
    run.until(lambda s: s.in_flight == 1 and [view.threads for view in s.worker_views] == [1])
    run.runner.set_threads(4)
    run.until(lambda s: s.in_flight == 4 and s.workers == 2)
    gate.touch()
    assert run.finish().items_done == 300
    assert rows("SELECT count(*), count(DISTINCT value) FROM gated") == [(300, 300)]
