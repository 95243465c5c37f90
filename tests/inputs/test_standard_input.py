"""Standard input: lines as they come, in chunks that do not wait to be full."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.input_files import cut

from tui_runner.inputs import source as sources
from tui_runner.inputs.text_lines import StandardInput
from tui_runner.text.items import Refused


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
    reader = StandardInput(pipe.stream).open()
    pipe.write(b"a\n")
    assert reader.comes_within(60)
    values: list[object] = []
    reader.take(values, 1)
    assert not reader.comes_within(0.01)
    pipe.write(b"b\n")
    assert reader.comes_within(60) and reader.comes_within(0)
    reader.take(values, 1)
    assert values == ["a", "b"]
    pipe.end()
    assert reader.comes_within(60)
    reader.take(values, 1)
    assert values == ["a", "b"]


def test_nor_for_lines_that_come_in_one_by_one(pipe: Pipe) -> None:
    reader = StandardInput(pipe.stream).open()
    writer = threading.Thread(target=lambda: [(pipe.write(b"x\n"), time.sleep(0.05)) for _ in range(20)])
    writer.start()
    values: list[object] = []
    reader.take(values, 500, 0.2)
    assert 0 < len(values) < 20, "the first does not wait for the last, although there is always a next one"
    writer.join()


def test_a_file_is_cut_into_whole_chunks(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"line\n" * 50_000)
    with (tmp_path / "in.txt").open("rb") as stream:
        assert {len(chunk.values) for chunk in cut(StandardInput(stream), 500)} == {500}


def test_line_that_is_too_long_fails_alone() -> None:
    data = b"a\n" + b"b" * 99_000 + b"\n" + b"c" * 2_000_000 + b"\nd\n" + b"e" * 100_001
    found = list(StandardInput(io.BytesIO(data), max_bytes=100_000))
    assert [len(str(item)) for item in found[:2]] == [1, 99_000]
    assert found[3] == "d"
    for item, line in ((found[2], 3), (found[4], 5)):
        assert isinstance(item, Refused)
        assert item.message == (
            f"standard input:{line}: the item is larger than 100 kB; raise max_input_bytes to have it run"
        )
