"""When a worker that says nothing any more is given up.

A worker reports several times a second, whatever its items do, because its collector is a thread of its own. One that
does not was stopped, or native code in it keeps the interpreter for itself and never comes back. No deadline can end
that, so the process must.
"""

from __future__ import annotations

_SLACK = 30.0
"""Seconds beyond the timeout of an item: a machine that swaps, or a gigabyte of rows, may hold up a report for some."""
_PATIENCE_WITHOUT_TIMEOUT = 1800.0
"""Seconds where items may take as long as they like: an hour in a solver that holds the interpreter is rare, but it is
work, and a worker is killed only when it has surely come to a stand."""
_OWN_ABSENCE = 5.0
"""Seconds between two looks after which it was tui-runner itself that stood still, and no worker is to blame."""


class Silence:
    """Who has been silent for how long. Times are monotonic seconds.

    Args:
        timeout: seconds an item may take, None for no bound.
    """

    def __init__(self, timeout: float | None) -> None:
        self.patience = _PATIENCE_WITHOUT_TIMEOUT if timeout is None else timeout + _SLACK
        self._heard_at: dict[int, float] = {}
        self._looked_at = 0.0

    def heard(self, worker: int, now: float) -> None:
        """A worker has reported."""
        self._heard_at[worker] = now

    def forget(self, worker: int) -> None:
        """Nothing is expected of a worker any more."""
        self._heard_at.pop(worker, None)

    def silent(self, now: float) -> list[int]:
        """Workers that have said something once, and nothing for longer than is to be waited for."""
        if now - self._looked_at > _OWN_ABSENCE:
            self._heard_at = dict.fromkeys(self._heard_at, now)
        self._looked_at = now
        return [worker for worker, heard_at in self._heard_at.items() if now - heard_at > self.patience]
