"""Decides when requests may be sent to one host, from its limits and answers. `HostGate` has the lock and the clock.

| held by  | meaning                                                   | ends                                          |
| -------- | --------------------------------------------------------- | --------------------------------------------- |
| slots    | as many requests are open as it may have (at first 16)    | one of them ends                              |
| spacing  | the last request was sent less than a delay ago           | by time                                       |
| cooldown | it refused (429, or 503 with `Retry-After`)               | by time; then one at a time until one is met  |
| outage   | it failed `FAILURES` times in a row                       | a probe succeeds; after `PROBES` it is *down* |
| down     | every probe failed: its items fail without being asked    | one probe a minute, when one succeeds         |
| pause    | the user has paused it                                    | the user resumes it                           |

*Refusals.* The cooldown lasts as long as the server requests, and at least our own minimum: `0.5 s × 2ⁿ` if the server
names a time, else `2 s × 2ⁿ`, at most 60 s. n is the number of refusals without a success between them; the refusal of
a request that was sent before the previous refusal was known does not count. Afterwards the *rate* is limited to what
the host has accepted: successful requests sent since the last refusal, divided by the time until the cooldown ends.
Answers overtake each other, so successes that arrive after the refusal count, too: of 16 requests sent at once, the
refusal may be the second answer to be read, and only one of ten successes would be counted. From there the rate grows
slowly. The number of open requests is not changed, because it says little about a rate (vector issue #3998).

*Adaptive delay.* Scrapy's AutoThrottle: the target is latency / N, the new delay `max(target, (old + target) / 2)`.
Only a success may lower it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from tui_runner.jobs.hosts import HostLimits

BASE_SECONDS = 2.0
"""First cooldown in seconds if the server names no time; then 4, 8 …"""
TOLD_SECONDS = 0.5
"""Shortest first cooldown in seconds if the server names a time: the upper end of an item's first delay
(`retry.BASE_SECONDS`)."""
CAP_SECONDS = 60.0
"""Longest cooldown in seconds if the server names no time. Windows of rate limits are often a minute; a server may name
a longer time."""
FAILURES = 20
"""A host has an outage after this many failures in a row. For a healthy server that fails half of its requests by
chance, that happens once in a million."""
_CAREFUL_FAILURES = 3
"""After this many consecutive requests without an answer, a host gets one request at a time: a dead host takes seconds
per request, and must not occupy every thread."""
PROBE_SECONDS = 3.0
"""Seconds from an outage to its first probe: enough for a server process to restart. Each further wait is twice as
long.
"""
PROBES = 4
"""Failed probes after which a host is down: they take 45 seconds, enough for a server to restart."""
PROBES_AT_FIRST = 2
"""Failed probes after which a host that has never answered is down: most such hosts no longer exist."""
DOWN_PROBE_SECONDS = 60.0
"""Seconds between two probes of a host that is down: short enough to notice soon that the host is back, and no load for
it."""
ROUNDS = 6
"""Rounds of refusals in a row after which a host is down, if the server names no time: about two minutes."""
ROUND_SECONDS = 0.5
"""Seconds in which further refusals belong to the same round, if the server names no time. Requests that were sent
together are refused together. If each refusal counted, the cooldown would double 16 times, and a run would wait for
hours."""
_GROWTH_ITEMS = 40
"""Successes after which a learned rate has doubled at the earliest, see `_GROWTH_SECONDS`."""
_GROWTH_SECONDS = 10.0
"""Seconds after which a learned rate has doubled at the earliest. Both this and `_GROWTH_ITEMS` must have passed, so
that neither a fast host nor an idle one gets a burst."""
_FASTEST_GROWTH = 10.0
"""A learned rate that has grown by this factor is forgotten, because it no longer limits anything."""
_FIRST_OPEN = 16
"""Open requests to a new host at most. Each success allows two more, like TCP's slow start. Otherwise a small API would
refuse a hundred threads that begin at once; the slow start costs only two or three latencies."""
_LONGEST_DELAY = 60.0
"""Seconds between two requests that a host may demand at most; with more, a run would seem to be stuck."""
_KEPT_LATENCIES = 500
"""Latencies of a host kept between two reports at most: enough for percentiles, and a bound on memory."""
_FAILING = frozenset({401, 403, 407, 408, 429}) | frozenset(range(500, 600))
"""Statuses by which a host refuses or fails; 404 is an ordinary answer."""


@dataclass(slots=True)
class HostCounts:
    """Counts of a host since the last report.

    Attributes:
        done: successful requests.
        failed: all other requests.
        refused: requests answered with 429, or with 503 and `Retry-After`.
        seconds: total duration of requests.
        statuses: number of requests by status; 0 for no answer.
        latencies: seconds of requests, a bounded number of them.
    """

    done: int = 0
    failed: int = 0
    refused: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)


def is_refusal(status: int | None, retry_after: float | None) -> bool:
    """Return True if an answer asks to retry later."""
    return status == 429 or (status == 503 and retry_after is not None)


class Host:
    """State of one host. Times are monotonic seconds.

    Attributes:
        slots: requests that this worker may have open; None for no limit.
        open: requests that are open.
        cooldown_until: time at which a refusal ends.
        delay: current seconds between two requests.
        paused: True if the user has paused the host.
        down: True if its items fail without a request.
        counts: counts since the last report.
        news: True if something has changed since the last report.
        last_status: status of its newest answer; None for no answer.
    """

    __slots__ = (
        "_adaptive_delay",
        "_borne",
        "_borne_since",
        "_careful",
        "_due",
        "_failures",
        "_has_answered",
        "_hold_until",
        "_opened_at",
        "_passes",
        "_probes",
        "_rate",
        "_refusals",
        "_refused_at",
        "_since",
        "_spaced_at",
        "_successes",
        "_told_to_wait",
        "_window",
        "cooldown_until",
        "counts",
        "down",
        "last_status",
        "limits",
        "news",
        "open",
        "paused",
        "slots",
    )

    def __init__(self, limits: HostLimits, slots: int | None, now: float) -> None:
        self.limits = limits
        self.slots = slots
        self.open = 0
        self.paused = False
        self.down = False
        self.cooldown_until = -math.inf
        self.counts = HostCounts()
        self.news = True
        self.last_status: int | None = None
        self._due = self._spaced_at = -math.inf
        self._adaptive_delay = limits.delay
        self._refusals = 0
        self._refused_at = -math.inf
        self._told_to_wait = False
        self._passes = 0
        self._careful = False
        self._rate: float | None = None
        # Successes since the last cooldown, and successes before the newest refusal.
        self._since, self._successes = now, 0
        self._borne_since, self._borne = now, 0
        self._failures = 0
        self._window = _FIRST_OPEN
        self._probes = 0
        self._has_answered = False
        self._opened_at = math.inf
        self._hold_until = -math.inf

    def is_plain(self, now: float) -> bool:
        """Return True if the host has no limit, refusal or failure to remember."""
        return not (
            self.open
            or self.cooldown_until > now
            or self.paused
            or self.down
            or self._failures
            or self._refusals
            or self._rate
            or self._adaptive_delay > self.limits.delay
        )

    @property
    def failing(self) -> bool:
        """Return True if it has an outage or is down."""
        return self._opened_at < math.inf

    def delay(self, now: float) -> float:
        """Return the seconds between two requests at `now`."""
        delay = self._adaptive_delay if self.limits.adaptive else self.limits.delay
        if self._rate is None:
            return delay
        growth = 1 + min(self._successes / _GROWTH_ITEMS, (now - self._since) / _GROWTH_SECONDS)
        if growth >= _FASTEST_GROWTH:
            self._rate = None
            return delay
        return max(delay, min(_LONGEST_DELAY, 1 / (self._rate * growth)))

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent: 0 for now, infinite if other requests must end first."""
        most = self._window if self.slots is None else min(self.slots, self._window)
        if self.paused or self.open >= most or (self._careful and self.open):
            return math.inf
        until = max(self._hold_until, self._due)
        if not (self._passes and now < self._refused_at + ROUND_SECONDS):
            until = max(until, self.cooldown_until)
        return max(0.0, until - now)

    def start(self, now: float, *, reserved: bool = False) -> None:
        """Record that a request is sent, or if `reserved`, that an item will send one at once."""
        self.open += 1
        self.news = True
        if self._passes and now < self.cooldown_until:
            self._passes -= 1
        if (delay := self.delay(now)) > 0:
            self._due = now + delay
            self._spaced_at = max(self._spaced_at, now) if reserved else now + delay
        if self.down:
            self._hold_until = now + DOWN_PROBE_SECONDS

    def is_refusing(self, now: float) -> bool:
        """Return True if the host has refused and its cooldown has not ended."""
        return self._told_to_wait and now < self.cooldown_until

    def send_reserved(self, now: float) -> float:
        """Send a request that was reserved and return 0, or return the seconds until spacing allows it.

        Otherwise requests could come close together again, because items take different times from start to request.
        """
        if (delay := self.delay(now)) <= 0:
            return 0.0
        if self._spaced_at > now:
            return self._spaced_at - now
        self._spaced_at = now + delay
        self._due = max(self._due, self._spaced_at)
        return 0.0

    def drop(self) -> None:
        """Record that a reserved request was not sent."""
        self.open -= 1
        self.news = True

    def end(
        self,
        now: float,
        *,
        status: int | None,
        seconds: float,
        sent: float | None = None,
        retry_after: float | None = None,
        ok: bool | None = None,
        may_open: bool = True,
    ) -> None:
        """Record how a request ended.

        Args:
            now: the time.
            status: status of the answer; None for no answer.
            seconds: from the request to the head of its answer.
            sent: when the request was sent; None for `seconds` before `now`.
            retry_after: seconds until the server accepts another request; None if it did not say.
            ok: True if it succeeded; used without a status.
            may_open: True if the run has other hosts, so that this host alone can have an outage.
        """
        sent = now - seconds if sent is None else sent
        self.open -= 1
        self.news = True
        counts = self.counts
        counts.seconds += seconds
        if status is not None or not ok:  # successes of jobs' own requests have no status
            counts.statuses[status or 0] += 1
        if len(counts.latencies) < _KEPT_LATENCIES:
            counts.latencies.append(seconds)
        self.last_status = status
        good = (status is not None and status not in _FAILING) if ok is None else ok
        if is_refusal(status, retry_after):
            counts.refused += 1
            self.refuse(now, retry_after, sent, may_open=may_open)
        elif good:
            counts.done += 1
            self._succeed(sent)
        else:
            counts.failed += 1
            self._fail(now, sent, answered=status is not None, may_open=may_open)
        self._adapt(seconds, good=good)

    def refuse(self, now: float, retry_after: float | None, sent: float, *, may_open: bool = True) -> None:
        """Record a refusal of a request that was sent at `sent`."""
        self.news = True
        if sent < self._refused_at + (0.0 if self._told_to_wait else ROUND_SECONDS):
            if retry_after is not None:
                self.cooldown_until = max(self.cooldown_until, now + retry_after)
                self._learn_rate()
            return
        base = BASE_SECONDS if retry_after is None else TOLD_SECONDS
        own = min(CAP_SECONDS, base * 2.0 ** min(self._refusals, 16))
        until = now + max(own, retry_after or 0.0)
        self.cooldown_until = max(self.cooldown_until, until)
        if not self._successes and self._rate is not None:
            self._rate /= 2
        self._borne_since, self._borne = self._since, self._successes
        self._successes = 0
        self._learn_rate()
        self._refusals += 1
        self._refused_at = now
        self._told_to_wait = retry_after is not None
        self._passes = 0 if self._told_to_wait else _FIRST_OPEN
        self._careful = self._careful or self._told_to_wait
        if not self._told_to_wait and self._refusals >= ROUNDS and may_open:
            self._opened_at = min(self._opened_at, now)
            self.down = True
            self._hold_until = now + DOWN_PROBE_SECONDS

    def due_in(self, now: float) -> float:
        """Return the seconds until spacing allows the next request."""
        return max(0.0, self._due - now)

    def postpone(self, until: float) -> None:
        """Send no request before `until`, because another worker has sent one."""
        self._due = max(self._due, until)

    def hold(self, until: float) -> None:
        """Record that the host refused another worker of the run until `until`."""
        if until > self.cooldown_until:
            self.cooldown_until = until
            self._told_to_wait = self._careful = True
            self._passes = 0

    def _learn_rate(self) -> None:
        self._since = self.cooldown_until
        passed = self._since - self._borne_since
        if self._borne and passed > 0:
            self._rate = self._borne / passed

    def _succeed(self, sent: float) -> None:
        self._has_answered = True
        self._window += 2
        self._failures = self._probes = 0
        self.down = False
        if self._opened_at < math.inf:
            self._opened_at, self._hold_until = math.inf, -math.inf
        if sent < self._refused_at:  # it counts for the rate, but does not show that the host accepts requests again
            if sent >= self._borne_since:
                self._borne += 1
                self._learn_rate()
            return
        self._successes += 1
        self._refusals = 0
        self._careful = False

    def _fail(self, now: float, sent: float, *, answered: bool, may_open: bool) -> None:
        self._failures += 1
        if not answered and self._failures >= _CAREFUL_FAILURES and may_open:
            self._careful = True
        if self._opened_at < math.inf:
            if sent < self._opened_at or self.down:
                return  # it was sent before the outage was known
            self._probes += 1
            self._opened_at = now
            self.down = self._probes >= (PROBES if self._has_answered else PROBES_AT_FIRST)
            wait = DOWN_PROBE_SECONDS if self.down else PROBE_SECONDS * 2.0**self._probes
            self._hold_until = now + wait
        elif self._failures >= FAILURES and may_open:
            self._opened_at = now
            self._careful = True
            self._hold_until = now + PROBE_SECONDS

    def _adapt(self, seconds: float, *, good: bool) -> None:
        if not self.limits.adaptive:
            return
        old = self._adaptive_delay
        target = seconds / (self.limits.per_host or 1)
        new = min(_LONGEST_DELAY, max(self.limits.delay, target, (old + target) / 2))
        if good or new > old:
            self._adaptive_delay = new

    def change(self, limits: HostLimits) -> None:
        """Set new limits."""
        self.limits = limits
        self._adaptive_delay = max(limits.delay, self._adaptive_delay) if limits.adaptive else limits.delay
        self._due = -math.inf
        self.news = True
