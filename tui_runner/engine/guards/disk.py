"""Holds a run while the disk of its database is full, tries again until it is not, and warns before it is.

What `DiskWatch` decides is carried out here, in the runner's thread.

While the disk is full the run is held (`events.Hold`): nothing is lost, since what is not yet written is kept, and
backpressure holds the workers beyond that. Every few seconds the flush that failed is tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.scheduling.events import Event, Hold, Release
from tui_runner.engine.states import PauseCause
from tui_runner.errors import DiskFull
from tui_runner.text.numbers import duration, size


class DiskHold:
    """The disk's part in a run.

    Args:
        handle: passes events to the scheduler.
        tell: takes (level, text) for a person.
        try_again: has the writing thread try its failed flush again.

    Attributes:
        reason: why the run is held; empty while it is not.
    """

    def __init__(
        self, handle: Callable[[Event], None], tell: Callable[[str, str], None], try_again: Callable[[], None]
    ) -> None:
        self._handle = handle
        self._tell = tell
        self._try_again = try_again
        self._watch = DiskWatch()
        self.reason = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to warn of."""
        return (self._watch.low,) if self._watch.low else ()

    def failed(self, error: DiskFull, now: float) -> None:
        """A flush did not find room."""
        self.reason = f"{error.what}; 0 rows lost, it goes on when there is room"
        self._watch.failed(now)
        self._handle(Hold(PauseCause.DISK, self.reason))

    def written(self) -> None:
        """A flush is in the database."""
        if self._watch.written():
            self.reason = ""
            self._tell("INFO", "there is room on the disk again: all is written, 0 rows lost")
            self._handle(Release(PauseCause.DISK))

    def try_now(self) -> None:
        """Somebody says that there is room."""
        self._watch.try_now()

    def measured(self, memory: MemoryMeasured, now: float) -> None:
        """Take over what was measured of the disk."""
        if memory.disk_free is not None:
            news = self._watch.measured(memory.disk_free, memory.db_bytes, now)
            if news:
                self._tell("WARNING", news)

    def look(self, now: float) -> None:
        """Try again when it is time."""
        if self._watch.probe_due(now):
            self._try_again()


PROBE_SECONDS = 3.0
"""Between two tries to write to a full disk: soon enough for somebody who has just made room and looks."""

_LOW_BYTES = 1_000_000_000
"""Free bytes below which a disk is low however slowly it fills: a checkpoint and a query that spills want that much."""
_LOW_SECONDS = 600.0
"""Time until it is full, at the rate of the last minute, below which a disk is low: enough to do something about it."""
_RECOVERED = 1.5
"""Times those bounds, beyond which a disk is no longer low: a figure that wavers about a bound is told once."""
_WINDOW_SECONDS = 60.0
_GROUND_SECONDS = 20.0
"""Of growth, before it says anything: a checkpoint moves 16 MB from one file to another at once."""


class DiskWatch:
    """Watches the disk of the database.

    Attributes:
        low: what to warn of, in a few words; empty while there is room.
        full: whether a flush has failed for want of room, and none has succeeded since.
    """

    def __init__(self) -> None:
        self.low = ""
        self.full = False
        self._sizes: deque[tuple[float, int]] = deque()
        self._probe_at = 0.0

    def failed(self, now: float) -> None:
        """A flush did not find room."""
        self.full = True
        self._probe_at = now + PROBE_SECONDS

    def written(self) -> bool:
        """A flush is in the database; whether the disk was full until then."""
        was_full, self.full = self.full, False
        return was_full

    def try_now(self) -> None:
        """Somebody says that there is room."""
        self._probe_at = 0.0

    def probe_due(self, now: float) -> bool:
        """Whether to try the failed flush again; true once, until it has failed again."""
        if not self.full or now < self._probe_at:
            return False
        self._probe_at = now + PROBE_SECONDS
        return True

    def measured(self, free: int, used: int, now: float) -> str:
        """Take over how many bytes are free and how many the database has; what is new to warn of, else nothing."""
        self._sizes.append((now, used))
        while now - self._sizes[0][0] > _WINDOW_SECONDS:
            self._sizes.popleft()
        left = self._seconds_left(free)
        factor = _RECOVERED if self.low else 1.0
        if free >= factor * _LOW_BYTES and (left is None or left >= factor * _LOW_SECONDS):
            self.low = ""
            return ""
        soon = "" if left is None or left > 10 * _LOW_SECONDS else f", full in about {duration(left, short=True)}"
        was_low, self.low = bool(self.low), f"disk: {size(free)} left{soon}"
        return "" if was_low else self.low

    def _seconds_left(self, free: int) -> float | None:
        """Until the disk is full, at the growth of the last minute; None while that is not known."""
        (then, before), (now, used) = self._sizes[0], self._sizes[-1]
        if now - then < _GROUND_SECONDS or used <= before:
            return None
        return free * (now - then) / (used - before)
