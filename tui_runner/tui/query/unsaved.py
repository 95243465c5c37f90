"""Stores statements that were neither run nor saved in a file, so that they survive the loss of terminal or program.

Each process has a file of its own while its query screen has such statements. A file is orphaned when the screen is
closed or its process is gone. The next query screen of the same database takes the orphaned files.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path

import psutil

from tui_runner.store.query.statements import split
from tui_runner.system.files import open_own, replaced, state_folder

_MOST = 5_000_000
"""Most bytes of a file. Nobody types more."""
_GIVEN_UP = "lost-"


class UnsavedStatements:
    """The unsaved statements of one query screen. Errors of the files are ignored; the screen works without them.

    Args:
        folder: folder of the files, which only their user may read; created when needed.

    Attributes:
        database: path of the database that the statements are for; empty until it is known.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[str] = []
        self.database = ""

    @classmethod
    def of_user(cls) -> UnsavedStatements:
        """Return the object that stores statements of the user who runs this process."""
        return cls(state_folder() / "unsaved")

    @property
    def _file(self) -> Path:
        return self._folder / f"{os.getpid()}.json"

    def keep(self, texts: list[str]) -> None:
        """Replace the content of the file by these texts; blocks."""
        if texts == self._kept:
            return
        self._kept = texts
        # On a full or read-only disk, unsaved statements are not stored. The screen works without the file, and a
        # message at each change would be in the way. `_kept` is set before, so that each text is tried once.
        with contextlib.suppress(OSError):
            if not texts:
                self._file.unlink(missing_ok=True)
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replaced(self._file) as stream:
                stream.write(json.dumps({"database": self.database, "texts": texts}).encode())

    def give_up(self) -> None:
        """Leave the stored statements to the next query screen, even if this process continues; blocks."""
        if self._kept:
            self._kept = []
            with contextlib.suppress(OSError):  # the file is then orphaned when this process ends
                self._file.rename(self._folder / f"{_GIVEN_UP}{time.time_ns()}.json")

    def take(self) -> list[str]:
        """Return the texts of orphaned files of this database, the oldest first, and remove the files; blocks."""
        found: list[str] = []
        with contextlib.suppress(OSError):  # no folder, or another process has taken the files
            for path in sorted(self._folder.glob("*.json"), key=lambda path: path.lstat().st_mtime):
                if not path.name.startswith(_GIVEN_UP) and _is_owned(path):
                    continue
                database, texts = _read(path)
                if database in ("", self.database):
                    found += texts
                    path.unlink(missing_ok=True)
        return found


def unsaved_texts(editors: Iterable[tuple[str, str]], run_before: Collection[str]) -> list[str]:
    """Return the texts of editors that have a statement which is neither in the editor's file nor in the history.

    Args:
        editors: the text of each editor, and the text of its file.
        run_before: earlier statements.
    """
    return [
        text for text, saved in editors if text != saved and any(each.sql not in run_before for each in split(text))
    ]


def _is_owned(path: Path) -> bool:
    """Return True if the process named in a file's name runs, and started before the file was written."""
    try:
        # Process ids are reused. The slack covers differences between clocks and ticks.
        return psutil.Process(int(path.stem)).create_time() <= path.lstat().st_mtime + 1.0
    except (ValueError, OSError, psutil.Error):  # no such process, or not a file of ours
        return False


def _read(path: Path) -> tuple[str, list[str]]:
    """Return the database and texts of a file; both empty if it cannot be read."""
    try:
        with open(path, "rb", opener=open_own) as file:
            found = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):  # a damaged file
        return "", []
    database, texts = (found.get("database"), found.get("texts")) if isinstance(found, dict) else ("", found)
    texts = [each for each in texts if isinstance(each, str)] if isinstance(texts, list) else []
    return database if isinstance(database, str) else "", texts
