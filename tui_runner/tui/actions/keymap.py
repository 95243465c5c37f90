"""Applies the keymap of the user to the actions. Wrong entries are reported and ignored, and all others are used.

A keymap maps the id of an action to keys separated by commas: `{"pause_run": "space,f5", "query.run": "f9"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from unicodedata import name as unicode_name

from textual.keys import KEY_NAME_REPLACEMENTS, key_to_character

from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import BY_ID, DEFAULT_KEYS, Keys
from tui_runner.tui.actions.model import TYPED_IN, meet

RESERVED = frozenset({"ctrl+c"})
"""Keys that no action may have. Ctrl-C leaves the application on every screen, so that the user can always leave."""
_EDITING = frozenset({"enter", "tab", "backspace", "delete", "up", "down", "left", "right", "home", "end"})
"""Keys that a text field needs, besides the keys that type a character."""


def resolve(keymap: Mapping[str, str]) -> tuple[Keys, list[str]]:
    """Return the keys of every action under `keymap`, and one line for each mistake in `keymap`.

    An entry with a mistake is ignored as a whole. An entry is a mistake if it names an unknown action, no key, a
    reserved key, or a key that text fields of that place need. It is also a mistake if another action of the same
    screen has one of its keys, by default or by an earlier entry. The action then has those of its default keys that no
    other action has.
    """
    keys: dict[str, tuple[str, ...]] = dict(DEFAULT_KEYS)
    complaints: list[str] = []
    wanted: dict[str, tuple[str, ...]] = {}
    for name, text in keymap.items():
        if name not in BY_ID:
            near = get_close_matches(name, BY_ID, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            complaints.append(f"keymap: there is no action {safe_text(name, limit=40)!r}{hint}")
            continue
        named = tuple(_key(part.strip()) for part in text.split(",") if part.strip())
        if not named:
            complaints.append(f"keymap: no key for {name}")
        elif taken := RESERVED.intersection(named):
            complaints.append(f"keymap: {name} cannot have {min(taken)}, which always quits")
        elif BY_ID[name].place in TYPED_IN and (typing := [key for key in named if _types(key)]):
            complaints.append(f"keymap: {name} cannot have {typing[0]}, which the text that is typed there needs")
        else:
            wanted[name] = named
    # Actions with new keys give up their default keys first, so that two actions can exchange their keys.
    for name in wanted:
        keys[name] = ()
    for name, named in wanted.items():
        rivals = {other: used for other, used in keys.items() if meet(BY_ID[name].place, BY_ID[other].place)}
        clash = next(((key, other) for key in named for other, used in rivals.items() if key in used), None)
        if clash is None:
            keys[name] = named
        else:
            complaints.append(f"keymap: {name} cannot have {clash[0]}, which is {clash[1]}'s")
            keys[name] = _free(DEFAULT_KEYS[name], rivals)
    return keys, complaints


def _key(text: str) -> str:
    """Return Textual's name of a key. The user may also write a punctuation mark itself, such as `?`."""
    if len(text) > 1:
        return text.lower()
    if text.isalnum():
        return text
    name = unicode_name(text, "").lower().replace("-", "_").replace(" ", "_")
    return KEY_NAME_REPLACEMENTS.get(name, name)


def _types(key: str) -> bool:
    """Return True if a text field needs this key, because the key types a character or edits text."""
    return key in _EDITING or key_to_character(key) is not None


def _free(default: tuple[str, ...], keys: Keys) -> tuple[str, ...]:
    """Return those keys of `default` that no action has in `keys`."""
    taken = {key for used in keys.values() for key in used}
    return tuple(key for key in default if key not in taken)
