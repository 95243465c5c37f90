"""Workers as processes of this machine: the default backend.

They are forked from a fork server that has loaded the modules every worker needs (a start takes about 5 ms), or spawned
where forking is not possible. Each worker has a pipe for orders and reports, a pipe for its output, and shared memory
in which it records the items in flight. Four threads of this process serve each worker: one sends, one receives, one
reads the output, one waits for the worker's end. The end of the pipe does not show the end of the worker, because a
process that the job has forked keeps the pipe open.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Collection
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from tui_runner.engine.backends import Deliver
from tui_runner.engine.backends.worker_process import Descriptor, main
from tui_runner.engine.protocol import EXIT_REASONS, LogLine, LogLines, Order, WorkerConfig, WorkerLost
from tui_runner.engine.worker.flight_recorder import FlightRecorder, open_memory
from tui_runner.engine.worker.job_output import MAX_LINE_LENGTH
from tui_runner.engine.worker_pipe import receive_message, send_message
from tui_runner.system.fork_server import prepare_child_start, process_context
from tui_runner.text.redaction import Redaction
from tui_runner.text.streams import last_drawn

_EXIT_SECONDS = 5.0
"""Seconds from the moment at which a worker closes its pipe until it is killed. A normal exit takes milliseconds."""
_MAX_LINES_A_SECOND = 2_000
"""Most lines of native code's output that are logged per second. Further lines are dropped and counted in the log,
because a flood of output must not slow the run down."""


class _WorkerProcess:
    """One worker process, and the threads that communicate with it."""

    def __init__(self, context: ForkServerContext | SpawnContext, config: WorkerConfig, deliver: Deliver) -> None:
        self._number = config.worker
        self._redact = Redaction(config.secrets)
        self._deliver = deliver
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._connection, theirs = context.Pipe()
        output, their_output = os.pipe()
        memory = open_memory()
        self._recorder = FlightRecorder(memory)
        self._killed = ""
        self._ended = threading.Event()
        """Set when `_watch` no longer needs the connection's descriptor."""
        try:
            with prepare_child_start():
                self._process: BaseProcess = context.Process(
                    target=main,
                    args=(theirs, replace(config, params={}), Descriptor(their_output), Descriptor(memory)),
                    daemon=True,  # multiprocessing ends it when the program exits
                )
                self._process.start()
        except BaseException:  # the caller tries again by spawning; do not leak descriptors
            os.close(output)
            self._connection.close()
            self._recorder.close()
            raise
        finally:
            theirs.close()
            os.close(their_output)
            os.close(memory)
        name = f"worker-{self._number}"
        # daemon: each of the four threads blocks in a call that returns only when the worker ends
        self._reader = threading.Thread(target=self._read_output, args=(output,), name=f"{name}-output", daemon=True)
        for thread in (
            self._reader,
            threading.Thread(target=self._send_orders, name=f"{name}-orders", daemon=True),
            threading.Thread(target=self._receive, name=f"{name}-reports", daemon=True),
            threading.Thread(target=self._watch, args=(self._connection.fileno(),), name=f"{name}-end", daemon=True),
        ):
            try:
                thread.start()
            except RuntimeError:  # the system refuses another thread
                self.kill()
                raise

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def send(self, order: Order) -> None:
        """Queue an order for the sending thread."""
        self._orders.put(order)

    def kill(self, reason: str = "killed by tui-runner") -> None:
        """Kill the process and the processes that it has started."""
        self._killed = self._killed or reason
        # The worker leads a process group that also contains the job's child processes.
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()

    def _send_orders(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                send_message(self._connection, order)
            except OSError:  # the worker has ended; `_receive` reports it
                return

    def _receive(self) -> None:
        """Deliver reports until the connection ends, then report the worker as lost; the main function of a thread.

        A worker that sends an unreadable report or lives on without its connection is killed.
        """
        try:
            while True:
                self._deliver(receive_message(self._connection))
        except (EOFError, OSError):
            pass  # the worker has ended, or closed its connection
        except BaseException as error:  # a truncated message, or one that cannot be unpickled
            self._deliver_line("ERROR", f"a report of worker {self._number} cannot be read: {error!r}")
            self.kill("killed because one of its reports could not be read")
        self._orders.put(None)
        self._process.join(_EXIT_SECONDS)
        if self._process.exitcode is None:
            self.kill("killed because it closed its connection")
            self._process.join()
        # `_watch` must not use the descriptor after it is closed, because its number may belong to another file then.
        self._ended.wait()
        self._connection.close()
        # The worker's last output should be logged before its end. Wait at most a second, because a child process may
        # keep the pipe open.
        self._reader.join(1.0)
        in_flight = self._recorder.read()
        self._recorder.close()
        self._deliver(WorkerLost(self._number, self._reason(), in_flight))

    def _watch(self, connection: int) -> None:
        """Wait for the end of the process, then end the receiving thread after the reports still in the pipe."""
        wait([self._process.sentinel])
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection)) as pipe:  # the process has ended
            pipe.shutdown(socket.SHUT_RDWR)
        # Processes that the job has forked are useless now. Processes in another process group are left alone.
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self._ended.set()

    def _reason(self) -> str:
        """Return the reason why the process has ended; empty if it was not killed and its exit code is 0."""
        code = self._process.exitcode
        if self._killed:
            return self._killed
        if not code:
            return ""
        if code < 0:
            with contextlib.suppress(ValueError):  # a real-time signal, which Python has no name for
                return f"killed by {signal.Signals(-code).name}"
        return EXIT_REASONS.get(code, f"ended with exit code {code}")

    def _read_output(self, descriptor: int) -> None:
        """Log output of native code, at most `_MAX_LINES_A_SECOND`; the main function of a thread."""
        second, passed, dropped = 0, 0, 0
        with os.fdopen(descriptor, "rb") as stream:
            while line := stream.readline(MAX_LINE_LENGTH):
                now = int(time.monotonic())
                if now != second:
                    if dropped:
                        self._deliver(LogLines(self._number, (), dropped))
                    second, passed, dropped = now, 0, 0
                passed += 1
                if passed > _MAX_LINES_A_SECOND:
                    dropped += 1
                    continue
                self._deliver_line("WARNING", last_drawn(line.decode(errors="backslashreplace").rstrip("\r\n")))
        if dropped:
            self._deliver(LogLines(self._number, (), dropped))

    def _deliver_line(self, level: str, text: str) -> None:
        line = LogLine(time.time(), level, self._redact(text), worker=self._number)
        self._deliver(LogLines(self._number, (line,)))


class ProcessBackend:
    """A backend that runs workers in processes of this machine. See `Backend`."""

    def __init__(self, deliver: Deliver) -> None:
        self._context: ForkServerContext | SpawnContext = process_context()
        self._deliver = deliver
        self._workers: dict[int, _WorkerProcess] = {}

    def start_worker(self, config: WorkerConfig) -> None:
        """Start a worker process. If that fails, deliver `WorkerLost`."""
        try:
            worker = self._new_worker(config)
        except (OSError, EOFError, RuntimeError) as error:  # out of memory, processes, files or threads
            strerror = getattr(error, "strerror", None)
            reason = strerror.lower() if strerror else str(error) or type(error).__name__
            self._deliver(WorkerLost(config.worker, f"could not be started ({reason})"))
        else:
            self._workers[config.worker] = worker

    def _new_worker(self, config: WorkerConfig) -> _WorkerProcess:
        try:
            return _WorkerProcess(self._context, config, self._received)
        except (OSError, EOFError):
            # The fork server cannot be reached: its socket's path is too long or was removed, or the server died before
            # it had forked the worker. Spawning needs no server. If there is another cause, such as a lack of processes
            # or files, spawning fails as well.
            self._context = multiprocessing.get_context("spawn")
            return _WorkerProcess(self._context, config, self._received)

    def send(self, worker: int, order: Order) -> None:
        """Send an order to a worker, or ignore the order if the worker is unknown."""
        process = self._workers.get(worker)
        if process is not None:
            process.send(order)

    def kill_worker(self, worker: int) -> None:
        """Kill a worker process and its children."""
        process = self._workers.get(worker)
        if process is not None:
            process.kill()

    def pids(self) -> Collection[int]:
        """Return the process ids of the workers that are alive."""
        return [process.pid for process in list(self._workers.values())]

    def close(self) -> None:
        """Kill the remaining workers."""
        for process in list(self._workers.values()):
            process.kill()

    def _received(self, report: Any) -> None:
        if isinstance(report, WorkerLost):
            self._workers.pop(report.worker, None)
        self._deliver(report)
