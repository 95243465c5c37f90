"""The whole log of a database's runs, in a file beside it: `books.duckdb.log`.

It stands beside the database because that is where somebody looks who has the results, also weeks later and on another
machine. It is made with the first line that a job prints. When it has grown beyond `LIMIT` it becomes
`books.duckdb.log.1`, in the place of an older one, so a log takes at most twice that. Control characters are written
as visible marks: a log is read with `cat`, and what was scraped must not steer a terminal. When somebody moves or
removes the file while a run is going on, as `logrotate` does, it is made anew.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tui_runner.engine.protocol import LogLines
from tui_runner.engine.snapshot import LogLine
from tui_runner.system.files import open_log
from tui_runner.text.safe_text import safe_text

LIMIT = 64 << 20
"""Bytes of one file: an hour of 100 lines a second, and an editor still opens it."""


def log_path(database: Path) -> Path:
    """Where the log of a database is."""
    return database.with_name(database.name + ".log")


def written(line: LogLine) -> str:
    """A line as it stands in the file, without its end."""
    moment = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    chunk = "-" if line.chunk is None else str(line.chunk)
    item = "-" if line.item is None else str(line.item)
    return f"{moment}Z {safe_text(line.level):<8} chunk {chunk} item {item}: {safe_text(line.text)}"


class LogFile:
    """Appends log lines to a file, in a thread of its own: a slow disk must not slow the run.

    Args:
        path: the file.
        run_id: the run whose lines they are; named at the head of what is appended.
        failed: told once, from that thread, why the file does not take lines.
        limit: bytes of one file.
    """

    def __init__(self, path: Path, run_id: int, failed: Callable[[str], None], *, limit: int = LIMIT) -> None:
        self._path = path
        self._run_id = run_id
        self._failed = failed
        self._limit = limit
        self._made = False
        """Whether there was no such file before."""
        self._of_the_job = False
        """Whether it has lines of the job, and not only of tui-runner itself."""
        self._queue: queue.SimpleQueue[LogLines | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="log-file", daemon=True)

    def add(self, lines: LogLines) -> None:
        """Append these lines soon."""
        if self._thread.ident is None:
            self._thread.start()
        self._queue.put(lines)

    def close(self) -> None:
        """Append what is left."""
        if self._thread.ident is not None:
            self._queue.put(None)
            self._thread.join()

    def take_back(self) -> None:
        """After `close`: remove a file that was made for nothing but tui-runner's own lines."""
        if self._made and not self._of_the_job:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _run(self) -> None:
        file: TextIO | None = None
        missing, told = 0, False
        while (lines := self._queue.get()) is not None:
            self._of_the_job |= lines.worker is None or lines.worker >= 0
            try:
                if file is not None and not self._is_there(file):
                    file.close()
                    file = None
                if file is None:
                    file = self._open()
                    # The last line may be cut off where the disk was full.
                    file.write("\n" if missing and file.tell() else f"--- run {self._run_id}\n")
                if missing:
                    file.write(f"({missing} lines are missing: they could not be written)\n")
                file = self._append(file, lines)
                missing = 0
            except OSError as error:  # a disk that is full may have room again: later lines are tried
                missing += len(lines.lines)
                if file is not None:
                    with contextlib.suppress(OSError):
                        file.close()
                file = None
                if not told:
                    told = True
                    self._failed(f"{self._path.name}: {error.strerror or error}")
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _append(self, file: TextIO, lines: LogLines) -> TextIO:
        """Append lines; returns the file for the next ones."""
        if lines.dropped:
            file.write(f"({lines.dropped} lines were too many to be kept)\n")
        file.writelines(written(line) + "\n" for line in lines.lines)
        file.flush()
        if file.tell() <= self._limit:
            return file
        file.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        return self._open()

    def _is_there(self, file: TextIO) -> bool:
        """Whether an open file is still the one at the path; 10 µs, ten times a second for each worker at most."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.lstat())
        except FileNotFoundError:
            return False

    def _open(self) -> TextIO:
        self._made |= not self._path.exists()
        # Whatever is no character of UTF-8 was marked by `safe_text` already.
        return open(self._path, "a", encoding="utf-8", opener=open_log)
