"""`tui-runner retry`: only what failed, in the same run; and the messages of a resumed run about its job."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tui_runner.engine.planning.resume import retry_request
from tui_runner.errors import UserError

Rows = Callable[..., list[tuple[Any, ...]]]

JOB = """
    from pathlib import Path
    from tui_runner import job

    @job(chunk_size=5, threads=2)
    def work(n: int):
        with open("calls.txt", "a") as calls:
            calls.write(f"{n}\\n")
        if n % 4 == 0 and not Path("mended").exists():
            raise ValueError(n)
        return n

    @work.items
    def numbers():
        return range(int(Path("count").read_text()))
"""


@pytest.fixture
def failed(cli, tmp_path: Path) -> Path:
    """Folder of a run with twenty items, five of them failed."""
    (tmp_path / "work.py").write_text(textwrap.dedent(JOB))
    (tmp_path / "count").write_text("20")
    first = cli("run", "work.py", cwd=tmp_path)
    assert first.code == 1
    assert first.err.splitlines()[-1] == f"try again:    tui-runner retry {tmp_path}/work.duckdb 1"
    (tmp_path / "calls.txt").unlink()
    return tmp_path


def called(folder: Path) -> list[int]:
    return sorted(map(int, (folder / "calls.txt").read_text().split()))


def test_only_what_failed_runs_again_and_in_the_same_run(cli, failed: Path, rows: Rows) -> None:
    (failed / "mended").touch()
    answer = cli("retry", "work.duckdb", cwd=failed)
    assert answer.code == 0
    assert called(failed) == [0, 4, 8, 12, 16]
    assert "info: run 1: 5 failed or cancelled items run again" in answer.err
    database = failed / "work.duckdb"
    assert rows("SELECT run_id, state FROM runner.runs", database) == [(1, "finished")]
    assert rows("SELECT state, count(*), count(DISTINCT key) FROM runner.items GROUP BY 1", database) == [
        ("ok", 20, 20)
    ]
    assert rows("SELECT count(*), count(DISTINCT _item) FROM work", database) == [(20, 20)]
    again = cli("retry", "work.duckdb", cwd=failed)
    assert (again.code, again.complaint) == (
        2,
        "work.duckdb: nothing failed in any of its runs; list the runs with: tui-runner runs work.duckdb",
    )
    assert (
        "nothing failed in it; list the runs with: tui-runner runs work.duckdb"
        in cli("retry", "work.duckdb", "1", cwd=failed).complaint
    )


def test_retry_passes_over_items_that_are_new_in_the_input(cli, failed: Path, rows: Rows) -> None:
    (failed / "mended").touch()
    (failed / "count").write_text("23")
    answer = cli("retry", "work.duckdb", "--threads", "1", cwd=failed)
    assert answer.code == 0
    assert called(failed) == [0, 4, 8, 12, 16]
    assert rows("SELECT count(*) FROM work", failed / "work.duckdb") == [(20,)]


def test_a_run_that_is_not_finished_is_to_be_resumed(cli, failed: Path) -> None:
    assert cli("run", "work.py", "--new", "--quiet", "--max-failures", "1", cwd=failed).code == 3
    with pytest.raises(UserError, match=r"run 2 of .* it is not finished; .* tui-runner resume"):
        retry_request(failed / "work.duckdb", 2)
    assert retry_request(failed / "work.duckdb", 1).run_id == 1


def test_the_newest_finished_run_is_meant_and_doing_the_same_again_is_said(cli, failed: Path) -> None:
    again = cli("run", "work.py", cwd=failed)
    assert (
        "info: run 1 was identical and is finished: its rows stay in work, those of this run have _run = 2" in again.err
    )
    limited = cli("run", "work.py", "--limit", "9", cwd=failed)
    assert limited.code == 1 and "was identical" not in limited.err, "with a limit it is not the same"
    with duckdb.connect(str(failed / "work.duckdb")) as ledger:
        ledger.execute("UPDATE runner.runs SET state = 'stopped' WHERE run_id = 3")
    assert retry_request(failed / "work.duckdb", None).run_id == 2


def test_where_no_run_was_nothing_is_said_to_have_failed(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as foreign:
        foreign.execute("CREATE TABLE t (a INTEGER)")
    with pytest.raises(UserError, match=r"no runs in it; start a new one with: tui-runner run JOB"):
        retry_request(tmp_path / "x.duckdb", None)


def test_a_retry_continues_whatever_fails_unless_the_user_forbids_it(failed: Path) -> None:
    assert retry_request(failed / "work.duckdb", None).settings["on_outage"] == "continue"
    request = retry_request(failed / "work.duckdb", None, None, {"on_outage": "stop", "threads": None})
    assert request.settings["on_outage"] == "stop"
    assert request.settings["threads"] == 2


def test_a_changed_job_is_reported_once(cli, failed: Path) -> None:
    changed = "warning: the job's code has changed since run 1 was last active: items that are done are not run again"
    with (failed / "work.py").open("a") as job:
        job.write("# a remark\n")
    assert changed in cli("retry", "work.duckdb", cwd=failed).err
    assert changed not in cli("retry", "work.duckdb", cwd=failed).err


LINES = """
    from pathlib import Path
    from tui_runner import job

    @job(chunk_size=3, threads=2, retries=0)
    def work(line: str):
        if line[0] == "x" and not Path("mended").exists():
            raise ValueError("no")
        return len(line)
"""


@pytest.mark.parametrize("source", ["-", "in.txt"])
def test_chunks_say_what_became_of_their_items_also_of_those_that_cannot_run_again(
    cli, tmp_path: Path, rows: Rows, source: str
) -> None:
    (tmp_path / "work.py").write_text(textwrap.dedent(LINES))
    lines = "\n".join(["x", "a", "x" * 100_000, "b", "c", "x" * 70_000, "d", "x9"])  # the ledger keeps no large values
    (tmp_path / "in.txt").write_text(lines)
    assert cli("run", "work.py", "--input", source, cwd=tmp_path, stdin=lines).code == 1
    (tmp_path / "mended").touch()
    (tmp_path / "in.txt").write_text("new\n" + lines)
    again = cli("retry", "work.duckdb", cwd=tmp_path)
    lost = 2 if source == "-" else 0
    assert again.code == (1 if lost else 0)
    if lost:
        assert "2 failed items whose values are not in the ledger cannot run again; they stay failed" in again.err
    else:
        assert "1 item that is new in the input was left out: a retry runs no new ones" in again.err
    path = tmp_path / "work.duckdb"
    assert rows("SELECT sum(items), sum(done), sum(failed) FROM runner.chunks", path) == [(8, 8 - lost, lost)]
    assert rows("SELECT chunk, done, failed FROM runner.chunks WHERE items > 0 ORDER BY 1", path) == rows(
        "SELECT chunk, count(*) FILTER (WHERE state = 'ok'), count(*) FILTER (WHERE state = 'failed')"
        " FROM runner.items GROUP BY 1 ORDER BY 1",
        path,
    )
    assert rows("SELECT count(*), count(DISTINCT item) FROM runner.items", path) == [(8, 8)]


def test_line_that_was_mended_runs_in_the_place_where_it_failed(cli, tmp_path: Path, rows: Rows) -> None:
    (tmp_path / "echo.py").write_text(
        textwrap.dedent("""
            from tui_runner import job

            @job(chunk_size=2)
            def echo(line):
                return line
        """)
    )
    lines = tmp_path / "lines.jsonl"
    lines.write_text('"a"\n"b"\n"c\n"d"\n"e"\n')
    first = cli("run", "echo.py", "--input", "lines.jsonl", cwd=tmp_path)
    assert first.code == 1
    what = "it is not JSON: Unterminated string starting at (character 1)"
    said = f"{lines}:3: {what}; correct the line, then retry the run"
    assert rows("SELECT type, message, final FROM runner.errors", tmp_path / "echo.duckdb") == [
        ("InputUnreadable", said, True)
    ]
    assert said in cli("errors", "echo.duckdb", cwd=tmp_path).out
    lines.write_text('"a"\n"b"\n"c"\n"d"\n"e"\n')
    assert cli("retry", "echo.duckdb", cwd=tmp_path).code == 0
    assert rows("SELECT _item, value FROM echo ORDER BY 1", tmp_path / "echo.duckdb") == [*enumerate("abcde")]
    assert rows("SELECT state, count(*) FROM runner.items GROUP BY 1", tmp_path / "echo.duckdb") == [("ok", 5)]
