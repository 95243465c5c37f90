"""First line: which run this is, its state, how long it has taken and will take."""

from __future__ import annotations

from pathlib import PurePath

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import duration, time_left
from tui_runner.tui.glyphs import RUN_GLYPHS, WARNING
from tui_runner.tui.paint import Line, Span, cells, own, spread
from tui_runner.tui.widgets.snapshot_line import SnapshotWidget

_NAMED = 60
"""Narrower headers leave out the name of the program and the file."""
_WORTH_KEEPING = 16
"""Cells that the name of the run needs at least; the estimate gives way to it."""


def state_span(snapshot: Snapshot) -> Span:
    """Glyph and word of the run's state; a run in which nothing finishes is STALLED."""
    if snapshot.stalled_seconds is not None and snapshot.state is RunState.RUNNING:
        return f"{WARNING} STALLED {duration(snapshot.stalled_seconds, short=True)}", "bad"
    glyph, role = RUN_GLYPHS[snapshot.state]
    return f"{glyph} {snapshot.state.upper()}", role


def estimate(snapshot: Snapshot) -> str:
    """When the run will end, as text; empty for one that is over or about to be, or that goes on when somebody says."""
    if snapshot.state.ended or snapshot.state in (RunState.DRAINING, RunState.PAUSED):
        return ""
    if snapshot.items_total is None:
        return "unknown total"
    if snapshot.eta_seconds is None:
        return "ETA –"
    return f"ETA {time_left(*snapshot.eta_seconds)}"


class Header(SnapshotWidget):
    """Name of the run at the left; state, elapsed time and estimate at the right."""

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """One line; parts are left out where it is narrow."""
        name = self._run_name(snapshot, width)
        state, role = state_span(snapshot)
        right: Line = ((f"  {state}", role), (f"  {duration(snapshot.elapsed)} ", "strong"))
        eta = estimate(snapshot)
        with_eta: Line = (*right, (f"  {eta} ", "text"))
        if eta and width - cells(with_eta) >= _WORTH_KEEPING:
            right = with_eta
        if snapshot.state is RunState.PAUSED and snapshot.reason:
            # A run that has paused itself, or has nothing left to do by itself, must not look as if somebody had.
            explained: Line = ((f"  {state} · {own(snapshot.reason)}", role), *right[1:])
            # Only in full, and never in the place of the run's name: below the table it is told anyway.
            if cells(name) + cells(explained) <= width:
                right = explained
        for warning in snapshot.warnings:
            warned: Line = ((f"  {WARNING} {own(warning)}", "bad"), *right)
            if cells(name) + cells(warned) <= width:
                right = warned
        return [spread(name, right, width)]

    @staticmethod
    def _run_name(snapshot: Snapshot, width: int) -> Line:
        job = own(snapshot.job, 80)
        run: Span = (f" · run {snapshot.run_id}", "text")
        if width < _NAMED:
            return ((f" {job}", "strong"), run)
        file = own(PurePath(snapshot.database).name, 120)
        program: Line = ((" tui-runner  ", "accent"),) if width >= 2 * _NAMED - 20 else ()
        return (*program, (f" {job}", "strong"), (" → ", "muted"), (file, "text"), run)
