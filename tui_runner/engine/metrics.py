"""Measures latencies and rates, counts groups of equal errors, and estimates when a run will end.

Every function takes the time as an argument, so that tests can use their own clock. *Active time* is the time of a run
without its pauses.

*Estimates.* Rates are measured from the end of the first item, because workers are still starting before that. The
range comes from two rates, of the last ten seconds and of the whole run. In the first seconds the two rates are equal,
so their difference says nothing about the uncertainty. The uncertainty depends on the number n of independent
observations. 100 threads that start items together also end them together, which is one observation. So n is the
number of ended items divided by the items executed at once, and the range is widened by 1/√n at both ends. The rate of
the last ten seconds is not used in the first ten seconds after a pause, and not measured while all items wait because
hosts have refused requests: it would be far too low.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from heapq import nlargest

_BUCKETS_PER_DOUBLING = 20
"""Buckets for each doubling of the duration. The middle of a bucket differs from any of its durations by 1.8 % at most.
With more buckets, percentiles of hundreds of hosts would take too long."""
_SHORTEST = 1e-6
"""Longest duration in bucket 0, in seconds. A user has no need to tell shorter attempts apart."""


def bucket(seconds: float) -> int:
    """Return the bucket of a duration in seconds: logarithmic, 20 per doubling, 0 for a microsecond or less."""
    if seconds <= _SHORTEST:
        return 0
    return 1 + int(math.log2(seconds / _SHORTEST) * _BUCKETS_PER_DOUBLING)


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations in the form in which workers report them.

    Attributes:
        counts: number of durations in each `bucket`.
        shortest: the shortest duration in seconds; infinite without durations.
        longest: the longest duration in seconds; 0 without durations.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    shortest: float = math.inf
    longest: float = 0.0

    @classmethod
    def of(cls, seconds: Collection[float]) -> Durations:
        """Return `seconds` by bucket."""
        return cls(Counter(map(bucket, seconds)), min(seconds), max(seconds)) if seconds else cls()


class Histogram:
    """A count of durations by logarithmic bucket. Its memory is bounded, and its percentiles are exact to 1.8 %."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        """Number of durations in each `bucket`."""
        self.shortest, self.longest = math.inf, 0.0
        self.total = 0

    def add(self, durations: Durations) -> None:
        """Add durations."""
        self.counts.update(durations.counts)
        self.shortest = min(self.shortest, durations.shortest)
        self.longest = max(self.longest, durations.longest)
        self.total += sum(durations.counts.values())

    def percentile(self, share: float) -> float | None:
        """Return the duration in seconds that `share` (0 to 1) of all durations do not exceed; None without durations.

        The duration is the middle of its bucket, so it is up to 1.8 % too short or too long. It is never shorter than
        the shortest added duration, nor longer than the longest one.
        """
        if not self.total:
            return None
        rank = share * self.total
        seen = 0
        for number in sorted(self.counts):  # from the shortest duration on
            seen += self.counts[number]
            if seen >= rank:
                break
        # Logarithmic middle of the bucket.
        middle = float(_SHORTEST * 2 ** ((number - 0.5) / _BUCKETS_PER_DOUBLING)) if number else _SHORTEST
        return max(min(middle, self.longest), self.shortest, 0.0)


class RecentHistogram:
    """Durations of the last `span` seconds of a run's active time. The dashboard shows the last minute."""

    def __init__(self, span: float = 60.0) -> None:
        self._span = span
        self._parts: deque[tuple[float, Histogram]] = deque()
        self._sum: Counter[int] = Counter()

    def add(self, active: float, durations: Durations) -> None:
        """Add durations of attempts that ended at the active time `active`."""
        if not durations.counts:
            return
        # One part per second, because each worker reports several times a second.
        if not self._parts or active - self._parts[-1][0] >= 1.0:
            self._parts.append((active, Histogram()))
        self._parts[-1][1].add(durations)
        self._sum.update(durations.counts)

    def at(self, active: float) -> Histogram:
        """Return the durations added within `span` seconds before the active time `active`."""
        while self._parts and self._parts[0][0] < active - self._span:
            self._sum.subtract(self._parts.popleft()[1].counts)
        found = Histogram()
        shortest = min((part.shortest for _, part in self._parts), default=math.inf)
        longest = max((part.longest for _, part in self._parts), default=0.0)
        found.add(Durations(+self._sum, shortest, longest))
        return found


RATE_SECONDS = 10.0
"""Seconds over which current rates are averaged: the rates of a run, of a chunk, and in the graph. Over a shorter time
the shown rates jump; over a longer one they react late."""


def mean_rate(number: float, seconds: float) -> float:
    """Return `number` divided by `seconds` of active time; 0 before any time has passed."""
    return number / seconds if seconds > 0 else 0.0


class RateWindow:
    """Growth per second of a counter over the last `span` seconds.

    Rates of items count items that were executed to their end, successfully or not; they do not count cancelled items.
    Times must be active times of the run, so that pauses do not lower the rate.
    """

    def __init__(self, span: float = RATE_SECONDS) -> None:
        self._span = span
        self._points: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """Record that the counter had `value` at time `at`."""
        points = self._points
        # To bound memory, a reading soon after another replaces it; the first reading always stays.
        if len(points) > 1 and at - points[-1][0] < self._span / 50:
            points[-1] = (points[-1][0], value)
            return
        points.append((at, value))
        # Keep one point at or before the start of the window, so that the whole window is covered.
        while len(points) > 2 and points[1][0] <= at - self._span:
            points.popleft()

    def leave_out(self, value: float) -> None:
        """Record that the counter has `value`, but leave its growth since the last reading out of the rate."""
        if self._points:
            growth = value - self._points[-1][1]
            self._points = deque((at, before + growth) for at, before in self._points)

    def start_earlier(self, at: float) -> None:
        """Move the first reading to the earlier time `at`."""
        self._points[0] = at, self._points[0][1]

    def rate(self, now: float) -> float:
        """Return the growth per second from the start of the window until `now`; 0 with fewer than two readings."""
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
            # The first step began before the window: subtract the part before it.
            after, later = points[1]
            grown -= (later - value) * (start - at) / (after - at)
        elif at < start:
            return 0.0
        return max(0.0, grown / (now - start))


class ErrorCounts:
    """Numbers of errors in groups. The errors of a group have one type and one shape of message (`describe.shape`).

    Above `2 * limit` groups, only the `limit` most important ones are kept, each in some hundred bytes. A group is more
    important if more items failed finally with its error, because an item that succeeded on its second attempt needs no
    attention. Among groups with equally many, the one with more errors is more important.
    """

    def __init__(self, limit: int = 1_000) -> None:
        self._limit = limit
        self._counts: Counter[tuple[str, str]] = Counter()
        self._final: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        self._differ: set[tuple[str, str]] = set()
        """Groups with more than one known message."""
        self.final = 0
        """Number of errors that were the last attempt at their item, over all groups, dropped ones included."""

    def __len__(self) -> int:
        """Return the number of kept groups."""
        return len(self._counts)

    def add(
        self,
        groups: Mapping[tuple[str, str], int],
        final: Mapping[tuple[str, str], int],
        examples: Mapping[tuple[str, str], str],
    ) -> None:
        """Add errors.

        Args:
            groups: number of errors by group.
            final: number of last attempts among them.
            examples: for each group the newest message of these last attempts; without one, of the others.
        """
        self._differ.update(group for group, text in examples.items() if self._examples.get(group, text) != text)
        # An item that will be tried again may succeed, and its message would look as if it had failed.
        self._examples.update(
            (group, text) for group, text in examples.items() if group in final or not self._final[group]
        )
        self._counts.update(groups)
        self._final.update(final)
        self.final += sum(final.values())
        if len(self._counts) > 2 * self._limit:
            top = self.largest(self._limit)
            self._counts = Counter({group: count for group, count, _ in top})
            self._final = Counter({group: final for group, _, final in top})
            self._examples = {group: self.example(group) for group, _, _ in top}
            self._differ &= self._examples.keys()

    @property
    def final_groups(self) -> int:
        """The number of kept groups in which at least one error was the last attempt at its item."""
        return sum(map(bool, self._final.values()))

    def example(self, group: tuple[str, str]) -> str:
        """Return the newest message of the last attempts of a group, or of its others if none was last.

        It is empty if unknown.
        """
        return self._examples.get(group, "")

    def differ(self, group: tuple[str, str]) -> bool:
        """Return True if errors of the group are known to have had different messages."""
        return group in self._differ

    def largest(self, number: int) -> list[tuple[tuple[str, str], int, int]]:
        """Return up to `number` groups as (group, attempts, last attempts).

        Groups with the most last attempts come first; among equal groups, the group with the most attempts.
        """
        every = ((group, count, self._final[group]) for group, count in self._counts.items())
        return nlargest(number, every, key=lambda each: (each[2], each[1]))


_GROUND_SECONDS = 3.0
"""Seconds from the end of the first item until an estimate is shown; earlier estimates change too much."""
_GROUND_ITEMS = 3
"""Items that must have ended before an estimate is shown; the durations of fewer items are not representative."""


class Estimate:
    """An estimate of the time that a run has left. Times are working seconds of the run (`ActiveClock`)."""

    def __init__(self) -> None:
        self._window = RateWindow()
        self._first: tuple[float, int] | None = None
        self._executed = 0

    def add(self, working: float, executed: int, refused: float = 0.0) -> None:
        """Record that `executed` items had been executed at the time `working`; for `refused`, see `seconds`."""
        self._executed = executed
        if self._first is None and executed:
            self._first = working, executed
        if self._first is not None:
            self._window.add(working - refused, executed)

    def seconds(
        self, working: float, left: int, in_flight: int, *, refused: float = 0.0, since_resume: float = math.inf
    ) -> tuple[float, float] | None:
        """Return the least and the most seconds that `left` items take; None while no estimate is possible.

        Args:
            working: current time.
            left: items that have not ended.
            in_flight: items being executed.
            refused: seconds until now in which all items waited because hosts had refused requests. The rate of the
                last ten seconds is that before such a wait, and the mean rate includes it: there may be more of them.
            since_resume: seconds since the last pause.
        """
        if self._first is None or self._executed < _GROUND_ITEMS:
            return None
        since, before = self._first
        passed, ended, at_once = working - since, self._executed - before, max(1, in_flight)
        if passed < _GROUND_SECONDS or ended < at_once:
            return None
        mean = ended / passed
        # Items that ended in a pause seem to have ended at once at its beginning, and items that have started since its
        # end have not ended yet.
        rates = mean, mean if since_resume < RATE_SECONDS else self._window.rate(working - refused)
        if min(rates) <= 0:
            return None
        doubt = 1 + math.sqrt(at_once / ended)
        return left / max(rates) / doubt, left / min(rates) * doubt


_SPAN_SECONDS = 6.0
"""Seconds of one span, over which a chunk's rate is averaged for its sparkline in the table of chunks."""
_SPANS = 10
"""Number of spans in a chunk's recent rates. Ten spans of six seconds are a minute."""


_LATE_START = 1.0
"""Most seconds between the start of a chunk's first item and the report that shows it. A chunk that runs again started
earlier, and its meter must not begin there."""


class ChunkMeter:
    """Rates of a chunk: one of the last ten seconds, and one for each six seconds of the last minute."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._window = RateWindow()
        self._window.add(started_at, 0)
        self._spans: deque[int] = deque([0], maxlen=_SPANS)
        self._span = int(started_at // _SPAN_SECONDS)
        self._ended = 0
        self.busy_at = started_at
        """Active time at which an item of the chunk was last in flight or ended."""

    def start_earlier(self, at: float) -> None:
        """Correct the start, before an item has ended, if `at` is at most `_LATE_START` seconds earlier."""
        if not self._ended and self._started_at - _LATE_START <= at < self._started_at:
            self._started_at = at
            self._window.start_earlier(at)

    def add(self, active: float, ended: int) -> None:
        """Record that `ended` more items of the chunk had been executed at the active time `active`."""
        self._ended += ended
        self.busy_at = active
        self._window.add(active, self._ended)
        self._advance(active)
        self._spans[-1] += ended

    def _advance(self, active: float) -> None:
        span = int(active // _SPAN_SECONDS)
        self._spans.extend([0] * min(span - self._span, _SPANS))
        self._span = max(span, self._span)

    def rate(self, active: float) -> float:
        """Return the items per second over the last ten seconds."""
        return self._window.rate(active)

    def recent(self, active: float) -> tuple[float, ...]:
        """Return the items per second of each span, oldest first; the last span has not ended yet."""
        self._advance(active)
        *ended, last = (float(count) for count in self._spans)
        passed = active - max(self._span * _SPAN_SECONDS, self._started_at)
        return (*(count / _SPAN_SECONDS for count in ended), last / max(1.0, passed))
