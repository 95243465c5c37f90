"""Holds a run while the disk of its database is full, tries again until it is not, and warns before it is.

What `DiskWatch` decides is carried out here, in the runner's thread.
"""

from __future__ import annotations

from collections.abc import Callable

from tui_runner.engine.disk_watch import CAUSE, DiskWatch
from tui_runner.engine.events import Event, Hold, Release
from tui_runner.engine.monitor import MemoryMeasured
from tui_runner.errors import DiskFull


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
        self._handle(Hold(CAUSE, self.reason))

    def written(self) -> None:
        """A flush is in the database."""
        if self._watch.written():
            self.reason = ""
            self._tell("INFO", "there is room on the disk again: all is written, 0 rows lost")
            self._handle(Release(CAUSE))

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
