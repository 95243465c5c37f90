"""Measures whole commands of tui-runner against scripts that people write instead, which also record in DuckDB.

    pip install -e ".[peers]"
    python benchmarks/peers.py [--only A,E] [--repeats N] [--scale X]

For each workload, all contenders run in turn, `--repeats` times, each with a new database; the medians count. A line
has the seconds of the whole command, the processor seconds of its process tree, and the highest memory of that tree
(sum of RSS, sampled; PSS for the one empty item, which counts shared memory once). The rows in each database are
counted. "ratio" is tui-runner's seconds divided by those of the line, "CPU ratio" the same for processor seconds. Linux
only.

The functions are in `peer_work.py` and `peer_frames.py`, the scripts in `peer_scripts.py`.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import duckdb
import psutil
from peer_work import json_lines

HERE = Path(__file__).parent
SCRIPT = str(HERE / "peer_scripts.py")
OURS = [str(Path(sys.executable).with_name("tui-runner")), "run"]
_PR_SET_CHILD_SUBREAPER = 36
"""Number of the `prctl` option in Linux's `<sys/prctl.h>`; Python has no name for it."""
_SAMPLE_SECONDS = 0.02
"""Seconds between two measurements of memory: short enough to find the peak of a process that lives for a second."""
_IMPORTS_AND_INSERT = """
import sys, duckdb, pyarrow as pa
connection = duckdb.connect(sys.argv[1])
rows = pa.table({"number": [0]})
connection.execute("CREATE TABLE results AS FROM rows")
connection.close()
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do a workload.

    Attributes:
        name: name in the output.
        command: the program and its arguments; `{db}` stands for the database.
        bar: largest allowed ratio of tui-runner's seconds to this contender's; None for information only.
        is_ours: True for tui-runner.
    """

    name: str
    command: Sequence[str]
    bar: float | None = None
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload, which all contenders run.

    Attributes:
        key: letter of the workload.
        text: description.
        rows: rows that each database must have at the end.
        contenders: tui-runner first.
        most_memory: MB that tui-runner may use; None for no bar.
        shared: True to measure PSS instead of RSS.
    """

    key: str
    text: str
    rows: int
    contenders: Sequence[Contender]
    most_memory: int | None = None
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one command: wall seconds, processor seconds of its process tree, and highest MB of the tree."""

    seconds: float
    cpu: float
    memory: float


def ours(name: str, function: str, source: str, *options: str) -> Contender:
    """Return the contender that runs `function` with tui-runner, headless."""
    job = f"{HERE / function.replace(':', '.py:', 1)}"
    command = [*OURS, job, "--input", source, "--db", "{db}", "--table", "results", "--headless", "--quiet", *options]
    return Contender(name, command, is_ours=True)


def script(name: str, contender: str, function: str, count: int, *options: str, bar: float | None = None) -> Contender:
    """Return the contender that runs `function` with a script of `peer_scripts.py`."""
    return Contender(name, [sys.executable, SCRIPT, contender, function, str(count), "{db}", *options], bar)


def workloads(folder: Path, scale: float) -> list[Workload]:
    """Return all workloads, with `scale` times as many items; files of input are made in `folder`."""

    def n(count: int) -> int:
        return max(1, int(count * scale))

    a, b, c, d, e, f = n(200_000), n(8_000), n(4_000), n(1_000), n(300_000), n(1_500)
    txt, jsonl = folder / "lines.txt", folder / "lines.jsonl"
    has_joblib = importlib.util.find_spec("joblib") is not None
    joblib = [script("joblib threads", "joblib_threads", "peer_work:empty", a, "--group", "500")] if has_joblib else []
    by_processes = ("--workers", "2")
    frame_rows = sum(random.Random(number).randint(5_000, 10_000) for number in range(f))
    return [
        Workload(
            "A",
            f"{a:,} empty items with a row, 16 threads",
            a,
            [
                ours("tui-runner", "peer_work:empty", f"range:0:{a}"),
                script("ThreadPoolExecutor in chunks", "thread_chunks", "peer_work:empty", a, bar=0.35),
                script("mp.Pool", "processes", "peer_work:empty", a, "--group", "500", bar=2.0),
                *joblib,
                script("plain loop", "loop", "peer_work:empty", a),
            ],
        ),
        *(
            Workload(
                f"E{file.suffix}",
                f"{e:,} JSON lines of 387 bytes ({file.suffix}), parse and two regexes, two processes",
                e,
                [
                    ours("tui-runner", function, str(file), *by_processes),
                    script("mp.Pool", "processes", "peer_work:line", e, "--group", "500", "--lines", str(txt), bar=1.1),
                    script("plain loop", "loop", "peer_work:line", e, "--lines", str(txt)),
                ],
            )
            for file, function in ((txt, "peer_work:line"), (jsonl, "peer_work:record"))
        ),
        Workload(
            "B",
            f"{b:,} items of 1 ms of Python, two processes",
            b,
            [
                ours("tui-runner", "peer_work:busy", f"range:0:{b}", *by_processes),
                script("mp.Pool", "processes", "peer_work:busy", b, "--group", "20", bar=1.1),
            ],
        ),
        Workload(
            "C",
            f"{c:,} sleeps, lognormal with a tail, 100 threads",
            c,
            [
                ours("tui-runner", "peer_work:asleep", f"range:0:{c}", "--threads", "100"),
                script("all at once", "threads_at_once", "peer_work:asleep", c, "--threads", "100", bar=1.07),
                script(
                    "in chunks of 500", "thread_chunks", "peer_work:asleep", c, "--threads", "100", "--group", "500"
                ),
            ],
        ),
        Workload(
            "D",
            f"{d:,} tables of 7,500 × 6, lists of dicts, 16 threads",
            d * 7_500,
            [
                ours("tui-runner", "peer_work:table", f"range:0:{d}"),
                script("all at once", "threads_at_once", "peer_work:table", d, "--insert", "50", bar=1.0),
            ],
        ),
        Workload(
            "D'",
            f"{d:,} tables of 7,500 × 6, DataFrames, 16 threads",
            d * 7_500,
            [
                ours("tui-runner", "peer_frames:frame", f"range:0:{d}"),
                script(
                    "in chunks of 100", "thread_chunks", "peer_frames:frame", d, "--group", "100", "--insert", "50",
                    bar=1.06,
                ),
            ],
        ),
        Workload(
            "F",
            f"{f:,} DataFrames of 5 to 10 thousand rows, 500 threads",
            frame_rows,
            [
                ours("tui-runner", "peer_frames:varied", f"range:0:{f}", "--threads", "500"),
                script(
                    "pool of 500, chunks of 250", "thread_chunks", "peer_frames:varied", f,
                    "--threads", "500", "--group", "250", "--insert", "50", bar=1.15,
                ),
            ],
            most_memory=2_000,
        ),
        Workload(
            "one",
            "one empty item",
            1,
            [
                ours("tui-runner", "peer_work:empty", "range:0:1"),
                Contender("imports and one INSERT", [sys.executable, "-c", _IMPORTS_AND_INSERT, "{db}"], 1.7),
            ],
            most_memory=120,
            shared=True,
        ),
    ]  # fmt: skip


class Sampler:
    """A measurement of the highest memory that a process and its descendants have at one moment.

    Args:
        pid: the process.
        shared: add up PSS instead of RSS.
    """

    def __init__(self, pid: int, *, shared: bool) -> None:
        self.most = 0
        self._process = psutil.Process(pid)
        self._shared = shared
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            self.most = max(self.most, sum(map(self._bytes, tree)))

    def _bytes(self, process: psutil.Process) -> int:
        try:
            if not self._shared:
                return int(process.memory_info().rss)
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) << 10
        except (psutil.Error, OSError):  # the process has just ended
            pass
        return 0

    def stop(self) -> float:
        """End the measurement. Return the highest memory in MB."""
        self._stop.set()
        self._thread.join()
        return self.most / 1e6


def measure(contender: Contender, workload: Workload, folder: Path) -> Measured:
    """Run a contender once, on a new database, and check its rows."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        database = Path(own) / "x.duckdb"
        command = [part.replace("{db}", str(database)) for part in contender.command]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        sampler = Sampler(process.pid, shared=workload.shared)
        _, complaints = process.communicate()
        seconds = time.perf_counter() - started
        memory = sampler.stop()
        _wait_for_orphans()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"{workload.key}, {contender.name}: exit code {process.returncode}\n{complaints.decode()}")
        with duckdb.connect(str(database), read_only=True) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM results").fetchall()[0]
        if rows != workload.rows:
            raise SystemExit(f"{workload.key}, {contender.name}: {rows:,} rows instead of {workload.rows:,}")
    return Measured(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, memory)


def _wait_for_orphans() -> None:
    """Wait for processes that outlive the command; only when they have ended are their processor seconds known."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def compare(workload: Workload, repeats: int, folder: Path) -> bool:
    """Measure all contenders of a workload in turn, print a line each, and return True if every bar is met."""
    measured: dict[str, list[Measured]] = {contender.name: [] for contender in workload.contenders}
    for _ in range(repeats):
        for contender in workload.contenders:
            measured[contender.name].append(measure(contender, workload, folder))
    medians = {
        name: Measured(
            median(each.seconds for each in runs), median(each.cpu for each in runs), max(each.memory for each in runs)
        )
        for name, runs in measured.items()
    }
    print(f"\n{workload.key}. {workload.text}")
    print(f"  {'':30} {'seconds':>8} {'CPU':>7} {'MB':>7} {'CPU ratio':>10} {'ratio':>7} {'bar':>7}  met")
    own = medians[workload.contenders[0].name]
    all_met = True
    for contender in workload.contenders:
        found = medians[contender.name]
        cpu_ratio, ratio, bar, met = "", "", "", ""
        if contender.is_ours and workload.most_memory is not None:
            is_met = found.memory <= workload.most_memory
            bar, met = f"{workload.most_memory} MB", "yes" if is_met else "NO"
            all_met &= is_met
        elif not contender.is_ours:
            cpu_ratio, ratio = f"{own.cpu / found.cpu:.2f}", f"{own.seconds / found.seconds:.2f}"
        if contender.bar is not None:
            is_met = own.seconds <= contender.bar * found.seconds
            bar, met = f"{contender.bar:.2f}", "yes" if is_met else "NO"
            all_met &= is_met
        line = f"{found.seconds:8.2f} {found.cpu:7.2f} {found.memory:7.0f} {cpu_ratio:>10} {ratio:>7} {bar:>7}  {met}"
        print(f"  {contender.name:30} {line}", flush=True)
    return all_met


def main() -> None:
    """Print the table. Exit with code 1 if a bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="letters of workloads, as in A,E,D',one; all by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of items; the bars are for 1")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wanted = [key for key in options.only.split(",") if key]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = [
            workload
            for workload in workloads(folder, options.scale)
            if not wanted or workload.key in wanted or workload.key.partition(".")[0] in wanted
        ]
        if any(workload.key.startswith("E") for workload in chosen):
            lines = json_lines(max(1, int(300_000 * options.scale)))
            for ending in ("txt", "jsonl"):
                (folder / f"lines.{ending}").write_text(lines)
        met = [compare(workload, options.repeats, folder) for workload in chosen]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
