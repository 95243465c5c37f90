"""Functions that never return, and workers whose threads are all stuck: no item is lost, and nothing waits for ever."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tui_runner.engine.scheduling import workers
from tui_runner.engine.states import RunState

NewRun = Callable[..., Any]
Rows = Callable[..., list[tuple[Any, ...]]]

HANGS = """
    import threading
    from tui_runner import job

    @job(chunk_size=10, threads=4, retries=0)
    def work(n: int):
        if n % 2:
            threading.Event().wait()
        return n

    @work.items
    def numbers():
        return range(24)
"""

BLOCKS_THE_LOOP = """
    import time
    from tui_runner import job

    @job(chunk_size=10, threads=4, retries=0)
    async def work(n: int):
        if n == 5:
            time.sleep(3600)
        return n

    @work.items
    def numbers():
        return range(12)
"""

KEEPS_THE_INTERPRETER = """
    import ctypes
    from tui_runner import job

    @job(chunk_size=10, threads=2, retries=0)
    def work(n: int):
        if n == 5:
            ctypes.PyDLL(None).pause()  # native code that keeps the interpreter lock, and never returns
        return n

    @work.items
    def numbers():
        return range(12)
"""

SLOW = """
    import time
    from tui_runner import job

    @job(chunk_size=10, threads=2)
    def work(n: int):
        time.sleep(0.2)
        return n

    @work.items
    def numbers():
        return range(20)
"""


def test_a_worker_full_of_threads_that_never_return_is_replaced(
    job_file: Callable[[str], str], new_run: NewRun, rows: Rows
) -> None:
    snapshot = new_run(job_file(HANGS), timeout=0.2).start().finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    assert rows("SELECT state, count(*), min(attempts), max(attempts) FROM runner.items GROUP BY 1 ORDER BY 1") == [
        ("ok", 12, 1, 1),
        ("timeout", 12, 1, 1),
    ]
    assert any("it is replaced" in event.text for event in snapshot.events)


def test_functions_that_never_return_stop_neither_a_pause_nor_the_end(
    job_file: Callable[[str], str], new_run: NewRun, rows: Rows
) -> None:
    run = new_run(job_file(HANGS), grace=0.3).start()
    run.until(lambda s: s.in_flight == 4 and s.items_done)
    run.runner.pause()
    run.until(lambda s: s.state is RunState.PAUSED)
    run.runner.stop()
    snapshot = run.finish()
    assert snapshot.state is RunState.STOPPED
    assert [(snapshot.items_done,)] == rows("SELECT count(*) FROM work")


def test_a_coroutine_that_blocks_the_loop_costs_only_itself(
    job_file: Callable[[str], str], new_run: NewRun, rows: Rows
) -> None:
    snapshot = new_run(job_file(BLOCKS_THE_LOOP), timeout=0.2, grace=0.1).start().finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    assert rows("SELECT item, state, attempts FROM runner.items WHERE state <> 'ok'") == [(5, "timeout", 1)]
    assert rows("SELECT count(*), count(DISTINCT value) FROM work") == [(11, 11)]


def test_an_item_that_keeps_the_interpreter_for_itself_is_given_up(
    job_file: Callable[[str], str], new_run: NewRun, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_SLACK", 0.8)
    snapshot = new_run(job_file(KEEPS_THE_INTERPRETER), timeout=0.2).start().finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    assert rows("SELECT item, state, attempts FROM runner.items WHERE state <> 'ok'") == [(5, "failed", 3)]
    message = "killed its worker 3 times (the last time: killed because it did not report for 1 s)"
    assert rows("SELECT message FROM runner.errors WHERE final") == [(message,)]


def test_a_worker_that_is_stopped_is_replaced(
    job_file: Callable[[str], str], new_run: NewRun, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_SLACK", 0.8)
    run = new_run(job_file(SLOW), timeout=0.5).start()
    run.until(lambda s: s.items_done)
    (pid,) = run.runner.worker_pids()
    os.kill(pid, signal.SIGSTOP)
    snapshot = run.finish()
    assert (snapshot.state, snapshot.items_done) == (RunState.FINISHED, 20)
    assert rows("SELECT count(*), count(DISTINCT value) FROM work") == [(20, 20)]
    assert any("did not report for 1.3 s" in event.text for event in snapshot.events)


def test_a_stopped_worker_cannot_hold_up_the_end(
    job_file: Callable[[str], str], new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "DRAIN_SLACK", 0.2)
    run = new_run(job_file(SLOW), grace=0.1).start()
    run.until(lambda s: s.in_flight)
    (pid,) = run.runner.worker_pids()
    os.kill(pid, signal.SIGSTOP)
    run.runner.stop()
    assert run.finish().state is RunState.STOPPED
