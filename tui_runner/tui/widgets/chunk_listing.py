"""Chunks in an order that was asked for, or only those in one state: a list that is made anew now and then.

Rows sorted by a number that changes would jump four times a second, and sorting 100,000 of them each time would keep
a core busy. So the rows hold still for a moment while what they show goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import compress
from operator import is_not

from tui_runner.engine.progress.snapshot import ChunkView
from tui_runner.engine.states import ChunkState

LISTING_HOLD = 2.0
"""Seconds for which rows stay where they are."""

SortKey = Callable[[ChunkView], float]


def usual(chunk: ChunkView) -> float:
    """The order of chunks in one state that nobody has sorted: by number, those that ended by that, the newest first.

    A number and no tuple: the search for garbage would stop the screen to look at 100,000 of them.
    """
    return -((chunk.started_at or 0.0) + chunk.elapsed) if chunk.state.ended else 0.0


class ChunkListing:
    """Rows of the chunk table, sorted by a key, those in one state alone if one is given.

    Args:
        key: what to sort by; equal chunks stay in the order of their numbers.
        reverse: the highest first.
        state: list only chunks in this state; None lists all.
        clock: seconds, for `LISTING_HOLD`.
    """

    def __init__(
        self,
        key: SortKey,
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
        if self._listed_at is not None and not fewer and (not changed or now - self._listed_at < LISTING_HOLD):
            return changed, False
        self._listed_at = now
        before = self._numbers
        listed: Sequence[int] = range(len(chunks))
        if self._state is not None:
            listed = [number for number in listed if chunks[number].state is self._state]
        # Each chunk is looked at once, in the order in which they lie in memory: that is where the time goes.
        keys = [self._key(chunks[number]) for number in listed]
        places = sorted(range(len(keys)), key=keys.__getitem__, reverse=self._reverse)
        self._numbers = [listed[place] for place in places]
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
        try:
            return self._numbers.index(number)
        except ValueError:
            return None

    def numbers(self) -> list[int]:
        """Every chunk that is listed, in its order."""
        return list(self._numbers)
