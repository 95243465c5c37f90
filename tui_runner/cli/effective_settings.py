"""Prints every setting with its effective value and its origin: `tui-runner config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

from tui_runner.errors import EXIT_OK
from tui_runner.jobs.config_file import read_config
from tui_runner.jobs.loading import load_job
from tui_runner.jobs.settings import ENVIRONMENT_PREFIX, INTERFACE_KEYS, Settings, resolve
from tui_runner.text.safe_text import safe_text


def print_settings(job: str | None, folder: Path, environ: Mapping[str, str], out: TextIO, *, as_json: bool) -> int:
    """Print the name, value and origin of each setting of a run that is started in `folder`.

    Args:
        job: job whose settings in `@job(...)` are included, for which its file is executed; None for no job.
        folder: folder in which the search for a configuration begins.
        environ: environment variables.
        out: stream for the lines.
        as_json: True for one JSON object per line.

    Raises:
        UserError: a setting is invalid, or the job cannot be loaded.
    """
    declared = {} if job is None else load_job(job, folder=folder).settings
    config = read_config(folder)
    values = asdict(resolve(job=declared, config=config, environ=environ))
    rows = [
        {"setting": each.name, "value": values[each.name], "origin": _origin(each.name, declared, config, environ)}
        for each in fields(Settings)
    ]
    named = {key.replace("-", "_"): value for key, value in config.items()}
    rows += [
        {"setting": key, "value": _plain(named[key]), "origin": getattr(config, "where", "configuration")}
        for key in sorted(INTERFACE_KEYS)
        if key in named
    ]
    if as_json:
        out.writelines(json.dumps(row) + "\n" for row in rows)
        return EXIT_OK
    shown = [(str(row["setting"]), _shown(row["value"]), str(row["origin"])) for row in rows]
    widths = [max(len(row[place]) for row in shown) for place in (0, 1)]
    for name, value, origin in shown:
        out.write(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {safe_text(origin)}\n")
    return EXIT_OK


def _origin(name: str, declared: Mapping[str, object], config: Mapping[str, object], environ: Mapping[str, str]) -> str:
    """Return the place that determines the value of a setting: the one with the highest priority."""
    variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
    if environ.get(variable, "").strip():
        return f"environment variable {variable}"
    if name in {key.replace("-", "_") for key in config}:
        return str(getattr(config, "where", "configuration"))
    return f"@job({name}=…)" if name in declared else "default"


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None) else json.loads(json.dumps(value, default=str))


def _shown(value: object) -> str:
    return "none" if value is None else safe_text(str(value), limit=60)
