"""The items a worker has to execute, and the one place its threads get them from.

Threads take from a plain `deque`, whose `popleft` needs no lock; everything that happens seldom (an empty queue, a
pause, too many unwritten bytes, fewer threads, a rate) sets `_attention`, which sends them through one lock instead.
Measured: 0.4 µs an item, where `submit` and `as_completed` of `concurrent.futures` cost 7 to 19.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tui_runner.engine.limits import RateLimit
from tui_runner.engine.protocol import Counts, OpenChunk, Refused, unpack
from tui_runner.engine.worker.retry import RetryBudget
from tui_runner.inputs.keys import KeyColumns, keyed, plain_key, position_key
from tui_runner.text.describe import item_text


@dataclass(slots=True, eq=False)
class OpenedChunk:
    """A chunk as its worker has it. The collector owns the counters; only `WorkQueue` changes the rest.

    `unended` counts the items without a final outcome; the chunk is finished at 0. `values` are its items, packed: a
    function may have changed those that it was called with.
    """

    number: int
    unended: int
    values: bytes = b""
    paused: bool = False
    cancelled: bool = False
    done: int = 0
    failed: int = 0
    cancelled_items: int = 0
    retries: int = 0
    rows: int = 0
    busy_seconds: float = 0.0

    def counts(self) -> Counts:
        """Its counters, for a report."""
        return Counts(self.done, self.failed, self.cancelled_items, self.retries, self.rows, self.busy_seconds)


@dataclass(slots=True, eq=False)
class Task:
    """One attempt at one item; also what `current` answers from (`current.ItemContext`).

    Attributes:
        chunk: the chunk it belongs to.
        index: which of the items of the chunk it is.
        position: position of the item in the input.
        key: key of the item.
        value: the item.
        attempt: number of this attempt, from 1, counted across workers.
        first_attempt: number of the attempt from which retries are counted.
        last: whether no other item of the chunk is waiting behind it in the queue.
        write_log: takes (level, text, task).
        deadline: when the attempt times out, by `time.monotonic()`.
        superseded: whether its result would be dropped.
        claim: a token that whoever ends the attempt takes; None where there is no timeout to compete with.
    """

    chunk: OpenedChunk
    index: int
    position: int
    key: str
    value: Any
    attempt: int
    first_attempt: int
    last: bool
    write_log: Callable[[str, str, Task], None]
    deadline: float | None = None
    superseded: bool = False
    claim: list[None] | None = None

    @property
    def is_first(self) -> bool:
        """Whether the item has not been tried before, in this worker."""
        return self.attempt == self.first_attempt

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self.superseded or self.chunk.cancelled

    def log(self, level: str, text: str) -> None:
        """Add a line to the run's log."""
        self.write_log(level, text, self)

    def again(self) -> Task:
        """The next attempt, as an object of its own: a thread that never returns may still hold this one."""
        return Task(
            self.chunk,
            self.index,
            self.position,
            self.key,
            self.value,
            self.attempt + 1,
            self.first_attempt,
            False,
            self.write_log,
        )


@dataclass(order=True, slots=True)
class _Delayed:
    """A task in the heap of those that wait for their next attempt."""

    due: float
    order: int
    task: Task = field(compare=False)


class _End:
    """Tells a taker to end."""


class WorkQueue:
    """Open chunks, their items in order, and whether items may be started now.

    Args:
        write_log: what tasks log with.
        on_exhausted: called with the number of a chunk whose last waiting item was taken.
        on_change: called whenever somebody who waits should look again; for pools that do not wait in threads.
        rate: items started per second, None for no bound.
        budget: how many retries may be made, None for no bound.
        key_columns: what keys are made of, see `inputs.keys`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        write_log: Callable[[str, str, Task], None],
        on_exhausted: Callable[[int], None],
        on_change: Callable[[], None] = lambda: None,
        rate: float | None = None,
        budget: RetryBudget | None = None,
        key_columns: KeyColumns = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget
        self._key_columns = key_columns
        self._write_log = write_log
        self._on_exhausted = on_exhausted
        self.on_change = on_change
        self._clock = clock
        self._ready: deque[Task] = deque()
        self._held: dict[int, list[Task]] = {}
        self._delayed: list[_Delayed] = []
        self._order = itertools.count()
        self.chunks: dict[int, OpenedChunk] = {}
        self._limit = RateLimit(rate) if rate else None
        self._paused = False
        self._passes = 0
        """Items that may be started although everything is paused: one, or none."""
        self._throttled = False
        self._braked = False
        self._ended = False
        self._lanes = 0
        self._wanted_lanes = 0
        self._changed = threading.Condition(threading.Lock())
        self._attention = True

    # --- taking items: called by many threads -------------------------------------------------------------

    def take(self) -> Task | None:
        """The next task; waits for one. None tells the thread to end, and counts it as ended."""
        if not self._attention:
            try:
                task = self._ready.popleft()
            except IndexError:
                pass
            else:
                if task.last:
                    self._on_exhausted(task.chunk.number)
                return task
        with self._changed:
            while (answer := self._poll()) is None or isinstance(answer, float):
                self._changed.wait(answer)
        if isinstance(answer, _End):
            return None
        if answer.last:
            self._on_exhausted(answer.chunk.number)
        return answer

    def poll(self) -> Task | float | None:
        """Like `take`, but never waits: seconds until it is worth asking again, None if that is not known.

        Raises:
            EOFError: the caller is to end, and is counted as ended.
        """
        with self._changed:
            answer = self._poll()
        if isinstance(answer, _End):
            raise EOFError
        if isinstance(answer, Task) and answer.last:
            self._on_exhausted(answer.chunk.number)
        return answer

    def _poll(self) -> Task | float | _End | None:
        if self._ended or self._lanes > self._wanted_lanes:
            self._lanes -= 1
            self._look()
            return _End()
        if (self._paused and not self._passes) or self._throttled or self._braked or not self._ready:
            return None
        if self._limit is not None:
            delay = self._limit.take(self._clock())
            if delay > 0:
                return delay
        try:
            task = self._ready.popleft()
        except IndexError:  # a thread on the fast way was quicker
            return None
        if self._paused:
            self._passes -= 1
        return task

    # --- steering: called by the worker's main thread and the collector ------------------------------------

    def open(self, message: OpenChunk) -> None:
        """Add the items of a chunk; raises whatever unpickling them raises."""
        values = unpack(message.values)
        run = range(len(values)) if message.run is None else message.run
        chunk = OpenedChunk(message.chunk, len(run), values=message.values, paused=message.paused)
        tasks = [self._task(message, chunk, index, values[index]) for index in run]
        tasks[-1].last = True
        with self._changed:
            self.chunks[chunk.number] = chunk
            if chunk.paused:
                self._held[chunk.number] = tasks
            else:
                self._ready.extend(tasks)
            self._look()

    def _task(self, message: OpenChunk, chunk: OpenedChunk, index: int, value: object) -> Task:
        position = message.positions[index]
        before = message.attempts.get(position, 0)
        failed = message.tries.get(position, 0)
        is_plain = type(value) is not Refused
        key = plain_key(keyed(value, self._key_columns), position) if is_plain else position_key(position)
        if position in message.refusals:
            value = Refused("WorkerKilled", message.refusals[position], item_text(value))
            before = max(0, before - 1)  # saying so is no attempt of its own
        return Task(chunk, index, position, key, value, before + 1, before + 1 - failed, False, self._write_log)

    def retry(self, task: Task, delay: float) -> bool:
        """Run the next attempt of `task` once `delay` seconds have passed; false if its chunk was cancelled."""
        with self._changed:
            if task.chunk.cancelled:
                return False
            heapq.heappush(self._delayed, _Delayed(self._clock() + delay, next(self._order), task.again()))
            return True

    def count_ended(self, ok: int, failed: int) -> None:
        """So many items ended well, the first attempts of so many failed: the more, the more retries may be made."""
        if self._budget is not None:
            with self._changed:
                self._budget.count(ok, failed, self._clock())

    def release_due(self) -> None:
        """Let the retries run whose time has come and for which there is room; they go before everything else."""
        now = self._clock()
        budget = self._budget
        with self._changed:
            released = False
            while self._delayed and self._delayed[0].due <= now:
                if budget is not None and not budget.take(self._wanted_lanes, now):
                    break
                task = heapq.heappop(self._delayed).task
                if task.chunk.paused:
                    self._held.setdefault(task.chunk.number, []).insert(0, task)
                else:
                    self._ready.appendleft(task)
                    released = True
            if released:
                self._look()

    def pause(self, number: int | None) -> None:
        """Start no item of a chunk, or none at all, also not the one that was to be let through."""
        with self._changed:
            if number is None:
                self._paused = True
                self._passes = 0
            elif (chunk := self.chunks.get(number)) is not None and not chunk.paused:
                chunk.paused = True
                self._held[number] = self._remove(chunk)
            self._look()

    def resume(self, number: int | None) -> None:
        """Undo `pause`; the items of a resumed chunk go before those that wait."""
        with self._changed:
            if number is None:
                self._paused = False
                self._passes = 0
            elif (chunk := self.chunks.get(number)) is not None and chunk.paused:
                chunk.paused = False
                self._ready.extendleft(reversed(self._held.pop(number, [])))
            self._look()

    def let_one_through(self) -> None:
        """Start one item, now or as soon as there is one, although everything is paused."""
        with self._changed:
            self._passes = int(self._paused)
            self._look()

    def cancel(self, number: int) -> list[Task]:
        """Take the items of a chunk that have not started, or wait for a retry, out of the queue for good."""
        with self._changed:
            chunk = self.chunks.get(number)
            if chunk is None:
                return []
            chunk.cancelled = True
            chunk.paused = False  # a retry that was granted at this very moment must not be held for ever
            tasks = self._remove(chunk) + self._held.pop(number, [])
            tasks += [delayed.task for delayed in self._delayed if delayed.task.chunk is chunk]
            self._delayed = [delayed for delayed in self._delayed if delayed.task.chunk is not chunk]
            heapq.heapify(self._delayed)
        if any(task.last for task in tasks):
            self._on_exhausted(number)
        return tasks

    def forget(self, chunk: OpenedChunk) -> None:
        """The chunk is finished."""
        with self._changed:
            self.chunks.pop(chunk.number, None)

    def set_braked(self, braked: bool) -> None:
        """Whether nothing may be started because this process has too much memory."""
        with self._changed:
            self._braked = braked
            self._look()

    def set_throttled(self, throttled: bool) -> None:
        """Whether nothing may be started because too much waits to be written."""
        if self._throttled != throttled:
            with self._changed:
                self._throttled = throttled
                self._look()

    def set_rate(self, rate: float | None) -> None:
        """Start at most `rate` items per second."""
        with self._changed:
            self._limit = RateLimit(rate) if rate else None
            self._look()

    def set_lanes(self, lanes: int) -> int:
        """How many takers there are to be; returns how many are missing and counts them as started."""
        with self._changed:
            self._wanted_lanes = lanes
            missing = max(0, lanes - self._lanes)
            self._lanes += missing
            self._look()
            return missing

    def end(self) -> None:
        """Start nothing any more: every taker ends at its next `take`."""
        with self._changed:
            self._ended = True
            self._look()

    @property
    def lanes(self) -> int:
        """Takers that have not ended."""
        return self._lanes

    @property
    def throttled(self) -> bool:
        """Whether takers wait for rows to be written."""
        return self._throttled

    def _remove(self, chunk: OpenedChunk) -> list[Task]:
        """Take the tasks of `chunk` out of `_ready`, in order, while threads go on taking from it."""
        everything: list[Task] = []
        try:
            while True:
                everything.append(self._ready.popleft())
        except IndexError:
            self._ready.extend(task for task in everything if task.chunk is not chunk)
        return [task for task in everything if task.chunk is chunk]

    def _look(self) -> None:
        """Work out whether the fast way is open, and wake who waits. The caller holds the lock."""
        self._attention = (
            self._paused
            or self._throttled
            or self._braked
            or self._ended
            or self._limit is not None
            or self._lanes > self._wanted_lanes
        )
        self._changed.notify_all()
        self.on_change()
