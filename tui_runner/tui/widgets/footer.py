"""The footer of a screen, a line with its most important keys. A click on a key carries out the key's action."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from textual import events
from textual.message import Message

from tui_runner.tui.actions import ACTIONS, Keys, shown_key, types_a_character
from tui_runner.tui.actions.model import DASHBOARD, Action, Place
from tui_runner.tui.widgets.paint import Line, PaintedWidget, Span

_GAP = "  "
_NAMED = 1
"""Rank of an action that is in the footer only while the screen has a label for it. The screen sets such a label when
the user needs the key, such as `follow` after the cursor has left the run. So narrow footers keep the key: only `quit`
and others of rank 0 are more important."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One or several actions with one label, such as `+/- threads`."""

    actions: tuple[Action, ...]
    keys: str
    label: str

    @property
    def cells(self) -> int:
        return len(self.keys) + 1 + len(self.label)


def entries(
    keys: Keys,
    labels: Mapping[str, str],
    width: int,
    places: Collection[Place] = DASHBOARD,
    first: str | None = None,
    typing: bool = False,
) -> list[_Entry]:
    """Return the entries of a footer that fit into `width` cells, in the order of `ACTIONS`.

    Actions with the highest ranks are omitted first. An action without a rank has an entry only if `labels` has one
    for it.

    Args:
        keys: the keys of every action.
        labels: labels by the actions' ids, in place of the usual ones; an empty label hides the action.
        width: cells of the footer.
        places: the places whose actions are shown.
        first: id of the action that is omitted last; None to follow the ranks alone.
        typing: True while the user types text, to leave out keys that type a character.
    """
    named = [
        action
        for action in ACTIONS
        if (action.footer is not None or action.id in labels)
        and _shown_key(keys[action.id], typing)
        and action.place in places
    ]
    every = []
    for label, group in groupby(named, key=lambda action: labels.get(action.id, action.label)):
        if not label:
            continue
        actions = tuple(group)
        every.append(
            _Entry(actions, "/".join(shown_key(_shown_key(keys[action.id], typing)) for action in actions), label)
        )
    kept = []
    room = width - 1
    for entry in sorted(every, key=lambda entry: -1 if entry.actions[0].id == first else _rank(entry)):
        if entry.cells + len(_GAP) <= room:
            kept.append(entry)
            room -= entry.cells + len(_GAP)
    return [entry for entry in every if entry in kept]


def _shown_key(keys: Sequence[str], typing: bool) -> str:
    return next((key for key in keys if not (typing and types_a_character(key))), "")


def _rank(entry: _Entry) -> int:
    rank = entry.actions[0].footer
    return _NAMED if rank is None else rank


class KeyLine(PaintedWidget):
    """The footer of a screen.

    Args:
        keys: the keys of every action.
        places: the places whose actions are shown.
        id: id of the widget.
    """

    class Chosen(Message):
        """Message: the user has clicked the key of an action."""

        def __init__(self, action: Action) -> None:
            super().__init__()
            self.action = action

    def __init__(self, keys: Keys, places: Collection[Place] = DASHBOARD, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys = keys
        self._places = places
        self._labels: Mapping[str, str] = {}
        self._first: str | None = None
        self._typing = False

    def go_to(self, places: Collection[Place]) -> None:
        """Show the keys of `places` from now on. A screen calls this method when the focus moves to another part."""
        if places != self._places:
            self._places = places
            self.repaint()

    def relabel(self, labels: Mapping[str, str], first: str | None = None, *, typing: bool = False) -> None:
        """Replace the labels of some actions until the next call.

        For example, the key that pauses a run is labelled `resume` while the run is paused.

        Args:
            labels: labels by the actions' ids. An empty label hides an action.
            first: id of the action that is omitted last on narrow terminals; None to follow the ranks alone.
            typing: True while the user types text, to leave out keys that type a character.
        """
        if (labels, first, typing) != (self._labels, self._first, self._typing):
            self._labels, self._first, self._typing = labels, first, typing
            self.repaint()

    def _entries(self, width: int) -> list[_Entry]:
        return entries(self._keys, self._labels, width, self._places, self._first, self._typing)

    def paint(self, width: int, height: int) -> list[Line]:
        """Return the only line, with keys and labels."""
        spans: list[Span] = [(" ", "text")]
        for entry in self._entries(width):
            spans += [(entry.keys, "key"), (f" {entry.label}{_GAP}", "muted")]
        return [tuple(spans)]

    def on_click(self, event: events.Click) -> None:
        """Report the action under the mouse with a message.

        If two actions share an entry, a click on the left half of their keys is for the first action.
        """
        start = 1
        for entry in self._entries(self.size.width):
            if start <= event.x < start + entry.cells:
                half = (event.x - start) * 2 // max(len(entry.keys), 1)
                self.post_message(self.Chosen(entry.actions[min(half, len(entry.actions) - 1)]))
                return
            start += entry.cells + len(_GAP)
