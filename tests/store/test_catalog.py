"""The tables that can be queried, and the ready-made queries for them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from support.sent_batches import error_row, item_row, make_batch, rows_of

from tui_runner.store.database import Database
from tui_runner.store.ingest.transaction import Writer
from tui_runner.store.query.catalog import CatalogColumn, catalog, query_templates, sorted_sql
from tui_runner.store.query.console import Console
from tui_runner.store.query.result import Result


@pytest.fixture
def console(database: Database) -> Iterator[Console]:
    with Console(database) as opened:
        yield opened


def test_an_empty_database_has_nothing(console: Console) -> None:
    assert catalog(console) == []
    assert query_templates(catalog(console)) == []


def test_results_come_first_and_the_ledger_last(console: Console, writer: Writer, database: Database) -> None:
    writer.write([make_batch(rows_of(0, title="a"), rows_of(1, title="b"))])
    database.cursor().execute('CREATE VIEW "a view" AS FROM books')
    tables = catalog(console)
    assert [(table.schema, table.name, table.is_view, table.rows) for table in tables[:2]] == [
        ("main", "books", False, 2),
        ("main", "a view", True, None),
    ]
    assert CatalogColumn("title", "VARCHAR") in tables[0].columns
    assert {table.schema for table in tables[2:]} == {"runner"}


def test_columns_that_a_run_adds_are_there_at_the_next_look(console: Console, writer: Writer) -> None:
    writer.write([make_batch(rows_of(0, title="a"))])
    assert [column.name for column in catalog(console)[0].columns] == ["_run", "_item", "title"]
    writer.write([make_batch(rows_of(1, price=(2.5, pa.float64())))])
    assert [column.name for column in catalog(console)[0].columns] == ["_run", "_item", "title", "price"]


def test_every_ready_made_query_answers(console: Console, writer: Writer, database: Database) -> None:
    items = [item_row(0), item_row(1, rows=2), item_row(2, "failed")]
    rows = [rows_of(0, title="a"), rows_of(1, title="b"), rows_of(1, title="c")]
    writer.write([make_batch(*rows, items=items, errors=[error_row(2)])])
    database.cursor().execute('CREATE TABLE "odd "" name" AS SELECT 1 AS x')
    offered = {each.title: each.sql for each in query_templates(catalog(console))}
    answers = {}
    for title, sql in offered.items():
        with console.query(sql) as result:
            answers[title] = result.read_all().to_pylist()
    assert [row["rows"] for row in answers["Rows per minute"]] == [3]
    assert answers["Failures by type"][0]["items_failed"] == 1
    assert [row["item"] for row in answers["Slowest items"]] in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1])
    assert answers["Latency histogram"] == [{"milliseconds_up_to": 512.0, "items": 3}]
    assert answers["Rows per chunk"][0]["failed"] == 1
    assert answers["Newest rows of books"][0]["title"] == "c"
    assert answers["Rows per item of books"][0] == {"_run": 1, "_item": 1, "rows": 2}
    assert answers['Newest rows of odd " name'] == [{"x": 1}]
    assert answers["Runs"][0]["job"] == "books"


def test_rows_are_counted_exactly_after_some_were_deleted(console: Console, database: Database) -> None:
    cursor = database.cursor()
    cursor.execute('CREATE TABLE "odd "" name" AS SELECT * FROM range(30_000)')
    cursor.execute('DELETE FROM "odd "" name" WHERE range % 3 = 0')
    cursor.execute("CREATE SCHEMA other; CREATE TABLE other.few AS SELECT 1 AS x")
    tables = {table.name: table for table in catalog(console)}
    assert (tables['odd " name'].rows, tables['odd " name'].is_counted) == (20_000, True)
    assert (tables["few"].rows, tables["few"].is_counted) == (1, True)


def test_tables_keep_their_estimates_where_they_cannot_be_counted(console: Console, database: Database) -> None:
    database.cursor().execute("CREATE TABLE gone AS SELECT 1 AS x")

    class Dropped:
        """A console whose table is dropped after the first look."""

        def query(self, sql: str, parameters: object = None, *, light: bool = False) -> Result:
            if "count(*) AS n" in sql:
                database.cursor().execute("DROP TABLE gone")
            return console.query(sql, light=light)

    [table] = catalog(Dropped())
    assert (table.name, table.rows, table.is_counted) == ("gone", 1, False)
    assert catalog(console) == []


def test_latency_histogram_has_empty_bins(console: Console, writer: Writer, database: Database) -> None:
    writer.write([make_batch(rows_of(0, title="a"), items=[item_row(0)])])
    database.cursor().execute("UPDATE runner.items SET seconds = 0.3")
    database.cursor().execute("INSERT INTO runner.items SELECT * REPLACE (1 AS item, 3.0 AS seconds) FROM runner.items")
    sql = next(each.sql for each in query_templates(catalog(console)) if each.title == "Latency histogram")
    with console.query(sql) as result:
        rows = [tuple(row.values()) for row in result.read_all().to_pylist()]
    assert rows == [(512.0, 1), (1024.0, 0), (2048.0, 0), (4096.0, 1)]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('FROM "a b"."t" ORDER BY rowid DESC LIMIT 100', 'FROM "a b"."t"\nORDER BY "n" DESC NULLS LAST\nLIMIT 100'),
        ("FROM t LIMIT 5", 'FROM t\nORDER BY "n" DESC NULLS LAST\nLIMIT 5'),
        ("FROM t WHERE n > 1 LIMIT 5", 'FROM (\nFROM t WHERE n > 1 LIMIT 5\n)\nORDER BY "n" DESC NULLS LAST'),
        ("FROM t, u LIMIT 5", 'FROM (\nFROM t, u LIMIT 5\n)\nORDER BY "n" DESC NULLS LAST'),
        ("FROM t", 'FROM (\nFROM t\n)\nORDER BY "n" DESC NULLS LAST'),
    ],
)
def test_a_look_at_a_table_is_sorted_as_a_whole_and_keeps_its_limit(statement: str, expected: str) -> None:
    assert sorted_sql(statement, "n", descending=True) == expected
