"""A pool of threads that take items and execute them, one at a time each.

There is no future per item and no list of results: a thread takes a task, calls the function and puts the outcome
into a buffer. Threads are daemons, so one that never returns cannot hold up the end of the process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from tui_runner.engine.worker.attempt import Ending, Execution, Outcome, Outcomes
from tui_runner.engine.worker.flight_recorder import FlightRecorder, copied, note
from tui_runner.engine.worker.task_queue import Task, WorkQueue
from tui_runner.errors import UserError
from tui_runner.text.describe import describe

_TIMEOUT_GRACE = 0.2
"""Seconds past its deadline before an attempt is ended from outside: a function that keeps its deadline itself
(an HTTP client that was given it) raises about then, with a better message than ours."""


_JOIN_SECONDS = 0.05
"""Between two looks at who has not ended, which nobody notices."""
MIN_STUCK = 8
"""Threads that may be stuck in any worker before it is replaced: they only wait, and a new worker costs some memory."""


class Pool(Protocol):
    """What executes tasks: threads, or tasks of an event loop."""

    def set_threads(self, threads: int) -> None:
        """Execute this many items at once; surplus takers end after the item they have."""

    def in_flight(self) -> Iterator[tuple[Task, float]]:
        """What is being executed, each with the `time.perf_counter()` of its start; a picture, not exact."""

    def end_overdue(self) -> None:
        """End attempts that are past their deadline and do not end by themselves."""

    def stuck(self) -> int:
        """Attempts that were ended from outside and still do not return, once they are too many; else 0."""

    def join(self, timeout: float) -> int:
        """After `WorkQueue.end`: wait until everything has ended; returns how many items have not by then."""


class _WorkerThread(threading.Thread):
    """One thread of the pool. It alone writes `task` and `started`; others read them."""

    def __init__(self, pool: ThreadPool, number: int) -> None:
        super().__init__(name=f"item-{number}", daemon=True)
        self._pool = pool
        self._slot = pool.recorder.take_slot()
        self.task: Task | None = None
        self.started = 0.0

    def run(self) -> None:
        """Execute tasks until the queue says to end, or an attempt was ended from outside."""
        queue, execution, outcomes = self._pool.queue, self._pool.execution, self._pool.outcomes
        slots, slot = self._pool.recorder.slots, self._slot
        try:
            while (task := queue.take()) is not None:
                self.started = time.perf_counter()
                self.task = task
                slots[slot] = note(task.position, task.attempt)
                try:
                    outcome = execution.run(task)
                except BaseException as error:  # no memory, say: the item fails, the thread goes on
                    outcome = Outcome(task, Ending.FAILED, 0.0, time.time(), failure=describe(error))
                if copied:
                    os._exit(0)
                slots[slot] = 0
                self.task = task = None
                if outcome is None:
                    return  # a fresh thread has taken this one's place
                outcomes.put(outcome)
                del outcome  # its rows must not outlive their flush while this thread waits for the next item
        finally:
            self._pool.lanes.discard(self)
            self._pool.left_behind.discard(self)
            self._pool.recorder.give_back(slot)


class ThreadPool:
    """Executes items in threads. See `Pool`.

    Args:
        queue: where tasks come from.
        execution: how one is executed.
        outcomes: where outcomes go.
        recorder: where each thread notes what it executes.
    """

    def __init__(self, queue: WorkQueue, execution: Execution, outcomes: Outcomes, recorder: FlightRecorder) -> None:
        self.queue = queue
        self.execution = execution
        self.outcomes = outcomes
        self.recorder = recorder
        self.lanes: set[_WorkerThread] = set()
        self.left_behind: set[_WorkerThread] = set()
        """Threads whose attempt was ended from outside and that have not returned from it."""
        self._started = 0

    def set_threads(self, threads: int) -> None:
        """Execute this many items at once; surplus threads end after the item they have."""
        self._start(self.queue.set_lanes(threads))

    def in_flight(self) -> Iterator[tuple[Task, float]]:
        """What is being executed, each with the `time.perf_counter()` of its start; a picture, not exact."""
        for lane in list(self.lanes):
            task = lane.task
            if task is not None:
                yield task, lane.started

    def end_overdue(self) -> None:
        """Record attempts that are past their deadline, and let fresh threads take their threads' places."""
        if self.execution.timeout is None:
            return
        now = time.monotonic()
        for lane in list(self.lanes):
            task = lane.task
            if task is None or task.deadline is None or now < task.deadline + _TIMEOUT_GRACE:
                continue
            self.left_behind.add(lane)  # before it can learn of it: it says itself when it is not left behind any more
            outcome = self.execution.time_out(task, time.perf_counter() - lane.started)
            if outcome is None:
                self.left_behind.discard(lane)
                continue
            self.lanes.discard(lane)
            self._start(1)
            self.outcomes.put(outcome)

    def stuck(self) -> int:
        """Threads that do not come back, once they are as many as those that work; else 0."""
        stuck = len(self.left_behind)
        return stuck if stuck >= max(MIN_STUCK, len(self.lanes)) else 0

    def join(self, timeout: float) -> int:
        """Wait until every thread has ended; returns how many have not within `timeout` seconds."""
        end = time.monotonic() + timeout
        while self.lanes and (left := end - time.monotonic()) > 0:
            # Not for long: one that is past its deadline meanwhile is to be waited for no more.
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
