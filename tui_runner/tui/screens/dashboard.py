"""The dashboard: everything about one run on one screen, and the keys that steer it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen

from tui_runner.engine.chunk import ChunkState, RunState
from tui_runner.engine.control import RunControl
from tui_runner.engine.snapshot import ChunkView, Snapshot
from tui_runner.formatting import rate, size
from tui_runner.tui.actions import ACTIONS, Keys, Place, bindings
from tui_runner.tui.asked import AskedCommands
from tui_runner.tui.layout import Graphs, plan
from tui_runner.tui.screens.confirm import Confirm
from tui_runner.tui.widgets.chart import Chart
from tui_runner.tui.widgets.chunk_columns import chunk_name
from tui_runner.tui.widgets.chunk_table import ChunkTable
from tui_runner.tui.widgets.event_line import EventLine
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.graphs import memory, throughput
from tui_runner.tui.widgets.header import Header
from tui_runner.tui.widgets.kpi import Figures
from tui_runner.tui.widgets.progress import Progress


def _labels(state: RunState) -> dict[str, str]:
    """What the footer calls some keys in this state; those that do nothing in it are hidden."""
    if state.ended:
        hidden = [action.id for action in ACTIONS if action.place in (Place.RUN, Place.CHUNK)]
        return {"quit_run": "leave", **dict.fromkeys(hidden, "")}
    return {"pause_run": "resume"} if state is RunState.PAUSED else {}


class Dashboard(Screen[None]):
    """Shows snapshots and turns keys into commands. It holds no state of the run besides the newest snapshot.

    Args:
        control: the run to steer.
        keys: the keys in force, for the footer.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.RUN, Place.CHUNK, Place.TABLE)]

    def __init__(self, control: RunControl, keys: Keys) -> None:
        super().__init__()
        self._control = control
        self._keys = keys
        self._snapshot: Snapshot | None = None
        self._asked = AskedCommands()
        # Threads asked for and not yet confirmed: a second press adds to the first, not to the old number.
        self._threads: int | None = None
        self._laid_out = False

    def compose(self) -> ComposeResult:
        """The parts, from top to bottom."""
        yield Header(id="header")
        yield Progress(id="progress")
        yield Figures(id="figures")
        with Container(id="graphs"):
            yield Chart(rate, id="throughput")
            yield Chart(size, id="memory")
        yield ChunkTable(id="chunks")
        yield EventLine(id="events")
        yield KeyLine(self._keys, id="keys")

    def on_mount(self) -> None:
        """Show the snapshot that came while the parts were being made."""
        self._laid_out = True
        if self._snapshot is not None:
            self.show(self._snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Show this snapshot. Every part draws only what differs from the last one."""
        self._snapshot = snapshot
        if not self._laid_out:
            return
        self._asked.update(snapshot)
        if self._threads == snapshot.threads:
            self._threads = None
        self.query_one(Header).show(snapshot)
        self.query_one(Progress).show(snapshot)
        self.query_one(Figures).show(snapshot)
        self.query_one(ChunkTable).show(snapshot.chunks)
        self.query_one("#throughput", Chart).show(throughput(snapshot))
        self.query_one("#memory", Chart).show(memory(snapshot))
        events = self.query_one(EventLine)
        events.show_asked(self._asked.texts)
        events.show(snapshot)
        self.query_one(KeyLine).relabel(_labels(snapshot.state))

    def on_resize(self) -> None:
        """Divide the terminal anew."""
        division = plan(*self.size)
        graphs = self.query_one("#graphs", Container)
        graphs.set_classes(division.graphs)
        if division.graphs is not Graphs.NONE:
            for chart in self.query(Chart):
                chart.styles.height = division.graph_lines
        self.query_one(Figures).styles.height = division.figure_lines
        self.query_one(EventLine).styles.height = division.event_lines

    def on_key_line_chosen(self, event: KeyLine.Chosen) -> None:
        """Carry out an action whose key was clicked."""
        owner = "app" if event.action.place is Place.ANYWHERE else "screen"
        self.call_later(self.run_action, f"{owner}.{event.action.id}")

    def action_pause_run(self) -> None:
        """Pause the run, or go on with it."""
        snapshot = self._snapshot
        if snapshot is None or snapshot.state not in (RunState.RUNNING, RunState.PAUSED):
            return
        if snapshot.state is RunState.PAUSED:
            self._control.resume()
            self._ask("run: resume", lambda later: later.state is not RunState.PAUSED)
        else:
            self._control.pause()
            self._ask("run: pause", lambda later: later.state is not RunState.RUNNING)

    def action_pause_chunk(self) -> None:
        """Pause the chunk under the cursor, or go on with it."""
        chunk = self._chunk_under_cursor()
        if chunk is None or chunk.state.ended:
            return
        if chunk.state is ChunkState.PAUSED:
            self._command_chunk(chunk, "resume", self._control.resume_chunks)
        else:
            self._command_chunk(chunk, "pause", self._control.pause_chunks)

    def action_retry_chunk(self) -> None:
        """Run what failed or was cancelled in the chunk under the cursor again."""
        chunk = self._chunk_under_cursor()
        ended = self._snapshot is None or self._snapshot.state.ended
        if not ended and chunk is not None and chunk.state in (ChunkState.FAILED, ChunkState.CANCELLED):
            self._command_chunk(chunk, "retry", self._control.retry_chunks)

    def action_cancel_chunk(self) -> None:
        """Ask whether to cancel the chunk under the cursor."""
        chunk = self._chunk_under_cursor()
        if chunk is None or chunk.state.ended:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._command_chunk(chunk, "cancel", self._control.cancel_chunks)

        left = chunk.items - chunk.finished - chunk.in_flight
        self.app.push_screen(
            Confirm(
                f"Cancel chunk {chunk_name(chunk.number)}?",
                f"{left:,} of its {chunk.items:,} items have not started and are recorded as cancelled. "
                "Retry runs them after all.",
                "Cancel the chunk",
                "Keep it",
            ),
            answered,
        )

    def action_more_threads(self) -> None:
        """Execute more items at once: one more, or a tenth of many."""
        self._change_threads(1)

    def action_fewer_threads(self) -> None:
        """Execute fewer items at once."""
        self._change_threads(-1)

    def action_cursor_down(self) -> None:
        """Move the cursor down."""
        self.query_one(ChunkTable).move(1)

    def action_cursor_up(self) -> None:
        """Move the cursor up."""
        self.query_one(ChunkTable).move(-1)

    def action_page_down(self) -> None:
        """Move the cursor down by a page."""
        self.query_one(ChunkTable).move_pages(1)

    def action_page_up(self) -> None:
        """Move the cursor up by a page."""
        self.query_one(ChunkTable).move_pages(-1)

    def action_first_row(self) -> None:
        """Go to the first chunk."""
        self.query_one(ChunkTable).go_to(0)

    def action_last_row(self) -> None:
        """Go to the last chunk."""
        self.query_one(ChunkTable).go_to_end()

    def _chunk_under_cursor(self) -> ChunkView | None:
        table = self.query_one(ChunkTable)
        table.hold()
        return table.cursor_chunk

    def _command_chunk(self, chunk: ChunkView, verb: str, command: Callable[[Collection[int]], None]) -> None:
        command([chunk.number])
        number, state = chunk.number, chunk.state
        self._ask(f"chunk {chunk_name(number)}: {verb}", lambda later: later.chunks[number].state is not state)

    def _change_threads(self, direction: int) -> None:
        snapshot = self._snapshot
        if snapshot is None or snapshot.state.ended:
            return
        now = snapshot.threads if self._threads is None else self._threads
        wanted = max(now + direction * max(now // 10, 1), 1)
        if wanted == now:
            return
        self._threads = wanted
        self._control.set_threads(wanted)
        self._ask(f"threads: {wanted}", lambda later: later.threads == wanted)

    def _ask(self, text: str, confirmed: Callable[[Snapshot], bool]) -> None:
        at = self._snapshot.at if self._snapshot else 0.0
        self._asked.add(text, confirmed, at)
        self.query_one(EventLine).show_asked(self._asked.texts)
