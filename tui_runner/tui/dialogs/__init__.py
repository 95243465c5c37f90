"""Modal dialogs that several screens use, and their base class."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType

from tui_runner.tui.terminal.textual_fixes import EarlyClose


class Dialog(EarlyClose, ModalScreen[ScreenResultType]):
    """A modal screen with a box in its middle. A click beside the box closes it. Only the first answer counts."""

    OUTSIDE: ClassVar[str] = "cancel"
    """Name of the action that a click beside the box carries out. It must close the dialog and change nothing."""

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close the dialog with an answer. Further answers are ignored.

        If Enter is pressed twice, the second key may arrive before the dialog is gone. In that case Textual would close
        the screen below the dialog.
        """
        if self.app.screen_stack[-1:] == [self]:
            return super().dismiss(result)
        return AwaitComplete()

    async def on_click(self, event: events.Click) -> None:
        """Carry out `OUTSIDE` if the click was beside the box."""
        if event.widget is self:
            event.stop()
            await self.run_action(self.OUTSIDE)
