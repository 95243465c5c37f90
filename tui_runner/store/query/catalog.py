"""Lists the tables and columns of a database, and offers query templates for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from tui_runner.errors import UserError
from tui_runner.store.query.result import Result
from tui_runner.store.records import ITEM_COLUMN, RUN_COLUMN
from tui_runner.store.sql import CATALOG, quote


class Queryable(Protocol):
    """An object that executes statements: a `Console` or a `RemoteConsole`."""

    def query(self, sql: str, parameters: Mapping[str, object] | None = None, *, light: bool = False) -> Result:
        """Execute one statement; see `Console.query`."""


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """A column of a table. `type` is its DuckDB type as text."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class CatalogTable:
    """A table or view.

    Attributes:
        schema: `main` for results, `runner` for the ledger.
        name: name as it is stored; quote it in SQL.
        is_view: True for a view.
        rows: number of rows; None for a view.
        columns: the columns, in order.
        is_counted: True if `rows` is exact. Otherwise it is DuckDB's estimate, which may include deleted rows.
    """

    schema: str
    name: str
    is_view: bool
    rows: int | None
    columns: tuple[CatalogColumn, ...]
    is_counted: bool = True


_QUERY = f"""
WITH things AS (
    SELECT schema_name, table_name, false AS is_view, estimated_size AS n
    FROM {CATALOG}.duckdb_tables()
    WHERE database_name = {CATALOG}.current_database() AND NOT internal
    UNION ALL
    SELECT schema_name, view_name, true, NULL FROM {CATALOG}.duckdb_views()
    WHERE database_name = {CATALOG}.current_database() AND NOT internal
), columns AS (
    SELECT schema_name, table_name,
        {CATALOG}.list({{'name': column_name, 'type': data_type}} ORDER BY column_index) AS columns
    FROM {CATALOG}.duckdb_columns() WHERE database_name = {CATALOG}.current_database() AND NOT internal GROUP BY ALL
)
SELECT schema_name, table_name, is_view, n, columns FROM things LEFT JOIN columns USING (schema_name, table_name)
ORDER BY schema_name <> 'main', schema_name = 'runner', schema_name, is_view, table_name
"""
"""SQL for all tables and views with their columns, schema `main` first and schema `runner` last. They are sorted by
name, because their object ids change when another process opens the file."""


def catalog(console: Queryable) -> list[CatalogTable]:
    """Return the tables and views: tables with results first, the ledger last. Blocks.

    Raises:
        UserError: see `Console.query`.
    """
    with console.query(_QUERY, light=True) as result:
        rows = result.read_all().to_pylist()
    tables = [
        CatalogTable(
            schema=row["schema_name"],
            name=row["table_name"],
            is_view=row["is_view"],
            rows=row["n"],
            columns=tuple(CatalogColumn(each["name"], each["type"]) for each in row["columns"] or ()),
            is_counted=row["is_view"],
        )
        for row in rows
    ]
    return _counted(console, tables)


_MOST_COUNTED = 500
"""Tables whose rows are counted at most. If there are more, no user looks at each of them."""


def _counted(console: Queryable, tables: list[CatalogTable]) -> list[CatalogTable]:
    """Return the tables with exact counts. DuckDB counts by metadata: 20 million rows, a third deleted, in 1.3 ms.

    At most `_MOST_COUNTED` tables are counted. If one of them is dropped meanwhile, return the estimates of all tables.
    """
    places = [place for place, table in enumerate(tables) if not table.is_view][:_MOST_COUNTED]
    counts = [f"SELECT {place} AS place, count(*) AS n FROM {_qualified(tables[place])}" for place in places]
    if not counts:
        return tables
    try:
        with console.query(" UNION ALL ".join(counts), light=True) as result:
            exact = {row["place"]: row["n"] for row in result.read_all().to_pylist()}
    except UserError:  # a table was dropped meanwhile
        return tables
    return [
        replace(table, rows=exact[place], is_counted=True) if place in exact else table
        for place, table in enumerate(tables)
    ]


def _qualified(table: CatalogTable) -> str:
    return f"{quote(table.schema)}.{quote(table.name)}"


@dataclass(frozen=True, slots=True)
class QueryTemplate:
    """A statement with a title. `table` is the results table that it queries; None for the ledger."""

    title: str
    sql: str
    table: str | None = None


ITEM_TEXT_SQL = """coalesce(nullif(i.text, ''), CASE WHEN starts_with(r.fingerprint, 'range:') THEN CAST(
    TRY_CAST(split_part(r.fingerprint, ':', 2) AS HUGEINT)
    + i.item * TRY_CAST(split_part(r.fingerprint, ':', 4) AS HUGEINT) AS VARCHAR) END)"""
"""SQL for a short text of an item's value; NULL if the item has none. `i` is its row of `runner.items`, `r` the row of
its run. For an item of a range no text is stored, so it is computed from the position."""


TRACEBACK_SQL = "if(ends_with_message, t.text || message || chr(10), t.text)"
"""SQL for the traceback of a row of `runner.failed_attempts`, joined with its row `t` of `runner.tracebacks`."""

ERRORS_SQL = f"""SELECT run_id, item, chunk, attempt, type, message, {TRACEBACK_SQL} AS traceback, occurred_at, final,
    shape, item_text
FROM runner.failed_attempts LEFT JOIN runner.tracebacks t USING (traceback_id)"""
"""SQL for all failed attempts with their tracebacks."""

FAILURE_GROUPS_SQL = """WITH states AS (
    SELECT DISTINCT i.run_id, i.item, i.state
    FROM runner.items i SEMI JOIN runner.failed_attempts e ON i.run_id = e.run_id AND i.item = e.item
), last_failures AS (
    SELECT e.run_id, e.item, max(e.occurred_at) AS occurred_at
    FROM runner.failed_attempts e SEMI JOIN (
        SELECT run_id, item FROM states WHERE state IN ('failed', 'timeout')
    ) i ON i.run_id = e.run_id AND i.item = e.item
    WHERE e.final
    GROUP BY e.run_id, e.item
), attempts AS (
    SELECT e.*, s.state, coalesce(final AND e.occurred_at = l.occurred_at, false) AS failed, row(
        CASE WHEN failed THEN 2 WHEN l.item IS NOT NULL THEN 1 ELSE 0 END, e.occurred_at
    ) AS place
    FROM runner.failed_attempts e LEFT JOIN last_failures l ON l.run_id = e.run_id AND l.item = e.item
        LEFT JOIN states s ON s.run_id = e.run_id AND s.item = e.item
), groups AS (
    SELECT run_id, type, coalesce(shape, '') AS alike, count(DISTINCT item) FILTER (WHERE failed) AS items_failed,
        count(*) AS attempts, count(*) FILTER (WHERE state = 'ok') AS attempts_recovered,
        count(DISTINCT chunk) AS chunks, min(occurred_at) AS first_seen, max(occurred_at) AS last_seen,
        arg_max(item, place) AS newest_item, coalesce(arg_max(item_text, place), '') AS newest_item_text,
        coalesce(arg_max(message, place), '') AS newest_message, arg_max(traceback_id, place) AS traceback_id,
        coalesce(arg_max(ends_with_message, place), false) AS ends_with_message
    FROM attempts
    GROUP BY ALL
)
SELECT g.* EXCLUDE (traceback_id, ends_with_message),
    coalesce(if(ends_with_message, t.text || newest_message || chr(10), t.text), '') AS newest_traceback
FROM groups g LEFT JOIN runner.tracebacks t USING (traceback_id)"""
"""SQL that groups the errors of all runs. If the user ran an item again, several attempts at it are marked as the last
one. Only the newest of them counts, and only while the item is failed.

The example of a group (`newest_…`) is its newest attempt with which an item failed. Without one, it is the newest
attempt at an item that has failed with another error, or else the newest attempt."""


def failure_groups_sql(run: str) -> str:
    """Return the statement that groups the errors of a run: one row per group, those with the most failed items first.

    The errors screen, `tui-runner errors` and the query template all use it, so that their numbers agree.

    Args:
        run: SQL expression for the run's number.
    """
    return f"""SELECT * EXCLUDE (run_id) FROM ({FAILURE_GROUPS_SQL})
WHERE run_id = {run}
ORDER BY items_failed DESC, attempts DESC, type, alike"""


_LEDGER = (
    QueryTemplate(
        "Rows per minute",
        """SELECT date_trunc('minute', finished_at) AS minute, CAST(sum(rows) AS BIGINT) AS "rows", count(*) AS items
FROM runner.items
WHERE run_id = (SELECT max(run_id) FROM runner.runs)
GROUP BY ALL
ORDER BY minute""",
    ),
    QueryTemplate(
        "Failures by type",
        failure_groups_sql("(SELECT max(run_id) FROM runner.runs)"),
    ),
    QueryTemplate(
        "Slowest items",
        f"""SELECT {ITEM_TEXT_SQL} AS value,
    i.seconds, if(i.state = 'ok', 'done', i.state) AS state, i.attempts, i."rows", i.item, i.chunk, i.finished_at
FROM runner.items i JOIN runner.runs r USING (run_id)
WHERE run_id = (SELECT max(run_id) FROM runner.runs)
ORDER BY i.seconds DESC
LIMIT 100""",
    ),
    QueryTemplate(
        "Latency histogram",
        """-- Each line is twice as slow as the one above it.
WITH bins AS (
    SELECT CAST(ceil(log2(greatest(1000 * seconds, 1e-3))) AS INTEGER) AS bin, count(*) AS items
    FROM runner.items
    WHERE run_id = (SELECT max(run_id) FROM runner.runs) AND isfinite(seconds)
    GROUP BY ALL
)
SELECT pow(2, bin) AS milliseconds_up_to, coalesce(items, 0) AS items
FROM (SELECT unnest(range(min(bin), max(bin) + 1)) AS bin FROM bins) LEFT JOIN bins USING (bin)
ORDER BY bin""",
    ),
    QueryTemplate(
        "Rows per chunk",
        """SELECT chunk, count(*) AS items, CAST(sum(rows) AS BIGINT) AS "rows",
    count(*) FILTER (WHERE state IN ('failed', 'timeout')) AS failed, sum(seconds) AS busy_seconds
FROM runner.items
WHERE run_id = (SELECT max(run_id) FROM runner.runs)
GROUP BY chunk
ORDER BY chunk""",
    ),
    QueryTemplate(
        "Runs",
        """SELECT run_id, job, table_name, state, items_total, started_at, ended_at, ended_at - started_at AS took
FROM runner.runs
ORDER BY run_id DESC""",
    ),
)
"""Query templates for the ledger."""
_LEDGER_TABLES = frozenset({"runs", "items", "errors"})
"""Tables of the ledger that the templates need."""


NEWEST_FIRST = " ORDER BY rowid DESC LIMIT 100"
"""End of the statement for the newest rows of a table: more rows than fit on a screen."""


def newest_rows(console: Queryable) -> str | None:
    """Return a statement for the newest rows of a results table; None if no table has rows. Blocks.

    The table is the one of the newest run whose table has rows, or any other table with rows.

    Raises:
        UserError: see `Console.query`.
    """
    tables = catalog(console)
    results = {table.name: table for table in tables if table.schema == "main" and not table.is_view}
    names: list[str] = []
    if any((table.schema, table.name) == ("runner", "runs") for table in tables):
        with console.query("SELECT table_name FROM runner.runs ORDER BY run_id DESC LIMIT 20") as result:
            names = [row["table_name"] for row in result.read_all().to_pylist()]
    found = next((name for name in (*names, *results) if name in results and results[name].rows), None)
    return None if found is None else f"FROM {quote(found)}{NEWEST_FIRST}"


def is_active(console: Queryable, run_id: int) -> bool:
    """Return True if the run has not ended, according to the ledger. Blocks.

    A process that was killed could not record the end of its run. So ask only while the process of the run answers.

    Raises:
        UserError: see `Console.query`.
    """
    sql = "SELECT count(*) FROM runner.runs WHERE run_id = $run AND ended_at IS NULL"
    with console.query(sql, {"run": run_id}, light=True) as result:
        return bool(result.read_all().column(0)[0].as_py())


_TOP_VALUES = 8
"""Number of a column's most frequent values that are listed, so that all statistics fit on a small screen."""
_NUMERIC = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "HUGEINT", "REAL")
"""Parts of the names of types for which a mean and quantiles are computed."""


def column_statistics_sql(statement: str, column: str, type: str) -> str:
    """Return a statement for statistics of a column of a result. Each of its rows has a name and a value as text.

    Args:
        statement: statement of the result, without a semicolon.
        column: name of the column.
        type: DuckDB type of the column.
    """
    name = quote(column)
    # Show times as tables of results do (`store.export.cells`). DuckDB writes `+00`, because its time zone is UTC here.
    is_zoned = type.upper() in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")

    def as_text(sql: str) -> str:
        text = f"CAST({sql} AS VARCHAR)"
        return rf"regexp_replace({text}, '\+00$', 'Z')" if is_zoned else text

    figures = {
        "rows": "count(*)",
        "not null": f"count({name})",
        "distinct, about": f"least(approx_count_distinct({name}), count({name}))",
        "lowest": f"min({name})",
    }
    if any(word in type.upper() for word in _NUMERIC) and "[" not in type and "(" not in type.partition("DECIMAL")[0]:
        figures |= {
            "5 %": _short(f"quantile_cont({name}, 0.05)"),
            "median": _short(f"median({name})"),
            "95 %": _short(f"quantile_cont({name}, 0.95)"),
            "highest": f"max({name})",
            "mean": _short(f"avg({name})"),
        }
    else:
        figures |= {"highest": f"max({name})"}
    if type.upper() == "VARCHAR":
        figures |= {"longest, characters": f"max(length({name}))"}
    rows = " UNION ALL ".join(
        f"SELECT {place} AS place, '{label}' AS figure, {as_text(sql)} AS value FROM result"
        for place, (label, sql) in enumerate(figures.items())
    )
    top = (
        f"SELECT 100 + row_number() OVER (ORDER BY n DESC, value), format('{{:,}} times', n), value"
        f" FROM (SELECT {as_text(name)} AS value, count(*) AS n FROM result WHERE {name} IS NOT NULL"
        f" GROUP BY ALL HAVING count(*) > 1 ORDER BY n DESC, value LIMIT {_TOP_VALUES})"
    )
    return f"WITH result AS (\n{statement}\n) SELECT figure, value FROM ({rows} UNION ALL {top}) ORDER BY place"


def _short(sql: str) -> str:
    """Return SQL that formats a computed number with 15 digits, because further digits are rounding errors."""
    return f"printf('%.15g', CAST({sql} AS DOUBLE))"


_PART = r'(?:\w+|"(?:[^"]|"")+")'
_ROWS_OF_TABLE = re.compile(
    rf"(?P<table>FROM\s+{_PART}(?:\.{_PART}){{0,2}})(?:\s+ORDER\s+BY\s+{_PART}(?:\s+(?:ASC|DESC))?(?:\s+NULLS\s+LAST)?)?"
    r"\s+(?P<limit>LIMIT\s+\d+)",
    re.IGNORECASE,
)
"""A statement for the first rows of a table, as the query screen opens with one."""


def sorted_sql(statement: str, column: str, *, descending: bool) -> str:
    """Return a statement for the same result, sorted by a column.

    If the statement is only `FROM table LIMIT n`, with or without ORDER BY, the whole table is sorted and the limit is
    kept: a user who looks at the newest 100 rows and sorts by price wants the highest price of all rows. Any other
    statement is sorted as it stands, with the rows that its own LIMIT leaves (see `has_limit`).

    Args:
        statement: statement of the result, without a semicolon.
        column: name of the column.
        descending: True to begin with the highest value.
    """
    order = f"ORDER BY {quote(column)}{' DESC' if descending else ''} NULLS LAST"
    rows_of_table = _ROWS_OF_TABLE.fullmatch(statement)
    if rows_of_table is not None:
        return f"{rows_of_table['table']}\n{order}\n{rows_of_table['limit']}"
    return f"FROM (\n{statement}\n)\n{order}"


def query_templates(tables: Iterable[CatalogTable]) -> list[QueryTemplate]:
    """Return the query templates for the ledger, if there is one, and for all other tables, without views."""
    tables = list(tables)
    found: list[QueryTemplate] = []
    if {table.name for table in tables if table.schema == "runner"} >= _LEDGER_TABLES:
        found += _LEDGER
    for table in tables:
        if table.schema != "runner" and not table.is_view:
            found += _of_table(table)
    return found


def _of_table(table: CatalogTable) -> list[QueryTemplate]:
    """Return the query templates for one table."""
    name = quote(table.name) if table.schema == "main" else f"{quote(table.schema)}.{quote(table.name)}"
    made = [
        QueryTemplate(f"Newest rows of {table.name}", f"FROM {name}\nORDER BY rowid DESC\nLIMIT 100", table.name),
        QueryTemplate(f"Columns of {table.name}", f"SUMMARIZE {name}", table.name),
    ]
    columns = {column.name for column in table.columns}
    if {RUN_COLUMN, ITEM_COLUMN} <= columns:
        made.append(
            QueryTemplate(
                f"Rows per item of {table.name}",
                f'SELECT {RUN_COLUMN}, {ITEM_COLUMN}, count(*) AS "rows"\nFROM {name}\n'
                f'GROUP BY ALL\nORDER BY "rows" DESC\nLIMIT 100',
                table.name,
            )
        )
    return made
