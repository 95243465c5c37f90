"""Command lines that do without the launcher what a row of its list would do."""

from __future__ import annotations

import shlex
from pathlib import Path

from tui_runner.engine.planning.request import RunRequest
from tui_runner.system.files import short_path
from tui_runner.text.messages import command_line, resume_command
from tui_runner.tui.launcher.discovery import FoundDatabase, FoundJob, FoundRun
from tui_runner.tui.launcher.fields import Draft
from tui_runner.tui.launcher.job_form import request_of
from tui_runner.tui.launcher.rows import Row


def command_of(row: Row, draft: Draft, *, folder: Path, shell: Path) -> str | None:
    """Return the command line that does what choosing `row` would do; None if there is none.

    Jobs, unfinished runs and databases have a command line, unless they cannot be loaded or queried.

    Args:
        row: the row.
        draft: the texts typed into the form of the job; secrets are left out of the command line.
        folder: folder of the launcher, to which relative paths refer.
        shell: current folder of the user's shell. If it differs from `folder`, the command line begins with `cd`.
    """
    match row:
        case FoundJob(error="") as found:
            folder = found.folder or folder
            command = _run(request_of(found, draft.without_secrets, folder), folder)
        case FoundRun() as run:
            command = resume_command(short_path(str(run.database), folder), run.summary.record.run_id)
        case FoundDatabase() as found if found.can_be_queried:
            command = command_line("open", short_path(str(found.path), folder), [])
        case _:
            return None
    return command if folder == shell else f"cd {shlex.quote(str(folder))} && {command}"


def _run(request: RunRequest, folder: Path) -> str:
    database = None if request.database is None else short_path(str(request.database), folder)
    options: list[tuple[str, object]] = [("--input", request.input), ("--db", database)]
    options.append(("--limit", request.limit))
    options += [("--set", f"{name}={value}") for name, value in request.params.items()]
    options += [(f"--{name.replace('_', '-')}", value) for name, value in request.settings.items()]
    # A module is no path, but `short_path` would make it one.
    job = request.job if request.folder is not None else short_path(request.job, folder)
    return command_line("run", job, options)
