"""The launcher: `tui-runner` without arguments. It offers jobs and databases, and returns the chosen one.

The launcher is a separate application that ends before a run begins, so that the dashboard and the exit code do not
depend on how the run was started. It ends only after the job, input and database of the run have been opened. If one of
them cannot be opened, the launcher shows the error, and the user can correct the mistake in the form.

`discovery` finds jobs and databases, and `folder_search` follows their changes. `rows` draws the list of them, and
`details` the text beside the list. `fields` defines the fields of a job, `job_form` the form with these fields, and
`pane` the right side with the text or the form.
"""

from __future__ import annotations

import gc
import io
import os
import threading
import time
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
    PACKAGES,
    SAMPLES_HERE,
    FoundDatabase,
    FoundJob,
    FoundRun,
    shared_table,
)
from tui_runner.tui.launcher.fields import Draft
from tui_runner.tui.launcher.folder_search import FolderSearch
from tui_runner.tui.launcher.footer import labels_of, no_effect
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

_PATIENCE = 0.3
"""Seconds that the first list waits for databases, so that those of most folders are listed together with the jobs. A
longer wait would leave the screen empty: reading 20 databases takes 2 s."""
_REACTION_SECONDS = 0.5
"""Seconds after the cursor has moved to an unfinished run by itself in which a key does not resume the run. The user
may have pressed the key for the row that was under the cursor before."""
_NARROW = 100
"""Columns of the terminal below which either the list or the right side is shown, but not both."""

Chosen = Runner | RunRequest | Path
"""The result of the launcher: an open run, the request of a run that was not opened, or a database to query."""


def _as_asked(request: RunRequest) -> Runner | RunRequest:
    return request


def _nothing(folder: Path) -> str:
    raise UserError("cannot be written from here", str(folder), "see: tui-runner init --help")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the launcher, from which it can be shown again after a run or a query.

    Attributes:
        folder: folder with jobs and databases. It is also the current folder of the process, to which relative paths
            of a job refer.
        row: `row_name` of the row under the cursor; empty for the row that the user most likely wants.
        drafts: the texts typed into the forms of jobs; the key is the job's text for `load_job`.
        wanted: the filter of the list; empty for all rows.
        databases: databases that were found in the folder. They are listed until they have been read again.
    """

    folder: Path
    row: str = ""
    drafts: dict[str, Draft] = field(default_factory=dict, compare=False)
    wanted: str = ""
    databases: tuple[FoundDatabase, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Starters:
    """Functions that write example files into a folder. Each returns a line that says what was written.

    Attributes:
        write_job: writes a small job.
        copy_samples: copies the sample jobs.

    Both raise:
        UserError: a file is there already, or the folder cannot be written.
    """

    write_job: Callable[[Path], str] = _nothing
    copy_samples: Callable[[Path], str] = _nothing


class _ListFirst(Screen[None]):
    """The screen of the list. No widget has the focus at first, or Textual would focus a hidden field of the form."""

    AUTO_FOCUS = ""


class Launcher(ListNavigation, Application[Chosen]):
    """The application that offers jobs to start, runs to resume and databases to query. Its result is the choice.

    Args:
        folder: folder with jobs and databases.
        environ: environment variables.
        preferences: the user's preferences; None to read them.
        theme: name of a theme; None for the preferred one.
        begin: opens a run, its input and its database. It is called in a thread and may raise `UserError`. By default,
            nothing is opened, and the request is the result.
        captured_output: captured native output of this process, and the stream to the terminal; None for a new one.
        starters: functions that write example files. None if nothing can be written; the user is told when trying it.
        spot: the place where the cursor begins, and the texts typed before; None to begin in `folder` without any.
        shell: current folder of the user's shell, in which a copied command has to work; None for `folder`.
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
        """The place where the cursor begins, and later where it is."""
        self._opening = False  # True while a run is being opened, to ignore a second start
        self._starters = starters or Starters()
        self._wanted = self.spot.wanted
        self._goal = self.spot.row
        """`row_name` of the row to which the cursor moves as soon as it is listed; empty for none."""
        self._is_placed = False
        """True when the cursor has reached its first row, or the user has used it. It then stays on its row."""
        self._jumped_at = -_REACTION_SECONDS
        """When the cursor last moved to an unfinished run by itself, in seconds of the monotonic clock."""
        self._names: Counter[str] = Counter()
        self._files = 0
        self._is_ready = False
        """True when the work that a key would have to wait for has been done, or is about to be."""
        self._unfolded: bool | None = None
        """True while each sample has a row of its own, False while all share one. None until the user chooses: samples
        then have their own rows only in a folder without jobs and databases."""
        self._said = ("", True)
        self._is_narrow = False
        self._reads = False
        """True while the text about a row covers the list of a narrow terminal."""
        self._reading = threading.Lock()
        """Held while a database is opened, because a process must not open the same database twice."""
        self._opener = RunOpener(self, begin, self._reading, self._say_starting)
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
        chosen = themes.named(theme) if theme else themes.preferred(self._preferences.theme)
        if not theme and (mistake := themes.mistake(self._preferences.theme, self._preferences.theme_from)):
            self._complaints.insert(0, mistake)
        self.use_themes(themes, chosen, self._preferences.state)
        self._pane = Pane(
            folder,
            environ,
            reading=self._reading,
            key=lambda action: key_of(self.screen, action),
            drafts=self.spot.drafts,
            id="right",
        )
        self._search = FolderSearch(
            self,
            self._reading,
            self._folder_changed,
            is_away=lambda: self._is_away,
            is_editing=lambda: self._pane.is_form,
            recent=lambda: self._preferences.state.recent,
            databases=self.spot.databases,
        )

    def get_default_screen(self) -> Screen[None]:
        """Return the screen of the list."""
        return _ListFirst(id="_default")

    def compose(self) -> ComposeResult:
        """Yield the list at the left, the text or form at the right, and the keys at the bottom."""
        yield PaintedLines(self._title_lines, id="title")
        with Horizontal(id="columns"):
            with Vertical(id="left"):
                yield Rows[Row](
                    self._row_line,
                    title=is_passed_over,
                    foot=below,
                    nothing=self._nothing_listed,
                    id="found",
                )
            yield self._pane
        yield Static(id="trouble")
        yield KeyLine(self._keys, (Place.LAUNCHER,), id="hints")

    def on_mount(self) -> None:
        """Begin the search. Jobs are listed with the databases, or earlier if reading these exceeds `_PATIENCE`."""
        self.query_one("#left").border_title = "jobs and databases"
        self._look()
        self.tell_complaints(self._complaints)
        self.watch_terminal()

    # --- the list of jobs and runs -------------------------------------------------------------------------

    def _look(self) -> None:
        """Search the folder anew. Known databases stay listed until all have been read."""
        if self._pane.is_form:  # the command palette can start a search from the form
            self._leave_form()
        self._is_placed = False
        self._pane.look_in(self._folder)
        self._search.begin(self._folder)
        self._count_jobs()
        if self._search.databases:
            # The width of the list is known after the first layout.
            self.call_after_refresh(self._list)
        else:
            self.query_one("#found", Rows).show([])
            self.set_timer(_PATIENCE, self._list_without_runs)
        self._about()

    def _count_jobs(self) -> None:
        self._names = Counter(job.name for job in self._search.jobs)
        self._files = sum(1 for _ in self._folder.glob("*.py"))

    def _list_without_runs(self) -> None:
        if self._search.looking:
            self._list()

    def _title_lines(self, width: int) -> list[Line]:
        jobs = sum(1 for job in self._search.jobs if job.group in (HERE, SAMPLES_HERE, PACKAGES) and not job.error)
        databases = plural(len(self._search.databases), "database")
        found = f"{plural(jobs, 'job')} · {'looking for databases …' if self._search.looking else databases}"
        wanted = f"only “{own(self._wanted, 20)}”  " if self._wanted else ""
        title, where = f" tui-runner {__version__}", own(with_short_home(str(self._folder)), 200)
        for keys in ("/ filter   T theme   ? help ", "? help "):
            room = width - sum(cell_len(text) for text in (title, "   ", "   ", found, "  ", wanted, keys))
            if cell_len(where) <= room:
                break
        # The last folders of a path tell more than the first ones, so a long path loses its beginning.
        where = end_of(where, max(room, 12))
        left: Line = ((title, "accent"), (f"   {where}", "strong"), (f"   {found}", "muted"))
        return [spread(left, ((f"{wanted}{keys}", "muted"),), width)]

    def _row_line(self, row: Row, width: int) -> Line:
        return drawn(row, width, same_name=self._names)

    def _nothing_listed(self) -> str:
        """Return the text in place of an empty list. Without a filter, the samples are listed at least."""
        if not self._wanted:
            return "looking for jobs …"
        before, behind = "nothing here contains “", f"”; {key_of(self.screen, 'launcher.to_list')} shows all"
        room = self.query_one("#found", Rows).size.width - cell_len(before + behind)
        return f"{before}{own(self._wanted, max(room, 4))}{behind}"

    def on_resize(self, event: Resize) -> None:
        """Show either the list or the right side on narrow terminals."""
        # `self.size` is still the old size: Textual's own handler sets it after this one.
        self._is_narrow = event.size.width < _NARROW
        self.query_one("#columns").set_class(self._is_narrow, "narrow")
        self._reads = self._reads and self._is_narrow
        self._arrange()
        self.call_after_refresh(self._fit)

    def _arrange(self) -> None:
        """Show the list and the right side, or only one of them on narrow terminals, and mark the side in use."""
        inside = self._pane.is_form or self._reads
        self.query_one("#left").display = not (self._is_narrow and inside)
        self._pane.display = inside or not self._is_narrow
        # Marking a side draws its border again. Before the first frame, that would delay the frame.
        self.call_after_refresh(self._mark_focus)

    def _mark_focus(self) -> None:
        inside = self._pane.is_form or self._reads
        for side, name in ((self.query_one("#left"), "idle"), (self._pane, "active")):
            if side.has_class(name) != inside:
                # `update=True` would restyle all fields inside, which delays a key. Only the border uses the class.
                side.set_class(inside, name, update=False)
                self.stylesheet.apply(side)

    def _fit(self) -> None:
        """Write the list and the text again, because their size has changed."""
        if self.query_one("#found", Rows).rows:
            self._list()

    def on_pane_resized(self) -> None:
        """Write the text about the current row for the new width, which is known only after the layout."""
        self._about()

    def _folder_changed(self) -> None:
        if not self.screen_stack:  # the launcher ends
            return
        self._count_jobs()
        self._list(keep_view=True)
        if not self._is_ready and not self._search.looking:
            self._is_ready = True
            self.call_after_refresh(self._get_ready)

    async def _get_ready(self) -> None:
        """Do slow work before the user presses a key that would have to wait for it."""
        await self._pane.form.prepare()
        gc.freeze()  # what was loaded since the start, as in `Application.run`

    def _list(self, *, keep_view: bool = False) -> None:
        """Show the rows found so far. The cursor stays on its row, as soon as it has been placed.

        Args:
            keep_view: True to scroll by the number of rows that were added above the cursor, so that the visible rows
                do not move under the user's hand.
        """
        found: Rows[Row] = self.query_one("#found", Rows)
        rows = listed(
            self._search.jobs,
            self._search.databases,
            wanted=self._wanted,
            empty=self._empty_list(found.size.width - 2),
            looking=self._search.looking,
            unfolded=self._is_empty if self._unfolded is None else self._unfolded,
            height=found.size.height,
        )
        names = [row_name(row) for row in rows]
        here = row_name(found.current)
        if self._goal in names and self._goal:
            found.show(rows, place=names.index(self._goal))
            self._goal, self._is_placed = "", True
        elif self._is_placed and here and here in names:
            place = names.index(here)
            # At its top, a list stays there: its first heading is visible, and rows may be added below that.
            keep_view = keep_view and found.scroll_offset.y > 0
            found.show(rows, place=place, above=place - found.place if keep_view else 0)
        else:
            near = found.place if self._is_placed and keep_view else None
            found.show(rows, place=self._first_place(rows, names, self._goal or here, near))
            if keep_view and here and here != row_name(found.current):
                self._jumped_at = time.monotonic()
            self._is_placed = not self._search.looking
            if self._is_placed:
                self._goal = ""
        self.query_one("#title", PaintedLines).repaint()
        self._about()

    def _first_place(self, rows: Sequence[Row], names: Sequence[str], gone: str, near: int | None) -> int:
        """Return the index of the row on which the cursor begins, or to which it goes from a row that is gone.

        Args:
            rows: the rows of the list.
            names: the `row_name` of each.
            gone: the name of the row that is not listed any more; empty if there is none.
            near: the index that this row had, to go to the row that took its place or to the next one above; None to go
                to the row that the user most likely wants.
        """
        # A run that has finished meanwhile has no row any more, but its database has one.
        database = f"{gone.partition(chr(0))[0]}\0"
        if database in names:
            return names.index(database)
        if near is not None:
            upwards = range(min(near, len(rows) - 1), -1, -1)
            if (place := next((place for place in upwards if names[place]), None)) is not None:
                return place
        return first_choice(rows, self._preferences.state.recent)

    def _empty_list(self, width: int) -> Sequence[Line]:
        """Return the lines of the list about a folder without jobs and databases; nothing for other folders.

        On a narrow terminal it is the whole text; otherwise the text is beside the list, and one line suffices.
        """
        lines = self._empty_lines(width)
        return [each.line for each in lines] if self._is_narrow else [(("none yet", "muted"),)] if lines else []

    def _empty_lines(self, width: int) -> Sequence[TextLine]:
        """Return the text about a folder without jobs and databases; nothing for other folders."""
        if self._search.looking or not self._is_empty:
            return ()
        names = {"init": "write_job", "samples": "try_sample", "copy": "copy_samples", "folder_key": "other_folder"}
        keys = {name: key_of(self.screen, f"launcher.{action}") for name, action in names.items()}
        where = Path(with_short_home(str(self._folder)))
        return empty_folder(where, self._files, keys, width, editor=has_editor(self._environ))

    # --- keys and mouse in the list and the form ------------------------------------------------------------

    @property
    def _current(self) -> Row | None:
        rows: Rows[Row] = self.query_one("#found", Rows)
        return rows.current

    @property
    def _is_empty(self) -> bool:
        """True if no jobs, functions or databases have been found in the folder."""
        return not self._search.databases and not any(job.is_here for job in self._search.jobs)

    @property
    def _is_away(self) -> bool:
        """True while a run is being opened, while another screen covers the list, and when the launcher ends."""
        stack = self.screen_stack  # empty when the launcher ends
        return self._opening or not stack or not isinstance(stack[-1], _ListFirst)

    @property
    def _in_form(self) -> bool:
        return isinstance(self.focused, Input)

    def on_rows_moved(self) -> None:
        """Show the details of the row under the cursor."""
        self._say("")
        self._is_placed, self._goal = True, ""
        # A click on another row leaves the form. The message about the row of the form itself may come after Enter has
        # opened it, if Down and Enter arrive together.
        if self._pane.is_form and not self._pane.is_form_of(self._current):
            self._leave_form()
        self._about()

    async def on_rows_opened(self) -> None:
        """Choose the row on which the user has double-clicked."""
        await self.action_choose()

    async def on_text_field_clicked(self, event: Text.FieldClicked) -> None:
        """Show the form of the current job, with the focus on the field whose line was clicked."""
        match self._current:
            case FoundJob(error="") as found:
                await self._edit(found, event.key)

    def on_input_changed(self) -> None:
        """Remove the error message when the user changes a text."""
        self._say("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next field, or start the job from the last one."""
        event.stop()
        if self._pane.form.at_end:
            self._start()
        else:
            self._pane.form.go_on(1)

    async def action_start(self) -> None:
        """Start the current job with the texts typed into its form, or resume the current run."""
        match self._current:
            case FoundJob(error="") as found:
                if self._pane.is_form or await self._load(found):
                    self._start()
            case FoundRun():
                self.action_resume()
            case _:
                self._refuse("start")

    def list_in_use(self) -> Movable:
        """Return the list at the left, or the text at the right while it covers the list."""
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
        """Go to the next field at Tab. Textual's screens bind Tab to this action before the launcher's own keys."""
        if isinstance(self.screen, _ListFirst):
            await self.action_next_field()
        else:
            super().action_focus_next()

    def action_focus_previous(self) -> None:
        """Go to the previous field at Shift+Tab, which Textual's screens bind to this action."""
        if not isinstance(self.screen, _ListFirst):
            super().action_focus_previous()
        elif self._in_form:
            self._pane.form.go_on(-1)

    async def action_next_field(self) -> None:
        """Show the form of a job, or go to its next field. For other rows of a narrow terminal, show their text."""
        match self._current:
            case FoundJob(error="") as found if not self._pane.is_form:
                await self._edit(found)
            case _ if self._pane.is_form:
                self._pane.form.go_on(1)
            case row if self._is_narrow and row is not None:
                self._reads = True
                self._arrange()
            case _:
                self._refuse("next_field")

    def action_help(self) -> None:
        """Show the help screen."""
        self.push_screen(Help(self._keys, (Place.LAUNCHER, Place.LIST)))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the commands of the command palette: the actions of the launcher."""
        yield from palette(self, screen, self._keys, (Place.LAUNCHER,))

    def on_key_line_chosen(self, event: KeyLine.Chosen) -> None:
        """Carry out an action whose key was clicked."""
        self.call_later(self.run_action, f"app.{event.action.method}")

    # --- actions on the current row or job ------------------------------------------------------------------

    async def action_choose(self) -> None:
        """Show the form of a job, resume a run, open a database, or show or hide the rows of the samples."""
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
        """Give each sample a row of its own, and move the cursor to the first of them."""
        self._wanted, self._unfolded = "", True
        self._list()
        found: Rows[Row] = self.query_one("#found", Rows)
        place = next((n for n, row in enumerate(found.rows) if isinstance(row, Samples)), None)
        if place is not None:
            # Scroll to the end first, so that all samples are visible and not only the first.
            found.go_to_end()
            found.go_to(place + 1)

    def action_resume(self) -> None:
        """Resume the run under the cursor."""
        match self._current:
            case FoundRun(summary=summary, database=database):
                if time.monotonic() - self._jumped_at < _REACTION_SECONDS:
                    self._say("the cursor has just moved to this unfinished run: press the key again", trouble=False)
                    return
                self._open(lambda: resume_request(database, summary.record.run_id))
            case _:
                self._refuse("resume")

    def action_retry(self) -> None:
        """Run items of the current database again: the failed items of its newest finished run with failed items."""
        match self._current:
            case FoundDatabase(path=database, to_retry=run) if run is not None:
                self._open(lambda: retry_request(database, run.summary.record.run_id))
            case _:
                self._refuse("retry")

    def action_filter(self) -> None:
        """Ask for a text, and list only jobs and databases that `listed` finds with it; an empty text lists all."""

        def answered(text: str | None) -> None:
            if text is not None:
                self._wanted = text.strip()
                self._list()

        self.push_screen(Ask("List only what shows this text", self._wanted), answered)

    def action_choose_theme(self) -> None:
        """Ask the user for a theme."""
        self.action_theme()

    def action_write_job(self) -> None:
        """Write a small job into the folder, list it, and edit it if the user has set an editor."""
        made = self._make(lambda: self._starters.write_job(self._folder))
        if not made or not has_editor(self._environ):
            return
        path = Path(made.rpartition(":")[0])
        try:
            edit_file(self, path, self._environ)
        except UserError as error:
            self._complain(error)
        self._look()
        self._goal = next((job.job for job in self._search.jobs if job.job.startswith(f"{path}:")), "")

    def action_copy_samples(self) -> None:
        """Copy the sample jobs into the folder, and list them."""
        self._make(lambda: self._starters.copy_samples(self._folder))

    def _make(self, work: Callable[[], str]) -> str:
        """Write files with `work`, and list their jobs. Return the row name of the first one; empty without one."""
        try:
            said = work()
        except UserError as error:
            self._complain(error)
            return ""
        before = {job.job for job in self._search.jobs}
        self._look()
        self._goal = next((job.job for job in self._search.jobs if job.job not in before), "")
        self._say(said, trouble=False)
        return self._goal

    def action_other_folder(self) -> None:
        """Look for jobs and databases in another folder."""

        def wrong(text: str) -> str:
            return "" if Path(text).expanduser().is_dir() else "there is no such folder"

        def answered(text: str | None) -> None:
            if text is not None:
                folder = (self._folder / Path(text).expanduser()).resolve()
                try:
                    # A run looks for relative paths, its configuration and its database in the current folder.
                    os.chdir(folder)
                except OSError as error:
                    self._complain(error)
                    return
                self._folder, self.spot = folder, Spot(folder, drafts=self._pane.drafts)
                self._unfolded, self._goal = None, ""
                self._search.forget()
                self._look()

        self.push_screen(Ask("Look for jobs in which folder?", str(self._folder), wrong), answered)

    def action_copy_command(self) -> None:
        """Copy the command line that does without the launcher what the current row or form would do."""
        row = self._current
        draft = self._pane.draft_of(row) if isinstance(row, FoundJob) else Draft()
        command = None if row is None else command_of(row, draft, folder=self._folder, shell=self._shell)
        if command is None:
            self._refuse("copy_command")
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
        """Leave the launcher to query the current database, or the database of the current run."""
        match self._current:
            case FoundRun(database=path):
                self._leave_with(path)
            case FoundDatabase(path=path) as found if found.can_be_queried:
                self._leave_with(path)
            case _:
                self._refuse("open_database")

    def _leave_with(self, chosen: Chosen) -> None:
        """End the launcher. A run or a database has a screen of its own, which takes the place of the launcher's."""
        self.keeps_screen = not isinstance(chosen, RunRequest)
        self.exit(chosen)

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
            case _:
                self._refuse("try_job")

    def action_to_list(self) -> None:
        """Go back from the form or text to the list; in the list, remove its filter.

        The texts typed into the form are stored as a draft.
        """
        self._say("")
        if self._reads:
            self._reads = False
            self._arrange()
        elif self._pane.is_form:
            self._leave_form()
            self._about()
        elif self._wanted:
            self._wanted = ""
            self._list()

    # --- loading, trying and opening a job ------------------------------------------------------------------

    async def _load(self, found: FoundJob) -> bool:
        """Load a job, which executes its file, and fill its form. Return False if it cannot be loaded.

        The file is not executed in a thread: keys that are pressed meanwhile are meant for the form, so they have to
        wait until it is shown.
        """
        redaction = guessed_redaction({}, self._environ)
        self.captured_output.use_redaction(redaction)
        try:
            job = load_job(found.job, folder=found.folder or self._folder, redact=redaction)
        except UserError as error:
            self._complain(error)
            return False
        self._say("")
        await self._pane.fill(found, job)
        return True

    async def _edit(self, found: FoundJob, key: str = "") -> None:
        """Load a job and show its form, with the focus on the field `key`, or on the first one to fill in."""
        if not self._pane.is_form and await self._load(found):
            self._is_placed, self._goal = True, ""
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
        """Show the form, with the focus on the field `key`, or without one on the first field with an error."""
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
        self.captured_output.discard()  # of an earlier reading of the items
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
            self._say_starting(True)
            self.run_worker(self._opened(ask, of_form=of_form))

    def _say_starting(self, starting: bool) -> None:
        self._say("starting …" if starting else "", trouble=False)

    async def _opened(self, ask: Callable[[], RunRequest], *, of_form: bool) -> None:
        """Open the run and leave the launcher with it, or show why it cannot be opened.

        Args:
            ask: returns the request of the run.
            of_form: True if the request comes from the form of the job. An error is then shown in the form, even if
                the form was not visible.
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
                self._leave_with(opened)
        except DatabaseError as error:
            self._complain(error)
            self._search.look_now()  # another process may have finished the run, or have its database open
            if of_form:
                form.complain_of_database(error.what)
                self._show_fault("database:database")
        except (UserError, OSError) as error:
            self._complain(error)
            self._search.look_now()
            if of_form:
                self._show_fault()
        finally:
            self._opening = False
            if of_form and not self._pane.is_form:
                self._pane.leave()

    # --- messages, details and key labels -------------------------------------------------------------------

    def _refuse(self, action: str) -> None:
        """Say why an action has no effect on the current row. An error of the row is shown as one."""
        row = self._current
        self._say(no_effect(action, row), trouble=isinstance(row, FoundJob | FoundDatabase) and bool(row.error))

    def _complain(self, error: Exception) -> None:
        self._say(str(error))

    def _say(self, text: str, *, trouble: bool = True) -> None:
        """Show a message above the keys; an empty text removes it. `trouble` is True for an error."""
        # Each key in the form clears the message. Without this check, each would cause a layout.
        if (text, trouble) == self._said:
            return
        self._said = (text, trouble)
        line = self.query_one("#trouble", Static)
        line.update(Content(safe_text(text, limit=400)))
        line.display = bool(text)
        line.set_class(trouble, "wrong")

    def _about(self) -> None:
        """Show the text about the current row, and the keys that have an effect on it."""
        row = self._current
        name = self._goal or row_name(row) or self.spot.row
        self.spot = Spot(self._folder, name, self._pane.drafts, self._wanted, tuple(self._search.databases))
        # In a folder without jobs and databases the cursor begins on the samples, so the text about such a folder is
        # shown above theirs.
        above = self._empty_lines(self._pane.text_width) if isinstance(row, Samples) and not self._is_narrow else ()
        shared = ""
        if isinstance(row, FoundJob):
            shared = shared_table(row, self._search.jobs, self._search.databases, self._folder)
        self._pane.show(row, same_name=self._names, above=above, shared=shared)
        is_empty = self._is_empty and not self._search.looking
        labels = labels_of(row, in_form=self._pane.is_form, empty=is_empty, filtered=bool(self._wanted))
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
    """Show the launcher with the cursor at `spot`. Return the choice, and the place of the cursor at the end.

    The choice is a run that `begin` has opened, a database to query, or None if the user leaves.

    Raises:
        UserError: there is no theme with the name `theme`.
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
