"""Leaves out of a frame the rows that the terminal shows already.

While a dialog is open, Textual draws the whole screen whenever anything behind it has changed, four times a second
beside a run, and twice more when the dialog closes. Over a slow link each of these takes a second.

What was written to a row stays there until something else is written to it, so the same text at the same place of the
same row need not be sent again. A terminal that changes its size moves what it shows, so all is sent again then. What
another program writes over the screen is not known here: nothing is left out for longer than `FORGOTTEN_AFTER`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

FORGOTTEN_AFTER = 30.0
"""Seconds after which a row that is drawn again is sent again, whatever it shows."""
_MOVE = re.compile(r"(\x1b\[(\d+);\d+H)")
_OTHER_SCREEN = "\x1b[?1049"
"""Goes to the alternate screen, or back."""


class UnchangedRows:
    """What the terminal shows, as far as it is known.

    Args:
        clock: seconds; for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rows: dict[int, str] = {}
        self._since = clock()
        self._height = 0

    def forget(self) -> None:
        """Send all of the next frame."""
        self._rows.clear()
        self._since = self._clock()

    def resized(self, height: int) -> None:
        """Take note that the terminal has changed its size, to this many rows."""
        self._height = height
        self.forget()

    def without(self, frame: str) -> str:
        """`frame` with the same effect on the terminal, without the rows that it shows already.

        Args:
            frame: texts that stay within their rows, each behind a move to its place; or sequences that print nothing.
        """
        before, *pieces = _MOVE.split(frame)
        if not pieces:
            if _OTHER_SCREEN in frame:
                self.forget()
            return frame
        if self._clock() - self._since > FORGOTTEN_AFTER:
            self.forget()
        drawn: dict[int, str] = {}
        cursor = ""
        for move, row, text in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
            # Behind each row Textual goes to the next line, from where the next piece moves away.
            text = text.removesuffix("\n")
            if text:
                drawn[int(row)] = drawn.get(int(row), "") + move + text
            else:
                cursor = move
        changed = [text for row, text in drawn.items() if self._rows.get(row) != text]
        self._rows |= drawn
        if max(drawn, default=0) > self._height:
            # A frame for a terminal that has become lower: the rows below its last one were written over that.
            self.forget()
        return "".join((before, *changed, cursor))
