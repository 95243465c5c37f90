"""Workarounds for errors that end a Textual application: early closing, the command palette, errors of a screen.

A screen may be closed before Textual has created its parts. For example, a signal closes all dialogs, or a second click
is beside the dialog that the first click opened. Textual then creates no parts, but still reports that the screen was
mounted. The screen would fail when it uses its parts (`EarlyClose`).

Textual's command palette raises an error that ends the application in four cases: it is closed twice, its list is
scrolled by a page before the list was laid out, a click is outside of the terminal, or the palette is opened again
before the previous one is completely gone (`Palette`).

After an error, Textual would print a traceback with the values of all variables, including secrets and unsafe text. So
the error is stored instead, and the caller of the application reports it (`KeepsFault`).
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
    """A mixin for screens that may be closed before they have their parts. Name it before Textual's class."""

    _pruning: bool  # Textual has no public attribute for this

    async def on_event(self, event: events.Event) -> None:
        """Handle an event. Ignore mount and resize events while the screen is being closed."""
        if not (isinstance(event, (events.Mount, events.Resize)) and self._pruning):
            await super().on_event(event)


class Palette(EarlyClose, CommandPalette):
    """Textual's command palette without the errors that end the application."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close the palette. Further calls have no effect."""
        if self.app.screen_stack[-1:] == [self]:
            return super().dismiss(result)
        return AwaitComplete()

    def on_click(self, event: events.Click) -> None:
        """Close the palette if the click was beside it."""
        event.prevent_default()
        if event.widget is self:
            self._action_escape()

    def _action_command_list(self, action: str) -> None:
        # Textual raises KeyError for a page key while the list has new entries and was not laid out again.
        with suppress(KeyError):
            super()._action_command_list(action)


class ScreenFailed(Exception):
    """Raised after an error has ended the dashboard. The error is the cause of this exception; the run continues."""


class KeepsFault(App[ReturnType]):
    """An application that stores the error that ends it, and does not print it.

    Attributes:
        fault: the error that ended the application, or None if there was no error.
    """

    fault: Exception | None = None

    def run_or_raise(self) -> ReturnType | None:
        """Run the application. Return its result, or raise the error that ended it."""
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
    """Return True if the current worker belongs to a widget that is being removed.

    The children of such a widget may be gone already, so an error of its worker means nothing.
    """
    try:
        return get_current_worker().node._pruning
    except NoActiveWorker:  # called outside of a worker
        return False
