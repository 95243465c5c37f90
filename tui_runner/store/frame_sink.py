"""A file to write an Arrow stream to that sends it on in pieces, and copies only what is small."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from tui_runner.store.wire import FRAME_BYTES

_SMALL_BYTES = 64 << 10
"""Up to here writes are gathered: Arrow writes the padding of each column by itself."""


class FrameSink:
    """What `pyarrow` takes for a file to write to.

    A batch may be one value of gigabytes, which beside a run is there often enough already.

    Args:
        send: takes pieces of at most `FRAME_BYTES`, which it must not keep.
    """

    closed = False
    """What `pyarrow` asks of a file."""

    def __init__(self, send: Callable[[bytes | memoryview], None]) -> None:
        self._send = send
        self._gathered = bytearray()

    def write(self, content: bytes | pa.Buffer) -> int:
        """Send `content`, now or with what follows."""
        view = memoryview(content)
        if view.nbytes <= _SMALL_BYTES:
            self._gathered += view
            if len(self._gathered) > FRAME_BYTES - _SMALL_BYTES:
                self.flush()
        else:
            self.flush()
            for start in range(0, view.nbytes, FRAME_BYTES):
                self._send(view[start : start + FRAME_BYTES])
        return view.nbytes

    def flush(self) -> None:
        """Send what was gathered."""
        if self._gathered:
            gathered, self._gathered = bytes(self._gathered), bytearray()
            self._send(gathered)

    def writable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Nothing: whoever sends closes the connection."""
