"""Takes the database of a run, finds the run to go on with or begins a new one, and selects the items to run."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import duckdb

from tui_runner._version import __version__
from tui_runner.engine.planning.request import RunPlan
from tui_runner.engine.scheduling.events import Tell
from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.inputs import total_items
from tui_runner.store.database import PATIENCE_SECONDS, Database, fault_of_file, memory_share
from tui_runner.store.ledger import Ledger
from tui_runner.store.records import RunRecord
from tui_runner.system.memory import memory_bound
from tui_runner.text.messages import plain


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run whose database is ours.

    Attributes:
        database: open; whoever has this closes it.
        record: the run's row in the ledger.
        resumed: whether it was begun by an earlier process.
        selection: which items of the input are to run.
        replaced: keys of the items that have a final state but will run again.
        paused: whether it begins paused, because it was when it ended.
        news: what a person should know of how it goes on.
        chunks: chunks whose rows in the ledger stay as they are, unless their items run again.
    """

    database: Database
    record: RunRecord
    resumed: bool
    selection: Selection
    replaced: set[str]
    paused: bool
    news: tuple[Tell, ...]
    chunks: AbstractSet[int] = frozenset()

    def take_back(self) -> None:
        """Close the database as if the run had never been begun: nothing of it has run."""
        if self.database.made:
            self.database.close(remove=True)
            return
        cursor = self.database.cursor()
        try:
            Ledger(cursor).forget_run(self.record.run_id)
        finally:
            self.database.close()


def open_run(plan: RunPlan) -> OpenedRun:
    """Take the database of `plan`, and find or begin its run.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no run to resume.
    """
    share = memory_share(memory_bound(plan.settings.max_memory))
    database = Database.open(plan.database, memory_limit=share, patience=PATIENCE_SECONDS, for_run=True)
    try:
        cursor = database.cursor()
        try:
            opened = _find_or_begin(plan, database, Ledger(cursor))
        finally:
            database.close_cursor(cursor)
        database.note_run(opened.record.run_id)
        if not database.is_announced:
            opened = replace(opened, news=(*opened.news, _unannounced(database)))
    except BaseException as error:
        database.close(remove=database.made)
        if isinstance(error, duckdb.Error) and (fault := fault_of_file(error, plan.database)) is not None:
            raise fault from error
        raise
    return opened


def _find_or_begin(plan: RunPlan, database: Database, ledger: Ledger) -> OpenedRun:
    record = _find(plan, ledger)
    if record is None:
        before = _alike(plan, ledger, finished=True)
        unfinished = None if plan.new else ledger.find_unfinished(plan.job.name)
        record = ledger.run(ledger.begin_run(_new_record(plan)))
        news = _beside(before, record) + _left_behind(unfinished, record, plan)
        return OpenedRun(database, record, False, Selection({}), set(), False, news)
    recorded, replaced = ledger.recorded(record.run_id)
    if plan.retry and not replaced:
        raise UserError("nothing failed in it", f"run {record.run_id} of {plain(plan.database)}")
    paused = plan.attended and record.state == RunState.PAUSED
    state = RunState.PAUSED if paused else RunState.RUNNING
    news = _news(plan, record, len(recorded), len(replaced))
    size = plan.settings.chunk_size
    # Sizes that are chosen while a run goes on are others the next time.
    same_chunks = size is not None and record.settings.get("chunk_size") == size and not plan.source.may_wait
    ledger.reopen_run(record.run_id, asdict(plan.settings), state.value, same_chunks=same_chunks)
    selection = Selection(recorded, frozenset(replaced), only_again=plan.retry)
    chunks = ledger.chunks(record.run_id)
    return OpenedRun(database, record, True, selection, replaced, paused, news, chunks=chunks)


def _unannounced(database: Database) -> Tell:
    return Tell(
        "WARNING", f"{database.unannounced_because}: queries of other processes are refused while this run goes on"
    )


def _beside(before: RunRecord | None, record: RunRecord) -> tuple[Tell, ...]:
    """Whoever starts a job again that had just ended is to know that its rows are stored once more."""
    if before is None:
        return ()
    stay = f"its rows stay in {plain(record.table_name)}, those of this run have _run = {record.run_id}"
    return (Tell("INFO", f"run {before.run_id} did the same and is finished: {stay}"),)


def _left_behind(unfinished: RunRecord | None, record: RunRecord, plan: RunPlan) -> tuple[Tell, ...]:
    """Whoever meant to go on with a run is to know why another one begins, and how to go on with that one."""
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
    command = f"tui-runner resume {shlex.quote(str(plan.database))} {unfinished.run_id}"
    what = f"run {unfinished.run_id} is unfinished and had {had}: this is a new one"
    return (Tell("INFO", f"{what}; to go on with it instead: {command}"),)


def _news(plan: RunPlan, record: RunRecord, done: int, failed: int) -> tuple[Tell, ...]:
    # Short: it is read in one line of a terminal, beside the time.
    again = f"{failed:,} failed or cancelled run again"
    if plan.retry:
        text = f"run {record.run_id}: {again}"
    else:
        text = f"run {record.run_id} goes on: {done:,} done already" + (f", {again}" if failed else "")
    news = [Tell("INFO", text)]
    before, now = record.settings.get("code"), asdict(plan.settings).get("code")
    if before and now and before != now:
        kept = "items that are done are not run again"
        news.append(Tell("WARNING", f"the job's code has changed since run {record.run_id} was last at work: {kept}"))
    return tuple(news)


def _find(plan: RunPlan, ledger: Ledger) -> RunRecord | None:
    if plan.new:
        return None
    if plan.run_id is not None:
        return ledger.run(plan.run_id)
    record = _alike(plan, ledger, finished=False)
    if record is None and plan.resume:
        raise UserError(
            f"no unfinished run of {plan.job.name} with this input and these parameters",
            str(plan.database),
            "leave out --resume to start a new one, or see: tui-runner runs DB",
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
        items_total=total_items(plan.source, plan.limit),
        started_at=datetime.now(UTC),
        ended_at=None,
        host=platform.node(),
        version=__version__,
    )


class Selection:
    """Items that are not done; or, for a retry, those that failed and nothing else.

    Args:
        done: how many rows each item has that ended well, by key.
        again: keys of the items that have another final state: they run again.
        only_again: run these alone, instead of all that are not done.
    """

    def __init__(
        self, done: Mapping[str, int], again: AbstractSet[str] = frozenset(), *, only_again: bool = False
    ) -> None:
        self._done = done
        self._again = again
        self._only = again if only_again else None
        self._missed = set(again)
        """Of these, those that the input has not had yet."""
        self._left_out = 0
        """Items that were passed over although the ledger has nothing of them: the input has grown since."""

    def pending(self, first_item: int, keys: Sequence[str]) -> Sequence[int]:
        """Positions of the items to run among consecutive ones with these keys, the first at `first_item`."""
        if self._missed:
            self._missed.difference_update(keys)
        only = self._only
        if only is not None:
            self._left_out += sum(key not in only and key not in self._done for key in keys)
            return [first_item + index for index, key in enumerate(keys) if key in only]
        if not self._done:
            return range(first_item, first_item + len(keys))
        return [first_item + index for index, key in enumerate(keys) if key not in self._done]

    def known(self, first_item: int, keys: Sequence[str]) -> Collection[int]:
        """Positions of the items to run that had failed before; none for a retry, which runs nothing else."""
        again = self._again
        if self._only is not None or not again:
            return ()
        return [first_item + index for index, key in enumerate(keys) if key in again]

    def recorded_rows(self, keys: Sequence[str]) -> int:
        """How many rows the items with these keys have in the database already."""
        done = self._done
        return sum(done.get(key, 0) for key in keys) if done else 0

    def warnings(self) -> list[str]:
        """What is to be said of the input when all of it was read."""
        found = []
        if left_out := self._left_out:
            found.append(f"{left_out:,} items that are new in the input were left out: a retry runs no new ones")
        if missed := len(self._missed):
            found.append(f"items that had failed are not in the input any more, and stay as they are: {missed:,}")
        return found
