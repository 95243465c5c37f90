"""What happens when the terminal goes away: a lost SSH connection, a closed window.

The run must not go with it. The kernel says so with SIGHUP, and from then on reading and writing fail; a program that
keeps trying uses a whole core for nothing. So whatever leads to the terminal is led to nowhere instead.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import termios
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

LOST = "the terminal is gone; the run goes on without it"
"""What the log says of it."""

Handler = Callable[[int, FrameType | None], None]


def is_lost(descriptor: int = 0) -> bool:
    """Whether a terminal that this descriptor leads to is gone; false for a file, a pipe or a live terminal."""
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
