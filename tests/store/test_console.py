"""Statements that a person typed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pytest

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.console import TYPE_KEY, Console
from tui_runner.store.database import Database


@pytest.fixture
def console(database: Database) -> Console:
    cursor = database.cursor()
    cursor.execute("CREATE TABLE books AS SELECT range AS id, 'book ' || range AS title FROM range(10)")
    cursor.execute("CREATE SEQUENCE numbers")
    database.close_cursor(cursor)
    return Console(database)


def test_rows_are_streamed(console: Console) -> None:
    with console.query("SELECT range AS a FROM range(100_000_000_000)") as result:
        sizes = [batch.num_rows for batch in itertools.islice(result, 3)]
    assert all(0 < size <= 4096 for size in sizes)
    with console.query("SELECT count(*) FROM books") as result:
        assert result.read_all().to_pydict() == {"count_star()": [10]}


@pytest.mark.parametrize(
    "statement",
    [
        "FROM books",
        "SELECT * FROM books; -- that is all",
        "WITH b AS (SELECT * FROM books) SELECT * FROM b",
        "DESCRIBE books",
        "SHOW TABLES",
        "SUMMARIZE books",
        "EXPLAIN SELECT * FROM books",
        "EXPLAIN ANALYZE SELECT * FROM books",
        "PIVOT books ON title USING sum(id)",
        "VALUES (1), (2)",
    ],
)
def test_statements_that_read_are_run(console: Console, statement: str) -> None:
    with console.query(statement) as result:
        assert result.read_all().num_rows > 0


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO books VALUES (11, 'x')",
        "WITH gone AS (DELETE FROM books RETURNING *) SELECT * FROM gone",
        "WITH a AS (INSERT INTO books VALUES (11, 'x') RETURNING *) SELECT * FROM a",
        "EXPLAIN ANALYZE DELETE FROM books",
        "SELECT nextval('numbers')",
        "DROP TABLE books",
        "CREATE TABLE other AS SELECT 1",
        "CREATE TEMP TABLE other AS SELECT 1",
        "CHECKPOINT",
        "COMMIT",
        "SET memory_limit = '1GB'",
        "ATTACH ':memory:' AS other",
        "COPY books TO 'out.csv'",
        "PRAGMA force_checkpoint",
        "CONNECT x",
        "UPDATE EXTENSIONS",
    ],
)
def test_statements_that_change_something_are_refused(console: Console, statement: str) -> None:
    with pytest.raises(UserError) as caught:
        console.query(statement).read_all()
    assert "only statements that read" in str(caught.value)
    with console.query("SELECT count(*) AS n FROM books") as result:
        assert result.read_all().to_pydict() == {"n": [10]}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("", "no statement given"),
        ("-- nothing", "no statement given"),
        ("SELECT 1; DROP TABLE books", "2 statements given"),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT titel FROM books", 'Candidate bindings: "title"'),
        ("FROM missing", "Table with name missing does not exist"),
        ("SELECT CAST('x' AS INTEGER)", "Could not convert string 'x'"),
        ("SELECT CAST(title AS INTEGER) FROM books", "Could not convert string 'book 0'"),
        ("FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT 'a\0b'", "NUL character"),
    ],
)
def test_mistakes_are_one_line(console: Console, statement: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        console.query(statement).read_all()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "LINE 1" not in str(caught.value)


def test_a_statement_sees_what_is_committed_and_a_later_one_what_came_since(
    console: Console, database: Database
) -> None:
    cursor = database.cursor()
    with console.query("SELECT count(*) AS n FROM books") as before:
        cursor.execute("INSERT INTO books VALUES (10, 'x')")
        assert before.read_all()["n"].to_pylist() in ([10], [11])
    with console.query("SELECT count(*) AS n FROM books") as after:
        assert after.read_all()["n"].to_pylist() == [11]


def test_columns_of_one_name_are_told_apart(console: Console) -> None:
    with console.query("SELECT 1 AS a, 2 AS a, INTERVAL 1 DAY AS a") as result:
        assert result.read_all().to_pydict() == {"a": [1], "a_1": [2], "a_2": ["1 day"]}


def test_values_that_arrow_would_change_are_text(console: Console) -> None:
    query = """SELECT INTERVAL '1 month 2 days 03:04:05.5' AS i, '12:00:00+02'::TIMETZ AS t, '101'::BIT AS b,
        '123456789012345678901234567890123456789012345'::BIGNUM AS n, union_value(x := 5) AS u, '{"a":1}'::JSON AS j"""
    with console.query(query) as result:
        assert result.read_all().to_pylist() == [
            {
                "i": "1 month 2 days 03:04:05.5",
                "t": "12:00:00+02",
                "b": "101",
                "n": "123456789012345678901234567890123456789012345",
                "u": "5",
                "j": '{"a":1}',
            }
        ]
        assert result.schema.field("j").metadata == {TYPE_KEY: b"JSON"}
        assert result.schema.field("i").type == pa.string()


def test_closing_ends_a_long_statement(console: Console, database: Database) -> None:
    result = console.query("SELECT a.range * b.range AS p FROM range(1_000_000) a, range(1_000_000) b")
    next(iter(result))
    result.close()
    result.close()
    assert list(result) == []
    database.close()
    Database.open(database.path).close()


def test_a_closed_database_is_an_error_of_its_own(path: Path) -> None:
    database = Database.open(path)
    database.close()
    with pytest.raises(DatabaseError, match="is closed"):
        Console(database).query("SELECT 1")
