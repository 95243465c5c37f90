"""Real runs: worker processes (and threads), real DuckDB files, every command."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tui_runner.engine.chunk import ChunkState, RunState
from tui_runner.errors import UserError
from tui_runner.machine_memory import memory_bound

Rows = Callable[..., list[tuple[Any, ...]]]

BOTH = pytest.mark.parametrize("backend", ["process", "inline"])

SQUARES = """
    from tui_runner import job

    @job(chunk_size=10, threads=4)
    def squares(n: int, *, plus: int = 0):
        return {"n": n, "square": n * n + plus}

    @squares.items
    def numbers(*, count: int = 95):
        return range(count)
"""

GATED = """
    import time
    from pathlib import Path
    from tui_runner import current, job

    @job(chunk_size=5, threads=2)
    def gated(n: int, *, gate: str):
        # Items run until the test opens the gate.
        while not Path(gate).exists() and not current.cancelled:
            time.sleep(0.005)
        return n

    @gated.items
    def numbers(*, count: int = 40):
        return range(count)
"""


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


def test_the_bound_of_memory_is_shown_and_can_be_changed(job_file, new_run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}, backend="inline", max_memory="3GB").start()
    run.until(lambda s: s.in_flight and s.memory_limit == 3_000_000_000)
    run.runner.set_max_memory("50%")
    run.until(lambda s: s.memory_limit == memory_bound("50%"))
    run.runner.set_max_memory(None)
    run.until(lambda s: s.memory_limit is None and s.events[-1].text == "memory: no bound")
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


def test_a_stopped_run_goes_on_where_it_was(job_file, new_run, rows: Rows, tmp_path: Path) -> None:
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


def test_a_paused_run_comes_back_paused_where_somebody_can_resume_it(job_file, new_run, tmp_path: Path) -> None:
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


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_items_of_a_killed_worker_run_again(job_file, new_run, rows: Rows, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}).start()
    run.until(lambda s: s.in_flight == 2)
    (pid,) = run.runner.worker_pids()
    os.kill(pid, signal.SIGKILL)
    run.until(lambda s: any("SIGKILL" in event.text for event in s.events))
    gate.touch()
    assert run.finish().items_done == 40
    assert rows("SELECT count(*), count(DISTINCT value) FROM gated") == [(40, 40)]


def test_a_worker_that_dies_at_once_every_time_ends_the_run(job_file, new_run) -> None:
    source = """
        import os
        from tui_runner import job

        @job
        def die(n: int):
            os._exit(7)

        @die.items
        def numbers():
            return range(3)
    """
    snapshot = new_run(job_file(source)).start().finish()
    assert snapshot.state is RunState.FAILED
    assert "exit code 7" in snapshot.reason


def test_workers_are_gone_after_the_run(job_file, new_run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = new_run(job_file(GATED), params={"gate": str(gate)}, workers=2, threads=4).start()
    run.until(lambda s: s.in_flight == 4)
    pids = list(run.runner.worker_pids())
    assert len(pids) == 2
    gate.touch()
    run.finish()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


@BOTH
def test_setup_and_teardown_run_once_a_worker(job_file, new_run, tmp_path: Path, backend: str) -> None:
    source = """
        from pathlib import Path
        from tui_runner import job

        @job
        def work(n: int):
            return n

        @work.items
        def numbers():
            return range(30)

        @work.setup
        def begin(*, folder: str):
            with open(Path(folder) / "calls", "a") as calls:
                calls.write("setup ")

        @work.teardown
        def end(*, folder: str):
            with open(Path(folder) / "calls", "a") as calls:
                calls.write("teardown ")
    """
    new_run(job_file(source), backend=backend, params={"folder": str(tmp_path)}).start().finish()
    assert (tmp_path / "calls").read_text() == "setup teardown "


@BOTH
def test_a_setup_that_fails_ends_the_run_with_its_message(job_file, new_run, backend: str) -> None:
    source = """
        from tui_runner import job

        @job
        def work(n: int):
            return n

        @work.items
        def numbers():
            return range(30)

        @work.setup
        def begin():
            raise LookupError("no such server")
    """
    snapshot = new_run(job_file(source), backend=backend).start().finish()
    assert snapshot.state is RunState.FAILED
    assert "LookupError: no such server" in snapshot.reason
    assert snapshot.items_finished == 0


@BOTH
def test_whatever_a_function_does_the_run_goes_on(job_file, new_run, rows: Rows, backend: str) -> None:
    source = """
        import logging, os, subprocess, sys
        from tui_runner import current, job

        def endless(n):
            return endless(n + 1)

        class Odd:
            pass

        @job(chunk_size=3, threads=3)
        def nasty(kind: str):
            match kind:
                case "print": print("printed"); return None
                case "log": logging.getLogger("mine").error("logged"); return None
                case "note": current.log("noted"); return None
                case "native":
                    if os.environ.get("NO_NATIVE") is None:
                        os.write(1, b"native out\\n"); os.write(2, b"native err\\n")
                    return None
                case "exit": sys.exit(3)
                case "interrupt": raise KeyboardInterrupt("mine")
                case "generator": raise GeneratorExit
                case "endless": endless(0)
                case "odd": return Odd()
                case "reserved": return {"_item": 1}
                case "surrogate": return {"ok": 1, "text": "\\ud800"}
            return {"kind": kind}

        @nasty.items
        def kinds():
            return ["print", "log", "note", "native", "exit", "interrupt", "generator", "endless", "odd",
                    "reserved", "surrogate", "fine"]
    """
    if backend == "inline":
        source = source.replace('os.environ.get("NO_NATIVE") is None', "False")
    snapshot = new_run(job_file(source), backend=backend).start().finish()
    assert (snapshot.state, snapshot.items_done, snapshot.items_failed) == (RunState.FINISHED, 5, 7)
    errors = dict(rows("SELECT item, type || ': ' || message FROM runner.errors WHERE final"))
    assert errors[4] == "SystemExit: 3"
    assert errors[5] == "KeyboardInterrupt: mine"
    assert errors[6].startswith("GeneratorExit")
    assert errors[7].startswith("RecursionError")
    assert "Odd" in errors[8]
    assert "'_item' is reserved" in errors[9]
    assert "'text'" in errors[10]
    assert rows("SELECT kind FROM nasty WHERE kind IS NOT NULL") == [("fine",)]
    said = {(line.text, line.item) for line in snapshot.log}
    assert {("printed", 0), ("mine: logged", 1), ("noted", 2)} <= said
    if backend == "process":
        assert {("native out", None), ("native err", None)} <= said


@BOTH
def test_items_that_cannot_be_sent_fail_alone(job_file, new_run, rows: Rows, backend: str) -> None:
    source = """
        import threading
        from tui_runner import job

        @job(chunk_size=4)
        def work(n):
            return {"n": str(n)}

        @work.items
        def numbers():
            return [1, threading.Lock(), 3]
    """
    snapshot = new_run(job_file(source), backend=backend).start().finish()
    assert (snapshot.items_done, snapshot.items_failed) == (2, 1)
    ((message,),) = rows("SELECT message FROM runner.errors")
    assert "lock" in message
    assert "cannot be sent" in message


def test_an_input_that_fails_half_way_stops_the_run_and_keeps_what_was_done(job_file, new_run, rows: Rows) -> None:
    source = """
        from tui_runner import job

        @job(chunk_size=2)
        def work(n):
            return n

        @work.items
        def numbers():
            yield from range(6)
            raise OSError("the list is torn")
    """
    snapshot = new_run(job_file(source)).start().finish()
    assert snapshot.state is RunState.FAILED
    assert "the list is torn" in snapshot.reason
    assert rows("SELECT count(*) FROM work")[0][0] == snapshot.items_done


def test_a_stream_of_unknown_length_knows_its_total_at_the_end(job_file, new_run) -> None:
    source = SQUARES.replace("return range(count)", "return iter(range(count))")
    run = new_run(job_file(source))
    assert run.runner.snapshot().items_total is None
    assert run.start().finish().items_total == 95


def test_transient_errors_are_tried_again_others_are_not(job_file, new_run, rows: Rows) -> None:
    source = """
        from tui_runner import current, job

        @job(retries=2)
        def work(kind: str):
            if kind == "once" and current.attempt == 1 or kind == "always":
                raise ConnectionError(kind)
            if kind == "wrong":
                raise ValueError(kind)
            return {"attempt": current.attempt}

        @work.items
        def kinds():
            return ["once", "always", "wrong"]
    """
    snapshot = new_run(job_file(source)).start().finish()
    assert (snapshot.items_done, snapshot.items_failed, snapshot.retries) == (1, 2, 3)
    assert rows("SELECT item, state, attempts FROM runner.items ORDER BY item") == [
        (0, "ok", 2),
        (1, "failed", 3),
        (2, "failed", 1),
    ]
    assert rows(
        "SELECT item, list(attempt ORDER BY attempt), count_if(final) FROM runner.errors GROUP BY 1 ORDER BY 1"
    ) == [
        (0, [1], 0),
        (1, [1, 2, 3], 1),
        (2, [1], 1),
    ]


@BOTH
def test_an_attempt_past_its_timeout_is_recorded_and_its_late_result_dropped(
    job_file, new_run, rows: Rows, tmp_path: Path, backend: str
) -> None:
    source = """
        import time
        from pathlib import Path
        from tui_runner import current, job

        @job(threads=1, retries=0, timeout=0.3)
        def work(n: int, *, gate: str):
            if n == 0:
                while not Path(gate).exists():
                    time.sleep(0.005)
            Path(gate).touch() if n == 9 else None
            return n

        @work.items
        def numbers():
            return range(10)
    """
    snapshot = new_run(job_file(source), backend=backend, params={"gate": str(tmp_path / "gate")}).start().finish()
    assert (snapshot.items_done, snapshot.items_failed) == (9, 1)
    assert rows("SELECT item, state FROM runner.items WHERE state <> 'ok'") == [(0, "timeout")]
    assert rows("SELECT value FROM work ORDER BY 1") == [(n,) for n in range(1, 10)]


def test_too_many_failures_stop_the_run_in_order(job_file, new_run, rows: Rows) -> None:
    source = """
        from tui_runner import job

        @job(chunk_size=5, threads=1, max_failures=7, rate=200)
        def work(n: int):
            raise ValueError("always")

        @work.items
        def numbers():
            return range(100_000)
    """
    snapshot = new_run(job_file(source)).start().finish()
    assert snapshot.state is RunState.FAILED
    assert "--max-failures" in snapshot.reason
    ((recorded,),) = rows("SELECT count(*) FROM runner.items")
    assert 7 < recorded == snapshot.items_failed < 1_000


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
