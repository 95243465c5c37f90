"""A function that leaks a megabyte an item runs to its end within its limit.

CI leaks 400 MB within 700, of which tui-runner itself and a worker have half. The full count is
`LEAK_ITEMS=50000 LEAK_LIMIT=2GB python -m pytest -s tests/faults/test_leak.py`, which prints the peak.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tui_runner.jobs.settings import parse_size

ITEMS = int(os.environ.get("LEAK_ITEMS", "400"))
LIMIT = os.environ.get("LEAK_LIMIT", "700MB")

LEAKS = """
    from tui_runner import job

    kept = []

    @job(chunk_size=100, threads=4)
    def leak(n: int):
        kept.append(b"x" * 1_000_000)
        return {"n": n}
"""


def watched(command: list[str], folder: Path) -> tuple[int, int, str]:
    """Run a command: its exit code, the highest resident bytes of it and all its descendants, its standard error."""
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    peak = 0
    with (folder / "stderr").open("w") as stderr:
        process = psutil.Popen(command, cwd=folder, env=environ, stderr=stderr)
        while process.poll() is None:
            try:
                tree = [process, *process.children(recursive=True)]
                peak = max(peak, sum(each.memory_info().rss for each in tree))
            except psutil.Error:  # one of them has just ended
                continue
            time.sleep(0.02)
    return process.returncode, peak, (folder / "stderr").read_text()


@pytest.mark.timeout(120 + ITEMS // 50)
def test_a_function_that_leaks_a_megabyte_an_item_stays_within_its_limit(
    job_file: Callable[[str], str], rows: Callable[..., Any], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tui_runner", "run", job_file(LEAKS), "--input", f"range:0:{ITEMS}", "--headless"]
    code, peak, stderr = watched([*command, "--max-memory", LIMIT, "--db", "x.duckdb"], tmp_path)
    assert code == 0, stderr
    print(
        f"{ITEMS} items of 1 MB leaked, limit {LIMIT}: peak {peak / 1e6:.0f} MB, {stderr.count('is replaced')} replaced"
    )
    assert peak <= parse_size(LIMIT)
    assert stderr.count("is replaced: it uses") >= max(1, ITEMS // 1_000)
    assert rows("SELECT count(*), count(DISTINCT n), count(DISTINCT _item) FROM leak") == [(ITEMS, ITEMS, ITEMS)]
    assert rows("SELECT state, count(*), max(attempts) FROM runner.items GROUP BY 1") == [("ok", ITEMS, 1)]


def test_a_limit_that_no_run_can_keep_is_one_line(job_file: Callable[[str], str], cli: Any, tmp_path: Path) -> None:
    refused = cli("run", job_file(LEAKS), "--input", "range:0:3", "--max-memory", "20MB", "--quiet", cwd=tmp_path)
    assert refused.code == 2
    assert refused.complaint.startswith("--max-memory: 20 MB is too little memory: tui-runner itself uses ")
    assert refused.complaint.endswith(" MB now, 100 MB for each worker; raise it")
    assert not list(tmp_path.glob("*.duckdb*")), "nothing was begun"
