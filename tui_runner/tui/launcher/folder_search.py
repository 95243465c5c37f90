"""Finds the jobs and databases of the launcher's folder, and looks for changes of them in the background.

A look compares the stamps of the files with those of the last look. Only files that have changed, and databases that
another process has open, are read again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from textual.app import App
from textual.timer import Timer
from textual.worker import get_current_worker

from tui_runner.tui.launcher.discovery import (
    FoundDatabase,
    FoundJob,
    Stamp,
    database_stamps,
    find_jobs,
    job_stamps,
    read_database,
)

_LOOK_SECONDS = 3.0
"""Seconds between two looks at the folder. A look without changes takes 2 ms for 200 databases."""
_SOON = (0.5, 1.0, 2.0)
"""Seconds before the first looks at a folder with a database that another process has open. They are shorter, because
that process may only read it."""
_REST = 20
"""A look is followed by a rest of at least this many times its duration. A database in use is read by the process that
has it open, which takes long if the ledger is large, and must not slow down the run of that process."""
_LONGEST_REST = 10.0
"""Most seconds of such a rest, so that changes of other files are noticed while a process does not answer."""
_STOP_SECONDS = 0.1
"""Seconds between two looks of a thread that waits for a database whether its search has been cancelled."""


class FolderSearch:
    """Finds the jobs and databases of one folder, and looks for changes. Call it only in the application's thread.

    Args:
        app: the launcher.
        lock: held while a database is opened, because a process must not open the same database twice.
        changed: called when `jobs` has changed later, or `databases` or `looking`.
        is_away: returns True while the list is of no interest; the folder is then not looked at again.
        is_editing: returns True while a form of a job is shown; `jobs` does not change meanwhile.
        recent: returns the jobs of any folder that were started last, as texts for `load_job`. It is called in threads.
        databases: databases that an earlier search has found.

    Attributes:
        jobs: the jobs of the folder.
        databases: the databases of the folder. Those of an earlier search stay until the present one has ended.
        looking: True until a search has read all databases for the first time.
    """

    def __init__(
        self,
        app: App[Any],
        lock: threading.Lock,
        changed: Callable[[], None],
        is_away: Callable[[], bool],
        is_editing: Callable[[], bool],
        recent: Callable[[], Sequence[str]],
        databases: Iterable[FoundDatabase],
    ) -> None:
        self._app = app
        self._lock = lock
        self._changed = changed
        self._is_away = is_away
        self._is_editing = is_editing
        self._recent = recent
        self.jobs: list[FoundJob] = []
        self.databases = list(databases)
        self.looking = True
        self._folder = Path()
        self._stamps: Mapping[Path, Stamp] = {}
        """Stamps of the databases before they were read, also of those without runs."""
        self._job_stamps: Mapping[Path, Stamp] = {}
        self._looks = 0
        """Number of looks begun. A look whose number is lower was replaced, so its result does not count."""
        self._soon = iter(_SOON)
        self._timer: Timer | None = None

    def begin(self, folder: Path) -> None:
        """Find the jobs of a folder at once, and its databases in a thread. A search that goes on is cancelled."""
        recent = self._recent()
        self._job_stamps = job_stamps(folder, recent)
        self.jobs = find_jobs(folder, recent)
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
        known_jobs = None if self.looking or self._is_editing() else self._job_stamps
        again = {each.path for each in self.databases if each.in_use or each.is_held}

        def look() -> None:
            began = time.monotonic()
            if known_jobs is not None:
                self._read_jobs(number, folder, known_jobs)
            stamps = database_stamps(folder)
            changed = [path for path, stamp in stamps.items() if known.get(path) != stamp or path in again]
            found = self._read_databases(folder, changed)
            if found is not None:
                self._app.call_later(self._has_read, number, stamps, found, time.monotonic() - began)

        self._app.run_worker(look, thread=True, group="runs", exclusive=True)

    def _read_jobs(self, number: int, folder: Path, known: Mapping[Path, Stamp]) -> None:
        """Read all jobs again, in a thread, if a file has changed."""
        recent = self._recent()
        stamps = job_stamps(folder, recent)
        if stamps != known:
            self._app.call_later(self._has_read_jobs, number, stamps, find_jobs(folder, recent))

    def _has_read_jobs(self, number: int, stamps: Mapping[Path, Stamp], jobs: list[FoundJob]) -> None:
        if number != self._looks or self._is_editing():
            return
        self._job_stamps = stamps
        if jobs != self.jobs:
            self.jobs = jobs
            self._changed()

    def _read_databases(self, folder: Path, paths: Iterable[Path]) -> dict[Path, FoundDatabase | None] | None:
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
        self._plan(max(_LOOK_SECONDS, min(_REST * seconds, _LONGEST_REST)))

    def _plan(self, delay: float) -> None:
        if any(each.in_use for each in self.databases):
            delay = next(self._soon, delay)
        self._timer = self._app.set_timer(delay, self._look_again)

    def _look_again(self) -> None:
        if self._is_away():
            self._plan(_LOOK_SECONDS)
        else:
            self._look()
