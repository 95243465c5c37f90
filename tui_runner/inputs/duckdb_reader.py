"""Reads tables for input through DuckDB, in small slices of rows, with a connection to an empty in-memory database."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.inputs.source import ItemReader, Slice, SliceReader, Source
from tui_runner.store.arrow_batches import READ_ROWS, pieces
from tui_runner.store.sql import literal, quote
from tui_runner.system.private_folder import private_folder
from tui_runner.text.items import too_large
from tui_runner.text.messages import one_line, plain

_CONFIG: dict[str, str | int | bool | float | list[str]] = {
    # One thread preserves the order of the rows at no cost, and leaves the other processors to the workers.
    "threads": 1,
    # Without this, a batch is refused if its texts or blobs have more than 2 GB together.
    "arrow_large_buffer_size": True,
    # Read with built-in code only: do not download extensions, and do not take this program's variables for tables.
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column to read.

    Attributes:
        name: name of the column in the items.
        expression: SQL for the value, in a type that Arrow converts to Python without loss.
        convert: converts the Python value from Arrow, which is never None, to the value in the item; None if they are
            equal.
        nbytes: SQL for the size of a value in bytes; None for types of small values, and for those whose size DuckDB
            cannot tell without copying them.
    """

    name: str
    expression: str
    convert: Callable[[Any], object] | None = None
    nbytes: str | None = None


_MEMORY_MB = 512
"""Megabytes for DuckDB besides its read buffers. Streaming a file takes less; a query that sorts or groups writes to
the disk beyond this."""
_LARGEST_VALUES = 8
"""Values of the maximal size for which DuckDB's memory limit has room. A read buffer for CSV holds two of them, so four
such buffers fit."""


def connect(max_bytes: int = 0) -> duckdb.DuckDBPyConnection:
    """Return a connection to an in-memory database. A SELECT on it can read files, but not write any.

    Without a lock on the configuration, a SELECT could write: it may call functions that change settings, and some
    settings make DuckDB write a log or a profile to any path.

    Args:
        max_bytes: bytes of the largest row or value of a file; the memory limit allows for buffers of several.
    """
    memory = f"{_MEMORY_MB + _LARGEST_VALUES * max_bytes // 1_000_000}MB"
    spill = str(private_folder() / "spill")
    connection = duckdb.connect(config={**_CONFIG, "memory_limit": memory, "temp_directory": spill})
    # Without this, DuckDB draws a progress bar on standard output in a process without a script (`python -c`, a
    # notebook).
    connection.execute("SET enable_progress_bar = false")
    # Size of the rows that DuckDB reads ahead. 100 KB hold a few thousand rows of two numbers, 1 MB fifty thousand, the
    # default of 10 MB half a million. A larger buffer is not faster, and a broken row loses all rows in it.
    connection.execute("SET streaming_buffer_size = '100KB'")
    connection.execute("SET lock_configuration = true")
    return connection


def file_literal(path: Path) -> str:
    """Return an SQL string that names only this file, even if its path contains `*`, `?` or `[`.

    Raises:
        UserError: the path has one of these and a backslash. In a pattern, DuckDB takes a backslash for a separator.
    """
    if "\\" in str(path) and re.search(r"[*?\[]", str(path)):
        what = "its path has a backslash and one of *, ? and [, with which DuckDB finds no file"
        raise UserError(what, plain(path), "rename the file or its folder")
    return literal(re.sub(r"([*?\[])", r"[\1]", str(path)))


def column(name: str, kind: str, sql_name: str | None = None) -> Column:
    """Return the expression and conversion for a column of DuckDB type `kind`.

    Args:
        name: name of the column in the items.
        kind: type of the column, as returned by DESCRIBE.
        sql_name: name of the column in the query; None for `name`.
    """
    sql = quote(sql_name or name)
    match kind:
        case "TIMESTAMP WITH TIME ZONE":
            # Read times as UTC. In the local zone they could not be read on a machine without a time zone database.
            return Column(name, f"{sql} AT TIME ZONE 'UTC'", lambda value: value.replace(tzinfo=UTC))
        case "TIMESTAMP_NS":  # Python's datetime has no unit below microseconds
            return Column(name, f"CAST({sql} AS TIMESTAMP)")
        case "HUGEINT" | "UHUGEINT" | "BIGNUM":
            return Column(name, f"CAST({sql} AS VARCHAR)", int)
        case "UUID":
            return Column(name, f"CAST({sql} AS VARCHAR)", UUID)
        case "BIT" | "TIME WITH TIME ZONE" | "TIMETZ" | "TIME_NS":
            return Column(name, f"CAST({sql} AS VARCHAR)")
        case "INTERVAL":
            return Column(name, sql, _timedelta)
        case "VARCHAR" | "JSON":
            return Column(name, sql, nbytes=f"strlen({sql})")
        case "BLOB":
            return Column(name, sql, nbytes=f"octet_length({sql})")
    return Column(name, sql)


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit on the size of a row; a larger row becomes `Refused`.

    Attributes:
        max_bytes: bytes that a row may have.
        place: the input, as named in messages.
    """

    max_bytes: int
    place: str


def described(connection: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[str, str]]:
    """Return the names and types of the columns of `relation`, which is SQL that can follow FROM."""
    rows = connection.sql(f"DESCRIBE FROM {relation}").fetchall()
    return [(str(row[0]), str(row[1])) for row in rows]


class ArrowSlice:
    """Rows of an Arrow batch; a `Slice`."""

    def __init__(
        self,
        batch: pa.RecordBatch,
        columns: Sequence[Column],
        explain: Callable[[BaseException], UserError],
        *,
        bare: bool,
        bound: Bound | None = None,
        first_row: int = 0,
    ) -> None:
        self._bound = bound
        self._first_row = first_row
        self._batch = batch
        self._columns = columns
        self._explain = explain
        self._bare = bare

    def __len__(self) -> int:
        rows: int = self._batch.num_rows
        return rows

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        nbytes: int = self._batch.nbytes
        return nbytes

    def values(self, start: int, stop: int) -> list[object]:
        """Return the rows from `start` to `stop` as items. A row that is too large is `Refused`."""
        bound = self._bound
        # The last column marks the rows whose values DuckDB has omitted because they are too large. Nested values are
        # not part of that sum, so measure the batch as well.
        if bound is not None and (self._batch.nbytes > bound.max_bytes or self._batch.columns[-1].true_count):
            return [
                too_large(f"{bound.place}: row {self._first_row + row + 1:,}", bound.max_bytes)
                if self._is_too_large(row, bound)
                else self._values(row, row + 1)[0]
                for row in range(start, stop)
            ]
        return self._values(start, stop)

    def _is_too_large(self, row: int, bound: Bound) -> bool:
        part = self._batch.slice(row, 1)
        return bool(part.column(part.num_columns - 1)[0].as_py()) or part.nbytes > bound.max_bytes

    def _values(self, start: int, stop: int) -> list[object]:
        try:
            values = _values(self._batch.slice(start, stop - start), self._columns)
        except READ_ERRORS as error:
            raise self._explain(error) from None
        if self._bare:
            return values[0]
        names = [part.name for part in self._columns]
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


_IS_LARGE = quote("tui-runner: is too large")
"""Name of the column that marks too large rows. No column of an input is likely to have it."""


def _sum(terms: Sequence[str]) -> str:
    """Return the sum of SQL expressions, nested as a balanced tree, because DuckDB allows 1,000 levels."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_sum(terms[:half])} + {_sum(terms[half:])})"


def slices(
    connection: duckdb.DuckDBPyConnection,
    columns: Sequence[Column],
    relation: str,
    explain: Callable[[BaseException], UserError],
    *,
    bare: bool = False,
    bound: Bound | None = None,
) -> Iterator[ArrowSlice]:
    """Yield the rows of a relation in slices of up to some thousand rows.

    Args:
        connection: must not be used otherwise until the rows are read or this generator is closed.
        columns: columns to read.
        relation: SQL that can follow FROM.
        explain: converts an error of DuckDB or Arrow to one for the user.
        bare: True if the items are the values of the only column, not dicts.
        bound: limit on the size of a row; None if the relation enforces a limit.

    Raises:
        UserError: what `explain` returns, if DuckDB or Arrow cannot read the relation.
    """
    expressions = [part.expression for part in columns]
    if bound is not None:
        sizes = [f"coalesce({part.nbytes}, 0)" for part in columns if part.nbytes]
        is_large = f"{_sum(sizes)} > {bound.max_bytes}" if sizes else "false"
        # Compute the mark in an inner query. If it were part of each column's expression, planning would take minutes
        # for a thousand columns.
        relation = f"(SELECT *, {is_large} AS {_IS_LARGE} FROM {relation})"  # noqa: S608 - our own texts
        # The values of too large rows are replaced by NULL, so that they are copied neither into Arrow nor into Python.
        expressions = [
            f"CASE WHEN {_IS_LARGE} THEN NULL ELSE {part.expression} END" if part.nbytes else part.expression
            for part in columns
        ]
        expressions.append(_IS_LARGE)
    selected = ", ".join(f"{sql} AS {quote(f'c{index}')}" for index, sql in enumerate(expressions))
    first_row = 0
    try:
        with connection.sql(f"SELECT {selected} FROM {relation}").to_arrow_reader(READ_ROWS) as reader:  # noqa: S608
            for piece in pieces(reader):
                yield ArrowSlice(piece, columns, explain, bare=bare, bound=bound, first_row=first_row)
                first_row += piece.num_rows
                del piece  # release its memory before the next one is created
    except READ_ERRORS as error:
        raise explain(error) from None


class TableSource(Source):
    """A source whose rows DuckDB reads."""

    def __iter__(self) -> Iterator[object]:
        return rows(self._slices())

    def open(self, offset: int | None = None) -> ItemReader:
        """Return a reader of the rows. `offset` is ignored."""
        return SliceReader(self._slices())

    @abstractmethod
    def _slices(self) -> Iterator[Slice]:
        """Yield the rows in order."""


def rows(parts: Iterable[Slice]) -> Iterator[object]:
    """Yield the items of all slices."""
    for part in parts:
        yield from part.values(0, len(part))


READ_ERRORS = (duckdb.Error, pa.ArrowException, OSError, ValueError, OverflowError)
"""Errors that DuckDB and Arrow raise for input that they cannot read."""


def fault_of(where: str) -> Callable[[BaseException], UserError]:
    """Return a function that converts an error of DuckDB or Arrow about the input `where` to a `UserError`."""

    def explain(error: BaseException) -> UserError:
        # The message is "Invalid Input Error: what happened", sometimes followed by "LINE 1: …" and a drawing.
        first = str(error).strip().split("\n", 1)[0]
        message = re.sub(r"^(?:\w+ )*Error: ", "", first)
        # `where` already names the file, and DuckDB's number of the JSON value is one too high.
        message = re.sub(r" in file \"[^\"]*\"(, at byte \d+ in [\w/]+ \d+)?", "", message)
        message = without_settings(message)
        return UserError(one_line(message) or type(error).__name__, where=where)

    return explain


def without_settings(message: str) -> str:
    """Return a message of DuckDB without its advice to change a setting, because users cannot change its settings."""
    return re.sub(r"\s*Use \"SET .*", "", message, flags=re.DOTALL)


def _values(batch: Any, columns: Sequence[Column]) -> list[list[object]]:
    every: list[list[object]] = []
    for index, part in enumerate(columns):
        values = batch.column(index).to_pylist()
        convert = part.convert
        if convert is not None:
            values = [None if value is None else convert(value) for value in values]
        every.append(values)
    return every


def _timedelta(value: Any) -> timedelta:
    """Convert an Arrow interval, counting a month as 30 days, as DuckDB does."""
    months, days, nanoseconds = value
    return timedelta(days=30 * months + days, microseconds=nanoseconds // 1000)
