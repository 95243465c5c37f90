"""Statements of every kind give in a console what DuckDB itself gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from support.sql_kinds import STATEMENTS, TABLES, rows_given

from tui_runner.store.database import Database
from tui_runner.store.query.console import Console
from tui_runner.store.query.errors import QueryError


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


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_console_answers_as_duckdb_does(both: tuple[Console, duckdb.DuckDBPyConnection], statement: str) -> None:
    console, plain = both
    expected = plain.sql(statement).to_arrow_table()
    with console.query(statement) as result:
        table = result.read_all()
    assert rows_given(statement, table) == rows_given(statement, expected)
    assert len(set(table.column_names)) == len(expected.column_names)


@pytest.mark.parametrize("statement", ["EXPLAIN FROM books", "EXPLAIN ANALYZE SELECT count(*) FROM books, sales"])
def test_plans_are_shown(both: tuple[Console, duckdb.DuckDBPyConnection], statement: str) -> None:
    with both[0].query(statement) as result:
        assert "scan" in str(result.read_all().to_pylist()).lower()


@pytest.mark.parametrize("depth", [101, 600])
def test_types_nested_too_deeply_are_one_line(database: Database, depth: int) -> None:
    with Console(database) as console:
        with pytest.raises(QueryError, match="the type of column x is nested more than 100 deep"):
            console.query(f"SELECT {'[' * depth}1{']' * depth} AS x")
        assert console.query(f"SELECT {'[' * 60}1{']' * 60} AS x").read_all().num_rows == 1
