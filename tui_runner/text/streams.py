"""Text streams that make text safe before they pass it on, and a byte `buffer` for text streams without one."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, TextIO

from tui_runner.text.redaction import redact
from tui_runner.text.safe_text import safe_text


class ByteStream(io.BufferedIOBase):
    """Decodes bytes and writes them to a text stream.

    Args:
        text: the text stream.
    """

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text

    def writable(self) -> bool:
        """Return True: bytes can be written."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the text stream."""
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
    """Return the part of a line that a terminal shows: after the last carriage return, which overwrites the rest.

    Progress bars redraw themselves hundreds of times in a line.
    """
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")


_LONGEST = 100_000
"""Characters without a line end that are held back at most; output without line ends must not fill memory."""


class TextStream(io.TextIOBase):
    """A text stream to write to, which replaces a standard stream of the process.

    Args:
        descriptor: the file descriptor that a program may be given as its output; None if there is none.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self.buffer = ByteStream(self)

    def writable(self) -> bool:
        """Return True: text can be written."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that a program may be given as its output."""
        return super().fileno() if self._descriptor is None else self._descriptor

    def reconfigure(self, **options: object) -> None:
        """Accept the options of `io.TextIOWrapper` and ignore them, because jobs call it to set an encoding."""


class SafeStream(TextStream):
    """Writes text to another stream, made safe by `safe_text`; line ends are kept.

    Text is passed on line by line, or at a `flush`, so that a secret is not searched for in parts.

    Args:
        target: the other stream; can be changed.
        redact: takes secrets out.
        descriptor: see `TextStream`.
    """

    def __init__(
        self, target: TextIO | io.TextIOBase, redact: Callable[[str], str] = redact, descriptor: int | None = None
    ) -> None:
        super().__init__(descriptor)
        self.target = target
        self._redact = redact
        self._begun = ""
        self._lock = threading.Lock()
        """Guards `_begun`, because several threads may write. Not held by `_pass_on`: writing to the other stream may
        block, and a signal handler that prints meanwhile would wait forever for its own thread."""

    def write(self, text: str) -> int:
        """Write the lines that `text` completes, made safe."""
        with self._lock:
            lines, end, self._begun = (self._begun + text).rpartition("\n")
        self._pass_on(lines + end)
        if len(self._begun) > _LONGEST:
            self._pass_begun_on()
        return len(text)

    def flush(self) -> None:
        """Write the unfinished line, and flush the other stream unless it is closed."""
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
