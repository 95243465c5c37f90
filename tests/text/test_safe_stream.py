"""Control sequences that a job prints while it is loaded do not reach the terminal."""

from __future__ import annotations

import io

import pytest

from tui_runner.text.redaction import Redaction
from tui_runner.text.streams import SafeStream


def test_control_sequences_become_visible_and_lines_stay() -> None:
    target = io.StringIO()
    print("one\n\x1b[31mtwo\x07", file=SafeStream(target), flush=True)
    assert target.getvalue() == "one\n␛[31mtwo␇\n"


def test_safe_stream_is_no_terminal() -> None:
    assert not SafeStream(io.StringIO()).isatty()


def test_safe_stream_is_taken_for_the_terminals_own_stream() -> None:
    target = io.StringIO()
    stream = SafeStream(target)
    stream.reconfigure(encoding="latin-1")
    stream.buffer.write(b"caf\xc3\xa9 \xff\x1b[2J\n")
    wrapper = io.TextIOWrapper(stream.buffer, encoding="utf-8", write_through=True)
    print("mine", file=wrapper)
    assert target.getvalue() == "café \\xff␛[2J\nmine\n"


def test_a_secret_is_found_in_a_line_that_comes_in_pieces() -> None:
    target = io.StringIO()
    stream = SafeStream(target, Redaction(["open-sesame"]))
    for piece in ("a open", "-sesame", "\nb open-ses", "ame", " c"):
        stream.write(piece)
    assert target.getvalue() == "a ***\n"
    stream.flush()
    assert target.getvalue() == "a ***\nb *** c"


def test_text_without_line_ends_does_not_pile_up() -> None:
    target = io.StringIO()
    stream = SafeStream(target)
    for _ in range(300):
        stream.write("x" * 1_000)
    assert len(target.getvalue()) > 190_000


def test_only_a_stream_with_a_descriptor_gives_one() -> None:
    assert SafeStream(io.StringIO(), descriptor=2).fileno() == 2
    with pytest.raises(io.UnsupportedOperation):
        SafeStream(io.StringIO()).fileno()


def test_flush_after_the_target_was_closed_raises_nothing_and_writes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = io.StringIO()
    stream = SafeStream(target, Redaction())
    stream.write("half a line")
    target.close()
    stream.flush()
    stream.close()
    assert stream.closed
    assert capsys.readouterr() == ("", "")
