"""A pool of threads that take slices of items and execute them one after another.

There is no future per item and no list of results. A thread takes a slice, calls the function with each of its items,
and appends results to the slice's block. Threads are daemons, so that one that never returns cannot keep the process
alive.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

from tui_runner.engine.worker.attempt import LARGE, Execution, Outcomes
from tui_runner.engine.worker.flight_recorder import ATTEMPT_BITS, FlightRecorder, copied
from tui_runner.engine.worker.slot import Slot, is_overdue, take_claim
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.errors import UserError
from tui_runner.jobs.current import CONTEXT
from tui_runner.store.rows.collect import Rows, collect
from tui_runner.system.clock import time

TIMEOUT_GRACE = 0.2
"""Seconds from the deadline of an attempt until it is ended from outside. A function that ends by itself at the
deadline (an HTTP client with a timeout) raises within that time, with a better message than ours."""


_JOIN_SECONDS = 0.05
"""Seconds between two checks for ended threads: a delay too short for a user to notice."""
MIN_STUCK = 8
"""Least number of stuck threads for which a worker is replaced. Fewer stuck threads do little harm, because they only
wait, while a new worker takes time to start and memory."""


class Pool(ABC):
    """The interface of a pool that executes items, in threads or in tasks of an event loop.

    Args:
        queue: source of items.
        execution: begins and ends attempts.
        outcomes: receives ended attempts.
        recorder: records the item of each thread or task, for the case that the worker dies.
        on_broken: called when a thread or task fails outside of any item.
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
        self.on_broken = on_broken

    def set_threads(self, threads: int) -> None:
        """Execute at most `threads` items at once.

        Threads or tasks are started as items come. Surplus ones end after their current item.
        """
        self.start(self.queue.set_consumers(threads, as_needed=True))

    @abstractmethod
    def start(self, count: int) -> None:
        """Start `count` threads or tasks. Raise UserError if the system refuses one."""

    @abstractmethod
    def end_overdue(self) -> None:
        """Record attempts as timed out that run `TIMEOUT_GRACE` past their deadline.

        Replace their threads or tasks, which may never end.
        """

    @abstractmethod
    def stuck(self) -> int:
        """Return the number of threads or tasks that hang in attempts recorded as timed out.

        Return 0 while they are few enough for the worker to continue.
        """

    @abstractmethod
    def join(self, timeout: float) -> int:
        """Wait, after `WorkQueue.end`, until every thread or task has ended, at most `timeout` seconds.

        Return the number of threads or tasks that have not ended. Those that `end_overdue` has replaced are neither
        waited for nor counted.
        """


class _WorkerThread(threading.Thread):
    """One thread of the pool, with its slot."""

    def __init__(self, pool: ThreadPool, number: int) -> None:
        super().__init__(name=f"item-{number}", daemon=True)  # daemon: a thread may hang in an item at the end
        self._pool = pool
        self.slot = pool.queue.slot(pool.recorder.take_slot())

    def run(self) -> None:
        """Execute slices until the queue ends this thread, or until one of its attempts was ended from outside."""
        pool, slot = self._pool, self.slot
        CONTEXT.set(slot)
        try:
            while pool.queue.take(slot):
                if not self._execute(slot):
                    return  # `end_overdue` has started another thread in its place
                pool.outcomes.put(slot.block)
        except BaseException as error:  # the function has broken something that the pool needs
            pool.on_broken(error)
        finally:
            pool.consumers.discard(self)
            pool.left_behind.discard(self)
            pool.recorder.give_back(slot.number)

    def _execute(self, slot: Slot) -> bool:
        """Execute the items of a slice. Return False if an attempt was ended from outside.

        This is the innermost loop of the program, so every item pays for each of its statements.
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
            except IndexError:  # another thread has recalled the rest of the slice
                break
            outcome = None
            rows: Rows | None = None
            try:
                value = begin(slot, index, now)
                # `note`, inlined because a call would slow down every item.
                mark = positions[index] << ATTEMPT_BITS | slot.attempt
                notes[number] = mark
                rows = collect(function(value))
                if slot.added is not None:
                    rows = replace(rows, added=tuple(slot.added))
            # SystemExit, KeyboardInterrupt and GeneratorExit of the function end the item, not the worker.
            except BaseException as error:
                now = clock()
                try:
                    outcome = execution.failed(slot, error, now)
                except BaseException as fault:  # for example MemoryError: the item fails, the thread continues
                    outcome = execution.failed(slot, fault, now)
            else:
                now = clock()
            if copied:  # this process is a fork that the function made, see `flight_recorder`
                os._exit(0)
            notes[number] = -mark
            if not take_claim(slot.claim):  # the timeout was recorded; a late result must not be recorded as well
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


class ThreadPool(Pool):
    """A pool that executes items in threads. See `Pool`."""

    def __init__(
        self,
        queue: WorkQueue,
        execution: Execution,
        outcomes: Outcomes,
        recorder: FlightRecorder,
        on_broken: Callable[[BaseException], None],
    ) -> None:
        super().__init__(queue, execution, outcomes, recorder, on_broken)
        self.consumers: set[_WorkerThread] = set()
        self.left_behind: set[_WorkerThread] = set()
        """Threads whose attempt has timed out and whose function has not returned. Each has a replacement already."""
        self._started = 0
        queue.on_missing = self.start

    def end_overdue(self) -> None:
        """Record attempts as timed out that run `TIMEOUT_GRACE` past their deadline.

        Start a new thread for each of them.
        """
        if self.execution.timeout is None:
            return
        now = time.monotonic()
        for consumer in list(self.consumers):
            slot = consumer.slot
            claim = slot.claim
            if not is_overdue(claim, now - TIMEOUT_GRACE):
                continue
            # Add it before taking the claim: as soon as the claim is taken, the thread may end and remove itself.
            self.left_behind.add(consumer)
            if not take_claim(claim):
                self.left_behind.discard(consumer)
                continue
            self.consumers.discard(consumer)
            self.outcomes.put_other(self.execution.time_out(slot, now))
            self.outcomes.put(slot.block)
            self.queue.abandon(slot)
            self.start(1)

    def stuck(self) -> int:
        """Return the number of stuck threads; 0 if it is below `MIN_STUCK` or below the number of working threads."""
        stuck = len(self.left_behind)
        return stuck if stuck >= max(MIN_STUCK, len(self.consumers)) else 0

    def join(self, timeout: float) -> int:
        """Wait until every thread has ended, at most `timeout` seconds. Return the number of threads that have not."""
        end = time.monotonic() + timeout
        while self.consumers and (left := end - time.monotonic()) > 0:
            # Wait in short steps, because a thread whose item times out meanwhile is removed from `consumers` and no
            # longer waited for.
            for consumer in list(self.consumers):
                if consumer.is_alive():
                    consumer.join(min(left, _JOIN_SECONDS))
                    break
            else:
                time.sleep(_JOIN_SECONDS)  # a thread is in `consumers` shortly before its start and after its end
        return len(self.consumers)

    def start(self, count: int) -> None:
        """Start `count` threads. Raise UserError if the system refuses one."""
        for _ in range(count):
            consumer = _WorkerThread(self, self._started)
            self._started += 1
            self.consumers.add(consumer)
            try:
                consumer.start()
            except RuntimeError:  # the system refuses another thread
                self.consumers.discard(consumer)
                raise UserError(
                    f"the system allows a worker only {len(self.consumers):,} threads", do="use fewer --threads"
                ) from None
