"""What a run that has ended came to: totals, time, rates, what failed, where the data is, what to do next."""

from __future__ import annotations

import shlex

from tui_runner.engine.chunk import RunState
from tui_runner.engine.snapshot import ErrorGroup, Snapshot
from tui_runner.formatting import count, duration, percent, rate, size
from tui_runner.run_lines import more_memory
from tui_runner.tui.glyphs import RUN_GLYPHS, WARNING
from tui_runner.tui.paint import Line, end_of, fitted, own
from tui_runner.tui.widgets.snapshot_line import SnapshotWidget

_GROUPS = 3
_ERROR = 70
_LABEL = 7


class Summary(SnapshotWidget):
    """The summary; shown in place of the graphs of a run that has ended."""

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """As many lines as there is room for, in their order; where there is little, the least telling are left out."""
        every = summary(snapshot, width)
        kept = sorted(range(len(every)), key=lambda place: every[place][0])[:height]
        return [fitted(every[place][1], width) for place in sorted(kept)]


def summary(snapshot: Snapshot, width: int) -> list[tuple[int, Line]]:
    """Every line there is to say, each with a rank: the highest ranks are left out first.

    Figures that the line above the summary has as well come after what to do next.
    """
    glyph, role = RUN_GLYPHS[snapshot.state]
    seconds = snapshot.elapsed
    reason: Line = ((f" {own(snapshot.reason, 120)}", role),) if snapshot.reason else ()
    items = (
        f"{snapshot.items_done:,} done{_before(snapshot.items_skipped)}, {snapshot.items_failed:,} failed"
        f" ({percent(snapshot.items_failed, snapshot.items_finished)}), {snapshot.items_cancelled:,} cancelled,"
        f" {snapshot.retries:,} retries"
    )
    rows = (
        f"{snapshot.rows:,}{_before(snapshot.rows_skipped)} in table {own(snapshot.table, 60)},"
        f" file {size(snapshot.db_bytes)}"
    )
    lines: list[tuple[int, Line]] = [
        (0, ((f" {glyph} {snapshot.state}", role), (f" after {duration(seconds)}", "strong"), *reason)),
        (1, _row("items", items)),
        (4, _row("rows", rows)),
    ]
    if seconds > 0:
        written = snapshot.rows - snapshot.rows_skipped
        lines.append(
            (7, _row("mean", f"{rate(snapshot.items_executed / seconds)} items/s, {rate(written / seconds)} rows/s"))
        )
    for group in snapshot.errors[:_GROUPS]:
        text = f"{_fate(group)}: {own(group.type, _ERROR)}: {own(group.text, _ERROR)}"
        lines.append((5, ((f" {WARNING:<{_LABEL}}", "bad" if group.final else "warn"), (text, "warn"))))
    database = own(shlex.quote(snapshot.database))
    lines.append((2, _row("data", end_of(own(snapshot.database), width - _LABEL - 1))))
    steps = [f"tui-runner open {database}"]
    if snapshot.state is not RunState.FINISHED:
        steps.append(f"tui-runner resume {database}{more_memory(snapshot)}")
    elif snapshot.items_failed:
        steps += [f"tui-runner errors {database}", f"tui-runner retry {database} {snapshot.run_id}"]
    lines += [(6 if number else 3, _row("" if number else "next", step, "accent")) for number, step in enumerate(steps)]
    return lines


def _fate(group: ErrorGroup) -> str:
    """How often something went wrong, and how often for good."""
    attempts = f"{count(group.count)} {'attempt' if group.count == 1 else 'attempts'}"
    if not group.final:
        return f"{attempts}, all tried again"
    if group.final < group.count:
        return f"{attempts}, {count(group.final)} final"
    return f"{attempts}, {'final' if group.count == 1 else 'all final'}"


def _before(number: int) -> str:
    """What earlier processes had recorded."""
    return f" ({number:,} of them before)" if number else ""


def _row(label: str, text: str, role: str = "text") -> Line:
    return ((f" {label:<{_LABEL}}", "muted"), (text, role))
