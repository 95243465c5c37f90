"""Pauses a run while the disk of its database is full, and warns before it is full.

The pause is a hold (`events.Hold`). No rows are lost: unwritten rows are kept in memory, and workers start no items
when there are too many such rows. Every few seconds the failed flush is tried again. If a run is draining, a full disk
ends it. Any other write error ends every run.
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
"""Phases in which a run waits for free disk space. A run that is being stopped does not wait."""

Message = WriteFailed | Committed | RowsLeft | MemoryMeasured | TryRelease | Tick
Answer = Hold | Release | DatabaseLost | RetryFlush | Tell


class DiskGuard:
    """A guard that turns write errors and disk measurements into messages for the run.

    Args:
        scheduler: the scheduler; read only.
        database: path of the database.
    """

    takes = frozenset(get_args(Message))
    """Types of the messages that `handle` takes."""

    def __init__(self, scheduler: Scheduler, database: Path) -> None:
        self._scheduler = scheduler
        self._database = database
        self._watch = DiskWatch()
        self._failure: BaseException | None = None
        """Error of the last failed flush."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings to show, each a few words long."""
        return (self._watch.low,) if self._watch.low else ()

    def handle(self, message: Message, now: float) -> Iterable[Answer]:
        """Record results of flushes and measurements of the disk. Return the messages that follow from them."""
        match message:
            case WriteFailed(error):
                self._failure = error
                if isinstance(error, DiskFull) and self._scheduler.status.phase in _WAITING_PHASES:
                    self._watch.failed(now)
                    yield Hold(PauseCause.DISK, f"{error.what}; no rows were lost, the run resumes when there is room")
                else:
                    yield self._lost(error)
            case RowsLeft():
                yield self._lost(self._failure or TimeoutError("it takes no more rows"))
            case Committed() if self._watch.written():
                yield Tell("INFO", "there is room on the disk again: all rows are written, none were lost")
                yield Release(PauseCause.DISK)
            case MemoryMeasured(disk_free=int(free), db_bytes=used):
                if news := self._watch.measured(free, used, now):
                    yield Tell("WARNING", news)
            case TryRelease():
                self._watch.try_now()
            case Tick() if self._watch.probe_due(now):
                yield RetryFlush()

    def _lost(self, error: BaseException) -> DatabaseLost:
        """Return the message that ends the run. Items that are not committed run again on resume."""
        reason = error.what if isinstance(error, DatabaseError) else str(error).strip().split("\n", 1)[0]
        do = error.do if isinstance(error, DatabaseError) and error.do else "fix that, then resume the run"
        what = f"writing to the database failed: {reason}"
        return DatabaseLost(DatabaseError(what, str(self._database), do))


PROBE_SECONDS = 3.0
"""Seconds between two attempts to write to a full disk: soon enough for a user who has just freed space and watches."""

_LOW_BYTES = 1_000_000_000
"""Free bytes below which the disk counts as low, however slowly the database grows. A checkpoint and a query that
spills to disk need that much."""
_LOW_SECONDS = 600.0
"""Seconds until the disk is full, at the growth of the last minute, below which the disk counts as low. Ten minutes are
enough for a user to act."""
_RECOVERED = 1.5
"""Multiple of their bounds that the free bytes and the seconds left must reach, until a low disk no longer counts as
low. So a value near a bound does not cause repeated warnings."""
_WINDOW_SECONDS = 60.0
"""Seconds over which growth is measured. Flushes and checkpoints make the database grow in steps; over a minute these
average out."""
_GROUND_SECONDS = 20.0
"""Seconds of measurements before growth is used, because a single checkpoint moves 16 MB between two files."""


class DiskWatch:
    """The state of the database's disk. Times are monotonic seconds.

    Attributes:
        low: warning to show, a few words long; empty while there is enough free space.
        full: True after a flush found the disk full, until a flush succeeds.
    """

    def __init__(self) -> None:
        self.low = ""
        self.full = False
        self._sizes: deque[tuple[float, int]] = deque()
        self._probe_at = 0.0

    def failed(self, now: float) -> None:
        """Record that a flush found the disk full."""
        self.full = True
        self._probe_at = now + PROBE_SECONDS

    def written(self) -> bool:
        """Record that a flush was committed. Return True if the disk was full before."""
        was_full, self.full = self.full, False
        return was_full

    def try_now(self) -> None:
        """Make the next probe retry the failed flush, because the user asked to resume."""
        self._probe_at = 0.0

    def probe_due(self, now: float) -> bool:
        """Return True if the failed flush is to be tried again now: once in `PROBE_SECONDS`, and after `try_now`."""
        if not self.full or now < self._probe_at:
            return False
        self._probe_at = now + PROBE_SECONDS
        return True

    def measured(self, free: int, used: int, now: float) -> str:
        """Record the free bytes and the bytes of the database. Return a new warning, or an empty string."""
        self._sizes.append((now, used))
        while now - self._sizes[0][0] > _WINDOW_SECONDS:
            self._sizes.popleft()
        left = self._seconds_left(free)
        factor = _RECOVERED if self.low else 1.0
        if free >= factor * _LOW_BYTES and (left is None or left >= factor * _LOW_SECONDS):
            self.low = ""
            return ""
        # Show no remaining time that is far above `_LOW_SECONDS`.
        soon = "" if left is None or left > 10 * _LOW_SECONDS else f", full in about {duration(left, short=True)}"
        was_low, self.low = bool(self.low), f"disk: {size(free)} left{soon}"
        return "" if was_low else self.low

    def _seconds_left(self, free: int) -> float | None:
        """Return the seconds until the disk is full at the growth of the last minute; None while unknown."""
        (then, before), (now, used) = self._sizes[0], self._sizes[-1]
        if now - then < _GROUND_SECONDS or used <= before:
            return None
        return free * (now - then) / (used - before)
