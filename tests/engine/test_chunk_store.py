"""Chunks that have ended, in columns, and the snapshots that share them."""

from __future__ import annotations

import gc
import itertools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import snapshot_harness
from support.scheduler_harness import SchedulerHarness
from support.simulated_world import cut

from tui_runner.engine.progress.chunk_views import ChunkView, ChunkViews
from tui_runner.engine.protocol import Counts
from tui_runner.engine.scheduling.chunk import Chunk, ItemsLeft
from tui_runner.engine.scheduling.chunk_store import ChunkStore
from tui_runner.engine.scheduling.events import ItemsRejected, RetryChunks
from tui_runner.engine.states import ChunkState

ROOM = 130
"""Bytes that an ended chunk may take, everything of the scheduler and of the snapshots together. It takes 102; other
threads of the process of the tests may allocate some kilobytes meanwhile."""


def figures(view: ChunkView) -> tuple[object, ...]:
    """Return everything that a view shows."""
    return tuple(getattr(view, name) for name in ChunkView.__dataclass_fields__)


def new_chunk(number: int, items: int = 4) -> Chunk:
    first = number * items
    left = ItemsLeft(range(first, first + items), range(first, first + items))
    return Chunk(number, first, items, 0, left, started_at=float(number))


def end(chunk: Chunk, failed: int = 0) -> None:
    """All that is left of it ends."""
    items = len(chunk.left)
    failed = min(failed, items)
    chunk.set_state(ChunkState.RUNNING)
    chunk.cross_off([0, items], {chunk.left.positions[index]: 1 for index in range(failed)})
    chunk.count(Counts(items - failed, failed, busy_seconds=0.5))
    chunk.leave_worker()
    chunk.set_state(ChunkState.FAILED if failed else ChunkState.DONE)
    chunk.ended_at = chunk.started_at + 3.0


def test_an_ended_chunk_is_what_it_was() -> None:
    store = ChunkStore()
    chunk = new_chunk(0)
    store.add(chunk)
    chunk.paused_seconds = 1.0
    end(chunk, failed=2)
    chunk.reject(1, 5)
    store.end(chunk)
    same = store[0]
    assert same is not chunk and 0 not in store.open
    for name in ("number", "first_item", "items", "state", "counts", "failures", "rejected", "rejected_rows"):
        assert getattr(same, name) == getattr(chunk, name), name
    assert same.elapsed(100.0) == chunk.elapsed(100.0) == 2.0
    assert not same.left and same.worker is None


@pytest.mark.slow
def test_an_ended_chunk_takes_a_hundred_bytes_of_the_scheduler_and_all_snapshots() -> None:
    desk = snapshot_harness.SnapshotHarness(chunks=0, total=None)
    chunks = iter(cut([[False] * 50] * 3_000))

    def run(number: int) -> int:
        for chunk in itertools.islice(chunks, number):
            desk.handle(chunk)
            desk.end(chunk.number, good=50)
            if chunk.number % 20 == 0:
                desk.now += 0.25
                desk.picture()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = run(500)  # what is bounded has grown
        assert run(2_000) - before < ROOM * 2_000
    finally:
        tracemalloc.stop()


def test_failed_items_of_an_ended_chunk_of_scattered_positions_run_again() -> None:
    desk = SchedulerHarness(chunks=0, ended=False)
    for event in cut([[False] * 4] * 3, by_key=True):
        desk(event)
    positions = list(desk.scheduler.chunks[1].left)
    assert positions == [7, 6, 9, 8]
    desk.finish(1, failed=[6], cancelled=[8])
    desk.finish(0)
    assert desk.state(1) is ChunkState.CANCELLED and 1 not in desk.scheduler.chunks.open
    assert desk.sent_items(desk(RetryChunks([1]))) == [(0, 1, [6, 8])]
    desk.finish(1)
    assert desk.state(1) is ChunkState.DONE
    assert desk.scheduler.counts == Counts(done=8)


def test_rows_that_are_refused_after_the_end_of_their_chunk_count_as_failed() -> None:
    desk = SchedulerHarness(chunks=1)
    desk.finish(0)
    before = desk.scheduler.chunks.share()
    desk(ItemsRejected({0: [0]}, {0: 1}, "it is no UTF-8"))
    chunk = desk.scheduler.chunks[0]
    assert (chunk.state, chunk.counts.failed, chunk.rejected) == (ChunkState.FAILED, 1, 1)
    assert before.failed[0] == 0, "an earlier snapshot shows what it showed"


@settings(max_examples=33)
@given(st.lists(st.tuples(st.sampled_from(["add", "end", "again", "refuse", "look"]), st.integers(0, 5)), max_size=60))
def test_snapshots_stay_as_they_are_and_know_in_what_they_differ(steps: list[tuple[str, int]]) -> None:
    store = ChunkStore()
    taken: list[tuple[ChunkViews, list[tuple[object, ...]]]] = []
    drawn: dict[Chunk, ChunkView] = {}
    for step, place in steps:
        numbers = sorted(store.open) if step in ("end", "look") else sorted({*range(len(store))} - {*store.open})
        chunk = store[numbers[place % len(numbers)]] if numbers else None
        if step == "add":
            store.add(new_chunk(len(store)))
        elif step == "look":
            unended = {
                number: drawn.setdefault(chunk, ChunkView(number, chunk.state, chunk.first_item, chunk.items))
                for number, chunk in store.open.items()
            }
            views = ChunkViews(len(store), unended, store.share(), store.ended)
            taken.append((views, [figures(view) for view in views]))
        elif chunk is not None and step == "end":
            end(chunk, failed=place % 3)
            store.end(chunk)
        elif chunk is not None and step == "again" and chunk.failures:
            chunk.run_again(20.0)
            chunk.set_state(ChunkState.WAITING)
            store.reopen(chunk)
        elif chunk is not None and step == "refuse" and chunk.counts.done:
            chunk.reject(1, 0)
            chunk.set_state(ChunkState.FAILED)
            store.end(chunk)
    for views, shown in taken:
        assert [figures(view) for view in views] == [figures(view) for view in views.scan()] == shown
        assert [views.state(number) for number in range(len(views))] == [state for _, state, *_ in shown]
    for (old, before), (new, after) in itertools.combinations(taken, 2):
        differ = {number for number, now in enumerate(after) if number >= len(before) or before[number] != now}
        assert differ <= new.changed_since(old)
    for (old, before), (new, after) in itertools.pairwise(taken):
        if before == after:
            assert not new.changed_since(old) or len(new.changed_since(old)) <= len(steps)
