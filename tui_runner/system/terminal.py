"""Standard input, output and error of the program, and the handling of a terminal that disappears.

A run continues without its terminal. When the terminal disappears, the kernel sends SIGHUP, and from then on reading
and writing fail. A program that keeps trying uses a whole processor for nothing. So every descriptor of the terminal is
redirected to /dev/null.
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

from tui_runner.text.plain_characters import PLAIN

LOST = "the terminal is gone; the run continues without it"
"""Log message for a terminal that has disappeared."""

Handler = Callable[[int, FrameType | None], None]


def is_lost(descriptor: int = 0) -> bool:
    """Return True if the terminal of a descriptor has disappeared; False for a file, a pipe or a live terminal."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return bool(error.args) and error.args[0] == errno.EIO
    except (OSError, ValueError):  # no terminal, or the stream is closed
        return False
    return False


def detach(*others: int) -> None:
    """Redirect descriptors to /dev/null if their terminal is gone: standard input, output and error, and `others`."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2, *others):
        if is_lost(descriptor):
            os.dup2(nowhere, descriptor)
    if nowhere > 2:
        os.close(nowhere)


@contextlib.contextmanager
def signals(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Install signal handlers for the duration of a `with` block. An ignored SIGHUP (`nohup`) stays ignored."""
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
    """Replace missing standard streams, and make standard output and error accept every character."""
    _fill_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell has closed it (`>&-`)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAIN if name == "stderr" else "backslashreplace")
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        sys.stdout = _buffered(sys.stdout)


def _buffered(stream: TextIO) -> TextIO:
    """Return a buffered stream to the same descriptor as `stream`, which writes all of its text.

    With PYTHONUNBUFFERED, Python discards the rest of a text when the system accepts only a part of it. That happens
    when the program is stopped and continued (Ctrl-Z) while a pipe is full, when a disk is full, and beyond 2 GB.
    """
    return open(stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, closefd=False)


def _fill_descriptors() -> None:
    """Open /dev/null on unused descriptors up to 2. Otherwise a file opened later (the database!) becomes stdout."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def discard_output(stream: TextIO) -> None:
    """Redirect a stream that cannot be written any more to /dev/null, because its next flush would fail, too."""
    with contextlib.suppress(OSError, ValueError):  # the stream has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_terminal(stream: TextIO | None) -> bool:
    """Return True if `stream` is a terminal whose current line can be overwritten."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def needs_screen(what: str) -> str:
    """Return the reason why `what`, such as "the launcher", is not shown where `is_terminal` returned False."""
    if os.environ.get("TERM") == "dumb":
        return f"{what} needs a terminal that shows a screen, but TERM is dumb"
    return f"{what} needs a terminal"


def columns(stream: TextIO) -> int:
    """Return the width of the terminal of a stream in columns; 80 if unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):  # no terminal
        return 80
