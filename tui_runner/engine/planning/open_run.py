"""Opens the database of a run, finds the run to resume or begins a new one, and decides how to read its input."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from tui_runner._version import __version__
from tui_runner.engine.planning.cutting import CutByPosition, Cutter
from tui_runner.engine.planning.cutting_by_key import CutByKey, RetryFromLedger
from tui_runner.engine.planning.cutting_frontier import CutFrontier, seeds
from tui_runner.engine.planning.older_keys import found_columns
from tui_runner.engine.planning.request import RunPlan
from tui_runner.engine.scheduling.events import Tell
from tui_runner.engine.scheduling.pace import FIRST_SIZE
from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.inputs import total_items
from tui_runner.inputs.keys import key_columns
from tui_runner.inputs.source import is_range
from tui_runner.store.connection import fault_of_file, memory_share
from tui_runner.store.database import PATIENCE_SECONDS, Database
from tui_runner.store.ledger import Ledger, Totals, readable
from tui_runner.store.ledger.recorded import RecordedItems
from tui_runner.store.records import RunRecord
from tui_runner.system.files import short_path, with_short_home
from tui_runner.system.memory import memory_bound
from tui_runner.text.messages import plain, resume_command, runs_command


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run whose database is open and locked by this process.

    Attributes:
        database: the open database; the owner of this object closes it.
        record: the run's row in the ledger.
        resumed: True if an earlier process has begun the run.
        cutter: cuts the run's input into chunks.
        paused: True if the run begins paused, because it was paused when the earlier process ended.
        news: messages for the user about how the run is resumed.
        before: counts of the items that earlier processes recorded.
        deaths: number of deaths of workers that were executing an item, by position. Empty unless the input is cut at
            the recorded places.
    """

    database: Database
    record: RunRecord
    resumed: bool
    cutter: Cutter
    paused: bool
    news: tuple[Tell, ...]
    before: Totals = field(default_factory=Totals)
    deaths: Mapping[int, int] = field(default_factory=dict)

    def take_back(self) -> None:
        """Remove a new run that has executed no item, and close the database.

        Remove the file if this run created it.
        """
        if self.database.made:
            self.database.close(remove=True)
            return
        cursor = self.database.cursor()
        try:
            Ledger(cursor).forget_run(self.record.run_id)
        finally:
            self.database.close()


def open_run(plan: RunPlan) -> OpenedRun:
    """Open the database of `plan`, and find or begin its run.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no run to resume, no item of it can run again, or its input is broken.
    """
    share = memory_share(memory_bound(plan.settings.max_memory))
    database = Database.open(plan.database, memory_limit=share, patience=PATIENCE_SECONDS, for_run=True)
    try:
        with database.opened_cursor() as cursor, readable(plan.database):
            opened = _find_or_begin(plan, database, cursor)
        database.note_run(opened.record.run_id)
        if plan.source.remarks:
            remarks = (Tell("WARNING", remark) for remark in plan.source.remarks)
            opened = replace(opened, news=(*opened.news, *remarks))
        if not database.is_announced:
            opened = replace(opened, news=(*opened.news, _unannounced(database)))
    except BaseException as error:
        database.close(remove=database.made)
        if isinstance(error, duckdb.Error) and (fault := fault_of_file(error, plan.database)) is not None:
            raise fault from error
        raise
    return opened


def _find_or_begin(plan: RunPlan, database: Database, cursor: duckdb.DuckDBPyConnection) -> OpenedRun:
    ledger = Ledger(cursor)
    record = _find(plan, ledger)
    if record is None:
        before = _alike(plan, ledger, finished=True)
        unfinished = None if plan.new else ledger.find_unfinished(plan.job.name)
        record = ledger.run(ledger.begin_run(_new_record(plan)))
        shared = _shared_table(ledger.last_into(plan.table, record.run_id), record, plan)
        news = shared + _beside(before, record) + _left_behind(unfinished, record, plan)
        cutter: Cutter = CutByPosition(plan.source, limit=plan.limit)
        if plan.frontier is not None:
            try:
                ledger.add_seeds(cursor, record.run_id, seeds(plan.source, plan.frontier), plan.frontier)
            except BaseException:
                ledger.forget_run(record.run_id)
                raise
            cutter = CutFrontier(database, RecordedItems(database, record.run_id), resumed=False, rules=plan.frontier)
        return OpenedRun(database, record, False, cutter, False, news)
    totals = ledger.totals(record.run_id)
    failed = totals.failed + totals.cancelled
    if plan.retry and not failed:
        do = f"list the runs with: {runs_command(str(plan.database))}"
        raise UserError("nothing failed in it", f"run {record.run_id} of {plain(plan.database)}", do)
    paused = plan.attended and record.state == RunState.PAUSED
    news = _news(plan, record, totals.done, failed)
    record = _reopen(plan, database, ledger, record, RunState.PAUSED if paused else RunState.RUNNING)
    recorded = RecordedItems(database, record.run_id)
    if plan.frontier is None:
        cutter = _cutter(plan, recorded, record, failed)
    else:
        if not plan.source.lost:  # the run may have been killed before its whole input was in the frontier
            ledger.add_seeds(cursor, record.run_id, seeds(plan.source, plan.frontier), plan.frontier)
        cutter = CutFrontier(database, recorded, resumed=True, rules=plan.frontier)
    if not isinstance(cutter, CutByPosition):
        ledger.recount_chunks(record.run_id)
    # Deaths are recorded by position, and only this cutter gives every item its recorded position.
    deaths = RecordedItems(database, record.run_id).deaths() if isinstance(cutter, CutByPosition) else {}
    return OpenedRun(database, record, True, cutter, paused, news, totals, deaths)


def _reopen(plan: RunPlan, database: Database, ledger: Ledger, record: RunRecord, state: RunState) -> RunRecord:
    """Record that a run is resumed, the columns of its keys, and the fingerprint of its input."""
    is_older = record.key_columns is None
    columns, fingerprint, cut_anew = record.key_columns, record.fingerprint, None
    if columns is None:
        columns = found_columns(plan, RecordedItems(database, record.run_id))
        if is_range(plan.source) and record.input is not None:
            # Positions in a range never change, so the fingerprint is valid. But this older run's chunk rows do not
            # show where the range was cut, so it is cut anew.
            fingerprint = plan.source.fingerprint()
            cut_anew = plan.settings.chunk_size or FIRST_SIZE, total_items(plan.source, plan.limit) or 0
    elif fingerprint is not None and not plan.source.lost and plan.source.fingerprint() != fingerprint:
        fingerprint = None  # permanently: from now on, positions in the input and in the ledger differ
    ledger.reopen_run(
        record.run_id,
        asdict(plan.settings),
        state.value,
        key_columns=columns,
        fingerprint=fingerprint,
        positions_are_unique=not is_older or cut_anew is not None,
        cut_anew=cut_anew,
    )
    return ledger.run(record.run_id)


def _cutter(plan: RunPlan, recorded: RecordedItems, record: RunRecord, failed: int) -> Cutter:
    """Return the cutter for the input of a resumed run.

    Raises:
        UserError: no item of the run can run again.
    """
    source, limit = plan.source, plan.limit
    if not source.lost and record.fingerprint is not None and recorded.chunks().are_limits:
        return CutByPosition(source, limit=limit, recorded=recorded, retry=plan.retry)
    columns = record.key_columns or ()
    if not plan.retry:
        return CutByKey(source, recorded, columns, limit=limit)
    if not source.lost:
        return RetryFromLedger(recorded, CutByKey(source, recorded, columns, limit=limit, retry=True))
    if recorded.count_failed(without_value=True) == failed:
        which = "its item that failed has" if failed == 1 else f"none of its {failed:,} items that failed has"
        what = f"{source.lost}, and {which} {'no value' if failed == 1 else 'a value'} in the ledger"
        raise UserError(what, f"run {record.run_id} of {plain(plan.database)}", "start a new run with these items")
    return RetryFromLedger(recorded, None)


def _unannounced(database: Database) -> Tell:
    return Tell("WARNING", f"{database.unannounced_because}: queries of other processes are refused during this run")


def _beside(before: RunRecord | None, record: RunRecord) -> tuple[Tell, ...]:
    """Return a message if the finished run `before` had the same job, input and parameters.

    The rows of that run will be stored a second time.
    """
    if before is None:
        return ()
    stay = f"its rows stay in {plain(record.table_name)}, those of this run have _run = {record.run_id}"
    return (Tell("INFO", f"run {before.run_id} was identical and is finished: {stay}"),)


def _shared_table(last: RunRecord | None, record: RunRecord, plan: RunPlan) -> tuple[Tell, ...]:
    """Return a warning if the last run into the table was of another file's job, and the user has not named the table.

    Jobs of the same name in two files would otherwise fill one table without a word.
    """
    if last is None or last.job_path == record.job_path or plan.settings.table is not None:
        return ()
    what = f"table {plain(record.table_name)} already has rows of {plain(with_short_home(last.job_path))}"
    return (Tell("WARNING", f"{what}; keep them apart with --table or --db, or tell them apart by _run"),)


def _left_behind(unfinished: RunRecord | None, record: RunRecord, plan: RunPlan) -> tuple[Tell, ...]:
    """Return a message if an unfinished run of the job is not resumed because it differs from `record`.

    It names the differences and the command to resume that run.
    """
    if unfinished is None:
        return ()
    both = (unfinished, record)
    limits = [each.settings.get("limit") for each in both]
    differ = {
        "another file of the job": unfinished.job_path != record.job_path,
        "another table": unfinished.table_name.lower() != record.table_name.lower(),
        "another input": unfinished.input != record.input,
        "other parameters": unfinished.params != record.params,
        "another limit": limits[0] != limits[1],
    }
    had = ", ".join(what for what, differs in differ.items() if differs)
    if not had:
        return ()
    command = resume_command(str(plan.database), unfinished.run_id)
    what = f"run {unfinished.run_id} is unfinished and had {had}: this is a new one"
    return (Tell("INFO", f"{what}; to resume it instead: {command}"),)


def _news(plan: RunPlan, record: RunRecord, done: int, failed: int) -> tuple[Tell, ...]:
    # Short, because it is shown on one line of a terminal, beside the time.
    again = f"{failed:,} failed or cancelled items run again"
    if plan.retry:
        text = f"run {record.run_id}: {again}"
    else:
        text = f"run {record.run_id} is resumed: {done:,} done already" + (f", {again}" if failed else "")
    news = [Tell("INFO", text)]
    before, now = record.settings.get("code"), asdict(plan.settings).get("code")
    if before and now and before != now:
        effect = "items that are done are not run again"
        news.append(Tell("WARNING", f"the job's code has changed since run {record.run_id} was last active: {effect}"))
    return tuple(news)


def _find(plan: RunPlan, ledger: Ledger) -> RunRecord | None:
    if plan.new:
        return None
    if plan.run_id is not None:
        return ledger.run(plan.run_id)
    record = _alike(plan, ledger, finished=False)
    if record is None and plan.resume:
        shown = short_path(str(plan.database), Path.cwd())
        raise UserError(
            f"no unfinished run of {plan.job.name} with this input, these parameters, this --limit and this --table",
            str(plan.database),
            f"leave out --resume to start a new one, or list the runs with: {runs_command(shown)}",
        )
    return record


def _alike(plan: RunPlan, ledger: Ledger, *, finished: bool) -> RunRecord | None:
    return ledger.find_alike(
        job=plan.job.name,
        job_path=plan.job.path,
        table_name=plan.table,
        input=plan.source.text,
        params=dict(plan.stored_params),
        limit=plan.limit,
        finished=finished,
    )


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
        items_total=None if plan.frontier else total_items(plan.source, plan.limit),
        started_at=datetime.now(UTC),
        ended_at=None,
        host=platform.node(),
        version=__version__,
        key_columns=key_columns(plan.source.columns),
        fingerprint=None if plan.frontier else plan.source.fingerprint(),
    )
