"""Chunks in an order that was asked for, or only those in one state: a list that is made anew now and then.

Rows sorted by a number that changes would jump four times a second, and sorting 100,000 of them each time would keep
a core busy. So the rows hold still for a moment while what they show goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import compress
from operator import is_not
from typing import Any

from tui_runner.engine.chunk import ChunkState
from tui_runner.engine.snapshot import ChunkView
from tui_runner.tui.widgets.chunk_order import GROUPS

HOLD = 2.0
"""Seconds for which rows stay where they are."""

SortKey = Callable[[ChunkView], Any]


def usual(chunk: ChunkView) -> tuple[int, float, int]:
    """The order of a table that nobody has sorted: what runs, is paused, waits, and then the newest that ended."""
    if chunk.state.ended:
        return len(GROUPS), -((chunk.started_at or 0.0) + chunk.elapsed), -chunk.number
    return GROUPS.index(chunk.state), 0.0, chunk.number


class ChunkListing:
    """Rows of the chunk table, sorted by a key, those in one state alone if one is given.

    Args:
        key: what to sort by; equal chunks stay in the order of their numbers.
        reverse: the highest first.
        state: list only chunks in this state; None lists all.
        clock: seconds, for `HOLD`.
    """

    def __init__(
        self,
        key: SortKey = usual,
        *,
        reverse: bool = False,
        state: ChunkState | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._reverse = reverse
        self._state = state
        self._clock = clock
        self._chunks: Sequence[ChunkView] = ()
        self._numbers: list[int] = []
        self._rows: dict[int, int] = {}
        self._listed_at: float | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def update(self, chunks: Sequence[ChunkView]) -> tuple[set[int], bool]:
        """Take a new snapshot's chunks; the numbers of those that changed, and whether any row moved."""
        if chunks is self._chunks:
            return set(), False
        old, self._chunks = self._chunks, chunks
        common = min(len(old), len(chunks))
        changed = {*compress(range(common), map(is_not, old, chunks)), *range(common, len(chunks))}
        now = self._clock()
        fewer = len(chunks) < len(old)
        if self._listed_at is not None and not fewer and (not changed or now - self._listed_at < HOLD):
            return changed, False
        self._listed_at = now
        before = self._numbers
        listed = chunks if self._state is None else [chunk for chunk in chunks if chunk.state is self._state]
        self._numbers = [chunk.number for chunk in sorted(listed, key=self._key, reverse=self._reverse)]
        self._rows = {number: row for row, number in enumerate(self._numbers)}
        return changed, self._numbers != before

    def at(self, row: int) -> ChunkView:
        """The chunk in a row, from 0.

        Raises:
            IndexError: there is no such row.
        """
        if row < 0:
            raise IndexError(row)
        return self._chunks[self._numbers[row]]

    def row_of(self, number: int) -> int | None:
        """The row of a chunk; None when it is not listed."""
        return self._rows.get(number)

    def numbers(self) -> list[int]:
        """Every chunk that is listed, in its order."""
        return list(self._numbers)
