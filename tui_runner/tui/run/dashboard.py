"""The dashboard, which shows a run on one screen. This module divides the terminal among its parts and handles keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal

from tui_runner.engine.progress.chunk_views import ChunkView
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.store.ledger.reports import RunCurves, failure_groups, run_curves
from tui_runner.text.numbers import rate, size
from tui_runner.tui.actions import ACTIONS, Keys, bindings, shown_key
from tui_runner.tui.actions.list_keys import Movable
from tui_runner.tui.actions.model import DASHBOARD, Place
from tui_runner.tui.background import read
from tui_runner.tui.dialogs.questions import Choice, Choose, Confirm
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.run.chart import SPANS, Chart, memory, throughput
from tui_runner.tui.run.chunk_detail import ChunkDetail, ChunkPane
from tui_runner.tui.run.chunk_map import ChunkMap
from tui_runner.tui.run.chunk_rows import COLUMNS
from tui_runner.tui.run.chunk_table import ChunkTable
from tui_runner.tui.run.commands import AGAIN, GOING, RunCommands, nothing_runs_again, retry_confirmation
from tui_runner.tui.run.event_line import EventLine
from tui_runner.tui.run.header import Failures, Figures, Header, Progress, Summary
from tui_runner.tui.run.live_settings import LIVE, LiveSettings, limits_as_text, limits_with, values_of
from tui_runner.tui.run.run_screen import ChunkCommands
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.paint import CHUNK_GLYPHS

SIDE_BY_SIDE = 80
"""Fewest cells of a terminal on which the two graphs are side by side. On 80 cells, each graph has 40: 2 for its frame,
8 for its scale and 30 for its area. The area has 60 columns of dots, one for each second of the shortest time span."""
WITH_PANE = 160
"""Fewest cells of a terminal on which a pane beside the table shows the chunk under the cursor. The pane takes 33 % of
the cells, 52, and a blank, because names and errors are long. This leaves 107 to the table, enough for all columns but
three (items, in flight, worker) and a progress bar of 16 cells."""
_ONE_GRAPH = 20
"""Fewest lines of a narrow terminal with one graph. The graph takes 5 lines, and header, progress, figures, events and
keys take 7 at most, so that the table has at least 8: its heading and 7 chunks."""
_TWO_GRAPHS = 32
"""Fewest lines of a narrow terminal with two graphs, one above the other. They take 10 lines, and header, progress,
figures, events and keys take 7 at most, so that the table has about half of the lines."""
_WITH_GRAPHS = 19
"""Fewest lines of a wide terminal with graphs. The graphs take 6 lines, and header, progress, figures, events and keys
take 6, so that the table has 7: its heading and 6 chunks."""


class Graphs(StrEnum):
    """The arrangement of the two graphs. Its value is the name of the CSS class for it."""

    NONE = "none"
    ONE = "one"
    STACKED = "stacked"
    BESIDE = "beside"


@dataclass(frozen=True, slots=True)
class Plan:
    """The number of lines for each part of the dashboard. The chunk table gets the lines that are left.

    Attributes:
        graphs: arrangement of the graphs.
        graph_lines: lines of one graph with its frame; 0 without graphs.
        figure_lines: lines of figures.
        event_lines: fewest lines for problems and events.
    """

    graphs: Graphs
    graph_lines: int
    figure_lines: int
    event_lines: int


def plan(width: int, height: int) -> Plan:
    """Return the plan for a terminal of `width` cells and `height` lines."""
    # A terminal with fewer lines has none to spare: the table gets the lines that all other parts leave.
    event_lines = 2 if height >= 16 else 1
    figure_lines = 2 if width < 60 and height >= 12 else 1
    if width >= SIDE_BY_SIDE:
        if height < _WITH_GRAPHS:
            return Plan(Graphs.NONE, 0, figure_lines, event_lines)
        # Graphs get a quarter of the height. So the table, with which the user works, gets at least half of it on a
        # terminal of 24 lines or more. With less than 6 lines, graphs would be too flat.
        return Plan(Graphs.BESIDE, min(max(height // 4, 6), 18), figure_lines, event_lines)
    if height >= _TWO_GRAPHS:
        return Plan(Graphs.STACKED, min(height // 6, 10), figure_lines, event_lines)
    if height >= _ONE_GRAPH:
        return Plan(Graphs.ONE, 5, figure_lines, event_lines)
    return Plan(Graphs.NONE, 0, figure_lines, event_lines)


_AROUND = 4
"""Lines of the header, the progress, the keys, and the blank line below the summary."""
_KEY_LINES = 1
"""Lines of the footer."""
_HOST_KEYS = ("hosts", "pause_host")
"""Ids of the actions that open the hosts screen, and resume a host on that screen. A message about a paused host names
the keys of both."""
_CURVES_EVERY = 15.0
"""Seconds between two reads of the curves of the whole run. A curve has 60 points. In a run of an hour, a point stands
for a minute, so that four reads show it."""
_NO_CHUNK = "there is no chunk here"
"""Message for a key that applies to a chunk if none is listed."""
_LEAST_TABLE = 2
"""Fewest lines of the table: the heading and one chunk, so that the cursor is always visible."""


def _summary_title(snapshot: Snapshot) -> str:
    return f"run {snapshot.run_id}{'' if snapshot.state.ended else ' so far'}"


def _labels(state: RunState, marked: int, chosen: Set[ChunkState], *, can_retry: bool, failed: bool) -> dict[str, str]:
    """Return labels of actions for the footer. Keys that have no effect now get an empty label, which hides them.

    Args:
        state: state of the run.
        marked: number of marked chunks.
        chosen: states of the chunks to which a command on chunks would apply.
        can_retry: True if the run has finished and some of its items can run again.
        failed: True if any item has failed or was cancelled.
    """
    if state.ended:
        hidden = [action.id for action in ACTIONS if action.place in (Place.RUN, Place.CHUNK)]
        labels = {"quit_run": "leave", **dict.fromkeys(hidden, ""), "summary": "summary", "copy_summary": "copy"}
        return labels | ({"retry_all": "retry failed"} if can_retry else {})
    labels = {RunState.PAUSED: {"pause_run": "resume"}, RunState.DRAINING: {"pause_run": ""}}.get(state, {})
    verb = "resume" if ChunkState.PAUSED in chosen and not chosen & set(GOING) else "pause"
    labels = labels | {"copy_summary": "", "summary": "", "pause_chunk": f"{verb} {marked or 'chunk'}"}
    if chosen and all(each.ended for each in chosen):
        labels |= {"pause_chunk": "", "cancel_chunk": ""}
    if not chosen & set(AGAIN):
        labels["retry_chunk"] = ""
    return labels if failed else labels | {"retry_all": ""}


class Dashboard(ChunkCommands):
    """The screen that shows the whole run and takes most of the user's commands.

    Args:
        steering: passes commands to the run.
        keys: the keys of every action.
    """

    PLACES = DASHBOARD
    from_list = False
    """True if the run was started in the launcher. Esc returns to the launcher after the run has ended."""
    folder: Path | None = None
    """Current folder of the user, for commands that the user copies; None if it is unknown."""
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.RUN, Place.CHUNK, Place.TABLE, Place.LIST)]

    def __init__(self, steering: RunCommands, keys: Keys) -> None:
        super().__init__(steering, keys)
        self._curves: RunCurves | None = None
        self._curves_at = float("-inf")
        self._reader: Reader | None = None
        """The dialog with the whole summary while it is open."""

    def compose(self) -> ComposeResult:
        """Yield the parts of the dashboard, from top to bottom."""
        yield Header(id="header")
        yield Progress(id="progress")
        yield Figures(id="figures")
        with Container(id="graphs"):
            yield Chart(rate, id="throughput")
            yield Chart(size, id="memory")
        whole = self.keys["summary"]
        yield Summary(self.folder, whole_key=shown_key(whole[0]) if whole else "", id="summary")
        with Horizontal(id="body"):
            yield ChunkTable(self._listing_changed, id="chunks")
            yield ChunkMap(id="map")
            yield ChunkPane(self.steering, id="pane")
        hosts, pause = (shown_key(self.keys[action][0]) if self.keys[action] else "" for action in _HOST_KEYS)
        resume = f"{hosts}, then {pause}," if hosts and pause else "the hosts screen"
        yield EventLine(resume, hosts, id="events")
        yield KeyLine(self.keys, id="keys")

    def update(self, snapshot: Snapshot) -> None:
        """Show `snapshot`. Each part draws only what differs from the previous snapshot."""
        self.query_one(Header).show(snapshot)
        self.query_one(Progress).show(snapshot)
        self.query_one(Figures).show(snapshot)
        self._fit_events(self.query_one(EventLine), snapshot)
        if snapshot.state.ended:
            self._sum_up(snapshot)
        if self._map_shown:
            self.query_one(ChunkMap).show(snapshot.chunks)
        else:
            self.query_one(ChunkTable).show(snapshot.chunks)
        self._show_pane()
        self._look_at_curves(snapshot)
        self.query_one("#throughput", Chart).show(throughput(snapshot, self._curves))
        self.query_one("#memory", Chart).show(memory(snapshot, self._curves))
        events = self.query_one(EventLine)
        events.show_asked(self.steering.asked.texts)
        events.show(snapshot)
        self._relabel()
        self._renew_summary()

    def _look_at_curves(self, snapshot: Snapshot) -> None:
        """Read the curves of the whole run from the ledger if the last read is `_CURVES_EVERY` seconds old.

        A run that is not longer than the longest time span of a graph needs no curves, because the graph shows all of
        it.
        """
        due = snapshot.at - self._curves_at >= _CURVES_EVERY and snapshot.active_seconds > SPANS[-1]
        if due and not snapshot.state.ended:
            self._curves_at = snapshot.at
            self.run_worker(self._read_curves(snapshot.run_id), group="curves", exclusive=True)

    async def _read_curves(self, run_id: int) -> None:
        self._curves = await read(self.steering.database, run_curves, run_id) or self._curves
        snapshot = self.steering.snapshot
        if snapshot is not None:
            self.query_one("#throughput", Chart).show(throughput(snapshot, self._curves))
            self.query_one("#memory", Chart).show(memory(snapshot, self._curves))

    def _show_pane(self) -> None:
        """Show the chunk under the cursor in the pane, if the terminal is wide enough for the pane."""
        pane = self.query_one(ChunkPane)
        if pane.display:
            chunk = self._under_cursor()
            pane.show(None if chunk is None else chunk.number)

    def on_chunk_table_moved(self) -> None:
        """Let the pane show the chunk to which the cursor has moved."""
        self._show_pane()

    def _sum_up(self, snapshot: Snapshot) -> None:
        """Show the summary of an ended run in place of the graphs.

        The summary gets at most two thirds of the height, and leaves at least `_LEAST_TABLE` lines to the table.
        """
        widget = self.query_one(Summary)
        events = self.query_one(EventLine).styles.height
        around = _AROUND + plan(*self.size).figure_lines + (int(events.value) if events is not None else 1)
        most = min(self.size.height * 2 // 3 - 5, self.size.height - around - _LEAST_TABLE)
        widget.styles.height = min(widget.wanted(snapshot, self.size.width), max(most, 1))
        if not self.has_class("ended"):
            self.add_class("ended")
            self.run_worker(self._read_failures(snapshot), group="failures")
        widget.show(snapshot)

    async def _read_failures(self, snapshot: Snapshot) -> None:
        """Read the failures and curves of the whole run from the ledger, and show them.

        A snapshot has only some groups of failures. It also counts an item twice if the item ran again and failed
        again.
        """
        database = self.steering.database
        groups = await read(database, failure_groups, snapshot.run_id)
        curves = await read(database, run_curves, snapshot.run_id) or RunCurves()
        if groups is not None:
            failures = [
                Failures(
                    group.type,
                    group.newest_message or group.message,
                    group.items_failed,
                    group.attempts,
                    group.recovered,
                    group.other_failure,
                )
                for group in groups
            ]
            self.query_one(Summary).show_failures(failures, curves)
            self.query_one(EventLine).show_failures(failures)
            self._renew_summary()
            self._sum_up(snapshot)

    def on_resize(self) -> None:
        """Divide the new size of the terminal among the parts."""
        division = plan(*self.size)
        graphs = self.query_one("#graphs", Container)
        graphs.set_classes(division.graphs)
        if division.graphs is not Graphs.NONE:
            for chart in self.query(Chart):
                chart.styles.height = division.graph_lines
        self.query_one(Figures).styles.height = division.figure_lines
        self.query_one(ChunkPane).display = self.size.width >= WITH_PANE
        self._show_pane()
        snapshot = self.steering.snapshot
        if snapshot is not None:
            self._fit_events(self.query_one(EventLine), snapshot)
        if snapshot is not None and snapshot.state.ended:
            self._sum_up(snapshot)

    def _fit_events(self, events: EventLine, snapshot: Snapshot) -> None:
        """Give the event line as many lines as its texts need, at most a third of the height."""
        least = plan(*self.size).event_lines
        # After the end, a sixth is enough, because the summary shows the reason and the errors, too.
        most = self.size.height // (6 if snapshot.state.ended else 3)
        lines = min(events.wanted(snapshot, self.size.width, least), max(most, least))
        if events.styles.height is None or events.styles.height.value != lines:
            events.styles.height = lines
            # Keep Textual's short messages (toasts) above the event line and the keys.
            self.query("ToastRack").set_styles(margin=(0, 0, lines + _KEY_LINES, 0))

    def on_chunk_table_opened(self) -> None:
        """Open the chunk that the user has chosen with a double click."""
        self.action_open_chunk()

    def _listing_changed(self) -> None:
        """Show the new filter and marks in the event line and on the map, and update the footer."""
        table = self.query_one(ChunkTable)
        self.query_one(ChunkMap).mark(table.marked)
        parts = []
        if table.only is not None:
            parts.append(f"{CHUNK_GLYPHS[table.only]} {table.only} only")
        if table.marked:
            parts.append(f"{len(table.marked)} marked")
        events = self.query_one(EventLine)
        events.show_listing(" · ".join(parts))
        if self.steering.snapshot is not None:
            self._fit_events(events, self.steering.snapshot)
        self._relabel()

    # --- the run -------------------------------------------------------------------------------------------

    def action_pause_run(self) -> None:
        """Pause the run, or resume it if it is paused. In an outage, try one item first."""
        if not self.steering.pause_run():
            snapshot = self.steering.snapshot
            self.say("no run yet" if snapshot is None else f"the run is {snapshot.state}: nothing to pause")
        self.show_asked()

    def action_more_threads(self) -> None:
        """Raise the number of threads by a tenth, and at least by one."""
        self._change_threads(1)

    def action_fewer_threads(self) -> None:
        """Lower the number of threads by a tenth, and at least by one."""
        self._change_threads(-1)

    def _change_threads(self, direction: int) -> None:
        if refusal := self.steering.refusal:
            self.say(refusal)
            return
        self.steering.change_threads(direction)
        self.show_asked()

    def action_settings(self) -> None:
        """Ask for new values of the settings that can be changed during a run, and apply them."""
        if self.steering.refusal or self.steering.snapshot is None:
            self.say(self.steering.refusal)
            return

        limits = self.steering.snapshot.host_limits

        def answered(changed: dict[str, object] | None) -> None:
            if changed and changed.keys() & limits_as_text(limits).keys():
                self.steering.limit_hosts(limits_with(limits, changed))
            for name, value in (changed or {}).items():
                match name, value:
                    case "threads", int(threads):
                        self.steering.set_threads(threads)
                    case "open_chunks", int(open_chunks):
                        self.steering.set_open_chunks(open_chunks)
                    case "rate", float() | None:
                        self.steering.set_rate(value)
                    case "max_memory", int() | str() | None:
                        self.steering.set_max_memory(value)
            self.show_asked()

        self.app.push_screen(LiveSettings("Change while it runs", LIVE, values_of(self.steering.snapshot)), answered)

    def action_retry_all(self) -> None:
        """Ask whether to run everything that failed again.

        During a run, these are the failed and cancelled items of chunks that have ended with failed items. After its
        end, these are all failed and cancelled items, and they run in a new dashboard.
        """
        if self.steering.can_retry:
            self._ask_retry()
            return
        chunks = self.steering.failed_chunks()
        if not chunks or not self.steering.goes_on:
            self.say(nothing_runs_again(self.steering.snapshot))
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.steering.retry_chunks(chunks)
                self.show_asked()

        snapshot = self.steering.snapshot
        later = sum(chunk.failed for chunk in snapshot.chunks.scan() if not chunk.state.ended) if snapshot else 0
        self.app.push_screen(
            Confirm(
                "Run again everything that failed?",
                retry_confirmation(chunks, later),
                "Run again",
                "Leave it",
            ),
            answered,
        )

    def _ask_retry(self) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.post_message(self.Retry())

        snapshot = self.steering.snapshot
        items = snapshot.items_failed + snapshot.items_cancelled if snapshot else 0
        self.app.push_screen(
            Confirm(
                "Run again everything that failed?",
                f"The run goes on with the {items:,} items that failed or were cancelled, in a new dashboard.",
                "Run again",
                "Leave it",
            ),
            answered,
        )

    def action_summary(self) -> None:
        """Show all lines of the summary in a dialog that scrolls."""
        if self.steering.snapshot is not None:
            self._reader = Reader(_summary_title(self.steering.snapshot), self._summary_text)
            self.app.push_screen(self._reader, self._summary_closed)

    def _summary_text(self, width: int) -> str:
        snapshot = self.steering.snapshot
        return "" if snapshot is None else self.query_one(Summary).text(snapshot, width)

    def _summary_closed(self, _: None) -> None:
        self._reader = None

    def _renew_summary(self) -> None:
        """Show the newest numbers in the dialog with the whole summary, if it is open."""
        if self._reader is not None and self.steering.snapshot is not None:
            self._reader.renew(_summary_title(self.steering.snapshot))

    def action_copy_summary(self) -> None:
        """Copy the summary of the run so far."""
        if self.steering.snapshot is not None:
            self.copied(self.query_one(Summary).markdown(self.steering.snapshot), "summary")

    # --- the table and the map -----------------------------------------------------------------------------

    def action_sort(self) -> None:
        """Ask for the column by which to sort the table. The column of the current order reverses the order."""
        table = self.query_one(ChunkTable)
        columns = [column for column in COLUMNS if column.key is not None]
        choices = [Choice("as the run goes", "running first", "")]
        choices += [
            Choice(column.title, "again: the other way round" if column.title == table.sorted_by else "", column.title)
            for column in columns
        ]

        def answered(title: object) -> None:
            if title is None:
                return
            column = next((column for column in columns if column.title == title), None)
            highest_first = column is not None and column.highest_first
            if title == table.sorted_by:
                highest_first = not table.highest_first
            table.rearrange(str(title), highest_first=highest_first, only=table.only)

        place = next((number for number, choice in enumerate(choices) if choice.value == table.sorted_by), 0)
        self._show_table()
        self.app.push_screen(Choose("Sort the chunks by", choices, place), answered)

    def action_filter(self) -> None:
        """Ask for a state, and list only chunks in this state, or all chunks again."""
        table = self.query_one(ChunkTable)
        snapshot = self.steering.snapshot
        states = Counter(chunk.state for chunk in snapshot.chunks.scan()) if snapshot else Counter[ChunkState]()
        choices = [Choice("all chunks", f"{states.total():,}", "")]
        choices += [
            Choice(f"{glyph} {state}", f"{states[state]:,}", str(state)) for state, glyph in CHUNK_GLYPHS.items()
        ]

        def answered(state: object) -> None:
            if state is not None:
                only = ChunkState(str(state)) if state else None
                table.rearrange(table.sorted_by, highest_first=table.highest_first, only=only)

        place = next((number for number, choice in enumerate(choices) if choice.value == table.only), 0)
        self._show_table()
        self.app.push_screen(Choose("List which chunks?", choices, place), answered)

    def action_map(self) -> None:
        """Show the map in place of the table, or the table in place of the map. The cursor stays on its chunk."""
        chunk, snapshot = self._under_cursor(), self.steering.snapshot
        table, map_ = self.query_one(ChunkTable), self.query_one(ChunkMap)
        # Do not do this with a CSS class of the screen, because Textual would compute the styles of all widgets again.
        table.display, map_.display = map_.display, table.display
        shown = map_ if map_.display else table
        if snapshot is not None:
            shown.show(snapshot.chunks)
        # Move the cursor at once, not after the layout. The next key may have arrived already, and it is for this
        # chunk.
        if chunk is not None:
            shown.go_to_chunk(chunk.number)
        self._relabel()

    def action_open_chunk(self) -> None:
        """Open the screen of the chunk under the cursor."""
        chunk = self._under_cursor()
        if chunk is None:
            self.say(_NO_CHUNK)
        else:
            self.app.push_screen(ChunkDetail(self.steering, self.keys, chunk.number))

    def action_mark(self) -> None:
        """Mark the chunk under the cursor, or remove its mark. Show the table first."""
        self._show_table()
        if self._under_cursor() is None:
            self.say(_NO_CHUNK)
        self.query_one(ChunkTable).toggle_mark()

    def action_mark_all(self) -> None:
        """Mark all listed chunks, or remove all marks if they are marked already. Show the table first."""
        self._show_table()
        if self._under_cursor() is None:
            self.say(_NO_CHUNK)
        self.query_one(ChunkTable).mark_all()

    def action_clear(self) -> None:
        """Undo the first of these that the user has set: marks, the filter, the order, the map.

        If none of them is set and the run has ended, return to the launcher. If there is no launcher, show which key
        leaves.
        """
        table = self.query_one(ChunkTable)
        if table.marked:
            table.clear_marks()
        elif table.only is not None:
            table.rearrange(table.sorted_by, highest_first=table.highest_first)
        elif table.sorted_by:
            table.rearrange()
        elif self._map_shown:
            self.action_map()
        elif self.steering.snapshot is not None and self.steering.snapshot.state.ended:
            if self.from_list:
                self.post_message(self.ToList())
            else:
                leaves = "".join(f"; {shown_key(key)} leaves" for key in self.keys["quit_run"][:1])
                self.say(f"no marks, no filter and no order to remove{leaves}")

    def action_cursor_left(self) -> None:
        """Move the cursor of the map to the left. Without the map, do nothing."""
        if self._map_shown:
            self.query_one(ChunkMap).move(-1)

    def action_cursor_right(self) -> None:
        """Move the cursor of the map to the right. Without the map, do nothing."""
        if self._map_shown:
            self.query_one(ChunkMap).move(1)

    def action_cursor_down(self) -> None:
        """Move the cursor down."""
        self._move_lines(1)

    def action_cursor_up(self) -> None:
        """Move the cursor up."""
        self._move_lines(-1)

    def list_in_use(self) -> Movable:
        """Return the map while it is shown, else the table. The keys move its cursor."""
        return self.query_one(ChunkMap) if self._map_shown else self.query_one(ChunkTable)

    @property
    def _map_shown(self) -> bool:
        return self.query_one(ChunkMap).display

    def _show_table(self) -> None:
        if self._map_shown:
            self.action_map()

    def _move_lines(self, lines: int) -> None:
        if self._map_shown:
            self.query_one(ChunkMap).move_lines(lines)
        else:
            self.query_one(ChunkTable).move(lines)

    def _under_cursor(self) -> ChunkView | None:
        return (self.query_one(ChunkMap) if self._map_shown else self.query_one(ChunkTable)).cursor_chunk

    def chosen(self) -> Sequence[ChunkView]:
        """Return the marked chunks, or without marks, the chunk under the cursor."""
        table, snapshot = self.query_one(ChunkTable), self.steering.snapshot
        if table.marked and snapshot is not None:
            return [snapshot.chunks[number] for number in sorted(table.marked) if number < len(snapshot.chunks)]
        chunk = self._under_cursor()
        return [] if chunk is None else [chunk]

    def _chosen_states(self, snapshot: Snapshot) -> set[ChunkState]:
        """Return the states of the chunks to which a command on chunks would apply.

        This method is called for each snapshot, and thousands of chunks may be marked. So it does not use `chosen`,
        which makes an object for each chunk.
        """
        if marked := self.query_one(ChunkTable).marked:
            return {snapshot.chunks.state(number) for number in marked if number < len(snapshot.chunks)}
        return {chunk.state for chunk in self.chosen()}

    def stay(self) -> None:
        """Keep the cursor on the chunk to which a command was given; see `ChunkTable.hold_commanded`.

        Do nothing if chunks are marked or the map is shown, because the cursor then stays in any case.
        """
        table = self.query_one(ChunkTable)
        if not (table.marked or self._map_shown):
            table.hold_commanded()

    def show_asked(self) -> None:
        """Show the commands that no snapshot has confirmed yet in the event line."""
        self.query_one(EventLine).show_asked(self.steering.asked.texts)

    def _relabel(self) -> None:
        snapshot = self.steering.snapshot
        if snapshot is not None:
            marked = len(self.query_one(ChunkTable).marked)
            states = self._chosen_states(snapshot)
            failed = bool(snapshot.items_failed or snapshot.items_cancelled)
            labels = _labels(snapshot.state, marked, states, can_retry=self.steering.can_retry, failed=failed)
            if snapshot.in_outage and snapshot.state is RunState.PAUSED:
                labels["pause_run"] = "try one item" if self.steering.space_tries else "continue anyway"
            if not snapshot.hosts:
                labels["hosts"] = ""
            if self.from_list and snapshot.state.ended:
                labels["clear"] = "back to the list"
            if not (snapshot.state.ended or self._map_shown or self.query_one(ChunkTable).follows):
                labels["first_row"] = "follow"
            # Show the key that users need most: after the end, to retry failed items; with a paused host, to resume it.
            first = "retry_all" if snapshot.state.ended else "hosts" if snapshot.paused_hosts else None
            self.query_one(KeyLine).relabel(labels, first=first)
