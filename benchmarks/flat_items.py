"""Measures the memory of the whole process tree over very many small items, and the cost of a restart.

A run is killed with SIGKILL after the given numbers of items, and started again each time. For each part of the run,
the highest resident memory while its first million items are recorded is the base. The highest memory after that may be
1.10 times the base. The base may be 1.25 times that of the first part. The time from each start until the first item
begins is printed. At the end, each item must be recorded once. Of the lines, one in ten fails at every attempt, and one
in twenty repeats an earlier line.

    python benchmarks/flat_items.py range 50_000_000 --kill 10_000_000,25_000_000,40_000_000
    python benchmarks/flat_items.py txt 20_000_000 --kill 4_000_000,10_000_000,16_000_000 -- --chunk-size 500

Kinds: range, txt, jsonl, csv, parquet, function (a generator). Arguments after `--` go to `tui-runner run`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import duckdb
from flat_memory import Peaks

FIRST = 1_000_000
"""Items at the beginning of each part of the run whose memory is the base of the comparison."""

JOB = """
from pathlib import Path
from tui_runner import job

begun = False

def begin():
    global begun
    if not begun:
        begun = True
        Path("begun").touch()

@job(table="work", retries=0)
def numbers(n: int):
    begin()
    return {"n": n}

@job(table="work", retries=0)
def lines(n: str):
    begin()
    if n[-1] == "7":
        raise ValueError("a line that ends in 7")
    return {"n": n}

@lines.items
def all_lines(*, count: int):
    return (str(n - 10 if n % 20 == 11 else n) for n in range(count))
"""


def values(count: int) -> Iterator[str]:
    """Return the lines: numbers, one in twenty of which repeats an earlier one."""
    return (str(n - 10 if n % 20 == 11 else n) for n in range(count))


def write_input(kind: str, count: int) -> list[str]:
    """Write an input of `count` items into the working folder. Return the arguments that name job and input."""
    if kind == "range":
        return ["job.py:numbers", "--input", f"range:0:{count}"]
    if kind == "function":
        return ["job.py:lines", "--set", f"count={count}"]
    if kind == "parquet":
        numbers = f"SELECT CASE WHEN n % 20 = 11 THEN n - 10 ELSE n END::VARCHAR AS n FROM range({count}) AS r(n)"
        duckdb.execute(f"COPY ({numbers}) TO 'input.parquet'")
    else:
        form = {"txt": "{}\n", "jsonl": '{{"n": "{}"}}\n', "csv": "{}\n"}[kind]
        with Path(f"input.{kind}").open("w") as file:
            file.write("n\n" if kind == "csv" else "")
            file.writelines(form.format(value) for value in values(count))
    return ["job.py:lines", "--input", f"input.{kind}"]


def run_part(command: list[str], kill_at: int, stdin: IO[bytes] | None = None) -> None:
    """Run the command until it ends or is killed. Print its time and memory.

    Args:
        command: the command.
        kill_at: number of recorded items, of the whole run, at which it is killed; 0 for never.
        stdin: its standard input.
    """
    Path("begun").unlink(missing_ok=True)
    started = time.time()
    recorded = -1
    process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    peaks = Peaks(process.pid)
    done = 0
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] != "progress":
            continue
        done = event["items_done"] + event["items_failed"]
        if recorded < 0 and Path("begun").exists():
            recorded = done
        if recorded >= 0 and done - recorded > FIRST:
            peaks.chunks = 3  # `Peaks` counts memory from now on as that after the first chunks
        if kill_at and done >= kill_at:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    code = process.wait()
    peaks.stop()
    waited = Path("begun").stat().st_mtime - started if Path("begun").exists() else float("nan")
    ratio = peaks.rest / peaks.first if peaks.first else float("nan")
    print(f"first item after {waited:.1f} s; tree {peaks.first / 1e6:.0f} MB until {FIRST:,} items, ", end="")
    print(f"{peaks.rest / 1e6:.0f} MB afterwards, {ratio:.2f}; ", end="")
    print(f"{done:,} items after {time.time() - started:.0f} s, exit {code}", flush=True)
    if code not in ((-signal.SIGKILL,) if kill_at else (0, 1)):
        raise SystemExit(f"the run ended with exit code {code}" + " before it was killed" * bool(kill_at))


def check(kind: str, count: int) -> None:
    """Raise SystemExit if the database does not have each item once."""
    with duckdb.connect("x.duckdb") as database:
        states = dict(database.execute("SELECT state, count(*) FROM runner.items GROUP BY ALL").fetchall())
        positions = database.execute("SELECT count(DISTINCT item) FROM runner.items").fetchone()
        rows = database.execute("SELECT count(*), count(DISTINCT _item), count(DISTINCT n) FROM work").fetchone()
        size = database.execute("SELECT used_blocks * block_size FROM pragma_database_size()").fetchone()
    expected = {"ok": count}
    different = count
    if kind != "range":
        failed = sum(1 for value in values(count) if value[-1] == "7")
        expected = {"ok": count - failed, "failed": failed}
        different = len({value for value in values(count) if value[-1] != "7"})
    print(f"ledger {states}, rows {rows}, file {size[0] / 1e6:.0f} MB" if size else "")
    if states != expected or positions != (count,) or rows != (expected["ok"], expected["ok"], different):
        raise SystemExit(f"wanted {expected}, {count} positions and {different} different rows")
    print("each item is recorded once")


def main() -> None:
    """Run the parts and check the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=["range", "txt", "jsonl", "csv", "parquet", "function"])
    parser.add_argument("items", type=int)
    parser.add_argument("--kill", default="", help="recorded items at which the run is killed, with commas")
    own, _, more = " ".join(sys.argv[1:]).partition(" -- ")
    options = parser.parse_args(own.split())
    kills = [int(text) for text in options.kill.split(",") if text]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("job.py").write_text(JOB)
        source = write_input(options.kind, options.items)
        command = [sys.executable, "-m", "tui_runner", "run", *source, "--db", "x.duckdb", "--json", "--quiet"]
        for kill_at in [*kills, 0]:
            run_part([*command, *more.split()], kill_at)
        check(options.kind, options.items)


if __name__ == "__main__":
    main()
