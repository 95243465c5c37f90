"""Input files with one item a line: plain text and JSON."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tui_runner.errors import UserError
from tui_runner.inputs.json_values import JsonValues
from tui_runner.inputs.source import Source
from tui_runner.text.messages import one_line, plain

_COUNTED_BYTES = 1 << 30
"""Files up to this size together are read once more for counting their lines: about 3 s from a warm cache."""
MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark, which some editors put first."""

_MARKS_OF_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What Windows PowerShell and editors there put first. Taken for UTF-8 every item would be torn apart, in silence."""


class TextLines(Source):
    r"""The lines of text files, without their ends; lines with nothing but white space are left out.

    Text is UTF-8. A byte that is not shows as `\xNN` in its item; a file that says it is UTF-16 is refused.
    """

    columns: tuple[str, ...] | None = ("line",)

    def __init__(self, paths: Sequence[Path], text: str) -> None:
        self.text = text
        self._paths = tuple(paths)
        self._total: int | None = None

    @property
    def total(self) -> int | None:
        """Lines with something in them; None for compressed files and for more than a gigabyte."""
        if self._total is None and _countable(self._paths):
            self._total = sum(1 for path in self._paths for _ in _raw_lines(path))
        return self._total

    def __iter__(self) -> Iterator[object]:
        for path in self._paths:
            for _, line in _raw_lines(path):
                yield decoded(line)


class JsonLines(JsonValues):
    """JSON values, one a line; blank lines are left out.

    Python's own parser reads them: every type comes as it was written, and a broken line is named by its number.
    """

    @property
    def total(self) -> int | None:
        """Lines with something in them; None for compressed files and for more than a gigabyte."""
        if self._total is None and _countable(self._paths):
            self._total = sum(1 for path in self._paths for _ in _raw_lines(path))
        return self._total

    def _values(self) -> Iterator[object]:
        for path in self._paths:
            for number, line in _raw_lines(path):
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    message = getattr(error, "msg", None) or one_line(error)
                    raise UserError(f"it is not JSON: {message}", where=f"{plain(path)}:{number}") from None


def _countable(paths: Sequence[Path]) -> bool:
    if any(path.name.lower().endswith(".gz") for path in paths):
        return False
    try:
        return sum(path.stat().st_size for path in paths) <= _COUNTED_BYTES
    except OSError:
        return False


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    if line.startswith(_MARKS_OF_UTF_16):
                        raise UserError("it is UTF-16 text", where=plain(path), do="save it as UTF-8")
                    line = line.removeprefix(MARK)
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"the input can't be read: {reason}", where=plain(path)) from None


def decoded(line: bytes) -> str:
    """A line as text, without its end."""
    return line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
