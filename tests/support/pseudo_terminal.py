"""A program on a pseudo-terminal: what it wrote, and keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_PATIENCE = 30.0
_SEQUENCE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\)|\x1b[=>()][0-9A-B]?", re.DOTALL)


def terminal_environment(folder: Path) -> dict[str, str]:
    """Return the variables of a program on a terminal of many colours, which keeps its state in `folder`."""
    environ = os.environ | {
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "XDG_STATE_HOME": str(folder),
    }
    for name in ("NO_COLOR", "COLUMNS", "LINES", "SSH_CONNECTION", "TMUX", "TMUX_PANE"):
        environ.pop(name, None)
    return environ


class PseudoTerminal:
    """Runs `tui-runner` on a pseudo-terminal.

    Args:
        arguments: of the command line.
        folder: where it runs.
        size: columns and lines of the terminal.
        errors: a file for standard error; None for the terminal.
        program: what is started, with the arguments behind it.
    """

    def __init__(
        self,
        arguments: list[str],
        folder: Path,
        size: tuple[int, int] = (120, 40),
        errors: Path | None = None,
        program: Sequence[str] = (sys.executable, "-m", "tui_runner"),
    ) -> None:
        self._master, slave = pty.openpty()
        self._set_size(size)
        environ = terminal_environment(folder)
        self._output = bytearray()
        error_output = slave if errors is None else os.open(errors, os.O_WRONLY | os.O_CREAT)
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            env=environ,
            stdin=slave,
            stdout=slave,
            stderr=error_output,
            start_new_session=True,
        )
        for descriptor in {slave, error_output}:
            os.close(descriptor)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Each call is short: while one reads, closing the descriptor does not close the terminal.
        while (master := self._master) >= 0:
            try:
                if not select.select([master], [], [], 0.05)[0]:
                    continue
                data = os.read(master, 65536)
            except (OSError, ValueError):  # closed here, or at the other end
                return
            if not data:
                return
            self._output += data

    @property
    def output(self) -> bytes:
        """Every byte so far."""
        return bytes(self._output)

    def text(self, since: int = 0) -> str:
        """Return what was written after this byte, without sequences, in the order of writing."""
        return _SEQUENCE.sub(b"", self.output[since:]).decode(errors="replace")

    def press(self, keys: str) -> int:
        """Press keys. Return the present length of the output."""
        return self.send(keys.encode())

    def send(self, data: bytes) -> int:
        """Send bytes as the terminal does. Return the present length of the output."""
        place = len(self._output)
        os.write(self._master, data)
        return place

    def modes(self) -> int:
        """Return the local modes of the terminal: echo, lines, signals."""
        flags: int = termios.tcgetattr(self._master)[3]
        return flags & (termios.ECHO | termios.ICANON | termios.ISIG)

    def resize(self, size: tuple[int, int]) -> None:
        """Give the terminal other columns and lines, and say so."""
        self._set_size(size)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def _set_size(self, size: tuple[int, int]) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def shows(self, text: str, since: int = 0) -> None:
        """Wait until this was written after the byte `since`."""
        self.until(lambda: text in self.text(since), f"{text!r} on the screen")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.02)
        raise AssertionError(f"no {what}; last output: {self.text()[-8000:]!r}")

    def exit_code(self) -> int:
        """Wait for the end."""
        code = self.process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        return code

    def hang_up(self, *, signalled: bool) -> None:
        """Take the terminal away, as a lost connection does; a shell sends SIGHUP to all that it has started."""
        self._close_master()
        if signalled:
            os.killpg(self.process.pid, signal.SIGHUP)

    def close(self) -> None:
        """Kill what is left."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self._master >= 0:
            self._close_master()

    def _close_master(self) -> None:
        master, self._master = self._master, -1
        # End the reader first. The next terminal may get the same descriptor, of which this reader would take a part.
        self._reader.join(_PATIENCE)
        os.close(master)
