"""Statements that a person typed: read only, one at a time, streamed, cancelled at will.

What a statement does cannot be told from its type (`WITH a AS (INSERT …) SELECT` says it is a SELECT), so the engine
holds it back: a read-only transaction in a locked-down instance. The list of types below makes better messages.

How an interface uses it. Everything that blocks says so; call that from a thread of your own.

    with open_access(path) as access:            # store/access.py; or LocalAccess(runner.database) beside a run
        access.describe                          # "books.duckdb", or "books.duckdb, held by tui-runner (pid 7), run 3"
        console = access.console()               # one a tab; one running statement a console
        statement = statement_at(text, position) # store/statements.py: .sql .start .end .parameters (names, "1" for ?)
        values = {name: typed_value(text) …}     # what the person answered, as a SQL value
        result = console.query(statement.sql, values)   # blocks until the first rows are there
        console.cancel()                         # from any thread: ends `query` or reading with QueryCancelled
        console.progress()                       # from any thread: 0.0 to 1.0, None while DuckDB cannot tell
        pages = Pages(result, page_rows=10_000)  # store/pages.py
        pages.page(0)                            # blocks; a pa.Table, and None behind the last page
        pages.rows_known, pages.complete         # "first 10,000 of more" while not complete
        pages.all_batches()                      # blocks; every row from the first, for export
        pages.close()                            # ends the statement
        console.close(); access.close()

    QueryError(UserError)     # .line and .column in the statement, from 1, or None; str() is one line
    QueryCancelled(UserError)
    result.schema             # distinct names; field.metadata[TYPE_KEY] is the DuckDB type as bytes
    result.rows, .seconds     # rows read so far; seconds from the call of `query` to the newest batch
    console.write = True      # write mode; raises UserError where it cannot be (a run is active, or another process owns
                              # the file). Statements that change data then run and commit; result is one row, "Count"
    access.can_write          # whether write mode can be had now
    catalog(console)          # store/catalog.py: blocks; schemas' tables with columns, types and row counts
    ready_made(catalog)       # store/ready_made.py: named statements for the ledger and each results table
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from tui_runner.errors import UserError
from tui_runner.store.database import Database, describe, first_line
from tui_runner.store.names import distinct
from tui_runner.store.sql import quote

TYPE_KEY = b"duckdb_type"
"""Metadata of a result's fields: the DuckDB type, where Arrow says less (JSON is a string there)."""

_READING = frozenset(
    # MULTI is PIVOT, which the parser turns into several.
    {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
)
_AS_TEXT = ("INTERVAL", "TIME WITH TIME ZONE", "BIT", "BIGNUM", "UHUGEINT", "VARIANT", "GEOMETRY", "UNION(")
"""Types that lose something on the way into Arrow, or that Parquet cannot hold; they are read as DuckDB's text."""
_BATCH_ROWS = 4_096
"""Rows a batch: turning a batch into Python values holds the interpreter for some milliseconds."""


class Result:
    """The rows of a statement, batch by batch as they are made; close it to end the statement.

    Attributes:
        schema: names (each there once) and Arrow types, with `TYPE_KEY` in each field's metadata.
    """

    def __init__(
        self, database: Database, cursor: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader, schema: pa.Schema
    ) -> None:
        self.schema = schema
        self._database = database
        self._cursor = cursor
        self._reader = reader
        self._closed = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches.

        Raises:
            UserError: the statement failed half-way, a text that is no number for one.
        """
        while not self._closed:
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowException, OSError, duckdb.Error) as error:
                raise UserError(first_line(error)) from error
            yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)

    def read_all(self) -> pa.Table:
        """All rows, held in memory."""
        return pa.Table.from_batches(list(self), schema=self.schema)

    def close(self) -> None:
        """End the statement, whether or not all its rows were read. Calling it again does nothing."""
        if not self._closed:
            self._closed = True
            # A reader that still has rows blocks its cursor, even for a ROLLBACK.
            self._reader.close()
            _end(self._database, self._cursor)

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Console:
    """Runs statements that read against an open database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def query(self, sql: str) -> Result:
        """Run one statement in a read-only transaction of its own.

        Raises:
            UserError: it is no single statement that reads, or DuckDB rejects it.
            DatabaseError: the database is closed or broken.
        """
        cursor = self._database.cursor()
        try:
            statement = _single(cursor, sql)
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            relation = cursor.sql(statement)
            names, types = distinct(relation.columns), [str(kind) for kind in relation.types]
            relation = _readable(relation, names, types)
            reader = relation.to_arrow_reader(_BATCH_ROWS)
            fields = [
                pa.field(name, field.type, metadata={TYPE_KEY: kind.encode()})
                for name, kind, field in zip(names, types, reader.schema, strict=True)
            ]
        except BaseException as error:
            _end(self._database, cursor)
            if isinstance(error, duckdb.FatalException | duckdb.ConnectionException):
                raise describe(error, self._database.path) from error
            if isinstance(error, duckdb.Error | pa.ArrowException | OSError):
                raise UserError(_said(error)) from error
            raise
        return Result(self._database, cursor, reader, pa.schema(fields))


def _single(cursor: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The one statement of `sql`, as DuckDB's parser sees it."""
    if "\0" in sql:
        raise UserError("the statement has a NUL character in it")
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        what = f"{len(statements)} statements" if statements else "no statement"
        raise UserError(f"{what} given", do="give one that reads, such as: SELECT count(*) FROM runner.items")
    try:
        reads = statements[0].type in _READING
    except ValueError:  # a type that this version of the library has no name for
        reads = False
    if not reads:
        raise UserError(
            "only statements that read can be run", do="use SELECT, FROM, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
        )
    return str(statements[0].query)


def _readable(relation: duckdb.DuckDBPyRelation, names: list[str], types: list[str]) -> duckdb.DuckDBPyRelation:
    """`relation` with the columns as text that Arrow would take for something else."""
    as_text = [kind.startswith(_AS_TEXT) and not kind.endswith("]") for kind in types]
    if not any(as_text):
        return relation
    columns = [
        f"{f'CAST(#{number} AS VARCHAR)' if text else f'#{number}'} AS {quote(name or 'column')}"
        for number, (name, text) in enumerate(zip(names, as_text, strict=True), start=1)
    ]
    return relation.project(", ".join(columns))


def _said(error: BaseException) -> str:
    message = first_line(error)
    if "read-only mode" in message:
        return "the statement would change the database, and only statements that read can be run"
    return message


def _end(database: Database, cursor: duckdb.DuckDBPyConnection) -> None:
    """Roll back and close."""
    with contextlib.suppress(duckdb.Error):
        cursor.interrupt()
    with contextlib.suppress(duckdb.Error):
        cursor.execute("ROLLBACK")
    database.close_cursor(cursor)
