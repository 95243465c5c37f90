"""Standard input, output and error of the program, also where some of them are closed."""

from __future__ import annotations

import contextlib
import os
import sys


def prepare_streams() -> None:
    """Make sure that there is something to write to, and that every character can be written."""
    _fill_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _fill_descriptors() -> None:
    """Let no file that is opened later, the database even, get a number that is written to as standard output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def discard_output() -> None:
    """Nobody reads our output any more, or nothing can be written: Python would complain when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
