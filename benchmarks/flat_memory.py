"""Memory of the whole process tree over a long run of large tables: it must not grow with the number of chunks.

Runs the sample job `tables` (5 to 10 thousand rows a page) and compares the highest resident memory while the first
two chunks were done with the highest of the rest of a run of 20 times as many. The bar is 10 % more.

    python benchmarks/flat_memory.py [PAGES] [CHUNK_SIZE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

FACTOR = 20
BAR = 1.10


def measure(pages: int, chunk_size: int) -> tuple[int, int, int]:
    """Highest bytes while the first two chunks were done, highest and last bytes of the rest of the run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tui_runner", "run", "tables", "--headless", "--json", "--quiet"]
        command += ["--set", f"pages={pages}", "--chunk-size", str(chunk_size), "--db", f"{folder}/x.duckdb"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = rest = last = chunks = 0
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "chunk_finished":
                    chunks += 1
                elif event["event"] == "progress":
                    last = event["rss_bytes"]
                    first, rest = (max(first, last), rest) if chunks <= 2 else (first, max(rest, last))
        if process.returncode:
            raise SystemExit(f"the run ended with exit code {process.returncode}")
    return first, rest, last


def main() -> None:
    """Print the figures and their ratio."""
    chunk_size = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else 2 * FACTOR * chunk_size
    first, rest, last = measure(pages, chunk_size)
    print(f"{pages} pages of 7,500 rows, chunks of {chunk_size}: first two chunks {first / 1e6:.0f} MB, ", end="")
    print(f"rest {rest / 1e6:.0f} MB, end {last / 1e6:.0f} MB")
    print(f"ratio {rest / first:.2f} (bar {BAR})")


if __name__ == "__main__":
    main()
