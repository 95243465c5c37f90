"""The end of the program: what a job leaves running or registered is waited for, caught, and made safe."""

from __future__ import annotations

import atexit
import os
import pstats
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cli_jobs import COMMAND, INLINE, SECRET, start, write
from support.command_line import ROOT
from support.pseudo_terminal import PseudoTerminal
from support.waiting import eventually

LATE = """
    import atexit, os, threading
    from tui_runner import Secret, job

    token = os.environ["TUI_RUNNER_SET_TOKEN"]
    open_file = open("left open", "w")
    open_file.write("written")

    @atexit.register
    def at_exit():
        os.write(1, f"exit handler writes \\x1b[32m {token}\\n".encode())
        print(f"exit handler prints \\x1b[32m {token}")

    def outlive():
        threading.main_thread().join()  # the command has returned
        os.write(1, f"thread writes \\x1b[32m {token}\\n".encode())
        print(f"thread prints \\x1b[32m {token}")

    threading.Thread(target=outlive).start()
    fail = os.environ.get("FAIL") and 1 / 0

    @job
    def late(number, *, token: Secret):
        atexit.register(os.write, 2, f"handler of an item {number} {token}\\n".encode())
        return number

    @late.items
    def numbers():
        return [1]
"""
LATE_LINES = [f"{who} {how} ␛[32m ***" for who in ("exit handler", "thread") for how in ("prints", "writes")]
OF_AN_ITEM = "handler of an item 1 ***"
TRY, WORKERS, INSIDE = ("try", "late.py"), ("run", "late.py", "--json"), ("run", "late.py", "--json", *INLINE)
ENDLESS = """
    import sys, threading
    from tui_runner import job

    def wait():
        threading.main_thread().join()
        print("waiting", file=sys.stderr)
        threading.Event().wait()

    threading.Thread(target=wait).start()

    @job
    def endless(number):
        return number

    @endless.items
    def numbers():
        return [1]
"""


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a job that writes after the command has returned."""
    write(tmp_path, "late.py", LATE)
    monkeypatch.setenv("TUI_RUNNER_SET_TOKEN", SECRET)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "fails", "of_items"),
    [
        (TRY, False, [OF_AN_ITEM]),
        (WORKERS, False, []),
        (INSIDE, False, [OF_AN_ITEM]),
        (TRY, True, []),
        (WORKERS, True, []),
    ],
    ids=["try", "workers", "inline", "try of a broken job", "run of a broken job"],
)
def test_late_output_goes_to_standard_error_safe_and_redacted(
    late: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], fails: bool, of_items: list[str]
) -> None:
    monkeypatch.setenv("FAIL", "yes" if fails else "")
    process = start(late, *arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (2 if fails else 0)
    told = err.splitlines()
    if fails:
        assert "ZeroDivisionError" in told.pop(0)
    assert sorted(told) == sorted([*LATE_LINES, *of_items])
    assert not any(line in out for line in (*LATE_LINES, SECRET, "\x1b"))
    assert (late / "left open").read_text() == "written"


@pytest.mark.parametrize("arguments", [TRY, ("run", "late.py", "--headless", *INLINE)], ids=["try", "run"])
def test_a_terminal_gets_late_output_safe_and_redacted(late: Path, arguments: tuple[str, ...]) -> None:
    screen = PseudoTerminal(list(arguments), late)
    assert screen.exit_code() == 0
    assert set(LATE_LINES) <= set(screen.text().splitlines())
    assert SECRET.encode() not in screen.output and b"\x1b[32m" not in screen.output
    screen.close()


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that waits for a thread that never ends."""
    write(tmp_path, "endless.py", ENDLESS)
    process = start(tmp_path, "try", "endless.py")
    assert process.stderr is not None and process.stderr.readline() == "waiting\n"
    yield process
    process.kill()
    process.communicate(timeout=60)


def test_an_interrupt_ends_the_wait_for_a_thread(waiting: subprocess.Popen[str]) -> None:
    def interrupted() -> bool:
        waiting.send_signal(signal.SIGINT)
        return waiting.poll() is not None

    # CPython does not notice one that comes in the instant before its main thread sleeps.
    eventually(interrupted, "the end")
    out, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, err) == (130, "")
    assert out.startswith("1 (item 0): done")


END = """
    import atexit, signal, sys, threading
    from tui_runner.system.process import end_without_teardown

    def say(text):
        print(text, flush=True)

    atexit.register(say, "first handler")
    threading.Thread(target=sys.stdin.readline, daemon=True).start()
    {before}
    end_without_teardown(7, if_interrupted=130, last=lambda: say("last"))
    say("returned")
    sys.exit(1)
"""


@pytest.mark.parametrize(
    ("before", "code", "told"),
    [
        ("atexit.register(say, 'second handler')", 7, ["returned", "second handler", "first handler", "last"]),
        (
            "threading.Timer(0, lambda: atexit.register(say, 'handler of a thread')).start()",
            7,
            ["returned", "handler of a thread", "first handler", "last"],
        ),
        ("atexit.register(signal.raise_signal, signal.SIGINT)", 130, ["returned"]),
        (
            "signal.signal(signal.SIGINT, signal.SIG_IGN); atexit.register(signal.raise_signal, signal.SIGINT)",
            7,
            ["returned", "first handler", "last"],
        ),
    ],
    ids=["handlers", "handler of a thread", "interrupt", "ignored interrupt"],
)
def test_exit_handlers_run_once_and_then_the_process_ends(before: str, code: int, told: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(END).format(before=before)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert (process.stdout.read().splitlines(), process.wait(60)) == (told, code)


def test_python_still_has_the_private_functions_that_end_it() -> None:
    assert callable(threading._shutdown)
    assert callable(atexit._run_exitfuncs)


def test_a_profiler_that_calls_the_program_finishes_its_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cProfile", "-o", "profile", "-m", "tui_runner", "samples"]
    subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, check=True
    )
    assert pstats.Stats(str(tmp_path / "profile")).total_calls > 1000  # type: ignore[attr-defined]


def test_an_exit_handler_from_before_the_program_is_called(tmp_path: Path) -> None:
    # As `coverage` measures processes that a test starts.
    site = "import atexit, pathlib; atexit.register(pathlib.Path('called').touch)"
    (tmp_path / "sitecustomize.py").write_text(site)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    subprocess.run(
        [*COMMAND, "--version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert (tmp_path / "called").exists()


IN_USE = """
    import ctypes, sys
    import duckdb
    from tui_runner.system.process import end_without_teardown

    connection = duckdb.connect()
    # In use until the end, as the connection of a query is that another thread still holds.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    if sys.argv[1] == "without":
        end_without_teardown(0, if_interrupted=130, last=lambda: None)
    sys.exit(0)
"""


@pytest.mark.parametrize(("how", "complains"), [("with", True), ("without", False)])
def test_a_connection_that_is_in_use_at_the_end_is_nothing_to_complain_of(how: str, complains: bool) -> None:
    program = [sys.executable, "-c", textwrap.dedent(IN_USE), how]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert ("nanobind: leaked" in ended.stderr) == complains
