"""Restores the terminal when the program that showed a screen on it was killed.

After SIGKILL, the terminal still shows the alternate screen and reports the mouse, without echo and Ctrl-C. The fork
server outlives the program by a moment and restores it. Server and program share a page of memory, because one was
forked from the other. In that page the program stores whether it shows a screen.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import termios

_PUT_BACK = (
    b"\x1b[<u"  # disables kitty's keyboard protocol
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l"  # disables mouse reports
    b"\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # disables reports of focus, pastes and size
    b"\x1b[?2026l\x1b[?7h\x1b[0m\x1b[?1049l\x1b[?25h"  # frames off, wrapping on, no colours, main screen, cursor on
)
"""Control sequences that undo what a screen has changed."""
_LOCAL_FLAGS = 3
"""Index of the local modes in the list that `termios.tcgetattr` returns."""
_SET_BY_SHELLS = termios.ECHO | termios.ICANON | termios.ISIG
"""Local modes that a shell sets while it reads a line, and that a screen clears."""


class TerminalGuard:
    """The terminal of this program, its modes before a screen was shown, and a flag for a screen that is shown."""

    def __init__(self) -> None:
        self._shown = mmap.mmap(-1, mmap.PAGESIZE)  # shared with processes that are forked later
        self._descriptor = -1
        self._attributes: list[int | list[bytes | int]] | None = None

    def remember(self) -> None:
        """Store the current modes of the terminal, if there is one. Call it before the fork server is forked."""
        for descriptor in (1, 0, 2):
            with contextlib.suppress(OSError, termios.error):  # this stream is not a terminal
                self._attributes = termios.tcgetattr(descriptor)
                self._descriptor = os.dup(descriptor)
                return

    def shows(self, screen: bool) -> None:
        """Store in the shared page whether the program shows a screen."""
        self._shown[0] = screen

    def forget(self) -> None:
        """Close the terminal's descriptor in a worker, which must not restore it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def put_back(self) -> None:
        """Restore the terminal if a screen is still shown. The fork server calls it when the program has ended."""
        if not self._shown[0] or self._descriptor < 0 or self._attributes is None:
            return
        # otherwise the system stops a background process that changes its terminal
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with contextlib.suppress(OSError, termios.error):  # the terminal itself is gone
            os.write(self._descriptor, _PUT_BACK)
            # If a shell has already regained the terminal, it has set its own modes to read a line; leave them.
            local = termios.tcgetattr(self._descriptor)[_LOCAL_FLAGS]
            if isinstance(local, int) and not local & _SET_BY_SHELLS:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)


TERMINAL_GUARD = TerminalGuard()
"""The only guard; the fork server inherits it by the fork."""
