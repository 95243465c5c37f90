"""Labels of the launcher's keys in the footer, and the reasons why keys have no effect on the current row."""

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


def labels_of(row: Row | None, *, in_form: bool, empty: bool, filtered: bool = False) -> dict[str, str]:
    """Return the labels of keys for the footer by the ids of their actions; an empty label hides a key.

    Args:
        row: the current row, or None.
        in_form: True while the form of a job is shown.
        empty: True if the folder has neither jobs nor databases.
        filtered: True if the list has a filter.
    """
    if in_form:
        # Enter and Tab both go to the next field. The footer shows Enter only, to save space.
        shown = {"choose": "next field", "start": "start", "try_job": "try 3", "copy_command": "copy command"}
        return _labels(shown | {"to_list": "back", "help": "", "quit": ""})
    shown = _of_row(row)
    if empty:
        shown |= {"write_job": "first job", "try_sample": "samples", "other_folder": "folder"}
    if filtered:
        shown |= {"to_list": "show all"}
    return _labels(shown)


def _of_row(row: Row | None) -> dict[str, str]:
    match row:
        case FoundJob(error=""):
            return {"choose": "edit", "start": "start", "try_job": "try 3", "copy_command": "copy command"}
        case FoundRun():
            return {"choose": "go on", "open_database": "query", "copy_command": "copy command"}
        case FoundDatabase() as found if found.can_be_queried:
            again = {"retry": "retry failed"} if found.to_retry is not None else {}
            return {"choose": "query", "copy_command": "copy command", **again}
        case Samples(unfolded=unfolded):
            return {"choose": "fold" if unfolded else "list"}
    return {}


def _labels(shown: dict[str, str]) -> dict[str, str]:
    return {f"launcher.{name}": label for name, label in (dict.fromkeys(_ALL, "") | shown).items()}


def no_effect(action: str, row: Row | None) -> str:
    """Return the reason why an action of the launcher has no effect on a row that it is not for.

    Args:
        action: id of the action without `launcher.`: `copy_command`, `next_field`, `open_database`, `resume`, `retry`,
            `start` or `try_job`.
        row: the current row, or None.
    """
    match action, row:
        case _, None:
            return "no row is listed"
        case _, FoundJob(error=error) if error:
            return error
        case "retry" | "resume", FoundDatabase(error=error) if error:
            return f"{error}; it can only be queried meanwhile" if row.in_use else error
        case "retry", FoundRun():
            return "the run is unfinished: when it goes on, its failed items run again, too"
        case "retry", FoundDatabase():
            return "nothing to run again: no finished run in this database has failed or cancelled items"
        case "retry", _:
            return "failed items are run again from a row under “databases”"
        case "resume", FoundDatabase(runs=runs) if any(run.unfinished for run in runs):
            return "the unfinished run of this database is a row under “go on”"
        case "resume", FoundDatabase():
            return "no run in this database is unfinished"
        case "resume", _:
            return "unfinished runs are resumed from a row under “go on”"
        case "open_database", FoundDatabase(error=error):
            return error
        case "open_database", _:
            return "rows are queried from a row under “databases” or “go on”"
        case "copy_command", FoundDatabase(error=error):
            return error
        case "copy_command", _:
            return "there is a command for a job, a run or a database only"
        case "start", FoundDatabase():
            return "a database is not started; its unfinished runs are rows under “go on”"
        case "try_job", _:
            return "only a job can be tried"
        case "next_field", _:
            return "only a job has a form"
    return "choose a job"
