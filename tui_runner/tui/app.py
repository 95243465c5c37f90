"""The Textual application of a run. It starts the run, passes its snapshots to the screens, and shuts both down."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from pathlib import Path, PurePath
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.control import RunControl
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.store.access import Access
from tui_runner.system import terminal
from tui_runner.text.numbers import count
from tui_runner.tui.actions import bindings, changed_keys, palette
from tui_runner.tui.actions.keymap import resolve
from tui_runner.tui.actions.model import Place
from tui_runner.tui.base_app import COMPLAINT_SECONDS, STYLES
from tui_runner.tui.dialogs.help import Help
from tui_runner.tui.preferences import Preferences, State, read_preferences, state_file
from tui_runner.tui.query.screen import QueryScreen
from tui_runner.tui.query.script_files import History
from tui_runner.tui.query.unsaved import UnsavedStatements
from tui_runner.tui.run.commands import RunCommands
from tui_runner.tui.run.dashboard import Dashboard
from tui_runner.tui.run.errors import Errors
from tui_runner.tui.run.hosts import Hosts
from tui_runner.tui.run.log import Log
from tui_runner.tui.run.run_screen import RunScreen
from tui_runner.tui.shutdown import ShutdownApp
from tui_runner.tui.terminal import notifications
from tui_runner.tui.terminal.textual_fixes import ScreenFailed
from tui_runner.tui.themes import Themes, find_themes

INTERVAL = 0.25
"""Seconds between two reads of the run's snapshot, because the engine publishes four snapshots per second."""
INTERVAL_SSH = 0.5
"""Seconds between two reads in an SSH session. They are fewer, because the network must carry each frame."""


def interval(environment: Mapping[str, str]) -> float:
    """Return the seconds between two reads of the run's snapshot in a session that has this environment."""
    return INTERVAL_SSH if environment.get("SSH_CONNECTION") else INTERVAL


class RunnerApp(ShutdownApp):
    """The dashboard of one run.

    Args:
        control: the run, which the application starts.
        access: opens the run's database for the query screen; None if the application has no query screen.
        theme: name of a theme; None for the theme of `preferences`, or else for the default theme.
        keymap: the user's keys by action (`keymap.py`).
        themes: the themes to choose from; None to find them.
        preferences: the user's configuration; None for the defaults.
        captured_output: captures the native output of this process, and has the stream to the terminal; None for a new
            `CapturedOutput`.
        notify: True to ring the bell of a terminal without the focus when the run ends.
        from_list: True if the run was started in the launcher. Esc returns to the launcher after the run has ended.
        folder: current folder of the user, for commands that the user copies; None if it is unknown.

    Attributes:
        failure: the error for which the run could not start, or None.
        started: True once the run has started.
        retries: True if the user left the application to retry the failed items of the ended run.
        to_list: True if the user left the application to return to the launcher.
        steering: passes the user's commands to the run.

    Raises:
        UserError: there is no theme named `theme`.
    """

    TITLE = "tui-runner"
    CSS_PATH: ClassVar[list[str | PurePath]] = [STYLES / "runner.tcss", STYLES / "query.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Place.ANYWHERE),
        # This binding has no id, so that no keymap can change it and the user can always leave.
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]

    def __init__(
        self,
        control: RunControl,
        *,
        access: Callable[[], Access] | None = None,
        theme: str | None = None,
        keymap: Mapping[str, str] | None = None,
        themes: Themes | None = None,
        notify: bool = True,
        preferences: Preferences | None = None,
        captured_output: CapturedOutput | None = None,
        from_list: bool = False,
        folder: Path | None = None,
    ) -> None:
        found = themes or find_themes()
        self._preferences = preferences or Preferences(State(state_file()))
        remembered = self._preferences.theme
        chosen = found.preferred(remembered) if theme is None else found.named(theme)
        super().__init__(control, captured_output)
        self.animation_level = "none"
        self.failure: BaseException | None = None
        self.started = False
        self.retries = False
        self.to_list = False
        self._keys, complaints = resolve({**self._preferences.keymap, **(keymap or {})})
        self._complaints = [*self._preferences.complaints, *found.complaints, *complaints]
        if theme is None and (mistake := found.mistake(remembered, self._preferences.theme_from)):
            self._complaints.append(mistake)
        self._access = access
        self._query: QueryScreen | None = None
        self._window_title = ""
        self._announced_end = False
        self._notify = notify and self._preferences.notify
        self.use_themes(found, chosen, self._preferences.state)
        self.set_keymap(changed_keys(self._keys))
        self.steering = RunCommands(control)
        self._dashboard = Dashboard(self.steering, self._keys)
        self._dashboard.from_list, self._dashboard.folder = from_list, folder

    def get_default_screen(self) -> Screen[None]:
        """Return the dashboard, over which all other screens are opened."""
        return self._dashboard

    def on_mount(self) -> None:
        """Report mistakes in the configuration, the themes and the keys, and start the run."""
        self.tell_complaints(self._complaints)
        self.watch_terminal()
        self.run_worker(self._follow(), name="run")

    async def _follow(self) -> None:
        """Start the run and show its snapshots until it has ended."""
        try:
            await asyncio.to_thread(self._control.start)
        except Exception as error:
            self.failure = error
            self.exit()
            return
        self.started = True
        pause = interval(os.environ)
        while not self.look():  # noqa: ASYNC110 - the runner's threads set no event of this loop, by design
            await asyncio.sleep(pause)
        if self._leaving:
            self.exit()

    def look(self) -> bool:
        """Show the newest snapshot if it is not shown yet. Return True if the run has ended."""
        snapshot = self._control.snapshot()
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self.steering.take(snapshot)
            for screen in self.screen_stack:
                if isinstance(screen, RunScreen):
                    screen.show(snapshot)
            self._tell_terminal(snapshot)
        return snapshot.state.ended

    def _tell_terminal(self, snapshot: Snapshot) -> None:
        """Update the title of the terminal's window. When the run has ended, notify the user.

        The user gets a notification of the desktop only if the terminal does not have the focus.
        """
        now = notifications.title(snapshot)
        if now != self._window_title:
            self.write_out(("" if self._window_title else notifications.KEEP_TITLE) + notifications.set_title(now))
            self._window_title = now
        if snapshot.state.ended and not self._announced_end:
            self._announced_end = True
            if self.screen is not self._dashboard and not self._leaving:
                self.notify(notifications.ended_text(snapshot), markup=False, timeout=COMPLAINT_SECONDS)
            if not self.app_focus and not self._leaving and self._notify:
                self.write_out(notifications.notification(notifications.ended_text(snapshot), os.environ))

    def write_out(self, sequence: str) -> None:
        """Send a control sequence that is not part of a frame to the terminal."""
        if self._driver is not None:
            self._driver.write(sequence)

    def on_unmount(self) -> None:
        """Restore the title that the terminal's window had before the application."""
        if self._window_title:
            self.write_out(notifications.RESTORE_TITLE)

    def action_quit_run(self) -> None:
        """Return to the dashboard from another screen; leave the application from the dashboard."""
        if isinstance(self.screen, RunScreen) and self.screen is not self._dashboard:
            self.pop_screen()
        else:
            self.action_interrupt()

    def action_errors(self) -> None:
        """Open the errors screen, which groups similar errors."""
        self._open(Errors)

    def action_log(self) -> None:
        """Open the log of the job's output."""
        self._open(Log)

    def action_hosts(self) -> None:
        """Open the list of the run's hosts."""
        self._open(Hosts)

    def _open(self, kind: type[RunScreen]) -> None:
        """Show a screen of this class over the dashboard, and close any other screen over the dashboard."""
        if isinstance(self.screen, kind):
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.push_screen(kind(self.steering, self._keys))

    def action_help(self) -> None:
        """Show the help screen."""
        places = self.screen.PLACES if isinstance(self.screen, RunScreen) else (Place.ANYWHERE,)
        self.push_screen(Help(self._keys, places))

    def action_query(self) -> None:
        """Show the query screen. It keeps its text and results until the application ends."""
        self.open_query()

    def open_query(self, sql: str = "") -> None:
        """Show the query screen. If `sql` is not empty, run this statement on the query screen."""
        if self._access is None:
            self.notify("There is no database to query.", markup=False)
            return
        if self._query is None:
            self._query = QueryScreen(
                self._access,
                history=History.of_user(),
                leave=self._leave_query,
                run=self._run_in_words,
                is_running=lambda: self._snapshot is not None and not self._snapshot.state.ended,
                keys=self._keys,
                unsaved=UnsavedStatements.of_user(),
            )
            self.install_screen(self._query, "query")
        if self.screen is not self._query:
            self.push_screen("query")
        if sql:
            self._query.ask(sql)

    def on_run_screen_retry(self) -> None:
        """Leave the application with `retries` set, so that its caller runs the failed items again."""
        self.retries = True
        self.exit()

    def on_run_screen_to_list(self) -> None:
        """Leave the application with `to_list` set, so that its caller shows the launcher again."""
        self.to_list = self.keeps_screen = True
        self.exit()

    def on_run_screen_query(self, event: RunScreen.Query) -> None:
        """Run the statement of the message in the query screen."""
        self.open_query(event.sql)

    def _leave_query(self) -> None:
        self.pop_screen()

    def _run_in_words(self) -> str:
        snapshot = self._snapshot
        if snapshot is None:
            return ""
        return f"run {snapshot.run_id} {snapshot.state} · {count(snapshot.items_finished)} items"

    def close(self) -> None:
        """End the statements of the query screen and release its resources. Call it after the application has ended.

        The call blocks.
        """
        if self._query is not None:
            self._query.close()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield the commands of the palette: the actions that apply on `screen`."""
        here = (Place.QUERY, Place.RESULT, Place.ANYWHERE) if isinstance(screen, QueryScreen) else (Place.ANYWHERE,)
        yield from palette(self, screen, self._keys, screen.PLACES if isinstance(screen, RunScreen) else here)


class Left(Enum):
    """The reason why the dashboard was left."""

    ENDED = auto()
    """The run has ended, or was stopped and has drained."""
    KILLED = auto()
    """The user has ended the run at once, without waiting for items in flight."""
    GOING_ON = auto()
    """The terminal is gone, and the run continues."""
    TO_RETRY = auto()
    """The run has ended, and the user wants to retry its failed items."""
    TO_LIST = auto()
    """The run has ended, and the user wants to return to the launcher."""


def run_app(
    control: RunControl,
    *,
    access: Callable[[], Access] | None = None,
    theme: str | None = None,
    keymap: Mapping[str, str] | None = None,
    captured_output: CapturedOutput | None = None,
    from_list: bool = False,
    folder: Path | None = None,
) -> Left:
    """Show the dashboard of a run until the user leaves it.

    The run has ended when this function returns, unless the terminal has disappeared.

    Args:
        control: the run, not started yet.
        access: opens the run's database for the query screen; None if the dashboard has no query screen.
        theme: name of a theme; None for the theme of the configuration, else for the theme that was chosen last, else
            for the default theme.
        keymap: keys by action; they take precedence over the configuration's keys.
        captured_output: captures the native output of this process, and has the stream to the terminal; None for a new
            `CapturedOutput`.
        from_list: True if there is a launcher to return to.
        folder: current folder of the user, for commands that the user copies; None if it is unknown.

    Returns:
        The reason why the dashboard was left.

    Raises:
        UserError: there is no theme named `theme`, or the run could not start.
        ScreenFailed: an error of the screen ended the dashboard; the run continues without it.
        Exception: any other error for which the run could not start, or of the screen before the run had started.
    """
    preferences = read_preferences(Path.cwd())
    app = RunnerApp(
        control,
        access=access,
        theme=theme,
        keymap=keymap,
        preferences=preferences,
        captured_output=captured_output,
        from_list=from_list,
        folder=folder,
    )
    try:
        with terminal.signals({signal.SIGTERM: app.terminated, signal.SIGHUP: app.hung_up}):
            app.run()
    except OSError:  # raised by Textual if the terminal has disappeared without a signal
        app.lost = app.lost or terminal.is_lost()
        if not app.lost:
            raise
    finally:
        app.close()
        if app.fault is not None and not app.lost and terminal.is_lost():
            app.lose()  # the screen failed because the terminal is gone, so this is not an error of the screen
        # Without a terminal, or after an error of the screen, the run continues alone. After `failure`, no run has
        # begun. In other cases the run may not have ended yet, for example if the user has left before the first
        # snapshot. Then stop the run, and wait until its items in flight are written.
        alone = app.failure is not None or app.lost or app.fault is not None
        if not alone and not control.snapshot().state.ended:
            control.stop()
            control.join()
    if app.failure is not None:
        raise app.failure
    if app.fault is not None and not app.lost:
        if not app.started:
            raise app.fault
        control.abandon(f"the screen has failed ({type(app.fault).__name__}); the run goes on without it")
        raise ScreenFailed from app.fault
    if app.lost and not control.snapshot().state.ended:
        return Left.GOING_ON
    if app.to_list:
        return Left.TO_LIST
    if app.killed and control.snapshot().state is RunState.STOPPED:
        return Left.KILLED
    return Left.TO_RETRY if app.retries else Left.ENDED
