"""Finds the useful number of threads for a CPU-bound job.

Python executes one thread at a time. Where a function computes, more threads than processors only compete for the
interpreter lock (measured: 8,000 items of 1 ms took 5.6 s on 16 threads and 3.3 s on two). The duration of items does
not show whether a function computes, because waiting for the lock looks like waiting for a server. So the number is
found by trial. While the process keeps a processor busy, the items executed at once are halved as long as throughput
does not fall. If it falls, the last step is undone and nothing is tried for `HOLD_SECONDS`. When the processor has idle
time again, the number is doubled up to all threads.
"""

from __future__ import annotations

from collections.abc import Callable

WINDOW_SECONDS = 0.2
"""Shortest measurement in seconds: the reporter looks as often."""
WINDOW_ITEMS = 32
"""Items that must end within a measurement; a rate of fewer items is mostly noise."""
BUSY_SHARE = 0.9
"""Share of one processor from which the process counts as CPU-bound; below 1, so that short waits do not hide it."""
LOSS = 0.9
"""Share of the previous throughput below which a step is undone; smaller losses are noise."""
HOLD_SECONDS = 30.0
"""Seconds without a new trial after a step was undone: each trial costs throughput."""
LEAST = 2
"""Smallest number of items at once: one that computes, and one that may wait for something."""


class ThreadTuner:
    """Decides how many items to execute at once.

    Args:
        cpu: returns the processor seconds that this process has used.
    """

    def __init__(self, cpu: Callable[[], float]) -> None:
        self._cpu = cpu
        self.useful: int | None = None
        """Items to execute at once; None for all threads."""
        self._since: tuple[float, float] | None = None
        self._items = 0
        self._before: tuple[float, float] | None = None
        """Processor share and items per second before the last halving, while that is on trial."""
        self._hold_until = 0.0
        self._said = False

    def count(self, items: int) -> None:
        """Count items that have ended since the last look."""
        self._items += items

    def measure(self, now: float, threads: int, *, busy: int) -> str | None:
        """Measure the time since the last look and adjust `useful`. Return an event to log, once, when it is settled.

        Args:
            now: monotonic seconds.
            threads: threads of the pool.
            busy: items being executed. With 0, the worker had nothing to do and the measurement is discarded.
        """
        if threads <= LEAST or not busy:
            self._restart(now)
            if threads <= LEAST:
                self.useful = None
            return None
        if self._since is None:
            self._restart(now)
            return None
        seconds = now - self._since[0]
        if seconds < WINDOW_SECONDS:
            return None
        share, rate = (self._cpu() - self._since[1]) / seconds, self._items / seconds
        if self._items < WINDOW_ITEMS:
            if self.useful is not None and share < BUSY_SHARE:  # items wait now; that is certain without any ending
                self.useful, self._before = self._doubled(threads), None
                self._restart(now)
            return None
        self._restart(now)
        return self._judge(now, threads, share, rate)

    def _restart(self, now: float) -> None:
        self._since, self._items = (now, self._cpu()), 0

    def _judge(self, now: float, threads: int, share: float, rate: float) -> str | None:
        before, self._before = self._before, None
        if before is not None and (share < LOSS * before[0] or rate < LOSS * before[1]):
            self.useful = self._doubled(threads)
            self._hold_until = now + HOLD_SECONDS
            return self._say(threads)
        if share < BUSY_SHARE:
            self.useful = self._doubled(threads)
            return None
        at_once = min(threads, self.useful or threads)
        if at_once <= LEAST or now < self._hold_until:
            return self._say(threads)
        self._before = share, rate
        self.useful = max(LEAST, at_once // 2)
        return None

    def _doubled(self, threads: int) -> int | None:
        doubled = None if self.useful is None else 2 * self.useful
        return None if doubled is None or doubled >= threads else doubled

    def _say(self, threads: int) -> str | None:
        if self._said or self.useful is None:
            return None
        self._said = True
        return (
            f"the job keeps the processor busy: {self.useful} of {threads} threads run at once, for more would be no"
            " gain; --workers uses more processors"
        )
