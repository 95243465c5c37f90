"""Functions that break what their worker needs itself: found within seconds, the others run to their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tui_runner.engine.states import RunState

BAD = """
    import builtins, ctypes, os, signal, time
    from tui_runner import job

    sleep = time.sleep

    def no(*_):
        raise RuntimeError("no time")

    @job(chunk_size=10, threads=4, retries=0)
    def bad(n: int, *, kind: str):
        if n != 5:
            sleep(0.02)
        elif kind == "time":
            time.time = time.monotonic = time.perf_counter = lambda: 0.0
        elif kind == "no time":
            time.time = time.monotonic = time.perf_counter = time.sleep = no
        elif kind == "open":
            builtins.open = None
        elif kind == "import":
            builtins.__import__ = None
        elif kind == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
            sleep(600)  # the signal stops another thread first: without this, the item could return before the stop
        elif kind == "close":
            os.closerange(3, 256)
        elif kind == "keep the interpreter":
            ctypes.PyDLL(None).sleep(600)
        elif kind == "dup2":
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3, 40):
                os.dup2(nothing, descriptor)
        return {"n": n}

    @bad.items
    def items():
        return range(60)
"""
KILLED = {
    "import": "ended because a function had broken something that the worker needs",
    "stop": r"was stopped \(SIGSTOP\) for 4 s",
    "close": "ended because a function had closed or replaced its file descriptors",
    "keep the interpreter": "native code held the interpreter while idle for 4 s",
    "dup2": "ended because a function had closed or replaced its file descriptors",
}


@pytest.mark.parametrize("kind", ["time", "no time", "open", *KILLED])
def test_a_function_that_breaks_its_worker_fails_and_the_others_do_not(
    kind: str, job_file: Callable[[str], str], new_run: Callable[..., Any], rows: Callable[..., Any]
) -> None:
    began = time.monotonic()
    run = new_run(job_file(BAD), params={"kind": kind}).start()
    snapshot = run.finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    failed = rows("SELECT item, type FROM runner.errors WHERE final ORDER BY item")
    if kind in KILLED:
        assert failed == [(5, "WorkerKilled")], [event.text for event in snapshot.events]
        assert rows(
            f"SELECT count(*) FROM runner.errors WHERE final AND regexp_matches(message, '{KILLED[kind]}')"
        ) == [(1,)]
    else:
        assert failed == []
    assert rows("SELECT count(*), count(DISTINCT n) FROM bad") == [(60 - len(failed),) * 2]
    assert time.monotonic() - began < 60  # 20 s on a machine that has nothing else to do; it was five minutes
