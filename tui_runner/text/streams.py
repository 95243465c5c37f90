"""Text streams that make text safe before they pass it on, and their byte streams (`buffer`)."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, TextIO

from tui_runner.text.redaction import redact
from tui_runner.text.safe_text import safe_text


class ByteStream(io.BufferedIOBase):
    """A byte stream that decodes what is written to it and writes the text to a text stream."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text

    def writable(self) -> bool:
        """Return True: bytes can be written."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor of the text stream."""
        return self._text.fileno()

    def write(self, data: Any) -> int:
        """Decode `data` as UTF-8 and write it."""
        view = memoryview(data)
        self._text.write(view.tobytes().decode(errors="backslashreplace"))
        return view.nbytes

    def flush(self) -> None:
        """Flush the text stream."""
        if not self._text.closed:
            self._text.flush()


def last_drawn(line: str) -> str:
    """Return the part of a line that stays visible on a terminal: after the last carriage return that text follows.

    Progress bars redraw themselves hundreds of times in a line.
    """
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")


_LONGEST = 100_000
"""Characters of an unfinished line that are collected at most, so that output without line ends does not fill the
memory."""


class TextStream(io.TextIOBase):
    """A writable text stream that replaces a standard stream of the process.

    Args:
        descriptor: the file descriptor that a child process may use for its output; None if there is none.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self.buffer = ByteStream(self)

    def writable(self) -> bool:
        """Return True: text can be written."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor that a child process may use for its output. Raise `OSError` if there is none."""
        return super().fileno() if self._descriptor is None else self._descriptor

    def reconfigure(self, **options: object) -> None:
        """Accept the options of `io.TextIOWrapper` and ignore them, because jobs call it to set an encoding."""


class SafeStream(TextStream):
    """A stream that writes text to another stream, made safe by `safe_text`. Line ends are not changed.

    Only whole lines are passed on, unless `flush` is called, because part of a secret would not be recognised.

    Args:
        target: the other stream; this attribute may be changed.
        redact: replaces secrets.
        descriptor: the file descriptor that a child process may use for its output; None if there is none.
    """

    def __init__(
        self, target: TextIO | io.TextIOBase, redact: Callable[[str], str] = redact, descriptor: int | None = None
    ) -> None:
        super().__init__(descriptor)
        self.target = target
        self._redact = redact
        self._begun = ""
        self._lock = threading.Lock()
        """Protects `_begun`, because several threads may write. `_pass_on` must not hold it: writing to the other
        stream may block, and a signal handler that prints meanwhile would wait forever for its own thread."""

    def write(self, text: str) -> int:
        """Write the lines that `text` completes, made safe. The unfinished last line is written later."""
        with self._lock:
            lines, end, self._begun = (self._begun + text).rpartition("\n")
        self._pass_on(lines + end)
        if len(self._begun) > _LONGEST:
            self._pass_begun_on()
        return len(text)

    def flush(self) -> None:
        """Write the unfinished line and flush the other stream. Do nothing if that stream is closed."""
        if self.target.closed:
            return
        self._pass_begun_on()
        self.target.flush()

    def _pass_begun_on(self) -> None:
        with self._lock:
            begun, self._begun = self._begun, ""
        self._pass_on(begun)

    def _pass_on(self, text: str) -> None:
        if text:
            self.target.write(safe_text(self._redact(text), newlines=True))
