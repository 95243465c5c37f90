"""Workers, rate and log in the snapshots of real runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SLOW = """
import time
from tui_runner import current, job

@job
def work(item: int):
    print(f"working on {item}")
    time.sleep(0.02)
    return {"n": item}

@work.items
def items():
    return range(2000)
"""


def test_a_worker_is_shown_with_its_process_and_one_in_its_place_is_a_mark(
    new_run: Callable[..., Any], job_file: Callable[[str], str]
) -> None:
    run = new_run(job_file(SLOW), threads=4).start()
    snapshot = run.until(lambda s: s.worker_views and s.worker_views[0].rss and s.items_done > 5)
    (worker,) = snapshot.worker_views
    assert worker.pid != os.getpid() and worker.threads == 4 and worker.rss > 1_000_000
    assert snapshot.recycled == ()
    os.kill(worker.pid, signal.SIGKILL)
    later = run.until(lambda s: s.worker_views and s.worker_views[0].pid != worker.pid)
    assert len(later.recycled) == 1 and 0 < later.recycled[0] <= later.at
    run.runner.stop()
    run.finish()


def test_the_rate_can_be_changed_while_it_runs(new_run: Callable[..., Any], job_file: Callable[[str], str]) -> None:
    run = new_run(job_file(SLOW), threads=4, rate=1000.0).start()
    assert run.until(lambda s: s.items_done).rate == 1000.0
    run.runner.set_rate(2.0)
    snapshot = run.until(lambda s: s.rate == 2.0)
    assert snapshot.events[-1].text == "rate: 2 items/s at most"
    run.runner.set_rate(-1.0)
    run.runner.set_rate(None)
    assert run.until(lambda s: s.rate is None).events[-1].text == "rate: no limit"
    run.runner.set_open_chunks(7)
    assert run.until(lambda s: s.open_chunks == 7)
    run.runner.stop()
    run.finish()


def test_events_are_lines_of_the_log_on_the_screen_and_in_the_file(
    new_run: Callable[..., Any], job_file: Callable[[str], str], tmp_path: Path
) -> None:
    run = new_run(job_file(SLOW), threads=4, limit=400).start()
    run.until(lambda s: s.log_lines)
    run.runner.set_rate(1000.0)
    snapshot = run.finish()
    assert snapshot.log_lines == len(snapshot.log) == 401
    (told,) = [line for line in snapshot.log if not line.text.startswith("working on")]
    assert (told.level, told.text) == ("INFO", "rate: 1000 items/s at most")
    lines = (tmp_path / "x.duckdb.log").read_text().splitlines()
    # In the same order: a screen that reads back finds the lines it has.
    assert [line.partition(" item ")[2].partition(": ")[2] for line in lines[1:402]] == [
        line.text for line in snapshot.log
    ]


@pytest.mark.parametrize("backend", ["process", "inline"])
def test_every_line_of_a_run_is_in_the_log_file(
    new_run: Callable[..., Any], job_file: Callable[[str], str], tmp_path: Path, backend: str
) -> None:
    run = new_run(job_file(SLOW), threads=4, limit=50, backend=backend).start()
    snapshot = run.finish()
    assert snapshot.log_file == str(tmp_path / "x.duckdb.log")
    assert snapshot.log_lines == len(snapshot.log) == 50
    written = (tmp_path / "x.duckdb.log").read_text().splitlines()
    assert written[0] == "--- run 1"
    assert {line.rsplit(" ", 1)[1] for line in written[1:-1]} == {str(number) for number in range(50)}
    assert "finished" in written[-1]
