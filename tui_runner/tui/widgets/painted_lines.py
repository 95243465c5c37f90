"""A few lines that whoever owns them paints."""

from __future__ import annotations

from collections.abc import Callable

from tui_runner.tui.paint import Line, PaintedWidget, fitted


class PaintedLines(PaintedWidget):
    """Lines that `make` returns for a width.

    Args:
        make: the lines; called whenever they are painted.
        id: of the widget.
    """

    def __init__(self, make: Callable[[int], list[Line]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._make = make

    def paint(self, width: int, height: int) -> list[Line]:
        """The lines, as many as there is room for."""
        return [fitted(line, width) for line in self._make(width)[:height]]
