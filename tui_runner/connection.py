"""Queries from Python programs and notebooks, whether or not a run is writing to the database meanwhile.

import tui_runner

books = tui_runner.connect("books.duckdb")
books.sql("SELECT count(*) FROM books").arrow()
books.sql("FROM books WHERE price < $most", {"most": 10}).df()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tui_runner.errors import DatabaseError
from tui_runner.store.access import open_access
from tui_runner.store.result import Result
from tui_runner.text.numbers import plural

if TYPE_CHECKING:
    import pandas as pd


class Answer:
    """The rows of a statement, in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def arrow(self) -> pa.Table:
        """As an Arrow table."""
        return self._table

    def df(self) -> pd.DataFrame:
        """As a pandas data frame; pandas must be installed.

        Raises:
            ValueError: a date is beyond those of pandas, an infinite one say; `arrow` holds it.
        """
        return self._table.to_pandas()

    def rows(self) -> list[dict[str, Any]]:
        """As a list of dictionaries.

        Raises:
            OverflowError: a date is beyond those of Python, an infinite one say; `arrow` holds it.
        """
        rows: list[dict[str, Any]] = self._table.to_pylist()
        return rows

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        return f"<{plural(len(self), 'row')} of {', '.join(self._table.column_names)}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The table for every library that speaks Arrow's C stream interface: `polars.DataFrame(answer)`."""
        return self._table.__arrow_c_stream__(requested_schema)


class Connection:
    """A way to one database that holds nothing between statements, so it is in no run's way.

    Each statement goes to the process that has the database open, if there is one, and else opens it for as long as
    the statement runs. Made by `connect`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def sql(self, sql: str, parameters: Mapping[str, object] | None = None) -> Answer:
        """Run one statement that reads, and fetch its rows.

        Args:
            sql: the statement.
            parameters: values of its `$name`s by name.

        Raises:
            UserError: DuckDB rejects it, or it would change something.
            DatabaseError: the database cannot be used.
        """
        with self.stream(sql, parameters) as result:
            return Answer(result.read_all())

    @contextmanager
    def stream(self, sql: str, parameters: Mapping[str, object] | None = None) -> Iterator[Result]:
        """As `sql`, but batch by batch, for more rows than memory holds.

            with books.stream("FROM books") as result:
                for batch in result: ...

        Whoever takes no rows for twenty seconds is cut off by a run that has the database open.
        """
        with open_access(self.path) as access, access.console() as console, console.query(sql, parameters) as result:
            yield result

    def __repr__(self) -> str:
        return f"<tui-runner database {self.path}>"


def connect(path: str | PathLike[str]) -> Connection:
    """A connection to the database `path`.

    Raises:
        DatabaseError: there is no such file.
    """
    found = Path(path).expanduser()
    if not found.is_file():
        raise DatabaseError("no such database", str(found), "check the path")
    return Connection(found.absolute())
