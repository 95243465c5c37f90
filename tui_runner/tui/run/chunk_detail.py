"""Shows one chunk: its worker, its items in flight, failed items with their errors, and slow items."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer

from tui_runner.engine.progress.chunk_views import ChunkView
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.store.ledger.reports import FAILED_ITEMS, EndedItem, failed, item_bounds, slowest
from tui_runner.text.numbers import NONE, ZONE, clock, count, latency, short_plural, size
from tui_runner.tui.actions import Keys, bindings
from tui_runner.tui.actions.list_keys import Movable
from tui_runner.tui.actions.model import Place
from tui_runner.tui.background import read
from tui_runner.tui.run.chunk_rows import chunk_bar, chunk_name, chunk_rate, executed, time_taken
from tui_runner.tui.run.commands import AGAIN, RunCommands
from tui_runner.tui.run.run_screen import ChunkCommands
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import (
    CHUNK_GLYPHS,
    SHOWN_CHARACTERS,
    WARNING,
    Line,
    PaintedLines,
    PaintedWidget,
    Span,
    cells,
    column,
    end_of,
    fitted,
    message_spans,
    own,
    spread,
    state_span,
    wait_text,
)

_READ_EVERY = 2.0
"""Seconds between two reads of the ledger. A read costs the process that writes the ledger some milliseconds."""
_READ_BESIDE = 5.0
"""Seconds between two reads of the ledger for the pane beside the table. They are more, because the pane may be visible
for hours."""
_READ_AGAIN = 1.0
"""Seconds between two reads of a chunk of which no ended item is recorded yet. The first results of a chunk are
committed soon, and the user should not wait for them as long as for later ones."""
_STILL = 0.15
"""Seconds for which the cursor must stay on a chunk before the pane reads its items from the ledger. So a cursor key
that is kept pressed causes no reads."""
_ITEM = 9
"""Cells of the position of an item in the input: nine digits, so that the positions of a billion items are aligned."""
_SECONDS = 9
"""Cells of a duration. The texts of `latency` are not longer."""
_VALUE = 80
"""Most characters of an ended item's value. Most URLs fit, and the item's error begins on the same line."""
_WIDE = 110
"""Cells of a line below which a failed item's value is cut to a third of the line, to make room for its error."""
_LEAST_VALUE = 12
"""Fewest cells of an item's value in the pane. A shorter part of a value would say too little."""


class ChunkItems:
    """The lines about one chunk. Items in flight come from snapshots, and all other items from the ledger.

    Args:
        steering: has the newest snapshot and the database.
        number: number of the chunk.
        every: seconds between two reads of the ledger.
        narrow: True for the pane, whose lines show only the ends of values, without positions in the input.
    """

    def __init__(self, steering: RunCommands, number: int, *, every: float = _READ_EVERY, narrow: bool = False) -> None:
        self.number = number
        self._narrow = narrow
        self._steering = steering
        self._every = every
        self._failed: list[EndedItem] = []
        self._slowest: list[EndedItem] = []
        self._bounds: tuple[int, int] | None = None
        self._read_at = float("-inf")
        self._as_of = ""
        """Time of the newest read while the run goes on, as text; the items that have ended since are not known."""

    @property
    def chunk(self) -> ChunkView | None:
        """The chunk in the newest snapshot, or None if that does not have the chunk."""
        snapshot = self._steering.snapshot
        return snapshot.chunks[self.number] if snapshot and self.number < len(snapshot.chunks) else None

    def due(self, snapshot: Snapshot) -> bool:
        """Return True if the ledger must be read now. Call this method only if the read will be made.

        A read is due if the last one is `every` seconds old, or `_READ_AGAIN` seconds if it found none of the items
        that have ended. It is due once more after the run has ended.
        """
        now, chunk = time.monotonic(), self.chunk
        is_missing = not self._slowest and chunk is not None and executed(chunk) > chunk.skipped
        if now - self._read_at < (_READ_AGAIN if is_missing else self._every) and not (
            snapshot.state.ended and self._read_at < float("inf")
        ):
            return False
        # An ended run does not change, so this read is the last one.
        self._read_at = float("inf") if snapshot.state.ended else now
        return True

    async def read(self, run_id: int) -> None:
        """Read the failed and the slowest items from the ledger."""
        database, snapshot = self._steering.database, self._steering.snapshot
        goes_on = snapshot is not None and not snapshot.state.ended
        as_of = f" at {clock(snapshot.began_at + snapshot.at)} {ZONE}" if snapshot is not None and goes_on else ""
        self._failed = await read(database, failed, run_id, self.number) or []
        self._slowest = await read(database, slowest, run_id, self.number) or []
        self._bounds = await read(database, item_bounds, run_id, self.number)
        self._as_of = as_of

    def head(self, width: int) -> list[Line]:
        """Return four lines about the chunk as a whole, or two if its items run in other chunks.

        Return no lines if the newest snapshot does not have the chunk.
        """
        chunk, snapshot = self.chunk, self._steering.snapshot
        if chunk is None or snapshot is None:
            return []
        title: Line = ((f" {chunk_name(chunk.number)}", "strong"), (f" of {own(snapshot.job, 60)}", "muted"))
        taken = time_taken(chunk)
        here = executed(chunk) - chunk.skipped
        if taken and here and chunk.skipped:  # the time is for items of this process only
            taken += f" for {short_plural(here, 'item')}"
        state: Line = (
            state_span(chunk),
            (f"  {taken} ", "strong"),
        )
        if not chunk.items:
            moved = " its items run in other chunks, which have higher numbers"
            return [spread(title, state, width), fitted(((moved, "muted"),), width)]
        share = min(executed(chunk) / chunk.items, 1.0)
        before = f"({chunk.skipped:,} before) " if chunk.skipped and not self._narrow else ""
        text = f"  {int(share * 100)} %  {executed(chunk):,} / {chunk.items:,} {before}"
        spans = chunk_bar(chunk, max(width - len(text) - 1, 0))
        figures: list[Span] = [(" ", "text")]
        for label, value, role in (
            ("items/s", chunk_rate(chunk) or NONE, "strong"),
            ("failed", count(chunk.failed), "bad" if chunk.failed else "strong"),
            ("retries", count(chunk.retries), "strong"),
            ("rows", count(chunk.rows), "strong"),
        ):
            figures += [(f"{label} ", "muted"), (f"{value}{'  ' if self._narrow else '   '}", role)]
        return [
            spread(title, state, width),
            ((" ", "text"), *spans, (text, "text")),
            tuple(figures),
            self._worker_line(chunk, snapshot),
        ]

    def _worker_line(self, chunk: ChunkView, snapshot: Snapshot) -> Line:
        if self._steering.asked.texts:
            return ((" … asked: " + " · ".join(self._steering.asked.texts), "accent"),)
        items: Span = (self._items_text(chunk, snapshot), "muted")
        worker = next((view for view in snapshot.worker_views if view.number == chunk.worker), None)
        if chunk.wait is not None:
            return ((f" {CHUNK_GLYPHS[chunk.state]} {wait_text(chunk.wait)}   ", "waiting"), items)
        if worker is None:
            no_worker = "" if chunk.state.ended else "with no worker   "
            return ((f" {no_worker if chunk.worker is None else f'worker {chunk.worker}   '}", "muted"), items)
        host = f" on {own(worker.host, 60)}" if worker.host else ""
        return (
            (f" worker {worker.number}{host}  pid {worker.pid}  {size(worker.rss)}   ", "text"),
            items,
        )

    def _items_text(self, chunk: ChunkView, snapshot: Snapshot) -> str:
        """Return the positions of the chunk's items, or their number if the positions are not consecutive.

        After a resume or retry, items that failed run again in another chunk, together with new ones.
        """
        first, last = chunk.first_item, chunk.first_item + chunk.items - 1
        known = [*(self._bounds or ()), *(item.item for item in snapshot.oldest if item.chunk == self.number)]
        if all(first <= position <= last for position in known):
            return f"items {first:,}–{last:,}"
        return short_plural(chunk.items, "item") + ("" if self._narrow else ", not in a row")

    def lines(self, snapshot: Snapshot, width: int) -> list[Line]:
        """Return the lines about items in flight, failed items and the slowest items, for `width` cells."""
        return [line for section in self.sections(snapshot, width) for line in section]

    def sections(self, snapshot: Snapshot, width: int) -> list[list[Line]]:
        """Return the lines of `lines` in sections: a title, then items. All but the first begin with a blank line."""
        line_width = width if self._narrow else None
        chunk = self.chunk
        flying = [item for item in snapshot.oldest if item.chunk == self.number]
        held = sum(bool(item.held_by) for item in flying)
        in_flight = chunk.in_flight if chunk else 0
        known = min(len(flying) - held, in_flight)
        remark = "" if not known else "oldest first" if known == in_flight else f"the {known} oldest"
        if flying:
            shown = "age, value" if self._narrow else "position, age, value"
            remark = f"{remark}: {shown}" if remark else shown
        lines: list[Line] = []
        sections = [lines]
        if chunk is None or in_flight or held or not chunk.state.ended:
            lines.append(_title(f"in flight: {in_flight}{f' (+{held} held)' if held else ''}", remark))
        for item in flying:
            by = f"  held by {own(item.held_by, 60)}" if item.held_by else ""
            attempt = f"attempt {item.attempt}  " if item.attempt > 1 else ""
            took = f" {column(latency(item.seconds), _SECONDS, right=True)}  "
            head: Line = (*self._position(item.item), (took, "strong"), (attempt, "warn"))
            lines.append((*head, (_value(item.text, item.item, _room(head, line_width)), "text"), (by, "muted")))
        if in_flight > known:
            later = f"and {in_flight - known} that began later are not listed"
            lines.append(((f"{'':{_ITEM}}  {later}", "muted"),))
        columns = "duration, value" if self._narrow else "position, duration of the last attempt, value"
        if self._failed:
            more = "" if self._narrow else ", last error"
            lines = [(), _title(self._failed_title(chunk), columns + more)]
            # On a narrow line, cut a long value, so that the error after it is visible.
            beside = None if self._narrow or width >= _WIDE else width // 3
            lines += [(*self._position(item.item), *_ended(item, beside, line_width)) for item in self._failed]
            sections.append(lines)
        if self._slowest:
            lines = [(), _title(f"slowest{self._as_of}", columns)]
            lines += [(*self._position(item.item), *_ended(item, None, line_width)) for item in self._slowest]
            sections.append(lines)
        sections = [section for section in sections if section]
        if sections and not sections[0][0]:
            del sections[0][0]
        return sections

    def _failed_title(self, chunk: ChunkView | None) -> str:
        """Return the title of the failed and cancelled items: how many there are, and how many of them are listed.

        The items that are counted first appear in the list when their results are committed.
        """
        listed = len(self._failed)
        counted = listed if chunk is None else chunk.failed + chunk.cancelled
        kinds = {item.state == "cancelled" for item in self._failed}
        kind = "failed or cancelled" if len(kinds) > 1 else "cancelled" if True in kinds else "failed"
        if listed > counted:  # a resume, a retry or the end of an outage runs failed items again: none is counted twice
            least = "at least " if listed == FAILED_ITEMS else ""
            return f"{kind}: {count(counted)}, and {least}{count(listed - counted)} that run again"
        if listed == counted:
            return f"{kind}: {count(counted)}"
        if listed == FAILED_ITEMS:
            return f"{kind}: {count(counted)}, the first {count(listed)}"
        return f"{kind}: {count(counted)}, {count(listed)} written so far"

    def _position(self, item: int) -> Line:
        return () if self._narrow else ((f" {column(str(item), _ITEM, right=True)}", "muted"),)


class ChunkDetail(ChunkCommands):
    """The screen of one chunk.

    Args:
        steering: passes commands to the run.
        keys: the keys of every action.
        number: number of the chunk.
    """

    PLACES = (Place.CHUNK, Place.LIST, Place.INNER, Place.ANYWHERE)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.CHUNK, Place.LIST, Place.INNER)]

    def __init__(self, steering: RunCommands, keys: Keys, number: int) -> None:
        super().__init__(steering, keys)
        self._items = ChunkItems(steering, number)

    def compose(self) -> ComposeResult:
        """Yield four lines about the chunk, its items, and the keys."""
        yield PaintedLines(self._items.head, id="head")
        yield Rows[Line](_as_it_is, cursor=False, id="items")
        yield KeyLine(self.keys, self.PLACES, id="keys")

    def update(self, snapshot: Snapshot) -> None:
        """Show the chunk in `snapshot`. Read the ledger if the last read is old enough."""
        self.query_one(PaintedLines).repaint()
        self.query_one(Rows).show(self._items.lines(snapshot, self.size.width))
        self.query_one(KeyLine).relabel(self.inner_labels() | _labels(self._items.chunk))
        if self._items.due(snapshot):
            self.run_worker(self._read(snapshot.run_id), exclusive=True)

    def list_in_use(self) -> Movable:
        """Return the list of items, which the keys of lists scroll."""
        return self.query_one(Rows)

    def chosen(self) -> Sequence[ChunkView]:
        """Return a list with the chunk of this screen, or an empty list if the newest snapshot does not have it."""
        chunk = self._items.chunk
        return [chunk] if chunk else []

    def show_asked(self) -> None:
        """Show the commands that no snapshot has confirmed yet in the last line above the items."""
        self.query_one(PaintedLines).repaint()

    def action_copy(self) -> None:
        """Copy all lines about the items to the clipboard."""
        lines = ["".join(text for text, _ in line) for line in self.query_one(Rows).rows]
        self.copied("\n".join(lines), chunk_name(self._items.number))

    async def _read(self, run_id: int) -> None:
        await self._items.read(run_id)
        if self.steering.snapshot is not None:
            self.query_one(PaintedLines).repaint()
            self.query_one(Rows).show(self._items.lines(self.steering.snapshot, self.size.width))


class ChunkPane(PaintedWidget):
    """The pane beside the table, which shows the chunk under the cursor of the table.

    Args:
        steering: has the newest snapshot and the database.
        id: id of the widget.
    """

    def __init__(self, steering: RunCommands, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._steering = steering
        self._items: ChunkItems | None = None
        self._timer: Timer | None = None

    def show(self, number: int | None) -> None:
        """Show the chunk with this number. None changes nothing.

        The chunk's items are read from the ledger only after the cursor has stayed on it for `_STILL` seconds.
        """
        snapshot = self._steering.snapshot
        if number is None or snapshot is None:
            return
        if self._items is None or self._items.number != number:
            self._items = ChunkItems(self._steering, number, every=_READ_BESIDE, narrow=True)
            if self._timer is not None:
                self._timer.stop()
            self._timer = self.set_timer(_STILL, self._look)
        elif self._timer is None:
            self._look()
        self.repaint()

    def _look(self) -> None:
        self._timer = None
        items, snapshot = self._items, self._steering.snapshot
        if items is not None and snapshot is not None and items.due(snapshot):
            self.run_worker(self._read(items, snapshot.run_id), exclusive=True)

    async def _read(self, items: ChunkItems, run_id: int) -> None:
        await items.read(run_id)
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the lines about the chunk, each after a vertical line at the left edge."""
        items, snapshot = self._items, self._steering.snapshot
        if items is None or snapshot is None:
            return []
        lines = [*items.head(width - 1), ()]
        for section in items.sections(snapshot, width - 1):
            title = 1 if section[0] else 2  # with the blank line before it
            if len(section) > title and len(lines) + title >= height:
                break  # there would be room for the title alone, as if the section had no items
            lines += section
        return [(("│", "faint"), *fitted(line, width - 1)) for line in lines[:height]]


def _title(text: str, remark: str) -> Line:
    return ((f" {text}", "strong"), (f"  {remark}", "muted"))


def _value(text: str, item: int, room: int | None, limit: int = SHOWN_CHARACTERS) -> str:
    value = own(text or f"item {item}", limit if room is None else SHOWN_CHARACTERS)
    return value if room is None else end_of(value, room)


def _room(head: Line, line_width: int | None) -> int | None:
    """Return the number of cells that `head` leaves to a value in the pane, or None outside of the pane.

    In the pane, a longer value is cut at its beginning, because the URLs of one site differ at their ends.
    """
    return None if line_width is None else max(line_width - cells(head), _LEAST_VALUE)


def _ended(item: EndedItem, room: int | None, line_width: int | None) -> Line:
    line: list[Span] = [(f" {column(latency(item.seconds), _SECONDS, right=True)}  ", "strong")]
    if item.state != "ok":
        line.append((f"{WARNING} {own(item.state, 12)}  ", "bad"))
    line.append((_value(item.text, item.item, _room(tuple(line), line_width) or room, _VALUE), "text"))
    if line_width is not None and cells(tuple(line)) + _LEAST_VALUE > line_width:
        return tuple(line)  # there is no room for more
    if item.error:
        line += [("  ", "text"), *message_spans(item.error, "warn")]
    attempts = f"  {item.attempts} attempts" if item.attempts > 1 else ""
    line.append((f"{attempts}  {short_plural(item.rows, 'row')}" if item.state == "ok" else attempts, "muted"))
    return tuple(line)


def _labels(chunk: ChunkView | None) -> dict[str, str]:
    if chunk is None:
        return {}
    done = {"pause_chunk": "", "cancel_chunk": ""} if chunk.state.ended else {}
    if chunk.state not in AGAIN:
        done["retry_chunk"] = ""
    return {"pause_chunk": "resume chunk", **done} if str(chunk.state) == "paused" else done


def _as_it_is(line: Line, width: int) -> Line:
    return line
