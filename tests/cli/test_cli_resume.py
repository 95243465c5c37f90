"""Stopping, killing and resuming a run, from any folder."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import duckdb
import psutil
import pytest
from support.cli_jobs import INLINE, Stopped, start, write
from support.command_line import CommandLine
from support.waiting import eventually

from tui_runner.engine.planning.request import PROGRAM_INPUT


def test_signals_stop_a_run_and_resume_finishes_it(cli: CommandLine, tmp_path: Path) -> None:
    run = Stopped(tmp_path)
    command = ("run", "waiting.py", "--limit", 12, "--grace", 0.3)

    # Meanwhile other processes may query, but not run in the database; the message names the run.
    process = run.start(*command)
    asked = cli("query", "waiting.duckdb", "SELECT state FROM runner.runs", cwd=tmp_path)
    assert (asked.code, asked.out) == (0, "state\nrunning\n")
    assert "running" in cli("runs", "waiting.duckdb", cwd=tmp_path).out
    assert cli("errors", "waiting.duckdb", cwd=tmp_path).out == "run 1 has no errors\n"
    busy = cli(*command, cwd=tmp_path)
    assert busy.code == 4
    assert f"in use by tui-runner (pid {process.pid}), run 1" in busy.complaint
    process.send_signal(signal.SIGINT)
    code, lines = run.ended(process)
    assert code == 3
    assert "info: stopping: on request" in lines
    assert sum("whenever you like" in line for line in lines) == 1
    assert f"resume:       tui-runner resume {tmp_path}/waiting.duckdb 1" in lines
    assert "waiting run 1 stopped: 5 done, 5 rows" in "\n".join(lines)

    # The same command resumes it; SIGTERM stops it as well.
    process = run.start(*command)
    process.send_signal(signal.SIGTERM)
    code, lines = run.ended(process)
    assert (code, lines[0]) == (3, "info: run 1 is resumed: 5 done already")

    # A second Ctrl-C does not wait for the grace time.
    process = run.start(*command[:-1], 60)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Ctrl-C again ends the run at once" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert run.ended(process)[0] == 130
    assert "stopped" in cli("runs", "waiting.duckdb", cwd=tmp_path).out

    # `resume` needs nothing but the database, from wherever; it keeps the limit that the run was begun with.
    (tmp_path / "go").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    resumed = cli("resume", "../waiting.duckdb", "--json", cwd=elsewhere)
    assert resumed.code == 0
    assert resumed.events[0]["resumed"] is True
    assert {"items_done": 12, "items_skipped": 5, "rows": 12, "rows_skipped": 5}.items() <= resumed.events[-1].items()
    finished = cli("resume", "waiting.duckdb", cwd=tmp_path)
    assert (finished.code, "every run in it is finished" in finished.complaint) == (2, True)
    rows = cli("query", "waiting.duckdb", "SELECT count(*), count(DISTINCT number) FROM waiting", cwd=tmp_path)
    assert rows.out.splitlines()[1] == "12,12"


def test_a_stopping_run_is_named_to_a_program_that_needs_its_database(cli: CommandLine, tmp_path: Path) -> None:
    process = Stopped(tmp_path).start("run", "waiting.py", "--limit", 12, *INLINE)
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "the stop")
    stopped = (
        f"in use by tui-runner (pid {process.pid}), which is stopped and does not answer; continue it (fg) or end it"
    )
    try:
        for command in (("run", "waiting.py"), ("resume", "waiting.duckdb"), ("retry", "waiting.duckdb")):
            refused = cli(*command, cwd=tmp_path)
            assert (refused.code, stopped in refused.complaint) == (4, True), refused
    finally:
        process.kill()
        process.communicate()


def test_a_run_whose_function_was_renamed_says_which_function_it_used(cli: CommandLine, tmp_path: Path) -> None:
    source = "def books(n):\n    if n > 20:\n        raise ValueError(n)\n    return {'n': n}\n"
    job = tmp_path / "shop.py"
    write(tmp_path, "shop.py", source)
    command = ("run", "shop.py:books", "--input", "range:0:40", *INLINE)
    assert cli(*command, "--retries", 0, "--max-failures", 1, cwd=tmp_path).code == 3
    write(tmp_path, "shop.py", source.replace("books", "pages") + "def covers(n): ...\n")
    gone = f"{job}: run 1 used the function books, which is no longer in it"
    said = cli("resume", "books.duckdb", cwd=tmp_path)
    new = f"start a new run with: tui-runner run {job}:pages"
    do = f"it has pages, covers now; name one of them books to resume the run, or {new}"
    assert (said.code, said.err.splitlines()[-1]) == (2, f"tui-runner: {gone}; {do}")
    write(tmp_path, "shop.py", "x = 1\n")
    said = cli("resume", "books.duckdb", cwd=tmp_path)
    assert said.err.endswith(f"{gone}; it has no functions now; write books again\n")
    assert "there is no function 'books' in it" in cli("run", "shop.py:books", cwd=tmp_path).complaint


def test_failed_items_of_a_finished_run_are_retried_not_resumed(cli: CommandLine, tmp_path: Path) -> None:
    source = "from pathlib import Path\ndef odd(n):\n    assert n % 2 or Path('mended').exists()\n    return n\n"
    write(tmp_path, "odd.py", source)
    cli("run", "odd.py:odd", "--input", "range:0:4", "--db", "my x.duckdb", *INLINE, cwd=tmp_path)
    one = ("--input", "range:0:1", "--db", "my x.duckdb", "--quiet", *INLINE)
    cli("run", "odd.py:odd", *one, cwd=tmp_path)
    again = "tui-runner retry 'my x.duckdb'"
    said = cli("resume", "my x.duckdb", cwd=tmp_path)
    assert (said.code, said.complaint) == (
        2, f"my x.duckdb: every run in it is finished; run the item that failed in run 2 again with: {again} 2"
    )  # fmt: skip
    said = cli("resume", "my x.duckdb", 1, cwd=tmp_path)
    assert (said.code, said.complaint) == (
        2, f"my x.duckdb: run 1 is finished; run the 2 items that failed in run 1 again with: {again} 1"
    )  # fmt: skip
    # What is said can be pasted; and where nothing failed nothing is said of it.
    (tmp_path / "mended").touch()
    pasted = shlex.split(said.complaint.partition("tui-runner ")[2])
    assert cli(*pasted, cwd=tmp_path).code == 0
    assert "run 1 is finished; start a new one" in cli("resume", "my x.duckdb", 1, cwd=tmp_path).complaint
    assert f"in run 2 again with: {again} 2" in cli("resume", "my x.duckdb", cwd=tmp_path).complaint


def test_relative_paths_are_found_when_the_run_is_resumed_from_elsewhere(cli: CommandLine, tmp_path: Path) -> None:
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    work.mkdir()
    elsewhere.mkdir()
    write(
        work,
        "first.py",
        """
        from pathlib import Path

        def first(line, *, sign: Path = Path("go")):
            if not sign.exists():
                raise ValueError(line)
            return line
        """,
    )
    (work / "in.txt").write_text("a\nb\nc\nd\n")
    options = ("--input", "in.txt", "--db", work / "x.duckdb", "--max-failures", "1", "--threads", "1", *INLINE)
    assert cli("run", "first.py:first", *options, cwd=work).code == 3
    # Nor does the same command resume it in another folder, with another file of that name.
    (elsewhere / "in.txt").write_text("e\n")
    (elsewhere / "go").touch()
    other = cli("run", "../work/first.py:first", *options, cwd=elsewhere)
    assert "first run 2 finished: 1 done" in other.err
    # The input, the job's own relative path and the database are those of the folder that it was begun in.
    (work / "go").touch()
    resumed = cli("resume", "../work/x.duckdb", cwd=elsewhere)
    assert resumed.code == 0
    assert "first run 1 finished: 4 done" in resumed.err
    assert sorted(path.name for path in elsewhere.iterdir()) == ["go", "in.txt"]


def test_a_run_over_a_pipe_continues_when_the_pipe_is_run_again(cli: CommandLine, tmp_path: Path) -> None:
    write(
        tmp_path,
        "upper.py",
        "def upper(line):\n    if line == 'b':\n        raise ValueError\n    return line.upper()\n",
    )
    command = ("run", "upper.py:upper", "--input", "-", "--db", "x.duckdb", "--threads", "1", *INLINE)
    stopped = cli(*command, "--max-failures", "1", cwd=tmp_path, stdin="a\nb\nb\nb\nb\nb\n")
    assert stopped.code == 3
    cannot = cli("resume", "x.duckdb", cwd=tmp_path)
    assert (cannot.code, "standard input, which cannot be read again" in cannot.complaint) == (2, True)
    again = cli(*command, cwd=tmp_path, stdin="a\nc\n")
    # Failed lines that the pipe does not have any more stay failed.
    assert "upper run 1 finished: 2 done, 5 failed, 2 rows (1 item, 1 row of these before) in " in again.err
    assert "5 previously failed items are no longer in the input; they stay failed" in again.err
    counted = cli("query", "x.duckdb", "SELECT state, count(*) FROM runner.items GROUP BY 1 ORDER BY 1", cwd=tmp_path)
    assert counted.out.splitlines()[1:] == ["failed,5", "ok,2"]


def test_a_new_run_says_why_an_unfinished_one_is_not_resumed(cli: CommandLine, tmp_path: Path) -> None:
    source = """
        from tui_runner import job

        @job(threads=1, retries=0, max_failures=1)
        def bad(n: int, *, by: int = 1):
            assert n < 1
            return n
    """
    write(tmp_path, "bad.py", source)
    write(tmp_path, "moved.py", source)
    run = ("run", "bad.py", "--input", "range:0:4", "--db", "x.duckdb", *INLINE)
    assert cli(*run, cwd=tmp_path).code == 3
    database = tmp_path / "x.duckdb"
    for number, (changed, had) in enumerate(
        [
            (("--set", "by=2", "--limit", "3"), "other parameters, another limit"),
            (("--table", "other"), "another table, other parameters, another limit"),
            (("--input", "range:0:5"), "another table, another input"),
        ],
        start=1,
    ):
        told = cli(*run, *changed, cwd=tmp_path).err.splitlines()[0]
        said = f"run {number} is unfinished and had {had}: this is a new one; to resume it instead"
        assert told == f"info: {said}: tui-runner resume {database} {number}"
    moved = cli("run", "moved.py", *run[2:], cwd=tmp_path).err
    assert "run 4 is unfinished and had another file of the job, another input: this is a new one" in moved
    assert "is unfinished" not in cli(*run, "--new", cwd=tmp_path).err, "that is what was asked for"
    assert "run 6 is resumed" in cli(*run, cwd=tmp_path).err


def test_a_job_of_the_same_name_in_another_file_is_told_whose_table_it_fills(cli: CommandLine, tmp_path: Path) -> None:
    source = """
        from tui_runner import job

        @job
        def order(n: int):
            return {COLUMN: n}
    """
    write(tmp_path, "a.py", source.replace("COLUMN", "'price'"))
    write(tmp_path, "b.py", source.replace("COLUMN", "'x'"))
    run = ("--input", "range:0:4", *INLINE)
    warning = f"warning: table order already has rows of {tmp_path}/a.py:order; keep them apart with --table or --db"
    assert "already has rows" not in cli("run", "a.py", *run, cwd=tmp_path).err
    assert "already has rows" not in cli("run", "a.py", *run, cwd=tmp_path).err
    assert "already has rows" not in cli("run", "b.py", "--table", "order", *run, cwd=tmp_path).err
    assert cli("run", "a.py", *run, cwd=tmp_path).code == 0
    assert warning in cli("run", "b.py", *run, cwd=tmp_path).err


@pytest.mark.parametrize("given_by", ["-", PROGRAM_INPUT, "gone.txt"])
def test_failed_items_run_again_without_their_input(cli: CommandLine, tmp_path: Path, given_by: str) -> None:
    source = """
        from pathlib import Path
        def lower(line):
            assert line == 'A' or Path('mended').exists()
            return line.lower()
    """
    write(tmp_path, "lower.py", source)
    secret = "https://me:hush@example.org/"  # it would not come back as it was
    lines = f"A\nB\nC\n{secret}\n"
    cli("run", "lower.py:lower", "--input", "-", "--db", "x.duckdb", *INLINE, cwd=tmp_path, stdin=lines)
    with duckdb.connect(str(tmp_path / "x.duckdb")) as ledger:
        ledger.execute("UPDATE runner.runs SET input = ?", [given_by])
        assert ledger.execute("SELECT item, value, text FROM runner.items ORDER BY 1").fetchall() == [
            (0, None, "A"),
            (1, '"B"', "B"),
            (2, '"C"', "C"),
            (3, None, "https://***@example.org/"),
        ]
    (tmp_path / "mended").touch()
    again = cli("retry", "x.duckdb", cwd=tmp_path)
    assert again.code == 1
    assert "lower run 1 finished: 3 done, 1 failed, 3 rows (1 item, 1 row of these before)" in again.err, again.err
    said = "1 failed item whose value is not in the ledger cannot run again; it stays failed"
    assert said in again.err
    rows = cli("query", "x.duckdb", 'SELECT _item, value FROM "lower" ORDER BY 1', cwd=tmp_path)
    assert rows.out.splitlines()[1:] == ["0,a", "1,b", "2,c"]
    none = cli("retry", "x.duckdb", cwd=tmp_path)
    assert none.code == 2
    assert "and its item that failed has no value in the ledger; start a new run with these items" in none.err


def test_command_printed_for_a_pipe_resumes_the_same_run_when_pasted(cli: CommandLine, tmp_path: Path) -> None:
    write(
        tmp_path,
        "tag.py",
        """
        from pathlib import Path
        from tui_runner import Secret, job

        @job(threads=1, retries=0)
        def tag(line, *, key: Secret = "none", by: str = "", marks: list[str] = [], off: bool = True, bad: Path):
            if line in bad.read_text():
                raise ValueError(line)
            return {"line": line, "by": by, "marks": str(marks), "off": off}
        """,
    )
    (tmp_path / "bad").write_text("bcd")
    given = ["--set", "by=it's  me", "--set", 'marks=["x", "y"]', "--set", "off=no", "--set", "bad=bad"]
    options = ["--db", "my x.duckdb", "--table", "tags", "--limit", "4", "--max-failures", "1", *INLINE]
    stopped = cli("run", "tag.py", "--input", "-", *given, *options, cwd=tmp_path, stdin="a\nb\nc\nd\ne\n")
    assert stopped.code == 3
    (said,) = [line for line in stopped.err.splitlines() if line.startswith("resume:")]
    (tmp_path / "bad").write_text("")
    command = shlex.split(said.partition("… | tui-runner ")[2])
    again = cli(*command, *INLINE, cwd=tmp_path, stdin="a\nb\nc\nd\ne\n")
    finished = "tag run 1 finished: 4 done, 4 rows (1 item, 1 row of these before)"
    assert (again.code, finished in again.err) == (0, True), again.err
    said = cli("resume", "my x.duckdb", cwd=tmp_path).complaint  # it is finished
    assert said == "my x.duckdb: every run in it is finished; start a new one with: tui-runner run JOB"

    # A secret is in no ledger: without it nothing is begun.
    secret = ["--set", "key=hush", "--new"]
    (tmp_path / "bad").write_text("bcd")
    cli("run", "tag.py", "--input", "-", *given, *options, *secret, cwd=tmp_path, stdin="a\nb\nc\nd\ne\n")
    said = cli("resume", "my x.duckdb", cwd=tmp_path).complaint
    assert "hush" not in said
    command = shlex.split(said.partition("… | tui-runner ")[2])
    refused = cli(*command, *INLINE, cwd=tmp_path, stdin="a\n")
    assert (refused.code, "no unfinished run of tag" in refused.complaint) == (2, True)
    (tmp_path / "bad").write_text("")
    again = cli(*command, "--set", "key=hush", *INLINE, cwd=tmp_path / ".", stdin="a\nb\nc\nd\n")
    assert (again.code, "tag run 2 finished" in again.err) == (0, True), again.err


def test_a_pipe_that_stays_open_and_quiet_does_not_keep_a_run_from_ending(tmp_path: Path) -> None:
    source = "from pathlib import Path\ndef touch(name: str):\n    Path(name).touch()\n    return {'name': name}\n"
    write(tmp_path, "touch.py", source)
    command = ("run", "touch.py:touch", "--input", "-", "--headless", *INLINE)
    process = start(tmp_path, *command, stdin=subprocess.PIPE)
    with process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write("begun\n")
        process.stdin.flush()
        eventually((tmp_path / "begun").exists, "the item")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 3  # and not because standard input has ended
        last = process.stderr.read().splitlines()[-1]
    assert last.startswith("resume:       run the same pipe again"), last
