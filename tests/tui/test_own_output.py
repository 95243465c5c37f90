from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import ctypes, json, os, pty, sys

from tui_runner.tui.own_output import OwnOutput

# A terminal of its own; what comes back is told on standard error.
master, slave = pty.openpty()
os.dup2(slave, 1)
own = OwnOutput()
own.catch()
own.catch()  # again changes nothing
ctypes.CDLL(None).puts(b"by native code")
os.write(1, b"one\\r\\n\\xff\\n")
print("past the redirection", file=sys.__stdout__)
os.system("echo; echo by a program")
own.write("printed\\n", complaint=False)
own.write("complained\\n", complaint=True)
own.settle()
first = [[line.level, line.text, line.worker] for line in own.take_all()[0]]
os.write(1, b"half a line")
own.settle()
second = [line.text for line in own.take_all()[0]]
own.release()
own.release()
os.write(1, b"to the terminal")
json.dump([first, second, os.read(master, 1000).decode()], sys.stderr)
"""


def test_what_is_written_meanwhile_becomes_lines_and_the_terminal_gets_none_of_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    first, second, terminal = json.loads(done.stderr)
    written = ["one", "\\xff", "", "by a program", "by native code", "past the redirection"]
    expected = [["INFO", "printed", None], ["WARNING", "complained", None]]
    assert sorted(first) == sorted(expected + [["WARNING", text, None] for text in written])
    assert second == ["half a line"]
    assert terminal == "to the terminal" and done.stdout == ""
