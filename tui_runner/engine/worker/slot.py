"""The state of one thread or task of a worker while it executes items."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tui_runner.engine.worker.item_columns import comes_back
from tui_runner.engine.worker.opened_chunk import Block, OpenedChunk

if TYPE_CHECKING:
    from tui_runner.engine.worker.task_queue import WorkQueue


class Slot:
    """The state of one thread or asyncio task while it executes items.

    The job uses it through `current` (`current.ItemContext`). A thread keeps one slot for life, a task gets a new slot
    for each item. `WorkQueue.take` sets the slice (`chunk`, `todo`, `block`); `Execution.begin` sets the attempt.

    Attributes:
        number: number of the slot in the flight recorder.
        chunk: chunk of the slice.
        todo: indexes of the slice's items that have not started.
        block: results of the slice's successful items.
        index: index of the item being executed; -1 for none.
        value: the item being executed.
        attempt: number of this attempt, from 1, counted across workers.
        started: time at which the attempt began, by `time.monotonic()`. Waits for a host and stops of the process move
            it, so that they do not count as running time.
        grabbed: time at which the slice was taken, by the same clock.
        size: number of items of the slice, without recalled ones.
        deadline: time at which the attempt times out, by the same clock; None without a timeout.
        superseded: True if the attempt was ended from outside; its result is dropped and the slot takes no other item.
        reserved_host: host to which the item may send one request without waiting, because the request was reserved
            before the item started; empty for none.
        host: host in whose line the item waited; empty for none.
        held_by: host for which the item waits now, after it has started; empty for none.
        waits: number of times that this attempt has waited for a host.
        added: items that this item has added so far; None if it has added none.
        queue: the queue that fills the slot.
        claim: a list with one element, the deadline. The thread that pops the element has the right to end the attempt.
            None without a timeout, because no other thread can end such an attempt.
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
        """Suspend the timeout while the item waits for `host`. If other hosts are known, another thread runs meanwhile.

        Raises:
            ItemPostponed: too many items wait already, or the worker is ending. The item goes into the line of its host
                and starts again later.
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
                with contextlib.suppress(IndexError):  # another thread has just taken the claim and ended the attempt
                    self.claim[0] = self.deadline

    @property
    def cancelled(self) -> bool:
        """True if the result is no longer needed; jobs read it as `current.cancelled`."""
        return self.superseded or self.chunk.cancelled

    @property
    def place(self) -> tuple[int, int] | None:
        """The (chunk, position) of the item being executed; None if no item is being executed."""
        index = self.index
        return None if index < 0 else (self.chunk.number, self.chunk.positions[index])

    def add(self, items: tuple[object, ...]) -> None:
        """Store items that are added to the run if the current item succeeds; see `Current.add`.

        Raises:
            RuntimeError: the job does not allow its items to add items.
            TypeError: the ledger stores added items as JSON, and JSON does not preserve one of the items.
            RecursionError: an item is nested too deeply, or contains itself.
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
    except IndexError:  # another thread has taken the claim
        return False
    return True


def is_overdue(claim: list[float] | None, now: float) -> bool:
    """Return True if the attempt with this `claim` is still running and its deadline is not after `now`."""
    return any(deadline <= now for deadline in claim or ())


NO_CHUNK = OpenedChunk(-1, (), [], deque(), 0)
"""The chunk of a slot without a slice, so that the hot loop needs no check for None."""
NO_BLOCK = Block(NO_CHUNK)
"""The block of a slot without a slice, for the same reason as `NO_CHUNK`."""
