"""Reports about a database on the command line."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import textwrap
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from support.command_line import CommandLine

from tui_runner.cli.query import run_query
from tui_runner.cli.reports import print_errors, print_runs
from tui_runner.errors import UserError
from tui_runner.store.database import Database
from tui_runner.text.safe_text import display_width

JOB = """
    from tui_runner import job

    @job(retries=0, threads=1)
    def mixed(number):
        if number % 2:
            raise ValueError(f"page {number} is \\x1b[2J empty")
        return {"number": number, "text": "a\\x1b[31m,b", "price": 0.5}

    @mixed.items
    def numbers():
        return range(3)
"""


@pytest.fixture(scope="module")
def database(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a job: one with a failed item, and one that was interrupted."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "mixed.py").write_text(textwrap.dedent(JOB))
    assert cli("run", "mixed.py", "--db", "x.duckdb", cwd=folder).code == 1
    path = folder / "x.duckdb"
    with Database.open(path) as opened:
        # As a killed process leaves it: the end of the run is not in the ledger.
        opened.cursor().execute(
            "INSERT INTO runner.runs SELECT * REPLACE (2 AS run_id, 'running' AS state, NULL AS items_total)"
            " FROM runner.runs"
        )
    return path


class Terminal(io.StringIO):
    """A stream that claims to be a terminal; `columns` then finds 80 columns, because it has no descriptor."""

    def isatty(self) -> bool:
        return True


def test_long_lines_of_errors_are_divided_between_words_on_a_terminal_alone(database: Path) -> None:
    terminal, file = Terminal(), io.StringIO()
    assert print_errors(database, 1, 10, terminal) == print_errors(database, 1, 10, file) == 0
    shown, whole = terminal.getvalue(), file.getvalue()
    assert " ".join(shown.split()) == " ".join(whole.split())
    assert max(map(display_width, shown.splitlines())) < 80


def query(
    database: Path, sql: str, format: str | None = None, output: Path | None = None, *, force: bool = False
) -> str:
    out = io.StringIO()
    assert run_query(database, sql, out, format=format, output=output, force=force) == 0
    return out.getvalue()


def test_runs_are_listed_and_none_is_called_running_that_is_not(database: Path) -> None:
    out = io.StringIO()
    assert print_runs(database, out) == 0
    heads, second, first = (line.split() for line in out.getvalue().splitlines())
    assert heads == [
        "run",
        "job",
        "table",
        "state",
        "begun",
        "(UTC)",
        "active",
        "done",
        "of",
        "failed",
        "cancelled",
        "rows",
    ]
    assert [*second[:4], *second[7:]] == ["2", "mixed", "mixed", "interrupted", "0", "unknown", "0", "0", "0"]
    assert [*first[:4], *first[7:]] == ["1", "mixed", "mixed", "finished", "2", "3", "1", "0", "2"]


class NarrowTerminal(io.StringIO):
    """A terminal of 80 columns: the number that is taken if a stream has no descriptor."""

    def isatty(self) -> bool:
        return True


def test_runs_fit_into_the_columns_of_a_terminal(database: Path, tmp_path: Path) -> None:
    copy = shutil.copy(database, tmp_path / "x.duckdb")
    out = NarrowTerminal()
    assert print_runs(Path(copy), out) == 0
    heads, second, first = (line.split() for line in out.getvalue().splitlines())
    # The table is called like the job, and nothing was cancelled.
    assert heads == ["run", "job", "state", "begun", "UTC", "active", "done", "of", "failed", "rows"]
    assert re.fullmatch(r"\d\d-\d\d \d\d:\d\d", " ".join(first[3:5]))
    assert [second[2], second[7], *first[6:]] == ["interrupted", "–", "2", "3", "1", "2"]
    with duckdb.connect(str(copy)) as ledger:
        long = {"job": "a_job_with_quite_a_long_name_字字", "table_name": "another_name"}
        ledger.execute("UPDATE runner.runs SET job = $job, table_name = $table_name, items_total = 1234567", long)
        ledger.execute("UPDATE runner.items SET state = 'cancelled' WHERE state = 'failed'")
    out = NarrowTerminal()
    print_runs(Path(copy), out)
    lines = out.getvalue().splitlines()
    assert max(map(display_width, lines)) <= 80 and "cancelled" in lines[0] and "1.2 M" in lines[1]
    assert re.search(r" a_job_w\S*…  another_?\S*…? ", lines[1])
    whole = io.StringIO()  # a pipe gets everything
    print_runs(Path(copy), whole)
    assert "a_job_with_quite_a_long_name_字字  another_name" in whole.getvalue()


def test_a_database_without_runs_says_how_to_begin(tmp_path: Path) -> None:
    Database.open(tmp_path / "x.duckdb").close()
    out = io.StringIO()
    assert print_runs(tmp_path / "x.duckdb", out) == 0
    assert "tui-runner run JOB" in out.getvalue()


def test_errors_are_grouped_with_an_example(database: Path) -> None:
    out = io.StringIO()
    assert print_errors(database, 1, 20, out) == 0
    head, failed, example = out.getvalue().splitlines()
    assert head == "1 × ValueError: page 1 is ␛[2J empty"
    assert failed.startswith("    1 item failed, ")
    assert example == "    newest: item 1"


def test_the_traceback_of_an_example_is_shown_when_it_is_asked_for(cli: CommandLine, database: Path) -> None:
    shown = cli("errors", "x.duckdb", "1", "--traceback", cwd=database.parent).out.splitlines()
    assert shown[3] == "    Traceback (most recent call last):"
    assert 'mixed.py", line' in shown[4]
    assert shown[-1] == "    ValueError: page 1 is ␛[2J empty"


def test_errors_have_the_first_line_of_a_message(cli: CommandLine, database: Path, tmp_path: Path) -> None:
    copy = shutil.copy(database, tmp_path / "x.duckdb")
    with duckdb.connect(str(copy)) as ledger:
        ledger.execute("UPDATE runner.failed_attempts SET message = message || chr(10) || 'For more: see there'")
    shown = cli("errors", "x.duckdb", "1", cwd=tmp_path).out
    assert shown.startswith("1 × ValueError: page 1 is ␛[2J empty\n") and "For more" not in shown


def test_a_run_without_errors_says_so(database: Path) -> None:
    out = io.StringIO()
    assert print_errors(database, None, 20, out) == 0
    assert out.getvalue() == "run 2 has no errors\n"


class TestQuery:
    SQL = "SELECT number, text FROM mixed ORDER BY number"

    def test_a_pipe_gets_csv_with_the_data_as_it_is(self, database: Path) -> None:
        assert query(database, self.SQL) == 'number,text\n0,"a\x1b[31m,b"\n2,"a\x1b[31m,b"\n'

    def test_a_terminal_gets_a_table_without_control_characters(self, database: Path) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        out = Terminal()
        run_query(database, self.SQL, out)
        assert out.getvalue().splitlines()[2] == "     0  a␛[31m,b"
        assert "\x1b" not in query(database, self.SQL, "table")

    def test_json_and_lines_are_json(self, database: Path) -> None:
        rows = [{"number": number, "text": "a\x1b[31m,b"} for number in (0, 2)]
        assert json.loads(query(database, self.SQL, "json")) == rows
        assert [json.loads(line) for line in query(database, self.SQL, "jsonl").splitlines()] == rows

    def test_markdown_is_a_table(self, database: Path) -> None:
        assert query(database, "SELECT 1 AS a, 'x|y' AS b", "markdown") == "| a | b |\n| ---: | --- |\n| 1 | x\\|y |\n"

    @pytest.mark.parametrize(
        ("name", "begin"),
        [
            ("x.csv", b"number,"),
            ("x.JSON", b"["),
            ("x.ndjson", b'{"number"'),
            ("x.md", b"| number"),
        ],
    )
    def test_the_ending_of_a_file_says_its_format(
        self, database: Path, tmp_path: Path, name: str, begin: bytes
    ) -> None:
        assert query(database, self.SQL, output=tmp_path / name) == ""
        assert (tmp_path / name).read_bytes().startswith(begin)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_parquet_holds_the_types(self, database: Path, tmp_path: Path) -> None:
        query(database, self.SQL, "parquet", tmp_path / "x")
        table = pq.read_table(tmp_path / "x")
        assert [str(field.type) for field in table.schema] == ["int64", "large_string"]
        assert table.num_rows == 2

    def test_a_file_is_replaced_whole_or_not_at_all(self, database: Path, tmp_path: Path) -> None:
        target, link = tmp_path / "x.csv", tmp_path / "link.csv"
        target.write_text("old")
        target.chmod(0o640)
        link.symlink_to(target)
        with pytest.raises(UserError):
            query(database, "SELECT CAST(text AS INTEGER) FROM mixed", output=link, force=True)
        assert target.read_text() == "old"
        query(database, "SELECT 1 AS a", output=link, force=True)
        assert (target.read_text(), target.stat().st_mode & 0o777) == ("a\n1\n", 0o640)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "x.csv"]

    def test_a_pipe_is_written_to_and_not_replaced(self, database: Path, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe.csv"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            query(database, "SELECT 1 AS a", output=pipe)
            assert os.read(reader, 100) == b"a\n1\n"
        finally:
            os.close(reader)
        assert pipe.is_fifo()

    @pytest.mark.parametrize("name", ["x.duckdb", "x.duckdb.wal", "x.duckdb.lock", "link.csv"])
    def test_the_database_itself_is_never_written_over(self, database: Path, name: str) -> None:
        (database.parent / "link.csv").unlink(missing_ok=True)
        (database.parent / "link.csv").symlink_to(database)
        before = database.read_bytes()
        with pytest.raises(UserError, match="is the database"):
            query(database, "SELECT 1", output=database.parent / name)
        assert database.read_bytes() == before

    @pytest.mark.parametrize(
        ("sql", "format", "output", "message"),
        [
            ("SELECT 1", "cvs", None, "did you mean csv"),
            ("SELECT 1", None, "no/x.csv", "its folder does not exist"),
            ("SELECT 1", None, ".", "is a folder"),
            ("SELECT '\udcff'", None, None, "not UTF-8"),
        ],
    )
    def test_a_mistake_is_found_before_the_database_is_opened(
        self, tmp_path: Path, sql: str, format: str | None, output: str | None, message: str
    ) -> None:
        with pytest.raises(UserError, match=message):
            query(tmp_path / "x.duckdb", sql, format, None if output is None else tmp_path / output)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", ["-- the rows there are\n", "--the rows\n", "-- a=b\n", "--\n"])
def test_a_statement_may_begin_with_a_comment(cli: CommandLine, database: Path, tmp_path: Path, head: str) -> None:
    statement = f"{head}SELECT count(*) AS n FROM mixed"
    assert cli("query", database, statement, "--format", "csv", cwd=tmp_path).out == "n\n2\n"
    assert cli("export", database, statement, "-o", "-", "--format", "csv", cwd=tmp_path).out == "n\n2\n"
    assert cli("export", "-o", "-- n.csv", database, statement, cwd=tmp_path).code == 0
    assert (tmp_path / "-- n.csv").read_text() == "n\n2\n"
    refused = cli("query", database, "--rows", "SELECT 1", cwd=tmp_path)
    assert (refused.code, "there is no option --rows" in refused.complaint) == (2, True)
