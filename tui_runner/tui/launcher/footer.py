"""Labels of the launcher's keys: each row has its own, and so has the form."""

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
"""Actions whose keys depend on the row."""


def labels_of(row: Row | None, *, in_form: bool, empty: bool) -> dict[str, str]:
    """Return labels of keys for the footer; keys without an effect here are hidden.

    Args:
        row: the current row.
        in_form: True while the form of a job has the focus.
        empty: True if the folder has neither jobs nor databases.
    """
    if in_form:
        # Tab goes to the next field, too; one of the two keys is enough.
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
