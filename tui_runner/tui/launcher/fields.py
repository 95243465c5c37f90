"""The fields of a job's form, for a loaded job or for a job of which only the source was read.

The fields of both look the same, so that the form beside the list does not change when the job is loaded. Values of
parameters can be checked only by a loaded job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tui_runner.engine.planning.request import STANDARD_INPUT
from tui_runner.errors import UserError
from tui_runner.jobs.config_file import read_config
from tui_runner.jobs.conversion import described_source
from tui_runner.jobs.job import Job
from tui_runner.jobs.parameters import Parameter
from tui_runner.jobs.settings import AUTOMATIC, CHOSEN, SET_PREFIX, Settings, check_setting, resolve
from tui_runner.store.file_check import check_place
from tui_runner.system.files import with_short_home
from tui_runner.system.memory import memory_bound
from tui_runner.text.messages import shortened
from tui_runner.text.numbers import size
from tui_runner.tui.launcher.discovery import FoundJob, FoundParameter

OFFERED = {
    "threads": "items at once, over all workers",
    "workers": "processes, to use more cores",
    "max_memory": "of memory, such as 4GB or 80%",
    "rate": "items started a second",
    "per_host": "requests at once to one host",
    "retries": "further attempts after a failure",
    "timeout": "seconds that an attempt may take",
    "max_failures": "failed items, or 5%, that end it",
    "chunk_size": "items; automatic: 2–10 s of work",
    "open_chunks": "with workers at once",
}
"""Settings that the form offers, each with its unit or meaning. All other settings keep the values that the job, the
configuration and the environment give them."""

PARAMETERS = "parameters"
INPUT = "input and output"
SETTINGS = "how it runs"
"""Headings of the three sections of the form: `PARAMETERS`, `INPUT` and `SETTINGS`."""


@dataclass(frozen=True, slots=True)
class Field:
    """A line of the form. Its texts are not yet safe to show.

    Attributes:
        name: name of the parameter or setting.
        kind: `parameter`, `input`, `database`, `limit` or `setting`.
        unset: text about the value that is used while the field is empty.
        remark: type, unit and help of the field, as far as it has them.
        section: heading of the section that contains the field.
        check: raises `UserError` for an invalid text.
        secret: True to hide the typed text.
        required: True if a text has to be typed.
        of_items: True for a parameter of the function that makes the job's own items. An input makes it useless.
        warning: what the value that is used while the field is empty would do; empty if it does no harm.
    """

    name: str
    kind: str
    unset: str
    remark: str
    section: str
    check: Callable[[str], Any] = str
    secret: bool = False
    required: bool = False
    of_items: bool = False
    warning: str = ""

    @property
    def key(self) -> str:
        """The kind and name of the field, which identify its text in a draft."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Draft:
    """The texts that the user has typed into the form of a job, stored while the form shows another job or none.

    Attributes:
        typed: texts by `Field.key`, without empty ones.
        secrets: keys of the fields that are secret.
        first_items: text about the first items of the input; empty if they were not read or could not be read.
    """

    typed: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = frozenset()
    first_items: str = ""

    @property
    def without_secrets(self) -> dict[str, str]:
        """The typed texts that are not secret, by `Field.key`."""
        return {key: text for key, text in self.typed.items() if key not in self.secrets}


class Defaults:
    """The values of empty fields, for the jobs of a folder.

    Args:
        folder: folder of the configuration, of relative paths and of databases.
        environ: environment variables.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = environ

    def settings(self, declared: Mapping[str, object]) -> Mapping[str, object]:
        """Return the settings of a job that declares `declared`, by name.

        With a wrong configuration they are the defaults of tui-runner: the mistake is reported when the job starts.
        """
        try:
            return asdict(resolve(job=declared, config=read_config(self.folder), environ=self.environ))
        except UserError:
            return asdict(Settings())

    def from_environment(self, name: str) -> str | None:
        """Return the name of the environment variable for the parameter `name`; None if the variable is not set."""
        variable = f"{SET_PREFIX}{name.upper()}"
        return variable if self.environ.get(variable) is not None else None

    def database(self, job: str) -> Path:
        """Return the path of the database that a job uses while its field is empty."""
        return self.folder / f"{job}.duckdb"


def fields_of(job: Job, defaults: Defaults, *, makes_items: str = "", shared: str = "") -> list[Field]:
    """Return the fields of a loaded job in the order of the form.

    Args:
        job: the job.
        defaults: the values of empty fields.
        makes_items: name of the function that makes the job's items; empty if the name is not known.
        shared: a warning that the default database has a table of another job; empty for none.
    """
    beside_input = job.parameters_for(own_items=False)
    parameters = [_of_parameter(each, defaults, of_items=each not in beside_input) for each in job.parameters]
    return _fields(
        job.name, parameters, defaults, job.settings, has_items=job.has_items, makes_items=makes_items, shared=shared
    )


def fields_found(found: FoundJob, defaults: Defaults, *, shared: str = "") -> list[Field]:
    """Return the fields of a job whose source was read. They accept any text for a parameter."""
    parameters = [_of_source(each, defaults) for each in found.parameters]
    has_items = bool(found.makes_items)
    return _fields(
        found.name,
        parameters,
        defaults,
        found.settings,
        has_items=has_items,
        makes_items=found.makes_items,
        shared=shared,
    )


def _fields(
    name: str,
    parameters: Iterable[Field],
    defaults: Defaults,
    declared: Mapping[str, object],
    *,
    has_items: bool,
    makes_items: str,
    shared: str,
) -> list[Field]:
    parameters = list(parameters)
    source = f"{makes_items}(), the job's own items" if makes_items else "the job's own items" if has_items else ""
    what = "a file, a glob, range:0:100, sql:SELECT …"
    database = defaults.database(name)
    return [
        *(each for each in parameters if not each.of_items),
        Field("input", "input", source, what, INPUT, check_input, required=not has_items),
        *(each for each in parameters if each.of_items),
        Field("limit", "limit", "all items", "items from the first on", INPUT, _check_limit),
        Field(
            "database",
            "database",
            with_short_home(str(database)),
            "the DuckDB file that takes the rows",
            INPUT,
            lambda text: check_place(database.parent / text, create=True),
            warning=shared,
        ),
        *_of_settings(defaults.settings(declared)),
    ]


def _of_settings(values: Mapping[str, object]) -> Iterable[Field]:
    for name, hint in OFFERED.items():
        value = values[name]
        unset = str(value) if value is not None else AUTOMATIC if name in CHOSEN else "no limit"
        if name == "max_memory" and isinstance(value, str):
            hint = f"of this machine = {size(memory_bound(value) or 0)}"
        yield Field(name, "setting", unset, hint, SETTINGS, _checker(name))


def _of_parameter(parameter: Parameter, defaults: Defaults, *, of_items: bool) -> Field:
    variable = defaults.from_environment(parameter.name)
    default = "" if parameter.required else shortened(parameter.default_text, 60)
    return Field(
        parameter.name,
        "parameter",
        f"from ${variable}" if variable else default,
        _remark(parameter.kind, parameter.help, of_items=of_items),
        INPUT if of_items else PARAMETERS,
        parameter.convert,
        parameter.is_secret,
        parameter.required and variable is None,
        of_items,
    )


def _of_source(found: FoundParameter, defaults: Defaults) -> Field:
    variable = defaults.from_environment(found.name)
    return Field(
        found.name,
        "parameter",
        f"from ${variable}" if variable else shortened(found.default or "", 60),
        _remark(described_source(found.kind) if found.kind else "", found.help, of_items=found.of_items),
        INPUT if found.of_items else PARAMETERS,
        secret=found.secret,
        required=found.default is None and variable is None,
        of_items=found.of_items,
    )


def _remark(kind: str, help: str, *, of_items: bool) -> str:
    return " · ".join(part for part in (kind, help, "of the job's own items" if of_items else "") if part)


def check_input(text: str) -> str:
    """Return `text`, unless it names standard input.

    Raises:
        UserError: the input is standard input, from which the screen reads the keyboard.
    """
    if text == STANDARD_INPUT:
        raise UserError("standard input is the keyboard here; use: … | tui-runner run JOB --input -")
    return text


def _check_limit(text: str) -> int:
    if not text.isdecimal():
        raise UserError("a whole number, or nothing for all items")
    return int(text)


def _checker(name: str) -> Callable[[str], Any]:
    return lambda text: check_setting(name, text, where=name)
