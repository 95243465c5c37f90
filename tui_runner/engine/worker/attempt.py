"""Begins and ends attempts, and passes their results from the pool to the collector.

An item that ended well is a tuple in the `Block` of its slice; anything else is an `Outcome`.

An exception becomes text at once: keeping it would keep its frames, and with them whatever the function held
(measured: 2 GB where the text takes 2 MB).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from tui_runner.engine.worker.flight_recorder import MAX_ATTEMPT
from tui_runner.engine.worker.retry import RetryPolicy, asked_host, retry_after, status_of
from tui_runner.engine.worker.slot import Block, Ended, OpenedChunk, Slot
from tui_runner.errors import ItemError, RowError
from tui_runner.jobs.http.host import is_refusal
from tui_runner.jobs.http.host_gate import HostDown, HostGate, ItemPostponed
from tui_runner.store.rows.collect import MAX_ITEM_BYTES, Rows, too_large
from tui_runner.system.clock import time
from tui_runner.text.describe import Failure, describe
from tui_runner.text.items import Refused

_MANY_ITEMS = 5_000
"""Ended items from which the collector is called at once: a batch of that size is worth its message."""
_MAX_ITEMS = 40_000
"""Ended items that may wait for the collector before new ones do."""
MAX_ROWS = 50_000
"""Rows the collector takes in one go, but for a single larger result. Converting more would keep the interpreter from
the pool's threads for too long; and a flush beyond DuckDB's row group of 122,880 rows leaves groups half full, which a
later checkpoint unpacks in memory to merge them (measured: 330 MB; 50 MB with smaller flushes)."""
LARGE = 4_096
"""Bytes from which a result is counted by the thread that made it, under the lock. The collector counts smaller ones in
sums, so these cost threads no lock."""
_FORGETTING = 0.98
"""What is left, with each large result, of what the largest ones before it say about the size of the next ones."""


class Ending(StrEnum):
    """The end of an attempt. All but RETRY are final states of an item, as the ledger calls them."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    RETRY = "retry"
    """Failed, and the item will be tried again."""


@dataclass(slots=True)
class Outcome:
    """The end of an attempt that did not end well.

    Attributes:
        chunk: the item's chunk.
        index: its index in there.
        attempt: number of the attempt; for an item that was cancelled, of the last one that was made.
        is_first: whether the item had not been tried before, in this worker.
        ending: how it ended.
        started: when it began, by `time.monotonic()`.
        ended: when it ended.
        failure: why it failed, when it did.
        retry_after: seconds until the next attempt, if there will be one; the collector grants it, and makes
            the ending RETRY.
        host: the host that is at fault, or that the item waits for; empty for none.
        put_off: seconds that the item waits without an attempt being counted, because a server has said when to come
            back, or the gate has sent the item back; None for a failure that counts.
        refused: whether the host refused for now (429, or 503 with a time to come back).
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
    put_off: float | None = None
    refused: bool = False


class Outcomes:
    """Ended attempts on their way from many threads to the collector, and the bytes that are not yet written.

    Beyond `max_bytes` unwritten bytes the items in flight are reduced one by one, not all at once: for every byte too
    many, as many fewer as would return it. So the pool comes to run at the pace of the database, and what is unwritten
    stays below `max_bytes` and what `threads` results take.

    Args:
        max_bytes: unwritten bytes up to which all threads execute items.
        set_room: takes how many items may be executed at once; None for no bound.
        threads: how many execute items when there is no bound.
    """

    def __init__(self, max_bytes: int, set_room: Callable[[int | None], None], threads: Callable[[], int]) -> None:
        self._max_bytes = max_bytes
        self._set_room = set_room
        self._threads = threads
        self._blocks: deque[Block] = deque()
        self._others: deque[Outcome] = deque()
        self._lock = threading.Lock()
        self._items = 0
        """Items in `_blocks` that the collector does not have."""
        self._uncollected = 0
        self._large = 0.0
        """Bytes of a large result, as the last ones were."""
        self.unwritten = 0
        """Bytes of rows that were handed over and are not yet in the database."""
        self.on_put: Callable[[], None] | None = None
        """Called by every thread that has handed something over."""
        self.has_more = False
        """True if the collector has not taken all that waited, because it was more than a batch."""
        self.wake = threading.Event()
        """Set when the collector should not wait for its next turn."""

    def put(self, block: Block) -> None:
        """Hand over the items of a slice that ended well; called by many threads."""
        with self._lock:
            self._blocks.append(block)
            self._items += len(block.items)
            items = self._items
        self._put(items)

    def put_other(self, outcome: Outcome) -> None:
        """Hand over an attempt that did not end well; called by many threads."""
        self._others.append(outcome)
        self._put(self._items + len(self._others))

    def _put(self, items: int) -> None:
        if items >= _MANY_ITEMS:
            self.wake.set()
            if items >= _MAX_ITEMS:
                self._judge()
        if self.on_put is not None:
            self.on_put()

    def count(self, nbytes: int) -> None:
        """Count a large result at once; called by the thread that has it."""
        with self._lock:
            self.unwritten += nbytes
            self._uncollected += nbytes
            self._large = max(nbytes, self._large * _FORGETTING)
        if self.unwritten >= self._max_bytes:
            self._judge()
        if self._uncollected >= self._max_bytes // 4:
            self.wake.set()
        if self.on_put is not None:
            self.on_put()

    def take(self, unfinished: Iterable[Block] = ()) -> tuple[list[tuple[OpenedChunk, list[Ended]]], list[Outcome]]:
        """Return what waits, up to `MAX_ROWS` rows; called by the collector, which is woken again when more is left.

        Args:
            unfinished: blocks of slices that are being executed: what has ended of them does not wait for the rest.
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
        """Add `ended` to `parts`, count its bytes, return its rows."""
        if not ended:
            return 0
        parts.append((block.chunk, ended))
        sizes = [rows.nbytes for _, _, _, rows in ended]
        large = sum([size for size in sizes if size >= LARGE])
        self._uncollected -= large
        self.unwritten += sum(sizes) - large
        return sum([rows.count for _, _, _, rows in ended])

    def written(self, nbytes: int) -> None:
        """Take in that this many bytes need no longer be kept."""
        with self._lock:
            self.unwritten -= nbytes
        self._judge()

    def _judge(self) -> None:
        excess = self.unwritten - self._max_bytes
        if self._items + len(self._others) >= _MAX_ITEMS:
            self._set_room(0)
        elif excess < 0:
            self._set_room(None)
        else:
            fewer = 1 + int(excess / self._large) if self._large else self._threads()
            self._set_room(max(0, self._threads() - fewer))


def _taken(block: Block, most: int, *, whole: bool) -> list[Ended]:
    """Take items of a block with at most `most` rows, but the first one in any case if `whole`."""
    items = block.items
    taken: list[Ended] = []
    for _ in range(len(items)):  # its thread may still append
        most -= items[0][3].count
        if most < 0 and not (whole and not taken):
            break
        taken.append(items.popleft())
    return taken


_NO_CHILDREN = "daemonic processes are not allowed to have children"
"""The message of multiprocessing when a function starts processes with it."""


class Execution:
    """Begins and ends attempts of a job's function.

    Args:
        function: takes an item, returns what the job's function does; a coroutine for a coroutine function.
        policy: when to try again.
        timeout: seconds an attempt may take, None for no bound.
        gate: told what hosts have answered; None for one of this attempt alone.
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
        """Make an item the one that `slot` executes, and start its clock; returns the item.

        Raises:
            RefusedItem: the function is not to be called with it.
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
        """Take in that an attempt has returned `rows`: an outcome if that is too much, else None.

        Only the thread that has the right to end the attempt may call it.
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
        told = retry_after(error)
        host = _at_fault(slot, error, failure, status)
        seconds = now - slot.started
        if slot.reserved_host:
            self._end_reservation(slot, status, seconds, told)
        outcome = self._outcome(slot, Ending.FAILED, failure, now)
        outcome.host = host
        if failure.transient and is_refusal(status, told):
            outcome.refused = True
            if host:
                self._gate.refuse(host, told, slot.started)
            cooldown = self._gate.cooldown(host) if host else 0.0
            if told is not None:
                outcome.put_off = max(told, cooldown)
            if outcome.retry_after is not None:
                outcome.retry_after = max(outcome.retry_after, cooldown)
        return outcome

    def _end_reservation(self, slot: Slot, status: int | None, seconds: float, told: float | None) -> None:
        """Tell the gate of an item that asked its host by other means, and failed."""
        host, slot.reserved_host = slot.reserved_host, ""
        if self._gate.end_item(host, ok=False, status=status, seconds=seconds, retry_after=told):
            self._gate.changed(host)

    @staticmethod
    def _postponed(slot: Slot, now: float) -> Outcome:
        """Return the outcome of an attempt that does not count: the item begins again when its host may be asked."""
        chunk, index = slot.chunk, slot.index
        first = not chunk.tries.get(index, 0)
        host = chunk.hosts.get(index, "")
        return Outcome(chunk, index, slot.attempt, first, Ending.CANCELLED, slot.started, now, host=host, put_off=0.0)

    def time_out(self, slot: Slot, now: float) -> Outcome:
        """Return the outcome of an attempt that is past its deadline, whatever it does from now on."""
        slot.superseded = True
        failure = Failure("Timeout", f"no result within {self.timeout:g} s", transient=True)
        host = slot.host
        if slot.reserved_host:
            self._end_reservation(slot, None, now - slot.started, None)
        outcome = self._outcome(slot, Ending.TIMEOUT, failure, now)
        outcome.host = host
        return outcome

    def _failure(self, slot: Slot, error: BaseException) -> Failure:
        """Return the failure that an error is, which says if another attempt may succeed."""
        if isinstance(error, RefusedItem):
            return Failure(error.refused.type, error.refused.message)
        if isinstance(error, (ItemError, RowError)):
            return Failure(type(error).__name__, str(error))
        failure = describe(error)
        if failure.message == _NO_CHILDREN:
            failure = replace(failure, message=f"{_NO_CHILDREN}; --workers N runs items in N processes")
        try:
            transient = self._policy.rule(error)
        except BaseException as fault:  # the rule may be the user's, and the item ends whatever it raises
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
    """Return the host that an error is about; empty for one that is the function's own, a `KeyError` say."""
    if isinstance(error, HostDown):
        return slot.host or error.host
    if status is None and not failure.transient and not asked_host(error):
        return ""
    return asked_host(error) or slot.host


def host_down(chunk: OpenedChunk, index: int, host: str, reason: str) -> Outcome:
    """Return the outcome of an item whose host failed again and again, so that it is not asked."""
    outcome = cancelled(chunk, index)
    outcome.ending = Ending.FAILED
    outcome.failure = Failure(HostDown.__name__, reason)
    outcome.host = host
    return outcome


class RefusedItem(Exception):
    """An item with which the function must not be called."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


def cancelled(chunk: OpenedChunk, index: int) -> Outcome:
    """Return the outcome of an item that is not to run any more."""
    made = chunk.made.get(index, 0)
    now = time.monotonic()
    return Outcome(chunk, index, made, not made, Ending.CANCELLED, now, now)
