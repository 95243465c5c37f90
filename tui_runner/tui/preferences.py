"""What the user's configuration says of the screens: theme, keys, notifications.

    [tool.tui-runner]            # in pyproject.toml; in ~/.config/tui-runner/config.toml without this line
    theme = "day"
    notify = false
    [tool.tui-runner.keys]       # there: [keys]
    pause_run = "f5"
    more_threads = ["plus", "t"]

What cannot be used is named and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tui_runner.errors import UserError
from tui_runner.jobs.config_file import read_config
from tui_runner.tui.state import State, state_file


@dataclass(frozen=True, slots=True)
class Preferences:
    """How the screens are to be.

    Attributes:
        state: what is remembered.
        theme: name of a theme; None for the default.
        keymap: keys with commas between, by action.
        notify: whether the terminal rings when a run ends that nobody looks at.
        complaints: what is wrong with the configuration, a line each.
    """

    state: State
    theme: str | None = None
    keymap: Mapping[str, str] = field(default_factory=dict)
    notify: bool = True
    complaints: tuple[str, ...] = ()


def read_preferences(folder: Path, environ: Mapping[str, str]) -> Preferences:
    """The preferences in force in `folder`; a theme of the configuration goes before the one chosen last."""
    state = State(state_file(environ))
    try:
        config = read_config(folder, environ)
    except UserError as error:
        return Preferences(state, state.theme, complaints=(str(error),))
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
    return Preferences(state, theme or state.theme, keymap, notify, tuple(complaints))
