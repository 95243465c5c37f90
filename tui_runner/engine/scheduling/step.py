"""One call of `Scheduler.handle`: its time, and the actions that it returns."""

from __future__ import annotations

from tui_runner.engine.scheduling.active_clock import ActiveClock
from tui_runner.engine.scheduling.events import Action, Tell


class Step:
    """The time and the actions of one scheduler step, shared by the parts of the scheduler.

    Attributes:
        now: monotonic seconds.
        clock: the run's active time.
        actions: actions that the event caused so far, in order.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = ActiveClock()
        self.actions: list[Action] = []

    def begin(self, now: float) -> None:
        """Begin the step of an event that happened at `now`, with an empty list of actions."""
        self.now = now
        self.actions = []

    @property
    def active(self) -> float:
        """The seconds the run has been active, without pauses."""
        return self.clock.active(self.now)

    @property
    def working(self) -> float:
        """The active seconds in which items could start."""
        return self.clock.working(self.now)

    def do(self, action: Action) -> None:
        """Append an action."""
        self.actions.append(action)

    def tell(self, level: str, text: str, *, passes: bool = False) -> None:
        """Append an action that logs a text for the user; see `Tell`."""
        self.actions.append(Tell(level, text, passes))
