"""Textual's command palette, closed once and in order.

Textual's own ends the application when it is closed twice, when a page of its list is turned before the list has been
laid out, when a click comes from where there is no terminal any more, and when it is opened again before the last one
is quite gone.
"""

from __future__ import annotations

from contextlib import suppress

from textual import events
from textual.await_complete import AwaitComplete
from textual.command import CommandPalette

from tui_runner.tui.left_early import LeftEarly


class Palette(LeftEarly, CommandPalette):
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
