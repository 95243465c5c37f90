"""The hosts of a run over all its workers: what has happened at each, and who may ask it how much.

Part of the scheduler: it decides by what workers report, and does nothing itself.

*Limits are of the run.* Where several workers share a limit, each has slots of a host only as long as it is granted
them. Slots follow demand. A slot is granted anew only when its worker says that it has it no more, so the limit
holds at every moment: of each worker the largest of what it was granted since its last acknowledgement and what it has
open counts as taken. Where requests are spaced by a delay, one worker at a time may ask the host, and the next one
learns when the last request allows another.

*Cooldowns are of the run.* What one worker is told by a server the others are told at once.

*Outages.* Where a run has several hosts, a host that fails is that host's trouble; `judged` says what of the failures
is left for the circuit breaker of the run.

At most `MAX_HOSTS` hosts are kept; the rest is one row.
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
"""Hosts that are counted by themselves."""
OTHER_HOSTS = "(other hosts)"
NO_ANSWER = "no answer"
"""Stands for the status of a request that was not answered."""
_LONG_SECONDS = 30.0
"""Of a cooldown, from which a person is told: the run may seem to stand still."""
_MOST_TOLD = 20
"""Lines about hosts in the events of a run; hundreds of hosts would push everything else out."""
_TURN_SECONDS = 2.0
"""Time that one worker has a slot that several want, before another is served first."""


@dataclass(slots=True)
class _Share:
    """The part of a host that one worker has."""

    granted: int = 0
    most: int = 0
    """The most that it may still think to have: grants that it has not acknowledged are under way to it."""
    serial: int = 0
    open: int = 0
    waiting: int = 0
    due_at: float = -math.inf

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
    """Facts about a host; the board alone changes them.

    Attributes:
        host: its name.
        done: requests that were answered well.
        failed: requests that failed.
        refused: requests that it refused for now.
        seconds: that requests took, added up.
        statuses: how many answers had which status; 0 for no answer.
        latencies: how long requests took.
        delay: seconds between two requests.
        asked_delay: seconds between two requests that it has asked for (`Crawl-delay`).
        cooldown_until: when a refusal ends, monotonic seconds.
        paused: whether the user has paused it.
        failing: whether it is asked now and then only, because it failed so often.
        down: whether its items fail without being asked.
        shares: what each worker has of it, by number.
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
    paused: bool = False
    failing: bool = False
    down: bool = False
    shares: dict[int, _Share] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """Return the requests that are open, over all workers."""
        return sum(share.open for share in self.shares.values())

    @property
    def waiting(self) -> int:
        """Return the requests and items that wait for it, over all workers."""
        return sum(share.waiting for share in self.shares.values())

    def add(self, report: HostReport) -> None:
        """Count what a worker reports."""
        self.done += report.done
        self.failed += report.failed
        self.refused += report.refused
        self.seconds += report.seconds
        self.statuses.update(report.statuses)
        self.latencies.add(report.latencies)


Orders = list[tuple[int, Order]]
"""Orders, each with the number of the worker that gets it."""


class HostBoard:
    """The hosts of a run. Owned by the scheduler; others read.

    Args:
        limits: limits of every host.
        is_shared: whether several workers share them.
    """

    def __init__(self, limits: HostLimits | None = None, *, is_shared: bool = False) -> None:
        self.limits = limits or HostLimits()
        self.is_shared = is_shared
        self.rows: dict[str, HostRow] = {}
        self._own: dict[str, HostLimits] = {}
        """Limits of single hosts."""
        self._news: list[str] = []
        self._told = 0
        self.version = 0
        """Changes with every report."""

    @property
    def has_several(self) -> bool:
        """Return True if the run has asked more than one host."""
        return len(self.rows) > 1

    def refused(self, host: str, seconds: float, others: Iterable[int], now: float) -> Orders:
        """Hold a host for `seconds`; return the orders for the other workers."""
        row = self._row(host)
        if seconds >= _LONG_SECONDS and row.cooldown_until <= now:
            self._tell(f"{host} refuses for now: it is asked again in {seconds:.0f} s")
        row.cooldown_until = max(row.cooldown_until, now + seconds)
        self.version += 1
        return [(worker, HoldHost(host, seconds)) for worker in others]

    def reported(self, report: HostsReport, now: float) -> Orders:
        """Record what a worker reports. Return the slots that workers are granted then."""
        self.version += 1
        orders: Orders = []
        for each in report.hosts:
            row = self._row(each.host)
            row.add(each)
            if row.host != each.host:
                continue  # it is one of the others, for which nothing is decided
            if each.down and not row.down:
                self._tell(f"{each.host} failed again and again: its items fail, and one a minute is tried")
            row.delay, row.paused, row.failing, row.down = each.delay, each.paused, each.failing, each.down
            if each.cooldown:
                row.cooldown_until = max(row.cooldown_until, now + each.cooldown)
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
        """Give a host the delay that it asks for; return the orders for workers."""
        limits = self.limits_of(row.host)
        if row.asked_delay <= limits.delay:
            return []
        self._own[row.host] = limits = replace(limits, delay=row.asked_delay)
        self._tell(f"{row.host} asks for {row.asked_delay:g} s between two requests (Crawl-delay): it gets them")
        return [(worker, SetHostLimits(limits, row.host)) for worker in row.shares]

    def lost(self, worker: int, now: float) -> Orders:
        """Take back what a lost worker had; return the orders for others."""
        orders: Orders = []
        for row in self.rows.values():
            if row.shares.pop(worker, None) is not None:
                orders += self._shared_out(row, now)
        return orders

    def limits_of(self, host: str) -> HostLimits:
        """Return the limits of a host."""
        return self._own.get(host, self.limits)

    @property
    def own_limits(self) -> Mapping[str, HostLimits]:
        """Return the limits of hosts that have limits of their own."""
        return self._own

    def change(self, limits: HostLimits, host: str, now: float) -> Orders:
        """Change the limits of a host, or of every host that has none of its own where `host` is empty.

        Returns the slots that workers are granted then.
        """
        if host:
            self._own[host] = limits
        else:
            self.limits = limits
        self.version += 1
        return [order for row in self.rows.values() for order in self._shared_out(row, now)]

    def judged(self, trials: Trials, by_host: Mapping[str, Trials], now: float) -> tuple[Trials, frozenset[str] | None]:
        """Return the trials that say something of the whole run, and the hosts that are at fault for their failures.

        Failures for good and refusals of a host say nothing of the run; nor do those of a host that has never answered,
        if any other has. Failures that are no host's are under the empty name. Where the run has one host, or none is
        known, everything counts, and the hosts are None.
        """
        if not self.has_several:
            return trials, None
        answered = any(row.done for row in self.rows.values())
        at_fault = set()
        dropped = passing = lasting = 0
        for host, failures in by_host.items():
            row = self.rows.get(host)
            has_answered = row is not None and row.done > 0
            is_held = row is not None and (row.cooldown_until > now or row.failing)
            lasting += failures.lasting
            if is_held or (answered and not has_answered):
                dropped += failures.passing
            elif failures.passing:
                at_fault.add(host)
                passing += failures.passing
        rest = Trials(
            trials.ok,
            max(0, trials.passing - dropped),
            max(0, trials.lasting - lasting),
        )
        if rest.failed > passing:
            at_fault.add("")
        return rest, frozenset(at_fault)

    def take_news(self) -> list[str]:
        """Return what a person should know since the last call."""
        news, self._news = self._news, []
        return news

    def _tell(self, text: str) -> None:
        self._told += 1
        if self._told < _MOST_TOLD:
            self._news.append(text)
        elif self._told == _MOST_TOLD:
            self._news.append("more hosts refuse or fail; the screen of hosts and runner.hosts show them")

    def _row(self, host: str) -> HostRow:
        row = self.rows.get(host)
        if row is None:
            name = host if len(self.rows) < MAX_HOSTS else OTHER_HOSTS
            row = self.rows.setdefault(name, HostRow(name))
        return row

    def _shared_out(self, row: HostRow, now: float) -> Orders:
        """Grant the slots of a host by demand."""
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
    """Divide slots among workers by turns, none more than it has use for; who is first changes with time."""
    given = dict.fromkeys(demand, 0)
    workers = sorted(worker for worker, wanted in demand.items() if wanted)
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
