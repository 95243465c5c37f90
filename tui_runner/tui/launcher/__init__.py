"""The launcher: `tui-runner` without arguments. It offers jobs and databases, and returns the chosen one.

It is a separate application that ends before a run begins, so that the dashboard and the exit code do not depend on how
the run was started. It ends when the job, input and database of the run are open: their errors are shown here, where
the user can correct them.

`discovery` finds jobs and databases, `rows` draws the list, `details` the text beside it; `fields` are those of a job,
`job_form` the form with them, and `pane` the right side with text or form.
"""

from __future__ import annotations

import gc
import io
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Input, Static

from tui_runner._version import __version__
from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.planning.request import RunRequest, guessed_redaction
from tui_runner.engine.planning.resume import resume_request, retry_request
from tui_runner.engine.runner import Runner
from tui_runner.engine.trial import run_trial
from tui_runner.errors import DatabaseError, UserError
from tui_runner.jobs.loading import load_job
from tui_runner.system.files import with_short_home
from tui_runner.text.numbers import plural
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import bindings, changed_keys, key_of, palette
from tui_runner.tui.actions.keymap import resolve
from tui_runner.tui.actions.list_keys import ListNavigation, Movable
from tui_runner.tui.actions.model import Place
from tui_runner.tui.base_app import STYLES, Application
from tui_runner.tui.dialogs.help import Help
from tui_runner.tui.dialogs.questions import Ask
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.launcher.command_lines import command_of
from tui_runner.tui.launcher.details import TextLine, empty_folder
from tui_runner.tui.launcher.discovery import (
    HERE,
    SAMPLES_HERE,
    FoundDatabase,
    FoundJob,
    FoundRun,
    find_databases,
    find_jobs,
)
from tui_runner.tui.launcher.fields import Draft
from tui_runner.tui.launcher.footer import labels_of
from tui_runner.tui.launcher.opening import RunOpener
from tui_runner.tui.launcher.pane import Pane, Text
from tui_runner.tui.launcher.rows import Row, Samples, below, drawn, first_choice, is_passed_over, listed, row_name
from tui_runner.tui.preferences import Preferences, read_preferences
from tui_runner.tui.terminal.driver import driver_class
from tui_runner.tui.terminal.external_editor import edit_file, has_editor
from tui_runner.tui.themes import find_themes
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import Line, PaintedLines, end_of, own, spread

_PATIENCE = 1.5
"""Seconds that the first list waits for databases. Rows found later must not move the listed rows, nor the cursor."""
_NARROW = 100
"""On a terminal with fewer cells, either the list or the right side is shown."""

Chosen = Runner | RunRequest | Path
"""An open run; a request that needs a secret before it can be opened; or a database to query."""


def _as_asked(request: RunRequest) -> Runner | RunRequest:
    return request


def _nothing(folder: Path) -> str:
    raise UserError("cannot be written from here", str(folder), "see: tui-runner init --help")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the launcher begins, and where it was left.

    Attributes:
        folder: folder with jobs and databases; the current folder, so that relative paths of a job are found there.
        row: name of the row under the cursor (`row_name`); empty for the row that the user most likely wants.
        drafts: what was typed into the forms of jobs, by the job's text for `load_job`.
    """

    folder: Path
    row: str = ""
    drafts: dict[str, Draft] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Starters:
    """Functions that write first files into a folder; each returns one line about its effect.

    Attributes:
        write_job: writes a small job.
        copy_samples: copies the sample jobs.

    Both raise:
        UserError: a file is there already, or the folder cannot be written.
    """

    write_job: Callable[[Path], str] = _nothing
    copy_samples: Callable[[Path], str] = _nothing


class _ListFirst(Screen[None]):
    """The screen of the list. It begins without a focus: the fields of the form exist before they are shown."""

    AUTO_FOCUS = ""


class Launcher(ListNavigation, Application[Chosen]):
    """Offers jobs to start and runs to resume. The result is a run, or a database to query.

    Args:
        folder: folder with jobs and databases.
        environ: environment variables.
        preferences: the user's preferences; None to read them.
        theme: name of a theme; None for the preferred one.
        begin: opens a run, its input and its database. It is called in a thread and may raise `UserError`. By default,
            nothing is opened, and the request is the result.
        captured_output: captured native output of this process, and the stream to the terminal; None for a new one.
        starters: functions that write first files; None to offer neither.
        spot: the folder, the row on which the cursor begins, and what was typed before; None for `folder` alone.
        shell: current folder of the user, for commands to copy; None for `folder`.
    """

    TITLE = "tui-runner"
    CSS_PATH = STYLES / "runner.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Place.LAUNCHER, Place.LIST),
        # Without an id, so that no keymap can change it.
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        *,
        preferences: Preferences | None = None,
        theme: str | None = None,
        begin: Callable[[RunRequest], Runner | RunRequest] = _as_asked,
        captured_output: CapturedOutput | None = None,
        starters: Starters | None = None,
        spot: Spot | None = None,
        shell: Path | None = None,
    ) -> None:
        self.spot = spot or Spot(folder)
        """The folder, and the row on which the cursor begins; then the row under the cursor."""
        self._opening = False  # True while a run is being opened: a second start is ignored
        self._starters = starters or Starters()
        self._wanted = ""
        self._jobs: list[FoundJob] = []
        self._made = ""
        """Name of the row of the job that was last written or copied into the folder; empty for none."""
        self._databases: list[FoundDatabase] = []
        self._names: Counter[str] = Counter()
        self._files = 0
        self._looking = True
        self._unfolded: bool | None = None
        """True while each sample has a row; None until the user says, then they have in an empty folder."""
        self._said = ("", True)
        self._is_narrow = False
        self._reads = False
        """True while the text about a row covers the list of a narrow terminal."""
        self._reading = threading.Lock()
        """Held while a database is opened, because a database that this process has open must not be opened again."""
        self._opener = RunOpener(self, begin, self._reading)
        themes = find_themes()
        self._folder = folder
        self._shell = shell or folder
        self._environ = environ
        self._preferences = preferences or read_preferences(folder)
        self._keys, complaints = resolve(self._preferences.keymap)
        self._complaints = [*self._preferences.complaints, *themes.complaints, *complaints]
        super().__init__(driver_class=driver_class(), captured_output=captured_output)
        self.animation_level = "none"
        self.set_keymap(changed_keys(self._keys))
        for each in themes.by_name.values():
            self.register_theme(each)
        self.theme = themes.named(theme) if theme else themes.preferred(self._preferences.theme)
        self._pane = Pane(
            folder,
            environ,
            reading=self._reading,
            key=lambda action: key_of(self.screen, action),
            drafts=self.spot.drafts,
            id="right",
        )

    def get_default_screen(self) -> Screen[None]:
        """Return the screen of the list."""
        return _ListFirst(id="_default")

    def compose(self) -> ComposeResult:
        """Yield the list at the left, text or form at the right, and the keys below."""
        yield PaintedLines(self._title_lines, id="title")
        with Horizontal(id="columns"):
            with Vertical(id="left"):
                yield Rows[Row](
                    self._row_line,
                    title=is_passed_over,
                    foot=below,
                    nothing=lambda: "looking for jobs …",
                    id="found",
                )
            yield self._pane
        yield Static(id="trouble")
        yield KeyLine(self._keys, (Place.LAUNCHER,), id="hints")

    def on_mount(self) -> None:
        """List jobs and runs together, or only jobs first if reading databases takes longer than `_PATIENCE`."""
        self.query_one("#left").border_title = "jobs and databases"
        self._look()
        self.tell_complaints(self._complaints)
        self.watch_terminal()

    # --- the list of jobs and runs -------------------------------------------------------------------------

    def _look(self) -> None:
        """Search the folder for jobs and databases. Late results do not move the listed rows."""
        if self._pane.is_form:  # the command palette works in the form, too
            self._leave_form()
        self._jobs = find_jobs(self._folder, self._preferences.state.recent)
        self._names = Counter(job.name for job in self._jobs)
        self._files = sum(1 for _ in self._folder.glob("*.py"))
        self._databases = []
        self._late = False
        self._looking = True
        self._pane.look_in(self._folder)
        self.query_one("#found", Rows).show([])
        self.run_worker(self._find_databases, thread=True, group="runs", exclusive=True)
        self._patience = self.set_timer(_PATIENCE, self._list_without_runs)
        self._about()

    def _list_without_runs(self) -> None:
        if self._looking:
            self._late = True
            self._list()

    def _title_lines(self, width: int) -> list[Line]:
        jobs = sum(1 for job in self._jobs if job.group in (HERE, SAMPLES_HERE) and not job.error)
        databases = len(self._databases)
        found = (
            f"{plural(jobs, 'job')} · {'looking for databases …' if self._looking else plural(databases, 'database')}"
        )
        wanted = f"only “{own(self._wanted, 20)}”  " if self._wanted else ""
        title, where = f" tui-runner {__version__}", own(with_short_home(str(self._folder)), 200)
        for keys in ("/ filter   T theme   ? help ", "? help "):
            room = width - sum(cell_len(text) for text in (title, "   ", "   ", found, "  ", wanted, keys))
            if cell_len(where) <= room:
                break
        # The end of a long path matters more.
        where = end_of(where, max(room, 12))
        left: Line = ((title, "accent"), (f"   {where}", "strong"), (f"   {found}", "muted"))
        return [spread(left, ((f"{wanted}{keys}", "muted"),), width)]

    def _row_line(self, row: Row, width: int) -> Line:
        return drawn(row, width, same_name=self._names)

    def on_resize(self, event: Resize) -> None:
        """Show only the list or the right side on narrow terminals."""
        # Do not use `self.size`, which Textual's own handler sets only after this one.
        self._is_narrow = event.size.width < _NARROW
        self.query_one("#columns").set_class(self._is_narrow, "narrow")
        self._reads = self._reads and self._is_narrow
        self._arrange()
        self.call_after_refresh(self._fit)

    def _arrange(self) -> None:
        """Show the list and the right side, or one of them on narrow terminals; mark the one with the focus."""
        inside = self._pane.is_form or self._reads
        self.query_one("#left").display = not (self._is_narrow and inside)
        self._pane.display = inside or not self._is_narrow
        # The borders are drawn with both sides, which would make the first frame late.
        self.call_after_refresh(self._mark_focus)

    def _mark_focus(self) -> None:
        inside = self._pane.is_form or self._reads
        for side, name in ((self.query_one("#left"), "idle"), (self._pane, "active")):
            if side.has_class(name) != inside:
                # Only the border depends on the class, and restyling the fields in it takes longer than a key may take.
                side.set_class(inside, name, update=False)
                self.stylesheet.apply(side)

    def _fit(self) -> None:
        """List and describe again: what fits has changed."""
        if self.query_one("#found", Rows).rows:
            self._list()

    def _find_databases(self) -> None:
        with self._reading:
            databases = find_databases(self._folder)
        self.call_later(self._found_databases, databases)

    def _found_databases(self, databases: list[FoundDatabase]) -> None:
        self._databases, self._looking = databases, False
        self._list()
        self.call_after_refresh(self._get_ready)

    async def _get_ready(self) -> None:
        """Do what a later key would have to wait for."""
        await self._pane.form.prepare()
        # Everything that is loaded now stays. A full collection would stop the screen for a tenth of a second at a key.
        gc.freeze()

    def on_unmount(self) -> None:
        """Let the launcher be collected."""
        gc.unfreeze()

    def _list(self) -> None:
        """Show the rows found so far. The cursor stays on its row, and visible rows stay in place."""
        found: Rows[Row] = self.query_one("#found", Rows)
        rows = listed(
            self._jobs,
            self._databases,
            wanted=self._wanted,
            empty=self._empty_list(found.size.width - 2),
            looking=self._looking,
            unfolded=self._is_empty if self._unfolded is None else self._unfolded,
            height=found.size.height,
        )
        names = [row_name(row) for row in rows]
        here = row_name(found.current)
        if here not in names or not here:
            here = next((name for name in (self._made, self.spot.row) if name and name in names), "")
            found.show(rows, place=names.index(here) if here else first_choice(rows, self._preferences.state.recent))
        elif self._late:
            # If rows are inserted above the cursor, the view scrolls by their number, so that nothing seems to move.
            place = names.index(here)
            found.show(rows, place=place, above=place - found.place)
        else:
            found.show(rows, place=names.index(here))
        self.query_one("#title", PaintedLines).repaint()
        self._about()

    def _empty_list(self, width: int) -> Sequence[Line]:
        """Return what the list says about a folder without jobs, where no text stands beside it."""
        lines = self._empty_lines(width)
        return [each.line for each in lines] if self._is_narrow else [(("none yet", "muted"),)] if lines else []

    def _empty_lines(self, width: int) -> Sequence[TextLine]:
        """Return the text about a folder without jobs and databases; nothing for a folder that has some."""
        if self._looking or not self._is_empty:
            return ()
        names = {"init": "write_job", "samples": "try_sample", "copy": "copy_samples", "folder_key": "other_folder"}
        keys = {name: key_of(self.screen, f"launcher.{action}") for name, action in names.items()}
        where = Path(with_short_home(str(self._folder)))
        return empty_folder(where, self._files, keys, width, editor=has_editor(self._environ))

    # --- keys and mouse: they move in the list, or in the form ----------------------------------------------

    @property
    def _current(self) -> Row | None:
        rows: Rows[Row] = self.query_one("#found", Rows)
        return rows.current

    @property
    def _is_empty(self) -> bool:
        """True if the folder has neither jobs nor databases."""
        return not self._databases and not any(job.is_here for job in self._jobs)

    @property
    def _in_form(self) -> bool:
        return isinstance(self.focused, Input)

    def on_rows_moved(self) -> None:
        """Show the details of the row under the cursor."""
        self._say("")
        if self._pane.is_form:  # the mouse has gone to another row
            self._leave_form()
        self._about()

    async def on_rows_opened(self) -> None:
        """Choose the row that was opened with the mouse."""
        await self.action_choose()

    async def on_text_field_clicked(self, event: Text.FieldClicked) -> None:
        """Go into the form of the current job."""
        match self._current:
            case FoundJob(error="") as found:
                await self._edit(found, event.key)

    def on_input_changed(self) -> None:
        """Remove the error message while the user corrects the text."""
        self._say("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next field; in the last one, start the job."""
        event.stop()
        if self._pane.form.at_end:
            self._start()
        else:
            self._pane.form.go_on(1)

    async def action_start(self) -> None:
        """Start the job of the row or form with what is typed; go on with an unfinished run."""
        match self._current:
            case FoundJob(error="") as found:
                if self._pane.is_form or await self._load(found):
                    self._start()
            case FoundRun():
                self.action_resume()
            case FoundJob() as found:
                self._say(found.error)

    def list_in_use(self) -> Movable:
        """Return the list at the left; the text at the right where that covers the list."""
        return self.query_one("#about" if self._reads else "#found", Rows)

    def action_cursor_down(self) -> None:
        """Move the cursor down; in the form, go to the next field."""
        if self._in_form:
            self._pane.form.go_on(1)
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """Move the cursor up; in the form, go to the previous field."""
        if self._in_form:
            self._pane.form.go_on(-1)
        else:
            super().action_cursor_up()

    def action_page_down(self) -> None:
        """Move the cursor down by a page; in the form, scroll it."""
        if self._in_form:
            self._pane.form.scroll_page_down(animate=False)
        else:
            super().action_page_down()

    def action_page_up(self) -> None:
        """Move the cursor up by a page; in the form, scroll it."""
        if self._in_form:
            self._pane.form.scroll_page_up(animate=False)
        else:
            super().action_page_up()

    async def action_focus_next(self) -> None:  # type: ignore[override]  # Textual awaits actions
        """Carry out Tab, which Textual's screens bind themselves."""
        if isinstance(self.screen, _ListFirst):
            await self.action_next_field()
        else:
            super().action_focus_next()

    def action_focus_previous(self) -> None:
        """Carry out Shift+Tab, which Textual's screens bind themselves."""
        if not isinstance(self.screen, _ListFirst):
            super().action_focus_previous()
        elif self._in_form:
            self._pane.form.go_on(-1)

    async def action_next_field(self) -> None:
        """Go into the form, or to its next field; on narrow terminals, show the text about a run or database."""
        match self._current:
            case FoundJob(error="") as found if not self._pane.is_form:
                await self._edit(found)
            case None:
                return
            case _ if self._pane.is_form:
                self._pane.form.go_on(1)
            case _ if self._is_narrow:
                self._reads = True
                self._arrange()

    def action_help(self) -> None:
        """Show the help screen."""
        self.push_screen(Help(self._keys, (Place.LAUNCHER, Place.LIST)))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Return the commands of the palette: every action."""
        yield from palette(self, screen, self._keys, (Place.LAUNCHER,))

    def on_key_line_chosen(self, event: KeyLine.Chosen) -> None:
        """Carry out an action whose key was clicked."""
        self.call_later(self.run_action, f"app.{event.action.method}")

    # --- actions on the current row or job ------------------------------------------------------------------

    async def action_choose(self) -> None:
        """Fill in the form of a job; resume a run; open a database; list the samples."""
        match self._current:
            case FoundJob(error="") as found:
                await self._edit(found)
            case FoundRun():
                self.action_resume()
            case FoundDatabase() as found if found.can_be_queried:
                self.action_open_database()
            case Samples(unfolded=unfolded):
                self._unfolded = not unfolded
                self._list()
            case FoundJob() | FoundDatabase() as found:
                self._say(found.error)

    def action_try_sample(self) -> None:
        """List the samples, and go to the first one."""
        self._wanted, self._unfolded = "", True
        self._list()
        found: Rows[Row] = self.query_one("#found", Rows)
        place = next((n for n, row in enumerate(found.rows) if isinstance(row, Samples)), None)
        if place is not None:
            # Show what is there to choose from, too.
            found.go_to_end()
            found.go_to(place + 1)

    def action_resume(self) -> None:
        """Resume the run under the cursor."""
        match self._current:
            case FoundRun(summary=summary, database=database):
                self._open(lambda: resume_request(database, summary.record.run_id))

    def action_retry(self) -> None:
        """Retry the failed items of the newest run of the database under the cursor that has some."""
        match self._current:
            case FoundDatabase(path=database, to_retry=run) if run is not None:
                self._open(lambda: retry_request(database, run.summary.record.run_id))

    def action_filter(self) -> None:
        """List only jobs and runs with a text in their names; an empty text lists all."""

        def answered(text: str | None) -> None:
            if text is not None:
                self._wanted = text.strip()
                self._list()

        self.push_screen(Ask("List only what has this in its name", self._wanted), answered)

    def action_choose_theme(self) -> None:
        """Choose a theme by name."""
        self.search_themes()

    def action_write_job(self) -> None:
        """Write a small job into the folder, list it, and edit it if the user has set an editor."""
        self._made = ""
        self._make(lambda: self._starters.write_job(self._folder))
        if not self._made or not has_editor(self._environ):
            return
        path = Path(self._made.rpartition(":")[0])
        try:
            edit_file(self, path, self._environ)
        except UserError as error:
            self._complain(error)
        self._look()
        self._made = next((job.job for job in self._jobs if job.job.startswith(f"{path}:")), "")

    def action_copy_samples(self) -> None:
        """Copy the sample jobs into the folder, and list them."""
        self._make(lambda: self._starters.copy_samples(self._folder))

    def _make(self, work: Callable[[], str]) -> None:
        try:
            said = work()
        except UserError as error:
            self._complain(error)
            return
        before = {job.job for job in self._jobs}
        self._look()
        # The cursor goes to the new job, not to the usual row.
        self._made = next((job.job for job in self._jobs if job.job not in before), "")
        self._say(said, trouble=False)

    def action_other_folder(self) -> None:
        """Look for jobs and databases in another folder."""

        def wrong(text: str) -> str:
            return "" if Path(text).expanduser().is_dir() else "there is no such folder"

        def answered(text: str | None) -> None:
            if text is not None:
                folder = (self._folder / Path(text).expanduser()).resolve()
                try:
                    # The database, relative paths of the job and the configuration of a run are those of this folder.
                    os.chdir(folder)
                except OSError as error:
                    self._complain(error)
                    return
                self._folder, self.spot = folder, Spot(folder, drafts=self._pane.drafts)
                self._unfolded = None
                self._look()

        self.push_screen(Ask("Look for jobs in which folder?", str(self._folder), wrong), answered)

    def action_copy_command(self) -> None:
        """Copy the command line that does the same as the row or form without the screen."""
        row = self._current
        draft = self._pane.draft_of(row) if isinstance(row, FoundJob) else Draft()
        command = None if row is None else command_of(row, draft, folder=self._folder, shell=self._shell)
        if command is None:
            return
        self.copy_to_clipboard(command)
        notes = ["copied"]
        if isinstance(row, FoundJob):
            if missing := self._pane.missing(row):
                notes.append(f"{own(', '.join(missing), 100)} still missing")
            if draft.secrets.intersection(draft.typed):
                notes.append("without secrets")
        self.notify(f"{', '.join(notes)}: {own(command, 300)}", markup=False)

    def action_open_database(self) -> None:
        """Open the database under the cursor for queries."""
        match self._current:
            case FoundRun(database=path):
                self.exit(path)
            case FoundDatabase(path=path) as found if found.can_be_queried:
                self.exit(path)

    async def action_try_job(self) -> None:
        """Call the job with its first three items and show the results."""
        match self._current:
            case FoundJob(error="") as found:
                if not self._pane.is_form and not await self._load(found):
                    return
                self._say("")
                request = self._pane.form.request(limit=3)
                if request is None:
                    self._show_fault()
                    return
                if not self._pane.is_form:
                    self._pane.leave()
                self._say("trying the first 3 items …", trouble=False)
                self.run_worker(lambda: self._try(request), thread=True, exclusive=True, group="try")
            case FoundJob() as found:
                self._say(found.error)

    def action_to_list(self) -> None:
        """Go back from the form to the list; what was typed is kept."""
        self._say("")
        if self._reads:
            self._reads = False
            self._arrange()
        if self._pane.is_form:
            self._leave_form()
            self._about()

    # --- loading, trying and opening a job ------------------------------------------------------------------

    async def _load(self, found: FoundJob) -> bool:
        """Load a job, which executes its file, and fill its form. Return False if it cannot be loaded.

        Later keys wait until the form is there, because they are meant for it.
        """
        redaction = guessed_redaction({}, self._environ)
        self.captured_output.use_redaction(redaction)
        try:
            job = load_job(found.job, folder=self._folder, redact=redaction)
        except UserError as error:
            self._complain(error)
            return False
        self._say("")
        await self._pane.fill(found, job)
        return True

    async def _edit(self, found: FoundJob, key: str = "") -> None:
        """Go into the form of a job, to the field with this key or to the first one to fill in."""
        if not self._pane.is_form and await self._load(found):
            self._show_form()
            form = self._pane.form
            form.go_to_first()
            if key:
                form.go_to_field(key)

    def _show_form(self) -> None:
        self._pane.edit()
        self._arrange()
        self._about()

    def _show_fault(self, key: str = "") -> None:
        """Show the form, with the focus on the field with this key or on the first one that is wrong."""
        if not self._pane.is_form:
            self._show_form()
        form = self._pane.form
        if key:
            form.go_to_field(key)
        else:
            form.go_to_fault()

    def _leave_form(self) -> None:
        self._pane.leave()
        self._arrange()
        self.set_focus(None)

    def _try(self, request: RunRequest) -> None:
        out = io.StringIO()
        self.captured_output.discard()  # output from listing items before
        try:
            run_trial(request, out, self.captured_output)
            text = out.getvalue()
        except UserError as error:
            self.captured_output.settle()
            lines, _ = self.captured_output.take_all()
            printed = "".join(f"{safe_text(line.text)}\n" for line in lines)
            text = f"{printed}{out.getvalue()}\n{error}"
        self.call_later(self._tried, text)

    def _tried(self, text: str) -> None:
        self._say("")
        self.push_screen(Reader("the first 3 items; nothing was written", text))

    def _start(self) -> None:
        request = self._pane.form.request()
        if request is None:
            self._show_fault()
            return
        self._pane.keep()
        self._open(lambda: request, of_form=True)

    def _open(self, ask: Callable[[], RunRequest], *, of_form: bool = False) -> None:
        if not self._opening:
            self._opening = True
            self._say("starting …", trouble=False)
            self.run_worker(self._opened(ask, of_form=of_form))

    async def _opened(self, ask: Callable[[], RunRequest], *, of_form: bool) -> None:
        """Open the run and leave the launcher with it, or show why it cannot be opened.

        Args:
            ask: returns the request of the run.
            of_form: True if it is that of the form, which then shows what is wrong, also if it was started from the
                list.
        """
        form = self._pane.form
        try:
            if of_form and not await form.items_are_good():
                self._say("")
                self._show_fault("input:input")
                return
            opened = await self._opener.open(ask, self._folder)
            if opened is None:
                self._say("")
            else:
                self.exit(opened)
        except DatabaseError as error:
            self._complain(error)
            if of_form:
                form.complain_of_database(error.what)
                self._show_fault("database:database")
        except (UserError, OSError) as error:
            self._complain(error)
            if of_form:
                self._show_fault()
        finally:
            self._opening = False
            if of_form and not self._pane.is_form:
                self._pane.leave()

    # --- messages, details and key labels -------------------------------------------------------------------

    def _complain(self, error: Exception) -> None:
        self._say(str(error))

    def _say(self, text: str, *, trouble: bool = True) -> None:
        """Show an error, or the work in progress, above the keys until the next step."""
        # Each key in the form clears the message. If there is no message, that must not cost a layout.
        if (text, trouble) == self._said:
            return
        self._said = (text, trouble)
        line = self.query_one("#trouble", Static)
        line.update(Content(safe_text(text, limit=400)))
        line.display = bool(text)
        line.set_class(trouble, "wrong")

    def _about(self) -> None:
        """Show the text about the current row, and the keys that it has."""
        row = self._current
        if row is not None:
            self.spot = Spot(self._folder, row_name(row), self._pane.drafts)
        # In an empty folder the cursor begins on the samples, the only thing there is.
        above = self._empty_lines(self._pane.text_width) if isinstance(row, Samples) and not self._is_narrow else ()
        self._pane.show(row, same_name=self._names, above=above)
        labels = labels_of(row, in_form=self._pane.is_form, empty=self._is_empty and not self._looking)
        self.query_one(KeyLine).relabel(labels, typing=self._pane.is_form)


def launch(
    spot: Spot,
    environ: Mapping[str, str],
    *,
    begin: Callable[[RunRequest], Runner],
    theme: str | None = None,
    captured_output: CapturedOutput | None = None,
    starters: Starters | None = None,
    shell: Path | None = None,
) -> tuple[Chosen | None, Spot]:
    """Show the launcher from `spot` on. Return the choice and where it was made, to return to it.

    The choice is a run that `begin` has opened, a database to query, or None if the user leaves. A run that lacks a
    secret is not opened: the caller asks for the secret at the terminal.

    Raises:
        UserError: there is no theme of that name.
    """
    launcher = Launcher(
        spot.folder,
        environ,
        theme=theme,
        begin=begin,
        captured_output=captured_output,
        starters=starters,
        spot=spot,
        shell=shell,
    )
    chosen = launcher.run_or_raise()
    return chosen, launcher.spot
