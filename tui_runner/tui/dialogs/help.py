"""The help screen: the keys and what they do, made from the list of actions."""

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
"""Cells of the column of keys, with two blanks after them."""
_KEYS_SHOWN = 2
"""Keys of an action that are named; more do not fit."""


_EXPLAINED = {
    FEW_FAILED: "few failed (up to a tenth)",
    MANY_FAILED: "many failed, or all",
    ChunkState.WAITING: "waiting (the table says for what)",
    MOVED: "moved (to other chunks)",
}
"""Meanings of signs whose name does not say enough."""


def help_text(keys: Keys, places: Collection[Place], width: int) -> Content:
    """Return every action beside its keys, by where it applies; `width` cells wide.

    The places of the screen that help was asked for on come first, then those of the screens it shares places with;
    where there are chunks, what their glyphs mean.
    """
    places = _in_order(tuple(places))
    actions = [action for action in ACTIONS if action.place in places]
    shown = {action.id: " ".join(shown_key(key) for key in keys[action.id][:_KEYS_SHOWN]) or "–" for action in actions}
    lines: list[Content] = []
    if Place.CHUNK in places:
        lines.append(Content.styled("states of a chunk", "bold"))
        told = [f"{glyph} {_EXPLAINED.get(name, name)}" for name, (glyph, _) in LOOKS.items()]
        glyphs = "   ".join(each.replace(" ", "\N{NO-BREAK SPACE}") for each in told)
        lines += [Content(line) for line in wrap(glyphs, max(width, 10), break_on_hyphens=False)]
        lines.append(Content(""))
    for place in places:
        lines.append(Content.styled(str(place), "bold"))
        for action in (action for action in actions if action.place is place):
            column = f"{shown[action.id]:<{_KEYS - 2}}  "
            # Longer keys than there is room for shift the first line of what they do.
            indent = " " * (len(column) - _KEYS)
            first, *rest = wrap(action.help, max(width - _KEYS, 10), initial_indent=indent)
            lines.append(Content.assemble((column, "$text-primary"), first.removeprefix(indent)))
            lines += [Content(" " * _KEYS + line) for line in rest]
        lines.append(Content(""))
    return Content("\n").join(lines[:-1])


def _in_order(places: Sequence[Place]) -> list[Place]:
    """Return the places that help describes: these, then those of screens that share some of them."""
    if Place.LAUNCHER in places:
        # The launcher closes before a run begins: of the other screens it has the text reader alone.
        return [*places, Place.READER, Place.ALWAYS]
    related = {place for row in SCREENS if not set(row).isdisjoint(places) for place in row} - {Place.LAUNCHER}
    return [*places, *(place for place in Place if place in related and place not in places)]


class Help(ListNavigation, Dialog[None]):
    """The keys of every action.

    Args:
        keys: the keys in force.
        places: those of the screen that it is for.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.MANUAL, Place.LIST)]
    OUTSIDE = "close"

    def __init__(self, keys: Keys, places: Collection[Place] = tuple(Place)) -> None:
        super().__init__()
        self._keys = keys
        self._places = places

    def compose(self) -> ComposeResult:
        """Yield the text in a box that scrolls."""
        with Vertical(id="box"):
            with VerticalScroll():
                yield Static(id="text")
            yield Static(id="consequence")

    def on_mount(self) -> None:
        """Name the keys."""
        self.query_one("#consequence", Static).update(Content(f"{key_of(self, 'manual.close')} close   ↓ ↑ scroll"))

    def on_resize(self) -> None:
        """Wrap the text anew."""
        self.call_after_refresh(self._wrap)

    def _wrap(self) -> None:
        text = self.query_one("#text", Static)
        # One cell less, for the scroll bar that may come or go.
        text.update(help_text(self._keys, self._places, text.size.width - 1))

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)

    def list_in_use(self) -> Movable:
        """Return the text."""
        return Scrolled(self.query_one(VerticalScroll))
