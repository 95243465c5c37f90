"""Standard input, output and error of the program, and what happens when the terminal goes away.

The run must not go with it. The kernel says so with SIGHUP, and from then on reading and writing fail; a program that
keeps trying uses a whole core for nothing. So whatever leads to the terminal is led to nowhere instead.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TextIO

LOST = "the terminal is gone; the run continues without it"
"""Text of the log about it."""

Handler = Callable[[int, FrameType | None], None]


def is_lost(descriptor: int = 0) -> bool:
    """Return True if the terminal behind this descriptor is gone; False for a file, a pipe or a live terminal."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return bool(error.args) and error.args[0] == errno.EIO
    except (OSError, ValueError):
        return False
    return False


def let_go(*others: int) -> None:
    """Lead standard input, output, error and other descriptors to nowhere, those whose terminal is gone."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2, *others):
        if is_lost(descriptor):
            os.dup2(nowhere, descriptor)
    if nowhere > 2:
        os.close(nowhere)


@contextlib.contextmanager
def signals(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Handle signals in this way meanwhile; SIGHUP is left alone where it is ignored, as `nohup` asks for."""
    taken = {
        number: handler
        for number, handler in handlers.items()
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    }
    before = {number: signal.signal(number, handler) for number, handler in taken.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepare_streams() -> None:
    """Replace a missing stream, and one that cannot write every character."""
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


def discard_output(stream: TextIO) -> None:
    """Lead a stream without a reader, or that takes nothing, to nowhere: the next flush would fail, too."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_terminal(stream: TextIO | None) -> bool:
    """Return True if a person sees what is written to `stream`, on a terminal where a line can be overwritten."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def columns(stream: TextIO) -> int:
    """Return the width of the terminal that a stream leads to; 80 where it is not known."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
