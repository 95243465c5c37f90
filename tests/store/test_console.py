"""Statements of users."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from support.refused_sql import CHANGING, REACHING_OUT
from support.sent_batches import run_record
from support.waiting import eventually

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.arrow_batches import READ_ROWS
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger
from tui_runner.store.query.console import TYPE_KEY, Console
from tui_runner.store.query.errors import QueryCancelled, QueryError
from tui_runner.store.sql import QUOTED_WORDS, as_typed, quote


@pytest.fixture
def console(database: Database) -> Iterator[Console]:
    cursor = database.cursor()
    cursor.execute("CREATE TABLE books AS SELECT range AS id, 'book ' || range AS title FROM range(10)")
    cursor.execute("CREATE SEQUENCE numbers")
    database.close_cursor(cursor)
    with Console(database) as opened:
        yield opened


def test_rows_are_streamed(console: Console) -> None:
    with console.query("SELECT range AS a FROM range(100_000_000_000)") as result:
        sizes = [batch.num_rows for batch in itertools.islice(result, 3)]
    assert all(0 < size <= 4096 for size in sizes)
    with console.query("SELECT count(*) FROM books") as result:
        assert result.read_all().to_pydict() == {"count_star()": [10]}


def test_of_wide_rows_a_batch_has_few(console: Console) -> None:
    with console.query("SELECT repeat('x', 20_000) AS a, 'red'::ENUM('red') AS b FROM range(3_000)") as result:
        sizes = [batch.num_rows for batch in result]
    assert (max(sizes), sum(sizes)) == (READ_ROWS, 3_000)


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


@pytest.mark.parametrize("statement", CHANGING)
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
        ("FROM read_csv('/etc/passwd')", "queries can't read or write other files; use DuckDB itself for /etc/passwd"),
        ("SELECT 'a\0b'", "NUL character"),
        ("SELECT '\udcff'", "the statement contains a lone surrogate"),
        # DuckDB takes minutes to reject this, and cannot be ended meanwhile.
        ("SELECT " + "(" * 10_000 + "1", "more than 1,000 deep"),
    ],
)
def test_mistakes_are_one_line(console: Console, statement: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        console.query(statement).read_all()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "LINE 1" not in str(caught.value)


def test_a_missing_table_is_answered_with_those_that_exist_and_none_of_duckdb(
    console: Console, database: Database
) -> None:
    def said(statement: str) -> str:
        with pytest.raises(QueryError) as caught:
            console.query(statement).read_all()
        return str(caught.value)

    missing = "Catalog Error: Table with name {} does not exist"
    for name in ("nowhere", "indexes", "pages"):  # DuckDB suggests pg_indexes and pg_views
        assert said(f"FROM {name}") == f"{missing.format(name)}; its tables are books"
    assert said("FROM boks") == f'{missing.format("boks")}! Did you mean "books"?'
    with database.opened_cursor() as cursor:
        cursor.execute('CREATE SCHEMA runner; CREATE VIEW runner.errors AS SELECT 1; CREATE TABLE "a b" (i INT)')
        cursor.execute('CREATE TABLE "unique" (i INT)')
        for number in range(8):
            cursor.execute(f"CREATE TABLE runner.t{number} (i INT)")
    listed = '"a b", books, "unique", runner.errors, runner.t0, runner.t1, runner.t2, runner.t3 and 4 more'
    assert said("SELECT 1\nFROM nowhere").endswith(f"; its tables are {listed}")
    with database.opened_cursor() as cursor:
        cursor.execute('DROP SCHEMA runner CASCADE; DROP TABLE "a b"; DROP TABLE books; DROP TABLE "unique"')
    assert said("FROM nowhere").endswith("; this database has no tables yet")
    assert "Did you mean" in said("SELECT sqrtt(2)")


@pytest.mark.parametrize("statement", REACHING_OUT)
def test_files_and_the_world_outside_are_out_of_reach(console: Console, statement: str) -> None:
    with pytest.raises(UserError):
        console.query(statement).read_all()


def test_nothing_that_was_refused_left_a_trace(console: Console, database: Database) -> None:
    for statement in ("CREATE TABLE x AS SELECT 1", "WITH a AS (DELETE FROM books RETURNING *) FROM a"):
        with pytest.raises(UserError):
            console.query(statement)
    with console.query("SELECT table_name FROM duckdb_tables()") as result:
        assert result.read_all().to_pydict() == {"table_name": ["books"]}
    with console.query("SELECT sum(id) AS s, count(*) AS n FROM books") as result:
        assert result.read_all().to_pylist() == [{"s": 45, "n": 10}]


@pytest.mark.parametrize(
    ("statement", "line", "column"),
    [
        ("SELEC 1", 1, 1),
        ("SELECT 1 +\n  titel FROM books", 2, 3),
        ("SELECT 'é', titel FROM books", 1, 13),
        ("SELECT " + "1 + " * 100 + "titel FROM books", 1, 408),
        ("FROM books\nWHERE id ~~~ 3", 2, 10),
        ("SELECT *\nFROM missing", 2, 6),
        ("SELECT\n\nCAST('x' AS INTEGER)", 3, 1),
    ],
)
def test_mistakes_have_a_place(console: Console, statement: str, line: int, column: int) -> None:
    with pytest.raises(QueryError) as caught:
        console.query(statement)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("FROM order", 'if order is a name, write "order" in double quotes, because it is a reserved word'),
        ("SELECT 'é'\nFROM books JOIN Group g", 'if Group is a name, write "Group" in double quotes, because it'),
        ("FROM left LIMIT 2", 'if left is a name, write "left" in double quotes'),
        ("SELECT group FROM books", 'if group is a name, write "group" in double quotes'),
        ("SELECT title FROM books ORDER BY at", 'if at is a name, write "at" in double quotes'),
        ("SELECT sum(x.y) FROM natural n", 'if natural is a name, write "natural" in double quotes'),
        (
            "SELECT at, title\nFROM full f",
            'if at and full are names, write "at" and "full" in double quotes',
        ),
        ("WITH at AS (SELECT 1 AS x) FROM at", 'if at is a name, write "at" in double quotes'),
        ("FROM books WHERE", "correct the statement"),
        ("FROM books GROUP BY", "correct the statement"),
        ("SELECT title FROM books WHERE title = ORDER BY title", "correct the statement"),
        ("SELECT title FROM books ORDER title", "correct the statement"),
        ("SELECT at, title FROM books WHERE (", "correct the statement"),
        ("FROM 7x", "correct the statement"),
    ],
)
def test_a_syntax_error_at_a_keyword_in_the_place_of_a_name_advises_quotes(
    console: Console, statement: str, advice: str
) -> None:
    with pytest.raises(QueryError, match="syntax error") as caught:
        console.query(statement)
    assert caught.value.do.startswith(advice)


@pytest.mark.parametrize(
    ("statement", "values", "expected"),
    [
        ("SELECT $a + $b AS x", {"a": 1, "b": 2}, 3),
        ("SELECT ? - ? AS x", {"1": 5, "2": 2}, 3),
        ("SELECT $2 || $1 AS x", {"1": "b", "2": "a"}, "ab"),
        ("SELECT count(*) AS x FROM books WHERE title = $Title", {"title": "book 3", "unused": 1}, 1),
        ("SELECT $a IS NULL AS x", {"a": None}, True),
        ("SELECT '$a' || $$?$$ AS x", {}, "$a?"),
    ],
)
def test_parameters_get_their_values(
    console: Console, statement: str, values: dict[str, object], expected: object
) -> None:
    with console.query(statement, values) as result:
        assert result.read_all()["x"].to_pylist() == [expected]


@pytest.mark.slow
def test_every_keyword_of_duckdb_can_name_a_table_and_a_column_as_a_user_would_type_it() -> None:
    with duckdb.connect() as connection:
        keywords = connection.execute("SELECT DISTINCT keyword_name FROM duckdb_keywords()").fetchall()
        quoted_words = {word for (word,) in connection.execute(QUOTED_WORDS).fetchall()}
        assert {"at", "left", "order"} <= quoted_words and not {"year", "values", "item"} & quoted_words
        for (keyword,) in keywords:
            name = as_typed(keyword, quoted_words)
            connection.execute(f"CREATE TABLE {quote(keyword)} AS SELECT 1 AS {quote(keyword)}, 2 AS other")
            connection.execute(f"SELECT other, {name}, -{name} FROM {name} WHERE {name} > 0 ORDER BY {name}")
            connection.execute(f"SELECT sum({name}) FROM {name} GROUP BY {name} LIMIT 2")


def test_a_value_that_is_no_text_is_named(console: Console) -> None:
    with pytest.raises(UserError, match=r"value of \$a contains a lone surrogate"):
        console.query("SELECT $a", {"a": "\ud800"})


def test_a_parameter_without_a_value_is_named(console: Console) -> None:
    with pytest.raises(UserError, match=r"no value for \$b, \?1"):
        console.query("SELECT $a, $b, ?", {"a": 1})


CROSS_JOIN = "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b WHERE hash(a.range + b.range) % 7 = 3"


def test_a_cross_join_is_cancelled_from_another_thread(console: Console) -> None:
    cancelled_at: list[float] = []

    def cancel() -> None:
        cancelled_at.append(time.monotonic())
        console.cancel()

    for _ in range(3):
        timer = threading.Timer(0.1, cancel)
        timer.start()
        with pytest.raises(QueryCancelled):
            console.query(CROSS_JOIN)
        # 2 ms when measured; the machine of a test may be busy.
        assert time.monotonic() - cancelled_at[-1] < 1
        timer.join()
    with console.query("SELECT 1 AS a") as result:
        assert result.read_all().to_pylist() == [{"a": 1}]


def test_reading_is_cancelled_too(console: Console) -> None:
    result = console.query("SELECT range AS a FROM range(100_000_000_000)")
    threading.Timer(0.1, console.cancel).start()
    with pytest.raises(QueryCancelled):
        for _ in result:
            pass
    assert result.closed
    assert not result.complete


def test_a_statement_that_others_end_says_why(console: Console, database: Database) -> None:
    ends = threading.Timer(0.1, database.statements.end, ["the run needs the memory"])
    ends.start()
    with pytest.raises(UserError, match="the statement was ended: the run needs the memory; ask for less"):
        console.query(CROSS_JOIN)
    ends.join()
    assert len(database.statements) == 0
    assert console.query("SELECT 1 AS a").read_all().num_rows == 1


def test_unread_rows_free_their_memory_when_other_threads_end_them(console: Console, database: Database) -> None:
    result = console.query("SELECT range AS a FROM range(100_000_000_000)")
    rows = iter(result)
    next(rows)
    assert database.statements.end("the run needs the memory") == 1
    assert database.statements.end("again") == 0
    eventually(lambda: not database._cursors and not len(database.statements), "the end of the statement")
    with pytest.raises(UserError, match="the run needs the memory"):
        next(rows)
    assert (result.closed, result.complete) == (True, False)
    with console.query("SELECT range AS a FROM range(100_000_000_000)") as other:
        result.close()
        assert next(iter(other)).num_rows


def test_cancelling_when_nothing_runs_does_nothing(console: Console) -> None:
    console.cancel()
    with console.query("SELECT 1 AS a") as result:
        assert result.read_all().num_rows == 1


def test_progress_is_reported_while_a_statement_runs(console: Console) -> None:
    seen: list[float] = []

    def look() -> None:
        while not seen:
            progress = console.progress()
            if progress is not None:
                seen.append(progress)
        console.cancel()

    watcher = threading.Thread(target=look)
    watcher.start()
    with pytest.raises(QueryCancelled):
        console.query(CROSS_JOIN)
    watcher.join()
    assert 0 <= seen[0] <= 1
    assert console.progress() is None


def test_a_new_statement_ends_the_one_before(console: Console, database: Database) -> None:
    first = console.query("SELECT range AS a FROM range(100_000_000_000)")
    second = console.query("SELECT 1 AS a")
    assert first.closed
    assert second.read_all().num_rows == 1
    assert (second.rows, second.complete) == (1, True)
    assert database._cursors == []


def test_closing_the_database_ends_what_runs(console: Console, database: Database) -> None:
    threading.Timer(0.1, database.close).start()
    with pytest.raises(DatabaseError, match="was closed while the statement ran"):
        console.query(CROSS_JOIN)


def test_many_statements_leave_nothing_behind(console: Console, database: Database) -> None:
    console.query("SELECT 1").close()
    threads, files = set(threading.enumerate()), len(list(Path("/dev/fd").iterdir()))
    for number in range(100):
        result = console.query(f"SELECT range + {number} AS a FROM range(1_000_000)")
        next(iter(result))
        if number % 2:
            result.close()
    console.query("SELECT 1").close()
    assert database._cursors == []
    assert set(threading.enumerate()) <= threads
    assert len(list(Path("/dev/fd").iterdir())) <= files


def test_write_mode_changes_data(console: Console) -> None:
    console.write = True
    with console.query("DELETE FROM books WHERE id < $n", {"n": 4}) as result:
        assert result.read_all().to_pylist() == [{"Count": 4}]
        assert result.schema.field("Count").metadata[TYPE_KEY] == b"BIGINT"
    with console.query("INSERT INTO books VALUES (100, 'new') RETURNING id, INTERVAL 3 DAY AS wait, id") as result:
        assert result.read_all().to_pylist() == [{"id": 100, "wait": "3 days", "id_1": 100}]
        assert [field.metadata[TYPE_KEY] for field in result.schema] == [b"BIGINT", b"INTERVAL", b"BIGINT"]
    console.query("CREATE OR REPLACE TABLE other AS FROM books").close()
    with console.query("SELECT count(*) AS n FROM other") as result:
        assert result.read_all().to_pylist() == [{"n": 7}]
    console.write = False
    with pytest.raises(UserError, match="only statements that read"):
        console.query("DROP TABLE other")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM runner.runs",
        'UPDATE "RUNNER".runs SET state = $$ok$$',
        "INSERT INTO runner.runs SELECT * FROM runner.runs",
        "DROP SCHEMA runner CASCADE",
        "DROP TABLE runner.samples",
        "CREATE TABLE runner.mine AS SELECT 1",
        "CREATE OR REPLACE VIEW runner.mine AS SELECT 1",
        "ALTER TABLE runner.items ADD COLUMN x INTEGER",
        "ALTER TABLE runner.items RENAME TO things",
    ],
)
def test_write_mode_never_reaches_the_ledger(console: Console, database: Database, statement: str) -> None:
    Ledger(database.cursor()).begin_run(run_record(table_name="results"))
    console.write = True
    with pytest.raises(UserError, match="ledger"):
        console.query(statement)
    with console.query("SELECT job, state FROM runner.runs") as result:
        assert result.read_all().to_pylist() == [{"job": "books", "state": "running"}]
    console.query("INSERT INTO books SELECT run_id, job FROM runner.runs").close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE SECRET s (TYPE s3)",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
        "ATTACH ':memory:' AS x",
        "COPY books TO 'x'",
        "SET threads = 1",
        "INSTALL httpfs",
        "CHECKPOINT",
        "EXPORT DATABASE 'x'",
        "CREATE INDEX i ON books (id)",
        "CREATE/*TABLE*/INDEX i ON books (id)",
    ],
)
def test_write_mode_is_for_data_only(console: Console, statement: str) -> None:
    console.write = True
    with pytest.raises(UserError, match="cannot be run here"):
        console.query(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE/*x*/TABLE new(i INT)",
        "CREATE--x\nTABLE new(i INT)",
        'CREATE TABLE"new"(i INT)',
        "/* ä */ create or replace table new(i INT)",
    ],
)
def test_write_mode_creates_a_table_whatever_separates_the_words(console: Console, statement: str) -> None:
    console.write = True
    console.query(statement).close()
    with console.query("FROM new") as result:
        assert result.read_all().column_names == ["i"]


def test_there_is_no_write_mode_beside_a_run(console: Console, database: Database) -> None:
    console.write = True
    database.note_run(1)
    assert not console.write
    with pytest.raises(UserError, match="only statements that read"):
        console.query("DELETE FROM books")
    with pytest.raises(UserError, match="a run is writing"):
        console.write = True


def test_a_statement_sees_what_is_committed_and_a_later_one_what_came_since(
    console: Console, database: Database
) -> None:
    cursor = database.cursor()
    with console.query("SELECT count(*) AS n FROM books") as before:
        cursor.execute("INSERT INTO books VALUES (10, 'x')")
        assert before.read_all()["n"].to_pylist() in ([10], [11])
    with console.query("SELECT count(*) AS n FROM books") as after:
        assert after.read_all()["n"].to_pylist() == [11]


def test_columns_of_the_same_name_are_distinguished(console: Console) -> None:
    with console.query("SELECT 1 AS a, 2 AS a, INTERVAL 1 DAY AS a") as result:
        assert result.read_all().to_pydict() == {"a": [1], "a_1": [2], "a_2": ["1 day"]}


def test_texts_and_blobs_of_a_batch_may_have_more_than_2_gb_together(console: Console) -> None:
    with console.query("SELECT 'a' AS t, 'b'::BLOB AS b, ['c'] AS l") as result:
        kinds = [field.type for field in result.schema]
    assert kinds == [pa.large_string(), pa.large_binary(), pa.large_list(pa.field("l", pa.large_string()))]


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
        assert result.schema.field("i").type == pa.large_string()


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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_statements_give_way_to_a_run_and_to_nothing_else(database: Database) -> None:
    others = set(threading.enumerate())

    def niceness() -> int:
        (thread,) = (each for each in set(threading.enumerate()) - others if each.name == "tui-runner-query")
        assert thread.native_id is not None
        return os.getpriority(os.PRIO_PROCESS, thread.native_id)

    own = os.getpriority(os.PRIO_PROCESS, 0)
    with Console(database) as opened:
        opened.query("SELECT 1").read_all()
        assert niceness() == own
        database.note_run(1)
        opened.query("SELECT 1").read_all()
        assert niceness() > own


def test_an_ordered_sum_where_a_subquery_chooses_is_right(database: Database) -> None:
    """DuckDB 2.0.0 by itself gives 173 for the first one: see `disabled_optimizers`."""
    cursor = database.cursor()
    cursor.execute("CREATE TABLE chosen AS SELECT 1 AS id")
    cursor.execute("CREATE TABLE summed AS SELECT 1 AS id, 'k' || n % 3 AS k, 100 + n % 50 AS r FROM range(5000) t(n)")
    database.close_cursor(cursor)
    sql = "SELECT k, sum(r)::BIGINT AS s FROM summed WHERE id = (SELECT max(id) FROM chosen) GROUP BY ALL ORDER BY k"
    with Console(database) as console:
        assert console.query(sql).read_all().column("s").to_pylist() == [207_533, 207_550, 207_417]
