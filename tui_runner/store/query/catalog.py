"""What there is to query: tables and views with their columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tui_runner.store.query.result import Result


class Asks(Protocol):
    """What runs statements: a `Console`, or one of another process."""

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Result:
        """Run one statement."""


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column; `type` as DuckDB writes it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """A table or view.

    Attributes:
        schema: `main` for results, `runner` for the ledger.
        name: as it is stored; quote it in SQL.
        is_view: whether it is a view.
        rows: rows by DuckDB's own count, which deleted ones may still be in; None for a view.
        columns: in their order.
    """

    schema: str
    name: str
    is_view: bool
    rows: int | None
    columns: tuple[CatalogColumn, ...]


_QUERY = """
WITH things AS (
    SELECT schema_name, table_name, false AS is_view, estimated_size AS n, table_oid AS oid FROM duckdb_tables()
    WHERE database_name = current_database() AND NOT internal
    UNION ALL
    SELECT schema_name, view_name, true, NULL, view_oid FROM duckdb_views()
    WHERE database_name = current_database() AND NOT internal
), columns AS (
    SELECT schema_name, table_name,
        list({'name': column_name, 'type': data_type} ORDER BY column_index) AS columns
    FROM duckdb_columns() WHERE database_name = current_database() AND NOT internal GROUP BY ALL
)
SELECT schema_name, table_name, is_view, n, columns FROM things LEFT JOIN columns USING (schema_name, table_name)
ORDER BY schema_name <> 'main', schema_name = 'runner', schema_name, is_view, oid
"""


def catalog(console: Asks) -> list[CatalogTable]:
    """Tables and views: results first, the ledger last; blocks.

    Raises:
        UserError: as `Console.query`.
    """
    with console.query(_QUERY) as result:
        rows = result.read_all().to_pylist()
    return [
        CatalogTable(
            schema=row["schema_name"],
            name=row["table_name"],
            is_view=row["is_view"],
            rows=row["n"],
            columns=tuple(CatalogColumn(each["name"], each["type"]) for each in row["columns"] or ()),
        )
        for row in rows
    ]
