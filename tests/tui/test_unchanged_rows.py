from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tui_runner.tui.terminal.driver import FORGOTTEN_AFTER, RowDiff

Piece = tuple[int, int, str]


def frame(*pieces: Piece) -> str:
    """Return texts at rows and columns, as Textual writes them."""
    return "\n".join(f"\x1b[{row};{column}H{text}" for row, column, text in pieces) + "\x1b[1;1H"


class Terminal:
    """A terminal without line wrap that shows plain text."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.resize(size)

    def resize(self, size: tuple[int, int]) -> None:
        """Its content has scrolled."""
        self.width, self.height = size
        self.cells = {(row, column): "?" for row in range(1, size[1] + 1) for column in range(1, size[0] + 1)}

    def write(self, data: str) -> None:
        """Show it."""
        for row, column, text in re.findall(r"\x1b\[(\d+);(\d+)H([^\x1b\n]*)", data):
            for place, character in enumerate(text, int(column)):
                self.cells[min(int(row), self.height), min(place, self.width)] = character


ROWS = st.integers(1, 6)
PIECES = st.tuples(ROWS, st.integers(1, 5), st.text("ab ", min_size=1, max_size=5))
SIZES = st.tuples(st.integers(3, 9), st.integers(2, 6))
STEPS = st.lists(st.lists(PIECES, min_size=1, max_size=6, unique_by=lambda piece: piece[:2]) | SIZES, max_size=20)


@given(STEPS)
def test_the_terminal_shows_what_it_would_show_with_every_row(steps: list[list[Piece] | tuple[int, int]]) -> None:
    whole, spared, rows = Terminal((9, 6)), Terminal((9, 6)), RowDiff(clock=lambda: 0.0)
    rows.resized(6)
    for step in steps:
        if isinstance(step, tuple):
            whole.resize(step)
            spared.resize(step)
            rows.resized(step[1])
        else:
            # By rows: what comes later for the same row goes over what came before.
            data = frame(*sorted(step, key=lambda piece: piece[0]))
            whole.write(data)
            spared.write(rows.without(data))
        assert spared.cells == whole.cells


def test_only_rows_that_changed_are_sent() -> None:
    rows = RowDiff(clock=lambda: 0.0)
    rows.resized(3)
    first = frame((1, 1, "one"), (2, 1, "two"), (3, 1, "three"))
    assert rows.without(first) == first.replace("\n", "")
    assert rows.without(first) == "\x1b[1;1H"
    assert rows.without(frame((1, 1, "one"), (2, 1, "2"), (3, 1, "three"))) == "\x1b[2;1H2\x1b[1;1H"
    # Part of a row makes the whole of it unknown.
    rows.without(frame((3, 2, "x")))
    assert rows.without(frame((3, 1, "three"))) == "\x1b[3;1Hthree\x1b[1;1H"


def test_everything_is_sent_again_when_the_screen_may_be_another() -> None:
    now = [0.0]
    rows = RowDiff(clock=lambda: now[0])
    rows.resized(1)
    whole = frame((1, 1, "one"))
    for change in (
        rows.forget,
        lambda: rows.resized(1),
        lambda: rows.without("\x1b[?1049h"),
        lambda: now.append(now.pop() + FORGOTTEN_AFTER + 1),
        # Written over the last row of a terminal that is not as high.
        lambda: rows.without(frame((2, 1, "two"))),
    ):
        rows.without(whole)
        assert rows.without(whole) == "\x1b[1;1H"
        change()
        assert rows.without(whole) == whole


def test_output_that_prints_nothing_goes_through() -> None:
    rows = RowDiff()
    rows.resized(1)
    rows.without(frame((1, 1, "one")))
    for data in ("\x1b[?2026h", "\x1b[?25l", "\x1b]0;title\x07", "\x07", ""):
        assert rows.without(data) == data
    assert rows.without(frame((1, 1, "one"))) == "\x1b[1;1H"
