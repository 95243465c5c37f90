"""Parquet and JSON files as inputs."""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from duckdb import DuckDBPyConnection

from tui_runner.errors import UserError
from tui_runner.inputs import duck
from tui_runner.inputs.json_values import JsonValues
from tui_runner.inputs.source import Source
from tui_runner.text.messages import listed, one_line, plain

_LARGEST_VALUE = 16 << 20
"""Bytes of one JSON value at most; DuckDB's buffers are of this size, in every file."""


class ParquetFiles(Source):
    """The rows of Parquet files. The columns are those of the first file; the others may have more."""

    def __init__(self, paths: Sequence[Path], text: str) -> None:
        self.text = text
        self._paths = tuple(paths)
        self._bare = False
        self._total: int | None = None
        with closing(duck.connect()) as connection:
            self.columns: tuple[str, ...] = tuple(_columns_of(connection, self._paths[0]))
        self._bare = len(self.columns) == 1

    @property
    def total(self) -> int | None:
        """The sum of what the files say of themselves."""
        if self._total is None:
            files = ", ".join(map(duck.file_literal, self._paths))
            try:
                with closing(duck.connect()) as connection:
                    sql = f"SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata([{files}])"  # noqa: S608
                    self._total = connection.sql(sql).fetchall()[0][0]
            except duck.READ_ERRORS as error:
                raise duck.fault_of(plain(self.text))(error) from None
        return self._total

    def __iter__(self) -> Iterator[object]:
        with closing(duck.connect()) as connection:
            for path in self._paths:
                every = _columns_of(connection, path)
                missing = [name for name in self.columns if name not in every]
                if missing:
                    raise UserError(f"it lacks the columns {listed(missing)}, which the files before have", plain(path))
                columns = [every[name] for name in self.columns]
                yield from duck.rows(connection, columns, _parquet(path), duck.fault_of(plain(path)), bare=self._bare)

    def select(self, columns: Sequence[str] | None) -> Source:
        """The same files; only these columns are read."""
        if columns is None or self._bare:
            return self
        selected = copy.copy(self)
        selected.columns = tuple(columns)
        return selected


class JsonFiles(JsonValues):
    """The values of JSON files: of each the elements of its array, or if it holds no array, the values one by one.

    DuckDB finds the values, without holding a file whole; Python's parser makes objects of them, so that every
    type comes as it was written (DuckDB's own reader makes dates of texts and drops members that come late).
    """

    @property
    def total(self) -> int | None:
        """Counted for files that are small."""
        if self._total is None and is_small(self._paths):
            self._total = sum(1 for _ in _json_texts(self._paths))
        return self._total

    def _values(self) -> Iterator[object]:
        for path, text in _json_texts(self._paths):
            try:
                yield json.loads(str(text))
            except (ValueError, RecursionError) as error:
                raise UserError(f"it is not JSON: {one_line(error)}", where=plain(path)) from None


def is_small(paths: Sequence[Path]) -> bool:
    """Whether files are so small, and so few, that reading them once more only for counting is not felt."""
    if len(paths) > _FEW_FILES:
        return False
    try:
        sizes = [path.stat().st_size * (8 if path.name.lower().endswith(".gz") else 1) for path in paths]
    except OSError:
        return False
    return sum(sizes) <= _SMALL_BYTES


_SMALL_BYTES = 64 << 20
"""Files that are together below this size are read once more for what is better known beforehand: half a second."""


_FEW_FILES = 500
"""Opening a file and finding out how it is written takes DuckDB some milliseconds."""


def _check_end(path: Path) -> None:
    """Refuse an array that is cut off between two of its elements, which DuckDB takes for its end."""
    first = last = b""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            while block := file.read(1 << 20):
                text = block.removeprefix(b"\xef\xbb\xbf").strip()
                first = first or text[:1]
                last = text[-1:] or last
                if first not in (b"", b"["):
                    return
    except (OSError, EOFError, zlib.error):
        return  # DuckDB says it better
    if first == b"[" and last != b"]":
        raise UserError("its array does not end: the file was cut off", where=plain(path), do="get the whole file")


def _json_texts(paths: Sequence[Path]) -> Iterator[tuple[Path, object]]:
    column = duck.Column("json", "json")
    with closing(duck.connect()) as connection:
        for path in paths:
            _check_end(path)
            options = f"format='auto', maximum_object_size={_LARGEST_VALUE}"
            relation = f"read_json_objects({duck.file_literal(path)}, {options})"
            for text in duck.rows(connection, [column], relation, duck.fault_of(plain(path)), bare=True):
                yield path, text


def _columns_of(connection: DuckDBPyConnection, path: Path) -> dict[str, duck.Column]:
    try:
        found = duck.described(connection, _parquet(path))
    except duck.READ_ERRORS as error:
        raise duck.fault_of(plain(path))(error) from None
    return {name: duck.column(name, kind) for name, kind in found}


def _parquet(path: Path) -> str:
    return f"read_parquet({duck.file_literal(path)}, hive_partitioning=false)"
