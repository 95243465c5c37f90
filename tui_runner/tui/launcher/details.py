"""The text beside the list: a job's form as text, what resuming a run would use, or the content of a database.

The text is made from the source files of jobs and the ledgers of databases; no job is executed for it. The form of a
job is shown as text at first, because mounting its fields takes too long to do at every key that moves the cursor.
"""

from __future__ import annotations

import json
import re
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

from rich.cells import cell_len

from tui_runner.engine.planning.request import may_hide
from tui_runner.jobs.settings import Settings
from tui_runner.system.files import with_short_home
from tui_runner.text.messages import shortened
from tui_runner.text.numbers import ZONE, ago, dated, plural, rate, size
from tui_runner.tui.launcher.discovery import CURVE_PARTS, FoundDatabase, FoundJob, FoundRun
from tui_runner.tui.launcher.fields import SETTINGS, Draft, Field
from tui_runner.tui.launcher.rows import Samples, counts, heading, progress, share
from tui_runner.tui.widgets.braille import resampled
from tui_runner.tui.widgets.paint import Line, cells, column, end_of, own, sparkline

LABEL = 16
"""Cells of the name of a field. The style sheet depends on this number."""
VALUE = 14
"""Cells of the value of a setting, before its unit. The style sheet has the same number."""
MARGIN = 1
"""Cells left of the name of a field, in which the form marks the field with the focus."""
_ABOUT = 3
"""Most lines of a docstring, so that the fields below it remain visible. `…` stands for what is left out."""
_SECTION = re.compile(
    r"^(?:(?:Args|Arguments|Parameters|Returns?|Raises|Yields|Attributes|Examples?)(?::|$)|:\w|>>>|\.\. )"
)
"""Matches the first line of what follows in a docstring after the description of the function."""
LOW = 30
"""Lines of the terminal below which blank lines are left out."""
_RUNS = 12
"""Most runs of a database that are listed, so that they fit with two tables into a terminal of 24 lines. A line below
them says how many earlier ones there are."""
_SECRETS = "●●●●●●●●"


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of the text. `field` is the key of the field that the line shows; empty for other lines."""

    line: Line
    field: str = ""


def _lines(*lines: Line) -> list[TextLine]:
    return [TextLine(line) for line in lines]


def wrapped(text: str, width: int, role: str = "text", indent: int = 0) -> list[TextLine]:
    """Return a text that may contain anything, without control characters and wrapped at `width` characters."""
    parts = textwrap.wrap(own(text, 1_000), max(width - indent, 10), break_on_hyphens=False)
    return [TextLine(((" " * indent, "text"), (part, role))) for part in parts]


def job_head(found: FoundJob, width: int, height: int) -> list[TextLine]:
    """Return the lines above the fields of a job: its docstring up to the arguments, its place, items and result.

    Args:
        found: the job.
        width: cells of a line.
        height: lines of the terminal.
    """
    text = takewhile(lambda line: not _SECTION.match(line.strip()), found.about.splitlines())
    lines = textwrap.wrap(
        own(" ".join(" ".join(text).split()), 1_000),
        max(width, 10),
        break_on_hyphens=False,
        max_lines=_ABOUT,
        placeholder=" …",
    )
    about = [TextLine(((line, "text"),)) for line in lines]
    facts = [own(found.place, 200), "@job" if found.decorated else "a function without @job"]
    if found.item:
        facts.append(f"one call for each {' and '.join(own(name, 40) for name in found.item)}")
    if found.returns:
        facts.append(f"returns {own(found.returns, 60)}")
    return [*about, *_lines(((" · ".join(facts), "muted"),)), *_gap(height)]


def _gap(height: int) -> list[TextLine]:
    return [] if height < LOW else _lines(())


def job_details(
    found: FoundJob, fields: Sequence[Field], draft: Draft, width: int, height: int, *, load_key: str
) -> list[TextLine]:
    """Return the form of a job with what was typed into it, as text.

    Args:
        found: the job.
        fields: its fields.
        draft: what was typed.
        width: cells of a line.
        height: lines of the terminal.
        load_key: key that loads the job and shows its form.
    """
    lines = job_head(found, width, height)
    section = ""
    for field in fields:
        if field.section != section:
            lines += [*(_gap(height) if section else []), *_lines(heading(field.section, width))]
            section = field.section
        lines.append(TextLine(_field(field, draft, width), field.key))
        if field.kind == "parameter" and field.remark:
            remark = own(field.remark, 300)
            lines.append(TextLine(((" " * (MARGIN + LABEL), "text"), (remark, "muted")), field.key))
        if field.warning and field.key not in draft.typed:
            indent = MARGIN + LABEL
            warning = wrapped(field.warning, width, "warn", indent)
            lines += [TextLine(each.line, field.key) for each in warning]
        if field.kind == "input":
            text = draft.first_items or (
                f"{load_key} loads the file and shows the first items" if found.makes_items else ""
            )
            lines += [TextLine(((f"   {part}", "muted"),), field.key) for part in text.splitlines()]
    return lines


def _field(field: Field, draft: Draft, width: int) -> Line:
    name = (" " + column(own(field.name, LABEL - 3) + (" *" if field.required else ""), LABEL), "text")
    room = width - MARGIN - LABEL
    typed = draft.typed.get(field.key)
    if typed is not None:
        value = (_SECRETS if field.secret else own(typed, 300), "strong")
    elif field.required:
        value = ("needed", "warn")
    else:
        unset = own(field.unset, 300)
        value = (end_of(unset, room) if field.kind == "database" else unset, "muted")
    if field.section != SETTINGS:
        return (name, value)
    return (name, (column(value[0], VALUE), value[1]), (f"  {own(field.remark)}", "muted"))


def run_details(
    run: FoundRun, width: int, height: int, keys: Mapping[str, str], now: float | None = None
) -> list[TextLine]:
    """Return a summary of an unfinished run, and what resuming it would use.

    Args:
        run: the run.
        width: cells of a line.
        height: lines of the terminal.
        keys: the keys for `resume` and `query`.
        now: seconds since the epoch; None for the current time.
    """
    now = time.time() if now is None else now
    record, totals = run.summary.record, run.summary.totals
    lines = _figures(run, width, now)
    lines += [*_gap(height), *_lines(heading("resuming uses", width))]
    hidden = [name for name, value in record.params.items() if may_hide(value)]
    params = {name: _value(value) for name, value in record.params.items() if name not in hidden}
    settings = _changed_settings(record.settings)
    facts = [
        ("job", with_short_home(run.job)),
        ("input", record.input or "the job's own items"),
        *params.items(),
        *((name, "a secret, which you are asked for") for name in hidden),
        ("table", record.table_name),
        ("database", with_short_home(str(run.database))),
        ("settings", ", ".join(f"{name} {value}" for name, value in settings.items()) or "as by default"),
    ]
    lines += _facts(facts, width)
    ended = totals.failed + totals.cancelled
    again = f", and the {plural(ended, 'item')} that did not end well" if ended else ""
    lines += [
        *_gap(height),
        *wrapped(
            f"{keys['choose']} goes on with the items that are left{again}. {keys['query']} queries its rows.",
            width,
            "muted",
        ),
    ]
    return lines


def _figures(run: FoundRun, width: int, now: float) -> list[TextLine]:
    """Return lines with the state of a run, its times, the numbers of its items and its throughput."""
    record, totals = run.summary.record, run.summary.totals
    total = "?" if record.items_total is None else f"{record.items_total:,}"
    begun = f"begun {dated(record.started_at.timestamp())[:-3]} {ZONE}"
    if record.ended_at is not None and not run.unfinished:
        begun += f", ended {ago(now - record.ended_at.timestamp())}"
    elif run.last_seen:
        begun += f", last seen {ago(now - run.last_seen)}"
    state = (run.state, "warn" if run.unfinished else "done")
    head: list[Line] = [(state, (f" · {begun}", "muted"))]
    if cells(head[0]) > width:
        head = [(state,), ((begun, "muted"),)]
    share_text = f"  {share(run)}"
    bar = progress(run, min(width - cell_len(share_text), 60))
    failed = [("  ", "text"), (f"{totals.failed:,} failed", "bad")] if totals.failed else []
    figures: Line = (
        (f"{totals.done:,} of {total} items done", "text"),
        *failed,
        (f"  {plural(totals.rows, 'row')}", "text"),
    )
    lines = _lines(*head, (*bar, (share_text, "strong")), figures)
    if left := [each for each in counts(run) if "failed" not in each]:
        lines += _lines(((" · ".join(left), "muted"),))
    most = f"  max {rate(run.curves.most)}"
    parts = max(min(CURVE_PARTS, width - len("items/s  ") - len(most)), 1)
    if chart := sparkline([value or 0.0 for value in resampled(run.curves.items, parts)], parts).strip():
        lines += _lines((("items/s  ", "muted"), (chart, "chart-1"), (most, "muted")))
    return lines


def _facts(facts: Sequence[tuple[str, str]], width: int) -> list[TextLine]:
    """Return lines of names and values. A long value is wrapped instead of cut, so that a path can be read whole."""
    lines = []
    room = max(width - MARGIN - LABEL, 10)
    for name, value in facts:
        text = own(value, 600)
        label = " " + column(own(name, LABEL - 1), LABEL)
        for part in textwrap.wrap(text, room, break_on_hyphens=False) or [""]:
            lines.append(TextLine(((label, "muted"), (part, "text"))))
            label = " " * (MARGIN + LABEL)
    return lines


def _value(value: object) -> str:
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value, ensure_ascii=False)
    return shortened(text, 300)


def _changed_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of a run that differ from the defaults, except its table. A limit is always included."""
    usual = asdict(Settings())
    changed = {
        name: "no limit" if value is None else f"{value:g}" if isinstance(value, float) else value
        for name, value in settings.items()
        if name in usual and name != "table" and value != usual[name]
    }
    limit = settings.get("limit")
    return changed if limit is None else changed | {"limit": limit}


def database_details(
    found: FoundDatabase, width: int, height: int, keys: Mapping[str, str], now: float | None = None
) -> list[TextLine]:
    """Return lines about the tables and runs of a database, or the reason for which it cannot be opened.

    Args:
        found: the database.
        width: cells of a line.
        height: lines of the terminal.
        keys: the keys for `query` and `retry`.
        now: seconds since the epoch; None for the current time.
    """
    now = time.time() if now is None else now
    if found.error:
        lines = wrapped(found.error, width)
        if run := found.newest:
            record = run.summary.record
            facts = [
                ("input", record.input or "the job's own items"),
                ("table", record.table_name),
                ("database", with_short_home(str(found.path))),
            ]
            lines += [
                *_gap(height),
                *_lines(heading(f"run {record.run_id} of {own(record.job, 40)}", width)),
                *_figures(run, width, now),
                *_facts(facts, width),
            ]
        return [*lines, *_gap(height), *wrapped("It can be queried meanwhile.", width)] if found.in_use else lines
    head = f"{size(found.nbytes)} · {plural(found.rows, 'row')} · written {ago(now - found.last_seen)}"
    lines = [*_lines(((head, "text"),)), *_gap(height), *_lines(heading("tables", width))]
    most = max((len(f"{table.rows:,}") for table in found.tables), default=0)
    names = max((cell_len(own(table.name, 40)) for table in found.tables), default=0)
    for table in found.tables:
        figures = f"  {table.rows:>{most},} rows   {plural(table.columns, 'column')}"
        lines += _lines(((f" {column(own(table.name, 40), names)}", "strong"), (figures, "text")))
    if not found.tables:
        lines += _lines(((" none yet", "muted"),))
    lines += [*_gap(height), *_lines(heading("runs, newest first", width))]
    jobs = min(max(cell_len(own(run.summary.record.job, 40)) for run in found.runs), 16)
    for run in found.runs[:_RUNS]:
        totals, record = run.summary.totals, run.summary.record
        role = "warn" if run.unfinished else "done"
        failed = [(f"  {totals.failed:,} failed", "bad")] if totals.failed else []
        lines += _lines(
            (
                (f" {record.run_id:>3}  ", "muted"),
                (column(own(record.job, 40), jobs), "strong"),
                (f"  {column(run.state, 8)}", role),
                (f"  {share(run):>5}  {ago(now - run.ended_or_seen)}", "muted"),
                *failed,
            )
        )
    if len(found.runs) > _RUNS:
        lines += _lines(((f"      and {len(found.runs) - _RUNS:,} earlier ones", "muted"),))
    retry = found.to_retry
    again = (
        ""
        if retry is None
        else f" {keys['retry']} runs the items that failed in run {retry.summary.record.run_id} again."
    )
    return [*lines, *_gap(height), *wrapped(f"{keys['query']} opens it for queries.{again}", width, "muted")]


def samples_details(samples: Samples, width: int, height: int, keys: Mapping[str, str]) -> list[TextLine]:
    """Return lines with the names and descriptions of the samples.

    Args:
        samples: the samples.
        width: cells of a line.
        height: lines of the terminal.
        keys: the keys for `choose` and `copy_samples`.
    """
    lines = wrapped("Small jobs that come with tui-runner, to try it and to start from.", width)
    lines += _gap(height)
    names = max((cell_len(own(job.name, 30)) for job in samples.jobs), default=0)
    for job in samples.jobs:
        lines += _lines(((f" {column(own(job.name, 30), names)}", "strong"), (f"  {own(job.doc)}", "muted")))
    does = "folds them" if samples.unfolded else "lists them one by one"
    return [
        *lines,
        *_gap(height),
        *wrapped(f"{keys['choose']} {does}; {keys['copy_samples']} copies them here.", width, "muted"),
    ]


def broken_details(found: FoundJob, width: int) -> list[TextLine]:
    """Return lines with the reason for which a file with jobs cannot be loaded."""
    return wrapped(f"cannot be loaded: {found.error}", width)


NO_JOBS = (
    "No job was found in {folder}{files}.",
    "",
    "A job is a Python function that is called for every item of a long list; what it returns is stored in a DuckDB"
    " file.",
    "",
    "  {init}   write a first job here: first_job.py{editor}",
    "  {samples}   try one of the samples; {copy} copies them here",
    "  {folder_key}   look in another folder",
)


def empty_folder(folder: Path, files: int, keys: Mapping[str, str], width: int, *, editor: bool) -> list[TextLine]:
    """Return lines that name a folder without jobs and databases, and the keys to continue with.

    Args:
        folder: path of the folder.
        files: number of Python files in the folder.
        keys: keys by the names in braces in `NO_JOBS`.
        width: cells of a line.
        editor: True if the user has set an editor, in which a new first job is opened.
    """
    inside = f", in its {plural(files, 'Python file')}" if files else ", which has no Python files"
    opened = ", and edit it" if editor else ""
    lines: list[TextLine] = []
    for text in NO_JOBS:
        line = text.format(folder=own(str(folder), 200), files=inside, editor=opened, **keys)
        lines += _lines(((line, "text"),)) if line.startswith("  ") else wrapped(line, width) or _lines(())
    return lines
