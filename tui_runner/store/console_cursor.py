"""A console in the place of a DuckDB cursor, for code that only reads: the ledger of a database that others hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from tui_runner.store.console import Console
from tui_runner.store.remote import RemoteConsole


class ConsoleCursor:
    """A `sql.Cursor`."""

    def __init__(self, console: Console | RemoteConsole) -> None:
        self._console = console
        self._rows: Iterator[tuple[Any, ...]] = iter(())

    def execute(self, query: str, values: Sequence[object] = (), /) -> ConsoleCursor:
        """Run a statement that reads; `values` stand for its `?`."""
        result = self._console.query(query, {str(number): value for number, value in enumerate(values, start=1)})
        self._rows = (row for batch in result for row in zip(*(c.to_pylist() for c in batch.columns), strict=True))
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, None behind the last."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1, /) -> list[tuple[Any, ...]]:
        """The next rows, `size` at most."""
        return list(islice(self._rows, size))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return list(self._rows)
