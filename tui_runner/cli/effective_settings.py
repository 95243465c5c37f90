"""Prints every setting with its effective value, its unit and its origin: `tui-runner config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

from tui_runner.cli.progress_lines import shown_path
from tui_runner.errors import EXIT_OK, ExitCode
from tui_runner.jobs.config_file import read_config
from tui_runner.jobs.job import Job
from tui_runner.jobs.loading import load_job
from tui_runner.jobs.settings import AUTOMATIC, CHOSEN, ENVIRONMENT_PREFIX, Settings, resolve
from tui_runner.system.memory import memory_bound
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
    "notify": "bell at the end",
}
"""Units as text, so short that a line with its origin fits into 80 columns."""
_VARIABLE, _JOB_NAME = "environment variable ", "name of the job"
"""Beginnings of the origins of values."""
_LONGEST_UNIT = 23
_LONGEST_VALUE = 16
"""Most characters of the columns of units and values. A longer text moves only the rest of its own line."""


def print_settings(
    job: str | None, folder: Path, environ: Mapping[str, str], out: TextIO, *, as_json: bool
) -> ExitCode:
    """Print the name, value, unit and origin of each setting of a run that is started in `folder`.

    With a job, print its database as well.

    Args:
        job: job whose settings in `@job(...)` are included; its file is executed. None for no job.
        folder: folder in which the search for a configuration begins.
        environ: environment variables.
        out: stream for the lines.
        as_json: True for one JSON object per line.

    Raises:
        UserError: a setting is invalid, or the job cannot be loaded.
    """
    loaded = None if job is None else load_job(job, folder=folder)
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
    rows += _screen_settings(folder, environ, as_json=as_json)
    if as_json:
        out.writelines(json.dumps(row) + "\n" for row in rows)
        return EXIT_OK
    shown = [_texts(row, folder) for row in rows]
    name_width = max(len(name) for name, *_ in shown)
    value_width = min(max(len(value) for _, value, *_ in shown), _LONGEST_VALUE)
    unit_width = min(max(len(unit) for *_, unit, _ in shown), _LONGEST_UNIT)
    for name, value, unit, origin in shown:
        if len(value) > value_width and not unit:
            line = f"{name:<{name_width}}  {value:<{value_width + 2 + unit_width}}  {origin}"
        else:
            line = f"{name:<{name_width}}  {value:<{value_width}}  {unit:<{unit_width}}  {origin}"
        out.write(line + "\n")
    return EXIT_OK


def _texts(row: Mapping[str, object], folder: Path) -> tuple[str, str, str, str]:
    """Return the name, value, unit and origin of a setting as short texts; JSON has them in full."""
    name, value, origin = str(row["setting"]), row["value"], str(row["origin"])
    if name == "database":
        value = shown_path(Path(str(value)), folder.absolute())
    unit = str(row["unit"])
    return name, _shown(name, value), safe_text(_SHORT_UNITS.get(name, unit) if unit else ""), _short_origin(origin)


def _short_origin(origin: str) -> str:
    """Return an origin in a few words: `$TUI_RUNNER_THREADS`, `@job`, or the name of a file without its folder."""
    if origin.startswith(_VARIABLE):
        return f"${origin.removeprefix(_VARIABLE)}"
    if origin.startswith("@job("):
        return "@job"
    if origin.startswith(_JOB_NAME):
        return _JOB_NAME
    return safe_text(Path(origin.partition(" [")[0]).name)


def _database(job: Job, folder: Path) -> dict[str, object]:
    where = f"{_JOB_NAME}, in the current folder; --db FILE names another"
    return {"setting": "database", "value": str(folder / f"{job.name}.duckdb"), "unit": "", "origin": where}


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
