"""Modal dialogs that every screen uses, and their common base."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType

from tui_runner.tui.terminal.textual_fixes import EarlyClose


class Dialog(EarlyClose, ModalScreen[ScreenResultType]):
    """A modal screen. A click beside its box closes it, and answers after the first are ignored."""

    OUTSIDE: ClassVar[str] = "cancel"
    """Name of the action of a click beside the box: the one that closes the dialog and changes nothing."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close with an answer. Further answers are ignored.

        If Enter is pressed twice, the second one may arrive before the dialog is gone, and Textual would close the
        screen below.
        """
        if self.app.screen_stack[-1:] == [self]:
            return super().dismiss(result)
        return AwaitComplete()

    async def on_click(self, event: events.Click) -> None:
        """Close if the click was outside of all widgets."""
        if event.widget is self:
            event.stop()
            await self.run_action(self.OUTSIDE)
