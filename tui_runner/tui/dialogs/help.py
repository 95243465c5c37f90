"""The help screen, which lists keys and their effects. It is made from the list of actions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_runner.engine.states import ChunkState
from tui_runner.tui.actions import ACTIONS, Keys, bindings, key_of, shown_key
from tui_runner.tui.actions.list_keys import ListNavigation, Movable, Scrolled
from tui_runner.tui.actions.model import SCREENS, Place
from tui_runner.tui.dialogs import Dialog
from tui_runner.tui.widgets.paint import FEW_FAILED, LOOKS, MANY_FAILED, MOVED

_KEYS = 11
"""Cells of the column of keys, including two blanks after the keys. Nine are enough for two keys of most actions."""
_KEYS_SHOWN = 2
"""Most keys of an action that are shown. The names of more keys do not fit into the column."""


_EXPLAINED = {
    FEW_FAILED: "few failed (up to a tenth)",
    MANY_FAILED: "many failed, or all",
    ChunkState.WAITING: "waiting (the table says for what)",
    MOVED: "moved (to other chunks)",
}
"""Explanations of looks of chunks whose names do not explain themselves."""


def help_text(keys: Keys, places: Collection[Place], width: int) -> Content:
    """Return the text of the help screen: the keys and the help of each action, grouped by place.

    The places of the current screen come first. Then come other places of the screens that have one of these places in
    common with it. The text of a screen with chunks begins with an explanation of their glyphs.

    Args:
        keys: the keys of every action.
        places: the places of the current screen.
        width: cells of a line.
    """
    places = _in_order(tuple(places))
    actions = [action for action in ACTIONS if action.place in places]
    shown = {action.id: " ".join(shown_key(key) for key in keys[action.id][:_KEYS_SHOWN]) or "–" for action in actions}
    lines: list[Content] = []
    if Place.CHUNK in places:
        lines.append(Content.styled("states of a chunk", "bold"))
        meanings = [f"{glyph} {_EXPLAINED.get(name, name)}" for name, (glyph, _) in LOOKS.items()]
        glyphs = "   ".join(each.replace(" ", "\N{NO-BREAK SPACE}") for each in meanings)
        lines += [Content(line) for line in wrap(glyphs, max(width, 10), break_on_hyphens=False)]
        lines.append(Content(""))
    for place in places:
        lines.append(Content.styled(str(place), "bold"))
        for action in (action for action in actions if action.place is place):
            column = f"{shown[action.id]:<{_KEYS - 2}}  "
            # If the keys are too long for the column, the first line of their description begins further right.
            indent = " " * (len(column) - _KEYS)
            first, *rest = wrap(action.help, max(width - _KEYS, 10), initial_indent=indent)
            lines.append(Content.assemble((column, "$text-primary"), first.removeprefix(indent)))
            lines += [Content(" " * _KEYS + line) for line in rest]
        lines.append(Content(""))
    return Content("\n").join(lines[:-1])


def _in_order(places: Sequence[Place]) -> list[Place]:
    """Return the places to describe: `places`, then the other places of all screens that have one of `places`."""
    if Place.LAUNCHER in places:
        # The launcher is closed before a run begins, so it opens none of the screens of a run but the reader.
        return [*places, Place.READER, Place.ALWAYS]
    related = {place for row in SCREENS if not set(row).isdisjoint(places) for place in row} - {Place.LAUNCHER}
    return [*places, *(place for place in Place if place in related and place not in places)]


class Help(ListNavigation, Dialog[None]):
    """The help screen.

    Args:
        keys: the keys of every action.
        places: places of the screen from which the help screen was opened.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.MANUAL, Place.LIST)]
    OUTSIDE = "close"

    def __init__(self, keys: Keys, places: Collection[Place] = tuple(Place)) -> None:
        super().__init__()
        self._keys = keys
        self._places = places

    def compose(self) -> ComposeResult:
        """Yield the text, which scrolls, and the line with the keys of the help screen."""
        with Vertical(id="box"):
            with VerticalScroll():
                yield Static(id="text")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """Show the keys of the help screen itself."""
        self.query_one("#consequence", Static).update(Content(f"{key_of(self, 'manual.close')} close   ↓ ↑ scroll"))

    def on_resize(self) -> None:
        """Wrap the text for the new size."""
        self.call_after_refresh(self._wrap)

    def _wrap(self) -> None:
        text = self.query_one("#text", Static)
        # A scroll bar may take one cell.
        text.update(help_text(self._keys, self._places, text.size.width - 1))

    def action_close(self) -> None:
        """Close the help screen."""
        self.dismiss(None)

    def list_in_use(self) -> Movable:
        """Return the text, which the keys of lists scroll."""
        return Scrolled(self.query_one(VerticalScroll))
