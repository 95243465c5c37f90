"""Keeps a worker within its share of memory.

A function that leaks a megabyte per item fills gigabytes within a second, faster than another process could notice and
react. So each worker checks its own memory, 20 times a second and between items. Beyond its share it starts no more
items. Then there are two cases. If items are large, their memory is freed as they end, and the worker continues; the
pause has limited the number of items in flight. If there is a leak or a growing cache, the worker still uses too much
memory with nothing in flight, and asks to be replaced.

Python collects cyclic garbage by the number of objects, whatever their size: a parse tree of 8 MB that refers to itself
would stay until the worker is full (measured: 20 GB). So the worker also collects garbage whenever it has grown by
`GARBAGE_GROWTH`. Collecting takes at most a twentieth of its time.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import mmap
import os
import sys
import threading
from collections.abc import Callable
from enum import StrEnum

import psutil
import pyarrow as pa

from tui_runner.system.clock import time

LOOK_SECONDS = 0.05
"""Seconds between two checks of the watching thread. A leak can fill gigabytes within a second."""
CHECK_SECONDS = 0.01
"""Seconds between two checks by threads that have ended an item. These threads check too, because busy threads may keep
the watching thread from running for half a second, in which a job filled 600 MB."""
_LEAST_GROWTH = 64 << 20
"""Bytes that a worker may grow by, even if its share is smaller. Otherwise a worker with a tiny share would be replaced
before its first item ends, again and again."""
_RELEASED = 0.8
"""Items start again when the worker has grown by less than this share of the allowed growth. With a share near 1, the
worker would soon pause again."""
_PATIENCE = 5.0
"""Seconds that a worker which starts no items waits for items in flight to end, before it asks to be replaced. With
less, more items would be interrupted and run again; with more, a full worker would be idle for longer."""
_QUIET_LOOKS = 2
"""Checks in a row that must find no item in flight. One check is not enough, because a thread may just have taken an
item."""


GARBAGE_GROWTH = 100 << 20
"""Bytes by which the process grows before garbage is collected: a fifth of a share of 500 MB. With fewer bytes,
collections would be more frequent; with more, garbage would fill a larger part of a small worker."""
_GARBAGE_SHARE = 0.05
"""Largest share of a worker's time that is spent on collecting garbage. A collection stops every thread, and takes a
second with 10 million objects."""


class GarbageWatch:
    """The rule for collecting garbage, applied to figures that the caller passes. Not thread-safe.

    Args:
        rss: resident bytes of the process.
    """

    def __init__(self, rss: int) -> None:
        self._floor = rss
        """Fewest resident bytes since the last collection."""
        self._not_before = 0.0

    def is_due(self, rss: int, now: float) -> bool:
        """Return True if the process has grown by `GARBAGE_GROWTH`, and the last collection was long enough ago."""
        self._floor = min(self._floor, rss)
        return rss - self._floor >= GARBAGE_GROWTH and now >= self._not_before

    def collected(self, rss: int, now: float, seconds: float) -> None:
        """Record a collection that ended at `now`, took `seconds` of processor time and left `rss` bytes."""
        self._floor = rss
        self._not_before = now + seconds * (1 / _GARBAGE_SHARE - 1)


class Step(StrEnum):
    """The step that the memory limit takes after a check."""

    NOTHING = "nothing"
    BRAKE = "brake"
    """Start no more items."""
    CLEAN = "clean"
    """Nothing is in flight: return free memory to the system, then call `cleaned` with the remaining bytes."""
    RELEASE = "release"
    """Start items again."""
    GIVE_UP = "give up"
    """Ask to be replaced."""


class BrakeState:
    """The rules for starting items and replacing the worker, applied to figures from the caller. Not thread-safe.

    Args:
        share: bytes that the worker may use; None for no limit.
        baseline: resident bytes of the worker before its first item.
    """

    def __init__(self, share: int | None, baseline: int) -> None:
        self._baseline = baseline
        self._limit: int | None = None
        self._braked_at: float | None = None
        self._quiet = 0
        self._given_up = False
        self.set_share(share)

    def set_share(self, share: int | None) -> None:
        """Change the bytes that the worker may use; None for no limit."""
        self._limit = None if share is None else max(share, self._baseline + _LEAST_GROWTH)

    def check(self, rss: int, in_flight: int, now: float) -> Step:
        """Return the step to take when the process has `rss` resident bytes and `in_flight` items in execution."""
        if self._given_up:
            return Step.NOTHING
        if self._braked_at is None:
            if self._limit is None or rss <= self._limit:
                return Step.NOTHING
            self._braked_at, self._quiet = now, 0
            return Step.BRAKE
        if self._fits(rss):
            return self._release()
        self._quiet = 0 if in_flight else self._quiet + 1
        if self._quiet >= _QUIET_LOOKS:
            return Step.CLEAN
        return self._give_up() if now - self._braked_at >= _PATIENCE else Step.NOTHING

    def cleaned(self, rss: int) -> Step:
        """Return the next step after `Step.CLEAN` has left `rss` bytes."""
        return self._release() if self._fits(rss) else self._give_up()

    def _fits(self, rss: int) -> bool:
        # Compare with the allowed growth, not with the limit. If the share is small, even an idle worker is close to
        # the limit.
        return self._limit is None or rss - self._baseline <= _RELEASED * (self._limit - self._baseline)

    def _release(self) -> Step:
        self._braked_at = None
        return Step.RELEASE

    def _give_up(self) -> Step:
        self._given_up = True
        return Step.GIVE_UP


class MemoryLimit:
    """A limit on the memory of this process, which is checked in its own thread and between items.

    Args:
        share: bytes that the process may use; None for no limit.
        in_flight: returns the number of items being executed.
        set_braked: called with True to stop starting items, with False to start them again.
        give_up: called with the resident bytes to ask for a replacement.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        share: int | None,
        in_flight: Callable[[], int],
        set_braked: Callable[[bool], None],
        give_up: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        rss = resident_bytes()
        self._state = BrakeState(share, rss)
        self._garbage = GarbageWatch(rss)
        self._in_flight = in_flight
        self._set_braked = set_braked
        self._report = give_up
        self._clock = clock
        self._lock = threading.Lock()
        """Held during a check, because both the watching thread and item threads make checks."""
        self._next_check = 0.0
        self._ended = threading.Event()
        """Set by `end`; ends the wait for the next check at once."""
        # daemon: the thread waits for its next check when the process ends
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Start the watching thread."""
        self._thread.start()

    def set_share(self, share: int | None) -> None:
        """Change the bytes that the process may use; None for no limit."""
        with self._lock:
            self._state.set_share(share)

    def end(self) -> None:
        """End the watching thread."""
        self._ended.set()

    def check(self) -> None:
        """Check the memory, unless another thread has just done so. Called by every thread that has ended an item."""
        now = self._clock()
        # Never wait for the lock, because its holder is checking right now.
        if now >= self._next_check and self._lock.acquire(blocking=False):
            try:
                self._next_check = now + CHECK_SECONDS
                self._measure(now)
            finally:
                self._lock.release()

    def _run(self) -> None:
        # Item threads check only between items, which is not often enough if items run long.
        while not self._ended.wait(LOOK_SECONDS):
            with self._lock:
                self._measure(self._clock())

    def _measure(self, now: float) -> None:
        """Check the memory and take the next step. The caller holds the lock.

        Never raises, because threads that run items call it, and an exception would end such a thread.
        """
        try:
            rss = resident_bytes()
        except (OSError, psutil.Error):  # psutil needs a file descriptor, and none is left
            return
        if self._garbage.is_due(rss, now):
            # Measure processor time, because on a busy machine a collection mostly waits.
            began = time.thread_time()
            gc.collect()
            seconds = time.thread_time() - began
            with contextlib.suppress(OSError, psutil.Error):  # no descriptor is left: use the value measured above
                rss = resident_bytes()
            self._garbage.collected(rss, self._clock(), seconds)
        step = self._state.check(rss, self._in_flight(), now)
        if step is Step.CLEAN:
            give_back()
            with contextlib.suppress(OSError, psutil.Error):  # no descriptor is left
                rss = resident_bytes()
            step = self._state.cleaned(rss)
        if step is Step.GIVE_UP:
            self._report(rss)
        elif step is not Step.NOTHING:
            self._set_braked(step is Step.BRAKE)


def resident_bytes() -> int:
    """Return the resident bytes of this process.

    On Linux it needs no new file descriptor, because a function may have used up all of them.

    Raises:
        OSError: a descriptor is needed and none is left.
        psutil.Error: the system does not report the memory of the process.
    """
    try:
        return int(os.pread(_statm(os.getpid()), 200, 0).split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):  # another system; or the function has closed or reused the descriptor
        _statm.cache_clear()
        return int(psutil.Process().memory_info().rss)


@functools.cache
def _statm(pid: int) -> int:
    """Return an open descriptor of the memory figures of this process, whose id is `pid`.

    The id is the cache key, so that a forked process opens a descriptor of its own. Reading this file takes a tenth of
    the time that psutil needs.
    """
    return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)


def give_back() -> None:
    """Return unused memory to the system."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
        if trim is not None:
            trim(0)
