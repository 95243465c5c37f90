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
