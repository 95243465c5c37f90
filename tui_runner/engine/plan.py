"""What a run is going to be: everything that was decided before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_runner.inputs import Source
from tui_runner.jobs.job import Job
from tui_runner.jobs.settings import Settings


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A job, its input and settings, and the database; checked, and nothing written yet.

    Attributes:
        job: the job, loaded.
        params: its parameters, converted.
        stored_params: the same as JSON values, for the ledger.
        settings: how to run it.
        table: results table.
        source: where its items come from.
        by_name: whether an item is a row that is passed by parameter name.
        from_input: whether items are those of an input, whose text is converted by the function's annotations.
        database: path of the DuckDB file.
        limit: only the first so many items, None for all.
        new: start a new run even when an unfinished one could go on.
        resume: go on with an unfinished run; it is an error if there is none.
        run_id: go on with this very run.
        retry: of that run only what failed.
        attended: whether a person watches the run and can resume it; one that was paused then comes back paused.
        served: whether other processes may query the database while the run has it.
        debug: whether the log file is to have everything that tui-runner does.
    """

    job: Job
    params: Mapping[str, Any]
    stored_params: Mapping[str, object]
    settings: Settings
    table: str
    source: Source
    by_name: bool
    from_input: bool
    database: Path
    limit: int | None = None
    new: bool = False
    resume: bool = False
    run_id: int | None = None
    retry: bool = False
    attended: bool = False
    served: bool = True
    debug: bool = False
