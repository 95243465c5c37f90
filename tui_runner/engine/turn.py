"""One turn of the scheduler: the moment it decides in, and what it has decided to have done."""

from __future__ import annotations

from tui_runner.engine.clock import ActiveClock
from tui_runner.engine.events import Action, Tell


class Turn:
    """Shared by the parts of the scheduler: when it is now, and the actions of this turn, in order.

    Attributes:
        now: monotonic seconds.
        clock: the run's own time.
        actions: what is to be done.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = ActiveClock()
        self.actions: list[Action] = []

    def begin(self, now: float) -> None:
        """The next event happened at `now`; nothing is to be done yet."""
        self.now = now
        self.actions = []

    @property
    def active(self) -> float:
        """Seconds the run has been going on, without those it was paused."""
        return self.clock.active(self.now)

    def do(self, action: Action) -> None:
        """Have something done."""
        self.actions.append(action)

    def tell(self, level: str, text: str) -> None:
        """Have a person told."""
        self.actions.append(Tell(level, text))
