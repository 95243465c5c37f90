"""Second line: how much of the input is done."""

from __future__ import annotations

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import count
from tui_runner.tui.glyphs import bar
from tui_runner.tui.paint import Line, cells, fitted
from tui_runner.tui.widgets.snapshot_line import SnapshotWidget

_SHORT = 60
"""Narrower lines round the numbers of items."""

_BAR_ROLES = {
    RunState.RUNNING: "running",
    RunState.FINISHED: "done",
    RunState.FAILED: "failed",
}


class Progress(SnapshotWidget):
    """A bar, the share that is done, and the items done of all; failed items are the end of the bar's filled part."""

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """One line."""
        finished = snapshot.items_finished
        total = snapshot.items_total
        if total is None:
            text = f"{finished:,} items · unknown total "
            return [fitted(((f" {'╌' * max(width - len(text) - 3, 0)}  ", "faint"), (text, "text")), width)]
        share = finished / total if total else 1.0
        # Rounded down: 100 % is said of a run that is complete, not of one that nearly is.
        right: Line = (
            (f"  {int(share * 1000) / 10:5.1f} %", "strong"),
            (self._numbers(finished, total, width), "text"),
        )
        filled, rest = bar(share, max(width - cells(right) - 1, 0))
        failed = 0
        if snapshot.items_failed and finished:
            failed = max(1, round(len(filled) * snapshot.items_failed / finished)) if filled else 0
        good = len(filled) - failed
        role = _BAR_ROLES.get(snapshot.state, "paused")
        return [((" ", "text"), (filled[:good], role), (filled[good:], "bad"), (rest, "faint"), *right)]

    @staticmethod
    def _numbers(finished: int, total: int, width: int) -> str:
        if width < _SHORT:
            return f"  {count(finished):>5}/{count(total)} "
        whole = f"{total:,}"
        return f"  {finished:>{len(whole)},} / {whole} "
