"""Runs workers on this machine for a run on another one: `python -m tui_runner.engine.remote_host [BYTES]`.

BYTES is the memory limit of all workers together. The code of the job is written into the current folder.

Commands arrive in frames on standard input, reports leave in frames on standard output (`backends/frames.py`). When
standard input ends, the host process and all of its workers end.

The host process is separate from the Dask worker that starts it, for two reasons. Items that hold the interpreter lock
would delay the Dask worker's heartbeats. And a Dask worker is a daemonic process, which may not have child processes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from tui_runner.engine.backends.code import Bundle
from tui_runner.engine.backends.frames import pack_report, read_frames, unpack_command, write_frame
from tui_runner.engine.backends.process import ProcessBackend
from tui_runner.engine.protocol import Report, SetMaxMemory, WorkerConfig, WorkerLost

_PR_SET_PDEATHSIG = 1
"""Number of the `prctl` option in Linux's `<sys/prctl.h>`; Python has no name for it."""


def main() -> None:
    """Run a host process until standard input ends, then exit the process."""
    commands, reports = _own_streams()
    _end_with_parent()
    # Several threads of the backend report at once, and frames must not be interleaved.
    sending = threading.Lock()

    def deliver(report: Report) -> None:
        frame = pack_report(report)
        # If the reader is gone, standard input ends as well, and the loop below with it.
        with sending, contextlib.suppress(OSError, ValueError):
            write_frame(reports, frame)

    def received(report: Report) -> None:
        deliver(report)
        if isinstance(report, WorkerLost):
            share(memory.without(report.worker))

    def share(orders: Mapping[int, SetMaxMemory]) -> None:
        for worker, order in orders.items():
            backend.send(worker, order)

    backend = ProcessBackend(received)
    bundle: Bundle | None = None
    memory = MemoryShares(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    try:
        for frame in read_frames(commands):
            kind, content = unpack_command(frame)
            match kind:
                case "code":
                    content.write(Path.cwd())
                    bundle = content
                case "start":
                    share(memory.beside(content.worker))
                    backend.start_worker(_at_this_host(content, bundle, memory.share))
                case "send":
                    backend.send(*content)
                case "kill":
                    backend.kill_worker(content)
    finally:
        backend.close()
        os._exit(0)  # threads that serve workers may still block, and must not keep the host process alive


class MemoryShares:
    """The memory that a host process may use, divided among its workers.

    A draining worker keeps its share until it has ended.

    Args:
        most: bytes for all workers together; None for no limit.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._workers: set[int] = set()
        self._guard = threading.Lock()
        """Guards `_workers`, which the main loop and the backend's reports change in different threads."""

    @property
    def share(self) -> int | None:
        """The bytes that each worker may use; None for no limit."""
        return None if self._most is None else self._most // max(1, len(self._workers))

    def beside(self, worker: int) -> dict[int, SetMaxMemory]:
        """Count `worker`, which is about to start.

        Return the orders that shrink the shares of the other workers. They must be sent before `worker` starts.
        """
        with self._guard:
            orders = self._orders({*self._workers, worker})
            orders.pop(worker, None)
            return orders

    def without(self, worker: int) -> dict[int, SetMaxMemory]:
        """Remove a worker that has ended. Return the orders that enlarge the shares of the others."""
        with self._guard:
            return self._orders(self._workers - {worker})

    def _orders(self, workers: set[int]) -> dict[int, SetMaxMemory]:
        self._workers = workers
        return {} if self._most is None else dict.fromkeys(workers, SetMaxMemory(self.share))


def _at_this_host(config: WorkerConfig, bundle: Bundle | None, share: int | None) -> WorkerConfig:
    """Return a worker's configuration with this machine's copy of the job, if it was sent, and its memory limit.

    The memory limit is `share`, unless the run's own limit is lower.
    """
    if share is not None:
        config = replace(config, max_memory=share if config.max_memory is None else min(share, config.max_memory))
    if bundle is None:
        return config
    return replace(config, job=bundle.reference(config.job, Path.cwd()), processors=None)


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return binary standard input and output, and replace both by /dev/null, so that no print damages a frame."""
    commands, reports = os.fdopen(os.dup(0), "rb", 1 << 20), os.fdopen(os.dup(1), "wb", 1 << 20)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return commands, reports


def _end_with_parent() -> None:
    """Make Linux kill this process when its parent ends, and start a session, so that Ctrl-C does not reach it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # this process leads a session already
        os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
