"""Characters for a terminal whose encoding is not UTF-8."""

from __future__ import annotations

from rich.cells import cell_len

from tui_runner.text.plain_characters import PLAIN, PlainCharacters, is_unicode
from tui_runner.tui.widgets.paint import CHUNK_GLYPHS, RUN_GLYPHS


def test_every_cell_stays_one_cell() -> None:
    for encoding in ("latin-1", "ascii", "koi8-r"):
        for text in ("\x1b[1m▶ RUNNING\x1b[0m", "━━╸───", "│ ⣿⣷ ▁▃▇ │", "書籍 é"):
            plain = PlainCharacters(encoding).of(text)
            plain.encode(encoding)
            assert cell_len(plain) == cell_len(text)


def test_filled_cells_differ_from_empty_ones() -> None:
    assert PlainCharacters("ascii").of("═══━━━╸───") == "===####---"
    assert PlainCharacters("latin-1").of("café") == "café"
    assert PlainCharacters("ascii").of("書é") == "???"


def test_states_have_stand_ins_of_their_own() -> None:
    ascii = PlainCharacters("ascii")
    chunks = [ascii.of(glyph) for glyph in CHUNK_GLYPHS.values()]
    runs = [ascii.of(glyph) for glyph, _ in RUN_GLYPHS.values()]
    assert "?" not in chunks + runs
    assert len(set(chunks)) == len(chunks) and len(set(runs)) == len(runs)


def test_messages_have_stand_ins_of_glyphs_and_escapes_of_other_characters() -> None:
    assert "3 × → “é”…".encode("ascii", PLAIN) == rb"""3 x > "\xe9"."""
    assert "→ \ud800 書".encode("utf-8", PLAIN) == "→ \\ud800 書".encode()


def test_utf_8_needs_none() -> None:
    assert is_unicode("UTF-8") and is_unicode("utf8") and not is_unicode("ANSI_X3.4-1968")
