"""The right side of the launcher: text about the current row, or the form of the job that is being filled in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from tui_runner.jobs.job import Job
from tui_runner.tui.launcher.details import (
    LOW,
    TextLine,
    broken_details,
    database_details,
    job_details,
    job_head,
    run_details,
    samples_details,
)
from tui_runner.tui.launcher.discovery import FoundDatabase, FoundJob, FoundRun
from tui_runner.tui.launcher.fields import Defaults, Draft, fields_found
from tui_runner.tui.launcher.job_form import JobForm
from tui_runner.tui.launcher.rows import Row, Samples, job_title, row_name
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import Line, PaintedLines, own


class Text(Rows[TextLine]):
    """The text about a row. A click on it posts `FieldClicked`.

    Args:
        id: id of the widget.
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(lambda each, width: each.line, cursor=False, id=id)
        self._lines: list[TextLine] = []

    class FieldClicked(Message):
        """Message: the text was clicked. `key` is that of the clicked field; empty for other lines of the text."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def tell(self, lines: list[TextLine], *, keep_view: bool = False) -> None:
        """Show these lines, unless they are the ones that are shown already.

        Args:
            lines: the text.
            keep_view: True if the user may have scrolled in an earlier version of this text; False to show its top.
        """
        if lines != self._lines:
            self._lines = lines
            self._fill()
            if not keep_view:
                self.scroll_to(y=0, animate=False)

    def on_resize(self) -> None:
        """Add or remove empty lines at the end, to fill the new height."""
        self._fill()
        super().on_resize()

    def _fill(self) -> None:
        # Empty lines fill the height. Then the number of lines, whose change would cause a layout, changes only for
        # texts that are longer than the widget is high.
        self.show([*self._lines, *[TextLine(())] * (self.size.height - len(self._lines))])

    def on_click(self, event: events.Click) -> None:
        """Post a message with the key of the clicked field."""
        place = self.scroll_offset.y + event.y
        self.post_message(self.FieldClicked(self.rows[place].field if place < len(self.rows) else ""))


class Pane(Vertical):
    """The right side of the launcher: the text about the current row, or the form of a job.

    The texts typed into a form are stored in `drafts`. The text about the job shows them.

    Args:
        folder: folder of relative paths, databases and configuration.
        environ: environment variables.
        reading: lock that is held while the form reads an input, which may open a database.
        key: returns the key of an action, whose id is given.
        drafts: the texts typed into forms, by the job's text for `load_job`. The pane adds to this dictionary.
        id: id of the widget.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        *,
        reading: threading.Lock,
        key: Callable[[str], str],
        drafts: dict[str, Draft],
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._environ = environ
        self._key = key
        self.drafts = drafts
        self._folder = folder
        self._row: Row | None = None
        self._title = self._shared = ""
        self._same_name: Mapping[str, int] = {}
        self._text = Text(id="about")
        self._head = PaintedLines(self._head_lines, id="head")
        self.form = JobForm(environ, reading=reading, id="form")

    def compose(self) -> ComposeResult:
        """Yield the text, and the form with the head above it. Either the text or the form is visible."""
        yield self._text
        yield self._head
        yield self.form

    class Resized(Message):
        """Message: the pane has another size, for which its text has to be written again."""

    def on_resize(self) -> None:
        """Use blank lines in the form only on a terminal that is high enough, and post `Resized`."""
        self.form.set_class(self.app.size.height >= LOW, "tall")
        self.post_message(self.Resized())

    def look_in(self, folder: Path) -> None:
        """Change the folder of relative paths, databases and configuration."""
        self._folder = folder

    def _defaults_of(self, found: FoundJob) -> Defaults:
        """Return the values of empty fields of a job, for the folder in which it runs."""
        return Defaults(found.folder or self._folder, self._environ)

    # --- text about a row ---------------------------------------------------------------------------------------

    def show(
        self, row: Row | None, *, same_name: Mapping[str, int], above: Sequence[TextLine] = (), shared: str = ""
    ) -> None:
        """Show text about a row.

        Args:
            row: the row; None to show no text.
            same_name: number of jobs that have a name, by name. A job whose name is not unique is shown with its file.
            above: lines above the text, which say that the folder has no jobs; empty for other folders.
            shared: a warning that the job would fill the table of another job; empty for none.
        """
        is_same = bool(row_name(row)) and row_name(row) == row_name(self._row)
        self._row, self._same_name, self._shared = row, same_name, shared
        title = "no job here yet" if above else _title(row, same_name)
        if title != self._title:
            self._title = title
            self.border_title = Content(title) if title else None
        lines = [*above, *([TextLine(()), TextLine(())] if above else ()), *self._lines(row)]
        self._text.tell(lines, keep_view=is_same)

    @property
    def text_width(self) -> int:
        """Cells of a line of text, without the cell at the right that a scroll bar needs."""
        # On a narrow terminal, the right side has no size until it covers the list.
        return max((self.content_size.width if self.display else 0) or self.app.size.width - 2, 20) - 1

    def _lines(self, row: Row | None) -> list[TextLine]:
        width, height = self.text_width, self.app.size.height
        keys = {name: self._key(f"launcher.{action}") for name, action in _KEYS.items()}
        match row:
            case FoundJob(error="") as found:
                fields = fields_found(found, self._defaults_of(found), shared=self._shared)
                return job_details(found, fields, self.draft_of(found), width, height, load_key=keys["choose"])
            case FoundJob() as found:
                return broken_details(found, width)
            case FoundRun() as run:
                return run_details(run, width, height, keys)
            case FoundDatabase() as database:
                return database_details(database, width, height, keys)
            case Samples() as samples:
                return samples_details(samples, width, height, keys)
        return []

    def _head_lines(self, width: int) -> list[Line]:
        if not isinstance(self._row, FoundJob):
            return []
        return [each.line for each in job_head(self._row, width - 1, self.app.size.height)]

    # --- the form of a job --------------------------------------------------------------------------------------

    @property
    def is_form(self) -> bool:
        """True while the form is visible."""
        return self.form.display

    def is_form_of(self, row: Row | None) -> bool:
        """Return True if the form of `row` is shown."""
        return self.is_form and self._row is row

    def draft_of(self, found: FoundJob) -> Draft:
        """Return what was typed into the form of a job."""
        if self.is_form_of(found):
            return self.form.draft
        return self.drafts.get(found.job, Draft())

    def missing(self, found: FoundJob) -> list[str]:
        """Return the names of the fields of a job that are empty and have to be filled in before it can run."""
        typed = self.draft_of(found).typed
        fields = fields_found(found, self._defaults_of(found))
        has_input = "input:input" in typed
        return [
            each.name
            for each in fields
            if each.required and each.key not in typed and not (each.of_items and has_input)
        ]

    async def fill(self, found: FoundJob, job: Job) -> None:
        """Fill the form with the fields and the draft of a loaded job. `edit` shows the form later."""
        self._row = found
        draft = self.drafts.get(found.job, Draft())
        await self.form.fill(job, found, self._defaults_of(found), draft, width=self.text_width, shared=self._shared)

    def edit(self) -> None:
        """Show the form in place of the text."""
        if isinstance(self._row, FoundJob):
            self._head.styles.height = len(job_head(self._row, self.text_width, self.app.size.height))
        self._swap(form=True)

    def _swap(self, *, form: bool) -> None:
        # Changing a style class of the pane instead would restyle all of its widgets, which takes longer.
        self._text.display = not form
        self._head.display = self.form.display = form

    def keep(self) -> None:
        """Store the texts of the form as the draft of its job."""
        if self.form.job is not None and isinstance(self._row, FoundJob):
            self.drafts[self._row.job] = self.form.draft

    def leave(self) -> None:
        """Show the text in place of the form, and store the texts of the form as the draft of its job."""
        self.keep()
        self.form.clear()
        self._swap(form=False)


_KEYS = {
    "choose": "choose",
    "retry": "retry",
    "query": "open_database",
    "copy_samples": "copy_samples",
}


def _title(row: Row | None, same_name: Mapping[str, int]) -> str:
    match row:
        case FoundJob(error="") as found:
            return job_title(found, same_name)
        case FoundJob() as found:
            return own(found.name, 60)
        case FoundRun(summary=summary, database=path):
            return f"{own(path.name, 60)} · run {summary.record.run_id} of {own(summary.record.job, 60)}"
        case FoundDatabase(path=path):
            return own(path.name, 100)
        case Samples():
            return "samples"
    return ""
