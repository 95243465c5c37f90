"""Limits of a run: items started per second, and failed items."""

from __future__ import annotations

from dataclasses import dataclass

_BURST_SECONDS = 0.1
"""Most seconds whose missed starts are made up for at once after threads were late. 0.1 s evens out
delays of thread scheduling, and is too short for a burst that a server would notice."""


class RateLimit:
    """A limit of `rate` starts per second, evenly spaced. Not thread-safe: the owner has to guard its calls by a lock.

    This is the generic cell rate algorithm (ITU-T I.371, annex A): its state is the time at which the next start is
    due.
    """

    def __init__(self, rate: float) -> None:
        if rate <= 0:
            raise ValueError("a rate must be greater than 0")
        self.rate = rate
        self._due = float("-inf")

    def wait(self, now: float) -> float:
        """Return the seconds until the next start is due; 0 if it is due now."""
        return max(0.0, self._due - now)

    def take(self, now: float) -> float:
        """Take a start and return 0 if one is due; otherwise return the seconds until the next one is due."""
        due = max(self._due, now - _BURST_SECONDS)
        if due > now:
            return due - now
        self._due = due + 1.0 / self.rate
        return 0.0

    def change(self, rate: float, now: float) -> None:
        """Change the rate. The next start stays due when it was due before, but at most `1 / rate` seconds from now."""
        self.rate = rate
        self._due = min(self._due, now + 1.0 / rate)


def share_of(percentage: str | None) -> float | None:
    """Return 0.2 for `"20%"`, None for None. Raise `ValueError` for anything but a percentage from 0 to 100."""
    if percentage is None:
        return None
    share = float(percentage.strip().removesuffix("%")) / 100
    if not 0 <= share <= 1:
        raise ValueError("a percentage must be between 0% and 100%")
    return share


_SHARE_GROUND = 100
"""Items that must have finished before a share of failures is checked, because one failure among the first ten items
would already be 10 %."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """Limit on the failed items of a run, as a number or as a share of the finished items.

    Exactly one of `count` and `share` is set.
    """

    count: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, value: int | str) -> FailureLimit:
        """Return the limit for a number (`100`) or a percentage (`"5%"`). Raise `ValueError` for anything else."""
        text = str(value).strip()
        if text.endswith("%"):
            return cls(share=share_of(text))
        count = int(text)
        if count < 0:
            raise ValueError("a number of failures must not be negative")
        return cls(count=count)

    def exceeded(self, failed: int, finished: int) -> bool:
        """Return True if `failed` of `finished` items exceed the limit; a share only after `_SHARE_GROUND` items."""
        if self.count is not None:
            return failed > self.count
        share = 0.0 if self.share is None else self.share
        return finished >= _SHARE_GROUND and failed > share * finished
