"""Statements of many kinds, run on the query screen while a run writes some hundred thousand rows a second.

    EVERY_STATEMENT=1 python -m pytest tests/tui/test_query_kinds.py

takes all of them, which is a minute; without the variable it is each sixth. That a console answers as DuckDB does is
tested with all of them in `tests/store/test_console_kinds.py`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from support.query_world import desk
from support.refused_sql import CHANGING, REACHING_OUT
from support.sent_batches import make_batch, run_record
from support.sql_kinds import STATEMENTS, TABLES, rows_given

from tui_runner.store.database import Database
from tui_runner.store.ingest.writer_thread import Ingest
from tui_runner.store.ledger import Ledger

CHOSEN = STATEMENTS if os.environ.get("EVERY_STATEMENT") else STATEMENTS[::6]
REFUSED = (*CHANGING, *REACHING_OUT) if os.environ.get("EVERY_STATEMENT") else (*CHANGING, *REACHING_OUT)[::6]
OTHERS = ("SHOW TABLES", "SHOW ALL TABLES")
"""Statements about the run's table as well."""
BATCH_ROWS = 30_000
SECONDS_A_BATCH = 0.05
WAITING = 20
"""Batches that wait to be written at most."""


class Flood:
    """A run that writes: some hundred thousand rows a second."""

    def __init__(self, database: Database) -> None:
        self.submitted = 0
        self.written: list[object] = []
        self.failed: list[BaseException] = []
        cursor = database.cursor()
        run_id = Ledger(cursor).begin_run(run_record(table_name="flood"))
        database.close_cursor(cursor)
        database.note_run(run_id)
        self._ingest = Ingest(database, run_id, "flood", on_written=self.written.extend, on_error=self.failed.append)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def _submit(self) -> None:
        numbers = pa.array(range(BATCH_ROWS), pa.int64())
        titles = pa.array([f"title {number}" for number in range(BATCH_ROWS)])
        while not self._stop.wait(SECONDS_A_BATCH):
            if self.submitted - len(self.written) > WAITING:
                continue  # as a run's workers wait
            item = pa.array([self.submitted] * BATCH_ROWS, pa.int64())
            table = pa.table({"_item": item, "number": numbers, "title": titles})
            self._ingest.submit(make_batch(table, ticket=self.submitted))
            self.submitted += 1

    def __enter__(self) -> Flood:
        self._ingest.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what was submitted."""
        self._stop.set()
        self._thread.join()
        assert self._ingest.close(30)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "books.duckdb") as opened:
        cursor = opened.cursor()
        cursor.execute(TABLES)
        opened.close_cursor(cursor)
        yield opened


@pytest.mark.slow
async def test_statements_of_every_kind_answer_as_duckdb_does_while_a_run_writes(
    database: Database, tmp_path: Path
) -> None:
    wrong: list[str] = []
    with duckdb.connect(":memory:") as plain:
        plain.execute("ATTACH ':memory:' AS books")
        plain.execute("USE books")
        plain.execute(TABLES)
        async with desk(database, tmp_path) as at:
            with Flood(database) as flood:
                for statement in set(CHOSEN).difference(OTHERS):
                    expected = plain.sql(statement).to_arrow_table()
                    said = await at.run(statement)
                    table = at.tab.grid.page_table(0)
                    if table is None or "failed" in said:
                        wrong.append(f"{statement}: {said}")
                    elif rows_given(statement, table) != rows_given(statement, expected):
                        wrong.append(f"{statement}: {table.slice(0, 3).to_pylist()}")
    assert not wrong
    assert not flood.failed and len(flood.written) == flood.submitted > 0


async def test_refused_statements_leave_everything_as_it_was(database: Database, tmp_path: Path) -> None:
    cursor = database.cursor()

    def state() -> list[object]:
        tables = cursor.sql("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        sums = [
            cursor.sql(f'SELECT count(*), bit_xor(hash(t)) FROM "{schema}"."{table}" t').fetchall()
            for schema, table in tables
        ]
        settings = cursor.sql("SELECT name, value FROM duckdb_settings() ORDER BY ALL").fetchall()
        return [tables, sums, settings, sorted(path.name for path in tmp_path.iterdir())]

    async with desk(database, tmp_path) as at:
        await at.run("SELECT 1")
        before = state()
        for statement in REFUSED:
            assert "▲ failed" in await at.run(statement), statement
        assert state() == before
    database.close_cursor(cursor)
