"""Workers that do nothing are distinguished from those that work without a report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from support.waiting import eventually

from tui_runner.engine.guards import MemoryMeasured, Monitor
from tui_runner.engine.guards.hung_workers import STILL_SECONDS, HungWorkerGuard
from tui_runner.engine.protocol import Progress, Ready, WorkerLost
from tui_runner.engine.scheduling.events import Recycle


def measured(*still: int, stopped: frozenset[int] = frozenset()) -> MemoryMeasured:
    return MemoryMeasured(0, 0, 0, still=frozenset(still), stopped=stopped)


def progress(worker: int) -> Progress:
    return Progress(worker, Counter(), (), 1, 0, False, 0)


@pytest.fixture
def guard() -> HungWorkerGuard:
    guard = HungWorkerGuard()
    assert [*guard.handle(measured(), 0.0), *guard.handle(Ready(7, 70), 0.0)] == []
    return guard


def seconds_until_killed(guard: HungWorkerGuard, *, stopped: bool = False) -> tuple[float, Recycle] | None:
    for second in range(1, 20):
        found = list(guard.handle(measured(70, stopped=frozenset([70] if stopped else [])), float(second)))
        if found:
            return float(second), found[0]
    return None


@pytest.mark.parametrize(
    ("stopped", "reason"),
    [(True, "was stopped (SIGSTOP) for 4 s"), (False, "native code held the interpreter while idle for 4 s")],
)
def test_a_worker_that_does_nothing_is_killed_and_its_items_are_to_blame(
    guard: HungWorkerGuard, stopped: bool, reason: str
) -> None:
    assert seconds_until_killed(guard, stopped=stopped) == (STILL_SECONDS, Recycle(7, reason, blamed=True))


def test_a_worker_that_reports_or_computes_is_not_killed(guard: HungWorkerGuard) -> None:
    for second in range(1, 20):
        assert list(guard.handle(measured(*([70] if second % 3 else [])), float(second))) == []
    for second in range(20, 40):
        assert list(guard.handle(progress(7), second - 0.5)) == []
        assert list(guard.handle(measured(70), float(second))) == []


def test_a_worker_that_is_gone_or_was_never_ready_is_not_judged(guard: HungWorkerGuard) -> None:
    list(guard.handle(WorkerLost(7, "ended", {}), 0.5))
    list(guard.handle(progress(8), 0.5))
    assert seconds_until_killed(guard) is None


def test_time_in_which_the_program_itself_stood_still_is_no_fault_of_a_worker(guard: HungWorkerGuard) -> None:
    assert list(guard.handle(measured(70), 2.0)) == []
    assert list(guard.handle(measured(70), 60.0)) == []
    assert list(guard.handle(measured(70), 61.0)) == []
    assert list(guard.handle(measured(70), 60.0 + STILL_SECONDS)) != []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the states of threads")
def test_the_monitor_tells_sleeping_and_stopped_processes_from_those_that_compute() -> None:
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    computing = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    pids = (sleeping.pid, computing.pid)
    found: list[MemoryMeasured] = []
    monitor = Monitor(lambda: pids, lambda: 0, lambda: 0, found.append)
    try:

        def look() -> MemoryMeasured:
            found.append(monitor._measured())
            return found[-1]

        eventually(lambda: look().still == {sleeping.pid}, "the sleeping process alone")
        assert look().stopped == set()
        os.kill(computing.pid, signal.SIGSTOP)
        eventually(lambda: look().stopped == {computing.pid}, "the stopped process")
        assert sleeping.pid in look().still
    finally:
        for process in (sleeping, computing):
            process.kill()
            process.wait()
