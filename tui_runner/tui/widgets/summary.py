"""What a run that has ended came to: totals, time, rates, what failed, where the data is, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tui_runner.engine.progress.snapshot import Snapshot, more_memory
from tui_runner.engine.states import RunState
from tui_runner.text.numbers import counted, duration, percent, rate, size
from tui_runner.tui.glyphs import RUN_GLYPHS, WARNING
from tui_runner.tui.paint import Line, end_of, fitted, own
from tui_runner.tui.widgets.snapshot_line import SnapshotWidget

_GROUPS = 3
_ERROR = 70
_LABEL = 7


@dataclass(frozen=True, slots=True)
class Failures:
    """Errors that are alike: the items that have failed with them, None where that is not known, and the attempts."""

    type: str
    text: str
    items: int | None
    attempts: int


class Summary(SnapshotWidget):
    """The summary; shown in place of the graphs of a run that has ended."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._failures: Sequence[Failures] | None = None

    def show_failures(self, failures: Sequence[Failures]) -> None:
        """Take what the ledger knows, which is more than a snapshot does."""
        self._failures = failures
        self.repaint()

    def wanted(self, snapshot: Snapshot, width: int) -> int:
        """How many lines there are to say."""
        return len(summary(snapshot, width, self._failures))

    def lines(self, snapshot: Snapshot, width: int, height: int) -> list[Line]:
        """As many lines as there is room for, in their order; where there is little, the least telling are left out."""
        every = summary(snapshot, width, self._failures)
        kept = sorted(range(len(every)), key=lambda place: every[place][0])[:height]
        return [fitted(every[place][1], width) for place in sorted(kept)]


def summary(snapshot: Snapshot, width: int, failures: Sequence[Failures] | None = None) -> list[tuple[int, Line]]:
    """Every line there is to say, each with a rank: the highest ranks are left out first.

    Figures that the line above the summary has as well come after what to do next.

    Args:
        snapshot: the last one.
        width: cells of a line.
        failures: what the ledger knows of errors, the most important first; None for what the snapshot knows.
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
    for group in (_known(snapshot) if failures is None else failures)[:_GROUPS]:
        text = f"{_fate(group)}: {own(group.type, _ERROR)}: {own(group.text, _ERROR)}"
        lines.append((5, ((f" {WARNING:<{_LABEL}}", "bad" if group.items else "warn"), (text, "warn"))))
    database = own(shlex.quote(snapshot.database))
    lines.append((2, _row("data", end_of(own(snapshot.database), width - _LABEL - 1))))
    steps = [f"tui-runner open {database}"]
    if snapshot.state is not RunState.FINISHED:
        steps.append(f"tui-runner resume {database}{more_memory(snapshot)}")
    elif snapshot.items_failed:
        steps += [f"tui-runner errors {database}", f"tui-runner retry {database} {snapshot.run_id}"]
    lines += [(6 if number else 3, _row("" if number else "next", step, "accent")) for number, step in enumerate(steps)]
    return lines


def _known(snapshot: Snapshot) -> list[Failures]:
    """What the snapshot knows: the last attempts of items, which may be more than items if some ran again later."""
    once = sum(group.final for group in snapshot.errors) == snapshot.items_failed
    return [
        Failures(group.type, group.text, group.final if once or not group.final else None, group.count)
        for group in snapshot.errors
    ]


def _fate(group: Failures) -> str:
    """How many items failed so, and in how many attempts if these are more."""
    attempts = counted(group.attempts, "attempt")
    if group.items is None:
        return attempts
    if not group.items:
        return f"{attempts}, all tried again"
    items = f"{counted(group.items, 'item')} failed"
    return items if group.items == group.attempts else f"{items}, {attempts}"


def _before(number: int) -> str:
    """What earlier processes had recorded."""
    return f" ({number:,} of them before)" if number else ""


def _row(label: str, text: str, role: str = "text") -> Line:
    return ((f" {label:<{_LABEL}}", "muted"), (text, role))
