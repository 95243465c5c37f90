"""From what a person asked for to a plan: every mistake is found here, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tui_runner.engine.chunk import RunState
from tui_runner.engine.plan import RunPlan
from tui_runner.errors import UserError
from tui_runner.inputs import Source, items_source, open_source
from tui_runner.job import Job
from tui_runner.loading import load_job
from tui_runner.parameters import bind, jsonable
from tui_runner.settings import read_config, resolve
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What was asked for, as it was written.

    Attributes:
        job: `JOB` of the command line.
        params: job parameters: text, or what the ledger keeps of them.
        settings: settings from the command line, those that were given.
        database: path of the DuckDB file; None for `<job>.duckdb` in `folder`.
        input: `SOURCE` of the items; None for those the job makes itself.
        limit: only the first so many items.
        new: start a new run in any case.
        resume: go on with an unfinished run in any case.
        run_id: go on with this very run.
        stay_paused: whether a run that was paused comes back paused.
    """

    job: str
    params: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    database: Path | None = None
    input: str | None = None
    limit: int | None = None
    new: bool = False
    resume: bool = False
    run_id: int | None = None
    stay_paused: bool = False


def plan_run(request: RunRequest, *, folder: Path, environ: Mapping[str, str]) -> RunPlan:
    """Load the job, settle its parameters and settings, and open its input.

    Args:
        request: what was asked for.
        folder: where relative paths start and the configuration is looked for.
        environ: environment variables.

    Raises:
        UserError: something in the request is wrong; nothing has been written.
    """
    return plan_job(load_job(request.job, folder=folder), request, folder=folder, environ=environ)


def plan_job(
    job: Job, request: RunRequest, *, folder: Path, environ: Mapping[str, str], source: Source | None = None
) -> RunPlan:
    """Like `plan_run`, for a job that is loaded, and an input that is open."""
    if request.new and request.resume:
        raise UserError("--new and --resume exclude each other", do="leave one of them out")
    params = bind(job.parameters, request.params)
    settings = resolve(
        job=job.settings,
        config=read_config(folder),
        environ=environ,
        command_line=request.settings,
    )
    database = request.database or folder / f"{job.name}.duckdb"
    if source is None:
        source = _source(job, params, request, database)
    by_name = job.check_input(source.columns)
    source.select(job.wanted_columns(source.columns))
    return RunPlan(
        job=job,
        params=params,
        stored_params=jsonable(params),
        settings=settings,
        table=settings.table or job.name,
        source=source,
        by_name=by_name,
        database=database,
        limit=request.limit,
        new=request.new,
        resume=request.resume,
        run_id=request.run_id,
        stay_paused=request.stay_paused,
    )


def _source(job: Job, params: Mapping[str, object], request: RunRequest, database: Path) -> Source:
    if request.input is not None:
        return open_source(request.input, database=database)
    if job.has_items:
        return items_source(job.make_items(params))
    raise UserError(
        "the job has no items of its own", job.name, f"give it an input (--input SOURCE), or add @{job.name}.items"
    )


def resume_request(database: Path, run: int | None) -> RunRequest:
    """What was asked for when a run was begun, from its ledger.

    Args:
        database: a DuckDB file that tui-runner has written.
        run: number of the run; None for the newest that is not finished.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no such run, or it is finished.
    """
    opened = Database.open(database, create=False)
    try:
        ledger = Ledger(opened.cursor())
        if run is None:
            unfinished = (summary.record for summary in ledger.runs() if summary.record.state != RunState.FINISHED)
            record = next(unfinished, None)
            if record is None:
                raise UserError("every run is finished", str(database), "start a new one with: tui-runner run JOB")
        else:
            record = ledger.run(run)
            if record.state == RunState.FINISHED:
                raise UserError(f"run {run} is finished", str(database), "start a new one with: tui-runner run JOB")
    finally:
        opened.close()
    return RunRequest(
        job=record.job_path,
        params=record.params,
        settings={name: value for name, value in record.settings.items() if value is not None},
        database=database,
        input=record.input,
        run_id=record.run_id,
    )
