"""The query screen in a terminal: typed, cancelled, edited elsewhere, and fed with what would harm it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pseudo_terminal import PseudoTerminal
from support.query_world import HOSTILE, make_database

pytestmark = pytest.mark.slow

F4, F5, F6, ESCAPE = "\x1bOS", "\x1b[15~", "\x1b[17~", "\x1b"
LINE_END, DELETE_LINE = "\x05", "\x15"
CROSS_JOIN = "SELECT count(*) FROM range(9999999) a, range(9999999) b WHERE a.range * b.range = 7"
"""Short enough for one line of the editor: the key deletes no more than that."""
EDITED = "SELECT 'out of ' || 'the editor' AS e"


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PseudoTerminal]:
    editor = tmp_path / "editor.sh"
    editor.write_text(f'#!/bin/sh\necho "{EDITED}" > "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    make_database(tmp_path / "books.duckdb").close()
    opened = PseudoTerminal(["open", "books.duckdb"], tmp_path)
    # The catalog has come, so the editor has, too.
    opened.shows("we ird")
    yield opened
    opened.close()


def run(screen: PseudoTerminal, sql: str, shows: str) -> None:
    """Clear the editor, type a statement, run it, and wait for what it gives."""
    place = screen.press(f"{LINE_END}{DELETE_LINE}{sql}{F5}")
    screen.shows(shows, place)


def go(screen: PseudoTerminal, key: str) -> None:
    """Press a key that moves the focus, and wait until something was drawn for it."""
    place = screen.press(key)
    screen.until(lambda: len(screen.output) > place, "change of focus")


def test_statements_are_typed_and_answered_and_the_screen_is_left(screen: PseudoTerminal) -> None:
    run(screen, "SELECT 'ä世' || $$it's; $$ AS t -- a comment;", "ä世it's;")
    run(screen, "SELECT titel FROM books", "not found in FROM clause")
    place = screen.press(F4)
    screen.shows("out of", place)
    place = screen.press(F5)
    screen.shows("out of the editor", place)
    screen.press(F6)
    screen.until(lambda: screen.press("q") and screen.process.poll() is not None, "end")
    assert screen.exit_code() == 0
    assert b"\x1b[?1049l" in screen.output and b"\x1b[?25h" in screen.output


def test_a_cross_join_is_ended_by_escape(screen: PseudoTerminal) -> None:
    run(screen, CROSS_JOIN, "running")
    place, pressed = screen.press(ESCAPE), time.monotonic()
    screen.shows("ended after", place)
    # A terminal's lone escape waits for the rest of a sequence first, and the machine may have much to do.
    assert time.monotonic() - pressed < 5
    run(screen, "SELECT 6 * 7 AS answer", "42")


def test_hostile_cells_names_and_huge_ones_do_no_harm(screen: PseudoTerminal) -> None:
    run(screen, 'FROM "we ird"', "1 row")
    go(screen, F6)
    place = screen.press("\r")
    screen.shows("Esc close", place)
    place = screen.press("q" + "c")
    screen.shows("copied cell", place)
    copied = re.compile(rb"\x1b\]52;c;[A-Za-z0-9+/=]*\x07")
    assert copied.search(screen.output)
    go(screen, F6)
    go(screen, F6)
    run(screen, "SELECT repeat('x', 100_000_000) AS big, range FROM range(3)", "3 rows")
    go(screen, F6)
    place, pressed = screen.press("\x1b[B\x1b[B\r"), time.monotonic()
    screen.shows("100,000,000", place)
    assert time.monotonic() - pressed < 5
    # What we say ourselves: the clipboard, and the shape of the mouse pointer.
    output = re.sub(rb"\x1b\]22;[a-z-]+\x07", b"", copied.sub(b"", screen.output))
    for sequence in (b"\x1b]52", b"\x07", b"\x9b31m", "\u202e".encode(), "\u009b".encode()):
        assert sequence not in output, output[max(output.find(sequence) - 80, 0) :][:160]
    assert HOSTILE.encode() not in screen.output
