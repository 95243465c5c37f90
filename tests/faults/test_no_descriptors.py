"""Functions that use up all file descriptors: the items that need one fail, and the run comes to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.waiting import eventually

from tui_runner.engine import guards
from tui_runner.engine.guards import MemoryMeasured, Monitor
from tui_runner.engine.states import RunState

LEAKS = """
    import os
    import resource
    import time

    from tui_runner import job

    kept = []

    @job(chunk_size=20, threads=4, retries=0, on_outage="continue")
    def work(n: int):
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        time.sleep(0.01)  # by then a look at the memory is due
        if n % 2:
            return n
        while True:
            kept.append(os.dup(0))

    @work.items
    def numbers():
        return range(200)
"""


def test_a_function_that_leaks_descriptors_leaves_no_thread_dead(
    job_file: Callable[[str], str], new_run: Callable[..., Any], rows: Callable[..., list[tuple[Any, ...]]]
) -> None:
    snapshot = new_run(job_file(LEAKS)).start().finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    assert rows("SELECT state, count(*) FROM runner.items GROUP BY 1 ORDER BY 1") == [("failed", 100), ("ok", 100)]
    assert rows("SELECT DISTINCT type, shape FROM runner.errors") == [("OSError", "[Errno 24] Too many open files")]
    assert not any("Exception in thread" in line.text for line in snapshot.log)


def test_the_monitor_continues_when_a_descriptor_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[MemoryMeasured] = []
    faults = [OSError(24, "Too many open files")]

    def resident(pid: int) -> int:
        if faults:
            raise faults.pop()
        return 5

    monkeypatch.setattr(guards, "_tree_rss", resident)
    monkeypatch.setattr(guards, "INTERVAL", 0.01)
    watch = Monitor(tuple, lambda: 0, lambda: 0, measured.append)
    watch.start()
    eventually(lambda: measured, "a measurement")
    watch.stop()
    assert measured[0].app_rss == 5
