"""Workers as threads of this process, for debugging with breakpoints and for tests.

A crash of the function crashes tui-runner, and a thread that never returns stays until the process ends. Output of
native code and of child processes is captured by `captured_output.py`.
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
    """A backend that runs workers in threads of this process. See `Backend`.

    Args:
        job: the loaded job. It is used itself and not as a copy, so that breakpoints in it work.
        deliver: called with the reports.
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
        """Start a worker in a new thread.

        The first worker redirects the standard streams and `logging` of this process to its log, and `breakpoint()` to
        `_debug`.
        """
        log = JobLog(config.worker, Redaction(config.secrets))
        if self._streams is None:
            self._streams = (sys.stdout, sys.stderr)
            sys.stdout = JobStream(log, "INFO", sys.stdout)
            sys.stderr = JobStream(log, "WARNING", sys.stderr)
            self._handler = JobLogHandler(log)
            logging.getLogger().addHandler(self._handler)
            # A debugger that the user has chosen brings its own terminal or window.
            if sys.breakpointhook is sys.__breakpointhook__ and "PYTHONBREAKPOINT" not in os.environ:
                self._breakpointhook, sys.breakpointhook = sys.breakpointhook, self._debug
        orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._orders[config.worker] = orders
        # daemon: a function that hangs must not keep the program from exiting
        threading.Thread(
            target=self._run, args=(config, orders, log), name=f"worker-{config.worker}", daemon=True
        ).start()

    def send(self, worker: int, order: Order) -> None:
        """Send an order to a worker, or ignore the order if the worker is unknown."""
        if worker in self._orders:
            self._orders[worker].put(order)

    def kill_worker(self, worker: int) -> None:
        """Report a worker as lost, and drop its later reports.

        Threads cannot be killed, so the worker's threads end after their current items.
        """
        if worker in self._orders and worker not in self._killed:
            self._killed.add(worker)
            self._orders[worker].put(Drain(0.0))
            self._deliver(WorkerLost(worker, "killed"))

    def pids(self) -> Collection[int]:
        """Return no process ids, because these workers are threads of this process."""
        return ()

    def close(self) -> None:
        """Kill every worker, see `kill_worker`, and restore the standard streams of the process."""
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
        """Start pdb in the caller on the real terminal.

        `JobStream` shows only whole lines, and a prompt has no line end.
        """
        import pdb  # here, because only debugging needs it

        stream = sys.stdout if self._streams is None else self._streams[0]
        debugger = pdb.Pdb(stdout=stream)
        if header is not None:
            debugger.message(header)
        debugger.set_trace(sys._getframe(1))

    def _run(self, config: WorkerConfig, orders: queue.SimpleQueue[Order], log: JobLog) -> None:
        """Run a worker until it is drained, then report its loss; the main function of a thread."""

        def send(report: Report) -> None:
            if config.worker not in self._killed:
                self._deliver(report)

        reason = ""
        try:
            worker = Worker(config, self._job, send, log, FlightRecorder())
            worker.start()
            while worker.apply(orders.get()):
                pass
        except UserError as error:  # the job cannot run, and its message is complete
            reason = str(error)
            send(WorkerFailed(config.worker, reason))
        except BaseException as error:  # user code may raise anything
            failure = describe(error)
            reason = f"{failure.type}: {failure.message}"
            send(WorkerFailed(config.worker, reason))
        if config.worker not in self._killed:
            self._killed.add(config.worker)
            self._deliver(WorkerLost(config.worker, reason))
