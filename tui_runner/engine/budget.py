"""How many retries a worker may make: in step with what goes well, so that an outage does not multiply the load.

While a service is down every item is tried again, and again: with two retries it gets three times the requests just
when it can least bear them. So in any ten seconds there may be a retry for every item that ended well in them, for a
fifth of those whose first attempt failed, and one a second for every thread. Those beyond wait until there is room;
they are not given up.

Where most things go well this bounds nothing: a source that fails now and then is not slowed down, and what waits
after an outage is made up for at full speed. The share and the floor are those of Finagle's `RetryBudget`
(percentCanRetry 0.2, minRetriesPerSec 10), but for the floor: one for each thread and second is what threads that wait
for a slow service can make at all, so the budget bites only where failures come faster than answers would.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

DEFAULT_SHARE = 0.2
_WINDOW = 10
"""Seconds that count as recent: Finagle's `ttl`."""


@dataclass(slots=True)
class _Second:
    """What happened in one second."""

    number: int
    ok: int = 0
    failed: int = 0
    retries: int = 0


class RetryBudget:
    """Says whether a retry may be made now. Its owner calls it under its own lock.

    Args:
        share: retries for each item whose first attempt failed lately.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._seconds: deque[_Second] = deque()
        self._ok = self._failed = self._retries = 0

    def count(self, ok: int, failed: int, now: float) -> None:
        """So many items have ended well, and the first attempts of so many have failed."""
        second = self._present(now)
        second.ok += ok
        second.failed += failed
        self._ok += ok
        self._failed += failed

    def take(self, threads: int, now: float) -> bool:
        """Take a retry out of the budget, if there is one; `threads` is how many execute items."""
        second = self._present(now)
        if self._retries + 1 > self._ok + self._share * self._failed + threads * _WINDOW:
            return False
        second.retries += 1
        self._retries += 1
        return True

    def _present(self, now: float) -> _Second:
        """The counts of this second; those that are too old are forgotten."""
        number = int(now)
        while self._seconds and self._seconds[0].number <= number - _WINDOW:
            old = self._seconds.popleft()
            self._ok -= old.ok
            self._failed -= old.failed
            self._retries -= old.retries
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]
