"""What a job prints while it is loaded cannot steer the terminal."""

from __future__ import annotations

import io

from tui_runner.safe_stream import SafeStream


def test_control_sequences_become_visible_and_lines_stay() -> None:
    target = io.StringIO()
    print("one\n\x1b[31mtwo\x07", file=SafeStream(target), flush=True)
    assert target.getvalue() == "one\n␛[31mtwo␇\n"


def test_it_is_no_terminal() -> None:
    assert not SafeStream(io.StringIO()).isatty()


def test_it_is_taken_for_the_terminals_own_stream() -> None:
    target = io.StringIO()
    stream = SafeStream(target)
    stream.reconfigure(encoding="latin-1")
    stream.buffer.write(b"caf\xc3\xa9 \xff\x1b[2J\n")
    wrapper = io.TextIOWrapper(stream.buffer, encoding="utf-8", write_through=True)
    print("mine", file=wrapper)
    assert target.getvalue() == "café \\xff␛[2J\nmine\n"
