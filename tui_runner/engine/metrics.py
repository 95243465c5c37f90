"""Counts things that pass (latencies, rates, errors that are alike), and estimates when a run will end.

Everything takes the time as an argument, so that tests bring their own clock.

Rates are those since the first item ended: before that, workers started. In the first seconds the last ten and the
whole run are the same, so their difference says nothing of how sure an estimate is. What does is how often as many
items have ended as are executed at once: those of a hundred threads that began together also end together, and are one
observation. After n of these the range is widened by 1/√n at both ends.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from heapq import nlargest

_BUCKETS_PER_DOUBLING = 8
"""Neighbouring buckets differ by 9 %, which is finer than a percentile of a noisy run deserves."""
_SHORTEST = 1e-6
"""Seconds; everything shorter shares bucket 0."""


def bucket(seconds: float) -> int:
    """The bucket of a duration: logarithmic, 8 to a doubling, 0 for a microsecond or less."""
    if seconds <= _SHORTEST:
        return 0
    return 1 + int(math.log2(seconds / _SHORTEST) * _BUCKETS_PER_DOUBLING)


class Histogram:
    """Durations in logarithmic buckets: constant memory, percentiles within 9 %."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.total = 0

    def add(self, counts: Mapping[int, int]) -> None:
        """Add durations that were counted by `bucket` elsewhere."""
        self._counts.update(counts)
        self.total += sum(counts.values())

    def percentile(self, share: float) -> float | None:
        """The duration, in seconds, that `share` (0 to 1) of all durations do not exceed; None without any."""
        if not self.total:
            return None
        rank = share * self.total
        seen = 0
        for number in sorted(self._counts):
            seen += self._counts[number]
            if seen >= rank:
                break
        # The middle of the bucket, in logarithms.
        return float(_SHORTEST * 2 ** ((number - 0.5) / _BUCKETS_PER_DOUBLING)) if number else _SHORTEST


class RecentHistogram:
    """Durations of the last `span` seconds of a run's active time."""

    def __init__(self, span: float = 60.0) -> None:
        self._span = span
        self._parts: deque[tuple[float, Counter[int]]] = deque()
        self._sum: Counter[int] = Counter()

    def add(self, active: float, counts: Mapping[int, int]) -> None:
        """Add durations that were counted by `bucket` elsewhere, at `active`."""
        if not counts:
            return
        # One part a second: workers report up to ten times in it.
        if self._parts and active - self._parts[-1][0] < 1.0:
            self._parts[-1][1].update(counts)
        else:
            self._parts.append((active, Counter(counts)))
        self._sum.update(counts)

    def at(self, active: float) -> Histogram:
        """Return the durations that were added within `span` before `active`."""
        while self._parts and self._parts[0][0] < active - self._span:
            self._sum.subtract(self._parts.popleft()[1])
        found = Histogram()
        found.add(+self._sum)
        return found


RATE_SECONDS = 10.0
"""The window of every rate that is shown of what goes on now: of a run, of a chunk, and in the graph."""


def mean_rate(number: float, seconds: float) -> float:
    """Return how many a second `number` in `seconds` of active time are; 0 before any time has passed."""
    return number / seconds if seconds > 0 else 0.0


class RateWindow:
    """Growth per second of a counter over the last `span` seconds.

    Every rate of items counts those that ended, well or not, and none that were cancelled. Time must be the run's
    active time (without pauses), so that a pause is in no rate.
    """

    def __init__(self, span: float = RATE_SECONDS) -> None:
        self._span = span
        self._points: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """The counter stood at `value` at time `at`."""
        points = self._points
        # Many readings in a moment: keep the newest, but never the only one there is.
        if len(points) > 1 and at - points[-1][0] < self._span / 50:
            points[-1] = (points[-1][0], value)
            return
        points.append((at, value))
        # One point at or before the start of the window stays, so that the window is full.
        while len(points) > 2 and points[1][0] <= at - self._span:
            points.popleft()

    def rate(self, now: float) -> float:
        """Growth per second from the start of the window until `now`; 0 before there are two readings."""
        points = self._points
        while len(points) > 1 and points[1][0] <= now - self._span:
            points.popleft()
        if len(points) < 1:
            return 0.0
        at, value = points[0]
        start = max(at, now - self._span)
        if now - start <= 0:
            return 0.0
        grown = points[-1][1] - value
        if at < start and len(points) > 1:
            # Part of the first step lies before the window: count what lies in it.
            after, later = points[1]
            grown -= (later - value) * (start - at) / (after - at)
        elif at < start:
            return 0.0
        return max(0.0, grown / (now - start))


class ErrorCounts:
    """Errors counted by type and folded message. A bounded number of groups: the least of them give way.

    A group is the more important the more items it has ended for good, and only then the more attempts: what failed
    on a first attempt and went well on the second is nothing that is left to be mended.
    """

    def __init__(self, limit: int = 1_000) -> None:
        self._limit = limit
        self._counts: Counter[tuple[str, str]] = Counter()
        self._final: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        self.final = 0
        """Errors that were the last attempt at their item, of all groups that there ever were."""

    def __len__(self) -> int:
        """Return the number of groups, as far as they are bounded."""
        return len(self._counts)

    def add(
        self,
        groups: Mapping[tuple[str, str], int],
        final: Mapping[tuple[str, str], int],
        examples: Mapping[tuple[str, str], str],
    ) -> None:
        """Count errors that are folded already, and those among them that were an item's last; keep the newest."""
        self._counts.update(groups)
        self._final.update(final)
        self.final += sum(final.values())
        self._examples.update(examples)
        if len(self._counts) > 2 * self._limit:
            kept = self.foremost(self._limit)
            self._counts = Counter({group: count for group, count, _ in kept})
            self._final = Counter({group: final for group, _, final in kept})
            self._examples = {group: self.example(group) for group, _, _ in kept}

    def example(self, group: tuple[str, str]) -> str:
        """Return the newest message of a group; empty where none is known."""
        return self._examples.get(group, "")

    def foremost(self, number: int) -> list[tuple[tuple[str, str], int, int]]:
        """The `number` most important groups, each with its attempts and those of them that were an item's last."""
        every = ((group, count, self._final[group]) for group, count in self._counts.items())
        return nlargest(number, every, key=lambda each: (each[2], each[1]))


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
        """Record that `executed` items had been executed by `active`."""
        self._executed = executed
        if self._first is None and executed:
            self._first = active, executed
        if self._first is not None:
            self._window.add(active, executed)

    def seconds(self, active: float, left: int, in_flight: int) -> tuple[float, float] | None:
        """Return the least and the most seconds that `left` items take; None while there is no ground to say.

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
