"""Statements of every kind give in a console what DuckDB itself gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from sql_kinds import STATEMENTS, TABLES

from tui_runner.store.console import Console
from tui_runner.store.database import Database


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Console, duckdb.DuckDBPyConnection]]:
    path: Path = tmp_path_factory.mktemp("kinds") / "books.duckdb"
    with duckdb.connect(":memory:") as plain, Database.open(path) as database, Console(database) as console:
        plain.execute("ATTACH ':memory:' AS books")
        plain.execute("USE books")
        plain.execute("SET TimeZone = 'UTC'")
        plain.execute(TABLES)
        cursor = database.cursor()
        cursor.execute(TABLES)
        database.close_cursor(cursor)
        yield console, plain


def _rows(table: pa.Table, ordered: bool) -> list[str]:
    """The rows of a result; sorted when the statement leaves their order to chance."""
    rows = [repr(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    return rows if ordered else sorted(rows)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_console_answers_as_duckdb_does(both: tuple[Console, duckdb.DuckDBPyConnection], statement: str) -> None:
    console, plain = both
    expected = plain.sql(statement).to_arrow_table()
    with console.query(statement) as result:
        table = result.read_all()
    ordered = "ORDER BY" in statement
    assert _rows(table, ordered) == _rows(expected, ordered)
    assert len(set(table.column_names)) == len(expected.column_names)


@pytest.mark.parametrize("statement", ["EXPLAIN FROM books", "EXPLAIN ANALYZE SELECT count(*) FROM books, sales"])
def test_plans_are_shown(both: tuple[Console, duckdb.DuckDBPyConnection], statement: str) -> None:
    with both[0].query(statement) as result:
        assert "scan" in str(result.read_all().to_pylist()).lower()
