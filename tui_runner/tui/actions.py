"""Every action of the interface, once. Key bindings, footer, help screen and palette are all made from this list.

An action is carried out by the method `action_<id>` of the screen or of the application that it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from textual.binding import Binding


class Place(StrEnum):
    """Where an action applies."""

    RUN = "run"
    CHUNK = "chunk under the cursor, or those marked"
    TABLE = "chunk table and map"
    LIST = "lists"
    ERRORS = "errors"
    LOG = "log"
    INNER = "screens that are not the dashboard"
    ANYWHERE = "everywhere"


DASHBOARD = (Place.RUN, Place.CHUNK, Place.TABLE, Place.LIST, Place.ANYWHERE)
"""The places that the dashboard has."""

SCREENS = (
    DASHBOARD,
    (Place.CHUNK, Place.LIST, Place.INNER, Place.ANYWHERE),
    (Place.ERRORS, Place.LIST, Place.INNER, Place.ANYWHERE),
    (Place.LOG, Place.LIST, Place.INNER, Place.ANYWHERE),
)
"""The places of each screen. Actions of places that no screen has together may share a key."""


def meet(one: Place, other: Place) -> bool:
    """Whether there is a screen on which both apply."""
    return any(one in places and other in places for places in SCREENS)


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a key does.

    Attributes:
        id: its name, in a user's keymap too.
        keys: keys that do it, as Textual names them; the first is the one that is shown.
        label: two words at most, for the footer. Neighbours with one label share it: `+/- threads`.
        help: one sentence for the help screen and the palette.
        place: where it applies.
        footer: its rank there, the lowest stay longest where it is narrow; None keeps it out.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    place: Place
    footer: int | None = None


ACTIONS = (
    Action("pause_run", ("space",), "pause", "Pause the run, or go on with it.", Place.RUN, 1),
    Action("pause_chunk", ("p",), "pause chunk", "Pause the chunk, or go on with it.", Place.CHUNK, 3),
    Action("retry_chunk", ("r",), "retry", "Run the failed and cancelled items of the chunk again.", Place.CHUNK, 4),
    Action(
        "retry_all", ("R",), "retry all", "Run everything that failed in this run again; asks first.", Place.RUN, 12
    ),
    Action("cancel_chunk", ("x",), "cancel", "Cancel the chunk; asks first.", Place.CHUNK, 5),
    Action("settings", ("comma",), "settings", "Type how many threads, open chunks, items per second.", Place.RUN, 13),
    Action("more_threads", ("plus", "equals_sign"), "threads", "Execute more items at once.", Place.RUN, 6),
    Action("fewer_threads", ("minus",), "threads", "Execute fewer items at once.", Place.RUN, 6),
    Action("query", ("d",), "data", "Query the results and the ledger.", Place.ANYWHERE, 3),
    Action("open_chunk", ("enter",), "open", "Look at the chunk: items in flight, failed, slowest.", Place.TABLE, 8),
    Action("sort", ("s",), "sort", "Sort the chunks by a column.", Place.TABLE, 10),
    Action("filter", ("slash",), "filter", "List only chunks in one state.", Place.TABLE, 11),
    Action("map", ("m",), "map", "Show a map of all chunks in place of the table, and back.", Place.TABLE, 9),
    Action(
        "mark", ("v",), "mark", "Mark the chunk, for commands on several; again takes the mark away.", Place.TABLE, 13
    ),
    Action("mark_all", ("V", "ctrl+a"), "mark all", "Mark every chunk that is listed, or none.", Place.TABLE),
    Action("clear", ("escape",), "clear", "Take away marks, then the filter, then the order.", Place.TABLE),
    Action("cursor_down", ("down", "j"), "down", "Move the cursor down.", Place.LIST),
    Action("cursor_up", ("up", "k"), "up", "Move the cursor up.", Place.LIST),
    Action("cursor_left", ("left",), "left", "Move the cursor of the map left.", Place.TABLE),
    Action("cursor_right", ("right",), "right", "Move the cursor of the map right.", Place.TABLE),
    Action("page_down", ("pagedown", "ctrl+f"), "page down", "Move the cursor down by a page.", Place.LIST),
    Action("page_up", ("pageup", "ctrl+b"), "page up", "Move the cursor up by a page.", Place.LIST),
    Action(
        "first_row",
        ("home", "g"),
        "first",
        "Go to the first row; in the table the cursor then follows the run.",
        Place.LIST,
    ),
    Action("last_row", ("end", "G"), "last", "Go to the last row.", Place.LIST),
    Action("open_example", ("enter",), "read", "Read the error in full, with its traceback.", Place.ERRORS, 1),
    Action(
        "retry_group",
        ("r",),
        "retry",
        "Run the failed items of the chunks of this group again; asks first.",
        Place.ERRORS,
        3,
    ),
    Action("next_example", ("right", "n"), "next", "Show the next example of the group.", Place.ERRORS, 4),
    Action("previous_example", ("left", "N"), "previous", "Show the previous example.", Place.ERRORS),
    Action("open_line", ("enter",), "read", "Read the line in full.", Place.LOG, 9),
    Action("follow", ("f",), "follow", "Stay at the newest line, or stop doing so.", Place.LOG, 1),
    Action("search", ("slash",), "search", "Find text in the log.", Place.LOG, 3),
    Action("next_match", ("n",), "next", "Go to the next line with that text.", Place.LOG, 4),
    Action("previous_match", ("N",), "previous", "Go to the line with that text before.", Place.LOG),
    Action("level", ("v",), "level", "List only lines of a level and above.", Place.LOG, 5),
    Action("copy", ("c",), "copy", "Copy what is under the cursor.", Place.INNER, 6),
    Action("back", ("escape",), "back", "Go back.", Place.INNER, 7),
    Action("errors", ("e",), "errors", "What went wrong, grouped by what is alike.", Place.ANYWHERE, 3),
    Action("log", ("l",), "log", "What the job prints and logs.", Place.ANYWHERE, 8),
    Action("theme", ("T",), "theme", "Choose a theme; it is shown at once, and remembered.", Place.ANYWHERE),
    Action("command_palette", ("ctrl+p",), "commands", "Find any action or theme by name.", Place.ANYWHERE, 14),
    Action("help", ("question_mark", "f1"), "help", "Show what the keys do.", Place.ANYWHERE, 2),
    Action(
        "quit_run",
        ("q",),
        "quit",
        "Go back; from the dashboard leave, where a run that is not over asks what to do.",
        Place.ANYWHERE,
        0,
    ),
)
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
        Binding(",".join(action.keys), action.id, action.label, show=action.footer is not None, id=action.id)
        for action in ACTIONS
        if action.place in places
    ]
