"""Run a job from Python, without a screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tui_runner.cli.headless import watcher
from tui_runner.cli.overwritten_line import Lines
from tui_runner.engine.assembly import open_runner
from tui_runner.engine.planning.request import RunRequest, plan_job
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.inputs import Source, items_source
from tui_runner.jobs.job import Job
from tui_runner.jobs.loading import abort_if_importing
from tui_runner.system.terminal import is_terminal
from tui_runner.text.messages import quoted


class RunFailed(UserError):
    """A run did not come to its end: its job could not be loaded or set up, its items could not be made, say.

    Attributes:
        snapshot: how the run ended; its `reason` says why.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot.reason or snapshot.state.value, f"{snapshot.job} run {snapshot.run_id}")
        self.snapshot = snapshot
        self.exit_code = snapshot.exit_code


def run(
    job: Job,
    items: Iterable[Any] | str | None = None,
    *,
    database: str | Path | None = None,
    params: Mapping[str, Any] | None = None,
    limit: int | None = None,
    new: bool = False,
    progress: bool = True,
    check: bool = True,
    **settings: object,
) -> Snapshot:
    """Run a job to its end and return how it ended.

    An unfinished run of the same job, input and parameters goes on. Ctrl-C stops the run in order, as `tui-runner run`
    does, and then raises `KeyboardInterrupt`; a second one ends the run at once.

    Descriptors 1 and 2 belong to the program: with `backend="inline"`, and while items are made, what native code and
    child processes write to them is not caught, unlike in `tui-runner run`.

    Args:
        job: a function with `@job`, defined in a file or an importable module: workers load it from there.
        items: what to run it over; a `SOURCE` as on the command line, or any iterable; None for the job's own items.
        database: DuckDB file for the results; None for `<job>.duckdb` in the current folder.
        params: job parameters.
        limit: only the first so many items.
        new: start a new run even when an unfinished one of the same job, input and parameters could go on.
        progress: whether a progress line and a summary go to standard error.
        check: whether a run that does not come to its end raises `RunFailed`. Items that failed in one that does are no
            reason: `items_failed` and `exit_code` of what is returned tell of them.
        settings: settings of this run, by name.

    Raises:
        RunFailed: the run did not come to its end; the same call goes on with the rest.
        UserError: something in the arguments is wrong; nothing has been written.
        DatabaseError: the database cannot be used.
        KeyboardInterrupt: Ctrl-C; what was finished is written, and the same call goes on with the rest.
    """
    abort_if_importing()
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
    here = Path.cwd()
    source = None if items is None or isinstance(items, str) else _source(items)
    plan = plan_job(job, request, folder=here, environ=os.environ, source=source, items_fail_later=True)
    runner = open_runner(plan)
    lines = Lines(sys.stderr, is_terminal(sys.stderr)) if progress and sys.stderr is not None else None
    watcher(runner, events=None, lines=lines, folder=here if is_terminal(sys.stderr) else None, signals=False).run(
        runner.close
    )
    snapshot = runner.snapshot()
    if check and snapshot.state is not RunState.FINISHED:
        raise RunFailed(snapshot)
    return snapshot


def _source(items: Iterable[Any]) -> Source:
    if hasattr(items, "__dataframe__") or hasattr(items, "__arrow_c_stream__"):
        raise UserError(f"items are a {type(items).__name__}", "run()", "give its rows as a list of dicts")
    if not isinstance(items, Iterable) or isinstance(items, bytes):
        raise UserError(f"{quoted(items)} cannot be iterated", "run()", "give a list, a range or a generator")
    return items_source(items)
