"""The actions of the dashboard and of the other screens of a run."""

from __future__ import annotations

from tui_runner.tui.action import Action, Place

RUN_ACTIONS = (
    Action("pause_run", ("space",), "pause", "Pause the run, or go on with it.", Place.RUN, 1),
    Action("pause_chunk", ("p",), "pause chunk", "Pause the chunk, or go on with it.", Place.CHUNK, 3),
    Action("retry_chunk", ("r",), "retry", "Run the failed and cancelled items of the chunk again.", Place.CHUNK, 4),
    Action(
        "retry_all", ("R",), "retry all", "Run everything that failed in this run again; asks first.", Place.RUN, 12
    ),
    Action("cancel_chunk", ("x",), "cancel", "Cancel the chunk; asks first.", Place.CHUNK, 5),
    Action("settings", ("comma",), "settings", "Type threads, open chunks, items per second, memory.", Place.RUN, 13),
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
    Action("query_group", ("o",), "query", "Query the errors of this group in the query screen.", Place.ERRORS, 5),
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
"""In the order in which footer and help show them."""
