"""Rebuilds the request of a run from its ledger, to resume it or to run its failed items again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from tui_runner.engine.planning.request import PROGRAM_INPUT, STANDARD_INPUT, RunRequest, may_hide, shown_params
from tui_runner.engine.states import RunState
from tui_runner.errors import DatabaseError, UserError
from tui_runner.jobs.loading import is_folder
from tui_runner.jobs.settings import Settings
from tui_runner.store.database import PATIENCE_SECONDS, Database
from tui_runner.store.ledger import Ledger, Totals, readable
from tui_runner.store.records import RunRecord
from tui_runner.system.files import short_path, without_dots
from tui_runner.text.messages import (
    did_you_mean,
    pipe_command,
    plain,
    quoted,
    resume_command,
    retry_command,
    runs_command,
)

_NEW_ONE = "start a new one with: tui-runner run JOB"


def resume_request(
    database: Path,
    run: int | None,
    secrets: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
) -> RunRequest:
    """Return a request to resume a run, rebuilt from its ledger.

    Args:
        database: path of a DuckDB file that tui-runner has written.
        run: number of the run; None for the newest unfinished one.
        secrets: values of secret parameters, which no ledger stores.
        settings: settings that replace those of the run.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no such run, it is finished, or it cannot be resumed from here.
    """
    with Database.open(database, create=False, patience=PATIENCE_SECONDS) as opened, readable(database):
        record = _unfinished(Ledger(opened.cursor()), database, run)
    _check_input(record, database)
    request = _as_it_was(record, database, secrets or {})
    return replace(request, settings={**request.settings, **_given(settings)})


def retry_request(
    database: Path,
    run: int | None,
    secrets: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
) -> RunRequest:
    """Return a request to run the failed, timed out and cancelled items of a finished run again.

    Args:
        database: path of a DuckDB file that tui-runner has written.
        run: number of the run; None for the newest finished one with failed items.
        secrets: values of secret parameters, which no ledger stores.
        settings: settings that replace those of the run. Without `on_outage`, the retry ignores outages, because many
            of its items will fail again.

    Raises:
        DatabaseError: the database cannot be used.
        UserError: there is no such run, it is not finished, nothing failed in it, or it cannot be retried from here.
    """
    with Database.open(database, create=False, patience=PATIENCE_SECONDS) as opened, readable(database):
        record = _with_failures(Ledger(opened.cursor()), database, run)
    request = _as_it_was(record, database, secrets or {})
    changed = {"on_outage": "continue", **_given(settings)}
    columns = record.key_columns
    columns = (columns,) if isinstance(columns, str) else columns or None
    return replace(request, settings={**request.settings, **changed}, retry=True, columns=columns)


def _given(settings: Mapping[str, object] | None) -> dict[str, object]:
    return {name: value for name, value in (settings or {}).items() if value is not None}


def _check_input(record: RunRecord, database: Path) -> None:
    """Raise `UserError` for a run whose input cannot be read again, because only the user can provide it."""
    where = _where(record, database)
    if record.input == STANDARD_INPUT:
        table, limit = record.settings.get("table"), record.settings.get("limit")
        command = pipe_command(
            job=short_path(record.job_path, Path.cwd()),
            database=_typed(database),
            table=table if isinstance(table, str) else None,
            params=shown_params(record.params),
            limit=limit if isinstance(limit, int) else None,
        )
        what = "its items came from standard input, which cannot be read again"
        raise UserError(what, where, f"run the same pipe again: {plain(command)}")
    if record.input == PROGRAM_INPUT:
        raise UserError("a Python program gave its items", where, "run that program again")


def _as_it_was(record: RunRecord, database: Path, secrets: Mapping[str, object]) -> RunRequest:
    """Rebuild the request that `record` was started with."""
    if not record.is_whole:
        what = "its request cannot be read: its job, table, state, parameters or settings are damaged"
        raise DatabaseError(what, _where(record, database), "restore a copy of the file")
    file = Path(record.job_path.rpartition(":")[0])
    if file.is_absolute() and not file.exists():
        what = f"the job's file {plain(file)} no longer exists"
        raise UserError(what, _where(record, database), "put it back there")
    params = {**record.params, **_checked_secrets(record, secrets)}
    known = {setting.name for setting in fields(Settings)}
    # None would mean that the setting was not given, and the job's own setting would apply.
    settings = {name: "none" if value is None else value for name, value in record.settings.items() if name in known}
    if not settings.get("workers"):
        settings.pop("workers", None)  # without this setting, each Dask worker gets one worker
    limit = record.settings.get("limit")
    return RunRequest(
        job=record.job_path,
        params=params,
        settings=settings | {"table": record.table_name},
        database=without_dots(database.absolute()),
        input=record.input,
        limit=limit if isinstance(limit, int) else None,
        run_id=record.run_id,
        folder=begun_in(record, database),
    )


def _checked_secrets(record: RunRecord, given: Mapping[str, object]) -> Mapping[str, object]:
    """Return `given` if it has only secrets, because the other parameters of a resumed run come from its ledger.

    Raise `UserError` if it has another parameter.
    """
    secrets = [name for name, value in record.params.items() if may_hide(value)]
    for name in given:
        if name in secrets:
            continue
        run = f"run {record.run_id}"
        if name in record.params:
            what = f"{run} was begun with {quoted(record.params[name])}, which cannot be changed"
            do = f"leave it out, or start another run with: tui-runner run JOB --set {plain(name)}=…"
        else:
            what = f"{run} was begun without a secret of this name"
            do = did_you_mean(name, secrets, "its secrets are") if secrets else "leave it out"
        raise UserError(what, f"--set {plain(name)}", do)
    return given


def _unfinished(ledger: Ledger, database: Path, run: int | None) -> RunRecord:
    if run is not None:
        record = ledger.run(run, database=database)
        if record.state == RunState.FINISHED:
            raise UserError(f"run {run} is finished", plain(database), _after(database, record, ledger.totals(run)))
        return record
    summaries = ledger.runs()
    if not summaries:
        raise UserError("no runs in it", plain(database), _NEW_ONE)
    for summary in summaries:
        if summary.record.state != RunState.FINISHED:
            return summary.record
    failed = next((each for each in summaries if each.totals.failed or each.totals.cancelled), summaries[0])
    raise UserError("every run in it is finished", plain(database), _after(database, failed.record, failed.totals))


def _after(database: Path, record: RunRecord, totals: Totals) -> str:
    """Return advice for a finished run: how to run its failed items again, if there are any."""
    missed = totals.failed + totals.cancelled
    if not missed:
        return _NEW_ONE
    those = "the item that" if missed == 1 else f"the {missed:,} items that"
    verb = "failed" if totals.failed else "was cancelled" if missed == 1 else "were cancelled"
    command = retry_command(_typed(database), record.run_id)
    return f"run {those} {verb} in run {record.run_id} again with: {command}"


def _typed(database: Path) -> str:
    """Return the path of a database for a command that the user enters in the current folder."""
    return short_path(str(database), Path.cwd())


def _with_failures(ledger: Ledger, database: Path, run: int | None) -> RunRecord:
    do = f"list the runs with: {runs_command(_typed(database))}"
    if run is not None:
        record, totals = ledger.run(run, database=database), ledger.totals(run)
    else:
        runs = ledger.runs()
        if not runs:
            raise UserError("no runs in it", plain(database), _NEW_ONE)
        summaries = [each for each in runs if each.totals.failed or each.totals.cancelled]
        if not summaries:
            unfinished = next((each.record for each in runs if each.record.state != RunState.FINISHED), None)
            if unfinished is not None:
                do = f"resume run {unfinished.run_id}: {resume_command(_typed(database), unfinished.run_id)}"
            raise UserError("nothing failed in any of its runs", plain(database), do)
        finished = [each for each in summaries if each.record.state == RunState.FINISHED]
        record, totals = (finished or summaries)[0].record, (finished or summaries)[0].totals
    where = _where(record, database)
    if record.state != RunState.FINISHED:
        resume = resume_command(_typed(database), record.run_id)
        raise UserError("it is not finished", where, f"its failed items run again when you resume it: {resume}")
    if not (totals.failed or totals.cancelled):
        raise UserError("nothing failed in it", where, do)
    return record


def begun_in(record: RunRecord, database: Path) -> Path | None:
    """Return the folder in which a run was begun, to which its relative paths refer; None if it is not recorded.

    Raises:
        UserError: the folder no longer exists.
    """
    text = record.settings.get("folder")
    if not isinstance(text, str):
        return None
    if not is_folder(Path(text)):
        where = _where(record, database)
        raise UserError(f"the folder {plain(text)}, in which it was begun, no longer exists", where, "create it again")
    # Return an absolute path: this becomes the current folder, and a relative path would mean another folder from
    # there.
    return Path(text).absolute()


def _where(record: RunRecord, database: Path) -> str:
    return f"run {record.run_id} of {plain(database)}"
