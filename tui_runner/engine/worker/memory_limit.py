"""Keeps a worker within its share of memory.

It starts no more items when it has more, and asks to be replaced when that is not because of items in flight.

A function that leaks a megabyte an item fills gigabytes within a second, faster than anybody could notice from outside
and react. So each worker looks at its own memory, 20 times a second and between items, and brakes by itself. Then there
are two cases.

Python looks for garbage in cycles by the number of objects, whatever their size: a parse tree of 8 MB that refers to
itself would stay until the worker is full (measured: 20 GB). So whenever the worker has grown by `GARBAGE_GROWTH` it
looks for garbage, as often as that takes a twentieth of the time at most.

Large items: as they end their memory comes back, and the worker continues; the brake has bounded how many it runs at
once. A leak, or a cache that grows: with nothing in flight any more it still has too much, so it must be replaced.
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
"""Between two looks of the brake's own thread."""
GLANCE_SECONDS = 0.01
"""Between two looks of threads that have ended an item: the brake's own thread waits for the interpreter when they are
busy, for half a second at worst, in which they filled 600 MB."""
_LEAST_GROWTH = 64 << 20
"""Bytes that a worker may grow by whatever its share is: one that may not grow would be replaced before its first item
has ended, for ever."""
_RELEASED = 0.8
"""Of what it may grow by, below which a worker starts items again. With more at rest it would soon brake again."""
_PATIENCE = 5.0
"""Seconds for items in flight to end; a worker that has too much for longer is replaced while it waits for them."""
_QUIET_LOOKS = 2
"""Looks in a row without an item in flight: one may have been taken and not yet be seen."""


GARBAGE_GROWTH = 100 << 20
"""Bytes that a worker grows by before it looks for garbage: a fifth of what a small one may have."""
_GARBAGE_SHARE = 0.05
"""Of the time, at most, for looking for garbage: it stops every thread, and takes a second with 10 M objects."""


class GarbageWatch:
    """Says when to look for garbage; it is fed with figures. Not thread-safe.

    Args:
        rss: bytes that the process has.
    """

    def __init__(self, rss: int) -> None:
        self._floor = rss
        """Bytes after the last look, or since, when they became fewer."""
        self._not_before = 0.0

    def is_due(self, rss: int, now: float) -> bool:
        """Return True if the process has grown enough since the last look."""
        self._floor = min(self._floor, rss)
        return rss - self._floor >= GARBAGE_GROWTH and now >= self._not_before

    def looked(self, rss: int, now: float, seconds: float) -> None:
        """Take in that a look has ended at `now`, took `seconds` of a processor, and left `rss` bytes."""
        self._floor = rss
        self._not_before = now + seconds * (1 / _GARBAGE_SHARE - 1)


class Step(StrEnum):
    """The next step of the memory limit after a look."""

    NOTHING = "nothing"
    BRAKE = "brake"
    """Start no more items."""
    CLEAN = "clean"
    """Nothing is in flight: give back what can be given back, then say by `cleaned` what is left."""
    RELEASE = "release"
    """Start items again."""
    GIVE_UP = "give up"
    """Ask to be replaced."""


class BrakeState:
    """The decisions of the brake; it is fed with figures. Not thread-safe.

    Args:
        share: bytes that the worker may have; None for no bound.
        baseline: bytes it had before its first item.
    """

    def __init__(self, share: int | None, baseline: int) -> None:
        self._baseline = baseline
        self._limit: int | None = None
        self._braked_at: float | None = None
        self._quiet = 0
        self._given_up = False
        self.set_share(share)

    def set_share(self, share: int | None) -> None:
        """Change the bytes that the worker may have."""
        self._limit = None if share is None else max(share, self._baseline + _LEAST_GROWTH)

    def look(self, rss: int, in_flight: int, now: float) -> Step:
        """Return what to do with `rss` bytes in use and `in_flight` items being executed."""
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
        """Return what to do when `rss` bytes are left after everything was given back."""
        return self._release() if self._fits(rss) else self._give_up()

    def _fits(self, rss: int) -> bool:
        # Of what the worker grew by: at rest it may be close to a small share.
        return self._limit is None or rss - self._baseline <= _RELEASED * (self._limit - self._baseline)

    def _release(self) -> Step:
        self._braked_at = None
        return Step.RELEASE

    def _give_up(self) -> Step:
        self._given_up = True
        return Step.GIVE_UP


class MemoryLimit:
    """Looks at the memory of this process, in a thread of its own, and brakes.

    Args:
        share: bytes that the process may have; None for no bound.
        in_flight: how many items are being executed.
        set_braked: opens and closes the way for new items.
        give_up: asks to be replaced; takes the bytes in use.
        clock: monotonic seconds.
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
        self._next_glance = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def set_share(self, share: int | None) -> None:
        """Change the bytes that the process may have."""
        with self._lock:
            self._state.set_share(share)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def glance(self) -> None:
        """Look, unless another thread has just done so; called by every thread that has ended an item."""
        now = self._clock()
        if now >= self._next_glance and self._lock.acquire(blocking=False):
            try:
                self._next_glance = now + GLANCE_SECONDS
                self._look(now)
            finally:
                self._lock.release()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with self._lock:
                self._look(self._clock())

    def _look(self, now: float) -> None:
        """Look, and take the next step; the caller has the lock.

        Never raises: threads that run items call it, and one that died of it would be missing.
        """
        try:
            rss = resident_bytes()
        except (OSError, psutil.Error):  # no descriptor is left, where one is needed
            return
        if self._garbage.is_due(rss, now):
            # Processor time: on a busy machine a look may wait much longer than it takes.
            began = time.thread_time()
            gc.collect()
            seconds = time.thread_time() - began
            with contextlib.suppress(OSError, psutil.Error):
                rss = resident_bytes()
            self._garbage.looked(rss, self._clock(), seconds)
        step = self._state.look(rss, self._in_flight(), now)
        if step is Step.CLEAN:
            give_back()
            with contextlib.suppress(OSError, psutil.Error):
                rss = resident_bytes()
            step = self._state.cleaned(rss)
        if step is Step.GIVE_UP:
            self._report(rss)
        elif step is not Step.NOTHING:
            self._set_braked(step is Step.BRAKE)


def resident_bytes() -> int:
    """Return the resident memory of this process, in bytes.

    On Linux it needs no new file descriptor: a function may have used up all that there are.

    Raises:
        OSError: no descriptor is left where one is needed.
        psutil.Error: the system does not say.
    """
    try:
        return int(os.pread(_statm(os.getpid()), 200, 0).split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):  # another system; or the function has closed, or even reused, it
        _statm.cache_clear()
        return int(psutil.Process().memory_info().rss)


@functools.cache
def _statm(pid: int) -> int:
    """Return a descriptor of the memory figures, in pages, of process `pid`, this one; it stays open as long as that.

    Reading it takes a tenth of the time of psutil.
    """
    return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)


def give_back() -> None:
    """Give unused memory back to the system."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
        if trim is not None:
            trim(0)
