"""The results table, whose columns adapt to the rows.

A column is added when a key first appears in a row, and its type is widened when a value does not fit. No value is
omitted. An item fails because of its columns only if the table would have more than `MAX_COLUMNS` (`too_wide`). `_run`
and `_item` are the first two columns, because other columns are added later.

`ResultsTable.write` is called inside a transaction. First the columns are adapted to all tables of the flush, then each
table is inserted. It returns the columns that the table has after the commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from tui_runner.errors import DatabaseError
from tui_runner.store.ingest.type_widening import VARCHAR, admit, converted, guard, storable, widened
from tui_runner.store.records import ITEM_COLUMN, MAX_COLUMNS, RUN_COLUMN
from tui_runner.store.sql import Cursor, distinct, file_of, is_sql_name, literal, new_names, quote

_COLUMN_MAP = pa.schema(
    [("table_name", pa.string()), ("raw_name", pa.string()), ("column_name", pa.string()), ("type", pa.string())]
)
"""Schema of the rows for `runner.columns`."""


_STEP = 64
"""Columns that `add_in_steps` adds per transaction. Fewer take longer; more take more memory."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a results table.

    Attributes:
        types: DuckDB type of each column, in the table's order, including `_run` and `_item`.
        names: name of the column for each raw name, which is a key in the rows.
    """

    types: Mapping[str, str]
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Source:
    """The values of one column: an SQL expression over `relation`, and its type.

    `relation` is the results table or an Arrow table with new rows.
    """

    relation: str
    value: str
    type: str


@dataclass(frozen=True, slots=True)
class _Incoming:
    """An Arrow table with new rows. Its columns are renamed to c0, c1, …, because raw names may be any text.

    Attributes:
        view: name of the table in SQL.
        raw_names: raw names of the columns, except the first, which is `_item`.
        types: DuckDB type of each column in `raw_names`.
        filled: True for each column in `raw_names` that has a value.
    """

    view: str
    raw_names: tuple[str, ...]
    types: tuple[str, ...]
    filled: tuple[bool, ...]


class ResultsTable:
    """The results table of a run. Used by one thread with one cursor."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, views: ArrowViews, table: str) -> None:
        """Create the table if it does not exist, and read its columns.

        Raises:
            DatabaseError: see `prepare_table`.
        """
        self._cursor = cursor
        self._views = views
        self.name = prepare_table(cursor, table)
        self._sql_name = f"main.{quote(self.name)}"
        self._duckdb_types: dict[pa.DataType, str] = {}
        # Columns that are known to have a value, so that a column is not searched again once a value was found.
        self._filled: set[str] = set()
        self.shape = self._read_shape()

    def _read_shape(self) -> Shape:
        types = _columns(self._cursor, self.name)
        known = self._cursor.execute(
            "SELECT raw_name, column_name FROM runner.columns WHERE table_name = ?", [self.name]
        ).fetchall()
        # A column that the user has dropped is created again when its key appears again.
        return Shape(types, {raw: column for raw, column in known if column in types})

    def add_in_steps(self, tables: Sequence[pa.Table]) -> None:
        """Add new columns of `tables` to an existing table in separate transactions, if there are many.

        Call it before `write`, outside of a transaction.

        Each ALTER creates a new description of the whole table, and DuckDB keeps all descriptions until the end of the
        transaction: adding 800 columns to a table of 4,000 took 3 GB. If the flush fails afterwards, the table keeps
        the empty columns.

        Args:
            tables: see `write`.
        """
        if len(self.shape.types) == 2:  # `_alter` creates all columns of a new table with one statement
            return
        raws = dict.fromkeys(raw for table in tables for raw in table.column_names)
        fresh = [raw for raw in raws if raw != ITEM_COLUMN and raw not in self.shape.names]
        if len(fresh) <= _STEP:
            return
        for first in range(0, len(fresh), _STEP):
            step = set(fresh[first : first + _STEP])
            narrow = [
                table.select([ITEM_COLUMN, *(raw for raw in table.column_names if raw in step)])
                for table in tables
                if not step.isdisjoint(table.column_names)
            ]
            self._cursor.execute("BEGIN TRANSACTION")
            with self._registered(narrow) as incoming:
                shape = self._evolve(incoming)
            self._cursor.execute("COMMIT")
            self.shape = shape

    def too_wide(self, tables: Sequence[pa.Table]) -> set[int]:
        """Return the positions of the items whose columns would exceed `MAX_COLUMNS`.

        Args:
            tables: see `write`.
        """
        fresh = {raw for table in tables for raw in table.column_names} - {ITEM_COLUMN} - self.shape.names.keys()
        room = MAX_COLUMNS - len(self.shape.types) + 2  # `_run` and `_item` do not count
        if len(fresh) <= room:
            return set()
        brought: dict[int, set[str]] = {}
        for table in tables:
            items = table.column(ITEM_COLUMN)
            for raw, column in zip(table.column_names, table.columns, strict=True):
                if raw in fresh:
                    present = items.filter(column.is_valid())
                    # If a column has no value at all, it is unknown which rows had its key, so all rows count.
                    for position in (present if len(present) else items).unique().to_pylist():
                        brought.setdefault(position, set()).add(raw)
        admitted: set[str] = set()
        beyond = set()
        # Items with low positions add their columns first, so the order of the tables does not matter.
        for position, columns in sorted(brought.items()):
            if len(admitted | columns) > room:
                beyond.add(position)
            else:
                admitted |= columns
        return beyond

    def write(self, run_id: int, tables: Sequence[pa.Table]) -> Shape:
        """Adapt the columns, then insert the rows of `tables`, whose columns are `_item` and raw names.

        Call it inside a transaction, and set `shape` to the returned value after the commit.
        """
        shape = self.shape
        with self._registered(tables) as incoming:
            if not incoming:
                return shape
            shape = self._evolve(incoming)
            for source in incoming:
                self._insert(run_id, source, shape)
        return shape

    @contextmanager
    def _registered(self, tables: Sequence[pa.Table]) -> Iterator[list[_Incoming]]:
        """Register the tables with DuckDB. Concatenate tables of one schema, because one INSERT is much faster."""
        groups: dict[pa.Schema, list[pa.Table]] = {}
        for table in tables:
            prepared = _without_nulls(admit(table), self.shape)
            groups.setdefault(prepared.schema.remove_metadata(), []).append(prepared)
        incoming = []
        with ExitStack() as shown:
            for number, (schema, members) in enumerate(groups.items()):
                item = schema.get_field_index(ITEM_COLUMN)
                if item < 0:
                    raise ValueError(f"result rows without the one column {ITEM_COLUMN}")
                rows = pa.concat_tables([member.replace_schema_metadata(None) for member in members])
                names = distinct(rows.column_names)
                rest = [index for index in range(rows.num_columns) if index != item]
                rows = rows.select([item, *rest]).rename_columns([f"c{index}" for index in range(len(names))])
                incoming.append(
                    _Incoming(
                        view=shown.enter_context(self._views.show(f"rows_{number}", rows)),
                        raw_names=tuple(names[index] for index in rest),
                        types=tuple(self._duckdb_type(schema.field(index).type) for index in rest),
                        filled=tuple(column.null_count < len(column) for column in rows.columns[1:]),
                    )
                )
            yield incoming

    def _duckdb_type(self, kind: pa.DataType) -> str:
        """Return DuckDB's name of an Arrow type. DuckDB is asked once for each type, because that takes a statement."""
        name = self._duckdb_types.get(kind)
        if name is None:
            with self._views.show("type", pa.schema([("value", kind)]).empty_table()) as view:
                name = str(self._cursor.execute(f"DESCRIBE {view}").fetchall()[0][1])
            self._duckdb_types[kind] = name
        return name

    def _evolve(self, incoming: Sequence[_Incoming]) -> Shape:
        """Add and widen columns so that every new value fits into its column. Return the new columns."""
        old = self.shape
        raws = [raw for source in incoming for raw in source.raw_names]
        fresh = new_names(raws, old.names, old.types)
        names = {**old.names, **fresh} if fresh else old.names
        types = dict(old.types)
        sources: dict[str, list[_Source]] = {}
        for table in incoming:
            columns = zip(table.raw_names, table.types, table.filled, strict=True)
            for index, (raw, kind, filled) in enumerate(columns, start=1):
                types.setdefault(names[raw], storable(kind))
                if filled:
                    sources.setdefault(names[raw], []).append(_Source(table.view, f"c{index}", kind))
        for column, found in sources.items():
            stored = old.types.get(column)
            if any(source.type != stored for source in found):
                types[column] = self._target(column, stored, found)
        changed = {column for column, kind in types.items() if old.types.get(column) != kind}
        if not changed and not fresh:
            return old
        self._alter(old, types, changed)
        shape = Shape(types, names)
        self._record(shape, {raw for raw, column in names.items() if column in changed} | fresh.keys())
        return shape

    def _target(self, column: str, stored: str | None, sources: list[_Source]) -> str:
        """Return a type that can store the values in `column` and the values of all `sources`."""
        if stored is not None:
            own = _Source(self._sql_name, quote(column), stored)
            # If the column has no values, its type does not matter.
            if column in self._filled or self._exists(own, "true"):
                self._filled.add(column)
                sources = [own, *sources]
        target = storable(sources[0].type)
        for source in sources[1:]:
            target = widened(target, storable(source.type))
        for source in sources:
            condition = guard(source.type, target, source.value)
            if condition is not None and self._exists(source, f"NOT ({condition})"):
                return VARCHAR
        return target

    def _exists(self, source: _Source, condition: str) -> bool:
        query = f"SELECT 1 FROM {source.relation} WHERE {source.value} IS NOT NULL AND {condition} LIMIT 1"
        return self._cursor.execute(query).fetchone() is not None

    def _alter(self, old: Shape, types: Mapping[str, str], changed: set[str]) -> None:
        """Change the table so that it has the columns `types`. Those in `changed` are new or get another type."""
        if len(old.types) == 2 and not self._has_rows():
            # One statement creates a table of a thousand columns at once; a thousand ALTERs would take seconds.
            columns = ", ".join(f"{quote(column)} {kind}" for column, kind in types.items())
            self._cursor.execute(f"CREATE OR REPLACE TABLE {self._sql_name} ({columns})")
            return
        for column in types:
            if column not in changed:
                continue
            kind, name = types[column], quote(column)
            if column not in old.types:
                self._cursor.execute(f"ALTER TABLE {self._sql_name} ADD COLUMN {name} {kind}")
            else:
                value = converted(old.types[column], kind, name)
                if widened(old.types[column], kind) != kind:
                    value = f"CAST(NULL AS {kind})"  # `_target` has found that the column has no value
                self._cursor.execute(
                    f"ALTER TABLE {self._sql_name} ALTER COLUMN {name} SET DATA TYPE {kind} USING {value}"
                )

    def _has_rows(self) -> bool:
        return self._cursor.execute(f"SELECT 1 FROM {self._sql_name} LIMIT 1").fetchone() is not None

    def _record(self, shape: Shape, raws: set[str]) -> None:
        """Record in the ledger the columns for the raw names `raws`."""
        rows = [
            {"table_name": self.name, "raw_name": raw, "column_name": column, "type": shape.types[column]}
            for raw, column in shape.names.items()
            if raw in raws
        ]
        with self._views.show("columns", pa.Table.from_pylist(rows, schema=_COLUMN_MAP)) as view:
            self._cursor.execute(
                f"DELETE FROM runner.columns WHERE table_name = {literal(self.name)}"
                f" AND raw_name IN (SELECT raw_name FROM {view})"
            )
            self._cursor.execute(f"INSERT INTO runner.columns SELECT * FROM {view}")

    def _insert(self, run_id: int, source: _Incoming, shape: Shape) -> None:
        """Insert the rows of a registered table, converted to the types of the results table."""
        columns, values = [quote(RUN_COLUMN), quote(ITEM_COLUMN)], [str(int(run_id)), "c0"]
        fields = zip(source.raw_names, source.types, source.filled, strict=True)
        for index, (raw, kind, filled) in enumerate(fields, start=1):
            if filled:
                column = shape.names[raw]
                columns.append(quote(column))
                values.append(converted(kind, shape.types[column], f"c{index}"))
        self._cursor.execute(
            f"INSERT INTO {self._sql_name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {source.view}"
        )


def prepare_table(cursor: Cursor, table: str) -> str:
    """Create the results table `table` if it does not exist.

    Returns:
        The name of the table in the database, which may differ in case: `Books` and `books` are the same table.

    Raises:
        DatabaseError: a view or another program's table has that name, or the name is not valid.
    """
    found = find_table(cursor, table)
    if found is None:
        cursor.execute(f"CREATE TABLE main.{quote(table)} ({quote(RUN_COLUMN)} BIGINT, {quote(ITEM_COLUMN)} BIGINT)")
    return found or table


def is_bare(cursor: Cursor, table: str) -> bool:
    """Return True if the results table has no rows, and only the columns that `prepare_table` creates."""
    columns = cursor.execute(
        "SELECT column_name FROM duckdb_columns() WHERE database_name = current_database() AND schema_name = 'main'"
        " AND lower(table_name) = lower(?)",
        [table],
    ).fetchall()
    if {name for (name,) in columns} != {RUN_COLUMN, ITEM_COLUMN}:
        return False
    return cursor.execute(f"SELECT 1 FROM main.{quote(table)} LIMIT 1").fetchone() is None


def find_table(cursor: Cursor, table: str) -> str | None:
    """Return the name of the results table `table` in the database; None if it does not exist.

    Raises:
        DatabaseError: a view or another program's table has that name, or the name is not valid.
    """
    advice = "choose another one with --table"
    if not is_sql_name(table) or table.lower().startswith(RESERVED):
        raise DatabaseError("cannot be the name of a results table", repr(table), advice)
    found = cursor.execute(
        "SELECT table_name, table_type FROM information_schema.tables"
        " WHERE table_catalog = current_database() AND table_schema = 'main' AND lower(table_name) = lower(?)",
        [table],
    ).fetchone()
    if found is None:
        return None
    name, kind = found
    if kind != "BASE TABLE":
        raise DatabaseError("is a view, and rows cannot be added to it", f"table {name} of {file_of(cursor)}", advice)
    types = _columns(cursor, name)
    if types.get(RUN_COLUMN) != "BIGINT" or types.get(ITEM_COLUMN) != "BIGINT":
        raise DatabaseError("is a table that tui-runner did not create", f"table {name} of {file_of(cursor)}", advice)
    return str(name)


def _columns(cursor: Cursor, table: str) -> dict[str, str]:
    """Return {name: type} for the columns of a table in schema `main`, in order."""
    return dict(
        cursor.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = current_database()"
            " AND schema_name = 'main' AND table_name = ? ORDER BY column_index",
            [table],
        ).fetchall()
    )


def _without_nulls(table: pa.Table, shape: Shape) -> pa.Table:
    """Return `table` without columns that have no value and already exist in the results table.

    Then fewer tables have different schemas, so more rows are inserted at once.
    """
    keep = [
        index
        for index, field in enumerate(table.schema)
        if not pa.types.is_null(field.type) or field.name not in shape.names
    ]
    return table if len(keep) == table.num_columns else table.select(keep)


RESERVED = "__tui_runner_"
"""Prefix of the names under which Arrow tables are registered. A registered name hides a real table, so no results
table may have this prefix."""


class ArrowViews:
    """Arrow tables that statements of one cursor can name."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        self._left: set[str] = set()

    @contextmanager
    def show(self, name: str, table: pa.Table) -> Iterator[str]:
        """Register `table` for the duration of a `with` block. Yield its name for SQL."""
        view = RESERVED + name
        self._cursor.register(view, table)
        try:
            yield view
        finally:
            try:
                self._cursor.unregister(view)
            except duckdb.TransactionException:
                # After an error DuckDB accepts only ROLLBACK. Raising here would hide that error, so `clear`
                # unregisters the table.
                self._left.add(view)

    def clear(self) -> None:
        """Unregister the tables that could not be unregistered before a ROLLBACK. Call it after the ROLLBACK."""
        while self._left:
            self._cursor.unregister(self._left.pop())
