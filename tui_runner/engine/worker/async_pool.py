"""The pool of a job that is an `async def`: tasks of one event loop, in one thread, with the interface of threads."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from tui_runner.engine.worker.attempt import LARGE, Execution, Outcome, Outcomes
from tui_runner.engine.worker.flight_recorder import FlightRecorder, copied, note
from tui_runner.engine.worker.slot import Slot, is_overdue, take_claim
from tui_runner.engine.worker.task_queue import WorkQueue
from tui_runner.engine.worker.thread_pool import MIN_STUCK, TIMEOUT_GRACE
from tui_runner.jobs.current import CONTEXT
from tui_runner.store.rows.collect import Rows, collect
from tui_runner.system.clock import time

_STUBBORN = 4
"""Times the grace after which a coroutine is left behind: it was cancelled a look ago and still runs."""
_BLOCKED_SECONDS = 3.0
"""Seconds the loop may take to replace a task before a coroutine is said to block it for good."""


class _Lane:
    """One asyncio task of the pool, which executes one item after the other.

    Each item has a slot of its own: a task that it has started and that outlives it must not take the next item for it.
    """

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.scope: asyncio.Timeout | None = None
        """Ends the coroutine of the item that is executed."""


class AsyncPool:
    """Executes coroutines on an event loop of its own. See `pool.Pool`.

    A coroutine that blocks the loop blocks every item of the worker: such a job should be a plain `def`.

    Args:
        queue: where tasks come from.
        execution: how one is called.
        outcomes: where outcomes go.
        recorder: where each task of the loop notes what it executes.
        on_broken: called when a task cannot continue, outside of any item.
    """

    def __init__(
        self,
        queue: WorkQueue,
        execution: Execution,
        outcomes: Outcomes,
        recorder: FlightRecorder,
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self._on_broken = on_broken
        self._queue = queue
        self._recorder = recorder
        self._execution = execution
        self._outcomes = outcomes
        self._lanes: dict[_Lane, asyncio.Task[None]] = {}
        self._overdue: dict[_Lane, float] = {}
        """Lanes that the loop is to replace, and since when."""
        self._left_behind: set[asyncio.Task[None]] = set()
        """Tasks that were cancelled and still run."""
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._thread = threading.Thread(target=self._run_loop, name="items", daemon=True)
        self._thread.start()
        queue.on_change = self._changed
        queue.on_missing = self._replace_waiting

    def set_threads(self, threads: int) -> None:
        """Execute this many items at once, as items come; surplus tasks end after the item they have."""
        missing = self._queue.set_lanes(threads, as_needed=True)
        self._loop.call_soon_threadsafe(self._start, missing)

    def _replace_waiting(self, missing: int) -> None:
        self._loop.call_soon_threadsafe(self._start, missing)

    def end_overdue(self) -> None:
        """Record attempts whose coroutine does not end at its deadline, and start others in their place."""
        if self._execution.timeout is None:
            return
        now = time.monotonic()
        for lane in list(self._lanes):
            slot = lane.slot
            claim = slot.claim
            if is_overdue(claim, now - TIMEOUT_GRACE):
                self._loop.call_soon_threadsafe(self._time_out, lane, slot)
            if is_overdue(claim, now - _STUBBORN * TIMEOUT_GRACE) and take_claim(claim):
                self._overdue[lane] = now
                self._outcomes.put_other(self._execution.time_out(slot, now))
                self._queue.abandon(slot)
                self._loop.call_soon_threadsafe(self._replace, lane, slot)

    def stuck(self) -> int:
        """Return all items of a blocked loop, or the tasks that do not end once they are as many as those that work."""
        now = time.monotonic()
        if any(now - since > _BLOCKED_SECONDS for since in list(self._overdue.values())):
            return len(self._lanes)
        stuck = len(self._left_behind)
        return stuck if stuck >= max(MIN_STUCK, len(self._lanes)) else 0

    def join(self, timeout: float) -> int:
        """Wait until every task has ended, then end the loop. Return how many have not within `timeout` seconds."""
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
                    # A task that an item has made raised it: asyncio lets these through besides handing them to
                    # the code that awaits the task, and the loop can continue.
                    continue
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _changed(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def _start(self, count: int) -> None:
        for _ in range(count):
            lane = _Lane(self._queue.slot(self._recorder.take_slot()))
            self._lanes[lane] = self._loop.create_task(self._work(lane))

    def _time_out(self, lane: _Lane, overdue: Slot) -> None:
        if lane.slot is overdue and lane.scope is not None:
            lane.scope.reschedule(self._loop.time())

    def _replace(self, lane: _Lane, overdue: Slot) -> None:
        self._overdue.pop(lane, None)
        if lane.slot is not overdue:
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

    async def _work(self, lane: _Lane) -> None:
        number = lane.slot.number
        try:
            while lane in self._lanes:  # one that was cancelled, and came back in its own time, has been replaced
                try:
                    delay = self._queue.poll(lane.slot)
                except EOFError:
                    return
                if delay == 0.0:
                    await self._execute(lane, lane.slot)
                    lane.slot = self._queue.slot(number)
                else:
                    await self._look_again(delay)
        except Exception as error:  # a function has changed what this needs
            self._on_broken(error)
        finally:
            self._lanes.pop(lane, None)
            self._recorder.give_back(number)

    async def _look_again(self, delay: float | None) -> None:
        """Wait for a change of the queue, at most `delay` seconds."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    async def _execute(self, lane: _Lane, slot: Slot) -> None:
        """Execute the one item of a slice; what a thread does with many."""
        execution, outcomes = self._execution, self._outcomes
        index = slot.todo.popleft() if slot.todo else -1
        if index < 0:  # it was recalled at this very moment
            self._queue.give_back(slot)
            return
        CONTEXT.set(slot)
        started = time.monotonic()
        chunk = slot.chunk
        outcome: Outcome | None = None
        rows: Rows | None = None
        self._recorder.slots[slot.number] = note(chunk.positions[index], chunk.made.get(index, 0) + 1)
        try:
            value = execution.begin(slot, index, started)
            # Its time is not the loop's to keep: it may be postponed, see `standstill`.
            async with asyncio.timeout(None) as lane.scope:
                returned = await _result(execution.function(value))
            rows = collect(returned)
            if slot.added is not None:
                rows = replace(rows, added=tuple(slot.added))
            del returned
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and lane not in self._lanes:
                raise
            now = time.monotonic()
            is_late = isinstance(error, TimeoutError) and lane.scope is not None and lane.scope.expired()
            outcome = execution.time_out(slot, now) if is_late else execution.failed(slot, error, now)
        finally:
            lane.scope = None
            if copied:
                os._exit(0)
            self._recorder.slots[slot.number] *= -1
        ended = time.monotonic()
        if take_claim(slot.claim):
            if rows is not None and rows.nbytes >= LARGE:
                outcome = execution.end(slot, rows, ended)
                if outcome is None:
                    outcomes.count(rows.nbytes)
            if outcome is not None:
                outcomes.put_other(outcome)
            elif rows is not None:
                slot.block.items.append((index, slot.started, ended, rows))
                outcomes.put(slot.block)
        self._queue.give_back(slot)


async def _result(returned: Coroutine[Any, Any, Any] | Any) -> Any:
    """Return what a coroutine returns, or an async generator yields, as something `rows.collect` takes."""
    if inspect.isasyncgen(returned):
        return [row async for row in returned]
    return await returned
