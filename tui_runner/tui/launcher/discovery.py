"""Finds jobs in files and runs in databases for the launcher. Files are read and not executed."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tui_runner.engine.planning.resume import begun_in
from tui_runner.engine.states import RunState, recorded_state
from tui_runner.errors import UserError
from tui_runner.jobs.loading import sample_jobs
from tui_runner.jobs.origin import job_origin
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger, RunSummary, readable
from tui_runner.store.ledger.reports import RunCurves, run_curves
from tui_runner.store.lock import DatabaseInUse
from tui_runner.store.records import RunRecord
from tui_runner.system.files import TooLarge, read_regular, with_short_home

_LARGEST = 1 << 20
"""Bytes of a Python file at most. A larger one is generated and not a job."""
_FILES = 500
"""Python files of a folder that are parsed at most. Parsing a large file takes 20 ms, so thousands would delay the list
by a minute."""
_DATABASES = 20
"""Databases that are opened at most, the newest ones. Opening one takes up to 0.2 s on a busy machine."""
_CURVES = 5
"""Runs of a database for which a throughput curve is read at most, the newest ones."""
_CURVE_PARTS = 12
"""Values in a throughput curve."""
_OURS = "tui_runner"
RECENT = "recent, of other folders"
"""Group of recent jobs from other folders."""


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job that can be loaded, or a job whose file is broken. Texts are not yet safe to show.

    Attributes:
        job: the job's text for `load_job`.
        name: its name.
        doc: first line of its docstring, or of its file's docstring if it has none.
        group: the place where it was found, in a few words.
        error: reason for which it cannot be loaded; empty if none is known.
        about: its whole docstring.
        place: file and line.
        parameters: its parameters, as written in the source.
        settings: the arguments of `@job`, as written in the source.
        decorated: True if it has `@job`; False for a plain function.
    """

    job: str
    name: str
    doc: str
    group: str
    error: str = ""
    about: str = ""
    place: str = ""
    parameters: tuple[str, ...] = ()
    settings: str = ""
    decorated: bool = True


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run in a database, or a database that cannot be opened (`summary` is None, `error` has the reason).

    Attributes:
        database: the file.
        summary: the run, and the counts of its items.
        error: reason for which the database cannot be opened here.
        in_use: True if another tui-runner has it open and answers queries.
        job: place of the run's job, as `JobOrigin.text`; its name in the ledger if it was not found.
        curves: its throughput; empty without samples.
        last_seen: time of the last write to the database, seconds since the epoch.
        nbytes: size of the database.
    """

    database: Path
    summary: RunSummary | None
    error: str = ""
    in_use: bool = False
    job: str = ""
    curves: RunCurves = field(default_factory=RunCurves)
    last_seen: float = 0.0
    nbytes: int = 0

    @property
    def state(self) -> str:
        """State in which the run ended. Its database could be opened, so no process runs it now."""
        return "" if self.summary is None else recorded_state(self.summary.record.state, goes_on=False)

    @property
    def unfinished(self) -> bool:
        """True if the run can be resumed."""
        return self.summary is not None and self.summary.record.state != RunState.FINISHED

    @property
    def can_be_queried(self) -> bool:
        """True if its database can be queried, here or through the process that has it open."""
        return self.summary is not None or self.in_use


def find_jobs(folder: Path, recent: Iterable[str]) -> list[FoundJob]:
    """Return the jobs in `folder` and its `sample_jobs`, the bundled jobs, and the jobs that were started last."""
    found: list[FoundJob] = []
    for group, place in (("in this folder", folder), ("in sample_jobs", folder / "sample_jobs")):
        with contextlib.suppress(OSError):  # no such folder, or it cannot be read
            for path in sorted(place.glob("*.py"))[:_FILES]:
                found += jobs_in(path, group)
    for path in sorted(folder.glob("*.py"))[:_FILES]:
        found += functions_in(path, "functions in this folder")
    known = {job.job for job in found}
    files = [sample.path for sample in sample_jobs()]
    samples = [sample for sample in sample_jobs() if not any(job.startswith(f"{sample.path}:") for job in known)]
    for sample in samples:
        inside = next((job for job in jobs_in(sample.path, "samples") if job.name == sample.name), None)
        plain = FoundJob(sample.name, sample.name, sample.summary, "samples", about=sample.summary)
        found.append(
            plain
            if inside is None
            else replace(
                plain, about=inside.about, place=inside.place, parameters=inside.parameters, settings=inside.settings
            )
        )
    for job in recent:
        path = Path(job.rpartition(":")[0])
        if job not in known and path not in files and path.is_file():
            found.append(_recent(job, path))
    return found


def _recent(job: str, path: Path) -> FoundJob:
    """Return a recent job of another folder. Its folder distinguishes it from jobs with the same name."""
    there = jobs_in(path, RECENT)
    broken = next((found for found in there if found.error), None)
    name = job.rpartition(":")[2]
    inside = next((found for found in there if found.job == job), FoundJob(job, name, "", RECENT))
    where = with_short_home(str(path))
    place = inside.place.replace(path.name, where, 1) if inside.place else where
    return replace(
        inside, doc=f"{where}  {inside.doc}", place=place, group=RECENT, error=broken.error if broken else ""
    )


def jobs_in(path: Path, group: str) -> list[FoundJob]:
    """Return the jobs that a file declares with `@job`. For a broken file that seems to have jobs, return its error."""
    try:
        source = read_regular(path, _LARGEST)
        if _OURS.encode() not in source:
            return []
        tree = ast.parse(source, str(path))
    except TooLarge:  # generated, so not a job
        return []
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return [FoundJob(str(path), path.name, "", group, f"{where}{error.msg}")]
    except OSError as error:
        return [FoundJob(str(path), path.name, "", group, f"cannot be read: {error.strerror}")]
    # The parser fails for expressions nested too deeply, and for NUL bytes.
    except (ValueError, RecursionError, MemoryError) as error:
        return [FoundJob(str(path), path.name, "", group, f"cannot be read: {type(error).__name__}")]
    about = ast.get_docstring(tree) or ""
    return [
        _found(path, node, group, about)
        for node in tree.body
        if isinstance(node, _FUNCTIONS) and any(map(_is_job, node.decorator_list))
    ]


_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def functions_in(path: Path, group: str) -> list[FoundJob]:
    """Return the plain functions of a file without jobs that can be called with an item; none if the file is broken."""
    try:
        source = read_regular(path, _LARGEST)
        if _OURS.encode() in source:
            return []
        tree = ast.parse(source, str(path))
    except (TooLarge, OSError, ValueError, SyntaxError, RecursionError, MemoryError):  # `jobs_in` reports broken files
        return []
    return [
        replace(_found(path, node, group, ""), decorated=False)
        for node in tree.body
        if isinstance(node, _FUNCTIONS)
        and not node.name.startswith(("_", "test_"))
        and node.name != "main"
        and not node.decorator_list
        and (node.args.posonlyargs or node.args.args)
    ]


def _found(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef, group: str, about: str) -> FoundJob:
    """Describe a function from its source; nothing is executed."""
    about = ast.get_docstring(node) or about
    settings = next((each for each in node.decorator_list if isinstance(each, ast.Call) and _is_job(each)), None)
    given = [f"{each.arg}={ast.unparse(each.value)}" for each in settings.keywords] if settings else []
    return FoundJob(
        f"{path}:{node.name}",
        node.name,
        about.split("\n", 1)[0],
        group,
        about=about,
        place=f"{path.name}:{node.lineno}",
        parameters=tuple(_parameters(node.args)),
        settings=", ".join(given),
    )


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    for each, default in zip((*positional, *arguments.kwonlyargs), (*defaults, *arguments.kw_defaults), strict=True):
        kind = f": {ast.unparse(each.annotation)}" if each.annotation is not None else ""
        item = "   (the item)" if positional and each is positional[0] else ""
        yield f"{each.arg}{kind}{'' if default is None else f' = {ast.unparse(default)}'}{item}"


def _is_job(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (isinstance(target, ast.Name) and target.id == "job") or (
        isinstance(target, ast.Attribute) and target.attr == "job"
    )


def find_runs(folder: Path) -> list[FoundRun]:
    """Return the newest run and all unfinished runs of each database of tui-runner in `folder`."""
    paths = [path for path in folder.glob("*.duckdb") if path.is_file()]
    found: list[FoundRun] = []
    for path in sorted(paths, key=lambda path: -path.stat().st_mtime)[:_DATABASES]:
        try:
            with Database.open(path, create=False) as database, readable(path):
                cursor = database.cursor()
                runs = Ledger(cursor).runs()
                told = [run for number, run in enumerate(runs) if not number or run.record.state != RunState.FINISHED]
                curves = {
                    run.record.run_id: run_curves(cursor, run.record.run_id, _CURVE_PARTS) for run in told[:_CURVES]
                }
            seen = path.stat()
        except UserError as error:
            found.append(FoundRun(path, None, error.what, in_use=isinstance(error, DatabaseInUse)))
            continue
        found += [
            FoundRun(
                path,
                run,
                job=_place(run.record, path, folder),
                curves=curves.get(run.record.run_id, RunCurves()),
                last_seen=seen.st_mtime,
                nbytes=seen.st_size,
            )
            for run in told
        ]
    return found


def _place(record: RunRecord, database: Path, folder: Path) -> str:
    try:
        begun = begun_in(record, database)
        return job_origin(record.job_path, input=record.input, database=database, begun_in=begun, here=folder).text
    except UserError:  # the job's file or folder is gone
        return record.job_path
