"""Finds the links of a page, as `wget` does, and converts URLs to a canonical form."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from tui_runner.errors import UserError

MOST_URL = 2_083
"""Longest URL in characters: the limit of Internet Explorer, and a little more than sitemaps allow (2,048). A longer
URL is probably a trap for crawlers."""
_MOST_TEXT = 5_000_000
"""Characters of a page that are searched for links. Longer pages are usually data, and searching them would hold the
interpreter lock for a second."""

_HIDES = re.compile(r"<!--|<(script|style|template)\b", re.IGNORECASE)
"""Matches the beginning of a part of the page whose tags do not count as links."""
# The quantifiers are possessive and bounded, so that a page of unclosed quotes does not take minutes.
_TAG = re.compile(
    r"<(a|area|base|frame|iframe|link|meta)\b((?:[^>\"']++|\"[^\"]{0,8192}+\"|'[^']{0,8192}+')*+)", re.IGNORECASE
)
_ATTRIBUTE = re.compile(
    r"(?<![a-z-])([a-z-]{1,40})\s{0,20}=\s{0,20}(?:\"([^\"]*+)\"|'([^']*+)'|([^\s\"'>]++))", re.IGNORECASE
)
_REFRESH = re.compile(r"^\s*[\d.]*\s*[;,]\s*url\s*=\s*['\"]?(.+?)['\"]?\s*$", re.IGNORECASE)
"""Matches the content of `<meta http-equiv="refresh">` if it has a URL."""
_FOLLOWED_RELATIONS = frozenset({"alternate", "canonical", "next", "prev", "shortlink"})
"""Relations of `<link>` that lead to pages. Other relations lead to style sheets and icons."""


def links_of(text: str, base: str) -> list[str]:
    """Return the absolute http and https URLs to which a page links, in order, each once.

    Args:
        text: the page; only its first `_MOST_TEXT` characters are searched.
        base: URL of the page, unless `<base>` names another one.
    """
    found: dict[str, None] = {}
    for tag in _TAG.finditer(_shown(text[:_MOST_TEXT])):
        attributes = {
            name.lower(): html.unescape(one or other or bare).strip()
            for name, one, other, bare in _ATTRIBUTE.findall(tag[2])
        }
        match tag[1].lower():
            case "base":
                base = _joined(base, attributes.get("href", "")) or base
                continue
            case "meta":
                is_refresh = attributes.get("http-equiv", "").lower() == "refresh"
                refresh = _REFRESH.match(attributes.get("content", "")[:MOST_URL]) if is_refresh else None
                target = refresh[1] if refresh else ""
            case "frame" | "iframe":
                target = attributes.get("src", "")
            case "link":
                relations = set(attributes.get("rel", "").lower().split())
                target = attributes.get("href", "") if relations & _FOLLOWED_RELATIONS else ""
            case _:
                target = attributes.get("href", "")
        if target and (url := _joined(base, target)):
            found[url] = None
    return list(found)


def _shown(text: str) -> str:
    """Return the text of a page without comments, scripts, styles and templates.

    If one of these has no end, the text after its beginning is omitted.
    """
    parts = []
    start = 0
    lower = text.lower()
    while found := _HIDES.search(text, start):
        parts.append(text[start : found.start()])
        end = "-->" if found[1] is None else f"</{found[1].lower()}"
        start = lower.find(end, found.end())
        if start < 0:
            return " ".join(parts)
        start += len(end)
    return " ".join([*parts, text[start:]])


def _joined(base: str, target: str) -> str:
    """Return the absolute http or https URL of a link; empty for other links (`mailto:`, `javascript:`)."""
    try:
        url = urljoin(base, target)
        parts = urlsplit(url)
        return url if parts.scheme in ("http", "https") and parts.hostname else ""
    except ValueError:  # not a valid URL
        return ""


@functools.lru_cache(1)
def canonicalizer() -> Callable[[str], str]:
    """Return a function that puts URLs into canonical form: no fragment, arguments sorted, minimal percent-encoding.

    It returns an empty text for an invalid URL.

    Raises:
        UserError: w3lib is not installed.
    """
    try:
        from w3lib.url import canonicalize_url
    except ImportError:
        do = "install it: pip install 'tui-runner[http]'"
        raise UserError("addresses cannot be compared without w3lib", "crawl", do) from None

    # Cache results, because many pages link to the same page. 20,000 pairs of URLs take about 10 MB.
    @functools.lru_cache(20_000)
    def canonical(url: str) -> str:
        try:
            return str(canonicalize_url(url))
        except ValueError:  # not a valid URL
            return ""

    return canonical
