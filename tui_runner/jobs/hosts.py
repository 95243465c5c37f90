"""Finds the hosts of URLs, and defines limits for hosts.

The code that sends requests is in `jobs.http`, which takes longer to import.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

# Finds the host of nearly all URLs in a quarter of the time of `urlsplit`, because a list may have a million URLs.
_PLAIN = re.compile(r"[A-Za-z]+://([A-Za-z0-9.-]+)(?::\d*)?(?:[/?#]|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Limits for requests to one host.

    Attributes:
        per_host: open requests at most; None for no limit.
        delay: seconds between two requests at least.
        adaptive: True if the delay follows the host's latency; `delay` is then its minimum.
    """

    per_host: int | None = None
    delay: float = 0.0
    adaptive: bool = False

    @property
    def is_exclusive(self) -> bool:
        """True if requests must be spaced, so that only one worker at a time may send requests to a host."""
        return self.delay > 0 or self.adaptive


def host_of(text: object) -> str:
    """Return the host in a URL, in lower case, or a text without `//` as the name of a host.

    Return an empty text for an invalid URL, and for a value that is not text.
    """
    if not isinstance(text, str):
        return ""
    if found := _PLAIN.match(text):
        return found[1].lower()
    if "//" in text:
        try:
            return (urlsplit(text).hostname or "").lower()
        except ValueError:  # the text is not a valid URL
            return ""
    return text.strip().lower()
