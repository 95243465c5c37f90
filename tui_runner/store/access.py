"""Access to a database for queries, from the command line, a screen or a Python program.

The command line uses `open_access`, and a screen that stays open for hours `FollowingAccess`:

    with open_access(path) as access:
        console = access.console()

Python programs use `connect`:

    import tui_runner

    books = tui_runner.connect("books.duckdb")
    books.sql("SELECT count(*) FROM books").arrow()
    books.sql("FROM books WHERE price < $most", {"most": 10}).df()
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database
from tui_runner.store.file_check import WRITE_AHEAD_LOGS, companion
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

_PATIENCE_SECONDS = 5.0
"""Seconds to retry while another process has the database open and does not accept connections: it may be opening or
closing the database, or run one short query like this process. A process that accepts the connection and is then silent
is not retried. Together with `RemoteLimits.greeting` a caller waits at most 9 s."""
_TRY_SECONDS = 0.05
"""Seconds between two attempts to open the database. The other process usually has it open only for a short statement.
"""


class Access(ABC):
    """Access to one database, which this or another process has open.

    Attributes:
        path: path of the database.
        describe: name of the database and, if another process has it open, that process; for users.
        read_only: why consoles cannot be switched to write mode; shown when a user tries to.
        run: number of the run of the other process that had the database open when this access was created; None if
            there was none. The run may have ended since then (`catalog.is_active`).
    """

    run: int | None = None
    path: Path
    describe: str
    read_only: str

    @property
    @abstractmethod
    def can_write(self) -> bool:
        """True if consoles can be switched to write mode now."""

    @abstractmethod
    def console(self) -> AnyConsole:
        """Return a new console. The caller must close it."""

    def news(self) -> str:
        """Return one line for users if another process has the database since the last call; an empty text if not."""
        return ""

    def is_unchanged(self) -> bool:
        """Return True if nothing in the database can have changed since this process closed its file."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Release the database. Close the consoles first. Repeated calls do nothing."""

    def __enter__(self) -> Access:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalAccess(Access):
    """Access to a database that this process has open.

    Args:
        database: the open database.
        owned: True if `close` closes the database; False for the database of a run.
        server: answers queries of other processes while this access is open; `close` closes it. None to answer no
            queries.
    """

    def __init__(self, database: Database, *, owned: bool = False, server: QueryServer | None = None) -> None:
        self.path = database.path
        self.describe = database.path.name + (", to be read only" if database.read_only else "")
        self.read_only = (
            f"Data cannot be changed: {database.read_only}."
            if database.read_only
            else f"Data cannot be changed beside a run. Leave it, and use: tui-runner open {database.path.name}"
        )
        self.database = database
        self._owned = owned
        self._server = server

    @property
    def can_write(self) -> bool:
        """True if this process may write to the database and no run uses it."""
        return self.database.run_id is None and not self.database.read_only

    def console(self) -> Console:
        """Return a new console on the database."""
        return Console(self.database)

    def close(self) -> None:
        """Close the server, and if `owned`, the database."""
        if self._server is not None:
            self._server.close()
        if self._owned:
            self.database.close()


class RemoteAccess(Access):
    """Access to a database that another process has open; that process executes the statements."""

    can_write = False
    read_only = "Data can be changed only while no other process has the database open."

    def __init__(self, path: Path, record: LockRecord, address: str, limits: RemoteLimits) -> None:
        self.path = path
        run = f", run {record.run}" if record.run is not None else ""
        self.describe = f"{path.name}, held by tui-runner (pid {record.pid}){run}"
        self.record = record
        self.run = record.run
        self._address = address
        self._limits = limits

    def console(self) -> RemoteConsole:
        """Return a new console. It opens a connection for each statement."""
        return RemoteConsole(self.path, self.record, self._address, self._limits)

    def close(self) -> None:
        """Do nothing, because no connection is open between statements."""


class FollowingAccess(Access):
    """Access to a database for a long time, in which other processes open and close it.

    Each statement is executed by the process that has the database open then. If there is none, this process opens the
    file for the duration of the statement, so that a run can start between two statements.

    Args:
        path: path of the database, which must exist.
        limits: seconds for which another process may be silent; None for the defaults.

    Raises:
        DatabaseError: the database cannot be used.
    """

    def __init__(self, path: Path, *, limits: RemoteLimits | None = None) -> None:
        self.path = path
        self._limits = limits
        self._guard = threading.Lock()
        """Held while a database is opened or closed. One process cannot open a database twice."""
        self._access: LocalAccess | RemoteAccess | None = None
        """The access of the last statement; None if this process had opened the file for it and has closed it."""
        self._leases = 0
        """Number of leases of `_access` that have not ended."""
        self._owner: LockRecord | None = None
        """The other process that executed the last statement; None if this process did."""
        self._news = ""
        self._left: tuple[tuple[int, int] | None, ...] | None = None
        """Sizes and times of the files when this process closed them last; None before that."""
        self.describe, self.read_only, self._can_write = path.name, "", False
        self.lease(new=True).end()
        self._news = ""

    @property
    def can_write(self) -> bool:
        """True if no other process executed the last statement, and this user may write to the file."""
        return self._can_write

    def console(self) -> FollowingConsole:
        """Return a new console, which does not keep the file open between statements unless it is in write mode."""
        return FollowingConsole(self)

    def news(self) -> str:
        """Return one line for users if another process has the database since the last call; an empty text if not."""
        news, self._news = self._news, ""
        return news

    def is_unchanged(self) -> bool:
        """Return True if no process has written to the file since the last lease, for which this process opened it."""
        with self._guard:
            return self._access is None and self._left is not None and self._left == self._files()

    def _files(self) -> tuple[tuple[int, int] | None, ...]:
        """Return the size and the time of change of the file and of its log; None for a file that is missing."""
        found: list[tuple[int, int] | None] = []
        for path in (self.path, companion(self.path.resolve(), WRITE_AHEAD_LOGS[0])):
            try:
                status = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((status.st_size, status.st_mtime_ns))
        return tuple(found)

    def lease(self, *, new: bool = False) -> Lease:
        """Open the database, or find the process that has it open. End the lease when its statement has ended. Blocks.

        Args:
            new: True if the process of the last lease has closed the database.

        Raises:
            DatabaseError: the database cannot be used.
        """
        with self._guard:
            if new and isinstance(self._access, RemoteAccess):
                self._access = None
            if self._access is None:
                self._access = open_access(self.path, serving=True, limits=self._limits)
                self._note(self._access)
            self._leases += 1
            return Lease(self, self._access)

    def end_lease(self) -> None:
        """Count the end of a lease, and close the file after the last one."""
        with self._guard:
            self._leases -= 1
            if not self._leases and isinstance(self._access, LocalAccess):
                self._access.close()
                self._access = None
                self._left = self._files()

    def _note(self, access: LocalAccess | RemoteAccess) -> None:
        owner = access.record if isinstance(access, RemoteAccess) else None
        if owner is None and self._owner is not None:
            pid = self._owner.pid
            self._news = f"The process that had the file open (pid {pid}) has closed it; it is read directly."
        elif owner is not None and (self._owner is None or owner.socket != self._owner.socket):
            run = "Another tui-runner" if owner.run is None else f"Run {owner.run}"
            self._news = f"{run} (pid {owner.pid}) has the file open now and executes the statements."
        self._owner = owner
        self.describe, self.read_only, self.run = access.describe, access.read_only, access.run
        self._can_write = access.can_write

    def close(self) -> None:
        """Do nothing, because the file is closed when its last lease ends."""


class Lease:
    """The use of a database by one statement, or by a console in write mode.

    Attributes:
        access: the access to use until the lease ends.
    """

    def __init__(self, following: FollowingAccess, access: LocalAccess | RemoteAccess) -> None:
        self._following = following
        self._has_ended = False
        self.access = access

    def end(self) -> None:
        """End the lease. Repeated calls do nothing."""
        if not self._has_ended:
            self._has_ended = True
            self._following.end_lease()


class FollowingConsole:
    """A console that looks before each statement for the process that has the database open.

    Args:
        following: the access of which this is a console.
    """

    impatient = True
    """True because no run can start while unread rows keep the file open, and another process drops unread rows."""

    def __init__(self, following: FollowingAccess) -> None:
        self._following = following
        self._console: Console | RemoteConsole | None = None
        """The console of the last statement."""
        self._result: Result | None = None
        self._writing: Lease | None = None
        """Keeps the file open in write mode, in which the user expects that no run changes data; None otherwise."""

    @property
    def can_write(self) -> bool:
        """True if write mode can be switched on, as far as is known from the last statement."""
        return self._following.can_write

    @property
    def write(self) -> bool:
        """True if the console executes statements that change data."""
        return self._writing is not None

    @write.setter
    def write(self, wanted: bool) -> None:
        if self._writing is not None:
            self._writing.end()
            self._writing = None
        if wanted:
            lease = self._following.lease()
            try:
                with lease.access.console() as console:
                    console.write = True  # raises the error if data cannot be changed
            except BaseException:  # whatever the error, the file must not stay open
                lease.end()
                raise
            self._writing = lease

    def query(self, sql: str, parameters: Mapping[str, object] | None = None, *, light: bool = False) -> Result:
        """Execute a statement like `Console.query`, in the process that has the database open now.

        Raises:
            DatabaseError: the database cannot be used.
        """
        if self._result is not None:
            self._result.close()
            self._result = None
        try:
            self._result = self._query(self._following.lease(), sql, parameters, light)
        except OwnerGone:
            # That process has closed the database. Statements of its clients only read, so one that it may have begun
            # can be executed again.
            self._result = self._query(self._following.lease(new=True), sql, parameters, light)
        return self._result

    def _query(self, lease: Lease, sql: str, parameters: Mapping[str, object] | None, light: bool) -> Result:
        console: Console | RemoteConsole | None = None

        def end() -> None:
            if console is not None:
                console.close()
            lease.end()

        try:
            console = self._console = lease.access.console()
            if self._writing is not None:
                console.write = True
            result = console.query(sql, parameters, light=light)
        except BaseException:  # whatever the error, the file must not stay open
            end()
            raise
        if result.closed:
            end()
        else:
            result.on_close = end
        return result

    def cancel(self) -> None:
        """End the running statement. Do not wait. Thread-safe."""
        console = self._console
        if console is not None:
            console.cancel()

    def progress(self) -> float | None:
        """Return the progress of the statement, 0.0 to 1.0; None if it is unknown."""
        console = self._console
        return None if console is None else console.progress()

    def close(self) -> None:
        """End the running statement and release all resources. Repeated calls do nothing."""
        self.cancel()
        if self._result is not None:
            self._result.close()
            self._result = None
        if self._writing is not None:
            self._writing.end()
            self._writing = None

    def __enter__(self) -> FollowingConsole:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


AnyConsole = Console | RemoteConsole | FollowingConsole
"""A console of any kind of access."""


def open_access(
    path: Path, *, serving: bool = False, patience: float = _PATIENCE_SECONDS, limits: RemoteLimits | None = None
) -> LocalAccess | RemoteAccess:
    """Return access to a database.

    If another process has it open, that process executes the statements; otherwise this process opens it.

    Args:
        path: path of the database, which must exist.
        serving: True to answer queries of other processes while this process has the database open, for a caller that
            keeps it open.
        patience: seconds to wait for another process that has the database open but accepts no connections.
        limits: seconds for which the other process may be silent; None for the defaults.

    Raises:
        DatabaseError: the database cannot be used.
    """
    until = time.monotonic() + patience
    while True:
        try:
            database = Database.open(path, create=False)
        except DatabaseInUse as error:  # another process has the database: use that process, or wait for it
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
    """Return access through the process that has the database open; None if it does not accept connections.

    Raises:
        DatabaseError: that process accepts connections, but is silent or uses another version of the protocol.
    """
    if record is None or record.socket is None or not record.is_current:
        return None
    access = RemoteAccess(path, record, record.socket, limits)
    try:
        access.console().greet()
    except OwnerGone:  # the process has just closed the database, or was killed
        return None
    except TooManyQueries:
        pass  # that process executes as many queries as it may; a later statement may succeed
    return access


class Answer:
    """The rows of a statement, all of them in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def arrow(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self._table

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas data frame; pandas must be installed.

        Raises:
            ValueError: a date is outside the range of pandas, for example an infinite date. Use `arrow` for such
                results.
        """
        return self._table.to_pandas()

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as a list of dictionaries.

        Raises:
            OverflowError: a date is outside the range of Python, for example an infinite date. Use `arrow` for such
                results.
        """
        rows: list[dict[str, Any]] = self._table.to_pylist()
        return rows

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        return f"<{plural(len(self), 'row')} of {', '.join(self._table.column_names)}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the rows through Arrow's C stream interface, as in `polars.DataFrame(answer)`."""
        return self._table.__arrow_c_stream__(requested_schema)


class Connection:
    """A connection for queries of one database. Created by `connect`.

    The file is not open between statements, so that a run can open it. If a process has the database open, statements
    are sent to that process. Otherwise the file is opened for the duration of each statement.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def sql(self, sql: str, parameters: Mapping[str, object] | None = None) -> Answer:
        """Execute one statement that only reads, and fetch its rows.

        Args:
            sql: the statement.
            parameters: values of its `$name` parameters, by name.

        Raises:
            UserError: DuckDB rejects the statement, or it would change something.
            DatabaseError: the database cannot be used.
        """
        with self.stream(sql, parameters) as result:
            return Answer(result.read_all())

    @contextmanager
    def stream(self, sql: str, parameters: Mapping[str, object] | None = None) -> Iterator[Result]:
        """Execute a statement like `sql`, but yield its rows in batches, for results that are larger than the memory.

            with books.stream("FROM books") as result:
                for batch in result: ...

        If another process has the database open, it closes the connection when the caller reads no rows for twenty
        seconds. Errors are those of `sql`; they may also come while the rows are read.
        """
        with open_access(self.path) as access, access.console() as console, console.query(sql, parameters) as result:
            yield result

    def __repr__(self) -> str:
        return f"<tui-runner database {self.path}>"


def connect(path: str | PathLike[str]) -> Connection:
    """Return a connection to the database at `path`.

    Raises:
        DatabaseError: there is no such file.
        UserError: the path begins with `~` and the name of an unknown user.
    """
    found = expanded(path)
    if not found.is_file():
        raise DatabaseError("no such database", str(found), "check the path")
    return Connection(found.absolute())


class ConsoleCursor:
    """A console in the form of a `sql.Cursor`, so that the same functions query local and remote databases."""

    def __init__(self, console: AnyConsole) -> None:
        self._console = console
        self._rows: Iterator[tuple[Any, ...]] = iter(())

    def execute(self, query: str, values: Sequence[object] = (), /) -> ConsoleCursor:
        """Execute a statement that only reads. `values` replace its `?`."""
        parameters = {str(number): value for number, value in enumerate(values, start=1)}
        result = self._console.query(query, parameters, light=True)
        self._rows = (row for batch in result for row in zip(*(c.to_pylist() for c in batch.columns), strict=True))
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row; None after the last row."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1, /) -> list[tuple[Any, ...]]:
        """Return the next rows, at most `size` of them."""
        return list(islice(self._rows, size))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all remaining rows."""
        return list(self._rows)
