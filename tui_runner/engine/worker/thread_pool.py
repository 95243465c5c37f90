"""A pool of threads that take slices of items and execute them, one at a time each.

There is no future per item and no list of results: a thread takes a slice, calls the function with each of its items
and appends what ended well to the slice's block. Threads are daemons, so one that never returns cannot hold up the end
of the process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from tui_runner.engine.worker.attempt import LARGE, Execution, Outcomes
from tui_runner.engine.worker.flight_recorder import ATTEMPT_BITS, FlightRecorder, copied
from tui_runner.engine.worker.slot import Slot, is_overdue, take_claim
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.errors import UserError
from tui_runner.jobs.current import CONTEXT
from tui_runner.store.rows.collect import Rows, collect
from tui_runner.system.clock import time

TIMEOUT_GRACE = 0.2
"""Seconds past its deadline before an attempt is ended from outside: a function that keeps its deadline itself
(an HTTP client that was given it) raises about then, with a better message than ours."""


_JOIN_SECONDS = 0.05
"""Seconds between two looks at threads that have not ended; too short for a user to notice."""
MIN_STUCK = 8
"""Threads that may be stuck in any worker before it is replaced: they only wait, and a new worker costs some memory."""


class Pool(Protocol):
    """Executes items: threads, or tasks of an event loop."""

    def set_threads(self, threads: int) -> None:
        """Execute this many items at once; surplus takers end after the item they have."""

    def end_overdue(self) -> None:
        """End attempts that are past their deadline and do not end by themselves."""

    def stuck(self) -> int:
        """Return how many attempts were ended from outside and still do not return, once they are too many; else 0."""

    def join(self, timeout: float) -> int:
        """After `WorkQueue.end`: wait until everything has ended; returns how many items have not by then."""


class _WorkerThread(threading.Thread):
    """One thread of the pool."""

    def __init__(self, pool: ThreadPool, number: int) -> None:
        super().__init__(name=f"item-{number}", daemon=True)
        self._pool = pool
        self.slot = pool.queue.slot(pool.recorder.take_slot())

    def run(self) -> None:
        """Execute slices until the queue says to end, or an attempt was ended from outside."""
        pool, slot = self._pool, self.slot
        CONTEXT.set(slot)
        try:
            while pool.queue.take(slot):
                if not self._execute(slot):
                    return  # a fresh thread has taken this one's place
                pool.outcomes.put(slot.block)
        except BaseException as error:  # a function has changed what this needs
            pool.on_broken(error)
        finally:
            pool.lanes.discard(self)
            pool.left_behind.discard(self)
            pool.recorder.give_back(slot.number)

    def _execute(self, slot: Slot) -> bool:
        """Execute the items of a slice; False when an attempt was ended from outside.

        This is the loop that everything else is there for: what stands in it is paid for by every item.
        """
        execution, outcomes, notes = self._pool.execution, self._pool.outcomes, self._pool.recorder.slots
        begin, function, clock = execution.begin, execution.function, time.monotonic
        todo, chunk, number = slot.todo, slot.chunk, slot.number
        positions, add = chunk.positions, slot.block.items.append
        now = slot.started
        mark = 0
        while todo:
            try:
                index = todo.popleft()
            except IndexError:  # another thread has recalled the rest at this moment
                break
            outcome = None
            rows: Rows | None = None
            try:
                value = begin(slot, index, now)
                mark = positions[index] << ATTEMPT_BITS | slot.attempt  # `note`, without its call
                notes[number] = mark
                rows = collect(function(value))
                if slot.added is not None:
                    rows = replace(rows, added=tuple(slot.added))
            # A function may raise SystemExit, KeyboardInterrupt or GeneratorExit: they end the item, not the worker.
            except BaseException as error:
                now = clock()
                try:
                    outcome = execution.failed(slot, error, now)
                except BaseException as fault:  # no memory, say: the item fails, the thread continues
                    outcome = execution.failed(slot, fault, now)
            else:
                now = clock()
            if copied:
                os._exit(0)
            notes[number] = -mark
            if not take_claim(slot.claim):
                return False
            if rows is not None and rows.nbytes >= LARGE:
                outcome = execution.end(slot, rows, now)
                if outcome is None:
                    outcomes.count(rows.nbytes)
            if outcome is not None:
                outcomes.put_other(outcome)
            elif rows is not None:
                add((index, slot.started, now, rows))
        slot.index = -1
        return True


class ThreadPool:
    """Executes items in threads. See `Pool`.

    Args:
        queue: where items come from.
        execution: how one is executed.
        outcomes: where outcomes go.
        recorder: where each thread notes what it executes.
        on_broken: called when a thread cannot continue, outside of any item.
    """

    def __init__(
        self,
        queue: WorkQueue,
        execution: Execution,
        outcomes: Outcomes,
        recorder: FlightRecorder,
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self.queue = queue
        self.execution = execution
        self.outcomes = outcomes
        self.recorder = recorder
        self.lanes: set[_WorkerThread] = set()
        self.left_behind: set[_WorkerThread] = set()
        """Threads whose attempt was ended from outside and that have not returned from it."""
        self._started = 0
        self.on_broken = on_broken
        queue.on_missing = self._start

    def set_threads(self, threads: int) -> None:
        """Execute this many items at once, as items come; surplus threads end after the item they have."""
        self._start(self.queue.set_lanes(threads, as_needed=True))

    def end_overdue(self) -> None:
        """Record attempts that are past their deadline, and let fresh threads take their threads' places."""
        if self.execution.timeout is None:
            return
        now = time.monotonic()
        for lane in list(self.lanes):
            slot = lane.slot
            claim = slot.claim
            if not is_overdue(claim, now - TIMEOUT_GRACE):
                continue
            self.left_behind.add(lane)  # before it can learn of it: it says itself when it is not left behind any more
            if not take_claim(claim):
                self.left_behind.discard(lane)
                continue
            self.lanes.discard(lane)
            self.outcomes.put_other(self.execution.time_out(slot, now))
            self.outcomes.put(slot.block)
            self.queue.abandon(slot)
            self._start(1)

    def stuck(self) -> int:
        """Return how many threads do not come back, once they are as many as those that work; else 0."""
        stuck = len(self.left_behind)
        return stuck if stuck >= max(MIN_STUCK, len(self.lanes)) else 0

    def join(self, timeout: float) -> int:
        """Wait until every thread has ended; returns how many have not within `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.lanes and (left := end - time.monotonic()) > 0:
            # In short waits: a thread whose item passes its deadline meanwhile is not waited for any more.
            for lane in list(self.lanes):
                if lane.is_alive():
                    lane.join(min(left, _JOIN_SECONDS))
                    break
            else:
                time.sleep(_JOIN_SECONDS)  # one is about to start or has just ended
        return len(self.lanes)

    def _start(self, count: int) -> None:
        for _ in range(count):
            lane = _WorkerThread(self, self._started)
            self._started += 1
            self.lanes.add(lane)
            try:
                lane.start()
            except RuntimeError:  # there can be no more threads
                self.lanes.discard(lane)
                raise UserError(
                    f"the system allows a worker no more threads than {len(self.lanes):,}", do="use fewer --threads"
                ) from None
