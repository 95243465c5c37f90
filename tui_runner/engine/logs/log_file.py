"""Writes the log of a database's runs to a file beside it (`books.duckdb.log`): lines of the job and of tui-runner.

The log is beside the database, because a user who has the results, weeks later or on another machine, looks for it
there. The file is created with the first line. When it has grown beyond `LIMIT`, it is renamed to `books.duckdb.log.1`,
which replaces an older one, so a log takes at most twice the limit. Control characters are written as visible marks,
because logs are read with `cat` and scraped text must not control a terminal. If the file is moved or removed during a
run, as `logrotate` does, a new one is created.

The log always has the events that the screen shows for some seconds only. It has the end of a run, unless the run
simply finished and has no other line. With `--debug` it also has each action of the scheduler, the start and end of
workers, and the sizes of batches with the time until they were committed.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO, get_args

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.protocol import LogLine, LogLines, Ready, ResultBatch, WorkerLost
from tui_runner.engine.scheduling.events import Action, Committed, LogFailed, SendChunk, Tell
from tui_runner.engine.states import RunState
from tui_runner.store.file_check import LOGS, companion
from tui_runner.system.files import is_same_file, open_log
from tui_runner.text.numbers import plural
from tui_runner.text.safe_text import safe_text

LIMIT = 64 << 20
"""Most bytes of one file. 64 MB hold an hour of 100 lines a second, and an editor can still open such a file."""


def log_path(database: Path) -> Path:
    """Return the path of a database's log, beside the file itself even if `database` is a symbolic link."""
    return companion(database.resolve(), LOGS[0])


def written(line: LogLine) -> str:
    """Return a line in the format of the file, without its line end. `log_reader.parsed` is the inverse."""
    moment = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    chunk = "-" if line.chunk is None else str(line.chunk)
    item = "-" if line.item is None else str(line.item)
    # The value is JSON in quotes, so that `parsed` finds its end whatever characters it contains.
    value = f" {json.dumps(safe_text(line.value), ensure_ascii=False)}" if line.value else ""
    return f"{moment}Z {safe_text(line.level):<8} chunk {chunk} item {item}{value}: {safe_text(line.text)}"


class LogFile:
    """A thread that appends log lines to a file, so that a slow disk does not slow the run down.

    Args:
        path: the file.
        run_id: number of the run, written in a heading before its lines.
        failed: called once, in the thread, with the reason why the file accepts no lines.
        limit: bytes of one file.
    """

    def __init__(self, path: Path, run_id: int, failed: Callable[[str], None], *, limit: int = LIMIT) -> None:
        self._path = path
        self._run_id = run_id
        self._failed = failed
        self._limit = limit
        self._made = False
        """True if this object has created the file."""
        self._of_the_job = False
        """True once the file has lines of the job, and not only of tui-runner."""
        self._queue: queue.SimpleQueue[LogLines | None] = queue.SimpleQueue()
        # daemon: a disk that hangs must not keep the program from exiting
        self._thread = threading.Thread(target=self._run, name="log-file", daemon=True)

    def add(self, lines: LogLines) -> None:
        """Queue `lines` to be appended. Returns at once."""
        if self._thread.ident is None:
            self._thread.start()
        self._queue.put(lines)

    def close(self) -> None:
        """Append the remaining lines, then close the file."""
        if self._thread.ident is not None:
            self._queue.put(None)
            self._thread.join()

    def remove_if_unused(self) -> None:
        """Remove a new file with only tui-runner's own lines. Call it after `close`, for a run that never started."""
        if self._made and not self._of_the_job:
            with contextlib.suppress(OSError):  # a leftover file is harmless
                self._path.unlink()

    def _run(self) -> None:
        """Write lines until the end; the main function of the thread."""
        file: TextIO | None = None
        missing, has_failed = 0, False
        while (lines := self._queue.get()) is not None:
            self._of_the_job |= lines.worker is None or lines.worker >= 0
            try:
                # Check the file at each call, because `logrotate` may move it at any time. A check takes 10 µs and is
                # made at most ten times a second for each worker.
                if file is not None and not is_same_file(file.fileno(), self._path):
                    file.close()
                    file = None
                if file is None:
                    file = self._open()
                    # After an error, start a new line, because a full disk may have cut off the last one.
                    file.write("\n" if missing and file.tell() else f"--- run {self._run_id}\n")
                if missing:
                    file.write(f"({missing} lines are missing: they could not be written)\n")
                file = self._append(file, lines)
                missing = 0
            except OSError as error:  # later lines are tried, because space on a full disk may become free
                missing += len(lines.lines)
                if file is not None:
                    with contextlib.suppress(OSError):  # closing writes the buffer, which fails for the same reason
                        file.close()
                file = None
                if not has_failed:
                    has_failed = True
                    self._failed(f"{self._path.name}: {error.strerror or error}")
        if file is not None:
            with contextlib.suppress(OSError):  # a full disk at the very end
                file.close()

    def _append(self, file: TextIO, lines: LogLines) -> TextIO:
        """Append lines, and rotate the file if it is full. Return the file for the next lines."""
        if lines.dropped:
            file.write(f"({lines.dropped} lines were dropped)\n")
        file.writelines(written(line) + "\n" for line in lines.lines)
        file.flush()
        if file.tell() <= self._limit:
            return file
        file.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        return self._open()

    def _open(self) -> TextIO:
        self._made |= not self._path.exists()
        # Characters that UTF-8 cannot encode were replaced by `safe_text` before.
        return open(self._path, "a", encoding="utf-8", opener=open_log)


_NOBODY = -1
"""Value of `LogLine.worker` in lines of tui-runner itself."""

Message = Action | LogLines | ResultBatch | Committed | Ready | WorkerLost | LogFailed


class RunLog:
    """The events of a run on their way to its log file. Owned by the runner's thread.

    Args:
        file: the log file.
        debug: True to log actions, workers and batches as well.
        redact: removes secrets.

    Attributes:
        takes: types of the messages that `handle` takes. Without `debug` they are few, so that the many actions cost
            nothing.
    """

    def __init__(self, file: LogFile, *, debug: bool, redact: Callable[[str], str]) -> None:
        self.takes = frozenset(get_args(Message)) if debug else frozenset({LogLines, Tell, LogFailed})
        self._file = file
        self._debug = debug
        self._redact = redact
        self._arrived_at: deque[float] = deque()
        """Monotonic time at which each batch arrived that is not committed yet, the oldest first."""
        self._tells_end = debug
        """True if the end of the run is logged in any case: with `debug`, or after any other line. Otherwise, the end
        of a run that finishes is not logged."""

    def handle(self, message: Message, now: float) -> Iterable[LogLines | Tell]:
        """Write a message to the log.

        A `Tell` is not written at once but returned as a log line, because other parts show log lines to the user. The
        line comes back as a message and is then written.
        """
        match message:
            case LogLines():
                self._tells_end = True  # lines of the job must be followed by the end of the run in the log
                self._file.add(message)
            case Tell(level, text):
                self._tells_end = True
                yield self._line(level, text)
            case LogFailed(reason):
                yield Tell("WARNING", f"the log file cannot be written: {reason}")
            case _ if self._debug and (text := self._detail(message, now)):
                self._file.add(self._line("DEBUG", text))

    def _detail(self, message: Message, now: float) -> str:
        """Return the text of a message that is logged only with `--debug`; empty if the message is not logged."""
        match message:
            case Ready(worker, pid):
                return f"worker {worker}: ready, pid {pid}"
            case WorkerLost(worker, reason):
                return f"worker {worker}: ended, {reason or 'in order'}"
            case ResultBatch():
                self._arrived_at.append(now)
                items = sum(map(message.ended_items, message.ended))
                what = f"{items} items, {message.rows} rows, {message.nbytes} bytes"
                return f"batch of worker {message.worker}: {what}"
            case Committed(tickets):
                return self._committed(len(tickets), now)
            case SendChunk(worker, chunk, run):
                some = "all" if run is None else len(run)
                return f"scheduler: SendChunk(worker={worker}, chunk={chunk}, items={some})"
            case _:
                return f"scheduler: {message!r}"

    def _committed(self, batches: int, now: float) -> str:
        """Return the text about the `batches` oldest uncommitted batches, which are committed now; empty for 0."""
        began = min((self._arrived_at.popleft() for _ in range(min(batches, len(self._arrived_at)))), default=None)
        took = "" if began is None else f", {now - began:.3f} s after the first one arrived"
        return f"{batches} batches are committed{took}" if batches else ""

    def ended(self, snapshot: Snapshot) -> None:
        """Log the end of the run; of a run that has finished, only if `_tells_end`."""
        if snapshot.state is RunState.FINISHED and not self._tells_end:
            return
        items, rows = plural(snapshot.items_done, "item"), plural(snapshot.rows, "row")
        counts = f"{items} done, {snapshot.items_failed:,} failed, {rows}"
        why = f": {snapshot.reason}" if snapshot.reason else ""
        level = "ERROR" if snapshot.state is RunState.FAILED else "INFO"
        self._file.add(self._line(level, f"run {snapshot.run_id} {snapshot.state}{why} ({counts})"))

    def _line(self, level: str, text: str) -> LogLines:
        return LogLines(_NOBODY, (LogLine(time.time(), level, self._redact(text), worker=_NOBODY),))
