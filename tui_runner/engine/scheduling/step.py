"""One decision of the scheduler: its time, and the actions it takes."""

from __future__ import annotations

from tui_runner.engine.scheduling.events import Action, Tell


class ActiveClock:
    """Turns monotonic times into active ones. Stands at 0 until it is started."""

    def __init__(self) -> None:
        self._started_at: float | None = None
        self._paused_at: float | None = None
        self._paused_seconds = 0.0

    @property
    def started(self) -> bool:
        """True if `start` was called."""
        return self._started_at is not None

    def start(self, now: float, *, paused: bool) -> None:
        """Time begins, or stands still from the beginning."""
        self._started_at = now
        self._paused_at = now if paused else None

    def pause(self, now: float) -> None:
        """Time stands still from `now` on."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Let time pass."""
        if self._paused_at is not None:
            self._paused_seconds += now - self._paused_at
            self._paused_at = None

    def active(self, now: float) -> float:
        """Active seconds at `now`."""
        if self._started_at is None:
            return 0.0
        end = self._paused_at if self._paused_at is not None else now
        return max(0.0, end - self._started_at - self._paused_seconds)


class Turn:
    """Shared by the parts of the scheduler: when it is now, and the actions of this turn, in order.

    Attributes:
        now: monotonic seconds.
        clock: the run's own time.
        actions: what the event makes necessary.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = ActiveClock()
        self.actions: list[Action] = []

    def begin(self, now: float) -> None:
        """Begin with the next event, which happened at `now`; nothing follows from it yet."""
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
