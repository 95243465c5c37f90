"""Parquet and JSON files as inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from duckdb import DuckDBPyConnection

from tui_runner.errors import UserError
from tui_runner.inputs import duckdb_reader
from tui_runner.inputs.duckdb_reader import ArrowSlice
from tui_runner.inputs.source import ItemReader, SliceReader, Source, fingerprint_of_files
from tui_runner.text.messages import listed, plain


class ParquetFiles(Source):
    """The rows of Parquet files. The columns are those of the first file; the others may have more."""

    def __init__(self, paths: Sequence[Path], text: str) -> None:
        self.text = text
        self._paths = tuple(paths)
        self._bare = False
        self._total: int | None = None
        with closing(duckdb_reader.connect()) as connection:
            self.columns: tuple[str, ...] = tuple(_columns_of(connection, self._paths[0]))
        self._bare = len(self.columns) == 1

    @property
    def total(self) -> int | None:
        """The sum of what the files say of themselves."""
        if self._total is None:
            files = ", ".join(map(duckdb_reader.file_literal, self._paths))
            try:
                with closing(duckdb_reader.connect()) as connection:
                    sql = f"SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata([{files}])"  # noqa: S608
                    self._total = connection.sql(sql).fetchall()[0][0]
            except duckdb_reader.READ_ERRORS as error:
                raise duckdb_reader.fault_of(plain(self.text))(error) from None
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
                every = _columns_of(connection, path)
                missing = [name for name in self.columns if name not in every]
                if missing:
                    raise UserError(f"it lacks the columns {listed(missing)}, which the files before have", plain(path))
                columns = [every[name] for name in self.columns]
                yield from duckdb_reader.slices(
                    connection, columns, _parquet(path), duckdb_reader.fault_of(plain(path)), bare=self._bare
                )


def _columns_of(connection: DuckDBPyConnection, path: Path) -> dict[str, duckdb_reader.Column]:
    try:
        found = duckdb_reader.described(connection, _parquet(path))
    except duckdb_reader.READ_ERRORS as error:
        raise duckdb_reader.fault_of(plain(path))(error) from None
    return {name: duckdb_reader.column(name, kind) for name, kind in found}


def _parquet(path: Path) -> str:
    return f"read_parquet({duckdb_reader.file_literal(path)}, hive_partitioning=false)"
