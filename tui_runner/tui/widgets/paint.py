"""Lines as data, and the look of states: widgets return text with roles, which is converted to colours last.

A `Line` is a tuple of spans `(text, role)`. Because lines are plain values, they can be compared to find changes since
the last snapshot, and tested without a terminal. `PaintedWidget` looks the roles up in the theme: the style of role
`bad` is that of the component class `paint--bad` in `styles/runner.tcss`.

Foreign text enters a line only through `own`. A line is never markup.

A chunk's state `failed` means that it has ended and that some of its items failed. A chunk with one failed item of 500
must not look like a chunk with 500, so the two look different, and both show the number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui_runner.engine.progress.chunk_views import ChunkView, Wait, WaitCause
from tui_runner.engine.states import ChunkState, RunState
from tui_runner.text.describe import folded_parts
from tui_runner.text.numbers import ZONE, clock, duration
from tui_runner.text.safe_text import ELLIPSIS, safe_text

Span = tuple[str, str]
Line = tuple[Span, ...]

ROLES = (
    "text",
    "strong",
    "muted",
    "faint",
    "accent",
    "key",
    "warn",
    "bad",
    "before",
    "running",
    "paused",
    "waiting",
    "done",
    "failed",
    "cancelled",
    "chart-1",
    "chart-1-mid",
    "chart-1-low",
    "chart-2",
    "chart-2-mid",
    "chart-2-low",
    "limit",
    "cursor",
)
"""All roles of spans; each is a rule in `styles/runner.tcss`."""

ROLE_CLASSES = frozenset(f"paint--{role}" for role in ROLES)

BETWEEN = 2
"""Fewest blanks between the texts at the two ends of a line, so that they do not look like one text."""
SHOWN_CHARACTERS = 400
"""Most characters of foreign text in one span: the width of the widest terminal that layouts are made for."""


def own(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Make foreign text safe for one line."""
    return safe_text(text, limit=limit)


def message_spans(message: str, role: str, limit: int = SHOWN_CHARACTERS) -> list[Span]:
    """Return an error's message. Parts in which similar messages may differ are muted.

    Args:
        message: the newest message of its group, whose first line is shown.
        role: role of the parts that all messages of the group share.
        limit: characters; a longer message ends with `…`.
    """
    spans: list[Span] = []
    room = limit
    for text, folded in folded_parts(message):
        safe = own(text, room)
        spans.append((safe, "muted" if folded else role))
        room -= len(safe)
        if room <= 0 or safe.endswith(ELLIPSIS):
            break
    return spans


def cells(line: Line) -> int:
    """Return the width of a line on the screen."""
    return sum(cell_len(text) for text, _ in line)


def fitted(line: Line, width: int) -> Line:
    """Return the line in at most `width` cells; a longer one ends with `…`."""
    if cells(line) <= width:
        return line
    if width <= 0:
        return ()
    kept: list[Span] = []
    room = width - 1
    for text, role in line:
        length = cell_len(text)
        if length > room:
            kept.append((set_cell_size(text, room) + ELLIPSIS, role))
            break
        kept.append((text, role))
        room -= length
    return tuple(kept)


def end_of(text: str, width: int) -> str:
    """Return the text in at most `width` cells. A longer one begins with `…`: the end of a path matters more."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return ELLIPSIS + text if width > 0 else ""


def spread(left: Line, right: Line, width: int) -> Line:
    """Return `left` and `right` at the ends of `width` cells, at least two blanks apart; `left` is cut if necessary."""
    right = fitted(right, width)
    room = width - cells(right)
    text = "".join(text for text, _ in right)
    left = fitted(left, room - max(BETWEEN - len(text) + len(text.lstrip()), 0) if text else room)
    return (*left, (" " * (room - cells(left)), "text"), *right)


def merged(line: Line) -> Line:
    """Return the same line in fewer spans. Blanks get the role of the span before them, so that the style changes less.

    Each change of style is bytes for the terminal: this halves the bytes of a row of the chunk table.
    """
    spans: list[Span] = []
    for text, role in line:
        if spans and (role == spans[-1][1] or text.isspace()):
            spans[-1] = (spans[-1][0] + text, spans[-1][1])
        elif text:
            spans.append((text, role))
    return tuple(spans)


def column(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` in exactly `width` cells."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + ELLIPSIS if width > 0 else ""
    blank = " " * (width - length)
    return blank + text if right else text + blank


class PaintedWidget(Widget):
    """A widget that shows lines, redraws those that changed, and takes its colours from the theme.

    `paint` returns the lines from the data of the subclass; `repaint` compares them with those on the screen.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the lines to show in `width` × `height` cells."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Show the lines that `paint` returns now; only those that differ from the screen are drawn."""
        width, height = self.size
        if not width or not height:
            return
        lines = tuple(self.paint(width, height))
        old, self._lines = self._lines, lines
        if len(old) != len(lines):
            self.refresh()
            return
        changed = [Region(0, y, width, 1) for y, line in enumerate(lines) if line != old[y]]
        if changed:
            self.refresh(*changed)

    def on_resize(self) -> None:
        """Paint the lines for the new size."""
        self._lines = ()
        self.repaint()

    def role_style(self, role: str) -> Style:
        """Return the style of a role in the current theme."""
        return self.get_component_rich_style(f"paint--{role}")

    def render_line(self, y: int) -> Strip:
        """Return one line of the widget for Textual."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width, self.rich_style)
        segments = [Segment(text, self.role_style(role)) for text, role in merged(self._lines[y])]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)


class PaintedLines(PaintedWidget):
    """Lines that `make` returns for a width.

    Args:
        make: returns the lines; called whenever they are painted.
        id: id of the widget.
    """

    def __init__(self, make: Callable[[int], list[Line]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._make = make

    def paint(self, width: int, height: int) -> list[Line]:
        """Return as many lines as fit."""
        return [fitted(line, width) for line in self._make(width)[:height]]


CHUNK_GLYPHS = {
    ChunkState.WAITING: "○",
    ChunkState.RUNNING: "▶",
    ChunkState.PAUSED: "⏸",
    ChunkState.DONE: "✔",
    ChunkState.FAILED: "▲",
    ChunkState.CANCELLED: "⊘",
}
"""Glyph of a chunk's state, whose role has the name of the state."""

RUN_GLYPHS = {
    RunState.RUNNING: ("▶", "running"),
    RunState.PAUSED: ("⏸", "paused"),
    RunState.DRAINING: ("▽", "paused"),
    RunState.STOPPED: ("■", "paused"),
    RunState.FINISHED: ("✔", "done"),
    RunState.FAILED: ("▲", "failed"),
}
"""Glyph and role of a run's state."""

WARNING = "⚠"

_BLOCKS = " ▁▂▃▄▅▆▇█"
"""Characters of bars, by their height in eighths of a cell."""


def sparkline(values: Iterable[float], width: int) -> str:
    """Return the last `width` values as bars from zero to their highest, right-aligned."""
    values = list(values)[-width:] if width else []
    top = max(values, default=0.0)
    if top <= 0:
        return " " * width
    # Values above zero are visible: a slow chunk must not look like a chunk that does nothing.
    bars = "".join(_BLOCKS[max(1, round(8 * value / top))] if value > 0 else " " for value in values)
    return bars.rjust(width)


BEFORE = "═"
"""Fills the part of a bar for items of earlier processes. It differs from the other parts even without colours."""


def bar(share: float, width: int) -> tuple[str, str]:
    """Return the filled and the empty part of a progress bar in `width` cells, exact to half a cell."""
    halves = round(max(0.0, min(share, 1.0)) * width * 2)
    filled = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    # The rest is thinner, not only fainter, so that it differs from the filled part even without colours.
    return filled, "─" * (width - len(filled))


FEW_FAILED = "few failed"
"""Look of a chunk with failed items, at most a tenth of its items."""
MANY_FAILED = "many failed"
"""Look of a chunk in which more than a tenth of the items failed."""
MOVED = "moved"
"""Look of a chunk of an earlier process that has no items left, because they run in chunks of this process."""
_FEW = 0.1
"""Share of failed items up to which a chunk counts as "few failed". If more than a tenth fails, something is probably
wrong."""
_WIDEST = 1_000
"""Number of failed items from which the number does not fit beside the word. The column of failed items has it."""

LOOKS: dict[str, tuple[str, str]] = {
    **{str(state): (glyph, str(state)) for state, glyph in CHUNK_GLYPHS.items() if state is not ChunkState.FAILED},
    FEW_FAILED: ("△", "warn"),
    MANY_FAILED: (CHUNK_GLYPHS[ChunkState.FAILED], "failed"),
    MOVED: ("↓", "muted"),
}
"""Glyph and role of every look."""


def look(chunk: ChunkView) -> str:
    """Return the look of a chunk: its state, few or many failed items, or moved."""
    if chunk.state is ChunkState.DONE and not chunk.items:
        return MOVED
    if chunk.state is not ChunkState.FAILED:
        return chunk.state
    return FEW_FAILED if 0 < chunk.failed <= _FEW * chunk.items else MANY_FAILED


def words(chunk: ChunkView) -> str:
    """Return the state of a chunk in a few words, at most 14 cells with its glyph: `3 failed`, `held 00:41`."""
    if chunk.wait is not None:
        return _wait_words(chunk.wait)
    if chunk.state is ChunkState.DONE and chunk.skipped >= chunk.items:
        return "done before" if chunk.items else MOVED  # its failed items may run again in another chunk
    if chunk.state is not ChunkState.FAILED or not 0 < chunk.failed < _WIDEST:
        return chunk.state
    return "all failed" if chunk.failed == chunk.items else f"{chunk.failed} failed"


def _wait_words(wait: Wait) -> str:
    if wait.cause is WaitCause.HOST:
        return "for its host" if wait.seconds is None else f"held {_short(wait.seconds)}"
    if wait.cause is WaitCause.RETRY and wait.seconds is not None:
        return f"retry in {wait.seconds} s" if wait.seconds < 100 else f"retry {_short(wait.seconds)}"
    return wait.cause


def _short(seconds: int) -> str:
    """Return a duration in at most five cells: `00:41`, `2 h`."""
    return duration(seconds, short=True) if seconds < 3_600 else f"{seconds // 3_600} h"


_WAITS = {
    WaitCause.NOT_STARTED: "none of its items has started",
    WaitCause.QUEUED: "its other items wait for their turn",
    WaitCause.RUN_PAUSED: "the run is paused",
    WaitCause.HOST: "held by its host",
    WaitCause.HOST_PAUSED: "its host is paused",
    WaitCause.RETRY: "what is left failed and is tried again",
    WaitCause.MEMORY: "waiting for memory",
    WaitCause.DISK: "waiting for room on the disk",
    WaitCause.DATABASE: "waiting for rows to be written",
    WaitCause.OUTAGE: "waiting for the end of an outage",
    WaitCause.MACHINE: "waiting for a machine of the cluster",
}


def wait_text(wait: Wait) -> str:
    """Return the full reason why a chunk waits: `held by books.example until 12:03:41 UTC`."""
    until = "" if wait.until is None else f" until {clock(wait.until)} {ZONE}"
    if wait.cause is WaitCause.HOST and wait.host:
        return f"held by {own(wait.host, 100)}{until}" if until else f"waiting for its turn at {own(wait.host, 100)}"
    if wait.cause is WaitCause.HOST_PAUSED:
        return f"you have paused its host {own(wait.host, 100)}"
    if wait.cause is WaitCause.RETRY and wait.seconds is not None:
        return f"to be retried in {wait.seconds:,} s"
    return _WAITS[wait.cause]


def state_span(chunk: ChunkView) -> Span:
    """Return glyph and words of a chunk's state."""
    glyph, role = LOOKS[look(chunk)]
    return f"{glyph} {words(chunk)}", role
