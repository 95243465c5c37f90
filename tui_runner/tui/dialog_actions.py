"""The actions of the launcher and of the dialogs: questions, choices, fields to fill in, texts to read."""

from __future__ import annotations

from tui_runner.tui.action import Action, Place

DIALOG_ACTIONS = (
    Action(
        "launcher.choose", ("enter",), "fill in", "Fill in the form of a job, or go on with a run.", Place.LAUNCHER, 0
    ),
    Action("launcher.next_field", ("tab",), "next", "Go to the next field of the form.", Place.LAUNCHER, 3),
    Action(
        "launcher.try_job",
        ("ctrl+t", "t"),
        "try 3",
        "Call the job with 3 items; nothing is written.",
        Place.LAUNCHER,
        1,
    ),
    Action("launcher.resume", ("r",), "resume", "Go on with the run under the cursor.", Place.LAUNCHER, 1),
    Action("launcher.open_database", ("o",), "query", "Open the database for queries.", Place.LAUNCHER, 2),
    Action("launcher.to_list", ("escape",), "back", "Go back from the form to the list.", Place.LAUNCHER, 2),
    Action("launcher.help", ("question_mark", "f1"), "help", "Show what the keys do.", Place.LAUNCHER, 5),
    Action("launcher.quit", ("q",), "quit", "Leave.", Place.LAUNCHER, 4),
    Action("reader.close", ("escape", "q", "enter"), "close", "Close the text.", Place.READER, 0),
    Action("reader.copy", ("c",), "copy", "Copy the whole text.", Place.READER, 1),
    Action("reader.page_down", ("space",), "page down", "Scroll by a page.", Place.READER),
    Action("cell.wrap", ("w",), "wrap", "Wrap long lines, or cut them.", Place.CELL, 2),
    Action("choice.choose", ("enter", "space"), "choose", "Take what is under the cursor.", Place.CHOICE, 0),
    Action("choice.cancel", ("escape", "q"), "cancel", "Leave it as it is.", Place.CHOICE, 1),
    Action("question.yes", ("y",), "yes", "Answer yes.", Place.QUESTION, 0),
    Action("question.no", ("n", "escape", "q"), "no", "Answer no, which changes nothing.", Place.QUESTION, 1),
    Action(
        "question.other",
        ("left", "right", "up", "down", "h", "l"),
        "other",
        "Go to the other answer; Enter gives the one you are on.",
        Place.QUESTION,
    ),
    Action("field.cancel", ("escape",), "cancel", "Change nothing.", Place.FIELD, 1),
    Action("field.next", ("down",), "next", "Go to the next field; Enter applies them all.", Place.FIELD, 2),
    Action("field.previous", ("up",), "previous", "Go to the field before.", Place.FIELD),
    Action(
        "manual.close", ("escape", "q", "question_mark", "f1", "enter", "space"), "close", "Close help.", Place.MANUAL
    ),
)
"""In the order in which footer and help show them."""
