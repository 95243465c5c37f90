"""Standard input, output and error of the program, also where some of them are closed."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO


def prepare_streams() -> None:
    """Make sure that there is something to write to, and that every character can be written."""
    _fill_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        sys.stdout = _buffered(sys.stdout)


def _buffered(stream: TextIO) -> TextIO:
    """A stream to the same place that writes all it is given.

    With PYTHONUNBUFFERED Python drops the rest of what the system takes only in part: when the program is stopped and
    goes on (Ctrl-Z) while a pipe is full, when a disk has no more room, and beyond 2 GB.
    """
    return open(stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, closefd=False)


def _fill_descriptors() -> None:
    """Let no file that is opened later, the database even, get a number that is written to as standard output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def discard_output(stream: TextIO | None = None) -> None:
    """Lead a stream that nobody reads or that takes nothing to nowhere: Python would complain when it flushes at exit.

    Args:
        stream: the stream; None for standard output.
    """
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def columns(stream: TextIO) -> int:
    """Return the width of the terminal that a stream leads to; 80 where it is not known."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
