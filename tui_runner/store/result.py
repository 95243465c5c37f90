"""The rows of a statement, wherever it runs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

import pyarrow as pa

TYPE_KEY = b"duckdb_type"
"""Metadata of a result's fields: the DuckDB type, where Arrow says less (JSON is a string there)."""
JSON = b"JSON"
"""The DuckDB type of fields that hold JSON, those within lists and structs, too."""


def holds_json(field: pa.Field) -> bool:
    """Whether the text in a field is JSON."""
    return bool((field.metadata or {}).get(TYPE_KEY) == JSON)


class Result(ABC):
    """The rows of a statement, batch by batch as they are made; close it to end the statement.

    Attributes:
        schema: names (each there once) and Arrow types, with `TYPE_KEY` in each field's metadata.
        rows: rows read so far.
        seconds: from the call of `query` to the newest batch or the end.
        closed: whether it is over: all is read, or it was closed.
        complete: whether all rows were read.
    """

    def __init__(self, schema: pa.Schema, asked_at: float) -> None:
        self.schema = schema
        self.rows = 0
        self.closed = False
        self.complete = False
        self._asked_at = asked_at
        self.seconds = time.monotonic() - asked_at

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches; after the last one the statement is closed.

        Raises:
            QueryError: the statement failed half-way, a text that is no number for one.
            QueryCancelled: it was ended on request.
        """
        while not self.closed:
            try:
                batch = self._next()
            except BaseException:
                self.close()
                raise
            self.seconds = time.monotonic() - self._asked_at
            if batch is None:
                self.complete = not self.closed
                self.close()
                return
            self.rows += batch.num_rows
            yield batch
            del batch  # it may be large, and is not to be there beside the next one

    def read_all(self) -> pa.Table:
        """All rows, held in memory."""
        return pa.Table.from_batches(list(self), schema=self.schema)

    def close(self) -> None:
        """End the statement, whether or not all its rows were read. Calling it again does nothing."""
        if not self.closed:
            self.closed = True
            self._close()

    @abstractmethod
    def _next(self) -> pa.RecordBatch | None:
        """The next batch with the types of `schema`, None behind the last."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of what the statement holds; called once."""

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
