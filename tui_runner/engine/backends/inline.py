"""Workers as threads of this process: for debugging with breakpoints, and for tests.

A crash of the function is a crash of tui-runner here, and a thread that never returns stays until the end. The
interface (`captured_output.py`) catches output of native code and of child processes on descriptors 1 and 2.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Collection
from typing import TextIO

from tui_runner.engine.backends import Deliver
from tui_runner.engine.protocol import Drain, Order, Report, WorkerConfig, WorkerFailed, WorkerLost
from tui_runner.engine.worker.flight_recorder import FlightRecorder
from tui_runner.engine.worker.job_output import JobLog, JobLogHandler, JobStream
from tui_runner.engine.worker.worker import Worker
from tui_runner.errors import UserError
from tui_runner.jobs.job import Job
from tui_runner.text.describe import describe
from tui_runner.text.redaction import Redaction


class InlineBackend:
    """Runs workers in threads. See `Backend`.

    Args:
        job: the job, loaded: the very objects of this process, so that breakpoints in it work.
        deliver: takes reports.
    """

    def __init__(self, job: Job, deliver: Deliver) -> None:
        self._job = job
        self._deliver = deliver
        self._orders: dict[int, queue.SimpleQueue[Order]] = {}
        self._killed: set[int] = set()
        self._streams: tuple[TextIO, TextIO] | None = None
        self._handler: JobLogHandler | None = None
        self._breakpointhook: Callable[..., object] | None = None

    def start_worker(self, config: WorkerConfig) -> None:
        """Start a worker in a thread of its own."""
        log = JobLog(config.worker, Redaction(config.secrets))
        if self._streams is None:
            self._streams = (sys.stdout, sys.stderr)
            sys.stdout = JobStream(log, "INFO", sys.stdout)
            sys.stderr = JobStream(log, "WARNING", sys.stderr)
            self._handler = JobLogHandler(log)
            logging.getLogger().addHandler(self._handler)
            # A debugger of the user's choice has its own terminal or window.
            if sys.breakpointhook is sys.__breakpointhook__ and "PYTHONBREAKPOINT" not in os.environ:
                self._breakpointhook, sys.breakpointhook = sys.breakpointhook, self._debug
        orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._orders[config.worker] = orders
        threading.Thread(
            target=self._run, args=(config, orders, log), name=f"worker-{config.worker}", daemon=True
        ).start()

    def send(self, worker: int, order: Order) -> None:
        """Pass an order on."""
        if worker in self._orders:
            self._orders[worker].put(order)

    def kill_worker(self, worker: int) -> None:
        """Drop a worker and every later report of it; its threads end with their items."""
        if worker in self._orders and worker not in self._killed:
            self._killed.add(worker)
            self._orders[worker].put(Drain(0.0))
            self._deliver(WorkerLost(worker, "killed"))

    def pids(self) -> Collection[int]:
        """Return nothing: these workers are threads."""
        return ()

    def close(self) -> None:
        """Drop every worker, and give the process its output streams back."""
        for worker in list(self._orders):
            self.kill_worker(worker)
        if self._streams is not None:
            sys.stdout, sys.stderr = self._streams
            self._streams = None
            if self._handler is not None:
                logging.getLogger().removeHandler(self._handler)
            if self._breakpointhook is not None:
                sys.breakpointhook = self._breakpointhook

    def _debug(self, *, header: str | None = None) -> None:
        """Stop the caller in pdb, past the log: a prompt is no whole line, and its answers are for the terminal."""
        import pdb  # loaded for debugging only

        stream = sys.stdout if self._streams is None else self._streams[0]
        debugger = pdb.Pdb(stdout=stream)
        if header is not None:
            debugger.message(header)
        debugger.set_trace(sys._getframe(1))

    def _run(self, config: WorkerConfig, orders: queue.SimpleQueue[Order], log: JobLog) -> None:
        def send(report: Report) -> None:
            if config.worker not in self._killed:
                self._deliver(report)

        reason = ""
        try:
            worker = Worker(config, self._job, send, log, FlightRecorder())
            worker.start()
            while worker.obey(orders.get()):
                pass
        except UserError as error:
            reason = str(error)
            send(WorkerFailed(config.worker, reason))
        except BaseException as error:  # the user's code may raise anything
            failure = describe(error)
            reason = f"{failure.type}: {failure.message}"
            send(WorkerFailed(config.worker, reason))
        if config.worker not in self._killed:
            self._killed.add(config.worker)
            self._deliver(WorkerLost(config.worker, reason))
