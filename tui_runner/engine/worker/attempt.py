"""One attempt at one item: calls the function, and turns what it returns or raises into an outcome.

An exception becomes text at once: keeping it would keep its frames, and with them whatever the function held
(measured: 2 GB where the text takes 2 MB).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from tui_runner.engine.protocol import Refused
from tui_runner.engine.worker.retry import RetryPolicy, retry_after
from tui_runner.engine.worker.task_queue import Task
from tui_runner.errors import ItemError, RowError
from tui_runner.jobs.current import CONTEXT
from tui_runner.store.rows.collect import MAX_ITEM_BYTES, Rows, collect, too_large
from tui_runner.text.describe import Failure, describe

_MANY_OUTCOMES = 10_000
"""Outcomes from which the collector is called at once: at 5 collections a second, 50,000 items a second."""
_MAX_OUTCOMES = 40_000
"""Outcomes that may wait for the collector before new items do."""
MAX_ROWS = 50_000
"""Rows the collector takes in one go, but for a single larger result. Converting more would keep the interpreter from
the pool's threads for too long; and a flush beyond DuckDB's row group of 122,880 rows leaves groups half full, which a
later checkpoint unpacks in memory to merge them (measured: 330 MB; 50 MB with smaller flushes)."""
_LARGE = 4_096
"""Bytes from which rows are counted at once; smaller ones are counted by the collector, without a lock."""


class Ending(StrEnum):
    """How an attempt ended. All but RETRY are final states of an item, as the ledger calls them."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    RETRY = "retry"
    """Failed, and the item will be tried again."""


@dataclass(slots=True)
class Outcome:
    """The end of one attempt.

    Attributes:
        task: the attempt.
        ending: how it ended.
        seconds: how long it took.
        finished_at: wall clock, seconds since the epoch.
        rows: what it returned, when it ended well.
        failure: why it failed, when it did.
        retry_after: seconds until the next attempt, when there is to be one; the collector grants it, and makes
            the ending RETRY.
    """

    task: Task
    ending: Ending
    seconds: float
    finished_at: float
    rows: Rows | None = None
    failure: Failure | None = None
    retry_after: float | None = None


class Outcomes:
    """Outcomes on their way from many threads to the collector, and the bytes that are not yet written.

    Args:
        max_bytes: unwritten bytes beyond which `set_throttled(True)` is called.
        set_throttled: opens and closes the way for new items.
    """

    def __init__(self, max_bytes: int, set_throttled: Callable[[bool], None]) -> None:
        self._max_bytes = max_bytes
        self._set_throttled = set_throttled
        self._waiting: deque[Outcome] = deque()
        self._lock = threading.Lock()
        self._uncollected = 0
        self.unwritten = 0
        """Bytes of rows that were handed over and are not yet in the database."""
        self.on_put: Callable[[], None] | None = None
        """Called by every thread that has handed over an outcome."""
        self.hurry = threading.Event()
        """Set when the collector should not wait for its next turn."""

    def put(self, outcome: Outcome) -> None:
        """Hand over an outcome; called by many threads."""
        rows = outcome.rows
        self._waiting.append(outcome)
        if rows is not None and rows.nbytes >= _LARGE:
            self._count(rows.nbytes)
        if len(self._waiting) >= _MANY_OUTCOMES:
            self._crowded()
        if self.on_put is not None:
            self.on_put()

    def _crowded(self) -> None:
        if not self.hurry.is_set():
            self.hurry.set()
        if len(self._waiting) >= _MAX_OUTCOMES:
            self._set_throttled(True)

    def take(self) -> list[Outcome]:
        """What waits, in order, up to `MAX_ROWS` rows; called by the collector, which is to hurry when more is left."""
        # Nobody else takes any away, so those that are there now can be had without a lock.
        taken: list[Outcome] = []
        rows = small = large = 0
        for _ in range(min(len(self._waiting), _MAX_OUTCOMES)):
            result = self._waiting[0].rows
            if result is not None:
                if rows + result.count > MAX_ROWS and taken:
                    self.hurry.set()
                    break
                rows += result.count
                if result.nbytes < _LARGE:
                    small += result.nbytes
                else:
                    large += result.nbytes
            taken.append(self._waiting.popleft())
        with self._lock:
            self._uncollected -= large
            self.unwritten += small
        self._judge()
        return taken

    def written(self, nbytes: int) -> None:
        """This many bytes need no longer be kept."""
        with self._lock:
            self.unwritten -= nbytes
        self._judge()

    def _count(self, nbytes: int) -> None:
        with self._lock:
            self.unwritten += nbytes
            self._uncollected += nbytes
        if self.unwritten >= self._max_bytes:
            self._set_throttled(True)
        if self._uncollected >= self._max_bytes // 4:
            self.hurry.set()

    def _judge(self) -> None:
        self._set_throttled(self.unwritten >= self._max_bytes or len(self._waiting) >= _MAX_OUTCOMES)


_NO_CHILDREN = "daemonic processes are not allowed to have children"
"""What multiprocessing says when a function starts processes with it."""


class Execution:
    """How a job's function is called, and what becomes of the attempts that fail.

    Args:
        function: takes an item, returns what the job's function does; a coroutine for a coroutine function.
        policy: when to try again.
        timeout: seconds an attempt may take, None for no bound.
    """

    def __init__(self, function: Callable[[Any], Any], policy: RetryPolicy, timeout: float | None) -> None:
        self.timeout = timeout
        self._function = function
        self._policy = policy

    def begin(self, task: Task) -> None:
        """Make `task` the current item of this thread, and start its clock."""
        CONTEXT.set(task)
        if self.timeout is not None:
            task.deadline = time.monotonic() + self.timeout
            task.claim = [None]

    def call(self, task: Task) -> Any:
        """What the function returns for the item."""
        value = task.value
        if isinstance(value, Refused):
            raise RuntimeError(value.message)
        return self._function(value)

    def run(self, task: Task) -> Outcome | None:
        """Execute the attempt in this thread; None when somebody else has ended it meanwhile."""
        self.begin(task)
        rows: Rows | None = None
        failure: Failure | None = None
        started = time.perf_counter()
        try:
            rows = collect(self.call(task))
        except (ItemError, RowError) as error:
            failure = Failure(type(error).__name__, str(error))
        # A function may raise SystemExit, KeyboardInterrupt or GeneratorExit: they end the item, not the worker.
        except BaseException as error:
            failure = self.failure(task, error)
        seconds = time.perf_counter() - started
        return self.end(task, rows, failure, seconds)

    def failure(self, task: Task, error: BaseException) -> Failure:
        """What an attempt failed with, and whether another one may succeed."""
        if isinstance(task.value, Refused):
            return Failure(task.value.type, task.value.message)
        failure = describe(error)
        if failure.message == _NO_CHILDREN:
            failure = replace(failure, message=f"{_NO_CHILDREN}; --workers N runs items in N processes")
        try:
            transient = self._policy.rule(error)
        except BaseException as fault:  # the rule may be the user's, and the item ends whatever it raises
            task.log("ERROR", f"retry_on raised {type(fault).__name__}: the item is not tried again")
            transient = False
        return replace(failure, transient=True, retry_after=retry_after(error)) if transient else failure

    def end(self, task: Task, rows: Rows | None, failure: Failure | None, seconds: float) -> Outcome | None:
        """The outcome of an attempt that ended by itself; None when it was ended by its timeout before."""
        if task.claim is not None:
            try:
                task.claim.pop()
            except IndexError:
                return None
        if rows is not None and rows.nbytes > MAX_ITEM_BYTES:
            failure = Failure("RowError", too_large(rows.nbytes))
        if failure is None:
            return Outcome(task, Ending.OK, seconds, time.time(), rows)
        return self._failed(task, Ending.FAILED, failure, seconds)

    def time_out(self, task: Task, seconds: float) -> Outcome | None:
        """End an attempt that is past its deadline; None when it has just ended by itself."""
        if task.claim is None:
            return None
        try:
            task.claim.pop()
        except IndexError:
            return None
        task.superseded = True
        failure = Failure("Timeout", f"no result within {self.timeout:g} s", transient=True)
        return self._failed(task, Ending.TIMEOUT, failure, seconds)

    def _failed(self, task: Task, ending: Ending, failure: Failure, seconds: float) -> Outcome:
        attempts = task.attempt - task.first_attempt + 1
        delay = None
        if failure.transient and attempts <= self._policy.retries:
            delay = self._policy.delay(attempts, failure.retry_after)
        return Outcome(task, ending, seconds, time.time(), failure=failure, retry_after=delay)
