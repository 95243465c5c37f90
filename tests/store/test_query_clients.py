"""Other processes that ask a run's database, and are killed while they do.

    CLIENT_SECONDS=60 python -m pytest tests/store/test_query_clients.py

lets ten of them ask for a minute, one of them killed (and another one started) every second; without the variable it
is over in a few seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.sent_batches import make_batch, rows_of, run_record
from support.waiting import eventually

from tui_runner.store.database import Database
from tui_runner.store.ingest.writer_thread import Ingest
from tui_runner.store.ledger import Ledger
from tui_runner.store.remote.server import serve

pytestmark = pytest.mark.usefixtures("runtime")

CLIENTS = 10
SECONDS = int(os.environ.get("CLIENT_SECONDS", "0"))
"""Seconds that the test lasts; 0 for one death of each client, 0.4 s apart."""
CLIENT = """
import sys
from pathlib import Path
from tui_runner.errors import UserError
from tui_runner.store.access import open_access
statements = ["SELECT count(*) FROM results", "FROM results", "SELECT _item, count(*) FROM results GROUP BY ALL"]
print("ready", flush=True)
while True:
    for statement in statements:
        try:
            with open_access(Path(sys.argv[1])) as access, access.console() as console:
                console.query(statement).read_all()
        except UserError as error:
            if "too many" not in str(error):
                raise
"""


def files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def start_client(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_ten_clients_that_are_killed_cost_no_flush_and_leave_nothing(database: Database, path: Path) -> None:
    cursor = database.cursor()
    run_id = Ledger(cursor).begin_run(run_record(table_name="results"))
    written: list[object] = []
    failed: list[BaseException] = []
    ingest = Ingest(database, run_id, "results", on_written=written.extend, on_error=failed.append, interval=0.02)
    ingest.start()
    server = serve(database)
    threads, descriptors = set(threading.enumerate()), files()
    clients = [start_client(path) for _ in range(CLIENTS)]
    try:
        for each in clients:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        item = 0
        for _ in range(SECONDS or CLIENTS):
            until = time.monotonic() + (1.0 if SECONDS else 0.4)
            while time.monotonic() < until:
                batch = make_batch(*(rows_of(item + n, title=f"t{n}") for n in range(20)), ticket=item)
                ingest.submit(batch)
                item += 20
                time.sleep(0.01)  # a rate, not a wait: rows come in while clients ask
            victim = clients.pop(0)
            assert victim.poll() is None, victim.communicate()
            victim.kill()
            victim.communicate()
            if SECONDS:
                clients.append(start_client(path))
    finally:
        for each in clients:
            each.kill()
            each.communicate()
    assert ingest.close(30)
    assert not failed
    assert len(written) == item // 20
    assert cursor.execute("SELECT count(*), count(DISTINCT _item) FROM results").fetchall() == [(item, item)]
    eventually(lambda: not server._conversations and set(threading.enumerate()) <= threads)
    assert files() <= descriptors
    server.close()
