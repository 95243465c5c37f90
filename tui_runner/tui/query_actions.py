"""The actions of the query screen; which of them apply depends on what has the focus.

Letters belong to the editor, so what must work while somebody types is on function and control keys; the letters do
the same beside the result.
"""

from __future__ import annotations

from tui_runner.tui.action import Action, Place

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
        "End the statement that runs; else leave the query screen.",
        Place.QUERY,
        1,
        yields=True,
    ),
    Action("query.next_part", ("f6",), "next part", "Go to editor, result, catalog in turn.", Place.QUERY, 4),
    Action("query.ready_made", ("f2",), "queries", "Choose a ready-made query.", Place.QUERY, 3),
    Action("query.history", ("f3",), "history", "Choose among statements that were run before.", Place.QUERY, 6),
    Action(
        "query.complete", ("ctrl+@", "ctrl+space"), "complete", "Offer words to complete.", Place.QUERY, yields=True
    ),
    Action("query.watch", ("f7",), "watch", "Run the statement again and again in place.", Place.QUERY, 7),
    Action("query.chart", ("f8",), "chart", "Draw the result as bars, as a line, as a table.", Place.QUERY, 8),
    Action("query.export", ("f9",), "export", "Write the whole result into a file.", Place.QUERY, 5),
    Action("query.select_all", ("ctrl+g",), "select all", "Select the whole text of the editor.", Place.QUERY),
    Action("query.new_tab", ("ctrl+t",), "new tab", "Open another tab.", Place.QUERY),
    Action("query.next_tab", ("ctrl+pagedown", "f12"), "next tab", "Go to the next tab.", Place.QUERY),
    Action("query.previous_tab", ("ctrl+pageup", "f11"), "previous tab", "Go to the tab before.", Place.QUERY),
    Action("query.close_tab", ("ctrl+f4",), "close tab", "Close this tab.", Place.QUERY),
    Action("query.open_file", ("ctrl+o",), "open", "Open a file of statements.", Place.QUERY),
    Action("query.save_file", ("ctrl+s",), "save", "Save the statements as a file.", Place.QUERY),
    Action("query.external_editor", ("f4",), "$EDITOR", "Edit the statements with $EDITOR.", Place.QUERY),
    Action("query.write_mode", ("ctrl+r",), "read/write", "Allow statements that change data; asks.", Place.QUERY),
    Action("query.help", ("f1",), "help", "Show what the keys do.", Place.QUERY, 2),
    Action("result.watch", ("w",), "watch", "Run the statement again and again in place.", Place.RESULT),
    Action("result.chart", ("g",), "chart", "Draw the result as bars, as a line, as a table.", Place.RESULT),
    Action("result.export", ("e",), "export", "Write the whole result into a file.", Place.RESULT),
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
"""In the order in which footer and help show them."""
