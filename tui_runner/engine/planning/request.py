"""Converts a user's request to the plan of a run. Finds every mistake in it before anything is written."""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tui_runner.engine.worker.retry import RetryPolicy, retry_after, retry_rule
from tui_runner.errors import DatabaseError, UserError
from tui_runner.inputs import Source, made_items, open_source
from tui_runner.inputs.source import Delay, LostItems, Progress, silent
from tui_runner.jobs.config_file import read_config
from tui_runner.jobs.job import Job
from tui_runner.jobs.loading import NoSuchFunction, load_job
from tui_runner.jobs.parameters import MissingParameters, Parameter, bind, is_hidden, jsonable, stored
from tui_runner.jobs.reference import source_digest
from tui_runner.jobs.settings import DEBUG_VARIABLE, SET_PREFIX, Settings, resolve
from tui_runner.store.ingest.frontier import FrontierRules
from tui_runner.store.ingest.results_table import RESERVED
from tui_runner.system.files import expanded, without_dots
from tui_runner.text.messages import is_text, listed, plain, quoted
from tui_runner.text.redaction import MASK, Redaction, is_redacted, redacted_errors


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The job, input, settings and database of a run. All were checked; nothing is written yet.

    Attributes:
        job: the loaded job.
        params: the converted parameters of the job.
        stored_params: the parameters as JSON values, for the ledger.
        settings: settings of the run.
        table: results table.
        source: source of the items.
        by_name: True if an item is a row that is passed by parameter name.
        from_input: True if items come from an input. Text in such items is converted to the types of the function's
            annotations.
        database: path of the DuckDB file.
        limit: number of items to take from the beginning of the input; None for all.
        new: True to start a new run even if an unfinished one could be resumed.
        resume: True to resume an unfinished run, and to raise an error if there is none.
        run_id: number of the run to resume; None for any.
        retry: True to run only the failed and cancelled items of run `run_id`.
        attended: True if a user watches the run and can resume it. Only in this case does a run that was paused begin
            paused.
        frontier: limits on the items that a job adds while it runs; None for a job that adds none.
        served: True if other processes may query the database during the run.
        debug: True to log every action of tui-runner.
    """

    job: Job
    params: Mapping[str, Any]
    stored_params: Mapping[str, object]
    settings: StoredSettings
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
    frontier: FrontierRules | None = None
    served: bool = True
    debug: bool = False


STANDARD_INPUT = "-"
"""The `SOURCE` for standard input, which can be read only once."""
PROGRAM_INPUT = "items of a program"
"""Text that is recorded as input if a Python program passed the items. Only that program can pass them again."""

_LOST = {
    STANDARD_INPUT: "its items came from standard input, which cannot be read again",
    PROGRAM_INPUT: "a Python program gave its items",
}
"""Inputs that cannot be read again, each with the reason for messages."""

Ask = Callable[[str], str]
"""Function that asks the user for the secret of a given name; it raises `EOFError` if no user can answer."""
UseRedaction = Callable[[Redaction], None]
"""Function that gets the redaction for later output of the job, as soon as secrets are known."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A request for a run, as the user gave it.

    Attributes:
        job: `JOB` of the command line.
        params: job parameters: text, or values from the ledger.
        settings: settings given on the command line.
        database: path of the DuckDB file; None for `<job>.duckdb` in `folder`.
        input: `SOURCE` of the items; None for items that the job makes itself.
        limit: number of items to take from the beginning of the input; None for all.
        new: True to start a new run even if an unfinished one could be resumed.
        resume: True to resume an unfinished run, and to raise an error if there is none.
        run_id: number of the run to resume, from whose ledger `params` and `settings` come; None for any.
        retry: True to run only the failed and cancelled items of run `run_id`, which is finished.
        attended: True if a user watches the run and can resume it. Only in this case does a run that was paused begin
            paused.
        folder: folder of relative paths; None for the current folder.
        columns: columns of the input when the run began, for a retry that may not need the input.
    """

    job: str
    params: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    database: Path | None = None
    input: str | None = None
    limit: int | None = None
    new: bool = False
    resume: bool = False
    run_id: int | None = None
    retry: bool = False
    attended: bool = False
    folder: Path | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class StoredSettings(Settings):
    """Settings as the ledger stores them, with everything else that is needed to resume the run unchanged.

    Attributes:
        limit: number of items to take from the beginning of the input; None for all.
        folder: folder of relative paths; None if its name is not valid Unicode.
        code: digest of the job's source; None if the source cannot be read.
    """

    limit: int | None = None
    folder: str | None = None
    code: str | None = None


class Assigned(str):
    """The value of a parameter from a command line, where every user of the machine can read it.

    Attributes:
        folder: the current folder of the command.
    """

    __slots__ = ("folder",)
    folder: Path

    def __new__(cls, text: str, folder: Path) -> Assigned:
        """Create a value from `text`."""
        made = super().__new__(cls, text)
        made.folder = folder
        return made


def assignments(texts: Sequence[str]) -> dict[str, object]:
    """Return texts of the form `NAME=VALUE` as a mapping of `Assigned`.

    Raises:
        UserError: a text does not have this form, or two have the same key.
    """
    params: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            name = text if text.isidentifier() else "name"
            raise UserError(f"{quoted(text)} is not NAME=VALUE", "--set", f"write --set {name}=VALUE")
        if key.strip() in params:
            raise UserError("it is given twice", f"--set {plain(key.strip())}", "leave one of them out")
        params[key.strip()] = Assigned(value, Path.cwd())
    return params


def secrets_in_sight(job: Job, params: Mapping[str, object]) -> list[str]:
    """Return a warning for each secret on the command line, which other users can read and shells store in a file."""
    return [
        f"warning: the secret {plain(each.name)} is on the command line, where every user of this machine can read it; "
        f"set {SET_PREFIX}{plain(each.name.upper())}, or write --set {plain(each.name)}=@FILE"
        for each in job.parameters
        if each.is_secret and isinstance(value := params.get(each.name), Assigned) and _secret_file(value) is None
    ]


def _secret_file(value: Assigned) -> str | None:
    """Return FILE of `@FILE`; None for a literal text. A literal that begins with `@` is written `@@…`."""
    return value[1:] if value.startswith("@") and not value.startswith("@@") else None


def _with_secrets_read(
    parameters: Sequence[Parameter], given: Mapping[str, object], request: RunRequest
) -> dict[str, object]:
    """Return `given` with secrets read from files: `@FILE` is replaced by the text of FILE, `@-` by standard input.

    Raises:
        UserError: a secret cannot be read.
    """
    # A `Path` of Python 3.13 keeps its original text, and an `Assigned` cannot be unpickled in a worker.
    found = {name: str(value) if isinstance(value, Assigned) else value for name, value in given.items()}
    from_input = ""
    for parameter in parameters:
        value, name = given.get(parameter.name), plain(parameter.name)
        if not (parameter.is_secret and isinstance(value, Assigned)):
            continue
        file = _secret_file(value)
        if file is None:
            found[parameter.name] = value.removeprefix("@") if value.startswith("@@") else str(value)
        elif file == STANDARD_INPUT:
            where = f"standard input for the secret {name}"
            taken = "the items come from it" if request.input == STANDARD_INPUT else from_input
            if taken:
                raise UserError(f"is taken already: {taken}", where, "give a file with @FILE")
            from_input = f"the secret {name} comes from it"
            if sys.stdin is None or sys.stdin.isatty():
                do = "pipe the secret into the command, or leave the option out to be asked for it"
                raise UserError("nothing is piped into it", where, do)
            found[parameter.name] = _secret_text(sys.stdin.buffer, where)
        else:
            where = f"{plain(file)} for the secret {name}"
            try:
                with (value.folder / expanded(file)).open("rb") as stream:
                    found[parameter.name] = _secret_text(stream, where)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                do = "check the path; a secret that begins with @ is written with @@"
                raise UserError(f"cannot be read ({reason.lower()})", where, do) from None
    return found


_LARGEST_SECRET = 1 << 20
"""Most bytes of a file with a secret. A larger file is probably not the one that the user meant."""


def _secret_text(stream: BinaryIO, where: str) -> str:
    """Return the text of a stream, without a byte order mark and the line end that editors and `echo` append.

    Raises:
        UserError: the text is empty, too long or not UTF-8.
    """
    content = stream.read(_LARGEST_SECRET + 1)
    if len(content) > _LARGEST_SECRET:
        raise UserError(f"it has more than {_LARGEST_SECRET:,} bytes", where, "give the file that has the secret alone")
    try:
        text = content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UserError("it is not UTF-8 text", where, "save it as UTF-8") from None
    if not text:
        raise UserError("it is empty", where, "give the file that has the secret")
    return text


def plan_run(
    request: RunRequest,
    *,
    folder: Path,
    environ: Mapping[str, str],
    ask: Ask | None = None,
    use_redaction: UseRedaction = lambda _: None,
    progress: Progress = silent,
) -> RunPlan:
    """Load the job, determine its parameters and settings, and open its input.

    Args:
        request: the request.
        folder: folder of relative paths and of the configuration, unless the request has one.
        environ: environment variables.
        ask: asks for required secrets that were not given; None if no user can answer.
        use_redaction: called before the job is loaded, and again when its parameters are known.
        progress: called with a text about the current work while the input is opened.

    Raises:
        UserError: the request is wrong; nothing was written.
        DatabaseError: the path of the database cannot be used, or `sql:` cannot read from it.
    """
    _check(request)
    folder = request.folder or folder
    redaction = guessed_redaction(request.params, environ)
    use_redaction(redaction)
    try:
        job = load_job(request.job, folder=folder, redact=redaction)
    except NoSuchFunction as error:
        if request.run_id is None:
            raise
        raise _function_of_run_is_gone(request.run_id, error) from None
    return plan_job(
        job, request, folder=folder, environ=environ, ask=ask, use_redaction=use_redaction, progress=progress
    )


def _function_of_run_is_gone(run_id: int, error: NoSuchFunction) -> UserError:
    what = f"run {run_id} used the function {plain(error.function)}, which is no longer in it"
    if not error.others:
        return UserError(what, error.where, f"it has no functions now; write {plain(error.function)} again")
    now = f"it has {listed(error.others)} now"
    again = f"name one of them {plain(error.function)} to resume the run"
    new = f"start a new run with: tui-runner run {error.where}:{plain(error.others[0])}"
    return UserError(what, error.where, f"{now}; {again}, or {new}")


def plan_job(
    job: Job,
    request: RunRequest,
    *,
    folder: Path,
    environ: Mapping[str, str],
    source: Source | None = None,
    ask: Ask | None = None,
    use_redaction: UseRedaction = lambda _: None,
    progress: Progress = silent,
    items_fail_later: bool = False,
) -> RunPlan:
    """Plan a run of a loaded job; see `plan_run` for most arguments.

    `source` is the input if it is open already; otherwise the input of the request is opened. If `items_fail_later` is
    True, an error of the items function fails the run and is not raised here.
    """
    _check(request)
    parameters = job.parameters_for(own_items=source is None and request.input is None)
    given = _with_secrets_read(parameters, _given(job, parameters, request), request)
    params = _bound(
        parameters, given | _from_environment(parameters, given, environ, resumes=request.run_id is not None), ask
    )
    use_redaction(Redaction.of(params))
    settings = resolve(job=job.settings, config=read_config(folder), environ=environ, command_line=request.settings)
    _check_cluster_options(request, settings)
    # `path` raises if a worker could not load the job. That must happen before the database is opened.
    name, _ = job.name, job.path
    database = without_dots(folder / (request.database or f"{name}.duckdb"))
    if not is_text(str(database)):
        raise DatabaseError("its path is not UTF-8 text, which DuckDB needs", plain(database), "choose another one")
    try:
        is_there = database.exists()
    except OSError as error:  # for example, its name is too long
        what = f"its path can't be used ({(error.strerror or str(error)).lower()})"
        raise DatabaseError(what, plain(database), "choose another one") from None
    if request.resume and not is_there:
        raise UserError("no such database, so there is nothing to resume", plain(database), "leave out --resume")
    if source is None:
        with redacted_errors(Redaction.of(params)):
            source = _source(job, params, request, folder, database, settings, progress, items_fail_later)
    else:
        source.text = PROGRAM_INPUT
    by_name = job.check_input(source.columns)
    table = settings.table or name
    if table.lower().startswith(RESERVED):
        raise UserError(f"names with {RESERVED} are tui-runner's own", f"table {plain(table)}", "choose another")
    return RunPlan(
        job=job,
        params=params,
        stored_params=stored(parameters, _placed(params, folder)),
        settings=StoredSettings(
            **asdict(settings),
            limit=request.limit,
            folder=str(folder) if is_text(str(folder)) else None,
            code=source_digest(job.reference),
        ),
        table=table,
        source=source.as_written(job.columns_as_written(source.columns, by_name=by_name)),
        by_name=by_name,
        from_input=request.input is not None and request.input != PROGRAM_INPUT,
        database=database,
        limit=request.limit,
        new=request.new,
        resume=request.resume,
        run_id=request.run_id,
        retry=request.retry,
        attended=request.attended,
        frontier=_frontier(job, params, request.limit),
        debug=bool(environ.get(DEBUG_VARIABLE)),
    )


def _check_cluster_options(request: RunRequest, settings: Settings) -> None:
    """Raise `UserError` for cluster options on the command line of a new run without a cluster.

    A configuration file may contain them, because it applies to other runs as well.
    """
    if request.run_id is not None or settings.backend.startswith("dask:"):
        return
    for name in ("ship", "insecure"):
        if request.settings.get(name):
            do = "add --backend dask:ADDRESS, or leave it out"
            raise UserError("it has no effect without a cluster", f"--{name}", do)


def _frontier(job: Job, params: Mapping[str, Any], limit: int | None) -> FrontierRules | None:
    """Return the limits of a run's frontier: `limit`, and the parameters that are named like a limit and are integers.

    Return None if the job has no frontier.
    """
    if not job.frontier:
        return None
    given = {name: params[name] for name in ("depth", "per_site", "per_prefix") if type(params.get(name)) is int}
    return FrontierRules(items=limit, **given)


def _placed(params: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Return `params` with absolute paths, because a relative path is another file in another folder."""
    return {
        name: Path(os.path.normpath(folder / value)) if isinstance(value, Path) else value
        for name, value in params.items()
    }


def _check(request: RunRequest) -> None:
    """Raise `UserError` for contradictory options. Called before the user's code is loaded."""
    if request.new and request.resume:
        raise UserError("--new and --resume exclude each other", do="leave one of them out")
    if request.limit is not None and request.limit < 0:
        raise UserError(f"{request.limit} is not a whole number, 0 or more", "--limit")
    if request.limit is not None and request.limit > sys.maxsize:
        raise UserError("more items than can be counted", "--limit", "leave it out to take all")


def _given(job: Job, parameters: Sequence[Parameter], request: RunRequest) -> dict[str, object]:
    """Return the given parameters.

    If the run has an input, a parameter that only the items function takes is refused; on a resume, it is omitted.
    """
    unused = {each.name for each in job.parameters}.difference(each.name for each in parameters)
    if request.run_id is not None:
        begun = _as_begun(job, request.params)
        return {name: value for name, value in begun.items() if name not in unused}
    for name in request.params:
        if name in unused:
            what = "only the job's own items use this parameter, and an input replaces them"
            raise UserError(what, f"--set {plain(name)}", "leave out one of the two")
    return dict(request.params)


def _as_begun(job: Job, stored: Mapping[str, object]) -> dict[str, object]:
    """Return the stored parameters without default values, because a default may not survive conversion to text."""
    defaults = {each.name: _as_stored(each.default) for each in job.parameters if not each.required}
    return {
        name: value
        for name, value in stored.items()
        if name not in defaults or may_hide(value) or value != defaults[name]
    }


def guessed_redaction(params: Mapping[str, object], environ: Mapping[str, str]) -> Redaction:
    """Return a redaction for a job that is being loaded: it removes every given parameter from output and errors.

    Only the loaded job knows which of its parameters are secret.

    Args:
        params: the given parameters, by name.
        environ: environment variables.
    """
    given = [value for value in params.values() if isinstance(value, str)]
    return Redaction([*given, *(text for name, text in environ.items() if name.startswith(SET_PREFIX))], guessed=True)


def shown_params(stored: Mapping[str, object], job: Job | None = None) -> dict[str, object]:
    """Return the stored parameters of a run that a command line needs.

    Secrets are omitted. If `job` is given, default values are omitted as well.
    """
    params = stored if job is None else _as_begun(job, stored)
    return {name: value for name, value in params.items() if not may_hide(value)}


def may_hide(value: object) -> bool:
    """Return True if a stored value may be a masked secret.

    Only the job knows for certain, and it is not loaded yet.
    """
    if isinstance(value, str):
        return value == MASK or is_redacted(value)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(map(may_hide, parts))


def _from_environment(
    parameters: Sequence[Parameter], given: Mapping[str, object], environ: Mapping[str, str], *, resumes: bool
) -> dict[str, object]:
    """Return parameters that were not given from variables such as `TUI_RUNNER_SET_X`; for a resume, only secrets."""
    found: dict[str, object] = {}
    for parameter in parameters:
        text = environ.get(SET_PREFIX + parameter.name.upper())
        name = parameter.name
        if text is not None and (is_hidden(parameter, given[name]) if name in given else not resumes):
            found[name] = text
    return found


def _bound(parameters: Sequence[Parameter], given: Mapping[str, object], ask: Ask | None) -> dict[str, Any]:
    """Return the values of the parameters. If only secrets are missing and there is `ask`, ask the user for them."""
    try:
        return bind(parameters, given)
    except MissingParameters as missing:
        secrets = {each.name for each in parameters if each.is_secret or may_hide(given.get(each.name))}
        if ask is None or not secrets.issuperset(missing.names):
            raise
        try:
            return bind(parameters, {**given} | {name: ask(name) for name in missing.names})
        except EOFError:
            raise missing from None


def _as_stored(value: object) -> Any:
    """Return a value in the form in which it is read from a ledger."""
    return json.loads(json.dumps(jsonable(value)), parse_constant=str)


def _source(
    job: Job,
    params: Mapping[str, object],
    request: RunRequest,
    folder: Path,
    database: Path,
    settings: Settings,
    progress: Progress,
    items_fail_later: bool,
) -> Source:
    if request.retry and (lost := _LOST.get(request.input or "")):
        return LostItems(request.input, request.columns, lost)
    if request.input is not None:
        try:
            return open_source(
                _located(request.input, folder),
                database=database,
                folder=folder,
                max_bytes=settings.max_input_bytes,
                progress=progress,
            )
        except UserError as error:
            if not request.retry:
                raise
            return LostItems(request.input, request.columns, f"its input can't be read ({error})")
    if job.has_items:
        return made_items(
            lambda: job.make_items(params), Redaction.of(params), _delay(job, settings), fails_later=items_fail_later
        )
    name = plain(job.name)
    raise UserError("the job has no items of its own", name, f"give it an input (--input SOURCE), or add @{name}.items")


def _delay(job: Job, settings: Settings) -> Delay:
    """Return the rule for calling the items function again after an error: with the retries and delays of an item."""
    policy = RetryPolicy(settings.retries, retry_rule(job.retry_on))

    def delay(error: BaseException, failures: int) -> float | None:
        if failures > policy.retries or not policy.rule(error):
            return None
        return policy.delay(failures, retry_after(error))

    return delay


def _located(text: str, folder: Path) -> str:
    """Return a `SOURCE` with absolute paths of its files and globs, so that it means the same in any folder."""
    is_path = text.strip() and not text.startswith(("range:", "sql:")) and "://" not in text and "\0" not in text
    if text == STANDARD_INPUT or not is_path:
        return text
    try:
        path = expanded(text)
    except UserError:  # "~nobody" may be the name of a file
        path = Path(text)
    if path.is_absolute():
        return str(path)
    if glob.has_magic(text) and not (folder / path).exists():
        return f"{glob.escape(str(folder))}/{path}"
    # Links and ".." are not resolved here, but by the reader of the file.
    return str(folder / path)
