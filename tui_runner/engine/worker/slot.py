"""Data that `WorkQueue` and the threads share: chunks in a worker, blocks of results, slots that execute items."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tui_runner.engine.protocol import Counts
from tui_runner.engine.worker.item_columns import comes_back
from tui_runner.store.rows.collect import Rows

if TYPE_CHECKING:
    from tui_runner.engine.worker.task_queue import WorkQueue


@dataclass(slots=True, eq=False)
class OpenedChunk:
    """A chunk as its worker has it: columns by index. The reporter owns the counters, `WorkQueue` the rest.

    Attributes:
        number: number of the chunk.
        positions: position in the input of each item.
        values: the items; None after the result of an item has been reported, to free its memory.
        packed: the items as they were sent, to restore one that a function has changed.
        keys: key of each item, computed before the function can change it; None if all items are immutable, whose keys
            are computed when needed.
        texts: short text of each item, computed as the keys are; None also if the ledger gets no texts.
        todo: indexes of the items that no thread has taken, in order.
        unended: number of items without a final outcome; the chunk is finished at 0.
        made: attempts already made, by index; a missing index means 0.
        tries: attempts that failed and count as retries, by index.
        exhausted: True if all of `todo` was handed out once.
        hosts: host of each item whose host is known, by index.
        lined: number of items that wait in lines of hosts.
        refused: total seconds that servers have put an item off, by index.
        sent_back: indexes of items that the host gate has sent back once.
        reported: True if an attempt at one of its items was reported.
    """

    number: int
    positions: Sequence[int]
    values: list[Any]
    todo: deque[int]
    unended: int
    packed: bytes = b""
    keys: list[str] | None = None
    texts: list[str] | None = None
    made: dict[int, int] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    paused: bool = False
    cancelled: bool = False
    exhausted: bool = False
    done: int = 0
    failed: int = 0
    cancelled_items: int = 0
    retries: int = 0
    rows: int = 0
    busy_seconds: float = 0.0
    hosts: dict[int, str] = field(default_factory=dict)
    lined: int = 0
    refused: dict[int, float] = field(default_factory=dict)
    sent_back: set[int] = field(default_factory=set)
    reported: bool = False

    def counts(self) -> Counts:
        """Return the counters of the chunk, for a report."""
        return Counts(self.done, self.failed, self.cancelled_items, self.retries, self.rows, self.busy_seconds)


Ended = tuple[int, float, float, Rows]
"""An item that ended well: its index, start and end of the attempt by `time.monotonic()`, and its result."""


@dataclass(slots=True, eq=False)
class Block:
    """Items of one slice that ended well. Its thread appends them; the reporter takes them from the front.

    Attributes:
        chunk: chunk of the slice.
        items: one tuple per item.
    """

    chunk: OpenedChunk
    items: deque[Ended] = field(default_factory=deque)


class Slot:
    """The state of one thread or asyncio task while it executes items.

    The job reaches it as `current` (`current.ItemContext`). A thread keeps one slot for life. `WorkQueue.take` sets the
    slice (`chunk`, `todo`, `block`); the thread sets the rest; other threads read.

    Attributes:
        number: number of the slot in the flight recorder.
        chunk: chunk of the slice.
        todo: indexes of the slice's items that have not started.
        block: results of the slice's items that ended well.
        index: index of the item being executed; -1 for none.
        value: the item being executed.
        attempt: number of this attempt, from 1, counted across workers.
        started: when the attempt began, by `time.monotonic()`.
        deadline: when the attempt times out, on the same clock; None without a timeout.
        superseded: True if the attempt was ended from outside; its result is dropped and the slot takes no other item.
        reserved_host: host that the item may ask once without waiting, reserved before it started; empty for none.
        host: host in whose line the item waited; empty for none.
        held_by: host that the item waits for now, having begun; empty for none.
        waits: number of times the item has waited for a host.
        added: items that this item has added so far; None for none.
        queue: the queue that fills the slot.
        claim: a list with the deadline as its one element. The thread that pops the element ends the attempt. None
            without a timeout, when no other thread can end it.
    """

    __slots__ = (
        "_write_log",
        "added",
        "attempt",
        "block",
        "chunk",
        "claim",
        "deadline",
        "grabbed",
        "held_by",
        "host",
        "index",
        "number",
        "queue",
        "reserved_host",
        "size",
        "started",
        "superseded",
        "todo",
        "value",
        "waits",
    )

    def __init__(
        self,
        number: int,
        write_log: Callable[[str, str, tuple[int, int] | None], None],
        queue: WorkQueue | None = None,
    ) -> None:
        self.number = number
        self._write_log = write_log
        self.queue = queue
        self.chunk = NO_CHUNK
        self.todo: deque[int] = deque()
        self.block = NO_BLOCK
        self.size = 0
        self.grabbed = 0.0
        self.index = -1
        self.value: Any = None
        self.attempt = 1
        self.started = 0.0
        self.deadline: float | None = None
        self.superseded = False
        self.reserved_host = ""
        self.host = ""
        self.held_by = ""
        self.waits = 0
        self.added: list[object] | None = None
        self.claim: list[float] | None = None

    def begin_wait(self, host: str) -> None:
        """Suspend the timeout while the item waits for `host`, and let another thread run in its place.

        Raises:
            ItemPostponed: too many items wait already; the item goes into the line of its host and starts again later.
        """
        if self.queue is not None:
            self.queue.begin_wait(self, host)
        self.held_by = host
        self.waits += 1
        if self.claim:
            with contextlib.suppress(IndexError):  # another thread has just ended the attempt
                self.claim[0] = math.inf

    def end_wait(self, seconds: float) -> None:
        """Resume the timeout after the item has waited `seconds`, which do not count as its running time."""
        self.held_by = ""
        if self.queue is not None:
            self.queue.end_wait()
        self.started += seconds
        if self.deadline is not None:
            self.deadline += seconds
            if self.claim:
                with contextlib.suppress(IndexError):  # another thread has just taken the claim: the attempt has ended
                    self.claim[0] = self.deadline

    @property
    def cancelled(self) -> bool:
        """Return True if the result is no longer wanted; jobs read it as `current.cancelled`."""
        return self.superseded or self.chunk.cancelled

    @property
    def place(self) -> tuple[int, int] | None:
        """Return (chunk, position) of the item being executed; None for none."""
        index = self.index
        return None if index < 0 else (self.chunk.number, self.chunk.positions[index])

    def add(self, items: tuple[object, ...]) -> None:
        """Remember items that run once this one has ended well; see `Current.add`.

        Raises:
            RuntimeError: the job does not take added items.
            TypeError: an item is not preserved by JSON, in which the ledger keeps it.
        """
        if self.queue is not None and not self.queue.takes_added:
            raise RuntimeError("current.add() needs a job that is declared with @job(frontier=True)")
        for item in items:
            if not comes_back(item):
                raise TypeError(f"current.add() takes values that JSON preserves, not {type(item).__name__}")
        self.added = [*(self.added or ()), *items]

    def log(self, level: str, text: str) -> None:
        """Add a line to the run's log, with the item being executed."""
        self._write_log(level, text, self.place)


def take_claim(claim: list[float] | None) -> bool:
    """Take the right to end an attempt, from its slot's `claim`. Return False if another thread has taken it."""
    if claim is None:
        return True
    try:
        claim.pop()
    except IndexError:  # another thread has taken it
        return False
    return True


def is_overdue(claim: list[float] | None, now: float) -> bool:
    """Return True if the attempt with this claim is still running at the time `now` and past its deadline."""
    return any(deadline <= now for deadline in claim or ())


NO_CHUNK = OpenedChunk(-1, (), [], deque(), 0)
"""The chunk of a slot without a slice, so that the hot loop needs no check for None."""
NO_BLOCK = Block(NO_CHUNK)
