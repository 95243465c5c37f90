"""The commands that ask a database, on the command line."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from support.command_line import CommandLine

from tui_runner.cli import overwritten_line, query
from tui_runner.store.database import Database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Database.open(tmp_path / "x.duckdb") as database:
        cursor = database.cursor()
        cursor.execute("CREATE TABLE books AS SELECT range AS id, 'book ' || range AS title FROM range(10)")
        cursor.execute('CREATE TABLE "odd name" AS SELECT 1 AS a')
    return tmp_path


def test_statements_come_from_a_file_or_standard_input(cli: CommandLine, folder: Path) -> None:
    (folder / "q.sql").write_text("-- how many\nSELECT count(*) AS n FROM books;\n")
    expected = "n\n10\n"
    assert cli("query", "x.duckdb", "-f", "q.sql", cwd=folder).out == expected
    for arguments in (["-"], ["-f", "-"], []):
        assert cli("query", "x.duckdb", *arguments, cwd=folder, stdin="SELECT count(*) AS n FROM books").out == expected
    assert "leave one of them out" in cli("query", "x.duckdb", "SELECT 1", "-f", "q.sql", cwd=folder).complaint


def test_a_script_shows_each_result_to_people_and_its_last_one_to_programs(cli: CommandLine, folder: Path) -> None:
    script = "SELECT 1 AS a; SELECT 2 AS b"
    assert cli("query", "x.duckdb", script, cwd=folder).out == "b\n2\n"
    table = cli("query", "x.duckdb", script, "--format", "table", cwd=folder).out
    assert table == "a\n-\n1\n(1 row)\n\nb\n-\n2\n(1 row)\n"


def test_parameters_are_given_by_name_and_number(cli: CommandLine, folder: Path) -> None:
    sql = "SELECT id FROM books WHERE id > $least AND title <> ?"
    done = cli("query", "x.duckdb", "SELECT $b || $a AS x", "--set", "a=1", "--set", "b=x y", cwd=folder)
    assert done.out == "x\nx y1\n"
    assert cli("query", "x.duckdb", "SELECT ? AS x", "--set", "1='05'", cwd=folder).out == "x\n05\n"
    assert cli("query", "x.duckdb", sql, "--set", "least=7", cwd=folder).complaint.endswith("add --set 1=VALUE")


@pytest.mark.parametrize(
    ("sql", "given", "complaint"),
    [
        ("SELECT 1", "nme=1", "--set: no statement has a parameter $nme; leave it out"),
        ("SELECT $name; SELECT 1", "nme=1", "--set: no statement has a parameter $nme; did you mean $name?"),
        (
            "SELECT ?",
            "k=1",
            "--set: no statement has a parameter $k; the parameters are ? without names; write --set 1=VALUE",
        ),
        ("SELECT 1", "1=1", "--set: no statement has a parameter ?1; leave it out"),
    ],
)
def test_a_value_that_nothing_asks_for_is_a_mistake(
    cli: CommandLine, folder: Path, sql: str, given: str, complaint: str
) -> None:
    assert cli("query", "x.duckdb", sql, "--set", given, cwd=folder).complaint == complaint
    refused = cli("export", "x.duckdb", "books", "-o", "out.csv", "--set", "a=1", cwd=folder)
    assert (refused.code, "no statement has a parameter $a" in refused.complaint) == (2, True)


@pytest.mark.parametrize("ending", ["csv", "parquet", "json", "jsonl"])
@pytest.mark.parametrize("what", ["books", "BOOKS", "main.books", "SELECT * FROM books"])
def test_tables_and_statements_are_exported(cli: CommandLine, folder: Path, ending: str, what: str) -> None:
    done = cli("export", "x.duckdb", what, "-o", f"out.{ending}", cwd=folder)
    assert (done.code, done.out) == (0, f"10 rows → out.{ending}\n")
    with duckdb.connect() as connection:
        file = str(folder / f"out.{ending}")
        assert connection.sql(f"SELECT count(*), sum(id) FROM '{file}'").fetchall() == [(10, 45)]


def test_a_table_is_exported_by_its_name_whatever_that_is(cli: CommandLine, folder: Path) -> None:
    assert cli("export", "x.duckdb", "odd name", "-o", "out.parquet", cwd=folder).code == 0
    assert pq.read_table(folder / "out.parquet").to_pylist() == [{"a": 1}]
    assert "did you mean books?" in cli("export", "x.duckdb", "boks", "-o", "out.csv", cwd=folder).complaint


@pytest.mark.parametrize("asking", [("export", "x.duckdb", "books"), ("query", "x.duckdb", "FROM books")])
def test_a_file_is_written_over_only_by_force(cli: CommandLine, folder: Path, asking: tuple[str, ...]) -> None:
    (folder / "out.csv").write_text("mine")
    refused = cli(*asking, "-o", "out.csv", cwd=folder)
    assert refused.code == 2
    assert "--force" in refused.complaint
    assert (folder / "out.csv").read_text() == "mine"
    assert cli(*asking, "-o", "out.csv", "--force", cwd=folder).code == 0
    assert (folder / "out.csv").read_text().startswith("id,title\n0,book 0\n")


class Terminal(io.StringIO):
    """A terminal that says when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


ERASED = "\r\x1b[K"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("FROM books", "\rthe statement is running; Ctrl-C ends it\x1b[K"),
        ("SELECT 1; FROM books", "\rstatement 1 of 2 is running; Ctrl-C ends it\x1b[K"),
    ],
)
def test_a_long_statement_is_announced_on_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sql: str, said: str
) -> None:
    asked, terminal, out = query._executed, Terminal(), io.StringIO()

    def slow(*given: object) -> object:
        assert terminal.written.wait(60)
        assert out.getvalue() == "", "the line stands alone"
        return asked(*given)  # type: ignore[arg-type]

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(overwritten_line, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(query, "_executed", slow)
    assert query.run_query(folder / "x.duckdb", sql, out, err=terminal) == 0
    assert terminal.getvalue().startswith(said + ERASED)
    assert terminal.getvalue().endswith(ERASED)
    assert out.getvalue().startswith("id,title\n0,book 0\n")


def test_a_long_statement_is_not_announced_without_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overwritten_line, "QUIET_SECONDS", 0.0)
    err = io.StringIO()
    assert query.run_query(folder / "x.duckdb", "FROM books", io.StringIO(), err=err) == 0
    assert err.getvalue() == ""


def test_rows_of_a_long_export_are_counted_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(overwritten_line, "QUIET_SECONDS", 0.0)
    terminal, out = Terminal(), io.StringIO()
    query.run_export(folder / "x.duckdb", "books", folder / "out.csv", out, err=terminal)
    assert f"\r10 rows so far; Ctrl-C ends it\x1b[K{ERASED}" in terminal.getvalue()
    assert out.getvalue() == f"10 rows → {folder}/out.csv\n"


@pytest.mark.parametrize("command", ["export", "query"])
def test_the_format_that_is_given_goes_before_the_name(cli: CommandLine, folder: Path, command: str) -> None:
    assert cli(command, "x.duckdb", "SELECT 1 AS a", "-o", "out.xls", "--format", "json", cwd=folder).code == 0
    assert json.loads((folder / "out.xls").read_text()) == [{"a": 1}]


def test_a_device_has_no_ending_and_is_written_into(cli: CommandLine, folder: Path) -> None:
    assert cli("query", "x.duckdb", "SELECT 1 AS a", "-o", "/dev/null", cwd=folder).code == 0


def test_a_statement_that_fails_half_way_leaves_no_file(cli: CommandLine, folder: Path) -> None:
    sql = "SELECT CAST(CASE WHEN range = 900_000 THEN 'x' ELSE '1' END AS INTEGER) FROM range(1_000_000)"
    assert "Could not convert" in cli("export", "x.duckdb", sql, "-o", "out.csv", cwd=folder).complaint
    assert sorted(path.name for path in folder.glob("*out*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "markdown"])
def test_a_reader_may_disconnect_before_the_end(folder: Path, format: str) -> None:
    endless = "SELECT range AS a FROM range(100_000_000_000)"
    command = [sys.executable, "-m", "tui_runner", "query", str(folder / "x.duckdb"), endless, "--format", format]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(100_000)
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_json_lines_are_json(cli: CommandLine, folder: Path) -> None:
    done = cli("query", "x.duckdb", "FROM books LIMIT 2", "--format", "jsonl", cwd=folder)
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"id": 0, "title": "book 0"},
        {"id": 1, "title": "book 1"},
    ]


def test_the_query_screen_needs_a_terminal(cli: CommandLine, folder: Path) -> None:
    assert "needs a terminal" in cli("open", "x.duckdb", cwd=folder).complaint
