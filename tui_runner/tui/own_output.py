"""What this process itself prints while a screen has the terminal.

Jobs run in workers, but they are loaded, make their items and are tried here: what they print, what native code and
the programs that they start write to the descriptors 1 and 2, must neither get over the screen nor steer the terminal.
All of it becomes lines of a log.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from typing import Any

from textual.app import App, ReturnType

from tui_runner.engine.output import MAX_LINE_LENGTH, JobLog, JobStream
from tui_runner.engine.snapshot import LogLine

_SETTLED_WITHIN = 2.0
"""Seconds in which what was written has come through the pipe, however busy the machine is."""


class OwnOutput:
    """The lines that this process has printed; bounded, as those of a worker are."""

    def __init__(self) -> None:
        self._log = JobLog(None)
        self._printed = JobStream(self._log, "INFO", None)
        self._complained = JobStream(self._log, "WARNING", None)
        self._into: int | None = None
        """The end of the pipe that the descriptors lead to."""
        self._terminals: dict[int, int] = {}
        """What the descriptors were before; empty while they are."""
        self._mark = secrets.token_hex(16).encode()
        self._mark_seen = threading.Event()

    def write(self, text: str, *, complaint: bool) -> None:
        """Take what Python code prints, on standard error if it is a complaint."""
        (self._complained if complaint else self._printed).write(text)

    def take_all(self) -> tuple[tuple[LogLine, ...], int]:
        """The lines since the last call, and how many were too many to be kept."""
        return self._log.take_all()

    def catch(self) -> None:
        """Lead the descriptors 1 and 2 into the log, those that lead to a terminal."""
        terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
        if self._terminals or not terminals:
            return
        if self._into is None:
            out, self._into = os.pipe()
            # It goes on when the descriptors are given back: what a program that was started here still writes comes
            # through it as well.
            threading.Thread(target=self._read, args=(out,), name="own-output", daemon=True).start()
        with _flushed():
            for descriptor in terminals:
                self._terminals[descriptor] = os.dup(descriptor)
                os.dup2(self._into, descriptor)

    def release(self) -> None:
        """Give the descriptors back."""
        with _flushed():
            while self._terminals:
                descriptor, terminal = self._terminals.popitem()
                os.dup2(terminal, descriptor)
                os.close(terminal)

    def settle(self) -> None:
        """Wait until what was written before has become lines."""
        if self._into is None:
            return
        self._mark_seen.clear()
        with _flushed():
            os.write(self._into, self._mark + b"\n")
        self._mark_seen.wait(_SETTLED_WITHIN)

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as stream:
            while line := stream.readline(MAX_LINE_LENGTH):
                text = line.rstrip(b"\r\n")
                marked = text.endswith(self._mark)
                text = text.removesuffix(self._mark)
                if text or not marked:
                    self._log.add("WARNING", text.decode(errors="backslashreplace"))
                if marked:
                    self._mark_seen.set()


class KeepsOutput(App[ReturnType]):
    """An application beside which code of others runs in this process.

    Attributes:
        own_output: what was printed while it was shown.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.own_output = OwnOutput()

    def _print(self, text: str, stderr: bool = False) -> None:
        self.own_output.write(text, complaint=stderr)
        super()._print(text, stderr)


@contextlib.contextmanager
def _flushed() -> Iterator[None]:
    """Have what is in buffers, Python's and those of C, written to where the descriptors lead before this block."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]  # None where it was closed from the start
    ctypes.CDLL(None).fflush(None)
    yield
