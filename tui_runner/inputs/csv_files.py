r"""CSV and TSV files as inputs.

The first line names the columns. DuckDB's parser reads the file, but its detection of the format is not used, because
it is wrong for three kinds of files. It takes lines before a broken row for a preamble and skips them. In a list of
addresses it takes the first for a heading. In a single column it takes a `;` for the delimiter. These rules are used
instead:

* The delimiter of a `.tsv` file is a tab. In other files it is the most frequent of `,` `;` tab `|` in the first line.
  If the first line has none of these, the file has a single column, and later lines may contain these characters.
* A first line that cannot be names (numbers, addresses) is the first item of a file with a single column. In a file
  with several columns it is an error.
* A column has a type if every value has the usual form of that type and loses nothing by conversion. So `00123` stays
  text, and so does a decimal number with more digits than a float has. Integers of more than 37 digits stay text, too.
  Of a large file, only the first rows are examined (`_LARGE_LOOK`).
* A column that the function takes as text (`as_written`) stays text: `1.10` as a version, `12.50` as money.

Empty fields are None; `""` is an empty text. Blank lines are skipped. DuckDB accepts only one kind of line ends per
file. In a file with several kinds, those outside of quotes are changed to `\n`. A row with a wrong number of fields is
an item that fails. DuckDB would stop at this row, so it receives a row of empty fields instead. If most rows at the
start of a file are such rows, the file is refused.

An input of several files has the columns of all files. If each file has one column, the input has one column, with the
name from the first file.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import io
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

import pyarrow.compute as pc
from duckdb import DuckDBPyConnection

from tui_runner.errors import UserError
from tui_runner.inputs import duckdb_reader
from tui_runner.inputs.compressed_files import (
    READ_ERRORS,
    PipedFile,
    blocks_of,
    is_compressed,
    not_text,
    open_bytes,
    unreadable,
)
from tui_runner.inputs.csv_text import RepairedText, fields_reason, foreign_line, large_row, with_one_line_end
from tui_runner.inputs.duckdb_reader import ArrowSlice, Bound, TableSource
from tui_runner.inputs.source import FileSource, Progress, Slice, Source, is_small, silent
from tui_runner.inputs.text_lines import check_encoding
from tui_runner.store.arrow_batches import READ_ROWS, gathered
from tui_runner.store.sql import distinct, literal
from tui_runner.text.items import MAX_INPUT_BYTES, Refused, unreadable_item
from tui_runner.text.messages import plain, quoted
from tui_runner.text.numbers import size

_DELIMITERS = ",;\t|"
"""Possible delimiters; the most frequent one in the first line is chosen."""
_NONE = "\x1f"
"""Delimiter for a file with a single column: the unit separator, a control character that does not occur in text."""
_SMALLEST_BUFFER = 8 << 20
"""Bytes of DuckDB's read buffer at least; the buffer must also hold two of the longest rows. DuckDB's default is 16 MB,
all of it resident."""
_LINE_ENDS_BYTES = 256 << 20
"""Bytes at the start of a file that are searched for different kinds of line ends, which takes 0.2 s."""
_LONGEST_HEADING = 1 << 20
"""Characters of the heading at most. In a file that is not CSV, the first line may never end, and it must not fill the
memory."""
_LARGE_LOOK = 100_000
"""Rows at the start of a large file from which the types of its columns are determined at most. With ten columns, this
takes 0.3 s. A later row with a value of another type is an error that names its line."""
_CELLS_LOOKED_AT, _LEAST_LOOK = 20_000_000, 1_000
"""Values of a large file from which types are determined at most, which takes 3 s, and the rows that are read even if
they have more values."""
_COLUMNS_AT_ONCE = 1_000
"""Columns whose types are determined in one query at most. DuckDB holds several copies of 2,048 rows of these columns
in memory."""

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
"""Pattern of a date, as part of other patterns."""
_MOMENT = _DAY + "[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
"""Pattern of a date with a time of day, as part of other patterns."""
_PATTERNS = {
    "BOOLEAN": "(?i)true|false",
    "BIGINT": "-?(0|[1-9][0-9]{0,17})",
    "HUGEINT": "-?(0|[1-9][0-9]{0,36})",
    # Match only numbers that a float represents: at most 15 digits before the point and 17 after it. 12E4, without a
    # sign in the exponent, may be a name.
    "DOUBLE": "-?(0|[1-9][0-9]{0,14})([.][0-9]{1,17})?([eE][+-][0-9]{1,2})?",
    "DATE": _DAY,
    "TIMESTAMP": _MOMENT,
    "TIMESTAMP WITH TIME ZONE": _MOMENT + "(Z|[+-][0-9]{2}(:[0-9]{2})?)",
}
"""For each type, the pattern of the values in their usual form; the narrowest type first."""
_DATES = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"})
"""Types whose values must also pass a cast, because their patterns also match the 31st of February."""
_WORDS = {
    "BOOLEAN": "true or false",
    "BIGINT": "a whole number",
    "HUGEINT": "a whole number",
    "DOUBLE": "a number",
    "DATE": "a date",
    "TIMESTAMP": "a time",
    "TIMESTAMP WITH TIME ZONE": "a time with a zone",
}
"""Names of the types in messages."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The format of one file. A row may have at most `max_bytes` bytes."""

    path: Path
    delimiter: str
    header: bool
    names: tuple[str, ...]
    max_bytes: int

    def relation(self, path: Path, types: Sequence[str], *, lenient: bool = False) -> str:
        """Return SQL that reads `path` with columns `c0`, `c1`, … of the given types. `lenient` skips broken rows."""
        columns = ", ".join(f"'c{index}': {literal(kind)}" for index, kind in enumerate(types))
        return (
            f"read_csv({duckdb_reader.file_literal(path)}, auto_detect=false, delim={literal(self.delimiter)}, "
            f"quote='\"', escape='\"', header={self.header}, columns={{{columns}}}, nullstr='', "
            f"allow_quoted_nulls=false, strict_mode=true, ignore_errors={lenient}, compression='none', "
            f"max_line_size={self.max_bytes}, buffer_size={max(_SMALLEST_BUFFER, 2 * self.max_bytes)})"
            # In a file with one column, DuckDB reads a blank line as NULL.
            + (" WHERE c0 IS NOT NULL" if len(types) == 1 else "")
        )

    def blocks(self) -> Iterator[bytes]:
        return with_one_line_end(self.path, self.delimiter, self.max_bytes)

    def repaired(self) -> RepairedText:
        """Return the text with a row of empty fields in place of each row with a wrong number of fields."""
        return RepairedText(self.blocks(), self.delimiter, len(self.names), self.header, self.max_bytes)


class _Opened(NamedTuple):
    """A file in the form in which DuckDB reads it. If `piped` is not None, `path` is a pipe that can be read once."""

    path: Path
    piped: PipedFile | None

    def checked(self, slices: Iterable[ArrowSlice]) -> Iterable[ArrowSlice]:
        return self.piped.checked(slices) if self.piped else slices


@contextmanager
def _opened(layout: _Layout, *, is_plain: bool, repaired: RepairedText | None = None) -> Iterator[_Opened]:
    if is_plain and repaired is None:
        yield _Opened(layout.path, None)
        return
    with closing(PipedFile(layout.path, layout.blocks() if repaired is None else repaired)) as piped:
        yield _Opened(piped.path, piped)


class _BrokenRow(UserError):
    """Raised for a row with a wrong number of fields, or with a value of another type (fields may be shifted)."""


class _RepairedSlice:
    """Rows that DuckDB has read from a repaired text, with broken rows as `Refused`; a `Slice`.

    Args:
        rows: the rows from DuckDB.
        passed: number of rows at the beginning that were delivered already, before the text was repaired.
        refused: placeholders for broken rows, by index in `rows`.
    """

    def __init__(self, rows: ArrowSlice, passed: int, refused: Mapping[int, Refused]) -> None:
        self._rows = rows
        self._passed = passed
        self._refused = refused

    def __len__(self) -> int:
        return len(self._rows) - self._passed

    @property
    def nbytes(self) -> int:
        """Approximate bytes of the rows that are not delivered yet."""
        return self._rows.nbytes * len(self) // len(self._rows)

    def values(self, start: int, stop: int) -> list[object]:
        """Return the rows from `start` to `stop` as items."""
        first = start + self._passed
        values = self._rows.values(first, stop + self._passed)
        return [self._refused.get(index, value) for index, value in enumerate(values, first)]


class CsvFiles(FileSource, TableSource):
    """Rows of CSV or TSV files, with the columns of all files. Rows have None for columns that their file lacks."""

    def __init__(
        self,
        paths: Sequence[Path],
        text: str,
        max_bytes: int = MAX_INPUT_BYTES,
        progress: Progress = silent,
    ) -> None:
        super().__init__(paths, text, max_bytes)
        self.columns: tuple[str, ...] | None = self._all_columns(progress)
        self._bare = self.columns is not None and len(self.columns) == 1
        self._written: frozenset[str] = frozenset()

    def _count(self) -> int | None:
        if not is_small(self._paths):
            return None
        with closing(duckdb_reader.connect(self._max_bytes)) as connection:
            return sum(_count(connection, layout) for layout in self._layouts())

    def fingerprint(self) -> str | None:
        """Return a fingerprint of the files and of DuckDB's buffer size; None if a file is gone.

        Before DuckDB raises an error for a row larger than its buffer, it returns some of the rows after it. So the
        positions of these rows depend on the buffer size.
        """
        of_files = super().fingerprint()
        return None if of_files is None else f"{of_files} {self._max_bytes}"

    def _slices(self) -> Iterator[Slice]:
        with closing(duckdb_reader.connect(self._max_bytes)) as connection:
            for layout in self._layouts():
                yield from self._rows(connection, layout)

    def _layouts(self) -> Iterator[_Layout]:
        """Yield the layout of each file that is not empty."""
        return filter(None, (_layout_of(path, self._max_bytes) for path in self._paths))

    def _all_columns(self, progress: Progress) -> tuple[str, ...] | None:
        """Return the columns of all files in order of first appearance; None if all files are empty.

        If each file has one column, return the name in the first file: the names in the others may differ.
        """
        names: dict[str, None] = {}
        first: str | None = None
        several: Path | None = None
        nameless: Path | None = None
        for number, path in enumerate(self._paths):
            progress(f"reading the columns of {len(self._paths):,} files: {number:,} so far")
            layout = _layout_of(path, self._max_bytes)
            if layout is None:
                continue
            first = first or layout.names[0]
            names |= dict.fromkeys(layout.names)
            several = several or (path if len(layout.names) > 1 else None)
            nameless = nameless or (None if layout.header else path)
        if several is None:
            return None if first is None else (first,)
        if nameless is not None:
            what = f"its first line does not name its column, and {plain(several)} has several"
            raise UserError(what, where=plain(nameless), do="put a line with its name first")
        return tuple(names)

    def as_written(self, columns: Collection[str]) -> Source:
        """Return a source of the same files in which the values of the given columns are text."""
        same = copy.copy(self)
        same._written = frozenset(columns)
        return same

    def _rows(self, connection: DuckDBPyConnection, layout: _Layout) -> Iterator[Slice]:
        """Yield the rows of a file. A row with a wrong number of fields becomes `Refused`."""
        is_plain = _is_plain(layout)
        types = self._types(connection, layout, is_plain=is_plain)
        given = 0
        try:
            for part in self._read(connection, layout, types, is_plain=is_plain):
                yield part
                given += len(part)
        except _BrokenRow:  # the rows after it can be read if this process replaces broken rows first
            if len(layout.names) == 1 or layout.repaired().is_mostly_broken():
                raise
        else:
            return
        repaired, first = layout.repaired(), 0
        for part in self._read(connection, layout, types, is_plain=is_plain, repaired=repaired):
            refused: dict[int, Refused] = {}
            end = first + len(part)
            while repaired.broken and repaired.broken[0].row < end:
                broken = repaired.broken.popleft()
                place = f"{plain(layout.path)}:{broken.line}"
                refused[broken.row - first] = unreadable_item(place, fields_reason(broken.fields, len(layout.names)))
            if end > given:
                yield _RepairedSlice(part, max(0, given - first), refused)
            first = end

    def _types(self, connection: DuckDBPyConnection, layout: _Layout, *, is_plain: bool) -> list[str]:
        if len(layout.names) > _COLUMNS_AT_ONCE:  # takes about two seconds per thousand columns
            self.tell("INFO", f"{plain(layout.path)}: finding the types of its {len(layout.names):,} columns")
        # A single column may have another name in each file.
        written = layout.names if self._bare and self._written else self._written
        return _types_of(connection, layout, written, is_plain=is_plain)

    def _read(
        self,
        connection: DuckDBPyConnection,
        layout: _Layout,
        types: Sequence[str],
        *,
        is_plain: bool,
        repaired: RepairedText | None = None,
    ) -> Iterator[ArrowSlice]:
        """Yield the rows of a file, or of its repaired text.

        Raises:
            _BrokenRow: a row probably has a wrong number of fields; nearly all rows before it were yielded.
            UserError: the file is broken in another way.
        """
        names = layout.names if self._bare else self.columns or ()
        places = {name: index for index, name in enumerate(layout.names)}
        columns = [
            duckdb_reader.column(name, types[places[name]], f"c{places[name]}")
            if name in places
            else duckdb_reader.Column(name, "NULL")
            for name in names
        ]
        with _opened(layout, is_plain=is_plain, repaired=repaired) as opened:
            slices = duckdb_reader.slices(
                connection,
                columns,
                layout.relation(opened.path, types),
                lambda error: _fault_of(error, layout, types),
                bare=self._bare,
                bound=Bound(self._max_bytes, plain(layout.path)),
            )
            yield from opened.checked(slices)


def _is_plain(layout: _Layout) -> bool:
    """Return True if DuckDB can read the file itself.

    The file must not be compressed, and must have only one kind of line end in its first `_LINE_ENDS_BYTES`.
    """
    try:
        if is_compressed(layout.path):
            return False
        left = _LINE_ENDS_BYTES
        kinds: set[str] = set()
        with layout.path.open("rb") as file:
            while left > 0 and len(kinds) < 2 and (block := file.read(1 << 20)):
                if block.endswith(b"\r"):
                    block += file.read(1)
                left -= len(block)
                both, returns, feeds = block.count(b"\r\n"), block.count(b"\r"), block.count(b"\n")
                found = {"both": both, "return": returns - both, "feed": feeds - both}
                kinds.update(kind for kind, number in found.items() if number)
    except OSError as error:
        raise unreadable(error, layout.path) from None
    return len(kinds) < 2


def _layout_of(path: Path, max_bytes: int) -> _Layout | None:
    """Return the format of a file, determined from its first line; None for an empty file.

    Raises:
        UserError: the first line does not have the names of the columns, DuckDB cannot read the file as CSV, or it
            cannot be read.
    """
    tab = ".tsv" in path.suffixes[-2:] or path.name.lower().endswith(".tsv")
    try:
        check_encoding(next(blocks_of(path), b""), plain(path))
        with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="") as file:
            first = _heading_of(file)
            if len(first) >= _LONGEST_HEADING:
                what = f"its first line does not end within {size(_LONGEST_HEADING)}"
                raise UserError(what, f"{plain(path)}:1", "put the names of the columns there, and close every quote")
            delimiter = "\t" if tab else _delimiter_of(first)
            heading = next(csv.reader(io.StringIO(first, newline=""), delimiter=delimiter), [])
            # DuckDB parses strictly, except for spaces after a quote. If it cannot parse the heading, it finds no rows
            # and reports no error; so check that here.
            strict = re.sub(rf'" +(?=[{delimiter}\r\n]|$)', '"', first)
            deque(csv.reader(io.StringIO(strict, newline=""), delimiter=delimiter, strict=True), maxlen=0)
    except UnicodeDecodeError:
        raise not_text(path, f"{plain(path)}:{foreign_line(path)}") from None
    except READ_ERRORS as error:
        raise unreadable(error, path) from None
    except csv.Error as error:
        what, do = "the quotes in its first line are not valid CSV", "close them, and double those inside a name"
        if "field limit" in str(error):
            what = f"a name in its first line has more than {csv.field_size_limit():,} characters"
            do = "put the names of the columns there"
        raise UserError(what, f"{plain(path)}:1", do) from None
    if not first:
        return None
    _check_last_row(path, max_bytes)
    if not first.strip():
        # DuckDB could skip the blank line. But if later lines have another kind of line end, it would skip all rows
        # without an error.
        raise UserError("its first line is blank", where=f"{plain(path)}:1", do="put the names of its columns there")
    if not _is_data(heading):
        return _Layout(path, delimiter, True, _names_in(heading), max_bytes)
    if len(heading) > 1:
        raise UserError(
            f"its first line has data, not names of columns: {quoted(first.strip())}",
            where=plain(path),
            do="put a line with their names first",
        )
    return _Layout(path, delimiter, False, ("value",), max_bytes)


def _check_last_row(path: Path, max_bytes: int) -> None:
    """Refuse a last row that does not fit into DuckDB's buffer, because DuckDB would skip it without an error.

    A compressed file is not checked: its last row can be found only by decompressing all of it.
    """
    limit = 2 * max_bytes - 4096
    try:
        length = path.stat().st_size
        if limit <= 0 or length <= limit or is_compressed(path):
            return
        with path.open("rb") as file:
            file.seek(length - limit)
            end = file.read().rstrip(b"\r\n")
    except OSError as error:
        raise unreadable(error, path) from None
    if b"\n" not in end and b"\r" not in end:
        do = "raise max_input_bytes to have it read"
        raise UserError(f"its last row is larger than {size(max_bytes)}", where=plain(path), do=do)


def _heading_of(file: TextIO) -> str:
    """Read the first row, including line ends within quotes. Stop after `_LONGEST_HEADING` characters."""
    lines = [file.readline(_LONGEST_HEADING)]
    quotes, length = lines[0].count('"'), len(lines[0])
    while quotes % 2 and length < _LONGEST_HEADING and (line := file.readline(_LONGEST_HEADING)):
        lines.append(line)
        quotes += line.count('"')
        length += len(line)
    return "".join(lines)


def _delimiter_of(line: str) -> str:
    outside = re.sub(r'"[^"]*"?', "", line)
    counts = {delimiter: outside.count(delimiter) for delimiter in _DELIMITERS}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else _NONE


def _is_data(heading: Sequence[str]) -> bool:
    """Return True if a first line cannot be names: it has an address, or only numbers. Years count as numbers."""
    numbers = all(re.fullmatch(r"[+-]?\d+([.,]\d+)*", cell.strip()) for cell in heading)
    return numbers or any("://" in cell for cell in heading)


def _names_in(heading: Sequence[str]) -> tuple[str, ...]:
    """Return distinct names for columns: a second `a` becomes `a_2`, an unnamed third column `column3`."""
    return tuple(distinct((cell.strip() or f"column{place}" for place, cell in enumerate(heading, 1)), first=2))


def _count(connection: DuckDBPyConnection, layout: _Layout) -> int:
    """Return the number of rows, including those with a wrong number of fields if the file has several columns.

    Raises:
        UserError: the file is broken in another way.
    """
    is_plain, types = _is_plain(layout), ["VARCHAR"] * len(layout.names)

    def counted(repaired: RepairedText | None, *, lenient: bool) -> int:
        with _opened(layout, is_plain=is_plain, repaired=repaired) as opened:
            relation = layout.relation(opened.path, types, lenient=lenient)
            return int(connection.sql(f"SELECT count(*) FROM {relation}").fetchall()[0][0])  # noqa: S608

    try:
        # broken rows make this query fail; the next one skips them
        with contextlib.suppress(*duckdb_reader.READ_ERRORS):
            return counted(None, lenient=False)
        return counted(layout.repaired() if len(types) > 1 else None, lenient=True)
    except duckdb_reader.READ_ERRORS as error:
        raise _fault_of(error, layout, types) from None


def _types_of(
    connection: DuckDBPyConnection, layout: _Layout, written: Collection[str], *, is_plain: bool
) -> list[str]:
    """Return the type of each column: from the whole file if it is small, otherwise from its first rows.

    Broken rows are skipped, because a broken row must not change the types, and thus the keys, of all other rows. A
    column without any value is text, so that every later value fits.

    Args:
        connection: reads the file.
        layout: the format of the file.
        written: columns that are text.
        is_plain: True if DuckDB can read the file itself.
    """
    names = layout.names
    rows = None if is_small([layout.path]) else min(_LARGE_LOOK, max(_LEAST_LOOK, _CELLS_LOOKED_AT // len(names)))
    limit = "" if rows is None else f" LIMIT {rows}"
    candidates = [index for index, name in enumerate(names) if name not in written]
    kinds: dict[int, list[str]] = {}
    try:
        for start in range(0, len(candidates), _COLUMNS_AT_ONCE):
            some = candidates[start : start + _COLUMNS_AT_ONCE]
            with _opened(layout, is_plain=is_plain) as opened:
                kinds |= _forms(connection, f"{_texts(layout, opened.path)}{limit}", some)
        dates = [index for index, found in kinds.items() if found[:1] and found[0] in _DATES]
        if dates:
            with _opened(layout, is_plain=is_plain) as opened:
                invalid = _invalid(connection, f"{_texts(layout, opened.path)}{limit}", dates, kinds)
            kinds |= {index: [] for index in invalid}
    except duckdb_reader.READ_ERRORS as error:
        raise _fault_of(error, layout, ["VARCHAR"] * len(names)) from None
    return [next(iter(kinds.get(index, ())), "VARCHAR") for index in range(len(names))]


def _texts(layout: _Layout, path: Path) -> str:
    return layout.relation(path, ["VARCHAR"] * len(layout.names), lenient=True)


def _forms(connection: DuckDBPyConnection, relation: str, columns: Sequence[int]) -> dict[int, list[str]]:
    """Return for each column the types whose form all of its values have, narrowest first; none if it has no values.

    Arrow compares the values, because DuckDB takes 4 ms to plan each expression, and thousands of columns would need
    tens of thousands of expressions.
    """
    forms = {kind: f"^(?:{pattern})$" for kind, pattern in _PATTERNS.items()}
    kinds = {index: list(_PATTERNS) for index in columns}
    empty = set(columns)
    selected = ", ".join(f"c{index}" for index in columns)
    with connection.sql(f"SELECT {selected} FROM {relation}").to_arrow_reader(READ_ROWS) as reader:  # noqa: S608
        while (batch := gathered(reader)) is not None:
            for index, values in zip(columns, batch.columns, strict=True):
                left = kinds[index]
                if not left or values.null_count == len(values):
                    continue
                empty.discard(index)
                kinds[index] = [kind for kind in left if pc.all(pc.match_substring_regex(values, forms[kind])).as_py()]
    return kinds | {index: [] for index in empty}


def _invalid(
    connection: DuckDBPyConnection, relation: str, columns: Sequence[int], kinds: Mapping[int, Sequence[str]]
) -> list[int]:
    """Return the columns with a value that matches its type's pattern but is invalid, such as 2026-02-30."""
    checks = ", ".join(
        f"coalesce(bool_and(c{index} IS NULL OR TRY_CAST(c{index} AS {kinds[index][0]}) IS NOT NULL), true)"
        for index in columns
    )
    found = connection.sql(f"SELECT {checks} FROM {relation}").fetchall()[0]  # noqa: S608
    return [index for index, is_valid in zip(columns, found, strict=True) if not is_valid]


def _fault_of(error: BaseException, layout: _Layout, types: Sequence[str]) -> UserError:
    """Convert DuckDB's error to one line about the file. DuckDB's message has a dozen lines about its options."""
    message = str(error)
    line = re.search(r"CSV Error on Line: (\d+)", message)
    where = f"{plain(layout.path)}:{line[1]}" if line else plain(layout.path)
    with contextlib.suppress(*READ_ERRORS):  # the file cannot be read a second time; the messages below still apply
        large = large_row(layout.path, layout.max_bytes, int(line[1]) if line else None)
        if large is not None or "line size" in message:
            do = "raise max_input_bytes to have it read"
            where = where if large is None else f"{plain(layout.path)}:{large}"
            return UserError(f"a row is larger than {size(layout.max_bytes)}", where, do)
    if found := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message):
        return _BrokenRow(fields_reason(int(found[2]), int(found[1])), where)
    if found := re.search(r'converting column "c(\d+)"\. Could not convert string "(.*?)" to', message, re.DOTALL):
        index = int(found[1])
        name, word = plain(layout.names[index]), _WORDS.get(types[index], "of its type")
        return _BrokenRow(f"{quoted(found[2])} in column {name} is not {word}, as all values before are", where)
    if "unterminated quote" in message:
        return UserError("a quoted value has no closing quote", where, "close it, or double the quotes inside it")
    if "Invalid unicode" in message:
        return not_text(layout.path, where)
    if "invalid state" in message:
        return UserError("its lines end in different ways, or its quotes are not valid CSV", where, "write it again")
    return duckdb_reader.fault_of(where)(error)
