"""Screens that may be closed before they have their parts.

A signal closes every dialog, a key that opens one screen closes another, a second click is beside a dialog that the
first one opened: all that can come before Textual has made the parts of a screen. It makes none then, but says to the
screen that it has been mounted, and what a screen does with its parts at first would be a fault of the application.
"""

from __future__ import annotations

from textual import events
from textual.message_pump import MessagePump


class LeftEarly(MessagePump):
    """A screen that does nothing any more when it is closed before it has its parts. Goes before Textual's class."""

    _pruning: bool  # Textual has no public word for it

    async def on_event(self, event: events.Event) -> None:
        """Handle what comes, but not that a screen is there, and how large, which is not."""
        if not (isinstance(event, (events.Mount, events.Resize)) and self._pruning):
            await super().on_event(event)
