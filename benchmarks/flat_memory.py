"""Measures the memory of the whole process tree in a long run of large tables: it must not grow with the chunks.

Runs the sample job `tables` (5 to 10 thousand rows a page) and compares the highest resident memory during the first
two chunks with the highest after them, in a run of 20 times as many chunks. The bar is 10 % more.

    python benchmarks/flat_memory.py [PAGES] [CHUNK_SIZE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading

import psutil

FACTOR = 20
"""Chunks of the run, as a multiple of the first two: a leak of 1 % a chunk would exceed the bar."""
BAR = 1.10
"""Allowed peak, as a multiple of that of the first two chunks: the memory of allocators varies by some percent."""
SECONDS_A_SAMPLE = 0.05
"""Seconds between two samples. A checkpoint's peak lasts some tenths of a second; the run's own measurements, one a
second, miss most of them."""


class Peaks:
    """The highest memory of a process and its descendants, in the first two chunks (`first`) and later (`rest`)."""

    def __init__(self, pid: int) -> None:
        self.chunks = 0
        self.first = self.rest = self.now = self.end = 0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the measurement."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SECONDS_A_SAMPLE):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
                self.now = sum(process.memory_info().rss for process in tree)
            except psutil.NoSuchProcess:
                continue  # the process has ended since the list was made
            if self.chunks <= 2:
                self.first = max(self.first, self.now)
            else:
                self.rest = max(self.rest, self.now)


def measure(pages: int, chunk_size: int) -> Peaks:
    """Run the job and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tui_runner", "run", "tables", "--headless", "--json", "--quiet"]
        command += ["--set", f"pages={pages}", "--chunk-size", str(chunk_size), "--db", f"{folder}/x.duckdb"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            peaks = Peaks(process.pid)
            for line in process.stdout:
                event = json.loads(line)["event"]
                peaks.chunks += event == "chunk_finished"
                if event == "run_finished":
                    peaks.end = peaks.now
        peaks.stop()  # only now, because the checkpoint at the end of the run is a peak too
        if process.returncode:
            raise SystemExit(f"the run ended with exit code {process.returncode}")
    return peaks


def main() -> None:
    """Print the figures and their ratio."""
    chunk_size = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else 2 * FACTOR * chunk_size
    peaks = measure(pages, chunk_size)
    print(f"{pages} pages of 7,500 rows, chunks of {chunk_size}: first two chunks {peaks.first / 1e6:.0f} MB, ", end="")
    print(f"rest {peaks.rest / 1e6:.0f} MB, end {peaks.end / 1e6:.0f} MB")
    print(f"ratio {peaks.rest / peaks.first:.2f} (bar {BAR})")


if __name__ == "__main__":
    main()
