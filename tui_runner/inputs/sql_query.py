"""`sql:` inputs: the rows of a query over files, or over the run's database.

A process that writes to a DuckDB file must not open it a second time, and the items must not change while the run adds
rows. So a query that needs the database is evaluated before the run begins. The database is opened for reading only,
and the rows are copied to a temporary DuckDB file, from which the items are then read. That file is not Parquet,
because only DuckDB's own format preserves every type. A query that needs only files is streamed from them.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import duckdb

from tui_runner.errors import DatabaseError, UserError
from tui_runner.inputs import duckdb_reader
from tui_runner.inputs.duckdb_reader import Bound, TableSource
from tui_runner.inputs.source import Slice, Source
from tui_runner.store.file_check import check_companions, check_file, check_place
from tui_runner.store.sql import about_missing_table, literal
from tui_runner.system.private_folder import private_folder
from tui_runner.text.items import MAX_INPUT_BYTES
from tui_runner.text.messages import one_line, plain

_WHERE = "the input sql"
"""Name of the input in messages about it."""
_fault = duckdb_reader.fault_of(_WHERE)


class _Folder:
    """A temporary folder that is deleted together with this object, or at the end of the program."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="input-", dir=private_folder()))
        self.remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class QuerySource(TableSource):
    """The rows of a relation: a query over files, or a temporary copy of rows from the database."""

    def __init__(
        self,
        text: str,
        relation: str,
        kinds: Sequence[tuple[str, str]],
        *,
        setup: str = "",
        total: int | None = None,
        copy_of_rows: _Folder | None = None,
        max_bytes: int = MAX_INPUT_BYTES,
    ) -> None:
        self.text = text
        self._bound = Bound(max_bytes, _WHERE)
        self._relation = relation
        self._setup = setup
        self._total = total
        # The folder is deleted when no source or iterator refers to it any more.
        self._copy = copy_of_rows
        self._every = [duckdb_reader.column(name, kind, f"c{index}") for index, (name, kind) in enumerate(kinds)]
        self.columns: tuple[str, ...] = tuple(name for name, _ in kinds)
        self._bare = len(self.columns) == 1

    @property
    def total(self) -> int | None:
        """Number of rows of the copy; None for a query over files, because counting would run it a second time."""
        return self._total

    def _slices(self) -> Iterator[Slice]:
        # The generator refers to `self`, so the copy exists while it is read.
        with closing(duckdb_reader.connect()) as connection:
            if self._setup:
                connection.execute(self._setup)
            yield from duckdb_reader.slices(
                connection, self._every, self._relation, _fault, bare=self._bare, bound=self._bound
            )


def open_query(sql: str, text: str, database: Path | None, max_bytes: int = MAX_INPUT_BYTES) -> Source:
    """Return the rows of a query as a source.

    A query over files is executed at each reading. If it needs a table of the database, its rows are copied now.

    Raises:
        UserError: `sql` is not a single query, or cannot be executed.
        DatabaseError: the query needs the database, but it cannot be opened.
    """
    with closing(duckdb_reader.connect()) as connection:
        query = _query(connection, sql)
        try:
            kinds = duckdb_reader.described(connection, f"({query})")
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            if database is None or not database.is_file():
                missing = f"the database {plain(database)} does not exist yet" if database else "there is no database"
                do = "query a file, or name the database of the table with --db"
                said, _ = about_missing_table(_message(error), None)
                raise UserError(f"{said} ({missing})", where=_WHERE, do=do) from None
            return _copied(connection, query, text, database, max_bytes)
        except duckdb_reader.READ_ERRORS as error:
            raise _fault(error) from None
    return QuerySource(text, _renamed(f"({query})", kinds), kinds, max_bytes=max_bytes)


def _query(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Return the only query in `sql` in a form that can be enclosed in parentheses.

    Raises:
        UserError: `sql` is not a single query.
    """
    try:
        statements = connection.extract_statements(sql)
    except duckdb_reader.READ_ERRORS as error:
        message = _message(error)
        do = "correct the statement" if "syntax error" in message else ""
        raise UserError(message, where=_WHERE, do=do) from None
    try:
        is_query = len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT
    except ValueError:  # DuckDB's enumeration lacks this kind of statement
        is_query = False
    if not is_query:
        raise UserError("that is not one query", where=_WHERE, do="write a single SELECT")
    raw = sql.encode()
    for offset, kind in duckdb.tokenize(sql):  # offsets are in bytes
        if kind == duckdb.token_type.operator and raw[offset : offset + 1] == b";":
            raw = raw[:offset]
            break
    # The line end terminates a comment at the end of the query.
    return raw.decode() + "\n"


def _copied(connection: duckdb.DuckDBPyConnection, query: str, text: str, database: Path, max_bytes: int) -> Source:
    real = check_place(database, create=False)
    check_companions(real, read_only=True)
    check_file(database, real, create=False, write=False)
    try:
        connection.execute(f"ATTACH {literal(str(real))} AS input (READ_ONLY)")
        connection.execute("USE input")
    except duckdb_reader.READ_ERRORS as error:
        reason = "another process has it open" if "lock" in str(error) else _message(error)
        raise DatabaseError(f"the input can't be read from it: {reason}", where=plain(database)) from None
    folder = _Folder()
    copy_of = literal(str(folder.path / "items.duckdb"))
    try:
        kinds = duckdb_reader.described(connection, f"({query})")
        connection.execute(f"ATTACH {copy_of} AS items")
        connection.execute(f"CREATE TABLE items.main.items AS SELECT * FROM {_renamed(f'({query})', kinds)}")  # noqa: S608
        total = int(connection.sql("SELECT count(*) FROM items.main.items").fetchall()[0][0])
        connection.execute("USE memory")
        connection.execute("DETACH items")
        connection.execute("DETACH input")
    except duckdb_reader.READ_ERRORS as error:
        folder.remove()
        said, do = about_missing_table(_message(error), connection)
        raise UserError(said, where=_WHERE, do=plain(do) if do else "") from None
    return QuerySource(
        text,
        "items.main.items",
        kinds,
        setup=f"ATTACH {copy_of} AS items (READ_ONLY)",
        total=total,
        copy_of_rows=folder,
        max_bytes=max_bytes,
    )


def _renamed(relation: str, kinds: Sequence[tuple[str, str]]) -> str:
    """Return the relation with its columns renamed to `c0`, `c1`, …, because two columns may have the same name."""
    return f"{relation} AS q({', '.join(f'c{index}' for index in range(len(kinds)))})"


def _message(error: BaseException) -> str:
    """Return DuckDB's message without the excerpt from the query (`LINE 1: … ^`)."""
    message = str(error).split("\nLINE ", 1)[0]
    return one_line(duckdb_reader.without_settings(message.split(": ", 1)[-1]))
