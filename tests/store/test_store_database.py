"""Opening, locking and closing a database."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pytest
from support.waiting import eventually

from tui_runner.errors import EXIT_DATABASE, DatabaseError
from tui_runner.store.connection import memory_share
from tui_runner.store.database import Database

HOLDER = """
import sys
from pathlib import Path
from tui_runner.store.connection import memory_share
from tui_runner.store.database import Database
database = Database.open(Path(sys.argv[1]))
if len(sys.argv) > 2:
    database.note_run(int(sys.argv[2]))
print("open", flush=True)
sys.stdin.read()
database.close()
"""
NOTELESS_HOLDER = """
import fcntl, os, sys
lock = os.open(sys.argv[1] + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
print("open", flush=True)
sys.stdin.read()
"""
PLAIN_HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
connection.close()
"""


@contextmanager
def another_process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process


def test_a_new_database_can_be_opened_by_older_duckdb(path: Path) -> None:
    Database.open(path).close()
    # The storage version stands behind the magic bytes; DuckDB 1.x knows up to 67.
    assert path.read_bytes()[8:12] == b"DUCK"
    assert int.from_bytes(path.read_bytes()[12:20], "little") <= 65


def test_written_rows_are_there_after_reopening(path: Path) -> None:
    with Database.open(path) as database:
        database.cursor().execute("CREATE TABLE t AS SELECT 42 AS a")
    with Database.open(path, create=False) as database:
        assert database.cursor().execute("FROM t").fetchall() == [(42,)]


def test_closing_leaves_the_database_alone_in_its_folder(path: Path) -> None:
    database = Database.open(path)
    database.cursor().execute("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
    database.close()
    database.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    with Database.open(path) as database:
        database.cursor().execute("CREATE TABLE t AS SELECT 1 AS a")
    with Database.open(path, create=False) as database:
        assert database.cursor().execute("FROM t").fetchall() == [(1,)]


@pytest.mark.parametrize("content", [b"id,name\n1,a\n", b"x", b"SQLite format 3\0" + bytes(100), bytes(5000)])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    before = path.stat()
    with pytest.raises(
        DatabaseError, match="is not a DuckDB database; it was not changed; choose another path"
    ) as caught:
        Database.open(path)
    assert caught.value.exit_code == EXIT_DATABASE
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_damaged_database_is_one_line(path: Path) -> None:
    path.write_bytes(bytes(8) + b"DUCK" + b"\1" * 20_000)
    with pytest.raises(DatabaseError, match="cannot be opened") as caught:
        Database.open(path)
    assert "\n" not in str(caught.value)
    Database.open(path.with_name("other.duckdb")).close()


def test_a_missing_database_is_not_made_for_reading(path: Path) -> None:
    with pytest.raises(DatabaseError, match="no such database"):
        Database.open(path, create=False)
    assert list(path.parent.iterdir()) == []


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="is a folder"):
        Database.open(tmp_path)


def test_duckdb_has_a_share_of_what_a_run_may_use() -> None:
    assert memory_share(8_000_000_000) == 2_000_000_000
    assert memory_share(1_600_000_000) == 512 << 20, "not so little that a flush would not fit"
    assert memory_share(600_000_000) == 300_000_000
    assert memory_share(None) == memory_share(1 << 60) >= 512 << 20


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="its folder does not exist"):
        Database.open(tmp_path / "missing" / "books.duckdb")


def test_a_pipe_is_no_database(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(DatabaseError, match="is not a regular file"):
        Database.open(path)


def test_links_in_a_circle_are_one_line(path: Path) -> None:
    path.symlink_to(path)
    with pytest.raises(DatabaseError):
        Database.open(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_line(path: Path) -> None:
    path.parent.chmod(0o555)
    try:
        with pytest.raises(DatabaseError, match="cannot be written"):
            Database.open(path)
    finally:
        path.parent.chmod(0o755)


def test_a_lock_file_that_cannot_be_made_is_one_line(path: Path) -> None:
    path.with_name(path.name + ".lock").mkdir()
    with pytest.raises(DatabaseError, match=r"books\.duckdb\.lock stands in the way \(it is a folder\)"):
        Database.open(path)


def test_another_process_names_the_run_that_has_the_database(path: Path) -> None:
    with another_process(HOLDER, str(path), "4") as holder:
        with pytest.raises(DatabaseError) as caught:
            Database.open(path)
        assert f"in use by tui-runner (pid {holder.pid}), run 4" in str(caught.value)
        assert caught.value.do


def test_the_owner_is_named_also_without_a_run(path: Path) -> None:
    with another_process(HOLDER, str(path)) as holder, pytest.raises(DatabaseError) as caught:
        Database.open(path)
    assert f"in use by tui-runner (pid {holder.pid}); wait" in str(caught.value)


tells_holders = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not tell who holds a lock")


@pytest.mark.parametrize(
    "script", [HOLDER, pytest.param(NOTELESS_HOLDER, marks=tells_holders)], ids=["with a note", "without a note"]
)
def test_an_owner_that_is_stopped_is_named(path: Path, script: str) -> None:
    with another_process(script, str(path)) as holder:
        holder.send_signal(signal.SIGSTOP)
        eventually(lambda: psutil.Process(holder.pid).status() == psutil.STATUS_STOPPED, "the stop")
        try:
            with pytest.raises(DatabaseError) as caught:
                Database.open(path)
        finally:
            holder.send_signal(signal.SIGCONT)
    stopped = (
        f"in use by tui-runner (pid {holder.pid}), which is stopped and does not answer; continue it (fg) or end it"
    )
    assert stopped in str(caught.value)


@tells_holders
def test_an_owner_without_a_note_is_named(path: Path) -> None:
    with another_process(NOTELESS_HOLDER, str(path)) as holder, pytest.raises(DatabaseError) as caught:
        Database.open(path)
    assert f"in use by tui-runner (pid {holder.pid}); wait" in str(caught.value)


def test_where_files_cannot_be_locked_the_lock_of_duckdb_keeps_others_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with Database.open(path) as database:
        assert not database.is_announced
        assert database.unannounced_because == "files beside it cannot be locked (no locks available)"
        assert not path.with_name(f"{path.name}.lock").exists()
        with pytest.raises(DatabaseError, match="already open in this process"):
            Database.open(path)
    with Database.open(path, create=False):
        pass


def test_a_link_to_the_database_is_locked_with_it(path: Path) -> None:
    link = path.with_name("link.duckdb")
    link.symlink_to(path)
    with another_process(HOLDER, str(path), "7"), pytest.raises(DatabaseError, match="run 7"):
        Database.open(link)


def test_the_lock_survives_size_and_header_checks(database: Database) -> None:
    database.cursor().execute("CREATE TABLE t (a INTEGER)")
    assert database.size_bytes() > 0
    script = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    other = subprocess.run([sys.executable, "-c", script, str(database.path)], capture_output=True, text=True)
    assert "Conflicting lock" in other.stderr


def test_another_program_that_has_the_database_is_named(path: Path) -> None:
    with another_process(PLAIN_HOLDER, str(path)) as holder, pytest.raises(DatabaseError) as caught:
        Database.open(path)
    assert f"in use by another program (pid {holder.pid})" in str(caught.value)
    Database.open(path).close()


def test_opening_twice_in_one_process_is_a_clear_error(database: Database) -> None:
    with pytest.raises(DatabaseError, match="already open in this process"):
        Database.open(database.path)
    assert database.cursor().execute("SELECT 1").fetchall() == [(1,)]


def test_the_lock_of_a_killed_process_is_gone(path: Path) -> None:
    with another_process(HOLDER, str(path), "4") as holder:
        holder.kill()
    lock = path.with_name(path.name + ".lock")
    assert json.loads(lock.read_text())["run"] == 4
    Database.open(path).close()
    assert not lock.exists()


def test_no_file_can_be_reached_through_it(database: Database, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    cursor = database.cursor()
    for statement in (
        f"FROM read_csv('{tmp_path}/secret.csv')",
        f"FROM read_text('{tmp_path}/secret.csv')",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/other.duckdb'",
        f"EXPORT DATABASE '{tmp_path}/export'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
    ):
        with pytest.raises(duckdb.Error):
            cursor.execute(statement)


def test_locked_down_it_still_takes_arrow_alters_spills_and_checkpoints(path: Path) -> None:
    with Database.open(path, memory_limit=64 << 20) as database:
        cursor = database.cursor()
        cursor.execute("CREATE TABLE t (a BIGINT)")
        cursor.register("incoming", pa.table({"a": list(range(10))}))
        cursor.execute("INSERT INTO t SELECT a FROM incoming")
        cursor.execute("ALTER TABLE t ALTER COLUMN a SET DATA TYPE DOUBLE")
        cursor.execute("CREATE TABLE big AS SELECT range AS a, hash(range)::VARCHAR AS b FROM range(3_000_000)")
        reader = cursor.sql("FROM big ORDER BY b").to_arrow_reader(1000)
        reader.read_next_batch()
        assert path.with_name(path.name + ".tmp").is_dir()
        reader.close()
        cursor.execute("CHECKPOINT")
        assert database.cursor().execute("SELECT sum(a) FROM t").fetchall() == [(45.0,)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_spilled_files_of_a_killed_process_are_removed_and_nothing_else(path: Path) -> None:
    spilled = path.with_name(path.name + ".tmp")
    spilled.mkdir()
    (spilled / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"x")
    (spilled / "mine.txt").write_text("keep")
    Database.open(path).close()
    assert [file.name for file in spilled.iterdir()] == ["mine.txt"]


def test_times_are_utc_in_every_cursor(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    for cursor in (database.cursor(), database.cursor()):
        assert cursor.execute("SELECT CAST(TIMESTAMPTZ '2026-01-01 12:00:00+02' AS VARCHAR)").fetchall() == [
            ("2026-01-01 10:00:00+00",)
        ]


def test_closing_ends_a_query_that_runs(path: Path) -> None:
    database = Database.open(path)
    cursor = database.cursor()
    began = threading.Event()
    ended: list[BaseException] = []

    def query() -> None:
        began.set()
        try:
            cursor.execute("SELECT sum(a.range * b.range) FROM range(1_000_000) a, range(1_000_000) b").fetchall()
        except duckdb.Error as error:
            ended.append(error)

    thread = threading.Thread(target=query)
    thread.start()
    began.wait()
    database.close()
    thread.join()
    assert len(ended) == 1
    Database.open(path).close()


def test_closing_ends_a_reader_that_is_not_drained(path: Path) -> None:
    database = Database.open(path)
    reader = database.cursor().sql("FROM range(100_000_000)").to_arrow_reader(1000)
    assert reader.read_next_batch().num_rows
    database.close()
    reader.close()
    Database.open(path).close()


def test_a_closed_database_gives_no_cursor(path: Path) -> None:
    database = Database.open(path)
    database.close()
    with pytest.raises(DatabaseError, match="is closed"):
        database.cursor()


@pytest.mark.parametrize(
    "name", ["runner.duckdb", "main.duckdb", "Runner.db", "temp.duckdb", "a b'c\"d.duckdb", "é.x.y"]
)
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with Database.open(tmp_path / name) as database:
            cursor = database.cursor()
            cursor.execute("CREATE SCHEMA IF NOT EXISTS runner")
            cursor.execute("CREATE TABLE IF NOT EXISTS runner.items (a INTEGER)")
            cursor.execute("CREATE TABLE IF NOT EXISTS main.items (a INTEGER)")
            assert database.cursor().execute("SELECT count(*) FROM runner.items").fetchall() == [(0,)]
            assert database.size_bytes() > 0
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_disk_that_has_become_read_only_keeps_the_lock_file_and_locks_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    database = Database.open(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        database.close()
    assert path.with_name(f"{path.name}.lock").exists()
    Database.open(path).close()
