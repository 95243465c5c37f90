"""A chunk in its worker: its items as columns, and the results of ended items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tui_runner.engine.packed_items import unpack
from tui_runner.engine.protocol import Counts, OpenChunk
from tui_runner.engine.worker.item_columns import short_text
from tui_runner.store.records import WORKER_KILLED
from tui_runner.store.rows.collect import Rows
from tui_runner.text.describe import item_text as described
from tui_runner.text.items import Refused

_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None)})
"""Types whose values a function cannot change. If all items of a chunk have such types, their keys and texts need not
be computed before they run."""


@dataclass(slots=True, eq=False)
class OpenedChunk:
    """A chunk in its worker: columns by index.

    The reporter changes the counters, `values`, `unended` and `reported`. `WorkQueue` changes all other fields.

    Attributes:
        number: number of the chunk.
        positions: position in the input of each item.
        values: the items; None once the reporter has put the result of an item into a batch, to free its memory.
        packed: the items as they were sent, to restore an item that the function has changed.
        keys: key of each item, computed before the function can change the item. None if all items are immutable, so
            that their keys can be computed later.
        texts: short text of each item, computed at the same time as the keys. None if `keys` is None, or if the ledger
            gets no texts.
        todo: indexes of the items that no thread and no line of a host has taken, in order.
        unended: number of items without a final outcome; the chunk is finished at 0.
        made: attempts already made, by index; a missing index means 0.
        tries: attempts that failed and count as retries, by index.
        exhausted: True if the chunk was reported as exhausted.
        hosts: host of each item whose host is known, by index.
        lined: number of items that wait in lines of hosts.
        refused: total seconds by which servers have postponed an item, by index.
        sent_back: indexes of items that had started and were sent back to the line of their host, once each.
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
"""A successful item: its index, start and end of the attempt by `time.monotonic()`, and its result."""


@dataclass(slots=True, eq=False)
class Block:
    """The successful items of one slice. The slice's thread appends them; the reporter takes them from the front.

    Attributes:
        chunk: chunk of the slice.
        items: one tuple per item.
    """

    chunk: OpenedChunk
    items: deque[Ended] = field(default_factory=deque)


def opened_chunk(
    message: OpenChunk,
    key: Callable[[object, int], str],
    host: Callable[[object], str] | None,
    *,
    item_text: bool,
) -> OpenedChunk:
    """Return the chunk of an order with its items unpacked. Errors of unpickling the items are not caught.

    Args:
        message: the chunk as it was sent.
        key: returns the key of an item from its value and position.
        host: returns the host of an item, empty for none; None if no host is known before an item starts.
        item_text: True if the ledger gets a short text of every item.
    """
    values = unpack(message.values)
    indexes = range(len(values)) if message.run is None else message.run
    chunk = OpenedChunk(
        message.chunk,
        message.positions,
        values,
        deque(indexes),
        len(indexes),
        message.values,
        paused=message.paused,
    )
    if not _IMMUTABLE.issuperset(map(type, values)):
        chunk.keys = [key(value, position) for value, position in zip(values, message.positions, strict=True)]
        chunk.texts = list(map(short_text, values)) if item_text else None
    for index in indexes if message.attempts or message.tries or message.refusals else ():
        position = message.positions[index]
        if (made := message.attempts.get(position, 0)) > 0:
            chunk.made[index] = made
        if (tries := message.tries.get(position, 0)) > 0:
            chunk.tries[index] = tries
        if position in message.refusals:
            chunk.keys = chunk.keys or [key(*pair) for pair in zip(values, message.positions, strict=True)]
            values[index] = Refused(WORKER_KILLED, message.refusals[position], described(values[index]))
            chunk.made[index] = max(0, made - 1)  # recording the refusal adds one, although no attempt is made
    if host is not None:
        chunk.hosts = {index: found for index in indexes if (found := host(values[index]))}
    return chunk
