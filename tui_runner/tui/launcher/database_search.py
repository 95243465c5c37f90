"""Reads the databases of the launcher's folder in the background, and again those that other processes have open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from textual.app import App
from textual.worker import get_current_worker

from tui_runner.tui.launcher.discovery import FoundDatabase, database_paths, read_database

_AGAIN = (0.5, 1.0, 2.0, 4.0)
"""Seconds after which a database that another process has open is read again: soon at first, because that process may
only read it."""
_AGAIN_SLOWLY = 10.0
"""Seconds between further attempts while the launcher is open. Each asks the process of a run for its progress."""
_STOP_SECONDS = 0.1
"""Seconds between two looks of a thread that waits for a database whether its search has been cancelled."""


class DatabaseSearch:
    """Finds and reads the databases of one folder at a time. Call it only in the thread of the application.

    Args:
        app: the launcher.
        lock: held while a database is opened, because a process must not open the same database twice.
        changed: called when `databases` or `looking` has changed.
        is_opening: returns True while a run is being opened; databases are then not read again.
        databases: databases that an earlier search has found.

    Attributes:
        databases: the databases of the folder. Those of an earlier search stay until the present one has ended.
        looking: True until a search has ended.
    """

    def __init__(
        self,
        app: App[Any],
        lock: threading.Lock,
        changed: Callable[[], None],
        is_opening: Callable[[], bool],
        databases: Iterable[FoundDatabase],
    ) -> None:
        self._app = app
        self._lock = lock
        self._changed = changed
        self._is_opening = is_opening
        self.databases = list(databases)
        self.looking = True
        self._folder = Path()
        self._attempts = 0

    def begin(self, folder: Path) -> None:
        """Search a folder. A search that goes on is cancelled."""
        self._folder = folder
        self.looking = True
        self._attempts = 0
        self._in_thread(self._find)

    def forget(self) -> None:
        """Forget the databases, before a search of another folder."""
        self.databases = []

    def _in_thread(self, work: Callable[[], None]) -> None:
        self._app.run_worker(work, thread=True, group="runs", exclusive=True)

    def _find(self) -> None:
        folder = self._folder
        found = self._read(database_paths(folder), folder)
        if found is not None:
            self._app.call_later(self._has_found, folder, [each for each in found.values() if each is not None])

    def _read(self, paths: Sequence[Path], folder: Path) -> dict[Path, FoundDatabase | None] | None:
        """Read databases in a thread. Return None if the search has been cancelled, as at the end of the launcher."""
        worker = get_current_worker()
        found: dict[Path, FoundDatabase | None] = {}
        for path in paths:
            # Hold the lock for one database at a time, so that a run need not wait for all of them. An open run keeps
            # it, so do not wait for it without end.
            while not self._lock.acquire(timeout=_STOP_SECONDS):
                if worker.is_cancelled:
                    return None
            try:
                if worker.is_cancelled:
                    return None
                found[path] = read_database(path, folder)
            finally:
                self._lock.release()
        return found

    def _has_found(self, folder: Path, databases: list[FoundDatabase]) -> None:
        if folder != self._folder:
            return
        self.databases, self.looking = databases, False
        self._changed()
        self._plan_reading_again()

    def _plan_reading_again(self) -> None:
        if any(database.in_use for database in self.databases):
            delay = _AGAIN[self._attempts] if self._attempts < len(_AGAIN) else _AGAIN_SLOWLY
            self._attempts += 1
            self._app.set_timer(delay, self._read_again)

    def _read_again(self) -> None:
        if self.looking:  # the new search reads all databases
            return
        if self._is_opening():  # the list is of no interest meanwhile
            self._plan_reading_again()
        else:
            self._in_thread(self._read_those_in_use)

    def _read_those_in_use(self) -> None:
        folder = self._folder
        found = self._read([each.path for each in self.databases if each.in_use], folder)
        if found is not None:
            self._app.call_later(self._has_read_again, folder, found)

    def _has_read_again(self, folder: Path, found: dict[Path, FoundDatabase | None]) -> None:
        if folder != self._folder or self.looking:
            return
        databases = [now for each in self.databases if (now := found.get(each.path, each)) is not None]
        if databases != self.databases:
            self.databases = databases
            self._changed()
        self._plan_reading_again()
