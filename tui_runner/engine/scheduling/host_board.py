"""The HTTP hosts of a run, over all workers: statistics of each host, and the slots for requests of each worker.

This module is part of the scheduler: it turns reports of workers into orders and does no I/O.

*Limits apply to the run.* If several workers share a limit, a worker may open only as many requests as the board has
granted it slots, by its demand. A slot moves to another worker only after its present worker has acknowledged the
smaller grant, so the limit is never exceeded. Until then, all slots that the worker may still use count as taken: its
largest grant since its last acknowledgement, or its open requests if these are more. If a delay separates requests, one
worker at a time may send requests to the host. The grant of the next worker says when its first request may start.

*Cooldowns apply to the run.* When a server tells one worker to wait, the other workers are ordered at once to wait too.

*Outages.* In a run with several hosts, a failing host does not pause the run. `judged` selects the failures that count
for the circuit breaker of the run.

At most `MAX_HOSTS` hosts have a row of their own; all others share one row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tui_runner.engine.metrics import Histogram
from tui_runner.engine.protocol import GrantHost, HoldHost, HostReport, HostsReport, Order, SetHostLimits, Trials
from tui_runner.jobs.hosts import HostLimits

MAX_HOSTS = 2_000
"""Most hosts with a row of their own. A crawl may meet any number of hosts, and it takes time to report and record each
row."""
OTHER_HOSTS = "(other hosts)"
"""Name of the row that counts all hosts beyond `MAX_HOSTS`."""
NO_ANSWER = "no answer"
"""Text for requests without a response, in place of an HTTP status."""
_LONG_SECONDS = 30.0
"""Shortest cooldown, in seconds, that is logged. During such a cooldown the run may seem to be stuck."""
_LONGER_SECONDS = 0.5
"""Least seconds by which a cooldown is longer than the host asks for, if it is called back-off. Both reach the board in
messages, which take different times."""
_MOST_LOGGED = 20
"""Most lines about hosts that are logged; the last one says that there are more. Lines about hundreds of hosts would
push out all other events."""
_TURN_SECONDS = 2.0
"""Seconds after which another worker is the first to get slots of a host. Otherwise the same worker would always get
the last slot that several workers want."""


@dataclass(slots=True)
class _Share:
    """The part of a host's slots that one worker has."""

    granted: int = 0
    most: int = 0
    """Largest grant that the worker may still use, because it has not acknowledged a smaller one."""
    serial: int = 0
    """Number of the last grant."""
    open: int = 0
    waiting: int = 0
    due_at: float = -math.inf
    """Time at which the worker may send its next request, because of the host's delay, in monotonic seconds."""

    @property
    def taken(self) -> int:
        return max(self.granted, self.most, self.open)

    @property
    def demand(self) -> int:
        return self.open + self.waiting

    def grant(self, host: str, slots: int, due: float = 0.0) -> GrantHost:
        self.granted = slots
        self.most = max(self.most, slots)
        self.serial += 1
        return GrantHost(host, slots, self.serial, due)


@dataclass(slots=True)
class HostRow:
    """Statistics and limits of a host; only the board changes them.

    Attributes:
        host: name of the host.
        done: requests that succeeded.
        failed: requests that failed.
        refused: requests that the host refused for now (status 429 or 503).
        seconds: sum of the durations of requests.
        statuses: number of responses by HTTP status; requests without a response count as status 0.
        latencies: histogram of the durations of requests.
        delay: seconds between two requests.
        asked_delay: seconds between two requests that the host demands (`Crawl-delay`).
        cooldown_until: time at which the cooldown after a refusal ends, in monotonic seconds.
        named_until: latest time until which the host has asked to wait, in monotonic seconds.
        refusal: status of the response that caused the cooldown; None before the first.
        paused: True if the user has paused the host.
        failing: True if the host failed so often that it gets only single requests, as tests.
        down: True while items for the host fail without a request. One item a minute still sends its request, as a
            test.
        shares: slots of each worker, by number of the worker.
    """

    host: str
    done: int = 0
    failed: int = 0
    refused: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: Histogram = field(default_factory=Histogram)
    delay: float = 0.0
    asked_delay: float = 0.0
    cooldown_until: float = -math.inf
    named_until: float = -math.inf
    refusal: int | None = None
    paused: bool = False
    failing: bool = False
    down: bool = False
    shares: dict[int, _Share] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """The number of open requests, over all workers."""
        return sum(share.open for share in self.shares.values())

    @property
    def waiting(self) -> int:
        """The number of requests and items that wait for the host, over all workers."""
        return sum(share.waiting for share in self.shares.values())

    @property
    def backs_off(self) -> bool:
        """True if the cooldown is longer than the host asks for, because it has refused requests before."""
        return self.cooldown_until >= self.named_until + _LONGER_SECONDS

    def add(self, report: HostReport) -> None:
        """Add the counters of a worker's report."""
        self.done += report.done
        self.failed += report.failed
        self.refused += report.refused
        self.seconds += report.seconds
        self.statuses.update(report.statuses)
        self.latencies.add(report.latencies)


Orders = list[tuple[int, Order]]
"""Orders, each with the number of the worker that gets it."""


class HostBoard:
    """The hosts of a run. Owned by the scheduler; other parts only read.

    Args:
        limits: limits of every host without limits of its own.
        is_shared: True if several workers share the limits, so that slots must be granted.
    """

    def __init__(self, limits: HostLimits | None = None, *, is_shared: bool = False) -> None:
        self.limits = limits or HostLimits()
        self.is_shared = is_shared
        self.rows: dict[str, HostRow] = {}
        self.paused: set[str] = set()
        """Hosts that the user has paused. The field `paused` of a row changes later, with a worker's next report."""
        self._own: dict[str, HostLimits] = {}
        """Limits of hosts that differ from `limits`."""
        self._news: list[str] = []
        self._logged = 0
        self.version = 0
        """Counter of changes, by which readers see that the rows may have changed."""

    @property
    def has_several(self) -> bool:
        """True if workers have reported more than one host."""
        return len(self.rows) > 1

    def refused(
        self, host: str, seconds: float, others: Iterable[int], now: float, *, named: float = 0.0, status: int = 429
    ) -> Orders:
        """Record that a host gets no requests for `seconds`, because it has refused one.

        Return the orders that make the workers `others` wait for this time.

        Args:
            host: name of the host.
            seconds: seconds of the cooldown.
            others: numbers of the workers that have not sent the request.
            now: the current time.
            named: seconds that the host named; 0 if it named none.
            status: status of the response.
        """
        row = self._row(host)
        is_new = row.cooldown_until <= now
        row.refusal = status
        row.cooldown_until = max(row.cooldown_until, now + seconds)
        row.named_until = max(row.named_until, now + named)
        if seconds >= _LONG_SECONDS and is_new:
            asked = f"it asks for {named:.0f} s" if named else "it names no time"
            why = f" ({asked}; the rest is back-off, which doubles with each refusal)" if row.backs_off else ""
            self._tell(f"{host} refuses requests: the next one is sent in {seconds:.0f} s{why}")
        self.version += 1
        return [(worker, HoldHost(host, seconds)) for worker in others]

    def reported(self, report: HostsReport, now: float) -> Orders:
        """Record the report of a worker. Return the resulting orders, which grant slots or set delays."""
        self.version += 1
        orders: Orders = []
        for each in report.hosts:
            row = self._row(each.host)
            row.add(each)
            if row.host != each.host:
                continue  # the shared row of hosts beyond `MAX_HOSTS` has counters only, no slots
            if each.down and not row.down:
                self._tell(f"{each.host} keeps failing: its items fail at once, except one trial a minute")
            row.delay, row.paused, row.failing, row.down = each.delay, each.paused, each.failing, each.down
            if each.cooldown:
                row.cooldown_until = max(row.cooldown_until, now + each.cooldown)
                row.named_until = max(row.named_until, now + each.named)
            share = row.shares.setdefault(report.worker, _Share())
            share.open, share.waiting = each.open, each.waiting
            if each.serial == share.serial:
                share.most = share.granted
            share.due_at = now + each.due
            if each.asked_delay > row.asked_delay:
                row.asked_delay = each.asked_delay
                orders += self._spaced(row)
            orders += self._shared_out(row, now)
        return orders

    def _spaced(self, row: HostRow) -> Orders:
        """Apply the delay that a host demands, if it is longer than the delay in the host's limits.

        Return the orders for the workers.
        """
        limits = self.limits_of(row.host)
        if row.asked_delay <= limits.delay:
            return []
        self._own[row.host] = limits = replace(limits, delay=row.asked_delay)
        self._tell(
            f"{row.host} asks for {row.asked_delay:g} s between two requests (Crawl-delay): the run waits that long"
        )
        return [(worker, SetHostLimits(limits, row.host)) for worker in row.shares]

    def lost(self, worker: int, now: float) -> Orders:
        """Free the slots of a worker that has ended. Return the orders that grant them to other workers."""
        self.version += 1
        orders: Orders = []
        for row in self.rows.values():
            if row.shares.pop(worker, None) is not None:
                orders += self._shared_out(row, now)
        return orders

    def limits_of(self, host: str) -> HostLimits:
        """Return the limits that apply to a host."""
        return self._own.get(host, self.limits)

    @property
    def own_limits(self) -> Mapping[str, HostLimits]:
        """The limits of hosts that differ from the limits of the run."""
        return self._own

    def change(self, limits: HostLimits, host: str, now: float) -> Orders:
        """Change the limits of a host, or of every host without limits of its own if `host` is empty.

        Return the orders that grant slots under the new limits.
        """
        if host:
            self._own[host] = limits
        else:
            self.limits = limits
        self.version += 1
        return [order for row in self.rows.values() for order in self._shared_out(row, now)]

    def judged(self, trials: Trials, by_host: Mapping[str, Trials], now: float) -> tuple[Trials, frozenset[str] | None]:
        """Return the results that count for the circuit breaker of the run, and the hosts that caused the failures.

        In a run with at most one host, all results count, and None is returned in place of the hosts. In a run with
        several hosts, three kinds of failures do not count. The first is permanent failures of a host. The second is
        failures of a host that is cooling down or failing. The third is failures of a host without a success, once
        another host has had a success. Failures that belong to no host appear under the host "".

        Args:
            trials: all results of a batch.
            by_host: the failures in `trials` that a host has caused, by host.
            now: current time.
        """
        if not self.has_several:
            return trials, None
        answered = any(row.done for row in self.rows.values())
        at_fault = set()
        dropped = transient = permanent = 0
        for host, failures in by_host.items():
            row = self.rows.get(host)
            has_answered = row is not None and row.done > 0
            is_held = row is not None and (row.cooldown_until > now or row.failing)
            permanent += failures.permanent
            if is_held or (answered and not has_answered):
                dropped += failures.transient
            elif failures.transient:
                at_fault.add(host)
                transient += failures.transient
        rest = Trials(
            trials.ok,
            max(0, trials.transient - dropped),
            max(0, trials.permanent - permanent),
        )
        if rest.failed > transient:
            at_fault.add("")
        return rest, frozenset(at_fault)

    def take_news(self) -> list[str]:
        """Return the texts to log that were added since the last call."""
        news, self._news = self._news, []
        return news

    def _tell(self, text: str) -> None:
        self._logged += 1
        if self._logged < _MOST_LOGGED:
            self._news.append(text)
        elif self._logged == _MOST_LOGGED:
            self._news.append("more hosts refuse or fail; see the hosts screen or the table runner.hosts")

    def _row(self, host: str) -> HostRow:
        row = self.rows.get(host)
        if row is None:
            name = host if len(self.rows) < MAX_HOSTS else OTHER_HOSTS
            row = self.rows.setdefault(name, HostRow(name))
        return row

    def _shared_out(self, row: HostRow, now: float) -> Orders:
        """Grant the slots of a host by demand. Return the orders, those that reduce a grant first."""
        limits = self.limits_of(row.host)
        total = 1 if limits.is_exclusive else limits.per_host
        if not self.is_shared or total is None:
            return []
        wanted = _divided(total, {worker: share.demand for worker, share in row.shares.items()}, now)
        orders: Orders = []
        for worker, share in row.shares.items():
            if wanted[worker] < share.granted:
                orders.append((worker, share.grant(row.host, wanted[worker])))
        due = max((share.due_at for share in row.shares.values()), default=now) - now
        for worker, share in row.shares.items():
            others = sum(other.taken for number, other in row.shares.items() if number != worker)
            slots = min(wanted[worker], total - others)
            if slots > share.granted:
                orders.append((worker, share.grant(row.host, slots, max(0.0, due))))
        return orders


def _divided(total: int, demand: Mapping[int, int], now: float) -> dict[int, int]:
    """Divide `total` slots among workers, one slot at a time in turn, up to the demand of each worker.

    The worker that is first changes every `_TURN_SECONDS`.
    """
    given = dict.fromkeys(demand, 0)
    workers = sorted(worker for worker, wanted in demand.items() if wanted)  # a fixed order, for the turns
    if workers:
        first = int(now / _TURN_SECONDS) % len(workers)
        workers = workers[first:] + workers[:first]
    while total and workers:
        for worker in list(workers):
            if not total:
                break
            given[worker] += 1
            total -= 1
            if given[worker] >= demand[worker]:
                workers.remove(worker)
    return given
