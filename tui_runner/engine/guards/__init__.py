"""Measures processes, once a second, in a thread of its own: walking the process tree takes milliseconds."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

import psutil

INTERVAL = 1.0
"""Seconds between measurements."""


@dataclass(frozen=True, slots=True)
class MemoryMeasured:
    """Resident memory, the size of the database and what is free on its disk, in bytes; and workers that do nothing.

    `app_rss` is that of this process and of its children that are no workers, such as the one that workers are forked
    from. `by_pid` has the memory of each worker process with its children; `disk_free` is None when it cannot be told.
    `still` has the processes of workers no thread of which computes or waits for a disk at this moment, `stopped` those
    of them that are stopped; where the system does not tell, there are none.
    """

    app_rss: int
    workers_rss: int
    db_bytes: int
    by_pid: Mapping[int, int] = field(default_factory=dict)
    disk_free: int | None = None
    still: Set[int] = frozenset()
    stopped: Set[int] = frozenset()


class Monitor:
    """Measures the memory of this process and of its workers.

    Args:
        worker_pids: the workers that are alive; called from the monitor's thread.
        db_bytes: the size of the database; likewise.
        disk_free: bytes that are free on its disk; likewise, may raise `OSError`.
        deliver: takes the measurements.
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
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Begin to measure."""
        self._thread.start()

    def stop(self) -> None:
        """Measure no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            # Without a file descriptor nothing can be measured; the next time there may be one again.
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
        except OSError:  # its folder is gone; the next flush says so
            return None


def _states(pid: int) -> set[str]:
    """Return the states of a process' threads, as Linux writes them; none where it is gone or nothing tells."""
    states = set()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.add(stat.read_text().rpartition(")")[2].split()[0])
    return states


def _tree_rss(pid: int) -> int:
    """Resident bytes of a process and all its descendants; those that end meanwhile count nothing."""
    total = 0
    try:
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            try:
                total += member.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        return total
    return total
