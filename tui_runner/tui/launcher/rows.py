"""The list of the launcher: its rows, their order and their appearance. `details` has the text beside the list."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

from tui_runner.system.files import with_short_home
from tui_runner.text.numbers import ago, percent, plural, short_plural, size
from tui_runner.text.safe_text import ELLIPSIS
from tui_runner.tui.launcher.discovery import (
    FUNCTIONS,
    HERE,
    PACKAGES,
    RECENT,
    SAMPLES,
    SAMPLES_HERE,
    FoundDatabase,
    FoundJob,
    FoundRun,
)
from tui_runner.tui.widgets.braille import resampled
from tui_runner.tui.widgets.paint import Line, Span, cells, column, end_of, fitted, own, sparkline

_SPARK = 12
"""Cells of the throughput curve of a run, so that it fits beside the figures in a terminal of 80 columns."""
_TITLES = {
    HERE: "jobs here",
    SAMPLES_HERE: "jobs in sample_jobs",
    PACKAGES: "jobs in packages here",
    FUNCTIONS: "functions here",
    RECENT: "recent, of other folders",
}
"""Headings of the groups of jobs, in the order of the list. Databases are listed directly after the group `HERE`,
because a folder may have hundreds of plain functions, which would hide the databases below them."""
DATABASES = "databases"
"""Heading above the databases."""
_WIDE = 1_000
"""Cells in which a row has room for all of its parts. Each of them is limited to fewer."""
_NAMES = 13
"""Least cells of a name, to which shorter names are padded, so that most descriptions begin in the same column."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A line below a row, which the cursor skips.

    Attributes:
        line: the line.
        more: parts behind it, which are left out from the first one on that does not fit.
    """

    line: Line
    more: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Samples:
    """The row of the sample jobs that come with tui-runner.

    Attributes:
        jobs: the samples.
        unfolded: True if rows for each of the samples follow.
    """

    jobs: tuple[FoundJob, ...]
    unfolded: bool = False


Row = str | Detail | FoundJob | FoundRun | FoundDatabase | Samples
"""A row of the list: a heading, a detail of the row above, a job, an unfinished run, a database, the samples."""


def is_passed_over(row: Row) -> bool:
    """Return True if the cursor skips a row."""
    return isinstance(row, str | Detail)


def listed(
    jobs: Sequence[FoundJob],
    databases: Sequence[FoundDatabase],
    *,
    wanted: str = "",
    empty: Sequence[Line] = (),
    looking: bool = False,
    unfolded: bool = False,
    height: int = 0,
    now: float | None = None,
) -> list[Row]:
    """Return the rows of the list, unfinished runs first.

    Args:
        jobs: found jobs.
        databases: found databases.
        wanted: only jobs and databases with this text in their row, in the row of one of their unfinished runs, in
            their path, or in the name of one of their jobs; upper and lower case are the same. Empty for all.
        empty: lines about a folder without jobs and databases; empty for other folders.
        looking: True while databases are still being read, to say so in their place.
        unfolded: True to list each sample in a row of its own. With `wanted`, each has one in any case.
        height: visible lines; if the rows do not fit, the lines about the last runs of jobs are left out. 0 for no
            such limit.
        now: seconds since the epoch; None for the current time.
    """
    now = time.time() if now is None else now
    if wanted:
        same_name = Counter(job.name for job in jobs)
        jobs = [job for job in jobs if _has(wanted, _shown(job, same_name, now), job.name, job.doc, job.job)]
        databases = [each for each in databases if _has(wanted, *_texts(each, same_name, now))]
    last = _last_runs(jobs, databases)
    rows = _sections(jobs, databases, last, wanted, empty, looking, unfolded, now)
    if height and len(rows) > height:
        rows = _sections(jobs, databases, {}, wanted, empty, looking, unfolded, now)
    return rows


def _sections(
    jobs: Sequence[FoundJob],
    databases: Sequence[FoundDatabase],
    last: Mapping[str, FoundRun],
    wanted: str,
    empty: Sequence[Line],
    looking: bool,
    unfolded: bool,
    now: float,
) -> list[Row]:
    rows: list[Row] = [_TITLES[HERE], *map(Detail, empty), Detail(())] if empty else []
    if unfinished := [run for each in databases for run in each.runs if run.unfinished]:
        rows.append("go on")
        for run in unfinished:
            rows += [run, _left(run, now)]
    for group, title in _TITLES.items():
        if found := [job for job in jobs if job.group == group]:
            rows.append(title)
            for job in found:
                rows.append(job)
                if group == HERE and job.job in last:
                    rows.append(_last(last[job.job], now))
        if group == HERE and (databases or looking):
            rows += [DATABASES, *databases]
            if looking:
                rows.append(Detail((("  looking for databases …", "muted"),)))
    if samples := tuple(job for job in jobs if job.group == SAMPLES):
        rows += [SAMPLES, Samples(samples, unfolded or bool(wanted)), *(samples if unfolded or wanted else ())]
    return rows


def _last_runs(jobs: Sequence[FoundJob], databases: Sequence[FoundDatabase]) -> dict[str, FoundRun]:
    """Return the run of each job that ended or was seen last, by `FoundJob.job`.

    A run belongs to the job of its name, wherever the job's file was at that time. If several jobs share the name, the
    names of their files decide.
    """
    names = Counter(job.name for job in jobs)
    runs: dict[str, FoundRun] = {}
    runs_of_files: dict[tuple[str, str], FoundRun] = {}
    for run in sorted((run for each in databases for run in each.runs), key=lambda run: run.ended_or_seen):
        name = _job_name(run)
        runs[name] = runs_of_files[name, _file_name(run.summary.record.job_path)] = run
    found = {
        job.job: runs.get(job.name) if names[job.name] == 1 else runs_of_files.get((job.name, _file_name(job.job)))
        for job in jobs
    }
    return {job: run for job, run in found.items() if run is not None}


def _file_name(job: str) -> str:
    """Return the name of the file, or the module, in the text of a job for `load_job`."""
    return Path(job.rpartition(":")[0]).name


def row_name(row: Row | None) -> str:
    """Return a text that identifies a row, also in a later list; empty for None and rows that the cursor skips."""
    match row:
        case FoundJob():
            return row.job
        case FoundRun():
            return f"{row.database}\0{row.summary.record.run_id}"
        case FoundDatabase():
            return f"{row.path}\0"
        case Samples():
            return f"{SAMPLES}\0"
    return ""


def job_title(found: FoundJob, same_name: Mapping[str, int]) -> str:
    """Return the name of a job, with its file if `same_name` counts several jobs of that name."""
    name = own(found.name, 40)
    if same_name.get(found.name, 0) > 1 and ":" in found.job:
        name += f" ({own(_file_name(found.job), 40)})"
    return name


def first_choice(rows: Sequence[Row], recent: Sequence[str]) -> int:
    """Return the index of the row that the user most likely wants; 0 if there are no rows.

    The order is: an unfinished run, the last started job of this folder, the first job of this folder, the last started
    job from elsewhere, the samples.

    Args:
        rows: the rows of the list.
        recent: jobs that were started, the last one first, as texts for `load_job`.
    """
    ranks = {job: place for place, job in enumerate(recent)}

    def rank(place: int) -> tuple[int, int, int]:
        match rows[place]:
            case FoundRun():
                return 0, 0, place
            case FoundJob(error="") as job:
                elsewhere = 2 * (job.group in (RECENT, SAMPLES))
                return (1 if job.job in ranks else 2) + elsewhere, ranks.get(job.job, 0), place
            case Samples():
                return 4, 0, place
            case FoundDatabase() | FoundJob():
                return 6, 0, place
        return 7, 0, place

    return min(range(len(rows)), key=rank, default=0)


def _has(wanted: str, *texts: str) -> bool:
    """Return True if a text is part of one of the others. Cells that only align columns count as one space."""
    part = " ".join(wanted.lower().split())
    return any(part in " ".join(text.lower().split()) for text in texts)


def _shown(row: Row, same_name: Mapping[str, int], now: float) -> str:
    """Return the text of a row that has room for all of its parts."""
    return "".join(text for text, _ in drawn(row, _WIDE, same_name=same_name, now=now))


def _texts(found: FoundDatabase, same_name: Mapping[str, int], now: float) -> list[str]:
    """Return the texts by which a filter finds a database: of its rows, its file and its jobs."""
    unfinished = [run for run in found.runs if run.unfinished]
    rows: list[Row] = [found, *unfinished, *(_left(run, now) for run in unfinished)]
    return [*(_shown(row, same_name, now) for row in rows), found.path.name, *(_job_name(run) for run in found.runs)]


def _job_name(run: FoundRun) -> str:
    return run.summary.record.job


def share(run: FoundRun) -> str:
    """Return the percentage of a run's items that have ended, or their number if the total is unknown or 0.

    Items that failed or were cancelled have ended, as on the dashboard.
    """
    total, ended = run.summary.record.items_total, _ended(run)
    return percent(ended, total) if total else f"{ended:,} items"


def _ended(run: FoundRun) -> int:
    totals = run.summary.totals
    return totals.done + totals.failed + totals.cancelled


def counts(run: FoundRun) -> list[str]:
    """Return the numbers of items of a run that are left, failed and cancelled, each with its word.

    The number left is omitted if the total is unknown; the others are omitted if they are 0.
    """
    record, totals = run.summary.record, run.summary.totals
    parts = []
    if record.items_total is not None:
        parts.append(f"{max(record.items_total - _ended(run), 0):,} left")
    if totals.failed:
        parts.append(f"{totals.failed:,} failed")
    if totals.cancelled:
        parts.append(f"{totals.cancelled:,} cancelled")
    return parts


def _left(run: FoundRun, now: float) -> Detail:
    first, *others = [*counts(run), ago(now - run.last_seen)]
    more: list[Line] = [((f" · {each}", "muted"),) for each in others]
    return Detail(((f"  {first}", "muted"),), (*more, _spark(run)))


def _spark(run: FoundRun) -> Line:
    values = [value or 0.0 for value in resampled(run.curves.items, _SPARK)]
    return (("  ", "text"), (sparkline(values, _SPARK).strip(), "chart-1"))


def _last(run: FoundRun, now: float) -> Detail:
    totals = run.summary.totals
    # Failed items come first, because the last parts of a line are left out of a narrow list.
    failed: list[Line] = [((", ", "muted"), (f"{totals.failed:,} failed", "bad"))] if totals.failed else []
    done: Line = ((f", {totals.done:,} done", "muted"),)
    return Detail(((f"  last: {ago(now - run.ended_or_seen)}", "muted"),), (*failed, done, _spark(run)))


def _whole_parts(parts: Sequence[Line], width: int) -> Line:
    """Return as many of the first parts of a line as fit into `width` cells; `…` stands for those left out."""
    whole: Line = tuple(span for part in parts for span in part)
    if cells(whole) <= width:
        return whole
    mark: Line = ((f"  {ELLIPSIS}", "muted"),)
    for count in range(len(parts) - 1, 0, -1):
        line = (*(span for part in parts[:count] for span in part), *mark)
        if cells(line) <= width:
            return line
    return fitted((*parts[0], *mark), width)


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
        case Detail(line, more):
            return _whole_parts((line, *more), width)
        case FoundJob(error="") as found:
            title = job_title(found, same_name)
            name = column(title, max(_NAMES, cell_len(title)))
            plain = "" if found.decorated else f"{own(found.place.partition(':')[0], 40)} · a function without @job"
            about = own(found.doc) or plain
            if found.group == RECENT:
                path = own(with_short_home(found.job.rpartition(":")[0]))
                about = f"{end_of(path, width - cell_len(name) - 2)}  {own(found.doc)}"
            return ((name, "strong"), (f"  {about}", "muted"))
        case FoundJob() as found:
            return ((f"⚠ {own(found.name, 40)}", "bad"), (f"  {own(found.error)}", "muted"))
        case FoundRun(summary=summary) as run:
            record = summary.record
            job: Span = (own(record.job, 40), "strong")
            state = f"   {run.state}   {share(run)}  "
            named = "" if run.database.stem == record.job else own(run.database.name, 40)
            # Runs of one job have different databases. In a narrow list, the bar and the number give way to the name.
            head: Line = (job, (f"   run {record.run_id}{state}", "warn"))
            beside = f"  {named}" if named else ""
            shorter: Line = (job, (f"   {named}{state}", "warn"))
            if named and cells(head) + cell_len(beside) > width and cells(shorter) + len(f"  {ELLIPSIS}") <= width:
                head, beside = shorter, f"  {ELLIPSIS}"
            bar = progress(run, min(width - cells(head) - cell_len(beside), 16))
            return _whole_parts((head, tuple(bar), ((beside, "muted"),)), width)
        case FoundDatabase() as found:
            return _database(found, now, width)
        case Samples(jobs, unfolded):
            names = "  ".join(own(job.name, 40) for job in jobs)
            return ((f"{'-' if unfolded else '+'} ", "accent"), (names, "text"))
        case str():
            return heading(row, width)


def _database(found: FoundDatabase, now: float, width: int) -> Line:
    name = own(found.path.name, 60)
    if found.error:
        if not found.in_use:
            return ((f"⚠ {name}", "bad"), (f"  {own(found.error)}", "muted"))
        return _in_use(found, width)
    run = found.to_retry
    failed = run.summary.totals.failed if run is not None and run is found.runs[0] else 0
    head: Line = ((column(name, max(_NAMES, cell_len(name))), "text"),)
    nbytes: Line = ((f" {size(found.nbytes):>7}", "muted"),)
    rows: Line = ((f"  {short_plural(found.rows, 'row'):>9}", "muted"),)
    when = ago(now - found.last_seen)
    seen: Line = ((f"  {when}", "muted"),)
    if not failed:
        return _whole_parts((head, nbytes, rows, seen), width)
    ended: Line = ((f"  {failed:,} failed", "bad"),)
    # In a narrow list, failed items and the time matter more than the sizes. The text beside the list has them all.
    forms: list[Line] = [
        (*head, *nbytes, *rows, *seen, *ended),
        (*head, *nbytes, (f"  {ELLIPSIS} {when}", "muted"), *ended),
        (*head, *seen, *ended, (f"  {ELLIPSIS}", "muted")),
    ]
    fitting = (form for form in forms if cells(form) <= width)
    return next(fitting, None) or fitted((*head, *ended, (f"  {ELLIPSIS}", "muted")), width)


def _in_use(found: FoundDatabase, width: int) -> Line:
    """Return the row of a database that another process has open, with the state of its newest run."""
    name: Line = ((own(found.path.name, 60), "running"),)
    state: Line = ()
    failed: Line = ()
    if (run := found.newest) is not None:
        state = ((f"  {run.state}  {share(run)}", "text"),)
        failed = ((f"  {run.summary.totals.failed:,} failed", "bad"),) if run.summary.totals.failed else ()
    whole: Line = (*name, *state, *failed, (f"  {own(found.error)}", "muted"))
    if cells(whole) <= width:
        return whole
    # The text beside the list says which process it is.
    return _whole_parts((name, state, (("  in use", "muted"),), failed), width)


def heading(text: str, width: int) -> Line:
    """Return a heading, followed by a horizontal line that ends after `width` cells."""
    return ((f"── {text} ", "accent"), ("─" * max(width - cells(((f"── {text} ", ""),)), 0), "faint"))


def progress(run: FoundRun, width: int) -> list[Span]:
    """Return a bar of `width` cells for the share of a run's items that have ended.

    The bar is empty if the total is unknown or 0, or if there are fewer than 4 cells.
    """
    total = run.summary.record.items_total
    if not total or width < 4:
        return []
    filled = min(round(width * _ended(run) / total), width)
    return [("━" * filled, "done"), ("─" * (width - filled), "faint")]


def below(rows: Sequence[Row]) -> str:
    """Return a text that counts `rows`, the rows below the visible ones.

    For example, `↓ 12 jobs · 2 databases, 1.2 GB · 9 samples`.
    """
    jobs = [row for row in rows if isinstance(row, FoundJob)]
    databases = [row for row in rows if isinstance(row, FoundDatabase)]
    samples = next((len(row.jobs) for row in rows if isinstance(row, Samples)), 0)
    samples = samples or sum(job.group == SAMPLES for job in jobs)
    functions = sum(job.group == FUNCTIONS for job in jobs)
    parts = [
        (sum(isinstance(row, FoundRun) for row in rows), "unfinished run", ""),
        (len(jobs) - functions - sum(job.group == SAMPLES for job in jobs), "job", ""),
        (len(databases), "database", f", {size(sum(row.nbytes for row in databases))}"),
        (functions, "function", ""),
        (samples, "sample", ""),
    ]
    text = " · ".join(f"{plural(number, noun)}{more}" for number, noun, more in parts if number)
    return f"↓ {text}" if text else ""
