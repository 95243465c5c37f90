"""The pools, at moments that are hard to hit: an attempt ends just when it is ended from outside."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.waiting import eventually

from tui_runner.engine.packed_items import pack
from tui_runner.engine.protocol import OpenChunk
from tui_runner.engine.worker.async_pool import AsyncPool
from tui_runner.engine.worker.attempt import Execution, Outcomes
from tui_runner.engine.worker.flight_recorder import FlightRecorder
from tui_runner.engine.worker.retry import RetryPolicy
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.engine.worker.thread_pool import ThreadPool
from tui_runner.errors import UserError


class Bench:
    """A pool of `pool_type` that calls `function` with each of `items`, and what came out of it."""

    def __init__(self, pool_type, function, items, *, threads, rule=lambda _: False):
        self.queue = WorkQueue(write_log=lambda *_: None, on_exhausted=lambda _: None)
        self.outcomes = Outcomes(1 << 20, lambda _: None, threads=lambda: threads)
        self.execution = Execution(function, RetryPolicy(0, rule), 3600.0)
        self.broken: list[BaseException] = []
        self.pool = pool_type(self.queue, self.execution, self.outcomes, FlightRecorder(), self.broken.append)
        self.items = items
        self.queue.open(OpenChunk(0, range(len(items)), pack(items)))
        self.pool.set_threads(threads)
        self.ended = []

    def overdue(self, item):
        """From now on the attempt at this item, which is being executed, is past its deadline."""
        (slot,) = (slot for _, _, slot in self.queue.in_flight() if slot.value == item)
        slot.claim[0] = 0.0

    def until_ended(self, items):
        """Return how each of `items` items has ended."""

        def all_have():
            ended, others = self.outcomes.take(self.queue.blocks())
            self.ended += [(self.items[item[0]], "ok") for _, part in ended for item in part]
            self.ended += [(self.items[outcome.index], outcome.ending.value) for outcome in others]
            return len(self.ended) >= items

        eventually(all_have, "the end of all items")
        return dict(self.ended)

    def close(self):
        self.queue.end()
        assert self.pool.join(60.0) == 0


@pytest.fixture
def bench():
    made = []

    def make(*args, **settings):
        made.append(Bench(*args, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_coroutine_that_ends_while_its_end_is_on_its_way_takes_no_other_item_with_it(bench):
    may_end, blocks, unblocked = asyncio.Event(), threading.Event(), threading.Event()

    async def work(item):
        if item == "late":
            await may_end.wait()
            return
        if item == "blocker":
            may_end.set()  # the other one continues as soon as the loop is free …
            blocks.set()
            unblocked.wait()
        for _ in range(5):
            await asyncio.sleep(0)

    made = bench(AsyncPool, work, ["late", "blocker", "next", "last"], threads=2)
    blocks.wait()
    made.overdue("late")
    made.pool.end_overdue()  # … before it hears of this
    unblocked.set()
    assert made.until_ended(4) == {"late": "timeout", "blocker": "ok", "next": "ok", "last": "ok"}


def test_a_coroutine_past_its_deadline_has_timed_out_as_a_thread_would_have_and_one_that_says_so_itself_failed(bench):
    async def work(item):
        if item == "itself":
            raise TimeoutError("the server's")
        await asyncio.Event().wait()

    made = bench(AsyncPool, work, ["itself", "late"], threads=1)
    eventually(lambda: any(slot.value == "late" for _, _, slot in made.queue.in_flight()), "the start of the second")
    made.overdue("late")
    made.pool.end_overdue()
    assert made.until_ended(2) == {"itself": "failed", "late": "timeout"}


def test_a_coroutine_that_outlives_its_cancellation_takes_no_further_item(bench):
    asked, may_end = asyncio.Event(), asyncio.Event()
    together, most = set(), []

    async def work(item):
        if item == "stubborn":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                asked.set()
            await may_end.wait()
            return
        if item == "first":
            await asked.wait()
            may_end.set()
        together.add(item)
        most.append(len(together))
        for _ in range(5):
            await asyncio.sleep(0)
        together.discard(item)

    items = ["stubborn", "first", *"abcdefgh"]
    made = bench(AsyncPool, work, items, threads=1)
    eventually(lambda: any(True for _ in made.queue.in_flight()), "the start of the first item")
    made.overdue("stubborn")
    made.pool.end_overdue()
    assert made.until_ended(len(items)) == {**dict.fromkeys(items, "ok"), "stubborn": "timeout"}
    assert max(most) == 1


def test_a_thread_that_comes_back_just_when_it_is_given_up_is_not_left_behind(bench):
    may_end = threading.Event()
    made = bench(ThreadPool, lambda _: may_end.wait() and None, ["late"], threads=1)
    eventually(lambda: any(True for _ in made.queue.in_flight()), "the start of the item")
    (consumer,) = made.pool.consumers

    class ComesBack(list):
        def pop(self):
            super().pop()
            may_end.set()
            consumer.join()

    consumer.slot.claim = ComesBack([3600.0])
    made.overdue("late")
    made.pool.end_overdue()
    assert made.until_ended(1) == {"late": "timeout"}
    assert not made.pool.left_behind


def test_several_slow_items_in_a_row_hold_up_neither_each_other_nor_what_follows(bench):
    may_end = threading.Event()
    quick, slow, after = [f"quick {n}" for n in range(3_000)], ["a", "b", "c"], ["d", "e"]

    def work(item):
        if item in slow:
            may_end.wait()

    # After thousands of quick ones a slice has hundreds of items: the slow ones are in one slice, with what follows.
    made = bench(ThreadPool, work, [*quick, *slow, *after], threads=5)
    assert set(made.until_ended(len(quick) + len(after))) == {*quick, *after}
    assert sorted(slot.value for _, _, slot in made.queue.in_flight()) == slow
    may_end.set()
    assert len(made.until_ended(len(made.items))) == len(made.items)


@pytest.mark.parametrize("pool_type", [ThreadPool, AsyncPool])
def test_an_item_ends_whatever_the_users_rule_raises(bench, pool_type):
    def rule(_):
        raise SystemExit("mine")

    async def coroutine(item):
        raise ValueError(item)

    def function(item):
        raise ValueError(item)

    made = bench(pool_type, coroutine if pool_type is AsyncPool else function, ["a", "b"], threads=1, rule=rule)
    assert made.until_ended(2) == {"a": "failed", "b": "failed"}


def test_a_task_of_an_item_that_raises_system_exit_ends_the_item_and_not_the_loop(bench):
    async def leave():
        raise SystemExit("mine")

    async def work(item):
        if item == "leaves":
            await asyncio.gather(leave())
        await asyncio.sleep(0)

    made = bench(AsyncPool, work, ["leaves", "stays", "next"], threads=2)
    assert made.until_ended(3) == {"leaves": "failed", "stays": "ok", "next": "ok"}


def test_more_threads_than_the_system_allows_is_an_error_that_says_so(bench, monkeypatch):
    made = bench(ThreadPool, str, ["a"] * 9, threads=2)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(UserError, match="a worker only 2 threads; use fewer --threads"):
        made.pool.set_threads(100_000)


@pytest.mark.parametrize("pool_type", [ThreadPool, AsyncPool])
def test_no_more_start_than_there_are_items(bench, pool_type):
    function = _async_str if pool_type is AsyncPool else str
    made = bench(pool_type, function, ["a", "b", "c"], threads=100_000)
    assert made.queue.consumers == 3
    made.queue.open(OpenChunk(1, range(3, 7), pack(["d", "e", "f", "g"])))
    assert made.queue.consumers == 3
    made.queue.start_missing()
    assert made.queue.consumers == 7, "nobody has collected those that have ended"
    assert made.queue.wanted_consumers == 100_000


async def _async_str(item):
    return str(item)
