"""Restores the terminal when the program that showed a screen on it was killed.

After SIGKILL, the terminal stays on the alternate screen, with mouse reports, without echo and Ctrl-C. The fork server
outlives the program by a moment. The server was forked from the program and shares a page of memory with it. There the
program notes that it shows a screen.
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
"""Control sequences that undo the modes of a screen."""
_LOCAL_FLAGS = 3
"""Index of the local modes in the result of `termios.tcgetattr`."""
_SET_BY_SHELLS = termios.ECHO | termios.ICANON | termios.ISIG
"""Local modes that a shell has set while it reads a line, and that a screen has cleared."""


class TerminalGuard:
    """The terminal of this program, and whether the program shows a screen on it."""

    def __init__(self) -> None:
        self._shown = mmap.mmap(-1, mmap.PAGESIZE)  # shared with processes forked later
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
        """Note whether the program shows a screen."""
        self._shown[0] = screen

    def forget(self) -> None:
        """Close the terminal's descriptor in a worker, which must not restore it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def put_back(self) -> None:
        """Restore the terminal if a screen is still shown. Called by the fork server when the program has ended."""
        if not self._shown[0] or self._descriptor < 0 or self._attributes is None:
            return
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # otherwise a background process may not change a terminal
        with contextlib.suppress(OSError, termios.error):  # the terminal itself is gone
            os.write(self._descriptor, _PUT_BACK)
            # If a shell has already taken over, it has set its own modes to read a line; keep them.
            local = termios.tcgetattr(self._descriptor)[_LOCAL_FLAGS]
            if isinstance(local, int) and not local & _SET_BY_SHELLS:
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)


TERMINAL_GUARD = TerminalGuard()
"""The guard of this process and of the fork server."""
