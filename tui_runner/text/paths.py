"""Shortens paths within texts that are too long for their place.

A text is usually cut at its end. But an error's message often ends with a path, and a path ends with the name of the
file, which tells one error from another. So paths lose their beginnings first: `No such file: '…/card-1/a.raw'`. If
that is not enough, the words before a path at the end are cut: `No such fi…'…/a.raw'`.
"""

from __future__ import annotations

import re

from tui_runner.text.safe_text import ELLIPSIS, display_width

_PATH = re.compile(r"(?<![\w.:/~])(?:~|\.{1,2})?(?:/[^\s/'\"`<>|]+){2,}/?")
"""Matches paths of two names and more that begin at a root, a home or a current folder. URLs are left as they are,
because their beginnings name the host."""


_LAST = re.compile(rf"['\"`(]?{ELLIPSIS}/[^/\s'\"`<>|]+['\"`)]{{0,2}}$")
"""Matches a shortened path at the end of a text, with its quotes."""


def with_short_paths(text: str, over: int) -> str:
    """Return `text` with up to `over` fewer cells, taken from the beginnings of its paths; more if a name ends there.

    The longest path is shortened first. The last name of each path is kept, so the result may still be too long.
    """
    if over <= 0 or "/" not in text:
        return text
    pieces: list[tuple[int, int, str]] = []
    for match in sorted(_PATH.finditer(text), key=lambda match: -len(match[0])):
        if over <= 0:
            break
        short = _without_beginning(match[0], over)
        over -= display_width(match[0]) - display_width(short)
        pieces.append((*match.span(), short))
    for start, end, short in sorted(pieces, reverse=True):
        text = text[:start] + short + text[end:]
    return text


def _without_beginning(path: str, over: int) -> str:
    """Return the longest end of a path, after a mark, that is at least `over` cells shorter, or else its last name."""
    width = display_width(path)
    starts = [place for place, character in enumerate(path[:-1]) if character == "/" and place]
    for start in starts:
        if display_width(path[start:]) + 1 <= width - over:
            return ELLIPSIS + path[start:]
    shortest = ELLIPSIS + path[starts[-1] :] if starts else path
    return shortest if display_width(shortest) < width else path


def gap_before_last_path(text: str, over: int) -> tuple[int, int] | None:
    """Return the range of `text` to replace by `…`, so that it has `over` cells less and keeps the path at its end.

    Call this for the result of `with_short_paths` if that is still too long. Return None if the text does not end with
    a shortened path, or if less than a quarter of the text would be left before the gap.
    """
    match = _LAST.search(text)
    if over <= 0 or match is None:
        return None
    stop = match.start() + match[0].startswith(ELLIPSIS)  # one mark is enough for the gap and the path
    start = max(stop - over - len(ELLIPSIS), 0)
    while start and display_width(text[start:stop]) <= over:
        start -= 1
    return (start, stop) if start >= len(text) // 4 else None


def cut_text(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters: paths lose their beginnings first, then the text its end."""
    text = with_short_paths(text, len(text) - limit)
    if gap := gap_before_last_path(text, len(text) - limit):
        text = text[: gap[0]] + ELLIPSIS + text[gap[1] :]
    return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS


def cut_middle(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters. A longer text loses its middle, and `…` marks the gap.

    Use this for values of items. The ends of paths and URLs tell them apart, and their beginnings say what they are.
    """
    if len(text) <= limit:
        return text
    end = limit // 2
    return text[: limit - end - 1] + ELLIPSIS + text[len(text) - end :]
