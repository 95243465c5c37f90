"""The ways to leave the dashboard: by the user, by a signal, or because the terminal is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import FrameType

from tui_runner.engine.captured_output import CapturedOutput
from tui_runner.engine.control import RunControl
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.system import terminal
from tui_runner.text.numbers import count, plural
from tui_runner.text.safe_text import safe_text
from tui_runner.tui.base_app import Application
from tui_runner.tui.dialogs.questions import Confirm
from tui_runner.tui.terminal.driver import driver_class


class ShutdownApp(Application[None]):
    """An application that asks before it leaves an unfinished run. Without a terminal, the run continues."""

    def __init__(self, control: RunControl, captured_output: CapturedOutput | None = None) -> None:
        super().__init__(driver_class=driver_class(), captured_output=captured_output)
        self._control = control
        self._snapshot: Snapshot | None = None
        self._leaving = False
        self.killed = False
        """True if the user has ended the run at once."""
        self._loop_of_screen: asyncio.AbstractEventLoop | None = None

    def watch_terminal(self) -> None:
        """Begin to check for the terminal; call it in the screen's event loop."""
        self._loop_of_screen = asyncio.get_running_loop()
        super().watch_terminal()

    def lose(self) -> None:
        """Continue without a terminal."""
        super().lose()
        self._control.abandon(terminal.LOST)

    def hung_up(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGHUP: the screen ends, the run continues."""
        self.lose()
        self._soon(self.exit)

    def terminated(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM: the run drains, and the screen ends with it."""
        self._soon(lambda: self._leave(self._control.stop))

    def _soon(self, callback: Callable[[], None]) -> None:
        """Call a function in the screen's event loop, because a signal handler must not change the screen itself."""
        if self._loop_of_screen is not None:
            self._loop_of_screen.call_soon_threadsafe(callback)

    def action_interrupt(self) -> None:
        """Leave. Ask first if the run has not ended; the second Ctrl-C answers yes."""
        if isinstance(self.screen, Confirm):
            self.screen.action_yes()
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        snapshot = self._snapshot
        if snapshot is None or snapshot.state.ended:
            self.exit()
        elif snapshot.state is RunState.DRAINING:
            self._ask_kill(snapshot)
        else:
            self._ask_stop(snapshot)

    async def action_quit(self) -> None:
        """Leave as `action_interrupt` does, because Textual's own key must ask, too."""
        self.action_interrupt()

    def _leave(self, command: Callable[[], None]) -> None:
        """End the run with `command` and leave as soon as it has ended; it may have ended already."""
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
                f"{_in_flight(snapshot)} {snapshot.grace:g} s to finish, then tui-runner leaves. What has not finished"
                f"{_held(snapshot)} runs again on resume; no finished item is lost.",
                "Drain and stop",
                "Keep running",
            ),
            answered,
        )

    def _ask_kill(self, snapshot: Snapshot) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.killed = True
                self._leave(self._control.kill)

        self.push_screen(
            Confirm(
                "End at once?",
                f"What has begun ({plural(snapshot.items_begun, 'item')}) is given up and runs again on resume.",
                "End now",
                "Keep draining",
            ),
            answered,
        )


def _in_flight(snapshot: Snapshot) -> str:
    items = plural(snapshot.in_flight, "item")
    return f"{items} in flight {'has' if snapshot.in_flight == 1 else 'have'}"


def _held(snapshot: Snapshot) -> str:
    """Return a text about items that wait for their host, because they do not finish when the run is stopped."""
    return f" and what waits for its host ({count(snapshot.items_held)})" if snapshot.items_held else ""
