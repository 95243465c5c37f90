"""The widgets that show a run as a whole: header, progress bar, figures, and the summary after the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path, PurePath
from textwrap import wrap

from tui_runner.engine.metrics import RATE_SECONDS
from tui_runner.engine.progress.host_wait import host_wait
from tui_runner.engine.progress.snapshot import ErrorGroup, Snapshot, more_memory
from tui_runner.engine.states import RunState
from tui_runner.store.ledger.reports import RunCurves
from tui_runner.system.files import typed_path
from tui_runner.text.numbers import (
    NONE,
    clock_down,
    count,
    duration,
    latency,
    more_kinds,
    percent,
    rate,
    short_plural,
    size,
)
from tui_runner.text.safe_text import ELLIPSIS
from tui_runner.tui.widgets.braille import resampled
from tui_runner.tui.widgets.paint import (
    BEFORE,
    RUN_GLYPHS,
    SHOWN_CHARACTERS,
    WARNING,
    Line,
    PaintedWidget,
    Span,
    bar,
    cells,
    end_of,
    fitted,
    message_spans,
    own,
    sparkline,
    spread,
)


class SnapshotWidget(PaintedWidget):
    """A widget that shows lines about the newest snapshot. It is blank before the first one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._snapshot: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Show `snapshot`. Only lines that differ from those of the previous snapshot are drawn."""
        self._snapshot = snapshot
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the lines of the newest snapshot."""
        return self.lines(self._snapshot, width, height) if self._snapshot else []

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """Return the lines for `snapshot`, at most `height` lines of `width` cells."""
        raise NotImplementedError


_LEFT_OUT: Span = (ELLIPSIS, "muted")
"""The mark that stands for parts that do not fit."""
_NAMED = 60
"""Fewest cells of a header with the name of the database file. The name of the program is shown from 100 cells on."""
_WORTH_KEEPING = 10
"""Cells that the estimate leaves to the run's name, if the name has so many; otherwise the estimate is left out."""


def state_span(snapshot: Snapshot) -> Span:
    """Return the glyph and the state of a run in words, with the role of their colour.

    The text says more than the state if a user has to know it: that nothing finishes (STALLED), that all items wait for
    hosts, or what a paused run waits for.
    """
    if snapshot.stalled_seconds is not None and snapshot.state is RunState.RUNNING:
        return f"{WARNING} STALLED {duration(snapshot.stalled_seconds, short=True)}", "bad"
    glyph, role = RUN_GLYPHS[snapshot.state]
    if snapshot.waits_for_user:
        glyph, role = RUN_GLYPHS[RunState.PAUSED]
        return f"{glyph} HOST PAUSED", role
    if snapshot.is_writing:
        return f"{glyph} WRITING {size(snapshot.buffered_bytes)}", role
    if (wait := host_wait(snapshot)) is not None:
        glyph = RUN_GLYPHS[RunState.PAUSED][0]
        seconds = None if wait.until is None else max(wait.until - snapshot.began_at - snapshot.at, 0.0)
        when = "for a host" if seconds is None else f"· next request in {clock_down(seconds)}"
        return f"{glyph} WAITING {when}", "warn"
    if snapshot.state is RunState.PAUSED and snapshot.in_outage:
        # Say that the run waits, because it will go on by itself after the outage. A pause by the user would not end.
        if snapshot.trying:
            return f"{glyph} WAITING · trying one item…", "warn"
        until = snapshot.trial_seconds
        when = "for you" if until is None else f"· next try in {clock_down(until)}"
        return f"{glyph} WAITING {when}", "warn"
    if snapshot.state is RunState.DRAINING and snapshot.drain_seconds is not None:
        return f"{glyph} DRAINING, {clock_down(snapshot.drain_seconds)} left", role
    return f"{glyph} {snapshot.state.upper()}", role


def estimate(snapshot: Snapshot) -> str:
    """Return the estimated remaining time as text (`Snapshot.eta`), or `ETA –` before there is an estimate.

    The text is empty if the run is paused, is draining, writes its last rows or has ended. If the number of items is
    unknown, there is no estimate. The text is then the rate at which new items become known, or says that the total is
    unknown.
    """
    if snapshot.state.ended or snapshot.is_writing or snapshot.state in (RunState.DRAINING, RunState.PAUSED):
        return ""
    if snapshot.items_total is None and snapshot.items_known is not None:
        return f"{rate(snapshot.new_per_second)} new/s"
    if snapshot.items_total is None:
        return "unknown total"
    return snapshot.eta or "ETA –"


class Header(SnapshotWidget):
    """The first line of the dashboard: the name of the run, its state, the elapsed time and the estimate."""

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """Return the only line. On narrow terminals, some parts are left out."""
        names = self._names(snapshot, width)
        name = names[0]
        state, role = state_span(snapshot)
        active, wall = duration(snapshot.active_seconds), duration(snapshot.wall_seconds)
        eta = estimate(snapshot)
        until: Line = ((f"  {eta} ", "text"),) if eta else ()
        plain: Line = ((f"  {active} ", "strong"),)
        right: Line = ((f"  {state}", role), *plain)
        times = []
        if _has_pauses(snapshot):
            # Show the time without them and the time with them, unless there is no room for both and the estimate.
            times = [f"  active {active} (wall {wall}) ", f"  active {active} "]
        elif not snapshot.state.ended and not state.endswith(RunState.RUNNING.upper()):
            # Without the word, the time would look like that of the pause or wait.
            times = [f"  active {active} "]
        for time in times:
            longer: Line = ((f"  {state}", role), (time, "strong"), *until)
            # The word "active" matters more than the name of the database.
            if cells(name if time is not times[-1] else names[-1]) + cells(longer) <= width:
                right = longer
                break
        else:
            if eta and width >= _NAMED:  # narrower terminals show the estimate among the figures
                fits = width - cells((*right, *until)) >= min(cells(names[-1]), _WORTH_KEEPING)
                right = (*right, *until) if fits else (*right, _LEFT_OUT, (" ", "text"))
        if snapshot.state is RunState.PAUSED and snapshot.reason:
            # A pause with a reason was not made by the user, so show the reason.
            explained: Span = (f"  {state} · {own(snapshot.reason)}", role)
            # Leave the reason out if it does not fit beside the run's name. It is also shown below the table.
            for rest in (right[1:], plain):
                if cells(name) + cells((explained, *rest)) <= width:
                    right = (explained, *rest)
                    break
        for warning in snapshot.warnings:
            warned: Line = ((f"  {WARNING} {own(warning)}", "bad"), *right)
            if cells(name) + cells(warned) <= width:
                right = warned
        fitting = (each for each in names if cells(each) + cells(right) <= width)
        return [spread(next(fitting, names[-1]), right, width)]

    @staticmethod
    def _names(snapshot: Snapshot, width: int) -> list[Line]:
        """Return the name of the run in several lengths, the longest first."""
        job: Span = (f" {own(snapshot.job, 80)}", "strong")
        run: Span = (f" · run {snapshot.run_id}", "text")
        short: list[Line] = [(job, run), (job,)]
        if width < _NAMED:
            return short
        file: Line = (job, (" → ", "muted"), (own(PurePath(snapshot.database).name, 120), "text"), run)
        program: Line = ((" tui-runner  ", "accent"),) if width >= 2 * _NAMED - 20 else ()
        return [(*program, *file), file, *short]


_TREND = 10
"""Number of latencies that are drawn as bars. They cover five minutes, like the longest time span of a graph."""
_TREND_SECONDS = 30.0
"""Seconds between two of these latencies. Each is measured over a minute, so that closer values would hardly differ."""
_GAP = "   "
_TIGHT = "  "
_WIDE = 100
"""Fewest cells of a line on which figures have gaps of three blanks and, if these fit, long labels."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number about the run, with its label.

    Attributes:
        label: name of the number; empty for bars without a label.
        value: the number as text.
        width: cells that the number usually needs.
        rank: importance. Narrow terminals omit the figures with the highest ranks first.
        role: role of the value's colour.
        follows: True if the figure is left out together with the figure before it, whose label is for both.
        wide: label for a line on which all figures fit with their long labels; empty if `label` is the only one.
    """

    label: str
    value: str
    width: int
    rank: int
    role: str = "strong"
    follows: bool = False
    wide: str = ""

    @property
    def cells(self) -> int:
        """The cells that the figure takes: at least those for a value of `width` cells, so that figures do not move."""
        return len(self.label) + bool(self.label) + max(self.width, len(self.value))


def figures(snapshot: Snapshot, trend: str = "") -> list[Figure]:
    """Return the figures of a run, from left to right: with rates during the run, with means after its end.

    Args:
        snapshot: the newest snapshot.
        trend: earlier values of the 95th percentile, as bars; empty for no bars.
    """
    failed = f"{snapshot.items_failed:,}"
    if snapshot.items_failed:
        failed += f" ({percent(snapshot.items_failed, snapshot.items_ended)})"
    # The percentiles are those of all attempts of this process, including failed ones.
    window = ("new" if snapshot.is_resumed else "all") if snapshot.latency_window is None else "last min"
    tail = [
        Figure("failed", failed, 1, 1, "bad" if snapshot.items_failed else "strong"),
        # Say "new" in a resumed run: retries of earlier processes are unknown, unlike their done and failed items.
        Figure("new retries" if snapshot.is_resumed else "retries", count(snapshot.retries), 1, 4),
        Figure(
            f"{window}: p50",
            latency(snapshot.p50) if snapshot.p50 is not None else NONE,
            6,
            5,
            wide=f"{window}, with failed: p50",
        ),
        Figure("p95", latency(snapshot.p95) if snapshot.p95 is not None else NONE, 6, 6, follows=True),
        *([Figure("", trend, len(trend), 7, "chart-1", follows=True)] if trend else []),
        # The size is unknown until the first measurement.
        *([Figure("file", size(snapshot.db_bytes), 6, 8)] if snapshot.db_bytes else []),
    ]
    if snapshot.state.ended:
        # The means are without cancelled items and items of earlier processes, which took no time in this process.
        return [
            Figure("rows", count(snapshot.rows), 1, 0),
            Figure("mean items/s", rate(snapshot.mean_items_per_second), 1, 2),
            Figure("in", duration(snapshot.active_seconds, short=True), 1, 7),
            *tail,
        ]
    bound = [] if snapshot.rate is None else [Figure("at most", f"{snapshot.rate:g}/s", 1, 3)]
    machines = []
    if snapshot.machines or snapshot.machines_lost:
        role = "warn" if snapshot.machines_lost else "strong"
        lost = f", lost {snapshot.machines_lost}" if snapshot.machines_lost else ""
        # Lost machines are a problem, so they get the lowest rank, which is left out last.
        machines = [
            Figure("machines", f"{snapshot.machines}{lost}", 1, 0 if lost else 3, role),
            Figure("workers", f"{snapshot.workers}", 1, 4),
        ]
    waiting = [Figure("unwritten", size(snapshot.buffered_bytes), 6, 1, "warn")] if snapshot.throttled else []
    held = f" (+{count(snapshot.items_held)} held)" if snapshot.items_held else ""
    # A paused run has no rates, and neither has a run before the ends of its first items. A rate of 0 in their place
    # would look like a slow run.
    rates = snapshot.has_rates
    # After the user has lowered the number of threads, more items than threads are in flight for a while. Show this as
    # `9 → 4`, because `9/4` would look like an error.
    of = " → " if snapshot.in_flight > snapshot.threads else "/"
    return [
        Figure("items/s", rate(snapshot.items_per_second) if rates else NONE, 5, 0, wide=_RATE_LABEL),
        *bound,
        Figure("rows/s", rate(snapshot.rows_per_second) if rates else NONE, 5, 3),
        Figure("in flight", f"{snapshot.in_flight}{of}{snapshot.threads}{held}", 5, 2),
        *machines,
        *waiting,
        *tail,
    ]


_RATE_LABEL = f"items/s ({RATE_SECONDS:.0f} s)"


def chosen(every: list[Figure], width: int, gap: str) -> list[Figure]:
    """Return the figures with the lowest ranks that fit into `width` cells, from left to right.

    If some figures do not fit, a cell is left free for the mark that says so.

    Args:
        every: all figures.
        width: cells of the line.
        gap: blanks after a figure.
    """
    kept: list[Figure] = []
    room = width - 1
    if sum(figure.cells + len(gap) for figure in every) > room:
        room -= cells((_LEFT_OUT,))
    for place, figure in sorted(enumerate(every), key=lambda placed: placed[1].rank):
        if figure.cells + len(gap) > room or (figure.follows and every[place - 1] not in kept):
            continue
        kept.append(figure)
        room -= figure.cells + len(gap)
    return [figure for figure in every if figure in kept]


class Figures(SnapshotWidget):
    """The figures of a run: throughput, items in flight, failures, retries, latencies.

    The widget remembers earlier latencies, because a snapshot has only the current one.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._latencies: deque[float] = deque(maxlen=_TREND)
        self._next_latency = float("-inf")

    def show(self, snapshot: Snapshot) -> None:
        """Show `snapshot`, and store its latency if the last stored one is `_TREND_SECONDS` old."""
        if snapshot.p95 is not None and snapshot.at >= self._next_latency and not snapshot.state.ended:
            self._next_latency = snapshot.at + _TREND_SECONDS
            self._latencies.append(snapshot.p95)
        super().show(snapshot)

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """Return one line of figures, and if `height` is 2 or more, another with the estimate and more figures."""
        trend = sparkline(self._latencies, len(self._latencies)) if len(self._latencies) > 1 else ""
        every = figures(snapshot, "" if snapshot.state.ended else trend)
        gap = _GAP if width >= _WIDE and sum(each.cells + len(_GAP) for each in every) < width else _TIGHT
        if width >= _WIDE:
            labelled = [replace(each, label=each.wide or each.label) for each in every]
            every = labelled if sum(each.cells + len(gap) for each in labelled) < width else every
        kept = chosen(every, width, gap)
        lines = [self._line(kept, gap)]
        if height <= 1 and len(kept) < len(every):
            lines[0] = (*lines[0], _LEFT_OUT)
        if height > 1:
            eta = estimate(snapshot)
            rest = [figure for figure in every if figure not in kept]
            spare = width - len(eta) - len(gap) - 1 if eta else width
            second: list[Span] = [(" " + eta + gap, "text")] if eta else []
            second += self._line(chosen(rest, spare, gap), gap)[1 if eta else 0 :]
            lines.append(tuple(second))
        return lines

    @staticmethod
    def _line(kept: list[Figure], gap: str) -> Line:
        spans: list[Span] = [(" ", "text")]
        for figure in kept:
            if figure.label:
                spans.append((figure.label + " ", "muted"))
            spans.append((f"{figure.value:>{figure.width}}" + gap, figure.role))
        return tuple(spans)


_SHORT = 60
"""Cells of a line below which the number of ended items and the number of all items are rounded, so that both fit."""

_BAR_ROLES = {
    RunState.RUNNING: "running",
    RunState.FINISHED: "done",
    RunState.FAILED: "failed",
}


class Progress(SnapshotWidget):
    """The progress bar of a run, with the share of ended items and their number.

    The filled part of the bar begins with the items of earlier processes and ends with the failed items. Both have
    colours of their own.
    """

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """Return the only line."""
        finished = snapshot.items_finished
        total = snapshot.items_total
        if total is None:
            text = f"{finished:,} items · unknown total "
            if snapshot.items_known is not None:
                text = f"{finished:,} of {snapshot.items_known:,} known "
            return [fitted(((f" {'╌' * max(width - len(text) - 3, 0)}  ", "faint"), (text, "text")), width)]
        share = finished / total if total else 1.0
        # Round down, so that 100 % is shown only for a complete run.
        right: Line = (
            (f"  {int(share * 1000) / 10:5.1f} %", "strong"),
            (self._numbers(finished, total, width), "text"),
        )
        if snapshot.items_skipped and width >= _WIDE:
            right = (*right[:1], (f"{right[1][0]}({snapshot.items_skipped:,} before) ", "text"))
        filled, rest = bar(share, max(width - cells(right) - 1, 0))
        before = min(int(len(filled) * snapshot.items_skipped / finished), len(filled)) if finished else 0
        failed = 0
        if snapshot.items_failed and finished:
            failed = max(1, round(len(filled) * snapshot.items_failed / finished)) if filled else 0
        good = len(filled) - failed
        before = min(before, good)
        role = _BAR_ROLES.get(snapshot.state, "paused")
        return [
            (
                (" ", "text"),
                (BEFORE * before, "before"),
                (filled[before:good], role),
                (filled[good:], "bad"),
                (rest, "faint"),
                *right,
            )
        ]

    @staticmethod
    def _numbers(finished: int, total: int, width: int) -> str:
        if width < _SHORT:
            return f"  {count(finished):>5}/{count(total)} "
        whole = f"{total:,}"
        return f"  {finished:>{len(whole)},} / {whole} "


_GROUPS = 3
"""Most groups of errors in the summary, so that it fits on a terminal of 24 lines. The errors screen lists all."""
_ERROR = 70
"""Most characters of an error's message in the summary, so that with its label it fits on a line of 80 cells."""
_LEAST_ERROR = 12
"""Fewest characters of an error's message beside another text. If fewer would be left, the other text is put below."""
_LABEL = 8
"""Cells of the column of labels: the longest label has seven letters."""
_MARKDOWN_WIDTH = 120
"""Cells of a line of the summary that is copied, enough for commands and errors in full."""
_COMMAND = "accent"
"""Role of a command that the user may copy."""
_LEAST_CURVE = 10
"""Fewest cells of a curve. With fewer cells, it would have no recognisable shape, so it is left out."""


@dataclass(frozen=True, slots=True)
class Failures:
    """A group of similar errors.

    Attributes:
        type: type of the exceptions.
        text: message of the newest exception.
        items: number of items whose last attempt ended with such an error; None if unknown.
        attempts: number of attempts that ended with such an error.
        recovered: number of these attempts whose items succeeded later; None if unknown.
        other_failure: what became of the attempts, with the error with which their items failed in the end; empty if no
            item failed, or if `items` is not 0.
    """

    type: str
    text: str
    items: int | None
    attempts: int
    recovered: int | None = None
    other_failure: str = ""


class Summary(SnapshotWidget):
    """The summary of a run. After the end of the run, it is shown in place of the graphs.

    Args:
        folder: current folder of the user, for commands that the user copies; None if it is unknown.
        whole_key: key that shows the whole summary, for a hint; empty if there is none.
        id: id of the widget.
    """

    def __init__(self, folder: Path | None = None, *, whole_key: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._folder = folder
        self._whole_key = whole_key
        self._failures: Sequence[Failures] | None = None
        self._curves = RunCurves()

    def show_failures(self, failures: Sequence[Failures], curves: RunCurves) -> None:
        """Show failures and curves that were read from the ledger, which has more of them than a snapshot."""
        self._failures, self._curves = failures, curves
        self.repaint()

    def markdown(self, snapshot: Snapshot) -> str:
        """Return the whole summary as Markdown: a heading, and a code block, in which columns stay aligned."""
        text = self.text(snapshot, _MARKDOWN_WIDTH)
        # The fence of a code block must be longer than any sequence of backquotes in it.
        fence = "`" * max(3, _longest_run("`", text) + 1)
        head = f"## {own(snapshot.job, 80)} · run {snapshot.run_id} · {snapshot.state}"
        return "\n".join([head, "", fence, text, fence, ""])

    def text(self, snapshot: Snapshot, width: int) -> str:
        """Return the whole summary as text, with lines for a terminal of `width` cells and whole messages of errors."""
        every = summary(snapshot, width, self._failures, self._curves, self._folder, in_full=True)
        lines: list[str] = []
        for _, line in every:
            text = "".join(text for text, _ in line).rstrip()
            is_command = line[-1][1] == _COMMAND  # the user copies it
            lines += [text] if is_command else wrap(text, width, subsequent_indent=" " * (_LABEL + 1))
        return "\n".join(lines)

    def wanted(self, snapshot: Snapshot, width: int) -> int:
        """Return the number of lines of the whole summary."""
        return len(summary(snapshot, width, self._failures, self._curves, self._folder))

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """Return at most `height` lines in their usual order. The lines with the highest ranks are left out."""
        every = summary(snapshot, width, self._failures, self._curves, self._folder)
        kept = sorted(range(len(every)), key=lambda place: every[place][0])[:height]
        # If the second line of a command is left out, leave out its first line, because half a command is useless.
        kept = [place for place in kept if not _continues(every[place][1]) or place + 1 in kept]
        shown = [fitted(every[place][1], width) for place in sorted(kept)]
        if shown and len(shown) < len(every):
            missing = f"  {ELLIPSIS} {short_plural(len(every) - len(shown), 'more line')}"
            more: Line = ((f"{missing}: {self._whole_key} shows all" if self._whole_key else missing, "muted"),)
            # Put the hint at the end of the last line that has room for it and has no command, because the user copies
            # commands. If no line has room, cut the second line, whose numbers are also in the figures above.
            places = [place for place in reversed(range(len(shown))) if shown[place][-1][1] != _COMMAND]
            roomy = [place for place in places if cells(shown[place]) + cells(more) <= width]
            place = [*roomy, min(1, len(shown) - 1)][0]
            shown[place] = (*fitted(shown[place], width - cells(more)), *more)
        return shown


def summary(
    snapshot: Snapshot,
    width: int,
    failures: Sequence[Failures] | None = None,
    curves: RunCurves | None = None,
    folder: Path | None = None,
    *,
    in_full: bool = False,
) -> list[tuple[int, Line]]:
    """Return all lines of the summary, each with its rank. Low terminals leave out the lines with the highest ranks.

    Numbers that the line of figures shows as well have higher ranks than the commands for the next steps, so that a low
    terminal shows these commands.

    Args:
        snapshot: the newest snapshot.
        width: cells of a line.
        failures: failures from the ledger, the most important first; None to take those of the snapshot.
        curves: curves of the whole run; None to show no curves.
        folder: current folder of the user, for commands that the user copies; None if it is unknown.
        in_full: True for whole messages of errors, whose lines may be longer than `width`.
    """
    curves = curves or RunCurves()
    glyph, role = RUN_GLYPHS[snapshot.state]
    seconds = snapshot.elapsed
    reason: Line = (
        ((f" · {own(snapshot.reason, SHOWN_CHARACTERS if in_full else 120)}", role),) if snapshot.reason else ()
    )
    # The same word as in the header: a run in an outage goes on by itself.
    state = "waiting" if snapshot.state is RunState.PAUSED and snapshot.in_outage else snapshot.state
    items = [f"{snapshot.items_done:,} done{_before(snapshot.items_skipped)}"]
    # Once a resumed run is finished, all items that had failed before have run again.
    are_new = snapshot.is_resumed and snapshot.state is not RunState.FINISHED
    counted: list[str] = []
    if snapshot.items_failed:
        # The items that ended before are no base for a share of those that failed since.
        share = "" if are_new else f" ({percent(snapshot.items_failed, snapshot.items_ended)})"
        (counted if are_new else items).append(f"{snapshot.items_failed:,} failed{share}")
    if snapshot.items_cancelled:
        items.append(f"{snapshot.items_cancelled:,} cancelled")
    if snapshot.retries:
        counted.append(f"{snapshot.retries:,} {'retry' if snapshot.retries == 1 else 'retries'}")
    if counted:
        items.append(", ".join(counted) + (" since it began again" if snapshot.is_resumed else ""))
    rows = (
        f"{snapshot.rows:,}{_before(snapshot.rows_skipped)} in table {own(snapshot.table, 60)},"
        f" file {size(snapshot.db_bytes)}"
    )
    lines: list[tuple[int, Line]] = [
        (0, ((f" {glyph} {state}", role), (f" after {_took(snapshot)}", "strong"), *reason)),
        (1, _row("items", ", ".join(items))),
        (4, _row("rows", rows)),
    ]
    if left_out := _left_out(snapshot):
        lines.append((4, _row("time", left_out)))
    if seconds > 0:
        speed = f"{rate(snapshot.mean_items_per_second)} items/s, {rate(snapshot.mean_rows_per_second)} rows/s"
        if snapshot.held_seconds >= 1.0:
            speed += ", waits for hosts included"
        lines.append((7, _row("mean", speed)))
    if snapshot.p50 is not None and snapshot.p95 is not None:
        since = " since it began again" if snapshot.is_resumed else ""
        window = since if snapshot.latency_window is None else " of the last minute"
        took = f"p50 {latency(snapshot.p50)}, p95 {latency(snapshot.p95)} of all attempts{window}, failed ones included"
        lines.append((7, _row("attempt", took)))
    room = min(max(width - 30, 0), 60)
    most = max(curves.most, snapshot.highest_rate, snapshot.mean_items_per_second)
    for label, role, values, highest in (
        ("items/s", "chart-1", curves.items, f"max {rate(most)}"),
        ("failed", "bad", curves.failed, short_plural(snapshot.items_failed, "item")),
        ("memory", "chart-2", curves.memory, f"max {size(max(curves.memory, default=0.0))}"),
    ):
        if len(values) > 1 and max(values) > 0 and room >= _LEAST_CURVE:
            # Draw all parts of the run, also those without values at its beginning, so that the curves are aligned.
            parts = resampled(values, room) if len(values) > room else values
            chart = (sparkline([part or 0.0 for part in parts], len(parts)), role)
            lines.append((6, ((f" {label:<{_LABEL}}", "muted"), chart, (f"  {highest}", "muted"))))
    groups = _known(snapshot) if failures is None else failures
    for group in groups[:_GROUPS]:
        head, tail = _fate(group)
        text = f"{head}: {own(group.type, _ERROR)}: "
        room = width - _LABEL - 1 - cells(((text, "warn"),))
        longest = SHOWN_CHARACTERS if in_full else _ERROR
        # Cut the message to make room for the text after it. If too little of the message would be left, the text gets
        # a line of its own, because its number without its unit would be taken for one of items.
        is_beside = in_full or room - len(tail) >= min(len(group.text), _LEAST_ERROR)
        space = longest if in_full or not is_beside else min(room - len(tail), longest)
        lines.append(
            (
                5,
                (
                    (f" {WARNING:<{_LABEL}}", "bad" if group.items else "warn"),
                    (text, "warn"),
                    *message_spans(group.text, "warn", space),
                    (tail if is_beside else "", "muted"),
                ),
            )
        )
        if tail and not is_beside:
            lines.append((6, _row("", tail.lstrip(" ;"), "muted")))
    # Count only kinds of errors with failed items, as the event line does. If no item has failed, count all kinds.
    failed = [place for place, group in enumerate(groups) if group.items] or list(range(len(groups)))
    kinds = len(failed) if failures is not None else max(len(failed), snapshot.failed_groups or snapshot.error_groups)
    if more := kinds - len([place for place in failed if place < _GROUPS]):
        lines.append((8, _row("", more_kinds(more))))
    if are_new and groups and failures is None:
        lines.append((8, _row("", "errors since the run began again; the list of errors has all", "muted")))
    if not snapshot.state.ended:
        # After the end, the commands below name the database.
        lines.append((2, _row("data", end_of(own(snapshot.database), width - _LABEL - 1))))
        return lines
    steps = [("open", "")]
    if snapshot.state is not RunState.FINISHED:
        steps.append(("resume", more_memory(snapshot)))
    elif snapshot.items_failed:
        steps += [("errors", ""), ("retry", f" {snapshot.run_id}")]
    database = own(typed_path(snapshot.database, folder))
    for number, (command, options) in enumerate(steps):
        # Divide a command that is too long into two lines, with a backslash for the shell at the end of the first.
        whole = f"tui-runner {command} {database}{options}"
        pieces = [whole] if len(whole) + _LABEL < width else [f"tui-runner {command} \\", f"  {database}{options}"]
        lines += [(3, _row("" if number or place else "next", piece, _COMMAND)) for place, piece in enumerate(pieces)]
    return lines


def _continues(line: Line) -> bool:
    return bool(line) and line[-1][0].endswith("\\")


def _longest_run(character: str, text: str) -> int:
    """Return the length of the longest sequence of `character` in `text`."""
    return max((sum(1 for _ in group) for each, group in groupby(text) if each == character), default=0)


def _known(snapshot: Snapshot) -> list[Failures]:
    """Return the failures of the snapshot.

    The snapshot counts last attempts. If items ran again, it may count an item twice, so that the number of failed
    items is unknown.
    """

    def items(group: ErrorGroup) -> int | None:
        if group.final:
            return group.final if snapshot.finals_are_items else None
        # If other items failed, those of these attempts may be among them, with other last errors.
        return None if snapshot.items_failed else 0

    # Sorted by the numbers that are shown; groups with which items failed come first.
    groups = sorted(snapshot.errors, key=lambda group: (group.final > 0, items(group) or 0, group.count), reverse=True)
    return [Failures(group.type, group.shown, items(group), group.count) for group in groups]


def _fate(group: Failures) -> tuple[str, str]:
    """Return the texts before and after the message of an error.

    If items failed, the first text has their number, and the second has the number of attempts whose items succeeded
    later, if there are any. If no item failed, the first text has the number of attempts and what became of them. If
    the number of failed items is unknown, it has the number of attempts alone. In these cases the second is empty,
    unless the items failed with another error, which it names.
    """
    attempts = short_plural(group.attempts, "attempt")
    if group.items is None:
        return attempts, ""
    if not group.items and group.other_failure:
        return attempts, f"; {own(group.other_failure)}"
    if not group.items:
        return f"{attempts}, {'all later succeeded' if group.recovered == group.attempts else 'no item failed'}", ""
    tail = f" (+{short_plural(group.recovered, 'attempt')} later succeeded)" if group.recovered else ""
    return f"{short_plural(group.items, 'item')} failed", tail


def _has_pauses(snapshot: Snapshot) -> bool:
    return snapshot.paused_seconds >= 1.0


def _took(snapshot: Snapshot) -> str:
    """Return the time that the run took as text. If the run had pauses, the text also has the time without them."""
    active = duration(snapshot.active_seconds)
    return f"{duration(snapshot.wall_seconds)} (active {active})" if _has_pauses(snapshot) else active


def _left_out(snapshot: Snapshot) -> str:
    """Return a text about parts of the run's time: since it was resumed, waiting for hosts, paused; may be empty."""
    parts = []
    if snapshot.active_before:
        parts.append(f"{duration(snapshot.elapsed)} active since it began again")
    if snapshot.held_seconds >= 1.0:
        parts.append(f"{duration(snapshot.held_seconds)} waiting for hosts")
    if _has_pauses(snapshot):
        # The causes of pauses are known only for this process.
        pauses = (*snapshot.pauses, ("before it began again", snapshot.paused_seconds - snapshot.paused))
        causes = [(cause, seconds) for cause, seconds in pauses if seconds >= 1.0]
        named = ", ".join(cause if len(causes) == 1 else f"{duration(each)} {cause}" for cause, each in causes)
        # The difference of the times as they are shown, which are whole seconds.
        paused = int(snapshot.wall_seconds) - int(snapshot.active_seconds)
        parts.append(f"{duration(paused)} paused: {named}" if named else "")
    return ", ".join(filter(None, parts))


def _before(number: int) -> str:
    """Return a remark that earlier processes have recorded `number` of the items or rows; empty for 0."""
    return f" ({number:,} of them before)" if number else ""


def _row(label: str, text: str, role: str = "text") -> Line:
    return ((f" {label:<{_LABEL}}", "muted"), (text, role))
