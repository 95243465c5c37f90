"""Estimates when a run will end: a range that is the wider the less there is to go by. Pure: fed with counts and times.

Rates are those since the first item ended: before that, workers started. In the first seconds the last ten and the
whole run are the same, so their difference says nothing of how sure an estimate is. What does is how often as many
items have ended as are executed at once: those of a hundred threads that began together also end together, and are one
observation. After n of these the range is widened by 1/√n at both ends.
"""

from __future__ import annotations

import math

from tui_runner.engine.metrics import RateWindow

_GROUND_SECONDS = 3.0
"""Seconds after the first end of an item, before an estimate is more than a guess."""
_GROUND_ITEMS = 3
"""Items that have ended by then."""


class Estimate:
    """Estimates one run. Times are its active time, without pauses."""

    def __init__(self) -> None:
        self._window = RateWindow()
        self._first: tuple[float, int] | None = None
        self._executed = 0

    def add(self, active: float, executed: int) -> None:
        """So many items had been executed at `active`."""
        self._executed = executed
        if self._first is None and executed:
            self._first = active, executed
        if self._first is not None:
            self._window.add(active, executed)

    def seconds(self, active: float, left: int, in_flight: int) -> tuple[float, float] | None:
        """At the least and at the most how long `left` items take; None while there is no ground to say.

        Args:
            active: now.
            left: items that have not ended.
            in_flight: those of them that are being executed.
        """
        if self._first is None or self._executed < _GROUND_ITEMS:
            return None
        since, before = self._first
        passed, ended, at_once = active - since, self._executed - before, max(1, in_flight)
        if passed < _GROUND_SECONDS or ended < at_once:
            return None
        rates = ended / passed, self._window.rate(active)
        if min(rates) <= 0:
            return None
        doubt = 1 + math.sqrt(at_once / ended)
        return left / max(rates) / doubt, left / min(rates) * doubt
