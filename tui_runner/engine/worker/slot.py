"""Chunks in a worker, slices of them, and the slots that execute them: what threads and `WorkQueue` share."""

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
    """A chunk as its worker has it, in columns by index. The collector owns the counters, `WorkQueue` the rest.

    Attributes:
        number: its number.
        positions: position in the input of each item.
        values: the items; None where the result of one has been reported.
        packed: the items as they were sent: a function may change those that it is called with.
        keys: the key of each item that may be changed, made before; None where none may, and keys are made when needed.
        texts: a short text of each of these; None likewise, or if the ledger gets none.
        todo: indexes of the items that no thread has, in order.
        unended: how many items have no final outcome; the chunk is finished at 0.
        made: attempts made already, by index; 0 for those that are not in it.
        tries: those of them that failed and count as retries, by index.
        exhausted: whether all of `todo` was handed out once.
        hosts: the hosts of items, where they are known, by index.
        lined: how many items stand in lines of hosts.
        refused: seconds that servers have put an item off, by index.
        sent_back: indexes of items that the gate has sent back.
        reported: whether an attempt at one of its items was reported.
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
        """Return its counters, for a report."""
        return Counts(self.done, self.failed, self.cancelled_items, self.retries, self.rows, self.busy_seconds)


Ended = tuple[int, float, float, Rows]
"""An item that ended well: its index, when the attempt began and ended by `time.monotonic()`, what it returned."""


@dataclass(slots=True, eq=False)
class Block:
    """Items of one slice that ended well; its thread appends, the collector takes them from the front.

    Attributes:
        chunk: the chunk of all of them.
        items: one tuple an item.
    """

    chunk: OpenedChunk
    items: deque[Ended] = field(default_factory=deque)


class Slot:
    """The place in which one thread, or one asyncio task, executes items; also `current.ItemContext` for `current`.

    A thread has one for as long as it lives. `WorkQueue.take` sets the slice (`chunk`, `todo`, `block`), its thread the
    rest; others read.

    Attributes:
        number: of the slot in the flight recorder.
        chunk: the chunk of the slice.
        todo: indexes of the slice's items that have not started.
        block: the slice's items that ended well.
        index: index of the item being executed; -1 for none.
        value: that item.
        attempt: number of this attempt, from 1, counted across workers.
        started: when the attempt began, by `time.monotonic()`.
        deadline: when it times out, on the same clock; None when it never does.
        superseded: whether its result would be dropped; such a slot takes no other item.
        reserved_host: the host that its item may ask once, having waited for it before it began; empty for none.
        host: the host by whose line its item came; empty for none.
        held_by: the host that its item waits for now, having begun; empty for none.
        waits: how often its item has waited for a host.
        added: items that its item has added so far; None for none.
        queue: where it comes from.
        claim: a token, the deadline, that the thread takes that ends the attempt; None where no timeout can race it.
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
        """Take in that the item waits for `host`: its timeout stands still, and another takes its place.

        Raises:
            ItemPostponed: too many wait already: it is to wait in the line of its host, and begin again.
        """
        if self.queue is not None:
            self.queue.begin_wait(self, host)
        self.held_by = host
        self.waits += 1
        if self.claim:
            with contextlib.suppress(IndexError):  # the attempt ends at this very moment
                self.claim[0] = math.inf

    def end_wait(self, seconds: float) -> None:
        """Take in that the item has waited for `seconds`, which count neither as its time nor for its timeout."""
        self.held_by = ""
        if self.queue is not None:
            self.queue.end_wait()
        self.started += seconds
        if self.deadline is not None:
            self.deadline += seconds
            if self.claim:
                with contextlib.suppress(IndexError):
                    self.claim[0] = self.deadline

    @property
    def cancelled(self) -> bool:
        """True if the result is not wanted any more."""
        return self.superseded or self.chunk.cancelled

    @property
    def place(self) -> tuple[int, int] | None:
        """Chunk and position of the item being executed; None for none."""
        index = self.index
        return None if index < 0 else (self.chunk.number, self.chunk.positions[index])

    def add(self, items: tuple[object, ...]) -> None:
        """Take items that are to run once this one has ended well; see `Current.add`."""
        if self.queue is not None and not self.queue.takes_added:
            raise RuntimeError("current.add() needs a job that is declared with @job(frontier=True)")
        for item in items:
            if not comes_back(item):
                raise TypeError(f"current.add() takes what JSON brings back as it was, not {type(item).__name__}")
        self.added = [*(self.added or ()), *items]

    def log(self, level: str, text: str) -> None:
        """Add a line to the run's log."""
        self._write_log(level, text, self.place)


def take_claim(claim: list[float] | None) -> bool:
    """Take the right to end an attempt. Return False if another thread has it."""
    if claim is None:
        return True
    try:
        claim.pop()
    except IndexError:
        return False
    return True


def is_overdue(claim: list[float] | None, now: float) -> bool:
    """Return True if the attempt with this claim has not ended, and should have."""
    return any(deadline <= now for deadline in claim or ())


NO_CHUNK = OpenedChunk(-1, (), [], deque(), 0)
NO_BLOCK = Block(NO_CHUNK)
