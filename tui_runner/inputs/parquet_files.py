"""Parquet files as inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
from duckdb import DuckDBPyConnection

from tui_runner.errors import UserError
from tui_runner.inputs import duckdb_reader
from tui_runner.inputs.duckdb_reader import Bound, TableSource
from tui_runner.inputs.source import FileSource, Progress, Slice, silent
from tui_runner.text.items import MAX_INPUT_BYTES
from tui_runner.text.messages import plain

_FOOTERS_AT_ONCE = 500
"""Files whose footers DuckDB reads in one query. So thousands of files need few queries, and progress can be shown
after each query."""


class ParquetFiles(FileSource, TableSource):
    """Rows of Parquet files, with the columns of all files. Rows have None for columns that their file lacks."""

    def __init__(
        self,
        paths: Sequence[Path],
        text: str,
        max_bytes: int = MAX_INPUT_BYTES,
        progress: Progress = silent,
    ) -> None:
        super().__init__(paths, text, max_bytes)
        with closing(duckdb_reader.connect()) as connection:
            self.columns: tuple[str, ...] = _all_columns(connection, self._paths, progress)
        self._bare = len(self.columns) == 1

    def _count(self) -> int:
        files = ", ".join(map(duckdb_reader.file_literal, self._paths))
        try:
            with closing(duckdb_reader.connect()) as connection:
                sql = f"SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata([{files}])"  # noqa: S608
                rows: int = connection.sql(sql).fetchall()[0][0]
        except duckdb_reader.READ_ERRORS as error:
            raise _fault_of(plain(self.text))(error) from None
        return rows

    def _slices(self) -> Iterator[Slice]:
        with closing(duckdb_reader.connect()) as connection:
            for path in self._paths:
                every = _columns_of(connection, path)
                columns = [every.get(name) or duckdb_reader.Column(name, "NULL") for name in self.columns]
                yield from duckdb_reader.slices(
                    connection,
                    columns,
                    _parquet(path),
                    _fault_of(plain(path)),
                    bare=self._bare,
                    bound=Bound(self._max_bytes, plain(path)),
                )


def _all_columns(connection: DuckDBPyConnection, paths: Sequence[Path], progress: Progress) -> tuple[str, ...]:
    """Return the names of the columns of all files, in order of first appearance.

    Raises:
        UserError: a file cannot be read as Parquet.
    """
    names = dict.fromkeys(_columns_of(connection, paths[0]))
    for start in range(1, len(paths), _FOOTERS_AT_ONCE):
        some = paths[start : start + _FOOTERS_AT_ONCE]
        progress(f"reading the columns of {len(paths):,} files: {start:,} so far")
        try:
            names |= dict.fromkeys(_names_in(connection, some))
        except duckdb_reader.READ_ERRORS:
            for path in some:  # find out which file cannot be read
                names |= dict.fromkeys(_columns_of(connection, path))
    return tuple(names)


def _names_in(connection: DuckDBPyConnection, paths: Sequence[Path]) -> Iterator[str]:
    files = ", ".join(map(duckdb_reader.file_literal, paths))
    sql = f"SELECT name, coalesce(num_children, 0) FROM parquet_schema([{files}])"  # noqa: S608 - literals
    # Each schema is a list of the nodes of a tree, each before its children. The columns are the children of the root.
    missing: list[int] = []  # for each ancestor of the next node, the number of children that were not read yet
    taken: set[str] = set()
    for name, children in connection.sql(sql).fetchall():
        depth = len(missing)
        if depth == 0:
            taken = set()
        else:
            missing[-1] -= 1
        if depth == 1:
            if name.lower() in taken:
                raise ValueError("two columns have the same name, and DuckDB renames one of them")
            taken.add(name.lower())
            yield name
        missing.append(children)
        while missing and not missing[-1]:
            missing.pop()


def _columns_of(connection: DuckDBPyConnection, path: Path) -> dict[str, duckdb_reader.Column]:
    try:
        found = duckdb_reader.described(connection, _parquet(path))
    except duckdb_reader.READ_ERRORS as error:
        raise _fault_of(plain(path))(error) from None
    return {name: duckdb_reader.column(name, kind) for name, kind in found}


def _fault_of(where: str) -> Callable[[BaseException], UserError]:
    """Return a function that converts DuckDB's error about a file to a `UserError`."""

    def explain(error: BaseException) -> UserError:
        fault = duckdb_reader.fault_of(where)(error)
        if isinstance(error, (duckdb.IOException, duckdb.InvalidInputException)) or "ailed to read" in fault.what:
            # DuckDB's message repeats the path.
            what = re.sub(r"""\s*(?:(?:at end of|in) )?\b(?:[Ff]ile )?(['"])/.*?\1""", "", fault.what).strip()
            return UserError(f"it can't be read as Parquet: {what}", where, "get the whole file again")
        return fault

    return explain


def _parquet(path: Path) -> str:
    return f"read_parquet({duckdb_reader.file_literal(path)}, hive_partitioning=false)"
