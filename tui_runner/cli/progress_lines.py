"""Describes a run in lines of text: its progress, its end, and commands for the next steps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tui_runner.cli.overwritten_line import cut_to
from tui_runner.engine.control import RunControl
from tui_runner.engine.progress.host_wait import host_wait
from tui_runner.engine.progress.snapshot import ErrorGroup, Snapshot, more_memory
from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.store.ledger import Ledger
from tui_runner.store.ledger.reports import FailureGroup, count_failure_groups, failure_groups
from tui_runner.store.records import RUN_COLUMN
from tui_runner.store.sql import quote
from tui_runner.text.describe import first_line
from tui_runner.text.messages import resume_command, retry_command
from tui_runner.text.numbers import count, countdown, duration, more_kinds, plural, rate, short_plural, size
from tui_runner.text.paths import cut_text
from tui_runner.text.safe_text import display_width, safe_text

_SHOWN_ERROR_GROUPS = 5
"""Groups of errors in the closing lines, so that earlier lines are still visible; `tui-runner errors` lists all."""
_MESSAGE_LENGTH = 200
"""Characters of a group's message that are shown: two or three lines of a terminal."""


def progress_line(snapshot: Snapshot) -> str:
    """Return one line about the progress of a run.

    It usually has less than 120 characters; a long name of the job or a reason for a pause makes it longer.
    """
    total = snapshot.items_total
    if total:
        items = f"{100 * snapshot.items_finished / total:5.1f} %  {snapshot.items_finished:,}/{total:,}"
    elif snapshot.items_known is not None:
        left = max(0, snapshot.items_known - snapshot.items_finished)
        items = f"{snapshot.items_finished:,} of {snapshot.items_known:,} known, {left:,} in the frontier"
    else:
        items = f"{short_plural(snapshot.items_finished, 'item')}, unknown total"
    parts = [
        f"{safe_text(snapshot.job)} run {snapshot.run_id}",
        items,
    ]
    if snapshot.has_rates:
        parts += [f"{rate(snapshot.items_per_second)} items/s", f"{rate(snapshot.rows_per_second)} rows/s"]
    if snapshot.items_known is not None and not snapshot.items_total and snapshot.state is RunState.RUNNING:
        parts.append(f"{rate(snapshot.new_per_second)} new/s")
    if snapshot.items_failed:
        parts.append(f"failed {count(snapshot.items_failed)}")
    if snapshot.retries_over_budget and snapshot.state is RunState.RUNNING:
        parts.append(f"{count(snapshot.retries_over_budget)} held by the retry budget")
    memory = snapshot.app_rss + snapshot.workers_rss
    if memory:
        parts.append(size(memory))
    if snapshot.is_writing:
        parts.append(f"writing {size(snapshot.buffered_bytes)}")
    elif snapshot.state is not RunState.RUNNING:
        parts.append(_state_and_reason(snapshot))
    elif wait := host_wait(snapshot):
        parts.append(wait.text())
    elif snapshot.stalled_seconds is not None:
        parts.append(f"stalled for {duration(snapshot.stalled_seconds)}")
    elif eta := _estimate(snapshot):
        parts.append(eta)
    return "  ".join(parts)


def _estimate(snapshot: Snapshot) -> str:
    """Return the estimated time left, or the reason why there is none; empty before there is an estimate."""
    if snapshot.awaits_attempts and snapshot.next_attempt:
        return f"{snapshot.eta}, the next in {countdown(snapshot.next_attempt)}"
    return snapshot.eta


def _state_and_reason(snapshot: Snapshot) -> str:
    """Return the state of a run, the countdown if there is one, and the reason, which may be cut at its end."""
    if snapshot.trial_seconds is not None:
        when = f"; next try in {countdown(snapshot.trial_seconds)}"
    elif snapshot.state is RunState.DRAINING and snapshot.drain_seconds is not None:
        when = f", {countdown(snapshot.drain_seconds)} left"
    else:
        when = ""
    # After a countdown, a colon would look like a part of a time of day.
    why = f"{' · ' if when else ': '}{safe_text(snapshot.reason)}" if snapshot.reason else ""
    return f"{snapshot.state.value}{when}{why}"


_BAR_LEAST, _BAR_MOST = 5, 30
"""Smallest and largest width of the progress bar, in cells. Half a cell of a smaller bar would stand for more than a
tenth of the run. A larger bar would say no more than the percentage beside it."""


_REASON_LEAST = 48
"""Columns that the state, the countdown and the reason keep on a narrow line, before the share and the counts get any:
a countdown, and half a sentence of the reason."""
_SHARE = 9
"""Columns of the share, `  0.0 %`, and of the blanks after it."""
_Part = tuple[str, int]
"""A part of a line, and its rank. The part with the highest rank is omitted first."""


def live_line(snapshot: Snapshot, width: int) -> str:
    """Return the progress of a run in at most `width` columns. The least important parts are omitted first.

    If the run waits, the reason is most important, and it is cut only after all parts but the share and the counts have
    been omitted. The progress bar fills the remaining columns; it needs a number of items.
    """
    wait = host_wait(snapshot)
    if wait is not None or (snapshot.state is not RunState.RUNNING and not snapshot.is_writing):
        if wait is not None:
            reason = wait.brief(width - _SHARE)
            return _waiting_line(snapshot, reason, width, display_width(reason))  # the time at its end says most
        reason, least = _brief_reason(snapshot, width - _SHARE)
        return _waiting_line(snapshot, reason, width, least)
    total = snapshot.items_total
    if snapshot.state is not RunState.RUNNING or not total:
        return cut_to(progress_line(snapshot), width)
    parts = _progress_parts(snapshot)
    if snapshot.has_rates:
        parts.append((f"{rate(snapshot.items_per_second)}/s", 5))
    if snapshot.items_failed:
        parts.append((f"{count(snapshot.items_failed)} failed", 3))
    if snapshot.retries_over_budget:
        parts.append((f"{count(snapshot.retries_over_budget)} held by the retry budget", 5))
    if snapshot.is_writing:
        parts.append((f"writing {size(snapshot.buffered_bytes)}", 1))
    elif snapshot.stalled_seconds is not None:
        parts.append((f"stalled {duration(snapshot.stalled_seconds, short=True)}", 1))
    elif eta := _estimate(snapshot):
        parts.append((eta, 1))
    if memory := snapshot.app_rss + snapshot.workers_rss:
        parts.append((size(memory), 6))
    kept = _kept(parts, width - _BAR_LEAST - 2)
    return cut_to("  ".join(_with_bar(parts, kept, snapshot, width)), width)


def _brief_reason(snapshot: Snapshot, room: int) -> tuple[str, int]:
    """Return the state and the reason, the most important words first, and the columns that these words take.

    They are the countdown and, in an outage, the error, without which a user does not know what to mend. They take at
    most `room` columns if that is not less than `_REASON_LEAST`. The countdown alone says that an outage has paused the
    run, so the word is left out if there is no room.
    """
    if not (snapshot.in_outage and snapshot.outage_error and snapshot.trial_seconds is not None):
        reason = _state_and_reason(snapshot)
        return reason, min(_REASON_LEAST, display_width(reason))
    error = safe_text(snapshot.outage_error)
    words = f"next try in {countdown(snapshot.trial_seconds)} · {error}"
    with_state = f"{snapshot.state.value}; {words}"
    words = with_state if display_width(with_state) <= room else words
    rest = safe_text(snapshot.reason).replace(f" ({error})", "", 1)
    return f"{words} · {rest}", min(display_width(words), max(room, _REASON_LEAST))


def _waiting_line(snapshot: Snapshot, reason: str, width: int, least: int) -> str:
    """Return the line of a run that waits: the name, the share, the counts, then `reason`, then the memory.

    The share and the counts are kept while the reason has `least` columns.
    """
    parts = _progress_parts(snapshot)
    if snapshot.items_failed:
        parts.append((f"{count(snapshot.items_failed)} failed", 3))
    # No line is so narrow that the reason is omitted; it is cut below.
    parts.append((reason, -1))
    if memory := snapshot.app_rss + snapshot.workers_rss:
        parts.append((size(memory), 6))
    kept = _kept(parts, width, least=2)
    over = _width(parts, kept) - width
    if over > 0 and display_width(reason) - over < least:
        kept = _kept(parts, width + display_width(reason) - least, least=-1)
    return cut_to("  ".join(_with_bar(parts, kept, snapshot, width)), width)


def _progress_parts(snapshot: Snapshot) -> list[_Part]:
    """Return the name of the run, and the share and the number of its finished items."""
    name = (f"{safe_text(snapshot.job, limit=20)} run {snapshot.run_id}", 4)
    if total := snapshot.items_total:
        # Rounded down, so that a run with an item left is not at 100 %.
        share = int(1000 * snapshot.items_finished / total) / 10
        return [name, (f"{share:5.1f} %", 0), (f"{snapshot.items_finished:,}/{total:,}", 2)]
    known = snapshot.items_known
    finished = snapshot.items_finished
    return [name, (short_plural(finished, "item") if known is None else f"{finished:,} of {known:,} known", 2)]


def _kept(parts: Sequence[_Part], width: int, *, least: int = 0) -> set[int]:
    """Return the places of the parts that fit into `width` columns. Parts of a rank up to `least` are always kept."""
    kept = set(range(len(parts)))
    for place in sorted(kept, key=lambda place: -parts[place][1]):
        if _width(parts, kept) <= width or parts[place][1] <= least:
            break
        kept.discard(place)
    return kept


def _with_bar(parts: Sequence[_Part], kept: set[int], snapshot: Snapshot, width: int) -> list[str]:
    """Return the texts of the parts in `kept`, with a bar after the name if there is room for one."""
    texts = [text for place, (text, _) in enumerate(parts) if place in kept]
    cells = min(width - _width(parts, kept) - 2, _BAR_MOST)
    if cells >= _BAR_LEAST and texts and snapshot.items_total:
        halves = min(round(snapshot.items_finished / snapshot.items_total * cells * 2), cells * 2)
        filled = "━" * (halves // 2) + "╸" * (halves % 2)
        texts.insert(1 if 0 in kept else 0, filled + "─" * (cells - len(filled)))
    return texts


def _width(parts: Sequence[_Part], kept: set[int]) -> int:
    return sum(display_width(parts[place][0]) + 2 for place in kept) - 2


@dataclass(frozen=True, slots=True)
class Recorded:
    """The failures of an ended run in the ledger.

    Attributes:
        groups: the first groups of errors.
        kinds: number of all groups with failed items, or of all groups if no item failed.
        items_failed: number of failed items, including those of earlier processes that have not run again.
    """

    groups: Sequence[FailureGroup]
    kinds: int
    items_failed: int


def recorded_failures(control: RunControl) -> Recorded | None:
    """Return the errors of an ended run from its ledger; None if it had no errors or the ledger cannot be read.

    A snapshot is less exact: it lacks the errors of earlier processes, and also counts errors of items that succeeded
    later.
    """
    snapshot, database = control.snapshot(), control.database
    if database is None or not (snapshot.errors or snapshot.is_resumed):
        return None
    try:
        cursor = database.cursor()
        try:
            groups = failure_groups(cursor, snapshot.run_id, _SHOWN_ERROR_GROUPS)
            failed = [group for group in groups if group.items_failed]
            every = len(failed or groups)
            if every == _SHOWN_ERROR_GROUPS:
                every = count_failure_groups(cursor, snapshot.run_id, with_failed=bool(failed))
            return Recorded(groups, every, Ledger(cursor).totals(snapshot.run_id).failed)
        finally:
            database.close_cursor(cursor)
    except (duckdb.Error, UserError):  # the database is lost; the caller then uses the snapshot
        return None


def closing_lines(snapshot: Snapshot, database: str, go_on: str, recorded: Recorded | None = None) -> list[str]:
    """Return lines about the end of a run, its most frequent errors, and the next steps.

    Args:
        snapshot: the last snapshot of the run.
        database: path of the database, as written from the current folder.
        go_on: command or advice for resuming the run if it is not finished.
        recorded: the errors from `recorded_failures`; None to use the errors in the snapshot.
    """
    if snapshot.nothing_ran:
        return [complaint(snapshot)]
    lines = [summary(snapshot, database, recorded.items_failed if recorded else None)]
    if snapshot.state is RunState.FINISHED and snapshot.items_total == 0:
        lines.append("no item was read: the input is empty, or --limit is 0")
    if recorded is not None:
        lines.extend(map(_group_line, recorded.groups))
        more = recorded.kinds - len([group for group in recorded.groups if group.items_failed] or recorded.groups)
    else:
        shown = snapshot.errors[:_SHOWN_ERROR_GROUPS]
        lines.extend(_error_line(group, snapshot) for group in shown)
        failed = snapshot.failed_groups
        more = (failed or snapshot.error_groups) - len([group for group in shown if group.final or not failed])
    if more > 0:
        lines.append(f"  {more_kinds(more)}")
    if snapshot.reason:
        lines.append(safe_text(snapshot.reason))
    path = shlex.quote(database)
    if snapshot.items_failed or (recorded and recorded.items_failed):
        lines.append(f"what failed:  tui-runner errors {safe_text(path)} {snapshot.run_id}")
    if snapshot.rows:
        # The table may also have rows of earlier runs.
        mine = f" WHERE {RUN_COLUMN} = {snapshot.run_id}" if snapshot.run_id > 1 else ""
        sql = shlex.quote(f"FROM {quote(snapshot.table)}{mine} LIMIT 10")
        lines.append(f"the rows:     tui-runner query {safe_text(path)} {safe_text(sql)}")
    if snapshot.state is not RunState.FINISHED:
        limit = more_memory(snapshot) if go_on == resume_command(database, snapshot.run_id) else ""
        lines.append(f"resume:       {safe_text(go_on)}{limit}")
    elif (snapshot.items_failed or snapshot.items_cancelled) and go_on == resume_command(database, snapshot.run_id):
        lines.append(f"try again:    {safe_text(retry_command(database, snapshot.run_id))}")
    return lines


def _group_line(group: FailureGroup) -> str:
    """Return a line about a group of errors from the ledger, worded as by `tui-runner errors`."""
    message = group.newest_message or group.message
    text = f"{safe_text(group.type)}: {cut_text(safe_text(first_line(message)), _MESSAGE_LENGTH)}{group.and_alike}"
    if group.failed_otherwise:
        return f"  {plural(group.attempts, 'attempt')} ended by {text}; {safe_text(group.outcome)}"
    if not group.items_failed:
        return f"  {plural(group.attempts, 'attempt')}, {group.outcome}: {text}"
    return f"  {group.items_failed:,} × {text}{f' ({group.outcome})' if group.outcome else ''}"


def _error_line(group: ErrorGroup, snapshot: Snapshot) -> str:
    """Return a line about a group of errors of a snapshot, with its failed items, or its attempts if none is known."""
    alike = " (and alike)" if group.differ else ""
    text = f"{safe_text(group.type)}: {cut_text(safe_text(first_line(group.shown)), _MESSAGE_LENGTH)}{alike}"
    if group.final and snapshot.finals_are_items:
        return f"  {group.final:,} × {text}"
    # If other items failed, those of these attempts may be among them, with other last errors.
    none = "" if snapshot.items_failed else ", no item failed"
    return f"  {plural(group.count, 'attempt')}{none}: {text}"


def complaint(snapshot: Snapshot) -> str:
    """Return the line that is printed for a run that failed before its first item."""
    return f"tui-runner: {safe_text(f'{snapshot.job} run {snapshot.run_id} could not begin: {snapshot.reason}')}"


def summary(snapshot: Snapshot, database: str, recorded_failed: int | None = None) -> str:
    """Return one line about an ended run: its state, items, rows and time.

    Args:
        snapshot: the last snapshot of the run.
        database: path of the database, as written from the current folder.
        recorded_failed: the failed items in the ledger, with those of earlier processes that have not run again; None
            if unknown.
    """
    parts = [f"{snapshot.items_done:,} done"]
    if snapshot.is_resumed and recorded_failed is not None and recorded_failed > snapshot.items_failed:
        parts.append(f"{recorded_failed:,} failed, {snapshot.items_failed:,} of them since it began again")
    elif snapshot.items_failed:
        parts.append(f"{snapshot.items_failed:,} failed")
    if snapshot.items_cancelled:
        parts.append(f"{snapshot.items_cancelled:,} cancelled")
    rows = plural(snapshot.rows, "row")
    if snapshot.items_skipped:
        rows += f" ({plural(snapshot.items_skipped, 'item')}, {plural(snapshot.rows_skipped, 'row')} of these before)"
    # Automatic pauses (for memory, an outage, a full disk) may be most of the time for which the user waited.
    paused = snapshot.paused_seconds >= 1.0
    parts_of_time = [f"{duration(snapshot.wall_seconds)} with pauses"] if paused else []
    waited = f"{duration(snapshot.held_seconds)} waiting for hosts" if snapshot.held_seconds >= 1.0 else ""
    if snapshot.active_before >= 1.0:
        # The waits of earlier processes are unknown.
        parts_of_time.append(f"{duration(snapshot.elapsed)} since it began again")
        waited = waited.replace(" ", " of that ", 1)
    if waited:
        parts_of_time.append(waited)
    took = duration(snapshot.active_seconds) + (f" ({', '.join(parts_of_time)})" if parts_of_time else "")
    return (
        f"{safe_text(snapshot.job)} run {snapshot.run_id} {snapshot.state}: {', '.join(parts)}, "
        f"{rows} in {took} "
        f"→ table {safe_text(snapshot.table)} in {safe_text(database)}"
    )


def shown_path(path: Path, folder: Path) -> str:
    """Return `path` as a user would type it in `folder`: relative if it is inside the folder."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
