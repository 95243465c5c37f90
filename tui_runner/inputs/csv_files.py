"""CSV and TSV files as inputs.

The first line names the columns. DuckDB's parser reads the file, but its guessing is not used: it skips what it
takes for a preamble (a broken row makes it drop all rows before), takes the first of several addresses for a
heading, and a `;` in a single column for the delimiter. Instead:

* the delimiter is a tab for `.tsv`; else the one of `,` `;` tab `|` that is most frequent in the first line;
  a first line with none of them means a single column, whose values may hold any of them;
* a first line that can't be names (numbers, addresses) is the first item of a single column, and an error of several;
* a column is of a type if every value has its usual form and loses nothing by it: `00123` stays text, so does
  a decimal number with more digits than a float has, and integers may be of any length;
* a column that the function wants as it is written (`as_written`) is text: `1.10` as a version, `12.50` as money.

Empty fields are None; `""` is an empty text. In a single column, blank lines are left out.
"""

from __future__ import annotations

import copy
import csv
import gzip
import io
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from duckdb import DuckDBPyConnection

from tui_runner.errors import UserError
from tui_runner.inputs import duckdb_reader
from tui_runner.inputs.duckdb_reader import ArrowSlice
from tui_runner.inputs.source import ItemReader, SliceReader, Source, fingerprint_of_files, is_small
from tui_runner.store.sql import literal
from tui_runner.text.messages import listed, one_line, plain, quoted

_DELIMITERS = ",;\t|"
_NONE = "\x1f"
"""Delimiter of a single column: the unit separator, which does not occur in text."""
_LONGEST_LINE = 4 << 20
"""Bytes a row may have."""
_BUFFER = 8 << 20
"""Bytes that DuckDB reads at a time. Left to itself it takes 16 times the longest line, all of it resident."""
_LONGEST_HEADING = 1 << 20
"""Characters that the names of the columns may have together."""
_FIRST_LOOK = 10_000
"""Rows from which the possible types of the columns are taken."""
_LARGE_LOOK = 100_000
"""Rows of a large file that have to agree on a type; a later row that does not is an error with its line."""

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MOMENT = _DAY + "[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?"
_PATTERNS = {
    "BOOLEAN": "(?i)true|false",
    "BIGINT": "-?(0|[1-9][0-9]{0,17})",
    "HUGEINT": "-?(0|[1-9][0-9]{0,36})",
    # What a float keeps, at 15 digits before the point and 17 behind. An exponent without sign may be a name: 12E4.
    "DOUBLE": "-?(0|[1-9][0-9]{0,14})([.][0-9]{1,17})?([eE][+-][0-9]{1,2})?",
    "DATE": _DAY,
    "TIMESTAMP": _MOMENT,
    "TIMESTAMP WITH TIME ZONE": _MOMENT + "(Z|[+-][0-9]{2}(:[0-9]{2})?)",
}
"""The usual form of the values of each type, the narrowest type first."""
_WORDS = {
    "BOOLEAN": "true or false",
    "BIGINT": "a whole number",
    "HUGEINT": "a whole number",
    "DOUBLE": "a number",
    "DATE": "a date",
    "TIMESTAMP": "a time",
    "TIMESTAMP WITH TIME ZONE": "a time with a zone",
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one file is written."""

    path: Path
    delimiter: str
    header: bool
    names: tuple[str, ...]

    def relation(self, types: Sequence[str], *, lenient: bool = False) -> str:
        """What reads the file, with columns `c0`, `c1`, … of these types; `lenient` leaves out broken rows."""
        columns = ", ".join(f"'c{index}': {literal(kind)}" for index, kind in enumerate(types))
        return (
            f"read_csv({duckdb_reader.file_literal(self.path)}, auto_detect=false, delim={literal(self.delimiter)}, "
            f"quote='\"', escape='\"', header={self.header}, columns={{{columns}}}, nullstr='', "
            f"allow_quoted_nulls=false, strict_mode=true, ignore_errors={lenient}, "
            f"max_line_size={_LONGEST_LINE}, buffer_size={_BUFFER})"
            # A blank line in a file with one column reads as a row that is NULL.
            + (" WHERE c0 IS NOT NULL" if len(types) == 1 else "")
        )


class CsvFiles(Source):
    """The rows of CSV or TSV files. The columns are those of the first file; the others may have more."""

    def __init__(self, paths: Sequence[Path], text: str) -> None:
        self.text = text
        self._paths = tuple(paths)
        self._total: int | None = None
        layout = _layout_of(self._paths[0])
        self.columns: tuple[str, ...] | None = layout.names if layout else None
        self._bare = self.columns is not None and len(self.columns) == 1
        self._written: frozenset[str] = frozenset()

    @property
    def total(self) -> int | None:
        """Counted for files that are small."""
        if self._total is None and is_small(self._paths):
            with closing(duckdb_reader.connect()) as connection:
                layouts = map(_layout_of, self._paths)
                self._total = sum(_count(connection, layout) for layout in layouts if layout)
        return self._total

    def __iter__(self) -> Iterator[object]:
        return duckdb_reader.rows(self._slices())

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the rows."""
        return SliceReader(self._slices())

    def fingerprint(self) -> str | None:
        """Return what tells the files from changed ones."""
        return fingerprint_of_files(self._paths)

    def _slices(self) -> Iterator[ArrowSlice]:
        with closing(duckdb_reader.connect()) as connection:
            for path in self._paths:
                layout = _layout_of(path)
                if layout is not None:
                    yield from self._rows(connection, layout)

    def as_written(self, columns: Collection[str]) -> Source:
        """The same files; the values of these columns stay text, whatever they look like."""
        same = copy.copy(self)
        same._written = frozenset(columns)
        return same

    def _rows(self, connection: DuckDBPyConnection, layout: _Layout) -> Iterator[ArrowSlice]:
        names = layout.names if self.columns is None or self._bare else self.columns
        missing = [name for name in names if name not in layout.names]
        if missing or (self._bare and len(layout.names) != 1):
            lacking = f"it lacks the columns {listed(missing)}, which" if missing else "it has several columns;"
            raise UserError(f"{lacking} the files before have {listed(self.columns or ())}", plain(layout.path))
        # The name of a single column may be another in each file.
        written = layout.names if self._bare and self._written else self._written
        types = _types_of(connection, layout, written)
        columns = [
            duckdb_reader.column(name, types[index], f"c{index}")
            for name in names
            for index in (layout.names.index(name),)
        ]
        yield from duckdb_reader.slices(
            connection,
            columns,
            layout.relation(types),
            lambda error: _fault_of(error, layout, types),
            bare=self._bare,
        )


def _layout_of(path: Path) -> _Layout | None:
    """How a file is written, from its first line; None for a file with nothing in it."""
    tab = path.name.lower().removesuffix(".gz").endswith(".tsv")
    try:
        with _text_of(path) as file:
            first = file.readline(_LONGEST_HEADING)
            while first.count('"') % 2 and len(first) < _LONGEST_HEADING and (more := file.readline()):
                first += more  # a name in quotes goes on in the next line
            delimiter = "\t" if tab else _delimiter_of(first)
            heading = next(csv.reader(io.StringIO(first, newline=""), delimiter=delimiter), [])
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"the input can't be read: {reason}", where=plain(path)) from None
    except UnicodeDecodeError:
        raise UserError("it is not UTF-8 text", f"{plain(path)}:{_foreign_line(path)}", "save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"its first line can't be read: {error}", where=f"{plain(path)}:1") from None
    if not first:
        return None
    if not first.strip():
        # DuckDB could skip it, but then loses all rows, in silence, if the lines below end in another way.
        raise UserError("its first line is blank", where=f"{plain(path)}:1", do="put the names of its columns there")
    if not _is_data(heading):
        return _Layout(path, delimiter, True, _distinct(heading))
    if len(heading) > 1:
        raise UserError(
            f"its first line holds data and not the names of columns: {quoted(first.strip())}",
            where=plain(path),
            do="put a line with their names first",
        )
    return _Layout(path, delimiter, False, ("value",))


def _foreign_line(path: Path) -> int:
    """Number of the first line that is not UTF-8; the decoder fails for a whole block and does not say."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _text_of(path: Path) -> IO[str]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _delimiter_of(line: str) -> str:
    outside = re.sub(r'"[^"]*"?', "", line)
    counts = {delimiter: outside.count(delimiter) for delimiter in _DELIMITERS}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return best if counts[best] else _NONE


def _is_data(heading: Sequence[str]) -> bool:
    """Whether a first line can't be names: an address in it, or nothing but numbers (years may be names)."""
    numbers = all(re.fullmatch(r"[+-]?\d+([.,]\d+)*", cell.strip()) for cell in heading)
    return numbers or any("://" in cell for cell in heading)


def _distinct(heading: Sequence[str]) -> tuple[str, ...]:
    """Names of columns without repeats: `a`, `a_2`; one without a name is called by its place, `column3`."""
    names: list[str] = []
    for place, cell in enumerate(heading, 1):
        name = base = cell.strip() or f"column{place}"
        count = 1
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return tuple(names)


def _count(connection: DuckDBPyConnection, layout: _Layout) -> int:
    types = ["VARCHAR"] * len(layout.names)
    try:
        relation = layout.relation(types, lenient=True)
        return int(connection.sql(f"SELECT count(*) FROM {relation}").fetchall()[0][0])  # noqa: S608
    except duckdb_reader.READ_ERRORS as error:
        raise _fault_of(error, layout, types) from None


def _types_of(connection: DuckDBPyConnection, layout: _Layout, written: Collection[str]) -> list[str]:
    """The type of each column: of the whole file if it is small, else of its first 100,000 rows.

    Args:
        connection: reads the file.
        layout: how it is written.
        written: columns that are text in any case.
    """
    every: list[tuple[str, ...]] = [() if name in written else tuple(_PATTERNS) for name in layout.names]
    try:
        possible = _possible(connection, layout, every, _FIRST_LOOK, without_values=True)
        rows = None if is_small([layout.path]) else _LARGE_LOOK
        # A column without any value is text: whatever comes later must not be refused.
        possible = _possible(connection, layout, possible, rows, without_values=False)
    except duckdb_reader.READ_ERRORS as error:
        raise _fault_of(error, layout, ["VARCHAR"] * len(layout.names)) from None
    return [kinds[0] if kinds else "VARCHAR" for kinds in possible]


def _possible(
    connection: DuckDBPyConnection,
    layout: _Layout,
    candidates: Sequence[Sequence[str]],
    rows: int | None,
    *,
    without_values: bool,
) -> list[tuple[str, ...]]:
    """Those of the candidate types of each column that all its values in the first `rows` rows have.

    Broken rows are left out: that a file has one must not change the types, and so the keys, of all others.
    """
    checks = [(index, kind) for index, kinds in enumerate(candidates) for kind in kinds]
    if not checks:
        return [() for _ in candidates]
    sql = ", ".join(f"coalesce(bool_and({_check(f'c{index}', kind)}), {without_values})" for index, kind in checks)
    limit = "" if rows is None else f" LIMIT {rows}"
    relation = layout.relation(["VARCHAR"] * len(candidates), lenient=True)
    found = connection.sql(f"SELECT {sql} FROM (SELECT * FROM {relation}{limit})").fetchall()[0]  # noqa: S608
    holds = {check for check, held in zip(checks, found, strict=True) if held}
    return [tuple(kind for kind in kinds if (index, kind) in holds) for index, kinds in enumerate(candidates)]


def _check(name: str, kind: str) -> str:
    form = f"regexp_full_match({name}, {literal(_PATTERNS[kind])})"
    # 2026-02-30 has the form of a date.
    # An empty field is of every type: NULL is what bool_and passes over.
    return f"CASE WHEN {name} IS NOT NULL THEN {form} AND TRY_CAST({name} AS {kind}) IS NOT NULL END"


def _fault_of(error: BaseException, layout: _Layout, types: Sequence[str]) -> UserError:
    """What DuckDB says of a CSV file in a dozen lines of advice about its own options, in one line about the file."""
    said = str(error)
    line = re.search(r"CSV Error on Line: (\d+)", said)
    where = f"{plain(layout.path)}:{line[1]}" if line else plain(layout.path)
    if found := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", said):
        return UserError(f"the row has {found[2]} fields where the first line has {found[1]}", where)
    if found := re.search(r'converting column "c(\d+)"\. Could not convert string "(.*?)" to', said, re.DOTALL):
        index = int(found[1])
        name, word = plain(layout.names[index]), _WORDS.get(types[index], "of its type")
        return UserError(f"{quoted(found[2])} in column {name} is not {word}, as all values before are", where)
    if "unterminated quote" in said:
        return UserError("a value in quotes does not end as it should", where, "double the quotes inside it")
    if "Invalid unicode" in said:
        return UserError("it is not UTF-8 text", where, "save it as UTF-8")
    if "line size" in said:
        return UserError(f"a row is longer than {_LONGEST_LINE >> 20} MB", where)
    if "invalid state" in said:
        return UserError("its lines end in different ways, or quotes are not as CSV has them", where)
    return duckdb_reader.fault_of(where)(error)
