"""Measures the time from a key press to its frame when a run has 20,000 chunks: scrolling, sorting, the map.

    python benchmarks/many_chunks.py [CHUNKS] [ROUNDS]

Runs on a pseudo-terminal of 120×40. First, chunks are marked (`v`) during the run; a mark never appears without a key.
Then the run is paused, so nearly every frame is the effect of a key. The seconds until the first and the last byte of
that frame are measured. The bar is 50 ms per frame. The marks of synchronised output (mode 2026), which this terminal
claims to support, show where a frame begins and ends.

A paused dashboard still sends two frames a second, for the clock and for the memory chart. If one of them arrives in
the 10 to 30 ms between a key and its frame, it is taken for the key's frame. So up to 6 % of the times are too short.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from dashboard import KEY_BAR, SIZE, Terminal

from tui_runner.tui.run.chunk_rows import COLUMNS, layout

JOB = Path(__file__).with_name("nothing.py")
CHUNK_SIZE = 50
"""Items of a chunk, so few that a short run has thousands of chunks."""
QUIET = 0.05
"""Seconds without a byte after which the effect of a key is complete, because frames are 16 ms apart."""
PAUSE = 3.0
"""Seconds after which a paused run has no item in progress. An item takes 0.1 s, one of the first slow chunk 1 s."""
QUERY, KNOWN = "\x1b[?2026$p", "\x1b[?2026;2$y"
"""The sequence that asks if the terminal supports synchronised output, and the response for yes."""
BEGIN, END = b"\x1b[?2026h", b"\x1b[?2026l"
"""Sequences that begin and end a frame."""

DOWN, UP, RIGHT, PAGE_DOWN, PAGE_UP = "\x1b[B", "\x1b[A", "\x1b[C", "\x1b[6~", "\x1b[5~"
# Each key changes the screen; otherwise there would be no frame to wait for.
SCROLL = [*[PAGE_DOWN] * 6, "G", PAGE_UP, UP, UP, PAGE_UP, "g", DOWN, DOWN, "G", "g"]
MAP = ["G", UP, "g", RIGHT, DOWN, RIGHT, "g", "m"]
SHOWN = [column.title for column in layout(SIZE[0])]
# Text in a column's heading once the table is sorted by it; empty for a column that is not shown.
SORTED = [
    ("▼" if column.highest_first else "▲") + column.title[:4] if column.title in SHOWN else ""
    for column in COLUMNS
    if column.key
]


def drain(terminal: Terminal, quiet: float = QUIET) -> None:
    """Read until nothing has arrived for `quiet` seconds."""
    last = time.perf_counter()
    while (now := time.perf_counter()) < last + quiet:
        before = len(terminal.output)
        if not terminal.read(last + quiet - now):
            raise SystemExit("tui-runner ended")
        if len(terminal.output) > before:
            last = time.perf_counter()


def answer(terminal: Terminal, key: str, shows: str = "") -> tuple[float, float]:
    """Return the seconds from a key press to the beginning and the end of the first frame that contains `shows`."""
    drain(terminal)
    before, pressed = len(terminal.output), time.perf_counter()
    begun = None
    terminal.press(key)
    while True:
        if time.perf_counter() > pressed + 10 or not terminal.read(0.05):
            raise SystemExit(f"no answer to {key!r}")
        if begun is None and BEGIN in terminal.output[before:]:
            begun = time.perf_counter() - pressed
        end = terminal.output.find(END, before)
        if begun is None or end < 0:
            continue
        if shows.encode() in terminal.output[before:end]:
            return begun, time.perf_counter() - pressed
        before, begun = end + len(END), None


def told(what: str, taken: list[float]) -> None:
    """Print the median and the 99th percentile."""
    p99 = quantiles(taken, n=100, method="inclusive")[98]
    print(f"{what}: {len(taken)} keys, median {median(taken) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")


def main() -> None:
    """Print the figures."""
    chunks = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as name:
        options = ["--set", f"quick={chunks * CHUNK_SIZE}", "--db", str(Path(name) / "x.duckdb")]
        terminal = Terminal([f"{JOB}:then_slow", *options])
        try:
            terminal.until(QUERY)
            terminal.press(KNOWN)
            terminal.until(f" {chunks}  ", patience=600)
            marks = []
            for _ in range(rounds * 20):
                end = time.perf_counter() + 0.11
                while time.perf_counter() < end:
                    terminal.read(max(end - time.perf_counter(), 0.0))
                start = len(terminal.output)
                terminal.press("v")
                marks.append(terminal.until(" marked", start))
            print(f"{chunks:,} chunks; the bar is {KEY_BAR * 1000:.0f} ms")
            told("while the run goes on, a mark", marks)
            terminal.press(" ")
            terminal.until("PAUSED")
            paused = time.perf_counter()
            while time.perf_counter() < paused + PAUSE:
                terminal.read(PAUSE)
            drain(terminal)
            begun: dict[str, list[float]] = {"scroll": [], "map": [], "sort": []}
            whole: dict[str, list[float]] = {"scroll": [], "map": [], "sort": []}
            for _ in range(rounds):
                for what, keys in (("scroll", SCROLL), ("map", MAP), ("sort", [])):
                    times = []
                    if what == "map":
                        times.append(answer(terminal, "m"))
                        # This key may cause no frame, because the cursor may be on the first chunk already.
                        terminal.press("g")
                    times += [answer(terminal, key) for key in keys]
                    for heading in SORTED if what == "sort" else []:
                        answer(terminal, "s")
                        answer(terminal, DOWN)
                        times.append(answer(terminal, "\r", heading))
                    if what == "sort":
                        # Sort as before, for the next round.
                        answer(terminal, "s")
                        answer(terminal, "g")
                        times.append(answer(terminal, "\r"))
                    begun[what] += [first for first, _ in times]
                    whole[what] += [last for _, last in times]
            for what, taken in begun.items():
                told(f"{what}, frame begun", taken)
                told(f"{what}, frame whole", whole[what])
        finally:
            terminal.kill()


if __name__ == "__main__":
    main()
