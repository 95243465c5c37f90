"""Third line: the numbers to watch, each in its place."""

from __future__ import annotations

from dataclasses import dataclass

from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import NONE, count, duration, latency, percent, rate, size
from tui_runner.tui.paint import Line, Span
from tui_runner.tui.widgets.header import estimate
from tui_runner.tui.widgets.snapshot_line import SnapshotWidget

_GAP = "   "
_TIGHT = "  "
_WIDE = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """A label and its value; `rank` says what is left out first where it is narrow (the highest)."""

    label: str
    value: str
    width: int
    rank: int
    role: str = "strong"

    @property
    def cells(self) -> int:
        """Width on the screen; the same whatever the value, unless it is longer than expected."""
        return len(self.label) + 1 + max(self.width, len(self.value))


def figures(snapshot: Snapshot) -> list[Figure]:
    """The numbers of a run, in the order in which they are shown: rates while it runs, means when it is over."""
    failed = f"{snapshot.items_failed:,}"
    finished = snapshot.items_finished
    if snapshot.items_failed:
        failed += f" ({percent(snapshot.items_failed, finished)})"
    tail = [
        Figure("failed", failed, 1, 1, "bad" if snapshot.items_failed else "strong"),
        Figure("retries", count(snapshot.retries), 1, 4),
        Figure("p50", latency(snapshot.p50) if snapshot.p50 is not None else NONE, 6, 5),
        Figure("p95", latency(snapshot.p95) if snapshot.p95 is not None else NONE, 6, 6),
        Figure("file", size(snapshot.db_bytes), 6, 8),
    ]
    if snapshot.state.ended:
        # What an earlier process had recorded took none of this one's time, nor did what was cancelled.
        mean = snapshot.items_executed / snapshot.elapsed if snapshot.elapsed > 0 else 0.0
        return [
            Figure("rows", count(snapshot.rows), 1, 0),
            Figure("mean items/s", rate(mean), 1, 2),
            Figure("in", duration(snapshot.elapsed, short=True), 1, 7),
            *tail,
        ]
    bound = [] if snapshot.rate is None else [Figure("at most", f"{snapshot.rate:g}/s", 1, 3)]
    waiting = [Figure("unwritten", size(snapshot.buffered_bytes), 6, 2, "warn")] if snapshot.throttled else []
    # A rate of 0 would say that it goes slowly; a paused run does not go at all.
    paused = snapshot.state is RunState.PAUSED
    return [
        Figure("items/s", NONE if paused else rate(snapshot.items_per_second), 5, 0),
        *bound,
        Figure("rows/s", NONE if paused else rate(snapshot.rows_per_second), 5, 3),
        Figure("in flight", f"{snapshot.in_flight}/{snapshot.threads}", 5, 2),
        *waiting,
        *tail,
    ]


def chosen(every: list[Figure], width: int, gap: str) -> list[Figure]:
    """As many figures as `width` has room for, the most telling first, in their usual order."""
    kept: list[Figure] = []
    room = width - 1
    for figure in sorted(every, key=lambda figure: figure.rank):
        if figure.cells + len(gap) > room:
            continue
        kept.append(figure)
        room -= figure.cells + len(gap)
    return [figure for figure in every if figure in kept]


class Figures(SnapshotWidget):
    """Throughput, items in flight, failures, retries, latencies."""

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """One line, or two where there is room for two and one is too short."""
        every = figures(snapshot)
        gap = _GAP if width >= _WIDE else _TIGHT
        lines = [self._line(chosen(every, width, gap), gap)]
        if height > 1:
            eta = estimate(snapshot)
            rest = [figure for figure in every if figure not in chosen(every, width, gap)]
            spare = width - len(eta) - len(gap) - 1 if eta else width
            second: list[Span] = [(" " + eta + gap, "text")] if eta else []
            second += self._line(chosen(rest, spare, gap), gap)[1 if eta else 0 :]
            lines.append(tuple(second))
        return lines

    @staticmethod
    def _line(kept: list[Figure], gap: str) -> Line:
        spans: list[Span] = [(" ", "text")]
        for figure in kept:
            spans.append((figure.label + " ", "muted"))
            spans.append((f"{figure.value:>{figure.width}}" + gap, figure.role))
        return tuple(spans)
