"""How many retries a worker may make: a share of the items that end, so that an outage does not multiply the load.

While a service is down every item is tried again, and again: with two retries it gets three times the requests just
when it can least bear them. So in any ten seconds retries may be a fifth of the items whose first attempt ended in
them, and one a second for every thread. Those beyond wait until there is room; they are not given up.

The share and the floor are those of Finagle's `RetryBudget` (percentCanRetry 0.2, minRetriesPerSec 10), but for the
floor: one for each thread and second is what threads that wait for a slow service can make at all, so the budget
bites only where failures come faster than answers would.
"""

from __future__ import annotations

from collections import deque

DEFAULT_SHARE = 0.2
_WINDOW = 10
"""Seconds that count as recent: Finagle's `ttl`."""


class RetryBudget:
    """Says whether a retry may be made now. Its owner calls it under its own lock.

    Args:
        share: retries for each item that ended lately.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._seconds: deque[list[int]] = deque()
        """Of each second that is not too long ago: which one, items that ended in it, retries made in it."""
        self._items = 0
        self._retries = 0

    def count(self, items: int, now: float) -> None:
        """The first attempts of so many items have ended."""
        self._present(now)[1] += items
        self._items += items

    def take(self, threads: int, now: float) -> bool:
        """Take a retry out of the budget, if there is one; `threads` is how many execute items."""
        second = self._present(now)
        if self._retries + 1 > self._share * self._items + threads * _WINDOW:
            return False
        second[2] += 1
        self._retries += 1
        return True

    def _present(self, now: float) -> list[int]:
        """The counts of this second; those that are too old are forgotten."""
        number = int(now)
        while self._seconds and self._seconds[0][0] <= number - _WINDOW:
            _, items, retries = self._seconds.popleft()
            self._items -= items
            self._retries -= retries
        if not self._seconds or self._seconds[-1][0] != number:
            self._seconds.append([number, 0, 0])
        return self._seconds[-1]
