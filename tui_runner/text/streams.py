"""Text streams whose text is made safe on its way, and the `buffer` of those that have no bytes beneath them."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, TextIO

from tui_runner.text.redaction import redact
from tui_runner.text.safe_text import safe_text


class ByteStream(io.BufferedIOBase):
    """Takes bytes and writes the text that they are.

    Args:
        text: where to.
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
        """Write `data` as the UTF-8 that it should be."""
        view = memoryview(data)
        self._text.write(view.tobytes().decode(errors="backslashreplace"))
        return view.nbytes

    def flush(self) -> None:
        """Flush the text stream."""
        if not self._text.closed:
            self._text.flush()


def last_drawn(line: str) -> str:
    """Return what a terminal shows of a line, after carriage returns: the last that was drawn over the rest.

    Progress bars write themselves hundreds of times a line.
    """
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part.strip()), "")


_LONGEST = 100_000
"""Characters without a line end that are held back; output that never ends a line must not fill memory."""


class TextStream(io.TextIOBase):
    """A text stream to write to, in the place of one of the process.

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
    """Writes to another stream what `safe_text` leaves of the text; lines stay lines.

    Text goes line by line, or up to a `flush`, so that a secret is whole when it is looked for.

    Args:
        target: where to; can be changed.
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

    def write(self, text: str) -> int:
        """Write the safe form of the lines that `text` completes."""
        with self._lock:
            lines, end, self._begun = (self._begun + text).rpartition("\n")
        self._pass_on(lines + end)
        if len(self._begun) > _LONGEST:
            self._pass_begun_on()
        return len(text)

    def flush(self) -> None:
        """Write what is left, and flush the other stream, unless that is closed already."""
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
