"""Modal questions that every screen uses; what they have in common is here."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType

from tui_runner.tui.terminal.textual_fixes import EarlyClose


class Dialog(EarlyClose, ModalScreen[ScreenResultType]):
    """A modal screen that a click beside its box closes, and whose first answer counts."""

    OUTSIDE: ClassVar[str] = "cancel"
    """The action of a click outside: the one that changes nothing."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close with an answer; another one is none.

        Of Enter pressed twice the second may come before this is gone, and Textual would close the screen below.
        """
        if self.app.screen_stack[-1:] == [self]:
            return super().dismiss(result)
        return AwaitComplete()

    async def on_click(self, event: events.Click) -> None:
        """Close when the click was on nothing."""
        if event.widget is self:
            event.stop()
            await self.run_action(self.OUTSIDE)
