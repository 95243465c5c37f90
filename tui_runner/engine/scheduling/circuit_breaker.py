"""Detects an outage (nearly every item fails), and tries single items to find its end.

When a service is down, a network is gone or a site has changed, every further item would fail too. When nine tenths of
the last 50 or more results are failures, the run stops starting items. This is a circuit breaker (Nygard,
"Release It!") whose trials are single items, started at growing intervals. When an item succeeds after a trial, the run
resumes.

| state       | meaning                                                | leaves it                                     |
| ----------- | ------------------------------------------------------ | --------------------------------------------- |
| `CLOSED`    | items start; their results are counted                 | `count` finds an outage                       |
| `OPEN`      | no items start; the first trial has not begun          | `trial_due`, or `close`                       |
| `HALF_OPEN` | a trial has begun; another follows until one succeeds  | `close`: a trial succeeded, or the user acted |
| `LATCHED`   | no items and no trials start: failures are permanent   | `close`, or `try_now`: the user acted         |

No trial follows one that the user has begun in `LATCHED`.

*Results.* An item that succeeds counts once; an item whose first attempt fails counts once. Later failed attempts do
not count, for two reasons. The few bad items at the end of a good run would look like an outage. And an outage is
noticed before the first item has used up its attempts, so nearly all items that failed in it are retried when it is
over. Items that failed before the run was resumed do not count either, because a resumed run starts with them.

Attempts that began before the breaker was last closed do not count, because they may report the old outage until they
time out.

*Hosts.* In a run with several hosts, the failures of one host do not pause the run, because the limits of that host
already slow its requests down (`HostBoard.judged`). An outage needs failures from at least two hosts, or failures that
belong to no host. Once a host has had a success, only hosts with a success count.

*Lost items.* The last attempts of some items may fail before the outage is found. These items are called lost. They run
again after the outage, because the outage is the cause of their failure. `Outage.lost` names them. They are searched
among about twice as many results as were needed to find the outage.

*Distrust.* A user who resumes the run during an outage may know better than the breaker, or may be wrong. The first
resume changes nothing. Each further resume doubles the number of results that are needed to find an outage, until
results are good again. If most failures are permanent (a `KeyError`, a 404), waiting does not help. In that case
`Outage.is_transient` is False and the breaker is latched.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tui_runner.engine.protocol import Trials
from tui_runner.engine.states import check_transition
from tui_runner.text.paths import cut_text

_GROUND = 50
"""Results that are needed before the share of failures is checked. With fewer, some bad items at the start of an input
would pause the run."""
_SHARE = 0.9
"""Share of failures that makes an outage. It is below 1, because some items succeed by luck, or are answered from a
cache."""
_FIRST_INTERVAL = 10.0
"""Seconds from the beginning of an outage to its first trial, if results were good since the last outage. Restarting a
server takes about 10 s."""
_LONGEST_INTERVAL = 300.0
"""Most seconds between two trials. After an outage of hours, five more minutes do not matter, and each trial may use up
an attempt of an item."""
_DISTRUST = 2
"""Factor by which each resume by the user, except the first, multiplies the results that are needed to find an outage.
With 2, a run of 10,000 items that all fail ends after eight resumes; with a larger factor, fewer resumes by a user who
is wrong would let all items fail."""
_LOST_RESULTS = 2
"""Ratio of the results that are searched for lost items to the results in which the outage was found. The search goes
further back, because the outage began to affect a lost item before its last attempt, and because the first reports of
an outage still contain good results."""
_MESSAGE_LENGTH = 120
"""Characters of an error message in the reason for the pause, which the dashboard shows on one line."""
_MOST_EXAMPLES = 1_000
"""Most kinds of errors whose newest messages are kept; a single outage has fewer kinds."""

_Kind = tuple[str, str]
"""Kind of an error: its type, and the shape of its message (`text.describe.shape`)."""


class OnOutage(StrEnum):
    """Reactions of a run to an outage."""

    PAUSE = "pause"
    """Start no items, except single trials at growing intervals; resume when a trial succeeds."""
    STOP = "stop"
    """Drain the run and end it as failed."""
    CONTINUE = "continue"
    """Ignore outages."""


class BreakerState(StrEnum):
    """The states of the circuit breaker; the table at the head of the module explains them."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    LATCHED = "latched"


BREAKER_TRANSITIONS: Mapping[BreakerState, frozenset[BreakerState]] = {
    BreakerState.CLOSED: frozenset({BreakerState.OPEN, BreakerState.LATCHED}),
    BreakerState.OPEN: frozenset({BreakerState.HALF_OPEN, BreakerState.CLOSED}),
    BreakerState.HALF_OPEN: frozenset({BreakerState.CLOSED}),
    BreakerState.LATCHED: frozenset({BreakerState.HALF_OPEN, BreakerState.CLOSED}),
}
"""Allowed next states for each state of the circuit breaker."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A detected outage.

    Attributes:
        text: text for the user: the share of failures among the latest results, and the most frequent error.
        error: that error; empty if none is known.
        is_transient: True if at least half of the failures are transient, so that waiting may help.
        lost: positions of the items whose last attempt has just failed with a transient error, by chunk.
    """

    text: str
    error: str
    is_transient: bool
    lost: Mapping[int, Collection[int]] = field(default_factory=dict)


class CircuitBreaker:
    """A detector of outages, which counts the results of items. Times are monotonic seconds.

    Args:
        on_outage: reaction of the run to an outage.
        attended: True if a user can resume a paused run.
        ground: number of results that are needed before the share of failures is checked.
    """

    def __init__(
        self,
        on_outage: OnOutage = OnOutage.PAUSE,
        *,
        attended: bool = True,
        ground: int = _GROUND,
    ) -> None:
        self._on_outage = on_outage
        self._attended = attended
        self._first_ground = ground
        self._recent: deque[tuple[Trials, Mapping[_Kind, int], frozenset[str] | None]] = deque()
        self._examples: dict[_Kind, str] = {}
        """Newest message of each kind of errors in the recent results."""
        self._sum = Trials()
        self._ground = ground
        self._overruled = 0
        """Number of times that the user has resumed the run since results were last good."""
        self._lost: deque[tuple[int, Mapping[int, Collection[int]]]] = deque()
        """Lost items by chunk, with the number of results that were counted before them."""
        self._counted = 0
        self._interval = _FIRST_INTERVAL
        self.state = BreakerState.CLOSED
        self._next_trial = math.inf
        self._closed_at = -math.inf

    def count(
        self,
        trials: Trials,
        errors: Mapping[tuple[str, str], int],
        now: float,
        *,
        since: float = math.inf,
        hosts: frozenset[str] | None = None,
        lost: Mapping[int, Collection[int]] | None = None,
        examples: Mapping[tuple[str, str], str] | None = None,
    ) -> Outage | None:
        """Count the results that a worker reports. Return the outage if one begins with these results.

        Args:
            trials: results to count.
            errors: number of errors of each kind, see `_Kind`.
            now: current time.
            since: time at which the first of the failed attempts began.
            hosts: hosts that caused the failures, with "" for failures that belong to no host. None in a run with at
                most one host.
            lost: positions of the items whose last attempt failed with a transient error, by chunk.
            examples: newest message of each kind; for a kind without one, the shape of its message is shown.
        """
        if since < self._closed_at:
            trials, errors = Trials(trials.ok), {}
        if self._on_outage is OnOutage.CONTINUE or self.state is not BreakerState.CLOSED:
            return None
        if lost:
            self._lost.append((self._counted, lost))
        if not trials.total:
            return None
        self._counted += trials.total
        self._recent.append((trials, errors, hosts))
        self._examples.update(examples or {})
        self._sum += trials
        while self._sum.total - self._recent[0][0].total >= self._ground:
            self._sum -= self._recent.popleft()[0]
        if len(self._examples) > _MOST_EXAMPLES:
            self._examples = dict(examples or {})
        while self._lost and self._lost[0][0] < self._counted - _LOST_RESULTS * max(self._sum.total, self._ground):
            self._lost.popleft()
        if self._sum.total < self._ground:
            return None
        if self._sum.failed < _SHARE * self._sum.total:
            self._ground, self._interval, self._overruled = self._first_ground, _FIRST_INTERVAL, 0
            return None
        if self._is_of_one_host:
            return None
        outage = Outage(*self._text(), self._sum.transient >= self._sum.permanent, self._lost_items())
        self._forget()
        self._become(BreakerState.OPEN if outage.is_transient else BreakerState.LATCHED)
        self._next_trial = now + self._interval
        return outage

    def stops(self, outage: Outage) -> bool:
        """Return True if an outage must stop the run.

        Either the user has chosen that, or neither a trial nor a user can resume the run.
        """
        return self._on_outage is OnOutage.STOP or not (outage.is_transient or self._attended)

    def abandon(self) -> None:
        """Record that the run has lost its screen, so that no user can resume it."""
        self._attended = False

    def trial_due(self, now: float) -> float | None:
        """Begin a trial if one is due.

        Return the seconds until the next trial, infinite if none follows; None if no trial begins now.
        """
        if self.state not in (BreakerState.OPEN, BreakerState.HALF_OPEN) or now < self._next_trial:
            return None
        if self.state is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN)
        if not math.isinf(self._interval):
            self._interval = min(2 * self._interval, _LONGEST_INTERVAL)
        self._next_trial = now + self._interval
        return self._interval

    def try_now(self, now: float) -> None:
        """Make a trial due now, on the user's command. If the breaker is latched, no other trial follows.

        A trial on command does not double the interval until the next trial.
        """
        if self.state is BreakerState.LATCHED:
            self._become(BreakerState.HALF_OPEN)
            self._interval = math.inf
        if self.state is not BreakerState.CLOSED:
            self._next_trial = now
            self._interval /= 2  # `trial_due` doubles it

    def is_over(self, trials: Trials) -> bool:
        """Return True if a trial has begun and `trials` contains a success.

        Before the first trial, an item that succeeds was in flight before the outage and proves nothing.
        """
        return self.state is BreakerState.HALF_OPEN and trials.ok > 0

    def close(self, now: float, *, by_user: bool = False) -> None:
        """Start items again, because a trial succeeded or because the user resumed or paused the run.

        Args:
            now: current time.
            by_user: True if the user resumed the run. From the second resume on, more results are needed to find the
                next outage.
        """
        self._closed_at = now
        if self.state is not BreakerState.CLOSED:
            self._become(BreakerState.CLOSED)
            if math.isinf(self._interval):
                self._interval = _FIRST_INTERVAL
            if by_user:
                self._ground = self._first_ground * _DISTRUST**self._overruled
                self._overruled += 1
        self._forget()

    def seconds_until_trial(self, now: float) -> float | None:
        """Return the seconds until the next trial; None if no trial will begin."""
        if self.state not in (BreakerState.OPEN, BreakerState.HALF_OPEN) or math.isinf(self._next_trial):
            return None
        return max(self._next_trial - now, 0.0)

    @property
    def seconds_to_trial(self) -> float:
        """The seconds from the beginning of an outage, or from its last trial, to the next trial."""
        return self._interval

    @property
    def _is_of_one_host(self) -> bool:
        """True if all failures belong to one host, in a run with several hosts."""
        known = [hosts for _, _, hosts in self._recent if hosts is not None]
        at_fault = frozenset[str]().union(*known)
        return len(known) == len(self._recent) and "" not in at_fault and len(at_fault) < 2

    def _become(self, state: BreakerState) -> None:
        check_transition(BREAKER_TRANSITIONS, self.state, state)
        self.state = state

    def _forget(self) -> None:
        """Drop the recent results, so that old failures do not begin the next outage."""
        self._recent.clear()
        self._examples.clear()
        self._lost.clear()
        self._sum = Trials()

    def _lost_items(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for _, lost in self._lost:
            for number, positions in lost.items():
                found.setdefault(number, set()).update(positions)
        return found

    def _text(self) -> tuple[str, str]:
        """Return a text about the latest results, and the most frequent error in it."""
        kinds: Counter[_Kind] = Counter()
        for _, errors, _ in self._recent:
            kinds.update(errors)
        text = f"{self._sum.failed} of the last {self._sum.total} attempts failed"
        if not kinds:
            return text, ""
        most = max(kinds, key=lambda each: kinds[each])
        kind, message = most[0], self._examples.get(most, most[1])
        error = f"{kind}: {cut_text(message, _MESSAGE_LENGTH)}" if message else kind
        return f"{text} ({error})", error
