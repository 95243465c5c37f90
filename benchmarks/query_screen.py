"""Measures the cost of the query screen for a run that writes 400,000 rows a second, and for one without a limit.

The same run, of Arrow tables of 20,000 rows, is made headless and on the dashboard in turn, on a pseudo-terminal of
120×40. There the query screen is opened (`d`) as soon as the run has started, and statements are typed one after the
other until the run has ended. Each is run with F5, and the next one is typed when its result is shown. At 400,000 rows
a second, the result is the ratio of the median rates; the ledger has start and end of each run. A run without a limit
uses both cores of a small machine, so a query must slow it down: its result is the rate that remains. The seconds from
F5 to the result are printed by statement.

    python benchmarks/query_screen.py [PAGES] [ROUNDS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from big_tables import ROWS
from dashboard import Terminal, seconds_of_run

from tui_runner.store.database import Database

BAR = 0.8
"""Rate that the run of 400,000 rows a second must keep, as a fraction of its rate without queries."""
RATE_BAR = 300_000
"""Rows per second that a run without a limit must keep while queries run."""
PACE = 20
"""Pages per second of the run with a limit: 400,000 rows."""
JOB = f"{Path(__file__).with_name('big_tables.py')}:books"
STATEMENTS = {
    "count": "SELECT {mark} AS m, count(*) FROM books",
    "groups": "SELECT {mark} AS m, shelf, count(*), avg(price) FROM books GROUP BY ALL",
    "newest": "SELECT {mark} AS m, * FROM books ORDER BY _item DESC LIMIT 100",
    "stream": "SELECT {mark} AS m, * FROM books WHERE price > 20",
    "ledger": "SELECT {mark} AS m, state, count(*) FROM runner.items GROUP BY ALL",
}
"""Statements by name. Each fits into one line of the editor, because the key that clears it deletes one line."""
CLEAR, RUN, ESCAPE = "\x05\x15", "\x1b[15~", "\x1b"


def rate(folder: Path, pages: int) -> float:
    """Return the rows per second of the only run, which must have all its rows in the table."""
    with Database.open(folder / "x.duckdb", create=False) as opened:
        counted = opened.cursor().sql("SELECT count(*) FROM books").fetchall()[0][0]
    if counted != pages * ROWS:
        raise SystemExit(f"{counted:,} rows are in the table, and not {pages * ROWS:,}")
    return pages * ROWS / seconds_of_run(folder / "x.duckdb")


def arguments(folder: Path, pages: int, pace: list[str]) -> list[str]:
    """Return the command line of a run."""
    return [JOB, "--db", str(folder / "x.duckdb"), "--set", f"pages={pages}", *pace]


def headless(pages: int, pace: list[str]) -> float:
    """Return the rows per second of a run without a screen."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "tui_runner", "run", *arguments(Path(name), pages, pace)]
        subprocess.run([*command, "--headless", "--quiet"], check=True)
        return rate(Path(name), pages)


def queried(pages: int, pace: list[str], taken: dict[str, list[float]]) -> float:
    """Return the rows per second of a run with its query screen in use. Add the seconds of each result to `taken`."""
    with tempfile.TemporaryDirectory() as name:
        terminal = Terminal(arguments(Path(name), pages, pace))
        try:
            terminal.until("RUNNING")
            terminal.press("d")
            # This column appears in the catalog when the first rows are written.
            terminal.until("shelf")
            number = 0
            # The first line shows the state of the run.
            while b"finished" not in terminal.output:
                kind = list(STATEMENTS)[number % len(STATEMENTS)]
                number += 1
                # Only the result contains both halves together. Each result has other letters than the one before,
                # because text that is on the screen already is not sent again.
                half = chr(ord("a") + number % 26) * 4
                statement = STATEMENTS[kind].format(mark=f"'{half}' || '{half}'")
                start = len(terminal.output)
                terminal.press(f"{CLEAR}{statement}")
                terminal.until("'", start)
                begun = time.perf_counter()
                terminal.press(RUN)
                terminal.until(half * 2, start)
                taken[kind].append(time.perf_counter() - begun)
            terminal.press(ESCAPE)
            terminal.until("FINISHED", start)
            terminal.press("q")
            while terminal.read(1.0) and terminal.process.poll() is None:
                pass
            terminal.process.wait(30)
            return rate(Path(name), pages)
        finally:
            terminal.kill()


def compared(pages: int, rounds: int, pace: list[str]) -> None:
    """Run the job headless and with queries in turn, `rounds` times, and print the figures."""
    alone, beside = [], []
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        alone.append(headless(pages, pace))
        beside.append(queried(pages, pace, taken))
    one, other = median(alone), median(beside)
    what = " ".join(pace) or "as fast as it can"
    print(
        f"{what}, {pages * ROWS:,} rows, medians of {rounds}: headless {one:,.0f} rows/s, queried {other:,.0f} rows/s"
    )
    print(f"ratio {other / one:.2f}" + (f" (bar {BAR})" if pace else f"; the bar is {RATE_BAR:,} rows/s"))
    for kind, seconds in taken.items():
        print(
            f"  F5 to the answer, {kind}: median {median(seconds):.2f} s, worst {max(seconds):.2f} s of {len(seconds)}"
        )


def main() -> None:
    """Print the figures."""
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    compared(pages, rounds, ["--rate", str(PACE)])
    compared(pages, rounds, [])


if __name__ == "__main__":
    main()
