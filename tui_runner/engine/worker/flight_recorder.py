"""Records in shared memory which items a worker executes, so that they are known after its death.

The memory is an anonymous file, mapped by the worker and by the process that started it. Each thread (or asyncio task)
of the pool has a slot of eight bytes. The slot contains a *note*: the position of the item and the number of the
attempt, combined in one integer. So a note is written by a single store, which cannot be half done, and costs less than
0.1 µs per item. When the attempt has ended, the note stays with a negative sign, because an item may damage its worker
and return shortly before the worker ends.

If a function calls `os.fork`, the child is a copy of the worker that has its queue, its pipe and one of its threads.
The child ends as soon as its item has ended (`copied`), otherwise it would report the worker's items a second time.
"""

from __future__ import annotations

import heapq
import mmap
import os
import tempfile
import threading
from array import array

SLOTS = 65_536
"""Number of slots: more than a process usually has threads. Further threads share the last slot. Pages of the mapping
that are never written take no memory."""
_SIZE = 8 * SLOTS
"""Bytes of the mapping: eight for each slot."""
ATTEMPT_BITS = 20
"""Number of low bits of a note that hold the attempt; the other 43 bits hold the position. So an item may have a
million attempts, and a run 8 trillion items."""
MAX_ATTEMPT = (1 << ATTEMPT_BITS) - 1
"""Largest number of an attempt in a note; later attempts are recorded as this one."""


def open_memory() -> int:
    """Return a file descriptor of the memory for a `FlightRecorder`; the caller closes it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tui-runner")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _SIZE)
    return descriptor


def note(position: int, attempt: int) -> int:
    """Return the note of an attempt in flight. The note of an ended attempt is its negative; 0 means none."""
    return position << ATTEMPT_BITS | min(attempt, MAX_ATTEMPT)


class FlightRecorder:
    """The notes of a worker: one slot for each of its threads.

    Args:
        descriptor: from `open_memory`; None for memory of this process alone.

    Attributes:
        slots: the notes; each thread writes only at the index that `take_slot` has returned to it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, _SIZE)
        self.slots = memoryview(self._memory).cast("q")
        self._lock = threading.Lock()
        """Guards the free slots. The notes need no lock, because a note is written by a single store."""
        self._free: list[int] = []
        self._used = 0

    def take_slot(self) -> int:
        """Return the lowest free slot. If all are taken, return the last one, which is then shared."""
        with self._lock:
            if self._free:
                return heapq.heappop(self._free)
            self._used = min(self._used + 1, SLOTS)
            return self._used - 1

    def give_back(self, slot: int) -> None:
        """Clear a slot and make it free."""
        self.slots[slot] = 0
        with self._lock:
            heapq.heappush(self._free, slot)

    def read(self) -> dict[int, int]:
        """Return {position: attempt} of the items in flight and of the last item of each thread.

        If several threads have the same item, because an earlier attempt hangs, the latest attempt is returned.
        """
        notes = sorted(map(abs, filter(None, array("q", self._memory[:]))))
        return {found >> ATTEMPT_BITS: found & MAX_ATTEMPT for found in notes}

    def close(self) -> None:
        """Unmap the memory."""
        self.slots.release()
        self._memory.close()


copied: list[int] = []
"""Not empty in a forked copy of a worker. Threads check it after each item; a list can be checked without a call."""

os.register_at_fork(after_in_child=lambda: copied.append(os.getpid()))


def this_is_no_copy() -> None:
    """Clear `copied` in a new worker, because the fork server has forked the worker and so has filled `copied`."""
    copied.clear()
