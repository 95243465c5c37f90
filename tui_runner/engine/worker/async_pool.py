"""The pool of a job that is an `async def`: tasks of one event loop, in one thread, with the interface of threads."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from tui_runner.engine.worker.attempt import Execution, Outcomes
from tui_runner.engine.worker.flight_recorder import FlightRecorder, copied, note
from tui_runner.engine.worker.task_queue import Task, WorkQueue
from tui_runner.engine.worker.thread_pool import MIN_STUCK
from tui_runner.errors import ItemError, RowError
from tui_runner.store.rows.collect import Rows, collect
from tui_runner.text.describe import Failure

_TIMEOUT_GRACE = 0.2
"""Seconds past its deadline before an attempt is cancelled; see `pool`."""
_BLOCKED_SECONDS = 3.0
"""Seconds the loop may take to replace a task before a coroutine is said to block it for good."""


class _WorkerThread:
    """One asyncio task of the pool: `task` and `started` say what it executes."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.task: Task | None = None
        self.started = 0.0


class AsyncPool:
    """Executes coroutines on an event loop of its own. See `pool.Pool`.

    A coroutine that blocks the loop blocks every item of the worker: such a job should be a plain `def`.

    Args:
        queue: where tasks come from.
        execution: how one is called.
        outcomes: where outcomes go.
        recorder: where each task of the loop notes what it executes.
    """

    def __init__(self, queue: WorkQueue, execution: Execution, outcomes: Outcomes, recorder: FlightRecorder) -> None:
        self._queue = queue
        self._recorder = recorder
        self._execution = execution
        self._outcomes = outcomes
        self._lanes: dict[_WorkerThread, asyncio.Task[None]] = {}
        self._overdue: dict[_WorkerThread, float] = {}
        """Lanes that the loop is to replace, and since when."""
        self._left_behind: set[asyncio.Task[None]] = set()
        """Tasks that were cancelled and go on all the same."""
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._thread = threading.Thread(target=self._run_loop, name="items", daemon=True)
        self._thread.start()
        queue.on_change = self._changed

    def set_threads(self, threads: int) -> None:
        """Execute this many items at once; surplus tasks end after the item they have."""
        missing = self._queue.set_lanes(threads)
        self._loop.call_soon_threadsafe(self._start, missing)

    def in_flight(self) -> Iterator[tuple[Task, float]]:
        """What is being executed, each with the `time.perf_counter()` of its start; a picture, not exact."""
        for lane in list(self._lanes):
            task = lane.task
            if task is not None:
                yield task, lane.started

    def end_overdue(self) -> None:
        """Record attempts whose coroutine does not end at its deadline, and start others in their place."""
        if self._execution.timeout is None:
            return
        now = time.monotonic()
        for lane in list(self._lanes):
            task = lane.task
            if task is None or task.deadline is None or now < task.deadline + 2 * _TIMEOUT_GRACE:
                continue
            outcome = self._execution.time_out(task, time.perf_counter() - lane.started)
            if outcome is not None:
                self._overdue[lane] = now
                self._loop.call_soon_threadsafe(self._replace, lane, task)
                self._outcomes.put(outcome)

    def stuck(self) -> int:
        """All items of a loop that is blocked; tasks that do not end, once they are as many as those that work."""
        now = time.monotonic()
        if any(now - since > _BLOCKED_SECONDS for since in list(self._overdue.values())):
            return len(self._lanes)
        stuck = len(self._left_behind)
        return stuck if stuck >= max(MIN_STUCK, len(self._lanes)) else 0

    def join(self, timeout: float) -> int:
        """Wait until every task has ended, then end the loop; returns how many have not within `timeout` seconds."""
        end = time.monotonic() + timeout
        ended = asyncio.run_coroutine_threadsafe(self._ended(), self._loop)
        try:
            ended.result(max(0.0, end - time.monotonic()))
        except TimeoutError:
            return len(self._lanes)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(max(0.1, end - time.monotonic()))
        return 0

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            while True:
                try:
                    self._loop.run_forever()
                    break
                except (SystemExit, KeyboardInterrupt):
                    # A task that an item has made raised it: asyncio lets these through besides handing them to whoever
                    # awaits the task, and the loop can go on.
                    continue
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _changed(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def _start(self, count: int) -> None:
        for _ in range(count):
            lane = _WorkerThread(self._recorder.take_slot())
            self._lanes[lane] = self._loop.create_task(self._work(lane))

    def _replace(self, lane: _WorkerThread, overdue: Task) -> None:
        self._overdue.pop(lane, None)
        if lane.task is not overdue:
            return  # it has just come back from that one: what it executes now is not to be cancelled
        stuck = self._lanes.pop(lane, None)
        if stuck is not None:
            self._left_behind.add(stuck)
            stuck.add_done_callback(self._left_behind.discard)
            stuck.cancel()
            self._start(1)

    async def _ended(self) -> None:
        while self._lanes:
            await asyncio.wait(list(self._lanes.values()))

    async def _work(self, lane: _WorkerThread) -> None:
        try:
            while lane in self._lanes:  # one that was cancelled, and came back in its own time, has been replaced
                try:
                    answer = self._queue.poll()
                except EOFError:
                    return
                if isinstance(answer, Task):
                    await self._execute(lane, answer)
                else:
                    await self._look_again(answer)
        finally:
            self._lanes.pop(lane, None)
            self._recorder.give_back(lane.slot)

    async def _look_again(self, delay: float | None) -> None:
        """Wait for a change of the queue, at most `delay` seconds."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    async def _execute(self, lane: _WorkerThread, task: Task) -> None:
        execution = self._execution
        execution.begin(task)
        rows: Rows | None = None
        failure: Failure | None = None
        lane.started = started = time.perf_counter()
        lane.task = task
        self._recorder.slots[lane.slot] = note(task.position, task.attempt)
        timeout = None if execution.timeout is None else execution.timeout + _TIMEOUT_GRACE
        try:
            async with asyncio.timeout(timeout):
                returned = await _result(execution.call(task))
            rows = collect(returned)
            del returned
        except (ItemError, RowError) as error:
            failure = Failure(type(error).__name__, str(error))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and lane not in self._lanes:
                raise
            failure = execution.failure(task, error)
        finally:
            if copied:
                os._exit(0)
            self._recorder.slots[lane.slot] = 0
            lane.task = None
        outcome = execution.end(task, rows, failure, time.perf_counter() - started)
        if outcome is not None:
            self._outcomes.put(outcome)


async def _result(returned: Coroutine[Any, Any, Any] | Any) -> Any:
    """What a coroutine returns, or an async generator yields, as something `rows.collect` takes."""
    if inspect.isasyncgen(returned):
        return [row async for row in returned]
    return await returned
