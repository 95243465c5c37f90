"""Run a job from Python, without a screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_runner.engine.plan import RunPlan
from tui_runner.engine.runner import Runner
from tui_runner.engine.snapshot import Snapshot
from tui_runner.errors import UserError
from tui_runner.headless import Headless
from tui_runner.inputs import items_source
from tui_runner.job import Job
from tui_runner.request import RunRequest, plan_job


def run(
    job: Job,
    items: Iterable[Any] | str | None = None,
    *,
    database: str | Path | None = None,
    params: Mapping[str, Any] | None = None,
    limit: int | None = None,
    new: bool = False,
    progress: bool = True,
    **settings: object,
) -> Snapshot:
    """Run a job to its end and return how it ended.

    Args:
        job: a function with `@job`, defined in a file or an importable module: workers load it from there.
        items: what to run it over; a `SOURCE` as on the command line, or any iterable; None for the job's own items.
        database: DuckDB file for the results; None for `<job>.duckdb` in the current folder.
        params: job parameters.
        limit: only the first so many items.
        new: start a new run even when an unfinished one of the same job, input and parameters could go on.
        progress: whether a progress line goes to standard error.
        settings: settings of this run, by name.

    Raises:
        UserError: something in the arguments is wrong; nothing has been written.
        DatabaseError: the database cannot be used.
    """
    if not isinstance(job, Job):
        raise UserError("run() takes a job", do="put @job before the function")
    request = RunRequest(
        job=job.path,
        params=params or {},
        settings=settings,
        database=None if database is None else Path(database),
        input=items if isinstance(items, str) else None,
        limit=limit,
        new=new,
    )
    source = None if items is None or isinstance(items, str) else items_source(items)
    plan: RunPlan = plan_job(job, request, folder=Path.cwd(), environ=os.environ, source=source)
    runner = Runner(replace(plan, stay_paused=False))
    runner.open()
    try:
        Headless(
            runner, events=None, people=sys.stderr if progress else None, live=sys.stderr.isatty(), signals=False
        ).run()
        return runner.snapshot()
    finally:
        runner.close()
