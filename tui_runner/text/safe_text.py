"""Makes text safe for a terminal, and measures its width.

Terminals obey ESC and the C1 controls in any text, and every widget of Textual passes them on unchanged: a scraped OSC
52 sequence would write the clipboard. So every text of a job, an item, an error, a file name or a result passes through
`safe_text` before it is shown on a screen or on standard error.
"""

from __future__ import annotations

import re

ELLIPSIS = "…"
"""Ends a text that was cut."""

_CONTROL_PICTURES = 0x2400
"""First character of the Unicode block Control Pictures, whose order is that of the control characters."""
# Keep these although they are invisible: ZERO WIDTH (NON-)JOINER and variation selectors 1 to 16. Persian, the Indic
# scripts and emoji need them, and they neither reorder nor hide text.
_UNSAFE = (
    "\x00-\x1f\x7f"  # C0, DEL
    "\x80-\x9f"  # C1: one-character forms of ESC [ and its like
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # invisible letters and marks
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi, separators, invisible format
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # shorthand, music, tags
    "\ud800-\udfff"  # surrogates: only lone ones are found in a Python string; they cannot be encoded
)
_ONE_LINE = re.compile(f"[{_UNSAFE}]")
_SEVERAL_LINES = re.compile(f"[{_UNSAFE}]".replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
"""Like `_ONE_LINE`, without the line feed."""


def _mark(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return "\u2421" if code == 0x7F else f"‹U+{code:04X}›"


def safe_text(text: str, *, newlines: bool = False, limit: int | None = None) -> str:
    r"""Return `text` with visible marks in place of characters that a terminal would obey or not show.

    C0 controls and DEL become control pictures (ESC is `␛`), C1, bidi controls, invisible characters, line and
    paragraph separators and lone surrogates become their number (`‹U+202E›`). A tab becomes spaces.
    The result is still not markup: give it to widgets as `Content` or `Text`, never as a markup string.

    Args:
        text: anything.
        newlines: keep `\n`, and make one of `\r\n`; otherwise line ends are marked, too.
        limit: longest result, in characters; a longer text ends with `…`. The text is cut before it is searched, so
            that its size does not matter.
    """
    cut = limit is not None and len(text) > limit
    if cut:
        text = text[:limit]
    pattern = _SEVERAL_LINES if newlines else _ONE_LINE
    if pattern.search(text):
        if newlines:
            text = text.replace("\r\n", "\n")
        text = pattern.sub(_mark, text.replace("\t", "    " if newlines else " "))
    if limit is not None and (cut or len(text) > limit):
        return (text[: limit - 1] + ELLIPSIS) if limit > 0 else ""
    return text


_NOT_A_TAB = re.compile(f"[{_UNSAFE}]".replace("\x00-\x1f", "\x00-\x08\x0a-\x1f"))
"""Like `_ONE_LINE`, without the tab."""


def masked(text: str) -> str:
    """Return `text` with each unsafe character except the tab replaced by one visible one, so that offsets stay valid.

    For text that the user edits. C0 controls and DEL become control pictures, all others `�`.
    """
    return _NOT_A_TAB.sub(_one_mark, text)


def _one_mark(match: re.Match[str]) -> str:
    mark = _mark(match)
    return mark if len(mark) == 1 else "�"


def display_width(text: str) -> int:
    """Return the number of cells of `text` in a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth, wcwidth  # lazy: 20 ms, and most text is ASCII

    width: int = wcswidth(text)
    # `wcswidth` returns -1 for the whole text if it has one control character.
    return width if width >= 0 else sum(max(wcwidth(character), 0) for character in text)
