"""Standard input: lines as they come, in chunks that wait for nobody."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from input_files import cut

from tui_runner.errors import UserError
from tui_runner.inputs import source as sources
from tui_runner.inputs import text_lines
from tui_runner.inputs.text_lines import StandardInput


class Pipe:
    """A pipe whose other end a test writes into."""

    def __init__(self) -> None:
        end, self._writing = os.pipe()
        self.stream = os.fdopen(end, "rb")

    def write(self, data: bytes) -> None:
        os.write(self._writing, data)

    def end(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.end()
    pipe.stream.close()


@given(st.lists(st.sampled_from([b"a", b"b\n", b"\n", b"\r\n", b" ", b"\xff", b"\xef\xbb\xbf", b"c" * 70_000])))
def test_lines_are_those_of_a_file_with_the_same_bytes(parts: list[bytes]) -> None:
    data = b"".join(parts)
    lines = [line for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    expected = [line.rstrip(b"\r").decode("utf-8", "backslashreplace") for line in lines]
    assert list(StandardInput(io.BytesIO(data))) == expected


def test_a_chunk_does_not_wait_for_a_slow_pipe(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PATIENCE", 0.05)
    found = cut(StandardInput(pipe.stream), 3)
    pipe.write(b"a\nb\nhal")  # half a line is no item yet
    assert next(found).values == ["a", "b"]
    pipe.write(b"f\n\n")
    assert next(found).values == ["half"]
    pipe.write(b"c\nd\ne\nf\n")
    chunk = next(found)
    assert (chunk.number, chunk.first_item, chunk.values) == (2, 3, ["c", "d", "e"])
    pipe.end()
    assert [chunk.values for chunk in found] == [["f"]]


def test_a_chunk_waits_for_its_items_for_a_while(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PATIENCE", 60.0)
    source = StandardInput(pipe.stream)
    pipe.write(b"a\n")
    items = iter(source)
    assert next(items) == "a"
    assert not source.comes_within(0.01)
    pipe.write(b"b\n")
    assert source.comes_within(60) and source.comes_within(0)
    assert next(items) == "b"
    pipe.end()
    assert source.comes_within(60)
    assert list(items) == []


def test_nor_for_lines_that_come_in_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(StandardInput):
        """A line half a second after the other."""

        now = 0.0

        def comes_within(self, seconds: float) -> bool:
            self.now += 0.5
            return seconds >= 0.5

    source = Slow(io.BytesIO(b"a\nb\nc\nd\ne\n"))
    monkeypatch.setattr(sources.time, "monotonic", lambda: source.now)
    assert [chunk.values for chunk in cut(source, 500)] == [["a", "b", "c"], ["d", "e"]]


def test_a_file_is_cut_into_whole_chunks(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"line\n" * 50_000)
    with (tmp_path / "in.txt").open("rb") as stream:
        assert {len(chunk.values) for chunk in cut(StandardInput(stream), 500)} == {500}


def test_a_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "_LONGEST_LINE", 100_000)
    lines = iter(StandardInput(io.BytesIO(b"a\n" + b"b" * 99_000 + b"\n" + b"c" * 200_000)))
    assert [next(lines), len(str(next(lines)))] == ["a", 99_000]
    with pytest.raises(UserError, match="standard input: a line is longer than 0 MB; write one item a line"):
        next(lines)
