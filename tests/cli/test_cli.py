"""The command line: the modules that it loads, and runs from beginning to end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from support.cli_jobs import INLINE, write
from support.command_line import ROOT, CommandLine


def test_help_is_a_command_too(cli: CommandLine, tmp_path: Path) -> None:
    assert cli("help", cwd=tmp_path).out == cli("--help", cwd=tmp_path).out
    assert cli("help", "run", cwd=tmp_path).out == cli("run", "--help", cwd=tmp_path).out


def test_version_and_help_load_no_heavy_library() -> None:
    program = """
        import sys
        from tui_runner.cli.main import main
        for arguments in (["--version"], ["--help"], ["run", "--help"], []):
            try:
                main(arguments)
            except SystemExit as end:
                assert end.code == 0, end.code
        for name in ("textual", "duckdb", "pyarrow", "httpx", "rich", "asyncio", "psutil", "multiprocessing"):
            if name in sys.modules:
                print("LOADED", name)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.match(r"tui-runner \d+\.\d+\.\d+\n", done.stdout)
    assert "LOADED" not in done.stdout
    assert done.stderr == ""
    # Word for word, on one line, in the help of the program, which is also shown for no arguments at all.
    assert done.stdout.count("execution at least once, recording exactly once") == 2
    for command in ("run", "resume", "retry", "try", "runs", "errors", "query", "samples", "init", "doctor"):
        assert re.search(rf"^  {command} ", done.stdout, re.MULTILINE)


# --- a run, from its beginning to its end -----------------------------------------------------------------------


def test_a_run_tells_programs_in_json_and_people_in_words(cli: CommandLine, here: Path) -> None:
    done = cli("run", "ok.py", "--json", "--set", "last=7", "--table", "results", "--limit", "6", cwd=here)
    assert done.code == 0
    # What the job prints while it makes its items does not get between the events.
    assert done.err == "making items\n"
    names = [event["event"] for event in done.events if event["event"] != "progress"]
    assert names == ["run_started", *["chunk_finished"] * 3, "run_finished"]
    assert done.events[0]["table"] == "results"
    assert {"state": "finished", "items_done": 6, "rows": 6, "items_total": 6}.items() <= done.events[-1].items()
    again = cli("run", "ok.py", "--set", "last=7", "--table", "results", *INLINE, cwd=here)
    assert again.code == 0
    assert re.sub(r"\d\d:\d\d:\d\d", "TIME", again.err).splitlines()[1:] == [
        f"ok run 2 finished: 7 done, 7 rows in TIME → table results in {here}/ok.duckdb",
        f"the rows:     tui-runner query {here}/ok.duckdb 'FROM \"results\" WHERE _run = 2 LIMIT 10'",
    ]
    assert cli("query", "ok.duckdb", "SELECT _run, sum(product) FROM results GROUP BY 1 ORDER BY 1", cwd=here).out == (
        "_run,sum(product)\n1,30\n2,42\n"
    )


def test_an_empty_input_is_finished_and_quiet_means_no_word(cli: CommandLine, here: Path) -> None:
    done = cli("run", "ok.py", "--quiet", "--set", "last=0", *INLINE, cwd=here)
    assert (done.code, done.out, done.err) == (0, "", "making items\n")
    assert cli("query", "ok.duckdb", "SELECT state, items_total FROM runner.runs", cwd=here).out == (
        "state,items_total\nfinished,0\n"
    )


def test_failed_items_are_exit_code_1_and_a_limit_on_them_is_3(cli: CommandLine, tmp_path: Path) -> None:
    write(tmp_path, "bad.py", "def bad(number):\n    raise ValueError(f'no {number}')\n")
    done = cli("run", "bad.py:bad", "--input", "range:0:9", *INLINE, cwd=tmp_path)
    assert done.code == 1
    assert re.search(r"^  9 × ValueError: no \d \(and alike\)$", done.err, re.MULTILINE)
    assert f"what failed:  tui-runner errors {tmp_path}/bad.duckdb 1" in done.err.splitlines()
    quiet = cli("run", "bad.py:bad", "--input", "range:0:9", "--quiet", "--new", *INLINE, cwd=tmp_path)
    assert (quiet.code, quiet.out) == (1, "")
    assert quiet.err.splitlines()[-1] == f"try again:    tui-runner retry {tmp_path}/bad.duckdb 2"
    limited = cli("run", "bad.py:bad", "--input", "range:0:9", "--max-failures", "1", "--new", *INLINE, cwd=tmp_path)
    assert limited.code == 3
    assert f"resume:       tui-runner resume {tmp_path}/bad.duckdb 3" in limited.err.splitlines()
    # What is printed there would end for the same reason; it can be told to go further.
    assert cli("resume", "bad.duckdb", "3", "--max-failures", "none", "--quiet", cwd=tmp_path).code == 1


def test_a_new_job_and_the_samples_can_be_tried_and_run(cli: CommandLine, tmp_path: Path) -> None:
    written = cli("init", "mine.py", cwd=tmp_path)
    assert (written.code, written.out.splitlines()[1]) == (0, "try it: tui-runner try mine.py")
    assert cli("try", "mine.py", cwd=tmp_path).code == 0
    assert cli("run", "mine.py", "--limit", "5", *INLINE, cwd=tmp_path).code == 0
    assert cli("samples", "--copy", "copies", cwd=tmp_path).out == "5 jobs copied to copies\n"
    assert len(cli("samples", cwd=tmp_path).out.splitlines()) == 6
