"""In which order chunks are listed, kept up to date at the cost of what changed.

A run may have 100,000 chunks and four snapshots a second; sorting them all each time would keep a core busy.
Chunks that did not change are the same objects in the next snapshot, so the changed ones are found by identity, and
only those whose state changed move. They move once a second at most: rows that jump four times a second cannot be
read, and half of what a busy run sent to the terminal were rows that had moved by one.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from itertools import chain, compress
from operator import is_not

from tui_runner.engine.progress.snapshot import ChunkView
from tui_runner.engine.states import ChunkState

GROUPS = (ChunkState.RUNNING, ChunkState.PAUSED, ChunkState.WAITING)
"""States in the order in which they are listed; all ended chunks come after them, the newest first."""


HOLD = 1.0
"""Seconds for which rows stay where they are after they have moved."""


class ChunkOrder:
    """Rows of the chunk table: running, paused and waiting chunks by number, then ended ones, the newest first.

    Args:
        hold: seconds for which rows stay where they are; what they show goes on. None for `HOLD`.
        clock: seconds, for `hold`.
    """

    def __init__(self, hold: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._hold = HOLD if hold is None else hold
        self._clock = clock
        self._moved_at = float("-inf")
        self._chunks: Sequence[ChunkView] = ()
        # The chunks as they were when their rows were last put in order.
        self._placed: Sequence[ChunkView] = ()
        self._open: dict[ChunkState, list[int]] = {state: [] for state in GROUPS}
        # Ended chunks as they were seen to have ended, shown from the end, and beside them when: the how many-th end
        # it was. Not as pairs: the search for garbage would stop the screen to look at 100,000 of them.
        self._ended: list[int] = []
        self._moments: list[int] = []
        self._moment_of: dict[int, int] = {}
        self._moment = 0

    def __len__(self) -> int:
        return len(self._placed)

    def update(self, chunks: Sequence[ChunkView]) -> tuple[set[int], bool]:
        """Take a new snapshot's chunks; the numbers of those that changed, and whether any row moved."""
        if chunks is self._chunks:
            return set(), False
        before, self._chunks = self._chunks, chunks
        common = min(len(before), len(chunks))
        changed = {*compress(range(common), map(is_not, before, chunks)), *range(common, len(chunks))}
        now = self._clock()
        if now - self._moved_at < self._hold and len(chunks) >= len(self._placed):
            return changed, False
        if self._arrange(chunks):
            self._moved_at = now
            return changed, True
        return changed, False

    def settle(self) -> None:
        """Put every chunk into its row now, without the wait for `hold`."""
        if self._arrange(self._chunks):
            self._moved_at = self._clock()

    def _arrange(self, chunks: Sequence[ChunkView]) -> bool:
        """Put every chunk into its row; whether any row moved."""
        old, self._placed = self._placed, chunks
        common = min(len(old), len(chunks))
        changed = compress(range(common), map(is_not, old, chunks))
        moved = [number for number in changed if _group(old[number].state) is not _group(chunks[number].state)]
        for number in moved:
            self._leave(number, old[number].state)
        for number in range(common, len(old)):
            self._leave(number, old[number].state)
        entering = [*moved, *range(common, len(chunks))]
        # Those that ended since the last snapshot did so in this order, as near as is known.
        ended = sorted((number for number in entering if chunks[number].state.ended), key=lambda n: _end(chunks[n]))
        for number in ended:
            self._moment += 1
            self._moment_of[number] = self._moment
            self._moments.append(self._moment)
            self._ended.append(number)
        for number in entering:
            # New chunks come in the order of their numbers, so that most of them go to the end of their group.
            if (group := self._open.get(chunks[number].state)) is not None:
                if not group or group[-1] < number:
                    group.append(number)
                else:
                    insort(group, number)
        return bool(entering) or len(old) > common

    def at(self, row: int) -> ChunkView:
        """The chunk in a row, from 0.

        Raises:
            IndexError: there is no such row.
        """
        rest = row
        if rest < 0:
            raise IndexError(row)
        for state in GROUPS:
            group = self._open[state]
            if rest < len(group):
                return self._chunks[group[rest]]
            rest -= len(group)
        if rest >= len(self._ended):
            raise IndexError(row)
        return self._chunks[self._ended[-1 - rest]]

    def row_of(self, number: int) -> int | None:
        """The row of a chunk; None when it has none, or not yet."""
        if not 0 <= number < len(self._placed):
            return None
        state = _group(self._placed[number].state)
        before = 0
        for group in GROUPS:
            if group is state:
                return before + bisect_left(self._open[group], number)
            before += len(self._open[group])
        return before + len(self._ended) - 1 - bisect_left(self._moments, self._moment_of[number])

    def numbers(self) -> list[int]:
        """Every chunk, in its order."""
        return [*chain.from_iterable(self._open[state] for state in GROUPS), *reversed(self._ended)]

    def _leave(self, number: int, state: ChunkState) -> None:
        group = self._open.get(state)
        if group is not None:
            del group[bisect_left(group, number)]
        else:
            place = bisect_left(self._moments, self._moment_of.pop(number))
            del self._ended[place], self._moments[place]


def _group(state: ChunkState) -> ChunkState | None:
    return None if state.ended else state


def _end(chunk: ChunkView) -> tuple[float, int]:
    return (chunk.started_at or 0.0) + chunk.elapsed, chunk.number
