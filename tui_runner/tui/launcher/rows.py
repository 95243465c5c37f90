"""The list of the launcher: its rows, their order, and the text beside a row."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_runner.text.numbers import ZONE, ago, dated, percent, plural, rate, size
from tui_runner.tui.launcher.discovery import RECENT, FoundJob, FoundRun
from tui_runner.tui.widgets.paint import Line, Span, cells, end_of, own, sparkline

_SPARK = 12
"""Cells of the throughput curve of a past run: it has to fit beside the figures at 80 cells."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A line below a row, which the cursor skips."""

    line: Line


Row = str | Detail | FoundJob | FoundRun
"""A row of the list: a title, a detail of the row above, a job, a run."""


def is_passed_over(row: Row) -> bool:
    """Return True if the cursor skips a row."""
    return isinstance(row, str | Detail)


def listed(
    jobs: Sequence[FoundJob],
    runs: Sequence[FoundRun],
    *,
    wanted: str = "",
    empty: str = "",
    now: float | None = None,
) -> list[Row]:
    """Return the rows of the list, unfinished runs first.

    Args:
        jobs: found jobs.
        runs: found runs.
        wanted: only rows with this text in their names; empty for all.
        empty: line about a folder without jobs and databases; empty for a folder that has some.
        now: seconds since the epoch; None for the current time.
    """
    now = time.time() if now is None else now
    jobs = [job for job in jobs if _has(wanted, job.name, job.doc, job.job)]
    runs = [run for run in runs if _has(wanted, run.database.name, _job_name(run))]
    unfinished = [run for run in runs if run.unfinished]
    others = [run for run in runs if not run.unfinished]
    rows: list[Row] = ["jobs in this folder", Detail(((f"    {empty}", "muted"),))] if empty else []
    if unfinished:
        rows.append("go on")
        for run in unfinished:
            rows += [run, Detail(_left(run, now))]
    names = [job.name for job in jobs]
    last = {_job_name(run): run for run in reversed(runs) if run.summary is not None}
    for group in dict.fromkeys(job.group for job in jobs):
        rows.append(f"jobs {group}" if group.startswith("in") else group)
        for job in (job for job in jobs if job.group == group):
            rows.append(job)
            before = last.get(job.name)
            if group.startswith("in") and before is not None and names.count(job.name) == 1:
                rows.append(Detail(_last(before, now)))
    if others:
        rows += ["databases", *others]
    return rows


def row_name(row: Row | None) -> str:
    """Return a name by which a row is found again when the launcher returns; empty for titles."""
    match row:
        case FoundJob():
            return row.job
        case FoundRun():
            return f"{row.database}\0{0 if row.summary is None else row.summary.record.run_id}"
    return ""


def _job_title(found: FoundJob, same_name: Mapping[str, int]) -> str:
    """Return the name of a job, with its file if others have the same name."""
    name = own(found.name, 40)
    if same_name.get(found.name, 0) > 1 and ":" in found.job:
        name += f" ({own(Path(found.job.rpartition(':')[0]).name, 40)})"
    return name


def first_choice(rows: Sequence[Row], recent: Sequence[str]) -> int:
    """Return the row that the user most likely wants.

    The order is: an unfinished run, the last started job of this folder, the first job of this folder, jobs of other
    folders with the last started first.
    """
    ranks = {job: place for place, job in enumerate(recent)}

    def rank(place: int) -> tuple[int, int, int]:
        match rows[place]:
            case FoundRun() as run if run.unfinished:
                return 0, 0, place
            case FoundJob(error="") as job:
                elsewhere = 2 * (job.group in (RECENT, "samples"))
                return (1 if job.job in ranks else 2) + elsewhere, ranks.get(job.job, 0), place
            case FoundRun() | FoundJob():
                return 5, 0, place
        return 6, 0, place

    return min(range(len(rows)), key=rank, default=0)


def _has(wanted: str, *texts: str) -> bool:
    return wanted.lower() in " ".join(texts).lower()


def _job_name(run: FoundRun) -> str:
    return "" if run.summary is None else run.summary.record.job


def _share(run: FoundRun) -> str:
    assert run.summary is not None  # noqa: S101 - of rows with one alone
    record, totals = run.summary.record, run.summary.totals
    return percent(totals.done, record.items_total) if record.items_total else f"{totals.done:,} items"


def _left(run: FoundRun, now: float) -> Line:
    assert run.summary is not None  # noqa: S101 - of rows with one alone
    record, totals = run.summary.record, run.summary.totals
    parts = []
    if record.items_total is not None:
        ended = totals.done + totals.failed + totals.cancelled
        parts.append(f"{max(record.items_total - ended, 0):,} left")
    if totals.failed:
        parts.append(f"{totals.failed:,} failed")
    if totals.cancelled:
        parts.append(f"{totals.cancelled:,} cancelled")
    parts.append(ago(now - run.last_seen))
    return (("    " + " · ".join(parts) + "  ", "muted"), (sparkline(run.curves.items, _SPARK).strip(), "chart-1"))


def _last(run: FoundRun, now: float) -> Line:
    assert run.summary is not None  # noqa: S101 - of rows with one alone
    totals = run.summary.totals
    failed: list[Span] = [(f", {totals.failed:,} failed", "bad")] if totals.failed else []
    head = f"    last: {ago(now - run.last_seen)}, {totals.done:,} done"
    return ((head, "muted"), *failed, ("  ", "text"), (sparkline(run.curves.items, _SPARK).strip(), "chart-1"))


def drawn(row: Row, width: int, *, same_name: Mapping[str, int], now: float | None = None) -> Line:
    """Return a row of the list as a line.

    Args:
        row: the row.
        width: cells.
        same_name: number of jobs by name; jobs with the same name are shown with their files.
        now: seconds since the epoch; None for the current time.
    """
    now = time.time() if now is None else now
    match row:
        case Detail(line):
            return line
        case FoundJob(error="") as found:
            name = _job_title(found, same_name)
            doc = own(found.doc) or ("a function without @job" if not found.decorated else "")
            return ((f"  {name:<12}", "strong"), (f"  {doc}", "muted"))
        case FoundJob() as found:
            return ((f"⚠ {own(found.name, 40)}", "bad"), (f"  {own(found.error)}", "muted"))
        case FoundRun(summary=None) as run:
            name = own(run.database.name, 60)
            marked = (f"  {name}", "running") if run.in_use else (f"⚠ {name}", "bad")
            return (marked, (f"  {own(run.error)}", "muted"))
        case FoundRun(summary=summary) as run if summary is not None:
            record, totals = summary.record, summary.totals
            name = f"{own(run.database.name, 40)}: run {record.run_id} of {own(record.job, 40)}"
            if run.unfinished:
                head: Line = ((f"  {name}", "strong"), (f"  {run.state}  {_share(run)} ", "warn"))
                return (*head, *_bar(run, width - cells(head)))
            failed: list[Span] = [(f"  {totals.failed:,} failed", "bad")] if totals.failed else []
            when = f"  {plural(totals.rows, 'row')}  {size(run.nbytes)}  {ago(now - run.last_seen)}"
            return ((f"  {name}", "text"), *failed, (when, "muted"))
        case str():
            return ((row, "accent"),)
    return ()


def _bar(run: FoundRun, room: int) -> list[Span]:
    assert run.summary is not None  # noqa: S101 - of rows with one alone
    total, totals = run.summary.record.items_total, run.summary.totals
    width = min(room, 16)
    if not total or width < 4:
        return []
    filled = min(round(width * totals.done / total), width)
    return [("━" * filled, "done"), ("─" * (width - filled), "faint")]


def about(
    row: Row | None, folder: str, width: int, *, loaded: bool, same_name: Mapping[str, int], try_key: str
) -> list[str]:
    """Return the text that is shown about a row beside the list.

    If a job's form is shown, it is the job's description and its database.

    Args:
        row: the row.
        folder: folder for a job's database, as shown.
        width: cells of a line; a longer path is cut at its beginning.
        loaded: True if the form of the job is shown.
        same_name: number of jobs by name; jobs with the same name are shown with their files.
        try_key: key that tries the first items.
    """
    match row:
        case FoundJob(error="") as found:
            text = [_job_title(found, same_name), *(own(line, 300) for line in found.about.split("\n") if found.about)]
            rows_go = f"rows go to {end_of(own(f'{folder}/{found.name}.duckdb', 300), max(width - 11, 12))}"
            if loaded:
                return [*text[:2], rows_go]
            kind = "job" if found.decorated else "a function without @job"
            facts = ["", f"{own(found.place, 200)} · {kind}"]
            if found.parameters:
                facts += ["", "takes", *(f"  {own(each, 200)}" for each in found.parameters)]
            if found.settings:
                facts += ["", f"@job({own(found.settings, 300)})"]
            facts += ["", rows_go]
            return [*text, *facts, "", f"Enter loads the file and shows the form; {try_key} tries 3 items."]
        case FoundJob() as found:
            return [own(found.name, 80), "", f"cannot be loaded: {own(found.error, 300)}"]
        case FoundRun(summary=None) as run:
            meanwhile = ["", "It can be queried meanwhile."] if run.in_use else []
            return [own(run.database.name, 100), "", own(run.error, 300), *meanwhile]
        case FoundRun(summary=summary) as run if summary is not None:
            record, totals = summary.record, summary.totals
            total = "?" if record.items_total is None else f"{record.items_total:,}"
            chart = sparkline(run.curves.items, 40).strip()
            return [
                f"{own(run.database.name, 100)} · run {record.run_id} of {own(record.job, 60)}",
                f"{run.state}, begun {dated(record.started_at.timestamp())[:-3]} {ZONE}",
                "",
                f"job: {own(run.job, 300)}",
                f"{totals.done:,} of {total} items done, {totals.failed:,} failed, {totals.rows:,} rows",
                f"input: {own(record.input or 'the items of the job', 200)}",
                *(["", f"items/s  {chart}  max {rate(run.curves.most)}"] if chart else []),
            ]
    return []


NO_JOBS = (
    "No job was found in {folder}{files}.",
    "",
    "A job is a Python function that is called for every item of a long list; what it returns",
    "is stored in a DuckDB file.",
    "",
    "  {init}   write a first job here: first_job.py",
    "  {samples}   copy the samples here",
    "  {folder_key}   look in another folder",
    "",
    "Or try a sample from the list: Enter.",
)


def empty_list(keys: Mapping[str, str]) -> str:
    """Return the line of the list about a folder without jobs and databases; `keys` as for `empty_folder`."""
    return "none: {init} writes a first job, {samples} copies samples, {folder_key} looks elsewhere".format(**keys)


def empty_folder(folder: Path, files: int, keys: Mapping[str, str]) -> list[str]:
    """Return the text for a folder without jobs: the folder, and how to continue.

    Args:
        folder: path of the folder.
        files: number of Python files in it.
        keys: the keys of the three actions that the text names, by name.
    """
    inside = f", in its {plural(files, 'Python file')}" if files else ", which has no Python files"
    return [line.format(folder=own(str(folder), 200), files=inside, **keys) for line in NO_JOBS]
