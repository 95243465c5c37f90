"""Finds the number of threads that is of use when a job is CPU-bound.

Python executes one thread at a time. Where a function computes, more threads than processors only take the
interpreter's lock from each other (measured: 8,000 items of 1 ms on 16 threads took 5.6 s where two took 3.3). Whether
it computes cannot be told from how long its items take, for waiting for the lock looks like waiting for a server. So it
is tried out: while the process keeps a processor busy, the items executed at once are halved for as long as no less is
done. If less is done the last step is taken back, and nothing is tried for `HOLD_SECONDS`. When the processor has time
to spare again, every thread is of use again.
"""

from __future__ import annotations

from collections.abc import Callable

WINDOW_SECONDS = 0.2
"""Of a look at least."""
WINDOW_ITEMS = 32
"""Items that must have ended in it: fewer say little about how many end in a second."""
BUSY_SHARE = 0.9
"""Of one processor, from which a process counts as busy."""
LOSS = 0.9
"""Of what was done before a step, below which it was one too many."""
HOLD_SECONDS = 30.0
LEAST = 2
"""One that computes, and one that may wait for something."""


class ThreadTuner:
    """Says how many items are of use at once.

    Args:
        cpu: processor seconds that this process has used.
    """

    def __init__(self, cpu: Callable[[], float]) -> None:
        self._cpu = cpu
        self.useful: int | None = None
        """Items to execute at once; None for as many as there are threads."""
        self._since: tuple[float, float] | None = None
        self._items = 0
        self._before: tuple[float, float] | None = None
        """Share of a processor and items a second before the last step, while that is on trial."""
        self._hold_until = 0.0
        self._said = False

    def count(self, items: int) -> None:
        """Count items that have ended."""
        self._items += items

    def look(self, now: float, threads: int, *, busy: int) -> str | None:
        """Take in what was done since the last look; return what a person should know, once, when that is settled.

        Args:
            now: monotonic seconds.
            threads: threads of the pool.
            busy: items being executed; with none there was nothing to do, which says nothing.
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
            if self.useful is not None and share < BUSY_SHARE:  # they wait: nothing need end for that to be seen
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
