"""Cuts chunks for runs whose items add items. The input is stored in the *frontier*, and chunks are cut from there.

The frontier is a table of the ledger (`runner.added`). So it takes no memory, and it never disagrees with the rest of
the ledger: added items are committed with the rows of the item that added them. The whole input is in the frontier
before the first item runs. Otherwise an item of the input could be added by another item while it is in flight, and run
twice.

The frontier has ended when every chunk has ended and no item is left in it.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator

import duckdb
import pyarrow as pa

from tui_runner.engine.packed_items import pack
from tui_runner.engine.planning.cutting import Cutter, ItemsRead, skipped_chunks
from tui_runner.engine.scheduling.events import ChunksSkipped
from tui_runner.engine.worker.item_columns import comes_back
from tui_runner.errors import DatabaseError, UserError
from tui_runner.inputs import InputChunk, Source
from tui_runner.inputs.keys import plain_key
from tui_runner.store.database import Database
from tui_runner.store.ingest.frontier import FrontierRules
from tui_runner.store.ledger.frontier import Frontier
from tui_runner.store.ledger.recorded import RecordedItems
from tui_runner.store.records import ADDED
from tui_runner.text.messages import plain
from tui_runner.text.numbers import short_plural

_MOST_NAMED = 10
"""Most sites and prefixes whose reached limits are named in the log, each in a line of its own. Hundreds of lines would
push out all other events."""
_SLICE = 10_000
"""Items of the input that are added to the frontier at once. The number is limited, so that memory stays bounded."""


def seeds(source: Source, rules: FrontierRules) -> Iterator[pa.Table]:
    """Yield the items of an input as rows of `records.ADDED`, in slices.

    Raises:
        UserError: the ledger cannot store an item, or the input is broken.
    """
    slice_: list[dict[str, object]] = []
    for index, value in enumerate(source):
        if rules.items is not None and index >= rules.items:
            break
        try:
            text = json.dumps(value) if comes_back(value) else None
            what = f"item {index:,} is a {type(value).__name__}, which the ledger cannot keep"
        except RecursionError:
            text, what = None, f"item {index:,} is nested too deeply, or contains itself"
        if text is None:
            raise UserError(what, plain(source.text or "input"), "give text, numbers, or lists and dicts of them")
        slice_.append({"added_by": None, "key": plain_key(value), "value": text})
        if len(slice_) == _SLICE:
            yield pa.Table.from_pylist(slice_, schema=ADDED)
            slice_ = []
    if slice_:
        yield pa.Table.from_pylist(slice_, schema=ADDED)


class CutFrontier(Cutter):
    """A cutter that cuts the frontier of a run into chunks, until no more items can be added.

    Args:
        database: database of the run.
        recorded: the items that earlier processes recorded.
        resumed: True if an earlier process has begun the run.
        rules: limits of the frontier.

    Attributes:
        tell: called with the number of items in the frontier whenever it has grown.
    """

    def __init__(
        self,
        database: Database,
        recorded: RecordedItems,
        *,
        resumed: bool,
        rules: FrontierRules | None = None,
    ) -> None:
        self._database = database
        self._frontier = Frontier(database, recorded.run_id)
        self._recorded = recorded
        self._rules = rules or FrontierRules()
        self.tell: Callable[[int], None] = lambda items: None
        self._length = 0
        self._first = self._number = recorded.highest_chunk() + 1 if resumed else 0
        self._next = 0
        """Position of the first item that was not read from the frontier yet."""
        self._has_skipped = not resumed
        """True if `next` has returned the chunks that earlier processes recorded as done, or if there are none."""
        self._changed = threading.Event()
        """Set when the frontier may have grown or ended since the last query."""
        self._stopped = False

    def next(self, size: int) -> ItemsRead | ChunksSkipped | None:
        """Return the next chunk of at most `size` items.

        Wait for items to be added. Return None if no more can be added, after `stop`, or when the database is closed.
        """
        if not self._has_skipped:
            self._has_skipped = True
            done = self._recorded.done_by_chunk()
            if skipped := skipped_chunks(done, 0, len(done)):
                return skipped
        while not self._stopped:
            self._changed.clear()  # before the query, because items committed during it need another query
            try:
                found = self._frontier.look(
                    self._next,
                    size,
                    recorded_below=self._recorded.end,
                    chunks=range(self._first, self._number),
                )
            except (DatabaseError, duckdb.Error):
                if self._database.is_closed:  # the run has ended meanwhile
                    return None
                raise
            if found.length != self._length:
                self._length = found.length
                self.tell(found.length)
            if found.items:
                return self._chunk(found.items)
            if found.is_last:
                return None
            self._changed.wait()
        return None

    def committed(self) -> None:
        """Make `next` check again for added items and for the end of the last chunk."""
        self._changed.set()

    def stop(self) -> None:
        """End the wait of `next`, because the run adds no more items."""
        self._stopped = True
        self._changed.set()

    def warnings(self) -> list[str]:
        """Return warnings about limits that were reached, so that items may have been left out."""
        found = []
        if self._rules.items is not None and self._length >= self._rules.items:
            found.append(
                f"The run has reached its limit of {short_plural(self._rules.items, 'item')}. "
                "Items found beyond it were not added. To add them, start a new run with a larger --limit"
            )
        reached = self._frontier.reached(self._rules)
        for name, group, bound in reached[:_MOST_NAMED]:
            option = f"--{name.replace('_', '-')}"
            found.append(
                f"{plain(group)} has reached its limit of {short_plural(bound, 'page')}. "
                f"Pages found beyond it were not added. To add them, start a new run with a larger {option}"
            )
        if len(reached) > _MOST_NAMED:
            found.append(f"{len(reached) - _MOST_NAMED:,} more sites or paths have reached their limits")
        return found

    def _chunk(self, rows: Iterable[tuple[int, str, bool]]) -> ItemsRead:
        positions = [position for position, _, _ in rows]
        known = {position for position, _, failed in rows if failed}
        number, self._number = self._number, self._number + 1
        self._next = positions[-1] + 1
        is_whole = self._next - positions[0] == len(positions)
        places = range(positions[0], self._next) if is_whole else array("q", positions)
        chunk = InputChunk(number, places, pack([json.loads(value) for _, value, _ in rows]))
        return ItemsRead(chunk, places, 0, known)
