"""Output of this process and its children on descriptors 1 and 2 becomes log lines; tui-runner's own text passes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from support.command_line import ROOT

PROGRAM = """
    import contextlib, ctypes, json, os, subprocess, sys
    from tui_runner.engine.captured_output import CapturedOutput
    from tui_runner.text.redaction import Redaction
    from tui_runner.system.terminal import prepare_streams

    prepare_streams()
    output = CapturedOutput()
    answers = open(sys.argv[1], "w")

    def taken():
        output.settle()
        return [line.text for line in output.take_all()[0]]
"""


def run(program: str, tmp_path: Path, **options: Any) -> tuple[subprocess.CompletedProcess[bytes], list[Any]]:
    """Run a program: how it ended, and what it wrote to `answers`, a JSON value a line."""
    answers = tmp_path / "answers"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM) + textwrap.dedent(program), str(answers)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        timeout=60,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    )
    return done, [json.loads(line) for line in answers.read_text().splitlines()]


CATCHING = r"""
    with output.caught(reserve_stdout=True):
        ctypes.CDLL(None).puts(b"by native code")
        os.write(1, b"one\r\n\xff\n")
        os.write(2, b"two\rthree\n")
        print("past the redirection", file=sys.__stdout__)
        os.system("echo; echo by a program")
        output.write("printed\n", complaint=False)
        output.write("complained\n", complaint=True)
        output.settle()
        print(json.dumps([[line.level, line.text, line.worker] for line in output.take_all()[0]]), file=answers)
        os.write(1, b"half a line")
        print(json.dumps(taken()), file=answers)
        print("our own €", file=output.out)
        print("our complaint", file=output.err)
    os.write(1, b"given back\n")
    os.write(2, b"given back, too\n")
    answers.close()
"""


@pytest.mark.parametrize("kind", ["terminal", "pipe", "file"])
def test_output_becomes_lines_wherever_the_descriptors_lead(tmp_path: Path, kind: str) -> None:
    if kind == "terminal":
        ours, theirs = pty.openpty()
        done, answers = run(CATCHING, tmp_path, stdout=theirs, stderr=theirs)
        os.close(theirs)
        out = os.read(ours, 10_000).replace(b"\r\n", b"\n")
        os.close(ours)
    else:
        with (tmp_path / "out").open("w+b") as file:
            done, answers = run(CATCHING, tmp_path, **{"stdout": file} if kind == "file" else {})
            file.seek(0)
            out = (file.read() if kind == "file" else done.stdout) + done.stderr
    assert done.returncode == 0, out
    first, second = answers
    written = ["one", "\\xff", "three", "", "by a program", "by native code", "past the redirection"]
    expected = [["INFO", "printed", None], ["WARNING", "complained", None]]
    assert sorted(first) == sorted(expected + [["WARNING", text, None] for text in written])
    assert second == ["half a line"]
    lines = out.decode().splitlines()
    assert sorted(lines) == ["given back", "given back, too", "our complaint", "our own €"]


def test_lines_that_were_not_taken_are_shown_at_the_end_safe_and_redacted(tmp_path: Path) -> None:
    program = r"""
        with output.caught(reserve_stdout=False):
            output.use_redaction(Redaction(["open-sesame"]))
            os.write(1, b"\x1b[2Jopen-sesame\n")
            os.system("printf 'of a child'")
            print("printed\x1b[2J", "open-sesame", end="")
            print("complained open-sesame", file=sys.stderr)
    """
    done, _ = run(program, tmp_path)
    assert done.stdout.decode() == "printed␛[2J ***"
    assert done.stderr.decode() == "complained ***\n␛[2J***\nof a child\n"


@pytest.mark.parametrize("fault", ["ZeroDivisionError", "KeyboardInterrupt", "SystemExit"])
def test_the_descriptors_are_given_back_after_an_exception(tmp_path: Path, fault: str) -> None:
    program = f"""
        before = sys.stdout, sys.stderr, os.fstat(1), os.fstat(2)
        try:
            with output.caught(reserve_stdout=True):
                os.write(1, b"why\\n")
                output.out.write("unflushed\\n")
                raise {fault}
        except {fault}:
            after = sys.stdout, sys.stderr, os.fstat(1), os.fstat(2)
            print(json.dumps(before == after), file=answers, flush=True)
    """
    done, answers = run(program, tmp_path)
    assert (done.stdout, done.stderr, answers) == (b"unflushed\n", b"why\n", [True])


def test_a_child_that_keeps_the_descriptors_does_not_hold_up_the_end(tmp_path: Path) -> None:
    program = """
        with output.caught(reserve_stdout=True):
            subprocess.Popen(["sh", "-c", "read forever"], stdin=subprocess.PIPE)
            os.write(1, b"said before\\n")
        os._exit(0)  # the pipe to the child is closed: it ends as well
    """
    done, _ = run(program, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"said before\n")


def test_c_code_that_waits_for_input_does_not_hold_up_the_end(tmp_path: Path) -> None:
    program = """
        import threading
        libc = ctypes.CDLL(None)
        with output.caught(reserve_stdout=True):
            threading.Thread(target=libc.getchar, daemon=True).start()  # holds the lock of the stream
            os.write(1, b"said\\n")
        os.write(1, b"ended\\n")
        os._exit(0)
    """
    ours, theirs = os.pipe()
    done, _ = run(program, tmp_path, stdin=ours)
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, done.stdout) == (0, b"ended\n")


def test_a_line_of_a_megabyte_is_cut_and_the_next_one_comes(tmp_path: Path) -> None:
    program = """
        with output.caught(reserve_stdout=True):
            for _ in range(1_000):
                os.write(1, b"x" * 1_000)
            output.settle()
            os.write(1, b"y" * 13_990)
            output.settle()
            os.write(1, b"next\\n")
            print(json.dumps([(text[0], len(text)) for text in taken()]), file=answers)
    """
    done, answers = run(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert answers == [[["x", 10_000], ["y", 10_000], ["n", 4]]]


def test_native_code_that_keeps_the_reader_waiting_can_write_half_a_megabyte(tmp_path: Path) -> None:
    program = """
        with output.caught(reserve_stdout=True):
            ctypes.PyDLL(None).write(1, b"x" * 499_999 + b"\\n", 500_000)  # it holds the interpreter
            print(json.dumps([len(text) for text in taken()]), file=answers)
    """
    done, answers = run(program, tmp_path)
    assert (done.returncode, answers) == (0, [[10_000]])


def test_a_reader_that_closes_our_output_causes_a_broken_pipe(tmp_path: Path) -> None:
    program = """
        try:
            with output.caught(reserve_stdout=True):
                print("nobody reads this", file=output.out)
        except BrokenPipeError:
            print(json.dumps("broken"), file=answers, flush=True)
    """
    ours, theirs = os.pipe()
    os.close(ours)
    done, answers = run(program, tmp_path, stdout=theirs)
    os.close(theirs)
    assert (done.returncode, done.stderr, answers) == (0, b"", ["broken"])


def test_streams_of_its_own_are_let_go_with_the_terminal(tmp_path: Path) -> None:
    program = """
        import pty
        from tui_runner.system import terminal as terminal_loss

        ours, theirs = pty.openpty()
        for descriptor in (0, 1, 2):
            os.dup2(theirs, descriptor)
        with output.caught(reserve_stdout=True):
            os.close(ours)
            led = (0, output.out.fileno(), output.err.fileno())
            print(json.dumps([terminal_loss.is_lost(each) for each in led]), file=answers)
            output.detach()
            print(json.dumps([terminal_loss.is_lost(each) for each in led]), file=answers)
            print("to nobody", file=output.out, flush=True)
            os.write(1, b"still caught\\n")
            print(json.dumps(taken()), file=answers)
        os.write(1, b"to nobody")
        answers.close()
    """
    done, answers = run(program, tmp_path)
    assert done.returncode == 0
    assert answers == [[True] * 3, [False] * 3, ["still caught"]]
