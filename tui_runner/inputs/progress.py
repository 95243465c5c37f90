"""Say what is being done while an input takes long to be opened."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[str], None]
"""Takes what is being done, as often as one likes."""

QUIET_SECONDS = 1.0
"""Seconds before the first message about an input that is being opened. Most are open by then."""


def silent(doing: str) -> None:
    """Say nothing."""


class SlowOnly:
    """A `Progress` that passes on what takes longer than a second, once a second.

    Args:
        say: takes the line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next = time.monotonic() + QUIET_SECONDS

    def __call__(self, doing: str) -> None:
        """Take what is being done."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + QUIET_SECONDS
            self._say(doing)
