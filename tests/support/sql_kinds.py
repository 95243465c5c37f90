"""Statements of every kind, and the tables that they ask."""

from __future__ import annotations

import pyarrow as pa

TABLES = """
CREATE TABLE books AS SELECT range AS id, 'title ' || range % 7 AS title, range * 1.5 AS price FROM range(200);
CREATE TABLE sales AS SELECT range AS n, range * 3 % 200 AS book, TIMESTAMP '2026-01-01' + to_hours(range) AS at_time
    FROM range(300);
CREATE TABLE nested AS SELECT 1 AS id, [1, 2, NULL] AS list, {'a': 1, 'b': [{'c': 'x'}]} AS struct, MAP {'k': 1} AS map;
"""
STATEMENTS = [
    "SELECT 1",
    "VALUES (1, 'a'), (2, NULL)",
    "FROM books ORDER BY id",
    "FROM books SELECT count(*)",
    "SELECT * EXCLUDE (price) FROM books ORDER BY ALL LIMIT 5",
    "SELECT * REPLACE (price * 2 AS price) FROM books WHERE id < 3 ORDER BY id",
    "SELECT COLUMNS('i.*') FROM books ORDER BY 1 LIMIT 3",
    "SELECT title, count(*), avg(price) FROM books GROUP BY ALL ORDER BY ALL",
    "SELECT title, sum(price) FROM books GROUP BY ROLLUP (title) ORDER BY ALL",
    "SELECT title, id % 2, count(*) FROM books GROUP BY GROUPING SETS ((title), (id % 2), ()) ORDER BY ALL",
    "SELECT title FROM books GROUP BY title HAVING count(*) > 28 ORDER BY title",
    "SELECT DISTINCT title FROM books ORDER BY title",
    "SELECT DISTINCT ON (title) title, id FROM books ORDER BY title, id",
    "SELECT b.title, s.n FROM books b JOIN sales s ON b.id = s.book ORDER BY s.n",
    "SELECT count(*) FROM books LEFT JOIN sales ON id = book WHERE n IS NULL",
    "SELECT count(*) FROM books FULL JOIN sales ON id = n",
    "SELECT count(*) FROM books SEMI JOIN sales ON id = book",
    "SELECT count(*) FROM books ANTI JOIN sales ON id = book",
    "SELECT count(*) FROM books CROSS JOIN sales",
    "SELECT count(*) FROM books POSITIONAL JOIN sales",
    "SELECT b.id, s.n FROM books b ASOF JOIN sales s ON b.id >= s.n ORDER BY b.id",
    "SELECT id, x FROM books, LATERAL (SELECT id * 2 AS x) ORDER BY id",
    "SELECT id, row_number() OVER (PARTITION BY title ORDER BY id) AS r FROM books ORDER BY id",
    "SELECT id, sum(price) OVER (ORDER BY id ROWS 3 PRECEDING) AS s, lag(id) OVER (ORDER BY id) FROM books ORDER BY id",
    "SELECT id FROM books QUALIFY row_number() OVER (PARTITION BY title ORDER BY id) = 1 ORDER BY id",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 100) SELECT sum(n) FROM t",
    "WITH a AS MATERIALIZED (FROM books), b AS (FROM a WHERE id > 5) SELECT count(*) FROM b",
    "PIVOT books ON title USING count(*)",
    "PIVOT (SELECT id % 3 AS k, title, price FROM books) ON title USING sum(price) GROUP BY k ORDER BY k",
    "UNPIVOT (SELECT id, price, price * 2 AS twice FROM books) ON price, twice ORDER BY id, name",
    "SELECT id FROM books UNION SELECT n FROM sales ORDER BY 1",
    "SELECT id FROM books EXCEPT SELECT book FROM sales ORDER BY 1",
    "SELECT id FROM books INTERSECT SELECT n FROM sales ORDER BY 1",
    "SELECT 1 AS a UNION ALL BY NAME SELECT 2 AS b",
    "FROM nested",
    "SELECT unnest(list), struct.a, struct.b[1].c, map['k'] FROM nested",
    "SELECT unnest(struct, recursive := true) FROM nested",
    "SELECT list_transform([1, 2, 3], lambda x: x * 2), [x + 1 for x in [1, 2] if x > 1]",
    "SELECT list_aggregate([1, 2, 3], 'sum'), array_value(1, 2, 3), [[1], [2, 3]]",
    "SELECT json_extract('{\"a\": [1, {\"b\": 2}]}', '$.a[1].b'), '{\"a\": 1}'::JSON -> 'a'",
    "SELECT to_json({'a': 1}), json_keys('{\"a\": 1, \"b\": 2}')",
    "FROM generate_series(1, 10)",
    "FROM range(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-03', INTERVAL 6 HOURS)",
    "SUMMARIZE books",
    "DESCRIBE books",
    "DESCRIBE SELECT 1 AS a, 'x' AS b",
    "SHOW TABLES",
    "SHOW ALL TABLES",
    "SELECT title, count(*) FILTER (WHERE price > 100) FROM books GROUP BY title ORDER BY title",
    "SELECT CASE WHEN id % 2 = 0 THEN 'even' END AS e, coalesce(NULL, id) FROM books ORDER BY id LIMIT 4",
    "SELECT (SELECT max(price) FROM books b WHERE b.title = a.title) FROM books a ORDER BY id LIMIT 9",
    "SELECT id FROM books WHERE id IN (SELECT book FROM sales WHERE n < 5) AND EXISTS (FROM sales) ORDER BY id",
    "SELECT date_trunc('day', at_time) AS d, count(*) FROM sales GROUP BY d ORDER BY d",
    "SELECT quantile_cont(price, [0.5, 0.9]), mode(id % 3 = 0), arg_max(title, price), histogram(id % 3) FROM books",
    "SELECT string_agg(title, ',' ORDER BY id), list(id ORDER BY id DESC) FROM books WHERE id < 4",
    "SELECT regexp_extract(title, '(\\d+)', 1), title.upper().replace(' ', '_') FROM books ORDER BY id LIMIT 3",
    "SELECT 'é' || $$it's; $x$$ AS \"ünïcode; name\" -- a comment; with one",
    "/* first */ SELECT 170141183460469231731687303715884105727::HUGEINT, 1e308, 'nan'::DOUBLE IS NULL, 0.1::FLOAT",
    "SELECT DATE '2026-01-01', TIME '12:00:00', TIMESTAMP_NS '2026-01-01 00:00:00.123456789', '\\xAA'::BLOB",
    "SELECT 12345678901234567890.123456789::DECIMAL(38, 9), -1::TINYINT, 255::UTINYINT, 18446744073709551615::UBIGINT",
    "FROM books ORDER BY price DESC NULLS LAST LIMIT 10 OFFSET 3",
    "SELECT * FROM (VALUES (1, 'x')) AS t(a, b)",
    "SELECT count(*) FROM books TABLESAMPLE 100%",
    "SUMMARIZE books",
    "DESCRIBE books",
    "DESCRIBE SELECT id, title FROM books",
    "SHOW TABLES",
    "SELECT * FROM generate_series(1, 10) ORDER BY ALL",
    "SELECT unnest(generate_series(1, 5)), range FROM range(3) ORDER BY ALL",
    "SELECT CASE WHEN id % 2 = 0 THEN 'even' ELSE 'odd' END AS kind, count(*) FROM books GROUP BY ALL ORDER BY ALL",
    "SELECT count(*) FILTER (WHERE price > 100), sum(price) FILTER (id < 0) FROM books",
    "SELECT id FROM books WHERE id IN (SELECT book FROM sales) AND NOT EXISTS (FROM nested WHERE id = 7) ORDER BY id",
    "SELECT (SELECT max(id) FROM books) AS most, id > ALL (SELECT n FROM sales) FROM nested",
    "SELECT quantile_cont(price, [0.1, 0.9]), median(id), mode(title) FROM books WHERE id < 8",
    "SELECT date_trunc('day', at_time) AS day, count(*) FROM sales GROUP BY 1 ORDER BY 1",
    "SELECT at_time + INTERVAL 1 DAY, extract('hour' FROM at_time), epoch(at_time) FROM sales ORDER BY n LIMIT 3",
    "SELECT struct_pack(a := 1, b := 'x'), {'x': NULL}, histogram(id % 3) FROM books",
    "SELECT printf('%05d', id), format('{:.2f}', price), id::VARCHAR || title FROM books ORDER BY id LIMIT 3",
    "FROM sales ASOF LEFT JOIN books ON n >= id ORDER BY n",
    "SELECT * FROM (FROM books LIMIT 0)",
]


def rows_given(statement: str, table: pa.Table) -> list[str]:
    """Return the rows of a result; sorted when the statement leaves their order to chance."""
    rows = [repr(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    return rows if "ORDER BY" in statement else sorted(rows)
