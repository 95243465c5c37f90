"""Notices that nearly everything fails, and tries from time to time whether that is over.

A service that is down, a network that is gone, a site that has changed: every further item would fail too. When nine
tenths of the last 50 items or more have failed, the run is to stop starting items. This is a circuit breaker (Nygard,
"Release It!") whose trials are single items, let through at growing intervals: when an item ends well after one, the
run resumes.

| state       | meaning                                                | leaves it                                     |
| ----------- | ------------------------------------------------------ | --------------------------------------------- |
| `CLOSED`    | items start; their results are counted                 | `count` finds an outage                       |
| `OPEN`      | no items start; the first trial has not begun          | `trial_due`, or `close`                       |
| `HALF_OPEN` | a trial has begun; another follows until one succeeds  | `close`: a trial succeeded, or the user acted |
| `LATCHED`   | no items start, and none is tried: it would not help   | `close`, or `try_now`: the user acted         |

*What counts.* An item that ends well, once; an item whose first attempt fails, once. Later attempts that fail are not
counted: the few bad items at the end of a good run would look like an outage, and an outage is noticed before the first
item has used up its attempts, so nearly all of those it hit are tried again when it is over. Nor are failures of items
that had failed before the run was resumed: that is no news, and a resumed run begins with them.

Nor are attempts that began before the run went on: they tell of the outage that is over, for as long as their timeout.

*Hosts.* Where the run has several hosts, failures of one host are that host's trouble (`host_board` has what is counted
then): failures must come from at least two hosts that have answered before, or be no host's.

*Distrust.* A user who resumes the run may know better, so after that it takes four times as many failures, until
things have gone well again. If most failures are such that another attempt would not help (a `KeyError`, a 404),
waiting will not help either: `Outage.may_pass` says which it is.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tui_runner.engine.protocol import Trials
from tui_runner.engine.states import check_transition

_GROUND = 50
"""Items before a share of failures means anything."""
_SHARE = 0.9
"""Of these items failed: what is left is luck, or an answer from a cache."""
_FIRST_INTERVAL = 10.0
"""Seconds to the first trial: a restart of a server is over by then."""
_LONGEST_INTERVAL = 300.0
"""Seconds between trials in the end: after an outage of hours five minutes more are nothing, and each trial may cost
an item one of its attempts."""
_DISTRUST = 4
_MESSAGE_LENGTH = 120


class OnOutage(StrEnum):
    """Reactions of a run to an outage."""

    PAUSE = "pause"
    """Start no items, try one now and then, continue when it succeeds."""
    STOP = "stop"
    CONTINUE = "continue"


class BreakerState(StrEnum):
    """The states of the circuit breaker."""

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
"""From each state of the circuit breaker, the states that may follow."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Nearly everything fails.

    Attributes:
        text: how many of how many, and what most of them failed with.
        may_pass: whether most failures are such that another attempt may succeed.
    """

    text: str
    may_pass: bool


class CircuitBreaker:
    """Counts how items fare and says when that is an outage. Times are monotonic seconds.

    Args:
        on_outage: what the run is to do about one.
        attended: True if a person can resume a run that was paused.
        ground: items before a share of failures means anything.
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
        self._recent: deque[tuple[Trials, Mapping[tuple[str, str], int], frozenset[str] | None]] = deque()
        self._sum = Trials()
        self._ground = ground
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
    ) -> Outage | None:
        """Take in what a worker reports; an outage, when this is where it begins.

        Args:
            trials: how items fared.
            errors: how often each (type, message) occurred.
            now: the time.
            since: when the first of the attempts that failed began.
            hosts: which hosts are at fault, the empty name for none; None where the run has not several.
        """
        if since < self._closed_at:
            trials, errors = Trials(trials.ok), {}
        if self._on_outage is OnOutage.CONTINUE or self.state is not BreakerState.CLOSED or not trials.total:
            return None
        self._recent.append((trials, errors, hosts))
        self._sum += trials
        while self._sum.total - self._recent[0][0].total >= self._ground:
            self._sum -= self._recent.popleft()[0]
        if self._sum.total < self._ground:
            return None
        if self._sum.failed < _SHARE * self._sum.total:
            self._ground, self._interval = self._first_ground, _FIRST_INTERVAL
            return None
        if self._is_of_one_host:
            return None
        outage = Outage(self._text(), may_pass=self._sum.passing >= self._sum.lasting)
        self._forget()
        self._become(BreakerState.OPEN if outage.may_pass else BreakerState.LATCHED)
        self._next_trial = now + self._interval
        return outage

    def stops(self, outage: Outage) -> bool:
        """Return True if the run must stop: on request, or because no trial would help and no user could resume it."""
        return self._on_outage is OnOutage.STOP or not (outage.may_pass or self._attended)

    def abandon(self) -> None:
        """Expect no user any more who could resume the run."""
        self._attended = False

    def trial_due(self, now: float) -> float | None:
        """Begin a trial if it is time. Return the seconds until the one after it, or None if none begins."""
        if self.state not in (BreakerState.OPEN, BreakerState.HALF_OPEN) or now < self._next_trial:
            return None
        if self.state is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN)
        if not math.isinf(self._interval):
            self._interval = min(2 * self._interval, _LONGEST_INTERVAL)
        self._next_trial = now + self._interval
        return self._interval

    def try_now(self, now: float) -> None:
        """Have a trial begin at once, because the user asks for one; none follows where none would have begun."""
        if self.state is BreakerState.LATCHED:
            self._become(BreakerState.HALF_OPEN)
            self._interval = math.inf
        if self.state is not BreakerState.CLOSED:
            self._next_trial = now

    def is_over(self, trials: Trials) -> bool:
        """Return True if an item ended well since the first trial. Earlier ones were in flight before the outage."""
        return self.state is BreakerState.HALF_OPEN and trials.ok > 0

    def close(self, now: float, *, by_user: bool = False) -> None:
        """Let items through again: because a trial succeeded, or because the user resumed or paused the run.

        Args:
            now: the time.
            by_user: whether the user resumed the run; another outage then takes more failures.
        """
        self._closed_at = now
        if self.state is not BreakerState.CLOSED:
            self._become(BreakerState.CLOSED)
            if math.isinf(self._interval):
                self._interval = _FIRST_INTERVAL
            if by_user:
                self._ground *= _DISTRUST
        self._forget()

    def seconds_until_trial(self, now: float) -> float | None:
        """Return the seconds until the next trial; None when none will begin."""
        if self.state not in (BreakerState.OPEN, BreakerState.HALF_OPEN) or math.isinf(self._next_trial):
            return None
        return max(self._next_trial - now, 0.0)

    @property
    def seconds_to_trial(self) -> float:
        """Seconds from the beginning of an outage to its first trial."""
        return self._interval

    @property
    def _is_of_one_host(self) -> bool:
        """Return True if one of several hosts is at fault for everything."""
        known = [hosts for _, _, hosts in self._recent if hosts is not None]
        at_fault = frozenset[str]().union(*known)
        return len(known) == len(self._recent) and "" not in at_fault and len(at_fault) < 2

    def _become(self, state: BreakerState) -> None:
        check_transition(BREAKER_TRANSITIONS, self.state, state)
        self.state = state

    def _forget(self) -> None:
        self._recent.clear()
        self._sum = Trials()

    def _text(self) -> str:
        kinds: Counter[tuple[str, str]] = Counter()
        for _, errors, _ in self._recent:
            kinds.update(errors)
        text = f"{self._sum.failed} of the last {self._sum.total} attempts failed"
        if kinds:
            kind, message = max(kinds, key=lambda each: kinds[each])
            text += f" ({kind}: {message[:_MESSAGE_LENGTH]})" if message else f" ({kind})"
        return text
