"""What the launcher offers: jobs in files, and runs in databases. Files are read here and not executed."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tui_runner.engine.planning.resume import begun_in
from tui_runner.engine.states import RunState, recorded_state
from tui_runner.errors import UserError
from tui_runner.jobs.loading import sample_jobs
from tui_runner.jobs.origin import job_origin
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger, RunSummary, readable
from tui_runner.store.lock import DatabaseInUse
from tui_runner.store.records import RunRecord
from tui_runner.system.files import TooLarge, read_regular

_LARGEST = 1 << 20
"""Bytes. A Python file beyond this is generated, and no job."""
_FILES = 500
_DATABASES = 20
_OURS = "tui_runner"


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job that can be loaded, or one whose file is broken. Texts are not yet safe to show.

    Attributes:
        job: as `load_job` takes it.
        name: what it is called.
        doc: first line of its docstring, or of its file's where it has none.
        group: where it was found, in a few words.
        error: why it cannot be loaded; empty when nothing is known against it.
    """

    job: str
    name: str
    doc: str
    group: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run in a database, or a database that cannot be opened (`summary` is None, `error` says why).

    Attributes:
        database: the file.
        summary: the run, and how far it came.
        error: why the database cannot be opened here.
        in_use: whether that is because a tui-runner has it open, which answers queries.
        job: where the job of the run is, as `JobOrigin.text`; as the ledger names it if it is not there.
    """

    database: Path
    summary: RunSummary | None
    error: str = ""
    in_use: bool = False
    job: str = ""

    @property
    def state(self) -> str:
        """The state that it ended in. Its database could be opened, so nobody goes on with it just now."""
        return "" if self.summary is None else recorded_state(self.summary.record.state, goes_on=False)

    @property
    def unfinished(self) -> bool:
        """True if it can go on."""
        return self.summary is not None and self.summary.record.state != RunState.FINISHED

    @property
    def can_be_queried(self) -> bool:
        """True if its database can be queried, here or through who has it open."""
        return self.summary is not None or self.in_use


def find_jobs(folder: Path, recent: Iterable[str]) -> list[FoundJob]:
    """Jobs in `folder` and its `sample_jobs`, those that come with tui-runner, and those started last."""
    found: list[FoundJob] = []
    for group, place in (("in this folder", folder), ("in sample_jobs", folder / "sample_jobs")):
        with contextlib.suppress(OSError):
            for path in sorted(place.glob("*.py"))[:_FILES]:
                found += jobs_in(path, group)
    known = {job.job for job in found}
    files = [sample.path for sample in sample_jobs()]
    samples = [sample for sample in sample_jobs() if not any(job.startswith(f"{sample.path}:") for job in known)]
    found += [FoundJob(sample.name, sample.name, sample.summary, "samples") for sample in samples]
    for job in recent:
        path = Path(job.rpartition(":")[0])
        if job not in known and path not in files and path.is_file():
            found.append(_recent(job, path))
    return found


def _recent(job: str, path: Path) -> FoundJob:
    """A job that was started from elsewhere: its folder says which of those with this name it is."""
    there = jobs_in(path, "recent")
    broken = next((found for found in there if found.error), None)
    doc = next((found.doc for found in there if found.job == job), "")
    name = job.rpartition(":")[2]
    return FoundJob(job, name, f"{path.parent.name}/{path.name}  {doc}", "recent", broken.error if broken else "")


def jobs_in(path: Path, group: str) -> list[FoundJob]:
    """The jobs that a file declares with `@job`; a file that is meant to have some and is broken, with its error."""
    try:
        source = read_regular(path, _LARGEST)
        if _OURS.encode() not in source:
            return []
        tree = ast.parse(source, str(path))
    except TooLarge:
        return []
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return [FoundJob(str(path), path.name, "", group, f"{where}{error.msg}")]
    except OSError as error:
        return [FoundJob(str(path), path.name, "", group, f"cannot be read: {error.strerror}")]
    except (ValueError, RecursionError) as error:
        return [FoundJob(str(path), path.name, "", group, f"cannot be read: {type(error).__name__}")]
    about = ast.get_docstring(tree) or ""
    return [
        FoundJob(f"{path}:{node.name}", node.name, (ast.get_docstring(node) or about).split("\n", 1)[0], group)
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(map(_is_job, node.decorator_list))
    ]


def _is_job(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (isinstance(target, ast.Name) and target.id == "job") or (
        isinstance(target, ast.Attribute) and target.attr == "job"
    )


def find_runs(folder: Path) -> list[FoundRun]:
    """The newest run of each database of tui-runner in `folder`, and every other one that is not finished."""
    paths = [path for path in folder.glob("*.duckdb") if path.is_file()]
    found: list[FoundRun] = []
    for path in sorted(paths, key=lambda path: -path.stat().st_mtime)[:_DATABASES]:
        try:
            with Database.open(path, create=False) as database, readable(path):
                runs = Ledger(database.cursor()).runs()
        except UserError as error:
            found.append(FoundRun(path, None, error.what, in_use=isinstance(error, DatabaseInUse)))
            continue
        found += [
            FoundRun(path, run, job=_place(run.record, path, folder))
            for number, run in enumerate(runs)
            if not number or run.record.state != RunState.FINISHED
        ]
    return found


def _place(record: RunRecord, database: Path, folder: Path) -> str:
    try:
        begun = begun_in(record, database)
        return job_origin(record.job_path, input=record.input, database=database, begun_in=begun, here=folder).text
    except UserError:
        return record.job_path
