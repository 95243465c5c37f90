"""Rules of `robots.txt` (RFC 9309), parsed by Protego: one file per site, fetched by each worker about once a day.

A `Crawl-delay` becomes a limit for the host in all workers. A site without the file allows everything. If its server
fails, everything is disallowed (RFC 9309, 2.3.1.4). If the server cannot be reached at all, the item fails and is
retried, as for any other page.
"""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

from tui_runner.errors import UserError
from tui_runner.jobs import http
from tui_runner.jobs.hosts import host_of
from tui_runner.system.clock import time

_KEPT_SECONDS = 86_400.0
"""Seconds after which the file is fetched again. By RFC 9309, 2.4, crawlers must not use it for more than a day."""
_MOST_BYTES = 512_000
"""Bytes of the file that are read. RFC 9309, 2.5 requires at least 500 KiB."""
_MOST_SITES = 10_000
"""Sites whose rules are cached, each of a few kilobytes. A crawl of a million hosts needs the rules of a site only for
a moment."""
LONGEST_DELAY = 60.0
"""Longest `Crawl-delay` in seconds that is respected. Some sites write a day; with that they could not be crawled at
all."""


class Robots:
    """The rules of sites, for all threads of a worker.

    Args:
        user_agent: the User-Agent that fetches the files and whose rules apply.

    Raises:
        UserError: Protego is not installed.
    """

    def __init__(self, user_agent: str) -> None:
        try:
            from protego import Protego
        except ImportError:
            do = "install it: pip install 'tui-runner[http]'"
            raise UserError("robots.txt cannot be read without protego", "--robots", do) from None
        self._parse = Protego.parse
        self._user_agent = user_agent
        self._lock = threading.Lock()
        """Protects `_rules`. It is not held while a file is fetched, so that a slow site does not delay other sites."""
        self._rules: dict[str, tuple[float, Any]] = {}

    def allows(self, url: str) -> bool:
        """Return True if the site of `url` allows it to be fetched.

        Raises:
            httpx.HTTPError: the site cannot be reached.
        """
        rules = self._of(url)
        return rules is not None and (rules is True or bool(rules.can_fetch(url, self._user_agent)))

    def delay(self, url: str) -> float:
        """Return the seconds between two requests that the site of `url` demands; 0 if it demands nothing."""
        rules = self._of(url)
        return 0.0 if rules is None or rules is True else self._delay(rules)

    def _delay(self, rules: Any) -> float:
        asked = float(rules.crawl_delay(self._user_agent) or 0.0)
        return min(asked, LONGEST_DELAY) if asked > 0 else 0.0  # the file may contain a negative number or NaN

    def _of(self, url: str) -> Any:
        """Return the rules of a site. True means that it has no rules; None, that it disallows everything."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        now = time.monotonic()
        with self._lock:
            known = self._rules.get(site)
        if known is not None and now - known[0] < _KEPT_SECONDS:
            return known[1]
        rules = self._asked(f"{site}/robots.txt")
        if rules is not None and rules is not True and (delay := self._delay(rules)) > 0:
            http.gate.ask_delay(host_of(site), delay)
        with self._lock:
            if len(self._rules) >= _MOST_SITES:
                del self._rules[next(iter(self._rules))]
            self._rules[site] = now, rules
        return rules

    def _asked(self, url: str) -> Any:
        with http.stream("GET", url, headers={"User-Agent": self._user_agent}) as response:
            if response.status_code >= 500:
                return None
            if response.status_code >= 400:
                return True
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if len(body) >= _MOST_BYTES:
                    break
        return self._parse(body[:_MOST_BYTES].decode("utf-8-sig", "replace"))
