"""Stores statements that were neither run nor saved, so that they survive the loss of the terminal or the program.

Each process has a file of its own while its query screen has unsaved statements. A file is orphaned when the query
screen was closed or the process has ended. The next query screen of the same database takes the statements of the
orphaned files.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path

import psutil

from tui_runner.store.query.statements import split
from tui_runner.system.files import open_own, replaced, state_folder

_MOST = 5_000_000
"""Most bytes that are read from a file. Nobody types more."""
_GIVEN_UP = "lost-"
"""Beginning of the name of a file that its process has orphaned."""


class UnsavedStatements:
    """Stores the unsaved statements of one query screen. Thread-safe.

    Errors in reading and writing the files are ignored, because the query screen works without them.

    Args:
        folder: folder of the files, which only their user may read; created when it is needed.

    Attributes:
        database: path of the database that the statements are for; empty until it is known.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        """Held while the file is written, so that an earlier text never replaces a later one."""
        self._ended = False
        self._stored: list[str] = []
        self.database = ""

    @classmethod
    def of_user(cls) -> UnsavedStatements:
        """Return an object that stores statements in the state folder of the user."""
        return cls(state_folder() / "unsaved")

    @property
    def _file(self) -> Path:
        return self._folder / f"{os.getpid()}.json"

    def keep(self, texts: list[str]) -> None:
        """Replace the content of this process's file by `texts`; without texts, delete the file. Blocks."""
        with self._guard:
            # A thread that stores what was typed a moment ago may be later than the end of the screen.
            if self._ended or texts == self._stored:
                return
            self._stored = texts
            # On a full or read-only disk, the texts are not stored. Say nothing, because a message after each change
            # would disturb the user. `_stored` is set before the attempt, so that the same texts are not tried again.
            with contextlib.suppress(OSError):
                if not texts:
                    self._file.unlink(missing_ok=True)
                    return
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                with replaced(self._file) as stream:
                    stream.write(json.dumps({"database": self.database, "texts": texts}).encode())

    def give_up(self) -> None:
        """Orphan the file, so that the next query screen takes its statements, even while this process runs. Blocks.

        Nothing is stored any more.
        """
        with self._guard:
            self._ended = True
            if not self._stored:
                return
            self._stored = []
            with contextlib.suppress(OSError):  # the file is orphaned later, when this process ends
                self._file.rename(self._folder / f"{_GIVEN_UP}{time.time_ns()}.json")

    def take(self) -> list[str]:
        """Return the texts of the orphaned files of `database`, the oldest first, and delete these files. Blocks.

        A file that names no database counts as one of `database`.
        """
        found: list[str] = []
        with contextlib.suppress(OSError):  # there is no folder, or another process has just taken a file
            for path in sorted(self._folder.glob("*.json"), key=lambda path: path.lstat().st_mtime):
                if not path.name.startswith(_GIVEN_UP) and _is_owned(path):
                    continue
                database, texts = _read(path)
                if database in ("", self.database):
                    found += texts
                    path.unlink(missing_ok=True)
        return found


def unsaved_texts(editors: Iterable[tuple[str, str]], run_before: Collection[str]) -> list[str]:
    """Return the texts of those editors that have unsaved statements.

    A text has unsaved statements if it differs from the file of its editor and has a statement that was not run.

    Args:
        editors: for each editor, its text and the text of its file.
        run_before: the statements that were run.
    """
    return [
        text for text, saved in editors if text != saved and any(each.sql not in run_before for each in split(text))
    ]


def _is_owned(path: Path) -> bool:
    """Return True if the process that wrote a file still runs. Its id is the name of the file."""
    try:
        # Another process may have the same id now, but it has started after the file was written. Allow for a second,
        # because start times are rounded.
        return psutil.Process(int(path.stem)).create_time() <= path.lstat().st_mtime + 1.0
    except (ValueError, OSError, psutil.Error):  # the process does not exist, or the name is no process id
        return False


def _read(path: Path) -> tuple[str, list[str]]:
    """Return the database and the texts of a file. Both are empty if the file cannot be read."""
    try:
        with open(path, "rb", opener=open_own) as file:
            found = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):  # the file is gone or damaged
        return "", []
    database, texts = (found.get("database"), found.get("texts")) if isinstance(found, dict) else ("", found)
    texts = [each for each in texts if isinstance(each, str)] if isinstance(texts, list) else []
    return database if isinstance(database, str) else "", texts
