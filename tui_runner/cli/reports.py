"""Prints reports from a ledger: the runs of a database, and the errors of a run."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TextIO

from tui_runner.cli.overwritten_line import cut_to, for_stream
from tui_runner.engine.states import recorded_state
from tui_runner.errors import EXIT_OK, ExitCode
from tui_runner.store.access import ConsoleCursor, LocalAccess, RemoteAccess, open_access
from tui_runner.store.ledger import Ledger, RunSummary, Totals, readable
from tui_runner.store.ledger.reports import EPOCH, FailureGroup, count_failure_groups, failure_groups
from tui_runner.store.lock import LockRecord
from tui_runner.store.records import RunRecord
from tui_runner.store.sql import Cursor
from tui_runner.system.terminal import columns
from tui_runner.text.describe import first_line, named_item
from tui_runner.text.numbers import NONE, ZONE, count, dated, duration, more_kinds, plural
from tui_runner.text.safe_text import display_width, safe_text

_BEGUN = f"begun ({ZONE})"
_HEADS = ("run", "job", "table", "state", _BEGUN, "active", "done", "of", "failed", "cancelled", "rows")
_NAME = 100
"""Characters of a name that are printed at most. Real names of functions are shorter."""
_TRACEBACK = 5_000
"""Characters of a traceback that are printed at most: about sixty lines. That of a deep recursion has thousands."""
_NUMBERS = frozenset({"run", "active", "done", "of", "failed", "cancelled", "rows"})
"""Columns that are right-aligned."""
_COUNTS = frozenset({"done", "of", "failed", "cancelled", "rows"})
_LEAST_NAME = 8
"""Fewest columns to which names and states are cut on narrow terminals."""


def print_runs(path: Path, out: TextIO, *, as_json: bool = False) -> ExitCode:
    """Print one line per run, the newest first.

    Args:
        path: the database.
        out: stream for the lines.
        as_json: True for one JSON object per line.

    Raises:
        DatabaseError: the database cannot be used.
    """
    with _cursor(path) as (cursor, owner):
        summaries = Ledger(cursor).runs()
    if as_json:
        for summary in summaries:
            out.write(json.dumps(_run_record(summary, owner)) + "\n")
        return EXIT_OK
    if not summaries:
        _write("no runs in this database; start one with: tui-runner run JOB", out)
        return EXIT_OK
    table: list[Sequence[str]] = [_HEADS, *(_run_cells(summary, owner) for summary in summaries)]
    if out.isatty() and _width(table) > (room := columns(out)):
        table = _narrow(table, [summary.totals for summary in summaries], room)
    widths = [max(map(display_width, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = (
            " " * (width - display_width(cell)) + cell
            if head in _NUMBERS
            else cell + " " * (width - display_width(cell))
            for head, cell, width in zip(table[0], line, widths, strict=True)
        )
        out.write("  ".join(cells).rstrip() + "\n")
    return EXIT_OK


def _width(table: Sequence[Sequence[str]]) -> int:
    return sum(max(map(display_width, column)) + 2 for column in zip(*table, strict=True)) - 2


def _narrow(table: Sequence[Sequence[str]], totals: Sequence[Totals], room: int) -> list[Sequence[str]]:
    """Return the runs for `room` columns: columns that say nothing are omitted, and times and counts shortened.

    What is still too long is taken from the names, and then by leaving out the least important columns.
    """
    cells = {head: [line[place] for line in table[1:]] for place, head in enumerate(table[0])}
    if cells["table"] == cells["job"]:
        del cells["table"]
    if not any(each.cancelled for each in totals):
        del cells["cancelled"]
    for head in _COUNTS & cells.keys():
        cells[head] = [_short_count(text) for text in cells[head]]
    # The date without the year, and the time without the seconds: `12-01 15:52`.
    cells = {
        f"begun {ZONE}" if head == _BEGUN else head: [text[5:16] or text for text in texts] if head == _BEGUN else texts
        for head, texts in cells.items()
    }

    names = [head for head in ("table", "job", "state") if head in cells]
    shortest = cells | {head: [cut_to(text, _LEAST_NAME) for text in cells[head]] for head in names}
    for head in ("active", f"begun {ZONE}", "table", "cancelled"):
        if head in cells and _width(_lines(shortest)) > room:
            del cells[head], shortest[head]
    for head in names:
        if head in cells and (over := _width(_lines(cells)) - room) > 0:
            widest = max(map(display_width, cells[head]))
            cells[head] = [cut_to(text, max(widest - over, _LEAST_NAME)) for text in cells[head]]
    return _lines(cells)


def _lines(cells: Mapping[str, Sequence[str]]) -> list[Sequence[str]]:
    """Return the headings, and the lines below them, of columns by their headings."""
    return [list(cells), *zip(*cells.values(), strict=True)]


def _short_count(text: str) -> str:
    digits = text.replace(",", "")
    return count(int(digits)) if digits.isdigit() else NONE


@contextmanager
def _cursor(path: Path) -> Iterator[tuple[Cursor, LockRecord | None]]:
    """Yield a cursor, and the lock record of the process that has the database open; None if no other process has."""
    with open_access(path) as access, readable(path):
        if isinstance(access, LocalAccess):
            # A run has its database open in its own process. This process could open the database, so no run is active.
            yield access.database.cursor(), None
            return
        owner = access.record if isinstance(access, RemoteAccess) else None
        with access.console() as console:
            yield ConsoleCursor(console), owner


def _state(record: RunRecord, owner: LockRecord | None) -> str:
    goes_on = owner is not None and record.run_id == owner.run
    return recorded_state(record.state, goes_on=goes_on, pause=owner.pause if owner else "")


def _run_cells(summary: RunSummary, owner: LockRecord | None) -> tuple[str, ...]:
    record, totals = summary.record, summary.totals
    state = _state(record, owner)
    return (
        str(record.run_id),
        safe_text(record.job or NONE, limit=_NAME),
        safe_text(record.table_name or NONE, limit=_NAME),
        safe_text(state or NONE, limit=_NAME),
        _dated(record.started_at),
        duration(record.active_seconds, short=True),
        f"{totals.done:,}",
        "unknown" if record.items_total is None else f"{record.items_total:,}",
        f"{totals.failed:,}",
        f"{totals.cancelled:,}",
        f"{totals.rows:,}",
    )


def _run_record(summary: RunSummary, owner: LockRecord | None) -> dict[str, object]:
    record, totals = summary.record, summary.totals
    state, _, pause = _state(record, owner).partition(": ")
    return {
        "run_id": record.run_id,
        "job": record.job,
        "job_path": record.job_path,
        "table": record.table_name,
        "input": record.input,
        "state": state,
        "pause": pause or None,
        "started_at": _moment(record.started_at),
        "ended_at": _moment(record.ended_at),
        "active_seconds": record.active_seconds,
        "wall_seconds": max(record.wall_seconds, record.active_seconds),
        "items_total": record.items_total,
        "items_done": totals.done,
        "items_failed": totals.failed,
        "items_cancelled": totals.cancelled,
        "rows": totals.rows,
        "retries": totals.retries,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None or moment == EPOCH else moment.isoformat()


def print_errors(
    path: Path, run: int | None, limit: int, out: TextIO, *, tracebacks: bool = False, as_json: bool = False
) -> ExitCode:
    """Print the errors of a run in groups, those with the most failed items first.

    Args:
        path: the database.
        run: number of the run; None for the newest.
        limit: groups to print.
        out: stream for the lines.
        tracebacks: True to print the traceback, if any, of the newest error of each group.
        as_json: True for one JSON object per group.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no such run.
    """
    with _cursor(path) as (cursor, _):
        record = Ledger(cursor).run(run, database=path)
        groups = failure_groups(cursor, record.run_id, limit)
        # If there are as many groups as the limit, there may be more.
        every = count_failure_groups(cursor, record.run_id) if len(groups) == limit else len(groups)
    if as_json:
        for group in groups:
            found = asdict(group) | {"run_id": record.run_id}
            found |= {"first_seen": _moment(group.first_seen), "last_seen": _moment(group.last_seen)}
            if not tracebacks:
                del found["newest_traceback"]
            out.write(json.dumps(found) + "\n")
        return EXIT_OK
    if not groups:
        _write(f"run {record.run_id} has no errors", out)
    for group in groups:
        _print_group(group, out)
        if tracebacks and group.newest_traceback:
            out.write(
                textwrap.indent(safe_text(group.newest_traceback.rstrip(), newlines=True, limit=_TRACEBACK), "    ")
                + "\n"
            )
    if every > len(groups):
        _write(f"{more_kinds(every - len(groups))}; list all with --limit {every}", out)
    return EXIT_OK


def _dated(moment: datetime) -> str:
    """Return the date and time of a moment as text; `–` for `EPOCH`, which stands for an unknown moment."""
    return NONE if moment == EPOCH else dated(moment.timestamp())


def _print_group(group: FailureGroup, out: TextIO) -> None:
    number = group.items_failed or group.attempts
    head = f"{number:,} ×" if group.items_failed else f"{plural(number, 'attempt')}:"
    text = safe_text(f"{group.type}: {first_line(group.newest_message or group.message)}", limit=500)
    _write(f"{head} {text}{group.and_alike}", out)
    fate, seen = f"    {_fate(group)}", _seen(group)
    for line in (fate, f"    {seen}") if group.failed_otherwise else (f"{fate}, {seen}",):  # the former are long
        _write(line, out)
    if group.newest_item is not None:  # unknown in a damaged ledger
        item = safe_text(named_item(group.newest_item, group.newest_item_text), limit=250)
        _write(f"    newest: {item}", out)


def _write(line: str, out: TextIO) -> None:
    out.write(for_stream(line, out) + "\n")


def _fate(group: FailureGroup) -> str:
    """Return the number of failed items, and what became of the other attempts."""
    if not group.items_failed:
        return safe_text(group.outcome)
    return f"{plural(group.items_failed, 'item')} failed{f' ({group.outcome})' if group.outcome else ''}"


def _seen(group: FailureGroup) -> str:
    first, last = _dated(group.first_seen), _dated(group.last_seen)
    return f"{first} {ZONE}" if first == last else f"{first} to {last} {ZONE}"
