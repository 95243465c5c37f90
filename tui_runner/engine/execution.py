"""One attempt at one item: call the function, make its result rows, say how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tui_runner.engine.http_answer import retry_after
from tui_runner.engine.outcome import Ending, Outcome
from tui_runner.engine.protocol import Refused
from tui_runner.engine.retry import RetryPolicy
from tui_runner.engine.work import Task
from tui_runner.errors import ItemError, RowError
from tui_runner.jobs.current import CONTEXT
from tui_runner.store.rows.collect import MAX_ITEM_BYTES, Rows, collect, too_large
from tui_runner.text.describe import Failure, describe

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
