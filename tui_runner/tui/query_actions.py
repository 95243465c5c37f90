"""The actions of the query screen: like `actions.py`, but which of them apply depends on what has the focus.

Letters belong to the editor, so what must work while somebody types is on function and control keys; the letters do
the same beside the result. An action is carried out by the method `action_<id>` of the screen or of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from textual.binding import Binding

from tui_runner.tui.actions import shown_key


class QueryPlace(StrEnum):
    """Where an action applies."""

    SCREEN = "query"
    RESULT = "result and catalog"
    GRID = "cell under the cursor"


@dataclass(frozen=True, slots=True)
class QueryAction:
    """Something that a key does on the query screen.

    Attributes:
        id: the name of its method.
        keys: as Textual names them; the first is the one that is shown.
        label: two words at most, for the footer.
        help: one sentence for the help screen and the palette.
        place: where it applies.
        footer: its rank there, the lowest stay longest where it is narrow; None keeps it out.
    """

    id: str
    keys: tuple[str, ...]
    label: str
    help: str
    place: QueryPlace
    footer: int | None = None

    @property
    def shown(self) -> str:
        """Its first key, as a person knows it."""
        return shown_key(self.keys[0])


QUERY_ACTIONS = (
    QueryAction(
        "run",
        ("f5", "ctrl+enter", "ctrl+j"),
        "run",
        "Run the selection, or the statement at the cursor.",
        QueryPlace.SCREEN,
        0,
    ),
    QueryAction(
        "back", ("escape",), "back", "End the statement that runs; else leave the query screen.", QueryPlace.SCREEN, 1
    ),
    QueryAction("next_part", ("f6",), "next part", "Go to editor, result, catalog in turn.", QueryPlace.SCREEN, 4),
    QueryAction("ready_made", ("f2",), "queries", "Choose a ready-made query.", QueryPlace.SCREEN, 3),
    QueryAction("history", ("f3",), "history", "Choose among statements that were run before.", QueryPlace.SCREEN, 6),
    QueryAction("complete", ("ctrl+@", "ctrl+space"), "complete", "Offer words to complete.", QueryPlace.SCREEN),
    QueryAction("watch", ("f7",), "watch", "Run the statement again and again in place.", QueryPlace.SCREEN, 7),
    QueryAction("chart", ("f8",), "chart", "Draw the result as bars, as a line, as a table.", QueryPlace.SCREEN, 8),
    QueryAction("export", ("f9",), "export", "Write the whole result into a file.", QueryPlace.SCREEN, 5),
    QueryAction("new_tab", ("ctrl+t",), "new tab", "Open another tab.", QueryPlace.SCREEN),
    QueryAction("next_tab", ("ctrl+pagedown", "f12"), "next tab", "Go to the next tab.", QueryPlace.SCREEN),
    QueryAction("previous_tab", ("ctrl+pageup", "f11"), "previous tab", "Go to the tab before.", QueryPlace.SCREEN),
    QueryAction("close_tab", ("ctrl+f4",), "close tab", "Close this tab.", QueryPlace.SCREEN),
    QueryAction("open_file", ("ctrl+o",), "open", "Open a file of statements.", QueryPlace.SCREEN),
    QueryAction("save_file", ("ctrl+s",), "save", "Save the statements as a file.", QueryPlace.SCREEN),
    QueryAction("external_editor", ("f4",), "$EDITOR", "Edit the statements with $EDITOR.", QueryPlace.SCREEN),
    QueryAction("write_mode", ("ctrl+r",), "read/write", "Allow statements that change data; asks.", QueryPlace.SCREEN),
    QueryAction("query_help", ("f1",), "help", "Show what the keys do.", QueryPlace.SCREEN, 2),
    QueryAction("watch", ("w",), "watch", "Watch, like F7.", QueryPlace.RESULT),
    QueryAction("chart", ("g",), "chart", "Chart, like F8.", QueryPlace.RESULT),
    QueryAction("export", ("e",), "export", "Export, like F9.", QueryPlace.RESULT),
    QueryAction("query_help", ("question_mark",), "help", "Help, like F1.", QueryPlace.RESULT),
    QueryAction("copy_cell", ("c",), "copy", "Copy the cell.", QueryPlace.RESULT),
    QueryAction(
        "copy_as",
        ("C", "y"),
        "copy as",
        "Copy cell, row, column or all as text, CSV, JSON, Markdown.",
        QueryPlace.RESULT,
    ),
    QueryAction("leave", ("d", "q"), "leave", "Leave the query screen.", QueryPlace.RESULT),
    QueryAction("view_cell", ("enter",), "view", "Show the cell in full.", QueryPlace.GRID),
    QueryAction("grid_down", ("down", "j"), "down", "Move down.", QueryPlace.GRID),
    QueryAction("grid_up", ("up", "k"), "up", "Move up.", QueryPlace.GRID),
    QueryAction("grid_left", ("left", "h"), "left", "Move left.", QueryPlace.GRID),
    QueryAction("grid_right", ("right", "l"), "right", "Move right.", QueryPlace.GRID),
    QueryAction("grid_page_down", ("pagedown", "ctrl+f"), "page down", "Move down by a page.", QueryPlace.GRID),
    QueryAction("grid_page_up", ("pageup", "ctrl+b"), "page up", "Move up by a page.", QueryPlace.GRID),
    QueryAction("grid_first", ("ctrl+home",), "first", "Go to the first row.", QueryPlace.GRID),
    QueryAction("grid_last", ("ctrl+end", "G"), "last", "Go to the last row read.", QueryPlace.GRID),
    QueryAction("grid_first_column", ("home", "0"), "first column", "Go to the first column.", QueryPlace.GRID),
    QueryAction("grid_last_column", ("end", "dollar_sign"), "last column", "Go to the last column.", QueryPlace.GRID),
)
"""Every action of the query screen, in the order in which footer and help show them."""


def query_bindings(place: QueryPlace, owner: str = "") -> list[Binding]:
    """Bindings of the actions that apply in this place.

    Args:
        place: where they apply.
        owner: `screen.` when the methods are the screen's, not those of the widget with the bindings.
    """
    return [
        Binding(",".join(action.keys), owner + action.id, action.label, show=False, priority=priority(action))
        for action in QUERY_ACTIONS
        if action.place is place
    ]


def priority(action: QueryAction) -> bool:
    """Whether the key goes before what the focused widget makes of it: the editor has keys of its own."""
    return action.place is QueryPlace.SCREEN and action.id not in ("back", "complete")
