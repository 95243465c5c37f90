"""Inputs are cut into chunks, again and again, with what the ledger has of them left out: every item once."""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sent_batches import item_row, make_batch, run_record

from tui_runner.engine.packed_items import unpack
from tui_runner.engine.planning import cutting, cutting_by_key
from tui_runner.engine.planning.cutting import CutByPosition, Cutter, ItemsRead, NewItems
from tui_runner.engine.planning.cutting_by_key import CutByKey, RetryFromLedger
from tui_runner.engine.scheduling.events import ChunksSkipped
from tui_runner.errors import UserError
from tui_runner.inputs import items_source, open_source
from tui_runner.inputs.keys import plain_key
from tui_runner.inputs.source import BackgroundReader
from tui_runner.store.database import Database
from tui_runner.store.ingest.transaction import Writer
from tui_runner.store.ledger import Ledger
from tui_runner.store.ledger.recorded import KeyMatcher, RecordedItems
from tui_runner.store.records import ChunkRecord


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for many runs: to make a file for each would take most of the time."""
    with Database.open(tmp_path_factory.mktemp("cutting") / "x.duckdb") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _small_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting_by_key, "_SECTION_ITEMS", 7)
    monkeypatch.setattr(cutting_by_key, "_PIECE_ITEMS", 3)
    monkeypatch.setattr(cutting, "_WINDOW_ITEMS", 10)


class Process:
    """A process that executes a run: it takes chunks, and records the results of their items."""

    def __init__(self, database: Database, run_id: int | None = None) -> None:
        self.database = database
        self.cursor = database.cursor()
        self.run_id = Ledger(self.cursor).begin_run(run_record()) if run_id is None else run_id
        self.writer = Writer(self.cursor, self.run_id, "books")
        self.ran: list[tuple[int, object]] = []
        """Position and value of what ran."""
        self.skipped = 0
        self.skipped_chunks: list[int] = []

    @property
    def recorded(self) -> RecordedItems:
        return RecordedItems(self.database, self.run_id)

    def work(self, cutter: Cutter, sizes: Sequence[int], outcomes: Sequence[str], *, chunks: int | None = None) -> None:
        """Take `chunks` chunks, None for all; an item ends as the next of `outcomes` says, and well at their end.

        An item with the outcome "lost" is not recorded: the process is killed before.
        """
        size, outcome, taken = iter(sizes), iter(outcomes), 0
        while (chunks is None or taken < chunks) and (read := cutter.next(next(size, 4))) is not None:
            if isinstance(read, ChunksSkipped):
                self.skipped += sum(read.items)
                self.skipped_chunks += range(read.first, read.first + len(read.items))
                continue
            taken += 1
            self._run(read, {position: next(outcome, "ok") for position in read.pending})

    def _run(self, read: ItemsRead, outcomes: dict[int, str]) -> None:
        chunk = read.chunk
        self.skipped += len(chunk.positions) - len(read.pending)
        self.writer.write([self._record(read, "running")])
        values = dict(zip(chunk.positions, unpack(chunk.packed) if chunk.packed else (), strict=False))
        rows = []
        for position, state in outcomes.items():
            self.ran.append((position, values[position]))
            if state != "lost":
                key = plain_key(values[position], position)
                rows.append({**item_row(position, state, key=key), "chunk": chunk.number})
        if rows:
            self.writer.write([make_batch(items=rows)])
        if "lost" not in outcomes.values():
            self.writer.write([self._record(read, "failed" if "failed" in outcomes.values() else "done")])

    def _record(self, read: ItemsRead, state: str) -> ChunkRecord:
        chunk = read.chunk
        items = len(chunk.positions)
        began = datetime(2026, 1, 1, tzinfo=UTC)
        ended = None if state == "running" else began + timedelta(seconds=2.5)
        return ChunkRecord(
            chunk.number, chunk.positions[0], items, state, 0, 0, 0, 0, began, ended, 0.0, chunk.byte_offset
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.cursor.execute(f"{sql} WHERE run_id = {self.run_id}").fetchall()

    def states(self) -> dict[str, Counter[str]]:
        """Return how often each key was recorded, by state."""
        found: dict[str, Counter[str]] = {}
        for key, state in self.rows("SELECT key, state FROM runner.items"):
            found.setdefault(state, Counter())[key] += 1
        return found

    def check_positions(self) -> None:
        """Assert that each position has one row."""
        assert self.rows("SELECT count(*) - count(DISTINCT item) FROM runner.items") == [(0,)]


outcomes = st.lists(st.sampled_from(["ok", "ok", "failed", "lost"]), max_size=40)
sizes = st.lists(st.integers(1, 9), max_size=8)
inputs = st.lists(st.integers(0, 5) | st.integers(0, 40) | st.sampled_from(["a", "b"]), max_size=30)


@settings(max_examples=10)
@given(
    st.lists(st.tuples(inputs, sizes, outcomes, st.integers(0, 9)), min_size=1, max_size=4), inputs, sizes, st.data()
)
def test_by_key_each_item_of_any_changed_input_runs_once(
    database: Database, passes: list[tuple[list[object], list[int], list[str], int]], last: list[object], end, data
) -> None:
    run_id = None
    for items, some_sizes, some_outcomes, chunks in passes:
        process = Process(database, run_id)
        source = items_source(items)
        cutter = CutByPosition(source) if run_id is None else CutByKey(source, process.recorded, ())
        process.work(cutter, some_sizes, some_outcomes, chunks=chunks)
        process.check_positions()
        run_id = process.run_id
    before = process.states()
    last_process = Process(database, run_id)
    limit = data.draw(st.none() | st.integers(0, 30))
    cutter = CutByKey(items_source(last), last_process.recorded, (), limit=limit)
    last_process.work(cutter, end, [])
    last_process.check_positions()
    after = last_process.states()
    wanted = Counter(plain_key(item) for item in last[:limit])
    done, recorded = before.get("ok", Counter()), sum(before.values(), Counter())
    # What was done stays so; of each value as many are done as the input has; what it lacks stays failed.
    assert after.get("ok", Counter()) == done | wanted
    assert sum(after.values(), Counter()) == recorded | wanted
    assert cutter.missed == sum((recorded - (done | wanted)).values())
    assert len(last_process.ran) == sum((wanted - done).values())
    assert all(value in last[:limit] for _, value in last_process.ran)
    assert last_process.skipped == sum(done.values())


@settings(max_examples=10)
@given(
    st.sampled_from(["range", "lines", "values"]),
    st.integers(0, 60),
    st.lists(st.tuples(sizes, outcomes, st.integers(0, 9)), min_size=1, max_size=4),
    sizes,
)
def test_by_position_each_item_runs_at_its_own_whatever_sizes_come_later(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    count: int,
    passes: list[tuple[list[int], list[str], int]],
    end: list[int],
) -> None:
    file = tmp_path_factory.mktemp("in") / ("in.txt" if kind == "lines" else "in.jsonl")
    items: list[object] = [f"é{n}" for n in range(count)] if kind == "lines" else [*range(count)]
    file.write_text("".join(f"{item}\n\n" for item in items), encoding="utf-8")
    process, limits = Process(database), []
    source = open_source(f"range:0:{count}" if kind == "range" else str(file))
    for number, (some_sizes, some_outcomes, chunks) in enumerate([*passes, (end, [], None)]):
        if number:
            process = Process(database, process.run_id)
        cutter = CutByPosition(source, recorded=process.recorded if number else None)
        done = set(process.rows("SELECT item FROM runner.items")) & {
            (item,) for item, state in process.rows("SELECT item, state FROM runner.items") if state == "ok"
        }
        process.work(cutter, some_sizes, some_outcomes, chunks=chunks)
        process.check_positions()
        assert all(items[position] == value for position, value in process.ran)
        assert not done & {(position,) for position, _ in process.ran}
        cut = process.rows("SELECT chunk, first_item, items, byte_offset FROM runner.chunks")
        assert sorted(cut)[: len(limits)] == limits, "it is cut where it was cut before"
        limits = sorted(cut)
    assert sorted(process.rows("SELECT item, state FROM runner.items")) == [(n, "ok") for n in range(count)]


def test_chunks_that_are_done_are_passed_over_in_one_message_and_unread(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text("".join(f"{n}\n" for n in range(100)))
    first = Process(database)
    source = open_source(str(tmp_path / "in.txt"))
    first.work(CutByPosition(source), [10] * 10, [], chunks=8)
    second = Process(database, first.run_id)
    starts: list[int | None] = []
    opened = source.open
    monkeypatch.setattr(source, "open", lambda offset=None: starts.append(offset) or opened(offset))
    cutter = CutByPosition(source, recorded=second.recorded)
    skipped = cutter.next(30)
    assert skipped == ChunksSkipped(
        0, array("q", range(0, 80, 10)), array("q", [10] * 8), array("q", [0] * 8), array("q", [2_500] * 8)
    )
    read = cutter.next(30)
    assert isinstance(read, ItemsRead)
    assert (read.chunk.number, read.pending, read.chunk.byte_offset) == (8, range(80, 100), len("0\n" * 10) + 3 * 70)
    assert unpack(read.chunk.packed) == [str(n) for n in range(80, 100)]
    assert starts == [20 + 3 * 60], "it begins with the last recorded chunk"
    assert cutter.next(30) is None


def test_an_input_that_has_lost_items_though_it_looks_the_same_is_refused(database: Database, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\nb\nc\n")
    first = Process(database)
    source = open_source(str(tmp_path / "in.txt"))
    first.work(CutByPosition(source), [3], ["ok", "failed"])
    (tmp_path / "in.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="fewer items than when the run began"):
        CutByPosition(source, recorded=RecordedItems(database, first.run_id)).next(3)


def test_items_without_a_state_are_known_by_their_place(database: Database) -> None:
    def items(count: int) -> list[object]:
        return [(number for number in ()) if number % 2 else number for number in range(count)]

    first = Process(database)
    with pytest.MonkeyPatch.context() as patch:
        # A generator cannot be sent; what stands for it has its place in its key.
        patch.setattr(Process, "_run", _run_with_place)
        first.work(CutByPosition(items_source(items(6))), [6], ["ok", "ok", "lost", "lost", "ok", "ok"])
        second = Process(database, first.run_id)
        second.work(CutByKey(items_source(items(8)), second.recorded, ()), [4, 4], [])
        third = Process(database, first.run_id)
        third.work(CutByKey(items_source(items(9)), third.recorded, ()), [4, 4], [])
    assert sorted(position for position, _ in second.ran) == [3, 7, 8, 9]
    assert sorted(key for (key,) in second.rows("SELECT key FROM runner.items") if key[0] == "@") == [
        "@1", "@3", "@5", "@7",
    ]  # fmt: skip
    assert [value for _, value in third.ran] == [8]


def _run_with_place(self: Process, read: ItemsRead, outcomes: dict[int, str]) -> None:
    chunk = read.chunk
    rows = []
    for position, value in zip(chunk.positions, unpack(chunk.packed), strict=True):
        if position in outcomes:
            self.ran.append((position, value))
            key = plain_key(value) if isinstance(value, int) else f"@{position}"
            rows += [{**item_row(position, key=key), "chunk": chunk.number}] * (outcomes[position] != "lost")
    self.writer.write([self._record(read, "running"), make_batch(items=rows)])


@settings(max_examples=8)
@given(
    st.lists(st.tuples(st.sampled_from(["ok", "failed", "kept", "timeout"]), st.integers(0, 3)), max_size=30),
    st.booleans(),
)
def test_a_retry_runs_what_failed_once_from_the_ledger_or_the_input(
    database: Database, recorded: list[tuple[str, int]], can_read: bool
) -> None:
    first = Process(database)
    rows = []
    for position, (state, value) in enumerate(recorded):
        kept = {"value": str(value)} if state == "kept" else {}
        row = item_row(position, "failed" if state == "kept" else state, key=plain_key(value))
        rows.append({**row, "chunk": position // 4, **kept})
    if rows:
        first.writer.write([make_batch(items=rows)])
    source = items_source([value for _, value in recorded])
    items = RecordedItems(database, first.run_id)
    cutter = RetryFromLedger(items, CutByKey(source, items, (), retry=True) if can_read else None)
    second = Process(database, first.run_id)
    second.work(cutter, [3, 2, 1], [])
    second.check_positions()
    lacking = [position for position, (state, _) in enumerate(recorded) if state in ("failed", "timeout")]
    kept_ones = [position for position, (state, _) in enumerate(recorded) if state == "kept"]
    assert sorted(position for position, _ in second.ran) == sorted(kept_ones + lacking * can_read)
    assert all(recorded[position][1] == value for position, value in second.ran)
    assert cutter.missed == (0 if can_read else len(lacking))
    assert second.states().get("ok", Counter()).total() == len(recorded) - (0 if can_read else len(lacking))


def test_a_key_that_comes_very_often_is_matched_one_to_one(database: Database) -> None:
    first = Process(database)
    first.writer.write(
        [make_batch(items=[item_row(n, "failed" if n % 3 else "ok", key="k" * 16) for n in range(3000)])]
    )
    matcher = KeyMatcher(RecordedItems(database, first.run_id))
    found = [matcher.match(["k" * 16] * 2000) for _ in range(2)]
    assert [len(each.item) for each in found] == [2000, 1000]
    assert sum(found[0].is_done) == 1000, "those that are done come first"
    assert sorted(found[0].item + found[1].item) == list(range(3000))
    assert matcher.unused_failures() == 0


def test_resumed_items_do_not_wait_for_those_that_are_slow_to_come(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting_by_key, "_SECTION_SECONDS", 0.05)
    first = Process(database)
    first.work(CutByPosition(items_source([0])), [1], ["ok"])
    more = threading.Event()

    def numbers() -> Iterator[int]:
        yield from range(7)  # one done, two whole pieces, and then nothing
        assert more.wait(60)
        yield 7

    monkeypatch.setattr(cutting_by_key, "_SECTION_ITEMS", 1_000)
    cutter = CutByKey(items_source(numbers()), first.recorded, ())
    assert isinstance(cutter.next(100), ChunksSkipped)
    read = cutter.next(100)
    assert isinstance(read, ItemsRead) and unpack(read.chunk.packed) == [1, 2, 3, 4, 5, 6]
    more.set()
    read = cutter.next(100)
    assert isinstance(read, ItemsRead) and unpack(read.chunk.packed) == [7]


def test_at_the_limit_the_end_has_come_and_no_further_item_is_requested() -> None:
    requested: list[int] = []

    def numbers() -> Iterator[int]:
        for n in range(10):
            requested.append(n)
            yield n

    items = NewItems(BackgroundReader(numbers()), limit=2)
    assert items.read(2) == [0, 1]
    before = len(requested)
    assert items.comes_within(60.0)
    assert items.read(5) == [] and len(requested) == before
