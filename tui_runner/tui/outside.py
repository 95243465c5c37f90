"""Dialogs that a click beside them closes, as Escape does: the mouse needs a way out as well."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.screen import ModalScreen, ScreenResultType


class Dialog(ModalScreen[ScreenResultType]):
    """A modal screen whose box a click outside closes."""

    OUTSIDE: ClassVar[str] = "cancel"
    """The action of a click outside: the one that changes nothing."""

    async def on_click(self, event: events.Click) -> None:
        """Close when the click was on nothing."""
        if event.widget is self:
            event.stop()
            await self.run_action(self.OUTSIDE)
