"""Short messages that are laid over a screen for a few seconds: few, small, and none of them twice.

Whoever presses a key wants to read its answer and go on. So they lie above the last lines, which name the keys and say
what happens (`Toast` in `styles/runner.tcss`), and a key pressed five times in vain is answered once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from textual.app import App, ReturnType
from textual.notifications import Notify

from tui_runner.text.safe_text import ELLIPSIS, safe_text

MOST = 2
"""How many lie over the screen at once; one where it is low."""
_LOW = 16
_SHARE = 4
"""One message takes about a quarter of the lines at most."""
_WIDTH = 0.8
"""The share of the width that `Toast` has in `styles/runner.tcss`."""
_MARGIN = 4
_COMPLAINT_SECONDS = 8.0
"""What is wrong with the configuration is a sentence, and nobody waits for it."""
_COMPLAINT = 300


class BriefToasts(App[ReturnType]):
    """An application whose messages make way for each other."""

    NOTIFICATION_TIMEOUT = 4.0
    """Seconds, where nothing else is said."""

    def on_notify(self, event: Notify) -> None:
        """Make room for a message, and fit it into that; Textual shows it then."""
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
        """Say what of the configuration cannot be used: the first in words, the others by their number."""
        if not complaints:
            return
        text = safe_text(complaints[0].replace(f"{Path.home()}/", "~/"), limit=_COMPLAINT)
        if len(complaints) > 1:
            text = f"{len(complaints)} settings or themes are left out; tui-runner doctor lists them. {text}"
        self.notify(text, severity="warning", markup=False, timeout=_COMPLAINT_SECONDS)
