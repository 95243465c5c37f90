"""The text of CSV files, byte by byte: the ends of its lines, and the rows that DuckDB gives up on.

DuckDB reads the rows. What it takes badly is seen to before, in what it reads through a pipe.
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


class WrongFields(NamedTuple):
    """A row with a wrong number of fields.

    Attributes:
        row: its number in the file, from 0, without the names of the columns.
        line: where it begins, from 1.
        fields: how many it has.
    """

    row: int
    line: int
    fields: int


def fields_reason(fields: int, columns: int) -> str:
    """Return what is wrong with a row with that number of fields where the first line has `columns`."""
    return f"the row has {plural(fields, 'field')} where the first line has {columns:,}"


class MendedText:
    r"""The text of a file with a row of empty fields in the place of each that has a wrong number of them.

    Args:
        blocks: the text; lines end in `\n` outside of quotes.
        delimiter: between two fields.
        columns: fields that a row must have, two at least.
        header: whether the first line names the columns.
        max_bytes: what a row may have; the text from a longer one on is passed on as it is.

    Attributes:
        broken: the broken rows of the blocks that were given, in their order; the reader takes them out.
        rows: how many rows these blocks have, with the broken ones.
    """

    def __init__(self, blocks: Iterable[bytes], delimiter: str, columns: int, header: bool, max_bytes: int) -> None:
        self._blocks = blocks
        self._header = header
        self._max_bytes = max_bytes
        self._empty = delimiter.encode() * (columns - 1) + b"\n"
        between = re.escape(delimiter.encode())
        # A quote in the middle of a field is a character like others; spaces may stand behind one in quotes.
        field = rb'(?:"[^"]*+(?:""[^"]*+)*+" *+|[^"\n%b][^\n%b]*+|)' % (between, between)
        # DuckDB leaves out empty fields behind the last column.
        self._whole = re.compile(rb"%b(?:%b%b){%d}+%b*+\n" % (field, between, field, columns - 1, between))
        self._any = re.compile(rb"%b(?:%b%b)*+\n" % (field, between, field))
        self._field = re.compile(rb"%b[%b\n]" % (field, between))
        self.broken: deque[WrongFields] = deque()
        self.rows = 0

    def is_mostly_broken(self) -> bool:
        """Return True if most rows of the first block are broken: the file is text of another kind then."""
        next(iter(self), b"")
        return 2 * len(self.broken) > self.rows

    def __iter__(self) -> Iterator[bytes]:
        held, least, line, is_heading = b"", 0, 1, self._header
        for block, is_last in self._ended_blocks():
            held += block
            if len(held) < least and len(held) <= self._max_bytes and not is_last:
                continue
            parts: list[bytes] = []
            start = end = 0
            while row := self._whole.match(held, end) or self._any.match(held, end):
                text = row[0]
                if text != b"\n" and not is_heading:  # DuckDB leaves out blank lines
                    if row.re is self._any:
                        self.broken.append(WrongFields(self.rows, line, len(self._field.findall(text))))
                        parts += (held[start:end], self._empty)
                        start = row.end()
                    self.rows += 1
                is_heading = False
                line += text.count(b"\n")
                end = row.end()
            parts.append(held[start:end])
            held = held[end:]
            yield b"".join(parts)
            # A long row is looked at again when there is twice as much of it: at each block that would take its square.
            least = 0 if end else 2 * len(held)
            if len(held) > self._max_bytes:  # DuckDB refuses such a row, and quotes that are wrong
                yield held
                held, least = b"", 0
        yield held

    def _ended_blocks(self) -> Iterator[tuple[bytes, bool]]:
        """Yield the blocks without a byte order mark, and last the end of the last line if that has none."""
        end = b"\n"
        for number, block in enumerate(self._blocks):
            yield block if number else block.removeprefix(_MARK), False
            end = block[-1:] or end
        yield b"" if end == b"\n" else b"\n", True


def with_one_line_end(path: Path, delimiter: str, max_bytes: int) -> Iterator[bytes]:
    r"""Yield a file with every end of a line outside of quotes as `\n`.

    Args:
        path: of the file.
        delimiter: between two fields.
        max_bytes: what a row may have; a longer one is passed on as it is.
    """
    begins = re.escape(delimiter.encode())
    # A quote in the middle of a field is a character like others.
    token = re.compile(rb'(?<![^%b\r\n])"[^"]*+(?:""[^"]*+)*+("?)|\r\n?|\n' % begins)
    held = b""
    least = 0
    for block in blocks_of(path):
        held += block
        if len(held) < least and len(held) <= max_bytes:
            continue
        if b"\r" not in held and b'"' not in held:
            end = held.rfind(b"\n") + 1
            done, held = held[:end], held[end:]
        else:
            done, held = _unified(held, token, is_end=False)
        if done:
            yield done
        # A long row is looked at again when there is twice as much of it: at each block that would take its square.
        least = 0 if done else 2 * len(held)
        if len(held) > max_bytes:  # DuckDB refuses such a row
            yield held
            held, least = b"", 0
    yield _unified(held, token, is_end=True)[0]


def _unified(text: bytes, token: re.Pattern[bytes], *, is_end: bool) -> tuple[bytes, bytes]:
    """Return the whole lines of `text` with one kind of end, and the rest of it; all of it if it `is_end`."""
    parts: list[bytes] = []
    start = done = kept = 0
    for match in token.finditer(text):
        if text[match.start()] == 0x22:
            if not match[1] and not is_end:
                break  # the quote ends in what comes next
            continue
        if match.end() == len(text) and not is_end:
            break  # a `\n` may follow
        parts += (text[start : match.start()], b"\n")
        start = done = match.end()
        kept = len(parts)
    if is_end:
        return b"".join([*parts, text[start:]]), b""
    return b"".join(parts[:kept]), text[done:]


def large_row(path: Path, max_bytes: int, last: int | None) -> int | None:
    """Return the line in which the first row begins that is larger than a row may be.

    DuckDB does not always say so: such a row is no number, say, where all others have one.

    Args:
        path: of the file.
        max_bytes: what a row may have.
        last: rows to look at; None for all.
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
    """Number of the first line that is not UTF-8; the decoder fails for a whole block and does not say."""
    with open_bytes(path) as file:
        for number, line in enumerate(io.BufferedReader(file) if isinstance(file, io.RawIOBase) else file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1
