"""What the three applications, launcher, dashboard and query screen, have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ReturnType
from textual.binding import BindingType
from textual.events import Resize
from textual.filter import LineFilter, Monochrome, NoColor
from textual.theme import ThemeProvider

from tui_runner.tui.action import Place
from tui_runner.tui.actions import bindings
from tui_runner.tui.command_palette import Palette
from tui_runner.tui.keys_in_turn import KeysInTurn
from tui_runner.tui.lean_output import LeanDriver
from tui_runner.tui.own_output import KeepsOutput
from tui_runner.tui.screen_fault import KeepsFault
from tui_runner.tui.themes import Themed
from tui_runner.tui.toasts import BriefToasts


class Application(
    Themed, BriefToasts[ReturnType], KeysInTurn[ReturnType], KeepsFault[ReturnType], KeepsOutput[ReturnType]
):
    """An application that keeps its faults to itself, takes keys in their turn, and says little at once."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.ALWAYS)]

    @on(Resize)
    def _terminal_resized(self, event: Resize) -> None:
        """What the terminal shows has moved."""
        if isinstance(self._driver, LeanDriver):
            self._driver.shown.resized(event.size.height)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, for the theme that is shown now.

        Under `NO_COLOR` it turns colours into greys, and the terminal's own ones, which it does not know, into black
        on black. Whether a theme has those it asks only once, before there is one.
        """
        filters = super().get_line_filters()
        if not (self.no_color and self.native_ansi_color):
            return filters
        return [NoColor() if isinstance(each, Monochrome) else each for each in filters]

    def action_redraw(self) -> None:
        """Draw the whole screen anew."""
        if isinstance(self._driver, LeanDriver):
            self._driver.shown.forget()
        self.refresh(layout=True)

    def action_command_palette(self) -> None:
        """Find any action by name."""
        self._search(Palette())

    def search_themes(self) -> None:
        """Find a theme by name."""
        self._search(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def _search(self, palette: Palette) -> None:
        if not any(isinstance(screen, Palette) for screen in self.screen_stack):
            self.push_screen(palette)
