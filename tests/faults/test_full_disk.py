"""A disk that fills up during a run: the run waits, nothing is lost, and it continues when there is space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine
from support.small_disk import SmallDisk, small_disk
from support.waiting import WAIT_SECONDS, eventually

from tui_runner.engine.states import RunState
from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database
from tui_runner.store.ingest import writer_thread

WRITES = """
    import time
    from pathlib import Path
    from tui_runner import job

    @job(chunk_size=20, threads=4)
    def write(n: int, *, gate: str = ""):
        while gate and n >= 100 and not Path(gate).exists():
            time.sleep(0.005)
        return [{"n": n, "part": part, "text": f"{n * 7919 % 104729:x}" * 8} for part in range(50)]

    @write.items
    def numbers():
        return range(200)
"""
ONCE = "SELECT DISTINCT count(*), count(DISTINCT (n, part)), count(DISTINCT _item) FROM write GROUP BY _run"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 160) as mounted:
        yield mounted


@pytest.fixture
def name() -> str:
    """Name of the database; parameters of a test may give another."""
    return "x.duckdb"


@pytest.fixture
def run(new_run: Callable[..., Any], job_file: Callable[[str], str], disk: SmallDisk, tmp_path: Path, name: str) -> Any:
    """A run on the small disk that has written its first hundred items, and waits for the gate to open."""
    run = new_run(job_file(WRITES), params={"gate": str(tmp_path / "gate")}, database=disk.path / name)
    run.start()
    run.until(lambda s: s.items_done >= 100)
    eventually(lambda: recorded(run.runner.database) >= 100, "the first half is written")
    return run


def recorded(database: Database) -> int:
    cursor = database.cursor()
    try:
        found = cursor.execute("SELECT count(*) FROM runner.items").fetchone()
        return 0 if found is None else int(found[0])
    finally:
        database.close_cursor(cursor)


@pytest.mark.parametrize("real", [False, True], ids=["seen-coming", "met-by-duckdb"])
def test_a_run_waits_for_space_and_continues_by_itself(
    run: Any, disk: SmallDisk, rows: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: bool
) -> None:
    if real:
        # As if something else had taken the room between the look and the write.
        monkeypatch.setattr(Database, "free_bytes", lambda self: 1 << 40)
    disk.fill(leave=8_192)
    (tmp_path / "gate").touch()
    held = run.until(lambda s: s.state is RunState.PAUSED)
    assert held.reason.startswith("the disk is full")
    assert held.reason.endswith("; no rows were lost, the run resumes when there is room")
    run.runner.resume()  # there still is no room
    assert recorded(run.runner.database) < 200
    disk.empty()
    if not real:  # with a real one it continues by itself, which takes some seconds
        run.runner.resume()
    ended = run.finish()
    assert (ended.state, ended.items_done) == (RunState.FINISHED, 200)
    assert any("none were lost" in event.text and event.level == "INFO" for event in ended.events)
    assert rows(ONCE, disk.path / "x.duckdb") == [(10_000, 10_000, 200)]


def test_a_run_that_is_stopped_while_the_disk_is_full_ends_in_order_and_can_be_resumed(
    run: Any, disk: SmallDisk, rows: Callable[..., Any], tmp_path: Path, new_run: Callable[..., Any]
) -> None:
    disk.fill(leave=8_192)
    (tmp_path / "gate").touch()
    run.until(lambda s: s.state is RunState.PAUSED)
    run.runner.stop()
    with pytest.raises(DatabaseError, match=r"the disk is full.*make room on it, then resume the run") as caught:
        run.runner.join(WAIT_SECONDS)
    assert caught.value.exit_code == 4
    run.runner.close()
    disk.empty()
    again = new_run(run.runner.plan.job.path, params=dict(run.runner.plan.params), database=disk.path / "x.duckdb")
    assert again.runner.resumed
    assert again.start().finish().items_done == 200
    assert rows(ONCE, disk.path / "x.duckdb") == [(10_000, 10_000, 200)]


@pytest.mark.parametrize("name", ["x.duckdb", "runner.duckdb"])  # the second is attached, see `store/connection.py`
def test_a_disk_that_is_full_within_a_checkpoint_ends_the_run_in_order(
    run: Any, disk: SmallDisk, rows: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    new_run: Callable[..., Any], name: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(Database, "free_bytes", lambda self: 1 << 40)
    write = writer_thread.Writer.write

    def writing(self: writer_thread.Writer, entries: Any) -> None:
        write(self, entries)
        disk.fill(leave=0)
        self._cursor.execute("CHECKPOINT")

    monkeypatch.setattr(writer_thread.Writer, "write", writing)
    (tmp_path / "gate").touch()
    with pytest.raises(DatabaseError, match=r"DuckDB gave up on the file.*make room on the disk, then resume the run"):
        run.runner.join(WAIT_SECONDS)
    run.runner.close()
    monkeypatch.undo()
    disk.empty()
    # Perhaps everything was written, and only the checkpoint was not: then this is a run of its own.
    again = new_run(run.runner.plan.job.path, params=dict(run.runner.plan.params), database=disk.path / name)
    assert again.start().finish().items_done == 200
    assert rows(ONCE, disk.path / name) == [(10_000, 10_000, 200)]


def refuse(self: writer_thread.Writer, entries: Any) -> None:
    raise duckdb.IOException('IO Error: Could not write file "x.duckdb.wal": Read-only file system')


@pytest.mark.parametrize(("fate", "message"), [("removed", "is gone"), ("read-only", "Read-only file system")])
def test_a_database_that_vanishes_or_turns_read_only_ends_the_run_with_one_line(
    run: Any, disk: SmallDisk, tmp_path: Path, fate: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fate == "removed":
        (disk.path / "x.duckdb").unlink()
    else:
        # The kernel refuses to turn a file system read-only while a file on it is open; an error of the disk does so.
        monkeypatch.setattr(writer_thread.Writer, "write", refuse)
    (tmp_path / "gate").touch()
    with pytest.raises(DatabaseError, match=message) as caught:
        run.runner.join(WAIT_SECONDS)
    assert caught.value.exit_code == 4
    assert str(caught.value).isprintable()
    assert run.runner.snapshot().state is RunState.FAILED


def test_a_run_on_a_full_disk_is_refused_in_one_line_and_its_database_can_be_read(
    cli: CommandLine, job_file: Callable[[str], str], disk: SmallDisk
) -> None:
    job = job_file(WRITES)
    assert cli("run", job, "--db", "x.duckdb", "--limit", "20", "--quiet", cwd=disk.path).code == 0
    disk.fill(leave=0)
    before = {path.name for path in disk.path.iterdir()}
    for arguments in (("--db", "x.duckdb", "--new"), ("--db", "y.duckdb")):
        refused = cli("run", job, *arguments, cwd=disk.path)
        assert refused.code == 4
        assert refused.complaint.startswith(f"{disk.path / arguments[1]}: the disk is full; make room on it")
    assert cli("query", "x.duckdb", "SELECT count(*) AS n FROM write", cwd=disk.path).out == "n\n1000\n"
    assert "finished" in cli("runs", "x.duckdb", cwd=disk.path).out
    assert {path.name for path in disk.path.iterdir()} - before <= {"x.duckdb.wal"}
    disk.empty()
    assert cli("run", job, "--db", "x.duckdb", "--limit", "20", "--quiet", "--new", cwd=disk.path).code == 0
