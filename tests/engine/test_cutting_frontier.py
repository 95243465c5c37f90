"""The frontier of a run is cut as it grows: who waits for items looks once per commit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.sent_batches import STARTED, item_row, make_batch, run_record

from tui_runner.engine.packed_items import unpack
from tui_runner.engine.planning.cutting import ItemsRead
from tui_runner.engine.planning.cutting_frontier import CutFrontier, seeds
from tui_runner.errors import UserError
from tui_runner.inputs import items_source
from tui_runner.store.database import Database
from tui_runner.store.ingest.frontier import FrontierRules
from tui_runner.store.ingest.transaction import Writer
from tui_runner.store.ledger import Ledger
from tui_runner.store.ledger.frontier import Frontier
from tui_runner.store.ledger.recorded import RecordedItems
from tui_runner.store.records import ADDED, ChunkRecord

RULES = FrontierRules()


class Run:
    """A run with a frontier of one item, and a thread that cuts it."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        cursor = database.cursor()
        ledger = Ledger(cursor)
        run_id = ledger.begin_run(run_record())
        ledger.add_seeds(cursor, run_id, seeds(items_source(["a"]), RULES), RULES)
        self.writer = Writer(cursor, run_id, "books", RULES)
        self.cutter = CutFrontier(database, RecordedItems(database, run_id), resumed=False)
        self.cut: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.looks = threading.Semaphore(0)
        """Released after each look that has found nothing to run."""
        look = Frontier.look

        def counted(*given: Any, **named: Any) -> Any:
            found = look(*given, **named)
            if not found.items:
                self.looks.release()
            return found

        monkeypatch.setattr(Frontier, "look", counted)
        self._thread = threading.Thread(target=self._cut_all)
        self._thread.start()

    def _cut_all(self) -> None:
        while (read := self.cutter.next(10)) is not None:
            self.cut.put(read)
        self.cut.put(None)

    def taken(self) -> list[object] | None:
        """Return the items of the next chunk; None at the end."""
        read = self.cut.get(timeout=60)
        return None if read is None else self._values(read)

    @staticmethod
    def _values(read: ItemsRead) -> list[object]:
        return unpack(read.chunk.packed)

    def look_in_vain(self) -> None:
        """Wait until the thread has looked and found nothing."""
        assert self.looks.acquire(timeout=60)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    with Database.open(tmp_path / "x.duckdb") as database:
        run = Run(database, monkeypatch)
        yield run
        run.cutter.stop()
        run.join()


def chunk(number: int) -> ChunkRecord:
    return ChunkRecord(number, number, 1, "done", 1, 0, 0, 0, STARTED, STARTED, 0.1)


def test_items_that_are_added_are_cut_after_their_commit_with_one_look_each(run: Run) -> None:
    assert run.taken() == ["a"]
    run.look_in_vain()
    added = pa.Table.from_pylist([{"added_by": 0, "key": "b", "value": '"b"'}], schema=ADDED)
    run.writer.write([replace(make_batch(items=[item_row(0)]), added=added)])
    assert run.cut.empty(), "nothing has said that there is more"
    assert not run.looks.acquire(blocking=False)
    run.cutter.committed()
    assert run.taken() == ["b"]
    run.look_in_vain()
    run.cutter.committed()  # of rows that add nothing
    run.look_in_vain()
    assert run.cut.empty()


def test_frontier_ends_with_the_commit_of_its_last_chunk(run: Run) -> None:
    assert run.taken() == ["a"]
    run.look_in_vain()
    run.writer.write([make_batch(items=[item_row(0)])])
    run.cutter.committed()
    run.look_in_vain()
    run.writer.write([chunk(0)])
    run.cutter.committed()
    assert run.taken() is None


def test_run_that_stops_ends_the_wait_for_items(run: Run) -> None:
    assert run.taken() == ["a"]
    run.look_in_vain()
    run.cutter.stop()
    assert run.taken() is None


def test_an_item_that_contains_itself_is_refused() -> None:
    item: list[Any] = [1]
    item.append(item)
    with pytest.raises(UserError, match="item 1 is nested too deeply, or contains itself; give text"):
        list(seeds(items_source(["a", item]), RULES))
