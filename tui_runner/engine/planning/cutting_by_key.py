"""Cuts an input that may have changed since its items were recorded, and the items of a retry.

The input is read from its beginning and compared with the ledger in sections (`KeyMatcher`). Items that are recorded as
done are dropped, failed items keep their positions, and new items get new positions. The numbers of new chunks are
above all recorded ones. Recorded items that are no longer in the input are not changed.

A *retry* runs failed and cancelled items, from their values in the ledger. Only items whose value is not in the ledger
are read from the input.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from tui_runner.engine.packed_items import pack, unpack
from tui_runner.engine.planning.cutting import Cutter, ItemsRead, NewItems, Window, skipped_chunks, sparse
from tui_runner.engine.scheduling.events import ChunksSkipped
from tui_runner.inputs import InputChunk, Source
from tui_runner.inputs.keys import KeyColumns, keyed, plain_key, position_key
from tui_runner.store.ledger.recorded import Failed, KeyMatcher, Matched, RecordedItems
from tui_runner.text.items import Refused
from tui_runner.text.numbers import plural

_SECTION_ITEMS = 1_000_000
"""Most items of a section, which are compared with the ledger at once. The ledger is scanned for each section, so
sections are large."""
_SECTION_BYTES = 64 << 20
"""Most bytes of packed items in a section, so that memory stays bounded."""
_SECTION_SECONDS = 1.0
"""Most seconds for which items of a section are read, so that no item waits longer for later ones."""
_PIECE_ITEMS = 1_000
"""Items of a section that are packed together. On a resume, most of them are dropped without being unpacked. If one has
to run, all items packed with it are unpacked; with fewer items together, each would cost more to pack."""

# Types of items whose keys are computed from the item itself. An item of another type is packed and unpacked first, as
# it would be for a worker.
_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})
_PLAIN = _SCALARS | {dict, list, tuple}


class CutByKey(Cutter):
    """A cutter that reads an input from its beginning and skips items that the ledger records as done.

    Args:
        source: the input.
        recorded: the recorded items of the run.
        columns: columns from which keys are computed.
        limit: number of items to take from the start; None for all.
        retry: True to run only failed items whose value is not in the ledger. `RetryFromLedger` cuts the other failed
            items.
    """

    missed = 0

    def __init__(
        self,
        source: Source,
        recorded: RecordedItems,
        columns: KeyColumns,
        *,
        limit: int | None = None,
        retry: bool = False,
    ) -> None:
        self._source = source
        self._recorded = recorded
        self._columns = columns
        self._limit = limit
        self._retry = retry
        self._matcher: KeyMatcher | None = None
        self._items: NewItems | None = None
        self._index = 0
        """Position of the next item in the input."""
        self._next_position = self._first_new = recorded.end
        self._number = recorded.highest_chunk() + 1
        self._has_skipped = retry
        """True if `next` has returned the chunks of done items. In a retry, `RetryFromLedger` returns them."""
        self._ended = False
        self._pieces: deque[_Piece] = deque()
        self._values: list[object] = []
        self._positions: array[int] = array("q")
        self._known: set[int] = set()
        self._placed: list[int] = []
        """Indexes in the input of those items of the section that can be recognised only by their index."""
        self._left_out = 0
        self._has_places = False

    def next(self, size: int) -> ItemsRead | ChunksSkipped | None:
        """Return the next chunk with at most `size` items to run; None at the end.

        On a resume, the chunks of the items that are recorded as done come first, as one `ChunksSkipped`.
        """
        if not self._has_skipped:
            self._has_skipped = True
            done = self._recorded.done_by_chunk()
            if skipped := skipped_chunks(done, 0, len(done)):
                return skipped
        while not self._values and not self._pieces:
            if self._ended:
                return None
            self._read_section()
        while self._pieces and len(self._values) < size:
            piece = self._pieces.popleft()
            values = unpack(piece.packed)
            self._values += [values[index] for index in piece.indexes]
            self._positions.extend(piece.positions)
        values, self._values = self._values[:size], self._values[size:]
        positions, self._positions = self._positions[:size], self._positions[size:]
        number, self._number = self._number, self._number + 1
        known = self._known.intersection(positions)
        self._known -= known
        return ItemsRead(InputChunk(number, positions, pack(values)), positions, known=() if self._retry else known)

    def warnings(self) -> list[str]:
        """Return warnings about changes of the input. Call it when `next` has returned None."""
        found = []
        if left_out := self._left_out:
            are = "that is new in the input was" if left_out == 1 else "that are new in the input were"
            found.append(f"{plural(left_out, 'item')} {are} left out: a retry runs no new ones")
        if missed := self.missed:
            are, they = ("is", "it stays") if missed == 1 else ("are", "they stay")
            found.append(f"{plural(missed, 'previously failed item')} {are} no longer in the input; {they} failed")
        return found

    def _read_section(self) -> None:
        """Read the items that arrive within a second, at most a section, and queue those that have to run."""
        if self._items is None or self._matcher is None:
            self._items = NewItems(self._source.open(), limit=self._limit)
            self._matcher = KeyMatcher(self._recorded)
            self._has_places = self._recorded.has_places
            if self._has_places:
                # If an item can be recognised only by its index in the input, the index is its position.
                self._first_new = self._next_position = max(self._recorded.end, self._source.total or 0)
        until = time.monotonic() + _SECTION_SECONDS
        packed: list[bytes] = []
        keys: list[str] = []
        starts = [0]
        nbytes = 0
        while len(keys) < _SECTION_ITEMS and nbytes < _SECTION_BYTES and (left := until - time.monotonic()) > 0:
            try:
                values = self._items.read(_PIECE_ITEMS, left)
            except Exception:
                if not keys:
                    raise
                break  # `NewItems` raises the error again when the next section is read
            if not values:
                self._ended = True
                break
            packed.append(pack(values))
            nbytes += len(packed[-1])
            keys += self._keys(values, packed[-1], self._index + len(keys))
            starts.append(len(keys))
            if not self._items.comes_within(until - time.monotonic()):
                break
        self._queue(packed, starts, keys)
        if self._ended:
            self.missed = self._matcher.unused_failures(without_value=self._retry)

    def _keys(self, values: list[object], packed: bytes, first: int) -> list[str]:
        """Return the keys that a worker computes for `values`; the first value has index `first` in the input."""
        kinds = {*map(type, values)}
        if kinds <= _SCALARS:
            return list(map(plain_key, values))
        if not kinds <= _PLAIN:
            values = unpack(packed)  # so an item that cannot be sent to a worker becomes `Refused`
        columns = self._columns
        keys = [
            position_key(index) if type(value) is Refused else plain_key(keyed(value, columns), index)
            for index, value in enumerate(values, first)
        ]
        self._placed += [index for index, key in enumerate(keys, first) if key[0] == "@"]
        return keys

    def _queue(self, packed: list[bytes], starts: list[int], keys: list[str]) -> None:
        """Queue the items of a section that have to run, with their positions."""
        assert self._matcher is not None  # noqa: S101 - made before the first section
        matched = self._matcher.match(keys)
        if self._has_places:
            self._match_corrected(matched, len(keys))
        again: dict[int, int] = {}
        passed = bytearray(len(keys))
        for index, item, is_done, is_kept in zip(
            matched.index, matched.item, matched.is_done, matched.is_kept, strict=True
        ):
            if is_done or (self._retry and is_kept):
                passed[index] = 1
            else:
                again[index] = item
        self._known.update(again.values())
        if self._retry:
            self._left_out += len(keys) - len(matched.index)
        fixed = self._fixed_positions(matched)
        for (start, stop), part in zip(pairwise(starts), packed, strict=True):
            if passed.count(1, start, stop) == stop - start:
                continue
            piece = _Piece(part, [], array("q"))
            for index in range(start, stop):
                if passed[index] or (self._retry and index not in again):
                    continue
                position = again.get(index, fixed.get(index, -1))
                if position < 0:
                    position, self._next_position = self._next_position, self._next_position + 1
                piece.indexes.append(index - start)
                piece.positions.append(position)
            if piece.indexes:
                self._pieces.append(piece)
        self._index += len(keys)

    def _match_corrected(self, matched: Matched, count: int) -> None:
        """Match items of a section with recorded items that could not be read, and therefore had no key.

        If such an item was corrected in the input since, its index in the input is still the same.
        """
        assert self._matcher is not None  # noqa: S101 - made before the first section
        known = set(matched.index)
        others = [index for index in range(count) if index not in known]
        corrected = self._matcher.match([position_key(self._index + index) for index in others], failed=True)
        matched.index.extend(others[place] for place in corrected.index)
        matched.item.extend(corrected.item)
        matched.is_done.extend(corrected.is_done)
        matched.is_kept.extend(corrected.is_kept)

    def _fixed_positions(self, matched: Matched) -> dict[int, int]:
        """Return {index in the section: position} of new items that are recognised only by their index in the input.

        Their position is that index, unless a recorded item has it.
        """
        placed, self._placed = self._placed, []
        if self._retry or not placed:
            return {}
        known = {self._index + index for index in matched.index}
        wanted = [place for place in placed if place < self._first_new and place not in known]
        taken = self._recorded.taken(wanted)
        return {place - self._index: place for place in wanted if place not in taken}


class RetryFromLedger(Cutter):
    """A cutter of failed and cancelled items.

    Items with a value in the ledger come first, in their recorded chunks. Items without a value follow, read from the
    input.

    Args:
        recorded: the recorded items of the run.
        rest: cuts the items without a value; None if the input cannot be read.
    """

    def __init__(self, recorded: RecordedItems, rest: CutByKey | None) -> None:
        self._recorded = recorded
        self._rest = rest
        self._number = 0
        self._chunks = recorded.done_by_chunk()
        self._window = Window(recorded, self._chunks)
        self._lacking = recorded.count_failed(without_value=True)

    @property
    def missed(self) -> int:
        """The number of failed and cancelled items that do not run now."""
        return self._lacking if self._rest is None else self._rest.missed

    def next(self, size: int) -> ItemsRead | ChunksSkipped | None:
        """Return the next chunk with items that can run, or the skipped chunks before it; None at the end."""
        first = self._number
        while self._number < len(self._chunks):
            number = self._number
            failed = self._recorded.failed(number, number) if self._window[number].failed else []
            retained = [item for item in failed if item.value is not None]
            if retained:
                if first < number:
                    return skipped_chunks(self._chunks, first, number)
                self._number += 1
                return self._chunk(number, retained, [item.item for item in failed if item.value is None])
            self._number += 1
        if first < self._number:
            return skipped_chunks(self._chunks, first, self._number)
        return None if self._rest is None or not self._lacking else self._rest.next(size)

    def warnings(self) -> list[str]:
        """Return warnings about failed items that cannot run again. Call it when `next` has returned None."""
        if self._rest is not None:
            return self._rest.warnings()
        return [lacking(self._lacking)] if self._lacking else []

    def _chunk(self, number: int, retained: list[Failed], lost: Collection[int]) -> ItemsRead:
        every = self._recorded.positions_of(number)
        if lost:
            every = array("q", [position for position in every if position not in lost])
        is_whole = every[-1] - every[0] + 1 == len(every)
        positions = range(every[0], every[-1] + 1) if is_whole else every
        chunk = InputChunk(number, positions, sparse(positions, retained))
        return ItemsRead(chunk, [item.item for item in retained], self._window[number].rows)


def lacking(items: int) -> str:
    """Return the warning about failed items that have no value in the ledger and cannot be read again."""
    they = "it stays" if items == 1 else "they stay"
    which = "whose value is" if items == 1 else "whose values are"
    return f"{plural(items, 'failed item')} {which} not in the ledger cannot run again; {they} failed"


@dataclass(slots=True)
class _Piece:
    """Items that were packed together. Those at `indexes` have to run, at the positions `positions`."""

    packed: bytes
    indexes: list[int]
    positions: array[int]
