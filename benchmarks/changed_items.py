"""Kills runs over millions of items twice, and resumes them with a changed input or function.

Each item that was in any version of the input must be recorded once, before and after `retry`. Prints the memory, and
the time from each start until the first item begins, as `flat_items.py` does.

    python benchmarks/changed_items.py 5_000_000 [NAME…]

A NAME is a key of `CHANGES`; without names, all changes are run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from flat_items import run_part

JOB = """
from pathlib import Path
from tui_runner import job

begun, mended = False, Path("mended").exists()

@job(table="work", retries=0)
def work(ARGUMENTS):
    global begun
    if not begun:
        begun = True
        Path("begun").touch()
    if not mended and str(n)[-1] == "7":
        raise ValueError("a number that ends in 7")
    return {"n": int(n)}
"""
LIST = """
@work.items
def listed():
    return [int(line) for line in open("input.txt")]
"""

NOW = "SELECT n FROM now ORDER BY position"
FRONT = f"SELECT max(n) + 1 AS n FROM now UNION ALL ({NOW})"
CHANGES: dict[str, tuple[str, str]] = {
    "line in front": ("txt", FRONT),
    "reordered": ("txt", "SELECT n FROM now ORDER BY hash(n + position)"),
    "appended": ("txt", f"({NOW}) UNION ALL SELECT m + r FROM (SELECT max(n) AS m FROM now), range(1, 1001) AS t(r)"),
    "repeats removed": ("txt", "SELECT n FROM now GROUP BY n ORDER BY min(position)"),
    "column more": ("csv", NOW),
    "function takes a column more": ("csv", NOW),
    "list of a function": ("function", FRONT),
    "standard input": ("stdin", FRONT),
    "SQL in another order": ("sql", NOW),
}
"""For each change: the kind of the input, and a query of table `now (position, n)` that returns its next version."""


def write_input(kind: str, version: int, *, more: bool) -> None:
    """Write the numbers of table `now` to the input file.

    Args:
        kind: kind of the input.
        version: number of the version.
        more: True to add a column whose value is `version`.
    """
    columns = "n, position % 3 AS other" + (f", {version} AS more" if more else "")
    match kind:
        case "csv":
            duckdb.execute(f"COPY (SELECT {columns} FROM now ORDER BY position) TO 'input.csv' (HEADER)")
        case "sql":
            duckdb.execute("COPY (SELECT n FROM now ORDER BY position) TO 'input.parquet'")
        case _:
            duckdb.execute("COPY (SELECT n FROM now ORDER BY position) TO 'input.txt' (HEADER FALSE, FORMAT csv)")


def check(*, mended: bool, exact: bool) -> None:
    """Compare the recorded items with all versions of the input (table `ever (n, least, most)`).

    Raises:
        SystemExit: an item is missing or recorded too often.
    """
    duckdb.execute("ATTACH 'x.duckdb' AS file (READ_ONLY)")
    try:
        wrong = duckdb.execute(
            f"""
            WITH stored AS (SELECT n, count(*) AS times FROM file.work GROUP BY n)
            SELECT coalesce(e.n, s.n), e.least, e.most, s.times FROM ever AS e FULL JOIN stored AS s ON e.n = s.n
            WHERE coalesce(s.times, 0) NOT BETWEEN CASE WHEN {mended} OR e.n % 10 <> 7 THEN e.least ELSE 0 END
                AND CASE WHEN {mended} OR e.n % 10 <> 7 THEN e.most ELSE 0 END OR e.n IS NULL LIMIT 5
            """
        ).fetchall()
        ((items, positions),) = duckdb.execute(
            "SELECT count(*), count(DISTINCT item) FROM file.runner.items"
        ).fetchall()
        states = dict(duckdb.execute("SELECT state, count(*) FROM file.runner.items GROUP BY ALL").fetchall())
        ((least, most, failing),) = duckdb.execute(
            "SELECT sum(least), sum(most), coalesce(sum(least) FILTER (n % 10 = 7), 0) FROM ever"
        ).fetchall()
    finally:
        duckdb.execute("DETACH file")
    print(f"  ledger {states}, {items:,} items of {least:,} to {most:,} that were read", flush=True)
    if wrong:
        raise SystemExit(f"wrong (n, least, most, stored): {wrong}")
    if items != positions or not least <= items <= most:
        raise SystemExit(f"{items} items at {positions} positions, wanted {least} to {most}")
    if exact and states.get("failed", 0) != (0 if mended else failing):
        raise SystemExit(f"wanted {failing} failed")


def measure(name: str, count: int) -> None:
    """Run one change in the working folder, and print its figures."""
    kind, next_version = CHANGES[name]
    repeats = 0 if name == "function takes a column more" else count // 20
    duckdb.execute(
        f"CREATE OR REPLACE TABLE now AS SELECT range AS position, range % {count - repeats} AS n FROM range({count})"
    )
    counted = "SELECT n, count(*) AS times FROM now GROUP BY n"
    duckdb.execute(f"CREATE OR REPLACE TABLE ever AS SELECT n, times AS least, times AS most FROM ({counted})")
    write_input(kind, 0, more=False)
    job = JOB.replace("ARGUMENTS", "n") + (LIST if kind == "function" else "")
    Path("job.py").write_text(job)
    files = {"txt": "input.txt", "csv": "input.csv", "stdin": "-"}
    files["sql"] = "sql:SELECT n FROM 'input.parquet' ORDER BY random()"
    source = ["--input", files[kind]] if kind in files else []
    command = [sys.executable, "-m", "tui_runner", "run", "job.py", *source, "--db", "x.duckdb", "--json", "--quiet"]
    for version, kill_at in enumerate([count * 3 // 10, count * 65 // 100, 0]):
        if version:
            duckdb.execute(
                f"CREATE OR REPLACE TABLE after AS SELECT row_number() OVER () - 1 AS position, n FROM ({next_version})"
            )
            duckdb.execute("DROP TABLE now; ALTER TABLE after RENAME TO now")
            # Items of the last version must be recorded. Items of earlier versions only may have been read or not.
            duckdb.execute(
                f"""CREATE OR REPLACE TABLE ever AS SELECT coalesce(e.n, v.n) AS n, coalesce(v.times, 0) AS least,
                greatest(coalesce(e.most, 0), coalesce(v.times, 0)) AS most
                FROM ever AS e FULL JOIN ({counted}) AS v ON e.n = v.n"""
            )
            write_input(kind, version, more=name == "column more")
            if name == "function takes a column more":
                Path("job.py").write_text(JOB.replace("ARGUMENTS", "n, other" if version == 1 else "other, n"))
        with Path("input.txt" if kind == "stdin" else os.devnull).open("rb") as stdin:
            run_part(command, kill_at, stdin=stdin)
    exact = "removed" not in name
    check(mended=False, exact=exact)
    for mended in (False, True):
        if mended:
            Path("mended").touch()
        began = time.time()
        code = subprocess.call([sys.executable, "-m", "tui_runner", "retry", "x.duckdb", "--headless", "--quiet"])
        print(f"  retry: exit {code} after {time.time() - began:.0f} s", flush=True)
        check(mended=mended, exact=exact)


def main() -> None:
    """Run the changes that the command line names, or all."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    for name in sys.argv[2:] or CHANGES:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            print(f"{name}:", flush=True)
            measure(name, count)
            os.chdir("/")


if __name__ == "__main__":
    main()
