"""Measure how fast items end, and choose how much is sent ahead to workers and how large chunks are.

A worker that has to wait for its next chunk stands still; one that has much more than it needs holds memory, and is
late to see a chunk that was cancelled. So about a second of work is ahead of the workers, however many items that are,
and not more than 64 MB of packed items.

Where the user has not set the size of chunks, one takes some seconds: long enough that it costs nothing to send and to
record it, short enough that what is seen of a run, paused, cancelled and read again, is a small part of it.

Nothing is taken back from a worker. So where several share an input whose end is known, the last chunks become smaller
and less is ahead: else one worker would have seconds of work left when the others have none.
"""

from __future__ import annotations

from tui_runner.engine.metrics import RateWindow

FIRST_SIZE = 500
"""Items of the first chunks, until it is known how long an item takes."""
LARGEST_SIZE = 20_000
"""Items of a chunk whose size is automatic, at most."""
AHEAD_SECONDS = 1.0
"""Seconds of work that are ahead of the workers."""
AHEAD_BYTES = 64 << 20
"""Packed items that are ahead of the workers, those that wait to be sent included."""
_READ_SECONDS = 0.25
"""Seconds of work that wait to be sent."""
_SECONDS_A_CHUNK = (2.0, 10.0)
"""Seconds that a chunk of automatic size takes; as long as it does, the size stays."""
_AIM = 5.0
"""Rounded down, it is more than two of these seconds."""
_BYTES_A_CHUNK = AHEAD_BYTES // 8
"""Packed items of a chunk of automatic size, at most: the memory of a few chunks is the least that a run needs."""
_TAIL_SECONDS = 0.25
"""Least seconds of work that a worker is sent at once near the end of the input: more than between two reports."""
_GROUND_SECONDS = 0.3
"""Seconds between two reports that a rate can be told from."""


class Pace:
    """Measures how fast items end. Times are the run's active time.

    Args:
        chunk_size: items a chunk; None to choose it.

    Attributes:
        read_size: items of the newest chunk of the input; None before the first.
    """

    def __init__(self, chunk_size: int | None) -> None:
        self._is_automatic = chunk_size is None
        self._size = FIRST_SIZE if chunk_size is None else chunk_size
        self._window = RateWindow()
        self._first: tuple[float, int] | None = None
        self._ended = 0
        self._bytes_an_item = 0.0
        self.read_size: int | None = None

    def executed(self, items: int, active: float) -> None:
        """Count items that have just ended because they were executed."""
        if not items:
            return
        self._ended += items
        if self._first is None:
            self._first = active, self._ended
        self._window.add(active, self._ended)

    def read(self, items: int, nbytes: int) -> None:
        """Take in a chunk of the input: how many items it has, and their bytes when they are packed."""
        self.read_size = items
        self._bytes_an_item = nbytes / items

    def rate(self, active: float, threads: int) -> float | None:
        """Return the items that end per second; None before there is ground to tell: each thread has done one."""
        if self._first is None:
            return None
        since, before = self._first
        if active - since < _GROUND_SECONDS or self._ended - before < threads:
            return None
        return self._window.rate(active)

    def size(self, active: float, threads: int, workers: int, unread: int | None = None) -> int | None:
        """Return the items that the next chunk is to have; None for the size that is set.

        Args:
            active: now.
            threads: items executed at once, over all workers.
            workers: those that share the work; each has a chunk of its own.
            unread: items of the input that are not in a chunk; None where they are not counted.
        """
        if not self._is_automatic:
            return None
        each = (self.rate(active, threads) or 0.0) / workers
        shortest, longest = _SECONDS_A_CHUNK
        if each and not shortest <= self._size / each <= longest:
            # One that has fewer items than its worker has threads could not keep these busy.
            self._size = max(_rounded(_AIM * each), -(-threads // workers))
        most = _BYTES_A_CHUNK / self._bytes_an_item if self._bytes_an_item else LARGEST_SIZE
        self._size = max(1, min(self._size, LARGEST_SIZE, int(most)))
        if unread is None or workers == 1:
            return self._size
        return min(self._size, max(1, unread // (2 * workers), self._least(active, threads) // workers))

    def ahead(self, active: float, threads: int, unsent: int | None = None) -> int | None:
        """Return the items that workers are to have beyond those they have begun; None while that is not known.

        Args:
            active: now.
            threads: items executed at once, over all workers.
            unsent: items that no worker has; None where they are not counted, or all are for one worker.
        """
        rate = self.rate(active, threads)
        if rate is None:
            return None
        ahead = int(rate * AHEAD_SECONDS) + 2 * threads
        return ahead if unsent is None else min(ahead, max(unsent // 2, self._least(active, threads)))

    def _least(self, active: float, threads: int) -> int:
        """Return the items that all workers together need until they have reported and are sent more."""
        return max(threads, int((self.rate(active, threads) or 0.0) * _TAIL_SECONDS))

    def to_read(self, active: float, threads: int) -> int:
        """Return the items that are to wait in this process until they are sent."""
        return int((self.rate(active, threads) or 0.0) * _READ_SECONDS)

    def chunks_within(self, nbytes: int) -> int | None:
        """Return how many chunks of the present size are this many bytes; None where they are so small that any are."""
        each = self._bytes_an_item * self._size
        return int(nbytes / each) if each >= 1.0 else None


def _rounded(items: float) -> int:
    """Return the largest of 1, 2, 5, 10, 20, 50, … that is not larger than `items`."""
    power = 1
    while 10 * power <= items:
        power *= 10
    return next((step * power for step in (5, 2) if step * power <= items), power)
