"""Arrow tables that a cursor can select from, each under a reserved name and only while it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

RESERVED = "__tui_runner_"
"""How their names begin. A registered name hides a real table of that name, so no table may be called like this."""


class ArrowViews:
    """The Arrow tables shown to one cursor."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        self._left: set[str] = set()

    @contextmanager
    def show(self, name: str, table: pa.Table) -> Iterator[str]:
        """Show `table` for the time of a `with` statement, under the name that this gives back."""
        view = RESERVED + name
        self._cursor.register(view, table)
        try:
            yield view
        finally:
            try:
                self._cursor.unregister(view)
            except duckdb.TransactionException:
                # After an error DuckDB refuses everything but ROLLBACK, and raising here would hide that error.
                self._left.add(view)

    def clear(self) -> None:
        """After a ROLLBACK: let go of what could not be hidden before it."""
        while self._left:
            self._cursor.unregister(self._left.pop())
