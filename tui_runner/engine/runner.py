"""Runs a plan: the thread that feeds the scheduler and carries out what it decides.

    reader ──ItemsRead──▶ ┌────────────┐ ──actions──▶ backend, reader, ingest
    backend ──reports───▶ │ inbox      │
    ingest ──Committed──▶ │ one thread │ ──4 Hz─────▶ snapshot
    commands ───────────▶ └────────────┘

Every other thread only puts something into the inbox; the scheduler, the board and the items of open chunks
belong to the runner's thread alone, so none of them needs a lock.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Collection
from typing import Any

from psutil import Process

from tui_runner.engine.backends import Backend
from tui_runner.engine.backends.inline import InlineBackend
from tui_runner.engine.backends.process import ProcessBackend
from tui_runner.engine.captured_output import OwnOutput
from tui_runner.engine.control import ChangeMaxMemory, ChangeRate, Commands, Committed, LogFailed, WriteFailed
from tui_runner.engine.guards import MemoryMeasured, Monitor
from tui_runner.engine.guards.disk import DiskHold
from tui_runner.engine.guards.memory import MemoryKeeper, too_little
from tui_runner.engine.input_reader import HeldItems, InputReader, ItemsRead
from tui_runner.engine.limits import FailureLimit
from tui_runner.engine.logs.log_file import Diary, LogFile, log_path
from tui_runner.engine.planning.open_run import open_run
from tui_runner.engine.planning.request import RunPlan
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.progress.snapshot_builder import Board, RunIdentity
from tui_runner.engine.protocol import (
    Flush,
    LogLines,
    Progress,
    Ready,
    Report,
    SetMaxMemory,
    SetRate,
    WorkerLost,
    Written,
)
from tui_runner.engine.recorder import Journal
from tui_runner.engine.scheduling.circuit_breaker import CircuitBreaker, OnOutage
from tui_runner.engine.scheduling.events import (
    Action,
    Begin,
    ChunkEnded,
    ChunkRead,
    DatabaseLost,
    EndRun,
    Event,
    ItemsRejected,
    KillRun,
    KillWorker,
    ReadChunks,
    ResumeRun,
    RunAgain,
    RunnerFault,
    SendChunk,
    SendOrder,
    StartWorker,
    StopRun,
    Tell,
    Tick,
    TryRelease,
)
from tui_runner.engine.scheduling.scheduler import Scheduler
from tui_runner.engine.states import RunState
from tui_runner.engine.worker_config import WorkerSettings
from tui_runner.errors import DatabaseError, DiskFull, UserError
from tui_runner.inputs import cut, total_items
from tui_runner.store.database import Database
from tui_runner.store.remote.server import serve
from tui_runner.system.memory import memory_bound
from tui_runner.text.describe import describe
from tui_runner.text.numbers import size
from tui_runner.text.redaction import Redaction

_SNAPSHOT_SECONDS = 0.25
_EVENTS_A_TURN = 500
"""Events handled before the clock is looked at again."""
_WAITING_PHASES = (RunState.RUNNING, RunState.FINISHED)
"""Phases in which a run waits for room on its disk; one that is to stop does not."""


class Runner(Commands):
    """One run, from its plan to its last commit; what may be asked of it meanwhile are its `Commands`.

    `open` takes the database and finds or begins the run; `start` begins to execute; `join` waits for the end;
    `close` gives the database back. Between the end and `close` the results can be queried through `database`.

    Args:
        plan: what to run.
        output: what this process and its children have written; its lines go to the log of the run. None for none.
    """

    def __init__(self, plan: RunPlan, output: OwnOutput | None = None) -> None:
        super().__init__()
        self.plan = plan
        self._output = output
        self.resumed = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)
        self._items = HeldItems()
        self._database: Database | None = None
        self._fault: BaseException | None = None
        self._unwritten: BaseException | None = None
        """Why the last flush that failed did."""
        self._worker_settings = WorkerSettings(plan)
        self._started: set[int] = set()
        """Workers that were started and are not gone."""

    # --- before the start ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the database, and find the run to go on with or begin a new one.

        Raises:
            DatabaseError: the database cannot be used.
            UserError: there is no run to resume.
        """
        plan, settings = self.plan, self.plan.settings
        # Workers that are threads of this process cannot be replaced.
        workers = 0 if settings.backend == "inline" else min(settings.workers, settings.threads)
        limit, app_rss = memory_bound(settings.max_memory), Process().memory_info().rss
        if complaint := too_little(limit, workers, app_rss):
            raise UserError(complaint, "--max-memory", "give it more")
        opened = open_run(plan)
        self._opened = opened
        self._database = opened.database
        self._server = serve(opened.database) if plan.served else None
        self.resumed = opened.resumed
        self._selection, self._news = opened.selection, opened.news
        self.run_id = opened.record.run_id
        self._replaced = opened.replaced
        self._scheduler = Scheduler(
            threads=settings.threads,
            workers=settings.workers,
            open_chunks=settings.open_chunks,
            grace=settings.grace,
            timeout=settings.timeout,
            max_failures=None if settings.max_failures is None else FailureLimit.parse(settings.max_failures),
            breaker=CircuitBreaker(OnOutage(settings.on_outage), attended=plan.attended),
            paused=opened.paused,
        )
        identity = RunIdentity(
            run_id=self.run_id,
            job=plan.job.name,
            table=plan.table,
            database=str(plan.database),
            started_at=opened.record.started_at.timestamp(),
            items_total=total_items(plan.source, plan.limit),
            chunk_size=settings.chunk_size,
            log_file=str(log_path(plan.database)),
        )
        self._log_file = LogFile(log_path(plan.database), self.run_id, lambda reason: self.inbox.put(LogFailed(reason)))
        deliver, redact = self.inbox.put, Redaction.of(plan.params)
        self._backend: Backend = (
            InlineBackend(plan.job, deliver) if settings.backend == "inline" else ProcessBackend(deliver)
        )
        chunks = cut(plan.source, settings.chunk_size, limit=plan.limit)
        self._reader = InputReader(chunks, opened.selection, deliver)
        self._journal = Journal(
            opened.database,
            self.run_id,
            plan.table,
            chunks=None if plan.retry else opened.chunks,
            replaced_keys=self._replaced,
            on_written=lambda tickets: deliver(Committed(tickets)),
            on_rejected=deliver,
            on_error=lambda error: deliver(WriteFailed(error)),
            redact=redact,
        )
        self._diary = Diary(self._log_file, debug=plan.debug, redact=redact)
        database = opened.database
        self._monitor = Monitor(self._backend.pids, database.size_bytes, database.free_bytes, deliver)
        self._memory = MemoryKeeper(limit, workers, self._handle, self._share_memory, database.statements, self._tell)
        self._disk = DiskHold(self._handle, self._tell, self._journal.try_again)
        self._board = Board(identity, self._scheduler, time.monotonic(), redact)
        self._board.rate = settings.rate
        self._board.memory_limit = self._memory.limit
        self._memory.divide(app_rss)

    # --- from any thread -----------------------------------------------------------------------------------

    @property
    def database(self) -> Database:
        """The database of this run, while it is open."""
        if self._database is None:
            raise RuntimeError("the runner has no open database")
        return self._database

    def worker_pids(self) -> Collection[int]:
        """Process ids of the workers that are alive."""
        return self._backend.pids()

    def start(self) -> None:
        """Begin; call once, after `open`."""
        self._thread.start()

    def snapshot(self) -> Snapshot:
        """The newest picture of the run."""
        return self._board.last

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run, at most `timeout` seconds; whether it has ended.

        Raises:
            DatabaseError: the database took no more rows; what it has is safe.
            Exception: whatever went wrong in tui-runner itself.
        """
        ended = self._ended.wait(timeout)
        if ended and self._fault is not None:
            raise self._fault
        return ended

    def close(self) -> None:
        """Give the database back; call after the end. Of a new run that could not begin nothing stays in it."""
        if self._database is not None:
            if self._server is not None:
                self._server.close()
            if self._could_not_begin():
                if not self.plan.debug:
                    self._log_file.take_back()
                self._opened.take_back()
            else:
                self._database.close()
            self._database = None

    def _could_not_begin(self) -> bool:
        return not self.resumed and self._fault is None and self._ended.is_set() and self.snapshot().nothing_ran

    # --- the runner's thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._journal.start()
            self._reader.start()
            self._monitor.start()
            for news in self._news:
                self._perform(news)
            self._handle(Begin())
            while not self._scheduler.status.ended:
                self._turn()
        except BaseException as fault:  # handed to whoever waits in `join`
            self._fault = fault
            failure = describe(fault, whole=True)
            reason = f"a fault of tui-runner: {failure.type}: {failure.message}"
            self._scheduler.handle(RunnerFault(reason), time.monotonic())
        finally:
            self._finish()

    def _finish(self) -> None:
        """Leave nothing behind but what is written."""
        try:
            self._reader.stop()
            self._backend.close()
            self._monitor.stop()
            if self._output is not None:
                self._output.settle()
                self._take_output(self._output)
            self._write_rest()
            written = self._journal.close()
            while not self.inbox.empty():
                self._take_last(self.inbox.get())
            if not written:
                self._database_lost(self._unwritten or TimeoutError("it takes no more rows"))
        except BaseException as fault:
            self._fault = self._fault or fault
        finally:
            self._diary.ended(self._board.snapshot(time.monotonic()))
            self._log_file.close()
            self._ended.set()

    def _write_rest(self) -> None:
        """Wait until all is written; also for room on the disk, unless somebody has had the run end."""
        if self._fault is not None or self._scheduler.status.phase is not RunState.FINISHED:
            return
        self._journal.finish()
        while not self._journal.finished(_SNAPSHOT_SECONDS) and not self._given_up():
            self._disk.look(time.monotonic())
            if self._scheduler.status.held:
                self._board.snapshot(time.monotonic())

    def _given_up(self) -> bool:
        """Take what has come in while the rest is written; whether that has failed, or is not to be waited for."""
        with contextlib.suppress(queue.Empty):
            while True:
                message = self.inbox.get_nowait()
                self._take_last(message)
                if isinstance(message, ResumeRun | StopRun | KillRun):
                    self._handle(message)
        status = self._scheduler.status
        return self._fault is not None or (status.held and status.ending is not None)

    def _take_last(self, message: Any) -> None:
        """Of what came in after the end only news of the database matters: it says what is not written."""
        if isinstance(message, (WriteFailed, Committed, ItemsRejected)):
            self._take(message)

    def _turn(self) -> None:
        """Take what is in the inbox, and draw a snapshot when it is time."""
        due = self._board.last.at + self._board.began + _SNAPSHOT_SECONDS
        try:
            self._take(self.inbox.get(timeout=max(0.0, due - time.monotonic())))
            for _ in range(_EVENTS_A_TURN):
                self._take(self.inbox.get_nowait())
        except queue.Empty:
            pass
        now = time.monotonic()
        if now >= due:
            self._handle(Tick())
            self._disk.look(now)
            if self._output is not None:
                self._take_output(self._output)
        # That it has ended is told by `_finish`, when all of it is written: whoever reads that may look it up.
        if now >= due and not self._scheduler.status.ended:
            self._board.snapshot(now)

    def _take(self, message: Any) -> None:
        """Something from the inbox: the scheduler's business, the board's, or both."""
        now = time.monotonic()
        match message:
            case ItemsRead(chunk, pending, rows, known):
                self._items.add(chunk, pending)
                self._handle(ChunkRead(chunk.number, chunk.first_item, len(chunk.keys), pending, rows, known))
            case Committed(tickets):
                self._committed(tickets)
            case WriteFailed(error):
                self._write_failed(error, now)
            case ChangeRate(rate):
                self._change_rate(rate)
            case ChangeMaxMemory(limit):
                self._change_max_memory(limit)
            case LogFailed(reason):
                self._tell("WARNING", f"the log file does not take lines: {reason}")
            case MemoryMeasured():
                self._board.measured(message, now)
                self._journal.sample(message, self._board.last)
                self._disk.measured(message, now)
                in_flight, threads = self._board.last.in_flight, self._scheduler.crew.threads
                self._memory.measured(message, self._board.pids, in_flight, threads, now)
                self._board.memory_needed = self._memory.needed
                self._board.warnings = self._disk.warnings + self._memory.warnings
            case _ if isinstance(message, Report):
                self._take_report(message, now)
            case _:
                self._handle(message)

    def _take_output(self, output: OwnOutput) -> None:
        lines, dropped = output.take_all()
        if lines or dropped:
            self._log(LogLines(None, lines, dropped))

    def _log(self, lines: LogLines) -> None:
        self._board.logged(lines)
        self._log_file.add(lines)

    def _take_report(self, report: Report, now: float) -> None:
        if report.worker is None or self._scheduler.crew.get(report.worker) is None:
            return
        match report:
            case Progress():
                self._handle(report)
                self._board.progress(report, now)
            case LogLines():
                self._log(report)
            case Ready():
                self._handle(report)
                self._board.worker_ready(report.worker, report.pid, now)
                self._diary.report(report)
            case Flush():
                self._handle(report)
                self._board.flushed(report, now)
                self._journal.write(report)
                self._diary.flush(report)
            case WorkerLost():
                self._started.discard(report.worker)
                self._board.worker_gone(report.worker)
                self._diary.report(report)
                self._handle(report)
            case _:
                self._handle(report)

    def _handle(self, event: Event) -> None:
        state = self._scheduler.status.persisted
        actions = self._scheduler.handle(event, time.monotonic())
        if self._scheduler.crew.size != self._worker_settings.workers:
            self._share_out(self._scheduler.crew.size)
        for action in actions:
            self._diary.action(action)
            self._perform(action)
        status = self._scheduler.status
        if status.persisted is not state and not status.ended:
            self._journal.state(status.persisted, self._board.items_total())

    def _perform(self, action: Action) -> None:
        match action:
            case ReadChunks(count):
                self._reader.read(count)
            case StartWorker(worker, threads, paused):
                self._started.add(worker)
                self._backend.start_worker(self._worker_settings.config(worker, threads, paused=paused))
            case SendChunk():
                self._send_chunk(action)
            case SendOrder(worker, order):
                self._backend.send(worker, order)
            case KillWorker(worker):
                self._backend.kill_worker(worker)
            case ChunkEnded(number, failed):
                self._chunk_ended(number, failed)
            case RunAgain(number, positions):
                self._replaced.update(self._items.keys(number, positions))
            case TryRelease():
                self._disk.try_now()
                self._memory.try_now()
            case Tell(level, text):
                self._tell(level, text)
            case EndRun(state):
                self._end(state)

    def _change_rate(self, rate: float | None) -> None:
        if self._scheduler.status.ended or (rate is not None and rate <= 0):
            return
        self._worker_settings.rate = self._board.rate = rate
        self._share_rate()
        self._tell("INFO", "rate: no bound" if rate is None else f"rate: {rate:g} items/s at most")

    def _share_rate(self) -> None:
        for worker in sorted(self._started):
            self._backend.send(worker, SetRate(self._worker_settings.rate_of_a_worker()))

    def _share_out(self, workers: int) -> None:
        """There are to be so many workers from now on, to share what is bounded over all of them."""
        self._worker_settings.workers = workers
        self._memory.workers = workers if self._memory.workers else 0
        self._share_rate()

    def _share_memory(self, nbytes: int | None) -> None:
        self._worker_settings.memory = nbytes
        for worker in sorted(self._started):
            self._backend.send(worker, SetMaxMemory(nbytes))

    def _change_max_memory(self, limit: int | str | None) -> None:
        if self._scheduler.status.ended:
            return
        bound = memory_bound(limit)
        if complaint := too_little(bound, self._memory.workers, self._board.last.app_rss):
            self._tell("WARNING", f"memory: {complaint}; the limit stays as it is")
            return
        self._memory.limit = self._board.memory_limit = bound
        self._tell("INFO", "memory: no bound" if bound is None else f"memory: {size(bound)} at most")

    def _send_chunk(self, action: SendChunk) -> None:
        self._journal.chunk_opened(action.chunk)
        chunk = self._scheduler.chunks[action.chunk]
        self._backend.send(action.worker, self._items.order(action, chunk.attempts, chunk.tries))

    def _chunk_ended(self, number: int, failed: Collection[int]) -> None:
        self._board.chunk_ended(number)
        self._items.keep_only(number, failed)
        self._journal.chunk(self._scheduler.chunks[number])

    def _end(self, state: RunState) -> None:
        """Record how the run and its open chunks stand; `_finish` waits until that is written."""
        for warning in self._selection.warnings() if state is RunState.FINISHED else ():
            self._tell("WARNING", warning)
        for chunk in self._scheduler.chunks:
            if not chunk.state.ended:
                self._journal.chunk(chunk)
        self._journal.state(state, self._board.items_total())

    def _committed(self, tickets: list[Any]) -> None:
        for worker, nbytes in tickets:
            self._backend.send(worker, Written(nbytes))
        self._diary.committed(len(tickets))
        self._disk.written()

    def _write_failed(self, error: BaseException, now: float) -> None:
        """A full disk holds the run until there is room; anything else ends it."""
        self._unwritten = error
        if isinstance(error, DiskFull) and self._scheduler.status.phase in _WAITING_PHASES:
            self._disk.failed(error, now)
        else:
            self._database_lost(error)

    def _database_lost(self, error: BaseException) -> None:
        """Nothing can be written: end at once, what is not committed runs again on resume."""
        if self._fault is None:
            reason = error.what if isinstance(error, DatabaseError) else str(error).strip().split("\n", 1)[0]
            what = f"the database did not take the rows: {reason}"
            do = error.do if isinstance(error, DatabaseError) and error.do else "mend that, then resume the run"
            self._fault = DatabaseError(what, str(self.plan.database), do)
            self._handle(DatabaseLost(what))

    def _tell(self, level: str, text: str) -> None:
        self._board.tell(time.monotonic(), level, text)
        self._board.logged(self._diary.tell(level, text))
