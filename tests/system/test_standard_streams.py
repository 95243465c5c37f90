"""Standard output takes all that is written to it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time

import pytest

_LINES, _LENGTH = 300, 300_000
_PROGRAM = f"""
import sys
from tui_runner.system.terminal import prepare_streams

prepare_streams()
print("begun", file=sys.stderr, flush=True)
for _ in range({_LINES}):
    sys.stdout.write("x" * {_LENGTH - 1} + "\\n")
sys.stdout.flush()
"""


@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_a_program_that_was_stopped_and_continued_has_lost_nothing(unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    program = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.readline()
        received = 0
        while piece := os.read(process.stdout.fileno(), 200_000):
            received += len(piece)
            if received < _LINES * _LENGTH // 4:
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.002)
                process.send_signal(signal.SIGCONT)
        assert process.wait() == 0
    assert received == _LINES * _LENGTH


def test_unbuffered_output_comes_whole_and_in_order() -> None:
    program = "from tui_runner.system.terminal import prepare_streams as p; p(); p(); print('one'); print('two €')"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
    assert io.BytesIO(done.stdout).readlines() == [b"one\n", b"two \\u20ac\n"]
    assert done.stderr == b""
