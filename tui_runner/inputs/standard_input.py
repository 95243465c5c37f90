"""Standard input: one item a line, as they come."""

from __future__ import annotations

import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import IO, Any

from tui_runner.errors import UserError
from tui_runner.inputs.lines import MARK, decoded
from tui_runner.inputs.source import Source

_BLOCK = 1 << 16
"""Bytes read at once, at most: what a pipe holds."""
_LONGEST_LINE = 256 << 20
"""Bytes of a line. Longer ones would be held several times over; what has no line ends at all never stops."""


class StandardInput(Source):
    """The lines of standard input, like those of a text file; they are taken as text even if they look like JSON.

    Whoever writes them may be slow: `comes_within` says whether the next one is worth waiting for.
    """

    columns = ("line",)
    text = "-"
    may_wait = True

    def __init__(self, stream: IO[Any] | None = None) -> None:
        self._given = stream
        self._lines: deque[str] = deque()
        self._rest: list[bytes] = []
        """What was read of a line whose end was not."""
        self._held = 0
        """Bytes of that."""
        self._begun = False
        self._ended = False

    def __iter__(self) -> Iterator[object]:
        while True:
            while self._lines:
                yield self._lines.popleft()
            if self._ended:
                return
            self._read()

    def comes_within(self, seconds: float) -> bool:
        """Whether a line, or the end, is there within so many seconds."""
        if self._lines:
            return True
        until = time.monotonic() + seconds
        while not self._lines and not self._ended:
            if not self._can_be_read(until - time.monotonic()):
                return False
            self._read()
        return True

    @property
    def _stream(self) -> Any:
        stream = self._given or sys.stdin
        if stream is None:
            raise UserError("there is no standard input", do="name a file")
        return getattr(stream, "buffer", stream)

    def _can_be_read(self, seconds: float) -> bool:
        try:
            return bool(select.select([self._stream], [], [], max(0.0, seconds))[0])
        except (OSError, ValueError, TypeError):  # no file of the system's: all of it is there
            return True

    def _read(self) -> None:
        """Read what there is, or wait for it."""
        block = _block(self._stream)
        if not block:
            self._ended = True
            self._add(b"".join(self._rest))
            return
        first, *others = block.split(b"\n")
        self._rest.append(first)
        self._held += len(first)
        if self._held > _LONGEST_LINE:
            self._rest = []
            size = f"{_LONGEST_LINE >> 20} MB"
            raise UserError(f"a line is longer than {size}", "standard input", "write one item a line")
        if others:
            self._add(b"".join(self._rest))
            for line in others[:-1]:
                self._add(line)
            self._rest = [others[-1]]
            self._held = len(others[-1])

    def _add(self, line: bytes) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(MARK)
        if line.strip():
            self._lines.append(decoded(line))


def _block(stream: Any) -> bytes:
    """What there is to read; nothing at the end.

    A file of the system's is read past the stream: whoever waits in the stream holds its lock, and Python aborts when
    it cannot get that at its own end, while this thread may wait for a quiet pipe for ever.
    """
    try:
        descriptor = stream.fileno()
    except (AttributeError, OSError, ValueError):  # no file of the system's
        block = stream.read(_BLOCK)
        return block.encode("utf-8", "surrogateescape") if isinstance(block, str) else bytes(block)
    while True:
        try:
            return os.read(descriptor, _BLOCK)
        except BlockingIOError:  # whoever has the other end, too, made it so
            select.select([descriptor], [], [])
