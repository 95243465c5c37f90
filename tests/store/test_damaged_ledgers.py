"""Damaged or forged ledgers: readable parts are shown, the rest is one line."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine

JOB = """
from tui_runner import job

@job(threads=1, retries=0)
def odd(number: int):
    if number % 2:
        raise ValueError(f"odd {number}")
    return {"number": number}
"""
WHOLE, SHOWN, REFUSED = 0, "shown", 4
DEEP = "[" * 60_000 + "]" * 60_000
ENDLESS = "range(100000000000) t(i)"


@pytest.fixture(scope="module")
def whole(cli: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a run with failed items."""
    folder = tmp_path_factory.mktemp("ledgers")
    (folder / "odd.py").write_text(JOB)
    done = cli("run", "odd.py", "--input", "range:0:6", "--quiet", "--backend", "inline", cwd=folder)
    assert done.code == 1
    return folder / "odd.duckdb"


def damaged(whole: Path, folder: Path, *statements: str) -> Path:
    path = folder / "odd.duckdb"
    shutil.copy(whole, path)
    shutil.copy(whole.with_name("odd.py"), folder / "odd.py")
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


SET_NULL = (
    "UPDATE runner.runs SET job = NULL, job_path = NULL, table_name = NULL, started_at = NULL, params = NULL",
    "UPDATE runner.failed_attempts SET type = NULL, message = NULL, occurred_at = NULL, item_text = NULL",
    "UPDATE runner.tracebacks SET text = NULL",
)
INFINITE = (
    "UPDATE runner.runs SET started_at = 'infinity', ended_at = '-infinity', active_seconds = 'inf'",
    "UPDATE runner.failed_attempts SET occurred_at = 'infinity'",
)
BEYOND = (
    "UPDATE runner.runs SET started_at = '290000-01-01', ended_at = '290000-01-01'",
    "UPDATE runner.failed_attempts SET occurred_at = '290000-01-01'",
)
NESTED = (f"UPDATE runner.runs SET params = '{DEEP}', settings = '{DEEP}'",)
LONG = (
    "UPDATE runner.runs SET job = repeat('j', 3000000), table_name = repeat('t', 3000000), state = repeat('s', 300)",
    "UPDATE runner.failed_attempts SET type = repeat('t', 3000000), message = repeat('m', 3000000),"
    " shape = repeat('s', 300000), item_text = repeat('i', 3000000)",
    "UPDATE runner.tracebacks SET text = repeat('b', 3000000)",
)


@pytest.mark.parametrize(
    "statements", [SET_NULL, INFINITE, BEYOND, NESTED, LONG], ids=["null", "inf", "far", "deep", "3MB"]
)
def test_readable_parts_of_a_damaged_ledger_are_shown(
    cli: CommandLine, whole: Path, tmp_path: Path, statements: tuple[str, ...]
) -> None:
    path = damaged(whole, tmp_path, *statements)
    runs = cli("runs", path, cwd=tmp_path)
    assert (runs.code, runs.err, len(runs.out.splitlines())) == (0, "", 2)
    assert runs.out.splitlines()[1].split()[-5:] == ["3", "6", "3", "0", "3"]
    errors = cli("errors", path, "--traceback", cwd=tmp_path)
    assert (errors.code, errors.err) == (0, "")
    assert "3 items failed" in errors.out or "no item failed" in errors.out
    assert len(runs.out) + len(errors.out) < 10_000
    assert cli("query", path, "SELECT count(*) FROM odd", cwd=tmp_path).out == "count_star()\n3\n"


@pytest.mark.parametrize("statements", [SET_NULL, NESTED], ids=["null", "deep"])
def test_a_run_whose_recorded_request_is_damaged_is_not_resumed(
    cli: CommandLine, whole: Path, tmp_path: Path, statements: tuple[str, ...]
) -> None:
    path = damaged(whole, tmp_path, *statements, "UPDATE runner.runs SET state = 'stopped'")
    refused = cli("resume", path, "--yes", cwd=tmp_path)
    assert refused.code == 4
    assert "its request cannot be read" in refused.complaint


@pytest.mark.parametrize("items", [9_223_372_036_854_775_800, 1 << 50, -(1 << 50)])
def test_chunks_that_no_run_can_have_had_are_refused(cli: CommandLine, whole: Path, tmp_path: Path, items: int) -> None:
    path = damaged(
        whole, tmp_path, "UPDATE runner.runs SET state = 'stopped'",
        f"UPDATE runner.chunks SET items = {items}, first_item = {min(items, 0)}",
    )  # fmt: skip
    if items < 0:  # what ends before the beginning takes no room, and says nothing
        assert cli("resume", path, "--yes", "--quiet", cwd=tmp_path).code == 1
        return
    refused = cli("resume", path, "--yes", cwd=tmp_path)
    assert refused.code == 4
    said = refused.err.splitlines()[-1]
    assert "its ledger cannot be read (an item or a chunk of run 1 ends at position" in said


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (
            ["DROP TABLE runner.items", f"CREATE VIEW runner.items AS SELECT 1 AS run_id, i AS item FROM {ENDLESS}"],
            "its ledger is incomplete: missing or changed: runner.items",
        ),
        (
            ["DROP TABLE runner.ledger", "CREATE VIEW runner.ledger AS SELECT 3 AS version"],
            "its schema `runner` has tables that are not tui-runner's",
        ),
        (["DELETE FROM runner.ledger"], "its ledger is incomplete: runner.ledger is empty; restore a copy"),
        (["UPDATE runner.ledger SET version = NULL"], "its ledger is incomplete: runner.ledger is empty"),
        (["DROP TABLE runner.ledger"], "its ledger is incomplete: runner.ledger is missing"),
        (
            ["ALTER TABLE runner.runs ALTER job TYPE BLOB USING 'x'::BLOB"],
            "its ledger is incomplete: missing or changed: runner.runs",
        ),
        (
            ["ALTER TABLE runner.runs ALTER started_at TYPE VARCHAR USING 'never'"],
            "its ledger is incomplete: missing or changed: runner.runs",
        ),
        (
            [f"CREATE MACRO main.max(a) AS (SELECT count(*) FROM {ENDLESS})"],
            "it has macros that replace DuckDB's own functions: max; drop them",
        ),
        (
            [f"CREATE MACRO main.duckdb_tables() AS TABLE SELECT 'x' AS database_name FROM {ENDLESS}"],
            "it has macros that replace DuckDB's own functions: duckdb_tables; drop them",
        ),
        (["UPDATE runner.items SET rows = 9223372036854775807"], "its ledger cannot be read"),
    ],
    ids=[
        "view",
        "view of the version",
        "no version",
        "version NULL",
        "version gone",
        "blob",
        "text for a time",
        "macro",
        "table macro",
        "numbers",
    ],
)
def test_a_ledger_that_cannot_be_trusted_is_refused_in_one_line(
    cli: CommandLine, whole: Path, tmp_path: Path, statements: list[str], said: str
) -> None:
    path = damaged(whole, tmp_path, *statements)
    for command in (["runs", path], ["resume", path, "--yes"], ["retry", path, "--yes"]):
        began = time.monotonic()
        refused = cli(*command, cwd=tmp_path)
        assert time.monotonic() - began < 10
        assert refused.code == 4, command
        assert said in refused.complaint
        assert len(refused.complaint) < 1_000


def test_a_macro_of_the_database_does_not_get_between_a_person_and_the_rows(
    cli: CommandLine, whole: Path, tmp_path: Path
) -> None:
    macros = ("list(a)", "coalesce2(a)", "current_database()")
    path = damaged(whole, tmp_path, *(f"CREATE MACRO main.{name} AS (SELECT 'mine')" for name in macros))
    assert cli("export", path, "odd", "-o", "-", cwd=tmp_path).out.splitlines()[1:] == ["1,0,0", "1,2,2", "1,4,4"]
    assert cli("query", path, "SELECT list(1)", "--format", "csv", cwd=tmp_path).out.splitlines()[1] == "mine"


def test_errors_beyond_the_limit_are_counted(cli: CommandLine, whole: Path, tmp_path: Path) -> None:
    more = (
        "INSERT INTO runner.failed_attempts SELECT e.* REPLACE (i::VARCHAR AS shape)"
        " FROM runner.failed_attempts e, range(40) t(i)"
    )
    path = damaged(whole, tmp_path, more)
    cut = cli("errors", path, cwd=tmp_path).out.splitlines()
    assert cut[-1] == "and 21 more kinds; list all with --limit 41"
    whole_list = cli("errors", path, "--limit", "41", cwd=tmp_path).out
    assert "other kind" not in whole_list
    assert whole_list.count(" × ValueError") == 41
