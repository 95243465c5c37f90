"""Runs workers on this machine for a run on another one: `python -m tui_runner.engine.host [BYTES]`.

BYTES is what each worker may have, at most. The code of the job is written into the current folder.

Commands come in frames on standard input, reports go in frames to standard output (`backends/frames.py`). The host
ends, and all of its workers with it, when standard input does.

It is a process of its own beside what has started it, a Dask worker say: items that keep the interpreter to themselves
would hold up that one's heartbeats, and its daemonic processes may have no children.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from tui_runner.engine.backends.code import Bundle
from tui_runner.engine.backends.frames import pack_report, read_frames, unpack_command, write_frame
from tui_runner.engine.backends.process import ProcessBackend
from tui_runner.engine.protocol import Report, WorkerConfig

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Be a host until standard input ends."""
    commands, reports = _own_streams()
    _end_with_parent()
    sending = threading.Lock()

    def deliver(report: Report) -> None:
        frame = pack_report(report)
        with sending, contextlib.suppress(OSError, ValueError):  # the reader is gone: the end of commands tells us
            write_frame(reports, frame)

    backend = ProcessBackend(deliver)
    bundle: Bundle | None = None
    most_memory = int(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        for frame in read_frames(commands):
            kind, content = unpack_command(frame)
            match kind:
                case "code":
                    content.write(Path.cwd())
                    bundle = content
                case "start":
                    backend.start_worker(content if bundle is None else _at_this_host(content, bundle, most_memory))
                case "send":
                    backend.send(*content)
                case "kill":
                    backend.kill_worker(content)
    finally:
        backend.close()
        os._exit(0)


def _at_this_host(config: WorkerConfig, bundle: Bundle, most_memory: int | None) -> WorkerConfig:
    """Return a worker's configuration with the copy of the job that is here, and what memory there is."""
    bounds = [bound for bound in (config.max_memory, most_memory) if bound is not None]
    job = bundle.reference(config.job, Path.cwd())
    return replace(config, job=job, max_memory=min(bounds, default=None), processors=None)


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Take standard input and output away from whatever else this process loads."""
    commands, reports = os.fdopen(os.dup(0), "rb", 1 << 20), os.fdopen(os.dup(1), "wb", 1 << 20)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return commands, reports


def _end_with_parent() -> None:
    """Be killed when the process that started this one ends, however it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
