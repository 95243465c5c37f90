"""Measures how soon the query screen answers a key: in the editor during a busy run and after it, and in the result.

    python benchmarks/editor_keys.py [ROUNDS]

Runs on a pseudo-terminal of 120×40. During a run of 256 threads, a letter is typed that nothing else shows, and the
seconds until it arrives are measured. After the run, statements are typed, for most of whose letters the completion
list is shown, and the result is scrolled: the seconds until the last byte of the answering frame are measured, as in
`many_chunks.py`. The bar is 50 ms per frame.

The cursor of the editor blinks twice a second. If its frame arrives between a letter and the frame of the letter, it is
taken for that one. So a few in a hundred of these times are too short; none is too long.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from dashboard import JOBS, KEY_BAR, START_SECONDS, Terminal
from many_chunks import DOWN, KNOWN, PAGE_DOWN, PAGE_UP, QUERY, RIGHT, UP, answer, told

LETTER, BACKSPACE, CLEAR, RUN, NEXT_PART = "ж", "\x7f", "\x05\x15", "\x1b[15~", "\x1b[17~"
STATEMENTS = [
    "SELECT number, sum FROM mixed WHERE number > 100 ORDER BY sum",
    "SELECT state, count(*) FROM runner.items GROUP BY state",
    "SELECT _item, number + sum AS both FROM mixed AS m WHERE m.sum > 0",
]
SCROLL = [*[PAGE_DOWN] * 6, PAGE_UP, UP, DOWN, RIGHT, *[DOWN] * 4, PAGE_UP]


def typed_during_run(presses: int) -> list[float]:
    """Return the seconds from each letter to its frame, while 256 threads are busy."""
    with tempfile.TemporaryDirectory() as name:
        options = ["--db", str(Path(name) / "x.duckdb"), "--set", "count=10000000"]
        terminal = Terminal([f"{JOBS}:mixed", *options])
        try:
            terminal.until("in flight ")
            terminal.rest(START_SECONDS)
            terminal.press("d")
            terminal.until("number")
            taken = []
            for number in range(presses):
                terminal.rest(0.05 + 0.17 * (number % 7) / 7)  # keys come at all phases of the snapshots
                start = len(terminal.output)
                terminal.press(LETTER)
                taken.append(terminal.until(LETTER, start))
                terminal.press(BACKSPACE)
            return taken
        finally:
            terminal.kill()


def main() -> None:
    """Print the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"the bar is {KEY_BAR * 1000:.0f} ms")
    told("in the editor during a run", typed_during_run(rounds * 40))
    with tempfile.TemporaryDirectory() as name:
        terminal = Terminal([f"{JOBS}:mixed", "--db", str(Path(name) / "x.duckdb"), "--set", "count=20000"])
        try:
            terminal.until(QUERY)
            terminal.press(KNOWN)
            terminal.until("FINISHED", patience=600)
            terminal.press("d")
            terminal.until("number")
            terminal.rest(2.0)
            typed, scrolled = [], []
            for _ in range(rounds):
                for statement in STATEMENTS:
                    answer(terminal, CLEAR)
                    typed += [answer(terminal, key)[1] for key in statement]
                start = len(terminal.output)
                answer(terminal, CLEAR)
                terminal.press("SELECT * FROM mixed ORDER BY number")
                terminal.rest(1.0)
                terminal.press(RUN)
                terminal.until("_item", start)
                terminal.rest(1.0)
                terminal.press(NEXT_PART)
                terminal.rest(1.0)
                scrolled += [answer(terminal, key)[1] for key in SCROLL]
                terminal.press(NEXT_PART * 2)  # by way of the catalog
                terminal.rest(1.0)
            told("in the editor", typed)
            told("in the result", scrolled)
        finally:
            terminal.kill()


if __name__ == "__main__":
    main()
