"""The thread that writes: what is committed together, what survives failures, what a killed process leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from support.sent_batches import STARTED, error_row, item_row, make_batch, rows_of, run_record
from support.waiting import eventually

from tui_runner.errors import DatabaseError, DiskFull
from tui_runner.store.database import Database
from tui_runner.store.ingest import results_table
from tui_runner.store.ingest.transaction import Writer
from tui_runner.store.ingest.writer_thread import Ingest
from tui_runner.store.ledger import Ledger
from tui_runner.store.records import TOO_MANY_COLUMNS, Batch, ChunkRecord, SampleRecord

Fetch = Callable[[str], list[tuple[Any, ...]]]


class Heard:
    """Collects the reports of an ingest thread, and waits for them."""

    def __init__(self) -> None:
        self.written: list[object] = []
        self.errors: list[BaseException] = []
        self.rejected: list[tuple[Batch, BaseException]] = []
        self.failed = threading.Event()
        self.wrote = threading.Event()

    def on_written(self, tickets: list[object]) -> None:
        self.written.extend(tickets)
        self.wrote.set()

    def on_error(self, error: BaseException) -> None:
        self.errors.append(error)
        self.failed.set()

    def on_rejected(self, batch: Batch, error: BaseException) -> None:
        self.rejected.append((batch, error))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def run_id(cursor: duckdb.DuckDBPyConnection) -> int:
    return Ledger(cursor).begin_run(run_record())


@contextmanager
def ingesting(database: Database, heard: Heard, run_id: int = 1, **options: Any) -> Iterator[Ingest]:
    ingest = Ingest(
        database,
        run_id,
        "books",
        on_written=heard.on_written,
        on_error=heard.on_error,
        on_rejected=heard.on_rejected,
        **options,
    )
    ingest.start()
    try:
        yield ingest
    finally:
        ingest.close(30)


def bad_text(item: int) -> pa.Table:
    """Return a result row that DuckDB refuses: its text is not UTF-8."""
    buffers = [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    return pa.Table.from_arrays(
        [pa.array([item]), pa.Array.from_buffers(pa.string(), 1, buffers)], names=["_item", "t"]
    )


def chunk_record(chunk: int, state: str = "done", done: int = 10) -> ChunkRecord:
    return ChunkRecord(chunk, chunk * 10, 10, state, done, 0, done, 0, STARTED, STARTED, 1.5)


SAMPLE = SampleRecord(STARTED, 10, 1, 100, 4, 16, 12.5, 1 << 20, 2 << 20, 3 << 20)


def test_rows_and_ledger_are_written_and_told(database: Database, heard: Heard, run_id: int, fetch: Fetch) -> None:
    with ingesting(database, heard) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket="first"))
        ingest.submit(
            make_batch(
                rows_of(1, a=2), items=[item_row(1), item_row(2, "failed")], errors=[error_row(2)], ticket="second"
            )
        )
        ingest.record_chunk(chunk_record(0))
        ingest.record_sample(SAMPLE)
        ingest.record_state("finished", items_total=3, ended_at=STARTED)
        assert ingest.close(30)
    assert heard.written == ["first", "second"]
    assert heard.errors == []
    assert fetch("FROM books ORDER BY _item") == [(1, 0, 1), (1, 1, 2)]
    assert fetch("SELECT run_id, item, key, state FROM runner.items ORDER BY item") == [
        (1, 0, "key-0", "ok"), (1, 1, "key-1", "ok"), (1, 2, "key-2", "failed"),
    ]  # fmt: skip
    assert fetch("SELECT run_id, item, type, message, final FROM runner.errors") == [(1, 2, "ValueError", "boom", True)]
    assert fetch("SELECT run_id, chunk, state, done FROM runner.chunks") == [(1, 0, "done", 10)]
    assert fetch("SELECT run_id, items_done, db_bytes FROM runner.samples") == [(1, 10, 3 << 20)]
    assert fetch("SELECT state, items_total, epoch_us(ended_at) FROM runner.runs") == [
        ("finished", 3, int(STARTED.timestamp() * 1_000_000))
    ]


def test_waiting_batches_go_into_one_transaction(
    database: Database, heard: Heard, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = []
    write = Writer.write
    monkeypatch.setattr(Writer, "write", lambda self, entries: (flushes.append(len(entries)), write(self, entries))[1])
    with ingesting(database, heard, interval=3600.0) as ingest:
        for number in range(50):
            ingest.submit(make_batch(rows_of(number, a=number), ticket=number))
        assert ingest.close(30)
    assert flushes == [50]
    assert heard.written == list(range(50))


def test_enough_rows_do_not_wait(database: Database, heard: Heard, run_id: int) -> None:
    with ingesting(database, heard, interval=3600.0, max_rows=4) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        assert not heard.wrote.is_set()
        ingest.submit(make_batch(rows_of(1, a=1), ticket=1))
        assert heard.wrote.wait(30)


def test_a_batch_waits_no_longer_than_the_interval(database: Database, heard: Heard, run_id: int) -> None:
    with ingesting(database, heard, interval=0.0) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        assert heard.wrote.wait(30)


def test_the_state_of_a_run_is_written_at_once(database: Database, heard: Heard, run_id: int, fetch: Fetch) -> None:
    with ingesting(database, heard, interval=3600.0) as ingest:
        ingest.record_state("paused", items_total=None, ended_at=None)
        # Long before the interval of an hour has passed; the batch that it would wait for never comes.
        assert eventually(lambda: fetch("SELECT state FROM runner.runs") == [("paused",)], "the state")


def test_a_chunk_has_one_row_however_often_it_is_recorded(
    database: Database, heard: Heard, run_id: int, fetch: Fetch
) -> None:
    with ingesting(database, heard) as ingest:
        for done in (1, 2):
            ingest.record_chunk(chunk_record(0, "running", done))
        ingest.record_chunk(chunk_record(1))
        assert ingest.close(30)
    with ingesting(database, heard) as ingest:
        ingest.submit(make_batch(items=[item_row(item) for item in range(10)], ticket=0))
        ingest.record_chunk(chunk_record(0, "done", 10))
        assert ingest.close(30)
    assert fetch("SELECT chunk, state, done FROM runner.chunks ORDER BY chunk") == [(0, "done", 10), (1, "done", 10)]


def test_chunk_that_is_committed_alone_is_told(database: Database, heard: Heard, run_id: int) -> None:
    with ingesting(database, heard, interval=0.0) as ingest:
        ingest.record_chunk(chunk_record(0))  # a frontier ends with the row of its last chunk
        assert heard.wrote.wait(30)
    assert heard.written == []


def test_a_failed_item_that_is_run_again_has_one_row(
    database: Database, heard: Heard, run_id: int, fetch: Fetch
) -> None:
    with ingesting(database, heard) as ingest:
        ingest.submit(make_batch(items=[item_row(0), item_row(1, "failed"), item_row(2, "cancelled", attempts=0)]))
        assert ingest.close(30)
    with ingesting(database, heard) as ingest:
        ingest.submit(make_batch(rows_of(1, a=1), items=[item_row(1, attempts=4)]))
        assert ingest.close(30)
    assert fetch("SELECT item, state, attempts FROM runner.items ORDER BY item") == [
        (0, "ok", 1),
        (1, "ok", 4),
        (2, "cancelled", 0),
    ]


@pytest.mark.parametrize("interval", [0.0, 3600.0], ids=["two flushes", "one flush"])
def test_an_item_retried_in_the_same_run_has_one_row(
    database: Database, heard: Heard, run_id: int, fetch: Fetch, interval: float
) -> None:
    with ingesting(database, heard, interval=interval) as ingest:
        for number, state in enumerate(("failed", "timeout", "ok")):
            ingest.replace_below(6)
            heard.wrote.clear()
            ingest.submit(make_batch(items=[item_row(5, state, attempts=number + 1)], ticket=number))
            if not interval:
                assert heard.wrote.wait(30)
        assert ingest.close(30)
    assert fetch("SELECT state, attempts FROM runner.items") == [("ok", 3)]


def test_a_failed_flush_is_kept_and_written_when_told(
    database: Database, heard: Heard, run_id: int, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Writer._append
    broken = True

    def failing(self: Writer, table: str, rows: pa.Table) -> None:
        append(self, table, rows)
        if broken and table == "items":
            raise duckdb.IOException("IO Error: No space left on device")

    monkeypatch.setattr(Writer, "_append", failing)
    with ingesting(database, heard, interval=0.0) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        assert heard.failed.wait(30)
        assert isinstance(heard.errors[0], DiskFull)
        assert "the disk is full; make room on it, then resume the run" in str(heard.errors[0])
        assert fetch("SELECT count(*) FROM runner.items") == [(0,)]
        assert fetch("SELECT count(*) FROM books") == [(0,)]
        assert fetch("SELECT count(*) FROM runner.columns") == [(0,)]
        ingest.submit(make_batch(rows_of(1, a="x"), ticket=1))
        broken = False
        ingest.retry_failed_flush()
        assert ingest.close(30)
    assert heard.written == [0, 1]
    assert len(heard.errors) == 1
    assert fetch("SELECT a FROM books ORDER BY _item") == [("1",), ("x",)]


def test_a_database_that_stays_broken_does_not_hold_up_the_end(
    database: Database, heard: Heard, run_id: int, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Writer, entries: object) -> None:
        raise duckdb.FatalException("FATAL Error: database has been invalidated")

    monkeypatch.setattr(Writer, "write", failing)
    with ingesting(database, heard, interval=0.0) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        assert heard.failed.wait(30)
        assert not ingest.close(30)
    assert heard.written == []
    assert len(heard.errors) == 2  # once more at the end
    assert type(heard.errors[0]) is DatabaseError
    assert str(heard.errors[0]).endswith("; resume the run")
    assert isinstance(heard.errors[0].__cause__, duckdb.FatalException)
    assert fetch("SELECT count(*) FROM books") == [(0,)]


def test_a_nearly_full_disk_is_reported_before_duckdb_meets_it(
    database: Database, heard: Heard, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "free_bytes", lambda self: 1 << 20)
    with ingesting(database, heard, interval=0.0) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        assert heard.failed.wait(30)
        monkeypatch.setattr(Database, "free_bytes", lambda self: 1 << 40)
        ingest.retry_failed_flush()
        assert ingest.close(30)
    assert isinstance(heard.errors[0], DiskFull)
    assert "the disk is full: 1 MB are free, 67 MB are needed" in str(heard.errors[0])
    assert heard.written == [0]


def test_the_end_waits_for_room_on_the_disk(
    database: Database, heard: Heard, run_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "free_bytes", lambda self: 1 << 20)
    with ingesting(database, heard, interval=3600.0) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        ingest.finish()
        assert heard.failed.wait(30)
        assert not ingest.wait(0.0)
        monkeypatch.setattr(Database, "free_bytes", lambda self: 1 << 40)
        ingest.retry_failed_flush()
        assert ingest.wait(30)
        assert ingest.close()
    assert heard.written == [0]


def test_a_file_that_is_removed_or_replaced_is_noticed_before_rows_go_nowhere(
    database: Database, heard: Heard, run_id: int
) -> None:
    with ingesting(database, heard, interval=0.0) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        assert heard.wrote.wait(30)
        aside = database.path.rename(database.path.with_name("aside"))
        ingest.submit(make_batch(rows_of(1, a=1), ticket=1))
        assert heard.failed.wait(30)
        heard.failed.clear()
        database.path.write_bytes(b"mine")
        ingest.retry_failed_flush()
        assert heard.failed.wait(30)
        database.path.unlink()
        aside.rename(database.path)
        ingest.retry_failed_flush()
        assert ingest.close(30)
    assert [str(error).partition(": ")[2].partition(";")[0] for error in heard.errors] == [
        "is gone (no such file or directory)", "is no longer the file that was opened",
    ]  # fmt: skip
    assert heard.written == [0, 1]


@pytest.mark.parametrize("left", [0, 4_096, 300_000, -1])
def test_a_file_that_is_cut_while_it_is_open_takes_nothing_more_and_is_left_as_it_is(
    database: Database, heard: Heard, run_id: int, cursor: duckdb.DuckDBPyConnection, left: int
) -> None:
    cursor.execute("CREATE TABLE other AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(100000)")
    cursor.execute("CHECKPOINT")
    with ingesting(database, heard, interval=0.0) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        assert heard.wrote.wait(30)
        os.truncate(database.path, left if left >= 0 else database.path.stat().st_size + left)
        log = database.path.with_name(database.path.name + ".wal")
        cut, logged = database.path.read_bytes(), log.read_bytes()
        ingest.submit(make_batch(rows_of(1, a=1), ticket=1))
        assert heard.failed.wait(30)
        assert not ingest.close(30)
    assert "has lost its end while it was open" in str(heard.errors[0])
    assert heard.written == [0]
    database.close()
    assert (database.path.read_bytes(), log.read_bytes()) == (cut, logged)


@pytest.mark.parametrize(("start", "length"), [(0, 8), (8, 4), (0, 4_096), (4_096, 8_192), (0, 100_000), (8_200, 8)])
def test_a_file_whose_head_is_written_over_while_it_is_open_takes_nothing_more(
    database: Database, heard: Heard, run_id: int, cursor: duckdb.DuckDBPyConnection, start: int, length: int
) -> None:
    cursor.execute("CREATE TABLE other AS SELECT range AS a, md5(range::VARCHAR) AS b FROM range(100000)")
    cursor.execute("CHECKPOINT")
    with ingesting(database, heard, interval=0.0) as ingest:
        ingest.submit(make_batch(rows_of(0, a=1), ticket=0))
        assert heard.wrote.wait(30)
        with database.path.open("rb+") as file:
            file.seek(start)
            file.write(b"\xa5" * length)
        ingest.submit(make_batch(rows_of(1, a=1), ticket=1))
        assert heard.failed.wait(30)
        assert not ingest.close(30)
    assert "was overwritten by another program while it was open" in str(heard.errors[0])
    assert heard.written == [0]


def test_checkpoints_are_no_damage(
    database: Database, heard: Heard, run_id: int, cursor: duckdb.DuckDBPyConnection
) -> None:
    with ingesting(database, heard, interval=0.0) as ingest:
        for number in range(6):
            heard.wrote.clear()
            ingest.submit(make_batch(rows_of(number, a=number), ticket=number))
            assert heard.wrote.wait(30)
            cursor.execute("CHECKPOINT")
            database.check_in_place()
        assert ingest.close(30)
    assert heard.errors == []


def test_a_file_that_duckdb_makes_shorter_itself_is_not_cut(
    database: Database, heard: Heard, run_id: int, cursor: duckdb.DuckDBPyConnection
) -> None:
    sizes = []
    with ingesting(database, heard, interval=0.0) as ingest:
        for turn in range(8):
            cursor.execute("CREATE OR REPLACE TABLE other AS SELECT random() AS a FROM range(300000)")
            if turn % 2:
                cursor.execute("DROP TABLE other")
            cursor.execute("CHECKPOINT")
            sizes.append(database.path.stat().st_size)
            ingest.submit(make_batch(rows_of(turn, a=1), ticket=turn))
            assert heard.wrote.wait(30)
            heard.wrote.clear()
        assert ingest.close(30)
    assert heard.errors == []
    assert any(after < before for before, after in pairwise(sizes)), "DuckDB has cut something off"


def test_rows_that_cannot_be_stored_fail_their_item_alone(
    database: Database, heard: Heard, run_id: int, fetch: Fetch
) -> None:
    with ingesting(database, heard, interval=3600.0) as ingest:
        ingest.submit(make_batch(rows_of(0, t="a"), ticket=0))
        ingest.submit(
            make_batch(
                *(rows_of(item, t="x") for item in range(1, 8)),
                bad_text(8),
                items=[*(item_row(item) for item in range(1, 9)), item_row(9, "failed")],
                errors=[error_row(9), error_row(3, "slow", final=False), error_row(77, "goes on", final=False)],
                ticket=1,
            )
        )
        ingest.submit(make_batch(rows_of(10, t="z"), ticket=2))
        ingest.record_chunk(chunk_record(0))
        assert ingest.close(30)
    assert heard.errors == []
    assert heard.written == [0, 1, 2]
    assert [batch.items["item"].to_pylist() for batch, _ in heard.rejected] == [[8]]
    assert fetch("SELECT _item FROM books ORDER BY _item") == [(item,) for item in (0, 1, 2, 3, 4, 5, 6, 7, 10)]
    assert fetch("SELECT item, state, rows FROM runner.items WHERE state <> 'ok' ORDER BY item") == [
        (8, "failed", 0), (9, "failed", 0),
    ]  # fmt: skip
    errors = fetch("SELECT item, message, final FROM runner.errors ORDER BY item")
    assert [(item, final) for item, _, final in errors] == [(3, False), (8, True), (9, True), (77, False)]
    assert errors[1][1].startswith("the rows could not be stored: ")
    assert fetch("SELECT chunk FROM runner.chunks") == [(0,)]


@pytest.mark.slow
def test_a_batch_of_nothing_but_bad_rows_ends_too(database: Database, heard: Heard, run_id: int, fetch: Fetch) -> None:
    with ingesting(database, heard, interval=3600.0) as ingest:
        ingest.submit(make_batch(*(bad_text(item) for item in range(150)), ticket=0))
        assert ingest.close(60)
    assert heard.written == [0]
    assert fetch("SELECT state, count(*) FROM runner.items GROUP BY ALL") == [("failed", 150)]
    assert fetch("SELECT count(*) FROM runner.errors") == [(150,)]


def test_rows_without_item_are_no_reason_to_stop(database: Database, heard: Heard, run_id: int, fetch: Fetch) -> None:
    batch = replace(make_batch(items=[item_row(0)], ticket=0), tables=(pa.table({"a": [1]}),), rows=1)
    with ingesting(database, heard) as ingest:
        ingest.submit(batch)
        assert ingest.close(30)
    assert heard.written == [0]
    assert fetch("SELECT state FROM runner.items") == [("failed",)]


# --- columns without end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [0.0, 3600.0], ids=["many flushes", "one flush"])
def test_items_with_keys_for_which_the_table_has_no_room_fail_alone(
    database: Database,
    heard: Heard,
    run_id: int,
    fetch: Fetch,
    monkeypatch: pytest.MonkeyPatch,
    interval: float,
) -> None:
    monkeypatch.setattr(results_table, "MAX_COLUMNS", 3)
    with ingesting(database, heard, interval=interval) as ingest:
        for item in range(8):
            ingest.submit(make_batch(rows_of(item, **{"n": item, f"id_{item}": item}), ticket=item))
            if not interval:
                eventually(lambda item=item: item in heard.written)
        ingest.submit(make_batch(rows_of(8, n=8), rows_of(9, id_1=9), rows_of(10, N=1), ticket=8))
        ingest.record_chunk(chunk_record(0))
        assert ingest.close(30)
    assert heard.errors == []
    assert heard.written == list(range(9))
    columns = fetch("SELECT column_name FROM duckdb_columns() WHERE table_name = 'books' ORDER BY column_index")
    assert [name for (name,) in columns] == ["_run", "_item", "n", "id_0", "id_1"]
    assert fetch("SELECT raw_name FROM runner.columns ORDER BY 1") == [("id_0",), ("id_1",), ("n",)]
    assert fetch("SELECT _item, n, id_1 FROM books ORDER BY 1") == [(0, 0, None), (1, 1, 1), (8, 8, None), (9, None, 9)]
    failed = fetch("SELECT item, rows FROM runner.items WHERE state = 'failed' ORDER BY 1")
    assert failed == [(item, 0) for item in (2, 3, 4, 5, 6, 7, 10)]
    assert fetch("SELECT DISTINCT type, message, final FROM runner.errors") == [
        ("RowError", f"the rows could not be stored: {TOO_MANY_COLUMNS}", True)
    ]
    assert sorted(item for batch, _ in heard.rejected for item in batch.items["item"].to_pylist()) == [
        item for item, _ in failed
    ]
    assert fetch("SELECT state, done, failed FROM runner.chunks") == [
        ("failed", 4, 6)
    ]  # the last item is of another chunk


def test_a_table_that_is_wider_alone_is_refused_whole(
    database: Database, heard: Heard, run_id: int, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_table, "MAX_COLUMNS", 3)
    wide = pa.table({"_item": pa.array([4, 4], pa.int64()), **{f"c{n}": [n, None] for n in range(4)}})
    with ingesting(database, heard) as ingest:
        ingest.submit(make_batch(wide, rows_of(5, a=1), ticket=0))
        assert ingest.close(30)
    assert fetch("SELECT * FROM books") == [(run_id, 5, 1)]
    assert fetch("SELECT item, state FROM runner.items ORDER BY 1") == [(4, "failed"), (5, "ok")]


def test_keys_that_change_inside_of_a_value_make_no_columns(
    database: Database, heard: Heard, run_id: int, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_table, "MAX_COLUMNS", 3)
    with ingesting(database, heard) as ingest:
        for item in range(6):
            ingest.submit(make_batch(rows_of(item, data={f"id_{item}": item}), ticket=item))
            eventually(lambda item=item: item in heard.written)
        assert ingest.close(30)
    assert heard.errors == [] and heard.rejected == []
    assert fetch("SELECT count(*) FROM books WHERE data IS NOT NULL") == [(6,)]
    assert fetch("SELECT count(*) FROM duckdb_columns() WHERE table_name = 'books'") == [(3,)]


def test_many_new_columns_come_in_steps_and_all_of_them_come(
    database: Database, heard: Heard, run_id: int, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered: list[int] = []
    evolve = results_table.ResultsTable._evolve

    def counted(table: results_table.ResultsTable, incoming: Any) -> results_table.Shape:
        shape = evolve(table, incoming)
        altered.append(len(shape.types) - len(table.shape.types))
        return shape

    monkeypatch.setattr(results_table.ResultsTable, "_evolve", counted)
    with ingesting(database, heard, interval=3600.0) as ingest:
        ingest.submit(make_batch(rows_of(0, n=0), ticket=0))
        assert ingest.close(30)
    new = {f"id_{n}": n for n in range(150)}
    with ingesting(database, heard, interval=3600.0) as ingest:
        ingest.submit(make_batch(rows_of(1, **new), rows_of(2, n=2, id_0="text"), ticket=1))
        assert ingest.close(30)
    assert altered == [1, 64, 64, 22, 0]
    assert fetch("SELECT _item, n, id_0, id_149 FROM books ORDER BY 1") == [
        (0, 0, None, None), (1, None, "0", 149), (2, 2, "text", None),
    ]  # fmt: skip
    assert heard.errors == []


def test_a_foreign_table_is_refused_when_it_starts(database: Database, heard: Heard, run_id: int) -> None:
    database.cursor().execute("CREATE TABLE other (a INTEGER)")
    ingest = Ingest(database, 1, "other", on_written=heard.on_written, on_error=heard.on_error)
    with pytest.raises(DatabaseError, match="did not create"):
        ingest.start()
    assert ingest.close(30)


def test_reading_continues_while_it_writes(database: Database, heard: Heard, run_id: int, fetch: Fetch) -> None:
    with ingesting(database, heard, interval=0.0) as ingest:
        for number in range(30):
            ingest.submit(make_batch(rows_of(number, **{f"c{number}": number}), ticket=number))
            rows, items = fetch("SELECT (SELECT count(*) FROM books), (SELECT count(*) FROM runner.items)")[0]
            assert rows == items
        assert ingest.close(30)
    assert heard.errors == []
    assert len(heard.written) == 30


WRITER_PROCESS = """
import sys
from pathlib import Path
import pyarrow as pa
sys.path.insert(0, sys.argv[2])
from support.sent_batches import item_row, make_batch, run_record
from tui_runner.store.database import Database
from tui_runner.store.ingest.writer_thread import Ingest
from tui_runner.store.ledger import Ledger

database = Database.open(Path(sys.argv[1]))
run_id = Ledger(database.cursor()).begin_run(run_record())

def told(tickets):
    for ticket in tickets:
        print(ticket, flush=True)

def failed(error):
    raise SystemExit(str(error))

ingest = Ingest(database, run_id, "books", on_written=told, on_error=failed, interval=0.0, max_rows=5_000)
ingest.start()
item = 0
while True:
    positions = list(range(item, item + 5))
    table = pa.table({
        "_item": pa.array([position for position in positions for _ in range(40)], pa.int64()),
        f"column_{item // 200}": ["x" * 50] * 200,
        "value": [position if item % 3 else position + 0.5 for position in positions for _ in range(40)],
    })
    ingest.submit(make_batch(table, items=[item_row(position, rows=40) for position in positions], ticket=item + 4))
    item += 5
    while len(ingest._pending) > 50:
        pass
"""


@pytest.mark.slow
def test_a_killed_process_leaves_rows_and_ledger_that_agree(path: Path) -> None:
    for acknowledged_before_kill in (20, 120, 400):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER_PROCESS, str(path), str(Path(__file__).parents[1])],
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            last = -1
            for line in process.stdout:
                last = int(line)
                if last >= acknowledged_before_kill:
                    break
            process.send_signal(signal.SIGKILL)
            last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
        with Database.open(path) as database:
            cursor = database.cursor()
            run_id = Ledger(cursor).run(None).run_id
            recorded = cursor.execute(
                "SELECT item, rows FROM runner.items WHERE run_id = ? AND state = 'ok' ORDER BY item", [run_id]
            ).fetchall()
            stored = cursor.execute(
                "SELECT _item, count(*) FROM books WHERE _run = ? GROUP BY 1 ORDER BY 1", [run_id]
            ).fetchall()
            assert recorded == stored
            # Nothing that was acknowledged is missing, nothing is there twice.
            assert [item for item, _ in recorded] == list(range(len(recorded)))
            assert len(recorded) > last >= acknowledged_before_kill
            assert {count for _, count in stored} == {40}
