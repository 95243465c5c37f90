"""Another process that has a database open, as the one of a run has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER = """
import sys
from pathlib import Path
from tui_runner.store.database import Database
from tui_runner.store.remote.server import serve

database = Database.open(Path(sys.argv[1]))
database.note_run(int(sys.argv[2]))
server = serve(database)
print("open", flush=True)
sys.stdin.readline()
server.close()
database.close()
"""


@contextmanager
def run_of_another_process(path: Path, number: int, *, killed: bool = False) -> Iterator[None]:
    """Let another process have the database open, as the one of a run has it."""
    command = [sys.executable, "-c", OWNER, str(path), str(number)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    yield
    if killed:
        process.kill()
    process.communicate("\n")
