"""Queries from Python programs, beside a run and without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import tui_runner
from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.database import Database

JOB = """
    import time
    from tui_runner import job

    @job(chunk_size=10)
    def books(number):
        if number >= 50:
            time.sleep(0.05)
        return {"number": number}

    @books.items
    def numbers():
        return range(100_000)
"""


def test_without_a_run_the_database_is_opened_for_each_statement(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    with Database.open(path) as database:
        database.cursor().execute("CREATE TABLE books AS SELECT range AS id FROM range(5)")
    connection = tui_runner.connect(path)
    assert connection.sql("FROM books").rows() == [{"id": number} for number in range(5)]
    assert connection.sql("SELECT id FROM books WHERE id > $least", {"least": 3}).arrow().to_pydict() == {"id": [4]}
    assert connection.sql("FROM books").df()["id"].sum() == 10
    assert pa.table(connection.sql("FROM books")).num_rows == len(connection.sql("FROM books")) == 5
    with connection.stream("FROM range(100_000)") as result:
        assert sum(batch.num_rows for batch in result) == 100_000
    with pytest.raises(UserError, match="only statements that read"):
        connection.sql("DELETE FROM books")
    Database.open(path).close()  # nothing is held


def test_beside_a_run_it_answers_through_the_run(
    new_run: Callable[..., Any], job_file: Callable[[str], str], tmp_path: Path
) -> None:
    run = new_run(job_file(JOB), threads=2, backend="inline", grace=0.2).start()
    connection = tui_runner.connect(tmp_path / "x.duckdb")
    run.until(lambda snapshot: snapshot.rows >= 40)
    while not connection.sql("SELECT count(*) AS n FROM books").rows()[0]["n"]:
        pass
    assert connection.sql("SELECT state FROM runner.runs").rows() == [{"state": "running"}]
    run.runner.stop()
    run.finish()
    assert connection.sql("SELECT state FROM runner.runs").rows() == [{"state": "stopped"}]


def test_a_database_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no such database"):
        tui_runner.connect(tmp_path / "no.duckdb")
