"""The clock of a run, which stands still in its pauses."""

from __future__ import annotations

import math

_FINISH_SECONDS = 60.0
"""Most seconds of a pause that items in flight keep the clock running. An item that hangs would keep it running for the
whole pause."""
_REPORT_SECONDS = 0.5
"""Seconds after the clock has stopped in which reports are still of active time: workers report the items that have
ended every 0.2 s."""


class ActiveClock:
    """A clock of active time: the seconds from `start` to `end`, without pauses. It shows 0 before `start`.

    A pause stops it only when the last item in flight has ended. Otherwise the items that end in a pause would have
    taken no time, and rates would rise. `working` leaves out this time, in which no items start.

    After `end` it stands still, so that the screen shows the times that the ledger has.
    """

    def __init__(self) -> None:
        self._started_at: float | None = None
        self._pausing_since: float | None = None
        """Time of the first call of `pause` in this pause."""
        self._paused_at: float | None = None
        self._paused_seconds = 0.0
        self._finishing_seconds = 0.0
        """Active seconds of earlier pauses, in which items in flight ended."""
        self._resumed_at = -math.inf
        """Time of the start, or of the `resume` that last started the clock again, by the monotonic clock."""
        self._working_since = -math.inf
        """Time of the start or the last `resume`."""
        self._ended_at = math.inf

    @property
    def started(self) -> bool:
        """True if `start` was called."""
        return self._started_at is not None

    def start(self, now: float, *, paused: bool) -> None:
        """Start the clock at the monotonic time `now`, paused if `paused`."""
        self._started_at = self._resumed_at = self._working_since = now
        self._pausing_since = self._paused_at = now if paused else None

    def pause(self, now: float, *, in_flight: bool = False) -> None:
        """Stop active time at `now`, unless it is stopped already.

        While items are in flight, it stops only `_FINISH_SECONDS` after the first call. Call it again until it has
        stopped.
        """
        if self._pausing_since is None:
            self._pausing_since = now
        if self._paused_at is None and (not in_flight or now >= self._pausing_since + _FINISH_SECONDS):
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Continue active time at `now`, unless it is running already."""
        if self._pausing_since is not None:
            self._finishing_seconds += self._finishing(now)
            self._pausing_since = None
            self._working_since = now
        if self._paused_at is not None:
            self._paused_seconds += now - self._paused_at
            self._paused_at = None
            self._resumed_at = now

    def end(self, now: float) -> None:
        """Stop the clock at `now`, for good."""
        self._ended_at = now

    @property
    def is_stopped(self) -> bool:
        """True while a pause stops active time."""
        return self._paused_at is not None

    def counts(self, now: float) -> bool:
        """Return True if what is reported at `now` happened in active time, so that it counts in rates."""
        return self.stopped_for(now) <= _REPORT_SECONDS

    def stopped_for(self, now: float) -> float:
        """Return the seconds at `now` since a pause has stopped active time; 0 while it runs."""
        return 0.0 if self._paused_at is None else now - self._paused_at

    def elapsed(self, now: float) -> float:
        """Return the seconds since `start` at the monotonic time `now`, pauses included."""
        return 0.0 if self._started_at is None else min(now, self._ended_at) - self._started_at

    def active(self, now: float) -> float:
        """Return the active seconds at the monotonic time `now`."""
        if self._started_at is None:
            return 0.0
        end = self._paused_at if self._paused_at is not None else min(now, self._ended_at)
        return max(0.0, end - self._started_at - self._paused_seconds)

    def working(self, now: float) -> float:
        """Return the active seconds at `now` in which items could start. Rates that predict the future need them."""
        return self.active(now) - self._finishing_seconds - self._finishing(now)

    def _finishing(self, now: float) -> float:
        """Return the active seconds of the current pause at `now`."""
        if self._pausing_since is None:
            return 0.0
        return (now if self._paused_at is None else self._paused_at) - self._pausing_since

    def since_resume(self, now: float) -> float:
        """Return the seconds at `now` since the start or the last `resume`."""
        return now - self._working_since

    def active_before(self, now: float, seconds: float) -> float:
        """Return the active seconds at the time `seconds` before `now`.

        For a time before the last resume, return those at the resume, because earlier pauses are not kept.
        """
        if self._started_at is None:
            return 0.0
        return min(self.active(now), max(now - seconds, self._resumed_at) - self._started_at - self._paused_seconds)
