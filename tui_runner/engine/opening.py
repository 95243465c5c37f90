"""Takes the database of a run, and finds the run to go on with or begins a new one."""

from __future__ import annotations

import platform
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from tui_runner import __version__
from tui_runner.engine.chunk import RunState
from tui_runner.engine.plan import RunPlan
from tui_runner.errors import UserError
from tui_runner.inputs import total_items
from tui_runner.store.database import Database
from tui_runner.store.ledger import Ledger
from tui_runner.store.records import RunRecord


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run whose database is ours.

    Attributes:
        database: open; whoever has this closes it.
        record: the run's row in the ledger.
        resumed: whether it was begun by an earlier process.
        recorded: keys of the items that are done.
        replaced: keys of the items that have a final state but will run again.
        paused: whether it begins paused, because it was when it ended.
    """

    database: Database
    record: RunRecord
    resumed: bool
    recorded: AbstractSet[str]
    replaced: set[str]
    paused: bool


def open_run(plan: RunPlan) -> OpenedRun:
    """Take the database of `plan`, and find or begin its run.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no run to resume.
    """
    database = Database.open(plan.database)
    try:
        cursor = database.cursor()
        try:
            opened = _find_or_begin(plan, database, Ledger(cursor))
        finally:
            database.close_cursor(cursor)
        database.note_run(opened.record.run_id)
    except BaseException:
        database.close()
        raise
    return opened


def _find_or_begin(plan: RunPlan, database: Database, ledger: Ledger) -> OpenedRun:
    record = _find(plan, ledger)
    if record is None:
        record = ledger.run(ledger.begin_run(_new_record(plan)))
        return OpenedRun(database, record, False, frozenset(), set(), False)
    recorded, replaced = ledger.recorded(record.run_id)
    paused = plan.attended and record.state == RunState.PAUSED
    state = RunState.PAUSED if paused else RunState.RUNNING
    ledger.reopen_run(record.run_id, asdict(plan.settings), state.value)
    return OpenedRun(database, record, True, recorded, replaced, paused)


def _find(plan: RunPlan, ledger: Ledger) -> RunRecord | None:
    if plan.new:
        return None
    if plan.run_id is not None:
        return ledger.run(plan.run_id)
    record = ledger.find_unfinished(
        job=plan.job.name,
        job_path=plan.job.path,
        table_name=plan.table,
        input=plan.source.text,
        params=dict(plan.stored_params),
    )
    if record is None and plan.resume:
        raise UserError(
            f"no unfinished run of {plan.job.name} with this input and these parameters",
            str(plan.database),
            "leave out --resume to start a new one, or see: tui-runner runs",
        )
    return record


def _new_record(plan: RunPlan) -> RunRecord:
    return RunRecord(
        run_id=0,
        job=plan.job.name,
        job_path=plan.job.path,
        table_name=plan.table,
        input=plan.source.text,
        params=dict(plan.stored_params),
        settings=asdict(plan.settings),
        state=RunState.RUNNING.value,
        items_total=total_items(plan.source, plan.limit),
        started_at=datetime.now(UTC),
        ended_at=None,
        host=platform.node(),
        version=__version__,
    )
