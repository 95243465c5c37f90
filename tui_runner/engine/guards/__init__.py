"""Measures the processes of a run once a second, in a thread, because walking the process tree takes milliseconds."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

import psutil

INTERVAL = 1.0
"""Seconds between two measurements; also the interval of the graphs. With one measurement of milliseconds per second,
little time of a processor is lost."""


@dataclass(frozen=True, slots=True)
class MemoryMeasured:
    """A measurement of memory, of the database's disk, and of workers that do nothing. Sizes are bytes.

    Attributes:
        app_rss: resident memory of this process and its children that are not workers, such as the fork server.
        workers_rss: resident memory of all workers with their children.
        db_bytes: size of the database.
        by_pid: resident memory of each worker process with its children.
        disk_free: free bytes on the database's disk; None if unknown.
        still: worker processes in which no thread computes or waits for a disk; empty on systems that do not report
            thread states.
        stopped: the workers among `still` that were stopped (SIGSTOP).
    """

    app_rss: int
    workers_rss: int
    db_bytes: int
    by_pid: Mapping[int, int] = field(default_factory=dict)
    disk_free: int | None = None
    still: Set[int] = frozenset()
    stopped: Set[int] = frozenset()


class Monitor:
    """A thread that measures the memory of this process and of its workers, and the size and disk of the database.

    All functions below are called in this thread.

    Args:
        worker_pids: returns the process ids of live workers.
        db_bytes: returns the size of the database.
        disk_free: returns the free bytes on the database's disk; may raise `OSError`.
        deliver: called with each measurement.
    """

    def __init__(
        self,
        worker_pids: Callable[[], Collection[int]],
        db_bytes: Callable[[], int],
        disk_free: Callable[[], int],
        deliver: Callable[[MemoryMeasured], None],
    ) -> None:
        self._worker_pids = worker_pids
        self._db_bytes = db_bytes
        self._disk_free = disk_free
        self._deliver = deliver
        self._stopped = threading.Event()
        """Set by `stop`; ends the wait for the next measurement at once."""
        # daemon: the thread must not keep the program from exiting, whatever ends the run
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Start measuring."""
        self._thread.start()

    def stop(self) -> None:
        """Stop measuring and wait for the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            # A measurement needs a free file descriptor. If there is none now, the next measurement may find one.
            with contextlib.suppress(OSError):
                self._deliver(self._measured())
            self._stopped.wait(INTERVAL)

    def _measured(self) -> MemoryMeasured:
        by_pid = {pid: _tree_rss(pid) for pid in self._worker_pids()}
        workers = sum(by_pid.values())
        own = _tree_rss(os.getpid()) - workers
        states = {pid: _states(pid) for pid in by_pid}
        still = {pid for pid, found in states.items() if found and found <= {"S", "T", "t"}}
        stopped = {pid for pid in still if "S" not in states[pid]}
        return MemoryMeasured(max(own, 0), workers, self._db_bytes(), by_pid, self._free(), still, stopped)

    def _free(self) -> int | None:
        try:
            return self._disk_free()
        except OSError:  # the folder is gone; the next flush reports it
            return None


def _states(pid: int) -> set[str]:
    """Return the states of a process's threads, as Linux's letters.

    Empty on other systems, and if the process has ended.
    """
    states = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # the thread or process has just ended
            states.add(stat.read_text().rpartition(")")[2].split()[0])
    return states


def _tree_rss(pid: int) -> int:
    """Return the resident bytes of a process and its descendants; processes that end meanwhile count 0."""
    total = 0
    try:
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            try:
                total += member.memory_info().rss
            except psutil.Error:  # this process has just ended
                continue
    except psutil.Error:  # the worker itself has ended
        return total
    return total
