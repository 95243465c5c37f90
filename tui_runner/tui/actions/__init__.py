"""Every action of the interface. Key bindings, footers, help screens and palettes are made from these lists.

In an editor, letters type text. So actions that must work in an editor have function keys and control keys. Some of
these actions also have a letter, which works outside of the editor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.keys import key_to_character
from textual.screen import Screen

from tui_runner.tui.actions.model import TYPED_IN, Action, Place

RUN_ACTIONS = (
    Action(
        "pause_run",
        ("space",),
        "pause",
        "Pause or resume the run; in an outage, try one item first.",
        Place.RUN,
        1,
    ),
    Action("pause_chunk", ("p",), "pause chunk", "Pause or resume the chunk.", Place.CHUNK, 3),
    Action("retry_chunk", ("r",), "retry", "Run the failed and cancelled items of the chunk again.", Place.CHUNK, 4),
    Action(
        "retry_all",
        ("R",),
        "retry all",
        "Run everything that failed again, also after the end of the run; asks first.",
        Place.RUN,
        12,
    ),
    Action("cancel_chunk", ("x",), "cancel", "Cancel the chunk; asks first.", Place.CHUNK, 5),
    Action(
        "settings", ("comma",), "settings", "Type threads, chunks, items/s, memory, limits of hosts.", Place.RUN, 13
    ),
    Action("more_threads", ("plus", "equals_sign"), "threads", "Execute more items at once.", Place.RUN, 6),
    Action("fewer_threads", ("minus",), "threads", "Execute fewer items at once.", Place.RUN, 6),
    Action("summary", ("i",), "summary", "Show the whole summary of the run so far.", Place.RUN, 12),
    Action("copy_summary", ("y",), "copy", "Copy the summary of the run as Markdown.", Place.RUN, 12),
    Action("query", ("d",), "data", "Query the results and the ledger.", Place.ANYWHERE, 3),
    Action("open_chunk", ("enter",), "open", "Look at the chunk: items in flight, failed, slowest.", Place.TABLE, 8),
    Action("sort", ("s",), "sort", "Sort the chunks by a column.", Place.TABLE, 10),
    Action("filter", ("slash",), "filter", "List only chunks in one state.", Place.TABLE, 11),
    Action("map", ("m",), "map", "Show a map of all chunks in place of the table, or the table again.", Place.TABLE, 9),
    Action(
        "mark", ("v",), "mark", "Mark the chunk for a command on several chunks, or remove its mark.", Place.TABLE, 13
    ),
    Action("mark_all", ("V", "ctrl+a"), "mark all", "Mark every listed chunk, or remove all marks.", Place.TABLE),
    Action("clear", ("escape",), "clear", "Remove the marks, then the filter, then the order.", Place.TABLE),
    Action("cursor_down", ("down", "j"), "down", "Move the cursor down.", Place.LIST),
    Action("cursor_up", ("up", "k"), "up", "Move the cursor up.", Place.LIST),
    Action("cursor_left", ("left",), "left", "Move the cursor of the map left.", Place.TABLE),
    Action("cursor_right", ("right",), "right", "Move the cursor of the map right.", Place.TABLE),
    Action("page_down", ("pagedown", "ctrl+f"), "page down", "Move the cursor down by a page.", Place.LIST),
    Action("page_up", ("pageup", "ctrl+b"), "page up", "Move the cursor up by a page.", Place.LIST),
    Action(
        "first_row",
        ("g", "home"),
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
    Action("query_group", ("o",), "query", "Query the errors of this group in the query screen.", Place.ERRORS, 5),
    Action("next_example", ("right", "n"), "next", "Show the next example of the group.", Place.ERRORS, 4),
    Action("previous_example", ("left", "N"), "previous", "Show the previous example.", Place.ERRORS),
    Action("pause_host", ("p", "space"), "pause", "Pause requests to the host, or resume them.", Place.HOSTS, 1),
    Action("host_limits", ("enter", "comma"), "limits", "Type the limits of this host.", Place.HOSTS, 3),
    Action("open_line", ("enter",), "read", "Read the line in full.", Place.LOG, 9),
    Action("follow", ("f",), "follow", "Stay at the newest line, or stop doing so.", Place.LOG, 1),
    Action("search", ("slash",), "search", "Find text in the log.", Place.LOG, 3),
    Action(
        "next_match",
        ("n",),
        "next",
        "Go to the next line with the searched text; after the last one, to the first.",
        Place.LOG,
        4,
    ),
    Action(
        "previous_match",
        ("N",),
        "previous",
        "Go to the previous line with the searched text; before the first one, to the last.",
        Place.LOG,
    ),
    Action("level", ("v",), "level", "List only lines of a log level and above.", Place.LOG, 5),
    Action("only", ("ampersand",), "only matches", "List only lines with the text that was searched for.", Place.LOG),
    Action("copy", ("c",), "copy", "Copy what is under the cursor.", Place.INNER, 6),
    Action("back", ("escape",), "back", "Go back.", Place.INNER, 7),
    Action("errors", ("e",), "errors", "Show what went wrong, with similar errors in groups.", Place.ANYWHERE, 3),
    Action("log", ("l",), "log", "Show what the job prints and logs.", Place.ANYWHERE, 8),
    Action(
        "hosts", ("h",), "hosts", "Show the requests to each host, and the items that wait for it.", Place.ANYWHERE, 9
    ),
    Action("theme", ("T",), "theme", "Choose a theme; it is shown at once, and remembered.", Place.ANYWHERE),
    Action(
        "redraw",
        ("ctrl+l",),
        "redraw",
        "Draw the whole screen again, if another program wrote over it.",
        Place.ALWAYS,
    ),
    Action("command_palette", ("ctrl+p",), "commands", "Find any action or theme by name.", Place.ANYWHERE, 14),
    Action("help", ("question_mark", "f1"), "help", "Show what the keys do.", Place.ANYWHERE, 2),
    Action(
        "quit_run",
        ("q",),
        "quit",
        "Go back; on the dashboard, leave, and ask first if the run has not ended.",
        Place.ANYWHERE,
        0,
    ),
)
"""Actions of the screens of a run, in the order in which footers and help screens show them."""

QUERY_ACTIONS = (
    Action(
        "query.run",
        ("f5", "ctrl+enter", "ctrl+j"),
        "run",
        "Run the selection, or the statement at the cursor.",
        Place.QUERY,
        0,
    ),
    Action(
        "query.back",
        ("escape",),
        "back",
        "End the running statement; without one, leave the query screen.",
        Place.QUERY,
        1,
        yields=True,
    ),
    Action("query.next_part", ("f6",), "next part", "Go to the next part: editor, result, catalog.", Place.QUERY, 4),
    Action("query.ready_made", ("f2",), "queries", "Choose a ready-made query.", Place.QUERY, 3),
    Action("query.history", ("f3",), "history", "Choose among statements that were run before.", Place.QUERY, 6),
    Action(
        "query.complete", ("ctrl+@", "ctrl+space"), "complete", "Offer words to complete.", Place.QUERY, yields=True
    ),
    Action("query.watch", ("f7",), "watch", "Run the statement at the cursor repeatedly.", Place.QUERY, 7),
    Action("query.chart", ("f8",), "chart", "Show the result as bars, as lines, or as a table again.", Place.QUERY, 8),
    Action("query.export", ("f9",), "export", "Write the whole result into a file.", Place.QUERY, 5),
    Action("query.select_all", ("ctrl+g",), "select all", "Select the whole text of the editor.", Place.QUERY),
    Action("query.clear", ("f10",), "clear", "Empty the editor; Ctrl-Z brings its text back.", Place.QUERY),
    Action("query.new_tab", ("ctrl+t", "ctrl+n"), "new tab", "Open another tab.", Place.QUERY),
    Action("query.next_tab", ("ctrl+pagedown", "f12"), "next tab", "Go to the next tab.", Place.QUERY),
    Action("query.previous_tab", ("ctrl+pageup", "f11"), "previous tab", "Go to the tab before.", Place.QUERY),
    Action("query.close_tab", ("ctrl+f4",), "close tab", "Close this tab.", Place.QUERY),
    Action("query.open_file", ("ctrl+o",), "open", "Open a file of statements.", Place.QUERY),
    Action("query.save_file", ("ctrl+s",), "save", "Save the statements as a file.", Place.QUERY),
    Action("query.external_editor", ("f4",), "$EDITOR", "Edit the statements with $EDITOR.", Place.QUERY),
    Action(
        "query.write_mode", ("ctrl+r",), "read/write", "Allow statements that change data; asks first.", Place.QUERY
    ),
    Action("query.help", ("f1",), "help", "Show what the keys do.", Place.QUERY, 2),
    Action("result.watch", ("w",), "watch", "Run the statement of the result repeatedly.", Place.RESULT),
    Action("result.chart", ("g",), "chart", "Show the result as bars, as lines, or as a table again.", Place.RESULT),
    Action("result.export", ("e",), "export", "Write the whole result into a file.", Place.RESULT),
    Action("result.sort", ("o",), "sort", "Sort by this column; the second time, in reverse order.", Place.RESULT, 6),
    Action("result.statistics", ("t",), "statistics", "Show figures about this column.", Place.RESULT, 7),
    Action("result.go_to_row", ("colon",), "row …", "Go to a row by its number.", Place.RESULT, 8),
    Action("result.hide_catalog", ("b",), "catalog", "Hide the catalog, or show it again.", Place.RESULT, 9),
    Action(
        "result.zoom", ("z",), "zoom", "Give the whole screen to the result, or show all parts again.", Place.RESULT, 5
    ),
    Action("result.help", ("question_mark",), "help", "Show what the keys do.", Place.RESULT),
    Action("result.copy_cell", ("c",), "copy", "Copy the cell.", Place.RESULT, 3),
    Action(
        "result.copy_as",
        ("C", "y"),
        "copy as",
        "Copy cell, row, column or all as text, CSV, JSON, Markdown.",
        Place.RESULT,
        4,
    ),
    Action("result.leave", ("d", "q"), "leave", "Leave the query screen.", Place.RESULT),
    Action("grid.view_cell", ("enter",), "view", "Show the cell in full.", Place.GRID, 2),
    Action("grid.down", ("down", "j"), "down", "Move down.", Place.GRID),
    Action("grid.up", ("up", "k"), "up", "Move up.", Place.GRID),
    Action("grid.left", ("left", "h"), "left", "Move left.", Place.GRID),
    Action("grid.right", ("right", "l"), "right", "Move right.", Place.GRID),
    Action("grid.page_down", ("pagedown", "ctrl+f"), "page down", "Move down by a page.", Place.GRID),
    Action("grid.page_up", ("pageup", "ctrl+b"), "page up", "Move up by a page.", Place.GRID),
    Action("grid.first", ("ctrl+home",), "first", "Go to the first row.", Place.GRID),
    Action("grid.last", ("ctrl+end", "G"), "last", "Go to the last row read.", Place.GRID),
    Action("grid.first_column", ("home", "0"), "first column", "Go to the first column.", Place.GRID),
    Action("grid.last_column", ("end", "dollar_sign"), "last column", "Go to the last column.", Place.GRID),
    Action(
        "catalog.open",
        ("enter",),
        "open",
        "Show the rows of a table; put the name of a column into the editor.",
        Place.CATALOG,
        2,
    ),
    Action(
        "catalog.toggle_node", ("space",), "columns", "Show the columns of a table, or hide them.", Place.CATALOG, 3
    ),
    Action("catalog.insert_name", ("i",), "insert", "Put the name under the cursor into the editor.", Place.CATALOG, 3),
    Action("catalog.show_rows", ("s",), "rows", "Show the rows of the table under the cursor.", Place.CATALOG),
    Action("catalog.cursor_down", ("j",), "down", "Move down, like the arrow.", Place.CATALOG),
    Action("catalog.cursor_up", ("k",), "up", "Move up, like the arrow.", Place.CATALOG),
)
"""Actions of the query screen, in the order in which footers and help screens show them."""

DIALOG_ACTIONS = (
    Action(
        "launcher.choose",
        ("enter",),
        "edit",
        "Fill in the form of a job, resume a run, or open a database.",
        Place.LAUNCHER,
        0,
    ),
    Action(
        "launcher.start", ("ctrl+s", "f5"), "start", "Start the job with the values of its form.", Place.LAUNCHER, 0
    ),
    Action("launcher.next_field", ("tab",), "next", "Go to the form, or to its next field.", Place.LAUNCHER, 3),
    Action(
        "launcher.try_job",
        ("t", "ctrl+t"),
        "try 3",
        "Call the job with 3 items; nothing is written.",
        Place.LAUNCHER,
        1,
    ),
    Action("launcher.resume", ("r",), "resume", "Resume the run under the cursor.", Place.LAUNCHER, 1),
    Action("launcher.retry", ("R",), "retry failed", "Run the failed items of the run again.", Place.LAUNCHER, 1),
    Action("launcher.filter", ("slash",), "filter", "List only entries whose names contain a text.", Place.LAUNCHER),
    Action("launcher.choose_theme", ("T",), "theme", "Choose a theme.", Place.LAUNCHER),
    Action("launcher.write_job", ("i",), "first job", "Write a first job into this folder.", Place.LAUNCHER, 4),
    Action("launcher.try_sample", ("s",), "samples", "List the samples, and go to the first one.", Place.LAUNCHER),
    Action("launcher.copy_samples", ("S",), "copy samples", "Copy the sample jobs into this folder.", Place.LAUNCHER),
    Action("launcher.other_folder", ("F",), "folder", "Look in another folder.", Place.LAUNCHER),
    Action(
        "launcher.copy_command",
        ("c", "f2"),
        "copy command",
        "Copy the command line that does the same without the screen.",
        Place.LAUNCHER,
        4,
    ),
    Action("launcher.open_database", ("o",), "query", "Open the database for queries.", Place.LAUNCHER, 2),
    Action(
        "launcher.to_list",
        ("escape",),
        "back",
        "Go back from the form to the list; in the list, remove its filter.",
        Place.LAUNCHER,
        2,
    ),
    Action("launcher.help", ("question_mark", "f1"), "help", "Show what the keys do.", Place.LAUNCHER, 5),
    Action("launcher.quit", ("q",), "quit", "Leave.", Place.LAUNCHER, 4),
    Action("reader.close", ("escape", "q", "enter"), "close", "Close the text.", Place.READER, 0),
    Action("reader.copy", ("c",), "copy", "Copy the whole text.", Place.READER, 1),
    Action("reader.page_down", ("space",), "page down", "Scroll by a page.", Place.READER),
    Action("cell.wrap", ("w",), "wrap", "Wrap long lines, or cut them.", Place.CELL, 2),
    Action("choice.choose", ("enter",), "choose", "Choose the entry under the cursor.", Place.CHOICE, 0),
    Action("choice.cancel", ("escape", "q"), "cancel", "Close without a choice.", Place.CHOICE, 1),
    Action("question.yes", ("y",), "yes", "Answer yes.", Place.QUESTION, 0),
    Action("question.no", ("n", "escape", "q"), "no", "Answer no, which changes nothing.", Place.QUESTION, 1),
    Action(
        "question.other",
        ("left", "right", "up", "down", "h", "l"),
        "other",
        "Go to the other answer; Enter gives the answer that has the focus.",
        Place.QUESTION,
    ),
    Action("field.cancel", ("escape",), "cancel", "Close without changes.", Place.FIELD, 1),
    Action("field.next", ("down",), "next", "Go to the next field.", Place.FIELD, 2),
    Action("field.previous", ("up",), "previous", "Go to the field before.", Place.FIELD),
    Action(
        "manual.close", ("escape", "q", "question_mark", "f1", "enter", "space"), "close", "Close help.", Place.MANUAL
    ),
)
"""Actions of the launcher and of dialogs, in the order in which footers and help screens show them."""

ACTIONS = (*RUN_ACTIONS, *QUERY_ACTIONS, *DIALOG_ACTIONS)
"""Every action, in the order in which footers and help screens show them."""

BY_ID = {action.id: action for action in ACTIONS}

Keys = Mapping[str, tuple[str, ...]]
"""The keys of each action, by the action's id. The keys are the defaults or the user's own, by Textual's names."""

DEFAULT_KEYS: Keys = {action.id: action.keys for action in ACTIONS}

# Short forms of keys. Textual names all other keys by their characters' Unicode names, from which `key_to_character`
# gets the characters.
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
    """Return the short form of a key: `?` for `question_mark`, `^p` for `ctrl+p`."""
    *modifiers, plain = key.split("+")
    prefix = "".join("^" if modifier == "ctrl" else f"{modifier}+" for modifier in modifiers)
    if plain[0] == "f" and plain[1:].isdigit():
        plain = plain.upper()
    return prefix + (_SHOWN.get(plain) or key_to_character(plain) or plain)


def types_a_character(key: str) -> bool:
    """Return True if a text field types a character for this key."""
    character = key_to_character(key) or key
    return len(character) == 1 and character.isprintable()


def bindings(*places: Place) -> list[Binding]:
    """Return Textual's bindings of the actions that apply in `places`, with the default keys."""
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
    """Return the keymap for Textual: the keys of actions whose keys differ from the defaults.

    Other actions are left out, because Textual applies the keymap to every screen at each key press.
    """
    return {name: ",".join(used) for name, used in keys.items() if used and used != DEFAULT_KEYS[name]}


def key_of(screen: Screen[Any], action: str) -> str:
    """Return the first key of the action with the id `action` on this screen, in its short form."""
    found = {binding.binding.id: key for key, binding in reversed(screen.active_bindings.items())}
    # A text field has its own bindings for the arrows, which hide the dialog's bindings here. Still the arrows reach
    # the dialog, because a field of one line cannot scroll. So use the default keys for an action that is not found.
    return shown_key(found.get(action) or BY_ID[action].keys[0])


def keys_of(screen: Screen[Any], place: Place) -> str:
    """Return one line with the keys and labels of the actions in `place` that have a rank in the footer."""
    named = [action for action in ACTIONS if action.place is place and action.footer is not None]
    return "   ".join(f"{key_of(screen, action.id)} {action.label}" for action in named)


def palette(app: App[Any], screen: Screen[object], keys: Keys, places: Collection[Place]) -> Iterable[SystemCommand]:
    """Yield the actions of `places`, and the actions that always apply, as commands for Textual's palette.

    Args:
        app: carries out actions that apply everywhere or in the launcher.
        screen: carries out all other actions.
        keys: the keys of every action.
        places: places in which the actions apply.
    """
    for group in _by_method({*places, Place.ALWAYS}):
        owner = "app" if group[0].place in (Place.ANYWHERE, Place.LAUNCHER, Place.ALWAYS) else "screen"
        shown = " ".join(shown_key(key) for action in group for key in keys[action.id])
        yield SystemCommand(
            group[0].help.rstrip("."),
            f"{group[0].place} · {shown}",
            _runner(app, screen, f"{owner}.{group[0].method}"),
        )


def _by_method(places: Collection[Place]) -> Iterable[list[Action]]:
    """Return the actions of `places` in groups with the same method, whose effects are the same."""
    groups: dict[str, list[Action]] = {}
    for action in ACTIONS:
        if action.place in places:
            groups.setdefault(action.method, []).append(action)
    return groups.values()


def _runner(app: App[Any], screen: Screen[object], action: str) -> Callable[[], Awaitable[bool]]:
    return lambda: app.run_action(action, screen)
