"""Runs of every kind of input as programs that are killed, and a look at what they recorded.

What an item does is in its number (`Numbers`), so the right content of the database can be computed.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ITEMS = 700
TIMEOUT = 0.25
WAIT_SECONDS = 90

JOB = """
    import os, signal, time
    from pathlib import Path
    from tui_runner import current, job

    here = Path(__file__).parent

    def number(item):
        if isinstance(item, dict):
            if "tags" in item:
                item["tags"].append("changed")  # what the function does to its item changes nothing
            item = item.pop("n")
        return int(str(item).removeprefix("n"))

    @job(table="work", retries=1, timeout=0.25, threads=6, retry_budget=None, on_outage="continue", chunk_size=40)
    def work(ARGUMENTS):
        n = number(ITEM)
        with (here / "calls").open("a") as calls:
            calls.write(".")
        if n % 100 == 13 and not (here / "mended").exists():
            raise ValueError(f"never {n}")
        if n % 50 == 7 and current.attempt == 1:
            raise ValueError(f"later {n}")
        if n == 55 and not (here / "mended").exists():
            time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGKILL)
        if n % 350 == 21 and not (here / "mended").exists():
            time.sleep(2.0)
        time.sleep(0.002 * (n % 9))
        if n % 10 == 0:
            return [{"n": n, "part": part, "value": n} for part in range(3)]
        if n % 90 == 1:
            return {"n": n, "part": 0, "value": f"text {n}", f"wide_{n % 4}": n}
        if n % 30 == 4:
            return None
        return {"n": n, "part": 0, "value": n + 0.5 if n % 3 else n}

    def read_list():
        return [int(line) for line in (here / "list").read_text().split()]
"""

RETRY = "retry_on=lambda error: 'later' in str(error)"


def rows_of(n: int) -> int:
    """Return how many rows an item that ends well has."""
    return 3 if n % 10 == 0 else 1 if n % 90 == 1 else 0 if n % 30 == 4 else 1


def fails(n: int) -> bool:
    """Return True if an item fails at every attempt until the job is corrected."""
    return n % 100 == 13 or n == 55 or n % 350 == 21


class KilledRun:
    """One run over an input of a kind, in a folder of its own.

    Args:
        folder: an empty one.
        kind: one of `KINDS`.
        chance: decides when it is killed and what of it.
    """

    def __init__(self, folder: Path, kind: str, chance: random.Random) -> None:
        self.folder = folder
        self.kind = kind
        self.chance = chance
        self.database = folder / "x.duckdb"
        self.kills = 0
        self.columns = 3
        self._process: subprocess.Popen[bytes] | None = None
        self.takes_more = False
        self.write_job()

    # --- the job and its input ---------------------------------------------------------------------------

    def write_job(self, *, takes_more: bool = False) -> None:
        """Write the job, whose function takes a column more if so said."""
        self.takes_more = takes_more
        table = self.kind in ("csv", "csv.gz", "parquet", "sql-files", "sql-database", "glob-csv")
        arguments, item = ("n, name" + (", more=None" if takes_more else ""), "n") if table else ("item", "item")
        if self.kind == "jsonl":
            arguments, item = "n, tags", '{"n": n, "tags": tags}'
        source = textwrap.dedent(JOB).replace("ARGUMENTS", arguments).replace("ITEM", item)
        makes = {
            "function-range": f"return range({ITEMS})",
            "function-list": "return read_list()",
            "function-generator": "yield from ({'n': n, 'tags': [n]} for n in read_list())",
            "function-objects": "return [Page(n) for n in read_list()]",
        }.get(self.kind)
        source = source.replace("retries=1", f"retries=1, {RETRY}")
        if self.kind == "function-objects":
            source += "\nfrom dataclasses import dataclass\n\n@dataclass\nclass Page:\n    n: int\n"
            source += "    def __str__(self):\n        return f'n{self.n}'\n"
        if makes:
            source += f"\n@work.items\ndef items():\n    {makes}\n"
        (self.folder / "work.py").write_text(source)

    def write_input(self, numbers: Sequence[int], *, more_columns: bool = False) -> None:
        """Write the input with these numbers."""
        folder, kind = self.folder, self.kind
        self.numbers = list(numbers)
        names = ["n", "name", *(["more"] if more_columns else [])]

        def csv_text(part: Sequence[int]) -> str:
            more = ",m" if more_columns else ""
            return ",".join(names) + "\n" + "".join(f'{n},"name {n}"{more}\n' for n in part)

        match kind:
            case "txt" | "stdin":
                (folder / "in.txt").write_text("".join(f"n{n}\n" for n in numbers))
            case "txt.gz":
                (folder / "in.txt.gz").write_bytes(gzip.compress("".join(f"n{n}\n" for n in numbers).encode()))
            case "jsonl":
                more = {"more": 1} if more_columns else {}
                (folder / "in.jsonl").write_text(
                    "".join(json.dumps({"n": n, "tags": [n, {"a": n}], **more}) + "\n" for n in numbers)
                )
            case "csv" | "sql-files":
                (folder / "in.csv").write_text(csv_text(numbers))
            case "csv.gz":
                (folder / "in.csv.gz").write_bytes(gzip.compress(csv_text(numbers).encode()))
            case "parquet":
                table = pa.table({"n": pa.array(numbers, pa.int64()), "name": [f"name {n}" for n in numbers]})
                if more_columns:
                    table = table.append_column("more", pa.array(["m"] * len(numbers)))
                pq.write_table(table, folder / "in.parquet", row_group_size=100)
            case "glob-txt" | "glob-csv":
                for old in folder.glob("part-*"):
                    old.unlink()
                for index, start in enumerate(range(0, len(numbers), 150)):
                    part = numbers[start : start + 150]
                    if kind == "glob-txt":
                        (folder / f"part-{index}.txt").write_text("".join(f"n{n}\n" for n in part))
                    else:
                        (folder / f"part-{index}.csv").write_text(csv_text(part))
            case "sql-database":
                with duckdb.connect(str(self.database)) as connection:
                    connection.execute("CREATE OR REPLACE TABLE seeds (n BIGINT, name VARCHAR)")
                    connection.execute("INSERT INTO seeds SELECT unnest(?), 'name'", [list(numbers)])
            case "function-list" | "function-generator" | "function-objects":
                (folder / "list").write_text(" ".join(map(str, numbers)))

    @property
    def input(self) -> list[str]:
        """Return the arguments that name the input."""
        source = {
            "range": f"range:0:{ITEMS}",
            "txt": "in.txt",
            "txt.gz": "in.txt.gz",
            "jsonl": "in.jsonl",
            "csv": "in.csv",
            "csv.gz": "in.csv.gz",
            "parquet": "in.parquet",
            "glob-txt": "part-*.txt",
            "glob-csv": "part-*.csv",
            "stdin": "-",
            "sql-files": "sql:SELECT n, name FROM 'in.csv'",
            "sql-database": "sql:SELECT n, name FROM seeds ORDER BY random()",
        }.get(self.kind)
        return ["--input", source] if source else []

    # --- the program -------------------------------------------------------------------------------------

    def start(self, *options: str, command: str = "run") -> subprocess.Popen[bytes]:
        """Start the program."""
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        line = [sys.executable, "-m", "tui_runner"]
        if command == "run":
            workers = str(self.chance.randint(1, 3))
            line += ["run", "work.py", *self.input, "--db", "x.duckdb", "--workers", workers]
        else:
            line += [command, "x.duckdb"]
        piped = self.folder / "in.txt" if self.kind == "stdin" and command == "run" else Path(os.devnull)
        with (self.folder / "stderr").open("ab") as stderr, piped.open("rb") as stdin:
            self._process = subprocess.Popen(
                [*line, "--headless", "--quiet", *options],
                cwd=self.folder,
                stdin=stdin,
                stdout=stderr,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
        return self._process

    def to_the_end(self, *options: str, command: str = "run") -> int:
        """Start the program and return its exit code."""
        process = self.start(*options, command=command)
        try:
            return process.wait(WAIT_SECONDS)
        finally:
            self._end_all(process)

    def killed(self, *options: str, command: str = "run", how: str | None = None) -> int | None:
        """Start the program and kill it, or a part of it, at a random moment; return its exit code if it ended itself.

        Args:
            options: more of the command line.
            command: `run`, `resume` or `retry`.
            how: what is killed; None for anything, now and then before an item was executed.
        """
        process = self.start(*options, command=command)
        try:
            if how is None and self.chance.random() < 0.15:
                time.sleep(self.chance.uniform(0.0, 0.8))
            else:
                self._wait_for_calls(process, self.chance.randint(1, ITEMS // 4))
            if process.poll() is not None:
                return process.returncode
            time.sleep(self.chance.uniform(0.0, 0.6) if how is None else 0.6)
            self.kills += 1
            return self._kill(process, how or self.chance.choice(["app", "worker", "server", "tree", "term", "int"]))
        finally:
            self._end_all(process)

    def _kill(self, process: subprocess.Popen[bytes], how: str) -> int | None:
        family = _family(process)
        victims: list[psutil.Process]
        match how:
            case "app":
                victims = [psutil.Process(process.pid)]
            case "worker":
                victims = [each for each in family if any(_parents(each, other) for other in family)][:1]
            case "server":
                victims = [each for each in family if any(_parents(other, each) for other in family)][:1]
            case "tree":
                victims = [psutil.Process(process.pid), *family]
                self.chance.shuffle(victims)
            case _:
                process.send_signal(signal.SIGTERM if how == "term" else signal.SIGINT)
                try:
                    return process.wait(30)
                except subprocess.TimeoutExpired:
                    raise AssertionError(f"it did not end by {how}") from None
        for victim in victims:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue
        if how in ("worker", "server"):
            try:  # it continues with another worker; then all processes are killed
                return process.wait(self.chance.uniform(0.1, 2.0))
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        return None

    def _wait_for_calls(self, process: subprocess.Popen[bytes], count: int) -> None:
        """Wait until the function was called that many times more, or the run has ended."""
        calls, end = self.folder / "calls", time.monotonic() + WAIT_SECONDS
        until = count + (calls.stat().st_size if calls.exists() else 0)
        while process.poll() is None and not (calls.exists() and calls.stat().st_size >= until):
            assert time.monotonic() < end, "it does not start"
            time.sleep(0.005)

    def _end_all(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of the processes of the run, which must not outlive it; kill them if they do."""
        if process.poll() is None:
            process.kill()
            process.wait()
        end = time.monotonic() + 20
        left: list[psutil.Process] = []
        while time.monotonic() < end:
            left = [each for each in psutil.process_iter() if _session(each) == process.pid]
            left = [each for each in left if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
            if not left:
                return
            time.sleep(0.02)
        for each in left:
            each.kill()
        raise AssertionError(f"processes outlived the program: {left}")

    def end_retry(self) -> int:
        """Resume a retry that was killed, possibly before its start or after its end. Return the exit code."""
        with duckdb.connect(str(self.database), read_only=True) as ledger:
            (state,) = ledger.execute("SELECT state FROM runner.runs").fetchone() or ("",)
            failed = ledger.execute("SELECT 1 FROM runner.items WHERE state <> 'ok'").fetchall()
        if state == "finished":
            return self.to_the_end(command="retry") if failed else 0
        return self.to_the_end() if self.kind == "stdin" else self.to_the_end(command="resume")

    # --- what it has recorded ----------------------------------------------------------------------------

    def check(self, numbers: Sequence[int], *, run: int = 1, mended: bool = False, gone: Sequence[int] = ()) -> None:
        """Check that each item is recorded once and as it ended.

        Args:
            numbers: the items that must have ended: all that the last input has and all that were done before.
            run: number of the run.
            mended: whether nothing fails.
            gone: items that may be recorded or not: those that no input has any more.
        """
        with duckdb.connect(str(self.database), read_only=True) as ledger:

            def rows(sql: str) -> list[tuple[Any, ...]]:
                return ledger.execute(sql).fetchall()

            problems = []
            items = rows(f"SELECT item, chunk, key, state, attempts, rows FROM runner.items WHERE run_id = {run}")
            if len({item for item, *_ in items}) != len(items):
                problems.append("positions are recorded twice")
            must, may = Counter(numbers), Counter(numbers) + Counter(gone)
            must_ok = Counter({n: c for n, c in must.items() if mended or not fails(n)})
            stored = Counter(
                {
                    (n, part): count
                    for n, part, count in rows(f"SELECT n, part, count(*) FROM work WHERE _run = {run} GROUP BY ALL")
                }
            )
            expected = Counter({(n, part): c for n, c in must_ok.items() for part in range(rows_of(n))})
            most = Counter({(n, part): c for n, c in may.items() for part in range(rows_of(n))})
            if lost := expected - stored:
                problems.append(f"{lost.total()} rows lost: {sorted(lost)[:5]}")
            if more := stored - most:
                problems.append(f"{more.total()} rows too many: {sorted(more)[:5]}")
            by_item = dict(rows(f"SELECT _item, count(*) FROM work WHERE _run = {run} GROUP BY 1"))
            wrong = [item for item, *_, count in items if by_item.pop(item, 0) != count]
            if wrong or by_item:
                problems.append(f"rows of items are not as counted: {wrong[:5]} {list(by_item)[:5]}")
            states = Counter(state for _, _, _, state, _, _ in items)
            if not gone:
                failing = sum(c for n, c in must.items() if fails(n) and not mended)
                if len(items) != must.total() or states["ok"] != must_ok.total():
                    problems.append(f"{len(items)} items, {states}, wanted {must.total()}, {failing} failed")
            if mended and set(states) - {"ok"} and not gone:
                problems.append(f"states {states}")
            attempts = [attempts for *_, attempts, _ in items]
            if min(attempts) < 1 or max(attempts) > 12:
                problems.append(f"attempts from {min(attempts)} to {max(attempts)}")
            counted: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
            for _, chunk, _, state, _, count in items:
                counted[chunk][0] += state == "ok"
                counted[chunk][1] += state != "ok"
                counted[chunk][2] += count
            chunks = rows(
                f"SELECT chunk, done, failed, rows, items, state FROM runner.chunks WHERE run_id = {run} ORDER BY 1"
            )
            told = {chunk: [done, failed, count] for chunk, done, failed, count, _, _ in chunks}
            if len(told) != len(chunks):
                problems.append("chunks are recorded twice")
            differ = [
                (chunk, told.get(chunk), counted.get(chunk), next((c[4:] for c in chunks if c[0] == chunk), None))
                for chunk in sorted({*told, *counted})
                if told.get(chunk, [0, 0, 0]) != counted.get(chunk, [0, 0, 0])
            ]
            if differ:
                problems.append(f"chunks (told, counted): {differ[:4]} of {len(chunks)}")
            if rows(f"SELECT 1 FROM runner.chunks WHERE run_id = {run} AND state IN ('running', 'waiting')"):
                problems.append(
                    f"chunks that have not ended: {[c for c in chunks if c[5] in ('running', 'waiting')][:4]}"
                )
            total = rows(f"SELECT state, items_total FROM runner.runs WHERE run_id = {run}")[0]
            if total[0] != "finished" or (not gone and total[1] != len(items)):
                problems.append(f"the run is {total}")
        errors = (self.folder / "stderr").read_text()[-2000:]
        assert not problems, f"{self.kind}: " + "\n".join(problems) + "\n" + errors


KINDS = (
    "range",
    "function-range",
    "function-list",
    "function-generator",
    "function-objects",
    "txt",
    "txt.gz",
    "jsonl",
    "csv",
    "csv.gz",
    "parquet",
    "glob-txt",
    "glob-csv",
    "stdin",
    "sql-files",
    "sql-database",
)


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def _parents(child: psutil.Process, parent: psutil.Process) -> bool:
    try:
        return bool(child.ppid() == parent.pid)
    except psutil.NoSuchProcess:
        return False


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except (OSError, psutil.Error):
        return -1
