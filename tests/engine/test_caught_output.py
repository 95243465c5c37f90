"""Native output of a job in this process neither controls the terminal nor shows a secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.cli_jobs import INLINE, NATIVE, SECRET, native_lines, write
from support.command_line import CommandLine
from support.pseudo_terminal import PseudoTerminal

ENVIRON = {"TUI_RUNNER_SET_TOKEN": SECRET}
ALL = ("writes", "starts", "prints")
LOGS = """
    import logging
    from tui_runner import job

    logging.basicConfig()
    logging.warning("loaded")

    @job
    def logs(number):
        return number

    @logs.items
    def numbers():
        logging.warning("made an item")
        yield 1
"""
STOPS = """
    from tui_runner import job

    @job
    def stops(number):
        found = number * 7
        breakpoint(header="entered")
        return found

    @stops.items
    def numbers():
        return [6]
"""


@pytest.fixture
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a job."""
    write(tmp_path, "native.py", NATIVE)
    write(tmp_path, "stops.py", STOPS)
    monkeypatch.setenv("TUI_RUNNER_SET_TOKEN", SECRET)
    return tmp_path


@pytest.fixture
def terminal(native: Path) -> Iterator[Any]:
    opened: list[PseudoTerminal] = []

    def start(*arguments: str) -> PseudoTerminal:
        opened.append(PseudoTerminal(list(arguments), native))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def is_safe(output: bytes) -> bool:
    return b"\x1b]52" not in output and b"\x1b[2J" not in output and SECRET.encode() not in output


def logged(folder: Path) -> list[str]:
    """Return the lines of the log file, without when they came and from whom."""
    lines = (folder / "x.duckdb.log").read_text().splitlines()
    return sorted(line.split(": ", 1)[1] for line in lines if not line.startswith("---"))


def test_try_prints_lines_of_native_code_and_children_with_the_others(cli: CommandLine, native: Path) -> None:
    done = cli("try", "native.py", cwd=native, environ=ENVIRON)
    assert (done.code, done.err) == (0, "")
    told, shown = done.out.split("1 (item 0): done")
    assert sorted(told.splitlines()) == sorted(
        native_lines("module", "items", "generator", "setup", "item", "teardown", ways=ALL)
    )
    assert shown.endswith(
        "table native: 1 row, 1 column\n  number: BIGINT\n\n_item  number\n-----  ------\n    0       1\n(1 row)\n"
    )


def test_an_inline_run_logs_them_and_shows_those_of_before(cli: CommandLine, native: Path) -> None:
    done = cli("run", "native.py", "--headless", "--backend", "inline", "--db", "x.duckdb", cwd=native, environ=ENVIRON)
    assert (done.code, done.out) == (0, "")
    *told, summary, rows = done.err.splitlines()
    assert summary.startswith("native run 1 finished: 1 done") and rows.startswith("the rows:")
    before = native_lines("module", "items", ways=ALL)
    assert sorted(told) == sorted([*before, *native_lines("generator", "setup", "teardown", ways=("prints",))])
    in_log = [*native_lines("generator", "setup", "item", "teardown"), *native_lines("item", ways=("prints",))]
    assert logged(native) == sorted([*in_log, "run 1 finished (1 item done, 0 failed, 1 row)"])


def test_json_stays_alone_on_standard_output(cli: CommandLine, native: Path) -> None:
    done = cli("run", "native.py", "--json", "--backend", "inline", "--db", "x.duckdb", cwd=native, environ=ENVIRON)
    assert done.code == 0
    events = [event["event"] for event in done.events if event["event"] != "progress"]
    assert events == ["run_started", "chunk_finished", "run_finished"]
    assert "native run 1" not in done.err
    assert set(native_lines("item", "teardown")) < set(logged(native))


def test_output_of_loading_a_job_and_making_its_items_is_caught(cli: CommandLine, native: Path) -> None:
    done = cli("run", "native.py", "--quiet", "--db", "x.duckdb", cwd=native, environ=ENVIRON)
    assert (done.code, done.out) == (0, "")
    told = [*native_lines("module", "items", ways=ALL), *native_lines("generator", ways=("prints",))]
    assert sorted(done.err.splitlines()) == sorted(told)
    assert set(native_lines("generator", "item", "teardown")) < set(logged(native))


def test_output_before_a_failed_load_is_shown_before_the_error(cli: CommandLine, tmp_path: Path) -> None:
    write(
        tmp_path,
        "fails.py",
        "import os\nos.write(1, b'\\x1b[2J' + os.environ['TUI_RUNNER_SET_TOKEN'].encode())\n1 / 0\n",
    )
    for command in ("try", "run"):
        done = cli(command, "fails.py", cwd=tmp_path, environ=ENVIRON)
        first, complaint = done.err.splitlines()
        assert (done.code, done.out, first) == (2, "", "␛[2J***")
        assert complaint.startswith("tui-runner: ") and "ZeroDivisionError" in complaint


@pytest.mark.parametrize(
    "arguments", [("try", "native.py"), ("run", "native.py", "--headless", "--backend", "inline")], ids=["try", "run"]
)
def test_a_terminal_gets_none_of_it(terminal: Any, arguments: tuple[str, ...]) -> None:
    screen = terminal(*arguments)
    assert screen.exit_code() == 0
    assert is_safe(screen.output)
    assert "module writes ***" in screen.text()


def test_an_inline_run_on_the_dashboard_logs_them(terminal: Any, native: Path) -> None:
    screen = terminal("run", "native.py", "--backend", "inline", "--db", "x.duckdb")
    screen.shows("FINISHED")
    screen.press("q")
    assert screen.exit_code() == 0
    assert SECRET.encode() not in screen.output and b"\x1b]52;c;eA==" not in screen.output
    assert set(native_lines("generator", "setup", "item", "teardown")) < set(logged(native))


def test_a_log_handler_made_while_loading_does_not_write_over_the_dashboard(terminal: Any, native: Path) -> None:
    write(native, "logs.py", LOGS)
    screen = terminal("run", "logs.py", "--db", "x.duckdb")
    screen.shows("FINISHED")
    screen.press("q")
    assert screen.exit_code() == 0
    assert "WARNING:root:loaded" in screen.text()
    assert "made an item" not in screen.text()
    assert "WARNING:root:made an item" in logged(native)


def test_the_launcher_shows_them_with_what_was_tried(terminal: Any) -> None:
    screen = terminal()
    screen.shows("native")
    screen.shows("(from $TUI_RUNNER_SET_TOKEN)", screen.press("\r"))
    screen.press(SECRET)
    screen.shows("the first 3 items", screen.press("\x14"))
    screen.shows("item writes ***")
    screen.shows("teardown starts ␛[2J ***")
    assert SECRET.encode() not in screen.output and b"\x1b]52;c;eA==" not in screen.output


@pytest.mark.parametrize(
    "arguments",
    [("try", "stops.py"), ("run", "stops.py", "--headless", "--quiet", "--backend", "inline")],
    ids=["try", "run"],
)
def test_a_breakpoint_in_an_item_opens_a_debugger_at_the_terminal(terminal: Any, arguments: tuple[str, ...]) -> None:
    screen = terminal(*arguments)
    screen.shows("entered\r\n")
    screen.shows("(Pdb) ")
    screen.shows("42\r\n(Pdb) ", screen.press("p found\n"))
    screen.press("c\n")
    assert screen.exit_code() == 0


@pytest.mark.parametrize("command", ["try", "run"])
@pytest.mark.parametrize("where", ["return", "yield"])
def test_secret_in_what_making_the_items_raises_is_not_in_the_complaint(
    cli: CommandLine, tmp_path: Path, command: str, where: str
) -> None:
    job = f"""
        from tui_runner import Secret, job

        @job
        def fails(number, *, token: Secret):
            return number

        @fails.items
        def numbers(*, token: Secret):
            if token:
                raise ValueError(f"refused: {{token}}")
            {where} [1]
    """
    write(tmp_path, "fails.py", job)
    ended = cli(command, "fails.py", cwd=tmp_path, environ=ENVIRON)
    assert ended.code == 2
    assert "ValueError: refused: ***" in ended.err and SECRET not in ended.out + ended.err


@pytest.mark.parametrize(
    ("command", "options"), [("try", ()), ("run", INLINE), ("run", ())], ids=["try", "inline", "workers"]
)
def test_secret_in_what_the_items_raise_is_not_in_the_traceback(
    cli: CommandLine, tmp_path: Path, command: str, options: tuple[str, ...]
) -> None:
    job = """
        from tui_runner import Secret, job

        @job
        def fails(number, *, token: Secret):
            return number

        @fails.items
        def numbers(*, token: Secret):
            raise ValueError("." * 295 + token)
    """
    write(tmp_path, "fails.py", job)
    ended = cli(command, "fails.py", "--debug", *options, cwd=tmp_path, environ=ENVIRON)
    assert ended.code == 2
    assert ended.err.startswith("Traceback") and "ValueError: ....." in ended.err
    assert SECRET not in ended.out + ended.err
    message = ended.err.splitlines()[-1].partition("ValueError: ")[2]  # in front of it is the path of the file
    assert message and SECRET[:4] not in message, "it was cut before it was searched for"


@pytest.mark.parametrize("command", ["try", "run"])
@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["", "debug"])
@pytest.mark.parametrize("given", ["--set", "environment"])
@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise ValueError('cannot ' + token)", "importing it raised ValueError: cannot ***"),
        ("raise KeyError(token)", "importing it raised KeyError: '***'"),
        ("raise SystemExit('no ' + token)", "it ends the program while it is imported (SystemExit: no ***)"),
        ("raise SyntaxError(token)", "it is not valid Python (SyntaxError: ***)"),
        ("raise ModuleNotFoundError(token)", "ModuleNotFoundError: ***"),
        ("job(retries=token)(ascii)", "'***' is not a whole number"),
    ],
    ids=["ValueError", "KeyError", "SystemExit", "SyntaxError", "ModuleNotFoundError", "wrong setting"],
)
def test_given_text_in_what_loading_a_job_raises_is_not_in_the_complaint(
    cli: CommandLine, tmp_path: Path, command: str, debug: tuple[str, ...], given: str, source: str, told: str
) -> None:
    # The text of `--set` is not in the environment; the job has it from elsewhere.
    write(tmp_path, "fails.py", f"from tui_runner import job\ntoken = open('token').read()\n{source}\n")
    (tmp_path / "token").write_text(SECRET)
    options, environ = (("--set", f"token={SECRET}"), {}) if given == "--set" else ((), ENVIRON)
    ended = cli(command, "fails.py", *options, *debug, cwd=tmp_path, environ=environ)
    assert ended.code == 2
    assert told in ended.err.splitlines()[-1]
    assert SECRET not in ended.out + ended.err
    assert ended.err.startswith("Traceback") == bool(debug)


def test_a_given_text_that_is_wrong_is_shown(cli: CommandLine, here: Path) -> None:
    for command in ("try", "run"):
        ended = cli(command, "ok.py", "--set", "last=abcd", cwd=here)
        assert (ended.code, "'abcd'" in ended.complaint) == (2, True)


def test_secret_that_the_bound_of_a_message_would_cut_is_masked_whole(cli: CommandLine, tmp_path: Path) -> None:
    job = """
        from tui_runner import Secret, job

        @job
        def fails(number, *, token: Secret):
            return number

        @fails.items
        def numbers(*, token: Secret):
            yield 1
            raise ValueError("x" * 290 + token)
    """
    write(tmp_path, "fails.py", job)
    ended = cli("run", "fails.py", cwd=tmp_path, environ=ENVIRON)
    assert "making the items failed: ValueError: xxx" in ended.err
    assert SECRET[:8] not in ended.err
