"""Executes statements of users: read-only, one at a time, streamed, and cancellable.

The type of a statement does not show that it only reads: `WITH a AS (INSERT …) SELECT` is a SELECT. So DuckDB enforces
that, by a read-only transaction in a restricted instance. The types in `_READING` are checked only for better messages.

An interface uses a console as follows. Calls that block are marked; make them in a separate thread.

    with open_access(path) as access:            # store/access.py; or LocalAccess(runner.database) during a run
        access.describe                          # "books.duckdb", or "books.duckdb, held by tui-runner (pid 7), run 3"
        console = access.console()               # one per tab; a console runs one statement at a time
        statement = statement_at(text, position) # store/query/statements.py: .sql .start .end .parameters
        values = {name: typed_value(text) …}     # text that the user typed, converted
        result = console.query(statement.sql, values)   # blocks until the first rows are available
        console.cancel()                         # from any thread: ends `query` or reading with QueryCancelled
        console.progress()                       # from any thread: 0.0 to 1.0, None if unknown
        pages = Pages(result, page_rows=10_000)  # store/query/pages.py
        pages.page(0)                            # blocks; a pa.Table, or None after the last page
        pages.rows_known, pages.complete         # "first 10,000 rows, more follow" while not complete
        pages.all_batches()                      # blocks; every row from the first, for export
        pages.close()                            # ends the statement
        console.close(); access.close()

    QueryError(UserError)     # .line and .column in the statement, from 1, or None; str() is one line
    QueryCancelled(UserError)
    result.schema             # distinct names; field.metadata[TYPE_KEY] is the DuckDB type as bytes
    result.rows, .seconds     # rows read so far; seconds from the call of `query` to the newest batch
    console.write = True      # write mode; raises UserError if a run is active or another process has the file.
                              # Then statements that change data are committed; their result is one row, "Count"
    access.can_write          # True if write mode can be switched on now
    catalog(console)          # store/query/catalog.py: blocks; tables with columns, types and row counts
    query_templates(catalog)       # store/query/catalog.py: named statements for the ledger and each results table
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

import duckdb
import pyarrow as pa

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.arrow_batches import READ_ROWS, gathered
from tui_runner.store.connection import describe
from tui_runner.store.database import Database
from tui_runner.store.query.errors import CHANGES_DATA, ONLY_READS, QueryCancelled, query_error
from tui_runner.store.query.query_thread import QueryThread, T
from tui_runner.store.query.result import TYPE_KEY, Readable, Result
from tui_runner.store.query.statements import bracket_depth, split
from tui_runner.store.query.write_mode import is_change, run_change
from tui_runner.text.messages import is_text

__all__ = ["TYPE_KEY", "Console", "Result"]

_READING = frozenset(
    # MULTI is the type of PIVOT, which the parser expands into several statements.
    {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
)
_DEEPEST = 1_000
"""Deepest nesting of brackets that is accepted. DuckDB has the same limit; but to refuse a statement with 5,000 levels,
it takes half a minute and cannot be interrupted."""


class Console:
    """An executor of statements on an open database, one at a time. A new statement ends the previous result."""

    impatient = False
    """False because the reader of a result may take any time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = QueryThread(lambda: database.run_id is not None)
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._result: Result | None = None
        self._write = False
        self._cancelled = False
        self._ended = ""
        """The reason why the statement was ended for the benefit of the run; empty if it was not."""

    @property
    def can_write(self) -> bool:
        """True if write mode can be switched on: the file is writable and no run uses it."""
        return self._database.run_id is None and not self._database.read_only

    @property
    def write(self) -> bool:
        """True if the console executes statements that change data."""
        return self._write and self.can_write

    @write.setter
    def write(self, wanted: bool) -> None:
        if wanted and self._database.read_only:
            raise UserError(f"this database can only be read: {self._database.read_only}")
        if wanted and not self.can_write:
            raise UserError("a run is writing to this database", do="change data when it has ended")
        self._write = wanted

    def query(self, sql: str, parameters: Mapping[str, object] | None = None, *, light: bool = False) -> Result:
        """Execute one statement in a transaction of its own, which is read-only unless `write` is on.

        This blocks until the first rows are available.

        Args:
            sql: the statement.
            parameters: values by name; for `?` and `$1`, by number as text (`"1"`).
            light: True for a statement of tui-runner itself that needs little memory; see `wire.Request`. Has no effect
                here.

        Raises:
            UserError: `sql` is not a single statement that may be executed here, a parameter has no value, or `end` was
                called.
            QueryError: DuckDB rejects the statement.
            QueryCancelled: `cancel` was called.
            DatabaseError: the database is closed or broken.
        """
        asked_at = time.monotonic()
        if self._result is not None:
            self._result.close()
            self._result = None
        self._cancelled, self._ended = False, ""
        values = _bound(sql, parameters or {})
        result = self._run(sql, lambda: self._begin(sql, values, asked_at))
        if not result.closed:
            self._result = result
        return result

    def cancel(self) -> None:
        """End the statement, even while its rows are being read. Do not wait. Thread-safe."""
        self._cancelled = True
        self._thread.cancel()

    def end(self, reason: str) -> bool:
        """End the statement because the run needs its resources, even while its rows wait. Do not wait. Thread-safe.

        The caller of `query`, or the reader of the rows, gets an error with `reason`. Return True unless the statement
        was already ended.
        """
        if self._ended:
            return False
        self._ended = reason
        if not self._thread.cancel() and isinstance(self._result, _StreamedResult):
            # No thread is reading the rows. Releasing them may block, so a new thread does it; as a daemon, because it
            # must not delay the end of the program.
            threading.Thread(target=self._detach, args=(self._result,), name="tui-runner-let-go", daemon=True).start()
        return True

    def progress(self) -> float | None:
        """Return the progress of the statement, 0.0 to 1.0; None if there is none or it is unknown. Thread-safe."""
        cursor = self._cursor
        if cursor is None or not self._thread.busy:
            return None
        try:
            percent = cursor.query_progress()
        except duckdb.Error:  # the cursor was closed meanwhile
            return None
        return min(percent / 100, 1.0) if percent >= 0 else None

    def close(self) -> None:
        """End the running statement and release all resources. Repeated calls do nothing."""
        self.cancel()
        if self._result is not None:
            self._result.close()
            self._result = None
        self._thread.close()

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, sql: str, call: Callable[[], T]) -> T:
        """Execute `call` in the console's thread. Convert errors of DuckDB and Arrow to `UserError`s."""
        try:
            return self._thread.run(call, self._interrupt)
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # convert the message to one line
            raise self._described(error, sql) from error

    def _interrupt(self) -> None:
        cursor = self._cursor
        if cursor is not None:
            with contextlib.suppress(duckdb.Error):  # the cursor was closed meanwhile
                cursor.interrupt()

    def _described(self, error: BaseException, sql: str) -> UserError:
        if isinstance(error, duckdb.InterruptException) or "INTERRUPT Error" in str(error):
            if self._ended and not self._cancelled:
                return self._ending()
            closed = DatabaseError("was closed while the statement ran", str(self._database.path))
            return QueryCancelled() if self._cancelled else closed
        if isinstance(error, duckdb.FatalException | duckdb.ConnectionException):
            return describe(error, self._database.path)
        return query_error(error, sql)

    @staticmethod
    def _detach(result: _StreamedResult) -> None:
        # the console or database was closed, which has released the rows
        with contextlib.suppress(RuntimeError, UserError):
            result.detach()

    def _ending(self) -> UserError:
        return UserError(f"the statement was ended: {self._ended}", do="ask for less at once, or later")

    # The methods below are called in the console's thread.

    def _begin(self, sql: str, values: Mapping[str, object] | None, asked_at: float) -> Result:
        """Start a statement and return its result.

        A statement that changes data is executed completely before this returns.
        """
        cursor = self._cursor = self._database.cursor()
        self._database.statements.add(self)
        try:
            self._database.lower_thread_priority(cursor)
            statement, reads = _single(cursor, sql, self.write)
            if not reads:
                changed = run_change(cursor, statement, values)
                self._end()
                return _StoredResult(changed, asked_at)
            cursor.execute("SET enable_progress_bar = true")  # without it, `progress` would get -1 from DuckDB
            cursor.execute("SET enable_progress_bar_print = false")  # DuckDB would print on the screen
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            readable = Readable(_bind(cursor, statement, values))
            reader = readable.relation.to_arrow_reader(READ_ROWS)
        except BaseException:  # also for Ctrl-C, because the transaction must not stay open
            self._end()
            raise
        return _StreamedResult(readable.schema(reader.schema), asked_at, sql, reader, self)

    def _end(self) -> None:
        """Roll back the transaction and close the cursor."""
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            with contextlib.suppress(duckdb.Error):  # there was no transaction, or an error has ended it
                cursor.execute("ROLLBACK")
            self._database.close_cursor(cursor)
        self._database.statements.remove(self)


class _StreamedResult(Result):
    """Rows that DuckDB produces while they are read."""

    def __init__(
        self, schema: pa.Schema, asked_at: float, sql: str, reader: pa.RecordBatchReader, console: Console
    ) -> None:
        super().__init__(schema, asked_at)
        self._sql = sql
        self._reader = reader
        self._console = console
        self._holds = True

    def _next(self) -> pa.RecordBatch | None:
        if self._console._cancelled:
            # `cancel` was called while the reader of the rows processed the previous ones.
            raise QueryCancelled
        if self._console._ended:
            raise self._console._ending()
        return self._console._run(self._sql, self._read)

    def _read(self) -> pa.RecordBatch | None:
        batch = gathered(self._reader)
        return None if batch is None else pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)

    def _close(self) -> None:
        # Another thread may be reading the rows; cancelling makes it stop.
        self._console.cancel()
        self.detach()

    def detach(self) -> None:
        """Release the unread rows, which hold memory in DuckDB. Blocks while another thread reads."""
        self._console._run(self._sql, self._detach)

    def _detach(self) -> None:
        if not self._holds:
            return  # already released; the console may execute another statement now
        self._holds = False
        # While DuckDB has a reader with unread rows, it blocks the cursor, even for ROLLBACK.
        self._console._interrupt()
        self._reader.close()
        self._console._end()


class _StoredResult(Result):
    """Rows that already exist: the result of a statement that changed data."""

    def __init__(self, table: pa.Table, asked_at: float) -> None:
        super().__init__(table.schema, asked_at)
        self._batches = iter(table.to_batches())

    def _next(self) -> pa.RecordBatch | None:
        return next(self._batches, None)

    def _close(self) -> None:
        self._batches = iter(())


def _bound(sql: str, parameters: Mapping[str, object]) -> dict[str, object] | None:
    """Return the values of the parameters in `sql`; None if it has no parameters. DuckDB refuses other values.

    Raises:
        UserError: a parameter has no value, or DuckDB must not get the statement: it contains a NUL character or a lone
            surrogate, or is nested too deeply.
    """
    if "\0" in sql:
        raise UserError("the statement contains a NUL character", do="remove it")
    for what, text in (
        ("the statement", sql),
        *((f"the value of ${name}", value) for name, value in parameters.items()),
    ):
        if isinstance(text, str) and not is_text(text):
            raise UserError(f"{what} contains a lone surrogate, which is not a character", do="remove it")
    if bracket_depth(sql) > _DEEPEST:
        raise UserError(f"brackets are nested more than {_DEEPEST:,} deep", do="write the statement with fewer")
    given = {name.lower(): value for name, value in parameters.items()}
    wanted = [name for statement in split(sql) for name in statement.parameters]
    missing = [f"?{name}" if name.isdigit() else f"${name}" for name in wanted if name not in given]
    if missing:
        raise UserError(f"no value for {', '.join(missing)}", do="give the statement's parameters values")
    return {name: given[name] for name in wanted} or None


def _single(cursor: duckdb.DuckDBPyConnection, sql: str, may_write: bool) -> tuple[str, bool]:
    """Return the only statement in `sql`, as DuckDB's parser sees it, and True if its type only reads.

    Raises:
        UserError: there is not exactly one statement, or it may not be executed here.
        duckdb.Error: the parser rejects `sql`.
    """
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        what = f"{len(statements)} statements" if statements else "no statement"
        raise UserError(f"{what} given", do="give one that reads, such as: SELECT count(*) FROM runner.items")
    query = str(statements[0].query)
    try:
        kind = statements[0].type
    except ValueError:  # DuckDB 2.0.0 raises it for types that it has no name for, such as CONNECT
        kind = None
    if kind in _READING:
        return query, True
    if may_write and kind is not None and is_change(kind, query):
        return query, False
    if may_write:
        raise UserError("this statement cannot be run here", do="use statements that read or change data")
    if kind is not None and is_change(kind, query):
        raise UserError(CHANGES_DATA)
    if kind is duckdb.StatementType.COPY:
        raise UserError(ONLY_READS, do="write a result into a file with: tui-runner export DATABASE STATEMENT -o FILE")
    raise UserError(ONLY_READS, do="use SELECT, FROM, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN")


def _bind(
    cursor: duckdb.DuckDBPyConnection, statement: str, values: Mapping[str, object] | None
) -> duckdb.DuckDBPyRelation:
    """Return the statement as a relation. If it has an error, raise one that names the place, if DuckDB reports it."""
    try:
        return cursor.sql(statement, params=values)
    except duckdb.ProgrammingError as error:
        # DuckDB does not report the place of the error here, but it does when the statement is explained.
        with contextlib.suppress(duckdb.Error):  # the error may have ended the transaction
            cursor.execute("ROLLBACK")
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        try:
            cursor.execute(f"EXPLAIN\n{statement}", values)
        except duckdb.ProgrammingError as placed:  # the same error, now with its place
            with contextlib.suppress(duckdb.Error):  # the error may have ended the transaction
                cursor.execute("ROLLBACK")
            raise query_error(placed, f"EXPLAIN\n{statement}", lines_before=1, cursor=cursor) from error
        raise
