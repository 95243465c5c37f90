"""Mistakes on the command line: one line, the right code, and nothing written."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from support.cli_jobs import COMMAND, OK, files, write
from support.command_line import ROOT, CommandLine

from tui_runner.cli.main import main
from tui_runner.cli.program import Program
from tui_runner.errors import DatabaseError


class Terminal(io.StringIO):
    """A stream that claims to be a terminal; without a descriptor, it counts as one of 80 columns."""

    def isatty(self) -> bool:
        return True


def test_an_error_is_divided_between_words_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "x.duckdb: the database is in use by tui-runner (pid 7724) on this machine; see: tui-runner runs x.duckdb"
    for stream, written in (
        (
            Terminal(),
            "tui-runner: x.duckdb: the database is in use by tui-runner (pid 7724) on this\n"
            "    machine; see: tui-runner runs x.duckdb\n",
        ),
        (io.StringIO(), f"tui-runner: {text}\n"),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        assert Program(debug=False).complain(text, 2) == 2
        assert stream.getvalue() == written


MISTAKES: list[tuple[list[str], int, str]] = [
    (["run", "nothing.py"], 2, "nothing.py: there is no such file"),
    (["run", "nothing"], 2, "there is no job 'nothing'"),
    (["run", "syntax.py"], 2, r"syntax.py:2: it is not valid Python .SyntaxError"),
    (["run", "empty.py"], 2, "there is no job in it"),
    (["run", "two.py"], 2, "there are 2 jobs in it: one, two; name one: .*two.py:one"),
    (["run", "raising.py"], 2, r"raising\.py:\d+: making the items failed: ValueError: bad luck"),
    (["run", "ok.py", "--set", "fcator=1"], 2, "no parameter fcator; did you mean factor"),
    (["run", "ok.py", "--set", "factor=many"], 2, "factor: 'many' is not a whole number"),
    (["run", "ok.py", "--set", "factor"], 2, "--set: 'factor' is not NAME=VALUE; write --set factor=VALUE$"),
    (["resume", "foreign.duckdb", "--set", "=x"], 2, "--set: '=x' is not NAME=VALUE; write --set name=VALUE$"),
    (["retry", "foreign.duckdb", "--set", "x y"], 2, "--set: 'x y' is not NAME=VALUE; write --set name=VALUE$"),
    (["try", "ok.py", "--set", ""], 2, "--set: '' is not NAME=VALUE; write --set name=VALUE$"),
    (["run", "ok.py", "--limit", "-1"], 2, "--limit: '-1' is not a whole number, 0 or more$"),
    (["run", "ok.py", "--limit", "9" * 23], 2, "--limit: 9+ is too large; give at most 9,2"),
    (["try", "ok.py", "-n", "9" * 23], 2, "-n: 9+ is too large; give at most 9,2"),
    (["crawl", "x.example", "--depth", "-1"], 2, "^--depth: '-1' is not a whole number, 0 or more$"),
    (["crawl", "x.example", "--limit", "0"], 2, "^--limit: '0' is not a whole number of at least 1$"),
    (["run", "ok.py", "--ship", "folder"], 2, "^--ship: it has no effect without a cluster; add --backend dask:ADDR"),
    (["run", "ok.py", "--insecure"], 2, "^--insecure: it has no effect without a cluster; add --backend dask:ADDRESS"),
    (["run", "ok.py", "--input"], 2, "^--input: its value is missing; see: tui-runner run --help$"),
    (["query", "foreign.duckdb", "-f"], 2, "^-f: its value is missing; see: tui-runner query --help$"),
    (["run", "/dev/zero"], 2, "/dev/zero: it is a device or a pipe, not a file"),
    (["run", "x" * 300 + ".py"], 2, r"x.py: it can't be read \(file name too long\)"),
    (["run", "ok.py", "--db", "x" * 300 + ".duckdb"], 4, r"x.duckdb: its path can't be used \(file name too long\)"),
    (["run", "ok.py", "--input", "range:10:0"], 2, "range:10:0: it has no items; START comes first; to count down"),
    (["try", "ok.py", "--input", "range:0:" + "9" * 29], 2, "range:0:9+: it has more items than can be counted"),
    (["run", "ok.py", "--headless", "--theme", "nope"], 2, "nope"),
    (["run", "ok.py", "--limit", "x"], 2, "^--limit: 'x' is not a whole number, 0 or more$"),
    (["run", "ok.py", "--threads", "0"], 2, "--threads: '0' is not a whole number of at least 1"),
    (["run", "ok.py", "--threads", "9999999"], 2, "--threads: 9999999 is too large; give at most 1,000,000$"),
    (["run", "ok.py", "--workers", "1001"], 2, "--workers: 1001 is too large; give at most 1,000$"),
    (["run", "ok.py", "--set", "factor=1", "--set", " factor=2"], 2, "--set factor: it is given twice; leave one of"),
    (["run", "ok.py", "--thraeds", "4"], 2, "there is no option --thraeds; did you mean --threads\\?"),
    (["run", "ok.py", "--retry-budget", "9%"], 2, "no option --retry-budget; set retry_budget in @job, or TUI_RUNNER_"),
    (["run", "ok.py", "--timeout", "soon"], 2, "--timeout: 'soon' is not a number of seconds"),
    (["run", "ok.py", "--backend", "dask:local:x"], 2, "x is not a number of workers; for example, dask:local:2"),
    (["run", "ok.py", "--backend", "thread"], 2, "'thread' is not a backend; backends are process, inline, dask:"),
    (["run", "ok.py", "--new", "--resume"], 2, "--new and --resume exclude each other"),
    (["run", "ok.py", "--resume"], 2, "nothing to resume"),
    (["run", "ok.py", "--tui"], 2, "--tui: the dashboard needs a terminal"),
    (["launch"], 2, "launch: the launcher needs a terminal"),
    (["run", "ok.py", "--tui", "--json"], 2, "--json and --tui exclude each other"),
    (["run", "ok.py", "--tui", "--input", "-"], 2, "without a keyboard"),
    (["run", "ok.py", "--table", "Runner.items"], 2, "'Runner.items' is not the name of a table for results: schema"),
    (["run", "ok.py", "--table", " "], 2, "--table: ' ' is not the name of a table"),
    (["run", "plain.py:fetch", "--input", "in.csv"], 2, "fetch needs name, which .* lacks; its columns are url, size"),
    (["run", "plain.py:fetch"], 2, "no items of its own"),
    (["run", "plain.py:fetch", "--input", "nothing.csv"], 2, "nothing.csv: there is no such file"),
    (["run", "plain.py:fetch", "--input", "folder"], 2, "the input is a folder"),
    (["run", "plain.py:fetch", "--input", "range:x"], 2, "'range:x' is not a range"),
    (["run", "plain.py:fetch", "--input", "sql:SELEC 1"], 2, "syntax error .*; correct the statement$"),
    (["run", "plain.py:fetch", "--input", "https://example.org/x.csv"], 2, "a URL cannot be the input itself"),
    (["run", "ok.py", "--db", "no/x.duckdb"], 4, "no/x.duckdb: its folder does not exist"),
    (["run", "ok.py", "--db", "folder"], 4, "folder: is a folder"),
    (["run", "ok.py", "--db", "new/"], 4, "new/: is a folder; name a file in it"),
    (["fetch", "in.csv", "--db", "new/"], 4, "new/: is a folder; name a file in it"),
    (["fetch", "https://u:pw@h/?token=x"], 2, r"'https://\*\*\*@h/\?token=\*\*\*': a URL cannot be the input itself"),
    (["crawl", "not a url"], 2, "^crawl: 'not a url' is not the URL of a page; write https://"),
    (["crawl", "ftp://x.example"], 2, "^crawl: ftp://x.example is not a web page; give an http:// or https:// URL$"),
    (["crawl", "mailto:a@x.example"], 2, "^crawl: mailto:.* is not a web page; give an http:// or https:// URL$"),
    (["crawl", "x.example", "--include", "["], 2, r"^--include: '\[' is .*set\); to match a plain \[ write \\\[$"),
    (["crawl", "x.example", "--exclude", "a{2,1}"], 2, r"^--exclude: .* \(min repeat greater than max repeat\)$"),
    (["run", "ok.py", "--db", "in.csv"], 4, "in.csv: this is not a DuckDB database"),
    (["runs", "no.duckdb"], 4, "no.duckdb: no such database"),
    (["errors", "no.duckdb"], 4, "no such database"),
    (["resume", "no.duckdb"], 4, "no such database"),
    (["query", "no.duckdb", "SELECT 1"], 4, "no such database"),
    (["query", "foreign.duckdb", "SELEC 1"], 2, 'syntax error at or near "SELEC"; correct the statement$'),
    (["query", "foreign.duckdb", "FROM nothing"], 2, "nothing does not exist"),
    (["query", "foreign.duckdb", "INSERT INTO ok VALUES (1)"], 2,
     r"only statements that read .*; to change data, use tui-runner open foreign.duckdb and press \^r there, or Duck"),
    (["query", "foreign.duckdb", "SELECT 1; DELETE FROM ok"], 2, "^statement 2: .*; to change data, use"),
    (["query", "foreign.duckdb", "VACUUM"], 2, "^only statements that read can be run; use SELECT"),
    (["query", "foreign.duckdb", "WITH a AS (INSERT INTO ok VALUES (1) RETURNING a) FROM a"], 2,
     "would change .*; to change data, use tui-runner open foreign.duckdb"),
    (["query", "foreign.duckdb", "COPY ok TO 'x.csv'"], 2, "only .* that read .* tui-runner export"),
    (["query", "foreign.duckdb", "SELECT * FROM read_text('ok.py')"], 2,
     "^queries can't read or write other files; use DuckDB itself for ok.py$"),
    (["query", "foreign.duckdb", "SELECT 1; SELEC 2"], 2, "statement 2, .*syntax error"),
    (["query", "foreign.duckdb", "SELECT $a"], 2, "add --set a=VALUE"),
    (["query", "foreign.duckdb", "SELECT $a", "--set", "a=1", "--set", "A=2"], 2, "--set a: it is given twice; leave"),
    (["query", "foreign.duckdb", f"SELECT {'1+' * 1_500}1"], 2, "more than 1,000 deep; split it: WITH, a list"),
    (["run", "plain.py:fetch", "--input", f"sql:SELECT {'1+' * 1_500}1"], 2, "depth limit of 1000 exceeded.$"),
    (["query", "foreign.duckdb", "-f", "no.sql"], 2, "no.sql: there is no such file; check the path$"),
    (["export", "foreign.duckdb", "nothing", "-o", "x.csv"], 2, "no table 'nothing'"),
    (["export", "foreign.duckdb", "SELECT 1", "-o", "x.txt"], 2, "does not say the format"),
    (["export", "foreign.duckdb", "SELECT 1", "-o", "ok.py", "--format", "csv"], 2, "exists already"),
    (["query", "foreign.duckdb", "SELECT 1", "--format", "cvs"], 2, "did you mean csv"),
    (["query", "foreign.duckdb", "SELECT 1", "-o", "no/x.csv"], 2, "no/x.csv: its folder does not exist"),
    (["query", "foreign.duckdb", "SELECT 1", "-o", "foreign.duckdb"], 2, "is the database"),
    (["query", "foreign.duckdb", "SELECT 1", "-o", "x.xls"], 2, r"x.xls: its name does not say the format.*end it in"),
    (["query", "foreign.duckdb", "SELECT 1", "-o", "ok.py", "--format", "csv"], 2, "exists already.*--force"),
    (["errors", "foreign.duckdb", "7"], 2, "no run 7"),
    (["errors", "foreign.duckdb", "x"], 2, "^RUN: 'x' is not a run number; list them with: tui-runner runs DB$"),
    (["resume", "foreign.duckdb", "x"], 2, "^RUN: 'x' is not a run number; list them with: tui-runner runs DB$"),
    (["resume", "foreign.duckdb"], 2, "no runs in it"),
    (["try", "nothing.py"], 2, "no such file"),
    (["try", "ok.py", "-n", "0"], 2, "^-n: '0' is not a whole number of at least 1$"),
    (["init", "ok.py"], 2, "ok.py: exists already"),
    (["init", "no/x.py"], 2, "no/x.py: its folder does not exist; create the folder first$"),
    (["samples", "--copy", ""], 2, "--copy: it names no folder; write --copy DIR$"),
    (["samples", "--copy", "copied"], 2, "tables.py: exists already, so nothing was copied"),
    (["--theme", "day"], 2, "there is no option --theme here; write it after the command: tui-runner launch --theme$"),
    (["run", "ok.py", "--processes", "2"], 2, "no option --processes; did you mean --workers"),
    (["run", "ok.py", "--no-tui"], 2, "no option --no-tui; did you mean --headless"),
    (["run", "ok.py", "--thread", "2"], 2, "no option --thread; did you mean --threads"),
    (["run", "ok.py", "--output", "x"], 2, "^there is no option --output; see: tui-runner run --help$"),
    (["frobnicate"], 2, "^there is no command 'frobnicate'; see: tui-runner --help$"),
    (["rum"], 2, r"^there is no command 'rum'; did you mean run.*\w\?$"),
    (["run"], 2, "^the argument JOB is missing; write: tui-runner run JOB$"),
    (["export"], 2, r"^the argument DB is missing; write: tui-runner export DB TABLE\|SQL -o FILE$"),
    (["export", "x", "y"], 2, r"^the option -o or --output is missing; write: tui-runner export DB .* -o FILE$"),
    # What is typed is hostile, too: it is shown as marks, on the one line.
    (["run", "\x1b]52;c;aGk=\x07.py"], 2, r"x1b\]52;c;aGk=.x07\.py"),
    (["run", "ok.py", "--set", "\x1b[31m\n=1"], 2, "no parameter"),
    (["run", "ok.py", "--db", "\x1b[2J/x\n.duckdb"], 4, "its folder does not exist"),
    (["run", "ok.py", "--threads", "\x9b2J"], 2, "x9b2J"),
    (["\x1b[31m"], 2, "there is no command"),
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


@pytest.mark.parametrize(("table", "complaint"), [("ok", "did not create"), ("looks", "is a view")])
def test_a_table_of_another_program_is_not_changed(
    cli: CommandLine, mistaken: Path, table: str, complaint: str
) -> None:
    folder = mistaken / "folder"
    (folder / "foreign.duckdb").write_bytes((mistaken / "foreign.duckdb").read_bytes())
    done = cli(
        "run", mistaken / "two.py:one", "--input", "range:0:1", "--db", "foreign.duckdb", "--table", table, cwd=folder
    )
    assert done.code == 4
    assert done.complaint.startswith(f"table {table} of {folder / 'foreign.duckdb'}: ")
    assert complaint in done.complaint
    with duckdb.connect(str(folder / "foreign.duckdb")) as connection:
        assert connection.sql("SELECT count(*) FROM ok").fetchall() == [(0,)]
        assert connection.sql("SELECT a FROM looks").fetchall() == [(1,)]
    (folder / "foreign.duckdb").unlink()
    assert list(folder.iterdir()) == []


def test_debug_shows_the_traceback_of_what_the_job_raised_wherever_it_stands(cli: CommandLine, here: Path) -> None:
    write(here, "broken.py", "raise ZeroDivisionError('theirs')")
    for arguments in (["--debug", "run", "broken.py"], ["run", "broken.py", "--debug"]):
        done = cli(*arguments, cwd=here)
        assert done.code == 2
        assert done.err.startswith("Traceback")
        assert "ZeroDivisionError: theirs" in done.err
    assert "Traceback" not in cli("run", "broken.py", cwd=here).err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "no.py"], ["run", "ok.py", "--threads", "many"], ["run", "ok.py", "--no-such-option"],
        ["run", "ok.py", "--set", "factor=two"], ["run", "ok.py", "--input", "no.csv"],
        ["query", "no.duckdb", "SELECT 1"],
    ],
)  # fmt: skip
def test_debug_shows_no_traceback_for_a_mistyped_option(cli: CommandLine, here: Path, arguments: list[str]) -> None:
    done = cli("--debug", *arguments, cwd=here)
    assert done.code in (2, 4)
    assert "Traceback" not in done.err


def test_a_fault_of_our_own_has_a_traceback_and_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(out: object, **options: object) -> int:
        raise ZeroDivisionError("ours\x1b[2J")

    monkeypatch.setattr("tui_runner.cli.scaffold.list_samples", fail)
    with pytest.raises(SystemExit) as end:
        main(["samples"])
    assert end.value.code == 70
    told = capsys.readouterr().err
    assert "ZeroDivisionError: ours␛[2J" in told
    assert told.splitlines()[-1] == "tui-runner: a fault of tui-runner's own, please report it: ZeroDivisionError"


@pytest.mark.parametrize(
    "error", [RuntimeError("Query interrupted"), DatabaseError("cannot be opened", "x.duckdb"), KeyboardInterrupt()]
)
def test_an_interrupt_is_no_fault_whatever_it_is_converted_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def interrupted(out: object, **options: object) -> int:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise error  # as DuckDB does

    monkeypatch.setattr("tui_runner.cli.scaffold.list_samples", interrupted)
    with pytest.raises(SystemExit) as end:
        main(["samples"])
    assert (end.value.code, capsys.readouterr().err) == (130, "tui-runner: interrupted\n")


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


NESTED = "[" * 60_000 + "]" * 60_000
FAR = "/tmp/" + "y/" * 40_000


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "ok.py", "--set", f"factor={NESTED}"], 2),
        (["run", "ok.py", "--rate", "1e-300"], 2),
        (["run", "ok.py", "--timeout", "1e300"], 2),
        (["run", "ok.py", "--table", "t" * 90_000], 2),
        (["run", "ok.py", "--db", FAR], 4),
        (["run", "ok.py", "--input", FAR], 2),
        (["run", FAR], 2),
        (["runs", FAR], 4),
        (["resume", FAR], 4),
        (["query", "x" * 90_000, "SELECT 1"], 4),
        (["samples", "--copy", FAR], 2),
        (["init", FAR + ".py"], 2),
        (["x" * 90_000], 2),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else None,
)
def test_endless_values_are_refused_in_one_bounded_line(
    cli: CommandLine, here: Path, arguments: list[str], code: int
) -> None:
    refused = cli(*arguments, cwd=here)
    assert refused.code == code
    assert len(refused.complaint) <= 1_000
    assert not list(here.glob("*.duckdb"))


@pytest.mark.parametrize("text", [f"theme = {NESTED}", "a." * 5_000 + "b = 1"], ids=["values", "names"])
def test_a_configuration_that_is_nested_without_end_is_refused_or_passed_over(
    cli: CommandLine, here: Path, text: str
) -> None:
    config = here / "config"
    (config / "tui-runner").mkdir(parents=True)
    (config / "tui-runner" / "config.toml").write_text(text)
    done = cli("run", "ok.py", "--limit", "1", "--quiet", cwd=here, environ={"XDG_CONFIG_HOME": str(config)})
    assert (done.code, "Traceback" in done.err) == (2, False)
    assert len(done.err) < 1_500
