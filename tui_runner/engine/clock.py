"""The run's own time: seconds it has been going on, without those it was paused."""

from __future__ import annotations


class ActiveClock:
    """Turns monotonic times into active ones. Stands at 0 until it is started."""

    def __init__(self) -> None:
        self._started_at: float | None = None
        self._paused_at: float | None = None
        self._paused_seconds = 0.0

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
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
        """Time goes on."""
        if self._paused_at is not None:
            self._paused_seconds += now - self._paused_at
            self._paused_at = None

    def active(self, now: float) -> float:
        """Active seconds at `now`."""
        if self._started_at is None:
            return 0.0
        end = self._paused_at if self._paused_at is not None else now
        return max(0.0, end - self._started_at - self._paused_seconds)
