"""Every action of the interface, once. Key bindings, footer, help screens and palettes are all made from this list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.binding import Binding
from textual.keys import key_to_character
from textual.screen import Screen

from tui_runner.tui.action import TYPED_IN, Place
from tui_runner.tui.dialog_actions import DIALOG_ACTIONS
from tui_runner.tui.query_actions import QUERY_ACTIONS
from tui_runner.tui.run_actions import RUN_ACTIONS

ACTIONS = (*RUN_ACTIONS, *QUERY_ACTIONS, *DIALOG_ACTIONS)
"""Every action, in the order in which footer and help show them."""

BY_ID = {action.id: action for action in ACTIONS}

Keys = Mapping[str, tuple[str, ...]]
"""The keys of each action, by its id: the defaults, and what the user changed."""

DEFAULT_KEYS: Keys = {action.id: action.keys for action in ACTIONS}

# Other names of Textual's are those of Unicode, which `key_to_character` turns into the character.
_SHOWN = {
    "space": "space",
    "plus": "+",
    "minus": "-",
    "slash": "/",
    "at": "@",
    "backslash": "\\",
    "underscore": "_",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "enter": "Enter",
    "escape": "Esc",
    "tab": "Tab",
    "backspace": "Backspace",
    "delete": "Del",
    "insert": "Ins",
    "home": "Home",
    "end": "End",
}


def shown_key(key: str) -> str:
    """A key as a person knows it: `?` for `question_mark`, `^p` for `ctrl+p`."""
    *modifiers, plain = key.split("+")
    prefix = "".join("^" if modifier == "ctrl" else f"{modifier}+" for modifier in modifiers)
    if plain[0] == "f" and plain[1:].isdigit():
        plain = plain.upper()
    return prefix + (_SHOWN.get(plain) or key_to_character(plain) or plain)


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


def changed_keys(keys: Keys) -> dict[str, str]:
    """The keymap for Textual, with what differs from the defaults: it applies all of it to every screen at each key."""
    return {name: ",".join(held) for name, held in keys.items() if held and held != DEFAULT_KEYS[name]}


def key_of(screen: Screen[Any], action: str) -> str:
    """The first key that does an action on this screen, as a person knows it."""
    found = {binding.binding.id: key for key, binding in reversed(screen.active_bindings.items())}
    # A field scrolls by the arrows, if it can; since it cannot, they go on to the dialog, which Textual does not say.
    return shown_key(found.get(action) or BY_ID[action].keys[0])


def keys_of(screen: Screen[Any], place: Place) -> str:
    """The keys of what can be done in a place, those that a footer would name, in one line."""
    named = [action for action in ACTIONS if action.place is place and action.footer is not None]
    return "   ".join(f"{key_of(screen, action.id)} {action.label}" for action in named)
