"""Labels of the launcher's keys in the footer. They depend on the current row, and on whether a form is shown."""

from __future__ import annotations

from tui_runner.tui.launcher.discovery import FoundDatabase, FoundJob, FoundRun
from tui_runner.tui.launcher.rows import Row, Samples

_ALL = (
    "choose",
    "start",
    "next_field",
    "try_job",
    "resume",
    "retry",
    "write_job",
    "copy_command",
    "open_database",
    "to_list",
)
"""Actions that the footer hides unless the current row or the form has a label for them."""


def labels_of(row: Row | None, *, in_form: bool, empty: bool) -> dict[str, str]:
    """Return the labels of keys for the footer by the ids of their actions; an empty label hides a key.

    Args:
        row: the current row, or None.
        in_form: True while the form of a job is shown.
        empty: True if the folder has neither jobs nor databases.
    """
    if in_form:
        # Enter and Tab both go to the next field. The footer shows Enter only, to save space.
        shown = {"choose": "next field", "start": "start", "try_job": "try 3", "copy_command": "copy command"}
        return _labels(shown | {"to_list": "back", "help": "", "quit": ""})
    shown = _of_row(row)
    if empty:
        shown |= {"write_job": "first job", "try_sample": "samples", "other_folder": "folder"}
    return _labels(shown)


def _of_row(row: Row | None) -> dict[str, str]:
    match row:
        case FoundJob(error=""):
            return {"choose": "edit", "start": "start", "try_job": "try 3", "copy_command": "copy command"}
        case FoundRun():
            return {"resume": "go on", "open_database": "query", "copy_command": "copy command"}
        case FoundDatabase() as found if found.can_be_queried:
            again = {"retry": "retry failed"} if found.to_retry is not None else {}
            return {"open_database": "query", "copy_command": "copy command", **again}
        case Samples(unfolded=unfolded):
            return {"choose": "fold" if unfolded else "list"}
    return {}


def _labels(shown: dict[str, str]) -> dict[str, str]:
    return {f"launcher.{name}": label for name, label in (dict.fromkeys(_ALL, "") | shown).items()}
