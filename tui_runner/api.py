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
from tui_runner.jobs.settings import check_setting
from tui_runner.system.terminal import is_terminal
from tui_runner.text.messages import quoted


class RunFailed(UserError):
    """Raised if a run does not reach its end, for example because its job cannot be loaded.

    Attributes:
        snapshot: the last snapshot of the run; its `reason` says why the run ended.
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
    """Run a job to its end and return the last snapshot.

    An unfinished run of the same job, input and parameters is resumed. Ctrl-C stops the run normally, as in `tui-runner
    run`, and then raises `KeyboardInterrupt`; a second Ctrl-C ends the run at once.

    Unlike `tui-runner run`, this function does not redirect file descriptors 1 and 2, because they belong to the
    calling program. So it does not capture what native code and child processes write while items are created, nor at
    any time with `backend="inline"`.

    Args:
        job: a function decorated with `@job`. Workers load it again, so it must be defined in a file or an importable
            module.
        items: a `SOURCE` as on the command line, or any iterable; None for the items that the job itself supplies.
        database: DuckDB file for the results; None for `<job>.duckdb` in the current folder.
        params: values of the job's parameters, by name.
        limit: run only the first `limit` items.
        new: start a new run even if an unfinished one could be resumed.
        progress: True to write a progress line and a summary to standard error.
        check: True to raise `RunFailed` if the run does not reach its end. Failed items do not count: see
            `items_failed` and `exit_code` of the result.
        settings: settings of this run, by name.

    Raises:
        RunFailed: the run did not reach its end; the same call resumes it.
        UserError: an argument is wrong; nothing was written.
        DatabaseError: the database cannot be used.
        KeyboardInterrupt: the user pressed Ctrl-C; finished items are written, and the same call resumes the run.
    """
    abort_if_importing()
    if not isinstance(job, Job):
        raise UserError("run() takes a job", do="put @job before the function")
    for name, value in settings.items():
        check_setting(name, value, where=f"run({name}=…)")
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
