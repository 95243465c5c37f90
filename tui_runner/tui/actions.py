"""Every action of the interface, once. Key bindings, footer, help screens and palettes are all made from this list."""

from __future__ import annotations

from collections.abc import Mapping

from textual.binding import Binding

from tui_runner.tui.action import TYPED_IN, Place
from tui_runner.tui.query_actions import QUERY_ACTIONS
from tui_runner.tui.run_actions import RUN_ACTIONS

ACTIONS = (*RUN_ACTIONS, *QUERY_ACTIONS)
"""Every action, in the order in which footer and help show them."""

BY_ID = {action.id: action for action in ACTIONS}

Keys = Mapping[str, tuple[str, ...]]
"""The keys of each action, by its id: the defaults, and what the user changed."""

DEFAULT_KEYS: Keys = {action.id: action.keys for action in ACTIONS}

_SHOWN = {
    "space": "space",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "question_mark": "?",
    "slash": "/",
    "comma": ",",
    "full_stop": ".",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "enter": "Enter",
    "escape": "Esc",
    "home": "Home",
    "end": "End",
}


def shown_key(key: str) -> str:
    """A key as a person knows it: `?` for `question_mark`, `^p` for `ctrl+p`."""
    *modifiers, plain = key.split("+")
    prefix = "".join("^" if modifier == "ctrl" else f"{modifier}+" for modifier in modifiers)
    if plain[0] == "f" and plain[1:].isdigit():
        plain = plain.upper()
    return prefix + _SHOWN.get(plain, plain)


def bindings(*places: Place) -> list[Binding]:
    """Bindings of the actions that apply in these places, with their default keys."""
    return [
        Binding(
            ",".join(action.keys),
            action.method,
            action.label,
            show=action.footer is not None,
            priority=action.place in TYPED_IN and not action.yields,
            id=action.id,
        )
        for action in ACTIONS
        if action.place in places
    ]
