"""Makes text safe for a terminal, and measures its width.

Terminals obey ESC and the C1 controls in any text, and every widget of Textual passes them on unchanged: a scraped OSC
52 sequence would overwrite the user's clipboard. So every text of a job, an item, an error, a file name or a result
passes through `safe_text` before it is shown on a screen or on standard error.
"""

from __future__ import annotations

import re

ELLIPSIS = "…"
"""Marks the end of a text that was cut."""

_CONTROL_PICTURES = 0x2400
"""First character of the Unicode block Control Pictures, whose order is that of the control characters."""
# Not in this list although they are invisible: ZERO WIDTH (NON-)JOINER and variation selectors 1 to 16. Persian, the
# Indic scripts and emoji need them, and they neither reorder nor hide text.
_UNSAFE = (
    "\x00-\x1f\x7f"  # C0, DEL
    "\x80-\x9f"  # C1: one-character forms of ESC sequences such as ESC [
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # invisible letters and marks
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi, separators, invisible format
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # shorthand, music, tags
    "\ud800-\udfff"  # surrogates: a Python string contains only lone ones, which cannot be encoded
)
_ONE_LINE = re.compile(f"[{_UNSAFE}]")
"""Matches each character that is replaced in a text of one line."""
_SEVERAL_LINES = re.compile(f"[{_UNSAFE}]".replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
"""Like `_ONE_LINE`, but does not match the line feed."""


def _mark(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    return "\u2421" if code == 0x7F else f"‹U+{code:04X}›"


def safe_text(text: str, *, newlines: bool = False, limit: int | None = None) -> str:
    r"""Return `text` with visible marks in place of characters that a terminal would obey or not show.

    C0 controls and DEL become control pictures (ESC is `␛`), C1, bidi controls, invisible characters, line and
    paragraph separators and lone surrogates become their number (`‹U+202E›`). A tab becomes spaces. Square brackets are
    not escaped: give the result to widgets as `Content` or `Text`, never as a markup string.

    Args:
        text: anything.
        newlines: True to leave `\n`, and to change `\r\n` to `\n`; False to mark line ends like other controls.
        limit: longest result, in characters; a longer one is cut and ends with `…`. The text is also cut before it is
            searched, so that a huge text costs no time.
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
"""Like `_ONE_LINE`, but does not match the tab."""


def masked(text: str) -> str:
    """Return `text` with each unsafe character except the tab replaced by exactly one character.

    Use it for text that the user edits: offsets into the result are offsets into `text`. C0 controls and DEL become
    control pictures, all others `�`.
    """
    return _NOT_A_TAB.sub(_one_mark, text)


def _one_mark(match: re.Match[str]) -> str:
    mark = _mark(match)
    return mark if len(mark) == 1 else "�"


def display_width(text: str) -> int:
    """Return the number of terminal cells that `text` takes: wide characters take two, combining characters none."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth, wcwidth  # lazy: 20 ms, and most text is ASCII

    width: int = wcswidth(text)
    # `wcswidth` returns -1 for the whole text if it has one control character.
    return width if width >= 0 else sum(max(wcwidth(character), 0) for character in text)
