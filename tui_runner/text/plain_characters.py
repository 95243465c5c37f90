"""Replaces characters that the encoding of a terminal or a stream lacks by characters of the same width.

Without replacements, a stream would write each of these characters as an escape of six characters, which would displace
the rest of the line of a screen, and make a message hard to read.
"""

from __future__ import annotations

import codecs

from tui_runner.text.safe_text import display_width

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
"""The code points of the braille characters."""
_DENSITY = " ..::####"
"""Replacements of braille characters. The index is the number of dots, 0 to 8."""


def is_unicode(encoding: str) -> bool:
    """Return True if `encoding` has all characters of Unicode."""
    return codecs.lookup(encoding).name.startswith("utf")


class PlainCharacters(dict[str, str]):
    """Converts text to the characters of an encoding, and stores the replacement of each character that it has met.

    Lines, bars, glyphs and charts have replacements. All other missing characters become `?`.

    Args:
        encoding: Python's name of the terminal's encoding.
    """

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    def of(self, text: str) -> str:
        """Return `text`, which may have control sequences, in characters of the encoding and of the same width."""
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            return "".join(self[character] for character in text)
        return text

    def __missing__(self, character: str) -> str:
        """Return `character` if the encoding has it, else its replacement; store the result."""
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
    return _STAND_INS.get(character) or "?" * display_width(character)


PLAIN = "tui-runner.plain"
"""Name of an error handler for streams of messages. It writes replacements of the characters that tui-runner itself
uses, such as `>` for `→`, and escapes of all others, because a replacement would change a text of the user."""


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(_STAND_INS.get(each) or ascii(each)[1:-1] for each in characters), error.end


codecs.register_error(PLAIN, _replaced)
