"""Holds a run while the disk of its database is full, tries again until it is not, and warns before it is.

While the disk is full the run is held (`events.Hold`): nothing is lost, since what is not yet written is kept, and
backpressure holds the workers beyond that. Every few seconds the flush that failed is tried again. Any other failure to
write ends the run; so does a full disk once the run drains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from tui_runner.engine.guards import MemoryMeasured
from tui_runner.engine.scheduling.events import (
    Committed,
    DatabaseLost,
    Hold,
    Release,
    RetryFlush,
    RowsLeft,
    Tell,
    Tick,
    TryRelease,
    WriteFailed,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import PauseCause, RunState
from tui_runner.errors import DatabaseError, DiskFull
from tui_runner.text.numbers import duration, size

_WAITING_PHASES = (RunState.RUNNING, RunState.FINISHED)
"""Phases in which a run waits for room on its disk; one that is to stop does not."""

Message = WriteFailed | Committed | RowsLeft | MemoryMeasured | TryRelease | Tick
Answer = Hold | Release | DatabaseLost | RetryFlush | Tell


class DiskGuard:
    """The disk's part in a run.

    Args:
        scheduler: read only.
        database: path of the database.
    """

    takes = frozenset(get_args(Message))
    """Types of the messages that `handle` takes."""

    def __init__(self, scheduler: Scheduler, database: Path) -> None:
        self._scheduler = scheduler
        self._database = database
        self._watch = DiskWatch()
        self._failure: BaseException | None = None
        """Reason why the last flush failed."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings to show, a few words each."""
        return (self._watch.low,) if self._watch.low else ()

    def handle(self, message: Message, now: float) -> Iterable[Answer]:
        """Take in what was written and measured; return what follows for the run."""
        match message:
            case WriteFailed(error):
                self._failure = error
                if isinstance(error, DiskFull) and self._scheduler.status.phase in _WAITING_PHASES:
                    self._watch.failed(now)
                    yield Hold(PauseCause.DISK, f"{error.what}; 0 rows lost, it resumes when there is room")
                else:
                    yield self._lost(error)
            case RowsLeft():
                yield self._lost(self._failure or TimeoutError("it takes no more rows"))
            case Committed() if self._watch.written():
                yield Tell("INFO", "there is room on the disk again: all is written, 0 rows lost")
                yield Release(PauseCause.DISK)
            case MemoryMeasured(disk_free=int(free), db_bytes=used):
                if news := self._watch.measured(free, used, now):
                    yield Tell("WARNING", news)
            case TryRelease():
                self._watch.try_now()
            case Tick() if self._watch.probe_due(now):
                yield RetryFlush()

    def _lost(self, error: BaseException) -> DatabaseLost:
        """Nothing can be written: what is not committed runs again on resume."""
        reason = error.what if isinstance(error, DatabaseError) else str(error).strip().split("\n", 1)[0]
        do = error.do if isinstance(error, DatabaseError) and error.do else "mend that, then resume the run"
        what = f"the database did not take the rows: {reason}"
        return DatabaseLost(DatabaseError(what, str(self._database), do))


PROBE_SECONDS = 3.0
"""Between two tries to write to a full disk: soon enough for a person who has just made room and looks."""

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
        """Make the next probe retry the failed flush: the user asked to resume."""
        self._probe_at = 0.0

    def probe_due(self, now: float) -> bool:
        """Return True if the disk is full and it is time to retry the failed flush; once in `PROBE_SECONDS`."""
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
