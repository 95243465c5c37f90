"""The `buffer` of a text stream that has no bytes beneath it: some jobs write to `sys.stdout.buffer`."""

from __future__ import annotations

import io
from typing import Any


class ByteStream(io.BufferedIOBase):
    """Takes bytes and writes the text that they are.

    Args:
        text: where to.
    """

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text

    def writable(self) -> bool:
        """Bytes can be written."""
        return True

    def fileno(self) -> int:
        """That of the text stream."""
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
