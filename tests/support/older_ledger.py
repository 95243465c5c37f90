"""The ledger of version 2 that is kept as a fixture: four runs that were stopped in the middle."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import duckdb

MADE = Path(__file__).parents[1] / "ledger_v2"
RUNS = {"lines": 1, "rows": 2, "numbers": 3, "pages": 4}
"""Number of the run of each kind of key; each has 100 items."""


def copy_older_ledger(folder: Path) -> None:
    """Put the database `x.duckdb`, its jobs and its inputs into a folder, as if the runs had started there."""
    for name in ("jobs.py", "lines.txt", "rows.csv"):
        shutil.copy(MADE / name, folder)
    (folder / "x.duckdb").write_bytes(gzip.decompress((MADE / "ledger.duckdb.gz").read_bytes()))
    with duckdb.connect(str(folder / "x.duckdb")) as ledger:
        ledger.execute(
            "UPDATE runner.runs SET job_path = replace(job_path, '/v2', $here), input = replace(input, '/v2', $here),"
            " settings = CAST(replace(CAST(settings AS VARCHAR), '\"/v2\"', '\"' || $here || '\"') AS JSON)",
            {"here": str(folder)},
        )


def mend(folder: Path) -> None:
    """Let no item fail any more."""
    source = (folder / "jobs.py").read_text()
    (folder / "jobs.py").write_text(source.replace("number < 60", "number < 0"))
