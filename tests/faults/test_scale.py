"""Sizes that a run must survive: it ends, its ledger is exact.

CI takes a hundredth of each. `SCALE=100 python -m pytest -s -n 0 tests/faults/test_scale.py` takes all of it and says
how long each took and how much memory its processes had.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tui_runner.engine.states import RunState

SCALE = int(os.environ.get("SCALE", "1"))

JOB = """
    import threading
    from tui_runner import job

    LARGE = {large}
    together = threading.Barrier({together})

    @job(retries=0)
    def nothing(n: int):
        return None

    @job(retries=0)
    def meet(n: int):
        together.wait(60)  # all wait until as many items are in flight as there are threads

    @job(retries=0)
    def large(text: str):
        return {{"text": text[::-1]}}

    @nothing.items
    def numbers(*, count: int):
        return range(count)

    @meet.items
    def numbers_too(*, count: int):
        return range(count)

    @large.items
    def texts(*, count: int):
        return (str(n) * LARGE for n in range(1, count + 1))
"""


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * SCALE)
@pytest.mark.parametrize(
    ("function", "count", "settings"),
    [
        ("nothing", 10_000 * SCALE, {"chunk_size": 5_000}),
        ("nothing", 1_000 * SCALE, {"chunk_size": 1}),
        ("meet", 200 if SCALE == 1 else 20_000, {"threads": 100 if SCALE == 1 else 1_000}),
        ("large", 3 if SCALE == 1 else 20, {"chunk_size": 1, "threads": 4}),
    ],
    ids=["items of nothing", "chunks of one item", "threads", "large items and results"],
)
def test_a_run_of_this_size_ends_with_an_exact_ledger(
    job_file: Callable[[str], str],
    new_run: Callable[..., Any],
    rows: Callable[..., Any],
    function: str,
    count: int,
    settings: dict[str, int],
) -> None:
    large = 1_000_000 if SCALE == 1 else 50_000_000
    path = job_file(JOB.format(large=large, together=settings.get("threads", 1)))
    run = new_run(f"{path}:{function}", params={"count": count}, **settings).start()
    while not run.runner.join(60.0):
        pass
    snapshot = run.finish()
    assert snapshot.state is RunState.FINISHED, snapshot.reason
    assert rows("SELECT count(*), count(DISTINCT item), min(item), max(item) FROM runner.items WHERE state = 'ok'") == [
        (count, count, 0, count - 1)
    ]
    assert rows("SELECT sum(items), sum(done) FROM runner.chunks WHERE state = 'done'") == [(count, count)]
    peak = max((sample.app_rss + sample.workers_rss for sample in snapshot.history), default=0)
    print(f"\n{function} × {count:,}: {snapshot.elapsed:.1f} s, {peak >> 20} MB at most")
    if function == "large":
        sizes = rows("SELECT length(text), count(*) FROM large GROUP BY 1 ORDER BY 1")
        assert sum(number for _, number in sizes) == count
        assert sizes[0][0] == large
