"""What became of a statement: one line between editor and result."""

from __future__ import annotations

from tui_runner.text.numbers import duration, latency, plural
from tui_runner.tui.paint import Line, PaintedWidget, cells, fitted, own, spread


class QueryStatus(PaintedWidget):
    """One line: what runs or ran at the left, a remark (watching, charted) at the right."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line: Line = ()
        self._remark: Line = ()

    @property
    def text(self) -> str:
        """What is said, without colours."""
        return "".join(text for text, _ in (*self._line, *self._remark))

    def ready(self) -> None:
        """Nothing was run yet."""
        self._set((" F5 runs the statement at the cursor", "muted"))

    def running(self, seconds: float, progress: float | None, *, ending: bool = False) -> None:
        """A statement runs, for so many seconds; `progress` is 0.0 to 1.0."""
        share = "" if progress is None or progress <= 0 else f"  {progress:.0%}"
        word = "ending" if ending else "running"
        self._set(
            (f" ▶ {word} {duration(seconds, short=True)}{share}", "running"),
            ("" if ending else "   Esc ends it", "muted"),
        )

    def done(self, rows: int, complete: bool, seconds: float) -> None:
        """Rows are shown."""
        counted = plural(rows, "row")
        said = counted if complete else f"first {counted} of more"
        self._set((f" ✔ {said}", "done"), (f" · {latency(seconds)}", "text"))

    def failed(self, text: str) -> None:
        """The statement failed."""
        self._set((f" ▲ {own(text)}", "bad"))

    def say(self, text: str) -> None:
        """Anything else that happened."""
        self._set((f" {own(text)}", "text"))

    def remark(self, text: str) -> None:
        """What is said at the right; empty for nothing."""
        self._remark = ((f"{own(text)} ", "accent"),) if text else ()
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """One line."""
        remark = fitted(self._remark, max(width - cells(self._line) - 1, 0))
        return [fitted(spread(self._line, remark, width), width)]

    def _set(self, *spans: tuple[str, str]) -> None:
        self._line = spans
        self.repaint()
