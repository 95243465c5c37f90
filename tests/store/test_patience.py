"""The start of a run waits for a short query of another process, and not for another run."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui_runner.store.database import Database
from tui_runner.store.lock import DatabaseInUse

OWNER = """
import sys
from pathlib import Path
from tui_runner.store.database import Database

database = Database.open(Path(sys.argv[1]))
for line in sys.stdin:
    if line.strip() == "run":
        database.note_run(7)
    if line.strip() == "close":
        database.close()
        break
    print("done", flush=True)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the database open."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "x.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ask(process, "hello")
    yield process
    process.kill()
    process.communicate()


def ask(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()
    if what != "close":
        assert process.stdout.readline() == "done\n"


def test_a_query_is_waited_for(owner: subprocess.Popen[str], tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    with pytest.raises(DatabaseInUse):
        Database.open(path)
    opened: list[Database] = []
    waiting = threading.Thread(target=lambda: opened.append(Database.open(path, patience=60.0)))
    waiting.start()
    ask(owner, "close")
    waiting.join(60)
    assert len(opened) == 1
    with pytest.raises(DatabaseInUse, match="already open in this process"):
        Database.open(path, patience=60.0)
    opened[0].close()


def test_a_run_is_not_waited_for(owner: subprocess.Popen[str], tmp_path: Path) -> None:
    ask(owner, "run")
    with pytest.raises(DatabaseInUse, match="run 7"):
        Database.open(tmp_path / "x.duckdb", patience=3600.0)
