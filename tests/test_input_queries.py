"""Inputs: SQL over files and over the database."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import duckdb
import pytest
from input_files import read, refusal, written

from tui_runner.errors import EXIT_DATABASE, EXIT_USAGE, DatabaseError, UserError
from tui_runner.inputs import open_source
from tui_runner.system.private_folder import private_folder


@pytest.fixture
def database(folder: Path) -> Path:
    path = folder / "run's.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE pages AS SELECT range AS n, 'p' || range AS url FROM range(5000)")
        connection.execute("CREATE SCHEMA runner; CREATE TABLE runner.items AS SELECT 1 AS item")
    return path


def test_a_query_over_files_needs_no_database(folder: Path) -> None:
    written("a.csv", "a,b\n1,2\n")
    assert read("sql:FROM 'a.csv'") == [{"a": 1, "b": 2}]
    assert read("sql: SELECT 1::HUGEINT AS a, 2 AS a, 'x' AS \"at\"; -- done") == [{"a": 1, "a_1": 2, "at": "x"}]
    uuid = "00000000-0000-0000-0000-000000000001"
    row = read(f"sql:SELECT '{uuid}'::UUID u, INTERVAL 1 DAY i, TIMESTAMPTZ '2026-01-01 00:00:00+00' t, '101'::BIT b")[
        0
    ]
    assert row == {"u": UUID(uuid), "i": timedelta(days=1), "t": datetime(2026, 1, 1, tzinfo=UTC), "b": "101"}


def test_a_query_over_the_database_is_a_copy_made_at_once(database: Path) -> None:
    source = open_source("sql:SELECT url, n FROM pages ORDER BY n DESC", database=database)
    assert source.total == 5000
    # The run has the file for itself, and what it writes changes no item.
    with duckdb.connect(database) as connection:
        connection.execute("DELETE FROM pages")
        items = list(source)
    assert items == [{"url": f"p{n}", "n": n} for n in reversed(range(5000))]
    assert next(iter(source.select(("n",)))) == {"n": 4999}
    assert read("sql:FROM runner.items", database=database) == [1]


def test_the_copy_goes_with_its_source(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = database.parent / "tmp"
    places.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(places))
    source = open_source("sql:FROM pages", database=database)
    assert len(list(private_folder().iterdir())) == 1
    items = iter(source.select(("n",)))
    del source
    assert next(items) == {"n": 0}
    items.close()  # type: ignore[attr-defined]
    del items
    assert list(private_folder().iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("selec 1", 'syntax error at or near "selec"'),
        ("select 1; select 2", "that is not one query; write a single SELECT"),
        ("create table x(i int)", "not one query"),
        ("connect foo", "not one query"),
        ("", "not one query"),
        ("from nowhere", "Table with name nowhere does not exist"),
        ("from 'no.csv'", "No files found"),
        ("select error('boom \x1b[31m')", r"boom \x1b[31m"),
        ("select nope from pages", "nope"),
        ("copy (select 1) to 'out.csv'", "not one query"),
    ],
)
def test_what_is_no_query_says_so(database: Path, sql: str, message: str) -> None:
    assert message in refusal(f"sql:{sql}", database=database)
    assert not Path("out.csv").exists()


def test_a_database_that_cannot_be_read(database: Path) -> None:
    with pytest.raises(UserError, match=r"the database .*x.duckdb does not exist yet"):
        open_source("sql:FROM pages", database=Path("x.duckdb"))
    with pytest.raises(DatabaseError, match="it is no DuckDB database") as caught:
        open_source("sql:FROM pages", database=Path(written("no.duckdb", "nonsense nonsense")))
    assert (caught.value.exit_code, UserError.exit_code) == (EXIT_DATABASE, EXIT_USAGE)
    program = f"import duckdb; c = duckdb.connect({str(database)!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        other.stdout.readline()
        with pytest.raises(DatabaseError, match="another process has it open"):
            open_source("sql:FROM pages", database=database)
        other.stdin.write(b"\n")
        other.stdin.close()
