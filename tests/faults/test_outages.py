"""A service that is down while a run needs it: real runs, real workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_runner.engine.scheduling import circuit_breaker
from tui_runner.engine.states import RunState

Rows = Callable[..., list[tuple[Any, ...]]]

FETCH = """
    from pathlib import Path
    from tui_runner import job

    @job(chunk_size=20, threads=4, workers=2)
    def fetch(n: int, *, up: str):
        if not Path(up).exists():
            raise ConnectionError("refused")
        return n

    @fetch.items
    def numbers():
        return range(1_000)
"""

HANGING = """
    import time
    from pathlib import Path
    from tui_runner import job

    @job(chunk_size=100, threads=300, workers=1)
    def fetch(n: int, *, signs: str):
        def wait(sign):
            while not Path(signs, sign).exists():
                time.sleep(0.01)

        if not Path(signs, "up").exists():
            if n < 60:
                wait("down")
                raise ConnectionError("refused")
            wait("timeout")
            raise ConnectionError("no answer")
        wait("fast")

    @fetch.items
    def numbers():
        return range(1_000)
"""

BROKEN = """
    from tui_runner import job

    @job(chunk_size=20, threads=4)
    def parse(n: int):
        return {}["price"]

    @parse.items
    def numbers():
        return range(100_000)
"""


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "_FIRST_INTERVAL", 0.5)


def test_a_run_waits_for_the_service_and_continues_by_itself(job_file, new_run, tmp_path: Path, rows: Rows) -> None:
    up = tmp_path / "up"
    run = new_run(job_file(FETCH), params={"up": str(up)}).start()
    paused = run.until(lambda s: s.state is RunState.PAUSED)
    assert "attempts failed (ConnectionError: refused)" in paused.reason
    run.until(lambda s: any("one item is tried" in event.text for event in s.events))
    assert run.runner.snapshot().state is RunState.PAUSED
    up.touch()
    ended = run.finish()
    assert ended.state is RunState.FINISHED
    assert ended.reason == ""
    assert (ended.items_done, ended.items_failed) == (1_000, 0)
    assert rows("SELECT count(*), count(DISTINCT key) FROM runner.items") == [(1_000, 1_000)]


def test_items_that_an_outage_made_fail_for_good_run_again_when_it_is_over(
    cli, job_file, new_run, tmp_path: Path, rows: Rows
) -> None:
    up = tmp_path / "up"
    run = new_run(job_file(FETCH), params={"up": str(up)}, retries=0).start()
    paused = run.until(lambda s: s.state is RunState.PAUSED and "failed items run again when it ends" in s.reason)
    assert paused.items_done == 0
    assert "paused: outage" in cli("runs", "x.duckdb", cwd=tmp_path).out
    told = json.loads(cli("runs", "x.duckdb", "--json", cwd=tmp_path).out)
    assert (told["state"], told["pause"]) == ("paused", "outage")
    up.touch()
    ended = run.finish()
    assert (ended.state, ended.items_done, ended.items_failed) == (RunState.FINISHED, 1_000, 0)
    assert rows("SELECT state, count(*), count(DISTINCT item) FROM runner.items GROUP BY ALL") == [("ok", 1_000, 1_000)]
    assert rows('SELECT count(*), count(DISTINCT _item) FROM "fetch"') == [(1_000, 1_000)]
    # What was tried is still told: more than the 50 attempts that it takes to notice.
    assert rows("SELECT count(*) >= 50 FROM runner.errors WHERE final") == [(True,)]


def test_the_user_may_resume_at_once(job_file, new_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_breaker, "_FIRST_INTERVAL", 1_000.0)
    up = tmp_path / "up"
    run = new_run(job_file(FETCH), params={"up": str(up)}).start()
    run.until(lambda s: s.state is RunState.PAUSED)
    up.touch()
    run.runner.resume()
    assert run.finish().items_done == 1_000


def test_attempts_that_hang_since_before_it_was_resumed_do_not_pause_it_again(
    job_file, new_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "_FIRST_INTERVAL", 1_000.0)
    run = new_run(job_file(HANGING), params={"signs": str(tmp_path)}, threads=300).start()
    run.until(lambda s: s.in_flight == 300)
    (tmp_path / "down").touch()
    run.until(lambda s: s.state is RunState.PAUSED)
    (tmp_path / "up").touch()
    run.runner.resume()
    run.until(lambda s: s.state is RunState.RUNNING)
    (tmp_path / "timeout").touch()
    run.until(lambda s: s.retries >= 300)
    (tmp_path / "fast").touch()
    ended = run.finish()
    assert (ended.state, ended.items_failed) == (RunState.FINISHED, 0)
    assert not any("no answer" in event.text for event in ended.events)


def test_a_broken_job_stops_without_a_user_to_resume_it(cli, job_file, tmp_path: Path) -> None:
    answer = cli("run", job_file(BROKEN), "--headless", cwd=tmp_path)
    assert answer.code == 3
    assert "attempts failed (KeyError: 'price'); fix the cause" in answer.err
    assert answer.err.splitlines()[-1].startswith("resume:")


def test_a_run_with_only_failed_attempts_can_be_resumed(cli, job_file, tmp_path: Path, rows: Rows) -> None:
    # Not one item has a final state yet, but a good deal has been tried.
    job = job_file(FETCH.replace("workers=2", "workers=1, retries=50"))
    options = ("--set", f"up={tmp_path / 'up'}", "--db", "x.duckdb", "--on-outage", "stop", "--headless")
    stopped = cli("run", job, *options, cwd=tmp_path)
    assert stopped.code == 3
    assert stopped.err.splitlines()[-1].endswith("/x.duckdb 1")
    assert "ConnectionError" in cli("errors", "x.duckdb", cwd=tmp_path).out
    (tmp_path / "up").touch()
    assert cli("resume", "x.duckdb", "1", "--quiet", cwd=tmp_path).code == 0
    assert rows("SELECT run_id, state, count(*) FROM runner.items GROUP BY ALL") == [(1, "ok", 1_000)]


def test_run_continues_through_an_outage_if_told_to(cli, job_file, tmp_path: Path, rows: Rows) -> None:
    job = job_file(BROKEN.replace("100_000", "300"))
    assert cli("run", job, "--quiet", "--on-outage", "continue", "--db", "x.duckdb", cwd=tmp_path).code == 1
    assert rows("SELECT state, count(*) FROM runner.items GROUP BY 1") == [("failed", 300)]
    assert cli("run", job, "--quiet", "--on-outage", "never", cwd=tmp_path).code == 2
