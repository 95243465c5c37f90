"""A worker: one queue, one pool, one reporter, and the orders that control them.

`Worker` is the same in every backend. `run_process` is the main function of a worker process.

Theory of operation. The main thread reads orders, the pool's threads execute items, the reporter thread reports. The
process ends after the order to drain, or when the other end of its pipe is closed, so that it never outlives the
process that started it. It exits with `os._exit`, because a normal exit would wait for threads of the job that never
return.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import NoReturn

from tui_runner.engine.protocol import (
    BROKEN_EXIT,
    DESCRIPTORS_EXIT,
    Cancel,
    ChunkExhausted,
    Drain,
    Drained,
    GrantHost,
    HoldHost,
    HostRefused,
    LogLine,
    LogLines,
    MemoryFull,
    OpenChunk,
    Order,
    Pause,
    PauseHost,
    Probe,
    Ready,
    Report,
    Resume,
    SetHostLimits,
    SetMaxMemory,
    SetRate,
    SetThreads,
    WorkerConfig,
    WorkerFailed,
    Written,
)
from tui_runner.engine.worker.async_pool import AsyncPool
from tui_runner.engine.worker.attempt import Execution, Outcomes, cancelled
from tui_runner.engine.worker.flight_recorder import FlightRecorder, this_is_no_copy
from tui_runner.engine.worker.job_output import JobLog, JobStream, join_logging
from tui_runner.engine.worker.memory_limit import MemoryLimit
from tui_runner.engine.worker.params import unpack_params
from tui_runner.engine.worker.reporter import Reporter
from tui_runner.engine.worker.retry import RetryBudget, RetryPolicy, retry_rule
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.engine.worker.thread_pool import Pool, ThreadPool
from tui_runner.engine.worker_pipe import receive_message, send_message
from tui_runner.errors import UserError
from tui_runner.jobs import http
from tui_runner.jobs.http.host_gate import Listener
from tui_runner.jobs.job import Job
from tui_runner.jobs.loading import load_reference
from tui_runner.system.clock import time
from tui_runner.system.fork_server import unblock_signals
from tui_runner.system.garbage import WORKER_THRESHOLD, collect_and_keep, collect_seldom
from tui_runner.system.memory import return_freed_memory
from tui_runner.system.process import limit_native_threads, raise_file_limit
from tui_runner.system.terminal_guard import TERMINAL_GUARD
from tui_runner.text.describe import describe
from tui_runner.text.redaction import Redaction

_TEARDOWN_SECONDS = 10.0
"""Seconds that a job's teardown may take before the worker ends without it. At the end of a run this is less than the
scheduler's `_TEARDOWN_SLACK`, after which the worker is killed. In a stopped run, the worker is killed `DRAIN_SLACK`
after the grace time, even during its teardown."""
_PR_SET_PDEATHSIG = 1
"""Number of the `prctl` option in Linux's `<sys/prctl.h>`; Python has no name for it."""
BROKEN = "this worker cannot continue, because a function has broken something that the worker needs"
"""Beginning of the message of a worker that a function has broken."""


class Worker:
    """A worker, which executes the items that it is sent and reports their outcomes.

    Args:
        config: what to run and how.
        job: the loaded job.
        send: sends a report; called by several threads at once, may block.
        log: output and log lines of the job.
        recorder: records the items in flight, for the case that the worker dies.
    """

    def __init__(
        self, config: WorkerConfig, job: Job, send: Callable[[Report], None], log: JobLog, recorder: FlightRecorder
    ) -> None:
        self._config = config
        self.on_broken: Callable[[BaseException], None] = self._report_broken
        """Called by a thread of this worker that cannot continue; a worker process replaces it to exit at once."""
        self._job = job
        self._send = send
        self.log = log
        self._queue = WorkQueue(
            write_log=self.log.add,
            on_exhausted=lambda chunk: send(ChunkExhausted(config.worker, chunk)),
            on_idle=lambda: self._outcomes.wake.set(),
            rate=config.rate,
            budget=None if config.retry_share is None else RetryBudget(config.retry_share),
            key_columns=config.key_columns,
            item_text=config.item_text,
            gate=http.gate,
            host=job.host_finder(by_name=config.by_name),
            takes_added=job.frontier,
        )
        self._listener = Listener(
            self._queue.host_changed,
            lambda: self._outcomes.wake.set(),
            self._host_refused,
        )
        if config.paused:
            self._queue.pause(None)
        self._outcomes = Outcomes(
            config.max_buffered_bytes, self._queue.set_room, threads=lambda: self._queue.wanted_consumers
        )
        execution = Execution(
            job.caller(config.params, by_name=config.by_name, from_input=config.from_input),
            RetryPolicy(config.retries, retry_rule(job.retry_on)),
            config.timeout,
            http.gate,
        )
        pool_type = AsyncPool if job.is_async else ThreadPool
        self._pool: Pool = pool_type(
            self._queue, execution, self._outcomes, recorder, lambda error: self.on_broken(error)
        )
        self._reporter = Reporter(
            config.worker,
            self._queue,
            self._outcomes,
            self._pool,
            self.log,
            send,
            Redaction(config.secrets),
            item_text=config.item_text,
            on_broken=lambda error: self.on_broken(error),
        )
        self._memory_limit: MemoryLimit | None = None

    def _host_refused(self, host: str, seconds: float, named: float, status: int) -> None:
        self._send(HostRefused(self._config.worker, host, seconds, named, status))
        self._queue.host_held(seconds)

    def start(self) -> None:
        """Run the job's setup, start the pool, then report `Ready`.

        Raises:
            UserError: setup raised, or the system refuses a thread.
        """
        this_is_no_copy()
        http.gate.add(self._listener)
        http.gate.set_limits(self._config.host_limits, shared=self._config.hosts_shared)
        try:
            self._run_setup()
        except BaseException:  # reports the log before the error that ends this worker
            http.gate.remove(self._listener)
            self._reporter.send_log()  # the log has the reason; no other report of this worker follows
            raise
        self._memory_limit = MemoryLimit(
            self._config.max_memory,
            in_flight=lambda: self._queue.busy,
            set_braked=self._queue.set_braked,
            give_up=lambda rss: self._send(MemoryFull(self._config.worker, rss)),
            clock=time.monotonic,
        )
        self._outcomes.on_put = self._memory_limit.check
        self._memory_limit.start()
        self._pool.set_threads(self._config.threads)
        self._reporter.start()
        self._send(Ready(self._config.worker, os.getpid()))

    def _report_broken(self, error: BaseException) -> None:
        self._send(WorkerFailed(self._config.worker, f"{BROKEN}: {type(error).__name__}: {error}"))

    def _run_setup(self) -> None:
        try:
            self._job.run_setup(self._config.params)
        except UserError:
            raise  # the message is complete
        except BaseException as error:  # setup is user code and may raise anything
            failure = describe(error)
            self.log.add("ERROR", f"setup: {failure.traceback}")
            raise UserError(f"setup raised {failure.type}: {failure.message}") from error

    def apply(self, order: Order) -> bool:
        """Carry out an order. Return False after `Drain`, which is the last order.

        Raises:
            UserError: the system refuses a thread.
        """
        match order:
            case OpenChunk():
                self._open(order)
            case Pause(chunk):
                self._queue.pause(chunk)
            case Resume(chunk):
                self._queue.resume(chunk)
            case Probe():
                self._queue.start_probe()
            case Cancel(chunk):
                self._cancel(chunk)
            case SetThreads(threads):
                self._pool.set_threads(threads)
            case SetRate(rate):
                self._queue.set_rate(rate)
            case SetHostLimits(limits, host):
                http.gate.set_limits(limits, host)
            case GrantHost(host, slots, serial, due):
                http.gate.grant(host, slots, serial, due)
            case HoldHost(host, seconds):
                http.gate.hold(host, seconds)
            case PauseHost(host, paused):
                http.gate.pause(host, paused)
            case SetMaxMemory(nbytes):
                if self._memory_limit is not None:
                    self._memory_limit.set_share(nbytes)
            case Written(nbytes):
                self._outcomes.written(nbytes)
            case Drain(grace):
                self._drain(grace)
                return False
        return True

    def _open(self, order: OpenChunk) -> None:
        try:
            self._queue.open(order)
            self._reporter.measure_soon()
        except BaseException as error:  # unpickling runs user code
            failure = describe(error)
            message = f"the items of chunk {order.chunk} cannot be read in a worker: {failure.type}: {failure.message}"
            self._send(WorkerFailed(self._config.worker, message))
        self._queue.start_missing()

    def _cancel(self, chunk: int) -> None:
        found = self._queue.cancel(chunk)
        if found is not None:
            opened, indexes = found
            for index in indexes:
                self._outcomes.put_other(cancelled(opened, index))

    def _drain(self, grace: float) -> None:
        """Finish items for at most `grace` seconds, send everything, and run the job's teardown."""
        if self._memory_limit is not None:
            self._memory_limit.end()
        self._queue.end()
        http.gate.remove(self._listener)
        self._pool.join(grace)
        stuck = 0
        for _, _, slot in self._queue.in_flight():
            stuck += not slot.superseded
            slot.superseded = True
        self._reporter.finish()
        self._teardown()
        self._reporter.collect()  # sends what the teardown has printed
        self._send(Drained(self._config.worker, stuck))

    def _teardown(self) -> None:
        """Run the job's teardown in a thread, so that a teardown that hangs cannot keep the worker from ending."""

        def run() -> None:
            try:
                self._job.run_teardown(self._config.params)
            except BaseException as error:  # user code may raise anything; the worker still ends in order
                self.log.add("ERROR", f"teardown: {describe(error).traceback}")

        thread = threading.Thread(target=run, name="teardown", daemon=True)  # daemon: abandoned if it hangs
        thread.start()
        thread.join(_TEARDOWN_SECONDS)
        if thread.is_alive():
            self.log.add("ERROR", f"teardown: not done after {_TEARDOWN_SECONDS:g} s; the worker ends without it")


def run_process(connection: Connection, config: WorkerConfig, output: int, memory: int) -> None:
    """Run a worker process; never returns.

    Args:
        connection: pipe to the program, for orders and reports.
        config: what to run and how.
        output: file descriptor to which output of native code (descriptors 1 and 2) is redirected.
        memory: file descriptor of the memory for the worker's `FlightRecorder`.
    """
    _detach(output)
    recorder = FlightRecorder(memory)
    os.close(memory)
    return_freed_memory()
    raise_file_limit()
    redact = Redaction(config.secrets)
    log = _redirect_output(config.worker, redact)
    # Item threads, the reporter and the main thread send, and messages must not be interleaved.
    lock = threading.Lock()

    pipe = _identity(connection)

    def send(report: Report) -> None:
        with lock:
            if _identity(connection) != pipe:
                os._exit(DESCRIPTORS_EXIT)  # the descriptor is another file now, so the report would not arrive
            try:
                send_message(connection, report)
            except OSError:  # the program has ended, or the function has closed the pipe
                _end_cut_off(connection, pipe)

    code = 0
    try:
        _serve(connection, pipe, config, send, log, recorder)
    except UserError as error:  # the job does not load, or its setup failed
        send(WorkerFailed(config.worker, str(error)))
        code = 1
    except BaseException as error:  # loading the job and its setup run user code, which may raise anything
        failure = describe(error)
        send(WorkerFailed(config.worker, f"{failure.type}: {failure.message}"))
        code = 1
    os._exit(code)  # threads that hang in items would keep a normal exit waiting, or crash in it


def _serve(
    connection: Connection,
    pipe: tuple[int, int] | None,
    config: WorkerConfig,
    send: Callable[[Report], None],
    log: JobLog,
    recorder: FlightRecorder,
) -> None:
    """Load the job and follow orders until the worker is drained."""
    if config.processors is not None:
        limit_native_threads(config.processors)
    job = load_reference(config.job)
    join_logging(log)
    config = replace(config, params=unpack_params(job, config.packed_params))
    collect_and_keep()
    collect_seldom(WORKER_THRESHOLD)
    worker = Worker(config, job, send, log, recorder)
    worker.on_broken = lambda error: _end_broken(error, config.worker, send)
    worker.start()
    try:
        while worker.apply(receive_message(connection)):
            pass
    except (EOFError, OSError):  # the program has ended, or the function has closed the pipe
        _end_cut_off(connection, pipe)
    except UserError:
        raise  # `run_process` reports its message
    except BaseException as error:  # an order fails only if the function has broken this process
        _end_broken(error, config.worker, send)


def _identity(connection: Connection) -> tuple[int, int] | None:
    """Return device and inode of the connection's file; None if its descriptor was closed."""
    try:
        found = os.fstat(connection.fileno())
    except OSError:  # EBADF
        return None
    return found.st_dev, found.st_ino


def _end_broken(error: BaseException, worker: int, send: Callable[[Report], None]) -> NoReturn:
    """Exit, because the function has broken this process. The module `suspects` finds the item that is to blame."""
    try:
        text = f"{BROKEN}: {type(error).__name__}: {error}"
        send(LogLines(worker, (LogLine(time.time(), "ERROR", text, worker=worker),)))
    finally:  # exit even if sending fails; the function cannot have broken `os._exit`
        os._exit(BROKEN_EXIT)


def _end_cut_off(connection: Connection, pipe: tuple[int, int] | None) -> NoReturn:
    """Exit, because the pipe is broken: a function has closed its descriptor, or the program was killed."""
    if _identity(connection) != pipe:
        os._exit(DESCRIPTORS_EXIT)
    _end_with_children()


def _end_with_children() -> NoReturn:
    """Exit after killing the processes that items have started, because the program was killed."""
    if os.getpgrp() == os.getpid():  # `_detach` made a process group; without one, the program's group would be killed
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _detach(output: int) -> None:
    """Detach from the terminal, reset signals, redirect output, and arrange to die with the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):  # this process leads a process group already
        os.setsid()
    unblock_signals()
    TERMINAL_GUARD.forget()
    if sys.platform == "linux":
        # The worker also notices the end of the pipe, but not while native code holds the interpreter lock.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _let_parent_end()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


def _let_parent_end() -> None:
    """Close this worker's end of the pipe that keeps the fork server alive.

    The server ends when no process holds such an end, and multiprocessing gives one to every process. So the server
    would not end with the program while a worker lives. It has to end, because its end kills its workers. If the job
    uses a fork server itself, multiprocessing starts another one.
    """
    server = forkserver._forkserver
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        setattr(server, "_forkserver_alive_fd", None)  # noqa: B010 - the type stubs do not know it


def _redirect_output(worker: int, redact: Redaction) -> JobLog:
    """Redirect `sys.stdout` and `sys.stderr` to a new log, and return that log."""
    log = JobLog(worker, redact)
    sys.stdout = JobStream(log, "INFO", None, 1)
    sys.stderr = JobStream(log, "WARNING", None, 2)
    return log
