"""Keys, clicks and sizes at random, as fast as they can be sent: nothing of it may end the program by a fault.

    KEY_SECONDS=60 SEED=1 python -m pytest tests/tui/test_random_keys.py

Not part of every run of the tests: what it has found has tests of its own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.pseudo_terminal import PseudoTerminal

SECONDS = float(os.environ.get("KEY_SECONDS", "0"))
SEED = int(os.environ.get("SEED", "20261128"))

JOB = """
import logging
import time
from tui_runner import job

@job(chunk_size=40, threads=16, retries=1)
def pages(page: int, *, seconds: float = 0.02):
    time.sleep(seconds)
    if page % 40 == 3:
        print(f"page {page}: \\x1b[31m \\x1b]52;c;AAAA\\x07")
    if page % 70 == 17:
        raise ValueError(f"no table on page {page}")
    if page % 33 == 5:
        raise ConnectionError(f"page {page} reset by peer")
    return [{"title": f"book {page}-{number}", "price": page + number / 10} for number in range(20)]

@pages.items
def numbers(*, last: int = 100_000):
    return range(last)
"""

# Not `y`: it answers the question whether to stop. Nor `q` where it leaves at once.
KEYS = [
    *"jkgGvVprRxs/mnNelfcotT,+-=?dw h39", "\r", "\x1b", "\t", "\x7f", "\x10", "select 1;", "from pages;",
    *(f"\x1b[{letter}" for letter in "ABCDHF"), *(f"\x1b[{number}~" for number in (5, 6, 15, 17, 18, 19, 20)), "\x1bOQ",
]  # fmt: skip
SIZES = [(40, 12), (80, 24), (120, 40), (400, 120), (61, 17), (200, 50), (30, 8), (1, 1)]


@pytest.mark.skipif(not SECONDS, reason="set KEY_SECONDS")
@pytest.mark.parametrize("arguments", [["run", "job.py", "--tui"], [], ["open", "small.duckdb"]], ids=" ".join)
def test_no_keys_end_the_program_by_a_fault(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "job.py").write_text(JOB)
    small = ["run", "job.py", "--headless", "--quiet", "--db", "small.duckdb", "--set", "last=200"]
    subprocess.run([sys.executable, "-m", "tui_runner", *small], cwd=tmp_path)
    chance = random.Random(SEED)
    keys = [*KEYS, "q"] if arguments[:1] == ["run"] else KEYS
    terminal = PseudoTerminal(arguments, tmp_path)
    try:
        terminal.until(lambda: terminal.output, "screen")
        sent: list[str] = []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and terminal.process.poll() is None:
            kind = chance.random()
            if kind < 0.06:
                size = chance.choice(SIZES)
                terminal.resize(size)
                sent.append(f"{size}")
            elif kind < 0.10:
                click = f"\x1b[<{chance.choice([0, 64, 65])};{chance.randint(1, 120)};{chance.randint(1, 40)}"
                sent.append(f"{click}M{click}m")
                terminal.press(sent[-1])
            else:
                sent.append("".join(chance.choices(keys, k=1 if kind < 0.8 else chance.randint(2, 8))))
                terminal.press(sent[-1])
            time.sleep(chance.choice([0.0, 0.0, 0.02, 0.1, 0.3]))
        said = terminal.text()
        fault = said.rfind("Traceback (most recent call last)")
        assert "please report it" not in said, (SEED, sent[-20:], said[fault:][-6000:])
        if terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGTERM)
            terminal.exit_code()
    finally:
        terminal.close()
