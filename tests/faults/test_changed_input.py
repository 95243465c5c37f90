"""Resuming with a changed input or other settings, after a kill at any moment: every item is recorded once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tui_runner.engine.states import RunState
from tui_runner.store.database import Database

Rows = Callable[..., list[tuple[Any, ...]]]

JOB = """
    import time
    from pathlib import Path
    from tui_runner import current, job

    here = Path(__file__).parent

    @job(chunk_size=10, threads=4)
    def work(n: int):
        while n % 10 > 6 and not (here / "open").exists() and not current.cancelled:
            time.sleep(0.005)
        return {"n": n}

    @work.items
    def numbers():
        return [int(line) for line in (here / "list").read_text().split()]
"""

CHUNKS = "SELECT chunk, items, done, failed, CAST(rows AS HUGEINT) FROM runner.chunks WHERE items > 0 ORDER BY 1"
ITEMS = """SELECT chunk, count(*), count(*) FILTER (WHERE state = 'ok'), count(*) FILTER (WHERE state = 'failed'),
    sum(rows) FROM runner.items GROUP BY 1 ORDER BY 1"""


def test_each_item_runs_once_however_the_input_changes(job_file, new_run, tmp_path: Path, rows: Rows) -> None:
    job = job_file(JOB)

    def items(numbers: Any) -> None:
        (tmp_path / "list").write_text("\n".join(map(str, numbers)))

    items(range(40))
    first = new_run(job).start()
    first.until(lambda s: s.items_done >= 14 and s.in_flight == 4)
    first.runner.kill()
    assert first.finish().state is RunState.STOPPED

    items(reversed(range(50)))  # longer, and the other way round
    second = new_run(job, chunk_size=7, threads=6, workers=2, open_chunks=9).start()
    assert second.runner.resumed
    done = second.until(lambda s: s.items_done >= 14 and s.in_flight >= 4).items_done
    second.runner.stop()
    second.until(lambda s: s.state is RunState.DRAINING)
    second.runner.kill()
    assert second.finish().state is RunState.STOPPED

    items(range(5, 50))  # shorter
    (tmp_path / "open").touch()
    third = new_run(job, chunk_size=3, threads=1).start()
    ended = third.finish()
    assert (ended.state, ended.items_failed) == (RunState.FINISHED, 0)
    assert ended.items_skipped >= done - 5
    recorded = rows("SELECT n FROM work ORDER BY n")
    assert len(recorded) == len(set(recorded))
    assert {n for (n,) in recorded} >= set(range(5, 50))
    assert rows("SELECT count(*), count(DISTINCT key) FROM runner.items WHERE state = 'ok'") == [(len(recorded),) * 2]
    assert rows("SELECT run_id, state FROM runner.runs") == [(1, "finished")]
    assert rows("SELECT count(*) FROM runner.items WHERE run_id = 1") == rows(
        "SELECT count(DISTINCT item) FROM runner.items WHERE run_id = 1"
    )
    # Chunks of an input that has changed have numbers above those that were there before.
    assert rows("SELECT count(*) - count(DISTINCT chunk) FROM runner.chunks") == [(0,)]
    assert rows("SELECT count(*) FROM runner.chunks WHERE state = 'done' AND done <> items") == [(0,)]
    # What was cut before says what is recorded of it, and not how it stood when its process was killed.
    assert rows(CHUNKS) == rows(ITEMS)
    assert rows("SELECT DISTINCT state FROM runner.chunks") == [("done",)]


def test_a_run_at_its_limit_of_failures_is_resumed_after_the_cause_is_corrected(
    job_file, new_run, tmp_path: Path, rows: Rows
) -> None:
    source = JOB.replace(
        'return {"n": n}',
        """time.sleep(0.01)
        if n % 2 and not (here / "mended").exists():
            raise ValueError(n)""",
    )
    (tmp_path / "list").write_text(" ".join(map(str, range(100))))
    (tmp_path / "open").touch()
    job = job_file(source)
    stopped = new_run(job, max_failures=3, threads=1).start().finish()
    assert stopped.state is RunState.FAILED
    assert "more than --max-failures allows" in stopped.reason
    assert 3 < stopped.items_failed < 50, "it stopped before the end"
    (tmp_path / "mended").touch()
    ended = new_run(job, max_failures="3%").start().finish()
    assert (ended.state, ended.items_done, ended.items_failed) == (RunState.FINISHED, 100, 0)
    assert rows("SELECT state, count(*), count(DISTINCT key) FROM runner.items GROUP BY 1") == [("ok", 100, 100)]
    assert rows(CHUNKS) == rows(ITEMS)  # items that had failed have gone to other chunks


def test_a_chunk_that_was_done_by_a_process_that_was_killed_has_its_row(
    job_file, new_run, tmp_path: Path, rows: Rows
) -> None:
    source = JOB.replace("chunk_size=10", "chunk_size=5").replace("return [int", "return range(8) or [int")
    (tmp_path / "list").touch()
    job = job_file(source)
    first = new_run(job).start()
    first.until(lambda s: s.items_done == 7)
    first.runner.kill()
    first.finish()
    with Database.open(tmp_path / "x.duckdb") as database:  # it was killed before it could say so
        database.cursor().execute("UPDATE runner.chunks SET state = 'running', done = 0, ended_at = NULL")
    (tmp_path / "open").touch()
    assert new_run(job).start().finish().state is RunState.FINISHED
    assert rows("SELECT chunk, state, items, done, rows FROM runner.chunks ORDER BY 1") == [
        (0, "done", 5, 5, 5),
        (1, "done", 3, 3, 3),
    ]


def test_items_that_failed_and_are_gone_from_the_input_are_spoken_of(
    job_file, new_run, tmp_path: Path, rows: Rows
) -> None:
    source = JOB.replace('return {"n": n}', "if n % 2: raise ValueError(n)")
    (tmp_path / "open").touch()
    (tmp_path / "list").write_text("1 2 3 4")
    job = job_file(source)
    assert new_run(job, max_failures=1, retries=0).start().finish().state is RunState.FAILED
    (tmp_path / "list").write_text("2 4 6")
    ended = new_run(job).start().finish()
    assert (ended.state, ended.items_done) == (RunState.FINISHED, 3)
    assert ended.events[-1].text == "2 previously failed items are no longer in the input; they stay failed"
    assert (ended.items_failed, ended.items_total) == (2, 5)
    assert rows(CHUNKS) == rows(ITEMS)


def test_items_that_fail_again_after_a_resume_can_be_retried_by_key(
    job_file, new_run, tmp_path: Path, rows: Rows
) -> None:
    source = (
        JOB.replace("n % 10 > 6 and", "n == 40 and")
        .replace("chunk_size=10", "chunk_size=10, retries=0")
        .replace(
            'return {"n": n}',
            """time.sleep(0.02)
        if n % 10 == 2 and not (here / "mended").exists():
            raise ValueError(n)
        return {"n": n}""",
        )
    )
    (tmp_path / "list").write_text(" ".join(map(str, range(41))))
    job = job_file(source)
    first = new_run(job).start()
    first.until(lambda s: s.items_done >= 10 and s.items_failed >= 2)
    first.runner.kill()
    first.finish()
    (tmp_path / "list").write_text(" ".join(map(str, reversed(range(42)))))
    second = new_run(job, chunk_size=3).start()
    second.until(lambda s: (s.items_done, s.items_failed) == (37, 4))
    (tmp_path / "mended").touch()
    second.runner.retry_chunks(range(100))
    second.until(lambda s: s.items_done >= 40)  # one of them may be in the chunk of the item that has not ended
    (tmp_path / "open").touch()
    ended = second.finish()
    assert (ended.state, ended.items_done + ended.items_failed) == (RunState.FINISHED, 42)
    assert rows("SELECT count(*), count(DISTINCT item), count(DISTINCT key) FROM runner.items") == [(42, 42, 42)]
    done = rows("SELECT count(*) FROM runner.items WHERE state = 'ok'")[0][0]
    assert done == ended.items_done >= 41
    assert rows("SELECT count(*), count(DISTINCT n) FROM work") == [(done, done)]
    assert rows(CHUNKS) == rows(ITEMS)
