"""A run that could not begin leaves no database, or an unchanged one."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.cli_jobs import INLINE, files, start, write

Rows = Callable[..., list[tuple[Any, ...]]]

GOOD = """
    from tui_runner import job

    @job
    def good(n: int):
        return n

    @good.items
    def numbers():
        return range(3)
"""

ITEMS = """
    from tui_runner import job

    @job
    def bad(n: int):
        return n

    @bad.items
    def numbers():
        raise LookupError("no list")
        yield 1
"""

ENDS = ITEMS.replace('raise LookupError("no list")', "import os; os._exit(0)")

SETUP = """
    from tui_runner import job

    @job
    def bad(n: int):
        return n

    @bad.items
    def numbers():
        return range(3)

    @bad.setup
    def connect():
        raise LookupError("no server")
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (ITEMS, "making the items failed: LookupError: no list"),
        (ENDS, "making the items failed: SystemExit: 0"),
        (SETUP, "setup raised LookupError: no server"),
    ],
    ids=["items", "os._exit", "setup"],
)
def test_nothing_is_written(cli, tmp_path: Path, rows: Rows, source: str, reason: str) -> None:
    (tmp_path / "bad.py").write_text(textwrap.dedent(source))
    answer = cli("run", "bad.py", "--db", "x.duckdb", cwd=tmp_path)
    assert answer.code == 2
    assert answer.complaint.startswith("bad run 1 could not begin: ")
    assert answer.complaint.endswith(reason)
    left = {path.name for path in tmp_path.iterdir()} - {"bad.py", "__pycache__"}
    assert left == {"x.duckdb.log"}, "what the job itself has said is kept: the traceback"
    assert "Traceback" in (tmp_path / "x.duckdb.log").read_text()
    (tmp_path / "good.py").write_text(textwrap.dedent(GOOD))
    assert cli("run", "good.py", "--db", "x.duckdb", "--quiet", cwd=tmp_path).code == 0
    assert cli("run", "bad.py", "--db", "x.duckdb", "--quiet", cwd=tmp_path).code == 2
    assert rows("SELECT run_id, job, state FROM runner.runs") == [(1, "good", "finished")]
    assert rows("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'") == [("good",)]


@pytest.mark.parametrize("backend", ["process", "inline"])
def test_why_the_setup_failed_is_in_the_log(cli, tmp_path: Path, backend: str) -> None:
    noisy = SETUP.replace("raise", """print("asking the server"); raise""")
    (tmp_path / "bad.py").write_text(textwrap.dedent(noisy))
    assert cli("run", "bad.py", "--db", "x.duckdb", "--backend", backend, cwd=tmp_path).code == 2
    log = (tmp_path / "x.duckdb.log").read_text()
    assert "asking the server" in log and "in connect" in log and "LookupError: no server" in log
    assert not (tmp_path / "x.duckdb").exists()


CLOSED = [
    (["run", "good.py", "--input", "-"], 2, "--input -: there is no standard input; name a file"),
    (["try", "good.py", "--input", "-"], 2, "--input -: there is no standard input"),
    (["query", "x.duckdb"], 2, "there is no standard input; give a statement, or -f FILE"),
    (["export", "x.duckdb", "-", "-o", "x.csv"], 2, "there is no standard input"),
    (["launch"], 2, "the launcher needs a terminal"),
    ([], 0, ""),
]


@pytest.mark.parametrize(("arguments", "code", "message"), CLOSED)
def test_without_standard_input_nothing_is_left_behind(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    write(tmp_path, "good.py", GOOD)
    duckdb.connect(str(tmp_path / "x.duckdb")).close()
    before = files(tmp_path)
    process = start(tmp_path, *arguments, preexec_fn=lambda: os.close(0))
    _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (code, 1 if message else 0), err
    assert message in err
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "x.duckdb", "SELECT 1"],
        ["query", "x.duckdb", "SELECT 1", "-o", "-"],
        ["export", "x.duckdb", "SELECT 1", "-o", "/dev/stdout"],
        ["runs", "x.duckdb"],
        ["errors", "x.duckdb"],
        ["try", "good.py"],
        ["samples"],
        ["config"],
        ["completion", "bash"],
        ["run", "good.py", "--json"],
    ],
    ids=" ".join,
)
def test_answer_that_has_nowhere_to_go_is_an_error(tmp_path: Path, arguments: list[str]) -> None:
    write(tmp_path, "good.py", GOOD)
    duckdb.connect(str(tmp_path / "x.duckdb")).close()
    before = files(tmp_path)
    process = start(tmp_path, *arguments, preexec_fn=lambda: os.close(1), stdout=None)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.search(
        r"standard output is closed, so (nothing can be printed|no events can be written); leave out >&-$", err
    )
    assert files(tmp_path) == before


def test_file_of_rows_needs_no_standard_output(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "x.duckdb")).close()
    arguments = ("query", "x.duckdb", "SELECT 1 AS a", "-o", "rows.csv")
    process = start(tmp_path, *arguments, preexec_fn=lambda: os.close(1), stdout=None)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)
    assert (tmp_path / "rows.csv").read_text() == "a\n1\n"


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path, rows: Rows) -> None:
    """Close standard error: what native code writes there would go into the database."""
    source = """
        import os
        from tui_runner import job

        @job(threads=1)
        def good(n: int):
            return os.readlink(f"/proc/self/fd/{n}")

        @good.items
        def numbers():
            return range(3)
    """
    write(tmp_path, "good.py", source)
    arguments = ("run", "good.py", "--db", "x.duckdb", "--quiet", *INLINE)
    process = start(tmp_path, *arguments, preexec_fn=lambda: os.closerange(0, 3), stdout=None, stderr=None)
    assert process.wait(60) == 0
    # What leads to the pipe in which output is caught leads to nowhere behind it.
    led = [value.partition(":")[0] for (value,) in rows("SELECT value FROM good ORDER BY _item")]
    assert led == ["/dev/null", "pipe", "pipe"]
