"""Decides when requests may be sent to one host, from its limits and responses. `HostGate` has the lock and the clock.

A host delays its requests for these causes:

| cause    | meaning                                                  | ends                                           |
| -------- | -------------------------------------------------------- | ---------------------------------------------- |
| slots    | as many requests are open as are allowed (at first 16)   | when one of them ends                          |
| spacing  | less than `delay` has passed since the last request      | by time                                        |
| cooldown | the host refused (429, or 503 with `Retry-After`)        | by time                                        |
| outage   | `FAILURES` requests in a row have failed                 | when one succeeds; after `PROBES`: down        |
| down     | all probes, or `ROUNDS` rounds of requests, have failed  | when one succeeds; one is sent each minute     |
| pause    | the user has paused the host                             | when the user resumes it                       |

A probe is a single request that is sent to find out if the host works again. While a host is down, its items fail
without a request. Outage and down exist only in runs with several hosts: the outage of the only host is one of the
whole run. After the cooldown of a refusal that named a time, single requests are sent until one succeeds.

*Refusals.* The cooldown lasts as long as the server requests, but not less than our own minimum: `0.5 s × 2ⁿ` if the
server names a time, otherwise `2 s × 2ⁿ`, at most 60 s. n is the number of earlier refusals since the last success. A
refusal does not count for n if its request was sent before the previous refusal was known, or in the same round as that
refusal (`ROUND_SECONDS`). After the cooldown the *rate* is limited to what the host has accepted: the number of
successful requests sent since the last refusal, divided by the time until the cooldown ends. From there the rate grows
slowly; a refusal before any success halves it. Responses overtake each other, so successes that arrive after the
refusal also count: of 16 requests sent at once, the refusal may be the second response to arrive, and only one of ten
successes would be counted. The number of open requests is not reduced, because it says little about a rate (vector
issue #3998).

*Adaptive delay.* As in Scrapy's AutoThrottle, the target is the latency divided by `per_host`, and the new delay is
`max(target, (old + target) / 2)`. Only a success may reduce the delay.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from tui_runner.jobs.hosts import HostLimits

BASE_SECONDS = 2.0
"""First cooldown in seconds if the server names no time. It doubles with each refusal: 4, 8 …"""
TOLD_SECONDS = 0.5
"""Shortest first cooldown in seconds if the server names a time. It is the longest delay before an item's first retry
(`retry.BASE_SECONDS`)."""
CAP_SECONDS = 60.0
"""Longest cooldown in seconds if the server names no time. Rate limits often apply to a minute. A server may name a
longer time."""
FAILURES = 20
"""Consecutive failures that count as an outage. If a healthy server failed half of its requests by chance, that would
happen once in a million."""
_CAREFUL_FAILURES = 3
"""Consecutive failures after which a host gets only one request at a time, if the last one was no response and the run
has several hosts. A dead host takes seconds per request, and must not occupy every thread."""
PROBE_SECONDS = 3.0
"""Seconds from the beginning of an outage to the first probe. Each further wait is twice as long."""
PROBES = 4
"""Failed probes after which a host is down. They take 45 seconds, enough for a server to restart."""
PROBES_AT_FIRST = 2
"""Failed probes after which a host that has never responded is down. Most such hosts no longer exist."""
DOWN_PROBE_SECONDS = 60.0
"""Seconds between two probes of a host that is down: short enough to notice soon that it is back, and hardly any load
for it."""
ROUNDS = 6
"""Consecutive rounds of refusals after which a host is down, if the server names no time. They take about a minute:
cooldowns of 2, 4, 8, 16 and 32 seconds."""
ROUND_SECONDS = 0.5
"""Seconds after a refusal in which further refusals belong to the same round, if the server names no time. Requests
that were sent together are refused together. If each refusal counted, six requests that were refused together
would make a host down."""
_GROWTH_ITEMS = 40
"""Successful requests that are needed until a learned rate has doubled; see `_GROWTH_SECONDS`."""
_GROWTH_SECONDS = 10.0
"""Seconds that are needed until a learned rate has doubled. Growth is limited by this and by `_GROWTH_ITEMS`, so that
neither a fast host nor an idle one gets a burst of requests. Neither number was measured. If they were smaller, the
host would soon refuse again; if larger, a run would be slow for long after one refusal."""
_FASTEST_GROWTH = 10.0
"""Factor by which a learned rate may grow. Then it is forgotten, because it no longer limits anything."""
_FIRST_OPEN = 16
"""Open requests to a new host at most. Each success allows two more, like TCP's slow start. Without it, a hundred
threads that begin together would be refused by a small API; it delays a run only by two or three latencies."""
_LONGEST_DELAY = 60.0
"""Largest number of seconds between two requests that a learned or adaptive limit may lead to. With a longer delay, a
run would seem to be stuck."""
_KEPT_LATENCIES = 500
"""Latencies of a host that are stored between two reports at most: enough for percentiles, and a limit for memory."""
_FAILING = frozenset({401, 403, 407, 408, 429}) | frozenset(range(500, 600))
"""Statuses by which a host refuses or fails. 404 is not among them, because it says nothing about the host."""


@dataclass(slots=True)
class HostCounts:
    """Counts of requests to a host since the last report.

    Attributes:
        done: successful requests.
        failed: requests that neither succeeded nor were refused.
        refused: requests with status 429, or with 503 and `Retry-After`.
        seconds: total duration of the requests.
        statuses: number of requests by status; 0 stands for no response.
        latencies: seconds of the requests, at most the first 500.
    """

    done: int = 0
    failed: int = 0
    refused: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)


def is_refusal(status: int | None, retry_after: float | None) -> bool:
    """Return True if a response asks the client to retry later."""
    return status == 429 or (status == 503 and retry_after is not None)


class Host:
    """State of one host. Times are monotonic seconds.

    Attributes:
        limits: limits of the host.
        slots: requests that this worker may have open; None for no limit.
        open: requests that are open.
        cooldown_until: time at which the cooldown after a refusal ends.
        named_until: latest time until which the host has asked to wait.
        paused: True if the user has paused the host.
        down: True if the items of the host fail without a request.
        counts: counts since the last report.
        news: True if something has changed since the last report.
        last_status: status of the last request; None if it got no response, succeeded in another library than
            `tui_runner.http`, or has not ended.
    """

    __slots__ = (
        "_accepted",
        "_accepted_since",
        "_adaptive_delay",
        "_careful",
        "_due",
        "_failures",
        "_has_answered",
        "_has_named_time",
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
        "_window",
        "cooldown_until",
        "counts",
        "down",
        "last_status",
        "limits",
        "named_until",
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
        self.cooldown_until = self.named_until = -math.inf
        self.counts = HostCounts()
        self.news = True
        self.last_status: int | None = None
        self._due = self._spaced_at = -math.inf
        self._adaptive_delay = limits.delay
        self._refusals = 0
        self._refused_at = -math.inf
        self._has_named_time = False
        # Requests that may still be sent during a cooldown: after a refusal without a time, those of the same round.
        self._passes = 0
        # True if the host gets only one request at a time.
        self._careful = False
        self._rate: float | None = None
        # `_successes`: successful requests since the last cooldown. `_accepted`: successes before the newest refusal.
        # They give the rate that the host has accepted.
        self._since, self._successes = now, 0
        self._accepted_since, self._accepted = now, 0
        self._failures = 0
        self._window = _FIRST_OPEN
        self._probes = 0
        self._has_answered = False
        self._opened_at = math.inf
        self._hold_until = -math.inf

    def is_plain(self, now: float) -> bool:
        """Return True if nothing about the host needs to be remembered.

        Nothing is remembered of a host without an open request, cooldown, pause, outage, rate or added delay whose last
        requests neither failed nor were refused.
        """
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
        """True if the host has an outage or is down."""
        return self._opened_at < math.inf

    def delay(self, now: float) -> float:
        """Return the seconds that must be between two requests at `now`."""
        delay = self._adaptive_delay if self.limits.adaptive else self.limits.delay
        if self._rate is None:
            return delay
        growth = 1 + min(self._successes / _GROWTH_ITEMS, (now - self._since) / _GROWTH_SECONDS)
        if growth >= _FASTEST_GROWTH:
            self._rate = None
            return delay
        return max(delay, min(_LONGEST_DELAY, 1 / (self._rate * growth)))

    def wait(self, now: float) -> float:
        """Return the seconds until a request may be sent: 0 for now.

        Infinite means that another request must end first, or that the user has paused the host.
        """
        most = self._window if self.slots is None else min(self.slots, self._window)
        if self.paused or self.open >= most or (self._careful and self.open):
            return math.inf
        until = max(self._hold_until, self._due)
        if not (self._passes and now < self._refused_at + ROUND_SECONDS):
            until = max(until, self.cooldown_until)
        return max(0.0, until - now)

    def start(self, now: float, *, reserved: bool = False) -> None:
        """Record that a request is sent. With `reserved`, record that an item begins and will send a request."""
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
        """Return True if the host has refused a request, named a time, and that time has not passed."""
        return self._has_named_time and now < self.cooldown_until

    def send_reserved(self, now: float) -> float:
        """Record that a reserved request is sent and return 0, or return the seconds until it may be sent.

        Reservations are spaced, but items take different times from their start to their request. Without this second
        check, requests could be sent close together.
        """
        if (delay := self.delay(now)) <= 0:
            return 0.0
        if self._spaced_at > now:
            return self._spaced_at - now
        self._spaced_at = now + delay
        self._due = max(self._due, self._spaced_at)
        return 0.0

    def drop(self) -> None:
        """Record that a reserved request will not be sent."""
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
            now: the current time.
            status: status of the response; None for no response, or if unknown.
            seconds: time from the request to the head of the response.
            sent: when the request was sent; None for `seconds` before `now`.
            retry_after: seconds until the server accepts another request; None if it named no time.
            ok: True if the request succeeded; None to decide by its status.
            may_open: True if the run has several hosts, so that an outage of one host can be detected.
        """
        sent = now - seconds if sent is None else sent
        self.open -= 1
        self.news = True
        counts = self.counts
        counts.seconds += seconds
        if status is not None or not ok:  # requests that a job sends by other libraries have no status if they succeed
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
        """Record that a request was refused; `sent` is the time at which it was sent."""
        self.news = True
        self.named_until = max(self.named_until, now + (retry_after or 0.0))
        if sent < self._refused_at + (0.0 if self._has_named_time else ROUND_SECONDS):
            if retry_after is not None:
                self.cooldown_until = max(self.cooldown_until, now + retry_after)
                self._learn_rate()
            return
        base = BASE_SECONDS if retry_after is None else TOLD_SECONDS
        # Above 16 refusals, the cap applies in any case. Without the bound, the power would overflow.
        own = min(CAP_SECONDS, base * 2.0 ** min(self._refusals, 16))
        until = now + max(own, retry_after or 0.0)
        self.cooldown_until = max(self.cooldown_until, until)
        if not self._successes and self._rate is not None:
            self._rate /= 2
        self._accepted_since, self._accepted = self._since, self._successes
        self._successes = 0
        self._learn_rate()
        self._refusals += 1
        self._refused_at = now
        self._has_named_time = retry_after is not None
        self._passes = 0 if self._has_named_time else _FIRST_OPEN
        self._careful = self._careful or self._has_named_time
        if not self._has_named_time and self._refusals >= ROUNDS and may_open:
            self._opened_at = min(self._opened_at, now)
            self.down = True
            self._hold_until = now + DOWN_PROBE_SECONDS

    def due_in(self, now: float) -> float:
        """Return the seconds until the delay between two requests has passed."""
        return max(0.0, self._due - now)

    def postpone(self, until: float) -> None:
        """Send no request before `until`, because another worker has just sent one."""
        self._due = max(self._due, until)

    def hold(self, until: float) -> None:
        """Send no request before `until`, because the host refused one of another worker."""
        if until > self.cooldown_until:
            self.cooldown_until = until
            self._has_named_time = self._careful = True
            self._passes = 0

    def _learn_rate(self) -> None:
        self._since = self.cooldown_until
        passed = self._since - self._accepted_since
        if self._accepted and passed > 0:
            self._rate = self._accepted / passed

    def _succeed(self, sent: float) -> None:
        self._has_answered = True
        self._window += 2
        self._failures = self._probes = 0
        self.down = False
        if self._opened_at < math.inf:
            self._opened_at, self._hold_until = math.inf, -math.inf
        if sent < self._refused_at:  # this counts for the rate, but does not show that the host accepts requests again
            if sent >= self._accepted_since:
                self._accepted += 1
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
                # It was sent before the outage was detected. Or the host is down: `start` has set its next probe.
                return
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
        """Replace the limits."""
        self.limits = limits
        self._adaptive_delay = max(limits.delay, self._adaptive_delay) if limits.adaptive else limits.delay
        self._due = -math.inf
        self.news = True
