"""The base of widgets that show something about the whole run."""

from __future__ import annotations

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.tui.paint import Line, PaintedWidget


class SnapshotWidget(PaintedWidget):
    """A widget painted from the newest snapshot, and blank before the first."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._snapshot: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Paint this snapshot; draws only what differs from the last."""
        self._snapshot = snapshot
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """The lines of the newest snapshot."""
        return self.lines(self._snapshot, width, height) if self._snapshot else []

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """What to show of this snapshot."""
        raise NotImplementedError
