"""Finds the useful number of threads for a CPU-bound job.

Python executes one thread at a time. If a function computes, more threads than processors only compete for the
interpreter lock (measured: 8,000 items of 1 ms took 5.6 s on 16 threads and 3.3 s on two). The duration of items does
not reveal a function that computes, because waiting for the lock looks like waiting for a server. So the number is
found by trial, in three ways.

*Ramp*: 500 threads that all begin to compute end their first items together, after seconds (measured: 5 s for tables
that take 6 ms each). So `FIRST` threads begin, and the number doubles every `RAMP_SECONDS` until the interpreter lock,
or every processor, is busy. Items that first wait and then compute look idle at first (measured: 500 such items kept
the interpreter lock from the reporter for 11 s), so more than `UNTRIED` threads begin only after `WINDOW_ITEMS` items
have ended, or `UNTRIED_SECONDS` have passed.

*Steps down*: while the process keeps a processor busy, the items executed at once are halved as long as throughput does
not fall. If it falls, the last step is undone.

*Steps up*: if throughput has fallen with fewer items at once, it may rise with more, because the function may compute
outside of the interpreter lock. The number is doubled as long as throughput rises. After that, no step is tried for
`HOLD_SECONDS`.

If the processor has idle time, the number is doubled, except after a step up that brought no throughput.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

FIRST = 16
"""Number of threads at the start. A server must not get a request of every thread in the same moment: it has begun to
respond to 16 requests before more follow."""
UNTRIED = 128
"""Number of threads up to which the ramp does not wait for items to end. If 128 threads compute at once, the reporter
is late by a second."""
UNTRIED_SECONDS = 1.0
"""Seconds for which the ramp waits at `UNTRIED` threads. Items that take longer probably wait and do not compute, and
all threads should work soon."""
RAMP_SECONDS = 0.01
"""Seconds between two measurements during the ramp: `UNTRIED` threads work after 30 ms."""
BUSY_LOOKS = 3
"""Measurements in a row that must find the process busy to end the ramp. Starting threads and reading the first chunk
keeps the process busy for longer than one measurement. When one measurement was enough to end the ramp, a pool of 100
threads for items that wait was complete 0.6 s late."""
WINDOW_SECONDS = 0.2
"""Least seconds of a measurement after the ramp: the time between two runs of the reporter."""
WINDOW_ITEMS = 32
"""Items that must end within a measurement; a rate of fewer items is mostly noise."""
BUSY_SHARE = 0.9
"""Least share of one processor that makes the process count as CPU-bound. It is below 1, so that short waits do not
matter."""
FREE_SHARE = 2.0
"""Least number of used processors that shows that the function computes outside of the interpreter lock. Code that
holds the lock uses one processor, and the worker's own work uses less than a second one."""
LONG_SECONDS = 5.0
"""Seconds after which the number is doubled if fewer than `WINDOW_ITEMS` items have ended. Long items slow each other
down little, and processors would idle for hours if 32 long items had to end first."""
LOSS = 0.9
"""A step down is undone if throughput falls below this share of the previous throughput; smaller losses are noise."""
GAIN = 1.1
"""A step up is undone if throughput stays below this share of the previous throughput; smaller gains are noise."""
HOLD_SECONDS = 30.0
"""Seconds without a new trial after a step was undone, because each trial costs throughput."""
LEAST = 2
"""Smallest number of items executed at once. While one of two computes, the other may wait for something."""


class _Trial(NamedTuple):
    """A step whose effect is being measured.

    Attributes:
        up: True if more items are executed at once than before.
        share: share of a processor that was used before the step.
        rate: items per second before the step.
    """

    up: bool
    share: float
    rate: float


class ThreadTuner:
    """A controller of the number of items that are executed at once.

    Args:
        cpu: returns the processor seconds that this process has used.
        processors: number of processors that this process may use.
    """

    def __init__(self, cpu: Callable[[], float], processors: int = 1) -> None:
        self._cpu = cpu
        self._processors = processors
        self.useful: int | None = FIRST
        """Items to execute at once; None for all threads."""
        self.is_ramping = True
        """True while threads are added at short intervals, so that a measurement is due every `RAMP_SECONDS`."""
        self._ramp_items = 0
        """Items that have ended since the start."""
        self._ramp_end = 0.0
        """Time until which the ramp waits for items to end, by the clock of `measure`; 0 before items wait."""
        self._busy_looks = 0
        """Measurements of the ramp in a row that found the process busy."""
        self._since: tuple[float, float] | None = None
        self._items = 0
        self._trial: _Trial | None = None
        """The step whose effect is being measured; None if no effect is being measured."""
        self._climbs = False
        """True if a step up is tried next."""
        self._descended = False
        """True if a step down has cost no throughput. More items at once are no gain then, so no step up is tried."""
        self._hold_until = 0.0
        self._has_reported = False

    def count(self, items: int) -> None:
        """Count `items` items that have ended since the last call."""
        self._items += items
        self._ramp_items += items

    def measure(self, now: float, threads: int, *, busy: int, throttled: bool = False) -> str | None:
        """Measure the load since the last call and adjust `useful`.

        Return a text for the run's log when `useful` is settled for the first time, otherwise None.

        Args:
            now: monotonic seconds.
            threads: threads of the pool.
            busy: items being executed. With 0, the worker had nothing to do and the measurement is discarded.
            throttled: True if threads wait for rows to be written.
        """
        if not busy:
            self._since = None
            return None
        if self._since is None:
            self._restart(now)
            return None
        if self.useful is not None and self.useful >= threads:
            self.useful = None
        if threads <= LEAST:
            self._restart(now)
            self.useful = None
            return None
        seconds = now - self._since[0]
        self.is_ramping &= self.useful is not None
        if seconds < (RAMP_SECONDS if self.is_ramping else WINDOW_SECONDS):
            return None
        share, rate = (self._cpu() - self._since[1]) / seconds, self._items / seconds
        if share < BUSY_SHARE and self.useful is not None and (self.is_ramping or self._items < WINDOW_ITEMS):
            # The items are waiting now, which is known before any item has ended.
            self._ramp_end = self._ramp_end or now + UNTRIED_SECONDS
            is_tried = self._ramp_items >= WINDOW_ITEMS or now >= self._ramp_end
            if not self.is_ramping or self.useful < UNTRIED or is_tried:
                self.useful, self._trial = self._doubled(threads), None
            self._busy_looks = 0
            self._restart(now)
        elif self.is_ramping:
            if FREE_SHARE <= share < BUSY_SHARE * self._processors:
                self.useful = self._doubled(threads)
            else:
                self._busy_looks += 1
                self.is_ramping = self._busy_looks < BUSY_LOOKS
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
        """Compare a measurement with the one before the last step, and take the next step.

        Return a text for the run's log, or None.
        """
        trial, self._trial = self._trial, None
        at_once = min(threads, self.useful or threads)
        if trial is not None and trial.up and rate < GAIN * trial.rate:
            self.useful = max(LEAST, at_once // 2)
            return self._hold(now, threads)
        if throttled and share >= BUSY_SHARE and at_once > LEAST:
            # The database limits the throughput, so the rate shows nothing about the threads.
            self.useful = max(LEAST, at_once // 2)
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
        """Try no step for `HOLD_SECONDS`. Return a text for the run's log the first time, otherwise None."""
        self._hold_until = now + HOLD_SECONDS
        if self._has_reported or self.useful is None:
            return None
        self._has_reported = True
        return (
            f"the job keeps the processor busy: {self.useful} of {threads} threads run at once, because more would not"
            " be faster; --workers uses more processors"
        )

    def _doubled(self, threads: int) -> int | None:
        doubled = None if self.useful is None else 2 * self.useful
        return None if doubled is None or doubled >= threads else doubled
