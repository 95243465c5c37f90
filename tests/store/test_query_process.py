"""Statements of other processes beside a run: each in a process of its own, on the state of one moment."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from support.waiting import eventually

from tui_runner.errors import UserError
from tui_runner.store.access import open_access
from tui_runner.store.database import Database
from tui_runner.store.query.errors import QueryCancelled, QueryError
from tui_runner.store.reader_files import OtherFile, OtherFiles
from tui_runner.store.records import Moment
from tui_runner.store.remote.client import RemoteConsole
from tui_runner.store.remote.query_process import LEAST_BYTES, memory_beside
from tui_runner.store.remote.server import ServerLimits, serve

pytestmark = pytest.mark.slow

MB = 1 << 20
GROUPS = "SELECT count(*) AS rows, count(DISTINCT batch) AS batches, max(batch) AS newest FROM books"
ENDLESS = "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b WHERE hash(a.range + b.range) % 7 = 3"


@pytest.fixture
def busy(database: Database) -> Iterator[Database]:
    """A database with an active run, and its query server."""
    cursor = database.cursor()
    cursor.execute("CREATE TABLE books AS SELECT range AS id, 0 AS batch FROM range(10)")
    database.close_cursor(cursor)
    database.note_run(1)
    server = serve(database)
    yield database
    server.close()


@pytest.fixture
def console(busy: Database, path: Path) -> Iterator[RemoteConsole]:
    with open_access(path) as access, access.console() as opened:
        assert isinstance(opened, RemoteConsole)
        yield opened


def test_a_statement_reads_rows_that_are_only_in_the_log(console: RemoteConsole, busy: Database, path: Path) -> None:
    assert path.with_name(f"{path.name}.wal").stat().st_size > 0
    assert console.query(GROUPS).read_all().to_pylist() == [{"rows": 10, "batches": 1, "newest": 0}]
    assert console.query("SELECT current_database() AS name").read_all().to_pylist() == [{"name": "books"}]


def test_statement_needs_no_module_from_the_folder_of_a_job(
    console: RemoteConsole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "duckdb.py").write_text("raise SystemExit('the module of the job')")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    assert console.query(GROUPS).read_all().num_rows == 1


def test_statements_see_whole_transactions_of_a_run_that_writes(console: RemoteConsole, busy: Database) -> None:
    """Each transaction writes a batch of 5,000 rows. There are checkpoints between statements, and none during one.

    Every sixth transaction is rolled back: its blocks are used again by the next.
    """
    cursor = busy.cursor()
    cursor.execute("CREATE OR REPLACE TABLE books (id BIGINT, batch BIGINT, text VARCHAR)")
    cursor.execute("SET checkpoint_threshold = '100KB'")
    stop = threading.Event()
    written = [0]

    def write() -> None:
        while not stop.is_set():
            with busy.writing:
                number = written[0] + 1
                cursor.execute("BEGIN")
                cursor.execute(f"INSERT INTO books SELECT range, {number}, md5(range::VARCHAR) FROM range(5000)")
                cursor.execute("ROLLBACK" if number % 6 == 0 else "COMMIT")
                written[0] = number

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(6):
            before = written[0]
            (found,) = console.query(GROUPS).read_all().to_pylist()
            assert found["rows"] == found["batches"] * 5000
            assert before - 1 <= (found["newest"] or 0) <= written[0]
            lengths = console.query("SELECT DISTINCT length(text) AS n FROM books").read_all().to_pylist()
            assert lengths in ([], [{"n": 32}])
    finally:
        stop.set()
        writer.join()
    busy.close_cursor(cursor)


def test_grouping_of_millions_of_rows_fits_into_the_least_bound(console: RemoteConsole, busy: Database) -> None:
    cursor = busy.cursor()
    cursor.execute("INSERT INTO books SELECT range, 1 FROM range(4_000_000)")
    cursor.execute("CHECKPOINT")
    cursor.execute("CREATE TABLE texts AS SELECT range AS id, md5(range::VARCHAR) AS text FROM range(2_000_000)")
    busy.close_cursor(cursor)
    statement = "SELECT id % 100 AS k, sum(hash(text || id)) FROM texts JOIN books USING (id) GROUP BY k"
    assert console.query(statement).read_all().num_rows == 100


def fill_log(database: Database, nbytes: int) -> None:
    """Commit rows until the log of the database has `nbytes` bytes."""
    cursor = database.cursor()
    cursor.execute("SET checkpoint_threshold = '1TB'")
    log = database.path.with_name(f"{database.path.name}.wal")
    while not log.exists() or log.stat().st_size < nbytes:
        cursor.execute("INSERT INTO books SELECT range, range FROM range(100_000)")
    database.close_cursor(cursor)


def test_reader_of_a_long_log_has_it_written_to_the_file_first(busy: Database) -> None:
    fill_log(busy, 2 * MB)
    with busy.hold_checkpoints(8 * MB) as moment:
        assert moment.log_bytes >= 2 * MB
    with busy.hold_checkpoints(MB) as moment:
        assert moment.log_bytes == 0


def test_reader_of_a_long_log_waits_for_others_that_read_it(busy: Database) -> None:
    first = busy.hold_checkpoints(8 * MB)
    first.__enter__()
    fill_log(busy, 2 * MB)
    threading.Timer(0.05, lambda: first.__exit__(None, None, None)).start()
    with busy.hold_checkpoints(MB) as moment:
        assert moment.log_bytes == 0


def test_readers_may_begin_and_end_in_many_threads_at_once(busy: Database) -> None:
    def hold() -> None:
        for _ in range(300):
            with busy.hold_checkpoints(8 * MB):
                pass

    with ThreadPoolExecutor(4) as pool:
        for held in [pool.submit(hold) for _ in range(4)]:
            held.result()


def test_reader_says_so_when_others_keep_the_log_too_long(busy: Database) -> None:
    with busy.hold_checkpoints(8 * MB):
        fill_log(busy, 3 * MB)
        with busy.hold_checkpoints(2 * MB, patience=0.0) as moment:
            assert moment.log_bytes >= 3 * MB
        with (
            pytest.raises(UserError, match=r"other statements keep 3.* MB of new rows"),
            busy.hold_checkpoints(MB, patience=0.0),
        ):
            pass


def test_checkpoints_wait_for_the_last_reader(busy: Database) -> None:
    cursor = busy.cursor()
    setting = "SELECT current_setting('checkpoint_threshold')"
    before = cursor.execute(setting).fetchall()
    with busy.hold_checkpoints(MB) as first:
        with busy.hold_checkpoints(MB):
            held = cursor.execute(setting).fetchall()
        assert cursor.execute(setting).fetchall() == held != before
    assert cursor.execute(setting).fetchall() == before
    assert first.log_bytes == first.log.stat().st_size
    busy.close_cursor(cursor)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT max(length(repeat('x', 10_000_000 + n::BIGINT))) FROM range(2000) t(n)",
        "SELECT repeat('x', 10_000_000) AS a FROM range(2000)",
        "SELECT list(repeat('x', 1_000_000 + n::BIGINT)) FROM range(2000) t(n)",
    ],
)
def test_a_statement_that_takes_more_than_its_bound_is_ended(
    console: RemoteConsole, busy: Database, statement: str
) -> None:
    before = psutil.Process().memory_info().rss
    with pytest.raises(UserError, match=r"needs more (memory than it may use|than 537 MB)"):
        console.query(statement).read_all()
    assert psutil.Process().memory_info().rss - before < LEAST_BYTES / 4
    assert console.query(GROUPS).read_all().num_rows == 1


def test_a_statement_is_ended_for_the_run_with_its_reason(console: RemoteConsole, busy: Database) -> None:
    def end() -> None:
        eventually(lambda: len(busy.statements) or None, "the statement")
        busy.statements.end("the run needs the memory")

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(UserError, match="the statement was ended: the run needs the memory"):
        console.query(ENDLESS)
    ending.join()
    assert not busy.statements


def test_a_client_that_cancels_leaves_no_process(console: RemoteConsole, busy: Database, path: Path) -> None:
    cancelling = threading.Thread(
        target=lambda: (eventually(lambda: len(busy.statements) or None, "the statement"), console.cancel())
    )
    cancelling.start()
    with pytest.raises(QueryCancelled):
        console.query(ENDLESS)
    cancelling.join()
    eventually(lambda: not busy.statements, "the end of the statement")
    assert not list(path.with_name(f"{path.name}.tmp").glob("beside-*"))


def test_a_statement_beside_a_run_reads_no_other_file_and_writes_none(console: RemoteConsole) -> None:
    with pytest.raises(QueryError, match="can't read or write other files"):
        console.query("SELECT * FROM read_text('/etc/passwd')")
    with pytest.raises(QueryError):
        console.query("SELECT * FROM read_text('beside:///etc/passwd')").read_all()
    with pytest.raises(QueryError, match="only statements that read"):
        console.query("WITH a AS (INSERT INTO books VALUES (1, 1) RETURNING id) SELECT * FROM a").read_all()


def test_a_wrong_statement_is_reported_with_its_place(console: RemoteConsole) -> None:
    with pytest.raises(QueryError, match='"nosuch" not found') as caught:
        console.query("SELECT id,\n  nosuch FROM books")
    assert (caught.value.line, caught.value.column) == (2, 3)


def test_each_thread_has_its_own_place_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    file = OtherFile(str(path), most=50)
    file.seek(10)
    other = threading.Thread(target=lambda: (file.seek(40), file.read(5)))
    other.start()
    other.join()
    assert file.read(2) == bytes([10, 11]) and file.tell() == 12
    file.seek(48)
    assert file.read(10) == bytes([48, 49]) and file.read(10) == b""
    file.close()
    file.close()


def test_nothing_but_the_database_and_its_log_is_read(tmp_path: Path) -> None:
    database, log = tmp_path / "a.duckdb", tmp_path / "a.duckdb.wal"
    for file in (database, log, tmp_path / "other"):
        file.write_bytes(b"12345678")
    files = OtherFiles(Moment(database, "a", log, 3))
    assert files.info(f"beside://{log}")["size"] == 3 and files.info(f"beside://{database}")["size"] == 8
    assert files.exists(f"beside://{log}") and not files.exists(f"beside://{tmp_path / 'other'}")
    with pytest.raises(FileNotFoundError):
        files.open(f"beside://{tmp_path / 'other'}")
    with pytest.raises(PermissionError):
        files.open(f"beside://{database}", "r+b")
    assert not OtherFiles(Moment(database, "a", log, 0)).exists(f"beside://{log}")


def test_a_statement_may_use_a_quarter_of_what_the_run_may() -> None:
    assert memory_beside(8 << 30) == 2 << 30
    assert memory_beside(1 << 30) == LEAST_BYTES
    assert memory_beside(None) >= LEAST_BYTES


def test_a_statement_waits_for_the_transaction_under_way(busy: Database) -> None:
    entered: list[float] = []

    def hold() -> None:
        with busy.hold_checkpoints(MB):
            entered.append(time.monotonic())

    with busy.writing:
        holding = threading.Thread(target=hold)
        holding.start()
        holding.join(0.05)
        assert not entered
    holding.join()
    assert entered


def test_rows_beside_a_run_may_be_read_slowly(busy: Database, path: Path) -> None:
    """A pager that shows one page is not cut off, as it would be from the process of the run itself."""
    limits = ServerLimits(stall=0.1)
    busy.note_socket(None)
    server = serve(busy, limits)
    try:
        with open_access(path) as access, access.console() as console:
            result = console.query("SELECT range AS n, repeat('x', 1000) AS text FROM range(50_000)")
            batches = iter(result)
            rows = next(batches).num_rows
            threading.Event().wait(0.5)
            assert rows + sum(batch.num_rows for batch in batches) == 50_000
    finally:
        server.close()
