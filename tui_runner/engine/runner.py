"""Executes one run: one thread passes messages to the parts of a run and carries out their answers.

    reader ──ItemsRead──▶ ┌────────────┐            ┌ PendingItems ┐
    backend ──reports───▶ │ inbox      │  message   │ Scheduler │  answers
    writer ──Committed──▶ │ one thread │ ─────────▶ │ guards    │ ─────────▶ backend, reader
    commands ───────────▶ └────────────┘  ◀──────── │ Recorder… │
                                           answers  └───────────┘

All other threads only put messages into the inbox. The parts are used by the runner's thread alone, so they need no
locks, and no part writes an attribute of another.

Theory of operation
-------------------
The runner passes a message to the parts that take it (see `parts.py`). Answers are messages, too. They are queued
behind earlier answers, so all actions of one decision are carried out before the next decision is made. The runner
itself carries out messages that start workers, kill them or send them orders (`_perform`), after every part has handled
them.

`assembly.open_runner` builds everything before anything starts.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Collection
from typing import Any, get_args

from tui_runner.engine.control import RunControl
from tui_runner.engine.parts import Part, Parts
from tui_runner.engine.planning.request import RunPlan
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.protocol import Report, Written
from tui_runner.engine.scheduling.events import (
    Begin,
    Committed,
    DatabaseLost,
    Draw,
    ItemsRejected,
    KillRun,
    KillWorker,
    ResumeRun,
    RowsLeft,
    RunnerFault,
    SendChunk,
    SendOrder,
    StartWorker,
    StopRun,
    Tick,
    WriteFailed,
)
from tui_runner.engine.states import RunState
from tui_runner.store.database import Database
from tui_runner.text.describe import describe

_TICK_SECONDS = 0.25
"""Seconds between two ticks, and so between two snapshots. The scheduler checks deadlines at each tick, so it notices
an expired deadline at most 0.25 s late."""
_MESSAGES_AT_ONCE = 500
"""Most messages that are handled between two checks of the clock, so that a flood of reports cannot suppress ticks."""
_REPORTS = frozenset(get_args(Report))
"""Types of the messages that come from workers."""
_TAKEN_AFTER_THE_END = frozenset({Committed, WriteFailed, ItemsRejected, ResumeRun, StopRun, KillRun})
"""Types of the messages that are handled after the last worker has ended. The database still reports commits and
errors, and the user may end the wait for free disk space."""


class Runner(RunControl):
    """One run, from the opened database to its last commit. The user's commands reach it through `RunControl`.

    `start` starts the run, `join` waits for its end, `close` closes the database. Between the end and `close` the
    results can be queried through `database`.

    Args:
        plan: what to run.
        parts: the objects that execute the run.
    """

    def __init__(self, plan: RunPlan, parts: Parts) -> None:
        super().__init__(parts.inbox)
        self.plan = plan
        self.run_id = parts.opened.record.run_id
        self.resumed = parts.opened.resumed
        self._parts = parts
        self._next_tick = time.monotonic()
        self._routes: dict[type, list[Part]] = {}
        for part in parts.in_order():
            for kind in part.takes:
                self._routes.setdefault(kind, []).append(part)
        self._noted_pause = ""
        self._fault: BaseException | None = None
        self._ended = threading.Event()
        """Set after the last commit and the final snapshot; `join` waits for it."""
        self._closed = False
        # daemon: a second Ctrl-C must end the program even if the run has not ended
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    # --- from any thread -----------------------------------------------------------------------------------

    @property
    def database(self) -> Database:
        """The database of this run. Raise `RuntimeError` after `close`."""
        if self._closed:
            raise RuntimeError("the runner has no open database")
        return self._parts.opened.database

    def worker_pids(self) -> Collection[int]:
        """Return the process ids of live workers."""
        return self._parts.backend.pids()

    def start(self) -> None:
        """Start the run's thread. Call it once."""
        self._thread.start()

    def snapshot(self) -> Snapshot:
        """Return the newest snapshot."""
        return self._parts.snapshots.last

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run, at most `timeout` seconds. Return True if it has ended.

        Raises:
            DatabaseError: the database accepted no more rows; what is committed is safe.
            Exception: a defect of tui-runner ended the run.
        """
        ended = self._ended.wait(timeout)
        if ended and self._fault is not None:
            raise self._fault
        return ended

    def close(self) -> None:
        """Close the database; call it after the end. A new run that could not start is removed from the database."""
        if self._closed:
            return
        if self._parts.server is not None:
            self._parts.server.close()
        if self._failed_before_start():
            if not self.plan.debug:
                self._parts.log_file.remove_if_unused()
            self._parts.opened.take_back()
        else:
            self._parts.opened.database.close()
        self._closed = True

    def _failed_before_start(self) -> bool:
        return not self.resumed and self._fault is None and self._ended.is_set() and self.snapshot().nothing_ran

    # --- the runner's thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        """Handle messages until the run has ended; the main function of the runner's thread."""
        parts = self._parts
        try:
            parts.recorder.start()
            parts.reader.start()
            parts.monitor.start()
            for message in (*parts.opened.news, Begin()):
                self._step(message)
            while not parts.scheduler.status.ended:
                self._run_once()
        except BaseException as fault:  # `join` raises it
            self._fault = fault
            failure = describe(fault, whole=True)
            reason = f"a fault of tui-runner: {failure.type}: {failure.message}"
            # Only the scheduler gets this message, and its answers are ignored, because the defect may be in any other
            # part.
            parts.scheduler.handle(RunnerFault(reason), time.monotonic())
        finally:
            self._finish()

    def _run_once(self) -> None:
        """Handle the messages in the inbox; four times a second, send a tick and publish a snapshot."""
        with contextlib.suppress(queue.Empty):  # a tick is due, or all messages are handled
            self._take(self.inbox.get(timeout=max(0.0, self._next_tick - time.monotonic())))
            for _ in range(_MESSAGES_AT_ONCE):
                self._take(self.inbox.get_nowait())
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + _TICK_SECONDS
            self._tick()

    def _tick(self) -> None:
        """Send a tick to all parts, publish a snapshot, and note an automatic pause in the lock file."""
        self._step(Tick())
        self._step(Draw())
        pause = self._parts.scheduler.status.automatic_pause
        if pause != self._noted_pause:
            self._noted_pause = pause
            self._parts.opened.database.note_pause(pause)

    def _take(self, message: Any) -> None:
        """Handle a message from another thread. Ignore it if its worker has ended meanwhile, or if it comes too late.

        After the end of the run, only `_TAKEN_AFTER_THE_END` are handled; after an error, no further `WriteFailed`.
        """
        kind = type(message)
        of_worker = kind in _REPORTS and message.worker is not None
        if of_worker and self._parts.scheduler.workers.get(message.worker) is None:
            return
        if self._parts.scheduler.status.ended and kind not in _TAKEN_AFTER_THE_END:
            return
        if kind is WriteFailed and self._fault is not None:
            return  # `join` raises only the first error
        self._step(message)

    def _step(self, message: object) -> None:
        """Pass a message to the parts that take it. Then pass on their answers, first in, first out."""
        messages = deque([message])
        while messages:
            message = messages.popleft()
            now = time.monotonic()
            for part in self._routes.get(type(message), ()):
                messages.extend(part.handle(message, now))
            self._perform(message)

    def _perform(self, message: object) -> None:
        """Carry out a message that concerns workers, or the loss of the database."""
        parts = self._parts
        match message:
            case SendOrder(worker, order):
                parts.backend.send(worker, order)
            case SendChunk(worker):
                parts.backend.send(worker, parts.items.order(message))
            case StartWorker():
                parts.backend.start_worker(parts.new_worker(message))
            case KillWorker(worker):
                parts.backend.kill_worker(worker)
            case Committed(tickets):
                for worker, nbytes in tickets:
                    parts.backend.send(worker, Written(nbytes))
            case DatabaseLost(error):
                self._fault = self._fault or error

    # --- the end -------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """End workers and threads, write the remaining rows, and publish the final snapshot."""
        parts = self._parts
        try:
            if self._fault is None:
                self._step(Draw())  # shows the last ended items now, because ending workers may take a second
            parts.reader.stop()
            parts.backend.close()
            parts.monitor.stop()
            if parts.output is not None:
                parts.output.settle()
                for lines in parts.output.handle(Tick(), time.monotonic()):
                    self._step(lines)
            self._write_rest()
            written = parts.recorder.close()
            self._take_waiting()
            if written and self._fault is None:
                parts.opened.database.shorten_log()
            parts.snapshots.set_database_size(parts.opened.database.size_bytes())
            if not written and self._fault is None:
                self._step(RowsLeft())
        except BaseException as fault:  # `join` must return even if something fails here
            self._fault = self._fault or fault
        finally:
            parts.log.ended(parts.snapshots.snapshot(time.monotonic()))
            parts.log_file.close()
            self._ended.set()

    def _write_rest(self) -> None:
        """Wait until everything is written. A finished run also waits for free disk space, until the user stops it."""
        scheduler, recorder = self._parts.scheduler, self._parts.recorder
        if self._fault is not None:
            return
        if scheduler.status.phase is not RunState.FINISHED:
            recorder.give_up_failing()
            while not recorder.wait(_TICK_SECONDS):
                self._take_waiting()
                self._step(Draw())
            return
        recorder.finish()
        while not recorder.wait(_TICK_SECONDS):  # in short waits, so that commands of the user are still handled
            self._take_waiting()
            status = scheduler.status
            if self._fault is not None or (status.held and status.ending is not None):
                return
            self._tick()

    def _take_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):  # the inbox is empty
            while True:
                self._take(self.inbox.get_nowait())
