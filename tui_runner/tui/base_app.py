"""The base of the three applications (launcher, dashboard, query screen), with their short messages.

A user who presses a key wants to read the answer and continue. So messages are shown above the last lines, which have
the keys and events (`Toast` in `styles/runner.tcss`), and a key pressed five times without effect is answered once.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual import on
from textual.app import App, ReturnType
from textual.binding import BindingType
from textual.events import Resize
from textual.filter import LineFilter, Monochrome, NoColor
from textual.notifications import Notify
from textual.theme import ThemeProvider

from tui_runner.system import terminal
from tui_runner.system.files import with_short_home
from tui_runner.text.safe_text import ELLIPSIS, safe_text
from tui_runner.tui.actions import bindings
from tui_runner.tui.actions.model import Place
from tui_runner.tui.terminal.driver import CapturesOutput, CompactDriver
from tui_runner.tui.terminal.key_order import OrderedKeys
from tui_runner.tui.terminal.textual_fixes import KeepsFault, Palette
from tui_runner.tui.themes import Themed

STYLES = Path(str(files("tui_runner.tui"))) / "styles"
"""The style sheets of all applications."""
MOST = 2
"""Most messages that are shown at once. Users rarely read a third one, and each message covers lines."""
_LOW = 16
"""On a terminal with fewer lines, only one message is shown: two would cover half of the screen."""
_SHARE = 4
"""A message takes at most one line in four, so that the run stays visible behind it."""
_WIDTH = 0.8
"""The share of the width that `Toast` has in `styles/runner.tcss`."""
_MARGIN = 4
"""Cells that the border and the padding of a message take from its width."""
_TERMINAL_SECONDS = 1.0
"""Seconds between two checks for the terminal. Textual would read from a lost one in an endless loop."""
COMPLAINT_SECONDS = 8.0
"""Seconds that an error is shown: it is an unexpected sentence, so it needs time to be read."""
_COMPLAINT = 300
"""Characters of a message about the configuration at most: three lines at 120 cells. `tui-runner doctor` prints the
whole message."""


class BriefToasts(App[ReturnType]):
    """An application with few messages at once: a new one replaces older ones."""

    NOTIFICATION_TIMEOUT = 4.0
    """Seconds that a message is shown by default."""

    def on_notify(self, event: Notify) -> None:
        """Make room for a message and shorten it to fit; then Textual shows it."""
        new = event.notification
        width, height = self.size
        room = max(int(width * _WIDTH) - _MARGIN, 1) * max(height // _SHARE, 1)
        if cell_len(new.message) > room:
            new.message = set_cell_size(new.message, room - 1) + ELLIPSIS
        same = [each for each in self._notifications if each.message == new.message]
        others = [each for each in self._notifications if each.message != new.message]
        most = MOST if height >= _LOW else 1
        for each in (*same, *others[: max(len(others) - most + 1, 0)]):
            self._unnotify(each, refresh=False)

    def tell_complaints(self, complaints: Sequence[str]) -> None:
        """Show the first mistake in the configuration in full, and the number of the others."""
        if not complaints:
            return
        text = safe_text(with_short_home(complaints[0]), limit=_COMPLAINT)
        if len(complaints) > 1:
            text = f"{len(complaints)} settings or themes are left out; tui-runner doctor lists them. {text}"
        self.notify(text, severity="warning", markup=False, timeout=COMPLAINT_SECONDS)


class Application(
    Themed, BriefToasts[ReturnType], OrderedKeys[ReturnType], KeepsFault[ReturnType], CapturesOutput[ReturnType]
):
    """An application that keeps its errors for its caller, handles keys in order, and shows few messages at once.

    Attributes:
        lost: True if the terminal is gone.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.ALWAYS)]
    lost = False

    def watch_terminal(self) -> None:
        """Begin to check for the terminal; call it in the screen's event loop."""
        self.set_interval(_TERMINAL_SECONDS, self._look_for_terminal)

    def _look_for_terminal(self) -> None:
        """End the application when the terminal is gone.

        SIGHUP reports a lost terminal at once, but is ignored under `nohup`.
        """
        if not self.lost and terminal.is_lost():
            self.lose()
        if self.lost:
            self.exit()

    def lose(self) -> None:
        """Record that the terminal is gone, and write nothing to it from now on."""
        self.lost = True
        self.captured_output.detach()

    @on(Resize)
    def _terminal_resized(self, event: Resize) -> None:
        """Tell the driver that the terminal has moved its content."""
        if isinstance(self._driver, CompactDriver):
            self._driver.shown.resized(event.size.height)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return Textual's line filters for the current theme.

        With `NO_COLOR`, Textual converts colours to greys. It does not know the terminal's own colours and converts
        them to black on black. Textual checks for such colours only once, before a theme is set.
        """
        filters = super().get_line_filters()
        if not (self.no_color and self.native_ansi_color):
            return filters
        return [NoColor() if isinstance(each, Monochrome) else each for each in filters]

    def action_redraw(self) -> None:
        """Redraw the whole screen."""
        if isinstance(self._driver, CompactDriver):
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
