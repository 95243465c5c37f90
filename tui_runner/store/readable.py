"""What DuckDB answers, in types that Arrow can carry, with DuckDB's own names of them."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from tui_runner.store.names import distinct
from tui_runner.store.result import TYPE_KEY
from tui_runner.store.sql import quote

_AS_TEXT = ("INTERVAL", "TIME WITH TIME ZONE", "BIT", "BIGNUM", "UHUGEINT", "VARIANT", "GEOMETRY", "UNION(")
"""Types that lose something on the way into Arrow, or that Parquet cannot hold; they are read as DuckDB's text."""


class Readable:
    """A relation whose columns that Arrow would take for something else are text.

    Attributes:
        relation: to be read as Arrow.
    """

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self._names = distinct(relation.columns)
        self._types = [str(kind) for kind in relation.types]
        self.relation = _as_text(relation, self._names, self._types)

    def schema(self, read: pa.Schema) -> pa.Schema:
        """The schema that Arrow gave the relation, with distinct names and `TYPE_KEY` in each field's metadata."""
        return pa.schema(
            [
                pa.field(name, field.type, metadata={TYPE_KEY: kind.encode()})
                for name, kind, field in zip(self._names, self._types, read, strict=True)
            ]
        )


def _as_text(relation: duckdb.DuckDBPyRelation, names: list[str], types: list[str]) -> duckdb.DuckDBPyRelation:
    as_text = [kind.startswith(_AS_TEXT) and not kind.endswith("]") for kind in types]
    if not any(as_text):
        return relation
    columns = [
        f"{f'CAST(#{number} AS VARCHAR)' if text else f'#{number}'} AS {quote(name or 'column')}"
        for number, (name, text) in enumerate(zip(names, as_text, strict=True), start=1)
    ]
    return relation.project(", ".join(columns))
