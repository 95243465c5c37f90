"""The launcher: `tui-runner` without arguments. It offers jobs and databases, and returns the chosen one.

It is a separate application that ends before a run begins, so that the dashboard and the exit code do not depend on how
the run was started. It ends when the job, input and database of the run are open: their errors are shown here, where
the user can correct them.

`discovery` finds jobs and runs, `rows` draws the list and the text beside it, and `job_form` has the fields of a job.
"""

from __future__ import annotations

import io
import os
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
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
from tui_runner.jobs.origin import job_origin
from tui_runner.jobs.parameters import MissingParameters
from tui_runner.system.files import with_short_home
from tui_runner.text.messages import command_line
from tui_runner.text.numbers import plural
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.actions import bindings, changed_keys, key_of, palette
from tui_runner.tui.actions.keymap import resolve
from tui_runner.tui.actions.list_keys import ListNavigation, Movable
from tui_runner.tui.actions.model import Place
from tui_runner.tui.background import in_thread
from tui_runner.tui.base_app import STYLES, Application
from tui_runner.tui.dialogs.help import Help
from tui_runner.tui.dialogs.questions import Ask, Confirm
from tui_runner.tui.dialogs.reader import Reader
from tui_runner.tui.launcher.discovery import FoundJob, FoundRun, find_jobs, find_runs
from tui_runner.tui.launcher.job_form import JobForm
from tui_runner.tui.launcher.rows import (
    Row,
    about,
    drawn,
    empty_folder,
    empty_list,
    first_choice,
    is_passed_over,
    listed,
    row_name,
)
from tui_runner.tui.preferences import Preferences, read_preferences
from tui_runner.tui.terminal.driver import driver_class
from tui_runner.tui.themes import find_themes
from tui_runner.tui.widgets.footer import KeyLine
from tui_runner.tui.widgets.list_view import Rows
from tui_runner.tui.widgets.paint import Line, PaintedLines, end_of, own, spread

_PATIENCE = 1.5
"""Seconds that the first list waits for databases. Rows found later must not move the listed rows, nor the cursor."""
_NARROW = 90
"""On a terminal with fewer cells, either the list or the form is shown."""
_FRAME = 4
"""Cells of the border and margins of the text beside the list."""

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
    """

    folder: Path
    row: str = ""


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
        row: name of the row on which the cursor begins; empty for the row that the user most likely wants.
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
        row: str = "",
        shell: Path | None = None,
    ) -> None:
        self.spot = Spot(folder, row)
        """The folder, and the row on which the cursor begins; then the row under the cursor."""
        self._begin = begin
        self._opening = False  # True while a run is being opened: a second start is ignored
        self._starters = starters or Starters()
        self._wanted = ""
        self._jobs: list[FoundJob] = []
        self._made: FoundJob | None = None
        """First of the jobs that were last written or copied into the folder."""
        self._runs: list[FoundRun] = []
        self._names: Counter[str] = Counter()
        self._files = 0
        self._looking = True
        self._said = ("", True)
        self._reading = threading.Lock()
        """Held while a database is opened, because a database that this process has open must not be opened again."""
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

    def compose(self) -> ComposeResult:
        """Yield the list at the left, details of its current row at the right, and the keys below."""
        yield PaintedLines(self._title_lines, id="title")
        with Horizontal(id="columns"):
            yield Rows[Row](self._row_line, title=is_passed_over, nothing=lambda: "looking for jobs …", id="found")
            with Vertical(id="right"):
                yield Static(id="about")
                yield JobForm(self._folder, self._environ, reading=self._reading, id="form")
        yield Static(id="trouble")
        yield KeyLine(self._keys, (Place.LAUNCHER,), id="hints")

    def on_mount(self) -> None:
        """List jobs and runs together, or only jobs first if reading databases takes longer than `_PATIENCE`."""
        self._look()
        self.tell_complaints(self._complaints)
        self.watch_terminal()

    # --- the list of jobs and runs -------------------------------------------------------------------------

    def _look(self) -> None:
        """Search the folder for jobs and databases. Late results do not move the listed rows."""
        self._jobs = find_jobs(self._folder, self._preferences.state.recent)
        self._names = Counter(job.name for job in self._jobs)
        self._files = sum(1 for _ in self._folder.glob("*.py"))
        self._runs = []
        self._late = False
        self._looking = True
        self.query_one(Rows).show([])
        self.run_worker(self._find_runs, thread=True, group="runs", exclusive=True)
        self._patience = self.set_timer(_PATIENCE, self._list_without_runs)
        self._about()

    def _list_without_runs(self) -> None:
        if self._looking:
            self._late = True
            self._list()

    def _title_lines(self, width: int) -> list[Line]:
        jobs = sum(1 for job in self._jobs if job.group.startswith("in") and not job.error)
        databases = len({run.database for run in self._runs})
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
        """Show only the list or the form on narrow terminals."""
        # Do not use `self.size`, which Textual's own handler sets only after this one.
        self.query_one("#columns").set_class(event.size.width < _NARROW, "narrow")

    def _find_runs(self) -> None:
        with self._reading:
            runs = find_runs(self._folder)
        self.call_later(self._found_runs, runs)

    def _found_runs(self, runs: list[FoundRun]) -> None:
        self._runs, self._looking = runs, False
        self._list()
        self._about()

    def _list(self) -> None:
        """Show the rows found so far. The cursor stays on its row, and visible rows stay in place."""
        empty = "" if self._looking or not self._is_empty else empty_list(self._ways)
        rows = listed(self._jobs, self._runs, wanted=self._wanted, empty=empty)
        found: Rows[Row] = self.query_one(Rows)
        current = found.current
        if current not in rows:
            place = first_choice(rows, self._preferences.state.recent)
            if self._made is not None and self._made in rows:
                place = rows.index(self._made)
            elif self.spot.row:
                place = next((n for n, row in enumerate(rows) if row_name(row) == self.spot.row), place)
            found.show(rows, place=place)
        elif self._late:
            # If rows are inserted above the cursor, the view scrolls by their number, so that nothing seems to move.
            place = rows.index(current)
            found.show(rows, place=place, above=place - found.place)
        else:
            found.show(rows, place=rows.index(current))
        self.query_one("#title", PaintedLines).repaint()
        self._about()

    # --- keys and mouse: they move in the list, or in the form ----------------------------------------------

    @property
    def _current(self) -> Row | None:
        rows: Rows[Row] = self.query_one(Rows)
        return rows.current

    @property
    def _is_empty(self) -> bool:
        """True if the folder has neither jobs nor databases."""
        return not self._runs and not any(job.group.startswith(("in", "functions")) for job in self._jobs)

    @property
    def _ways(self) -> dict[str, str]:
        """Keys that lead out of an empty folder."""
        names = {"init": "write_job", "samples": "copy_samples", "folder_key": "other_folder"}
        return {name: key_of(self.screen, f"launcher.{action}") for name, action in names.items()}

    @property
    def _in_form(self) -> bool:
        return isinstance(self.focused, Input)

    def on_rows_moved(self) -> None:
        """Show the details of the row under the cursor."""
        self._say("")
        self._about()

    async def on_rows_opened(self) -> None:
        """Choose the row that was opened with the mouse."""
        await self.action_choose()

    def on_input_changed(self) -> None:
        """Remove the error message while the user corrects the text."""
        self._say("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next field; in the last one, start the job."""
        event.stop()
        if self.query_one(JobForm).at_end:
            self._start()
        else:
            self.screen.focus_next()

    def action_start(self) -> None:
        """Start the job of the form."""
        if self.query_one(JobForm).job is not None:
            self._start()

    def list_in_use(self) -> Movable:
        """Return the list at the left."""
        return self.query_one(Rows)

    def action_cursor_down(self) -> None:
        """Move the cursor down; in the form, go to the next field."""
        if self._in_form:
            self.screen.focus_next()
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """Move the cursor up; in the form, go to the previous field."""
        if self._in_form:
            self.screen.focus_previous()
        else:
            super().action_cursor_up()

    def action_page_down(self) -> None:
        """Move the cursor down by a page; in the form, scroll it."""
        if self._in_form:
            self.query_one(JobForm).scroll_page_down(animate=False)
        else:
            super().action_page_down()

    def action_page_up(self) -> None:
        """Move the cursor up by a page; in the form, scroll it."""
        if self._in_form:
            self.query_one(JobForm).scroll_page_up(animate=False)
        else:
            super().action_page_up()

    def action_next_field(self) -> None:
        """Go to the next field of the form."""
        self.screen.focus_next()

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
        """Fill in the form of a job; resume a run, or open the database of one that has finished or is running."""
        match self._current:
            case FoundJob(error="") as found:
                await self._load(found)
            case FoundRun() as run if run.unfinished:
                self.action_resume()
            case FoundRun() as run if run.can_be_queried:
                self.action_open_database()
            case FoundJob() | FoundRun() as found:
                self._say(found.error)

    def action_resume(self) -> None:
        """Resume the run under the cursor."""
        match self._current:
            case FoundRun(summary=summary, database=database) as run if summary is not None and run.unfinished:
                self._open(lambda: resume_request(database, summary.record.run_id))

    def action_retry(self) -> None:
        """Retry the failed items of the run under the cursor."""
        match self._current:
            case FoundRun(summary=summary, database=database) as run if summary is not None and _can_retry(run):
                self._open(lambda: retry_request(database, summary.record.run_id))

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
        """Write a small job into the folder, and list it."""
        self._make(lambda: self._starters.write_job(self._folder))

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
        self._made = next((job for job in self._jobs if job.job not in before), None)
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
                self._folder, self.spot = folder, Spot(folder)
                self.query_one(JobForm).look_in(self._folder)
                self._look()

        self.push_screen(Ask("Look for jobs in which folder?", str(self._folder), wrong), answered)

    def action_copy_command(self) -> None:
        """Copy the command line that starts the job with the values of the form."""
        request = self.query_one(JobForm).request(secrets=False)
        if request is not None:
            there = "" if self._folder == self._shell else f"cd {shlex.quote(str(self._folder))} && "
            self.copy_to_clipboard(there + _command(request))
            self.notify("the command line was copied; secrets are left out of it", markup=False)

    def action_open_database(self) -> None:
        """Open the database under the cursor for queries."""
        match self._current:
            case FoundRun() as run if run.can_be_queried:
                self.exit(run.database)

    async def action_try_job(self) -> None:
        """Call the job with its first three items and show the results."""
        match self._current:
            case FoundJob(error="") as found:
                form = self.query_one(JobForm)
                if form.job is None and not await self._load(found):
                    return
                self._say("")
                if (request := form.request(limit=3)) is not None:
                    self._say("trying the first 3 items …", trouble=False)
                    self.run_worker(lambda: self._try(request), thread=True, exclusive=True, group="try")
            case FoundJob() as found:
                self._say(found.error)

    async def action_to_list(self) -> None:
        """Go back from the form to the list."""
        if self.query_one(JobForm).job is None:
            return
        self._say("")
        await self.query_one(JobForm).clear()
        self.query_one("#columns").remove_class("form")
        self.set_focus(None)
        self._about()

    # --- loading, trying and opening a job ------------------------------------------------------------------

    async def _load(self, found: FoundJob) -> bool:
        """Load a job, which executes its file, and show its form. Return False if it cannot be loaded.

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
        self.query_one("#columns").add_class("form")
        await self.query_one(JobForm).fill(job, found.job)
        self._about()
        return True

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
        request = self.query_one(JobForm).request()
        if request is not None:
            self._open(lambda: request)

    def _open(self, ask: Callable[[], RunRequest]) -> None:
        if not self._opening:
            self._opening = True
            self._say("starting …", trouble=False)
            self.run_worker(self._opened(ask))

    async def _opened(self, ask: Callable[[], RunRequest]) -> None:
        """Open the run and leave the launcher with it, or show why it cannot be opened."""
        form = self.query_one(JobForm)

        def wanted() -> RunRequest:
            with self._reading:
                return ask()

        def begin() -> Runner | RunRequest:
            self._reading.acquire()
            try:
                opened = self._begin(request)
            except BaseException:
                self._reading.release()
                raise
            # The lock is never released: from now on the run has its database open, and the launcher must not open it
            # again.
            if not self.is_running and isinstance(opened, Runner):
                opened.close()  # the launcher was left meanwhile
            return opened

        try:
            if form.job is not None and not await form.items_are_good():
                self._say("")
                return
            request = await in_thread(wanted, "read the ledger")
            if not await self._may_run(request):
                self._say("")
                return
            while True:
                try:
                    opened = await in_thread(begin, "begin")
                    break
                except MissingParameters as missing:
                    # Secrets are not in the ledger, so the user is asked for them here.
                    secrets = await self._secrets(missing)
                    if secrets is None:
                        self._say("")
                        return
                    request = replace(request, params={**request.params, **secrets})
            self.exit(opened)
        except DatabaseError as error:
            self._complain(error)
            form.complain_of_database(error.what)
        except (UserError, OSError) as error:
            self._complain(error)
        finally:
            self._opening = False

    async def _secrets(self, missing: MissingParameters) -> dict[str, str] | None:
        """Ask for parameters that the database does not store. Return None if the user enters none.

        Raises:
            MissingParameters: some of them are not secret, and the form has fields for those.
        """
        if not missing.hidden or len(missing.hidden) < len(missing.names):
            raise missing
        typed: dict[str, str] = {}
        for name in missing.names:
            question = f"{own(name, 40)}: a secret, which the database does not keep"
            text = await self.push_screen_wait(Ask(question, secret=True))
            if not text:
                return None
            typed[name] = text
        return typed

    async def _may_run(self, request: RunRequest) -> bool:
        """Return True if the job was chosen here, may run without asking, or the user agrees."""
        if request.run_id is None:
            return True
        origin = job_origin(
            request.job, input=request.input, database=request.database, begun_in=request.folder, here=self._folder
        )
        if not origin.reasons:
            return True
        about = f"{own(origin.warning, 600)}\njob: {own(origin.text, 300)}"
        return await self.push_screen_wait(Confirm("Run this job?", about, "Run it", "Leave it"))

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
        if self._current is not None:
            self.spot = Spot(self._folder, row_name(self._current))
        job = self.query_one(JobForm).job
        # Beside the list, the message has half of the width.
        width = (self.size.width if self.size.width < _NARROW else self.size.width // 2) - _FRAME
        text = about(
            self._current,
            with_short_home(str(self._folder)),
            width,
            loaded=job is not None,
            same_name=self._names,
            try_key=key_of(self.screen, "launcher.try_job"),
        )
        here = any(each.group.startswith(("in", "functions")) for each in self._jobs)
        if job is None and self._is_empty and not self._looking:
            text = [*empty_folder(self._folder, self._files, self._ways), "", "", *text]
        shown = Content("\n".join(text))
        self.query_one("#about", Static).update(shown.stylize("bold", 0, len(text[0])) if text else shown)
        self.query_one(KeyLine).relabel(_labels(self._current, loaded=job is not None, empty=not here))


def _command(request: RunRequest) -> str:
    """Return the command line for the values of the form; `request` has no secrets."""
    options: list[tuple[str, object]] = [("--input", request.input), ("--db", request.database)]
    options.append(("--limit", request.limit))
    options += [("--set", f"{name}={value}") for name, value in request.params.items()]
    options += [(f"--{name.replace('_', '-')}", value) for name, value in request.settings.items()]
    return command_line("run", request.job, options)


def _can_retry(run: FoundRun) -> bool:
    if run.summary is None or run.unfinished:
        return False
    return run.summary.totals.failed + run.summary.totals.cancelled > 0


def _labels(row: Row | None, *, loaded: bool, empty: bool) -> dict[str, str]:
    """Return labels of keys for the footer; keys without an effect here are hidden."""
    hidden = dict.fromkeys(_HIDDEN, "")
    if isinstance(row, FoundRun) and _can_retry(row) and not loaded:
        del hidden["launcher.retry"]
    if loaded:
        del hidden["launcher.copy_command"]
    elif empty:
        del hidden["launcher.write_job"]
    return hidden | _labels_of(row, loaded=loaded)


_HIDDEN = ("launcher.retry", "launcher.copy_command", "launcher.write_job")


def _labels_of(row: Row | None, *, loaded: bool) -> dict[str, str]:
    form = ("launcher.start", "launcher.next_field", "launcher.to_list")
    run = ("launcher.resume", "launcher.open_database")
    if loaded:
        # Tab goes to the next field, too; one of the two keys is enough.
        hidden = (*run, "launcher.next_field", "launcher.help", "launcher.quit")
        return {"launcher.choose": "next field", **dict.fromkeys(hidden, "")}
    match row:
        case FoundJob(error=""):
            return dict.fromkeys((*form, *run), "")
        case FoundRun() as found if found.unfinished:
            return dict.fromkeys((*form, "launcher.choose", "launcher.try_job"), "")
        case FoundRun() as found if found.can_be_queried:
            return dict.fromkeys((*form, "launcher.choose", "launcher.try_job", "launcher.resume"), "")
    return dict.fromkeys((*form, *run, "launcher.choose", "launcher.try_job"), "")


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
        row=spot.row,
        shell=shell,
    )
    chosen = launcher.run_or_raise()
    return chosen, launcher.spot
