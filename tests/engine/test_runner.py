"""Real runs: worker processes (and threads), real DuckDB files, every command."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.real_jobs import GATED, SQUARES

from tui_runner.engine.states import ChunkState, RunState
from tui_runner.errors import UserError
from tui_runner.store.ingest.transaction import Entry, Writer
from tui_runner.store.records import Batch
from tui_runner.system.memory import memory_bound

Rows = Callable[..., list[tuple[Any, ...]]]

BOTH = pytest.mark.parametrize("backend", ["process", "inline"])


@BOTH
def test_every_item_is_run_and_recorded_once(job_file, new_run, rows: Rows, backend: str) -> None:
    snapshot = new_run(job_file(SQUARES), backend=backend, params={"plus": 1}).start().finish()
    assert snapshot.state is RunState.FINISHED
    assert (snapshot.items_done, snapshot.items_failed, snapshot.rows) == (95, 0, 95)
    assert rows("SELECT n, square, _item FROM squares ORDER BY n") == [(n, n * n + 1, n) for n in range(95)]
    assert rows("SELECT count(*), count(DISTINCT key), min(attempts), max(attempts) FROM runner.items") == [
        (95, 95, 1, 1)
    ]
    assert rows("SELECT sum(items), sum(done), sum(rows), count(*) FROM runner.chunks WHERE state = 'done'") == [
        (95, 95, 95, 10)
    ]
    assert rows("SELECT state, items_total FROM runner.runs") == [("finished", 95)]


def test_the_size_of_the_file_at_the_end_of_a_run_is_what_stays(job_file, new_run) -> None:
    run = new_run(job_file(SQUARES), backend="inline").start()
    path = run.runner.database.path
    last = run.until(lambda s: s.state.ended)
    assert last.db_bytes == path.stat().st_size and not path.with_name(path.name + ".wal").exists()
    run.finish()
    assert path.stat().st_size == last.db_bytes


@BOTH
def test_a_run_whose_items_have_ended_says_that_it_writes(
    job_file, new_run, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    disk, write = threading.Event(), Writer.write

    def wait_and_write(writer: Writer, entries: list[Entry]) -> None:
        if any(isinstance(entry, Batch) for entry in entries):
            disk.wait(30)
        write(writer, entries)

    monkeypatch.setattr(Writer, "write", wait_and_write)
    run = new_run(job_file(SQUARES), backend=backend).start()
    snapshot = run.until(lambda s: s.is_writing)
    assert (snapshot.state, snapshot.items_done, snapshot.in_flight) == (RunState.RUNNING, 95, 0)
    later = run.until(lambda s: s.at > snapshot.at + 0.5)
    assert later.is_writing and later.buffered_bytes == snapshot.buffered_bytes > 0
    disk.set()
    assert (last := run.finish()).state is RunState.FINISHED
    assert last.buffered_bytes == 0 and not last.is_writing


def test_the_bound_of_memory_is_shown_and_can_be_changed(job_file, new_run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}, backend="inline", max_memory="3GB").start()
    run.until(lambda s: s.in_flight and s.memory_limit == 3_000_000_000)
    run.runner.set_max_memory("50%")
    run.until(lambda s: s.memory_limit == memory_bound("50%"))
    run.runner.set_max_memory(None)
    run.until(lambda s: s.memory_limit is None and s.events[-1].text == "memory: no limit")
    gate.touch()
    assert run.finish().items_done == 40


@BOTH
def test_an_async_job_runs_many_items_at_once(job_file, new_run, rows: Rows, backend: str) -> None:
    source = """
        import asyncio
        from tui_runner import current, job

        together = asyncio.Barrier(19)

        @job(chunk_size=40, threads=20, retries=0)
        async def meet(n: int):
            if n == 7:
                raise SystemExit("no")
            if n < 20:
                await asyncio.wait_for(together.wait(), 30) if n != 7 else None
            return {"n": n, "item": current.item}

        @meet.items
        def numbers():
            return [*range(7), *range(8, 21), 7, *range(21, 60)]
    """
    snapshot = new_run(job_file(source), backend=backend).start().until(lambda s: s.state.ended)
    assert (snapshot.items_done, snapshot.items_failed) == (59, 1), snapshot.errors


def test_a_paused_run_finishes_what_is_in_flight_and_nothing_else(
    job_file, new_run, rows: Rows, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}).start()
    run.until(lambda s: s.in_flight == 2)
    run.runner.pause()
    run.until(lambda s: s.state is RunState.PAUSED)
    gate.touch()
    paused = run.until(lambda s: s.in_flight == 0 and s.items_done)
    assert paused.items_done == 2
    later = run.until(lambda s: s.at > paused.at + 1.5)
    assert later.items_done == 2
    assert later.elapsed == pytest.approx(paused.elapsed, abs=0.01), "time paused is in no rate"
    run.runner.resume()
    assert run.finish().items_done == 40


def test_a_paused_chunk_lets_the_others_pass(job_file, new_run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}, open_chunks=2).start()
    run.until(lambda s: s.in_flight == 2 and len(s.chunks) > 2)
    run.runner.pause_chunks([0, 2])
    run.until(lambda s: s.chunks[0].state is s.chunks[2].state is ChunkState.PAUSED)
    gate.touch()
    others = run.until(lambda s: s.items_done == 2 + 6 * 5)
    assert others.chunks[0].done == 2
    assert others.chunks[2].done == 0
    run.runner.resume_chunks([0, 2])
    assert run.finish().items_done == 40


def test_cancelled_items_are_recorded_as_such(job_file, new_run, rows: Rows, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}, open_chunks=2).start()
    run.until(lambda s: s.in_flight == 2 and len(s.chunks) > 3)
    run.runner.cancel_chunks([1, 3])
    run.until(lambda s: s.chunks[1].state is s.chunks[3].state is ChunkState.CANCELLED)
    gate.touch()
    snapshot = run.finish()
    assert (snapshot.state, snapshot.items_done, snapshot.items_cancelled) == (RunState.FINISHED, 30, 10)
    assert snapshot.items_executed == 30
    assert rows("SELECT chunk, state, count(*) FROM runner.items GROUP BY ALL HAVING state <> 'ok' ORDER BY 1") == [
        (1, "cancelled", 5),
        (3, "cancelled", 5),
    ]


def test_failed_items_can_be_run_again(job_file, new_run, rows: Rows, tmp_path: Path) -> None:
    source = """
        from pathlib import Path
        from tui_runner import job

        @job(chunk_size=5, threads=2)
        def fussy(n: int, *, gate: str):
            if n % 5 == 3 and not Path(gate).exists():
                raise ValueError(f"no gate for {n}")
            if n == 19:
                import time
                while not Path(gate).exists():
                    time.sleep(0.005)
            return n

        @fussy.items
        def numbers():
            return range(20)
    """
    gate = tmp_path / "gate"
    run = new_run(job_file(source), params={"gate": str(gate)}).start()
    run.until(lambda s: s.items_failed == 4 and s.chunks[0].state is s.chunks[1].state is ChunkState.FAILED)
    run.runner.pause()
    run.until(lambda s: s.state is RunState.PAUSED)
    run.runner.retry_chunks([0, 1])
    run.until(lambda s: s.items_failed == 2)
    gate.touch()
    run.runner.resume()
    snapshot = run.finish()
    assert (snapshot.items_done, snapshot.items_failed) == (18, 2)
    assert rows("SELECT item, state, attempts FROM runner.items WHERE item % 5 = 3 ORDER BY item") == [
        (3, "ok", 2),
        (8, "ok", 2),
        (13, "failed", 1),
        (18, "failed", 1),
    ]
    assert rows("SELECT count(*), count(DISTINCT _item) FROM fussy") == [(18, 18)]


def test_threads_can_be_changed_while_it_runs(job_file, new_run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}).start()
    run.until(lambda s: s.in_flight == 2)
    run.runner.set_threads(7)
    run.until(lambda s: s.in_flight == 7 and s.threads == 7)
    gate.touch()
    assert run.finish().items_done == 40


def test_a_stopped_run_is_resumed_where_it_was(job_file, new_run, rows: Rows, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    path = job_file(GATED)
    run = new_run(path, params={"gate": str(gate)}).start()
    run.until(lambda s: s.in_flight == 2)
    run.runner.stop()
    run.until(lambda s: s.state is RunState.DRAINING)
    gate.touch()
    stopped = run.finish()
    assert (stopped.state, stopped.items_done) == (RunState.STOPPED, 2)
    again = new_run(path, params={"gate": str(gate)}, chunk_size=7)
    assert again.runner.resumed
    finished = again.start().finish()
    assert (finished.run_id, finished.items_done, finished.items_skipped) == (stopped.run_id, 40, 2)
    assert rows("SELECT count(*), count(DISTINCT value) FROM gated") == [(40, 40)]
    assert rows("SELECT state, sum(items), sum(done) FROM runner.chunks GROUP BY ALL") == [("done", 40, 40)]


def test_a_paused_run_is_resumed_as_paused_if_a_user_can_resume_it(job_file, new_run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    path = job_file(GATED)
    run = new_run(path, params={"gate": str(gate)}, threads=1, rate=20).start()
    run.until(lambda s: s.items_done)
    run.runner.pause()
    run.until(lambda s: s.state is RunState.PAUSED)
    run.runner.kill()
    run.finish()
    assert not new_run(path, params={"gate": str(gate)}, database=tmp_path / "y.duckdb").runner.resumed


def test_a_table_input_is_passed_by_name(job_file, new_run, rows: Rows, tmp_path: Path) -> None:
    csv = tmp_path / "people.csv"
    csv.write_text("name,age,unused\nAda,36,x\nAlan,41,y\n", encoding="utf-8")
    source = """
        from tui_runner import job

        @job
        def greet(age: int, name: str, *, word: str = "hello"):
            return {"text": f"{word} {name}", "age": age}
    """
    new_run(job_file(source), input=str(csv), params={"word": "hi"}).start().finish()
    assert rows("SELECT text, age FROM greet ORDER BY age") == [("hi Ada", 36), ("hi Alan", 41)]


def test_resuming_needs_an_unfinished_run(job_file, new_run) -> None:
    path = job_file(SQUARES)
    with pytest.raises(UserError, match="nothing to resume"):
        new_run(path, resume=True)
    new_run(path).start().finish()
    with pytest.raises(UserError, match="no unfinished run"):
        new_run(path, resume=True)
    assert new_run(path).runner.run_id == 2


def test_chunks_of_chosen_sizes_resume_and_run_again(job_file, new_run, rows: Rows, tmp_path: Path) -> None:
    source = """
        from pathlib import Path
        from tui_runner import job

        @job(retries=0)
        def quick(n: int, *, gate: str):
            if n % 1000 == 7 and not Path(gate).exists():
                raise ValueError("not yet")
            return n

        @quick.items
        def numbers():
            return range(400_000)
    """
    gate = tmp_path / "gate"
    path = job_file(source)
    run = new_run(path, params={"gate": str(gate)}, max_failures=None).start()
    run.until(lambda s: any(chunk.items > 500 for chunk in s.chunks))
    shown = run.runner.snapshot()
    assert shown.chunks[0].items == 500
    run.runner.stop()
    assert run.finish().state is RunState.STOPPED
    again = new_run(path, params={"gate": str(gate)}).start()
    again.until(lambda s: len(s.chunks) and s.chunks[0].state is ChunkState.FAILED)
    gate.touch()
    again.runner.retry_chunks(range(1_000))
    again.until(lambda s: s.chunks[0].state is ChunkState.DONE or s.state.ended)
    finished = again.finish()
    assert finished.items_done + finished.items_failed == 400_000
    assert rows("SELECT count(*), count(DISTINCT item) FROM runner.items") == [(400_000, 400_000)]
    assert rows("SELECT count(*), count(DISTINCT _item) FROM quick") == [(finished.items_done, finished.items_done)]
    assert rows("SELECT sum(items), sum(done), sum(failed) FROM runner.chunks") == [
        (400_000, finished.items_done, finished.items_failed)
    ]
