"""Reads the input ahead of the run in a thread of its own, and keeps the packed items of chunks that have not ended."""

from __future__ import annotations

import queue
import threading
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

from tui_runner.engine.planning.open_run import Selection
from tui_runner.engine.protocol import OpenChunk, Positions, Refused, pack, unpack
from tui_runner.engine.scheduling.events import (
    ChunkEnded,
    ChunkRead,
    EndRun,
    InputEnded,
    InputFailed,
    ReadChunks,
    SendChunk,
    Tell,
)
from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.inputs import Source, cut
from tui_runner.system.process import no_exit_at_once
from tui_runner.text.describe import describe


@dataclass(frozen=True, slots=True)
class PackedItems:
    """Items as they are sent to workers.

    Attributes:
        positions: of each.
        keys: of each.
        values: from `pack`.
    """

    positions: Positions
    keys: Sequence[str]
    values: bytes


@dataclass(frozen=True, slots=True)
class ItemsRead:
    """A chunk was cut from the input; of its items those at `pending` are to run, the others have `rows` rows.

    Those at `known`, among `pending`, had failed before.
    """

    number: int
    items: PackedItems
    pending: Sequence[int]
    rows: int
    known: Collection[int] = ()


class PendingItems:
    """The items of chunks that have not ended, and those that failed in others. Owned by the runner's thread.

    They stay packed: as objects they would take several times the memory, and only workers look at them.
    """

    takes = frozenset({ItemsRead, ChunkEnded})
    """Types of the messages that `handle` takes."""

    def __init__(self) -> None:
        self._chunks: dict[int, PackedItems] = {}

    def handle(self, message: ItemsRead | ChunkEnded, now: float) -> Iterable[ChunkRead]:
        """Hold the items of a chunk that was read, before the scheduler knows of it; let go of one that has ended."""
        match message:
            case ItemsRead(number, items, pending, rows, known):
                if pending:
                    self._chunks[number] = items
                yield ChunkRead(number, items.positions, pending, rows, known, len(items.values))
            case ChunkEnded(number, failed):
                self.keep_only(number, failed)

    def keys(self, chunk: int, positions: Collection[int]) -> list[str]:
        """Keys of held items."""
        items, wanted = self._chunks[chunk], frozenset(positions)
        return [key for position, key in zip(items.positions, items.keys, strict=True) if position in wanted]

    def keep_only(self, chunk: int, positions: Sequence[int]) -> None:
        """Let go of all items of a chunk but those at `positions`, which are held in this order from now on."""
        items = self._chunks.pop(chunk, None)
        if items is None or not positions:
            return
        wanted = frozenset(positions)
        chosen = [position in wanted for position in items.positions]
        kept = zip(compress(items.keys, chosen), compress(_unpacked(items), chosen), strict=True)
        by_position = dict(zip(compress(items.positions, chosen), kept, strict=True))
        keys, values = zip(*(by_position[position] for position in positions), strict=True)
        self._chunks[chunk] = PackedItems(array("q", positions), keys, pack(values))

    def order(self, send: SendChunk) -> OpenChunk:
        """The order that opens a chunk with the items that `send` names."""
        items = self._chunks[send.chunk]
        return OpenChunk(
            chunk=send.chunk,
            positions=items.positions,
            values=items.values,
            run=send.run,
            attempts=send.attempts,
            tries=send.tries,
            refusals=send.refusals,
            paused=send.paused,
        )


def _unpacked(items: PackedItems) -> list[object]:
    """Return the values of packed items, `Refused` in their place if they cannot be made again in this process."""
    try:
        with no_exit_at_once():
            return unpack(items.values)
    except (Exception, SystemExit) as error:  # the code of the user's classes may raise anything
        message = f"the item cannot be sent to a worker again: {type(error).__name__}"
        return [Refused("TypeError", message)] * len(items.positions)


class InputReader:
    """Cuts chunks from the input, as many as are asked for.

    Args:
        source: the input.
        limit: take only the first so many items; None for all.
        chunk_size: items a chunk where `ReadChunks` names no size.
        selection: which items are to run.
        deliver: takes `ItemsRead`, and in the end `InputEnded` or `InputFailed`.
    """

    takes = frozenset({ReadChunks, EndRun})
    """Types of the messages that `handle` takes."""

    def __init__(
        self,
        source: Source,
        limit: int | None,
        chunk_size: int,
        selection: Selection,
        deliver: Callable[[ItemsRead | InputEnded | InputFailed], None],
    ) -> None:
        self._chunk_size = chunk_size
        self._size = chunk_size
        self._chunks = cut(source, lambda: self._size, limit=limit)
        self._selection = selection
        self._deliver = deliver
        self._wanted: queue.SimpleQueue[ReadChunks] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="input", daemon=True)

    def handle(self, message: ReadChunks | EndRun, now: float) -> Iterable[Tell]:
        """Cut more chunks; when every item has run, warn of what the input did not have."""
        match message:
            case ReadChunks():
                self._wanted.put(message)
            case EndRun(RunState.FINISHED):
                yield from (Tell("WARNING", warning) for warning in self._selection.warnings())

    def start(self) -> None:
        """Begin; nothing is read before the first `ReadChunks`."""
        self._thread.start()

    def stop(self) -> None:
        """Read nothing more. An input that is being waited for cannot be interrupted; the thread is left behind."""
        self._wanted.put(ReadChunks(0))

    def _run(self) -> None:
        with no_exit_at_once():
            self._read()

    def _read(self) -> None:
        try:
            while (wanted := self._wanted.get()).count:
                self._size = wanted.size or self._chunk_size
                for _ in range(wanted.count):
                    chunk = next(self._chunks, None)
                    if chunk is None:
                        self._deliver(InputEnded())
                        return
                    pending = self._selection.pending(chunk.first_item, chunk.keys)
                    known = self._selection.known(chunk.first_item, chunk.keys)
                    positions = range(chunk.first_item, chunk.first_item + len(chunk.values))
                    items = PackedItems(positions, chunk.keys, pack(chunk.values) if pending else b"")
                    rows = self._selection.recorded_rows(chunk.keys)
                    self._deliver(ItemsRead(chunk.number, items, pending, rows, known))
        except UserError as error:
            self._deliver(InputFailed(str(error)))
        except BaseException as error:  # the input is the user's generator, which may raise anything
            failure = describe(error)
            self._deliver(InputFailed(f"the input ended with {failure.type}: {failure.message}"))
