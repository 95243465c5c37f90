"""`tui_runner.run`: a run from a Python program."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.waiting import eventually

from tui_runner import RunFailed, run
from tui_runner.engine.states import RunState
from tui_runner.errors import DatabaseError, UserError
from tui_runner.jobs.job import Job

ROOT = Path(__file__).resolve().parents[1]

MODULE = """
    from tui_runner import job

    @job(threads=2, chunk_size=10)
    def squares(number, *, plus: int = 0):
        if number == "odd":
            raise ValueError("odd")
        return {"square": int(number) ** 2 + plus}

    @squares.items
    def numbers(*, last: int = 4):
        return range(last)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An importable module with a job, as a notebook imports it; results go to the same folder."""
    (tmp_path / "squares_of.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module("squares_of")
    del sys.modules["squares_of"]


def test_a_job_runs_over_items_of_every_kind(
    module: ModuleType, tmp_path: Path, rows: Callable[..., list[tuple[Any, ...]]], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("5\n6\n")
    first = run(module.squares, (number for number in range(3)), database="x.duckdb", progress=False)
    assert (first.state, first.items_done, first.rows, first.items_total) == (RunState.FINISHED, 3, 3, 3)
    assert run(module.squares, "in.txt", database="x.duckdb", progress=False).run_id == 2
    assert run(module.squares, params={"plus": 1}, limit=2, database="x.duckdb", progress=False).rows == 2
    assert capfd.readouterr() == ("", "")
    assert rows("SELECT _run, square FROM squares ORDER BY ALL") == [
        (1, 0),
        (1, 1),
        (1, 4),
        (2, 25),
        (2, 36),
        (3, 1),
        (3, 2),
    ]


def test_an_unfinished_run_is_resumed_by_the_same_call(module: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    items = [1, 2, "odd", *["odd"] * 30]
    with pytest.raises(RunFailed, match=r"squares run 1: \d+ items failed, more than --max-failures allows") as failed:
        run(module.squares, items, max_failures=1, retries=0)
    stopped = failed.value.snapshot
    assert (stopped.state, stopped.exit_code, failed.value.exit_code) == (RunState.FAILED, 3, 3)
    assert Path("squares.duckdb").is_file()
    resumed = run(module.squares, [1, 2, 3])
    assert (resumed.run_id, resumed.items_done, resumed.items_skipped) == (stopped.run_id, 3, 2)
    told = capfd.readouterr().err
    assert "resume:       run the same program again" in told
    assert "info: run 1 is resumed" in told
    assert run(module.squares, items, max_failures=1, retries=0, new=True, check=False).exit_code == 3


BROKEN = """
    from tui_runner import job

    @job
    def unset(number):
        return {"n": number}

    @unset.setup
    def broken_setup():
        raise OSError("no such device")

    @job
    def unlisted(number):
        return {"n": number}

    @unlisted.items
    def broken_items():
        yield 1
        raise LookupError("page 2 is missing")

    @job
    def unasked(number):
        return {"n": number}

    @unasked.items
    def broken_list():
        raise LookupError("no list")
"""


def test_a_run_whose_setup_or_items_fail_raises_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("broken_jobs.py").write_text(textwrap.dedent(BROKEN))
    jobs = importlib.import_module("broken_jobs")
    with pytest.raises(RunFailed, match="no such device") as failed:
        run(jobs.unset, [1, 2, 3], progress=False)
    assert failed.value.snapshot.nothing_ran
    assert failed.value.exit_code == 2
    with pytest.raises(RunFailed, match="page 2 is missing") as failed:
        run(jobs.unlisted, progress=False)
    assert failed.value.exit_code == failed.value.snapshot.exit_code != 0
    with pytest.raises(RunFailed, match=r"broken_jobs.py:\d+: making the items failed: LookupError: no list") as failed:
        run(jobs.unasked, progress=False)
    assert failed.value.snapshot.nothing_ran
    assert failed.value.exit_code == 2
    assert not Path("unasked.duckdb").exists()
    assert 'raise LookupError("no list")' in Path("unasked.duckdb.log").read_text()
    assert run(jobs.unasked, progress=False, check=False).state is RunState.FAILED
    finished = run(jobs.unlisted, ["a", "b"], progress=False)
    assert (finished.state, finished.exit_code) == (RunState.FINISHED, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"items": 5}, "5 cannot be iterated"),
        ({"items": b"abc"}, "cannot be iterated"),
        ({"items": "nothing.csv"}, "no such file"),
        ({"items": [1], "thread": 3}, "did you mean threads"),
        ({"items": [1], "params": {"pls": 3}}, "did you mean plus"),
        ({"items": [1], "limit": -1}, "0 or more"),
    ],
    ids=["number", "bytes", "no file", "setting", "parameter", "limit"],
)
def test_a_mistake_in_the_arguments_writes_nothing(
    module: ModuleType, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(module.squares, **arguments)
    assert not list(tmp_path.glob("*.duckdb*"))


def test_only_jobs_that_a_worker_can_load_are_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="put @job before"):
        run(len, [1], database=tmp_path / "x.duckdb")  # type: ignore[arg-type]

    def inner(item: object) -> None: ...

    with pytest.raises(UserError, match="top level"):
        run(Job(inner), [1], database=tmp_path / "x.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_a_data_frame_is_not_taken_for_the_list_of_its_columns(module: ModuleType) -> None:
    import polars

    with pytest.raises(UserError, match="a DataFrame; give its rows"):
        run(module.squares, polars.DataFrame({"number": [1]}))


def test_the_database_is_free_again_also_after_an_error(module: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "no.duckdb").write_bytes(b"no database at all")
    with pytest.raises(DatabaseError, match="not a DuckDB database"):
        run(module.squares, [1], database="no.duckdb")
    assert (tmp_path / "no.duckdb").read_bytes() == b"no database at all"
    for _ in range(2):
        run(module.squares, [1], database="x.duckdb", progress=False)
    names = sorted(path.name for path in tmp_path.glob("*.duckdb*"))
    assert names == ["no.duckdb", "x.duckdb", "x.duckdb.log"]


def script(path: Path, source: str) -> subprocess.Popen[str]:
    """Python running a script of its own."""
    path.write_text(textwrap.dedent(source))
    return subprocess.Popen(
        [sys.executable, path.name],
        cwd=path.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupt_stops_the_run_in_order_and_reaches_the_program(tmp_path: Path) -> None:
    process = script(
        tmp_path / "main.py",
        """
        import threading
        from pathlib import Path
        from tui_runner import job, run

        @job(threads=2)
        def wait(number):
            if number < 3:
                return number
            Path("started").touch()
            threading.Event().wait()

        if __name__ == "__main__":
            try:
                run(wait, range(10), database="x.duckdb", grace=0.2)
            except KeyboardInterrupt:
                print("interrupted")
        """,
    )
    eventually(lambda: (tmp_path / "started").exists(), "the first item that waits")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "interrupted\n")
    assert "wait run 1 stopped: 3 done" in err
    assert "Traceback" not in err
    assert not (tmp_path / "x.duckdb.lock").exists()


def test_a_script_needs_no_guard_around_its_run(tmp_path: Path) -> None:
    process = script(
        tmp_path / "main.py",
        """
        import duckdb
        from tui_runner import job, run

        @job
        def squares(number):
            return number * number

        try:
            snapshot = run(squares, range(5), database="x.duckdb", progress=False)
        except Exception:
            raise SystemExit("not the whole script")
        with open("log", "a") as log:
            log.write("done once\\n")
        print(snapshot.state, duckdb.connect("x.duckdb").sql("SELECT sum(value) FROM squares").fetchall())
        """,
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "finished [(30,)]\n", "")
    assert (tmp_path / "log").read_text() == "done once\n"


def test_a_wrong_setting_is_named_as_an_argument_of_run(module: ModuleType) -> None:
    with pytest.raises(UserError, match=r"^run\(max_workers=…\): there is no such setting; did you mean threads\?$"):
        run(module.squares, [1], max_workers=4)
    assert not Path("squares.duckdb").exists()
