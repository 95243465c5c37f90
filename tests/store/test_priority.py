"""Priority of DuckDB's threads beside a run."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui_runner.store.database import Database
from tui_runner.store.query.console import Console

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")

PROCESSORS = 3


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "x.duckdb", for_run=True) as opened:
        opened.cursor().execute(f"SET threads = {PROCESSORS}")
        yield opened


@pytest.fixture
def set_load(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    load = [0.0]
    monkeypatch.setattr(os, "getloadavg", lambda: (load[0], 0.0, 0.0))
    yield load


def niceness() -> dict[int, int]:
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            found[int(task.name)] = os.getpriority(os.PRIO_PROCESS, int(task.name))
        except ProcessLookupError:  # it has just ended
            continue
    return found


def lowered() -> int:
    """Return threads of this process, but for those of Python, with a lower priority than the calling one."""
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    pythons = {thread.native_id for thread in threading.enumerate()}
    return sum(value > own for task, value in niceness().items() if task not in pythons)


def threads_of(database: Database) -> int:
    cursor = database.cursor()
    try:
        return int(cursor.execute("SELECT current_setting('threads')").fetchall()[0][0])
    finally:
        database.close_cursor(cursor)


def test_threads_give_way_while_a_statement_is_open_beside_a_run_and_no_longer(
    database: Database, set_load: list[float]
) -> None:
    writing = database.cursor()
    database.note_run(1)
    assert lowered() == 0
    with Console(database) as console:
        result = console.query("FROM range(1_000_000)")
        # One of those that may work on it is the console's own.
        assert lowered() == PROCESSORS - 1
        database.restore_thread_priority(writing)
        assert lowered() == PROCESSORS - 1  # the statement is open
        result.close()
        database.restore_thread_priority(writing)
        assert (lowered(), threads_of(database)) == (0, PROCESSORS)


def test_beside_busy_processors_a_statement_has_its_own_thread_alone(database: Database, set_load: list[float]) -> None:
    writing = database.cursor()
    database.note_run(1)
    set_load[0] = PROCESSORS + 4.0
    with Console(database) as console, console.query("FROM range(1_000_000)") as result:
        assert (lowered(), threads_of(database)) == (0, 1)
        assert result.read_all().num_rows == 1_000_000
    database.restore_thread_priority(writing)
    assert threads_of(database) == PROCESSORS


def test_a_second_statement_takes_no_threads_from_the_first(database: Database, set_load: list[float]) -> None:
    database.note_run(1)
    with Console(database) as one, Console(database) as other, one.query("FROM range(1_000_000)"):
        before = niceness().keys()
        with other.query("SELECT 1") as result:
            assert result.read_all().num_rows == 1
            assert lowered() == PROCESSORS - 1
            pythons = {thread.native_id for thread in threading.enumerate()}
            assert niceness().keys() - pythons <= before


def test_without_a_run_nothing_is_changed(database: Database, set_load: list[float]) -> None:
    set_load[0] = 100.0
    with Console(database) as console, console.query("FROM range(1_000_000)"):
        assert (lowered(), threads_of(database)) == (0, PROCESSORS)
