"""Lines as data, and how states look: what a widget shows is text with roles, and only then becomes colours.

A `Line` is a tuple of spans `(text, role)`. Being plain values, lines are compared to find what changed since the
last snapshot, and are tested without a terminal. `PaintedWidget` looks the roles up in the theme: the style of role
`bad` is that of the component class `paint--bad` in `styles/runner.tcss`.

Text of others enters a line through `own` alone. A line is never markup.

A chunk's state `failed` means that it has ended and that some of its items failed. One failed item of 500 is not what
500 of 500 are, so the two look different, and both say how many.
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
"""Every role that a span can have; each is a rule in `styles/runner.tcss`."""

ROLE_CLASSES = frozenset(f"paint--{role}" for role in ROLES)

BETWEEN = 2
"""Blanks at least between the texts at the two ends of a line, so that they do not read as one."""
SHOWN_CHARACTERS = 400
"""Characters of foreign text in one span: the width of the widest terminal that layouts are made for."""


def own(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Make text from outside safe for one line."""
    return safe_text(text, limit=limit)


def message_spans(message: str, role: str, limit: int = SHOWN_CHARACTERS) -> list[Span]:
    """Return an error's message with those parts muted in which others that are alike may differ.

    Args:
        message: the newest one of its group; its first line is shown.
        role: of the parts that all messages of the group share.
        limit: characters; what is longer ends with `…`.
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
    """Return width of a line on the screen."""
    return sum(cell_len(text) for text, _ in line)


def fitted(line: Line, width: int) -> Line:
    """Return the line in at most `width` cells; one that was longer ends with `…`."""
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
    """Return the text in at most `width` cells; one that was longer begins with `…`: of a path its end tells more."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return ELLIPSIS + text if width > 0 else ""


def spread(left: Line, right: Line, width: int) -> Line:
    """Put `left` and `right` at the ends of `width` cells, at least two blanks apart; `left` is cut if necessary."""
    right = fitted(right, width)
    room = width - cells(right)
    text = "".join(text for text, _ in right)
    left = fitted(left, room - max(BETWEEN - len(text) + len(text.lstrip()), 0) if text else room)
    return (*left, (" " * (room - cells(left)), "text"), *right)


def merged(line: Line) -> Line:
    """Return the same line in fewer spans: blanks take the role before them, since every change of style costs bytes.

    Over SSH a row of the chunk table is half as long this way.
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

    `paint` makes the lines from whatever the subclass keeps; `repaint` compares them with what is on the screen.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the lines to show in `width` × `height` cells."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Show what `paint` makes now; only lines that differ from those on the screen are drawn."""
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
        """Lay the lines out anew."""
        self._lines = ()
        self.repaint()

    def role_style(self, role: str) -> Style:
        """Return the style of a role in the present theme."""
        return self.get_component_rich_style(f"paint--{role}")

    def render_line(self, y: int) -> Strip:
        """Return one line of the widget, as Textual wants it."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width, self.rich_style)
        segments = [Segment(text, self.role_style(role)) for text, role in merged(self._lines[y])]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)


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
        """Return the lines, as many as there is room for."""
        return [fitted(line, width) for line in self._make(width)[:height]]


CHUNK_GLYPHS = {
    ChunkState.WAITING: "○",
    ChunkState.RUNNING: "▶",
    ChunkState.PAUSED: "⏸",
    ChunkState.DONE: "✔",
    ChunkState.FAILED: "▲",
    ChunkState.CANCELLED: "⊘",
}
"""Glyph of a chunk's state; its role is named like the state."""

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


def sparkline(values: Iterable[float], width: int) -> str:
    """Return the last `width` values as bars from zero to the highest of them; right-aligned."""
    values = list(values)[-width:] if width else []
    top = max(values, default=0.0)
    if top <= 0:
        return " " * width
    # Anything above zero shows: a slow chunk must not look like one that does nothing.
    bars = "".join(_BLOCKS[max(1, round(8 * value / top))] if value > 0 else " " for value in values)
    return bars.rjust(width)


BEFORE = "═"
"""Fills the part of a bar that an earlier process did; it differs from the rest also without colours."""


def bar(share: float, width: int) -> tuple[str, str]:
    """Return a progress bar in `width` cells, to half a cell: its filled and its empty part."""
    halves = round(max(0.0, min(share, 1.0)) * width * 2)
    filled = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    # The rest is thinner, not only fainter: without colours it must still be told from what is filled.
    return filled, "─" * (width - len(filled))


FEW_FAILED = "few failed"
"""The look of a chunk of which at most a tenth of the items failed."""
MANY_FAILED = "many failed"
"""The look of a chunk of which more failed."""
MOVED = "moved"
"""The look of a chunk of an earlier process that has no items any more: they run in chunks of this one."""
_FEW = 0.1
"""Share of failed items up to which a chunk has few: above a tenth, something is probably wrong."""
_WIDEST = 1_000
"""Failed items from which their number does not fit beside the word; the column of failed items has it."""

LOOKS: dict[str, tuple[str, str]] = {
    **{str(state): (glyph, str(state)) for state, glyph in CHUNK_GLYPHS.items() if state is not ChunkState.FAILED},
    FEW_FAILED: ("△", "warn"),
    MANY_FAILED: (CHUNK_GLYPHS[ChunkState.FAILED], "failed"),
    MOVED: ("↓", "muted"),
}
"""Glyph and role of every look."""


def look(chunk: ChunkView) -> str:
    """Return what a chunk looks like: its state, that few or many of its items failed, or that it has none any more."""
    if chunk.state is ChunkState.DONE and not chunk.items:
        return MOVED
    if chunk.state is not ChunkState.FAILED:
        return chunk.state
    return FEW_FAILED if 0 < chunk.failed <= _FEW * chunk.items else MANY_FAILED


def words(chunk: ChunkView) -> str:
    """Return the state of a chunk in a few words, 14 cells at most with its glyph: `3 failed`, `held 00:41`."""
    if chunk.wait is not None:
        return _wait_words(chunk.wait)
    if chunk.state is ChunkState.DONE and chunk.skipped >= chunk.items:
        return "done before" if chunk.items else MOVED  # what failed of it may run again in another chunk
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
    """Return seconds in five cells: `00:41`, `2 h`."""
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
    """Return in full what a chunk waits for: `held by books.example until 12:03:41 UTC`."""
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
