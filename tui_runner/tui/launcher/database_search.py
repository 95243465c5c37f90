"""Reads the databases of the launcher's folder in the background, and later those that have changed or are in use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from textual.app import App
from textual.timer import Timer
from textual.worker import get_current_worker

from tui_runner.tui.launcher.discovery import FoundDatabase, Stamp, database_stamps, read_database

_LOOK_SECONDS = 3.0
"""Seconds between two looks at the folder. A look without changes takes 2 ms for 200 databases."""
_SOON = (0.5, 1.0, 2.0)
"""Seconds before the first looks at a folder with a database that another process has open. They are shorter, because
that process may only read it."""
_REST = 20
"""A look is followed by a rest of at least this many times its duration. A database in use is read by the process that
has it open, which takes long if the ledger is large, and must not slow down the run of that process."""
_STOP_SECONDS = 0.1
"""Seconds between two looks of a thread that waits for a database whether its search has been cancelled."""


class DatabaseSearch:
    """Finds and reads the databases of one folder, and looks for changes. Call it only in the application's thread.

    Args:
        app: the launcher.
        lock: held while a database is opened, because a process must not open the same database twice.
        changed: called when `databases` or `looking` has changed.
        is_away: returns True while the list is of no interest; the folder is then not looked at again.
        databases: databases that an earlier search has found.

    Attributes:
        databases: the databases of the folder. Those of an earlier search stay until the present one has ended.
        looking: True until a search has read all databases for the first time.
    """

    def __init__(
        self,
        app: App[Any],
        lock: threading.Lock,
        changed: Callable[[], None],
        is_away: Callable[[], bool],
        databases: Iterable[FoundDatabase],
    ) -> None:
        self._app = app
        self._lock = lock
        self._changed = changed
        self._is_away = is_away
        self.databases = list(databases)
        self.looking = True
        self._folder = Path()
        self._stamps: Mapping[Path, Stamp] = {}
        """Stamps of all files as they were before they were read, also of those without runs."""
        self._looks = 0
        """Number of looks begun. A look whose number is lower was replaced, so its result does not count."""
        self._soon = iter(_SOON)
        self._timer: Timer | None = None

    def begin(self, folder: Path) -> None:
        """Search a folder, and read all of its databases. A search that goes on is cancelled."""
        self._folder = folder
        self.looking = True
        self._stamps = {}
        self._soon = iter(_SOON)
        self._look()

    def forget(self) -> None:
        """Forget the databases, before a search of another folder."""
        self.databases = []

    def look_now(self) -> None:
        """Look for changes at once, because the list has turned out to be out of date."""
        if not self.looking:
            self._look()

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._looks += 1
        number, folder, known = self._looks, self._folder, self._stamps
        again = {each.path for each in self.databases if each.in_use or each.is_held}
        self._app.run_worker(
            lambda: self._read(number, folder, known, again), thread=True, group="runs", exclusive=True
        )

    def _read(self, number: int, folder: Path, known: Mapping[Path, Stamp], again: Collection[Path]) -> None:
        """Read changed databases and those of `again`, in a thread, unless the search is cancelled."""
        worker = get_current_worker()
        began = time.monotonic()
        stamps = database_stamps(folder)
        found: dict[Path, FoundDatabase | None] = {}
        for path, stamp in stamps.items():
            if known.get(path) == stamp and path not in again:
                continue
            # Hold the lock for one database at a time, so that a run need not wait for all of them. An open run keeps
            # it, so do not wait for it without end.
            while not self._lock.acquire(timeout=_STOP_SECONDS):
                if worker.is_cancelled:
                    return
            try:
                if worker.is_cancelled:
                    return
                found[path] = read_database(path, folder)
            finally:
                self._lock.release()
        self._app.call_later(self._has_read, number, stamps, found, time.monotonic() - began)

    def _has_read(
        self, number: int, stamps: Mapping[Path, Stamp], found: Mapping[Path, FoundDatabase | None], seconds: float
    ) -> None:
        if number != self._looks:
            return
        read = {each.path: each for each in self.databases}
        # Known databases keep their order, though it is that of their last writes at first: a run writes all the time,
        # and its row must not move away from the cursor.
        paths = stamps if self.looking else [*(path for path in stamps if path not in read), *read]
        databases = [now for path in paths if path in stamps and (now := found.get(path, read.get(path))) is not None]
        self._stamps = stamps
        if self.looking or databases != self.databases:
            self.databases, self.looking = databases, False
            self._changed()
        self._plan(max(_LOOK_SECONDS, _REST * seconds))

    def _plan(self, delay: float) -> None:
        if any(each.in_use for each in self.databases):
            delay = next(self._soon, delay)
        self._timer = self._app.set_timer(delay, self._look_again)

    def _look_again(self) -> None:
        if self._is_away():
            self._plan(_LOOK_SECONDS)
        else:
            self._look()
