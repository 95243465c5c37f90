"""Notes in shared memory what a worker executes, so that its death names the items in flight.

The memory is a file without a name, mapped by the worker and by the process that started it. Each thread (or asyncio
task) of the pool has a slot of eight bytes, so that the note of one item is a single store and never half written:
the position of the item and the number of the attempt. It costs less than 0.1 µs an item. When the attempt has ended
the note stays, negative: an item may stop or ruin its worker and return in the moment before the worker ends.

A function that calls `os.fork` returns twice: once in the worker, and once in a copy of it that has its queue, its
pipe and one of its threads. The copy ends there; what it was forked for, it has done.
"""

from __future__ import annotations

import heapq
import mmap
import os
import tempfile
import threading
from array import array

SLOTS = 65_536
"""More threads than a process can have; pages that are never written take no memory."""
_SIZE = 8 * SLOTS
ATTEMPT_BITS = 20
MAX_ATTEMPT = (1 << ATTEMPT_BITS) - 1


def open_memory() -> int:
    """Return a file descriptor of memory for a `FlightRecorder`; the caller closes it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tui-runner")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _SIZE)
    return descriptor


def note(position: int, attempt: int) -> int:
    """Return what a slot holds while this attempt is executed; negative afterwards. 0 stands for none."""
    return position << ATTEMPT_BITS | min(attempt, MAX_ATTEMPT)


class FlightRecorder:
    """Slots for what is in flight.

    Args:
        descriptor: from `open_memory`; None for memory of this process alone.

    Attributes:
        slots: one number a thread, from `note`; each thread writes its own.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, _SIZE)
        self.slots = memoryview(self._memory).cast("q")
        self._lock = threading.Lock()
        self._free: list[int] = []
        self._used = 0

    def take_slot(self) -> int:
        """Return the lowest free slot; when all are taken, the last one is shared."""
        with self._lock:
            if self._free:
                return heapq.heappop(self._free)
            self._used = min(self._used + 1, SLOTS)
            return self._used - 1

    def give_back(self, slot: int) -> None:
        """Free a slot."""
        self.slots[slot] = 0
        with self._lock:
            heapq.heappush(self._free, slot)

    def read(self) -> dict[int, int]:
        """Return the number of the attempt by position, of what is in flight and of what each thread executed last.

        Of an item that several threads have, as the earlier one is stuck, it is the last attempt.
        """
        notes = sorted(map(abs, filter(None, array("q", self._memory[:]))))
        return {found >> ATTEMPT_BITS: found & MAX_ATTEMPT for found in notes}

    def close(self) -> None:
        """Release the memory."""
        self.slots.release()
        self._memory.close()


copied: list[int] = []
"""Not empty in a copy: a list, so that a thread has it at hand and its look at it costs nothing an item."""

os.register_at_fork(after_in_child=lambda: copied.append(os.getpid()))


def this_is_no_copy() -> None:
    """Mark this process as a worker of its own, although it may be a fork of the fork server."""
    copied.clear()
