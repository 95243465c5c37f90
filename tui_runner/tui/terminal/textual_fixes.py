"""Workarounds for what ends a Textual application: early closing, the command palette, faults of a screen.

A signal closes every dialog, a key that opens one screen closes another, a second click is beside a dialog that the
first one opened: all that can come before Textual has made the parts of a screen. It makes none then, but says to the
screen that it has been mounted, and what a screen does with its parts at first would be a fault of the application.

Textual's own ends the application when it is closed twice, when a page of its list is turned before the list has been
laid out, when a click comes from where there is no terminal any more, and when it is opened again before the last one
is quite gone.

Textual would print its traceback with the values of all variables: secrets among them, and text of others. So the fault
is kept instead, and told by whoever started the application, as any other.
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
    """A screen that does nothing any more when it is closed before it has its parts. Goes before Textual's class."""

    _pruning: bool  # Textual has no public word for it

    async def on_event(self, event: events.Event) -> None:
        """Handle what comes, but not that a screen is there, and how large, which is not."""
        if not (isinstance(event, (events.Mount, events.Resize)) and self._pruning):
            await super().on_event(event)


class Palette(EarlyClose, CommandPalette):
    """The command palette."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close; closing it again is nothing."""
        if self.app.screen_stack[-1:] == [self]:
            return super().dismiss(result)
        return AwaitComplete()

    def on_click(self, event: events.Click) -> None:
        """Close when the click was on nothing."""
        event.prevent_default()
        if event.widget is self:
            self._action_escape()

    def _action_command_list(self, action: str) -> None:
        # A page of a list that has been filled anew cannot be turned before it has been laid out.
        with suppress(KeyError):
            super()._action_command_list(action)


class ScreenFailed(Exception):
    """The dashboard has ended by a fault of its own, which is this error's cause; the run continues."""


class KeepsFault(App[ReturnType]):
    """An application that prints nothing of the fault that ended it.

    Attributes:
        fault: what ended it; None when it was left.
    """

    fault: Exception | None = None

    def run_or_raise(self) -> ReturnType | None:
        """Run the application, and raise the fault that ended it."""
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
    """Return True if the worker that failed is of a part that is being removed: what it looked for may be gone."""
    try:
        return get_current_worker().node._pruning
    except NoActiveWorker:
        return False
