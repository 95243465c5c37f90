"""Hosts as settings and items name them; what is done about them is in `jobs.http`, which takes longer to import."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

# Finds the host of nearly all URLs in a quarter of `urlsplit`'s time: a list may have a million.
_PLAIN = re.compile(r"[A-Za-z]+://([A-Za-z0-9.-]+)(?::\d*)?(?:[/?#]|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Limits that every host has.

    Attributes:
        per_host: requests open at once; None for no bound.
        delay: seconds from one request to the next.
        adaptive: whether the delay follows the latency; `delay` is then the least.
    """

    per_host: int | None = None
    delay: float = 0.0
    adaptive: bool = False

    @property
    def is_exclusive(self) -> bool:
        """Return True if requests are spaced, so one worker at a time may ask a host."""
        return self.delay > 0 or self.adaptive


def host_of(text: object) -> str:
    """Return the host that a URL names, or the text itself for a host's name; empty for what is neither."""
    if not isinstance(text, str):
        return ""
    if found := _PLAIN.match(text):
        return found[1].lower()
    if "//" in text:
        try:
            return (urlsplit(text).hostname or "").lower()
        except ValueError:
            return ""
    return text.strip().lower()
