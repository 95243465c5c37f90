"""Bounds on how fast and how much: items per second, failures of a run."""

from __future__ import annotations

from dataclasses import dataclass

_BURST_SECONDS = 0.1
"""Seconds that a rate may catch up after threads were late: enough to even out scheduling, too little to be a burst."""


class RateLimit:
    """Spaces starts evenly, at most `rate` per second.

    The generic cell rate algorithm: one number, the time the next start is due (ITU-T I.371, annex A).
    Its owner calls it under its own lock.
    """

    def __init__(self, rate: float) -> None:
        if rate <= 0:
            raise ValueError("a rate must be greater than 0")
        self.rate = rate
        self._due = float("-inf")

    def wait(self, now: float) -> float:
        """Return the seconds until the next start is due; 0 for now."""
        return max(0.0, self._due - now)

    def take(self, now: float) -> float:
        """Take a start if one is due and return 0, else the seconds until the next one."""
        due = max(self._due, now - _BURST_SECONDS)
        if due > now:
            return due - now
        self._due = due + 1.0 / self.rate
        return 0.0

    def change(self, rate: float, now: float) -> None:
        """Change the rate; a start that was taken stays taken, but the next one is at most `1 / rate` away."""
        self.rate = rate
        self._due = min(self._due, now + 1.0 / rate)


def share_of(percentage: str | None) -> float | None:
    """0.2 for `"20%"`, None for None; raises `ValueError` for what is no percentage from 0 to 100."""
    if percentage is None:
        return None
    share = float(percentage.strip().removesuffix("%")) / 100
    if not 0 <= share <= 1:
        raise ValueError("a percentage lies between 0% and 100%")
    return share


_SHARE_GROUND = 100
"""Finished items before a share of failures means anything."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """Limit on the failed items of a run: a number, or a share of those that finished.

    Exactly one of the two is set.
    """

    count: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, value: int | str) -> FailureLimit:
        """Return the limit of a number (`100`) or a percentage (`"5%"`); raises `ValueError` for anything else."""
        text = str(value).strip()
        if text.endswith("%"):
            return cls(share=share_of(text))
        count = int(text)
        if count < 0:
            raise ValueError("a number of failures is not negative")
        return cls(count=count)

    def exceeded(self, failed: int, finished: int) -> bool:
        """Return True if `failed` of `finished` items are more than the run bears."""
        if self.count is not None:
            return failed > self.count
        share = 0.0 if self.share is None else self.share
        return finished >= _SHARE_GROUND and failed > share * finished
