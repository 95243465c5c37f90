"""Which threads of a process give way to the one that writes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

import pytest

from tui_runner.errors import DatabaseError
from tui_runner.store.database import Database
from tui_runner.system.process import starting_low

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")


def niceness_of_new_threads(before: set[str]) -> set[int]:
    tasks = {task.name for task in Path("/proc/self/task").iterdir()} - before
    found = set()
    for task in tasks:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            found.add(os.getpriority(os.PRIO_PROCESS, int(task)))
    return found


@pytest.mark.parametrize("for_run", [True, False])
def test_duckdbs_own_threads_give_way_where_a_run_writes_and_nowhere_else(tmp_path: Path, for_run: bool) -> None:
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    before = {task.name for task in Path("/proc/self/task").iterdir()}
    with Database.open(tmp_path / "x.duckdb", for_run=for_run):
        found = niceness_of_new_threads(before)
        assert found and all((niceness > own) is for_run for niceness in found)
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


def test_what_goes_wrong_on_the_way_is_told_to_whoever_asked(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_bytes(bytes(8) + b"DUCK" + bytes(5000))
    with pytest.raises(DatabaseError):
        Database.open(tmp_path / "x.duckdb", for_run=True)
    with pytest.raises(ZeroDivisionError):
        starting_low(lambda: 1 // 0)
