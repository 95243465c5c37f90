"""The rows of a statement, local or remote, in types that Arrow can represent, with their DuckDB types as metadata."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping

import duckdb
import pyarrow as pa
from duckdb.sqltypes import DuckDBPyType

from tui_runner.store.query.errors import QueryError
from tui_runner.store.sql import distinct, quote
from tui_runner.text.messages import plain

_AS_TEXT = ("INTERVAL", "TIME WITH TIME ZONE", "BIT", "BIGNUM", "UHUGEINT", "VARIANT", "GEOMETRY", "UNION(")
"""Types that lose information in Arrow, or that Parquet cannot store. They are read as DuckDB's text instead."""

_NESTED: Mapping[str, Callable[[list[tuple[str, str]]], str]] = {
    "list": lambda parts: f"{parts[0][1]}[]",
    "array": lambda parts: f"{parts[0][1]}[{parts[1][1]}]",
    "map": lambda parts: f"MAP({parts[0][1]}, {parts[1][1]})",
    "struct": lambda parts: f"STRUCT({', '.join(f'{quote(name)} {kind}' for name, kind in parts)})",
    "tuple": lambda parts: f"TUPLE({', '.join(kind for _, kind in parts)})",
}
"""Functions that write a nested type in SQL, given the names and types of its parts. The key is DuckDB's name for the
kind of type."""

DEEPEST_TYPE = 100
"""Deepest nesting of a type. Arrow, and readers of its schemas, process nested types recursively, so each level needs
stack."""


class Readable:
    """A relation in which columns that Arrow would misrepresent are cast to text.

    Args:
        relation: the relation of the statement.

    Attributes:
        relation: the relation to read as Arrow.

    Raises:
        QueryError: the type of a column is nested too deeply.
    """

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self._names = distinct(relation.columns)
        self._types = relation.types
        for name, kind in zip(self._names, self._types, strict=True):
            if _is_deeper(kind, DEEPEST_TYPE):
                what = f"the type of column {plain(name)} is nested more than {DEEPEST_TYPE} deep"
                raise QueryError(what, do="select a part of it, or its text: CAST(… AS VARCHAR)")
        self.relation = _as_text(relation, self._names)

    def schema(self, read: pa.Schema) -> pa.Schema:
        """Return the schema `read` with distinct names, and with `TYPE_KEY` in the metadata of each field.

        Fields inside nested types have `TYPE_KEY` only if they are JSON.
        """
        return pa.schema(
            [
                pa.field(name, _marked(field.type, kind), metadata={TYPE_KEY: str(kind).encode()})
                for name, kind, field in zip(self._names, self._types, read, strict=True)
            ]
        )


def _is_deeper(kind: DuckDBPyType, depth: int) -> bool:
    """Return True if a type has more than `depth` levels of nested lists, structs or maps."""
    level: list[object] = [kind]
    for _ in range(depth):
        nested = [each for each in level if isinstance(each, DuckDBPyType) and each.id in _NESTED]
        if not nested:
            return False
        level = [part for each in nested for _, part in each.children]
    return True


def _as_text(relation: duckdb.DuckDBPyRelation, names: list[str]) -> duckdb.DuckDBPyRelation:
    carried = [_carried(kind) for kind in relation.types]
    if all(text == str(kind) for text, kind in zip(carried, relation.types, strict=True)):
        return relation
    columns = [
        f"{f'#{number}' if text == str(kind) else f'CAST(#{number} AS {text})'} AS {quote(name or 'column')}"
        for number, (name, text, kind) in enumerate(zip(names, carried, relation.types, strict=True), start=1)
    ]
    return relation.project(", ".join(columns))


def _marked(read: pa.DataType, kind: DuckDBPyType) -> pa.DataType:
    """Return an Arrow type with `TYPE_KEY` on the JSON fields in it, because Arrow treats JSON as text."""
    if kind.id not in _NESTED or "JSON" not in str(kind):
        return read

    def field(part: pa.Field, kind: object) -> pa.Field:
        if not isinstance(kind, DuckDBPyType):
            return part
        return part.with_metadata({TYPE_KEY: JSON}) if str(kind) == "JSON" else part.with_type(_marked(part.type, kind))

    parts = [part for _, part in kind.children]
    types = pa.types
    if types.is_struct(read):
        return pa.struct([field(each, part) for each, part in zip(read, parts, strict=True)])
    if types.is_list(read):
        return pa.list_(field(read.value_field, parts[0]))
    if types.is_large_list(read):
        return pa.large_list(field(read.value_field, parts[0]))
    if types.is_fixed_size_list(read):
        return pa.list_(field(read.value_field, parts[0]), read.list_size)
    if types.is_map(read):
        return pa.map_(read.key_field, field(read.item_field, parts[1]), read.keys_sorted)
    return read


def _carried(kind: DuckDBPyType) -> str:
    """Return a type in SQL, with VARCHAR instead of types that Arrow would misrepresent, at any depth."""
    text = str(kind)
    if kind.id not in _NESTED:
        return "VARCHAR" if text.startswith(_AS_TEXT) else text
    parts = [(name, _carried(part) if isinstance(part, DuckDBPyType) else str(part)) for name, part in kind.children]
    if all(part == str(old) for (_, part), (_, old) in zip(parts, kind.children, strict=True)):
        return text
    return _NESTED[kind.id](parts)


TYPE_KEY = b"duckdb_type"
"""Key in the metadata of a result's fields for the DuckDB type, because Arrow has fewer types: JSON is a string in
Arrow."""
JSON = b"JSON"
"""DuckDB type of fields that contain JSON, also within lists and structs."""


def holds_json(field: pa.Field) -> bool:
    """Return True if the text in a field is JSON."""
    return bool((field.metadata or {}).get(TYPE_KEY) == JSON)


class Result(ABC):
    """The rows of a statement, in batches as they are produced. Closing it ends the statement.

    Attributes:
        schema: distinct names and Arrow types, with `TYPE_KEY` in each field's metadata.
        rows: number of rows read so far.
        seconds: seconds from the call of `query` to the newest batch.
        closed: True if all rows were read or the result was closed.
        complete: True if all rows were read.
        on_close: called once, after the result was closed.
    """

    def __init__(self, schema: pa.Schema, asked_at: float) -> None:
        self.schema = schema
        self.on_close: Callable[[], None] | None = None
        self.rows = 0
        self.closed = False
        self.complete = False
        self._asked_at = asked_at
        self.seconds = time.monotonic() - asked_at

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, and close the statement after the last one.

        Raises:
            QueryError: the statement failed after the first rows, for example because a later text is not a number.
            QueryCancelled: the statement was cancelled.
            UserError: the statement was ended, or the database or the connection to its process was lost.
        """
        while not self.closed:
            try:
                batch = self._next()
            except BaseException:  # also for Ctrl-C, because an unread statement would occupy its cursor
                self.close()
                raise
            self.seconds = time.monotonic() - self._asked_at
            if batch is None:
                self.complete = not self.closed
                self.close()
                return
            self.rows += batch.num_rows
            yield batch
            del batch  # free the memory of the batch before the next one is created

    def read_all(self) -> pa.Table:
        """Return all rows as one table in memory."""
        return pa.Table.from_batches(list(self), schema=self.schema)

    def close(self) -> None:
        """End the statement, even if not all rows were read. Repeated calls do nothing."""
        if not self.closed:
            self.closed = True
            try:
                self._close()
            finally:
                if self.on_close is not None:
                    self.on_close()

    @abstractmethod
    def _next(self) -> pa.RecordBatch | None:
        """Return the next batch with the types of `schema`; None after the last batch."""

    @abstractmethod
    def _close(self) -> None:
        """Release the resources of the statement. Called only once."""

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
