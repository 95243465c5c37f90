"""Begins and ends attempts, and passes their results from the pool to the reporter.

The result of a successful item is a tuple in the `Block` of its slice. Any other end of an attempt is an `Outcome`.

An exception is converted to text at once. An exception object keeps its frames, and with them every local variable of
the function (measured: 2 GB, while the texts take 2 MB).
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from tui_runner.engine.worker.flight_recorder import MAX_ATTEMPT
from tui_runner.engine.worker.opened_chunk import Block, Ended, OpenedChunk
from tui_runner.engine.worker.retry import RetryPolicy, asked_host, retry_after, status_of
from tui_runner.engine.worker.slot import Slot
from tui_runner.errors import ItemError, RowError
from tui_runner.jobs.http.host import is_refusal
from tui_runner.jobs.http.host_gate import HostDown, HostGate, ItemPostponed
from tui_runner.store.rows.collect import MAX_ITEM_BYTES, Rows, too_large
from tui_runner.system.clock import time
from tui_runner.text.describe import Failure, describe
from tui_runner.text.items import Refused

_MANY_ITEMS = 5_000
"""Number of ended items at which the reporter is woken before it is due. A message takes a millisecond
(`reporter._SHORTEST`), which is 0.2 µs for each of that many items."""
_MAX_ITEMS = 40_000
"""Number of ended items waiting for the reporter at which no new item starts. Results below `LARGE` bytes are not
counted before the reporter takes them; 40,000 of these have less than 164 MB."""
MAX_ROWS = 50_000
"""Most rows in one batch, unless a single result has more. Converting more would hold the interpreter lock for too
long. And a flush of more rows than DuckDB's row group (122,880) leaves row groups half full. A later checkpoint unpacks
them in memory to merge them (measured: 330 MB, but 50 MB after smaller flushes)."""
LARGE = 4_096
"""A result of at least this many bytes is counted at once by the thread that made it, under the lock. The reporter
counts smaller results, so that threads need no lock for them."""
_FORGETTING = 0.98
"""Factor applied to the estimated size of a large result with each new result, so that the estimate falls when results
become smaller: by half after 34 results."""
_STEP_SECONDS = 0.5
"""Least seconds between two steps of the window (see `Outcomes`). It is about the duration of a flush, because a step
shows its effect only after a flush."""
_NARROWER = 0.7
"""Factor of a step that narrows the window while too many bytes are unwritten. It leads from 500 items to 40 in
3.5 s."""
_WIDER = 1.25
"""Factor of a step that widens the window while the database has nothing to write. Steps up are smaller than steps
down, so that the window settles."""


class Ending(StrEnum):
    """The end of an attempt.

    All members but RETRY are final states of an item; their values are the names in the ledger.
    """

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    RETRY = "retry"
    """The attempt failed, and the item will be tried again."""


@dataclass(slots=True)
class Outcome:
    """An attempt that failed, timed out or was cancelled.

    Attributes:
        chunk: chunk of the item.
        index: index of the item in the chunk.
        attempt: number of the attempt, from 1. For an item that was cancelled between attempts or before the first one,
            the number of attempts made.
        is_first: True if no earlier attempt at the item counts as failed.
        ending: kind of end.
        started: time at which the attempt began, by `time.monotonic()`.
        ended: time at which the attempt ended.
        failure: the error; None if the attempt was cancelled.
        retry_after: seconds until the next attempt; None if no other attempt should follow. If the queue accepts the
            next attempt, the reporter changes `ending` to RETRY.
        host: host that caused the failure, or that the item waits for; empty for none.
        postponed_seconds: seconds until the item runs again, if this attempt does not count: the server named a time
            for a retry, or the host gate sent the item back. None if the attempt counts. If the queue refuses to
            postpone the item, the attempt counts, too.
        refused: True if the host refused the request for now (429, or 503 with `Retry-After`).
    """

    chunk: OpenedChunk
    index: int
    attempt: int
    is_first: bool
    ending: Ending
    started: float
    ended: float
    failure: Failure | None = None
    retry_after: float | None = None
    host: str = ""
    postponed_seconds: float | None = None
    refused: bool = False


class Outcomes:
    """Ended attempts on their way from the threads to the reporter, and the number of bytes not written yet.

    The number of items that may be in flight with `max_bytes` unwritten bytes is the *window*. With more unwritten
    bytes, fewer items may be in flight: the window minus the items whose results make up the excess. The window shrinks
    if unwritten bytes never fell below `max_bytes` since the last step, and grows if they fell below half of it. The
    minimum over a period shows a lasting backlog and ignores short bursts (CoDel, RFC 8289). So the pool settles at the
    speed of the database with about `max_bytes` unwritten. With a constant window of all threads, it settled at
    `max_bytes` plus the results of all threads, and rows waited 13 s.

    Args:
        max_bytes: unwritten bytes up to which all threads execute items.
        set_room: called with the number of items that may be executed at once; None for no limit.
        threads: returns the number of threads when there is no limit.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        max_bytes: int,
        set_room: Callable[[int | None], None],
        threads: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._set_room = set_room
        self._threads = threads
        self._clock = clock
        self._window: float | None = None
        """Items in flight at `max_bytes` unwritten bytes; None for all threads."""
        self._step_at = math.inf
        """Time at which the window may change again, by `clock`."""
        self._least_unwritten = 0
        """Smallest value of `unwritten` since the last step of the window."""
        self._least_before = 0
        """Smallest value of `unwritten` between the two steps before. If `_least_unwritten` is smaller, the backlog
        shrinks already, and the window does not."""
        self._item_seconds = 0.0
        """Seconds that the last item took of a slice with a large result. A step has no effect before such items
        end."""
        self._blocks: deque[Block] = deque()
        self._others: deque[Outcome] = deque()
        self._lock = threading.Lock()
        """Guards `_blocks` and the counters, which all item threads and the reporter change."""
        self._items = 0
        """Number of items in `_blocks` that the reporter has not taken."""
        self._uncollected = 0
        """Bytes of large results in `unwritten` that the reporter has not taken."""
        self._large = 0.0
        """Estimated bytes of a large result, from the largest recent result."""
        self.unwritten = 0
        """Bytes of rows that are not committed yet: of large results as soon as a thread has made them, of results
        below `LARGE` bytes as soon as the reporter has taken them."""
        self.on_put: Callable[[], None] | None = None
        """Called by every thread that has passed on a result, so that the memory limit checks the process."""
        self.has_more = False
        """True if more than one batch waited, so that the reporter has left results to take."""
        self.wake = threading.Event()
        """Set to make the reporter run before its next interval."""

    def put(self, block: Block) -> None:
        """Pass on the successful items of a slice. Thread-safe."""
        with self._lock:
            self._blocks.append(block)
            self._items += len(block.items)
            items = self._items
        self._put(items)

    def put_other(self, outcome: Outcome) -> None:
        """Pass on an attempt that failed, timed out or was cancelled. Thread-safe."""
        self._others.append(outcome)
        self._put(self._items + len(self._others))

    def _put(self, items: int) -> None:
        if items >= _MANY_ITEMS:
            self._wake()
            if items >= _MAX_ITEMS:
                self._judge()
        if self.on_put is not None:
            self.on_put()

    def _wake(self) -> None:
        if not self.wake.is_set():  # `set` takes a lock, for which all threads would wait
            self.wake.set()

    def count(self, nbytes: int) -> None:
        """Count a large result as soon as it exists; called by the thread that made it."""
        with self._lock:
            self.unwritten += nbytes
            self._uncollected += nbytes
            self._large = max(nbytes, self._large * _FORGETTING)
        if self.unwritten >= self._max_bytes:
            self._judge()
        if self._uncollected >= self._max_bytes // 4:  # report early, so that the bytes are written early
            self._wake()
        if self.on_put is not None:
            self.on_put()

    def take(self, unfinished: Iterable[Block] = ()) -> tuple[list[tuple[OpenedChunk, list[Ended]]], list[Outcome]]:
        """Take ended attempts with up to `MAX_ROWS` rows; a single item with more rows is taken alone.

        If successful items are left, set `wake` for the next call.

        Args:
            unfinished: blocks of slices that are still being executed. Their ended items are taken as well, so that
                they do not wait for the rest of the slice.
        """
        others = [self._others.popleft() for _ in range(min(len(self._others), _MAX_ITEMS))]
        parts: list[tuple[OpenedChunk, list[Ended]]] = []
        rows = 0
        self.has_more = False
        with self._lock:
            while self._blocks:
                block = self._blocks[0]
                ended = _taken(block, MAX_ROWS - rows, whole=not parts)
                self._items -= len(ended)
                rows += self._add(parts, block, ended)
                if block.items:
                    self.has_more = True
                    self.wake.set()
                    break
                self._blocks.popleft()
            for block in unfinished:
                rows += self._add(parts, block, _taken(block, MAX_ROWS - rows, whole=not parts))
        self._judge()
        return parts, others

    def _add(self, parts: list[tuple[OpenedChunk, list[Ended]]], block: Block, ended: list[Ended]) -> int:
        """Append `ended` to `parts` and count its bytes. Return its number of rows."""
        if not ended:
            return 0
        parts.append((block.chunk, ended))
        sizes = [rows.nbytes for _, _, _, rows in ended]
        large = sum([size for size in sizes if size >= LARGE])
        if large:
            _, started, at, _ = ended[-1]
            self._item_seconds = at - started
        self._uncollected -= large
        self.unwritten += sum(sizes) - large
        return sum([rows.count for _, _, _, rows in ended])

    def written(self, nbytes: int) -> None:
        """Subtract `nbytes` bytes of rows that were committed, or that will never be written."""
        with self._lock:
            self.unwritten -= nbytes
        self._judge()

    def _judge(self) -> None:
        excess = self.unwritten - self._max_bytes
        window = self._adjust_window(excess)
        if self._items + len(self._others) >= _MAX_ITEMS:
            self._set_room(0)
        elif excess < 0:
            self._set_room(window)
        else:
            window = window or self._threads()
            fewer = 1 + int(excess / self._large) if self._large else window
            self._set_room(max(0, window - fewer))

    def _adjust_window(self, excess: int) -> int | None:
        """Change the window if a step is due, and return it; None for all threads.

        The window is never so small that the results of the items in flight could not fill half of `max_bytes`;
        otherwise the database would wait.
        """
        with self._lock:
            if self._window is None and excess < 0:
                self._step_at = math.inf
                return None
            now, threads = self._clock(), self._threads()
            self._least_unwritten = min(self._least_unwritten, self.unwritten)
            if self._step_at == math.inf:
                self._restart_step(now)
            elif now >= self._step_at:
                window = threads if self._window is None else self._window
                if self._least_unwritten >= max(self._max_bytes, self._least_before):
                    least = max(2.0, self._max_bytes / 2 / self._large) if self._large else threads
                    window = max(window * _NARROWER, least)
                elif self._least_unwritten < self._max_bytes / 2:
                    window *= _WIDER
                self._window = window if window < threads else None
                self._restart_step(now)
            return None if self._window is None else int(self._window)

    def _restart_step(self, now: float) -> None:
        self._step_at = now + max(_STEP_SECONDS, self._item_seconds)
        self._least_before, self._least_unwritten = self._least_unwritten, self.unwritten


def _taken(block: Block, most: int, *, whole: bool) -> list[Ended]:
    """Take items from the front of a block, with at most `most` rows in total.

    If `whole` is True, take at least one item, even if it has more rows.
    """
    items = block.items
    taken: list[Ended] = []
    for _ in range(len(items)):  # the thread of the block may append meanwhile
        most -= items[0][3].count
        if most < 0 and not (whole and not taken):
            break
        taken.append(items.popleft())
    return taken


_NO_CHILDREN = "daemonic processes are not allowed to have children"
"""Message of `multiprocessing` when a job starts processes in a worker. Our workers are daemonic, so that they die with
the program, and daemonic processes may not start processes. A hint is added to this message."""


class Execution:
    """The steps before and after each call of a job's function.

    Args:
        function: called with an item; returns the result of the job's function, which is a coroutine for `async def`.
        policy: decides about retries.
        timeout: seconds an attempt may take; None for no limit.
        gate: gate of HTTP hosts, to which refusals and failures are reported; None for a new gate.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        policy: RetryPolicy,
        timeout: float | None,
        gate: HostGate | None = None,
    ) -> None:
        self.timeout = timeout
        self._gate = gate or HostGate()
        self.function = function
        self._policy = policy

    def begin(self, slot: Slot, index: int, now: float) -> Any:
        """Make an item the current one of `slot` and start its deadline. Return the item.

        Raises:
            RefusedItem: the function must not be called with this item.
        """
        chunk = slot.chunk
        slot.started = now
        slot.waits = 0
        slot.added = None
        slot.attempt = min(chunk.made.get(index, 0) + 1, MAX_ATTEMPT) if chunk.made else 1
        slot.value = value = chunk.values[index]
        if self.timeout is not None:
            slot.deadline = now + self.timeout
            slot.claim = [slot.deadline]
        slot.index = index
        if type(value) is Refused:
            raise RefusedItem(value)
        return value

    def end(self, slot: Slot, rows: Rows, now: float) -> Outcome | None:
        """Return a failed outcome if the result `rows` of an attempt is too large; None otherwise.

        Only the thread that has taken the claim of the attempt may call it.
        """
        if rows.nbytes > MAX_ITEM_BYTES:
            return self._outcome(slot, Ending.FAILED, Failure("RowError", too_large(rows.nbytes)), now)
        return None

    def failed(self, slot: Slot, error: BaseException, now: float) -> Outcome:
        """Return the outcome of an attempt that raised `error`."""
        if isinstance(error, ItemPostponed):
            return self._postponed(slot, now)
        failure = self._failure(slot, error)
        status = status_of(error)
        retry_seconds = retry_after(error)
        host = _at_fault(slot, error, failure, status)
        seconds = now - slot.started
        if slot.reserved_host:
            self._end_reservation(slot, status, seconds, retry_seconds)
        outcome = self._outcome(slot, Ending.FAILED, failure, now)
        outcome.host = host
        if failure.transient and status is not None and is_refusal(status, retry_seconds):
            outcome.refused = True
            if host:
                self._gate.refuse(host, status, retry_seconds, slot.started)
            cooldown = self._gate.cooldown(host) if host else 0.0
            if retry_seconds is not None:
                outcome.postponed_seconds = max(retry_seconds, cooldown)
            if outcome.retry_after is not None:
                outcome.retry_after = max(outcome.retry_after, cooldown)
        return outcome

    def _end_reservation(self, slot: Slot, status: int | None, seconds: float, retry_seconds: float | None) -> None:
        """Report a failure to the gate if the item has reserved a host but used its own HTTP client."""
        host, slot.reserved_host = slot.reserved_host, ""
        if self._gate.end_item(host, ok=False, status=status, seconds=seconds, retry_after=retry_seconds):
            self._gate.changed(host)

    @staticmethod
    def _postponed(slot: Slot, now: float) -> Outcome:
        """Return the outcome of an attempt that does not count, because its item waits for a host and starts again."""
        chunk, index = slot.chunk, slot.index
        first = not chunk.tries.get(index, 0)
        host = chunk.hosts.get(index, "")
        return Outcome(
            chunk, index, slot.attempt, first, Ending.CANCELLED, slot.started, now, host=host, postponed_seconds=0.0
        )

    def time_out(self, slot: Slot, now: float) -> Outcome:
        """Return the outcome of an attempt that is past its deadline, and mark its slot as superseded."""
        slot.superseded = True
        failure = Failure("Timeout", f"no result within {self.timeout:g} s", transient=True)
        host = slot.host
        if slot.reserved_host:
            self._end_reservation(slot, None, now - slot.started, None)
        outcome = self._outcome(slot, Ending.TIMEOUT, failure, now)
        outcome.host = host
        return outcome

    def _failure(self, slot: Slot, error: BaseException) -> Failure:
        """Return an error as a `Failure`, with `transient` set if another attempt may succeed."""
        if isinstance(error, RefusedItem):
            return Failure(error.refused.type, error.refused.message)
        if isinstance(error, (ItemError, RowError)):
            return Failure(type(error).__name__, str(error))
        failure = describe(error)
        if failure.message == _NO_CHILDREN:
            failure = replace(failure, message=f"{_NO_CHILDREN}; --workers N runs items in N processes")
        try:
            transient = self._policy.rule(error)
        except BaseException as fault:  # `retry_on` is user code and may raise anything; the item must end nevertheless
            slot.log("ERROR", f"retry_on raised {type(fault).__name__}: the item is not tried again")
            transient = False
        return replace(failure, transient=True, retry_after=retry_after(error)) if transient else failure

    def _outcome(self, slot: Slot, ending: Ending, failure: Failure, now: float) -> Outcome:
        tries = slot.chunk.tries.get(slot.index, 0)
        delay = None
        if failure.transient and tries < self._policy.retries:
            delay = self._policy.delay(tries + 1, failure.retry_after)
        return Outcome(slot.chunk, slot.index, slot.attempt, not tries, ending, slot.started, now, failure, delay)


def _at_fault(slot: Slot, error: BaseException, failure: Failure, status: int | None) -> str:
    """Return the host that caused an error; empty for an error of the function itself, such as a `KeyError`."""
    if isinstance(error, HostDown):
        return slot.host or error.host
    if status is None and not failure.transient and not asked_host(error):
        return ""
    return asked_host(error) or slot.host


def host_down(chunk: OpenedChunk, index: int, host: str, reason: str) -> Outcome:
    """Return the outcome of an item that is not run, because its host is down."""
    outcome = cancelled(chunk, index)
    outcome.ending = Ending.FAILED
    outcome.failure = Failure(HostDown.__name__, reason)
    outcome.host = host
    return outcome


class RefusedItem(Exception):
    """Raised for an item with which the function must not be called."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


def cancelled(chunk: OpenedChunk, index: int) -> Outcome:
    """Return the outcome of an item that was cancelled before its first attempt, or before a retry."""
    made = chunk.made.get(index, 0)
    now = time.monotonic()
    return Outcome(chunk, index, made, not made, Ending.CANCELLED, now, now)
