"""Cuts the items of a run into chunks, without items that the ledger has as done. Used by the reading thread.

There are two ways to resume a run:

* *by position* (`CutByPosition`), if the input has certainly not changed (`Source.fingerprint`). The input is cut at
  the recorded places. A chunk that is recorded as done is skipped without being read. In other chunks, the items that
  are not recorded as done run. New chunk sizes apply after the last recorded chunk.
* *by key* (`cutting_by_key`), in all other cases.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tui_runner.engine.packed_items import pack
from tui_runner.engine.scheduling.events import ChunksSkipped
from tui_runner.errors import UserError
from tui_runner.inputs import InputChunk, Source
from tui_runner.inputs.source import ItemReader
from tui_runner.store.ledger.recorded import ChunkItems, Failed, RecordedChunks, RecordedItems
from tui_runner.text.messages import plain

_WINDOW_ITEMS = 200_000
"""Items of recorded chunks that one query of the ledger covers, or a few more. Even a query for a few items takes
milliseconds, which are negligible for this many. A larger number would take more memory, because the query returns the
position of each item that failed."""


@dataclass(frozen=True, slots=True)
class ItemsRead:
    """A chunk that was cut from the input.

    Attributes:
        chunk: the chunk.
        pending: positions in the run, from `chunk.positions`, of the items that have to run.
        rows: number of recorded result rows of the other items.
        known: those of `pending` that failed before the run was resumed. The circuit breaker must not count them
            again. Empty for a retry, whose items all failed before.
    """

    chunk: InputChunk
    pending: Sequence[int]
    rows: int = 0
    known: Collection[int] = ()


class Cutter(ABC):
    """The interface of objects that cut the input of a run into chunks.

    The reading thread calls `next`; the runner's thread calls the other methods.
    """

    @property
    def missed(self) -> int:
        """The number of failed and cancelled items that do not run now; known once the input has ended."""
        return 0

    @abstractmethod
    def next(self, size: int) -> ItemsRead | ChunksSkipped | None:
        """Return the next chunk, or recorded chunks of which no item runs; None at the end.

        A new chunk has `size` items, or fewer (see `NewItems`).

        Raises:
            UserError: the input is broken.
        """

    def warnings(self) -> list[str]:
        """Return warnings about the input. Call it when `next` has returned None."""
        return []

    def committed(self) -> None:  # noqa: B027 - most inputs do not depend on the run
        """Record that rows were committed. If `next` waits for items that the run adds, it checks for them again."""

    def stop(self) -> None:  # noqa: B027
        """End the wait of `next` for items that the run adds."""


class NewItems:
    """Consecutive items of an input that were never recorded, to be cut into chunks.

    If reading fails, the items before the error come first, in a shorter chunk. If items arrive slowly, the items that
    have arrived form a shorter chunk as well. So do large items (`source.TAKEN_BYTES`), and the last items.
    """

    def __init__(self, reader: ItemReader, *, position: int = 0, limit: int | None = None) -> None:
        self._reader = reader
        self._position = position
        self._limit = limit
        self._failure: Exception | None = None

    def cut(self, number: int, size: int) -> InputChunk | None:
        """Return the next chunk; None at the end."""
        if size < 1:
            raise ValueError(f"a chunk of {size} items")
        offset = None if self._failure else self._reader.offset
        values = self.read(size)
        if not values:
            return None
        first = self._position - len(values)
        return InputChunk(number, range(first, self._position), pack(values), offset)

    def read(self, count: int, patience: float | None = None) -> list[object]:
        """Return the next `count` items, or fewer, see `ItemReader.take`. At the limit, return none.

        An error that follows some items is raised by the next call.
        """
        if self._failure is not None:
            raise self._failure
        values: list[object] = []
        left = count if self._limit is None else min(count, self._limit - self._position)
        if left > 0:
            try:
                self._reader.take(values, left, patience)
            except Exception as error:
                if not values:
                    raise
                self._failure = error
        self._position += len(values)
        return values

    def comes_within(self, seconds: float) -> bool:
        """Return True if the next item, the end or an error arrives within `seconds`; True at once at the limit."""
        at_limit = self._limit is not None and self._position >= self._limit
        return at_limit or self._failure is not None or self._reader.comes_within(seconds)


class CutByPosition(Cutter):
    """A cutter that cuts an input at the recorded places, and after the last of them into new chunks.

    A new run has no recorded places.

    Args:
        source: the input.
        limit: number of items to take from the beginning of the input.
        recorded: the recorded items of the run; None for a new run.
        retry: True to run only failed and cancelled items, and no new ones.
    """

    def __init__(
        self,
        source: Source,
        *,
        limit: int | None = None,
        recorded: RecordedItems | None = None,
        retry: bool = False,
    ) -> None:
        self._source = source
        self._limit = limit
        self._recorded = recorded
        self._retry = retry
        self._chunks = recorded.chunks() if recorded is not None else _NO_CHUNKS
        self._number = 0
        self._window = Window(recorded, self._chunks)
        self._reader: ItemReader | None = None
        self._at = 0
        """Position of the next item of the reader."""
        self._new: NewItems | None = None

    def next(self, size: int) -> ItemsRead | ChunksSkipped | None:
        """Return the next chunk, or recorded chunks of which no item runs; None at the end.

        A new chunk has `size` items, or fewer (see `NewItems`).
        """
        if self._number < len(self._chunks):
            return self._skipped() or self._recorded_chunk()
        if self._retry:
            return None
        if self._new is None:
            if self._at < self._chunks.end:
                self._read_chunk(len(self._chunks) - 1, keep=False)
            reader = self._reader or self._source.open()
            self._new = NewItems(reader, position=self._chunks.end, limit=self._limit)
        chunk = self._new.cut(self._number, size)
        if chunk is None:
            return None
        self._number += 1
        return ItemsRead(chunk, chunk.positions)

    def _skipped(self) -> ChunksSkipped | None:
        chunks, first = self._chunks, self._number
        while self._number < len(chunks) and chunks.done[self._number]:
            self._number += 1
        return skipped_chunks(chunks, first, self._number)

    def _recorded_chunk(self) -> ItemsRead:
        number, chunks = self._number, self._chunks
        assert self._recorded is not None  # noqa: S101 - it has the chunks
        self._number += 1
        first, items = chunks.first_items[number], chunks.items[number]
        positions, offset = range(first, first + items), chunks.offsets[number]
        found = self._window[number]
        pending: Sequence[int] = found.failed
        if not self._retry and found.done + len(found.failed) < items:
            done = self._recorded.done_among(number) if found.done else ()
            pending = [position for position in positions if position not in done]
        packed = self._from_ledger(number, positions) if self._retry and pending else None
        if packed is None:
            packed = self._read_chunk(number) if pending else b""
        chunk = InputChunk(number, positions, packed, offset if offset >= 0 else None)
        return ItemsRead(chunk, pending, found.rows, () if self._retry else found.failed)

    def _from_ledger(self, number: int, positions: range) -> bytes | None:
        """Return a chunk's failed and cancelled items, packed, each at its index.

        Return None if the ledger lacks the value of one of them.
        """
        assert self._recorded is not None  # noqa: S101 - it has the chunks
        failed = self._recorded.failed(number, number)
        if any(item.value is None for item in failed):
            return None
        return sparse(positions, failed)

    def _read_chunk(self, number: int, *, keep: bool = True) -> bytes:
        """Read a recorded chunk from its beginning. Pack the items if `keep` is True."""
        first, offset, items = (
            self._chunks.first_items[number],
            self._chunks.offsets[number],
            self._chunks.items[number],
        )
        if self._reader is None or (offset >= 0 and first != self._at):
            self._reader = self._source.open(offset) if offset >= 0 else self._source.open()
            self._at = first if offset >= 0 else 0
        self._reader.skip(first - self._at)
        values: list[object] = []
        if keep:
            while len(values) < items:
                before = len(values)
                self._reader.take(values, items - before)
                if len(values) == before:
                    break
            if len(values) < items:
                raise UserError("it has fewer items than when the run began", where=plain(self._source.text or "input"))
        else:
            self._reader.skip(items)
        self._at = first + items
        return pack(values)


class Window:
    """The items of recorded chunks, queried from the ledger for many chunks at once."""

    def __init__(self, recorded: RecordedItems | None, chunks: RecordedChunks) -> None:
        self._recorded = recorded
        self._chunks = chunks
        self._stop = 0
        self._found: dict[int, ChunkItems] = {}

    def __getitem__(self, number: int) -> ChunkItems:
        if number >= self._stop:
            assert self._recorded is not None  # noqa: S101 - it has the chunks
            items = self._chunks.items
            stop, count = number + 1, items[number]
            while stop < len(items) and count < _WINDOW_ITEMS:
                count += items[stop]
                stop += 1
            self._found = self._recorded.by_chunk(number, stop - 1)
            self._stop = stop
        return self._found.get(number) or ChunkItems()


_NO_CHUNKS = RecordedChunks(*(array("q") for _ in range(6)))


def skipped_chunks(chunks: RecordedChunks, first: int, stop: int) -> ChunksSkipped | None:
    """Return the event for the chunks from `first` to `stop - 1`, which have nothing to run; None for no chunks."""
    if first == stop:
        return None
    every = slice(first, stop)
    columns = (chunks.first_items, chunks.items, chunks.rows, chunks.milliseconds)
    return ChunksSkipped(first, *(column[every] for column in columns))


def sparse(positions: Sequence[int], items: Sequence[Failed]) -> bytes:
    """Pack a chunk with the items at `positions`. Only the values of `items` are packed; the others are None."""
    values: list[object] = [None] * len(positions)
    places = {position: index for index, position in enumerate(positions)}
    for item in items:
        values[places[item.item]] = json.loads(item.value or "null")
    return pack(values)
