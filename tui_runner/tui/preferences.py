"""The user's configuration of the screens, and the state that the interface remembers between two starts.

The state is stored in `state.json` in the user's state folder (`$XDG_STATE_HOME/tui-runner`). Losing the state does no
harm, so errors in reading and writing the file are ignored.

The configuration is a table of `pyproject.toml`, or the file `~/.config/tui-runner/config.toml`:

    [tool.tui-runner]            # this line is left out in config.toml
    theme = "day"
    notify = false
    [tool.tui-runner.keys]       # in config.toml: [keys]
    pause_run = "f5"
    more_threads = ["plus", "t"]

Invalid settings of the screens are reported and ignored.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tui_runner.errors import UserError
from tui_runner.jobs.config_file import read_config
from tui_runner.system.files import open_own, replaced, state_folder
from tui_runner.text.messages import plain

_RECENT = 10
"""Number of jobs that are remembered for the launcher. They fill about half of a screen of 24 lines; the other half is
for the jobs of the current folder."""


def state_file() -> Path:
    """Return the path of the file in which the state is stored. The file may not exist."""
    return state_folder() / "state.json"


class State:
    """The state that the interface remembers, stored in one file.

    Args:
        path: the file. The first change creates it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def theme(self) -> str | None:
        """The name of the theme that was chosen last, or None if none was chosen."""
        theme = self._read().get("theme")
        return theme if isinstance(theme, str) else None

    def remember_theme(self, name: str) -> None:
        """Store the theme for the next start."""
        self._write(self._read() | {"theme": name})

    @property
    def recent(self) -> list[str]:
        """The jobs that were started last, the newest first. Each is a text from which `load_job` loads the job."""
        recent = self._read().get("recent")
        return [job for job in recent if isinstance(job, str)][:_RECENT] if isinstance(recent, list) else []

    def remember_job(self, job: str) -> None:
        """Store a job as the one that was started last."""
        others = [other for other in self.recent if other != job]
        self._write(self._read() | {"recent": [job, *others][:_RECENT]})

    def _read(self) -> dict[str, Any]:
        try:
            with open(self._path, "rb", opener=open_own) as file:
                values = json.load(file)
        except (OSError, ValueError, RecursionError):  # no file yet, or a damaged one
            return {}
        return values if isinstance(values, dict) else {}

    def _write(self, values: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # losing the state does no harm
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replaced(self._path) as stream:
                stream.write(json.dumps(values).encode())


@dataclass(frozen=True, slots=True)
class Preferences:
    """Preferences of the screens.

    Attributes:
        state: the remembered state.
        theme: name of the configured theme, or else of the theme that was chosen last; None for the default theme.
        keymap: the user's keys for each action, separated by commas.
        notify: True to ring the bell of a terminal without the focus when a run ends.
        complaints: mistakes in the configuration, one line for each.
        theme_from: the file that names `theme`, and the name of the entry in it; empty if `theme` is None.
        notify_from: the same for `notify`.
        keys_from: the same for `keymap`.
    """

    state: State
    theme: str | None = None
    keymap: Mapping[str, str] = field(default_factory=dict)
    notify: bool = True
    complaints: tuple[str, ...] = ()
    theme_from: str = ""
    notify_from: str = ""
    keys_from: str = ""


def read_preferences(folder: Path) -> Preferences:
    """Return the preferences of the user in `folder`.

    A theme in the configuration takes precedence over the theme that was chosen last.
    """
    state = State(state_file())
    chosen = state.theme
    remembered = "" if chosen is None else f"{plain(state_file())} theme"
    try:
        config = read_config(folder)
    except UserError as error:
        return Preferences(state, chosen, complaints=(str(error),), theme_from=remembered)
    complaints: list[str] = []
    theme = config.get("theme")
    if theme is not None and not isinstance(theme, str):
        complaints.append(f"{config.where} theme: must be the name of a theme")
        theme = None
    notify = config.get("notify", True)
    if not isinstance(notify, bool):
        complaints.append(f"{config.where} notify: must be true or false")
        notify = True
    keymap: dict[str, str] = {}
    keys = config.get("keys", {})
    if not isinstance(keys, dict):
        complaints.append(f"{config.where} keys: must be a table of actions and keys")
        keys = {}
    for action, value in keys.items():
        parts = value if isinstance(value, list) else [value]
        if all(isinstance(part, str) for part in parts):
            keymap[action] = ",".join(parts)
        else:
            complaints.append(f"{config.where} keys.{action}: must be a key or a list of keys")
    return Preferences(
        state, theme or chosen, keymap, notify, tuple(complaints),
        theme_from=f"{config.where} theme" if theme else remembered,
        notify_from=f"{config.where} notify" if "notify" in config else "",
        keys_from=f"{config.where} keys" if keymap else "",
    )  # fmt: skip
