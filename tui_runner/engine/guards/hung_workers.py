"""Kills a worker that does nothing at all, within seconds.

A worker reports at least every two seconds. If it does not, and no measurement finds a thread of it computing, then it
was stopped (SIGSTOP), or native code in it waits without releasing the interpreter lock. Such a worker is called
*still*; none of its items makes progress. A worker that computes without reporting, for example in a solver, is left to
`Liveness`, which waits longer. A worker that waits for a disk or for swapped memory is not still.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.protocol import LogLines, Progress, Ready, ResultBatch, WorkerLost
from tui_runner.engine.scheduling.events import Recycle

STILL_SECONDS = 4.0
"""Seconds without reports and computing after which a worker is killed. By then, two heartbeats (`reporter._HEARTBEAT`)
are missing. An item that stops its workers is recorded as failed within 20 s, after three deaths."""
_OWN_ABSENCE = 5.0
"""Seconds between two measurements beyond which the whole program must have been stopped, so that no worker is to
blame."""

Message = MemoryMeasured | Ready | Progress | ResultBatch | LogLines | WorkerLost


class HungWorkerGuard:
    """A guard that finds *still* workers, which neither compute nor report. Times are monotonic seconds."""

    takes = frozenset(get_args(Message))
    """Types of the messages that `handle` takes."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        self._moved_at: dict[int, float] = {}
        """Time at which each worker last reported, or was last seen computing."""
        self._measured_at = 0.0

    def handle(self, message: Message, now: float) -> Iterable[Recycle]:
        """Record reports and measurements. Return orders to kill still workers."""
        match message:
            case Ready(worker, pid):
                self._pids[worker] = pid
                self._moved_at[worker] = now
            case WorkerLost(worker):
                self._pids.pop(worker, None)
                self._moved_at.pop(worker, None)
            case MemoryMeasured():
                yield from self._judge(message, now)
            case Progress(worker) | ResultBatch(worker) | LogLines(worker) if worker in self._moved_at:
                self._moved_at[worker] = now

    def _judge(self, measured: MemoryMeasured, now: float) -> Iterable[Recycle]:
        """Yield orders to kill workers that have been still for `STILL_SECONDS`."""
        absent, self._measured_at = now - self._measured_at > _OWN_ABSENCE, now
        for worker, pid in self._pids.items():
            if absent or pid not in measured.still:
                self._moved_at[worker] = now
            elif now - self._moved_at[worker] >= STILL_SECONDS:
                self._moved_at[worker] = now
                what = (
                    "was stopped (SIGSTOP)"
                    if pid in measured.stopped
                    else "native code held the interpreter while idle"
                )
                yield Recycle(worker, f"{what} for {STILL_SECONDS:g} s", blamed=True)
