"""The promises of the README, each held by a run of the real command on real input."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tui_runner.engine.progress.snapshot import Snapshot

Rows = Callable[..., list[tuple[Any, ...]]]
FILES = 10_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of 10,000 small files, some with hostile names."""
    chance = random.Random(1)
    root = tmp_path / "files"
    for number in range(100):
        (root / str(number)).mkdir(parents=True)
    for number in range(FILES - 3):
        (root / str(number % 100) / f"{number}.txt").write_bytes(chance.randbytes(chance.randrange(100)))
    for name in ("[red]x", "\x1b]52;c;QUJD\x07", "new\nline"):
        (root / name).write_bytes(name.encode())
    return root


@pytest.mark.slow
def test_every_file_of_a_folder_is_hashed_once(cli: Any, folder: Path, tmp_path: Path, rows: Rows) -> None:
    ended = cli(
        "run", "hash_files", "--set", f"root={folder}", "--headless", "--json", "--db", "x.duckdb", cwd=tmp_path
    )
    assert ended.code == 0, ended.err
    finished = json.loads(ended.out.splitlines()[-1])
    assert (finished["event"], finished["items_done"], finished["rows"]) == ("run_finished", FILES, FILES)
    expected = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file())
    assert [row[0] for row in rows("SELECT sha256 FROM hash_files ORDER BY 1")] == expected
    assert rows("SELECT count(DISTINCT path), count(DISTINCT _item) FROM hash_files") == [(FILES, FILES)]


@pytest.mark.slow
def test_memory_of_the_workers_does_not_grow_with_the_number_of_chunks(new_run: Any) -> None:
    run = new_run("tables", params={"pages": 200}, chunk_size=5).start()
    first = rest = 0
    while not run.runner.join(0.05):
        used, done = _resident(run.runner.worker_pids()), run.runner.snapshot().items_done
        first, rest = (max(first, used), rest) if done < 30 else (first, max(rest, used))
    assert run.finish().items_done == 200
    # What 170 pages hold is 1 GB as Python objects: a list of results would show.
    assert 0 < rest < 1.25 * first


def _resident(pids: Collection[int]) -> int:
    """Return bytes of memory that these processes hold; one that ends meanwhile holds none."""
    used = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            used += psutil.Process(pid).memory_info().rss
    return used


@pytest.mark.slow
def test_an_empty_function_runs_faster_than_in_the_loop_that_people_write(job_file: Any, new_run: Any) -> None:
    # benchmarks/dispatch.py measures the ratio (2 and more); here the machine may be busy with other tests.
    source = """
        from tui_runner import job

        @job(chunk_size=5_000, threads=16)
        def nothing(number: int) -> None:
            pass

        @nothing.items
        def numbers():
            return range(100_000)
    """
    started = time.perf_counter()
    for first in range(0, 100_000, 5_000):
        with ThreadPoolExecutor(16) as pool:
            for future in as_completed([pool.submit(lambda number: None, first + n) for n in range(5_000)]):
                future.result()
    loop = time.perf_counter() - started
    snapshot: Snapshot = new_run(job_file(source)).start().finish()
    assert snapshot.items_done == 100_000
    begun = snapshot.chunks[0].started_at
    assert begun is not None
    assert snapshot.elapsed - begun < loop


def test_the_ledger_has_the_times_of_a_run_and_of_its_chunks(job_file: Any, new_run: Any, rows: Rows) -> None:
    source = """
        import time

        from tui_runner import job

        @job(chunk_size=3, threads=1)
        def slow(number: int) -> None:
            time.sleep(0.01)

        @slow.items
        def numbers():
            return range(15)
    """
    snapshot: Snapshot = new_run(job_file(source)).start().finish()
    assert snapshot.items_done == 15
    times = "SELECT active_seconds, wall_seconds FROM runner.runs"
    assert rows(times) == [(snapshot.active_seconds, snapshot.wall_seconds)], "as the screen shows them"
    # All five chunks are sent to the worker at once, and it executes one item at a time.
    chunks = rows(
        """SELECT epoch_ms(started_at), epoch_ms(ended_at), epoch_ms(max(finished_at)) FROM runner.chunks
        JOIN runner.items USING (run_id, chunk) GROUP BY chunk, started_at, ended_at ORDER BY chunk"""
    )
    assert len(chunks) == 5
    for (_, _, before), (started, ended, _) in pairwise(chunks):
        assert before - 5 <= started <= ended
