"""Measures the dashboard: its cost for a run, the bytes that it sends when busy and idle, and its response time.

Each run has 256 threads. The same run is made headless and with the dashboard in turn, on a pseudo-terminal of 120×40.
The result is the ratio of the median durations; the ledger has start and end of each run. Then keys are pressed (`v`
marks a chunk) during a run, once with threads that compute and once with threads that fetch through httpx. The time
until the frame with the mark has arrived is measured: median and 99th percentile.

    python benchmarks/dashboard.py [ITEMS] [ROUNDS] [KEYS]
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles

from tui_runner.store.database import Database

SIZE = (120, 40)
"""Cells and lines of the terminal: a large window on a laptop."""
SLOWER_BAR = 1.03
"""Largest allowed time of the run with the dashboard, as a multiple of the headless run: 3 % are within the noise."""
KEY_BAR = 0.050
"""Seconds allowed from a key press to its frame, at the 99th percentile: a user does not notice 50 ms."""
BYTES_BAR = 40 << 10
"""Bytes per second that a busy dashboard may send: a slow link carries 100 kB/s."""
REST_BAR = 10 << 10
"""Bytes per second that the dashboard may send while no item finishes, because then only clocks change on it."""
REST_SECONDS = 20.0
"""Seconds over which these bytes are counted, so that frames that are sent rarely are included."""
START_SECONDS = 3.0
"""Seconds after which all 256 threads have an item. Their number cannot be waited for: only changed digits are sent."""
JOBS = Path(__file__).with_name("busy.py")


class Terminal:
    """tui-runner on a pseudo-terminal, and every byte that it has sent.

    Args:
        arguments: the command line of a run with the dashboard; empty for the launcher.
        folder: its current folder; None for that of this process.
    """

    def __init__(self, arguments: list[str], folder: Path | None = None) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        environ = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        command = [sys.executable, "-m", "tui_runner"]
        if arguments:
            command += ["run", *arguments, "--tui"]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True, cwd=folder
        )
        os.close(slave)
        self.output = bytearray()

    def read(self, seconds: float) -> bool:
        """Read for at most `seconds`. Return False if the program has ended."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            self.output += os.read(self._master, 1 << 16)
        except OSError:
            return False
        return True

    def rest(self, seconds: float) -> None:
        """Press nothing for some time."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            self.read(max(end - time.perf_counter(), 0.0))

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._master, key.encode())

    def until(self, text: str, start: int = 0, patience: float = 60.0) -> float:
        """Return the seconds until `text` arrives in the output after byte `start`.

        Raises:
            SystemExit: the program ended, or the text did not arrive within `patience` seconds.
        """
        begun = time.perf_counter()
        while text.encode() not in self.output[start:]:
            if time.perf_counter() - begun > patience or not self.read(0.05):
                raise SystemExit(f"no {text!r} on the screen")
        return time.perf_counter() - begun

    def kill(self) -> None:
        """End the program."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._master)


def seconds_of_run(database: Path) -> float:
    """Return the seconds from the start of the only run to its end."""
    with Database.open(database, create=False) as opened:
        row = opened.cursor().sql("SELECT epoch(ended_at) - epoch(started_at) FROM runner.runs").fetchall()[0]
    return float(row[0])


def arguments(folder: Path, items: int) -> list[str]:
    """Return the command line of a run."""
    return [f"{JOBS}:mixed", "--db", str(folder / "x.duckdb"), "--set", f"count={items}"]


def headless(items: int) -> float:
    """Return the seconds of a run without a screen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "tui_runner", "run", *arguments(folder, items), "--headless", "--quiet"]
        subprocess.run(command, check=True)
        return seconds_of_run(folder / "x.duckdb")


def with_dashboard(items: int) -> tuple[float, float]:
    """Return the seconds of a run with the dashboard, and the bytes per second that went to the terminal meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        terminal = Terminal(arguments(folder, items))
        terminal.until("RUNNING")
        begun, before = time.perf_counter(), len(terminal.output)
        terminal.until("FINISHED", patience=600)
        rate = (len(terminal.output) - before) / (time.perf_counter() - begun)
        terminal.press("q")
        while terminal.read(1.0) and terminal.process.poll() is None:
            pass
        terminal.process.wait(30)
        seconds = seconds_of_run(folder / "x.duckdb")
        terminal.kill()
        return seconds, rate


def idle_rate(keys: str = "") -> float:
    """Return the bytes per second that are sent while 256 items are in flight and none finishes.

    Args:
        keys: keys that are pressed first, for example to open a dialog.
    """
    with tempfile.TemporaryDirectory() as name:
        terminal = Terminal([*arguments(Path(name), 10_000), "--set", "seconds=3600"])
        try:
            terminal.until("in flight ")
            terminal.rest(START_SECONDS)
            terminal.press(keys)
            before = len(terminal.output)
            terminal.rest(REST_SECONDS)
            return (len(terminal.output) - before) / REST_SECONDS
        finally:
            terminal.kill()


def keys(job: str, count: int, *options: str) -> list[float]:
    """Return the seconds from each key to the frame that shows its effect, while 256 threads are busy."""
    with tempfile.TemporaryDirectory() as name:
        database = str(Path(name) / "x.duckdb")
        terminal = Terminal([f"{JOBS}:{job}", "--db", database, "--set", "count=10000000", *options])
        try:
            terminal.until("in flight ")
            terminal.rest(START_SECONDS)
            taken = []
            for number in range(1, count + 1):
                # The pauses are no multiple of the time between two snapshots (0.25 s), so keys come at all phases.
                terminal.rest(0.05 + 0.17 * (number % 7) / 7)
                start = len(terminal.output)
                terminal.press("v")
                # Only a key makes this text appear. The number before it depends on the chunk under the cursor.
                taken.append(terminal.until(" marked", start))
            return taken
        finally:
            terminal.kill()


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Respond with a small page."""
        body = b"x" * 2000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 512  # 256 threads connect at once; twice as many connections may wait
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing about connections that the killed run leaves."""


def serve(port: Connection) -> None:
    """Send the port through `port`, then serve pages until this process is ended."""
    server = _Server(("127.0.0.1", 0), _Page)
    port.send(server.server_port)
    server.serve_forever()


def main() -> None:
    """Measure, and print the figures."""
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    presses = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    without, with_it, rates = [], [], []
    for _ in range(rounds):
        without.append(headless(items))
        seconds, rate = with_dashboard(items)
        with_it.append(seconds)
        rates.append(rate)
    ratio = median(with_it) / median(without)
    print(f"{items:,} items: headless {median(without):.2f} s, dashboard {median(with_it):.2f} s")
    print(f"ratio {ratio:.3f} (bar {SLOWER_BAR}); to the terminal {median(rates):,.0f} B/s (bar {BYTES_BAR:,})")
    print(f"idle {idle_rate():,.0f} B/s, with a dialog open {idle_rate('?'):,.0f} B/s (bar {REST_BAR:,})")
    # The server has its own process, because its threads must not delay the thread that measures.
    ours, its = Pipe()
    Process(target=serve, args=(its,), daemon=True).start()
    address = f"http://127.0.0.1:{ours.recv()}"
    for job, options in (("mixed", ()), ("fetching", ("--set", f"address={address}"))):
        taken = keys(job, presses, *options)
        p99 = quantiles(taken, n=100, method="inclusive")[98]
        print(f"key to frame, {job}: median {median(taken):.4f} s, p99 {p99:.4f} s (bar {KEY_BAR})")


if __name__ == "__main__":
    main()
