"""Puts the terminal back when the program that showed a screen on it was killed.

A program that gets SIGKILL leaves the terminal on the other screen, with mouse reports, without echo and Ctrl-C. The
server that workers are forked from outlives it by a moment. It is itself forked from the program and shares a page of
memory with it, in which the program notes that it shows a screen.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import termios

_PUT_BACK = (
    b"\x1b[<u"  # the keyboard protocol of kitty
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l"  # reports of the mouse
    b"\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # of the focus, of pastes, of the size
    b"\x1b[?2026l\x1b[?7h\x1b[0m\x1b[?1049l\x1b[?25h"  # frames, long lines, colours, the other screen, the cursor
)
_LOCAL_FLAGS = 3
"""Index of the local modes in what `termios.tcgetattr` returns."""
_SET_BY_SHELLS = termios.ECHO | termios.ICANON | termios.ISIG


class TerminalGuard:
    """The terminal of this program, and whether a screen is shown on it."""

    def __init__(self) -> None:
        self._shown = mmap.mmap(-1, mmap.PAGESIZE)  # shared with processes that are forked later
        self._descriptor = -1
        self._attributes: list[int | list[bytes | int]] | None = None

    def remember(self) -> None:
        """Note how the terminal is now; nothing where there is none. Call before the server is forked."""
        for descriptor in (1, 0, 2):
            with contextlib.suppress(OSError, termios.error):
                self._attributes = termios.tcgetattr(descriptor)
                self._descriptor = os.dup(descriptor)
                return

    def shows(self, screen: bool) -> None:
        """Note that a screen is shown, or not any more."""
        self._shown[0] = screen

    def forget(self) -> None:
        """Let go of the terminal: this process is a worker, and puts nothing back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def put_back(self) -> None:
        """Put the terminal back if a screen is still shown on it; call when the program has ended."""
        if not self._shown[0] or self._descriptor < 0 or self._attributes is None:
            return
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # what is in the background may not change a terminal else
        with contextlib.suppress(OSError, termios.error):
            os.write(self._descriptor, _PUT_BACK)
            # A shell that has taken over already has modes of its own, with which it reads a line.
            local = termios.tcgetattr(self._descriptor)[_LOCAL_FLAGS]
            if isinstance(local, int) and not local & _SET_BY_SHELLS:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)


TERMINAL_GUARD = TerminalGuard()
"""Of this process, and of the server that is forked from it."""
