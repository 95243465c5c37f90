"""The application: it starts the run, hands its snapshots to the screen, and knows how to leave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import PurePath
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui_runner.engine.chunk import RunState
from tui_runner.engine.control import RunControl
from tui_runner.engine.snapshot import Snapshot
from tui_runner.formatting import count
from tui_runner.safe_text import safe_text
from tui_runner.store.access import Access
from tui_runner.tui.actions import ACTIONS, Place, bindings, shown_key
from tui_runner.tui.keymap import resolve
from tui_runner.tui.query_files import History
from tui_runner.tui.screens.confirm import Confirm
from tui_runner.tui.screens.dashboard import Dashboard
from tui_runner.tui.screens.help import Help
from tui_runner.tui.screens.query import QueryScreen
from tui_runner.tui.themes import Themes, find_themes

INTERVAL = 0.25
"""Seconds between two looks at the run."""
INTERVAL_SSH = 0.5
"""The same over SSH, where every frame crosses the network."""


def interval(environment: Mapping[str, str]) -> float:
    """Seconds between two looks at the run, in a session with this environment."""
    return INTERVAL_SSH if environment.get("SSH_CONNECTION") else INTERVAL


class RunnerApp(App[None]):
    """The dashboard of one run.

    Args:
        control: the run; it is started by the application.
        access: gives the run's database to the query screen; None for none.
        theme: name of a theme; None for the default.
        keymap: the user's keys by action (`keymap.py`).
        themes: the themes to choose from; None finds them.

    Raises:
        UserError: there is no theme of that name.
    """

    TITLE = "tui-runner"
    CSS_PATH: ClassVar[list[str | PurePath]] = ["styles/runner.tcss", "styles/query.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Place.ANYWHERE),
        # Without an id, so that no keymap takes it away: there is always a way out.
        Binding("ctrl+c", "quit_run", show=False, priority=True),
    ]

    def __init__(
        self,
        control: RunControl,
        *,
        access: Callable[[], Access] | None = None,
        theme: str | None = None,
        keymap: Mapping[str, str] | None = None,
        themes: Themes | None = None,
    ) -> None:
        self._themes = themes or find_themes()
        chosen = self._themes.named(theme)
        super().__init__()
        self.animation_level = "none"
        self.failure: BaseException | None = None
        self._control = control
        self._keys, complaints = resolve(keymap or {})
        self._complaints = [*self._themes.complaints, *complaints]
        self._snapshot: Snapshot | None = None
        self._leaving = False
        self._access = access
        self._query: QueryScreen | None = None
        for each in self._themes.by_name.values():
            self.register_theme(each)
        self.theme = chosen
        self.set_keymap({name: ",".join(keys) for name, keys in self._keys.items() if keys})
        self._dashboard = Dashboard(control, self._keys)

    def get_default_screen(self) -> Screen[None]:
        """The dashboard is the first screen, and stays below every other one."""
        return self._dashboard

    def on_mount(self) -> None:
        """Say what is wrong with themes and keys, and start the run."""
        for complaint in self._complaints:
            self.notify(safe_text(complaint, limit=400), severity="warning", markup=False, timeout=15)
        self.run_worker(self._follow(), name="run")

    async def _follow(self) -> None:
        """Start the run and look at it until it has ended."""
        try:
            await asyncio.to_thread(self._control.start)
        except Exception as error:
            self.failure = error
            self.exit()
            return
        pause = interval(os.environ)
        while not self.look():  # noqa: ASYNC110 - the runner's threads set no event of this loop, by design
            await asyncio.sleep(pause)
        if self._leaving:
            self.exit()

    def look(self) -> bool:
        """Show the newest snapshot, if it is a new one; whether the run has ended."""
        snapshot = self._control.snapshot()
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._dashboard.show(snapshot)
        return snapshot.state.ended

    def action_quit_run(self) -> None:
        """Leave. A run that is not over is asked about; the second Ctrl-C answers yes."""
        if isinstance(self.screen, Confirm):
            self.screen.action_answer(True)
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
        snapshot = self._snapshot
        if snapshot is None or snapshot.state.ended:
            self.exit()
        elif snapshot.state is RunState.DRAINING:
            self._ask_kill(snapshot)
        else:
            self._ask_stop(snapshot)

    async def action_quit(self) -> None:
        """Textual's own way out does the same as ours."""
        self.action_quit_run()

    def action_help(self) -> None:
        """Show what the keys do."""
        self.push_screen(Help(self._keys))

    def action_query(self) -> None:
        """Show the query screen; what was typed and found there stays until the application ends."""
        if self._access is None:
            self.notify("There is no database to query.", markup=False)
            return
        if self._query is None:
            self._query = QueryScreen(
                self._access, history=History.of_user(), leave=self._leave_query, run=self._run_in_words
            )
            self.install_screen(self._query, "query")
        if self.screen is not self._query:
            self.push_screen("query")

    def _leave_query(self) -> None:
        self.pop_screen()

    def _run_in_words(self) -> str:
        snapshot = self._snapshot
        if snapshot is None:
            return ""
        return f"run {snapshot.run_id} {snapshot.state} · {count(snapshot.items_finished)} items"

    def close(self) -> None:
        """Give back what the query screen holds; blocks. Call it after the application has ended."""
        if self._query is not None:
            self._query.close()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette offers: every action, and the themes."""
        for action in ACTIONS:
            if action.place is Place.ANYWHERE or screen is self._dashboard:
                owner = "app" if action.place is Place.ANYWHERE else "screen"
                keys = " ".join(shown_key(key) for key in self._keys[action.id])
                yield SystemCommand(
                    action.help.rstrip("."), f"{action.place} · {keys}", self._runner_of(f"{owner}.{action.id}")
                )
        if isinstance(screen, QueryScreen):
            for wanted, call in screen.commands():
                yield SystemCommand(wanted.help.rstrip("."), f"{wanted.place} · {wanted.shown}", call)
        yield SystemCommand("Change the theme", "Choose among all themes.", self.search_themes)

    def _runner_of(self, action: str) -> Callable[[], Awaitable[bool]]:
        return lambda: self.run_action(action, self.screen)

    def _leave(self, command: Callable[[], None]) -> None:
        """End the run with `command` and leave as soon as it has ended, which may have happened meanwhile."""
        if self._control.snapshot().state.ended:
            self.exit()
        else:
            self._leaving = True
            command()

    def _ask_stop(self, snapshot: Snapshot) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._leave(self._control.stop)

        self.push_screen(
            Confirm(
                f"Stop run {snapshot.run_id} of {safe_text(snapshot.job, limit=60)}?",
                f"{snapshot.in_flight} items in flight finish and are written, then tui-runner leaves. "
                "The run can be resumed: no finished item is lost.",
                "Drain and stop",
                "Keep running",
            ),
            answered,
        )

    def _ask_kill(self, snapshot: Snapshot) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._leave(self._control.kill)

        self.push_screen(
            Confirm(
                "End at once?",
                f"{snapshot.in_flight} items in flight are given up and run again when the run is resumed.",
                "End now",
                "Keep draining",
            ),
            answered,
        )


def run_app(
    control: RunControl,
    *,
    access: Callable[[], Access] | None = None,
    theme: str | None = None,
    keymap: Mapping[str, str] | None = None,
) -> None:
    """Show the dashboard until its user leaves it; the run has ended when this returns.

    Args:
        control: the run, not yet started.
        access: gives the run's database to the query screen; None for none.
        theme: name of a theme; None for the default.
        keymap: the user's keys by action.

    Raises:
        UserError: there is no theme of that name, or the run could not start.
    """
    app = RunnerApp(control, access=access, theme=theme, keymap=keymap)
    try:
        app.run()
    finally:
        app.close()
        # However the screen ended, also by a fault of its own: what is in flight is written before the end.
        if app.failure is None and not control.snapshot().state.ended:
            control.stop()
            control.join()
    if app.failure is not None:
        raise app.failure
