"""Rewrites the text of CSV files where DuckDB would fail: mixed line ends, and rows with a wrong number of fields.

DuckDB reads the rewritten text through a pipe.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tui_runner.inputs.compressed_files import blocks_of, open_bytes
from tui_runner.text.numbers import plural

_MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark."""


class WrongFields(NamedTuple):
    """A row with a wrong number of fields.

    Attributes:
        row: number of the row in the file, from 0. The heading and blank lines are not counted.
        line: number of the line in which the row begins, from 1.
        fields: number of fields that the row has.
    """

    row: int
    line: int
    fields: int


def fields_reason(fields: int, columns: int) -> str:
    """Return why a row is refused that has `fields` fields in a file whose first line has `columns`."""
    return f"the row has {plural(fields, 'field')} where the first line has {columns:,}"


class RepairedText:
    r"""The text of a file, with a row of empty fields in place of each row with a wrong number of fields.

    Args:
        blocks: the text; lines end in `\n` outside of quotes.
        delimiter: character between two fields.
        columns: fields that a row must have, at least two.
        header: True if the first line names the columns.
        max_bytes: bytes that a row may have. A longer row is not examined, and DuckDB refuses it.

    Attributes:
        broken: the rows replaced in the blocks yielded so far, in order. The reader removes rows that it has processed.
        rows: number of rows in the blocks yielded so far, including broken ones, without the heading and blank lines.
    """

    def __init__(self, blocks: Iterable[bytes], delimiter: str, columns: int, header: bool, max_bytes: int) -> None:
        self._blocks = blocks
        self._header = header
        self._max_bytes = max_bytes
        self._empty = delimiter.encode() * (columns - 1) + b"\n"
        between = re.escape(delimiter.encode())
        # A quote that does not begin a field is an ordinary character; spaces may follow a closing quote.
        field = rb'(?:"[^"]*+(?:""[^"]*+)*+" *+|[^"\n%b][^\n%b]*+|)' % (between, between)
        # DuckDB accepts empty fields after the last column.
        self._whole = re.compile(rb"%b(?:%b%b){%d}+%b*+\n" % (field, between, field, columns - 1, between))
        self._any = re.compile(rb"%b(?:%b%b)*+\n" % (field, between, field))
        self._field = re.compile(rb"%b[%b\n]" % (field, between))
        self.broken: deque[WrongFields] = deque()
        self.rows = 0

    def is_mostly_broken(self) -> bool:
        """Return True if most rows of the first block are broken, which means that the file is not CSV."""
        next(iter(self), b"")
        return 2 * len(self.broken) > self.rows

    def __iter__(self) -> Iterator[bytes]:
        rest, least, line, is_heading = b"", 0, 1, self._header
        for block, is_last in self._ended_blocks():
            rest += block
            if len(rest) < least and len(rest) <= self._max_bytes and not is_last:
                continue
            parts: list[bytes] = []
            start = end = 0
            while row := self._whole.match(rest, end) or self._any.match(rest, end):
                text = row[0]
                if text != b"\n" and not is_heading:  # DuckDB skips blank lines
                    if row.re is self._any:
                        self.broken.append(WrongFields(self.rows, line, len(self._field.findall(text))))
                        parts += (rest[start:end], self._empty)
                        start = row.end()
                    self.rows += 1
                is_heading = False
                line += text.count(b"\n")
                end = row.end()
            parts.append(rest[start:end])
            rest = rest[end:]
            yield b"".join(parts)
            # If a block has no whole row, search again only when the text has doubled. Searching after each block would
            # take quadratic time.
            least = 0 if end else 2 * len(rest)
            # DuckDB refuses a row of this size. The cause may be a missing quote, so the search for its end stops here.
            if len(rest) > self._max_bytes:
                yield rest
                rest, least = b"", 0
        yield rest

    def _ended_blocks(self) -> Iterator[tuple[bytes, bool]]:
        r"""Yield each block with True if it is the last one. The text has no byte order mark and ends with `\n`."""
        end = b"\n"
        for number, block in enumerate(self._blocks):
            yield block if number else block.removeprefix(_MARK), False
            end = block[-1:] or end
        yield b"" if end == b"\n" else b"\n", True


def with_one_line_end(path: Path, delimiter: str, max_bytes: int) -> Iterator[bytes]:
    r"""Yield the text of a file in blocks, with every line end outside of quotes changed to `\n`.

    Args:
        path: path of the file.
        delimiter: character between two fields.
        max_bytes: bytes that a row may have; DuckDB refuses a longer row, so it is not changed.
    """
    begins = re.escape(delimiter.encode())
    # A quote that does not begin a field is an ordinary character.
    token = re.compile(rb'(?<![^%b\r\n])"[^"]*+(?:""[^"]*+)*+("?)|\r\n?|\n' % begins)
    rest = b""
    least = 0
    for block in blocks_of(path):
        rest += block
        if len(rest) < least and len(rest) <= max_bytes:
            continue
        if b"\r" not in rest and b'"' not in rest:
            end = rest.rfind(b"\n") + 1
            done, rest = rest[:end], rest[end:]
        else:
            done, rest = _unified(rest, token, is_end=False)
        if done:
            yield done
        # If a block has no line end, search again only when the text has doubled. Searching after each block would take
        # quadratic time.
        least = 0 if done else 2 * len(rest)
        if len(rest) > max_bytes:  # DuckDB refuses such a row
            yield rest
            rest, least = b"", 0
    yield _unified(rest, token, is_end=True)[0]


def _unified(text: bytes, token: re.Pattern[bytes], *, is_end: bool) -> tuple[bytes, bytes]:
    """Return the complete lines with one kind of line end, and the unfinished line, which is complete if `is_end`."""
    parts: list[bytes] = []
    start = done = complete = 0
    for match in token.finditer(text):
        if text[match.start()] == 0x22:
            if not match[1] and not is_end:
                break  # the quote ends in a later block
            continue
        if match.end() == len(text) and not is_end:
            break  # the next block may begin with the `\n` of `\r\n`
        parts += (text[start : match.start()], b"\n")
        start = done = match.end()
        complete = len(parts)
    if is_end:
        return b"".join([*parts, text[start:]]), b""
    return b"".join(parts[:complete]), text[done:]


def large_row(path: Path, max_bytes: int, last: int | None) -> int | None:
    """Return the number of the line in which the first too large row begins; None if there is none.

    DuckDB does not always name the size as the cause. It may, for example, report that the row has another type.

    Args:
        path: path of the file.
        max_bytes: bytes that a row may have.
        last: number of rows to search; None for all.
    """
    quote, end = b'"', b"\n"
    line = first_line = rows = 1
    size = quotes = 0
    for number, block in enumerate(blocks_of(path)):
        if not number and end not in block and b"\r" in block:
            end = b"\r"
        start = 0
        while (stop := block.find(end, start)) >= 0:
            line += 1
            size += stop - start
            quotes += block.count(quote, start, stop)
            start = stop + 1
            if quotes % 2:  # the line end is within quotes
                size += 1
                continue
            if size > max_bytes:
                return first_line
            first_line, size, quotes, rows = line, 0, 0, rows + 1
            if last is not None and rows > last:
                return None
        size += len(block) - start
        quotes += block.count(quote, start)
        if size > max_bytes:
            return first_line
    return None


def foreign_line(path: Path) -> int:
    """Return the number of the first line that is not UTF-8; 1 if all lines are.

    The decoder's error does not name the line, because the decoder works on whole blocks.
    """
    with open_bytes(path) as file:
        for number, line in enumerate(io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1
