"""Watches a run without a screen: with a progress line for users, or JSON events for programs.

If the reader of this output disappears, for example the terminal, the output ends and the run continues. But a run
never continues without its watcher: an error in the watcher stops the run normally.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tui_runner.cli.json_events import JsonEvents
from tui_runner.cli.overwritten_line import Lines
from tui_runner.cli.progress_lines import (
    closing_lines,
    live_line,
    progress_line,
    recorded_failures,
    shown_path,
)
from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.control import RunControl
from tui_runner.engine.planning.request import PROGRAM_INPUT, STANDARD_INPUT, shown_params
from tui_runner.engine.progress.host_wait import host_wait
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.runner import Runner
from tui_runner.engine.states import RunState
from tui_runner.errors import EXIT_KILLED, EXIT_OK
from tui_runner.system import terminal
from tui_runner.system.files import short_path
from tui_runner.text.messages import pipe_command, resume_command
from tui_runner.text.safe_text import safe_text

_POLL_SECONDS = 0.25
"""Seconds between two snapshots that are read. The engine creates four snapshots per second."""
_FIRST_LINE_SECONDS = 5.0
"""Seconds before the first progress line in a file, so that short runs write none."""
_LINE_SECONDS = 30.0
"""Seconds between two progress lines in a file, so that ten hours make 1,200 lines."""


class Headless:
    """An observer of a run, which reports the progress until the end.

    Args:
        control: the run.
        events: writes JSON events; None to write none.
        lines: writes the progress line, the run's log messages and the summary; None to write none.
        database: path of the database, as written from the current folder.
        go_on: command or advice for resuming the run if it does not finish.
        grace: seconds that items in flight have when the run is stopped; shown in the message about stopping.
        signals: True to take Ctrl-C and SIGTERM as commands to stop, and to survive the loss of the terminal. Only in
            the main thread.
        started: True if the run has already been started.
        detach: redirects all streams from the terminal to /dev/null after the terminal has disappeared.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        control: RunControl,
        *,
        events: JsonEvents | None,
        lines: Lines | None,
        database: str,
        go_on: str,
        grace: float,
        signals: bool = True,
        started: bool = False,
        detach: Callable[[], None] = terminal.detach,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._events = events
        self._lines = lines
        self._database = database
        self._go_on = go_on
        self._grace = grace
        self._take_signals = signals
        self._started = started
        self._detach = detach
        self._clock = clock
        self._began = clock()
        self._next_line = self._began + _FIRST_LINE_SECONDS
        self._next_wait = self._began
        self._newest_event_at = -1.0
        self._stopping = False
        self._interrupts = 0

    def run(self, close: Callable[[], None] = lambda: None) -> int:
        """Start the run, watch it until its end, close it, and return the exit code.

        Args:
            close: called at the end, also after an error, while signals are still taken as commands: a second Ctrl-C
                often arrives just after the first one has ended the run.

        Raises:
            DatabaseError: the database accepted no more rows.
            BaseException: another error ended the watcher, for example an interrupt that is not taken as a command. The
                run has ended before it is raised.
        """
        with self._signals() if self._take_signals else contextlib.nullcontext():
            try:
                snapshot = self._run()
            finally:
                close()
        return EXIT_KILLED if self._interrupts > 1 and snapshot.state is RunState.STOPPED else snapshot.exit_code

    def _run(self) -> Snapshot:
        if not self._started:
            self._control.start()
        try:
            self._watch()
        except BaseException as error:
            self._stop_in_order()
            self._finish(self._control.snapshot(), in_words=isinstance(error, KeyboardInterrupt))
            raise
        snapshot = self._control.snapshot()
        self._finish(snapshot)
        return snapshot

    def _watch(self) -> None:
        if self._events is not None:
            self._events.started(self._control.snapshot(), self._clock())
        while not self._control.join(_POLL_SECONDS):
            self._report(self._control.snapshot())

    def _stop_in_order(self) -> None:
        """Stop the run normally, because `Headless` has failed. A Ctrl-C meanwhile ends the run at once."""
        try:
            self._control.stop()
            self._wait()
        except KeyboardInterrupt:
            self._control.kill()
            self._wait()

    def _wait(self) -> None:
        # `join` raises the error of an ended run, but the caller is already raising another error.
        with contextlib.suppress(Exception):
            self._control.join()

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which signals are commands. A handler only puts a command into the run's queue."""
        return terminal.signals(
            {signal.SIGINT: self._interrupted, signal.SIGTERM: self._terminated, signal.SIGHUP: self._hung_up}
        )

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        """Handle Ctrl-C: the first stops the run normally, the second ends it at once, the third ends this process."""
        self._interrupts += 1
        if self._interrupts == 1:
            self._control.stop()
        elif self._interrupts == 2:
            self._control.kill()
        else:
            os._exit(EXIT_KILLED)

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self._control.stop()

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        self._detach()
        self._control.abandon(terminal.LOST)

    def _report(self, snapshot: Snapshot) -> None:
        now = self._clock()
        if self._events is not None:
            self._events.look(snapshot, now)
        lines = self._lines
        if lines is None:
            return
        self._say_new_events(snapshot, lines)
        if lines.quiet:
            return
        if now >= self._next_wait and (wait := host_wait(snapshot)):
            # Hosts with short waits are told once in `_LINE_SECONDS`; the progress line names each wait.
            self._next_wait = now + _LINE_SECONDS
            lines.say(f"info: {wait.text()}")
        if self._interrupts and not self._stopping:
            self._stopping = True
            doing = f"items in flight have {self._grace:g} s to finish" if snapshot.in_flight else "the run stops"
            lines.say(f"{doing}; Ctrl-C again ends the run at once")
        if lines.live:
            lines.overwrite(live_line(snapshot, lines.width))
        elif now >= self._next_line and self._is_news(snapshot, now):
            self._next_line = now + _LINE_SECONDS
            lines.say(progress_line(snapshot))

    def _is_news(self, snapshot: Snapshot, now: float) -> bool:
        """Return True if a progress line is useful: an item has ended, or the run is older than `_LINE_SECONDS`."""
        return not _idle(snapshot) or now >= self._began + _LINE_SECONDS

    def _say_new_events(self, snapshot: Snapshot, lines: Lines) -> None:
        newest = self._newest_event_at
        for event in snapshot.events:
            if event.at <= newest:
                continue
            self._newest_event_at = max(self._newest_event_at, event.at)
            if lines.quiet and event.level == "INFO":
                continue
            # The reason why a run could not begin is printed only once, at its end.
            if event.level == "INFO" or event.text != f"stopping: {snapshot.reason}" or not _idle(snapshot):
                lines.say(f"{event.level.lower()}: {safe_text(event.text)}")

    def _finish(self, snapshot: Snapshot, *, in_words: bool = True) -> None:
        """Report the end of the run. `in_words` is False if the caller reports it by an error message."""
        if self._events is not None:
            self._events.look(snapshot, self._clock())
            self._events.finished(snapshot)
        if self._lines is None:
            return
        if not in_words:
            self._lines.clear()
            return
        self._say_new_events(snapshot, self._lines)  # a short run may end before its first snapshot is read
        if not self._lines.quiet or snapshot.exit_code != EXIT_OK:
            recorded = recorded_failures(self._control)
            for line in closing_lines(snapshot, self._database, self._go_on, recorded):
                self._lines.say(line)


def _idle(snapshot: Snapshot) -> bool:
    """Return True if no item has ended in this process."""
    return snapshot.items_finished == snapshot.items_skipped


def watcher(
    runner: Runner,
    *,
    events: JsonEvents | None,
    lines: Lines | None,
    folder: Path | None,
    output: CapturedOutput | None = None,
    signals: bool = True,
    started: bool = False,
) -> Headless:
    """Return a watcher of a run without a screen.

    Args:
        runner: the run.
        events: writes JSON events; None to write none.
        lines: writes lines for users; None to write none.
        folder: the reader's current folder, to shorten paths; None if the reader has none, for example of cron's mail.
        output: captured output, which also has descriptors of the terminal; None if output is not captured.
        signals: see `Headless`.
        started: True if the run has already been started.
    """
    path = runner.plan.database
    database = str(path) if folder is None else shown_path(path, folder)
    return Headless(
        runner,
        events=events,
        lines=lines,
        database=database,
        go_on=how_to_go_on(runner, database, folder),
        grace=runner.plan.settings.grace,
        signals=signals,
        started=started,
        detach=terminal.detach if output is None else output.detach,
    )


def how_to_go_on(runner: Runner, database: str, folder: Path | None) -> str:
    """Return the command, or advice, by which the user can resume the run if it does not finish.

    Args:
        runner: the run.
        database: path of the database, as written from the reader's current folder.
        folder: the reader's current folder; None if the reader has none.
    """
    plan = runner.plan
    if plan.source.text == PROGRAM_INPUT:
        return "run the same program again"
    if plan.source.text == STANDARD_INPUT:
        command = pipe_command(
            job=short_path(plan.job.path, folder),
            database=database,
            table=plan.settings.table,
            params=shown_params(plan.stored_params, plan.job),
            limit=plan.limit,
        )
        return f"run the same pipe again: {command}"
    return resume_command(database, runner.run_id)
