"""Items of real runs that misbehave: the run continues, and the ledger says how each ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.real_jobs import SQUARES
from support.waiting import eventually

from tui_runner.engine.states import RunState
from tui_runner.store.ledger.reports import failure_groups

Rows = Callable[..., list[tuple[Any, ...]]]

BOTH = pytest.mark.parametrize("backend", ["process", "inline"])


def test_the_example_of_a_group_of_errors_names_an_item_that_failed(job_file, new_run, tmp_path: Path) -> None:
    source = """
        from tui_runner import current, job

        @job(threads=1, retries=1)
        def visit(page: int):
            if page == 3 or page in (5, 6) and current.attempt == 1:
                raise ConnectionError(f"host h{page} refused page {page}")
            return page

        @visit.items
        def pages():
            return range(8)
    """
    run = new_run(job_file(source)).start()
    snapshot = run.finish()
    assert (snapshot.items_failed, snapshot.retries) == (1, 3)
    assert [error.example for error in snapshot.errors] == ["host h3 refused page 3"]
    with duckdb.connect(str(tmp_path / "x.duckdb")) as database:
        (group,) = failure_groups(database, 1)
    assert (group.newest_message, group.newest_item, group.outcome) == (
        "host h3 refused page 3", 3, "+2 attempts later succeeded",
    )  # fmt: skip


def test_output_of_a_child_program_is_logged(job_file, new_run, rows: Rows) -> None:
    source = """
        import subprocess, sys
        from tui_runner import job

        sys.stdout.reconfigure(encoding="utf-8")

        @job
        def call(word: str):
            sys.stdout.buffer.write(b"bytes\\n")
            subprocess.run([sys.executable, "-c", f"print({word!r})"], stdout=sys.stdout, stderr=sys.stderr, check=True)
            return word

        @call.items
        def words():
            return ["called"]
    """
    snapshot = new_run(job_file(source)).start().finish()
    assert rows("SELECT value FROM call") == [("called",)]
    assert {"bytes", "called"} <= {line.text for line in snapshot.log}


@BOTH
def test_the_run_continues_whatever_a_function_does(job_file, new_run, rows: Rows, backend: str) -> None:
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


def test_an_input_that_fails_half_way_stops_the_run_and_keeps_what_was_done(
    job_file, new_run, rows: Rows, tmp_path: Path
) -> None:
    source = """
        import time
        from pathlib import Path
        from tui_runner import job

        @job(chunk_size=2)
        def work(n, *, begun: str):
            Path(begun).touch()
            return n

        @work.items
        def numbers(*, begun: str):
            yield from range(6)
            while not Path(begun).exists():
                time.sleep(0.005)
            raise OSError("the list is torn")
    """
    snapshot = new_run(job_file(source), params={"begun": str(tmp_path / "begun")}).start().finish()
    assert snapshot.state is RunState.FAILED
    assert "the list is torn" in snapshot.reason
    assert snapshot.items_done
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
    assert [(group.count, group.text, group.final) for group in snapshot.errors] == [
        (3, "always", 1),
        (1, "wrong", 1),
        (1, "once", 0),
    ]
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


FAILING = {
    "function": "def work(n: int):\n    fail()",
    "generator": "def work(n: int):\n    yield {'n': n}\n    fail()",
    "generator expression": "def work(n: int):\n    return (fail() for _ in 'ab')",
    "row by name": "def work(n: int, m: int):\n    fail()",
    "coroutine": "async def work(n: int):\n    await asyncio.sleep(0)\n    fail()",
    "asynchronous generator": "async def work(n: int):\n    yield {'n': n}\n    fail()",
}


@pytest.mark.parametrize("source", FAILING.values(), ids=FAILING)
def test_a_traceback_begins_with_the_users_first_frame(job_file, new_run, rows: Rows, source: str) -> None:
    source = f"import asyncio\ndef fail():\n    raise KeyError('no')\n{source}\n"
    path = job_file(source)
    new_run(f"{path}:work", backend="inline", input="sql:SELECT 1 AS n, 2 AS m").start().finish()
    ((found,),) = rows("SELECT traceback FROM runner.errors")
    lines = found.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{path}", line ') and lines[1].endswith(
        ("in work", "in <genexpr>"),
    )
    assert "in fail" in found


def test_rows_that_the_database_refuses_fail_in_every_count_whatever_runs_again(
    job_file, new_run, rows: Rows, tmp_path: Path
) -> None:
    source = """
        import time
        from pathlib import Path
        import pyarrow as pa
        from tui_runner import job

        @job(chunk_size=3, threads=2)
        def work(n: int, *, gate: str):
            if n == 1:  # DuckDB takes no map that has a key twice
                return pa.table({"m": pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))})
            if n == 2 and not Path(gate).exists():
                raise ValueError("not yet")
            while n == 3 and not Path(gate + " 2").exists():
                time.sleep(0.005)

        @work.items
        def numbers():
            return range(4)
    """
    run = new_run(job_file(source), params={"gate": str(tmp_path / "gate")}).start()
    run.until(lambda s: s.items_failed == 2)
    (tmp_path / "gate").touch()
    run.runner.retry_chunks([0])
    run.until(lambda s: s.chunks[0].done == 2 and s.chunks[0].state.ended)
    (tmp_path / "gate 2").touch()
    snapshot = run.finish()
    assert (snapshot.state, snapshot.items_done, snapshot.items_failed) == (RunState.FINISHED, 3, 1)
    assert [(chunk.state, chunk.done, chunk.failed, chunk.rows) for chunk in snapshot.chunks] == [
        ("failed", 2, 1, 0),
        ("done", 1, 0, 0),
    ]
    assert rows("SELECT chunk, state, done, failed, rows FROM runner.chunks ORDER BY 1") == [
        (0, "failed", 2, 1, 0),
        (1, "done", 1, 0, 0),
    ]
    assert rows("SELECT item, state FROM runner.items WHERE state <> 'ok'") == [(1, "failed")]


@BOTH
def test_an_item_that_the_function_changes_is_tried_again_and_recorded_as_it_was(
    job_file, new_run, rows: Rows, backend: str
) -> None:
    source = """
        from tui_runner import current, job

        @job(retries=1, retry_on=lambda error: True)
        def work(item):
            n = item.pop("n")  # of a changed item there would be none
            item["tags"].append("seen")
            assert len(item["tags"]) == 1
            if n == 1 and current.attempt == 1 or n == 2:
                raise ValueError(n)
            return n

        @work.items
        def numbers():
            return [{"n": n, "tags": []} for n in range(4)]
    """
    ended = new_run(job_file(source), backend=backend).start().finish()
    assert (ended.items_done, ended.items_failed) == (3, 1)
    assert rows("SELECT item, attempts, text, CAST(value AS VARCHAR) FROM runner.items ORDER BY 1") == [
        (n, 2 if n in (1, 2) else 1, f"{{'n': {n}, 'tags': []}}", '{"n": 2, "tags": []}' if n == 2 else None)
        for n in range(4)
    ]
    assert rows("SELECT DISTINCT message FROM runner.errors ORDER BY 1") == [("1",), ("2",)]


def test_an_item_too_large_to_be_kept_that_is_to_run_again_stays_the_one_that_it_is(
    job_file, new_run, tmp_path: Path, rows: Rows
) -> None:
    source = """
        import time
        from pathlib import Path
        from tui_runner import job

        here = Path(__file__).parent

        @job(chunk_size=2, threads=2, retries=0)
        def work(text: str):
            while text == "last" and not (here / "open").exists():
                time.sleep(0.005)
            if text[0] == "x" and not (here / "mended").exists():
                raise ValueError("no")
            return len(text)

        @work.items
        def texts():
            return ["x", "x" * 100_000, "last"]
    """
    run = new_run(job_file(source)).start()
    run.until(lambda s: s.items_failed == 2 and any(chunk.state.ended for chunk in s.chunks))
    before = rows_of_items(run)
    (tmp_path / "mended").touch()
    run.runner.retry_chunks([0])
    run.until(lambda s: s.items_done == 1 and s.items_failed == 1)
    (tmp_path / "open").touch()
    ended = run.finish()
    assert (ended.items_done, ended.items_failed) == (2, 1)
    assert rows("SELECT item, state FROM runner.items ORDER BY 1") == [(0, "ok"), (1, "failed"), (2, "ok")]
    assert rows("SELECT item, key, text FROM runner.items WHERE item < 2 ORDER BY 1") == before
    assert "too large to keep" in rows("SELECT message FROM runner.errors ORDER BY occurred_at DESC LIMIT 1")[0][0]
    assert new_run(job_file(source), new=True).start().finish().items_done == 3


def rows_of_items(run: Any) -> list[tuple[Any, ...]]:
    cursor = run.runner.database.cursor()

    def recorded() -> list[tuple[Any, ...]]:
        return cursor.execute("SELECT item, key, text FROM runner.items ORDER BY 1").fetchall()

    try:
        eventually(lambda: len(recorded()) == 2, "both failures in the ledger")
        return recorded()
    finally:
        run.runner.database.close_cursor(cursor)


@BOTH
def test_the_percentiles_at_the_end_are_those_of_every_attempt(job_file, new_run, rows: Rows, backend: str) -> None:
    source = """
        import time
        from tui_runner import job

        @job(chunk_size=8, threads=4)
        def doze(n: int):
            time.sleep(0.2 if n == 28 else 0.015)  # the last item, which ends alone, takes longest
            return n

        @doze.items
        def numbers(*, count: int = 29):
            return range(count)
    """
    snapshot = new_run(job_file(source), backend=backend).start().finish()
    shortest, longest = rows("SELECT min(seconds), max(seconds) FROM runner.items")[0]
    assert snapshot.p50 is not None and 0.015 <= shortest <= snapshot.p50 < 0.2
    assert shortest <= snapshot.p50 <= snapshot.p95 <= longest

    few = new_run(job_file(source), params={"count": 1}, new=True, backend=backend).start().finish()
    (seconds,) = rows("SELECT seconds FROM runner.items WHERE run_id = (SELECT max(run_id) FROM runner.runs)")[0]
    assert few.p50 == few.p95 == pytest.approx(seconds)


def test_ended_chunks_have_the_rates_of_the_ledger(job_file, new_run, rows: Rows) -> None:
    source = """
        import time
        from tui_runner import job

        @job(chunk_size=10, threads=2)
        def doze(n: int):
            time.sleep(0.05)
            return n

        @doze.items
        def numbers(*, count: int = 40):
            return range(count)
    """
    snapshot = new_run(job_file(source)).start().finish()
    recorded = rows("SELECT epoch(ended_at) - epoch(started_at) FROM runner.chunks ORDER BY chunk")
    for chunk, (seconds,) in zip(snapshot.chunks, recorded, strict=True):
        # Both are measured when the same messages arrive, by two clocks and one after the other.
        assert chunk.elapsed == pytest.approx(seconds, abs=0.03)
        assert chunk.items_per_second == pytest.approx(10 / chunk.elapsed)
