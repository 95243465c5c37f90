"""A run that is killed at any moment and started again: every item's rows are in the table once.

CI kills a few times at random moments, and prints the seed when it fails. `KILLS=1000 pytest tests/faults/test_kill.py`
does it 1,000 times. Among the moments are those in which workers are replaced, and an older ledger is migrated.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.older_ledger import RUNS, copy_older_ledger, mend
from support.waiting import WAIT_SECONDS, eventually

KILLS = int(os.environ.get("KILLS", "4"))
SEED = int(os.environ.get("SEED", random.randrange(1 << 32)))
LATEST = 1.0
"""Seconds after the start of its workers at which a run is killed, at the latest: about as long as it takes."""
ITEMS = 900

JOB = """
    import time
    from tui_runner import current, job

    @job(chunk_size=50, threads=8, workers=2, retries=3)
    def work(n: int):
        '''Three rows an item; some fail at first. The type of a column widens, and others come.'''
        time.sleep(0.002)
        if n % 97 == 0 and current.attempt == 1:
            raise ConnectionError("once")
        value = n if n < 300 else n + 0.5 if n < 600 else f"text {n}"
        return [{"n": n, "part": part, "value": value, f"column_{n // 150}": n} for part in range(3)]

    @work.items
    def numbers():
        return range(ITEMS)
"""


LEAKING_JOB = """
    from tui_runner import job

    kept = []

    @job(chunk_size=50, threads=4, workers=2, max_memory="700MB")
    def work(n: int):
        '''Keep half a megabyte, so that workers are replaced all the time.'''
        kept.append(b"x" * 500_000)
        return [{"n": n, "part": part} for part in range(3)]

    @work.items
    def numbers():
        return range(ITEMS)
"""

WAITING_JOB = """
    import time
    from tui_runner import job

    @job
    def work(n: int):
        '''Take longer than any test.'''
        time.sleep(600)

    @work.items
    def numbers():
        return range(ITEMS)
"""

Start = Callable[..., psutil.Popen]


def write_job(folder: Path, source: str) -> None:
    (folder / "work.py").write_text(textwrap.dedent(source).replace("ITEMS", str(ITEMS)), encoding="utf-8")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command, the run of `work.py` if it is given none; whatever is left of it is killed after the test."""
    started: list[psutil.Popen] = []

    def begin(*arguments: str) -> psutil.Popen:
        arguments = arguments or ("run", "work.py", "--headless", "--quiet", "--db", "x.duckdb")
        command = [sys.executable, "-m", "tui_runner", *arguments]
        with (tmp_path / f"stderr-{len(started)}").open("wb") as stderr:
            process = psutil.Popen(command, cwd=tmp_path, stderr=stderr, env=environment())
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.is_running():
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    """Return the tests' environment, with this package on its path."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


def family(process: psutil.Popen) -> list[psutil.Process]:
    """Return the processes that a run has started."""
    try:
        children: list[psutil.Process] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def check_each_item_once(rows: Callable[..., Any], path: Path) -> None:
    """Assert that every run in the database is finished and complete. After one that was killed at its end comes a new
    one."""
    runs = rows("SELECT run_id, state FROM runner.runs ORDER BY 1", path)
    assert runs == [(number, "finished") for number in range(1, len(runs) + 1)]
    once = [(run, 3 * ITEMS, 3 * ITEMS, ITEMS) for run, _ in runs]
    assert once == rows(
        "SELECT _run, count(*), count(DISTINCT (n, part)), count(DISTINCT _item) FROM work GROUP BY 1 ORDER BY 1", path
    )
    states = [(run, "ok", ITEMS, ITEMS, 3 * ITEMS) for run, _ in runs]
    assert states == rows(
        "SELECT run_id, state, count(*), count(DISTINCT key), sum(rows) FROM runner.items GROUP BY 1, 2 ORDER BY 1",
        path,
    )
    every = ITEMS * len(runs)
    assert rows("SELECT sum(items), sum(done), sum(rows) FROM runner.chunks", path) == [(every, every, 3 * every)]


@pytest.mark.slow
@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.parametrize("source", [JOB, LEAKING_JOB], ids=["at-any-moment", "while-workers-are-replaced"])
def test_killed_and_started_again_nothing_is_lost_or_doubled(
    start: Start, rows: Callable[..., Any], tmp_path: Path, source: str
) -> None:
    write_job(tmp_path, source)
    chance = random.Random(SEED)
    kills = at_work = 0
    killed: Counter[str] = Counter()
    while kills < KILLS:
        process = start()
        if chance.random() < 0.9:  # else it may be killed while it starts
            _wait_for_workers(process)
        try:
            code = process.wait(chance.uniform(0.0, LATEST))
            assert code == 0, f"seed {SEED}: {_stderr(tmp_path)}"
        except psutil.TimeoutExpired:
            at_work += bool(family(process))
            killed[_kill(process, chance)] += 1
            kills += 1
    process = start()
    assert process.wait(WAIT_SECONDS) == 0, f"seed {SEED}: {_stderr(tmp_path)}"
    check_each_item_once(rows, tmp_path / "x.duckdb")
    runs = rows("SELECT count(*) FROM runner.runs", tmp_path / "x.duckdb")[0][0]
    log = tmp_path / "x.duckdb.log"
    replaced = log.read_text().count("is replaced: it uses") if log.exists() else 0
    print(f"seed {SEED}: {kills} kills ({killed}), {at_work} of them with workers alive; {runs} whole runs")
    print(f"{replaced} workers were replaced")
    assert source is JOB or replaced or kills < 20, "of a few kills each may come before a worker has grown"


@pytest.mark.slow
@pytest.mark.timeout(60 + 20 * KILLS)
def test_killed_while_an_older_ledger_is_migrated_nothing_is_lost_or_doubled(
    start: Start, rows: Callable[..., Any], tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    versions: Counter[int] = Counter()
    for _ in range(KILLS):
        copy_older_ledger(tmp_path)
        mend(tmp_path)
        kind = chance.choice(["lines", "rows", "numbers"])
        resume = ("resume", "x.duckdb", str(RUNS[kind]), "--headless", "--quiet", "--yes")
        process = start(*resume)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(chance.uniform(0.3, 1.5))
        _kill(process, chance)
        versions[rows("SELECT version FROM runner.ledger", tmp_path / "x.duckdb")[0][0]] += 1
        if rows(f"SELECT state FROM runner.runs WHERE run_id = {RUNS[kind]}", tmp_path / "x.duckdb") != [("finished",)]:
            assert start(*resume).wait(WAIT_SECONDS) == 0, f"seed {SEED}: {_stderr(tmp_path)}"
        items = f"SELECT count(*), count(DISTINCT item) FROM runner.items WHERE run_id = {RUNS[kind]} AND state = 'ok'"
        assert rows(items, tmp_path / "x.duckdb") == [(100, 100)]
        stored = f"SELECT count(DISTINCT number), count(*) FROM {kind} WHERE _run = {RUNS[kind]}"
        assert rows(stored, tmp_path / "x.duckdb") == [(90 if kind == "lines" else 100, 100)]
        for left in tmp_path.glob("x.duckdb*"):
            left.unlink()
    print(f"seed {SEED}: killed with the ledger in version {dict(versions)}")


def _wait_for_workers(process: psutil.Popen) -> None:
    eventually(lambda: family(process) or process.poll() is not None, "its workers")


def _kill(process: psutil.Popen, chance: random.Random) -> str:
    """Kill the program, all of its processes at once, or a worker or their server first; return what was killed.

    After a worker or the server was killed, the program may go on for a while, or to its end. Nothing may outlive it.
    """
    children = family(process)
    servers = [child for child in children if _is_child(child, process.pid)]
    workers = [child for child in children if child not in servers]
    what = chance.choice(["program", "everything", *(["worker"] * bool(workers)), *(["server"] * bool(servers))])
    victims = {"program": [], "everything": children, "worker": workers[:1], "server": servers[:1]}[what]
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)
    if what in ("worker", "server"):
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(chance.uniform(0.0, 1.0))
    with contextlib.suppress(psutil.NoSuchProcess):  # it may have come to its end just now
        process.kill()
    process.wait()
    eventually(lambda: not any(child.is_running() for child in children), "the end of the workers")
    return what


def _is_child(process: psutil.Process, parent: int) -> bool:
    try:
        return bool(process.ppid() == parent)
    except psutil.NoSuchProcess:
        return False


def test_a_second_program_names_the_owner_of_the_database(start: Start, tmp_path: Path) -> None:
    write_job(tmp_path, WAITING_JOB)
    first = start()
    eventually(lambda: family(first), "the start of its workers, who come after the lock")
    second = start()
    assert second.wait(WAIT_SECONDS) == 4
    message = _stderr(tmp_path)
    assert message.count("\n") == 1
    assert f"pid {first.pid}" in message
    assert first.poll() is None


def _stderr(folder: Path) -> str:
    """Return the standard error of the process that was started last."""
    return max(folder.glob("stderr-*"), key=lambda path: int(path.name.rpartition("-")[2])).read_text()
