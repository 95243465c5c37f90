"""Finds the number of threads that is of use when a job is CPU-bound.

Python executes one thread at a time. Where a function computes, more threads than processors only take the
interpreter's lock from each other (measured: 8,000 items of 1 ms on 16 threads took 5.6 s where two took 3.3). Whether
it computes cannot be told from how long its items take, for waiting for the lock looks like waiting for a server. So it
is tried out, in three ways.

Begin with few: 500 threads that all begin to compute end their first items together, after seconds (measured: 5 s for
tables that take 6 ms each). `FIRST` threads begin, and twice as many every `RAMP_SECONDS`, until the interpreter, or
every processor, is busy.

Climb down: while the process keeps a processor busy, the items executed at once are halved for as long as no less is
done. If less is done the step is taken back.

Climb up: where fewer did less, twice as many may do more, for the function computes outside of the interpreter. They
are kept for as long as more is done. Then nothing is tried for `HOLD_SECONDS`.

Whenever the processor has time to spare, twice as many threads are of use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

FIRST = 16
"""Threads that begin. A server that is asked by so many has begun to answer before the others follow."""
RAMP_SECONDS = 0.01
"""Between two looks while threads are added: 500 are at work after 60 ms."""
WINDOW_SECONDS = 0.2
"""Least time between two looks after that."""
WINDOW_ITEMS = 32
"""Items that must have ended in it: fewer say little about how many end in a second."""
BUSY_SHARE = 0.9
"""Share of one processor from which a process counts as busy."""
FREE_SHARE = 2.0
"""Share from which functions compute outside of the interpreter: what holds its lock takes one processor, and what the
worker does beside it less than another."""
LONG_SECONDS = 5.0
"""Time without `WINDOW_ITEMS` after which twice as many threads are of use: long items lose little to each other, and
would keep processors idle for hours if they had to end first."""
LOSS = 0.9
"""Share of what was done before a step down, below which it was one too many."""
GAIN = 1.1
"""Share of what was done before a step up, below which it was no gain."""
HOLD_SECONDS = 30.0
LEAST = 2
"""One that computes, and one that may wait for something."""


class _Trial(NamedTuple):
    """A step that is on trial.

    Attributes:
        up: whether more items are executed at once than before.
        share: share of a processor before it.
        rate: items a second before it.
    """

    up: bool
    share: float
    rate: float


class ThreadTuner:
    """Says how many items are of use at once.

    Args:
        cpu: processor seconds that this process has used.
        processors: how many processors it may use.
    """

    def __init__(self, cpu: Callable[[], float], processors: int = 1) -> None:
        self._cpu = cpu
        self._processors = processors
        self.useful: int | None = FIRST
        """Items to execute at once; None for as many as there are threads."""
        self.is_ramping = True
        """True while threads are added at short intervals, so that looks are due every `RAMP_SECONDS`."""
        self._since: tuple[float, float] | None = None
        self._items = 0
        self._trial: _Trial | None = None
        self._climbs = False
        """True if a step up is to be tried next."""
        self._descended = False
        """True if a step down was no loss: more items at once are known to be no gain."""
        self._hold_until = 0.0
        self._said = False

    def count(self, items: int) -> None:
        """Count items that have ended."""
        self._items += items

    def look(self, now: float, threads: int, *, busy: int, throttled: bool = False) -> str | None:
        """Take in what was done since the last look; return what a person should know, once, when that is settled.

        Args:
            now: monotonic seconds.
            threads: threads of the pool.
            busy: items being executed; with none there was nothing to do, which says nothing.
            throttled: whether threads wait for rows to be written.
        """
        if self.useful is not None and self.useful >= threads:
            self.useful = None
        if threads <= LEAST or not busy:
            self._restart(now)
            if threads <= LEAST:
                self.useful = None
            return None
        if self._since is None:
            self._restart(now)
            return None
        seconds = now - self._since[0]
        self.is_ramping &= self.useful is not None
        if seconds < (RAMP_SECONDS if self.is_ramping else WINDOW_SECONDS):
            return None
        share, rate = (self._cpu() - self._since[1]) / seconds, self._items / seconds
        if share < BUSY_SHARE and self.useful is not None and (self.is_ramping or self._items < WINDOW_ITEMS):
            self.useful, self._trial = self._doubled(threads), None  # they wait: nothing need end for that to be seen
            self._restart(now)
        elif self.is_ramping:
            if FREE_SHARE <= share < BUSY_SHARE * self._processors:
                self.useful = self._doubled(threads)
            else:
                self.is_ramping = False
            self._restart(now)
        elif self._items >= WINDOW_ITEMS:
            self._restart(now)
            return self._judge(now, threads, share, rate, throttled=throttled)
        elif seconds >= LONG_SECONDS and self.useful is not None:
            self.useful, self._trial = self._doubled(threads), None
            self._restart(now)
        return None

    def _restart(self, now: float) -> None:
        self._since, self._items = (now, self._cpu()), 0

    def _judge(self, now: float, threads: int, share: float, rate: float, *, throttled: bool) -> str | None:
        trial, self._trial = self._trial, None
        at_once = min(threads, self.useful or threads)
        if trial is not None and trial.up and rate < GAIN * trial.rate:
            self.useful = max(LEAST, at_once // 2)
            return self._hold(now, threads)
        if throttled and share >= BUSY_SHARE and at_once > LEAST:
            self.useful = max(LEAST, at_once // 2)  # it is the database that says how much is done
            return None
        if trial is not None and not trial.up and (share < LOSS * trial.share or rate < LOSS * trial.rate):
            self.useful = self._doubled(threads)
            self._climbs = not self._descended and self.useful is not None
            return None if self._climbs else self._hold(now, threads)
        if share < BUSY_SHARE:
            self.useful = self._doubled(threads)
            return None
        if now < self._hold_until:
            return None
        up = self._climbs or (trial is not None and trial.up)
        self._climbs = False
        if at_once == (threads if up else LEAST):
            return self._hold(now, threads)
        self._descended |= trial is not None and not up
        self._trial = _Trial(up, share, rate)
        self.useful = self._doubled(threads) if up else max(LEAST, at_once // 2)
        return None

    def _hold(self, now: float, threads: int) -> str | None:
        """Try nothing for a while; return what a person should know, once."""
        self._hold_until = now + HOLD_SECONDS
        if self._said or self.useful is None:
            return None
        self._said = True
        return (
            f"the job keeps the processor busy: {self.useful} of {threads} threads run at once, for more would be no"
            " gain; --workers uses more processors"
        )

    def _doubled(self, threads: int) -> int | None:
        doubled = None if self.useful is None else 2 * self.useful
        return None if doubled is None or doubled >= threads else doubled
