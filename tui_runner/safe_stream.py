"""A text stream whose text is made safe on its way: what a job prints while it is loaded goes through it."""

from __future__ import annotations

import io
from typing import TextIO

from tui_runner.byte_stream import ByteStream
from tui_runner.safe_text import safe_text


class SafeStream(io.TextIOBase):
    """Writes to another stream what `safe_text` leaves of the text; lines stay lines.

    Args:
        target: where to.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self.buffer = ByteStream(self)

    def writable(self) -> bool:
        """Text can be written."""
        return True

    def reconfigure(self, **options: object) -> None:
        """Take what `io.TextIOWrapper` takes; what the other stream has stays."""

    def isatty(self) -> bool:
        """No: colours would not come through."""
        return False

    def write(self, text: str) -> int:
        """Write the safe form of `text`."""
        self._target.write(safe_text(text, newlines=True))
        return len(text)

    def flush(self) -> None:
        """Flush the other stream."""
        self._target.flush()
