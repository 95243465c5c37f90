"""The job of `tui-runner crawl`: pages found by following links, one row per page, in table `pages`.

The frontier is the table of all URLs that a crawl has found. It has the canonical URL of a page only once, so a page is
fetched once, even if many pages link to it. A redirect has its own row, and its target is another page, because other
pages may link to that target.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import httpx
import orjson

from tui_runner.errors import UserError
from tui_runner.jobs import fetch
from tui_runner.jobs.current import current
from tui_runner.jobs.http.links import MOST_URL, canonicalizer, links_of
from tui_runner.jobs.job import job
from tui_runner.store.rows.values import Json
from tui_runner.text.messages import plain, quoted

_MOST_REPEATED = 5
"""Equal consecutive parts of a path at most. In a path with more, the site probably links to itself one level deeper
each time."""

PER_SITE = 50_000
"""Default for the pages of one host at most: half of the default for a whole crawl (`--limit`, 100,000), so that one
site does not use up all of it."""
PER_PREFIX = 20_000
"""Default for the pages below one first path segment at most, so that an endless calendar does not use up its site's
limit."""


class _Rules:
    """Rules for which links to follow, from the job's parameters."""

    hosts: frozenset[str] = frozenset()
    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()


_rules = _Rules()


# 4 requests to a host are polite (browsers open 6); 32 threads serve 8 hosts; 300 s are enough for 64 MB at 2 Mbit/s.
@job(table="pages", frontier=True, threads=32, per_host=4, timeout=300, host=fetch.host_of_item)
def crawl(
    url: str,
    *,
    keep: Literal["none", "text", "body"] = "text",
    depth: int | None = 20,  # deeper pages are mostly generated, for example by a calendar
    per_site: int | None = PER_SITE,
    per_prefix: int | None = PER_PREFIX,
) -> dict[str, Any]:
    """Fetch a page and add the pages that it links to. Return a row like that of `fetch`.

    Args:
        url: URL of the page.
        keep: the part of the response to store: its text, its body as bytes, or nothing.
        depth: links between a start page and a page at most; None for no limit.
        per_site: pages of one host at most; None for no limit.
        per_prefix: pages of one host and first path segment at most; None for no limit.
    """
    row, response = fetch.answered(url, keep, follow=False)
    found = _links(response, row["url"])
    if response.has_redirect_location:
        row["redirects"] = Json(orjson.dumps(found).decode())
    current.add(*_followed(found))
    return row


@crawl.items
def start_pages(start: list[str]) -> list[str]:
    """Return the start pages of a crawl in canonical form, each once.

    Args:
        start: URLs of the start pages; https:// is added to a URL without a scheme.

    Raises:
        UserError: a text is not the URL of a web page, or w3lib is not installed.
    """
    canonical = canonicalizer()
    found = [canonical(fetch.with_scheme(text)) for text in start]
    for text, url in zip(start, found, strict=True):
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
        if scheme not in ("http", "https"):
            raise UserError(f"{plain(text)} is not a web page", "crawl", "give an http:// or https:// URL")
        # A name without a dot is a local host if it follows a scheme, and a mistake otherwise.
        if not host or ("//" not in text and "." not in host and ":" not in host and host != "localhost"):
            raise UserError(f"{text!r} is not the URL of a page", "crawl", "write https://example.org/, for example")
    return list(dict.fromkeys(found))


@crawl.setup
def set_up(
    start: list[str],
    keep: Literal["none", "text", "body"] = "text",
    max_bytes: str = "64MB",
    user_agent: str = fetch.USER_AGENT,
    robots: bool = True,
    header: list[str] | None = None,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
) -> None:
    """Store the parameters for this worker.

    Args:
        start: start pages. Links to other hosts are not followed; a host with and without `www.` is the same.
        keep: see `crawl`.
        max_bytes: size that a decoded response may have, such as 64MB, or `none`.
        user_agent: the User-Agent of requests, whose rules in robots.txt apply.
        robots: True to skip pages that robots.txt does not allow.
        header: further headers, each as `Name: value`.
        include: regular expressions; only addresses that match one are followed.
        exclude: regular expressions; addresses that match one are not followed.

    Raises:
        UserError: a parameter is wrong, or a package that it needs is not installed.
    """
    folder: Path | None = None
    fetch.set_up(keep, folder, max_bytes, user_agent, robots, header)
    canonicalizer()
    _rules.hosts = frozenset(_site(url) for url in start_pages(start))
    _rules.include = compiled(include, "--include")
    _rules.exclude = compiled(exclude, "--exclude")


def compiled(texts: list[str] | None, option: str) -> tuple[re.Pattern[str], ...]:
    """Return the compiled patterns that were given with an option.

    Raises:
        UserError: a text is not a regular expression.
    """
    found = []
    for text in texts or ():
        try:
            found.append(re.compile(text))
        except re.error as error:
            sign = text[error.pos : error.pos + 1] if error.pos is not None else ""
            do = f"to match a plain {sign} write {re.escape(sign)}" if sign and not sign.isalnum() else ""
            raise UserError(f"{quoted(text)} is not a regular expression ({error.msg})", option, do) from None
    return tuple(found)


def _site(url: str) -> str:
    return (urlsplit(url).hostname or "").removeprefix("www.")


def _links(response: httpx.Response, url: str) -> list[str]:
    """Return the URLs in a response: the target of a redirect, or the links of a page.

    An error page, and a response that is not HTML, have none.
    """
    if response.has_redirect_location:
        try:
            return [urljoin(url, response.headers["location"])]
        except ValueError:  # the target is not a valid URL
            return []
    kind = response.headers.get("content-type", "").lower()
    is_page = "html" in kind or (not kind and fetch.is_text(response))
    return links_of(response.text, url) if is_page and response.is_success else []


def _followed(urls: list[str]) -> list[str]:
    """Return the URLs that the crawl follows, in canonical form, each once."""
    canonical = canonicalizer()
    found = dict.fromkeys(canonical(url) for url in urls)
    return [url for url in found if _may_follow(url) and fetch.allowed(url)]


def _may_follow(url: str) -> bool:
    if not url.startswith(("http://", "https://")) or len(url) > MOST_URL or _site(url) not in _rules.hosts:
        return False
    if _rules.include and not any(pattern.search(url) for pattern in _rules.include):
        return False
    if any(pattern.search(url) for pattern in _rules.exclude):
        return False
    return not _repeats(urlsplit(url).path)


def _repeats(path: str) -> bool:
    parts = path.split("/")
    run = 1
    for before, part in pairwise(parts):
        run = run + 1 if part and part == before else 1
        if run > _MOST_REPEATED:
            return True
    return False
