"""Measures how soon the launcher answers a key in a folder with 200 jobs: in the list, into the form, in the form.

    python benchmarks/launcher_keys.py [ROUNDS]

Runs on a pseudo-terminal of 120×40, where the form of the job under the cursor stands beside the list. The seconds
until the last byte of the answering frame are measured, as in `many_chunks.py`. The bar is 50 ms per frame.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from dashboard import KEY_BAR, Terminal
from many_chunks import DOWN, KNOWN, PAGE_DOWN, PAGE_UP, QUERY, UP, answer, drain, told

JOBS = 200
PARAMETERS = 6
JOB = '''
from tui_runner import job

@job(threads={number})
def job_{number}(item: int, *, base_{number}: str, {parameters}):
    """Job number {number}: its form has {number} things to say.

    Args:
        base_{number}: where it begins
    """

@job_{number}.items
def items_{number}(*, last: int = {number}): return range(last)
'''
MOVES = [*[DOWN] * 8, UP, UP, PAGE_DOWN, DOWN, PAGE_DOWN, UP, PAGE_UP, "G", UP, "g", DOWN, DOWN]
TYPED = ["x", "y", "\t", "a", "\x7f", "\t", "b", UP, DOWN, "\t", "\t", "c"]


def write_jobs(folder: Path) -> None:
    """Write files with jobs of different parameters."""
    for number in range(1, JOBS + 1):
        parameters = ", ".join(f"value_{each}: int = {each}" for each in range(1 + number % PARAMETERS))
        text = JOB.format(number=number, parameters=parameters)
        (folder / f"jobs_{number:03d}.py").write_text(text)


def main() -> None:
    """Print the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jobs(folder)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        os.environ["ESCDELAY"] = "5"  # milliseconds that Textual waits for the rest of a sequence; 100 by default
        terminal = Terminal([], folder)
        try:
            terminal.until(QUERY)
            terminal.press(KNOWN)
            terminal.until("job_1")
            drain(terminal, 2.0)
            moved, entered, left, typed = [], [], [], []
            for _ in range(rounds):
                moved += [answer(terminal, key)[1] for key in MOVES]
                for _ in range(4):
                    entered.append(answer(terminal, "\r")[1])
                    terminal.rest(0.8)  # the first items come 0.4 s after the last key
                    typed += [answer(terminal, key)[1] for key in TYPED]
                    left.append(answer(terminal, "\x1b")[1])
                    answer(terminal, DOWN)
            print(f"{JOBS} jobs; the bar is {KEY_BAR * 1000:.0f} ms")
            for what, taken in (
                ("in the list", moved),
                ("into the form", entered),
                ("in the form", typed),
                ("back to the list", left),
            ):
                told(what, taken)
        finally:
            terminal.kill()


if __name__ == "__main__":
    main()
