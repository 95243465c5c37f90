"""An open database, and a writer to it."""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.sent_batches import run_record

from tui_runner.store.database import Database
from tui_runner.store.ingest.transaction import Writer
from tui_runner.store.ledger import Ledger
from tui_runner.system.private_folder import private_folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "books.duckdb"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The private folder of this process, in which nothing is but what the test makes."""
    # The folders of pytest are too deep for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="tr-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield private_folder()
        with contextlib.suppress(FileNotFoundError):  # its socket goes with the folder
            forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def older_ledger(tmp_path: Path) -> Path:
    """A database of ledger version 2 with four unfinished runs."""
    path = tmp_path / "older.duckdb"
    path.write_bytes(gzip.decompress((Path(__file__).parents[1] / "ledger_v2" / "ledger.duckdb.gz").read_bytes()))
    return path


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database.open(path) as opened:
        yield opened


@pytest.fixture
def cursor(database: Database) -> duckdb.DuckDBPyConnection:
    return database.cursor()


@pytest.fixture
def fetch(cursor: duckdb.DuckDBPyConnection) -> Callable[[str], list[tuple[Any, ...]]]:
    """Rows of a query, seen through a cursor of its own."""
    return lambda query: cursor.execute(query).fetchall()


@pytest.fixture
def writer(database: Database) -> Writer:
    """A writer of run 1 into table `books`."""
    own = database.cursor()
    assert Ledger(own).begin_run(run_record()) == 1
    return Writer(own, 1, "books")
