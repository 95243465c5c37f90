"""Ways to a database for queries, on the command line, on a screen and from Python programs.

with open_access(path) as access:
    console = access.console()

import tui_runner

books = tui_runner.connect("books.duckdb")
books.sql("SELECT count(*) FROM books").arrow()
books.sql("FROM books WHERE price < $most", {"most": 10}).df()
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database
from tui_runner.store.lock import DatabaseInUse, LockRecord
from tui_runner.store.query.console import Console
from tui_runner.store.query.errors import TooManyQueries
from tui_runner.store.query.result import Result
from tui_runner.store.remote.client import OwnerGone, RemoteConsole, RemoteLimits
from tui_runner.store.remote.server import QueryServer, serve
from tui_runner.system.files import expanded
from tui_runner.text.numbers import plural

if TYPE_CHECKING:
    import pandas as pd
from collections.abc import Sequence
from itertools import islice

_PATIENCE_SECONDS = 5.0
"""Seconds that another process may have the database open without answering: it opens, closes, or asks as we do. An
owner that takes the connection and stays silent is not tried again. With `RemoteLimits.greeting` that makes 9 s."""
_TRY_SECONDS = 0.05
"""Seconds between two tries."""


class Access(ABC):
    """A way to one database.

    Attributes:
        path: the database.
        describe: its name, and who else has it open.
        read_only: why consoles cannot be switched to write mode, when they cannot.
    """

    path: Path
    describe: str
    read_only: str

    @property
    @abstractmethod
    def can_write(self) -> bool:
        """True if consoles can be switched to write mode now."""

    @abstractmethod
    def console(self) -> Console | RemoteConsole:
        """Return a new console; the caller closes it."""

    @abstractmethod
    def close(self) -> None:
        """Give the database back, after the consoles were closed. Calling it again does nothing."""

    def __enter__(self) -> Access:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalAccess(Access):
    """A database that this process has open.

    Args:
        database: the database.
        owned: whether `close` closes it: not when it is that of a run.
        server: answers others meanwhile; closed by `close`.
    """

    def __init__(self, database: Database, *, owned: bool = False, server: QueryServer | None = None) -> None:
        self.path = database.path
        self.describe = database.path.name + (", to be read only" if database.read_only else "")
        self.read_only = (
            f"Data cannot be changed: {database.read_only}."
            if database.read_only
            else "Data can be changed only while no run is going on."
        )
        self.database = database
        self._owned = owned
        self._server = server

    @property
    def can_write(self) -> bool:
        """True if the database is ours to write, and no run is going on."""
        return self.database.run_id is None and not self.database.read_only

    def console(self) -> Console:
        """A new console on the database."""
        return Console(self.database)

    def close(self) -> None:
        """Close the database if it is owned."""
        if self._server is not None:
            self._server.close()
        if self._owned:
            self.database.close()


class RemoteAccess(Access):
    """A database that another process has open, which answers for it."""

    can_write = False
    read_only = "Data can be changed only while no other process has the database open."

    def __init__(self, path: Path, record: LockRecord, address: str, limits: RemoteLimits) -> None:
        self.path = path
        run = f", run {record.run}" if record.run is not None else ""
        self.describe = f"{path.name}, held by tui-runner (pid {record.pid}){run}"
        self.record = record
        self._address = address
        self._limits = limits

    def console(self) -> RemoteConsole:
        """A new console; each of its statements has a connection of its own."""
        return RemoteConsole(self.path, self.record, self._address, self._limits)

    def close(self) -> None:
        """Nothing is held between statements."""


def open_access(
    path: Path, *, serving: bool = False, patience: float = _PATIENCE_SECONDS, limits: RemoteLimits | None = None
) -> Access:
    """The way to the database that is open now: through its owner if it has one, else by opening it.

    Args:
        path: the database; it must exist.
        serving: True to answer other processes if it is opened here, for a caller that keeps it open for long.
        patience: seconds to wait for an owner that does not answer, because it just opens or closes the database.
        limits: how long an owner may be silent.

    Raises:
        DatabaseError: it cannot be used.
    """
    until = time.monotonic() + patience
    while True:
        try:
            database = Database.open(path, create=False)
        except DatabaseInUse as error:
            record = error.record
            reached = _reached(path, record, limits or RemoteLimits())
            if reached is not None:
                return reached
            if time.monotonic() > until or (record is not None and not record.is_current):
                raise
            time.sleep(_TRY_SECONDS)
        else:
            serving = serving and database.is_announced
            return LocalAccess(database, owned=True, server=serve(database) if serving else None)


def _reached(path: Path, record: LockRecord | None, limits: RemoteLimits) -> RemoteAccess | None:
    """Return the way through the owner, None when it does not answer.

    Raises:
        DatabaseError: it takes connections, but is silent or speaks another protocol.
    """
    if record is None or record.socket is None or not record.is_current:
        return None
    access = RemoteAccess(path, record, record.socket, limits)
    try:
        access.console().greet()
    except OwnerGone:
        return None
    except TooManyQueries:
        pass  # it has much to do, but it is there
    return access


class Answer:
    """The rows of a statement, in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def arrow(self) -> pa.Table:
        """Return an Arrow table."""
        return self._table

    def df(self) -> pd.DataFrame:
        """Return a pandas data frame; pandas must be installed.

        Raises:
            ValueError: a date is beyond those of pandas, an infinite one say; `arrow` holds it.
        """
        return self._table.to_pandas()

    def rows(self) -> list[dict[str, Any]]:
        """Return a list of dictionaries.

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
        """Run a statement as `sql` does, but batch by batch, for more rows than memory holds.

            with books.stream("FROM books") as result:
                for batch in result: ...

        A query screen that has the database open cuts off a caller that takes no rows for twenty seconds.
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
    found = expanded(path)
    if not found.is_file():
        raise DatabaseError("no such database", str(found), "check the path")
    return Connection(found.absolute())


class ConsoleCursor:
    """A `sql.Cursor`."""

    def __init__(self, console: Console | RemoteConsole) -> None:
        self._console = console
        self._rows: Iterator[tuple[Any, ...]] = iter(())

    def execute(self, query: str, values: Sequence[object] = (), /) -> ConsoleCursor:
        """Run a statement that reads; `values` stand for its `?`."""
        parameters = {str(number): value for number, value in enumerate(values, start=1)}
        result = self._console.query(query, parameters, light=True)
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
