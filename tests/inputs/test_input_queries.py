"""Inputs: SQL over files and over the database."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import duckdb
import pytest
from support.input_files import read, refusal, written
from support.other_users import BOB, as_root

from tui_runner.errors import EXIT_DATABASE, EXIT_USAGE, DatabaseError, UserError
from tui_runner.inputs import duckdb_reader, open_source
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
    assert read("sql:FROM runner.items", database=database) == [1]


def test_the_copy_goes_with_its_source(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = database.parent / "tmp"
    places.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(places))
    source = open_source("sql:FROM pages", database=database)
    assert len(list(private_folder().iterdir())) == 1
    items = iter(source)
    del source
    assert next(items) == {"url": "p0", "n": 0}
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
        ("from nowhere", "Table with name nowhere does not exist; its tables are pages"),
        ("from 'no.csv'", "No files found"),
        ("select error('boom \x1b[31m')", r"boom \x1b[31m"),
        ("select nope from pages", "nope"),
        ("copy (select 1) to 'out.csv'", "not one query"),
    ],
)
def test_statement_that_is_no_query_says_so(database: Path, sql: str, message: str) -> None:
    assert message in refusal(f"sql:{sql}", database=database)
    assert not Path("out.csv").exists()


def test_a_similar_table_is_suggested(database: Path) -> None:
    assert refusal("sql:from pagess", database=database).endswith('does not exist! Did you mean "pages"?')


def test_a_database_that_cannot_be_read(database: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"does not exist \(the database .*x.duckdb does not exist yet\); query a file, or name .* with --db",
    ):
        open_source("sql:FROM pages", database=Path("x.duckdb"))
    with pytest.raises(DatabaseError, match="is not a DuckDB database") as caught:
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


# --- what a query may not do: the input may be one that a stranger's ledger names ------------------------------------

WRITING = (
    "enable_logging(storage='file', storage_path='{out}', storage_buffer_size=1)",
    "enable_logging(storage='file', storage_path='{target}/below', storage_buffer_size=1)",
    "enable_profiling(format='json', coverage='ALL', save_location='{target}')",
    "enable_profiling(format='json', coverage='ALL', save_location='{out}')",
    "disable_logging()",
    "query('COPY (SELECT 1) TO ''{out}''')",
    "query('SELECT * FROM enable_logging(storage=''file'', storage_path=''{out}'', storage_buffer_size=1)')",
    "json_execute_serialized_sql(json_serialize_sql('SELECT * FROM enable_profiling(save_location=''{out}'')'))",
)
"""Table functions that change settings with which DuckDB writes files."""
PRECIOUS = "precious\n" * 200


@pytest.mark.parametrize("call", WRITING, ids=lambda call: call[:50])
@pytest.mark.parametrize("with_database", [True, False], ids=["copied", "streamed"])
def test_query_that_would_have_a_file_written_is_refused(database: Path, call: str, with_database: bool) -> None:
    target, out = Path(written("target.txt", PRECIOUS)).absolute(), Path("out.txt").absolute()
    files, content = sorted(Path().iterdir()), database.read_bytes()
    called = call.format(target=target, out=out)
    table = "pages" if with_database else "range(3) AS p(n)"
    refusal(f"sql:SELECT n::VARCHAR FROM {table} UNION ALL SELECT 'z' FROM {called}", database=database)
    assert (target.read_text(), database.read_bytes(), sorted(Path().iterdir())) == (PRECIOUS, content, files)


def test_no_function_of_duckdb_writes_a_file(folder: Path) -> None:
    written("target", PRECIOUS)
    with duckdb.connect("other.duckdb") as other:
        other.execute("CREATE TABLE t AS SELECT 1 AS a; CREATE SEQUENCE s")
    files = {path: path.read_bytes() for path in folder.iterdir()}
    with closing(duckdb_reader.connect()) as connection:
        functions = connection.sql(
            "SELECT DISTINCT function_name, function_type = 'table' FROM duckdb_functions() "
            "WHERE function_type = 'table' OR has_side_effects"
        ).fetchall()
        assert len(functions) > 100
        connection.execute("ATTACH 'other.duckdb' AS other (READ_ONLY); USE other")
        for name, is_table in functions:
            for arguments in ("", "'target'", "'out'", "'other'", "'s'", "'s', 5", "'target', 'out'", "0"):
                call = f"{name}({arguments})"
                with suppress(duckdb.Error):
                    connection.execute(f"SELECT * FROM {call}" if is_table else f"SELECT {call}").fetchmany(3)
                assert {path: path.read_bytes() for path in folder.iterdir()} == files, call


@pytest.mark.parametrize("ending", [".wal", ".wal.checkpoint", ".wal.recovery"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_files_beside_the_database_are_checked_first(database: Path, ending: str, kind: str) -> None:
    target, beside = Path(written("target", PRECIOUS)), Path(f"{database}{ending}")
    if kind == "link":
        beside.symlink_to(target.absolute())
    else:
        os.mkfifo(beside)  # opening it would block for ever
    with pytest.raises(DatabaseError, match=f"{ending} stands in the way"):
        open_source("sql:FROM pages", database=database)
    assert target.read_text() == PRECIOUS


@as_root
def test_write_ahead_log_of_a_stranger_becomes_no_items(database: Path) -> None:
    beside = Path(written(f"{database.name}.wal", ""))
    os.chown(beside, BOB, BOB)
    with pytest.raises(DatabaseError, match=f"belongs to uid {BOB}"):
        open_source("sql:FROM pages", database=database)


@as_root
def test_link_of_a_stranger_to_a_database_is_not_followed(database: Path) -> None:
    shared = database.parent / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "x.duckdb").symlink_to(database)
    os.lchown(shared / "x.duckdb", BOB, BOB)
    with pytest.raises(DatabaseError, match=f"is a link of uid {BOB}"):
        open_source("sql:FROM pages", database=shared / "x.duckdb")


def test_columns_of_one_name_have_the_names_that_duckdb_gives_them(folder: Path) -> None:
    assert read("sql:SELECT 1 AS a, 2 AS a_2, 3 AS a, 4 AS a") == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]
