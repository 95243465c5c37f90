"""Resuming runs of ledger version 2: one for each kind of key.

The ledger was made by the last version that wrote version 2, with the jobs and inputs beside it: each of the four runs
was stopped in the middle, with failures, timeouts and a cancelled chunk; of the lines every ninth is there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.older_ledger import RUNS, copy_older_ledger, mend

from tui_runner.engine.assembly import open_runner
from tui_runner.engine.planning.request import plan_run
from tui_runner.engine.planning.resume import resume_request, retry_request
from tui_runner.engine.progress.snapshot import Snapshot
from tui_runner.engine.states import RunState
from tui_runner.errors import UserError
from tui_runner.store.ledger import LEDGER_VERSION

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A folder with the database `x.duckdb`, the jobs and the inputs."""
    copy_older_ledger(tmp_path)
    return tmp_path


def go_on(folder: Path, run: int, *, retry: bool = False, **settings: object) -> Snapshot:
    made = (retry_request if retry else resume_request)(folder / "x.duckdb", run, None, settings)
    runner = open_runner(plan_run(made, folder=folder, environ={}))
    runner.start()
    assert runner.join(60)
    runner.close()
    return runner.snapshot()


@pytest.mark.parametrize("kind", RUNS)
def test_a_resumed_run_has_each_item_once(older: Path, rows: Rows, kind: str) -> None:
    run = RUNS[kind]
    with duckdb.connect(str(older / "x.duckdb")) as ledger:
        before = ledger.execute(
            "SELECT state, count(*) FROM runner.items WHERE run_id = ? GROUP BY 1", [run]
        ).fetchall()
        done = dict(before)["ok"]
    mend(older)
    snapshot = go_on(older, run, chunk_size=7)
    assert (snapshot.state, snapshot.items_done, snapshot.items_failed) == (RunState.FINISHED, 100, 0)
    assert snapshot.items_skipped == done
    assert snapshot.items_total == 100
    assert rows(f"SELECT count(*), count(DISTINCT item) FROM runner.items WHERE run_id = {run} AND state = 'ok'") == [
        (100, 100)
    ]
    expected = (90, 100) if kind == "lines" else (100, 100)
    assert rows(f"SELECT count(DISTINCT number), count(*) FROM {kind} WHERE _run = {run}") == [expected]
    assert rows("SELECT version FROM runner.ledger") == [(LEDGER_VERSION,)]
    assert rows(f"SELECT sum(items), sum(done), sum(failed) FROM runner.chunks WHERE run_id = {run}") == [(100, 100, 0)]
    assert rows("SELECT count(*) FROM runner.items WHERE key LIKE '%-%' OR length(key) > 16") == [(0,)]


@pytest.mark.parametrize("kind", ["lines", "numbers"])
def test_chunks_that_were_not_finished_when_the_earlier_version_was_killed_get_their_rows(
    older: Path, rows: Rows, kind: str
) -> None:
    run = RUNS[kind]
    with duckdb.connect(str(older / "x.duckdb")) as ledger:
        ledger.execute("DELETE FROM runner.chunks WHERE run_id = ? AND chunk % 2 = 0", [run])
    mend(older)
    assert go_on(older, run).items_done == 100
    assert rows(f"SELECT sum(items), sum(done), sum(failed) FROM runner.chunks WHERE run_id = {run}") == [(100, 100, 0)]


@pytest.mark.parametrize("kind", RUNS)
def test_a_finished_run_is_retried_once_more(older: Path, rows: Rows, kind: str) -> None:
    run = RUNS[kind]
    assert go_on(older, run).items_failed > 0
    mend(older)
    snapshot = go_on(older, run, retry=True)
    assert (snapshot.state, snapshot.items_done, snapshot.items_failed) == (RunState.FINISHED, 100, 0)
    assert rows(f"SELECT state, count(*), count(DISTINCT item) FROM runner.items WHERE run_id = {run} GROUP BY 1") == [
        ("ok", 100, 100)
    ]


def test_a_retry_of_a_run_that_an_older_version_finished_reads_its_input(older: Path, rows: Rows) -> None:
    with duckdb.connect(str(older / "x.duckdb")) as ledger:
        ledger.execute("UPDATE runner.runs SET state = 'finished'")
        states = dict(
            ledger.execute("SELECT state = 'ok', count(*) FROM runner.items WHERE run_id = 1 GROUP BY 1").fetchall()
        )
    mend(older)
    snapshot = go_on(older, 1, retry=True)
    assert (snapshot.items_done, snapshot.items_failed) == (states[True] + states[False], 0)
    assert any("new in the input were left out" in event.text for event in snapshot.events)
    assert rows("SELECT count(*), count(DISTINCT item) FROM runner.items WHERE run_id = 1 AND state = 'ok'") == [
        (states[True] + states[False],) * 2
    ]


def test_the_columns_of_its_keys_are_found_whatever_the_function_takes_now(older: Path, rows: Rows) -> None:
    mend(older)
    source = (older / "jobs.py").read_text()
    (older / "jobs.py").write_text(
        source.replace("def rows(number: int, name: str)", "def rows(number: int, note: str)")
    )
    snapshot = go_on(older, RUNS["rows"])
    assert (snapshot.items_done, snapshot.items_failed) == (100, 0)
    assert rows("SELECT count(*), count(DISTINCT number) FROM rows") == [(100, 100)]
    assert rows("SELECT CAST(key_columns AS VARCHAR) FROM runner.runs WHERE run_id = 2") == [('["number", "name"]',)]


def test_an_input_without_recorded_items_is_refused_in_one_line(older: Path) -> None:
    lines = (older / "rows.csv").read_text().splitlines()
    (older / "rows.csv").write_text("\n".join([lines[0], *(f"{n},other {n},x" for n in range(1000, 1010))]))
    with pytest.raises(UserError, match="none of its first items has a recorded key"):
        go_on(older, RUNS["rows"])


def test_items_that_share_a_position_are_distinguished(older: Path, rows: Rows) -> None:
    """A reordered input had another item at the position of one that was done."""
    with duckdb.connect(str(older / "x.duckdb")) as ledger:
        ledger.execute(
            "UPDATE runner.items SET item = (SELECT min(item) FROM runner.items WHERE run_id = 1 AND state = 'ok')"
            " WHERE run_id = 1 AND item < 9"
        )
    mend(older)
    snapshot = go_on(older, RUNS["lines"])
    assert (snapshot.items_done, snapshot.items_failed) == (100, 0)
    assert rows("SELECT count(*), count(DISTINCT item) FROM runner.items WHERE run_id = 1") == [(100, 100)]
    assert rows("SELECT count(*), count(DISTINCT number) FROM lines") == [(100, 90)]
