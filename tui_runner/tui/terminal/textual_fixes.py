"""Workarounds for errors that end a Textual application: early closing, the command palette, errors of a screen.

A screen may be closed before Textual has created its parts: a signal closes every dialog, a key that opens one screen
closes another, or a second click is beside the dialog that the first one opened. Then Textual creates no parts, but
still reports that the screen was mounted, and the screen fails when it uses its parts.

Textual's command palette ends the application if it is closed twice, if a page of its list is turned before the list
was laid out, if a click is outside of the terminal, and if it is opened again before the previous one is completely
gone.

After an error, Textual would print a traceback with the values of all variables, including secrets and unsafe text. So
the error is stored instead, and the caller of the application reports it.
"""

from __future__ import annotations

from contextlib import suppress

from textual import events
from textual.app import App, ReturnType
from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.message_pump import MessagePump
from textual.worker import NoActiveWorker, WorkerFailed, get_current_worker


class EarlyClose(MessagePump):
    """A screen that does nothing if it is closed before it has its parts. List it before Textual's class."""

    _pruning: bool  # Textual has no public attribute for this

    async def on_event(self, event: events.Event) -> None:
        """Handle events, but ignore mount and resize events of a screen that is being closed."""
        if not (isinstance(event, (events.Mount, events.Resize)) and self._pruning):
            await super().on_event(event)


class Palette(EarlyClose, CommandPalette):
    """The command palette."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close; ignore repeated calls."""
        if self.app.screen_stack[-1:] == [self]:
            return super().dismiss(result)
        return AwaitComplete()

    def on_click(self, event: events.Click) -> None:
        """Close if the click was outside of all widgets."""
        event.prevent_default()
        if event.widget is self:
            self._action_escape()

    def _action_command_list(self, action: str) -> None:
        # Pages of a refilled list cannot be turned before it was laid out.
        with suppress(KeyError):
            super()._action_command_list(action)


class ScreenFailed(Exception):
    """Raised after an error of the dashboard, which is stored as its cause. The run continues."""


class KeepsFault(App[ReturnType]):
    """An application that stores the error that ended it instead of printing it.

    Attributes:
        fault: the error that ended it; None if the user left it.
    """

    fault: Exception | None = None

    def run_or_raise(self) -> ReturnType | None:
        """Run the application and return its result, or raise the error that ended it."""
        answer = self.run()
        if self.fault is not None:
            raise self.fault
        return answer

    def _handle_exception(self, error: Exception) -> None:
        if isinstance(error, WorkerFailed) and _is_left():
            return
        self.fault = self.fault or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()


def _is_left() -> bool:
    """Return True if the failed worker belongs to a part that is being removed, whose children may be gone."""
    try:
        return get_current_worker().node._pruning
    except NoActiveWorker:  # called outside of a worker
        return False
