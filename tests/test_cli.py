"""The command line as people use it: real processes, exit codes, files, locks, pipes, signals, terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import pytest
from command_line import ROOT, CommandLine
from waiting import eventually

from tui_runner.cli import main

COMMAND = [sys.executable, "-m", "tui_runner"]
INLINE = ("--backend", "inline")
"""Where nothing is said of workers a test need not wait for one to start."""

OK = """
    from tui_runner import job

    @job(threads=2, chunk_size=2)
    def ok(number, *, factor: int = 2):
        return {"product": number * factor}

    @ok.items
    def numbers(*, last: int = 5):
        print("making items")
        return range(last)
"""

WAITING = """
    import threading
    from pathlib import Path
    from tui_runner import job

    @job(threads=3, chunk_size=10)
    def waiting(number, *, free: int = 5):
        if number >= free and not Path("go").exists():
            Path(f"started-{number}").touch()
            threading.Event().wait()
        return {"number": number}

    @waiting.items
    def numbers(*, last: int = 20):
        return range(last)
"""


def write(folder: Path, name: str, source: str) -> None:
    (folder / name).write_text(textwrap.dedent(source))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a job."""
    write(tmp_path, "ok.py", OK)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    """Every file and what is in it, so that a test sees any change."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def start(folder: Path, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A `tui-runner` that goes on while the test does."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    )


# --- what nothing heavy is needed for ----------------------------------------------------------------------------


def test_version_and_help_load_no_heavy_library() -> None:
    program = """
        import sys
        from tui_runner.cli import main
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
    for command in ("run", "resume", "try", "runs", "errors", "query", "samples", "init", "doctor"):
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
        "ok run 2 finished: 7 done, 7 rows in TIME → table results in ok.duckdb",
        "the rows:     tui-runner query ok.duckdb 'FROM \"results\" LIMIT 10'",
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
    assert "  9 × ValueError: no N" in done.err.splitlines()
    assert "what failed:  tui-runner errors bad.duckdb 1" in done.err.splitlines()
    limited = cli("run", "bad.py:bad", "--input", "range:0:9", "--max-failures", "1", "--new", *INLINE, cwd=tmp_path)
    assert limited.code == 3
    assert "go on:        tui-runner resume bad.duckdb 2" in limited.err.splitlines()


# --- mistakes: one line, the right code, and nothing written ------------------------------------------------------

MISTAKES: list[tuple[list[str], int, str]] = [
    (["run", "nothing.py"], 2, "nothing.py: there is no such file"),
    (["run", "nothing"], 2, "there is no job 'nothing'"),
    (["run", "syntax.py"], 2, r"syntax.py:2: SyntaxError"),
    (["run", "empty.py"], 2, "there is no job in it"),
    (["run", "two.py"], 2, "there are 2 jobs in it: one, two; name one: .*two.py:one"),
    (["run", "raising.py"], 2, "items of the job raising: the function raised ValueError: bad luck"),
    (["run", "ok.py", "--set", "fcator=1"], 2, "no parameter fcator; did you mean factor"),
    (["run", "ok.py", "--set", "factor=many"], 2, "factor: 'many' is not a whole number"),
    (["run", "ok.py", "--set", "factor"], 2, "--set: 'factor' is no KEY=VALUE"),
    (["run", "ok.py", "--limit", "-1"], 2, "--limit: -1 is not"),
    (["run", "ok.py", "--limit", "x"], 2, "'--limit'.*see: tui-runner run --help"),
    (["run", "ok.py", "--threads", "0"], 2, "--threads: '0' is not a whole number of at least 1"),
    (["run", "ok.py", "--thraeds", "4"], 2, "No such option: --thraeds"),
    (["run", "ok.py", "--timeout", "soon"], 2, "--timeout: 'soon' is not a number of seconds"),
    (["run", "ok.py", "--backend", "dask:tcp://x"], 2, "no dask backend"),
    (["run", "ok.py", "--new", "--resume"], 2, "--new and --resume exclude each other"),
    (["run", "ok.py", "--resume"], 2, "nothing to resume"),
    (["run", "ok.py", "--tui"], 2, "--tui: the dashboard needs a terminal"),
    (["run", "ok.py", "--tui", "--json"], 2, "--json and --tui exclude each other"),
    (["run", "ok.py", "--tui", "--input", "-"], 2, "without a keyboard"),
    (["run", "ok.py", "--table", " "], 2, "--table: ' ' is not the name of a table"),
    (["run", "plain.py:fetch", "--input", "in.csv"], 2, "fetch needs name, which .* lacks; its columns are url, size"),
    (["run", "plain.py:fetch"], 2, "no items of its own"),
    (["run", "plain.py:fetch", "--input", "nothing.csv"], 2, "nothing.csv: there is no such file"),
    (["run", "plain.py:fetch", "--input", "folder"], 2, "the input is a folder"),
    (["run", "plain.py:fetch", "--input", "range:x"], 2, "'range:x' is no range"),
    (["run", "plain.py:fetch", "--input", "sql:SELEC 1"], 2, "syntax error"),
    (["run", "plain.py:fetch", "--input", "https://example.org/x.csv"], 2, "an address is no input"),
    (["run", "ok.py", "--db", "no/x.duckdb"], 4, "no/x.duckdb: its folder does not exist"),
    (["run", "ok.py", "--db", "folder"], 4, "folder: is a folder"),
    (["run", "ok.py", "--db", "in.csv"], 4, "in.csv: is not a DuckDB database"),
    (["runs", "no.duckdb"], 4, "no.duckdb: no such database"),
    (["errors", "no.duckdb"], 4, "no such database"),
    (["resume", "no.duckdb"], 4, "no such database"),
    (["query", "no.duckdb", "SELECT 1"], 4, "no such database"),
    (["query", "foreign.duckdb", "SELEC 1"], 2, 'syntax error at or near "SELEC"'),
    (["query", "foreign.duckdb", "FROM nothing"], 2, "nothing does not exist"),
    (["query", "foreign.duckdb", "INSERT INTO ok VALUES (1)"], 2, "only statements that read"),
    (["query", "foreign.duckdb", "WITH a AS (INSERT INTO ok VALUES (1) RETURNING a) FROM a"], 2, "would change"),
    (["query", "foreign.duckdb", "COPY ok TO 'x.csv'"], 2, "only statements that read"),
    (["query", "foreign.duckdb", "SELECT * FROM read_text('ok.py')"], 2, "read_text|disabled|Permission"),
    (["query", "foreign.duckdb", "SELECT 1; SELEC 2"], 2, "statement 2: .*syntax error"),
    (["query", "foreign.duckdb", "SELECT $a"], 2, "add --set a=VALUE"),
    (["query", "foreign.duckdb", "-f", "no.sql"], 2, "no.sql: cannot be read"),
    (["export", "foreign.duckdb", "nothing", "-o", "x.csv"], 2, "no table 'nothing'"),
    (["export", "foreign.duckdb", "SELECT 1", "-o", "x.txt"], 2, "does not say the format"),
    (["export", "foreign.duckdb", "SELECT 1", "-o", "ok.py", "--format", "csv"], 2, "exists already"),
    (["query", "foreign.duckdb", "SELECT 1", "--format", "cvs"], 2, "did you mean csv"),
    (["query", "foreign.duckdb", "SELECT 1", "-o", "no/x.csv"], 2, "no/x.csv: its folder does not exist"),
    (["query", "foreign.duckdb", "SELECT 1", "-o", "foreign.duckdb"], 2, "is the database"),
    (["errors", "foreign.duckdb", "7"], 2, "no run 7"),
    (["errors", "foreign.duckdb", "x"], 2, "RUN"),
    (["resume", "foreign.duckdb"], 2, "no runs in it"),
    (["try", "nothing.py"], 2, "no such file"),
    (["try", "ok.py", "-n", "0"], 2, "-n"),
    (["init", "ok.py"], 2, "ok.py: exists already"),
    (["init", "no/x.py"], 2, "cannot be written"),
    (["samples", "--copy", "copied"], 2, "tables.py: is there already"),
    (["frobnicate"], 2, "No such command 'frobnicate'"),
    (["run"], 2, "Missing argument 'JOB'; see: tui-runner run --help"),
    # What is typed is hostile, too: it is shown as marks, on the one line.
    (["run", "\x1b]52;c;aGk=\x07.py"], 2, r"x1b\]52;c;aGk=.x07\.py"),
    (["run", "ok.py", "--set", "\x1b[31m\n=1"], 2, "no parameter"),
    (["run", "ok.py", "--db", "\x1b[2J/x\n.duckdb"], 4, "its folder does not exist"),
    (["run", "ok.py", "--threads", "\x9b2J"], 2, "x9b2J"),
    (["\x1b[31m"], 2, "No such command"),
    (["query", "foreign.duckdb", "SELECT '\x1b[2J"], 2, "unterminated"),
    (["query", "foreign.duckdb", "SELECT '\udcff'"], 2, "udcff"),
]  # fmt: skip


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder full of things to be wrong about; no mistake changes a byte of it."""
    folder = tmp_path_factory.mktemp("mistakes")
    write(folder, "ok.py", OK.replace('print("making items")', "pass"))
    write(folder, "syntax.py", "x = 1\ndef f(:\n")
    write(folder, "empty.py", "x = 1\n")
    write(folder, "plain.py", "def fetch(url, name):\n    return None\n")
    write(folder, "two.py", "from tui_runner import job\n@job\ndef one(x): ...\n@job\ndef two(x): ...\n")
    write(
        folder,
        "raising.py",
        """
        from tui_runner import job
        @job
        def raising(x): ...
        @raising.items
        def numbers():
            raise ValueError("bad luck")
        """,
    )
    write(folder, "in.csv", "url,size\na,1\n" * 10)
    for name in ("folder", "copied"):
        (folder / name).mkdir()
    (folder / "copied" / "tables.py").write_text("mine")
    with duckdb.connect(str(folder / "foreign.duckdb")) as connection:
        connection.execute("CREATE TABLE ok (a INTEGER)")
        connection.execute("CREATE VIEW looks AS SELECT 1 AS a")
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"), MISTAKES, ids=[" ".join(arguments)[:60] for arguments, _, _ in MISTAKES]
)
def test_a_mistake_is_one_line_the_right_code_and_nothing_written(
    cli: CommandLine, mistaken: Path, arguments: list[str], code: int, complaint: str
) -> None:
    before = files(mistaken)
    done = cli(*arguments, cwd=mistaken)
    assert (done.code, done.out) == (code, "")
    assert re.search(complaint, done.complaint)
    assert files(mistaken) == before


@pytest.mark.parametrize(("table", "complaint"), [("ok", "did not make"), ("looks", "is a view")])
def test_a_table_of_somebody_else_is_left_alone(cli: CommandLine, mistaken: Path, table: str, complaint: str) -> None:
    folder = mistaken / "folder"
    (folder / "foreign.duckdb").write_bytes((mistaken / "foreign.duckdb").read_bytes())
    done = cli(
        "run", mistaken / "two.py:one", "--input", "range:0:1", "--db", "foreign.duckdb", "--table", table, cwd=folder
    )
    assert done.code == 4
    assert complaint in done.complaint
    with duckdb.connect(str(folder / "foreign.duckdb")) as connection:
        assert connection.sql("SELECT count(*) FROM ok").fetchall() == [(0,)]
        assert connection.sql("SELECT a FROM looks").fetchall() == [(1,)]
    (folder / "foreign.duckdb").unlink()
    assert list(folder.iterdir()) == []


def test_debug_shows_a_traceback_wherever_it_stands(cli: CommandLine, here: Path) -> None:
    for arguments in (["--debug", "run", "no.py"], ["run", "no.py", "--debug"]):
        done = cli(*arguments, cwd=here)
        assert done.code == 2
        assert done.err.startswith("Traceback")
        assert "no.py: there is no such file" in done.err.splitlines()[-1]


def test_a_fault_of_our_own_has_a_traceback_and_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(out: object) -> int:
        raise ZeroDivisionError("ours\x1b[2J")

    monkeypatch.setattr("tui_runner.scaffold.list_samples", fail)
    with pytest.raises(SystemExit) as end:
        main(["samples"])
    assert end.value.code == 70
    told = capsys.readouterr().err
    assert "ZeroDivisionError: ours␛[2J" in told
    assert told.splitlines()[-1] == "tui-runner: a fault of tui-runner's own, please report it: ZeroDivisionError"


def test_arguments_that_are_not_utf8_are_shown_as_marks(here: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "query", b"\xff\x1b[2J.duckdb", "SELECT 1"],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, b"")
    line = done.stderr.decode()
    assert line.removesuffix("\n").isprintable()
    assert "‹U+DCFF›␛[2J.duckdb: no such database" in line


# --- stopping, killing, going on ----------------------------------------------------------------------------------


class Stopped:
    """Runs `waiting.py` until its items wait, sends signals, and says how it ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write(folder, "waiting.py", WAITING)

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        """Start it, and wait until three items are in flight."""
        for path in self.folder.glob("started-*"):
            path.unlink()
        process = start(self.folder, *arguments, **options)
        eventually(lambda: len(list(self.folder.glob("started-*"))) == 3 or process.poll() is not None, "the start")
        assert process.poll() is None, process.communicate()
        return process

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, list[str]]:
        """Its exit code and the lines it told people."""
        out, err = process.communicate(timeout=60)
        assert out == ""
        assert not (self.folder / "waiting.duckdb.lock").exists()
        return process.returncode, err.splitlines()


def test_signals_stop_a_run_and_resume_finishes_it(cli: CommandLine, tmp_path: Path) -> None:
    run = Stopped(tmp_path)
    command = ("run", "waiting.py", "--limit", 12, "--grace", 0.3)

    # Meanwhile others may ask, but nobody else runs in the database; the message says who does.
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
    assert "info: stopping: stopped on request; resume it whenever you like" in lines
    assert "go on:        tui-runner resume waiting.duckdb 1" in lines
    assert "waiting run 1 stopped: 5 done, 5 rows" in "\n".join(lines)

    # The same command goes on; SIGTERM stops it as well.
    process = run.start(*command)
    process.send_signal(signal.SIGTERM)
    code, lines = run.ended(process)
    assert (code, lines[0]) == (3, "info: run 1 goes on: what is recorded is not run again")

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
    assert {"items_done": 12, "items_skipped": 5, "rows": 7}.items() <= resumed.events[-1].items()
    finished = cli("resume", "waiting.duckdb", cwd=tmp_path)
    assert (finished.code, "every run in it is finished" in finished.complaint) == (2, True)
    rows = cli("query", "waiting.duckdb", "SELECT count(*), count(DISTINCT number) FROM waiting", cwd=tmp_path)
    assert rows.out.splitlines()[1] == "12,12"


def test_what_is_relative_is_found_when_the_run_goes_on_from_elsewhere(cli: CommandLine, tmp_path: Path) -> None:
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
    # Nor does the same command in another folder, with another file of that name, go on with it.
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


def test_a_pipe_goes_on_when_it_is_run_again(cli: CommandLine, tmp_path: Path) -> None:
    write(
        tmp_path,
        "upper.py",
        "def upper(line):\n    if line == 'b':\n        raise ValueError\n    return line.upper()\n",
    )
    command = ("run", "upper.py:upper", "--input", "-", "--db", "x.duckdb", "--threads", "1", *INLINE)
    stopped = cli(*command, "--max-failures", "1", cwd=tmp_path, stdin="a\nb\nb\nb\nb\nb\n")
    assert stopped.code == 3
    assert "go on:        run the same pipe again" in stopped.err.splitlines()
    cannot = cli("resume", "x.duckdb", cwd=tmp_path)
    assert (cannot.code, "standard input, which cannot be read again" in cannot.complaint) == (2, True)
    again = cli(*command, cwd=tmp_path, stdin="a\nc\n")
    assert "upper run 1 finished: 2 done, 1 of them before" in again.err


# --- terminals and pipes ------------------------------------------------------------------------------------------


def test_whoever_stops_reading_a_pipe_is_not_bothered(cli: CommandLine, here: Path) -> None:
    assert cli("run", "ok.py", "--quiet", *INLINE, cwd=here).code == 0

    def status(command: str) -> tuple[str, str]:
        script = f"{' '.join(COMMAND)} {command}; echo ${{PIPESTATUS[0]}} >&2"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=here,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout, done.stderr

    assert status("query ok.duckdb 'SELECT * FROM range(100000)' | head -1") == ("range\n", "0\n")
    assert status("query ok.duckdb 'SELECT 1' > /dev/full") == (
        "",
        "tui-runner: the output cannot be written: No space left on device\n2\n",
    )
    # A run goes on to its end, whoever reads of it.
    assert status("run ok.py --new --json --set last=2000 --chunk-size 500 | head -0") == ("", "making items\n0\n")
    assert cli("query", "ok.duckdb", "SELECT max(items_total) FROM runner.runs", cwd=here).out.endswith("\n2000\n")


def test_on_a_terminal_the_progress_line_stays_on_its_line(tmp_path: Path) -> None:
    run = Stopped(tmp_path)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    process = run.start("run", "waiting.py", "--headless", "--grace", 0.1, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    read = _until(ours, b"5/20")
    process.send_signal(signal.SIGINT)
    read += _until(ours, None)
    assert process.wait(60) == 3
    text = read.decode()
    assert "\x1b[3" not in text  # no colour
    lines = text.split("\r\n")
    for line in lines:
        *overwritten, stays = line.split("\r")
        for each in overwritten:
            assert len(each.replace("\x1b[K", "")) < 40
        if overwritten:
            assert stays.startswith("\x1b[K")
    assert lines[-1] == ""
    assert lines[-2].endswith("go on:        tui-runner resume waiting.duckdb 1")


def _until(descriptor: int, sign: bytes | None) -> bytes:
    """What comes from a terminal until `sign` is in it, or to its end."""
    read = b""
    try:
        while sign is None or sign not in read:
            part = os.read(descriptor, 65536)
            if not part:
                break
            read += part
    except OSError:  # how the end of a terminal shows
        os.close(descriptor)
    return read


def test_a_new_job_and_the_samples_can_be_tried_and_run(cli: CommandLine, tmp_path: Path) -> None:
    written = cli("init", "mine.py", cwd=tmp_path)
    assert (written.code, written.out.splitlines()[1]) == (0, "try it: tui-runner try mine.py")
    assert cli("try", "mine.py", cwd=tmp_path).code == 0
    assert cli("run", "mine.py", "--limit", "5", *INLINE, cwd=tmp_path).code == 0
    assert cli("samples", "--copy", "copies", cwd=tmp_path).out == "5 jobs copied to copies\n"
    assert len(cli("samples", cwd=tmp_path).out.splitlines()) == 6
