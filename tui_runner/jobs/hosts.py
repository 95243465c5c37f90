"""Hosts in settings and items. Requests to them are in `jobs.http`, which takes longer to import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

# Finds the host of nearly all URLs in a quarter of `urlsplit`'s time, because a list may have a million URLs.
_PLAIN = re.compile(r"[A-Za-z]+://([A-Za-z0-9.-]+)(?::\d*)?(?:[/?#]|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Limits of a host.

    Attributes:
        per_host: open requests at most; None for no limit.
        delay: seconds between two requests.
        adaptive: True if the delay follows the latency; `delay` is then its minimum.
    """

    per_host: int | None = None
    delay: float = 0.0
    adaptive: bool = False

    @property
    def is_exclusive(self) -> bool:
        """Return True if requests are spaced, so that only one worker at a time may send requests to a host."""
        return self.delay > 0 or self.adaptive


def host_of(text: object) -> str:
    """Return the host in a URL, or the text itself if it is a host's name; empty for any other text."""
    if not isinstance(text, str):
        return ""
    if found := _PLAIN.match(text):
        return found[1].lower()
    if "//" in text:
        try:
            return (urlsplit(text).hostname or "").lower()
        except ValueError:  # not a valid URL
            return ""
    return text.strip().lower()
