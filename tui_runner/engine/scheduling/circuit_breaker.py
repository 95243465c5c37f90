"""Notices that nearly everything fails, and tries from time to time whether that is over.

A service that is down, a network that is gone, a site that has changed: every further item would fail too. When nine
tenths of the last 50 items or more have failed, the run is to stop starting items. This is a circuit breaker (Nygard,
"Release It!") whose half-open state is one single item, let through at growing intervals: when an item ends well, the
run goes on.

*What counts.* An item that ends well, once; an item whose first attempt fails, once. Later attempts that fail are not
counted: the few bad items at the end of a good run would look like an outage, and an outage is noticed before the first
item has used up its attempts, so nearly all of those it hit are tried again when it is over. Nor are failures of items
that had failed before the run was resumed: that is no news, and a resumed run begins with them.

Nor are attempts that began before the run went on: they tell of the outage that is over, for as long as their timeout.

*Whom it trusts.* A person who says "go on" may know better, so after that it takes four times as many failures, until
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
    """What a run does about an outage."""

    PAUSE = "pause"
    """Start no items, try one now and then, go on when it succeeds."""
    STOP = "stop"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class Outage:
    """Nearly everything fails.

    Attributes:
        text: how many of how many, and what most of them failed with.
        may_pass: whether most failures are such that another attempt may succeed.
    """

    text: str
    may_pass: bool


class OutageWatch:
    """Counts how items fare and says when that is an outage. Times are monotonic seconds.

    Args:
        on_outage: what the run is to do about one.
        attended: whether there is somebody who can resume a run that was paused.
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
        self.attended = attended
        self._first_ground = ground
        self._recent: deque[tuple[Trials, Mapping[tuple[str, str], int]]] = deque()
        self._sum = Trials()
        self._ground = ground
        self._interval = _FIRST_INTERVAL
        self._next_trial: float | None = None
        self._tried = False
        self._went_on = -math.inf

    def count(
        self, trials: Trials, errors: Mapping[tuple[str, str], int], now: float, *, since: float = math.inf
    ) -> Outage | None:
        """Take in what a worker reports; an outage, when this is where it begins.

        Args:
            trials: how items fared.
            errors: how often each (type, message) occurred.
            now: the time.
            since: when the first of the attempts that failed began.
        """
        if since < self._went_on:
            trials, errors = Trials(trials.ok), {}
        if self._on_outage is OnOutage.CONTINUE or self._next_trial is not None or not trials.total:
            return None
        self._recent.append((trials, errors))
        self._sum += trials
        while self._sum.total - self._recent[0][0].total >= self._ground:
            self._sum -= self._recent.popleft()[0]
        if self._sum.total < self._ground:
            return None
        if self._sum.failed < _SHARE * self._sum.total:
            self._ground, self._interval = self._first_ground, _FIRST_INTERVAL
            return None
        outage = Outage(self._text(), may_pass=self._sum.passing >= self._sum.lasting)
        self._forget()
        self._next_trial = now + self._interval if outage.may_pass else math.inf
        self._tried = False
        return outage

    def stops(self, outage: Outage) -> bool:
        """Whether the run is to stop because of it: where trying again would not help, nobody could resume it."""
        return self._on_outage is OnOutage.STOP or not (outage.may_pass or self.attended)

    @property
    def waits_for_somebody(self) -> bool:
        """Whether there is an outage of which no trial will show the end."""
        return self._next_trial == math.inf

    @property
    def is_on(self) -> bool:
        """Whether there is an outage."""
        return self._next_trial is not None

    def trial_due(self, now: float) -> float | None:
        """Whether an item is to be let through: seconds until the next one would be, None when not.

        Each answer that is not None counts as a trial that is made.
        """
        if self._next_trial is None or now < self._next_trial:
            return None
        self._interval = min(2 * self._interval, _LONGEST_INTERVAL)
        self._next_trial = now + self._interval
        self._tried = True
        return self._interval

    def is_over(self, trials: Trials) -> bool:
        """Whether an outage is over: an item ended well since the first trial. Earlier ones were in flight before."""
        return self._tried and trials.ok > 0

    def end(self, now: float, *, by_hand: bool) -> None:
        """The run goes on: because an item ended well, or because a person said so."""
        self._went_on = now
        if by_hand and self.is_on:
            self._ground *= _DISTRUST
        self._next_trial = None
        self._tried = False
        self._forget()

    @property
    def seconds_to_trial(self) -> float:
        """From the beginning of an outage to its first trial."""
        return self._interval

    def _forget(self) -> None:
        self._recent.clear()
        self._sum = Trials()

    def _text(self) -> str:
        kinds: Counter[tuple[str, str]] = Counter()
        for _, errors in self._recent:
            kinds.update(errors)
        text = f"{self._sum.failed} of the last {self._sum.total} items failed"
        if kinds:
            kind, message = max(kinds, key=lambda each: kinds[each])
            text += f" ({kind}: {message[:_MESSAGE_LENGTH]})" if message else f" ({kind})"
        return text
