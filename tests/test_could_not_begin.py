"""A run that could not begin leaves nothing behind: no database, or one that is as it was."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    left = {path.name for path in tmp_path.iterdir()} - {"bad.py", "__pycache__", "x.duckdb.log"}
    assert left == set()
    (tmp_path / "good.py").write_text(textwrap.dedent(GOOD))
    assert cli("run", "good.py", "--db", "x.duckdb", "--quiet", cwd=tmp_path).code == 0
    assert cli("run", "bad.py", "--db", "x.duckdb", "--quiet", cwd=tmp_path).code == 2
    assert rows("SELECT run_id, job, state FROM runner.runs") == [(1, "good", "finished")]
    assert rows("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'") == [("good",)]
