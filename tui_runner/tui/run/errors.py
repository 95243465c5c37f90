"""The errors screen of a run. It lists groups of similar errors, and shows examples of each group."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.store.ledger.reports import (
    ErrorExample,
    FailureGroup,
    chunks_of_errors,
    count_failure_groups,
    error_examples,
    failure_groups,
    shorter_forms,
    sql_of_group,
)
from tui_runner.text.describe import named_item
from tui_runner.text.numbers import ZONE, clock, count, dated, more_kinds, percent, short_plural
from tui_runner.tui.actions import Keys, bindings
from tui_runner.tui.actions.list_keys import Movable
from tui_runner.tui.actions.model import Place
from tui_runner.tui.background import read
from tui_runner.tui.dialogs.questions import Confirm
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.run.chunk_rows import chunk_name
from tui_runner.tui.run.commands import RunCommands, named, retry_confirmation
from tui_runner.tui.run.run_screen import RunScreen
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import Line, PaintedLines, cells, column, fitted, message_spans, own, spread

_READ_EVERY = 3.0
"""Seconds between two reads of the ledger. A read that groups a million messages takes a second."""
_MOST_GROUPS = 200
"""Most groups that are listed. No user reads more groups, and all of them are read from the ledger again each time."""
_WIDE = 90
"""Fewest cells of a line that shows the columns share, chunks, first and last. All columns together take 52 cells, so
that 38 cells are left for the error."""
_NARROW = 60
"""Cells of a line below which the number of attempts is omitted as well, so that errors differ in what is left of their
texts."""
_GROUP_KEYS = ("open_example", "retry_group", "query_group", "next_example", "copy")
"""Ids of the actions on the group under the cursor."""
_NO_GROUP = "there is no error here"
"""Message for a key that applies to a group of errors if none is listed."""
_MESSAGE = 200
"""Most characters of a message in the list. A wide terminal shows no more, and Enter shows the whole message."""
_READABLE_MESSAGE, _LEAST_MESSAGE = 20, 12
"""Fewest cells of a message that are left if other text follows it on the line, and if that text has its shortest form.
With fewer cells, the text is left out, because most of it follows from the numbers of items and attempts."""
_LEAST_ROWS_OF_BOTH = 18
"""Fewest lines of a terminal on which an example is shown below the groups. With fewer lines, too few would be left for
the groups, and Enter opens the example in a dialog."""


class Errors(RunScreen):
    """The errors screen: a list of groups of errors, and below the list an example of the group under the cursor."""

    PLACES = (Place.ERRORS, Place.LIST, Place.INNER, Place.ANYWHERE)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.ERRORS, Place.LIST, Place.INNER)]

    def __init__(self, steering: RunCommands, keys: Keys) -> None:
        super().__init__(steering, keys)
        self._examples: list[ErrorExample] = []
        self._group_key: tuple[str, str] | None = None
        self._example = 0
        self._read_at = float("-inf")
        self._attempts = 0
        self._items = 0
        """Number of failed items in the ledger when the groups were read."""
        self._unlisted = 0
        """Number of groups that are not listed."""
        self._has_read = False

    def compose(self) -> ComposeResult:
        """Yield the head, the groups, the example, and the keys."""
        yield PaintedLines(self._head, id="head")
        yield Rows[FailureGroup](self._group_line, heading=_heading, nothing=self._nothing, id="groups")
        yield PaintedLines(self._example_lines, id="example")
        yield KeyLine(self.keys, self.PLACES, id="keys")

    def update(self, snapshot: Snapshot) -> None:
        """Update the head and the keys.

        Read the groups again if the last read is `_READ_EVERY` seconds old, and once after the run has ended.
        """
        self.query_one("#head", PaintedLines).repaint()
        self._relabel()
        now = time.monotonic()
        if now - self._read_at >= _READ_EVERY or (snapshot.state.ended and self._read_at < float("inf")):
            self._read_at = float("inf") if snapshot.state.ended else now
            self.run_worker(self._read(snapshot.run_id), group="groups", exclusive=True)

    def on_resize(self) -> None:
        """Show the example only on a terminal of at least `_LEAST_ROWS_OF_BOTH` lines."""
        self._show_or_hide_example()

    def _show_or_hide_example(self) -> None:
        self.query_one("#example").display = self._group is not None and self.size.height >= _LEAST_ROWS_OF_BOTH

    def _relabel(self) -> None:
        """Show only keys that have an effect now. Without errors, there is nothing to read, copy or retry."""
        labels = self.inner_labels() | {"errors": ""}
        if not self.steering.goes_on:
            labels["retry_group"] = ""
        if self._group is None:
            labels |= dict.fromkeys(_GROUP_KEYS, "")
        self.query_one(KeyLine).relabel(labels)

    def _nothing(self) -> str:
        """Return the text that is shown while no group is listed. It says why."""
        snapshot = self.steering.snapshot
        if snapshot is None or not self._has_read:
            return "looking …"
        if snapshot.errors or snapshot.items_failed:
            return "the errors are being written …"  # the snapshot has failures that are not in the database yet
        return "no attempt has failed" if snapshot.state.ended else "no attempt has failed so far"

    def list_in_use(self) -> Movable:
        """Return the list of groups, for the keys that move the cursor."""
        return self.query_one(Rows)

    def on_rows_moved(self) -> None:
        """Show an example of the group to which the cursor has moved."""
        self._show_example()

    def on_rows_opened(self) -> None:
        """Show the example of the chosen group in full."""
        self.action_open_example()

    async def _read(self, run_id: int) -> None:
        database = self.steering.database
        groups = await read(database, failure_groups, run_id, _MOST_GROUPS) or []
        every = await read(database, count_failure_groups, run_id) if len(groups) == _MOST_GROUPS else None
        self._unlisted = max((every or 0) - len(groups), 0)
        rows: Rows[FailureGroup] = self.query_one(Rows)
        self._has_read = True
        self._attempts = sum(group.attempts for group in groups)
        self._items = sum(group.items_failed for group in groups)
        place = next(
            (number for number, group in enumerate(groups) if (group.type, group.message) == self._group_key), 0
        )
        rows.show(groups, place=place if self._group_key else None)
        self.query_one("#head", PaintedLines).repaint()
        self._show_or_hide_example()
        self._relabel()
        self._show_example()

    def _show_example(self) -> None:
        group = self._group
        now = None if group is None else (group.type, group.message)
        if now != self._group_key:
            self._group_key, self._examples, self._example = now, [], 0
        if group is not None and self.steering.snapshot is not None and not self._examples:
            self.run_worker(self._read_examples(self.steering.snapshot.run_id, group), group="examples", exclusive=True)
        self.query_one("#example", PaintedLines).repaint()

    async def _read_examples(self, run_id: int, group: FailureGroup) -> None:
        self._examples = await read(self.steering.database, error_examples, run_id, group.type, group.message) or []
        self.query_one("#example", PaintedLines).repaint()

    @property
    def _group(self) -> FailureGroup | None:
        rows: Rows[FailureGroup] = self.query_one(Rows)
        return rows.current

    def action_next_example(self) -> None:
        """Show the next example of the group."""
        self._example = min(self._example + 1, max(len(self._examples) - 1, 0))
        self.query_one("#example", PaintedLines).repaint()

    def action_previous_example(self) -> None:
        """Show the previous example of the group."""
        self._example = max(self._example - 1, 0)
        self.query_one("#example", PaintedLines).repaint()

    def action_open_example(self) -> None:
        """Show the example in full in a dialog."""
        group = self._group
        if group is None:
            self.say(_NO_GROUP)
        elif self._examples:
            self.app.push_screen(Reader(self._example_title(in_full=True), self._example_text(group)))

    def action_copy(self) -> None:
        """Copy the whole example to the clipboard."""
        group = self._group
        if group is None:
            self.say(_NO_GROUP)
        elif self._examples:
            self.copied(f"{self._example_title(in_full=True)}\n{self._example_text(group)}", "error")

    def action_query_group(self) -> None:
        """Show the errors of the group in the query screen."""
        group, snapshot = self._group, self.steering.snapshot
        if group is None:
            self.say(_NO_GROUP)
        elif snapshot is not None:
            self.open_query(sql_of_group(snapshot.run_id, group.type, group.message))

    def action_retry_group(self) -> None:
        """Ask whether to retry the failed items of the chunks in which errors of this group occurred."""
        group, snapshot = self._group, self.steering.snapshot
        if group is None:
            self.say(_NO_GROUP)
        elif not self.steering.goes_on:
            self.say("the run is over; press R on the dashboard to retry its failed items")
        elif snapshot is not None:
            self.run_worker(self._retry(snapshot.run_id, group), group="retry", exclusive=True)

    async def _retry(self, run_id: int, group: FailureGroup) -> None:
        numbers = await read(self.steering.database, chunks_of_errors, run_id, group.type, group.message) or []
        of_group = set(numbers)
        chunks = [chunk for chunk in self.steering.failed_chunks() if chunk.number in of_group]
        if not chunks:
            self.notify("no chunk of this group has ended with failed items yet; wait until one ends", markup=False)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.steering.retry_chunks(chunks)
                self.query_one("#head", PaintedLines).repaint()

        self.app.push_screen(
            Confirm(
                f"Run again every failed item of {named(chunks)}?",
                f"Not of this group alone, whatever the error: {retry_confirmation(chunks)}",
                "Run again",
                "Leave it",
            ),
            answered,
        )

    def _head(self, width: int) -> list[Line]:
        snapshot = self.steering.snapshot
        if snapshot is None:
            return []
        if self.steering.asked.texts:
            return [((" … asked: " + " · ".join(self.steering.asked.texts), "accent"),)]
        groups = len(self.query_one(Rows).rows)
        narrow = width < _NARROW
        text = ""
        if groups and not narrow:
            text = f"  {short_plural(self._attempts, 'failed attempt')} of {short_plural(groups, 'kind')}"
        if self._unlisted and not narrow:
            text += f", {more_kinds(self._unlisted)}"
        failed = self._items if groups else snapshot.items_failed
        title = " errors" if narrow else f" errors of {own(snapshot.job, 60)}"
        items = (f"  {short_plural(failed, 'item')} failed", "bad" if failed else "muted")
        return [fitted(((title, "strong"), items, (text, "muted")), width)]

    def _group_line(self, group: FailureGroup, width: int) -> Line:
        line: list[tuple[str, str]] = [(column(count(group.items_failed), 6, right=True), "strong")]
        if width >= _NARROW:
            line.append((column(count(group.attempts), 10, right=True), "text"))
        if width >= _WIDE:
            line.append((column(percent(group.items_failed, self._items), 8, right=True), "text"))
            line.append((column(count(group.chunks), 8, right=True), "text"))
            line.append((f"  {clock(group.first_seen.timestamp())}  {clock(group.last_seen.timestamp())}", "muted"))
        line.append(("  ", "text"))
        text = message_spans(group.newest_message or group.message, "text", _MESSAGE)
        line += [(own(group.type, 60) + (": " if text else ""), "bad"), *text]
        if not group.outcome:
            return tuple(line)
        room = width - cells(tuple(line))
        forms = shorter_forms(group.outcome)
        for form, least in [*((form, _READABLE_MESSAGE) for form in forms), (forms[-1], _LEAST_MESSAGE)]:
            tail = f"  ({own(form)})"
            if len(tail) <= room + max(cells(tuple(text)) - least, 0):
                return (*fitted(tuple(line), width - len(tail)), (tail, "muted"))
        if group.failed_otherwise:  # the beginning of another error is worth reading
            return (*line, (f"  ({own(group.outcome)})", "muted"))
        return tuple(line)

    def _example_lines(self, width: int) -> list[Line]:
        group = self._group
        if group is None:
            return []
        if not self._examples:
            return [((" … ", "muted"),)]
        height = self.query_one("#example").size.height
        which = f"{self._example + 1} of {_listed(len(self._examples), group.attempts)} "
        head = spread(((f" {self._example_title()}", "accent"),), ((which, "muted"),), width)
        value = self._examples[self._example].text
        lines: list[Line] = [head, ((" value ", "muted"), (own(value, width), "text"))] if value else [head]
        text = [own(line.rstrip()) for line in self._error_text(group).split("\n")]
        room = max(height - len(lines), 1)
        # If the text is too long, omit its beginning: the end of a traceback says what went wrong.
        shown = text if len(text) <= room else ["…", *text[len(text) - room + 1 :]]
        return [*lines, *(((f" {line}", "text"),) for line in shown)]

    def _example_title(self, *, in_full: bool = False) -> str:
        example = self._examples[self._example]
        final = "the last" if example.final else "tried again"
        at = example.occurred_at.timestamp()
        when = f"{dated(at) if in_full else clock(at)} {ZONE}"
        # The screen shows the item's value on the next line, so that this line has room for the other texts.
        name = own(named_item(example.item, example.text if in_full else ""), 100)
        return f"{name} · {chunk_name(example.chunk)} · attempt {example.attempt}, {final} · {when}"

    def _example_text(self, group: FailureGroup) -> str:
        value = self._examples[self._example].text
        return f"value: {value}\n\n{self._error_text(group)}" if value else self._error_text(group)

    def _error_text(self, group: FailureGroup) -> str:
        example = self._examples[self._example]
        return example.traceback.rstrip() or f"{group.type}: {example.message}"


def _listed(listed: int, attempts: int) -> str:
    return f"{listed} listed" if listed < attempts else f"{listed}"


def _heading(width: int) -> Line:
    # On narrow terminals, leave the room to the texts of the errors.
    attempts = "  attempts" if width - 2 >= _NARROW else ""
    more = f"   share  chunks  first {ZONE} last    " if width - 2 >= _WIDE else ""
    return ((f"   items{attempts}{more}  error", "muted"),)
