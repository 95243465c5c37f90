"""Decides what becomes of the run when the dashboard ends: by the user, by a signal, or without a terminal."""

from __future__ import annotations

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


class _LeaveQuestion(Confirm):
    """The question that Ctrl-C asks and that a second Ctrl-C answers with yes."""


class ShutdownApp(Application[None]):
    """An application that asks the user before it leaves an unfinished run.

    If the terminal is gone, the application ends and the run continues.

    Attributes:
        killed: True if the user has ended the run at once.
    """

    def __init__(self, control: RunControl, captured_output: CapturedOutput | None = None) -> None:
        super().__init__(driver_class=driver_class(), captured_output=captured_output)
        self._control = control
        self._snapshot: Snapshot | None = None
        self._leaving = False
        self.killed = False

    def lose(self) -> None:
        """Record that the terminal is gone, and tell the run that nobody watches it."""
        super().lose()
        self._control.abandon(terminal.LOST)

    def hung_up(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGHUP: end the screen. The run continues."""
        self.lose()
        self.soon(self.exit)

    def terminated(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM: stop the run. The screen ends when the run has ended, at once if it had ended before."""
        self.soon(lambda: self._leave(self._control.stop))

    def action_interrupt(self) -> None:
        """Leave the application. If the run has not ended, ask first; a second Ctrl-C answers yes.

        Any other open dialog is closed without an answer.
        """
        if isinstance(self.screen, _LeaveQuestion):
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
        """Leave as `action_interrupt` does. Textual's own key for quitting calls this method and must ask, too."""
        self.action_interrupt()

    def _leave(self, command: Callable[[], None]) -> None:
        """End the run with `command`, and leave the application as soon as the run has ended."""
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
            _LeaveQuestion(
                f"Stop run {snapshot.run_id} of {safe_text(snapshot.job, limit=60)}?",
                f"{_in_flight(snapshot)}, then tui-runner leaves. What has not finished"
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
            _LeaveQuestion(
                "End at once?",
                f"What has begun ({plural(snapshot.items_begun, 'item')}) is given up and runs again on resume.",
                "End now",
                "Keep draining",
            ),
            answered,
        )


def _in_flight(snapshot: Snapshot) -> str:
    if not snapshot.in_flight:
        return "The run stops"
    items = plural(snapshot.in_flight, "item")
    return f"{items} in flight {'has' if snapshot.in_flight == 1 else 'have'} {snapshot.grace:g} s to finish"


def _held(snapshot: Snapshot) -> str:
    """Return a part of the question that names the items held by their hosts; empty if there are none.

    Held items have begun, but do not finish when the run is stopped.
    """
    return f" and what waits for its host ({count(snapshot.items_held)})" if snapshot.items_held else ""
