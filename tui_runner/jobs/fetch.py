"""The job of `tui-runner fetch`: one URL per item, one row per response, in table `pages`.

A page with status 404 has a row, and its item is done. Statuses 408, 425, 429 and most from 500 on may be temporary, so
these pages are retried; the item fails if the last attempt has such a status. An item without a response fails, too.
"""

from __future__ import annotations

import html
import re
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, Literal

import httpx
import orjson

from tui_runner._version import __version__
from tui_runner.errors import ItemError, UserError
from tui_runner.jobs import http
from tui_runner.jobs.current import current
from tui_runner.jobs.http.files import save
from tui_runner.jobs.http.response import decoded
from tui_runner.jobs.http.robots import Robots
from tui_runner.jobs.job import job
from tui_runner.jobs.settings import parse_size
from tui_runner.store.rows.values import Json
from tui_runner.text.messages import quoted

Keep = Literal["none", "text", "body", "file"]

USER_AGENT = f"tui-runner/{__version__}"
"""The User-Agent of requests, unless the user sets another one."""
# the same as `retry.TRANSIENT_STATUSES`
_TRIED_AGAIN = frozenset({408, 425, 429}) | frozenset(range(500, 600)) - {501, 505}
_TITLE = re.compile(r"<title\b[^>]*>([^<]{0,2000})", re.IGNORECASE)
_TITLE_WITHIN = 100_000
"""Characters of a page that are searched for its title. A title is in the head of a page, and some pages have none."""
_LONGEST_TITLE = 500
"""Characters of a title that are stored. A longer one is usually the rest of a page without `</title>`."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")
"""Matches a scheme such as `https:`, but not a host with a port such as `localhost:80`."""
_TEXTS = ("text/", "application/json", "application/xml", "application/javascript", "application/x-ndjson")
"""Content types that are stored as text, or the beginnings of their names."""


def with_scheme(text: str) -> str:
    """Return the URL in a line of an input. It gets `https://` if it has no scheme; an empty line stays empty."""
    line = text.strip()
    if line.startswith("//"):
        return f"https:{line}"
    return line if _SCHEME.match(line) or not line else f"https://{line}"


def host_of_item(item: object) -> str | None:
    """Return the URL of an item, which is the URL itself or a row with one; None for any other item."""
    url = item.get("url") if isinstance(item, dict) else item
    return with_scheme(url) if isinstance(url, str) else None


class _Options:
    """Options for all requests of a worker, from the job's parameters."""

    headers: dict[str, str]
    max_bytes: int | None
    robots: Robots | None = None
    folder: Path | None = None
    versions: Path | None = None
    warned = False


_options = _Options()


# 4 requests to a host are polite (browsers open 6); 32 threads serve 8 hosts; 300 s are enough for 64 MB at 2 Mbit/s.
@job(table="pages", threads=32, per_host=4, timeout=300, host=host_of_item)
def fetch(url: str, *, keep: Keep = "text") -> dict[str, Any]:
    """Fetch a URL. Return a row for the response.

    Args:
        url: the URL; https:// is added if it has no scheme.
        keep: the part of the response to store: its text, its body as bytes, its body as a file in the folder, or
            nothing.

    Raises:
        httpx.HTTPError: there is no response, or one that may differ at another attempt.
        ItemError: the text is not a URL, `robots.txt` does not allow it, its host is down, or the response does not fit
            the request.
        OSError: a file cannot be written.
    """
    return answered(url, keep)[0]


def answered(url: str, keep: Keep, *, follow: bool = True) -> tuple[dict[str, Any], httpx.Response]:
    """Fetch a URL like `fetch`. Return the row for the response, and the response itself.

    Args:
        url: the URL.
        keep: the part of the response in the row.
        follow: True to follow redirects.
    """
    if not isinstance(url, str):
        raise ItemError(f"{url!r} is not a URL")
    asked = with_scheme(url)
    if asked != url.strip() and (len(url.split()) != 1 or url.strip().isdecimal()):  # "17" would be the host 0.0.0.17
        raise ItemError(f"{url.strip()!r} is not a URL; write https://…")
    if asked != url.strip() and not _options.warned:
        _options.warned = True
        current.log(f"{url!r} has no scheme: https:// is taken for lines like this", level="WARNING")
    if not allowed(asked):
        raise ItemError("robots.txt does not allow it")
    began = time.perf_counter()
    row: dict[str, Any] = {"url": asked}
    known: dict[str, str] = {}
    if keep == "file":
        assert _options.folder is not None  # noqa: S101 - `set_up` refuses keep=file without a folder
        saved = save(asked, _options.folder, headers=_options.headers, max_bytes=_options.max_bytes)
        response, nbytes = saved.response, saved.nbytes
    else:
        known = _known_version(asked)
        if known:
            response = http.get(asked, follow_redirects=follow, headers=known)
        else:
            response = http.get(asked, follow_redirects=follow)
        nbytes = len(response.content)
    status = response.status_code
    if status in _TRIED_AGAIN:
        response.raise_for_status()
    if status == 304 and not known:
        raise ItemError("the server answered 304 (not modified), but the request named no version of the page")
    kind = response.headers.get("content-type", "")
    row |= {
        "final_url": str(response.url) if response.history else asked,
        "status": status,
        "seconds": time.perf_counter() - began,
        "bytes": nbytes,
        "content_type": kind or None,
    }
    if keep == "file":
        row |= {"file": None if saved.path is None else str(saved.path), "sha256": saved.sha256 or None}
    elif status != 304 and is_text(response):
        text = response.text
        row |= {"charset": response.encoding, "title": _title(text, kind)}
        if keep == "text":
            row["text"] = text
    if keep == "body":
        row["body"] = response.content
    row["headers"] = Json(orjson.dumps(_headers(response)).decode())
    # Fill this column even without a redirect: a column in which all values are null would not be created.
    row["redirects"] = Json(orjson.dumps([str(each.url) for each in response.history]).decode())
    return row, response


_opened = threading.local()


def _known_version(url: str) -> dict[str, str]:
    """Return request headers by which the server sends a page only if it has changed (RFC 9110, 13.1).

    Return no headers if no version of the page is known.
    """
    if _options.versions is None:
        return {}
    # SQLite connections cannot be shared by threads, so each thread opens its own
    if getattr(_opened, "path", None) != _options.versions:
        _opened.path = _options.versions
        _opened.database = sqlite3.connect(f"{_options.versions.as_uri()}?mode=ro", uri=True)
    sql = "SELECT etag, last_modified FROM versions WHERE url = ?"
    found = _opened.database.execute(sql, (url,)).fetchone() or (None, None)
    headers = {"If-None-Match": found[0], "If-Modified-Since": found[1]}
    return {name: value for name, value in headers.items() if value}


def allowed(url: str) -> bool:
    """Return True if the site's `robots.txt` allows a URL, or if `robots.txt` is not checked.

    Raises:
        httpx.HTTPError: the site cannot be reached.
    """
    return _options.robots is None or _options.robots.allows(url)


@fetch.setup
def set_up(
    keep: Keep = "text",
    folder: Path | None = None,
    max_bytes: str = "64MB",
    user_agent: str = USER_AGENT,
    robots: bool = False,
    header: list[str] | None = None,
    if_changed: bool = False,
    versions: Path | None = None,
) -> None:
    """Store the parameters for the requests of this worker.

    Args:
        keep: see `fetch`.
        folder: folder for saved files.
        max_bytes: size that a decoded response may have, such as 64MB, or `none`.
        user_agent: the User-Agent of requests.
        robots: True to skip pages that robots.txt does not allow.
        header: further headers, each as `Name: value`.
        if_changed: True to fetch known pages only if they have changed. An unchanged page has a row with status 304.
        versions: SQLite file with the known versions of pages; set by the run itself.

    Raises:
        UserError: a parameter is wrong, or a package that it needs is not installed.
    """
    if keep == "file" and folder is None:
        raise UserError("files need a folder", "keep=file", "give one with --set folder=DIR")
    _options.headers = {"User-Agent": user_agent, **headers_of(header or ())}
    _options.max_bytes = size_of(max_bytes)
    # Set the headers once for the client: headers passed with a request would be checked and merged for each request.
    http.configure(headers=_options.headers, max_bytes=_options.max_bytes)
    _options.robots = Robots(user_agent) if robots else None
    _options.folder = folder
    _options.versions = versions if if_changed else None


def size_of(text: str) -> int | None:
    """Convert a size such as `64MB` to bytes, and `none` to None.

    Raises:
        UserError: `text` is not a size.
    """
    if text.strip().lower() == "none":
        return None
    try:
        return parse_size(text)
    except ValueError:
        raise UserError(f"{quoted(text)} is not a size", "--max-bytes", "write 64MB, for example, or none") from None


def headers_of(lines: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Return headers by name, from lines of the form `Name: value`.

    Raises:
        UserError: a line has another form.
    """
    found = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not name.strip().isascii() or "\n" in line or "\r" in line:
            raise UserError(f"{quoted(line)} is not a header", "--header", "write it as 'Name: value'")
        found[name.strip()] = value.strip()
    return found


def is_text(response: httpx.Response) -> bool:
    """Return True if a response is text, by its content type or, if it has none, by its first bytes."""
    kind: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind:
        return b"\0" not in response.content[:1024]  # most images and archives have null bytes near their beginning
    return kind.startswith(_TEXTS) or kind.endswith(("+json", "+xml"))


def _title(text: str, kind: str) -> str | None:
    if kind and "html" not in kind.lower():
        return None
    found = _TITLE.search(text, 0, _TITLE_WITHIN)
    return " ".join(html.unescape(found[1]).split())[:_LONGEST_TITLE] or None if found else None


def _headers(response: httpx.Response) -> dict[str, str]:
    """Return the headers of a response by name in lower case; values of repeated headers are joined with commas."""
    found: dict[str, str] = {}
    for raw, value in response.headers.raw:
        name, text = raw.decode("latin-1").lower(), decoded(value, "utf-8")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found
