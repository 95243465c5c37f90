"""What tui-runner itself writes into the log file of a run, among the lines of the job.

Always what a person is told, which the screen shows for some seconds only; and how a run ended that did not simply
finish, or of which anything was told. With `--debug` everything it tells, each action of
the scheduler, when workers come and go, and how large flushes are and how long they take to be in the database.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from tui_runner.engine.chunk import RunState
from tui_runner.engine.events import Action, SendChunk, Tell
from tui_runner.engine.log_file import LogFile
from tui_runner.engine.protocol import Flush, LogLines, Ready, WorkerLost
from tui_runner.engine.snapshot import LogLine, Snapshot

_NOBODY = -1
"""The worker that lines of tui-runner itself are from."""


class Diary:
    """Writes down what happens in a run. Owned by the runner's thread.

    Args:
        file: the log file.
        debug: whether everything is written.
        redact: takes secrets out.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        file: LogFile,
        *,
        debug: bool,
        redact: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._debug = debug
        self._redact = redact
        self._clock = clock
        self._flushed_at: deque[float] = deque()
        self._tells_end = debug
        """Whether the end is written also of a run that simply finishes: once anything was told."""

    def tell(self, level: str, text: str) -> LogLines:
        """Something that a person is told; returns it as it was written."""
        self._tells_end = True
        return self._write(level, text)

    def action(self, action: Action) -> None:
        """Something that the scheduler has decided."""
        if not self._debug or isinstance(action, Tell):
            return
        if isinstance(action, SendChunk):
            text = f"SendChunk(worker={action.worker}, chunk={action.chunk}, items={len(action.positions)})"
        else:
            text = repr(action)
        self._write("DEBUG", f"scheduler: {text}")

    def report(self, report: Ready | WorkerLost) -> None:
        """A worker has come or gone."""
        if self._debug:
            what = f"ready, pid {report.pid}" if isinstance(report, Ready) else f"gone, {report.reason or 'in order'}"
            self._write("DEBUG", f"worker {report.worker}: {what}")

    def flush(self, flush: Flush) -> None:
        """A worker has sent what it has finished."""
        if self._debug:
            self._flushed_at.append(self._clock())
            items = sum(map(len, flush.ended.values()))
            self._write(
                "DEBUG", f"flush of worker {flush.worker}: {items} items, {flush.rows} rows, {flush.nbytes} bytes"
            )

    def committed(self, flushes: int) -> None:
        """So many flushes, the oldest ones, are in the database."""
        if self._debug and flushes:
            began = min((self._flushed_at.popleft() for _ in range(min(flushes, len(self._flushed_at)))), default=None)
            took = "" if began is None else f", {self._clock() - began:.3f} s after the first of them came"
            self._write("DEBUG", f"{flushes} flushes are in the database{took}")

    def ended(self, snapshot: Snapshot) -> None:
        """The run is over."""
        if snapshot.state is RunState.FINISHED and not self._tells_end:
            return
        counts = f"{snapshot.items_done} items done, {snapshot.items_failed} failed, {snapshot.rows} rows"
        why = f": {snapshot.reason}" if snapshot.reason else ""
        level = "ERROR" if snapshot.state is RunState.FAILED else "INFO"
        self._write(level, f"run {snapshot.run_id} {snapshot.state}{why} ({counts})")

    def _write(self, level: str, text: str) -> LogLines:
        lines = LogLines(_NOBODY, (LogLine(time.time(), level, self._redact(text), worker=_NOBODY),))
        self._file.add(lines)
        return lines
