"""The job behind `tui-runner crawl`: pages that are found by following links, one row a page, in table `pages`.

A page is fetched once, however many pages link to it, because its canonical URL is in the frontier once. A redirect is
a row too, and its target is a page of its own, because other pages may link to it.
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
"""Equal parts of a path in a row: more are a site that links to itself one level deeper each time."""

PER_SITE = 50_000
"""Pages of one host by default: half of what a crawl may have, so that one site leaves room for the others."""
PER_PREFIX = 20_000
"""Pages below one first part of a path by default: a calendar without an end leaves room for the rest of its site."""


class _Rules:
    """Rules for links to follow, from the job's parameters."""

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
    depth: int | None = 20,  # deeper pages are mostly generated, such as calendars
    per_site: int | None = PER_SITE,
    per_prefix: int | None = PER_PREFIX,
) -> dict[str, Any]:
    """Fetch a page, add the pages it links to; return a row as `fetch` does.

    Args:
        url: of the page.
        keep: what of the answer is stored: its text, its body as bytes, or none of it.
        depth: links from a start page to the last one, at most.
        per_site: pages of one host, at most.
        per_prefix: pages of one host and first part of the path, at most.
    """
    row, response = fetch.answered(url, keep, follow=False)
    found = _links(response, row["url"])
    if response.has_redirect_location:
        row["redirects"] = Json(orjson.dumps(found).decode())
    current.add(*_followed(found))
    return row


@crawl.items
def start_pages(start: list[str]) -> list[str]:
    """Return the pages that a crawl begins with, in canonical form.

    Args:
        start: their addresses; without a scheme, https:// is taken.
    """
    canonical = canonicalizer()
    found = [canonical(fetch.with_scheme(text)) for text in start]
    for text, url in zip(start, found, strict=True):
        scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
        if scheme not in ("http", "https"):
            raise UserError(f"{plain(text)} is not a web page", "crawl", "give an http:// or https:// URL")
        # A name without a dot is a host of the own network where a scheme stands before it, and a slip where none does.
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
    """Take over the parameters of this worker.

    Args:
        start: pages to begin with; links to other hosts are not followed.
        keep: as in `crawl`.
        max_bytes: bytes that an answer may have, decoded: 64MB, or none.
        user_agent: the name that requests are sent by, and that robots.txt is read for.
        robots: leave out what robots.txt does not allow.
        header: further headers, `Name: value` each.
        include: regular expressions; an address must match one to be followed.
        exclude: regular expressions; an address that matches one is not followed.
    """
    folder: Path | None = None
    fetch.set_up(keep, folder, max_bytes, user_agent, robots, header)
    canonicalizer()
    _rules.hosts = frozenset(_site(url) for url in start_pages(start))
    _rules.include = compiled(include, "--include")
    _rules.exclude = compiled(exclude, "--exclude")


def compiled(texts: list[str] | None, option: str) -> tuple[re.Pattern[str], ...]:
    """Return the patterns of an option.

    Raises:
        UserError: one is not a regular expression.
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
    """Return the URLs in an answer: the target of a redirect, or the links of a page."""
    if response.has_redirect_location:
        try:
            return [urljoin(url, response.headers["location"])]
        except ValueError:
            return []
    kind = response.headers.get("content-type", "").lower()
    is_page = "html" in kind or (not kind and fetch.is_text(response))
    return links_of(response.text, url) if is_page and response.is_success else []


def _followed(urls: list[str]) -> list[str]:
    """Return the addresses to fetch, in canonical form, each once."""
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
