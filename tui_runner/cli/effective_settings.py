"""Prints every setting and job parameter with its effective value and its origin: `tui-runner config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TextIO

from tui_runner.cli.progress_lines import shown_path
from tui_runner.engine.planning.request import guessed_redaction
from tui_runner.errors import EXIT_OK, ExitCode
from tui_runner.jobs.config_file import read_config
from tui_runner.jobs.job import Job
from tui_runner.jobs.loading import load_job
from tui_runner.jobs.parameters import Parameter
from tui_runner.jobs.settings import AUTOMATIC, CHOSEN, ENVIRONMENT_PREFIX, SET_PREFIX, Settings, resolve
from tui_runner.system.memory import memory_bound
from tui_runner.text.messages import shortened, type_name
from tui_runner.text.numbers import size
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import DEFAULT_KEYS
from tui_runner.tui.actions.keymap import resolve as resolve_keys
from tui_runner.tui.preferences import read_preferences
from tui_runner.tui.themes import find_themes

_UNITS = {
    "chunk_size": "items",
    "open_chunks": "chunks with workers at once",
    "threads": "items at once, over all workers",
    "workers": "processes",
    "retries": "attempts after the first one failed",
    "retry_budget": "retries in any 10 s, for each item whose first attempt failed then; 1 more for each item that "
    "succeeded, and 1 a second for each thread",
    "timeout": "seconds that an attempt may take",
    "rate": "items started a second, over all workers",
    "per_host": "requests at once to one host",
    "delay": "seconds between requests to a host",
    "max_memory": "bytes",
    "max_failures": "failed items, or a share of the items",
    "grace": "seconds for items in flight at a stop",
    "max_input_bytes": "bytes",
    "item_text": "the ledger has the text of each item",
}
"""Units of the settings that are numbers or shares."""
_SHORT_UNITS = {
    "open_chunks": "chunks at once",
    "threads": "items at once",
    "retries": "after a failed attempt",
    "retry_budget": "of items failed in 10 s",
    "timeout": "seconds for an attempt",
    "rate": "items started a second",
    "per_host": "requests at once",
    "delay": "seconds, for each host",
    "max_failures": "items, or a share",
    "grace": "seconds at a stop",
    "item_text": "in the ledger",
    "retry_on": "are retried too",
    "host": "gives an item's host",
    "notify": "bell at the end",
}
"""Units as text, so short that a line with its origin fits into 80 columns."""
_VARIABLE, _JOB_NAME = "environment variable ", "name of the job"
"""Beginnings of the origins of values."""
_NOT_GIVEN = "not given"
"""Origin of a parameter that a run needs and that has no value."""
_LONGEST_NAME = 15
_LONGEST_UNIT = 23
_LONGEST_VALUE = 16
"""Most characters of the columns of names, units and values. A longer text moves only the rest of its own line."""
_LINE = 80
"""Most characters of a line, except that of the database: a path that is cut cannot be copied."""
_LONGEST_OWN_NAME = 24
_LONGEST_ORIGIN = 30
"""Most characters of the name of a job parameter and of any origin. They leave 22 to the value."""


def print_settings(
    job: str | None, folder: Path, environ: Mapping[str, str], out: TextIO, *, as_json: bool
) -> ExitCode:
    """Print the name, value, unit and origin of each setting of a run that is started in `folder`.

    With a job, print its database, the settings that only `@job` has, and its parameters as well.

    Args:
        job: job whose settings in `@job(...)` are included; its file is executed. None for no job.
        folder: folder in which the search for a configuration begins.
        environ: environment variables.
        out: stream for the lines.
        as_json: True for one JSON object per line.

    Raises:
        UserError: a setting or a parameter is invalid, or the job cannot be loaded.
    """
    loaded = None if job is None else load_job(job, folder=folder, redact=guessed_redaction({}, environ))
    declared = {} if loaded is None else loaded.settings
    config = read_config(folder)
    values = asdict(resolve(job=declared, config=config, environ=environ))
    rows = [] if loaded is None else [_database(loaded, folder)]
    for each in fields(Settings):
        row = {
            "setting": each.name,
            "value": values[each.name],
            "unit": _unit(each.name, values[each.name]),
            "origin": _origin(each.name, declared, config, environ),
        }
        if each.name == "table" and loaded is not None and row["value"] is None:
            row |= {"value": loaded.name, "origin": _JOB_NAME}
        rows.append(row)
    if loaded is not None:
        rows += _only_declared(loaded)
        rows += [_parameter(each, environ) for each in loaded.parameters]
    rows += _screen_settings(folder, environ, as_json=as_json)
    if as_json:
        out.writelines(json.dumps(row) + "\n" for row in rows)
        return EXIT_OK
    shown = [_texts(row, folder) for row in rows]
    name_width = min(max(len(name) for name, *_ in shown), _LONGEST_NAME)
    value_width = min(max(len(value) for _, value, *_ in shown), _LONGEST_VALUE)
    unit_width = min(max(len(unit) for *_, unit, _ in shown), _LONGEST_UNIT)
    for name, value, unit, origin in shown:
        middle = f"{value:<{value_width}}  {unit}" if unit else value
        begin = f"{name:<{name_width}}  {middle:<{value_width + 2 + unit_width}}"
        room = _LINE - len(origin) - 2
        if len(begin) > room and name != "database":
            begin = f"{shortened(begin.rstrip(), room):<{room}}"
        out.write(f"{begin}  {origin}\n")
    return EXIT_OK


def _texts(row: Mapping[str, object], folder: Path) -> tuple[str, str, str, str]:
    """Return the name, value, unit and origin of a setting as short texts; JSON has them in full."""
    name, value, origin = str(row["setting"]), row["value"], str(row["origin"])
    if name == "database":
        value = shown_path(Path(str(value)), folder.absolute())
    unit = str(row["unit"])
    return (
        name if name.startswith("keys.") else safe_text(name, limit=_LONGEST_OWN_NAME),
        "needed" if origin == _NOT_GIVEN else _shown(name, value),
        safe_text(_SHORT_UNITS.get(name, unit) if unit else ""),
        safe_text(_short_origin(origin), limit=_LONGEST_ORIGIN),
    )


def _short_origin(origin: str) -> str:
    """Return an origin in a few words: `$TUI_RUNNER_THREADS`, `@job`, or the name of a file without its folder."""
    if origin.startswith(_VARIABLE):
        return f"${origin.removeprefix(_VARIABLE)}"
    if origin.startswith("@job("):
        return "@job"
    if origin.startswith(_JOB_NAME):
        return _JOB_NAME
    if origin.startswith("default"):
        return "default"
    return safe_text(Path(origin.partition(" [")[0]).name)


def _database(job: Job, folder: Path) -> dict[str, object]:
    where = f"{_JOB_NAME}, in the current folder; --db FILE names another"
    return {"setting": "database", "value": str(folder / f"{job.name}.duckdb"), "unit": "", "origin": where}


def _only_declared(job: Job) -> list[dict[str, object]]:
    """Return the rows of the settings that only the decorator can give."""
    errors = job.retry_on if isinstance(job.retry_on, tuple) else (job.retry_on,)
    retried = None if job.retry_on is None else ", ".join(map(_name_of, errors))
    by_function = callable(job.host)
    rows: list[tuple[str, object, str, bool]] = [
        ("retry_on", retried, "errors that are retried too", job.retry_on is not None),
        ("host", _name_of(job.host) if by_function else job.host, "gives the host of an item", job.host is not None),
        ("frontier", job.frontier, "items may add items", job.frontier),
    ]
    return [
        {
            "setting": name,
            "value": value,
            "unit": "" if value is None else unit,
            "origin": f"@job({name}=…)" if declared else "default",
        }
        for name, value, unit, declared in rows
    ]


def _name_of(value: object) -> str:
    """Return the name of an exception type, or of a function with parentheses."""
    name = str(getattr(value, "__name__", None) or type_name(value))
    return name if isinstance(value, type) else f"{name}()"


def _parameter(parameter: Parameter, environ: Mapping[str, str]) -> dict[str, object]:
    """Return the row of a job parameter: its value as a user would type it, `***` for a secret.

    Raises:
        UserError: the environment variable of the parameter has a value that cannot be converted.
    """
    variable = f"{SET_PREFIX}{parameter.name.upper()}"
    text = environ.get(variable)
    value: str | None = parameter.default_text
    origin = "default of the function"
    if text is not None:
        value, origin = replace(parameter, default=parameter.convert(text)).default_text, f"{_VARIABLE}{variable}"
    elif parameter.required:
        value, origin = None, _NOT_GIVEN
    return {"setting": f"set.{parameter.name}", "value": value, "unit": parameter.kind, "origin": origin}


def _screen_settings(folder: Path, environ: Mapping[str, str], *, as_json: bool) -> list[dict[str, object]]:
    """Return the rows of the settings for the screens: the theme, notifications, and the keys of actions.

    As text, the keys are those that differ from the defaults, because the help screens list more than a hundred.
    """
    preferences, themes = read_preferences(folder), find_themes()
    variable = f"{ENVIRONMENT_PREFIX}THEME"
    theme, origin = preferences.theme, preferences.theme_from.removesuffix(" theme") or "default"
    if environ.get(variable):
        theme, origin = environ[variable], f"{_VARIABLE}{variable}"
    used = themes.preferred(theme)
    note = "" if theme in (None, used) else f"because there is no theme {theme!r}"
    keys, _ = resolve_keys(preferences.keymap)
    from_file = preferences.keys_from.removesuffix(" keys")
    changed = [action for action in keys if keys[action] != DEFAULT_KEYS[action]]
    listed = keys if as_json else changed
    rows: list[dict[str, object]] = [
        {"setting": "theme", "value": used, "unit": note, "origin": origin},
        {
            "setting": "notify",
            "value": preferences.notify,
            "unit": "ring the bell at the end",
            "origin": preferences.notify_from.removesuffix(" notify") or "default",
        },
    ]
    for action in listed:
        origin = from_file if action in changed else "default"
        rows.append({"setting": f"keys.{action}", "value": ",".join(keys[action]), "unit": "", "origin": origin})
    if not as_json:
        rest = len(keys) - len(changed)
        rows.append({"setting": "keys", "value": rest, "unit": "as in the help", "origin": "default"})
    return rows


def _unit(name: str, value: object) -> str:
    """Return the unit of a value; for memory, with the size in words."""
    if value is None:
        return ""
    if name == "max_memory" and isinstance(value, str):
        return f"of this machine = {size(memory_bound(value) or 0)}"
    unit = _UNITS.get(name, "")
    return f"{unit} = {size(value)}" if unit == "bytes" and isinstance(value, int) else unit


def _origin(name: str, declared: Mapping[str, object], config: Mapping[str, object], environ: Mapping[str, str]) -> str:
    """Return the place that determines the value of a setting: the one with the highest priority."""
    variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
    if environ.get(variable, "").strip():
        return f"{_VARIABLE}{variable}"
    if name in {key.replace("-", "_") for key in config}:
        return str(getattr(config, "where", "configuration"))
    return f"@job({name}=…)" if name in declared else "default"


def _shown(name: str, value: object) -> str:
    if value is None:
        return AUTOMATIC if name in CHOSEN else "none"
    return safe_text(str(value), limit=4_000 if name == "database" else 60)
