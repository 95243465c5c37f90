"""A worker: one queue, one pool, one collector, and the orders that steer them.

`Worker` is the same in every backend. `run_process` is the main function of a worker process.

Theory of operation. The main thread reads orders; the pool's threads execute items; the collector thread reports.
The process ends when it is told to drain, or when the other end of its pipe is gone: a worker never outlives the
process that started it. It leaves by `os._exit`, because a thread of the user's that never returns must not hold it up.
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

from tui_runner.engine.messages import receive_message, send_message
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
from tui_runner.engine.worker.reporter import Collector
from tui_runner.engine.worker.retry import RetryBudget, RetryPolicy, retry_rule
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.engine.worker.thread_pool import Pool, ThreadPool
from tui_runner.errors import UserError
from tui_runner.jobs import http
from tui_runner.jobs.http.host_gate import Listener
from tui_runner.jobs.job import Job
from tui_runner.jobs.loading import load_reference
from tui_runner.system.clock import time
from tui_runner.system.fork_server import take_signals_again
from tui_runner.system.memory import return_freed_memory, settle_garbage_collection
from tui_runner.system.process import limit_native_threads, raise_file_limit
from tui_runner.system.terminal_guard import TERMINAL_GUARD
from tui_runner.text.describe import describe
from tui_runner.text.redaction import Redaction

_TEARDOWN_SECONDS = 10.0
"""Seconds that a job's teardown may take before the worker ends without it."""
_PR_SET_PDEATHSIG = 1
BROKEN = "this worker cannot continue, because a function has changed what it needs itself"


class Worker:
    """Executes the items it is sent and reports their outcomes.

    Args:
        config: what to run and how.
        job: the job, loaded.
        send: takes reports, from several threads at once; may block.
        log: what the job prints and logs.
        recorder: where it notes what is in flight.
    """

    def __init__(
        self, config: WorkerConfig, job: Job, send: Callable[[Report], None], log: JobLog, recorder: FlightRecorder
    ) -> None:
        self._config = config
        self.on_broken: Callable[[BaseException], None] = self._report_broken
        """Called by a thread of this worker that cannot continue."""
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
            config.max_buffered_bytes, self._queue.set_room, threads=lambda: self._queue.wanted_lanes
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
        self._collector = Collector(
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
        self._brake: MemoryLimit | None = None

    def _host_refused(self, host: str, seconds: float) -> None:
        self._send(HostRefused(self._config.worker, host, seconds))
        self._queue.host_held(seconds)

    def start(self) -> None:
        """Run the job's setup, start the pool, report `Ready`."""
        this_is_no_copy()
        http.gate.add(self._listener)
        http.gate.set_limits(self._config.host_limits, shared=self._config.hosts_shared)
        try:
            self._run_setup()
        except BaseException:
            http.gate.remove(self._listener)
            self._collector.send_log()  # it says why, and nothing else of this worker will be reported
            raise
        self._brake = MemoryLimit(
            self._config.max_memory,
            in_flight=lambda: self._queue.busy,
            set_braked=self._queue.set_braked,
            give_up=lambda rss: self._send(MemoryFull(self._config.worker, rss)),
            clock=time.monotonic,
        )
        self._outcomes.on_put = self._brake.glance
        self._brake.start()
        self._pool.set_threads(self._config.threads)
        self._collector.start()
        self._send(Ready(self._config.worker, os.getpid()))

    def _report_broken(self, error: BaseException) -> None:
        self._send(WorkerFailed(self._config.worker, f"{BROKEN}: {type(error).__name__}: {error}"))

    def _run_setup(self) -> None:
        try:
            self._job.run_setup(self._config.params)
        except UserError:
            raise
        except BaseException as error:  # the user's code may raise anything
            failure = describe(error)
            self.log.add("ERROR", f"setup: {failure.traceback}")
            raise UserError(f"setup raised {failure.type}: {failure.message}") from error

    def obey(self, order: Order) -> bool:
        """Carry out an order; False when it was the last one."""
        match order:
            case OpenChunk():
                self._open(order)
            case Pause(chunk):
                self._queue.pause(chunk)
            case Resume(chunk):
                self._queue.resume(chunk)
            case Probe():
                self._queue.let_one_through()
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
                if self._brake is not None:
                    self._brake.set_share(nbytes)
            case Written(nbytes):
                self._outcomes.written(nbytes)
            case Drain(grace):
                self._drain(grace)
                return False
        return True

    def _open(self, order: OpenChunk) -> None:
        try:
            self._queue.open(order)
            self._collector.look_soon()
        except BaseException as error:  # unpickling runs the user's code
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
        if self._brake is not None:
            self._brake.end()
        self._queue.end()
        http.gate.remove(self._listener)
        self._pool.join(grace)
        stuck = 0
        for _, _, slot in self._queue.in_flight():
            stuck += not slot.superseded
            slot.superseded = True
        self._collector.finish()
        self._teardown()
        self._collector.collect()  # what the teardown has printed
        self._send(Drained(self._config.worker, stuck))

    def _teardown(self) -> None:
        """Run the job's teardown in a thread, so that it cannot hold up the end for ever."""

        def run() -> None:
            try:
                self._job.run_teardown(self._config.params)
            except BaseException as error:
                self.log.add("ERROR", f"teardown: {describe(error).traceback}")

        thread = threading.Thread(target=run, name="teardown", daemon=True)
        thread.start()
        thread.join(_TEARDOWN_SECONDS)
        if thread.is_alive():
            self.log.add("ERROR", f"teardown: not done after {_TEARDOWN_SECONDS:g} s, left behind")


def run_process(connection: Connection, config: WorkerConfig, output: int, memory: int) -> None:
    """Run a worker process; never returns.

    Args:
        connection: orders come from it, reports go to it.
        config: what to run and how.
        output: file descriptor that takes what is written to descriptors 1 and 2.
        memory: file descriptor of the memory of its `FlightRecorder`.
    """
    _detach(output)
    recorder = FlightRecorder(memory)
    os.close(memory)
    return_freed_memory()
    raise_file_limit()
    redact = Redaction(config.secrets)
    log = _redirect_output(config.worker, redact)
    lock = threading.Lock()

    pipe = _identity(connection)

    def send(report: Report) -> None:
        with lock:
            if _identity(connection) != pipe:
                os._exit(DESCRIPTORS_EXIT)  # what is sent would arrive nowhere
            try:
                send_message(connection, report)
            except OSError:
                _end_cut_off(connection, pipe)

    code = 0
    try:
        _serve(connection, pipe, config, send, log, recorder)
    except UserError as error:
        send(WorkerFailed(config.worker, str(error)))
        code = 1
    except BaseException as error:  # the user's setup may raise anything
        failure = describe(error)
        send(WorkerFailed(config.worker, f"{failure.type}: {failure.message}"))
        code = 1
    os._exit(code)


def _serve(
    connection: Connection,
    pipe: tuple[int, int] | None,
    config: WorkerConfig,
    send: Callable[[Report], None],
    log: JobLog,
    recorder: FlightRecorder,
) -> None:
    if config.processors is not None:
        limit_native_threads(config.processors)
    job = load_reference(config.job)
    join_logging(log)
    config = replace(config, params=unpack_params(job, config.packed_params))
    settle_garbage_collection()
    worker = Worker(config, job, send, log, recorder)
    worker.on_broken = lambda error: _end_broken(error, config.worker, send)
    worker.start()
    try:
        while worker.obey(receive_message(connection)):
            pass
    except (EOFError, OSError):
        _end_cut_off(connection, pipe)
    except UserError:
        raise
    except BaseException as error:
        _end_broken(error, config.worker, send)


def _identity(connection: Connection) -> tuple[int, int] | None:
    """Return what tells an open file from others; None if the connection's descriptor was closed."""
    try:
        found = os.fstat(connection.fileno())
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _end_broken(error: BaseException, worker: int, send: Callable[[Report], None]) -> NoReturn:
    """End because this process cannot do its own work any more; the item that changed it is found by the deaths."""
    try:
        text = f"{BROKEN}: {type(error).__name__}: {error}"
        send(LogLines(worker, (LogLine(time.time(), "ERROR", text, worker=worker),)))
    finally:
        os._exit(BROKEN_EXIT)


def _end_cut_off(connection: Connection, pipe: tuple[int, int] | None) -> NoReturn:
    """End because no message passes: a function has closed the descriptor, or else the program was killed."""
    if _identity(connection) != pipe:
        os._exit(DESCRIPTORS_EXIT)
    _end_with_children()


def _end_with_children() -> NoReturn:
    """End this process and those that items have started, because the program was killed."""
    if os.getpgrp() == os.getpid():  # as `_detach` makes it, where that is possible
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _detach(output: int) -> None:
    """Leave the terminal alone, and make sure to die with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.setsid()
    take_signals_again()
    TERMINAL_GUARD.forget()
    if sys.platform == "linux":
        # The end of the pipe is noticed too, but not while the user's code keeps the interpreter for itself.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _let_parent_end()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


def _let_parent_end() -> None:
    """Close this worker's end of the pipe that keeps the server alive which it was forked from.

    multiprocessing gives every process such an end, so the server, whose death is to end the workers, would outlive the
    program as long as a worker does. One that the job itself needs is started anew.
    """
    server = forkserver._forkserver
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        setattr(server, "_forkserver_alive_fd", None)  # noqa: B010 - the type stubs do not know it


def _redirect_output(worker: int, redact: Redaction) -> JobLog:
    """Make everything that Python code prints go to the log, which is returned."""
    log = JobLog(worker, redact)
    sys.stdout = JobStream(log, "INFO", None, 1)
    sys.stderr = JobStream(log, "WARNING", None, 2)
    return log
