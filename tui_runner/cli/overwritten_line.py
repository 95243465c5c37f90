"""Writes lines of text for users; on a terminal, the last line can be overwritten. Imports nothing slow."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from textwrap import wrap
from typing import TextIO

from tui_runner.system.terminal import columns
from tui_runner.text.paths import gap_before_last_path, with_short_paths
from tui_runner.text.safe_text import ELLIPSIS, display_width


def cut_to(text: str, width: int) -> str:
    """Cut `text` to `width` cells of a terminal: paths at their beginnings, then the text at its end."""
    text = with_short_paths(text, display_width(text) - width)
    if gap := gap_before_last_path(text, display_width(text) - width):
        text = text[: gap[0]] + ELLIPSIS + text[gap[1] :]
    if display_width(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += display_width(character)
        if used > width - 1:
            break
        kept += character
    return kept + ELLIPSIS if width > 0 else ""


_INDENT = "    "
_COMMAND = re.compile(r"(?P<label>[a-z ]+:) +(?P<command>(?:[^;]* \| )?tui-runner .*)")
"""Matches a line that is a command to copy, with a label."""
_ADVISED = re.compile(r"(?<=: )(?:… \| )?tui-runner [a-z][^;—]*[^;—\s]")
"""Matches a command to copy within a line, such as the advice of an error message."""
_KEPT_BLANK = "\0"
"""Stands for a blank at which a line is not divided. Text from `safe_text` does not contain it."""
_LEAST_WIDTH = 20
"""Fewest columns for which lines are divided."""


def wrapped(line: str, width: int) -> list[str]:
    """Divide a line into parts of at most `width` columns, between words; all parts but the first are indented.

    Parts have at least 20 columns, and a longer word is not broken. A command is never divided, because the user copies
    it; if it does not fit, it has its own line.
    """
    if display_width(line) <= width:
        return [line]
    if match := _COMMAND.fullmatch(line):
        return [match["label"], _INDENT + match["command"]]
    indent = line[: len(line) - len(line.lstrip())] + _INDENT
    kept = _ADVISED.sub(lambda found: found[0].replace(" ", _KEPT_BLANK), line)
    parts = wrap(
        kept, max(width, _LEAST_WIDTH), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [part.replace(_KEPT_BLANK, " ") for part in parts]


def for_stream(line: str, out: TextIO) -> str:
    """Return a line as it is written to `out`: on a terminal, divided between words.

    A file gets one line, for tools that read it.
    """
    # Do not use the last column: terminals differ in where the cursor is after it.
    return "\n".join(wrapped(line, columns(out) - 1)) if out.isatty() else line


QUIET_SECONDS = 1.0
"""Seconds before the first progress message, because most inputs are open by then, and between two messages."""


class SlowOnly:
    """A `Progress` function for inputs: passes on messages once a second, but none in the first second.

    Args:
        say: called with each message that is passed on.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next = time.monotonic() + QUIET_SECONDS

    def __call__(self, doing: str) -> None:
        """Pass on a message about the current work if a second has passed since the last one, or since the start."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + QUIET_SECONDS
            self._say(doing)


_ERASE_REST = "\x1b[K"
"""Control sequence that erases the line from the cursor to its end."""


class Lines:
    """Lines of text for users. On a terminal, long lines are divided, and the last one can be overwritten.

    Args:
        out: stream for the lines.
        live: True if `out` is a terminal.
        quiet: True if callers must only print errors and warnings.
    """

    def __init__(self, out: TextIO, live: bool, *, quiet: bool = False) -> None:
        self.live = live
        self.quiet = quiet
        self._out: TextIO | None = out
        self._dirty = False

    def say(self, line: str) -> None:
        """Write a permanent line. On a terminal, divide it between words."""
        text = "\n".join(wrapped(line, self.width)) if self.live else line
        self._write(f"\r{_ERASE_REST}{text}\n" if self._dirty else f"{text}\n")
        self._dirty = False

    @property
    def width(self) -> int:
        """Width of a line, in columns."""
        # Do not use the last column: terminals differ in where the cursor is after it.
        return (80 if self._out is None else columns(self._out)) - 1

    def overwrite(self, line: str) -> None:
        """Write a line that the next one replaces, cut to the width of the terminal."""
        self._write(f"\r{cut_to(line, self.width)}{_ERASE_REST}")
        self._dirty = True

    def clear(self) -> None:
        """Remove the line that would be overwritten, if there is one."""
        if self._dirty:
            self._write(f"\r{_ERASE_REST}")
            self._dirty = False

    def _write(self, text: str) -> None:
        if self._out is not None:
            try:
                self._out.write(text)
                self._out.flush()
            except (OSError, ValueError):  # the reader is gone, or the stream was closed
                self._out = None
