"""Measures the rate at which items end, and chooses the size of chunks and the work sent ahead to workers.

A worker without work ahead idles while it waits for its next chunk. A worker with too much work ahead holds memory, and
notices late that a chunk was cancelled. So the workers have about a second of work ahead, and at most 64 MB of packed
items.

A chunk of automatic size takes some seconds. That is long enough to make the cost of sending and recording a chunk
negligible. It is short enough for progress, pausing, cancelling and resuming, which work by chunk.

A worker never gives items back. So if several workers share an input of known length, the last chunks become smaller
and less work is sent ahead. Otherwise one worker would have seconds of work left when the others have none.
"""

from __future__ import annotations

from tui_runner.engine.metrics import RateWindow

FIRST_SIZE = 500
"""Items of the first chunks, before the duration of items is known. With 16 threads, such a chunk of items that take a
second ends in half a minute. If items take microseconds, the next chunks are larger."""
LARGEST_SIZE = 20_000
"""Largest automatic chunk size in items. A chunk is the unit of progress and of cancelling, so it stays small."""
AHEAD_SECONDS = 1.0
"""Seconds of work that workers have ahead. It is more than the time between two reports of a worker (0.2 s), so that
workers do not run out of items in between."""
AHEAD_BYTES = 64 << 20
"""Most bytes of packed items in open chunks and in chunks that wait to be sent. Each open chunk is in memory twice, in
this process and in its worker, so they take about 128 MB."""
_READ_SECONDS = 0.25
"""Seconds of work that wait in this process, so that reading the input and sending overlap."""
_SECONDS_A_CHUNK = (2.0, 10.0)
"""Range of seconds that chunks may take without a change of their size. It is wide, so that noise does not change the
size."""
_AIM = 5.0
"""Seconds that a chunk of a newly chosen size should take. Even after the size is rounded down to 1, 2 or 5 times a
power of ten, the chunk takes at least 2 seconds."""
_BYTES_A_CHUNK = AHEAD_BYTES // 8
"""Most bytes of packed items in a chunk of automatic size. `AHEAD_BYTES` has to be enough for several chunks."""
_TAIL_SECONDS = 0.25
"""Least seconds of work that workers have ahead near the end of the input. It is more than the time between two reports
of a worker (0.2 s)."""
_GROUND_SECONDS = 0.3
"""Seconds over which a rate must be measured. A shorter time may lie between two reports of a worker (0.2 s)."""


class Pace:
    """The rate at which items end, and the sizes that follow from it. Times are working seconds (`ActiveClock`).

    Args:
        chunk_size: items per chunk; None to choose it automatically.

    Attributes:
        read_size: number of items of the chunk that was read last; None before the first chunk.
    """

    def __init__(self, chunk_size: int | None) -> None:
        self._is_automatic = chunk_size is None
        self._size = FIRST_SIZE if chunk_size is None else chunk_size
        self._window = RateWindow()
        self._first: tuple[float, int] | None = None
        self._ended = 0
        self._bytes_an_item = 0.0
        self.read_size: int | None = None

    def executed(self, items: int, working: float) -> None:
        """Count items that have just been executed, whatever the result."""
        if not items:
            return
        self._ended += items
        if self._first is None:
            self._first = working, self._ended
        self._window.add(working, self._ended)

    def read(self, items: int, nbytes: int) -> None:
        """Record the number of items and the packed bytes of a chunk of the input."""
        self.read_size = items
        self._bytes_an_item = nbytes / items

    def rate(self, working: float, threads: int) -> float | None:
        """Return the items that end per second.

        Return None until 0.3 s have passed and `threads` items have ended, both counted from the first report.
        """
        if self._first is None:
            return None
        since, before = self._first
        if working - since < _GROUND_SECONDS or self._ended - before < threads:
            return None
        return self._window.rate(working)

    def size(self, working: float, threads: int, workers: int, unread: int | None = None) -> int | None:
        """Return the number of items of the next chunk; None if the user has set the size.

        Args:
            working: current working time.
            threads: items executed at once, over all workers.
            workers: number of workers; each has a chunk of its own, so a chunk is sized for one worker's rate.
            unread: items of the input that are not in a chunk yet; None if they are not counted.
        """
        if not self._is_automatic:
            return None
        each = (self.rate(working, threads) or 0.0) / workers
        shortest, longest = _SECONDS_A_CHUNK
        if each and not shortest <= self._size / each <= longest:
            # A chunk with fewer items than its worker has threads would leave threads idle.
            self._size = max(_rounded(_AIM * each), -(-threads // workers))
        most = _BYTES_A_CHUNK / self._bytes_an_item if self._bytes_an_item else LARGEST_SIZE
        self._size = max(1, min(self._size, LARGEST_SIZE, int(most)))
        if unread is None or workers == 1:
            return self._size
        return min(self._size, max(1, unread // (2 * workers), self._least(working, threads) // workers))

    def ahead(self, working: float, threads: int, unsent: int | None = None) -> int | None:
        """Return the number of items that workers should have, started or not; None while the rate is unknown.

        Two items per thread are added to a second of work: one that is executed, and one to start next.

        Args:
            working: current working time.
            threads: items executed at once, over all workers.
            unsent: items that no worker has; None if they are not counted, or if there is only one worker.
        """
        rate = self.rate(working, threads)
        if rate is None:
            return None
        ahead = int(rate * AHEAD_SECONDS) + 2 * threads
        return ahead if unsent is None else min(ahead, max(unsent // 2, self._least(working, threads)))

    def _least(self, working: float, threads: int) -> int:
        """Return the number of items that keep all workers busy while they report and receive more items."""
        return max(threads, int((self.rate(working, threads) or 0.0) * _TAIL_SECONDS))

    def to_read(self, working: float, threads: int) -> int:
        """Return the number of items that should wait in this process to be sent."""
        return int((self.rate(working, threads) or 0.0) * _READ_SECONDS)

    def chunks_within(self, nbytes: int) -> int | None:
        """Return the number of chunks of the current size that fit into `nbytes`; None if chunks are almost empty."""
        each = self._bytes_an_item * self._size
        return int(nbytes / each) if each >= 1.0 else None


def _rounded(items: float) -> int:
    """Return the largest of 1, 2, 5, 10, 20, 50, … that is at most `items`, or 1. People read the size."""
    power = 1
    while 10 * power <= items:
        power *= 10
    return next((step * power for step in (5, 2) if step * power <= items), power)
