"""What a run begins with wherever there is no screen: its database open, and somebody who watches it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

from tui_runner.engine.own_output import OwnOutput
from tui_runner.engine.plan import RunPlan
from tui_runner.engine.runner import Runner
from tui_runner.headless import Headless, Lines
from tui_runner.inputs import total_items
from tui_runner.json_events import JsonEvents
from tui_runner.request import PROGRAM_INPUT, STANDARD_INPUT, shown_params
from tui_runner.run_lines import shown_path
from tui_runner.system import terminal
from tui_runner.text.messages import pipe_command, resume_command
from tui_runner.text.redaction import Redaction, redacted_errors


def open_run(plan: RunPlan, output: OwnOutput | None = None) -> Runner:
    """A runner with its database open.

    Args:
        plan: what to run.
        output: what this process writes natively, for the log of the run; None where it is not caught.

    Raises:
        UserError: the input is broken; nothing has been written.
        DatabaseError: the database cannot be used.
    """
    # Counting reads the input, where more may be wrong. Whatever is, must show before there is a database.
    with redacted_errors(Redaction.of(plan.params)):
        total_items(plan.source, plan.limit)
    runner = Runner(plan, output)
    runner.open()
    return runner


def watcher(
    runner: Runner,
    *,
    events: JsonEvents | None,
    lines: Lines | None,
    folder: Path,
    output: OwnOutput | None = None,
    signals: bool = True,
    started: bool = False,
) -> Headless:
    """What watches a run without a screen.

    Args:
        runner: the run.
        events: takes JSON events.
        lines: takes lines for people.
        folder: where these people are.
        output: has descriptors of its own that lead to the terminal; None where nothing is caught.
        signals: see `Headless`.
        started: whether the run is going on already.
    """
    database = shown_path(runner.plan.database, folder)
    return Headless(
        runner,
        events=events,
        lines=lines,
        database=database,
        go_on=how_to_go_on(runner, database),
        grace=runner.plan.settings.grace,
        signals=signals,
        started=started,
        let_go=terminal.let_go if output is None else output.let_go,
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sees what is written to `stream`, on a terminal where a line can be overwritten."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def how_to_go_on(runner: Runner, database: str) -> str:
    """How to go on with a run that did not finish."""
    plan = runner.plan
    if plan.source.text == PROGRAM_INPUT:
        return "run the same program again"
    if plan.source.text == STANDARD_INPUT:
        command = pipe_command(
            job=plan.job.path,
            database=database,
            table=plan.settings.table,
            params=shown_params(plan.stored_params, plan.job),
            limit=plan.limit,
        )
        return f"run the same pipe again: {command}"
    return resume_command(database, runner.run_id)
