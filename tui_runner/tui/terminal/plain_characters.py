"""Replacements for characters that the encoding of a terminal lacks, each as wide as the original.

Without replacements, a stream would write such a character as six, which would displace everything after it.
"""

from __future__ import annotations

import codecs

from rich.cells import cell_len

_GROUPS = {
    "-": "─╌┄┈╴╶╼╾‐‑‒–—―▔⎯",
    "=": "═╍┅╪▄▅",
    "#": "━█▇▆■▓╸╺▉▊▋▌▐▀",
    "_": "▁▂▃▂",
    ":": "░▒",
    "|": "│┃┊┆╎╏║▏▎▍▕╽╿",
    "+": "┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛╋╔╗╚╝╠╣╦╩╬",
    ">": "▶▸▹→›",
    "<": "◀◂←‹",
    "^": "▲△↑▴",
    "v": "▼▽↓▾",
    "*": "✔✓●•▪◆★∙",
    "o": "○◦◯",
    "x": "⊘✗✘×",
    "!": "⚠",
    '"': "“”„",
    "'": "‘’",
    ".": "…·",
    "~": "≈",
    "u": "µ",
    " ": "\u00a0",
}
_STAND_INS = {character: plain for plain, characters in _GROUPS.items() for character in characters} | {"⏸": "="}
_BRAILLE = range(0x2800, 0x2900)
"""Code points of braille characters."""
_DENSITY = " ..::####"
"""Replacements of braille characters by their number of dots."""


def is_unicode(encoding: str) -> bool:
    """Return True if an encoding has every character."""
    return codecs.lookup(encoding).name.startswith("utf")


class PlainCharacters(dict[str, str]):
    """Converts text to the characters of an encoding; each lookup is cached.

    Lines, bars, glyphs and charts have replacements; all other missing characters become `?`.

    Args:
        encoding: Python's name of the terminal's encoding.
    """

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    def of(self, text: str) -> str:
        """Return text and control sequences with replacements that keep every cell in its place."""
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            return "".join(self[character] for character in text)
        return text

    def __missing__(self, character: str) -> str:
        """Return the replacement of a character."""
        try:
            character.encode(self._encoding)
            found = character
        except UnicodeEncodeError:
            found = _stand_in(character)
        self[character] = found
        return found


def _stand_in(character: str) -> str:
    if ord(character) in _BRAILLE:
        return _DENSITY[(ord(character) - _BRAILLE.start).bit_count()]
    return _STAND_INS.get(character) or "?" * cell_len(character)
