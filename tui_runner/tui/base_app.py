"""The base of the three applications (launcher, dashboard, query screen), with their short messages.

A user who presses a key wants to read the answer and continue. For this reason, a message does not cover the last lines
of the screen, which show events and keys (`Toast` in `styles/runner.tcss`). A message replaces an equal message, so a
key that is pressed five times without effect is answered once.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from textual import on
from textual.app import App, ReturnType
from textual.binding import BindingType
from textual.events import Resize
from textual.filter import LineFilter, Monochrome, NoColor
from textual.notifications import Notify

from tui_runner.errors import EXIT_TERMINATED
from tui_runner.system import terminal
from tui_runner.system.files import with_short_home
from tui_runner.text.safe_text import ELLIPSIS, safe_text
from tui_runner.tui.actions import bindings
from tui_runner.tui.actions.model import Place
from tui_runner.tui.dialogs.questions import Choice, Choose
from tui_runner.tui.preferences import State
from tui_runner.tui.terminal.driver import CapturesOutput, CompactDriver
from tui_runner.tui.terminal.key_order import OrderedKeys
from tui_runner.tui.terminal.textual_fixes import KeepsFault, Palette
from tui_runner.tui.themes import Themed, Themes, cursor_colors

STYLES = Path(str(files("tui_runner.tui"))) / "styles"
"""The style sheets of all applications."""
MOST = 2
"""Most messages that are shown at once. Each message covers lines of the screen, and users rarely read a third one."""
_LOW = 16
"""Lines of a terminal below which only one message is shown, because two would cover half of the screen."""
_SHARE = 4
"""A message takes at most the lines of the screen divided by this number, so that the run stays visible behind it."""
_WIDTH = 0.8
"""Share of the screen's width that a message takes at most: `max-width` of `Toast` in `styles/runner.tcss`."""
_MARGIN = 3
"""Cells that a message loses to its border at the left and a blank at each side: `Toast` in `styles/runner.tcss`."""
_TERMINAL_SECONDS = 1.0
"""Seconds between two checks that the terminal still exists. Without them, Textual would read from a terminal that is
gone in an endless loop."""
COMPLAINT_SECONDS = 8.0
"""Seconds for which an error is shown. An error is a long sentence that the user does not expect, so it stays twice as
long as other messages (`BriefToasts.NOTIFICATION_TIMEOUT`)."""
_COMPLAINT = 300
"""Most characters of a message about the configuration: they fill about three lines of a terminal of 120 cells.
`tui-runner doctor` prints the whole message."""


class BriefToasts(App[ReturnType]):
    """An application that shows at most `MOST` messages at once. A new message replaces the oldest."""

    NOTIFICATION_TIMEOUT = 4.0
    """Seconds for which a message is shown by default: enough to read one line."""

    def on_notify(self, event: Notify) -> None:
        """Remove older messages, and shorten the new one to fit, before Textual shows it."""
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
        """Show the first of `complaints`, mistakes in the user's configuration and themes, and their number."""
        if not complaints:
            return
        text = safe_text(with_short_home(complaints[0]), limit=_COMPLAINT)
        if len(complaints) > 1:
            text = f"{len(complaints)} settings or themes are left out; tui-runner doctor lists them. {text}"
        self.notify(text, severity="warning", markup=False, timeout=COMPLAINT_SECONDS)


class Application(
    Themed, BriefToasts[ReturnType], OrderedKeys[ReturnType], KeepsFault[ReturnType], CapturesOutput[ReturnType]
):
    """The base class of the applications. It stores errors for its caller, orders keys, and shows few messages at once.

    Attributes:
        lost: True if the terminal is gone.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.ALWAYS)]
    lost = False
    _own_themes: Sequence[str] = ()
    _remembered: State | None = None
    _loop_of_screen: asyncio.AbstractEventLoop | None = None
    _is_terminated = False

    def run(self, **options: Any) -> ReturnType | None:
        """Run the application with the options of Textual's `run`, and return its result.

        What is loaded by now is in use until the end, so garbage collections leave it out: one that visits it takes up
        to a tenth of a second, in which keys have no effect.
        """
        gc.freeze()
        try:
            return super().run(**options)
        finally:
            gc.unfreeze()
            if self.keeps_screen:  # another application follows, and Python would hardly ever look for this one
                gc.collect()

    def run_or_raise(self) -> ReturnType | None:
        """Run the application. Return its result, or raise the error that ended it.

        SIGTERM ends the application too, so that the terminal is restored. Then raise `SystemExit`.
        """
        with terminal.signals({signal.SIGTERM: self._terminate}):
            answer = super().run_or_raise()
        if self._is_terminated:
            raise SystemExit(EXIT_TERMINATED)
        return answer

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self._is_terminated = True
        self.soon(self.exit)

    def watch_terminal(self) -> None:
        """Begin to check that the terminal still exists. Call this method in the screen's event loop."""
        self._loop_of_screen = asyncio.get_running_loop()
        self.set_interval(_TERMINAL_SECONDS, self._look_for_terminal)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the screen's event loop, because a signal handler must not change the screen itself."""
        if self._loop_of_screen is not None:
            self._loop_of_screen.call_soon_threadsafe(callback)

    def _look_for_terminal(self) -> None:
        """End the application when the terminal is gone.

        SIGHUP reports that at once, but a program under `nohup` ignores SIGHUP.
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
        """Tell the driver that the terminal was resized. This moves its content, so the driver must send all rows."""
        if isinstance(self._driver, CompactDriver):
            self._driver.shown.resized(event.size.height)

    def get_css_variables(self) -> dict[str, str]:
        """Return the style variables of the current theme, with colours for a readable row under the cursor."""
        variables = super().get_css_variables()
        variables.update(cursor_colors(self.current_theme, variables))
        return variables

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Return Textual's line filters for the current theme.

        With `NO_COLOR`, Textual converts colours to greys. A theme may use the terminal's own colours, whose values
        Textual does not know: it converts them to black on black. Textual checks for such a theme only once, before the
        theme is set, so this method checks again.
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
        """Open the palette, in which the user finds any action by its name."""
        if not any(isinstance(screen, Palette) for screen in self.screen_stack):
            self.push_screen(Palette())

    def use_themes(self, themes: Themes, chosen: str, state: State | None) -> None:
        """Offer `themes` besides those of Textual, and use the one named `chosen`.

        Args:
            themes: the bundled themes and those of the user.
            chosen: name of a theme.
            state: remembers the theme that the user chooses; None to forget it.
        """
        self._own_themes, self._remembered = sorted(themes.by_name), state
        for each in themes.by_name.values():
            self.register_theme(each)
        self.theme = chosen

    def action_theme(self) -> None:
        """Ask the user for a theme. The theme under the cursor is shown at once, and the chosen theme is remembered."""
        before = self.theme
        ours = self._own_themes
        names = [*ours, *sorted(name for name in self.available_themes if name not in ours)]
        choices = [Choice(name, "dark" if self.available_themes[name].dark else "light", name) for name in names]

        def answered(name: object) -> None:
            self.theme = before if name is None else str(name)
            if name is not None and self._remembered is not None:
                self._remembered.remember_theme(str(name))

        place = names.index(before) if before in names else 0
        self.push_screen(Choose("Theme", choices, place, lambda name: setattr(self, "theme", str(name))), answered)

    def search_themes(self) -> None:
        """Ask the user for a theme, as `action_theme` does. The theme command of Textual's palette calls it."""
        self.action_theme()
