"""The log of a database's runs, in a file beside it: `books.duckdb.log`; the job's lines and tui-runner's own.

It stands beside the database because that is where a person with the results looks, also weeks later and on another
machine. It is made with the first line that a job prints. When it has grown beyond `LIMIT` it becomes
`books.duckdb.log.1`, in the place of an older one, so a log takes at most twice that. Control characters are written
as visible marks: a log is read with `cat`, and what was scraped must not steer a terminal. When a person moves or
removes the file while a run is going on, as `logrotate` does, it is made anew.

Always what a person is told, which the screen shows for some seconds only; and how a run ended that did not simply
finish, or about which anything was told. With `--debug` everything it tells, each action of
the scheduler, when workers come and go, and how large flushes are and how long they take to be in the database.
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
from tui_runner.text.safe_text import safe_text

LIMIT = 64 << 20
"""Bytes of one file: an hour of 100 lines a second, and an editor still opens it."""


def log_path(database: Path) -> Path:
    """Return where the log of a database is: beside the file itself, whatever links lead to it."""
    return companion(database.resolve(), LOGS[0])


def written(line: LogLine) -> str:
    """A line as it stands in the file, without its end."""
    moment = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    chunk = "-" if line.chunk is None else str(line.chunk)
    item = "-" if line.item is None else str(line.item)
    # In quotes, so that the line can be read back whatever the value has in it.
    value = f" {json.dumps(safe_text(line.value), ensure_ascii=False)}" if line.value else ""
    return f"{moment}Z {safe_text(line.level):<8} chunk {chunk} item {item}{value}: {safe_text(line.text)}"


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
        """True if there was no such file before."""
        self._of_the_job = False
        """True once it has lines of the job, and not only of tui-runner itself."""
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
            with contextlib.suppress(OSError):  # one that cannot be removed does no harm
                self._path.unlink()

    def _run(self) -> None:
        file: TextIO | None = None
        missing, told = 0, False
        while (lines := self._queue.get()) is not None:
            self._of_the_job |= lines.worker is None or lines.worker >= 0
            try:
                # 10 µs, ten times a second for each worker at most.
                if file is not None and not is_same_file(file.fileno(), self._path):
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

    def _open(self) -> TextIO:
        self._made |= not self._path.exists()
        # Whatever is no character of UTF-8 was marked by `safe_text` already.
        return open(self._path, "a", encoding="utf-8", opener=open_log)


_NOBODY = -1
"""The worker that lines of tui-runner itself are from."""


Message = Action | LogLines | ResultBatch | Committed | Ready | WorkerLost | LogFailed


class RunLog:
    """Writes down what happens in a run. Owned by the runner's thread.

    Args:
        file: the log file.
        debug: whether everything is written.
        redact: takes secrets out.

    Attributes:
        takes: types of the messages that `handle` takes; without `debug` few, because actions are many.
    """

    def __init__(self, file: LogFile, *, debug: bool, redact: Callable[[str], str]) -> None:
        self.takes = frozenset(get_args(Message)) if debug else frozenset({LogLines, Tell, LogFailed})
        self._file = file
        self._debug = debug
        self._redact = redact
        self._flushed_at: deque[float] = deque()
        self._tells_end = debug
        """True if the end of a run that simply finishes is written too: once anything was told."""

    def handle(self, message: Message, now: float) -> Iterable[LogLines | Tell]:
        """Append what belongs into the log. What a person is told is returned as a line, too, to be shown."""
        match message:
            case LogLines():
                self._file.add(message)
            case Tell(level, text):
                self._tells_end = True
                yield self._line(level, text)
            case LogFailed(reason):
                yield Tell("WARNING", f"the log file does not take lines: {reason}")
            case _ if self._debug and (text := self._detail(message, now)):
                self._file.add(self._line("DEBUG", text))

    def _detail(self, message: Message, now: float) -> str:
        """Return what the log says of a message with `--debug`; empty for nothing."""
        match message:
            case Ready(worker, pid):
                return f"worker {worker}: ready, pid {pid}"
            case WorkerLost(worker, reason):
                return f"worker {worker}: gone, {reason or 'in order'}"
            case ResultBatch():
                self._flushed_at.append(now)
                items = sum(map(message.ended_items, message.ended))
                what = f"{items} items, {message.rows} rows, {message.nbytes} bytes"
                return f"flush of worker {message.worker}: {what}"
            case Committed(tickets):
                return self._committed(len(tickets), now)
            case SendChunk(worker, chunk, run):
                some = "all" if run is None else len(run)
                return f"scheduler: SendChunk(worker={worker}, chunk={chunk}, items={some})"
            case _:
                return f"scheduler: {message!r}"

    def _committed(self, flushes: int, now: float) -> str:
        """The oldest `flushes` flushes are in the database."""
        began = min((self._flushed_at.popleft() for _ in range(min(flushes, len(self._flushed_at)))), default=None)
        took = "" if began is None else f", {now - began:.3f} s after the first of them came"
        return f"{flushes} flushes are in the database{took}" if flushes else ""

    def ended(self, snapshot: Snapshot) -> None:
        """The run is over."""
        if snapshot.state is RunState.FINISHED and not self._tells_end:
            return
        counts = f"{snapshot.items_done} items done, {snapshot.items_failed} failed, {snapshot.rows} rows"
        why = f": {snapshot.reason}" if snapshot.reason else ""
        level = "ERROR" if snapshot.state is RunState.FAILED else "INFO"
        self._file.add(self._line(level, f"run {snapshot.run_id} {snapshot.state}{why} ({counts})"))

    def _line(self, level: str, text: str) -> LogLines:
        return LogLines(_NOBODY, (LogLine(time.time(), level, self._redact(text), worker=_NOBODY),))
