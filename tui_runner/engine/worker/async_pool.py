"""The pool for a job that is an `async def`: tasks of one event loop in one thread, with the interface of `Pool`."""

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
from tui_runner.engine.worker.thread_pool import MIN_STUCK, TIMEOUT_GRACE, Pool
from tui_runner.jobs.current import CONTEXT
from tui_runner.store.rows.collect import Rows, collect
from tui_runner.system.clock import time

_STUBBORN = 4
"""Multiple of `TIMEOUT_GRACE` after its deadline at which a coroutine is abandoned. It was cancelled one
`TIMEOUT_GRACE` after its deadline, so it has had 0.6 s to clean up, and still runs."""
_BLOCKED_SECONDS = 3.0
"""Seconds that the event loop may take to replace a task. If it takes longer, a coroutine blocks the loop, and the
worker is stuck."""


class _Consumer:
    """One asyncio task of the pool, which executes one item after another.

    Each item gets a new slot. A background task that an item has started keeps that item's slot in its context, so it
    cannot be mistaken for the next item.
    """

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.scope: asyncio.Timeout | None = None
        """Timeout scope of the coroutine being awaited; None between items. Rescheduling the scope to the present ends
        the coroutine."""


class AsyncPool(Pool):
    """A pool that executes coroutines in its own event loop. See `thread_pool.Pool`.

    A coroutine that blocks the loop blocks every item of the worker; a job that blocks should be a plain `def`.
    """

    def __init__(
        self,
        queue: WorkQueue,
        execution: Execution,
        outcomes: Outcomes,
        recorder: FlightRecorder,
        on_broken: Callable[[BaseException], None],
    ) -> None:
        super().__init__(queue, execution, outcomes, recorder, on_broken)
        self._consumers: dict[_Consumer, asyncio.Task[None]] = {}
        self._overdue: dict[_Consumer, float] = {}
        """Consumers that the loop has to replace, because their attempts were recorded as timed out; with the time of
        that record."""
        self._left_behind: set[asyncio.Task[None]] = set()
        """Tasks that were cancelled but still run."""
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        """Set when the queue has changed; wakes every task that waits for an item."""
        # daemon: a task that hangs would keep the process from ending
        self._thread = threading.Thread(target=self._run_loop, name="items", daemon=True)
        self._thread.start()
        queue.on_change = self._changed
        queue.on_missing = self.start

    def start(self, count: int) -> None:
        """Make the event loop start `count` tasks."""
        self._loop.call_soon_threadsafe(self._start, count)

    def end_overdue(self) -> None:
        """Cancel coroutines that run `TIMEOUT_GRACE` past their deadline.

        If a coroutine still runs at `_STUBBORN` times this grace, record it as timed out and replace its task.
        """
        if self.execution.timeout is None:
            return
        now = time.monotonic()
        for consumer in list(self._consumers):
            slot = consumer.slot
            claim = slot.claim
            if is_overdue(claim, now - TIMEOUT_GRACE):
                self._loop.call_soon_threadsafe(self._time_out, consumer, slot)
            if is_overdue(claim, now - _STUBBORN * TIMEOUT_GRACE) and take_claim(claim):
                self._overdue[consumer] = now
                self.outcomes.put_other(self.execution.time_out(slot, now))
                self.queue.abandon(slot)
                self._loop.call_soon_threadsafe(self._replace, consumer, slot)

    def stuck(self) -> int:
        """Return the number of tasks that hang in attempts recorded as timed out.

        Return 0 while they are few enough for the worker to continue. If the event loop is blocked, all tasks count.
        """
        now = time.monotonic()
        if any(now - since > _BLOCKED_SECONDS for since in list(self._overdue.values())):
            return len(self._consumers)
        stuck = len(self._left_behind)
        return stuck if stuck >= max(MIN_STUCK, len(self._consumers)) else 0

    def join(self, timeout: float) -> int:
        """Wait until every task has ended, at most `timeout` seconds.

        If all tasks have ended, end the loop and return 0. Otherwise return the number of tasks that have not ended;
        tasks that were replaced are not counted.
        """
        end = time.monotonic() + timeout
        ended = asyncio.run_coroutine_threadsafe(self._ended(), self._loop)
        try:
            ended.result(max(0.0, end - time.monotonic()))
        except TimeoutError:  # tasks are left, or one of them blocks the loop
            return len(self._consumers)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(max(0.1, end - time.monotonic()))
        return 0

    def _run_loop(self) -> None:
        """Run the event loop until `join`; the main function of the thread."""
        asyncio.set_event_loop(self._loop)
        try:
            while True:
                try:
                    self._loop.run_forever()
                    break
                except (SystemExit, KeyboardInterrupt):
                    # A task that an item created has raised this error. asyncio raises errors of these two types from
                    # `run_forever` as well as in the awaiting code. The loop is intact, so it continues.
                    continue
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def _changed(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def _start(self, count: int) -> None:
        for _ in range(count):
            consumer = _Consumer(self.queue.slot(self.recorder.take_slot()))
            self._consumers[consumer] = self._loop.create_task(self._work(consumer))

    def _time_out(self, consumer: _Consumer, overdue: Slot) -> None:
        if consumer.slot is overdue and consumer.scope is not None:
            consumer.scope.reschedule(self._loop.time())

    def _replace(self, consumer: _Consumer, overdue: Slot) -> None:
        """Cancel a task that hangs in an overdue item, and start another in its place."""
        self._overdue.pop(consumer, None)
        if consumer.slot is not overdue:
            return  # the coroutine has just returned, so the consumer executes another item
        stuck = self._consumers.pop(consumer, None)
        if stuck is not None:
            self._left_behind.add(stuck)
            stuck.add_done_callback(self._left_behind.discard)
            stuck.cancel()
            self._start(1)

    async def _ended(self) -> None:
        while self._consumers:
            await asyncio.wait(list(self._consumers.values()))

    async def _work(self, consumer: _Consumer) -> None:
        """Execute items until the queue ends; the coroutine of a task."""
        number = consumer.slot.number
        try:
            while consumer in self._consumers:  # False for an abandoned task that returns late: it was replaced
                try:
                    delay = self.queue.poll(consumer.slot)
                except EOFError:  # the queue has ended, or this consumer is surplus
                    return
                if delay == 0.0:
                    await self._execute(consumer, consumer.slot)
                    consumer.slot = self.queue.slot(number)
                else:
                    await self._look_again(delay)
        except Exception as error:  # the function has broken something that the pool needs
            self.on_broken(error)
        finally:
            self._consumers.pop(consumer, None)
            self.recorder.give_back(number)

    async def _look_again(self, delay: float | None) -> None:
        """Wait until the queue changes, at most `delay` seconds."""
        self._wake.clear()  # only this loop's thread sets it, so no change can be missed between `poll` and here
        with contextlib.suppress(TimeoutError):  # no change: the caller polls again
            async with asyncio.timeout(delay):
                await self._wake.wait()

    async def _execute(self, consumer: _Consumer, slot: Slot) -> None:
        """Execute the one item of a slice; the counterpart of `_WorkerThread._execute`."""
        execution, outcomes = self.execution, self.outcomes
        index = slot.todo.popleft() if slot.todo else -1
        if index < 0:  # the item was recalled a moment ago
            self.queue.give_back(slot)
            return
        CONTEXT.set(slot)
        started = time.monotonic()
        chunk = slot.chunk
        outcome: Outcome | None = None
        rows: Rows | None = None
        self.recorder.slots[slot.number] = note(chunk.positions[index], chunk.made.get(index, 0) + 1)
        try:
            value = execution.begin(slot, index, started)
            # Set no deadline here, because it may be moved after the process was stopped (`suspension`). `end_overdue`
            # checks the deadline and reschedules this scope.
            async with asyncio.timeout(None) as consumer.scope:
                returned = await _result(execution.function(value))
            rows = collect(returned)
            if slot.added is not None:
                rows = replace(rows, added=tuple(slot.added))
            del returned
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and consumer not in self._consumers:
                raise  # `_replace` has cancelled this task and reported the attempt
            now = time.monotonic()
            is_late = isinstance(error, TimeoutError) and consumer.scope is not None and consumer.scope.expired()
            outcome = execution.time_out(slot, now) if is_late else execution.failed(slot, error, now)
        finally:
            consumer.scope = None
            if copied:  # this process is a fork that the function made, see `flight_recorder`
                os._exit(0)
            self.recorder.slots[slot.number] *= -1
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
        self.queue.give_back(slot)


async def _result(returned: Coroutine[Any, Any, Any] | Any) -> Any:
    """Return the result of a coroutine, or a list of the values that an async generator yields."""
    if inspect.isasyncgen(returned):
        return [row async for row in returned]
    return await returned
