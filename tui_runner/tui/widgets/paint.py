"""Represents lines of the screen as data, and defines the glyphs and colours of states.

A `Line` is a tuple of spans `(text, role)`. A role is the meaning of a colour, such as `bad`. Because lines are plain
values, they can be compared to find changes since the last snapshot, and tested without a terminal. `PaintedWidget`
converts the roles to colours last: the style of role `bad` is that of the component class `paint--bad` in
`styles/runner.tcss`.

Text of jobs, items and files enters a line only through `own`, which makes it safe. A line is never markup.

A chunk is in state `failed` if it has ended and at least one of its items failed. A chunk with one failed item of 500
must not look like a chunk with 500. So screens show the "look" of a chunk, which divides this state into few and many
failed items. The other looks are the states themselves, and `MOVED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, TypeVar

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
from tui_runner.text.paths import gap_before_last_path, with_short_paths
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
"""All roles of spans. Each role has a rule in `styles/runner.tcss`."""

ROLE_CLASSES = frozenset(f"paint--{role}" for role in ROLES)

BETWEEN = 2
"""Fewest blanks between the text at the left end and the text at the right end of a line, so that they do not look like
one text."""
SHOWN_CHARACTERS = 400
"""Most characters of a text of jobs, items or files in one span: the cells of the widest terminal that the layouts
support."""


def own(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Return text of jobs, items or files, safe for a line of the screen and in at most `limit` characters."""
    return safe_text(text, limit=limit)


def message_spans(message: str, role: str, limit: int = SHOWN_CHARACTERS) -> list[Span]:
    """Return the first line of an error's message. Parts that may differ within a group of similar errors are muted.

    Args:
        message: the newest message of the group.
        role: role of the parts that all messages of the group have in common.
        limit: most characters; in a longer message, paths lose their beginnings, and if that is not enough, it ends
            with `…`.
    """
    whole: list[Span] = [(own(text), "muted" if folded else role) for text, folded in folded_parts(message)]
    whole = _with_short_paths(whole, sum(len(text) for text, _ in whole) - limit)
    if sum(len(text) for text, _ in whole) <= limit:
        return whole
    # The end of the room may be the end of a part, so that no part alone shows that something was left out.
    spans: list[Span] = []
    room = max(limit - len(ELLIPSIS), 0)
    for text, of in whole:
        if len(text) > room:
            spans.append((text[:room] + ELLIPSIS, of))
            break
        spans.append((text, of))
        room -= len(text)
    return spans


_Mark = TypeVar("_Mark")


def _with_short_paths(parts: Sequence[tuple[str, _Mark]], over: int) -> list[tuple[str, _Mark]]:
    """Return `parts` with up to `over` fewer cells, so that the names at the ends of their paths stay visible.

    Each part is a text with any mark.
    """
    shorter: list[tuple[str, _Mark]] = []
    for text, mark in parts:
        short = with_short_paths(text, over)
        over -= cell_len(text) - cell_len(short)
        shorter.append((short, mark))
    gap = gap_before_last_path("".join(text for text, _ in shorter), over)
    if gap is None:
        return shorter
    kept: list[tuple[str, _Mark]] = []
    place = 0
    for text, mark in shorter:
        start, stop = (min(max(end - place, 0), len(text)) for end in gap)
        cut = ELLIPSIS if place <= gap[0] < place + len(text) else ""
        kept.append((text[:start] + cut + text[stop:], mark))
        place += len(text)
    return kept


def cells(line: Line) -> int:
    """Return the number of cells that a line takes on the screen."""
    return sum(cell_len(text) for text, _ in line)


def fitted(line: Line, width: int) -> Line:
    """Return `line` in at most `width` cells.

    If a line is too long, its paths lose their beginnings (`text/paths.py`). If that is not enough, it is cut and ends
    with `…`.
    """
    over = cells(line) - width
    if over <= 0:
        return line
    if width <= 0:
        return ()
    line = tuple(_with_short_paths(line, over))
    if cells(line) <= width:
        return line
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
    """Return `text` in at most `width` cells.

    A text that is too long is cut at its beginning and begins with `…`, because the end of a path matters more.
    """
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return ELLIPSIS + text if width > 0 else ""


def without_middle(text: str, width: int) -> str:
    """Return `text` in at most `width` cells. A text that is too long loses its middle, and `…` marks the gap."""
    if cell_len(text) <= width:
        return text
    kept = max(width // 3, 1)
    end = end_of(ELLIPSIS + text[-kept:], min(kept, width))
    return set_cell_size(text, max(width - cell_len(end), 0)) + end


def spread(left: Line, right: Line, width: int) -> Line:
    """Return a line of `width` cells with `left` at its left end and `right` at its right end.

    At least `BETWEEN` blanks separate the two. If the line is too short for both, `left` is cut.
    """
    right = fitted(right, width)
    room = width - cells(right)
    text = "".join(text for text, _ in right)
    left = fitted(left, room - max(BETWEEN - len(text) + len(text.lstrip()), 0) if text else room)
    return (*left, (" " * (room - cells(left)), "text"), *right)


def merged(line: Line) -> Line:
    """Return a line that looks the same and has fewer spans.

    Blanks join the span before them, and so do texts with the same role. Each span costs the terminal a change of
    style. Merging them halves the bytes of a row of the chunk table.
    """
    spans: list[Span] = []
    for text, role in line:
        if spans and (role == spans[-1][1] or text.isspace()):
            spans[-1] = (spans[-1][0] + text, spans[-1][1])
        elif text:
            spans.append((text, role))
    return tuple(spans)


def column(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` in exactly `width` cells: padded with blanks, or cut and ended with `…`.

    Args:
        text: one line.
        width: cells.
        right: True to put the blanks before the text, so that it is aligned to the right.
    """
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + ELLIPSIS if width > 0 else ""
    blank = " " * (width - length)
    return blank + text if right else text + blank


class RoleStyles(Widget):
    """A widget whose spans are drawn in the colours that the theme gives to their roles.

    The styles are remembered until those of the widget change, for example by another theme. Textual computes them
    again for each frame, which took a third of a frame's time.

    A subclass that also has another base names that one first, and `ROLE_CLASSES` among its component classes, because
    Textual takes default styles and component classes only from the first base.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)

    _remembered: dict[str, Style] | None = None

    def notify_style_update(self) -> None:
        """Forget the styles, because those of the widget have changed."""
        super().notify_style_update()
        self._remembered = None

    @property
    def base_style(self) -> Style:
        """The style of text without a role, on the background of the widget."""
        return self._style_of("", lambda: self.rich_style)

    def component_style(self, name: str) -> Style:
        """Return the style of the component class `name` in the current theme."""
        return self._style_of(name, lambda: self.get_component_rich_style(name))

    def _style_of(self, name: str, compute: Callable[[], Style]) -> Style:
        if self._remembered is None:
            self._remembered = {}
        if name not in self._remembered:
            self._remembered[name] = compute()
        return self._remembered[name]

    def role_style(self, role: str) -> Style:
        """Return the style of a role in the current theme."""
        return self.component_style(f"paint--{role}")

    def strip(self, line: Line, width: int, base: Style) -> Strip:
        """Return `line` in exactly `width` cells, in the form that Textual needs.

        Args:
            line: spans without line breaks.
            width: cells.
            base: style of cells behind the line. Its background is that of the whole line.
        """
        back = Style(bgcolor=base.bgcolor, reverse=base.reverse or None)
        segments = [Segment(text, self.role_style(role) + back) for text, role in merged(line)]
        return Strip(segments).adjust_cell_length(width, base)


class PaintedWidget(RoleStyles):
    """A widget that shows lines. It draws only lines that have changed.

    A subclass implements `paint`, which returns the lines, and calls `repaint` when its data have changed.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the lines to show in `width` × `height` cells."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Show the lines that `paint` returns now. Only lines that differ from those on the screen are drawn."""
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
        """Paint all lines for the new size."""
        self._lines = ()
        self.repaint()

    def render_line(self, y: int) -> Strip:
        """Return line `y` of the widget, from 0, in the form that Textual needs."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width, self.base_style)
        return self.strip(self._lines[y], self.size.width, self.base_style)


class PaintedLines(PaintedWidget):
    """A widget that shows the lines of a function.

    Args:
        make: returns the lines for a width in cells; called whenever the widget is painted.
        id: id of the widget.
    """

    def __init__(self, make: Callable[[int], list[Line]], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._make = make

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the first `height` lines, each cut to `width` cells."""
        return [fitted(line, width) for line in self._make(width)[:height]]


CHUNK_GLYPHS = {
    ChunkState.WAITING: "○",
    ChunkState.RUNNING: "▶",
    ChunkState.PAUSED: "⏸",
    ChunkState.DONE: "✔",
    ChunkState.FAILED: "▲",
    ChunkState.CANCELLED: "⊘",
}
"""The glyph of each state of a chunk. The role of a glyph has the name of the state."""

RUN_GLYPHS = {
    RunState.RUNNING: ("▶", "running"),
    RunState.PAUSED: ("⏸", "paused"),
    RunState.DRAINING: ("▽", "paused"),
    RunState.STOPPED: ("■", "paused"),
    RunState.FINISHED: ("✔", "done"),
    RunState.FAILED: ("▲", "failed"),
}
"""The glyph and the role of each state of a run."""

WARNING = "⚠"

_BLOCKS = " ▁▂▃▄▅▆▇█"
"""Characters of vertical bars. The index of a character is the height of its bar in eighths of a cell."""


def sparkline(values: Iterable[float], width: int) -> str:
    """Return the last `width` values as vertical bars, one character for each, aligned to the right.

    The bar of the highest value fills its cell; a value of zero has no bar.
    """
    values = list(values)[-width:] if width else []
    top = max(values, default=0.0)
    if top <= 0:
        return " " * width
    # Draw values above zero with at least one eighth: a slow chunk must not look like a chunk that does nothing.
    bars = "".join(_BLOCKS[max(1, round(8 * value / top))] if value > 0 else " " for value in values)
    return bars.rjust(width)


BEFORE = "═"
"""The character for the part of a progress bar that stands for items of earlier processes. It differs from the
characters of the other parts even without colours."""


def bar(share: float, width: int) -> tuple[str, str]:
    """Return the filled and the empty part of a progress bar.

    Args:
        share: progress, 0.0 to 1.0; drawn exactly to half a cell.
        width: cells of both parts together.
    """
    halves = round(max(0.0, min(share, 1.0)) * width * 2)
    filled = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    # The empty part is a thinner line, so that it differs from the filled part even without colours.
    return filled, "─" * (width - len(filled))


FEW_FAILED = "few failed"
"""Look of an ended chunk in which at most a tenth of the items failed."""
MANY_FAILED = "many failed"
"""Look of an ended chunk in which more than a tenth of the items failed."""
MOVED = "moved"
"""Look of a chunk of an earlier process that has no items any more, because they run in chunks of this process."""
_FEW = 0.1
"""Largest share of failed items for the look "few failed". If more than a tenth of the items fail, something is
probably wrong with the job or its source."""
_WIDEST = 1_000
"""Smallest number of failed items that is not shown beside the word "failed", because it has too many digits. The
column of failed items shows it."""

LOOKS: dict[str, tuple[str, str]] = {
    **{str(state): (glyph, str(state)) for state, glyph in CHUNK_GLYPHS.items() if state is not ChunkState.FAILED},
    FEW_FAILED: ("△", "warn"),
    MANY_FAILED: (CHUNK_GLYPHS[ChunkState.FAILED], "failed"),
    MOVED: ("↓", "muted"),
}
"""The glyph and the role of each look."""


def look(chunk: ChunkView) -> str:
    """Return the look of a chunk: `FEW_FAILED`, `MANY_FAILED`, `MOVED`, or else its state."""
    if chunk.state is ChunkState.DONE and not chunk.items:
        return MOVED
    if chunk.state is not ChunkState.FAILED:
        return chunk.state
    return FEW_FAILED if 0 < chunk.failed <= _FEW * chunk.items else MANY_FAILED


def words(chunk: ChunkView) -> str:
    """Return the state of a chunk in a few words, such as `3 failed` or `held 00:41`.

    With its glyph and a blank, the text fits into the 14 cells of the column of states.
    """
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
    if wait.cause is WaitCause.RETRY:
        if wait.seconds is None:
            return "retry due"
        return f"retry in {wait.seconds} s" if wait.seconds < 10 else f"retry {_short(wait.seconds)}"
    return wait.cause


def _short(seconds: int) -> str:
    """Return a duration of minutes and seconds (`00:41`), or from an hour on, of whole hours (`2 h`).

    The text has at most five cells below 1,000 hours.
    """
    return duration(seconds, short=True) if seconds < 3_600 else f"{seconds // 3_600} h"


_WAITS = {
    WaitCause.NOT_STARTED: "none of its items has started",
    WaitCause.QUEUED: "its other items wait for their turn",
    WaitCause.RUN_PAUSED: "the run is paused",
    WaitCause.HOST: "held by its host",
    WaitCause.HOST_PAUSED: "its host is paused",
    WaitCause.RETRY: "what is left failed and is tried again",
    WaitCause.RETRY_BUDGET: "what is left failed; the retry budget delays its next attempts",
    WaitCause.MEMORY: "waiting for memory",
    WaitCause.DISK: "waiting for room on the disk",
    WaitCause.DATABASE: "waiting for rows to be written",
    WaitCause.OUTAGE: "waiting for the end of an outage",
    WaitCause.MACHINE: "waiting for a machine of the cluster",
}


def wait_text(wait: Wait) -> str:
    """Return the reason why a chunk waits, in full: `held by books.example until 12:03:41 UTC`."""
    until = "" if wait.until is None else f" until {clock(wait.until)} {ZONE}"
    if wait.cause is WaitCause.HOST and wait.host:
        return f"held by {own(wait.host, 100)}{until}" if until else f"waiting for its turn at {own(wait.host, 100)}"
    if wait.cause is WaitCause.HOST_PAUSED:
        return f"you have paused its host {own(wait.host, 100)}"
    if wait.cause is WaitCause.RETRY and wait.seconds is not None:
        return f"to be retried in {wait.seconds:,} s"
    return _WAITS[wait.cause]


def state_span(chunk: ChunkView) -> Span:
    """Return the glyph of a chunk's look and its state in words, with the role of their colour."""
    glyph, role = LOOKS[look(chunk)]
    return f"{glyph} {words(chunk)}", role
